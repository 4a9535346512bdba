"""Helper processes that run functions of modules while this one continues. No torch in this module.

Threads would not do: Python imports and draws under one lock. A helper is an interpreter of its own, started with a pipe to
its standard input; if the process that started it is gone, even killed, the pipe ends and so does the helper.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.machinery import PathFinder
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, ParamSpec, TypeVar, cast

from ecgcam.errors import EcgcamError

log = logging.getLogger("ecgcam")
Given = ParamSpec("Given")
Result = TypeVar("Result")

# The search path travels along, so that a helper finds what its parent found.
_MAIN = "import sys; sys.path[:] = {path!r}; from ecgcam.runs.helpers import serve; serve()"


# Helpers multiply no matrices; without threads one can fork to draw in two processes.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class WorkerLostError(EcgcamError):
    """A process ended while it worked on something."""


class Helpers:
    """A number of helpers, each with a thread here that hands it one task after the other.

    Parameters
    ----------
    count : int
        How many processes.
    warm_up : callable, optional
        What each does first, for its imports: a function of a module, without arguments.
    long : bool
        Tasks take long: when the run breaks off, those that have begun are not waited for, and none is tried twice.
    """

    def __init__(self, count: int, warm_up: Callable[[], object] | None = None, *, long: bool = False) -> None:
        self.count, self._long, self._given_up = count, long, False
        # A helper alone has a processor to spare: those of a few recordings, while the model's process waits for it.
        self.spare = count == 1 and cores() > 1
        self._own = threading.local()
        self._processes = [_Process(warm_up) for _ in range(count)]
        self._free = list(self._processes)
        self._logged: set[str] = set()
        self._log_lock = threading.Lock()
        self._threads = ThreadPoolExecutor(count, "ecgcam-helper", self._begin)

    def submit(self, function: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> Future[Result]:
        """Run a function of a module in a helper; arguments and result travel by pickle.

        The future raises what the function raised, or `EcgcamError` if two helpers died of the task.
        """
        return self._threads.submit(self._run, function, args, kwargs)

    def close(self, *, cancel: bool = False) -> None:
        """Wait for the tasks (with `cancel`, only for those that have begun, and not for long ones) and end the processes."""
        if cancel and self._long:
            self._given_up = True
            for process in self._processes:
                process.kill()
        self._threads.shutdown(wait=True, cancel_futures=cancel)
        for process in self._processes:
            process.end(at_once=cancel)

    def __enter__(self) -> Helpers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close(cancel=kind is not None)

    def _begin(self) -> None:
        self._own.process = self._free.pop()

    def _run(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        how = "the run was broken off"
        for _ in range(1 if self._long else 2):
            if self._given_up:  # a task that was still in the queue when the processes were killed
                break
            process: _Process = self._own.process
            try:
                good, value, notes = process.ask(function, args, kwargs)
            except (
                EOFError,
                BrokenPipeError,
                pickle.UnpicklingError,
            ):  # it is gone, perhaps in the middle of an answer
                how = process.end()
                if not self._given_up:
                    process.begin()
                continue
            except BaseException:  # the rest of an answer that cannot be read must not be taken for the next one
                process.end(at_once=True)
                if not self._given_up:
                    process.begin()
                raise
            for level, note in notes:
                with self._log_lock:  # each process notes once what is to be noted once
                    if note not in self._logged:
                        self._logged.add(note)
                        log.log(level, "%s", note)
            if not good:
                raise value
            return value
        raise WorkerLostError(f"a helper process ended early ({how}); is memory short? `jobs` 1 works without helpers")


# Where disks are far away, several processes wait for them on one processor.
_MOST, _MOST_OF_A_CORE = 32, 4


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def most_processes(jobs: int | None) -> int | None:
    """Return `jobs`, or as many processes as this machine can have some use for; beyond, they would only fill its memory."""
    most = max(_MOST, _MOST_OF_A_CORE * cores())
    if jobs is None or jobs <= most:
        return jobs
    log.warning("`jobs` %d: no more than %d are started on this machine", jobs, most)
    return most


def preload_readers() -> None:
    """Import what reading and writing need."""
    import ecgcam.runs.reading
    import ecgcam.runs.writer  # noqa: F401


def preload_renderers() -> None:
    """Import what reading, writing and drawing need."""
    with gc_paused():
        preload_readers()
        import ecgcam.render  # noqa: F401


@contextlib.contextmanager
def gc_paused() -> Iterator[None]:
    """Let imports run without the garbage collector looking through what they make, of which nothing is garbage."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def set_passive_openmp_wait() -> None:
    """Let torch's threads sleep while they wait for one another, unless the user chose otherwise: call before it is imported.

    By default they keep a processor busy, which helpers need.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def load_torch_ahead() -> None:
    """Let the system load torch's libraries while this process still imports and checks; torch itself is not imported.

    That takes a sixth of torch's import, and, unlike Python, does not wait for what else this process does. If it cannot be done
    here, torch does it when it is imported.
    """
    found = PathFinder.find_spec("torch")
    if sys.platform != "linux" or "torch" in sys.modules or found is None or found.origin is None:
        return
    set_passive_openmp_wait()  # the OpenMP library, which reads it, is among them
    folder = Path(found.origin).parent / "lib"

    def load() -> None:
        with contextlib.suppress(OSError):
            # In torch's order.
            ctypes.CDLL(str(folder / "libtorch_global_deps.so"), mode=ctypes.RTLD_GLOBAL)
            ctypes.CDLL(str(folder / "libtorch_python.so"))

    threading.Thread(target=load, daemon=True).start()


class _Process:
    """An interpreter that answers questions."""

    def __init__(self, warm_up: Callable[[], object] | None) -> None:
        self._warm_up = warm_up
        self.begin()

    def begin(self) -> None:
        """Start it, and its imports, without waiting for either."""
        command = [sys.executable, "-c", _MAIN.format(path=sys.path)]
        # Warnings that are errors here are so there: what a helper runs is tested like the rest.
        options = [f"-W{option}" for option in sys.warnoptions]
        self._popen = subprocess.Popen(  # noqa: S603  (this interpreter)
            [command[0], *options, *command[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | _ONE_THREAD,
            process_group=0 if os.name == "posix" else None,  # Ctrl-C is for the parent, which decides what it ends
        )
        self._warming = self._warm_up is not None
        if self._warm_up is not None:
            self._tell((self._warm_up, (), {}))

    def ask(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return (whether it went well, the result or the exception, what was logged)."""
        if self._warming:
            self._answer()
            self._warming = False
        self._tell((function, args, kwargs))
        return self._answer()

    def _tell(self, question: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]) -> None:
        questions = cast("BinaryIO", self._popen.stdin)
        pickle.dump(question, questions, pickle.HIGHEST_PROTOCOL)
        questions.flush()

    def _answer(self) -> Any:
        return pickle.load(cast("BinaryIO", self._popen.stdout))  # noqa: S301  (our own process, started above)

    def kill(self) -> None:
        """Let it end in the middle of what it does."""
        self._popen.kill()

    def end(self, at_once: bool = False) -> str:
        """Let it end by itself, or, `at_once`, in the middle of its imports; return how it did."""
        if at_once:
            self.kill()  # it ignores other signals, and holds nothing
        for stream in (self._popen.stdin, self._popen.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        code = self._popen.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


class _Collected(logging.Handler):
    """Keeps what is logged, for another process to log."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.notes.append((record.levelno, record.getMessage()))


@contextlib.contextmanager
def collect_notes() -> Iterator[list[tuple[int, str]]]:
    """Yield a list that receives what is logged, (level, text), in place of where it would go."""
    collected, handlers = _Collected(), log.handlers[:]
    log.handlers[:] = [collected]
    level, log.propagate = log.level, False
    log.setLevel(logging.INFO)
    try:
        yield collected.notes
    finally:
        log.handlers[:] = handlers
        log.setLevel(level)


def serve() -> None:
    """Be a helper: run the functions that arrive on standard input until it ends. Prints go to stderr, answers to the pipe."""
    # Its end is for its parent to decide, which ends with what has begun: a batch system sends its signals to both.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    questions = sys.stdin.buffer
    answers: BinaryIO = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    collected = _Collected()
    log.handlers[:] = [collected]  # and no warnings of Python: who started it prints the notes
    log.setLevel(logging.INFO)
    log.propagate = False
    while True:
        try:
            function, args, kwargs = pickle.load(questions)  # noqa: S301  (from the process that started this one)
        except EOFError:
            os._exit(0)  # who started it waits for its end, and has no use for its modules being taken apart
        try:
            answer: tuple[bool, Any] = (True, function(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  (raised again where the task came from)
            if not isinstance(error, EcgcamError):
                error.add_note("in a helper process:\n" + traceback.format_exc())
            answer = (False, error)
        try:
            pickle.dump((*answer, collected.notes), answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
        except BrokenPipeError:
            os._exit(0)  # nobody waits for it any more
        collected.notes = []
