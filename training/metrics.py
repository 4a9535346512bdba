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
