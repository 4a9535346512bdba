"""The score of edited windows: millivolts in, the model's similarity out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ecgcam.evidence.edits import Score
from ecgcam.pipeline.preparation import Prepared
from ecgcam.protocol.model import EcgTextModel


def score_functions(prepared: Prepared, texts: Sequence[str], model: EcgTextModel) -> dict[str, Score]:
    """Return the plain score of each prompt, without foils, as a function of edited windows (B, L, T) in mV."""
    directions = model.encode_text(texts)
    return {text: score_along(prepared, direction, model) for text, direction in zip(texts, directions, strict=True)}


def score_along(prepared: Prepared, direction: Tensor, model: EcgTextModel) -> Score:
    """Return the product with a direction (D,), such as `ScoreDirections.directions`, as a function of edited windows in mV.

    The constants of the normalisation are those of the unedited window.
    """
    return partial(_score, prepared, direction, model)


def mask_fill(prepared: Prepared) -> npt.NDArray[np.float32]:
    """Return the fill of the call's mask for each lead of the window, mV, (L, T)."""
    rows = prepared.rows
    fill = prepared.window.signal + (prepared.fill[rows] - prepared.x[rows]) / prepared.scale[rows]
    return fill.astype(np.float32)


def _score(
    prepared: Prepared, direction: Tensor, model: EcgTextModel, signals: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    rows = prepared.rows
    x = np.repeat(prepared.x[None], len(signals), axis=0)
    x[:, rows] += (signals - prepared.window.signal) * prepared.scale[rows]
    with torch.no_grad(), model.asking(direction):
        scores = model.encode_signal(torch.from_numpy(x).to(model.device)) @ direction
    return scores.cpu().double().numpy()
