"""Processes that read, draw and write: what they answer, and what happens when they die."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import pytest

from ecgcam.errors import EcgcamError
from ecgcam.runs.engine import drawing_helper, workers_for
from ecgcam.runs.helpers import Helpers, WorkerLostError, _Process


def double(x: int) -> int:
    return 2 * x


def refuse(name: str) -> None:
    raise EcgcamError(f"{name}: no")


def divide(x: int) -> float:
    return 1 / (x - x)


def say(word: str) -> str:
    print(word)  # noqa: T201  (must not disturb the answers)
    logging.getLogger("ecgcam").info("said %s", word)
    return word


def die(marker: Path, times: int) -> str:
    with marker.open("a") as file:
        file.write("x")
    if marker.stat().st_size <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def has_torch() -> bool:
    return "torch" in sys.modules


def warm() -> None:
    os.environ["WARM"] = "yes"


def is_warm() -> str | None:
    return os.environ.get("WARM")


@pytest.fixture(autouse=True)
def _found_by_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pytest imports this file under a name that only it can find; helpers import it by its folder."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import test_helpers

    for function in (double, refuse, divide, say, die, has_torch, warm, is_warm):
        monkeypatch.setitem(globals(), function.__name__, getattr(test_helpers, function.__name__))


def test_answers_come_back_and_errors_too(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("ecgcam")
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(logger, "handlers", [])
    with caplog.at_level(logging.INFO, "ecgcam"), Helpers(2, warm) as helpers:
        assert [future.result() for future in [helpers.submit(double, i) for i in range(20)]] == list(range(0, 40, 2))
        with pytest.raises(EcgcamError, match="rec: no"):
            helpers.submit(refuse, "rec").result()
        with pytest.raises(ZeroDivisionError) as error:
            helpers.submit(divide, 3).result()
        assert "in a helper process" in error.value.__notes__[0]
        assert [helpers.submit(say, "word").result() for _ in range(4)] == ["word"] * 4
        assert helpers.submit(has_torch).result() is False
        assert helpers.submit(is_warm).result() == "yes"
    assert caplog.messages == ["said word"]  # once, whichever helpers said it
    assert "EcgcamWarning" not in capfd.readouterr().err  # and not as a warning of the helper itself too


def test_a_helper_that_dies_is_replaced_and_its_task_done(tmp_path: Path) -> None:
    with Helpers(1) as helpers:
        assert helpers.submit(die, tmp_path / "once", 1).result() == "alive"
        with pytest.raises(EcgcamError, match=r"ended early \(signal 9\); is memory short\? `jobs` 1"):
            helpers.submit(die, tmp_path / "twice", 2).result()
        assert helpers.submit(double, 4).result() == 8


def test_long_tasks_are_not_waited_for_when_the_run_breaks_off() -> None:
    pids: list[int] = []
    tasks: list[Future[None]] = []

    def break_off() -> None:
        with Helpers(2, long=True) as helpers:
            pids.extend(helpers.submit(os.getpid).result() for _ in range(8))
            tasks.extend(helpers.submit(time.sleep, 3600) for _ in range(5))
            while sum(task.running() for task in tasks) < 2:
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert not any(map(_runs, pids))
    assert all(task.cancelled() or task.exception() is not None for task in tasks)


def test_a_task_still_in_the_queue_when_the_run_breaks_off_never_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the end of the processes and that of the queue, a thread may take the next task."""
    tasks: list[Future[None]] = []
    kill = _Process.kill

    def kill_and_let_the_thread_go_on(process: _Process) -> None:
        kill(process)
        for _ in range(500):
            if tasks[-1].done():
                break
            time.sleep(0.01)

    def break_off() -> None:
        with Helpers(1, long=True) as helpers:
            tasks.extend(helpers.submit(time.sleep, 60) for _ in range(4))
            while not tasks[0].running():
                time.sleep(0.01)
            monkeypatch.setattr(_Process, "kill", kill_and_let_the_thread_go_on)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert all(isinstance(task.exception(), WorkerLostError) for task in tasks)


def test_they_end_with_the_process_that_started_them() -> None:
    code = (
        "import os, sys, time; from ecgcam.runs.helpers import Helpers\n"
        "helpers = Helpers(2)\nprint(*[p._popen.pid for p in helpers._processes], flush=True)\ntime.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    helpers = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(helpers) == 2
    assert all(map(_runs, helpers))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(200):
        if not any(map(_runs, helpers)):
            return
        time.sleep(0.05)
    pytest.fail("helpers outlive their parent")


def _runs(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


class UnreadableError(Exception):
    """Its pickle cannot be read: unpickling calls the constructor with one argument."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(one + two)


def unreadable() -> None:
    raise UnreadableError(1, 2)


def test_an_answer_that_cannot_be_read_is_not_taken_for_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import test_helpers

    with Helpers(1) as helpers:
        with pytest.raises(TypeError):
            helpers.submit(test_helpers.unreadable).result()
        assert [helpers.submit(double, i).result() for i in range(3)] == [0, 2, 4]


def test_a_long_task_that_dies_is_tried_once(tmp_path: Path) -> None:
    """Whoever runs it decides what becomes of its recordings."""
    with Helpers(1, long=True) as helpers:
        with pytest.raises(WorkerLostError, match="signal 9"):
            helpers.submit(die, tmp_path / "once", 1).result()
        assert helpers.submit(double, 4).result() == 8


def test_a_helper_draws_where_torch_is_still_to_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecgcam.runs.engine.cores", lambda: 2)
    monkeypatch.setitem(sys.modules, "torch", sys)  # nothing is gained next to an import that is over
    with drawing_helper(1, pictures=True) as none:
        assert none is None
    monkeypatch.delitem(sys.modules, "torch")
    for recordings, pictures in ((1, False), (None, True)):
        with drawing_helper(recordings, pictures=pictures) as none:
            assert none is None
    with drawing_helper(1, pictures=True) as helper:
        assert helper is not None
        assert helper.spare


def test_no_more_are_started_than_the_machine_has_use_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("ecgcam")
    monkeypatch.setattr(logger, "propagate", True)
    for cores, most in ((2, 32), (40, 160)):
        monkeypatch.setattr("ecgcam.runs.helpers.cores", lambda cores=cores: cores)
        assert workers_for(1_000_000, 100_000, pictures=True) == most
    assert "`jobs` 100000: no more than 32 are started on this machine" in caplog.text


_AHEAD = """
import os, sys, threading
from ecgcam.runs.helpers import load_torch_ahead
load_torch_ahead()
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join()
assert "torch" not in sys.modules
assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
assert "libtorch_python.so" in open("/proc/self/maps").read()
import torch
assert float(torch.ones(3) @ torch.ones(3)) == 3.0
load_torch_ahead()
assert threading.active_count() == 1
"""


@pytest.mark.skipif(sys.platform != "linux", reason="done there alone")
def test_torchs_libraries_are_loaded_ahead_of_torch() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    subprocess.run([sys.executable, "-c", _AHEAD], check=True, env=environment)


@pytest.mark.skipif(sys.platform != "linux", reason="done there alone")
def test_torch_without_its_libraries_is_left_to_torch(tmp_path: Path) -> None:
    """Of another build, or half installed: the import says what is wrong, if anything is."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("there = True\n")
    code = (
        f"import sys, threading; sys.path.insert(0, {str(tmp_path)!r}); from ecgcam.runs.helpers import load_torch_ahead;"
        "load_torch_ahead(); [t.join() for t in threading.enumerate() if t is not threading.main_thread()];"
        "import torch; assert torch.there"
    )
    got = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert got.stderr == ""
