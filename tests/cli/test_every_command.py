"""Every command, on every kind of file that it cannot use: one line that names the file, exit code 2, and nothing written."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Run, tree
from tests.handmade import explanation

from ecgcam.runs.writer import Outputs, write_result

# Where a file goes in a call: X; what else the call needs is there and good (GOOD is a result, SCAN a picture).
PLACES: dict[str, list[str]] = {
    "explain RECORD": ["explain", "X", "--text", "af"],
    "explain --text-file": ["explain", "RECORD", "--text-file", "X"],
    "explain --checkpoint": ["explain", "RECORD", "--text", "af", "--checkpoint", "X"],
    "explain --model": ["explain", "RECORD", "--text", "af", "--model", "X"],
    "explain --embeddings": ["explain", "RECORD", "--text", "af", "--embeddings", "X"],
    "explain --text-model": [
        "explain", "RECORD", "--text", "af", "--model", "merl-resnet18", "--checkpoint", "NPZ", "--text-model", "X",
    ],
    "explain --like": ["explain", "RECORD", "--like", "X"],
    "explain --out": ["explain", "RECORD", "--text", "af", "--out", "X"],
    "score RECORD": ["score", "X"],
    "score --text-file": ["score", "RECORD", "--text-file", "X"],
    "inspect RECORD": ["inspect", "X"],
    "evaluate RECORD": ["evaluate", "X", "--text", "af"],
    "evaluate --truth": ["evaluate", "RECORD", "--text", "af", "--what", "localisation", "--truth", "X"],
    "evaluate --out": ["evaluate", "RECORD", "--text", "af", "--out", "X"],
    "embed --text-file": ["embed", "--text-file", "X", "--out", "table.npz"],
    "embed --checkpoint": ["embed", "--text-file", "PROMPTS", "--out", "table.npz", "--checkpoint", "X"],
    "embed --out": ["embed", "--text-file", "PROMPTS", "--out", "X"],
    "draw NPZ": ["draw", "X"],
    "draw --out": ["draw", "GOOD", "--out", "X"],
    "report OUT": ["report", "X"],
    "report --out": ["report", "GOOD", "--out", "X"],
    "report --evidence": ["report", "GOOD", "--evidence", "X"],
    "overlay IMAGE": ["overlay", "X", "GOOD", "--out", "page.png"],
    "overlay NPZ": ["overlay", "SCAN", "X", "--out", "page.png"],
    "overlay --boxes": ["overlay", "SCAN", "GOOD", "--out", "page.png", "--boxes", "X"],
    "overlay --out": ["overlay", "SCAN", "GOOD", "--out", "X"],
    "summarize OUT": ["summarize", "X"],
    "summarize --out": ["summarize", "GOOD", "--out", "X"],
    "simulate --out": ["simulate", "af", "--out", "X"],
    "models show": ["models", "show", "X"],
    "models check": ["models", "check", "X"],
    "models check --model": ["models", "check", "NPZ", "--model", "X"],
}  # fmt: skip
JUNK = bytes(range(256)) * 20
KINDS = (
    "missing", "folder", "empty", "junk", "text", "broken link", "loop of links", "below a file", "pickle", "cut npz",
    "other npz", "name too long", "NUL in the name", "blank", "pipe", "device",
)  # fmt: skip
SUFFIX = {
    "RECORD": ".npy", "--text-file": ".txt", "--checkpoint": ".pt", "--model": ".toml", "--embeddings": ".npz", "--like": ".npy",
    "NPZ": ".npz", "OUT": ".npz", "--evidence": ".jsonl", "IMAGE": ".png", "--boxes": ".toml", "show": ".toml", "check": ".pt",
    "--text-model": "", "--truth": "", "--out": "",
}  # fmt: skip
# Not faults: a folder to write into, a text among prompts, and the like.
FINE = {
    *((f"{command} --out", kind) for command in ("explain", "evaluate", "draw", "simulate", "summarize")
      for kind in ("folder", "missing", "blank")),
    ("evaluate --truth", "folder"), ("report --out", "blank"), ("report --evidence", "folder"), ("report --evidence", "empty"),
}  # fmt: skip
TEXT_IS_FINE = {"explain --text-file", "score --text-file", "embed --text-file"}
WRITES = {"report --out", "embed --out", "overlay --out"}  # over a file that is there, by its name


def make(folder: Path, kind: str, suffix: str) -> str:
    path = folder / f"x{suffix}"
    match kind:
        case "folder":
            path.mkdir()
        case "empty":
            path.touch()
        case "junk":
            path.write_bytes(JUNK)
        case "text":
            path.write_text("Good morning,\nthis is another kind of file.\n")
        case "broken link":
            path.symlink_to(folder / "nowhere")
        case "loop of links":
            path.symlink_to(path)
        case "below a file":
            (folder / "file").touch()
            path = folder / "file" / path.name
        case "pickle":
            np.array([{}], object).dump(path)
        case "cut npz":
            with path.open("wb") as file:
                np.savez(file, signal=np.ones((12, 500)))
            os.truncate(path, 20_000)
        case "other npz":
            with path.open("wb") as file:
                np.savez(file, other=np.ones(3))
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "name too long":
            path = folder / ("x" * 300 + suffix)
        case "NUL in the name":
            return f"x\0{suffix}"
        case "blank":
            return " "
    return str(path)


# What is written takes the place of any file; of a folder, or where no file can be, it cannot.
WRITTEN_OVER = {"missing", "empty", "junk", "text", "broken link", "loop of links", "pickle", "cut npz", "other npz"}
FAULTS = [
    (place, kind)
    for place in PLACES
    for kind in KINDS
    if (place, kind) not in FINE
    and not (place in TEXT_IS_FINE and kind in {"text", "pipe"})  # a shell's <(command) is a pipe, which is waited for
    and not (place in WRITES and kind in WRITTEN_OVER)
]


@pytest.mark.slow
@pytest.mark.parametrize(("place", "kind"), FAULTS)
def test_it_is_one_line(
    ecgcam: Run, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, kind: str
) -> None:
    from PIL import Image

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write_result(explanation(), tmp_path / "good", Outputs(png=False))
    Image.new("RGB", (400, 280)).save(tmp_path / "scan.png")
    (tmp_path / "prompts.txt").write_text("af\n")
    np.savez(tmp_path / "other.npz", other=np.ones(3))
    suffix = {"embed --out": ".npz", "report --out": ".html", "overlay --out": ".png"}.get(
        place, SUFFIX[place.split()[1]]
    )
    words = {
        "RECORD": str(recordings / "af-7.dat"), "GOOD": str(tmp_path / "good"), "SCAN": str(tmp_path / "scan.png"),
        "PROMPTS": str(tmp_path / "prompts.txt"), "NPZ": str(tmp_path / "other.npz"), "X": make(tmp_path, kind, suffix),
    }  # fmt: skip
    before = tree(tmp_path)
    got = ecgcam(*(words.get(word, word) for word in PLACES[place]))
    errors = [line for line in got.err.splitlines() if not line.startswith("note: ")]
    assert (got.code, got.out, len(errors)) == (2, "", 1), got
    assert errors[0].startswith("ecgcam: ")
    assert tree(tmp_path) == before
    if kind not in {"blank", "NUL in the name"}:
        assert Path(words["X"]).name[:40] in errors[0] or "/file: " in errors[0], errors[0]
