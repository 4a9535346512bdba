"""Ribeiro's residual network, in the PyTorch port that predicts age (Lima et al. 2021, doi:10.1038/s41467-021-25351-7)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from ecgcam.models.families.blocks import State, sized_head


class Block(nn.Module):
    """Two convolutions; the sum with the shortcut is the next shortcut, and normalised and rectified as the output."""

    def __init__(self, before: int, after: int, stride: int, kernel: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(before, after, kernel, padding=kernel // 2, bias=False)
        self.bn1, self.relu1 = nn.BatchNorm1d(after), nn.ReLU()
        self.conv2 = nn.Conv1d(after, after, kernel, stride, padding=max(0, (kernel - stride + 1) // 2), bias=False)
        self.bn2, self.relu2 = nn.BatchNorm1d(after), nn.ReLU()
        pool = [nn.MaxPool1d(stride)] if stride > 1 else []
        wider = [nn.Conv1d(before, after, 1, bias=False)] if before != after else []
        self.skip_connection = nn.Sequential(*pool, *wider)

    def forward(self, x: Tensor, shortcut: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output and the next shortcut, (B, C, T) -> (B, C', T / stride)."""
        total = self.conv2(self.relu1(self.bn1(self.conv1(x)))) + self.skip_connection(shortcut)
        return self.relu2(self.bn2(total)), total


class RibeiroNetwork(nn.Module):
    """Signal (B, 12, 4096) -> (B, outputs)."""

    def __init__(self, filters: Sequence[int], lengths: Sequence[int], kernel: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(12, filters[0], kernel, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm1d(filters[0])
        before, longer = [filters[0], *filters[:-1]], [lengths[0], *lengths[:-1]]
        for i, width in enumerate(filters):
            self.add_module(f"resblock1d_{i}", Block(before[i], width, longer[i] // lengths[i], kernel))
        self.lin: nn.Linear | nn.Identity = nn.Linear(filters[-1] * lengths[-1], outputs)
        self.depth = len(filters)

    def forward(self, x: Tensor) -> Tensor:
        """Return the linear layer's outputs; it weighs every cell of the last block for itself."""
        x = shortcut = self.bn1(self.conv1(x))
        for i in range(self.depth):
            x, shortcut = self.get_submodule(f"resblock1d_{i}")(x, shortcut)
        out: Tensor = self.lin(x.flatten(1))
        return out

    def adapt_state(self, state: State, _source: Path) -> State:
        """Return the checkpoint; the linear layer is as wide as the file's."""
        if isinstance(self.lin, nn.Linear):
            self.lin = sized_head(self.lin, state, "lin")
        return state


def build(
    filters: Sequence[int] = (64, 128, 196, 256, 320),
    lengths: Sequence[int] = (4096, 1024, 256, 64, 16),
    kernel: int = 17,
    outputs: int = 1,
) -> RibeiroNetwork:
    """Return a network with untrained weights; channels and samples of each block, taps, outputs (age, or classes)."""
    return RibeiroNetwork(filters, lengths, kernel, outputs)
