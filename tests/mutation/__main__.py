"""How many small wrong changes the tests notice: `python -m tests.mutation`, after a coverage run that knows its tests.

    coverage run -m pytest -p tests.mutation.contexts --junitxml=FOLDER/junit.xml ...
    python -m tests.mutation --coverage FOLDER --count 320 --seed 0 --journal FILE.jsonl --out FILE.json

Each mutant is tried in a copy of the checkout, by the tests that ran its statement (`Chooser`), those of its own room first,
the quickest first, until one fails or `--budget` seconds of tests (as long as they took unchanged) have passed: then it has
survived.
A call that was interrupted goes on where the journal ends; `--again` tries those that survived once more.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Any

from coverage import CoverageData

from tests.mutation.mutants import Mutant, read_rooms, sample

ROOT = Path(__file__).resolve().parents[2]
EXPLAINED = Path(__file__).with_name("explained.json")  # why a mutant may survive, by its key
ROOMS = ["src/ecgcam/attribution", "src/ecgcam/records"]
_FIRST = 40  # tests that are tried before the others are collected
_ELSEWHERE = (".git", ".venv", ".cache", "runs", "dist", "build", ".hypothesis", ".mypy_cache", ".pytest_cache")


class Chooser:
    """Which tests a mutant is tried with, from what coverage and pytest wrote."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.seconds: dict[str, float] = {}
        for report in folder.glob("junit*.xml"):
            for case in ET.parse(report).iter("testcase"):  # noqa: S314  (pytest's own report)
                if not any(child.tag in ("failure", "error", "skipped") for child in case):
                    node = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
                    self.seconds[node] = self.seconds.get(node, 0) + float(case.get("time", 0))
        data = CoverageData(str(folder / "coverage"))
        data.read()
        self.ran: dict[str, dict[int, set[str]]] = {}
        for name in data.measured_files():
            relative = name[name.find("src/ecgcam/") :]
            lines = self.ran.setdefault(relative, {})
            for line, contexts in data.contexts_by_lineno(name).items():
                lines.setdefault(line, set()).update(contexts)
        self.root = root

    def tests(self, mutant: Mutant, budget: float) -> tuple[dict[str, float], str]:
        """Return tests with their seconds, in order, and why these.

        `lines`: they ran the statement; `none`. What runs at import alone is tried by those that ran its `function`, where it
        is a default, or else any line of its `module` or name it; and by the quickest of its room, which may look at it from
        outside. Half of the budget is the room's own.
        """
        here, why = self._that_ran(mutant.path, range(mutant.first, mutant.last + 1)), "lines"
        room, module = Path(mutant.path).parts[2], Path(mutant.path).stem
        others: set[str] = set()
        at_import, function = self._runs_at_import(mutant)
        if at_import:
            why = "function" if function else "module"
            here = self._that_ran(mutant.path, function or self.ran.get(mutant.path, {})) | self._that_name(mutant.path)
            others = {node for node in self.seconds if node.startswith(f"tests/{room}/")}

        def order(node: str) -> tuple[bool, bool, float, str]:
            file = node.split("::", maxsplit=1)[0]
            far = node not in here or module not in Path(file).stem
            return not file.startswith(f"tests/{room}/"), far, self.seconds[node], node

        chosen: dict[str, float] = {}
        for node in sorted((node for node in here | others if node in self.seconds), key=order):
            room_s_own = not order(node)[0]
            if sum(chosen.values()) + self.seconds[node] <= budget / (1 + room_s_own) or not chosen:
                chosen[node] = self.seconds[node]
        return chosen, why if chosen else "none"

    def _that_ran(self, path: str, lines: Iterable[int]) -> set[str]:
        ran = self.ran.get(path, {})
        return set().union(*(ran.get(line, set()) for line in lines))

    def _runs_at_import(self, mutant: Mutant) -> tuple[bool, range]:
        """Return whether a mutant runs when its module is imported, and the body of the function whose default it is."""
        for node in ast.walk(ast.parse((self.root / mutant.path).read_bytes())):
            if isinstance(node, ast.FunctionDef) and node.lineno <= mutant.line <= (node.end_lineno or 0):
                body = range(node.body[0].lineno, (node.end_lineno or 0) + 1)
                return mutant.line not in body, body  # the outermost comes first
        return True, range(0)

    def _that_name(self, path: str) -> set[str]:
        """Return the tests in files whose name or text names the module."""
        *packages, module = Path(path).with_suffix("").parts[1:]
        names = (".".join([*packages, module]), f"from {'.'.join(packages)} import {module}")
        files = {
            str(file.relative_to(self.root))
            for file in (self.root / "tests").rglob("test_*.py")
            if (module in file.stem and packages[1] in file.parts) or any(name in file.read_text() for name in names)
        }
        return {node for node in self.seconds if node.split("::", maxsplit=1)[0] in files}


class Copy:
    """A copy of the checkout with a worker in it."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.tree = folder / "tree"
        shutil.copytree(
            root, self.tree, ignore=lambda at, names: [n for n in names if Path(at) == root and n in _ELSEWHERE]
        )
        for beside, place in (
            (root.parent / "shared", folder / "shared"),
            (root / ".cache/recordings", self.tree / ".cache/recordings"),
        ):
            if beside.exists():
                place.parent.mkdir(exist_ok=True)
                place.symlink_to(beside.resolve())
        alone = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": str(self.tree / "src")}
        environment = os.environ | alone
        options = {"cwd": self.tree, "env": environment}
        if not any(self.tree.glob("tests/**/*-pytest-*.pyc")):  # compiled once, not in each child
            collect = [sys.executable, "-m", "pytest", "--collect-only", "-q"]
            writes = {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}
            subprocess.run(collect, cwd=self.tree, env=writes, stdout=subprocess.DEVNULL, check=False)
        self._worker = subprocess.Popen(
            [sys.executable, "-m", "tests.mutation.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )  # type: ignore[call-overload]

    def tried(self, mutant: Mutant, tests: dict[str, float], patience: float) -> dict[str, Any]:
        """Return the verdict, the test that failed and the seconds it took."""
        question = {
            "path": mutant.path,
            "start": mutant.start,
            "end": mutant.end,
            "after": mutant.after,
            "tests": tests,
            "patience": patience,
        }
        self._worker.stdin.write(json.dumps(question) + "\n")
        self._worker.stdin.flush()
        line = self._worker.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker in {self.tree} ended")
        return json.loads(line)

    def close(self) -> None:
        """End the worker."""
        self._worker.communicate()


def in_turns(tried: Callable[[dict[str, float]], dict[str, Any]], tests: dict[str, float]) -> dict[str, Any]:
    """Try some tests, and the others if a mutant survives them: to collect many takes longer than to run the first."""
    nodes, seconds = list(tests), 0.0
    got: dict[str, Any] = {}
    for some in filter(None, (nodes[:_FIRST], nodes[_FIRST:])):
        got = tried({node: tests[node] for node in some})
        seconds += got["seconds"]
        if got["verdict"] != "survived":
            break
    return got | {"seconds": round(seconds, 1)}


def try_all(
    mutants: list[Mutant],
    chooser: Chooser,
    journal: Path,
    *,
    root: Path,
    jobs: int,
    budget: float,
    patience: float = 15.0,
) -> None:
    """Try each mutant that the journal does not hold, and add it there.

    A test may take `patience` seconds more than ten times what it took unchanged.
    """
    journal.parent.mkdir(parents=True, exist_ok=True)
    known = read_journal(journal)
    copies: Queue[Copy] = Queue()

    def one(mutant: Mutant) -> None:
        tests, why = chooser.tests(mutant, budget)
        if tests:
            copy = copies.get()
            try:
                got = in_turns(lambda some: copy.tried(mutant, some, patience), tests)
            finally:
                copies.put(copy)
        else:
            got = {"verdict": "survived", "by": "", "seconds": 0}
        if (
            got["verdict"] == "unknown" and "not found: " not in got["by"]
        ):  # a mutant may take parameters of a test away
            raise RuntimeError(f"pytest could not run the tests of {mutant.path}:{mutant.line}: {got['by']}")
        entry = {name: value for name, value in vars(mutant).items() if name not in ("start", "end", "first", "last")}
        with journal.open("a") as file:
            file.write(json.dumps(entry | got | {"tests": len(tests), "chosen": why}) + "\n")
        print(
            f"{got['verdict']:14} {got['seconds']:6} s  {mutant.path}:{mutant.line}  {mutant.before!r} -> {mutant.after!r}",
            flush=True,
        )

    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        for number in range(jobs):
            place = Path(folder) / str(number)
            place.mkdir()
            copies.put(Copy(root, place))
        with ThreadPoolExecutor(jobs) as threads:
            list(threads.map(one, [mutant for mutant in mutants if mutant.key not in known]))
        while not copies.empty():
            copies.get().close()


def read_journal(journal: Path) -> dict[str, dict[str, Any]]:
    """Return the last entry of each mutant."""
    if not journal.exists():
        return {}
    return {entry["key"]: entry for entry in map(json.loads, journal.read_text().splitlines())}


def main() -> None:
    """Draw the sample, try it, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coverage", type=Path, required=True, help="folder with coverage (combined) and junit*.xml")
    parser.add_argument("--count", type=int, default=320)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--budget", type=float, default=40.0, metavar="S", help="seconds of tests a mutant is tried with"
    )
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--again", action="store_true", help="try what survived once more")
    parser.add_argument("--root", type=Path, default=ROOT)
    given = parser.parse_args()
    mutants = sample(read_rooms(given.root, ROOMS), given.count, given.seed)
    if given.again and given.journal.exists():
        kept = [entry for entry in read_journal(given.journal).values() if entry["verdict"].startswith("killed")]
        given.journal.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
    try_all(
        mutants,
        Chooser(given.coverage, given.root),
        given.journal,
        root=given.root,
        jobs=given.jobs,
        budget=given.budget,
    )
    known, explained = read_journal(given.journal), json.loads(EXPLAINED.read_text())
    entries = [known[mutant.key] for mutant in mutants]
    for entry in entries:
        if entry["verdict"] == "survived":
            entry["why"] = explained.get(entry["key"], "")
    counts = Counter(entry["verdict"] for entry in entries)
    killed = sum(number for verdict, number in counts.items() if verdict.startswith("killed"))
    print(f"{killed} of {len(entries)} killed ({killed / len(entries):.1%}): {dict(counts)}")
    if given.out:
        figures = {"seed": given.seed, "count": len(entries), "killed": killed, "verdicts": counts, "mutants": entries}
        given.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
