"""A folder of results appears whole or not at all, and takes away only what is ours."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from tests.conftest import ROOT
from tests.handmade import explanation

from ecgcam import render
from ecgcam.errors import EcgcamError
from ecgcam.files import atomic, check_writable
from ecgcam.results.explanation import Explanation
from ecgcam.runs import writer as store
from ecgcam.runs.helpers import Helpers
from ecgcam.runs.writer import Outputs, TakenError, write_result

FILES = ["explanation.npz", "lead-I.png", "lead-V1.png", "page.png", "summary.json"]


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file with its content and every folder, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of one byte: what is tested is where they go."""

    def draw(explanation: Explanation, folder: Path, outputs: Outputs, *_: object) -> None:
        for name in (*(f"lead-{lead}.png" for lead in explanation.leads), "page.png"):
            (folder / name).write_bytes(str(outputs.scale)[:1].encode())

    monkeypatch.setattr(store, "_draw", draw)


def test_everything_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "out/rec/atrial-fibrillation"
    summary = write_result(explanation(), folder, place=Path("rec/atrial-fibrillation"))
    assert sorted(p.name for p in folder.iterdir()) == FILES
    assert [p.name for p in (tmp_path / "out/rec").iterdir()] == ["atrial-fibrillation"]
    assert all((folder / name).read_bytes()[:4] == b"\x89PNG" for name in FILES if name.endswith("png"))
    drawn = {**asdict(Outputs()), "formats": ["png"]}
    assert drawn.keys() >= {"scale", "layout", "waves", "png", "npz", "check", "formats", "dpi", "width_mm"}
    assert summary == explanation().summary() | {"out": "rec/atrial-fibrillation", "drawn": drawn}
    assert json.loads((folder / "summary.json").read_text(encoding="utf-8")) == summary
    assert Explanation.load(folder).meta == explanation().meta


def test_results_have_ordinary_permissions(tmp_path: Path, quick: None) -> None:
    write_result(explanation(), tmp_path / "out/r/s")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for path in [tmp_path / "out/r/s", *(tmp_path / "out/r/s").iterdir()]:
        like = tmp_path / ("folder" if path.is_dir() else "file")
        assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(like.stat().st_mode), path


@pytest.mark.parametrize(
    ("png", "npz", "files"),
    [(False, True, ["explanation.npz", "summary.json"]), (True, False, FILES[1:]), (False, False, ["summary.json"])],
)
def test_pictures_and_arrays_can_be_left_out(
    tmp_path: Path, quick: None, png: bool, npz: bool, files: list[str]
) -> None:
    write_result(explanation(), tmp_path / "s", Outputs(png=png, npz=npz))
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == files


def test_a_place_that_another_result_has_taken_is_left_to_it(tmp_path: Path, quick: None) -> None:
    write_result(explanation(), tmp_path / "rec/s")
    before = tree(tmp_path)
    with pytest.raises(TakenError):
        write_result(explanation(text="another"), tmp_path / "rec/s", is_free=lambda: False)
    assert tree(tmp_path) == before


def test_the_slug_is_the_folder_s_name(tmp_path: Path, quick: None) -> None:
    """Also where it carries a hash or what differs from another question, and above the folder of a window."""
    for folder in ("af-12345678", "af+layer-cam", "af+all/w00010.000"):
        summary = write_result(explanation(), tmp_path / folder, place=Path("rec") / folder)
        assert summary["slug"] == folder.partition("/")[0]
        written = json.loads((tmp_path / folder / "summary.json").read_text())
        assert (written["slug"], written["out"]) == (summary["slug"], f"rec/{folder}")


class UnpluggedError(Exception):
    """Not one of ours: whatever goes wrong must leave nothing."""


@pytest.mark.parametrize("error", [UnpluggedError(), OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("earlier", [False, True])
def test_a_failure_while_drawing_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None, error: BaseException, earlier: bool
) -> None:
    folder = tmp_path / "out/rec/s"
    if earlier:
        write_result(explanation(), folder, Outputs(scale="raw"))
    before = tree(tmp_path)

    def pictures(*_: object, **__: object) -> object:
        yield "lead-I.png", render.strip(explanation(), "I")
        raise error

    monkeypatch.undo()
    monkeypatch.setattr(render, "pictures", pictures)
    with pytest.raises(EcgcamError if isinstance(error, OSError) else type(error)) as raised:
        write_result(explanation(text="another"), folder)
    assert tree(tmp_path) == before
    if isinstance(error, OSError):
        assert str(raised.value).startswith(
            f"{folder}: cannot be written (No space left on device); nothing of it was kept; "
        )


def test_folders_that_hold_other_results_survive_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    write_result(explanation(), tmp_path / "out/rec/one")
    before = tree(tmp_path)

    def draw(*_: object) -> None:
        raise UnpluggedError

    monkeypatch.setattr(store, "_draw", draw)
    with pytest.raises(UnpluggedError):
        write_result(explanation(), tmp_path / "out/rec/two")
    assert tree(tmp_path) == before


def test_an_earlier_result_gives_way_and_strangers_stay(tmp_path: Path, quick: None) -> None:
    folder = tmp_path / "s"
    write_result(explanation(leads=("II", "V6")), folder, Outputs(scale="raw"))
    for name in ("notes.txt", "lead-notes.png", ".hidden"):
        (folder / name).write_text("mine")
    (folder / "w00010.000").mkdir()
    write_result(explanation(), folder)
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        [*FILES, "notes.txt", "lead-notes.png", ".hidden", "w00010.000"]
    )
    assert (folder / "lead-I.png").read_bytes() == b"N"  # drawn anew
    assert (folder / "lead-notes.png").read_text() == "mine"
    # Without pictures, the earlier ones would show something else than the new arrays.
    write_result(explanation(), folder, Outputs(png=False))
    assert not (folder / "page.png").exists()
    assert not (folder / "lead-I.png").exists()


def test_an_earlier_result_comes_back_if_the_new_one_cannot_take_its_place(tmp_path: Path, quick: None) -> None:
    """A folder of the name of a picture cannot be replaced by it."""
    folder = tmp_path / "s"
    write_result(explanation(), folder, Outputs(scale="raw"))
    (folder / "lead-V1.png").unlink()
    (folder / "lead-V1.png").mkdir()
    (folder / "lead-V1.png/mine").touch()
    before = tree(tmp_path)
    with pytest.raises(EcgcamError, match=r"s: cannot be written \(Is a directory\)"):
        write_result(explanation(text="new"), folder)
    assert tree(tmp_path) == before


def test_a_result_behind_a_link_is_exchanged_where_it_is(tmp_path: Path, quick: None) -> None:
    write_result(explanation(), tmp_path / "real", Outputs(scale="raw"))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_result(explanation(), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real/page.png").read_bytes() == b"N"
    assert sorted(p.name for p in (tmp_path / "real").iterdir()) == FILES


def test_what_is_not_finite_is_not_written(tmp_path: Path, quick: None) -> None:
    with pytest.raises(EcgcamError, match="not a finite number"):
        write_result(explanation(score=float("nan")), tmp_path / "out/s", Outputs(npz=False, png=False))
    assert tree(tmp_path) == {}


def test_a_file_in_the_way_is_named(tmp_path: Path, quick: None) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file/rec/s", tmp_path / "file"):
        with pytest.raises(EcgcamError, match="cannot be written"):
            write_result(explanation(), folder)
    assert tree(tmp_path) == {"file": b"mine"}


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.handmade import explanation
from ecgcam.runs.writer import Outputs, write_result
for _ in range(40):
    write_result(explanation(text=sys.argv[3]), Path(sys.argv[2]), Outputs(png=False))
"""


@pytest.mark.slow
def test_of_two_processes_that_write_one_result_it_is_one_whole(tmp_path: Path) -> None:
    """As two calls with --force into one folder: never the arrays of the one beside the summary of the other."""
    command = [sys.executable, "-c", WRITER, str(ROOT), str(tmp_path / "out/s")]
    writers = [subprocess.Popen([*command, name], stderr=subprocess.PIPE, text=True) for name in ("a", "b", "c")]
    for writer in writers:
        _, said = writer.communicate(timeout=120)
        assert (writer.returncode, said) == (0, "")
    assert sorted(path.name for path in (tmp_path / "out/s").iterdir()) == ["explanation.npz", "summary.json"]
    summary = json.loads((tmp_path / "out/s/summary.json").read_text())
    assert Explanation.load(tmp_path / "out/s").meta["text"] == summary["text"]


# Files


def test_atomic_files_are_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic(path) as temporary:
        temporary.write_text("one")
        assert temporary.suffix == ".txt"
        assert not path.exists()
    assert tree(tmp_path) == {"a.txt": b"one"}

    def fail() -> None:
        with atomic(path) as temporary:
            temporary.write_text("two")
            raise UnpluggedError

    with pytest.raises(UnpluggedError):
        fail()
    assert tree(tmp_path) == {"a.txt": b"one"}


@pytest.mark.parametrize(
    ("place", "says"),
    [
        (lambda tmp: tmp / "file", "is not a folder"),
        (lambda tmp: tmp / "file/below/it", "is not a folder"),
        (lambda tmp: tmp / "nowhere/below", "is not a folder"),
        (lambda _: Path("/proc/ecgcam"), "cannot write here"),
        (lambda tmp: tmp / ("x" * 300) / "y", "cannot write here"),
    ],
)
def test_where_nothing_can_be_written(tmp_path: Path, place: Callable[[Path], Path], says: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    before = tree(tmp_path)
    with pytest.raises(EcgcamError, match=says) as error:
        check_writable(place(tmp_path))
    assert str(error.value).startswith(f"{place(tmp_path)}: ")
    assert str(error.value).endswith("with `out`")
    assert tree(tmp_path) == before


def test_looking_whether_a_folder_can_be_written_leaves_no_trace(tmp_path: Path) -> None:
    check_writable(tmp_path / "a/b/c")
    check_writable(tmp_path)
    assert tree(tmp_path) == {}


def _write_where_forks_die(made: Explanation, folder: Path) -> None:
    """Run in a helper, which forks: here every fork is gone at once, as one that the system kills."""
    fork = os.fork

    def dying() -> int:
        child = fork()
        if child == 0:
            os._exit(1)
        return child

    os.fork = dying
    write_result(made, folder, fork=True)


def test_two_processes_draw_what_one_draws(tmp_path: Path) -> None:
    write_result(explanation(), tmp_path / "one")
    with Helpers(1) as helpers:
        helpers.submit(write_result, explanation(), tmp_path / "two", fork=True).result()
        helpers.submit(write_result, explanation(), tmp_path / "bare", Outputs(png=False), fork=True).result()
        helpers.submit(_write_where_forks_die, explanation(), tmp_path / "lost").result()
    for name in FILES[:-1]:
        first = (tmp_path / "one" / name).read_bytes()
        assert first == (tmp_path / "two" / name).read_bytes() == (tmp_path / "lost" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == FILES
    assert sorted(path.name for path in (tmp_path / "bare").iterdir()) == ["explanation.npz", "summary.json"]
