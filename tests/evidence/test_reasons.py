"""Evidence on the waves and leads of criteria, by hand and on twins with models that are right, wrong and blind."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest

from ecgcam.evidence.reasons import criterion_region, evidence_of, flattened, weigh_reasons
from ecgcam.records.criteria import Condition, Criterion, CriterionResult, criteria_of
from ecgcam.records.measurements import measure
from ecgcam.records.record import CANONICAL_LEADS, Record
from ecgcam.records.simulator import simulate
from ecgcam.records.waves import SEGMENTS, Waves, find_waves


@dataclass
class Explained:
    map: np.ndarray
    gains: np.ndarray
    signal: np.ndarray
    valid: np.ndarray
    leads: tuple[str, ...]
    fs: float


def criterion(wave: str = "QRS", leads: tuple[str, ...] = ("I",)) -> Criterion:
    return Criterion(
        "x/y", "", (Condition("qrs_ms", ">=", 1.0),), leads, 1, wave, "ms", "", ("wide QRS",), ("narrow QRS",)
    )


def result(holds: bool = True, leads: tuple[str, ...] = ()) -> CriterionResult:
    return CriterionResult("x/y", holds, 2.0, "ms", 1.0, ">=", leads)


# Twelve samples, two leads, one beat: QRS 2-3, T 6-8.
WAVES = Waves(
    100.0, 12, np.array([2]), np.array([[np.nan, 2.0, 6]]), np.array([[np.nan, 3.0, 8]]), np.full((2, 1, 3), np.nan)
)


def by_hand() -> Explained:
    values = np.zeros((2, 12))
    values[0, 2], values[0, 7], values[1, 6] = 3.0, 1.0, 2.0
    signal = np.tile(np.arange(12.0), (2, 1)).astype(np.float32)
    signal[:, 2] += 5
    return Explained(values, np.array([0.2, 0.1]), signal, np.ones((2, 12), bool), ("I", "II"), 100.0)


def test_evidence_is_each_leads_unit_mass_times_its_gain() -> None:
    got = evidence_of(by_hand().map, np.array([0.2, 0.1]), np.ones((2, 12), bool))
    # I: 3/4 and 1/4 of 0.2, II: all of 0.1; their sum 0.3 becomes 1.
    assert got is not None
    np.testing.assert_allclose([got[0, 2], got[0, 7], got[1, 6]], [0.5, 1 / 6, 1 / 3])
    assert evidence_of(by_hand().map, np.array([-0.2, 0.0]), np.ones((2, 12), bool)) is None


def test_share_density_and_drop_by_hand() -> None:
    explained = by_hand()

    def score(x: np.ndarray) -> np.ndarray:
        return x[:, 0, 2].astype(float)

    reasons = weigh_reasons(
        explained, WAVES, [criterion()], {"x/y": result()}, score, {"wide QRS": 0.4, "narrow QRS": 0.1}, empty_score=0.0
    )
    (row,) = reasons.rows
    assert reasons.together is not None
    # The whole is 7 and nothing 0.
    assert reasons.together["worth"] == pytest.approx(6.25 / 7)
    assert reasons.right is True
    assert "89 % of what the recording adds" in reasons.sentence
    # QRS of I: samples 2 and 3 of 24.
    assert row.share == pytest.approx(0.5)
    assert row.density == pytest.approx(6.0)
    assert row.score == pytest.approx(0.3)
    # The level before the QRS is the mean of samples 0 and 1, 0.5 mV; half of what sample 1 is over it is left at 2. It was 7.
    assert row.drop == pytest.approx(6.25)
    # Of the slope, |x[n+1] - x[n-1]| / 2 of both leads: 1 everywhere, but 3.5 and 1.5 beside the peak.
    slope = np.array([1, 3.5, 1, 1.5, *[1] * 8])
    assert row.slope_density == pytest.approx((slope[2] + slope[3]) / (2 * slope.sum()) * 12)
    assert reasons.elsewhere is not None
    assert reasons.elsewhere[:2] == ("T", "II")
    assert reasons.elsewhere[2:] == pytest.approx((1 / 3, 1 / 3 * 24 / 3))
    assert row.to_dict()["threshold"] == 1.0


def test_the_region_is_the_waves_of_the_leads_where_it_holds() -> None:
    segments, valid = WAVES.segments(), np.ones((2, 12), bool)
    both = criterion(leads=("I", "II"))
    assert np.argwhere(criterion_region(both, result(leads=("II",)), segments, ("I", "II"), valid)).tolist() == [
        [1, 2],
        [1, 3],
    ]
    assert criterion_region(both, result(), segments, ("I", "II"), valid).sum() == 4
    assert criterion_region(criterion("beat"), result(), segments, ("I", "II"), valid) is None
    assert criterion_region(criterion("P"), result(), segments, ("I", "II"), valid) is None
    assert criterion_region(criterion(leads=("V1",)), result(), segments, ("I", "II"), valid) is None


def test_a_region_becomes_the_level_and_nothing_else_changes() -> None:
    signal = np.array([[0.0, 1, 9, 9, 9, 9, 4, 5]], np.float32)
    region = np.array([[False, False, True, True, True, True, False, False]])
    level = np.full((1, 8), 0.5)
    # At 100 Hz the ramp of 20 ms is two samples: 1 is 0.5 over the level, so 0.25 and 0 of it are left; 4 is 3.5 over it.
    assert flattened(signal, region, level, 100.0).tolist() == [[0, 1, 0.75, 0.5, 0.5, 2.25, 4, 5]]
    # At 50 Hz it is one sample, of which nothing is left.
    assert flattened(signal, region, level, 50.0).tolist() == [[0, 1, 0.5, 0.5, 0.5, 0.5, 4, 5]]
    assert flattened(signal, np.ones((1, 8), bool), level, 100.0).tolist() == [[0.5] * 8]


def test_without_evidence_or_place_the_sentence_says_so() -> None:
    explained = by_hand()
    explained.gains = np.zeros(2)
    assert "no evidence" in weigh_reasons(explained, WAVES, [criterion()], {"x/y": result()}).sentence
    reasons = weigh_reasons(by_hand(), WAVES, [criterion("beat")], {"x/y": result()})
    assert "no criterion" in reasons.sentence
    assert reasons.right is None


def test_criteria_without_a_place_are_not_counted_as_places() -> None:
    whole = dataclasses.replace(criterion("beat"), name="x/z")
    results = {"x/y": result(), "x/z": dataclasses.replace(result(), name="x/z")}
    said = weigh_reasons(by_hand(), WAVES, [criterion(), whole], results).sentence
    assert said.startswith(
        "evidence lies on the only one of the 2 criteria that hold with a place in the beat (6.0 × chance)"
    )
    assert weigh_reasons(by_hand(), WAVES, [criterion()], results).sentence.startswith(
        "evidence lies on the criterion that holds (6.0 × chance)"
    )


def twin(finding: str, seed: int) -> tuple[Record, Waves, np.ndarray]:
    made = simulate(finding, seed)
    return Record(finding, made.signal, made.fs, CANONICAL_LEADS), find_waves(made.signal, made.fs), made.signal


def model_of(place: np.ndarray, rng: np.random.Generator, signal: np.ndarray):
    """A model whose score is the mean magnitude of the ECG in a place (L, T), with the map and the gains that are true of it."""
    weight = place / max(place.sum(), 1)

    def score(x: np.ndarray) -> np.ndarray:
        return np.abs(x * weight).sum(axis=(1, 2))

    evidence = np.abs(signal) * weight
    blurred = evidence + 1e-3 * evidence.max() * rng.random(evidence.shape)
    return score, Explained(blurred, evidence.sum(axis=1), signal, np.ones(signal.shape, bool), CANONICAL_LEADS, 500.0)


@pytest.mark.parametrize(("finding", "right_on"), [("lbbb", "QRS"), ("st-depression", "ST"), ("t-inversion", "T")])
def test_a_model_that_uses_the_wave_is_told_from_one_that_uses_a_marker(finding: str, right_on: str) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        record, waves, signal = twin(finding, seed)
        rules = criteria_of(finding)
        results = measure(record, criteria=rules).criteria
        valid = np.ones(signal.shape, bool)
        regions = [
            criterion_region(rule, results[rule.name], waves.segments(), CANONICAL_LEADS, valid) for rule in rules
        ]
        holding = [
            region
            for rule, region in zip(rules, regions, strict=True)
            if results[rule.name].holds and region is not None
        ]
        assert holding, (finding, seed)
        assert any(rule.wave == right_on for rule in rules)
        marker = np.zeros(signal.shape, bool)
        at = int(rng.choice(np.flatnonzero(waves.segments() == SEGMENTS.index("TP"))))
        marker[:, max(0, at - 10) : at + 10] = True
        marked = signal.copy()
        marked[marker] += 0.5
        for place, seen, want in ((np.any(holding, axis=0), signal, True), (marker, marked, False)):
            score, explained = model_of(place, rng, seen)
            reasons = weigh_reasons(explained, waves, rules, results, score, empty_score=0.0, given=True)
            assert reasons.right is want, (finding, seed, reasons.sentence)
            on_none = "on none of the" in reasons.sentence or "does not lie on" in reasons.sentence
            assert on_none is not want or "only" in reasons.sentence


def test_a_model_that_does_not_give_the_finding_is_not_right_about_it() -> None:
    def score(x: np.ndarray) -> np.ndarray:
        return x[:, 0, 2].astype(float)

    reasons = weigh_reasons(by_hand(), WAVES, [criterion()], {"x/y": result()}, score, given=False)
    assert reasons.right is False
    assert reasons.sentence.startswith("the verdict is not yes")


def test_another_findings_criteria_are_not_where_the_evidence_lies() -> None:
    record, waves, signal = twin("lbbb", 1)
    everything = measure(record)
    beats = np.zeros(signal.shape, bool)
    beats[:] = waves.segments() == SEGMENTS.index("QRS")
    score, explained = model_of(beats, np.random.default_rng(0), signal)
    own = weigh_reasons(explained, waves, criteria_of("lbbb"), everything.criteria, score)
    other = weigh_reasons(explained, waves, criteria_of("lateral-ischaemia"), everything.criteria, score)
    assert own.right is True
    assert other.right is not True
