"""Does the map depend on what it should, and on nothing else? Weights, prompts, noise, order of time."""

from __future__ import annotations

import copy

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ecgcam.models.base import EcgTextModel

DEPTHS = (0.25, 0.5, 0.75, 1.0)


def agreement(one: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> float:
    """Return Spearman's rank correlation of two maps' cells before relu, (L, C) each, pooled over the leads.

    0 where one of them is alike everywhere.
    """
    from scipy.stats import rankdata

    first, second = rankdata(one.ravel()), rankdata(other.ravel())
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def randomised(model: EcgTextModel, depth: float, seed: int) -> EcgTextModel:
    """Return a copy of a model whose top layers, a share `depth` of those that a signal goes through, know nothing any more.

    Adebayo et al.: Sanity checks for saliency maps, NeurIPS 2018, section 4.1: from the top down. Each weight is drawn anew from
    the normal distribution of its tensor's mean and deviation, so that signals keep their size on the way up; running
    averages stay. The order of layers is the order in which the network declares them. The text side, and the model itself,
    are left as they were: what the prompt asks for is still asked.
    """
    names = signal_layers(model)
    twin = copy.copy(model)
    twin.network = copy.deepcopy(model.network)
    twin.forget()
    count = round(depth * len(names))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in names[len(names) - count :]:
            for parameter in twin.network.get_submodule(name).parameters(recurse=False):
                _draw_again(parameter, generator)
    return twin


def signal_layers(model: EcgTextModel) -> list[str]:
    """Return the modules with weights of their own that a signal's embedding hangs on, in the order of declaration.

    A network may hold a text tower too, and heads that were for training only: weights without a gradient from a signal.
    """

    def find() -> list[str]:
        network = copy.deepcopy(model.network).requires_grad_(True)
        x = torch.randn(1, len(model.input.leads), model.input.samples, generator=torch.Generator().manual_seed(0)).to(
            model.device
        )
        weights = [(name, w) for name, m in network.named_modules() for w in m.parameters(recurse=False)]
        with torch.enable_grad():
            answer = network(x).sum()
            if not weights or not answer.requires_grad:
                return []
            slopes = torch.autograd.grad(answer, [w for _, w in weights], allow_unused=True)
        return list(dict.fromkeys(name for (name, _), slope in zip(weights, slopes, strict=True) if slope is not None))

    return model.remember("signal layers", find)


def _draw_again(parameter: nn.Parameter, generator: torch.Generator) -> None:
    spread = float(parameter.std()) if parameter.numel() > 1 else 0.0
    drawn = torch.randn(parameter.shape, generator=generator) * spread + float(parameter.mean())
    parameter.copy_(drawn)


def shuffled(
    signal: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_], fs: float, seed: int, seconds: float = 0.1
) -> npt.NDArray[np.float32]:
    """Return the window (L, T) with its tenths of a second in another order, the same in every lead; padding stays in place."""
    real = np.flatnonzero(valid.any(axis=0))
    pieces = np.array_split(real, max(1, round(len(real) / (seconds * fs))))
    order = np.random.default_rng([seed, 5]).permutation(len(pieces))
    moved = signal.copy()
    moved[:, real] = signal[:, np.concatenate([pieces[i] for i in order])]
    return moved


def noisy(
    signal: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_], seed: int, microvolts: float = 20.0
) -> npt.NDArray[np.float32]:
    """Return the window (L, T) with white noise, as a quiet recorder would add; padding stays."""
    noise = np.random.default_rng([seed, 6]).standard_normal(signal.shape) * microvolts / 1000
    return np.where(valid, signal + noise, signal).astype(np.float32)


def shifted(signal: npt.NDArray[np.float32], samples: int) -> npt.NDArray[np.float32]:
    """Return the window (L, T) some samples later; what leaves at the end comes in at the start."""
    return np.roll(signal, samples, axis=1)
