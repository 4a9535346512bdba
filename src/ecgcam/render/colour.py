"""From a map to colour: one hue whose opacity is the strength, one scale for all leads of an explanation.

Opacity over white paper keeps the ECG readable and leaves unimportant stretches plain; blended in sRGB it is close to linear
in lightness. Blue, and orange for the negative side of signed maps, are told apart in all common colour vision deficiencies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecgcam.explanation import Explanation

Rgba = npt.NDArray[np.float32]

POSITIVE = (0.0, 0.318, 0.655)
NEGATIVE = (0.780, 0.360, 0.0)
STRONGEST = 0.72  # opacity at the top of the scale: grid and trace stay readable
_UNITS = {
    "evidence": "similarity per second",
    "lead": "share of the lead's own maximum",
    "raw": "map, in the method's units",
}


@dataclass(frozen=True, eq=False)
class Colours:
    """The colours of all leads of one explanation.

    Attributes
    ----------
    values : float64, (L, T)
        The scaled map; 0 where the sample is not valid.
    vmax : float
        The strongest magnitude over all leads: the top of the one scale. 0 where every map is blank.
    signed : bool
        Whether the scale runs from -vmax to vmax.
    unit : str
        What the colour bar measures.
    """

    values: npt.NDArray[np.float64]
    vmax: float
    signed: bool
    unit: str


def colours(explanation: Explanation, scale: str) -> Colours:
    """Return the colours of `explanation` on `scale` (evidence, lead or raw)."""
    values = np.where(explanation.valid, explanation.scaled_map(scale), 0.0)
    signed = bool(explanation.meta.get("signed", False))
    unit = _UNITS[scale]
    if scale == "evidence" and explanation.meta.get("against"):
        unit = "difference in similarity per second"
    return Colours(values, float(np.abs(values).max(initial=0.0)), signed, unit)


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
