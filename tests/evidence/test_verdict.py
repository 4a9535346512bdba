"""Verdicts from scores that can be counted."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ecgcam.evidence.verdict import decide_verdict

REFERENCES = np.arange(100) / 100  # 0.00 to 0.99


@pytest.mark.parametrize(("score", "answer"), [(0.9, "yes"), (0.86, "yes"), (0.8, "unclear"), (0.605, "unclear")])
def test_percentiles_of_references_decide(score: float, answer: str) -> None:
    found = decide_verdict(score, -1.0, references=REFERENCES)
    assert found.answer == answer
    below = sum(reference < score for reference in REFERENCES) + 0.5 * sum(score == REFERENCES)
    assert found.percentile == pytest.approx(below)
    assert f"{below:.0f} % of 100 reference recordings" in found.basis


@pytest.mark.parametrize(
    ("above_empty", "percentile", "rank", "answer"),
    [
        (True, 90, 1, "yes"), (True, 90, 9, "yes"), (True, 10, 2, "yes"), (False, 90, 2, "unclear"),
        (False, 10, 1, "no"), (False, 90, 9, "no"), (True, 10, 9, "no"), (False, 70, 9, "no"),
        (True, 70, 4, "unclear"), (False, 90, 4, "unclear"), (True, 70, 9, "unclear"), (False, 70, 1, "unclear"),
    ],
)  # fmt: skip
def test_two_signs_that_agree_decide(above_empty: bool, percentile: int, rank: int, answer: str) -> None:
    """Of 20 prompts ranks 1 and 2 speak for yes, from 7 on for no; percentiles from 85 for yes, below 60 for no."""
    others = [1.0] * (rank - 1) + [-1.0] * (20 - rank)
    references = [-1.0] * percentile + [1.0] * (100 - percentile)
    found = decide_verdict(0.5, 0.4 if above_empty else 0.6, others, references)
    assert (found.answer, found.rank, found.of, found.percentile) == (answer, rank, 20, percentile)


@pytest.mark.parametrize(
    ("percentile", "answer"), [(99, "yes"), (93, "yes"), (92, "unclear"), (80, "unclear"), (79, "no"), (10, "no")]
)
def test_among_recordings_without_the_finding_the_limits_are_higher(percentile: int, answer: str) -> None:
    references = [-1.0] * percentile + [1.0] * (100 - percentile)
    # The score without ECG speaks for yes where a yes is possible, else for no.
    found = decide_verdict(0.5, 0.4 if percentile >= 80 else 0.6, references=references, without=True)
    assert found.answer == answer
    assert f"{percentile} % of 100 reference recordings without it" in found.basis


def test_rank_counts_the_higher_scores() -> None:
    found = decide_verdict(0.5, 0.0, [0.9, 0.5, 0.4, -0.1])
    assert (found.rank, found.of) == (2, 5)
    assert decide_verdict(0.5, 0.0).rank is None
    assert decide_verdict(0.5, 0.0).of is None


def test_without_references_the_rank_decides_among_enough_prompts() -> None:
    others = np.linspace(-0.5, 0.4, 19)
    assert decide_verdict(0.5, 0.0, others).answer == "yes"  # first of 20, and above the score without ECG
    assert decide_verdict(0.5, 0.6, others).answer == "unclear"
    assert decide_verdict(-0.6, 0.0, others).answer == "no"
    assert decide_verdict(-0.6, -0.7, others).answer == "unclear"  # last, but above the score without ECG
    assert decide_verdict(0.2, 0.0, others).answer == "unclear"
    assert decide_verdict(0.5, 0.0, others[:3]).answer == "unclear"  # four prompts say too little
    assert decide_verdict(0.5, 0.0, others, REFERENCES[:5]).answer == "yes"  # five references too: the rank decides


def test_alone_a_score_can_only_deny() -> None:
    assert decide_verdict(-0.062, 0.094).answer == "no"
    assert decide_verdict(0.5, 0.0).answer == "unclear"


def test_it_is_plain_json() -> None:
    found = decide_verdict(0.5, 0.25, [0.75], REFERENCES).to_json()
    assert json.loads(json.dumps(found)) == found
    assert list(found) == ["answer", "score", "empty_score", "rank", "of", "percentile", "basis"]


def test_a_percentile_next_to_an_end_is_not_rounded_to_it() -> None:
    references = np.linspace(0.0, 1.0, 1001)
    assert "higher than 99.8 % of 1001" in decide_verdict(0.9985, 0.0, (), references).basis
    assert "higher than 0.2 % of 1001" in decide_verdict(0.0015, 0.0, (), references).basis
    assert "higher than 50 % of 1001" in decide_verdict(0.5, 0.0, (), references).basis
    assert "higher than 100 % of 1001" in decide_verdict(2.0, 0.0, (), references).basis
