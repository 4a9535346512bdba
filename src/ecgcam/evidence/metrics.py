"""The table of metrics: which way is better, and what a map that knows nothing would get. No torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A row of the table.

    Attributes
    ----------
    name : str
        As in the rows of `ecgcam evaluate`.
    room : str
        ``faithfulness``, ``localisation`` or ``sanity``.
    direction : str
        ``higher`` or ``lower`` is better.
    chance : float or None
        What a map that knows nothing gets; None where the random-map row, or the truth's size, says so.
    about : str
        One sentence.
    """

    name: str
    room: str
    direction: str
    chance: float | None
    about: str


METRICS = (
    Metric("deletion", "faithfulness", "lower", None, "Area under the score as tiles go, most important first."),
    Metric("insertion", "faithfulness", "higher", None, "Area under the score as only the most important tiles stay."),
    Metric("comprehensiveness", "faithfulness", "higher", None, "Score lost without the first 1 to 50 % of the tiles."),
    Metric("sufficiency", "faithfulness", "lower", None, "Score lost with only the first 1 to 50 % of the tiles."),
    Metric("faithfulness correlation", "faithfulness", "higher", 0.0, "Mass of random sets of tiles against the score lost."),
    Metric("infidelity", "faithfulness", "lower", None, "Share of those losses that the map, scaled, does not foretell."),
    Metric("confidence change", "faithfulness", "higher", None, "Score seen through the map less the score."),
    Metric("pointing", "localisation", "higher", None, "Whether the map's largest value lies in the truth."),
    Metric("mass", "localisation", "higher", None, "Share of the map's mass in the truth."),
    Metric("rank", "localisation", "higher", None, "Share of the largest samples, as many as the truth has, in it."),
    Metric("top 5 %", "localisation", "higher", None, "Share of the largest 5 % of samples in the truth."),
    Metric("auc", "localisation", "higher", 0.5, "Area under the ROC curve, samples as cases."),
    Metric("weights randomised", "sanity", "lower", 0.0, "Rank correlation of the cells with those of random weights."),
    Metric("other prompts", "sanity", "lower", None, "Rank correlation with the cells of other findings' prompts."),
    Metric("negation", "sanity", "lower", None, "Rank correlation with the cells of 'no' and the prompt."),
    Metric("synonyms", "sanity", "higher", None, "Rank correlation with the cells of the finding's other phrases."),
    Metric("paraphrase", "sanity", "higher", None, "Rank correlation with the cells of sentences around the prompt."),
    Metric("noise", "sanity", "higher", None, "Rank correlation with the cells of the record with 20 µV of noise."),
    Metric("shift", "sanity", "higher", None, "Rank correlation with the cells of the record a cell later, moved back."),
    Metric("time shuffled", "sanity", "higher", 0.0, "Score lost when the record's tenths of a second are shuffled."),
)  # fmt: skip


def metric_named(name: str) -> Metric:
    """Return the row of a metric, by its name without its variant (``deletion, coherent``, ``leads: mass``)."""
    plain = name.partition(",")[0].removeprefix("leads: ").removeprefix("time: ")
    return next(metric for metric in METRICS if metric.name == plain)
