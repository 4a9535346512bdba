"""From a map to colour: one hue whose opacity is the strength, one scale for all leads of an explanation.

Opacity over white paper keeps the ECG readable and leaves unimportant stretches plain; blended in sRGB it is close to linear
in lightness. Blue, and orange for the negative side of signed maps, are distinguishable in all common colour vision deficiencies.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcam.resources import configs
from ecgcam.results.explanation import Explanation

Rgba = npt.NDArray[np.float32]

POSITIVE = (0.0, 0.318, 0.655)
NEGATIVE = (0.780, 0.360, 0.0)
STRONGEST = 0.72  # opacity at the top of the scale: grid and trace stay readable
PALE = 0.25  # the same where the model's answer is not the prompt
TOP_PERCENTILE = 99.0  # of the samples that are not 0: a single cell does not set the scale
SMOOTHING = 0.040  # s; of methods whose maps differ from sample to sample, for display only
NO_LEAD = "no lead alone raises the score"
ALL_ZERO = "the map is zero everywhere"
BY_LEAD = "this method gives one value per lead"
_UNITS = {
    "evidence": "evidence: score per second",
    "lead": "share of the lead's own maximum",
    "raw": "map, in the method's units",
}


@dataclass(frozen=True, eq=False)
class Colours:
    """The colours of all leads of one explanation.

    Attributes
    ----------
    values : float64, (L, T)
        The scaled map as it is shown; 0 where the sample is not valid.
    vmax : float
        The magnitude at the top of the one scale. 0 where there is neither colour nor a reference.
    signed : bool
        Whether the scale runs from -vmax to vmax.
    unit : str
        What the colour bar measures.
    scale : str
        ``evidence``, ``lead`` or ``raw``.
    strongest : float
        Opacity at the top of the scale.
    beyond : bool
        Whether some values lie above the top; they have its colour.
    shared : bool
        Whether the top is that of the model's reference recordings, so that pages compare.
    smoothed : bool
        Whether the map was smoothed for display.
    blank : str
        Why there is no colour at all; empty where there is some.
    panels : bool
        Whether the scale is that of several panels of one figure.
    """

    values: npt.NDArray[np.float64]
    vmax: float
    signed: bool
    unit: str
    scale: str = "evidence"
    strongest: float = STRONGEST
    beyond: bool = False
    shared: bool = False
    smoothed: bool = False
    blank: str = ""
    panels: bool = False


def default_scale(explanation: Explanation) -> str:
    """Return ``evidence`` for maps of a layer's cells; ``raw`` for other methods, whose values have a unit of their own."""
    return "evidence" if explanation.map_cells.shape[1] else "raw"


def colours(explanation: Explanation, scale: str | None = None) -> Colours:
    """Return the colours of `explanation` on `scale` (evidence, lead or raw; by default the method's own)."""
    scale = default_scale(explanation) if scale is None else scale
    values = np.where(explanation.valid, explanation.scaled_map(scale), 0.0)
    meta = explanation.meta
    unit = _UNITS[scale]
    if scale == "evidence" and meta.get("against"):
        unit = "evidence: difference of scores per second"
    by_lead = lead_values(explanation) is not None and scale == "raw"
    if by_lead:
        values = np.zeros_like(values)
    smoothed = not explanation.map_cells.shape[1] and lead_values(explanation) is None and bool(values.any())
    if smoothed:
        values = _smoothed(values, explanation)
    strength = np.abs(values)
    # Smoothing leaves rounding errors where there is no map.
    coloured = strength[strength > 1e-9 * strength.max(initial=0.0)]
    own = float(np.percentile(coloured, TOP_PERCENTILE)) if len(coloured) else 0.0
    floor = 0.0 if scale == "lead" else reference_top(meta, scale)
    vmax = max(own, floor)
    blank = ""
    if not len(coloured):
        blank = BY_LEAD if by_lead else NO_LEAD if explanation.map.any() else ALL_ZERO
    return Colours(
        values=values, vmax=vmax, signed=bool(meta.get("signed", False)), unit=unit, scale=scale,
        strongest=PALE if denied(explanation) else STRONGEST,
        beyond=bool(len(coloured)) and float(strength.max()) > vmax * (1 + 1e-6), shared=floor > 0 and own <= floor,
        smoothed=smoothed, blank=blank,
    )  # fmt: skip


def denied(explanation: Explanation) -> bool:
    """Return whether the model's answer is not the prompt: its verdict is no, or the ECG does not raise the score."""
    verdict = explanation.meta.get("verdict")
    if isinstance(verdict, dict) and verdict.get("answer") in {"yes", "no", "unclear"}:
        return bool(verdict["answer"] == "no") or explanation.score <= explanation.empty_score
    return explanation.score <= explanation.empty_score


def lead_values(explanation: Explanation) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """Return the value of each lead and its standard error (NaN where unknown), (L,) each, of methods with one value per lead.

    None where the map changes along a lead, or comes from cells.
    """
    if explanation.map_cells.shape[1] or not explanation.map.any():
        return None
    values = np.zeros(len(explanation.leads))
    error = np.full(len(explanation.leads), np.nan)
    report = explanation.meta.get("report") or {}
    by_name, errors = report.get("values") or {}, report.get("standard_error") or {}
    for row, (lead, valid) in enumerate(zip(explanation.leads, explanation.valid, strict=True)):
        samples = explanation.map[row, valid]
        if samples.size and float(np.ptp(samples)) > 1e-6 * float(np.abs(samples).max()):
            return None
        values[row] = float(by_name.get(lead, samples[0] if samples.size else 0.0))
        error[row] = float(errors.get(lead, np.nan))
    return values, error


def reference_top(meta: dict[str, Any], scale: str) -> float:
    """Return the least top of the scale of a model's maps, from its reference recordings; 0 where none is known.

    ``meta["colour_top"]`` ({scale: top}) comes first, then ``configs/picture-scale.toml``.
    """
    stored = meta.get("colour_top")
    if isinstance(stored, dict) and isinstance(stored.get(scale), int | float):
        return float(stored[scale])
    of_model = _shipped().get(str(meta.get("model")), {})
    of_method = of_model.get(str(meta.get("method")), {})
    if scale not in of_method and scale == "evidence":  # score per second, whatever the method
        of_method = of_model.get("grad-cam", {})
    return float(of_method.get(scale, 0.0))


@lru_cache(maxsize=1)
def _shipped() -> dict[str, Any]:
    path = configs() / "picture-scale.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _smoothed(values: npt.NDArray[np.float64], explanation: Explanation) -> npt.NDArray[np.float64]:
    """Return the mean over 40 ms of valid samples around each; signed values keep their sign."""
    half = round(SMOOTHING * explanation.fs / 2)
    if half < 1:
        return values
    valid = explanation.valid.astype(np.float64)
    shown: npt.NDArray[np.float64] = np.where(
        explanation.valid, _running_sum(values, half) / np.maximum(_running_sum(valid, half), 1.0), 0.0
    )
    return shown


def _running_sum(values: npt.NDArray[np.float64], half: int) -> npt.NDArray[np.float64]:
    samples = values.shape[1]
    mass = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
    at = np.arange(samples)
    total: npt.NDArray[np.float64] = mass[:, np.minimum(at + half + 1, samples)] - mass[:, np.maximum(at - half, 0)]
    return total


def shade(values: npt.NDArray[np.float64], vmax: float, strongest: float = STRONGEST) -> Rgba:
    """Return `values` as colours (..., 4), float32 in [0, 1]: the sign is the hue, the magnitude over `vmax` the opacity."""
    coloured = np.empty((*values.shape, 4), np.float32)
    coloured[..., :3] = np.where((values < 0)[..., None], NEGATIVE, POSITIVE)
    coloured[..., 3] = 0.0 if vmax == 0 else strongest * np.clip(np.abs(values) / vmax, 0.0, 1.0)
    return coloured


def average(values: npt.NDArray[np.float64], columns: int) -> npt.NDArray[np.float64]:
    """Average samples (L, T) over equal columns that span the paper, T steps from the first sample's time: (L, columns)."""
    return average_between(values, np.linspace(0.0, values.shape[1], columns + 1))


def average_between(values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Average samples (..., T) between neighbours of `edges` (N + 1,), in steps from the first sample's time: (..., N).

    Exact: each sample weighs by the part of [t - dt/2, t + dt/2] between the edges, so that a thin peak is neither skipped nor
    widened. 0 where there is no sample.
    """
    samples = values.shape[-1]
    edges = np.clip(edges + 0.5, 0.0, samples)  # sample i reaches from i to i + 1 here
    mass = np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, axis=-1)], axis=-1)
    lower = np.minimum(edges.astype(int), samples - 1)
    at_edges = mass[..., lower] + (edges - lower) * values[..., lower]
    averaged: npt.NDArray[np.float64] = np.diff(at_edges, axis=-1) / np.maximum(np.diff(edges), 1e-9)
    return averaged
