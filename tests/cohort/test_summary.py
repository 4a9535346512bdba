"""`summarize`: classes, files, and the cost of a cohort."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.cohort.cohorts import explained

from ecgcam.cohort import summary as module
from ecgcam.cohort.gather import collect
from ecgcam.cohort.output import write_cohort
from ecgcam.cohort.summary import summarize
from ecgcam.cohort.tables import LEADS, comparison_rows, csv_text, lead_rows
from ecgcam.errors import EcgcamError
from ecgcam.results import intervals

SCORES = {"x": 0.1, "y": 0.5, "z": 0.9}


def cohort(method: str = "grad-cam", add: float = 0.0):
    return [explained("a", record=name, method=method, score=score + add) for name, score in SCORES.items()]


def test_labels_give_means_by_class() -> None:
    by_list = summarize(cohort(), by=["low", "low", "high"]).groups
    by_function = summarize(cohort(), by=lambda one: "high" if one.score > 0.6 else "low").groups
    for groups in (by_list, by_function):
        assert [(found.group.label, found.group.records) for found in groups] == [("low", ("x", "y")), ("high", ("z",))]
        # The empty score of the hand-made explanations is 0.25.
        assert [found.gain.mean[-1] for found in groups] == pytest.approx([0.05, 0.65])
        assert groups[0].beats.mean.shape == groups[1].beats.mean.shape
    rows = csv.DictReader(io.StringIO(csv_text(LEADS, (row for one in by_list for row in lead_rows(one)))))
    assert [row["label"] for row in rows if row["lead"] == "all"] == ["low", "high"]


@pytest.mark.parametrize("labels", [["low"], ["low"] * 4])
def test_too_few_or_too_many_labels_are_refused(labels: list[str]) -> None:
    with pytest.raises(EcgcamError, match=f"{len(labels)} labels for 3 explanations"):
        summarize(cohort(), by=labels)


def test_methods_are_compared_within_a_class() -> None:
    made = [*cohort(), *cohort("occlusion", 0.2)]
    found = summarize(made, by=["low", "low", "high"] * 2)
    rows = [row for row in comparison_rows(found.comparisons) if (row["quantity"], row["lead"]) == ("gain", "all")]
    assert [(row["label"], row["n"]) for row in rows] == [("low", 2), ("high", 1)]
    assert [row["difference"] for row in rows] == pytest.approx([0.2, 0.2])


def test_folders_files_and_explanations_give_the_same(tmp_path: Path) -> None:
    files = [one.save(tmp_path / one.meta["record"]) for one in cohort()]
    expected = summarize(cohort()).groups[0]
    for results in (tmp_path, [str(file) for file in files], [*cohort()[:1], *files[1:]]):
        (found,) = summarize(results).groups
        assert found.group.records == tuple(SCORES)
        np.testing.assert_allclose(found.gain.low, expected.gain.low)


def test_a_damaged_file_raises_or_is_left_out(tmp_path: Path) -> None:
    files = [one.save(tmp_path / one.meta["record"]) for one in cohort()]
    files[1].write_bytes(b"damaged")
    with pytest.raises(EcgcamError, match=str(files[1])):
        summarize(tmp_path)
    assert summarize(tmp_path, on_error="skip").groups[0].group.records == ("x", "z")
    failed: list[Path] = []
    progress: list[tuple[int, int]] = []
    summarize(tmp_path, on_error=lambda path, _: failed.append(path), on_progress=lambda *at: progress.append(at))
    assert failed == [files[1]]
    assert progress == [(1, 3), (2, 3), (3, 3)]
    for file in files:
        file.write_bytes(b"damaged")
    with pytest.raises(EcgcamError, match=str(files[0])):  # nothing is left
        summarize(tmp_path, on_error="skip")
    with pytest.raises(EcgcamError, match="raise, skip"):
        summarize(tmp_path, on_error="ignore")


def test_the_share_that_passed_the_check() -> None:
    made = cohort()
    for one, passed in zip(made, (True, False, None), strict=True):
        one.meta["check"] = None if passed is None else {"passed": passed}
    (found,) = summarize(made).groups
    assert (found.passed.mean, found.passed.n) == (0.5, 2)


def test_each_bootstrap_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = intervals.bootstrap_means
    monkeypatch.setattr(module, "bootstrap_means", lambda *given: calls.append(given) or real(*given))
    list(write_cohort(summarize([*cohort(), *cohort("occlusion")]), tmp_path))
    # Ten means of each group, three differences, and the ten means of the differences that are drawn.
    assert len(calls) == 2 * 10 + 3 + 10


class Name(str):
    """A recording's name that counts how often it is compared."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        Name.compared += 1
        return str.__eq__(self, other) is True

    __hash__ = str.__hash__


def test_pairing_is_linear() -> None:
    (group, *_) = collect(cohort())
    count = 2000

    def many(method: str):
        return replace(
            group, method=method, records=tuple(Name(f"r{number}") for number in range(count)),
            gain=np.zeros((count, 4)), share=np.zeros((count, 4, 6)), density=np.zeros((count, 4, 6)),
        )  # fmt: skip

    groups = [many("a"), many("b")]
    Name.compared = 0
    (found,) = module._comparisons(groups, draws=10, seed=0)
    assert found.gain[0].n[-1] == count
    # Each name is looked up twice; a search through the names would compare count ** 2 / 2 = 2,000,000 times.
    assert count <= Name.compared <= 10 * count


def criterion(name: str, holds: bool, density: float | None, drop: float) -> dict[str, object]:
    return {
        "name": f"lbbb/{name}",
        "text": f"says {name}",
        "holds": holds,
        "density": density,
        "drop": drop,
        "score": None,
    }


def test_criteria_and_reasons_by_hand(tmp_path: Path) -> None:
    made = []
    for number, right in enumerate((True, False, None, True)):
        one = explained(record=f"r{number}")
        rows = [criterion("wide", number != 1, 1.0 + number, 0.1 * number), criterion("late", False, None, 0.0)]
        one.meta.update({"reasons": {"right": right, "sentence": "."}, "criteria": rows})
        made.append(one)
    made.append(explained(record="without"))
    summary = summarize(made)
    (group,) = summary.groups
    # Two of the three that were judged; Wilson's interval of 2 of 3, worked out by hand: 0.208 to 0.939.
    (line,) = write_cohort(summary, tmp_path, png=False)
    assert line["right"] == {
        "share": pytest.approx(2 / 3),
        "low": pytest.approx(0.2077, abs=1e-3),
        "high": pytest.approx(0.9385, abs=1e-3),
        "n": 3,
    }
    assert group.group.criteria == (("lbbb/wide", "says wide"), ("lbbb/late", "says late"))
    assert group.holds.mean == pytest.approx([0.75, 0.0])
    assert group.holds.n.tolist() == [4, 4]
    # Only where it holds: densities 1, 3, 4 and drops 0, 0.2, 0.3.
    assert group.criterion_density.mean[0] == pytest.approx(8 / 3)
    assert group.criterion_drop.mean[0] == pytest.approx(0.5 / 3)
    assert np.isnan(group.criterion_score.mean).all()
    with (tmp_path / "criteria.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["description"], row["n"], row["n_holding"], row["density"]) for row in rows] == [
        ("says wide", "4", "3", "2.66667"), ("says late", "4", "0", ""),
    ]  # fmt: skip
    list(write_cohort(summarize([explained()]), tmp_path, png=False))
    assert not (tmp_path / "criteria.csv").exists()
