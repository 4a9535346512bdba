"""The places of the cells of a feature map in time, and their interpolation to samples. NumPy, except for tensor layouts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ecgcam.errors import EcgcamError
from ecgcam.protocol.spec import LayerSpec

Floats = npt.NDArray[np.floating]


def to_cells(output: Tensor, layer: LayerSpec, signals: int | None = None) -> Tensor:
    """Return a layer's output as (B, C, K): axes in one order, cells without a place in time dropped, in float32 at least.

    Parameters
    ----------
    output : Tensor
        The layer's output.
    layer : LayerSpec
        Its layout.
    signals : int, optional
        Number of signals of the input, to be compared with the batch of the output.
    """
    cells = cells_view(output, layer)
    if signals is not None and len(cells) != signals:
        raise EcgcamError(
            f"`layer`: {signals} signals gave an output of shape {tuple(output.shape)}, so its batch axis does not "
            "hold the signals; "
            "declare the layout of the layer, such as (BL)CT, or choose another layer"
        )
    if cells.dtype in {torch.bfloat16, torch.float16}:  # too few bits for sums
        cells = cells.float()
    return cells.flatten(2) if cells.ndim > 3 else cells


def cells_view(output: Tensor, layer: LayerSpec) -> Tensor:
    """Return a view of a layer's output as (B, C, K), or (B, C, L, K / L) where the layout or separators keep leads apart."""
    layout: str = layer.layout
    shape = tuple(output.shape)
    if layer.folded:
        if layer.leads < 1 or output.ndim != 3 or shape[0] % layer.leads:
            raise EcgcamError(
                f"`layer`: its output has shape {shape}, not {layout} of {layer.leads} leads; declare its layout"
            )
        output, layout = output.unflatten(0, (-1, layer.leads)), "BL" + layout[4:]  # type: ignore[no-untyped-call]
    if output.ndim != len(layout):
        words = {3: "three", 4: "four"}
        raise EcgcamError(
            f"`layer`: its output has shape {shape}, not the {words[len(layout)]} axes of "
            f"{layer.layout}; declare its layout"
        )
    if "L" in layout and output.shape[layout.index("L")] != (layer.leads or layer.rows):
        raise EcgcamError(
            f"`layer`: its output has shape {shape}: the L axis of {layer.layout} must have {layer.leads or layer.rows} entries; "
            "declare leads=12 where they are the leads, and rows=... where they are not"
        )
    axes = [layout.index(axis) for axis in "BCLT" if axis in layout]
    cells = output.permute(*axes)
    cells = cells[..., layer.n_prefix_tokens : cells.shape[-1] - layer.n_suffix_tokens]
    if layer.leads and "L" not in layout and layer.concat_grid is None and cells.shape[-1] % layer.leads:
        raise EcgcamError(
            f"`layer`: its output has shape {shape}, whose {cells.shape[-1]} cells are not a multiple of {layer.leads} leads; "
            "declare n_prefix_tokens or n_suffix_tokens"
        )
    if not layer.n_separators:
        return cells
    count = cells.shape[-1] // layer.leads
    view: Tensor = cells.unflatten(-1, (layer.leads, count))[..., layer.n_separators : count - layer.n_separators]  # type: ignore[no-untyped-call]
    return view


def lead_cells(cells: Tensor, layer: LayerSpec) -> Tensor:
    """Return the cells (..., K) of a layer that keeps leads, or other rows, apart, row by row, (..., rows, T)."""
    if layer.concat_grid is None:
        return cells.reshape(*cells.shape[:-1], layer.leads or layer.rows, -1)
    step, first, samples = layer.concat_grid
    centres = layer.offset + layer.step * np.arange(round(samples / layer.step))
    places = (np.arange(layer.leads)[:, None] * samples + centres - first) / step
    return read_cells(cells, places)


def select_lead(cells: Tensor, layer: LayerSpec, rows: Sequence[int]) -> Tensor:
    """Return, of each signal's cells (R, K), those of the lead that it is about, (R, T).

    Where a cell looks at every lead, that is all of them, summed over the rows of the layer if it has several.

    Parameters
    ----------
    cells : Tensor
        Of signals, one for each of `rows`.
    rows : sequence of int
        The leads, by their place in the model's order.
    """
    return lead_cells(cells, layer)[torch.arange(len(rows)), list(rows)] if layer.leads else sum_leads(cells, layer)


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


def with_pulses(background: Tensor, layer: LayerSpec, count: int) -> tuple[Tensor, list[tuple[int, int]]]:
    """Return a signal (L, T) with a pulse at each of three cells, and as it is, (4, L, T); and those cells, lead and number.

    Where a cell looks at all leads, the pulse is in all, and the lead is 0.
    """
    signals = background.repeat(4, 1, 1)
    cells = [((i + 1) * len(background) // 4 if layer.leads else 0, (i + 1) * count // 4) for i in range(3)]
    for row, (lead, number) in enumerate(cells):
        time = round(layer.offset + layer.step * number)
        leads = [lead] if layer.leads else range(len(background))
        signals[row, leads, max(time, 0) : time + max(1, round(layer.step / 2))] += 3.0
    return signals, cells


def pulses_found(moved: Tensor, layer: LayerSpec, cells: Sequence[tuple[int, int]], slack: int = 2) -> int:
    """Return how many pulses move their own cell most, or one `slack` cells away, of how much each moves every cell (3, K)."""
    rows = lead_cells(moved, layer)
    rows = rows if layer.leads else rows.sum(dim=-2, keepdim=True)
    found = [divmod(int(cell), rows.shape[-1]) for cell in rows.flatten(1).argmax(dim=-1)]
    pairs = zip(found, cells, strict=True)
    return sum(at == lead and abs(cell - number) <= slack for (at, cell), (lead, number) in pairs)


def shift_cells(cells: Tensor, layer: LayerSpec, by: float) -> Tensor:
    """Return cells (..., K), each read `by` samples later: where the leads are kept apart, within each lead."""
    apart = (layer.leads > 0 or layer.rows > 1) and layer.concat_grid is None
    grid = lead_cells(cells, layer) if apart else cells
    step = layer.step if layer.concat_grid is None else layer.concat_grid[0]
    read = read_cells(grid, np.arange(grid.shape[-1], dtype=np.float64) + by / step)
    return read.flatten(-2) if apart else read


def sum_leads(cells: Tensor, layer: LayerSpec) -> Tensor:
    """Return the cells (..., K) of a layer summed over the leads, or rows, that it keeps apart, (..., T)."""
    return lead_cells(cells, layer).sum(dim=-2) if layer.leads or layer.rows > 1 else cells


def cell_centres(count: int, layer: LayerSpec) -> npt.NDArray[np.float64]:
    """Return the centres of `count` cells, in samples of the window (sample i covers i - 1/2 to i + 1/2)."""
    return layer.offset + layer.step * np.arange(count, dtype=np.float64)


def upsample_to_samples(cells: Floats, layer: LayerSpec, samples: int) -> npt.NDArray[np.float32]:
    """Interpolate cells (..., K) to `samples` samples: linear between the cells' centres, constant beyond the outer two.

    Linear interpolation keeps the centroid of a single cell at its centre; stretching the outer cells to the window's edges
    would shift everything between.
    """
    left, right, part = _between(cells.shape[-1], layer, samples)
    laid: npt.NDArray[np.float32] = (cells[..., left] * (1 - part) + cells[..., right] * part).astype(np.float32)
    return laid


def spread_on_samples(cells: Floats, layer: LayerSpec, samples: int) -> Floats:
    """Spread cells (K,) to samples (T,) in the shape of `upsample_to_samples`, with the sum of each cell kept."""
    left, right, part = _between(len(cells), layer, samples)
    size = np.bincount(left, 1 - part, len(cells)) + np.bincount(right, part, len(cells))
    share = np.divide(cells, size, out=np.zeros(len(cells)), where=size > 0)
    spread: Floats = share[left] * (1 - part) + share[right] * part
    return spread


def _between(
    count: int, layer: LayerSpec, samples: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return, for every sample (T,), the cells to its left and right, and its relative position between them."""
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
