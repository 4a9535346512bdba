"""`ecgcam summarize`: tables, beats and pictures of a cohort."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import Run, tree
from tests.cohort.cohorts import explained

from ecgcam.runs.writer import Outputs, write_result

FILES = ["a.png", "b.png", "beats.npz", "leads.csv", "waves.csv"]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Three recordings, two prompts."""
    for number, record in enumerate(("x", "y", "z")):
        for text in ("a", "b"):
            made = explained(text, record=record, score=0.3 + 0.1 * number)
            write_result(made, tmp_path / "out" / record / text, Outputs(png=False))
    return tmp_path / "out"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_tables_beats_and_pictures(ecgcam: Run, out: Path) -> None:
    got = ecgcam("summarize", out)
    assert (got.code, got.err) == (0, "")
    assert got.out.endswith(f"tables and pictures in {out}/cohort\n")
    assert sorted(path.name for path in (out / "cohort").iterdir()) == FILES
    leads = rows(out / "cohort/leads.csv")
    assert [row["lead"] for row in leads[:4]] == ["all", "I", "II", "V1"]
    assert (leads[0]["n"], float(leads[0]["gain"])) == ("3", pytest.approx(0.4 - 0.25))
    assert float(leads[0]["low"]) < 0.15 < float(leads[0]["high"])
    waves = rows(out / "cohort/waves.csv")
    assert len(waves) == 2 * 4 * 6
    assert float(waves[0]["density"]) == pytest.approx(1.0, abs=1e-4)
    with np.load(out / "cohort/beats.npz") as beats:
        assert beats["mean"].shape == (2, 3, len(beats["time"]))
        assert beats["texts"].tolist() == ["a", "b"]
    with Image.open(out / "cohort/a.png") as picture:
        assert picture.width == 1620
        assert len(set(picture.convert("L").tobytes())) > 20


def test_again_is_the_same_and_does_not_read_itself(ecgcam: Run, out: Path) -> None:
    for number in range(5):  # of three recordings every seed finds the same extremes
        write_result(
            explained("a", record=f"r{number}", score=0.1 * number**1.7), out / f"r{number}/a", Outputs(png=False)
        )
    first = ecgcam("summarize", out, "--no-png")
    before = tree(out / "cohort")
    assert ecgcam("summarize", out, "--no-png") == first
    assert tree(out / "cohort") == before
    assert sorted(before) == [name for name in FILES if not name.endswith("png")]
    ecgcam("summarize", out, "--no-png", "--seed", 1)
    assert tree(out / "cohort")["leads.csv"] != before["leads.csv"]


def test_two_folders_are_compared(ecgcam: Run, out: Path, tmp_path: Path) -> None:
    for record in ("x", "y"):
        write_result(
            explained("a", record=record, method="occlusion", score=0.9),
            tmp_path / "other" / record / "a",
            Outputs(png=False),
        )
    got = ecgcam("summarize", out, tmp_path / "other", "--out", tmp_path / "both")
    assert got.code == 0
    compared = rows(tmp_path / "both/comparison.csv")
    assert (compared[0]["method"], compared[0]["against"], compared[0]["n"]) == ("occlusion", "grad-cam", "2")
    assert float(compared[0]["difference"]) == pytest.approx(0.9 - 0.35)
    pictures = sorted(path.name for path in (tmp_path / "both").glob("*.png"))
    assert pictures == [
        "a--grad-cam.png",
        "a--occlusion--difference.png",
        "a--occlusion.png",
        "b--grad-cam.png",
    ]
    assert ecgcam("summarize", out, "--out", tmp_path / "both", "--no-png").code == 0
    assert not (tmp_path / "both/comparison.csv").exists()  # it would speak of what is no longer there


def test_json_is_a_line_a_prompt_and_method(ecgcam: Run, out: Path) -> None:
    lines = [json.loads(line) for line in ecgcam("summarize", out, "--no-png", "--json").out.splitlines()]
    assert [(line["text"], line["method"], line["n"]) for line in lines] == [("a", "grad-cam", 3), ("b", "grad-cam", 3)]
    assert lines[0]["leads"][0] == {"name": "I", "n": 3, "gain": 0.25, "low": 0.25, "high": 0.25}
    assert lines[0]["waves"]["QRS"]["density"] == pytest.approx(1.0)


def test_one_recording_has_no_intervals_and_still_a_picture(ecgcam: Run, out: Path, tmp_path: Path) -> None:
    assert ecgcam("summarize", out / "x/a", "--out", tmp_path / "one").code == 0
    assert rows(tmp_path / "one/leads.csv")[0]["low"] == ""
    assert (tmp_path / "one/a.png").is_file()


def test_recordings_without_beats_and_gains_still_make_a_picture(ecgcam: Run, tmp_path: Path) -> None:
    blank = explained(signal=np.zeros((3, 5000)), map=np.zeros((3, 5000)), valid=np.zeros((3, 5000), bool))
    write_result(blank, tmp_path / "out/x/a", Outputs(png=False))
    got = ecgcam("summarize", tmp_path / "out")
    assert (got.code, got.err) == (0, "")
    assert "unknown" in got.out


def test_what_is_damaged_is_told_and_left_out(ecgcam: Run, out: Path) -> None:
    (out / "y/a/explanation.npz").write_bytes(b"PK nonsense")
    got = ecgcam("summarize", out, "--no-png")
    assert (got.code, got.err.count("\n")) == (1, 1)
    assert f"{out}/y/a/explanation.npz: not an explanation of ecgcam" in got.err
    assert rows(out / "cohort/leads.csv")[0]["n"] == "2"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["empty"], "empty: holds no result"),
        (["other.npz"], "other.npz: not an explanation of ecgcam"),
        (["out", "--out", "other.npz"], "other.npz: cannot write here"),
        (["out", "--draws", "1"], "--draws"),
    ],
)
def test_bad_input_is_one_line(
    ecgcam: Run, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    before = tree(tmp_path)
    got = ecgcam("summarize", *arguments)
    assert (got.code, got.out, got.err.count("\n")) == (2, "", 1)
    assert says in got.err
    assert tree(tmp_path) == before


def test_summarizing_needs_no_torch(out: Path) -> None:
    code = f"import sys; from ecgcam.cli.app import run; run(['summarize', {str(out)!r}]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
