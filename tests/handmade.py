"""An Explanation made by hand, without a model: two leads, ten samples at 10 Hz, every value known."""

from __future__ import annotations

from typing import Any

import numpy as np

from ecgcam.results.explanation import FORMAT, Explanation


def explanation(text: str = "atrial fibrillation", **changes: Any) -> Explanation:
    """Lead I has mass 2 s and gain 0.5; lead V1 mass 0.4 s and gain -0.25 (it speaks against the prompt)."""
    time = 3.0 + np.arange(10) / 10
    fields: dict[str, Any] = {
        "map": np.array([[0, 1, 4, 1, 0, 6, 6, 2, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 4, 0]], np.float32),
        "map_cells": np.array([[1, -2, 3], [-4, 5, -6]], np.float32),
        "cell_time": np.array([3.0, 3.4, 3.8]),
        "gradient": np.full((2, 10), -0.5, np.float32),
        "gradient_smoothed": np.full((2, 10), 0.5, np.float32),
        "signal": np.stack([np.sin(2 * np.pi * time), np.cos(2 * np.pi * time)]).astype(np.float32),
        "time": time,
        "fs": 10.0,
        "valid": np.ones((2, 10), bool),
        "leads": ("I", "V1"),
        "score": 0.75,
        "empty_score": 0.25,
        "lead_scores": np.array([0.75, 0.0], np.float32),
        "mask_shift": np.array([0.1, 0.2], np.float32),
    }
    meta = {
        "format": FORMAT, "record": "rec", "text": text, "against": None, "method": "grad-cam", "options": {}, "layer": "a.b",
        "mask": "zero-mv", "signed": False, "model": "toy", "checkpoint_sha256": "0" * 64, "derived_leads": [],
        "absent_leads": ["II"], "cell_step_ms": 400.0, "cell_width_ms": 400.0, "window": {"start": 3.0, "seconds": 1.0},
        "gradient": "record", "seed": 0, "smoothing": {"smoother": "gaussian", "ms": 40.0, "signed": False},
        "warnings": ["a warning"], "versions": {},
    }  # fmt: skip
    return Explanation(**(fields | {"meta": meta} | changes))
