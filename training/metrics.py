"""Area under the ROC curve, with ties and unlabelled records."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Probability that a positive scores above a negative (Mann-Whitney); NaN labels are left out, NaN without both classes."""
    known = ~np.isnan(labels)
    positive = labels[known] == 1
    count, other = int(positive.sum()), int((~positive).sum())
    if not count or not other:
        return float("nan")
    ranks = rankdata(scores[known])
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * other))


def bootstrap_interval(
    labels: np.ndarray, scores: np.ndarray, groups: np.ndarray, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the AUROC, by drawing groups (patients) with replacement; draws without both classes are left out."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    values = []
    for _ in range(draws):
        rows = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        values.append(auroc(labels[rows], scores[rows]))
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
