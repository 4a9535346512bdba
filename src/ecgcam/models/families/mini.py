"""The bundled family: a small 1-D residual network for the signal (He et al. 2016, in one dimension), hashed words for the text.

The signal tower is Conv1d, BatchNorm1d, ReLU and Linear only, so that every attribution method applies to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ecgcam.models.text.bundled import BundledEncoder, BundledTextTower


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut: (B, C, T) -> (B, C', ceil(T / stride))."""

    def __init__(self, channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(channels, out_channels, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm1d(out_channels)
        self.conv2 = nn.Conv1d(out_channels, out_channels, kernel, 1, kernel // 2, bias=False)
        self.bn2 = nn.BatchNorm1d(out_channels)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv1d(channels, out_channels, 1, stride, bias=False), nn.BatchNorm1d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(F(x) + shortcut(x))."""
        residual = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        out: Tensor = self.relu2(residual + self.shortcut(x))
        return out


class MiniSignalTower(nn.Module):
    """Signal (B, leads, T) -> joint embedding (B, D), before L2.

    Parameters
    ----------
    leads : int
        Input channels.
    widths, depths : sequence of int
        Channels and residual blocks of each stage; every stage halves the rate, as does the stem.
    kernel, stem_kernel : int
        Odd kernel sizes; symmetric padding keeps cell i at sample i x step.
    dim : int
        Size of the joint embedding.
    """

    def __init__(
        self,
        leads: int = 12,
        widths: Sequence[int] = (32, 64, 128),
        depths: Sequence[int] = (2, 3),
        kernel: int = 7,
        stem_kernel: int = 15,
        dim: int = 128,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv1d(leads, widths[0], stem_kernel, 2, stem_kernel // 2, bias=False),
            nn.BatchNorm1d(widths[0]),
            nn.ReLU(),
        )
        self.stages = nn.Sequential(
            *(
                nn.Sequential(
                    *(ResidualBlock(width if i else previous, width, kernel, 1 if i else 2) for i in range(depth))
                )
                for previous, width, depth in zip(widths, widths[1:], depths, strict=False)
            )
        )
        self.head = nn.Sequential(nn.Linear(widths[-1], widths[-1]), nn.ReLU(), nn.Linear(widths[-1], dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return the joint embedding: stages, mean over time, head."""
        pooled: Tensor = self.head(self.stages(self.stem(x)).mean(dim=-1))
        return pooled


class MiniNetwork(nn.Module):
    """Both towers of the bundled model; as a function it is the signal tower, (B, leads, T) -> (B, D) before L2."""

    def __init__(self, signal: dict[str, Any], text: dict[str, Any]) -> None:
        super().__init__()
        self.signal, self.text = MiniSignalTower(**signal), BundledTextTower(**text)

    def forward(self, x: Tensor) -> Tensor:
        """Return the joint embedding of signals."""
        embedded: Tensor = self.signal(x)
        return embedded

    def text_encoder(self) -> BundledEncoder:
        """Return the text side."""
        return BundledEncoder(self.text)


def build(signal: dict[str, Any] | None = None, text: dict[str, Any] | None = None) -> MiniNetwork:
    """Return a network with untrained weights; the options are those of the two towers."""
    return MiniNetwork(signal or {}, text or {})
