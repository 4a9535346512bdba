"""A copy of a model with random weights, for sanity checks of its maps."""

from __future__ import annotations

import copy

import torch
from torch import nn

from ecgcam.attribution.taps import copy_network
from ecgcam.protocol.model import EcgTextModel


def randomised(model: EcgTextModel, depth: float, seed: int) -> EcgTextModel:
    """Return a copy of a model with random weights in its top layers, a share `depth` of those on the path of the signal.

    Adebayo et al.: Sanity checks for saliency maps, NeurIPS 2018, section 4.1: cascading randomisation from the top. Each
    weight is drawn from the normal distribution with its tensor's mean and deviation, so that activations keep their
    magnitude; running averages stay. Layers are ordered as the network declares them. The text side and the given model do
    not change.
    """
    names = signal_layers(model)
    twin = copy.copy(model)
    twin.network = copy_network(model.network)
    twin.clear_cache()
    modules = dict(twin.network.named_modules())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in names[len(names) - round(depth * len(names)) :]:
            for parameter in modules[name].parameters(recurse=False):
                _redraw(parameter, generator)
    return twin


def signal_layers(model: EcgTextModel) -> list[str]:
    """Return the modules whose own weights a signal's embedding depends on, in the order of declaration.

    A network may also hold a text tower, or heads for training only: their weights get no gradient from a signal.
    """

    def find() -> list[str]:
        network = copy_network(model.network).requires_grad_(True)
        x = torch.randn(1, len(model.input.leads), model.input.samples, generator=torch.Generator().manual_seed(0)).to(
            model.device
        )
        weights = [(name, w) for name, m in network.named_modules() for w in m.parameters(recurse=False)]
        with torch.enable_grad():
            embedding = network(x).sum()
            if not weights or not embedding.requires_grad:
                return []
            gradients = torch.autograd.grad(embedding, [w for _, w in weights], allow_unused=True)
        return list(
            dict.fromkeys(name for (name, _), slope in zip(weights, gradients, strict=True) if slope is not None)
        )

    return model.cached("signal layers", find)


def _redraw(parameter: nn.Parameter, generator: torch.Generator) -> None:
    spread = float(parameter.std()) if parameter.numel() > 1 else 0.0
    drawn = torch.randn(parameter.shape, generator=generator) * spread + float(parameter.mean())
    parameter.copy_(drawn)
