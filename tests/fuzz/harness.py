"""Cases run in forked children, so that a crash, a hang or a bomb ends a child and is told, with the case that did it."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from ecgcam.errors import EcgcamError, EcgcamWarning
from tests.fuzz.mutate import mutate

# What no case may go beyond: seconds, and bytes of memory for a file under 10 MB.
SECONDS, MEMORY = 10.0, 1 << 30
# Where a child is stopped whatever it does, so that the machine lives.
CEILING = 4 << 30

Files = dict[str, bytes]


@dataclass(frozen=True)
class Target:
    """Something that reads files.

    Attributes
    ----------
    seeds : callable
        Returns valid files: lists of name -> content.
    read : callable
        Takes the folder they lie in; raises what it raises, and `AssertionError` where an answer is wrong. It is given what
        was damaged, the valid files and the damaged ones.
    struck : tuple of str
        Suffixes of the files that are damaged; empty: any.
    """

    seeds: Callable[[], list[Files]]
    read: Callable[[Path, Files, Files], None]
    struck: tuple[str, ...] = ()


@dataclass
class Finding:
    """A case against the property."""

    target: str
    case: int
    what: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.target} case {self.case}: {self.what} {self.where}".strip()


@dataclass
class Outcome:
    """How many cases ended how, and what was found."""

    refused: int = 0
    read: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def cases(self) -> int:
        """All of them."""
        return self.refused + self.read + len(self.findings)


def damaged(target: str, chosen: Target, seeds: list[Files], seed: int, case: int) -> tuple[Files, Files]:
    """Return the valid files of a case, and them damaged; the same for the same seed, whatever ran before."""
    random = Random(f"{seed}-{target}-{case}")  # noqa: S311  (for tests)
    valid = random.choice(seeds)
    others = [content for files in seeds for content in files.values()]
    names = [name for name in valid if not chosen.struck or name.endswith(chosen.struck)]
    changed = dict(valid)
    for name in random.sample(names, 1 if random.random() < 0.9 else len(names)):
        changed[name] = mutate(valid[name], random, others)
    return valid, changed


def fuzz(
    name: str, target: Target, cases: range, seed: int, *, batch: int = 500, seconds: float = SECONDS, most: int = 20
) -> Outcome:
    """Run cases of a target, `batch` to a child; stop after `most` findings."""
    outcome, seeds = Outcome(), target.seeds()
    position = mmap.mmap(-1, 8)
    todo = list(cases)
    while todo and len(outcome.findings) < most:
        part, todo = todo[:batch], todo[batch:]
        position[:] = struct.pack("q", -1)
        with tempfile.TemporaryDirectory(prefix="ecgcam-fuzz-") as folder, tempfile.TemporaryFile() as report:
            status = _in_a_child(
                partial(_run, name, target, seeds, part, seed, seconds, Path(folder), position, report)
            )
            report.seek(0)
            told = Counter[str]()
            for line in report.read().decode().splitlines():
                entry = json.loads(line)
                if isinstance(entry, str):
                    told[entry] += 1
                else:
                    outcome.findings.append(Finding(name, *entry))
            outcome.refused += told["refused"]
            outcome.read += told["read"]
            if status:
                (last,) = struct.unpack("q", position[:])
                number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
                what = "hangs" if number in {signal.SIGPROF, signal.SIGALRM} else (
                    f"killed by {signal.Signals(number).name}" if number else f"exits {os.waitstatus_to_exitcode(status)}"
                )  # fmt: skip
                outcome.findings.append(Finding(name, last, what))
                todo = [case for case in part if case > last] + todo
    return outcome


def _in_a_child(do: Callable[[], None]) -> int:
    """Return how a forked child that does `do` ended, as `os.waitpid` says it."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: of forks where there are threads
        child = os.fork()
    if child == 0:
        status = 70
        try:
            do()
            status = 0
        except BaseException:  # noqa: BLE001  (whatever it is, the parent is told)
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


def _run(
    name: str, target: Target, seeds: list[Files], cases: list[int], seed: int, seconds: float, folder: Path,
    position: mmap.mmap, report: object,
) -> None:  # fmt: skip
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if "torch" in sys.modules:  # OpenMP's threads did not come along: a region of two would wait for them for ever
        sys.modules["torch"].set_num_threads(1)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    ceiling = pages * resource.getpagesize() + CEILING
    resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    listen()
    for case in cases:
        position[:] = struct.pack("q", case)
        valid, changed = damaged(name, target, seeds, seed, case)
        with _limited(seconds):
            told = tried(target, folder / "case", valid, changed)
        line = told if isinstance(told, str) else (case, *told)
        os.write(report.fileno(), (json.dumps(line) + "\n").encode())  # type: ignore[attr-defined]


def listen() -> None:
    """Keep what is printed: standard output is for results, and what a library prints there while it reads is a finding."""
    os.dup2(os.memfd_create("stdout"), 1)


def tried(target: Target, place: Path, valid: Files, changed: Files) -> str | tuple[str, str]:
    """Lay a case's files into a new folder, have them read, and return what `judge` says; `listen` must have been called."""
    place.mkdir()
    for file, content in changed.items():
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        (place / file).write_bytes(content)
    told = judge(partial(target.read, place, valid, changed), place)
    shutil.rmtree(place)
    sys.stdout.flush()
    if isinstance(told, str) and os.fstat(1).st_size:
        told = (f"prints {os.pread(1, 150, 0)!r}", "")
    os.ftruncate(1, 0)
    os.lseek(1, 0, os.SEEK_SET)
    return told


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """End the process where it takes more time of its own than `seconds`, or six times as much of everybody's."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, 6 * seconds)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)


def judge(read: Callable[[], None], folder: Path) -> str | tuple[str, str]:
    """Return ``"read"`` or ``"refused"``, or what is against the property and where."""
    before = sorted(path.name for path in folder.iterdir())
    base = _peak(reset=True)
    told: str | tuple[str, str] = "read"
    begin = time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            read()
        except EcgcamError as error:
            told = _said_well(error) or "refused"
        except Exception as error:  # noqa: BLE001  (this is what is looked for)
            told = (f"{type(error).__name__}: {str(error)[:150]!r}", _where(error))
    if not isinstance(told, str):
        return told
    if (used := _peak() - base) > MEMORY:
        return (f"takes {used >> 20} MB", "")
    if (spent := time.process_time() - begin) > SECONDS:
        return (f"takes {spent:.0f} s", "")
    if after := sorted({path.name for path in folder.iterdir()} - set(before)):
        return (f"leaves {', '.join(after)}", "")
    shown = [
        w
        for w in caught
        # Deprecations are of the libraries, and notes of ecgcam are answers.
        if not issubclass(w.category, DeprecationWarning | PendingDeprecationWarning | ResourceWarning | EcgcamWarning)
    ]
    if shown:
        return (
            f"warns {shown[0].category.__name__}: {str(shown[0].message)[:150]!r}",
            f"{shown[0].filename}:{shown[0].lineno}",
        )
    return told


def _said_well(error: EcgcamError) -> tuple[str, str] | None:
    said = str(error)
    if not said.strip() or len(said) > 2000 or "Traceback" in said:
        return (f"a message that is not a line: {said[:200]!r}", _where(error))
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, MemoryError) or "can't allocate memory" in str(inner):
            return (f"asks for more memory than there is: {said[:150]!r}", _where(inner))
        inner = inner.__cause__ or inner.__context__
    return None


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/ecgcam/" in frame.filename]
    shown = [*ours[-1:], *frames[-1:]]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(shown))


def _peak(reset: bool = False) -> int:
    """Return the most memory that the process held since the last reset, in bytes."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) * 1024
