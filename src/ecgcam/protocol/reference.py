"""Statistics of a model's embeddings over reference recordings, by which a recording unlike them is recognised."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ecgcam.errors import EcgcamError
from ecgcam.files import atomic, load_arrays

STATISTICS = ("mean", "spread", "centres", "embeddings")
KEYS = ("checkpoint", "layer", "limits", *STATISTICS)
# Share of held-out recordings that stay below both limits.
KNOWN = 0.99
logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Reference:
    """Statistics of reference recordings, of one checkpoint.

    Attributes
    ----------
    checkpoint : str
        SHA-256 of the weights that they were taken with.
    layer : str
        Where cells were taken.
    mean, spread : Tensor, (C,)
        Of the layer's channels over those recordings' cells.
    centres : Tensor, (M, C)
        Centres of clusters of their cells, each channel less `mean` over `spread`.
    embeddings : Tensor, (E, D)
        Their joint embeddings, at unit length.
    limits : tuple of two floats
        The two distances that nearly all held-out recordings stay below: of cells, of embeddings.
    without : mapping of str to bool (E,)
        By prompt of the vocabulary: which of the recordings are known to be without the finding. Empty where nothing is known.
    """

    checkpoint: str
    layer: str
    mean: Tensor
    spread: Tensor
    centres: Tensor
    embeddings: Tensor
    limits: tuple[float, float]
    without: Mapping[str, npt.NDArray[np.bool_]] = field(default_factory=dict)

    def cell_distance(self, cells: Tensor) -> Tensor:
        """Return how unlike known cells a signal's cells (N, C, K) are, (N,).

        Each cell's distance to the nearest centre, over 1 + its distance to the mean of all, averaged over time: a cell that
        is strong but of a known kind is near, whatever its strength.
        """
        # Squares that nearly cancel: computed in single precision, also where the network runs in bf16.
        with torch.autocast(cells.device.type, enabled=False):
            values = ((cells.float() - self.mean[:, None]) / self.spread[:, None]).transpose(1, 2)
            square = values.square().sum(dim=2)
            nearest = (square[..., None] + self.centres.square().sum(dim=1) - 2 * values @ self.centres.T).amin(dim=2)
            return (nearest.clamp(min=0).sqrt() / (1 + square.sqrt())).mean(dim=1)

    def embedding_distance(self, embeddings: Tensor) -> Tensor:
        """Return 1 - cosine of embeddings (N, D) to the nearest known one, (N,)."""
        units = torch.nn.functional.normalize(embeddings.float(), dim=1)
        return 1 - (units @ self.embeddings.T).amax(dim=1)

    def distance(self, cell_distance: Tensor, embeddings: Tensor) -> Tensor:
        """Return the larger of both distances over their limits, (N,): above 1, a signal is unlike the recordings."""
        parts = (cell_distance / self.limits[0], self.embedding_distance(embeddings) / self.limits[1])
        return torch.maximum(*parts)

    def scores(self, direction: Tensor, prompt: str | None = None) -> tuple[npt.NDArray[np.float64], bool]:
        """Return the recordings' scores along a direction (D,), and whether all are known to be without the finding.

        If it is known which recordings are without the finding of `prompt`, a prompt of the vocabulary, only those count: in most
        recordings a common finding, such as sinus rhythm, is present.
        """
        scores = (self.embeddings @ direction.float()).cpu().double().numpy()
        known = self.without.get(prompt or "")
        return (scores, False) if known is None else (scores[known], True)

    def save(self, path: Path) -> None:
        """Write the statistics in half precision."""
        arrays = {name: getattr(self, name).cpu().numpy().astype(np.float16) for name in STATISTICS}
        if self.without:
            arrays["prompts"] = np.array(list(self.without))
            arrays["without"] = np.array(list(self.without.values()))
        with atomic(path) as writing, writing.open("wb") as file:
            np.savez_compressed(
                file,
                checkpoint=np.array(self.checkpoint),
                layer=np.array(self.layer),
                limits=np.array(self.limits),
                **arrays,
            )


def reference_beside(weights: Path) -> Path:
    """Return where the statistics of a checkpoint lie: ``NAME-reference.npz`` next to ``NAME.npz``, ``NAME.pt`` ..."""
    return weights.with_name(f"{weights.stem}-reference.npz")


def find_reference(weights: Path, sha256: str, device: torch.device) -> Reference | None:
    """Return the statistics next to a checkpoint; None without any, or, with a note, where they belong to other weights.

    Raises
    ------
    EcgcamError
        If the file cannot be read or lacks an array.
    """
    path = reference_beside(weights)
    if not path.is_file():
        return None
    arrays = load_arrays(path, "statistics of a model's recordings")
    missing = KEYS if not isinstance(arrays, dict) else [key for key in KEYS if key not in arrays]
    if missing or not isinstance(arrays, dict):
        raise EcgcamError(
            f"{path}: not statistics of a model's recordings (no {', '.join(missing)}); remove or rename it"
        )
    if str(arrays["checkpoint"]) != sha256:
        logger.warning("%s: statistics of other weights than %s; they are not used", path, weights.name)
        return None
    if not _fit(arrays):
        raise EcgcamError(
            f"{path}: not statistics of a model's recordings (its arrays do not fit together); remove or rename it"
        )
    parts = {name: torch.from_numpy(np.asarray(arrays[name], np.float32)).to(device) for name in STATISTICS}
    cells, embeddings = (float(limit) for limit in arrays["limits"])
    without = dict(zip(arrays["prompts"].tolist(), arrays["without"], strict=True)) if "without" in arrays else {}
    return Reference(sha256, str(arrays["layer"]), limits=(cells, embeddings), without=without, **parts)


def _fit(arrays: dict[str, npt.NDArray[Any]]) -> bool:
    numbers = [arrays[name] for name in ("limits", *STATISTICS)]
    if not all(array.size and array.dtype.kind in "iuf" and np.isfinite(array).all() for array in numbers):
        return False
    mean, spread, centres, embeddings = (arrays[name].shape for name in STATISTICS)
    if "without" in arrays:
        prompts, without = arrays.get("prompts"), arrays["without"]
        if prompts is None or prompts.dtype.kind != "U" or without.dtype != np.bool_:
            return False
        if without.shape != (len(prompts), embeddings[0]):
            return False
    return mean == spread == centres[1:] and len(mean) == 1 and len(embeddings) == 2 and arrays["limits"].shape == (2,)
