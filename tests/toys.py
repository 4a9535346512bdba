"""Networks small enough to explain on paper, as models."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import InputSpec, LayerSpec, ModelSpec


class Directions:
    """Prompts "0", "1", ... stand for the axes of the joint space."""

    def __init__(self, width: int) -> None:
        self.width = width

    def encode(self, texts: Sequence[str]) -> Tensor:
        return torch.eye(self.width)[[int(text) for text in texts]]

    def has(self, text: str) -> bool:
        return text.isdigit()

    def warnings(self, text: str) -> list[str]:
        return []


def toy_model(
    network: nn.Module,
    layers: dict[str, LayerSpec],
    *,
    leads: tuple[str, ...] = ("I", "II"),
    samples: int = 8,
    fs: float = 100.0,
    width: int = 2,
    similarity: str = "dot",
    normalisation: str = "none",
    fill: str = "zero",
) -> EcgTextModel:
    """A model of a toy network; its target layer is the first of `layers`."""
    source = InputSpec(fs, samples / fs, leads, normalisation, fill)  # type: ignore[arg-type]  # plain str in tests
    spec = ModelSpec("toy", "toy", "", "directions", "", source, layers, next(iter(layers)), similarity)  # type: ignore[arg-type]
    return EcgTextModel(spec, network, Directions(width), "0" * 64)
