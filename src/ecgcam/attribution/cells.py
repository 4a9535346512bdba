"""Where the cells of a feature map lie in time, and laying them on samples. NumPy, but for the layout of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ecgcam.errors import EcgcamError
from ecgcam.models.spec import LayerSpec

Floats = npt.NDArray[np.floating]
_AXES = {"BCT": (0, 1, 2), "BTC": (0, 2, 1), "TBC": (1, 2, 0)}


def to_cells(output: Tensor, layer: LayerSpec) -> Tensor:
    """Return a layer's output as (B, C, K): axes in one order, cells that are no place in time dropped.

    Raises
    ------
    EcgcamError
        If the output has not the three axes of its declared layout.
    """
    cells = cells_view(output, layer)
    if cells.dtype == torch.bfloat16:  # eight bits of it are no basis for sums
        cells = cells.float()
    return cells.flatten(2) if cells.ndim > 3 else cells


def cells_view(output: Tensor, layer: LayerSpec) -> Tensor:
    """Return a view of a layer's output as (B, C, K), or (B, C, leads, K / leads) where separators stand between the leads.

    Raises
    ------
    EcgcamError
        If the output has not the three axes of its declared layout.
    """
    if output.ndim != 3:
        raise EcgcamError(f"--layer: its output has shape {tuple(output.shape)}, not the three axes of {layer.layout}")
    cells = output.permute(*_AXES[layer.layout])[..., layer.skip :]
    if not layer.between:
        return cells
    count = cells.shape[-1] // layer.leads
    view: Tensor = cells.unflatten(-1, (layer.leads, count))[..., layer.between : count - layer.between]  # type: ignore[no-untyped-call]
    return view


def lead_cells(cells: Tensor, layer: LayerSpec) -> Tensor:
    """Return the cells (..., K) of a layer that keeps leads apart, lead by lead, (..., leads, T)."""
    if layer.run is None:
        return cells.reshape(*cells.shape[:-1], layer.leads, -1)
    step, first, samples = layer.run
    centres = layer.offset + layer.step * np.arange(round(samples / layer.step))
    places = (np.arange(layer.leads)[:, None] * samples + centres - first) / step
    return read_cells(cells, places)


def own_cells(cells: Tensor, layer: LayerSpec, rows: Sequence[int]) -> Tensor:
    """Return, of each signal's cells (R, K), those of the lead that it is about, (R, T); all where a cell looks at every lead.

    Parameters
    ----------
    cells : Tensor
        Of signals, one for each of `rows`.
    rows : sequence of int
        The leads, by their place in the model's order.
    """
    return lead_cells(cells, layer)[torch.arange(len(rows)), list(rows)] if layer.leads else cells


def mixed_leads(whole: Tensor, alone: Tensor, layer: LayerSpec, rows: Sequence[int]) -> float:
    """Return how far a layer that keeps leads apart has mixed them: the change of a lead's own cells when others are masked.

    That is |own cells of the whole signal - own cells of the lead alone| over |own cells of the whole signal|, 2-norms over all.

    Parameters
    ----------
    whole, alone : Tensor, (C, K), (R, C, K)
        Activations of the whole signal, and of the signals that keep one lead each.
    rows : sequence of int
        Those leads, by their place in the model's order.
    """
    number = torch.arange(len(rows))
    own = lead_cells(whole, layer).transpose(0, 1)[list(rows)]
    masked = lead_cells(alone, layer)[number, :, list(rows)]
    return float((own - masked).norm() / own.norm().clamp(min=1e-12))


def shift_cells(cells: Tensor, layer: LayerSpec, by: float) -> Tensor:
    """Return cells (..., K), each read `by` samples later: where the leads are kept apart, within each lead."""
    apart = layer.leads > 0 and layer.run is None
    grid = lead_cells(cells, layer) if apart else cells
    step = layer.step if layer.run is None else layer.run[0]
    read = read_cells(grid, np.arange(grid.shape[-1], dtype=np.float64) + by / step)
    return read.flatten(-2) if apart else read


def moment_cells(cells: Tensor, layer: LayerSpec) -> Tensor:
    """Return the cells (..., K) of a layer summed over the leads that it keeps apart, (..., T)."""
    return lead_cells(cells, layer).sum(dim=-2) if layer.leads else cells


def cell_centres(count: int, layer: LayerSpec) -> npt.NDArray[np.float64]:
    """Return the centres of `count` cells, in samples of the window (sample i covers i - 1/2 to i + 1/2)."""
    return layer.offset + layer.step * np.arange(count, dtype=np.float64)


def lay_on_samples(cells: Floats, layer: LayerSpec, samples: int) -> npt.NDArray[np.float32]:
    """Lay cells (..., K) on `samples` samples: straight lines between the cells' true centres, constant beyond the outer two.

    Straight lines keep the centroid of a lone cell at its centre; stretching the first and last cell to the window's edges
    would shift everything between.
    """
    left, right, part = _between(cells.shape[-1], layer, samples)
    laid: npt.NDArray[np.float32] = (cells[..., left] * (1 - part) + cells[..., right] * part).astype(np.float32)
    return laid


def spread_on_samples(cells: Floats, layer: LayerSpec, samples: int) -> Floats:
    """Spread cells (K,) on samples (T,) in the shape that `lay_on_samples` gives them, so that each cell's sum is kept."""
    left, right, part = _between(len(cells), layer, samples)
    size = np.bincount(left, 1 - part, len(cells)) + np.bincount(right, part, len(cells))
    share = np.divide(cells, size, out=np.zeros(len(cells)), where=size > 0)
    spread: Floats = share[left] * (1 - part) + share[right] * part
    return spread


def _between(
    count: int, layer: LayerSpec, samples: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return, for every sample (T,), the cells to its left and right and how far it is on the way from the one to the other."""
    position = np.clip((np.arange(samples) - layer.offset) / layer.step, 0, count - 1)
    left = np.minimum(position.astype(int), max(count - 2, 0))
    right = np.minimum(left + 1, count - 1)
    return left, right, (position - left).astype(np.float32)


def average_layers(parts: Sequence[tuple[Tensor, LayerSpec]]) -> tuple[Tensor, LayerSpec]:
    """Average the cells (R, K_i) of several layers on the cells of the finest.

    Each layer's cells are divided by their largest magnitude over all leads first, since layers differ in size but leads
    must stay comparable, and read off at the finest layer's centres along straight lines.
    """
    cells, finest = min(parts, key=lambda part: part[1].step)
    centres = cell_centres(cells.shape[-1], finest)
    total = torch.zeros_like(cells)
    for given, layer in parts:
        largest = given.abs().max()
        total += read_cells(given, (centres - layer.offset) / layer.step) / torch.where(largest > 0, largest, 1.0)
    return total / len(parts), finest


def read_cells(cells: Tensor, position: npt.NDArray[np.float64]) -> Tensor:
    """Read cells (..., K) at fractional numbers, along straight lines; the outer cells beyond the edges."""
    last = cells.shape[-1] - 1
    position = np.clip(position, 0, last)
    left = np.minimum(position.astype(int), max(last - 1, 0))
    right = np.minimum(left + 1, last)
    part = torch.from_numpy(position - left).to(cells)
    read: Tensor = cells[..., left] * (1 - part) + cells[..., right] * part
    return read


def shortest_span(response: Floats, share: float = 0.9) -> int:
    """Return the length of the shortest run of cells that holds `share` of a non-negative response (K,); 0 if it is zero."""
    total = float(response.sum())
    if total <= 0:
        return 0
    cumulative = np.concatenate([[0.0], np.cumsum(response, dtype=np.float64)])
    wanted = share * total * (1 - 1e-9)
    ends = np.searchsorted(cumulative, cumulative[:-1] + wanted)
    lengths = (ends - np.arange(len(response)))[ends < len(cumulative)]
    return int(lengths.min())
