"""Processes without torch that read, draw and write while this one runs the model. No torch.

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
_MAIN = "import sys; sys.path[:] = {path!r}; from ecgcam.batch.helpers import serve; serve()"


# Helpers multiply no matrices; without threads one can fork to draw in two processes.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Helpers:
    """A number of helpers, each with a thread here that hands it one task after the other.

    Parameters
    ----------
    count : int
        How many processes.
    warm_up : callable, optional
        What each does first, for its imports: a function of a module, without arguments.
    long : bool
        Tasks take long and write nothing: when the run breaks off, those that have begun are not waited for.
    """

    def __init__(self, count: int, warm_up: Callable[[], object] | None = None, *, long: bool = False) -> None:
        self.count, self._long, self._given_up = count, long, False
        # A helper alone has a processor to spare: those of a few recordings, while the model's process waits for it.
        self.spare = count == 1 and cores() > 1
        self._own = threading.local()
        self._processes = [_Process(warm_up) for _ in range(count)]
        self._free = list(self._processes)
        self._told: set[str] = set()
        self._telling = threading.Lock()
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
        for _ in range(2):
            process: _Process = self._own.process
            try:
                good, value, notes = process.ask(function, args, kwargs)
            except (
                EOFError,
                BrokenPipeError,
                pickle.UnpicklingError,
            ):  # it is gone, perhaps in the middle of an answer
                said = process.end()
                if self._given_up:
                    break
                process.begin()
                continue
            for level, note in notes:
                with self._telling:  # each process says once what is to be said once
                    if note not in self._told:
                        self._told.add(note)
                        log.log(level, "%s", note)
            if not good:
                raise value
            return value
        raise EcgcamError(
            f"a helper process died twice of it ({said}); is memory short? --jobs 1 works without helpers"
        )


# Where disks are far away, several processes wait for them on one processor.
_MOST, _MOST_OF_A_CORE = 32, 4
# Fewer recordings than this are done before several helpers have imported what they need.
_FEW = 4


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def most_processes(jobs: int | None) -> int | None:
    """Return `jobs`, or as many processes as this machine can have some use for; beyond, they would only fill its memory."""
    most = max(_MOST, _MOST_OF_A_CORE * cores())
    if jobs is None or jobs <= most:
        return jobs
    log.warning("--jobs %d: no more than %d are started on this machine", jobs, most)
    return most


def helpers_for(
    recordings: int | None, jobs: int | None, *, drawing: bool = True
) -> contextlib.AbstractContextManager[Helpers | None]:
    """Return the helpers for so many recordings (None: it is not known), of which `jobs` may run; None where they do not pay."""
    count = most_processes(jobs) or cores()
    if jobs is None and recordings is not None and recordings < _FEW:
        # One helper imports Matplotlib while this process imports torch, unless it has.
        count = min(count, 2) - 1 if drawing and "torch" not in sys.modules else 0
        return Helpers(1, learn_to_draw) if count else contextlib.nullcontext()
    if count == 1:
        return contextlib.nullcontext()
    return Helpers(count, learn_to_draw if drawing else learn_to_read)


def learn_to_read() -> None:
    """Import what reading and writing need."""
    import ecgcam.batch.reading
    import ecgcam.store  # noqa: F401


def learn_to_draw() -> None:
    """Import what reading, writing and drawing need."""
    with uncollected():
        learn_to_read()
        import ecgcam.render  # noqa: F401


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Let imports run without the garbage collector looking through what they make, of which nothing is garbage."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def be_patient() -> None:
    """Let torch's threads sleep while they wait for one another, where nothing else is asked for: call before it is imported.

    By default they keep a processor busy, which the helpers need.
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
    be_patient()  # the library that heeds it is among them
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
            self.kill()  # it heeds no other signal, and has nothing in hand
        for stream in (self._popen.stdin, self._popen.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        code = self._popen.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


class _Collected(logging.Handler):
    """Keeps what is logged, for the parent to say."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.notes.append((record.levelno, record.getMessage()))


def serve() -> None:
    """Be a helper: run what is asked on standard input until it ends. Prints go to stderr, answers to the pipe."""
    # Its end is for its parent to decide, which ends with what has begun: a batch system sends its signals to both.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    questions = sys.stdin.buffer
    answers: BinaryIO = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    collected = _Collected()
    log.addHandler(collected)
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
