"""EchoingECG: a residual network with probabilistic embeddings, and BioBERT (Gao et al., MICCAI 2025).

Each side has a head for the mean and one for the spread of its embedding; the score is that of the means. The pooling sorts each
feature over time and weighs it by rank (Chen et al., CVPR 2021, arXiv:2011.04305), so what it reads has no fixed place in time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ecgcam.models.families.blocks import State, without
from ecgcam.models.families.merl import ResidualBlock

_TEMPERATURE = 0.1


class RankPooling(nn.Module):
    """Features (B, N, C) -> (B, C): each sorted from its largest value down, and weighed by rank.

    The weights come from a recurrent network that sees the ranks and nothing of the features.
    """

    def __init__(self, positions: int) -> None:
        super().__init__()
        self.gru = nn.GRU(positions, positions, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(positions, 1, bias=False)
        self.positions = positions

    def forward(self, features: Tensor) -> Tensor:
        """Return the weighed sum."""
        # No gradient of the features passes here, and recurrent layers refuse one on CUDA outside of training.
        with torch.no_grad():
            weights = self.weights(features.shape[1], features)
        pooled: Tensor = (features.sort(dim=1, descending=True).values * weights[:, None]).sum(dim=1)
        return pooled

    def weights(self, count: int, like: Tensor) -> Tensor:
        """Return the weight of each of `count` ranks, (count,), of the kind of another tensor."""
        rank = torch.arange(count, device=like.device, dtype=like.dtype)[:, None]
        even = torch.arange(0, self.positions, 2, device=like.device, dtype=like.dtype)
        angle = rank * torch.exp(even * -(math.log(10000.0) / self.positions))
        encoded = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
        both = self.gru(encoded[None])[0][0]
        scores = self.linear((both[:, : self.positions] + both[:, self.positions :]) / 2)
        return torch.softmax(scores[:, 0] / _TEMPERATURE, dim=0)


class EcgSide(nn.Module):
    """Signal (B, 12, 1000) -> the mean of its embedding (B, joint), before L2."""

    def __init__(self, width: int, depths: Sequence[int], joint: int, positions: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(12, width, 7, 2, 3, bias=False)
        self.bn1, self.relu1 = nn.BatchNorm1d(width), nn.ReLU()
        before = width
        for i, depth in enumerate(depths):
            after = width << (i + 1)
            blocks = [
                ResidualBlock(after if j else before, after, 2 if i and not j else 1, False) for j in range(depth)
            ]
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
            before = after
        self.linear, self.gpool = nn.Linear(before, joint), RankPooling(positions)
        self.stages = len(depths)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean head's embedding."""
        x = self.relu1(self.bn1(self.conv1(x)))
        for i in range(self.stages):
            x = self.get_submodule(f"layer{i + 1}")(x)
        embedded: Tensor = self.gpool(self.linear(x.transpose(1, 2)))
        return embedded


class TextSide(nn.Module):
    """The mean head of the text tower, which is not run here: tokens (N, text_width) -> (joint,)."""

    def __init__(self, text_width: int, joint: int, positions: int) -> None:
        super().__init__()
        self.linear, self.gpool = nn.Linear(text_width, joint), RankPooling(positions)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the joint embedding (P, joint), before L2, of the tokens (P, N, text_width) of prompts of one length."""
        embedded: Tensor = self.gpool(self.linear(tokens))
        return embedded


class EchoingNetwork(nn.Module):
    """Both sides' heads; as a function it is the signal's."""

    text_width = 0  # the pooling takes every token

    def __init__(self, ecg: EcgSide, text: TextSide) -> None:
        super().__init__()
        self.ecg_encoder, self.text_encoder_head = ecg, text

    def forward(self, x: Tensor) -> Tensor:
        """Return the joint embedding, before L2."""
        embedded: Tensor = self.ecg_encoder(x)
        return embedded

    def project_text(self, features: Tensor) -> Tensor:
        """Return joint embeddings (P, joint), before L2, of the tokens (P, N, text_width) of prompts of one length."""
        embedded: Tensor = self.text_encoder_head(features)
        return embedded

    def adapt_state(self, state: State, _source: Path) -> State:
        """Return the part of a checkpoint that is this network: the heads of the mean."""
        state = without(state, ["text_encoder.backbone.", "text_encoder.std_", "ecg_encoder.std_"])
        return {
            "text_encoder_head." + key.removeprefix("text_encoder.") if key.startswith("text_encoder.") else key: value
            for key, value in state.items()
        }


def build(
    width: int = 96,
    depths: Sequence[int] = (3, 4, 23, 3),
    joint: int = 512,
    positions: int = 32,
    text_width: int = 768,
) -> EchoingNetwork:
    """Return a network with untrained weights; the stem's channels, each stage's blocks, the joint space, the pooling."""
    return EchoingNetwork(EcgSide(width, depths, joint, positions), TextSide(text_width, joint, positions))
