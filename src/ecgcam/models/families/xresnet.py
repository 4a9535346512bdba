"""xresnet1d101, of the PTB-XL benchmark (Strodthoff et al. 2020, arXiv:2004.13701) and, wider, of KED.

fastai's xresnet in one dimension: three convolutions as a stem, bottleneck blocks whose shortcut averages before it projects.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ecgcam.models.families.blocks import State, sized_head

EXPANSION = 4


def conv_layer(before: int, after: int, kernel: int, stride: int = 1, rectified: bool = True) -> nn.Sequential:
    """Return a convolution that keeps the length except for its stride, a normalisation, and a ReLU."""
    parts: list[nn.Module] = [
        nn.Conv1d(before, after, kernel, stride, (kernel - 1) // 2, bias=False),
        nn.BatchNorm1d(after),
    ]
    return nn.Sequential(*parts, *([nn.ReLU()] if rectified else []))


class Block(nn.Module):
    """One, five and one taps, and a shortcut that averages pairs where the length is halved, (B, C, T) -> (B, C', T')."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        after = width * EXPANSION
        self.convs = nn.Sequential(
            conv_layer(before, width, 1),
            conv_layer(width, width, 5, stride),
            conv_layer(width, after, 1, rectified=False),
        )
        pool = [nn.AvgPool1d(2, ceil_mode=True)] if stride > 1 else []
        wider = [conv_layer(before, after, 1, rectified=False)] if before != after else []
        self.idpath = nn.Sequential(*pool, *wider)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(convs(x) + idpath(x))."""
        out: Tensor = self.act(self.convs(x) + self.idpath(x))
        return out


def trunk(widths: Sequence[int], depths: Sequence[int], stem: Sequence[int] = (32, 32, 64)) -> list[nn.Module]:
    """Return the modules 0 to 7: stem, pooling, and a stage for each of `widths`, of which all but the first halve the length."""
    channels = [12, *stem]
    modules: list[nn.Module] = [conv_layer(channels[i], channels[i + 1], 5, 1 if i else 2) for i in range(3)]
    modules.append(nn.MaxPool1d(3, 2, 1))
    before = stem[-1]
    for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        blocks = [Block(width * EXPANSION if j else before, width, 2 if i and not j else 1) for j in range(depth)]
        modules.append(nn.Sequential(*blocks))
        before = width * EXPANSION
    return modules


def without_twins(state: State) -> State:
    """Return a state dict with one name for each block's convolutions: `convs.*`.

    Files of `torch.save` hold them a second time as `convpath.0.*`; files that keep one name of a shared tensor may hold the
    second name alone.
    """
    return {key.replace(".convpath.0.", ".convs."): value for key, value in state.items() if ".convpath.0." in key} | {
        key: value for key, value in state.items() if ".convpath." not in key
    }


class MaxAndMean(nn.Module):
    """The maximum and the mean over time, (B, C, T) -> (B, 2 C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return both, the maximum first."""
        return torch.cat([x.amax(dim=-1), x.mean(dim=-1)], dim=1)


class XResNet(nn.Sequential):
    """Signal (B, 12, 250) -> logits (B, labels)."""

    def __init__(self, widths: Sequence[int], depths: Sequence[int], hidden: int, labels: int) -> None:
        features = 2 * EXPANSION * widths[-1]
        # Places 1, 3 and 7 held a flattening and dropouts; the checkpoints count them.
        head: list[nn.Module] = [
            MaxAndMean(), nn.Identity(), nn.BatchNorm1d(features), nn.Identity(), nn.Linear(features, hidden), nn.ReLU(),
            nn.BatchNorm1d(hidden), nn.Identity(), nn.Linear(hidden, labels),
        ]  # fmt: skip
        super().__init__(*trunk(widths, depths), nn.Sequential(*head))

    def adapt_state(self, state: State, _source: Path) -> State:
        """Return the part of a checkpoint that is this network; the last layer is as wide as the file's."""
        last = self.get_submodule("8.8")
        if isinstance(last, nn.Linear):
            self.get_submodule("8").add_module("8", sized_head(last, state, "8.8"))
        return without_twins(state)


def build(
    widths: Sequence[int] = (64, 64, 64, 64),
    depths: Sequence[int] = (3, 4, 23, 3),
    hidden: int = 128,
    labels: int = 71,
) -> XResNet:
    """Return a network with untrained weights; each stage's width and blocks, and the sizes of the head."""
    return XResNet(widths, depths, hidden, labels)
