"""Take the statistics by which `explain` detects a recording unlike those of the training (`ecgcam.protocol.reference`)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ecgcam.attribution.hooks import observe
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.reference import KNOWN, STATISTICS, Reference

CENTRES = 256
_DRAWN = 12_000  # cells that clusters are looked for in
_BATCH = 64

Windows = npt.NDArray[np.floating]


def cells_and_embeddings(model: EcgTextModel, windows: Windows, layer: str) -> tuple[list[Tensor], Tensor]:
    """Return cells, batches of (B, C, K), and embeddings (N, D) of windows (N, L, T) in model space."""
    embeddings = []
    with observe(model, layer, lambda cells: cells.clone()) as cells, torch.no_grad():
        for begin in range(0, len(windows), _BATCH):
            x = torch.from_numpy(np.asarray(windows[begin : begin + _BATCH], np.float32)).to(model.device)
            embeddings.append(model.encode_signal(x))
    return cells, torch.cat(embeddings)


def fit_reference(
    model: EcgTextModel,
    known: Windows,
    held_out: Windows,
    layer: str | None = None,
    centres: int = CENTRES,
    seed: int = 0,
) -> Reference:
    """Take the statistics of a model's recordings.

    Parameters
    ----------
    model : EcgTextModel
        With the weights that they belong to.
    known, held_out : (N, L, T)
        Recordings in model space: those that the clusters are made of, and others of the same kind, for the limits.
    layer : str, optional
        Where cells are taken, default the target layer.
    centres : int
        Clusters of cells.
    """
    path = layer or model.spec.layer
    rng = np.random.default_rng(seed)
    batches, embeddings = cells_and_embeddings(model, known, path)
    every = max(1, sum(cells.shape[0] * cells.shape[2] for cells in batches) // (8 * _DRAWN))
    flat = torch.cat([cells[:, :, ::every].transpose(1, 2).flatten(0, 1) for cells in batches]).cpu().numpy()
    mean, spread = flat.mean(axis=0), flat.std(axis=0)
    spread = np.maximum(spread, 0.01 * np.median(spread) + 1e-6)  # a channel that hardly moves must not count for all
    drawn = rng.permutation(len(flat))[:_DRAWN]
    middles = _clusters(((flat - mean) / spread)[drawn], centres, seed)
    # The embeddings themselves, not clusters of them: noise lies between those that are near enough for a cluster.
    kinds = torch.nn.functional.normalize(embeddings, dim=1).cpu().numpy()
    # As they will be read again, in half precision.
    read = {
        name: torch.from_numpy(part.astype(np.float16).astype(np.float32)).to(model.device)
        for name, part in zip(STATISTICS, (mean, spread, middles, kinds), strict=True)
    }
    blank = Reference(model.checkpoint_sha256, path, limits=(1.0, 1.0), **read)
    far = [part.double() for part in distances(model, held_out, blank)]
    # The two limits flag as many recordings each, and both together all but `KNOWN`.
    each = [part.quantile((1 + KNOWN) / 2) for part in far]
    both = torch.maximum(*(part / limit for part, limit in zip(far, each, strict=True))).quantile(KNOWN)
    return replace(blank, limits=(float(each[0] * both), float(each[1] * both)))


def distances(model: EcgTextModel, windows: Windows, reference: Reference) -> tuple[Tensor, Tensor]:
    """Return the distances of cells and of embeddings, (N,) each, of windows (N, L, T) in model space."""
    with observe(model, reference.layer, reference.cell_distance) as cells, torch.no_grad():
        embedded = []
        for begin in range(0, len(windows), _BATCH):
            x = torch.from_numpy(np.asarray(windows[begin : begin + _BATCH], np.float32)).to(model.device)
            embedded.append(model.encode_signal(x))
    return torch.cat(cells), reference.embedding_distance(torch.cat(embedded))


def _clusters(values: npt.NDArray[np.floating], count: int, seed: int) -> npt.NDArray[np.float32]:
    """Return the centres of k-means, (count, C), or the values themselves where they are not more."""
    from scipy.cluster.vq import kmeans2

    if len(values) <= count:
        return values.astype(np.float32)
    centres, _ = kmeans2(values.astype(np.float32), count, iter=10, minit="points", rng=seed)
    return np.asarray(centres, np.float32)
