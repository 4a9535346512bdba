"""The mutation runner itself: what it changes, a sample that stays as it is, killed mutants and survivors told apart."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from coverage import CoverageData

from tests.mutation import branches
from tests.mutation.__main__ import Chooser, in_turns, main, try_all
from tests.mutation.mutants import mutants_of, sample

# The second test runs `share` without a look at what it gives.
MODULE = """
def clipped(value, low, high):
    return max(low, min(value, high))


def share(part, whole):
    return part / whole


def unused(value):
    return value + 1


def forever(count):
    while count > 0:
        count -= 1
    return count
"""
TESTS = """
from ecgcam.records.toy import clipped, forever, share


def test_clipped():
    assert clipped(5, 0, 3) == 3
    assert clipped(-1, 0, 3) == 0


def test_share():
    share(1, 2)


def test_forever():
    assert forever(3) == 0
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A package of one module, its tests, and a coverage run of them."""
    root = tmp_path / "checkout"
    for path, text in {
        "src/ecgcam/__init__.py": "",
        "src/ecgcam/records/__init__.py": "",
        "src/ecgcam/records/toy.py": MODULE,
        "tests/__init__.py": "",
        "tests/records/test_toy.py": TESTS,
        "pyproject.toml": '[tool.pytest.ini_options]\naddopts = ["--import-mode=importlib"]\npythonpath = ["src", "."]\n',
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    own = Path(__file__).parent
    (root / "tests/mutation").mkdir()
    for name in ("__init__.py", "contexts.py", "worker.py"):
        (root / "tests/mutation" / name).write_text((own / name).read_text())
    run = [
        sys.executable, "-m", "coverage", "run", "--branch", "--source=src/ecgcam", "--data-file=found/coverage",
        "-m", "pytest", "-q", "-p", "tests.mutation.contexts", "--junitxml=found/junit.xml", "tests/records",
    ]  # fmt: skip
    (root / "found").mkdir()
    subprocess.run(run, cwd=root, check=True, stdout=subprocess.DEVNULL)
    return root


def changes(source: str) -> set[tuple[str, str]]:
    return {(mutant.before, mutant.after) for mutant in mutants_of(source.encode(), "x.py")}


def test_each_operator_by_hand() -> None:
    assert changes("def f(a):\n    if not a:\n        raise ValueError('a')\n    return a[1:]\n") == {
        ("not a", "(a)"),
        ("raise ValueError('a')", "pass"),
        ("return a[1:]", "return None"),
        ("1:", ":"),
        ("1", "(2)"),
    }
    assert changes("x = a < b") == {("a < b", "(a <= b)"), ("a < b", "(a > b)")}
    assert changes("x = max(a, b) if c else -d") == {
        ("max(a, b) if c else -d", "(max(a, b) if not c else -d)"),
        ("max(a, b)", "(min(a, b))"),
        ("-d", "(d)"),
    }
    assert changes("x = (0.5 + é) * True") == {
        ("(0.5 + é) * True", "((0.5 + é) / True)"),
        ("0.5 + é", "(0.5 - é)"),
        ("0.5", "(1.0)"),
        ("True", "(False)"),
    }


def test_words_and_types_are_left_alone() -> None:
    source = 'def f(a: Literal[1]) -> Array[2]:\n    """Say 1."""\n    log.info("1 + %d", 1)\n    raise ValueError(f"{1 + 1}")\n'
    assert changes(source) == {('raise ValueError(f"{1 + 1}")', "pass")}


def test_every_mutant_of_the_rooms_is_python_and_another_program() -> None:
    root = Path(__file__).resolve().parents[2] / "src/ecgcam"
    source = (root / "records/windows.py").read_bytes()
    mutants = mutants_of(source, "windows.py")
    assert len(mutants) > 100
    whole = ast.dump(ast.parse(source))
    for mutant in mutants:
        assert ast.dump(ast.parse(mutant.applied(source))) != whole
        assert mutant.first <= mutant.line <= mutant.last


def test_a_sample_is_the_seed_s_and_stays_while_other_lines_change() -> None:
    drawn = sample({"toy.py": MODULE.encode()}, 3, 0)
    assert drawn == sample({"toy.py": MODULE.encode()}, 3, 0)
    assert len({mutant.line for mutant in drawn}) == 3
    assert any(drawn != sample({"toy.py": MODULE.encode()}, 3, seed) for seed in range(1, 4))
    moved = sample({"toy.py": b"# a comment\n\n" + MODULE.encode()}, 3, 0)
    assert [mutant.key for mutant in moved] == [mutant.key for mutant in drawn]
    assert [mutant.line - 2 for mutant in moved] == [mutant.line for mutant in drawn]


@pytest.mark.slow
def test_killed_survived_and_endless_are_told_apart_and_a_call_goes_on(checkout: Path, tmp_path: Path) -> None:
    path = checkout / "src/ecgcam/records/toy.py"
    before = path.read_bytes()
    wanted = {
        "min(value, high)": "killed",
        "part / whole": "survived",
        "value + 1": "survived",
        "count -= 1": "killed by time",
    }
    mutants = {
        mutant.before: mutant.__class__(**{**vars(mutant), "key": mutant.before})
        for mutant in mutants_of(before, "src/ecgcam/records/toy.py")
        if mutant.before in wanted and mutant.after != "pass"
    }
    assert set(mutants) == set(wanted)
    chooser, journal = Chooser(checkout / "found", checkout), tmp_path / "journal.jsonl"
    try_all(list(mutants.values())[:2], chooser, journal, root=checkout, jobs=1, budget=5, patience=1)
    first = journal.read_text()
    try_all(list(mutants.values()), chooser, journal, root=checkout, jobs=2, budget=5, patience=1)
    assert journal.read_text().startswith(first)
    entries = {entry["key"]: entry for entry in map(json.loads, journal.read_text().splitlines())}
    assert {key: entry["verdict"] for key, entry in entries.items()} == wanted
    assert entries["min(value, high)"]["by"] == "tests/records/test_toy.py::test_clipped"
    assert entries["value + 1"]["chosen"] == "none"
    assert path.read_bytes() == before


def test_what_runs_at_import_is_tried_by_tests_of_its_function_or_its_module(tmp_path: Path) -> None:
    path, source = "src/ecgcam/records/toy.py", "LEAST = 2\n\n\ndef more(value, by=1):\n    return value + by\n"
    tests = {
        "tests/records/test_toy.py": ["test_least", "test_more"],
        "tests/cli/test_named.py": ["test_of_the_command"],
        "tests/cli/test_other.py": ["test_of_another"],
    }
    for name, text in {
        path: source,
        "tests/records/test_toy.py": "",
        "tests/cli/test_named.py": "from ecgcam.records import toy",
        "tests/cli/test_other.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    cases = "".join(
        f'<testcase classname="{file[:-3].replace("/", ".")}" name="{name}" time="1"/>'
        for file, names in tests.items()
        for name in names
    )
    (tmp_path / "junit.xml").write_text(f"<testsuite>{cases}</testsuite>")
    data = CoverageData(str(tmp_path / "coverage"))
    for context, lines in (("", [1, 4]), ("tests/records/test_toy.py::test_more", [5])):
        data.set_context(context)
        data.add_lines({str(tmp_path / path): lines})
    data.write()
    chooser = Chooser(tmp_path, tmp_path)
    least, by, added = (m for m in mutants_of(source.encode(), path) if m.before in ("2", "1", "value + by"))
    own = "tests/records/test_toy.py::test_"
    both = {f"{own}least": 1, f"{own}more": 1, "tests/cli/test_named.py::test_of_the_command": 1}
    assert chooser.tests(least, 40) == (both, "module")
    assert list(chooser.tests(least, 2)[0]) == [f"{own}least", "tests/cli/test_named.py::test_of_the_command"]
    assert chooser.tests(by, 40) == (both, "function")
    assert chooser.tests(added, 40) == ({f"{own}more": 1}, "lines")


def test_the_others_are_collected_where_a_mutant_survives_the_first() -> None:
    tests = {str(number): 1.0 for number in range(50)}
    for verdict, calls in (("killed", [40]), ("survived", [40, 10])):
        asked: list[int] = []

        def tried(some: dict[str, float], verdict: str = verdict, asked: list[int] = asked) -> dict[str, object]:
            asked.append(len(some))
            return {"verdict": verdict, "by": next(iter(some)), "seconds": 2.5}

        got = in_turns(tried, tests)
        assert asked == calls
        assert got == {"verdict": verdict, "by": "0" if calls == [40] else "40", "seconds": 2.5 * len(calls)}


@pytest.mark.slow
def test_the_command_writes_the_figures(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / "src/ecgcam/attribution").mkdir()
    out = tmp_path / "figures.json"
    call = [
        "--coverage",
        checkout / "found",
        "--count",
        2,
        "--root",
        checkout,
        "--journal",
        tmp_path / "j.jsonl",
        "--out",
        out,
        "--budget",
        5,
    ]
    monkeypatch.setattr(sys, "argv", ["mutation", *map(str, call)])
    main()
    figures = json.loads(out.read_text())
    assert figures["count"] == len(figures["mutants"]) == 2
    assert f"{figures['killed']} of 2 killed" in capsys.readouterr().out


def test_too_few_branches_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "coverage.json"
    report.write_text('{"totals": {"covered_branches": 189, "num_branches": 200}}')
    assert [branches.main(report, least) for least in (94.5, 95)] == [0, 1]
    assert "189 of 200 branches ran: 94.5%" in capsys.readouterr().out
