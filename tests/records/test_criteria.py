"""Criteria: comparisons by hand, files that are wrong, and the bundled ones on simulated findings."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecgcam.errors import EcgcamError
from ecgcam.models.text.vocabulary import vocabulary_prompts
from ecgcam.records.criteria import (
    Condition,
    Criterion,
    all_criteria,
    criteria_of,
    evaluate_criterion,
    finding_prompts,
    read_criteria,
)
from ecgcam.records.measurements import VALUES, measure
from ecgcam.records.median_beats import LEAD_VALUES
from ecgcam.records.record import CANONICAL_LEADS, Record
from ecgcam.records.simulator import FINDINGS, simulate


class ByHand:
    def __init__(self, **values: float | str | None) -> None:
        self.values = values

    def value(self, name: str, lead: str | None = None) -> float | str | None:
        return self.values.get(name if lead is None else f"{lead}_{name}")


def criterion(*conditions: Condition, leads: tuple[str, ...] = (), at_least: int = 1) -> Criterion:
    return Criterion("x/y", "", conditions, leads, at_least, "QRS", "mV", "", (), ())


@pytest.mark.parametrize(
    ("compare", "threshold", "value", "holds"),
    [
        (">=", 120.0, 120.0, True), (">", 120.0, 120.0, False), ("<=", -0.1, -0.1, True), ("<", 60.0, 60.0, False),
        ("between", (60.0, 100.0), 100.0, True), ("between", (60.0, 100.0), 101.0, False), (">=", 120.0, None, None),
    ],
)  # fmt: skip
def test_a_value_of_the_recording_against_a_threshold(
    compare: str, threshold: float, value: float | None, holds: bool
) -> None:
    result = evaluate_criterion(criterion(Condition("v", compare, threshold)), ByHand(v=value))
    assert result.holds is holds
    assert result.value == value


@pytest.mark.parametrize(
    ("values", "holds", "value"),
    [
        ((-0.2, -0.15, 0.3), True, -0.15),
        ((-0.2, -0.05, 0.3), False, -0.05),
        ((-0.2, None, 0.3), None, 0.3),
        ((-0.2, None, -0.3), True, -0.2),
        ((None, 0.1, 0.3), False, 0.3),
        ((None, None, None), None, None),
    ],
)
def test_two_of_three_leads(values: tuple[float | None, ...], holds: bool | None, value: float | None) -> None:
    """The value is that of the second lead, if there are two; what is unknown decides nothing."""
    leads = ("II", "III", "aVF")
    measured = ByHand(**{f"{lead}_t_mv": one for lead, one in zip(leads, values, strict=True)})
    result = evaluate_criterion(criterion(Condition("t_mv", "<=", -0.1), leads=leads, at_least=2), measured)
    assert result.holds is holds
    assert result.value == value


def test_all_conditions_hold_in_the_same_lead() -> None:
    rule = criterion(Condition("q_ms", ">=", 30.0), Condition("q_mv", "<=", -0.1), leads=("II", "III"))
    apart = evaluate_criterion(rule, ByHand(II_q_ms=40.0, II_q_mv=-0.05, III_q_ms=20.0, III_q_mv=-0.3))
    assert apart.holds is False
    together = evaluate_criterion(rule, ByHand(II_q_ms=50.0, II_q_mv=-0.05, III_q_ms=35.0, III_q_mv=-0.3))
    assert together.holds is True
    # The lead that decides gives the value, not the one with the longest Q.
    assert (together.value, together.leads) == (35.0, ("III",))


def test_a_pattern_counts_leads() -> None:
    rule = criterion(Condition("pattern", "matches", "r?S|QS"), leads=("V1", "V2"), at_least=2)
    result = evaluate_criterion(rule, ByHand(V1_pattern="QS", V2_pattern="rS"))
    assert (result.holds, result.value, result.threshold, result.unit) == (True, 2.0, 2.0, "leads")
    assert evaluate_criterion(rule, ByHand(V1_pattern="QS", V2_pattern="RS")).holds is False


GOOD = 'prompt = "mine"\n[[criterion]]\nname = "a"\ntext = "t"\nmeasurement = "qrs_ms"\ncompare = ">="\nthreshold = 1\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("= 1", "is not TOML"),
        ("[[criterion]]", "prompt"),
        ('prompt = "x"', "no [[criterion]]"),
        (GOOD.replace("threshold = 1", 'threshold = "x"'), "threshold"),
        (GOOD.replace('">="', '"~"'), "compare"),
        (GOOD.replace('text = "t"', ""), "text: is missing"),
        (GOOD + "limit = 3\n", "limit: no such key"),
        (GOOD + 'wave = "U"\n', "wave"),
        (GOOD + "at_least = 2\n", "at_least"),
        (GOOD + GOOD.partition("\n")[2], "there twice"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(EcgcamError) as refused:
        read_criteria(path)
    assert said in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    (rule,) = read_criteria(path)
    assert (rule.name, rule.finding, rule.leads) == ("mine/a", "mine", ())
    with pytest.raises(EcgcamError, match="cannot be read"):
        read_criteria(tmp_path / "none.toml")


def test_every_simulated_finding_has_criteria_that_are_measured_sourced_and_put_in_words() -> None:
    prompts = finding_prompts()
    assert set(prompts.values()) == set(vocabulary_prompts())
    assert set(FINDINGS) <= set(prompts)
    assert all(criteria_of(prompt) for prompt in prompts.values())
    for rule in all_criteria():
        known = LEAD_VALUES if rule.leads else VALUES
        assert all(condition.measurement in known for condition in rule.conditions), rule.name
        assert set(rule.leads) <= set(CANONICAL_LEADS), rule.name
        assert rule.source, rule.name
        assert rule.positive, rule.name
        assert rule.negative, rule.name


# Which criteria show a simulated finding, and how many of six seeds must have them.
SHOWN = {
    "lbbb": ("lbbb/qrs-duration", "lbbb/dominant-s-v1-v2", "lbbb/no-q"),
    "rbbb": ("rbbb/qrs-duration", "rbbb/late-s"),
    "lafb": ("lafb/axis", "lafb/rs-inferior"),
    "av-block-1": ("av-block-1/pr",),
    "tachycardia": ("tachycardia/rate",),
    "bradycardia": ("bradycardia/rate",),
    "af": ("af/no-p", "af/irregular"),
    "pvc": ("pvc/premature", "pvc/wide"),
    "paced": ("paced/spikes", "paced/qrs-duration"),
    "long-qt": ("long-qt/qtc",),
    "inferior-mi": ("inferior-mi/q-waves",),
    "st-depression": ("st-depression/st-depression",),
    "t-inversion": ("t-inversion/t-inversion",),
}


@pytest.mark.parametrize("finding", SHOWN)
def test_criteria_hold_on_the_finding_and_not_on_its_twin(finding: str) -> None:
    rules = criteria_of(finding)
    held = {name: [0, 0] for name in SHOWN[finding]}
    for seed in range(6):
        made = simulate(finding, seed)
        assert made.twin is not None
        for column, signal in enumerate((made.signal, made.twin)):
            results = measure(Record("r", signal, made.fs, CANONICAL_LEADS), criteria=rules).criteria
            for name, counts in held.items():
                counts[column] += results[name].holds is True
    assert all(counts[0] >= 5 for counts in held.values()), held
    assert all(
        counts[1] <= 1
        for name, counts in held.items()
        if name not in {"lbbb/no-q", "lbbb/dominant-s-v1-v2", "bradycardia/rate"}
    ), held
