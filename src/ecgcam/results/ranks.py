"""Ranks of leads. Only leads with a signal have one, and nearly equal values share one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ecgcam.results.explanation import Explanation

TIE = 0.02  # of the largest magnitude: values closer than this share a rank


def lead_ranks(
    explanation: Explanation,
    values: npt.NDArray[np.floating] | None = None,
    error: npt.NDArray[np.floating] | None = None,
) -> list[int | None]:
    """Return the rank of each lead, 1 for the largest value; None for a flat or missing lead.

    A lead shares the rank of the best lead of its group (1, 1, 3) if it lies below it by no more than `TIE` of the largest
    magnitude, or two standard errors.

    Parameters
    ----------
    explanation : Explanation
        Whose leads.
    values : (L,), optional
        What is ranked; the gains by default.
    error : (L,), optional
        Standard errors, NaN where unknown.
    """
    ranked = np.asarray(explanation.gains if values is None else values, np.float64)
    ranks: list[int | None] = [None] * len(ranked)
    order = ranked_leads(explanation, ranked)
    width = TIE * max((abs(float(ranked[row])) for row in order), default=0.0)
    doubt = np.zeros(len(ranked)) if error is None else 2 * np.nan_to_num(np.asarray(error, np.float64))
    first, rank = -1, 0
    for place, row in enumerate(order, start=1):
        if rank == 0 or ranked[first] - ranked[row] > max(width, doubt[first], doubt[row]):
            first, rank = row, place
        ranks[row] = rank
    return ranks


def ranked_leads(explanation: Explanation, values: npt.NDArray[np.floating] | None = None) -> list[int]:
    """Return the row numbers of the leads with a signal, largest value first; canonical order among equals."""
    ranked = np.asarray(explanation.gains if values is None else values, np.float64)
    alive = [bool(valid.any()) for valid in explanation.valid]
    return sorted((row for row in range(len(ranked)) if alive[row]), key=lambda row: -float(ranked[row]))
