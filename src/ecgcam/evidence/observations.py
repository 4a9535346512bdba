"""Findings by their criteria: the score of what a cardiologist would observe, less that of the opposite. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ecgcam.errors import EcgcamError
from ecgcam.records.criteria import Criterion, criteria_of, finding_prompts


def observations_of(prompts: Sequence[str]) -> dict[str, tuple[Criterion, ...]]:
    """Return the criteria that have words for and against, of each of the prompts that is a finding's."""
    found = {
        prompt: tuple(one for one in criteria_of(prompt) if one.positive and one.negative)
        for prompt in prompts
        if prompt.casefold() in {known.casefold() for known in finding_prompts().values()}
    }
    return {prompt: criteria for prompt, criteria in found.items() if criteria}


def texts_to_score(
    prompts: Sequence[str], known: Callable[[str], bool]
) -> tuple[list[str], dict[str, tuple[Criterion, ...]]]:
    """Return the prompts followed by the phrases of their criteria that are `known` to a text side, and those criteria.

    Raises
    ------
    EcgcamError
        If none of the prompts has criteria.
    """
    observed = observations_of(prompts)
    if not observed:
        raise EcgcamError(
            "`criteria`: none of the prompts is a finding with criteria; give one, such as left bundle branch block"
        )
    words = words_of([one for several in observed.values() for one in several])
    return [*prompts, *(text for text in words if text not in prompts and known(text))], observed


def words_of(criteria: Sequence[Criterion]) -> list[str]:
    """Return the phrases of criteria, each once."""
    return list(dict.fromkeys(text for one in criteria for text in (*one.positive, *one.negative)))


def observation_score(criteria: Sequence[Criterion], scores: Mapping[str, float]) -> float | None:
    """Return the mean over criteria of the mean score of the positive phrases less that of the negative ones.

    Parameters
    ----------
    criteria : sequence of Criterion
        Of one finding.
    scores : mapping
        The model's score of each phrase on a window; phrases that are missing, and criteria without both sides, do not count.

    Returns
    -------
    float, or None
        None where no criterion has both sides.
    """
    found = []
    for one in criteria:
        positive = [scores[text] for text in one.positive if text in scores]
        negative = [scores[text] for text in one.negative if text in scores]
        if positive and negative:
            found.append(float(np.mean(positive) - np.mean(negative)))
    return float(np.mean(found)) if found else None
