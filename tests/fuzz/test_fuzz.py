"""Damaged files end in a correct result or in one line, in any reader; and the harness notices where they do not."""

from __future__ import annotations

import ctypes
import time
import warnings
from pathlib import Path
from random import Random

import numpy as np
import pytest

from ecgcam.errors import EcgcamError
from tests.fuzz.guided import FIRST, places
from tests.fuzz.harness import Files, Outcome, Target, damaged, fuzz
from tests.fuzz.mutate import PLAIN, in_mat, in_zip, mutate
from tests.fuzz.targets import TARGETS, shares, wfdb_seeds

SEED = 20261121


def told(outcome: Outcome) -> str:
    return "\n".join(map(str, outcome.findings))


@pytest.mark.parametrize("name", TARGETS)
def test_a_few_cases_of_every_reader(name: str) -> None:
    count = shares(200, list(TARGETS))[name]
    outcome = fuzz(name, TARGETS[name], range(count), SEED)
    assert not outcome.findings, told(outcome)
    assert outcome.cases == count


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_many_cases_of_every_reader(name: str) -> None:
    count = shares(5000, list(TARGETS))[name]
    outcome = fuzz(name, TARGETS[name], range(1000, 1000 + count), SEED)
    assert not outcome.findings, told(outcome)
    # A journal is never refused: a damaged line is passed over, and the others are read.
    assert (outcome.refused > 0) != (name == "manifest")


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_not_damaged_is_read(name: str, tmp_path: Path) -> None:
    for i, files in enumerate(TARGETS[name].seeds()):
        folder = tmp_path / str(i)
        folder.mkdir()
        for file, content in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(content)
        try:
            TARGETS[name].read(folder, files, files)
        except EcgcamError as error:  # files without names or rates say that
            assert name in {"mat", "mat, names given", "npy"}, error  # noqa: PT017
            assert "names" in str(error) or "contradicts" in str(error)  # noqa: PT017


# The harness


def ending(folder: Path, valid: Files, changed: Files) -> None:
    """Do what the first byte says; each is against the property, but for 0 and 1."""
    kind = changed["x"][0] % 8
    if kind == 1:
        raise EcgcamError("x: damaged; copy it again")
    if kind == 2:
        raise KeyError("a traceback")
    if kind == 3:
        ctypes.string_at(0)
    if kind == 4:
        while True:
            pass
    if kind == 5:
        np.ones((3 << 30) // 2, np.uint8)
    if kind == 6:
        (folder / "half-written").touch()
    if kind == 7:
        warnings.warn("a warning", stacklevel=1)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (2, "KeyError: \"'a traceback'\""),
        (3, "killed by SIGSEGV"),
        (4, "hangs"),
        (5, "takes 15"),
        (6, "leaves half-written"),
        (7, "warns UserWarning"),
    ],
)
def test_whatever_is_against_the_property_is_found(kind: int, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.harness.mutate", lambda data, *_: data)
    target = Target(lambda: [{"x": bytes([kind])}], ending)
    began = time.monotonic()
    found = fuzz("x", target, range(2), 0, seconds=0.3 if kind == 4 else 30.0)
    assert len(found.findings) == 2, told(found)
    assert all(says in finding.what for finding in found.findings), told(found)
    assert [finding.case for finding in found.findings] == [0, 1]
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("kind", [0, 1])
def test_what_holds_to_the_property_is_counted(kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.harness.mutate", lambda data, *_: data)
    found = fuzz("x", Target(lambda: [{"x": bytes([kind])}], ending), range(7), 0, batch=3)
    assert (found.read, found.refused, found.findings) == ((7, 0, []) if kind == 0 else (0, 7, []))


def test_a_case_is_the_same_again_and_damaged() -> None:
    target = TARGETS["wfdb header"]
    seeds = wfdb_seeds()
    cases = [damaged("wfdb header", target, seeds, 3, case) for case in range(100)]
    assert cases == [damaged("wfdb header", target, seeds, 3, case) for case in range(100)]
    assert all(valid["rec.dat"] == changed["rec.dat"] for valid, changed in cases)
    assert sum(valid != changed for valid, changed in cases) > 80


@pytest.mark.parametrize("name", FIRST)
def test_every_file_that_may_be_damaged_is_a_beginning_for_guided_fuzzing(name: str) -> None:
    beside = places(TARGETS[name])
    assert 0 < len(beside) <= 256  # a byte chooses
    assert all(file.endswith(TARGETS[name].struck or "") for _, file in beside)


@pytest.mark.parametrize("mutator", [*dict.fromkeys(PLAIN), in_zip, in_mat, mutate])
def test_mutators_take_anything(mutator: object) -> None:
    for i in range(30):
        for data in (b"", b"a", b"1 2\n3 4\n5", b"PK\3\4", bytes(200)):
            assert isinstance(mutator(data, Random(i), [b"other 7"]), bytes)  # type: ignore[operator]  # noqa: S311
