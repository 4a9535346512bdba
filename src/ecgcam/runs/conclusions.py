"""What an evaluation shows, in sentences: on how many recordings each method is better than the maps without a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecgcam.evidence.metrics import METRICS, Metric
from ecgcam.results.intervals import mean_interval
from ecgcam.runs.evaluation import RANDOM, SLOPE, Entry

WITHOUT_MODEL = (RANDOM, SLOPE)
ONE_RECORDING = "one recording: no interval, and no conclusion about other recordings"


@dataclass(frozen=True)
class Comparison:
    """A method against a map without a model, by one metric, on the same recordings.

    Attributes
    ----------
    metric, reference : str
        Name of the metric; ``random map`` or ``slope of the ECG``.
    better, n : int
        Recordings on which the method is better, and all on which both have a value.
    difference, low, high : float
        Mean advantage of the method, positive where it is better, and its 95 % interval (NaN for one recording).
    """

    metric: str
    reference: str
    better: int
    n: int
    difference: float
    low: float
    high: float

    @property
    def wins(self) -> bool:
        """Whether the interval of the advantage lies above 0."""
        return self.low > 0


@dataclass(frozen=True)
class Conclusion:
    """What the headline metrics show of one method for one prompt."""

    text: str
    method: str
    layer: str | None
    mask: str
    comparisons: tuple[Comparison, ...]

    def sentence(self) -> str:
        """Return it in words: which comparisons the method wins, and on how many recordings it is better."""
        if not self.comparisons:
            return f"{self.method}: nothing to compare"
        parts = []
        for metric in dict.fromkeys(one.metric for one in self.comparisons):
            several = [one for one in self.comparisons if one.metric == metric]
            counts = " and ".join(f"than the {one.reference} on {one.better} of {one.n}" for one in several)
            parts.append(f"{metric} better {counts}{'' if several[0].n == 1 else _won(several)}")
        return f"{self.method}: {'; '.join(parts)}"

    def named(self, *, layer: bool) -> str:
        """Return the sentence, with the layer where several are compared."""
        at = f" at {self.layer}" if layer and self.layer else ""
        return self.sentence().replace(self.method, f"{self.method}{at}", 1)


def draw_conclusions(entries: Iterable[Entry]) -> list[Conclusion]:
    """Return the conclusions, methods in their order.

    Sanity is left out: no map is better there than one that depends on nothing.
    """
    groups: dict[tuple[str, str, str | None, str], dict[tuple[str, float], Entry]] = {}
    for entry in entries:
        key = (entry.text, entry.method, entry.layer, entry.mask)
        groups.setdefault(key, {})[entry.record, entry.start] = entry
    compared = [metric for metric in METRICS if metric.headline and metric.group != "sanity"]
    found = []
    for (text, method, layer, mask), own in groups.items():
        if method in WITHOUT_MODEL:
            continue
        others = {name: groups.get((text, name, None, mask), {}) for name in WITHOUT_MODEL}
        pairs = [_compare(metric, name, own, other) for metric in compared for name, other in others.items()]
        found.append(Conclusion(text, method, layer, mask, tuple(one for one in pairs if one is not None)))
    return found


def conclusion_rows(conclusions: Iterable[Conclusion]) -> list[dict[str, Any]]:
    """Return a row for each comparison, for a table: who against whom, on how many recordings better, and by how much."""
    return [
        {
            "text": one.text, "method": one.method, "layer": one.layer, "mask": one.mask, "metric": pair.metric,
            "reference": pair.reference, "better": pair.better, "n": pair.n, "advantage": round(pair.difference, 6),
            "low": None if np.isnan(pair.low) else round(pair.low, 6),
            "high": None if np.isnan(pair.high) else round(pair.high, 6), "wins": pair.wins,
        }
        for one in conclusions
        for pair in one.comparisons
    ]  # fmt: skip


def _compare(
    metric: Metric, name: str, own: dict[tuple[str, float], Entry], other: dict[tuple[str, float], Entry]
) -> Comparison | None:
    """Return the comparison over the windows where both have the metric; None without one."""
    pairs = [
        (entry.values[metric.name], other[window].values[metric.name])
        for window, entry in own.items()
        if window in other and metric.name in entry.values and metric.name in other[window].values
    ]
    if not pairs:
        return None
    values = np.array(pairs)
    advantage = (values[:, 0] - values[:, 1]) * (1.0 if metric.direction == "higher" else -1.0)
    mean, low, high = mean_interval(advantage)
    return Comparison(metric.name, name, int((advantage > 0).sum()), len(pairs), mean, low, high)


def _won(several: Sequence[Comparison]) -> str:
    won = [one.reference for one in several if one.wins]
    lost = [one.reference for one in several if one.high < 0]
    parts = [f"beats the {' and the '.join(won)}"] if won else []
    parts += [f"loses to the {' and the '.join(lost)}"] if lost else []
    return f" ({', '.join(parts) or 'no clear difference'})"
