"""A process that tries mutants in a copy of the checkout: `python -m tests.mutation.worker`, started there by `tests.mutation`.

Questions come as lines of JSON on standard input, answers go to standard output. Everything but ecgcam is imported once; each
mutant is tried in a forked child.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import pytest

# What most tests import: a child need not do so again. No plugin of pytest: it imports those itself.
_BEFOREHAND = (
    "torch",
    "scipy.signal",
    "scipy.io",
    "wfdb",
    "matplotlib.pyplot",
    "typer.testing",
    "rich.console",
    "safetensors.torch",
)
_MEMORY = 12 << 30
_WAITS = 8  # seconds that pass for one of the processor, where many want it


class Watch:
    """Notes the first test that fails, and ends a test that takes far longer than it did."""

    def __init__(self, seconds: dict[str, float], patience: float) -> None:
        self.seconds = seconds
        self.patience = patience
        self.failed = ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item):
        seconds = self.patience + 10 * self.seconds.get(item.nodeid, 1.0)
        # Of the processor, so that a busy machine kills no mutant; and who waits for ever waits long enough.
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.alarm(math.ceil(_WAITS * seconds))
        result = yield
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.failed:
            self.failed = f"collecting {report.nodeid}"


def judged(seconds: dict[str, float], patience: float) -> tuple[str, str]:
    """Return (killed, survived, killed by time or unknown; the test that failed), running the tests in a child."""
    with tempfile.TemporaryFile("w+") as answer, tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if not child:
            _be_child(seconds, patience, answer.fileno(), said.fileno())
        until = time.monotonic() + _WAITS * (4 * patience + 10 * sum(seconds.values()))
        status = None
        while status is None and time.monotonic() < until:
            ended, got = os.waitpid(child, os.WNOHANG)
            status = got if ended else None
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # what the tests started, too
        if status is None:
            os.waitpid(child, 0)
            return "killed by time", ""
        answer.seek(0)
        failed = answer.read()
        if os.WIFSIGNALED(status):
            ended_by = signal.Signals(os.WTERMSIG(status))
            late = ended_by in (signal.SIGALRM, signal.SIGPROF)
            return "killed by time" if late else "killed", ended_by.name
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            return "survived", ""
        if code == 1 or failed:
            return "killed", failed
        said.seek(0)
        return "unknown", said.read()[-2000:]


def _be_child(seconds: dict[str, float], patience: float, answer: int, said: int) -> None:
    status = 70
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(said, 1)
        os.dup2(said, 2)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        watch = Watch(seconds, patience)
        arguments = ["-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=line", *seconds]
        status = int(pytest.main(arguments, plugins=[watch]))
        os.write(answer, watch.failed.encode())
    except BaseException:  # noqa: BLE001  (whatever a mutant does, the child ends)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Answer questions until standard input ends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in _BEFOREHAND:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        question = json.loads(line)
        path = Path(question["path"])
        original, times = path.read_bytes(), path.stat()
        start, end, after = question["start"], question["end"], question["after"].encode()
        # Another time than the compiled file knows, so that Python reads the source.
        path.write_bytes(original[:start] + after + original[end:])
        os.utime(path, (times.st_atime, times.st_mtime + 10))
        began = time.monotonic()
        try:
            verdict, by = judged(question["tests"], question["patience"])
        finally:
            path.write_bytes(original)
            os.utime(path, (times.st_atime, times.st_mtime))
        answers.write(json.dumps({"verdict": verdict, "by": by, "seconds": round(time.monotonic() - began, 1)}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
