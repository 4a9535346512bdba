"""The batch of lead-masked signals, and what fills a masked lead: in model space, after normalisation. NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np

from ecgcam.errors import EcgcamError, no_such
from ecgcam.protocol.spec import Fill
from ecgcam.records.record import BoolArray, FloatArray

FILLS = get_args(Fill)


def fill_signal(
    name: str, x: FloatArray, valid: BoolArray, zero_mv: FloatArray, mean: Sequence[float] | None = None, seed: int = 0
) -> FloatArray:
    """Return what each lead is filled with when it is masked, (L, T).

    Parameters
    ----------
    name : str
        ``baseline``: the lead's median over its valid samples (0 mV for a lead without any); ``zero-mv``: where 0 mV lands;
        ``zero``: 0 in model space; ``mean``: the training mean per lead; ``noise``: baseline plus Gaussian noise whose
        standard deviation is the lead's median absolute deviation.
    x, valid : (L, T)
        The unmasked window in model space, and which of its samples are real.
    zero_mv : (L, 1)
        Where 0 mV lies in model space.
    mean : sequence of L floats, optional
        Training mean per lead, where the model states it.
    seed : int
        Of the noise. Each lead draws from its own stream, so that the other leads do not change it.

    Raises
    ------
    EcgcamError
        If there is no such fill, or the model states no mean.
    """
    if name not in FILLS:
        raise no_such(f"`mask` {name}", "mask", name, FILLS)
    if name == "zero":
        level = np.zeros_like(zero_mv)
    elif name == "zero-mv":
        level = zero_mv
    elif name == "mean":
        if mean is None:
            raise EcgcamError(
                "`mask` mean: this model states no training mean per lead; choose another, such as baseline"
            )
        level = np.asarray(mean, np.float32)[:, None]
    else:
        level = np.array(
            [
                np.median(row[real]) if real.any() else zero[0]
                for row, real, zero in zip(x, valid, zero_mv, strict=True)
            ],
            np.float32,
        )[:, None]
    filled = np.broadcast_to(level, x.shape).astype(np.float32)
    if name == "noise":
        for i, (row, real) in enumerate(zip(x, valid, strict=True)):
            if real.any():
                deviation = np.median(np.abs(row[real] - level[i]))
                draws = np.random.default_rng([seed, i]).standard_normal(x.shape[1])
                filled[i] += (deviation * draws).astype(np.float32)
    return filled


def lead_alone(x: FloatArray, fill: FloatArray, rows: Sequence[int]) -> FloatArray:
    """Return one signal per row in `rows`, (R, L, T): that lead as it is, all others filled.

    Parameters
    ----------
    x, fill : (L, T)
        The unmasked window and what fills each lead.
    rows : sequence of int
        The leads to keep, one at a time.
    """
    masked = np.repeat(fill[None], len(rows), axis=0)
    masked[np.arange(len(rows)), list(rows)] = x[list(rows)]
    return masked
