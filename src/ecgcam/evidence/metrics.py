"""The table of metrics. A metric is a function and a row; rows, docs/evaluate.md and the tests read this table. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ecgcam.evidence import dependence, faithfulness, localisation
from ecgcam.evidence.dependence import RandomWeights, Reruns
from ecgcam.evidence.faithfulness import ShownMap, TileRemoval
from ecgcam.evidence.localisation import MarkedValues, truth_share


@dataclass(frozen=True)
class Metric:
    """A row of the table.

    Attributes
    ----------
    name : str
        As in the rows of `ecgcam evaluate`.
    group : str
        One of `METRIC_GROUPS`.
    direction : str
        ``higher`` or ``lower`` is better.
    chance : float, callable or None
        The value of a map without information: a number, a function of the subject, or None for the mean of the random map.
    subject : type
        What the function takes. Each subject of a map with its own row name (``deletion, mask``, ``time: mass``) is measured.
    function : callable
        Subject to value; NaN where it is not defined. Its docstring is its entry in docs/evaluate.md.
    headline : bool
        Whether conclusions rest on it, and it is measured without ``--all-metrics``.
    """

    name: str
    group: str
    direction: str
    chance: float | Callable[[Any], float] | None
    subject: type
    function: Callable[[Any], float]
    headline: bool = False


METRICS = (
    Metric("deletion", "faithfulness", "lower", None, TileRemoval, faithfulness.deletion),
    Metric("insertion", "faithfulness", "higher", None, TileRemoval, faithfulness.insertion),
    Metric("comprehensiveness", "faithfulness", "higher", None, TileRemoval, faithfulness.comprehensiveness, True),
    Metric("sufficiency", "faithfulness", "lower", None, TileRemoval, faithfulness.sufficiency),
    Metric("faithfulness correlation", "faithfulness", "higher", 0.0, TileRemoval, faithfulness.faithfulness_correlation),
    Metric("infidelity", "faithfulness", "lower", None, TileRemoval, faithfulness.infidelity),
    Metric("confidence change", "faithfulness", "higher", None, ShownMap, faithfulness.confidence_change),
    Metric("complexity", "faithfulness", "lower", None, ShownMap, faithfulness.complexity),
    Metric("pointing", "localisation", "higher", truth_share, MarkedValues, localisation.pointing),
    Metric("mass", "localisation", "higher", truth_share, MarkedValues, localisation.mass),
    Metric("rank", "localisation", "higher", truth_share, MarkedValues, localisation.rank),
    Metric("top 5 %", "localisation", "higher", truth_share, MarkedValues, localisation.top_5),
    Metric("auc", "localisation", "higher", 0.5, MarkedValues, localisation.auc, True),
    Metric("weights randomised", "sanity", "lower", 0.0, RandomWeights, dependence.weights_randomised, True),
    Metric("other prompts", "sanity", "lower", None, Reruns, dependence.other_prompts),
    Metric("negation", "sanity", "lower", None, Reruns, dependence.negation),
    Metric("synonyms", "sanity", "higher", None, Reruns, dependence.synonyms),
    Metric("paraphrase", "sanity", "higher", None, Reruns, dependence.paraphrase),
    Metric("noise", "sanity", "higher", None, Reruns, dependence.noise_agreement),
    Metric("shift", "sanity", "higher", None, Reruns, dependence.shift),
    Metric("coherence", "sanity", "higher", None, Reruns, dependence.coherence),
    Metric("time shuffled", "sanity", "higher", 0.0, Reruns, dependence.time_shuffled),
)  # fmt: skip


def metric_named(name: str) -> Metric:
    """Return the row of a metric, by its name without its variant (``deletion, coherent``, ``leads: mass``)."""
    plain = name.partition(",")[0].removeprefix("leads: ").removeprefix("time: ")
    return next(metric for metric in METRICS if metric.name == plain)


def measure(subject: object) -> dict[str, float]:
    """Return every metric of one subject, by name."""
    return {metric.name: metric.function(subject) for metric in METRICS if metric.subject is type(subject)}
