"""Ctrl-C, SIGTERM and SIGHUP at any moment: 130, 143 or 129, one line, what is there is whole, and no process is left."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Run
from tests.cli.test_many import assert_same_results, six  # noqa: F401  (a fixture)
from tests.cli.test_process import ECGCAM

from ecgcam.results.explanation import Explanation


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Tests that a script started in its background were told to ignore Ctrl-C, and what they start would be too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_whatever_is_raised_over_it(
    ecgcam: Run, lead_v1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A zip file that is left in the middle of a write raises an error of its own."""

    def save(*_: object, **__: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise ValueError("Can't close the ZIP file while there is an open writing handle on it")

    monkeypatch.setattr("ecgcam.results.explanation.save_arrays", save)
    got = ecgcam(
        "explain", lead_v1, "--text", "af", "--fs", "500", "--lead-names", "V1", "--no-png", "--jobs", "1",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert (got.code, got.out) == (130, "")
    assert got.err.splitlines()[-1] == "ecgcam: interrupted; finished results are complete"
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()


def test_in_the_making_of_a_class() -> None:
    """What comes in `__set_name__` while modules are imported, Python 3.11 wraps in a RuntimeError."""
    script = """
import sys
import ecgcam.cli
class Interrupted:
    def __set_name__(self, owner, name):
        raise KeyboardInterrupt
class Finder:
    def find_spec(self, name, path, target=None):
        if name == "ecgcam.cli.app":
            type("Made", (), {"attribute": Interrupted()})
sys.meta_path.insert(0, Finder())
ecgcam.cli.main(["--version"])
"""
    got = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert (got.returncode, got.stdout) == (130, "")
    assert got.stderr == "ecgcam: interrupted; finished results are complete\n"


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_while_torch_is_imported_it_waits(number: str) -> None:
    """An exception that comes through torch's C++ ends the process (pybind11::error_already_set)."""
    script = f"""
import os, signal, sys, time, types, importlib.machinery
from ecgcam.cli import signals
signal.signal(signal.SIGINT, signal.default_int_handler)
signals.install_handlers()
torch = sys.modules["torch"] = types.ModuleType("torch")
torch.__spec__ = importlib.machinery.ModuleSpec("torch", None)
torch.__spec__._initializing = True
os.kill(os.getpid(), signal.{number})
time.sleep(0.2)
print("imported", flush=True)
torch.__spec__._initializing = False
try:
    time.sleep(5)
except KeyboardInterrupt:
    print("ended", signals.exit_code())
"""
    got = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert got.stdout == f"imported\nended {128 + getattr(signal, number)}\n", got.stderr


@pytest.mark.slow
@pytest.mark.parametrize("results", [0, 1, 3])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_after_so_many_results(recordings: Path, tmp_path: Path, results: int, jobs: str) -> None:
    prompts = [word for text in ("af", "lbbb", "normal ECG", "pacing", "flutter") for word in ("--text", text)]
    call = subprocess.Popen(
        [*ECGCAM, "explain", str(recordings), *prompts, "--json", "--jobs", jobs, "--out", str(tmp_path / "out")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert call.stdout is not None
    if results == 0:
        time.sleep(1.5)  # in the middle of imports
    for _ in range(results):
        assert json.loads(call.stdout.readline())
    call.send_signal(signal.SIGINT)
    _, err = call.communicate(timeout=120)
    assert call.returncode == 130, err
    assert err.splitlines()[-1] == "ecgcam: interrupted; finished results are complete"
    assert "Traceback" not in err
    assert not list(tmp_path.rglob(".*"))
    there = list(tmp_path.rglob("summary.json"))
    assert results <= len(there) < 15
    for summary in there:
        assert Explanation.load(summary.parent).meta["text"] == json.loads(summary.read_text())["text"]
        assert len(list(summary.parent.glob("lead-*.png"))) == 12


class Marked:
    """A call whose processes, helpers too, are known by a word in their environment."""

    def __init__(self, folder: Path, *arguments: str, stdin: int = subprocess.DEVNULL) -> None:
        self.mark = f"ECGCAM_TEST_MARK={uuid.uuid4()}"
        name, _, value = self.mark.partition("=")
        if (
            signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        ):  # as in a shell's background, which children would inherit
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self.process = subprocess.Popen(
            [*ECGCAM, *arguments], cwd=folder, env=os.environ | {name: value}, stdin=stdin,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def processes(self) -> list[int]:
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # another's, or gone
                if self.mark.encode() in (place / "environ").read_bytes():
                    found.append(int(place.name))
        return found

    def heeds(self) -> None:
        """Wait for the first line of ecgcam: before it the system ends the process. On a busy machine that takes a while."""
        limit = time.monotonic() + 60
        while time.monotonic() < limit:
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{self.process.pid}/status").read_text()
                caught = int(status.partition("SigCgt:")[2].split()[0], 16)
                if caught >> (signal.SIGHUP - 1) & 1:
                    return
            time.sleep(0.005)
        raise AssertionError("never came to heed signals")

    def send(self, number: int, *, to_all: bool) -> None:
        """To the process alone, or, as Slurm does, to every process of the job."""
        for pid in self.processes() if to_all else [self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def end(self, seconds: float = 120) -> tuple[int, list[str]]:
        """Wait for its end and that of its helpers; return its exit code and what it said."""
        _, err = self.process.communicate(timeout=seconds)
        limit = time.monotonic() + 60
        while left := self.processes():
            assert time.monotonic() < limit, f"processes {left} are left"
            time.sleep(0.05)
        return self.process.returncode, err.splitlines()


LINES = {
    signal.SIGINT: "ecgcam: interrupted; finished results are complete",
    signal.SIGTERM: "ecgcam: ended by SIGTERM; finished results are complete",
    signal.SIGHUP: "ecgcam: ended by SIGHUP; finished results are complete",
}
NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes by Linux's /proc")


def assert_whole(out: Path) -> int:
    """No unfinished file, and every result complete; how many there are."""
    assert not list(out.rglob(".*"))
    there = list(out.rglob("summary.json"))
    for summary in there:
        assert Explanation.load(summary.parent).meta["text"] == json.loads(summary.read_text())["text"]
    return len(there)


@NEEDS_PROC
@pytest.mark.slow
@pytest.mark.parametrize("how", [["--jobs", "1"], ["--jobs", "2"], ["--jobs", "2", "--pack", "4"]])
def test_signals_at_random_moments_and_resume(tmp_path: Path, six: Path, how: list[str]) -> None:  # noqa: F811
    """Until it is done, with a different signal each time: first in its imports, then ever later."""
    (tmp_path / "in").mkdir()
    for i in range(20):
        (tmp_path / f"in/s{i}.npz").symlink_to(six / f"r{i % 6}.npz")
    flags = ["explain", "in", "--text", "af", "--text", "normal ECG", "--quiet", *how]
    subprocess.run([*ECGCAM, *flags, "--out", "whole"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    chance = random.Random(11)  # noqa: S311  (the same choices every time)
    ended = dict.fromkeys(LINES, 0)
    for attempt in range(9):
        call = Marked(tmp_path, *flags, "--out", "out", "--resume")
        number = list(LINES)[attempt % 3]
        call.heeds()
        time.sleep(attempt * 0.4 + chance.uniform(0, 0.4))
        call.send(number, to_all=attempt % 2 == 1)
        code, said = call.end()
        if code == 0:  # it was done before
            break
        assert (code, said) == (128 + number, [LINES[number]])
        ended[number] += 1
        assert_whole(tmp_path / "out")
    assert all(ended.values()), ended
    subprocess.run([*ECGCAM, *flags, "--out", "out", "--resume"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    if "--pack" in how:
        for out in ("whole", "out"):
            for path in sorted((tmp_path / out).glob("*.tar")):
                subprocess.run(["tar", "-xf", path, "-C", tmp_path / out], check=True)
    assert_same_results(tmp_path / "whole", tmp_path / "out")


@NEEDS_PROC
@pytest.mark.slow
def test_evaluate_is_ended_and_resumed(tmp_path: Path, six: Path) -> None:  # noqa: F811
    flags = ["evaluate", *(str(six / f"r{i}.npz") for i in range(4)), "--text", "af", "--quiet"]
    call = Marked(tmp_path, *flags, "--out", "out")
    journal = tmp_path / "out/evidence-records.jsonl"
    limit = time.monotonic() + 300
    while not (journal.is_file() and journal.read_bytes().count(b"\n") >= 3):
        assert call.process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.02)
    call.send(signal.SIGTERM, to_all=True)
    assert call.end() == (143, [LINES[signal.SIGTERM]])
    assert [path.name for path in (tmp_path / "out").iterdir()] == [journal.name]
    kept = journal.read_bytes().splitlines(keepends=True)
    for out, resume in (("out", ["--resume"]), ("whole", [])):
        subprocess.run([*ECGCAM, *flags, "--out", out, *resume], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    assert journal.read_bytes().splitlines(keepends=True)[: len(kept) - 1] == kept[:-1]
    one, two = ((tmp_path / out / "evidence.jsonl").read_text() for out in ("out", "whole"))
    assert one == two


@NEEDS_PROC
@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [["explain", "-", "--text", "af"], ["explain", "GROWS", "--text", "af", "--follow"]]
)
def test_what_waits_is_ended(tmp_path: Path, lead_v1: Path, arguments: list[str]) -> None:
    """A list that does not come, a recording that does not grow."""
    from tests.records.by_hand import wfdb

    grows = wfdb(tmp_path, [list(range(50))], ["V1"], fs="50")
    call = Marked(tmp_path, *(str(grows) if word == "GROWS" else word for word in arguments), stdin=subprocess.PIPE)
    call.heeds()
    time.sleep(4)
    call.send(signal.SIGTERM, to_all=False)
    code, said = call.end()
    assert (code, said[-1]) == (143, LINES[signal.SIGTERM])


@NEEDS_PROC
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ray_and_its_workers_are_ended(tmp_path: Path, six: Path, number: int) -> None:  # noqa: F811
    from tests.cli.test_ray import _need_ray

    _need_ray()
    (tmp_path / "in").mkdir()
    for i in range(60):
        (tmp_path / f"in/s{i:02d}.npz").symlink_to(six / f"r{i % 6}.npz")
    call = Marked(tmp_path, "explain", "in", "--text", "af", "--quiet", "--engine", "ray", "--jobs", "2")
    limit = time.monotonic() + 120
    while not list(tmp_path.glob("ecgcam-out/*/*/summary.json")):
        assert call.process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.02)
    call.send(number, to_all=False)
    assert call.end() == (128 + number, [LINES[signal.Signals(number)]])
    assert 1 <= assert_whole(tmp_path / "ecgcam-out") < 60


@NEEDS_PROC
@pytest.mark.slow
def test_nohup_is_heeded(tmp_path: Path, lead_v1: Path) -> None:
    """Who starts a call with SIGHUP ignored wants it to go on."""
    command = 'trap "" HUP; exec "$@"'
    call = subprocess.Popen(
        ["sh", "-c", command, "sh", *ECGCAM, "explain", str(lead_v1), "--fs", "500", "--lead-names", "V1", "--text", "af"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    for _ in range(8):
        time.sleep(0.3)
        call.send_signal(signal.SIGHUP)
    out, err = call.communicate(timeout=60)
    assert (call.returncode, err) == (0, b"")
    assert b"results in" in out


def test_an_interruption_that_python_passes_over_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python lets no exception out of finalizers, importlib's own callbacks among them."""
    from ecgcam.cli import signals

    monkeypatch.setattr("sys.unraisablehook", signals._reraise_lost_interrupt)

    class Finalized:
        def __del__(self) -> None:
            raise KeyboardInterrupt

    def work() -> None:
        thing = Finalized()
        del thing
        time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        work()


@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("where", ["numpy.lib.format.read_array_header_1_0", "numpy.lib.format.read_magic"])
def test_an_interruption_inside_a_reader_is_no_damaged_file(
    ecgcam: Run, lead_v1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, over: bool
) -> None:
    """Neither as it is nor where something else is raised over it on its way: the recordings behind it are not read."""
    calls = []

    def interrupted(*_: Any, **__: Any) -> None:
        calls.append(1)
        try:
            raise KeyboardInterrupt
        finally:
            if over:
                raise ValueError("in the middle")

    monkeypatch.setattr(where, interrupted)
    others = []
    for i in range(3):
        others.append(tmp_path / f"r{i}.npy")
        others[-1].write_bytes(lead_v1.read_bytes())
    got = ecgcam(
        "explain", *others, "--text", "af", "--fs", "500", "--lead-names", "V1", "--no-png", "--jobs", "1",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert (got.code, got.out) == (130, "")
    assert got.err.splitlines()[-1] == LINES[signal.SIGINT]
    assert "damaged" not in got.err
    assert "not a readable" not in got.err
    assert len(calls) == 1
    assert not (tmp_path / "out").exists()
