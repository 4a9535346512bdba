"""Explanations of the hand-made ECG: three leads, ten seconds at 500 Hz, every beat known."""

from __future__ import annotations

from typing import Any

import numpy as np
from tests import handmade
from tests.records.test_waves import hand_made

from ecgcam.results.explanation import Explanation


def explained(text: str = "a", **changes: Any) -> Explanation:
    """An even map unless `changes` say otherwise; the meta's record, method and mask may be among them."""
    fields: dict[str, Any] = {
        "map": np.ones((3, 5000)), "signal": hand_made(500.0), "fs": 500.0, "time": np.arange(5000) / 500,
        "valid": np.ones((3, 5000), bool), "leads": ("I", "II", "V1"), "lead_scores": np.full(3, 0.5, np.float32),
        "mask_shift": np.zeros(3, np.float32), "gradient": np.zeros((3, 0), np.float32),
        "gradient_smoothed": np.zeros((3, 0), np.float32),
    }  # fmt: skip
    of_meta = {key: changes.pop(key) for key in ("record", "method", "mask") if key in changes}
    fields |= changes
    for name in ("map", "signal"):
        fields[name] = np.asarray(fields[name], np.float32)
    made = handmade.explanation(text, **fields)
    made.meta.update(of_meta)
    return made
