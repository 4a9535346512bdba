"""Findings by their criteria: scores of phrases for and against, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.evidence.test_reasons import criterion

from ecgcam.evidence.observations import observation_score, observations_of, words_of
from ecgcam.evidence.reasons import shifts_elsewhere


def test_the_score_is_the_mean_over_criteria_of_for_less_against() -> None:
    first = replace(criterion(), positive=("a", "b"), negative=("c",))
    second = replace(criterion(), positive=("d",), negative=("e", "f"))
    scores = {"a": 0.5, "b": 0.3, "c": 0.1, "d": -0.2, "e": 0.4, "f": 0.2}
    assert observation_score([first, second], scores) == pytest.approx(((0.4 - 0.1) + (-0.2 - 0.3)) / 2)
    # A phrase that the model does not have counts neither way, nor does a criterion without one side.
    assert observation_score([first, second], {"a": 0.5, "c": 0.1, "d": 1.0}) == pytest.approx(0.4)
    assert observation_score([second], {"d": 1.0}) is None
    assert words_of([first, second, first]) == ["a", "b", "c", "d", "e", "f"]


def test_only_prompts_of_findings_with_phrases_have_observations() -> None:
    found = observations_of(["left bundle branch block", "a cat", "Atrial fibrillation"])
    assert list(found) == ["left bundle branch block", "Atrial fibrillation"]
    assert all(one.positive and one.negative for criteria in found.values() for one in criteria)


def test_a_region_is_moved_off_the_waves_and_not_onto_the_next_beat() -> None:
    # Ten beats of 100 samples, the wave at 20 to 29 of each: only shifts that are not near a multiple of 100 leave
    # nothing in place.
    region = np.zeros((2, 1000), bool)
    region[1].reshape(10, 100)[:, 20:30] = True
    shifts = shifts_elsewhere(region)
    assert len(shifts) > 400
    assert {int(np.logical_and(region, np.roll(region, shift, axis=1)).sum()) for shift in shifts} == {0}
