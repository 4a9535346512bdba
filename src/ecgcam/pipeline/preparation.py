"""From a window in millivolts to the model's input, and what fills a masked lead. No torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecgcam.attribution.masking import fill_signal, lead_alone
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.preprocessing import scale_window
from ecgcam.protocol.spec import InputSpec
from ecgcam.records import Window
from ecgcam.records.record import BoolArray, FloatArray


@dataclass(frozen=True, eq=False)
class Prepared:
    """A window in model space.

    Attributes
    ----------
    window : Window
        Where it comes from.
    x, fill : float32, (leads, T)
        The unmasked window, and what fills a masked lead, in the model's lead order.
    valid : bool, (leads, T)
        Which samples are real.
    scale : float32, (leads, 1)
        Model units per millivolt.
    rows : list of int
        The model's rows of the window's leads.
    """

    window: Window
    x: FloatArray
    fill: FloatArray
    valid: BoolArray
    scale: FloatArray
    rows: list[int]

    def masked(self) -> FloatArray:
        """Return each lead alone, (R, leads, T)."""
        return lead_alone(self.x, self.fill, self.rows)


def prepare(window: Window, spec: InputSpec, settings: Settings) -> Prepared:
    """Return a window in model space, and what fills a masked lead."""
    rows = [spec.leads.index(lead) for lead in window.leads]
    x, offset, scale = scale_window(window, spec)
    valid = np.zeros(x.shape, bool)
    valid[rows] = window.valid
    seen = valid.copy()  # a held end is part of what the model is given, so of the level that fills a masked lead too
    if window.held is not None and window.held.shape[0] == x.shape[1]:
        seen |= valid.any(axis=1, keepdims=True) & window.held
    fill = fill_signal(settings.fill(spec), x, seen, -offset * scale, spec.mean, settings.seed)
    # Leads that the record lacks are filled like masked ones in every signal, so that the model gets no missing lead.
    absent = [i for i in range(len(spec.leads)) if i not in rows]
    x[absent] = fill[absent]
    return Prepared(window, x, fill, valid, scale, rows)
