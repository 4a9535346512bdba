"""Does the model's answer match the prompt? A verdict from scores alone: yes, no or unclear, with its basis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcam.results.sentences import WITHOUT, percent

# Each of three signs speaks for yes, for no, or for neither: the score against the empty score, its percentile among reference
# recordings, its rank among prompts. The limits were chosen on fold 8 of PTB-XL and validated on fold 9: docs/evidence.md.
YES_PERCENTILE, NO_PERCENTILE = 85.0, 60.0
# Limits among recordings that are known to be without the finding: all that are above are false alarms.
YES_PERCENTILE_WITHOUT, NO_PERCENTILE_WITHOUT = 93.0, 80.0
YES_RANK, NO_RANK = 0.1, 0.3  # shares of the prompts; the first prompt is always among the highest
# With fewer reference recordings or prompts there is no sign.
MIN_REFERENCES, MIN_PROMPTS = 20, 5


@dataclass(frozen=True)
class Verdict:
    """Whether the model's answer matches the prompt.

    Attributes
    ----------
    answer : str
        ``yes``, ``no`` or ``unclear``. Not a probability.
    score, empty_score : float
        Score of the window, and of the window with every lead filled.
    rank, of : int or None
        Rank of the prompt's score among `of` prompts, 1 the highest; None for one prompt.
    percentile : float or None
        Percentile of the score among reference recordings for the same prompt, 0 to 100; among those known to be without the
        finding, where that is known.
    basis : str
        What the answer is based on, in words.
    """

    answer: str
    score: float
    empty_score: float
    rank: int | None
    of: int | None
    percentile: float | None
    basis: str

    def to_json(self) -> dict[str, Any]:
        """Return it as ``summary.json`` holds it."""
        return asdict(self)


def decide_verdict(
    score: float,
    empty_score: float,
    other_scores: Sequence[float] | npt.NDArray[np.floating] = (),
    references: Sequence[float] | npt.NDArray[np.floating] | None = None,
    *,
    without: bool = False,
) -> Verdict:
    """Return the verdict on a prompt.

    Parameters
    ----------
    score, empty_score : float
        Score of the window, and of the window with every lead filled.
    other_scores : sequence of float
        Scores of the same window for the other prompts: of the call, and of the vocabulary where scores are comparable.
    references : sequence of float, optional
        Scores of the prompt for reference recordings, most of them without the finding.
    without : bool
        Whether all of these are known to be without it.
    """
    others = np.asarray(other_scores, np.float64)
    of = len(others) + 1 if len(others) else None
    rank = 1 + int((others > score).sum()) if len(others) else None
    known = np.asarray([] if references is None else references, np.float64)
    percentile = None
    if len(known):
        percentile = float(100 * ((known < score).mean() + 0.5 * (known == score).mean()))
    signs = [_sign(score > empty_score, score <= empty_score)]
    words = [f"score {score:+.3f} against {empty_score:+.3f} without ECG"]
    if percentile is not None and len(known) >= MIN_REFERENCES:
        yes, no = (YES_PERCENTILE_WITHOUT, NO_PERCENTILE_WITHOUT) if without else (YES_PERCENTILE, NO_PERCENTILE)
        signs.append(_sign(percentile >= yes, percentile < no))
        # Rounded like the stored percentile, so that the page and this sentence show the same number.
        kind = f"reference recordings{WITHOUT if without else ''}"
        words.append(f"higher than {percent(round(percentile, 1))} of {len(known)} {kind}")
    if rank is not None and of is not None and of >= MIN_PROMPTS:
        signs.append(_sign(rank <= max(1, round(YES_RANK * of)), rank > NO_RANK * of))
        words.append(f"rank {rank} of {of} prompts")
    rounded = None if percentile is None else round(percentile, 1)
    return Verdict(_answer(signs), score, empty_score, rank, of, rounded, "; ".join(words))


def _sign(for_yes: bool, for_no: bool) -> int:
    return int(for_yes) - int(for_no)


def _answer(signs: Sequence[int]) -> str:
    """Return what two of the signs agree on; a score below the empty score, the first sign, is never a yes."""
    if signs[0] > 0 and sum(sign > 0 for sign in signs) >= 2:
        return "yes"
    if sum(sign < 0 for sign in signs) >= min(2, len(signs)):
        return "no"
    return "unclear"
