"""Bad input: one line on stderr, exit code 2, nothing written, and torch not even imported where that can be known."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cli.conftest import Run, tree
from tests.records.by_hand import wfdb

from ecgcam.models import model_file

TEXT = ("--text", "af")


def assert_refused(ecgcam: Run, folder: Path, arguments: list[Any], says: str) -> None:
    """Exit code 2, one line that says so, an empty stdout, and a tree as it was."""
    before = tree(folder)
    got = ecgcam(*arguments)
    assert (got.code, got.out) == (2, "")
    assert got.err.count("\n") == 1, got.err
    assert got.err.startswith("ecgcam: ")
    assert says in got.err
    assert tree(folder) == before


@pytest.fixture(autouse=True)
def no_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All of these are known to be wrong before a model is loaded; and runs happen in an empty folder."""

    def load_model(*_: object, **__: object) -> None:
        pytest.fail("a model was loaded for a call that is wrong")

    import ecgcam.models.load

    monkeypatch.setattr(ecgcam.models.load, "load_model", load_model)
    monkeypatch.chdir(tmp_path)


def header(samples: list[list[int]], **options: Any) -> Callable[[Path], Path]:
    return lambda folder: wfdb(folder, samples, [f"V{i + 1}" for i in range(len(samples))], **options)


def array(value: Any, name: str = "rec.npy") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        np.save(folder / name, np.asarray(value), allow_pickle=True)
        return folder / name

    return write


def content(data: bytes, name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return write


def without_data(folder: Path) -> Path:
    path = header([[1, 2]])(folder)
    path.with_suffix(".dat").unlink()
    return path


def truncated(folder: Path) -> Path:
    path = header([[1, 2, 3]])(folder)
    path.with_suffix(".dat").write_bytes(b"1234")
    return path


def corrupt(folder: Path) -> Path:
    path = folder / "rec.npz"
    np.savez_compressed(path, signal=np.random.default_rng(0).standard_normal((12, 500)))
    data = bytearray(path.read_bytes())
    data[400:420] = b"\0" * 20
    path.write_bytes(data)
    return path


def pickled(folder: Path) -> Path:
    np.zeros((12, 50)).dump(folder / "rec.npy")
    return folder / "rec.npy"


def without_recordings(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


RECORDS: dict[str, tuple[Callable[[Path], Path], list[str], str]] = {
    "missing file": (lambda folder: folder / "no.dat", [], "no.dat: no such recording; check the path"),
    "header without its data": (without_data, [], "rec.hea: its data file rec.dat is missing; put it next to the header"),
    "data without its header": (content(b"1234", "rec.dat"), [], "rec.dat: its WFDB header rec.hea is missing"),
    "truncated data": (truncated, [], "rec.dat: truncated, 4 bytes where its header states 6; copy the file again"),
    "empty array": (array(np.zeros((12, 0))), ["--fs", "500", "--lead-names", "standard"], "rec.npy: the recording is empty"),
    "header of length 0": (header([[]], length=0), [], "rec.hea: the recording is empty, 0 samples"),
    "empty data file": (header([[]], length=5), [], "rec.dat: the recording is empty, 0 bytes"),
    "3 unnamed channels": (array(np.zeros((3, 500))), ["--fs", "500"], "rec.npy: 3 channels without names"),
    "header of rate 0": (header([[1, 2]], fs="0"), [], "rec.hea: a sampling rate of 0 Hz is not possible"),
    "array without a rate": (array(np.zeros((1, 9))), ["--lead-names", "I"], "carries no sampling rate; give it with --fs"),
    "all NaN": (array(np.full((1, 99), np.nan)), ["--fs", "500", "--lead-names", "I"], "every sample is missing (NaN)"),
    "all invalid": (header([[-32768] * 9]), [], "rec.hea: every sample is missing (NaN)"),
    "flat": (header([[5] * 900]), [], "no lead has a signal between 0 and 10 s"),
    "pickle": (pickled, [], "rec.npy: not a readable NumPy file"),
    "objects": (array(np.array([{}], object)), [], "it holds Python objects, which are never read"),
    "corrupt npz": (corrupt, [], "rec.npz: not a readable NumPy file"),
    "text called .hea": (content(b"Good morning,\nhello", "rec.hea"), [], "rec.hea: not a readable WFDB header"),
    "text called .mat": (content(b"Good morning,\nhello" * 20, "rec.mat"), [], "rec.mat: not a readable MATLAB file"),
    "another kind of file": (content(b"%PDF", "rec.pdf"), [], "rec.pdf: not recognised as a recording"),
    "folder without recordings": (without_recordings, [], "empty: holds no recording"),
    "start beyond the end": (header([[1, 2, 3, 4, 5] * 100]), ["--start", "1"], "--start 1 lies outside the recording"),
    "blank name": (lambda _: Path("  "), [], "a blank name where a recording belongs"),
    "name too long": (lambda folder: folder / ("x" * 300 + ".npy"), [], "cannot be read (File name too long)"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["explain", "x.npy", *TEXT, "--out", ""], "--out: the name of a file or folder is blank"),
        (["explain", "x.npy", *TEXT, "--out="], "--out: the name of a file"),
        (["simulate", "af", "-o", ""], "-o: the name of a file"),
        (["explain", "x.npy", "--text-file", ""], "--text-file: the name of a file"),
        (["draw", ""], "draw: the name of a file"),
        (["report", "out", ""], "report: the name of a file"),
        (["summarize", "out", "--out", ""], "--out: the name of a file"),
    ],
)
def test_a_blank_is_not_the_folder_that_one_stands_in(
    ecgcam: Run, tmp_path: Path, arguments: list[str], says: str
) -> None:
    assert_refused(ecgcam, tmp_path, arguments, says)
    assert "is a variable of the shell empty?" in ecgcam(*arguments).err


@pytest.mark.parametrize("case", RECORDS)
@pytest.mark.parametrize("command", ["explain", "score"])
def test_recordings(ecgcam: Run, tmp_path: Path, case: str, command: str) -> None:
    make, options, says = RECORDS[case]
    path = make(tmp_path)
    assert_refused(ecgcam, tmp_path, [command, path, *(TEXT if command == "explain" else ()), *options], says)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no prompt: give what to explain"),
        (["--text", ""], "--text: a blank prompt"),
        (["--text", " \t "], "--text: a blank prompt"),
        (["--text", "af", "--text", ""], "--text: a blank prompt"),
        (["--text", "caf\udce9"], "not UTF-8 text"),
        ([*TEXT, "--method", "magic"], "--method magic: no such method; `ecgcam methods` lists all "),
        ([*TEXT, "--mask", "magic"], "--mask magic: no such mask; choose from baseline, "),
        ([*TEXT, "--mask", "mean"], "--mask mean: this model states no training mean per lead"),
        ([*TEXT, "--smoother", "magic"], "--smoother magic: no such smoother; choose from gaussian, "),
        ([*TEXT, "--scale", "magic"], "--scale magic: no such choice; choose from evidence, lead, raw"),
        ([*TEXT, "--layout", "4x3"], "--layout 4x3: no such choice; choose from 12x1, 3x4"),
        ([*TEXT, "--gradient", "magic"], "--gradient magic: no such choice; choose from record, lead"),
        ([*TEXT, "--model", "magic"], "--model magic: no such model; `ecgcam models list` lists all"),
        ([*TEXT, "--model", "magic.toml"], "--model magic.toml: no such model file; check the path"),
        ([*TEXT, "--layer", "magic"], "--layer magic: no such layer in mini; choose from "),
        ([*TEXT, "--device", "magic"], "--device magic: no such device; choose from auto, cpu, cuda, cuda:N, mps"),
        ([*TEXT, "--device", "cuda:x"], "--device cuda:x: no such device (did you mean cuda"),
        ([*TEXT, "--method", "gradcam"], "--method gradcam: no such method (did you mean grad-cam"),
        ([*TEXT, "--mask", "zeros"], "--mask zeros: no such mask (did you mean zero or zero-mv?); choose from baseline"),
        ([*TEXT, "--model", "merl"], "--model merl: no such model (did you mean merl-"),
        ([*TEXT, "--layer", "signal.stage.1"], "--layer signal.stage.1: no such layer in mini (did you mean signal.stages.1"),
        ([*TEXT, "--checkpoint", "magic.pt"], "magic.pt: no such file; check the path given with --checkpoint"),
        ([*TEXT, "--embeddings", "magic.npz"], "magic.npz: no such file; check the path given with --embeddings"),
        ([*TEXT, "--smooth", "-1"], "--smooth -1: must be 0 or more"),
        ([*TEXT, "--smooth", "nan"], "--smooth nan"),
        ([*TEXT, "--smooth", "60000"], "--smooth 60000: wider than the window of 10000 ms"),
        ([*TEXT, "--start", "-1"], "--start -1: must be 0 or more"),
        ([*TEXT, "--start", "99"], "--start 99 lies outside the recording, which lasts 10 s"),
        ([*TEXT, "--seconds", "0"], "--seconds 0: must be a positive number of seconds"),
        ([*TEXT, "--all", "--hop", "0"], "--hop 0: must be a positive number of seconds"),
        ([*TEXT, "--hop", "5"], "--hop 5: is the step of --all, which is not given; add --all"),
        ([*TEXT, "--fs", "0"], "--fs 0: not possible for an ECG"),
        ([*TEXT, "--fs", "250"], "--fs 250 contradicts the file, which states 500 Hz; leave it out"),
        ([*TEXT, "--lead-names", "I,I"], "--lead-names I,I: a lead is named twice"),
        ([*TEXT, "--lead-names", "I,II"], "2 lead names for 12 channels"),
        ([*TEXT, "--all", "--follow"], "--all and --follow: one explains the existing recording, the other new samples"),
        ([*TEXT, "--follow", "--start", "1"], "--follow: takes the newest window, whole"),
        ([*TEXT, "--text-model", "magic"], "magic: no such folder; --text-model takes one with a tower's"),
        ([*TEXT, "--model", "a.b:c", "--precision", "bf16"], "--precision bf16: --model a.b:c is your own code"),
        (["--target", "NORM", "--top", "3"], "--top 3: chooses among texts; leave --target out"),
        # Typer's own
        ([*TEXT, "--magic"], "No such option: --magic"),
        (["--text"], "Option '--text' requires an argument (see ecgcam "),
        ([*TEXT, "--start", "soon"], "Invalid value for '--start'"),
        ([*TEXT, "--start"], "Option '--start' requires an argument"),
        ([*TEXT, "--seed", "-1"], "Invalid value for '--seed'"),
        ([*TEXT, "--seed", "1.5"], "Invalid value for '--seed'"),
    ],
)  # fmt: skip
def test_flags(ecgcam: Run, tmp_path: Path, recordings: Path, arguments: list[str], says: str) -> None:
    assert_refused(ecgcam, tmp_path, ["explain", recordings / "af-7.dat", *arguments], says)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["magic"], "No such command 'magic'"),
        (["explain"], "no recording named: give a file"),
        (["explain", *TEXT], "no recording named: give a file"),
        (["score"], "Missing argument 'RECORD"),
        (["models", "magic"], "No such command 'magic'"),
        (["models", "show"], "Missing argument"),
        (["models", "show", "magic"], "magic: no such model"),
        (["simulate", "magic"], "magic"),
        (["simulate"], "Missing argument 'FINDING"),
        (
            ["simulate", "st-elevation", "--set", "wall=posterior"],
            "wall=posterior: no such wall; choose one of inferior",
        ),
        (["simulate", "af", "--set", "wall=inferior"], "af has no wall"),
        (["simulate", "q-waves", "--set", "wal=inferior"], "--set wal=inferior: no such setting; write --set wall="),
        (["simulate", "q-waves", "--set", "wall=lateral", "--set", "wall=inferior"], "set twice"),
        (["--magic"], "No such option: --magic"),
        (["explain", "-", *TEXT], "no recording named"),
    ],
)
def test_calls(ecgcam: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert_refused(ecgcam, tmp_path, arguments, says)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "prompts.txt: holds no prompt; --text-file takes one prompt per line"),
        (b" \n\r\n\t\n", "prompts.txt: holds no prompt"),
        ("Flimmern \xfcber".encode("latin-1"), "prompts.txt: is not UTF-8 text"),
        (None, "prompts.txt: cannot be read (No such file or directory)"),
    ],
)
@pytest.mark.parametrize("command", ["explain", "score"])
def test_files_of_prompts(
    ecgcam: Run, tmp_path: Path, recordings: Path, command: str, data: bytes | None, says: str
) -> None:
    if data is not None:
        (tmp_path / "prompts.txt").write_bytes(data)
    assert_refused(ecgcam, tmp_path, [command, recordings / "af-7.dat", "--text-file", "prompts.txt"], says)


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("file", "file: cannot write here"),
        ("file/below", "file/below: cannot write here"),
        ("taken", "taken/af-7: is a file where a folder of results belongs"),
        ("/proc/ecgcam", "/proc/ecgcam: cannot write here"),
        ("x" * 300, "cannot write here (File name too long)"),
    ],
)
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_places_that_cannot_be_written(
    ecgcam: Run, tmp_path: Path, recordings: Path, out: str, says: str, force: list[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/af-7").touch()
    assert_refused(ecgcam, tmp_path, ["explain", recordings / "af-7.dat", *TEXT, "--out", out, *force], says)


def test_a_flag_is_told_once_however_many_recordings(ecgcam: Run, tmp_path: Path, recordings: Path) -> None:
    assert_refused(ecgcam, tmp_path, ["explain", recordings, *TEXT, "--fs", "0"], "--fs 0: not possible for an ECG")


def test_debug_shows_where_and_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ecgcam.cli.app import run

    assert run(["explain", "no.dat", *TEXT, "--debug"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("ecgcam: no.dat: no such recording; check the path\n")


def test_the_guard_against_loading_works(ecgcam: Run, recordings: Path) -> None:
    """A call with nothing wrong does load the model, so the fixture above can fail."""
    with pytest.raises(pytest.fail.Exception, match="a model was loaded"):
        ecgcam("explain", recordings / "af-7.dat", *TEXT)
    assert model_file.load_spec("mini").input.samples == 2500
