"""ESI: a ConvNeXt V2 in one dimension, and BioLinkBERT (Yu et al., TMLR 2024, arXiv:2405.19366).

The captioning layers, and the attention pooling that the published run does not use, are in the file and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from ecgcam.models.families.blocks import State, without

_UNUSED = (
    "img_encoder.head.", "img_attn_pool.", "text_cls_norm.", "temperature", "unimodal_layers.",
    "pretrained_text_encoder.", "multimodal_layers.", "to_logits.",
)  # fmt: skip


class TimeNorm(nn.Module):
    """Each channel to mean 0 and deviation 1 over the window, (B, C, T) -> (B, C, T).

    What ConvNeXt normalises over channels, ESI normalises over time here, with the deviation of a sample (T - 1).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, width, 1))
        self.bias = nn.Parameter(torch.zeros(1, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised channels."""
        # Of a channel that is constant, as without ECG, the difference from its mean is rounding, which the division makes as
        # large as a signal. Less its first value, it is exactly 0.
        x = x - x[..., :1]
        normed = (x - x.mean(dim=-1, keepdim=True)) / (x.std(dim=-1, keepdim=True) + 1e-6)
        return normed * self.weight + self.bias


class ResponseNorm(nn.Module):
    """Global response normalisation: a channel's size over the window against the mean channel's, (B, T, C) -> (B, T, C)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, width))
        self.beta = nn.Parameter(torch.zeros(1, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighed channels, added to what came in."""
        size = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        out: Tensor = self.gamma * (x * (size / (size.mean(dim=-1, keepdim=True) + 1e-6))) + self.beta + x
        return out


class Block(nn.Module):
    """Seven taps on each channel, then two linear layers on each sample, with a residual connection, (B, C, T) -> (B, C, T)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1, self.act, self.grn = nn.Linear(width, 4 * width), nn.GELU(), ResponseNorm(4 * width)
        self.pwconv2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        inner = self.act(self.pwconv1(self.norm(self.dwconv(x).transpose(1, 2))))
        out: Tensor = x + self.pwconv2(self.grn(inner)).transpose(1, 2)
        return out


class ConvNeXt(nn.Module):
    """Signal (B, 12, T) -> the mean over time (B, C), normalised."""

    def __init__(self, widths: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv1d(12, widths[0], 4, 4), TimeNorm(widths[0]))
        halvings = [
            nn.Sequential(TimeNorm(before), nn.Conv1d(before, after, 2, 2)) for before, after in pairwise(widths)
        ]
        self.downsample_layers = nn.ModuleList([stem, *halvings])
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(depth))) for width, depth in zip(widths, depths, strict=True)
        )
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features."""
        for halve, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(halve(x))
        out: Tensor = self.norm(x.mean(dim=-1))
        return out


class GainNorm(nn.Module):
    """A layer normalisation with a gain and a bias that is never learned."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(width))
        self.register_buffer("beta", torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised features."""
        return nn.functional.layer_norm(x, x.shape[-1:], self.gamma, self.get_buffer("beta"))


class ToLatents(nn.Module):
    """A linear layer into the joint space."""

    def __init__(self, width: int, joint: int) -> None:
        super().__init__()
        self.to_latents = nn.Linear(width, joint, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return joint embeddings, before L2."""
        out: Tensor = self.to_latents(x)
        return out


class EsiNetwork(nn.Module):
    """Signal (B, 12, 5000) -> (B, joint), before L2, and the projection of the text tower's features."""

    def __init__(self, encoder: ConvNeXt, features: int, width: int, joint: int) -> None:
        super().__init__()
        self.img_encoder = encoder
        self.img_token_head = nn.Linear(features, width)
        self.img_attn_pool_norm = GainNorm(width)
        self.img_to_latents, self.text_to_latents = ToLatents(width, joint), ToLatents(width, joint)
        self.text_width = width

    def forward(self, x: Tensor) -> Tensor:
        """Return the joint embedding, before L2."""
        embedded: Tensor = self.img_to_latents(self.img_attn_pool_norm(self.img_token_head(self.img_encoder(x))))
        return embedded

    def project_text(self, features: Tensor) -> Tensor:
        """Return joint embeddings (P, joint), before L2, of the text tower's first token (P, width)."""
        projected: Tensor = self.text_to_latents(features)
        return projected

    def adapt_state(self, state: State, _source: Path) -> State:
        """Return the part of a checkpoint that is this network."""
        return without(state, _UNUSED)


def build(
    widths: Sequence[int] = (128, 256, 512, 1024),
    depths: Sequence[int] = (3, 3, 27, 3),
    width: int = 768,
    joint: int = 768,
) -> EsiNetwork:
    """Return a network with untrained weights; each stage's channels and blocks, and the sizes of the joint space."""
    return EsiNetwork(ConvNeXt(widths, depths), widths[-1], width, joint)
