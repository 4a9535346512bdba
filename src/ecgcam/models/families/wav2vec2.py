"""The encoder of wav2vec 2.0 for twelve leads (Baevski et al. 2020, arXiv:2006.11477): convolutions, then a transformer.

MELP, D-BETA and ECG-FM have it from fairseq-signals, whose keys it carries; HuBERT-ECG is the same network under the keys of
transformers' Hubert.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ecgcam.models.families.blocks import ProjectedAttention
from ecgcam.protocol.attention import SelfAttention


class ConvStem(nn.Module):
    """Signal (B, leads, T) -> (B, C, N): convolutions without padding or bias, each with a GELU.

    The first one's channels are normalised, each by its own mean and deviation over the whole window.
    """

    def __init__(self, leads: int, width: int, kernels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, (kernel, stride) in enumerate(zip(kernels, strides, strict=True)):
            # The second place held a dropout; the checkpoints count it.
            parts: list[nn.Module] = [
                nn.Conv1d(width if i else leads, width, kernel, stride, bias=False),
                nn.Identity(),
            ]
            layers.append(nn.Sequential(*parts, *([] if i else [nn.GroupNorm(width, width)]), nn.GELU()))
        self.conv_layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the last convolution's output."""
        for layer in self.conv_layers:
            x = layer(x)
        return x


class WeightNormConv(nn.Module):
    """A grouped convolution that keeps the length and holds each tap's size apart from its direction, (B, W, N) -> (B, W, N)."""

    def __init__(self, width: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.zeros(1, 1, kernel))
        self.weight_v = nn.Parameter(torch.zeros(width, width // groups, kernel))
        self.bias = nn.Parameter(torch.zeros(width))
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution; of an even kernel's one output too many, the last is dropped."""
        weight = self.weight_g * self.weight_v / self.weight_v.norm(dim=(0, 1), keepdim=True)
        padding = weight.shape[-1] // 2
        return nn.functional.conv1d(x, weight, self.bias, padding=padding, groups=self.groups)[..., : x.shape[-1]]


class PositionalConv(nn.Module):
    """Positions by a convolution over the tokens themselves, (B, N, W) -> (B, N, W)."""

    def __init__(self, width: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.pos_conv = nn.Sequential(WeightNormConv(width, kernel, groups), nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        """Return what is to be added to the tokens."""
        out: Tensor = self.pos_conv(x.transpose(1, 2)).transpose(1, 2)
        return out


class PostNormBlock(nn.Module):
    """Attention and feed-forward, each normalised after its residual connection, (B, N, W) -> (B, N, W)."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = ProjectedAttention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1, self.gelu, self.fc2 = nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens after one block."""
        x = self.self_attn_layer_norm(x + self.self_attn(x))
        out: Tensor = self.final_layer_norm(x + self.fc2(self.gelu(self.fc1(x))))
        return out


class PostNormTransformer(nn.Module):
    """A normalisation and `depth` blocks, (B, N, W) -> (B, N, W)."""

    def __init__(self, width: int, depth: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(PostNormBlock(width, heads, hidden) for _ in range(depth))
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the last block's tokens."""
        x = self.layer_norm(x)
        for layer in self.layers:
            x = layer(x)
        return x


class Wav2Vec2Encoder(nn.Module):
    """Signal (B, leads, T) -> tokens (B, N, width).

    Parameters
    ----------
    leads : int
        Channels of the signal.
    stem, kernels, strides : int, sequence of int
        The convolutions; a token is `prod(strides)` samples from the next. fairseq-signals: four of 2 by 2, 16 samples.
    width, depth, heads, hidden : int
        The transformer.
    positions, groups : int
        Taps and groups of the positional convolution.
    """

    def __init__(
        self,
        leads: int = 12,
        stem: int = 256,
        kernels: Sequence[int] = (2, 2, 2, 2),
        strides: Sequence[int] = (2, 2, 2, 2),
        width: int = 768,
        depth: int = 8,
        heads: int = 12,
        hidden: int = 3072,
        positions: int = 128,
        groups: int = 16,
    ) -> None:
        super().__init__()
        self.feature_extractor = ConvStem(leads, stem, kernels, strides)
        self.layer_norm = nn.LayerNorm(stem)
        self.post_extract_proj = nn.Linear(stem, width)
        self.conv_pos = PositionalConv(width, positions, groups)
        self.encoder = PostNormTransformer(width, depth, heads, hidden)
        self.width, self.depth = width, depth

    def embed(self, x: Tensor) -> Tensor:
        """Return the tokens before the transformer, their positions added."""
        tokens = self.post_extract_proj(self.layer_norm(self.feature_extractor(x).transpose(1, 2)))
        out: Tensor = tokens + self.conv_pos(tokens)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Return the last block's tokens."""
        out: Tensor = self.encoder(self.embed(x))
        return out

    def attention(self, prefix: str, class_token: bool = False) -> SelfAttention:
        """Return where each block's attention is, seen from a network that has this encoder at `prefix`."""
        blocks = tuple(f"{prefix}encoder.layers.{i}" for i in range(self.depth))
        # The last declared layer of a class-token readout is the last but one; its cells are the same.
        return SelfAttention(
            tuple(f"{block}.self_attn.attend" for block in blocks),
            blocks,
            blocks[-2 if class_token else -1],
            class_token,
        )


# Left over from fairseq's pretraining: the mask's embedding, the quantiser, and what only the loss needs.
PRETRAINING = ("mask_emb", "quantizer.", "project_q.", "final_proj.", "input_quantizer.", "project_inp.", "target_glu.")
