"""ECG-CoCa, the ECG-text model of ECG-Chat: open_clip's CoCa on patches of twelve leads (Zhao et al. 2024, arXiv:2408.08849).

Pre-norm blocks as in CLIP, a class token, and a linear projection on each side. The text decoder is in the file and is
left out.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ecgcam.models.families.blocks import PackedAttention, State, without
from ecgcam.protocol.attention import SelfAttention

_UNUSED = ("text.transformer.", "text_decoder.", "logit_scale", "logit_bias")


class ResidualAttentionBlock(nn.Module):
    """Attention and feed-forward, each normalised before, (B, N, W) -> (B, N, W)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.attn, self.ln_2 = nn.LayerNorm(width), PackedAttention(width, heads), nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", nn.GELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens after one block."""
        x = x + self.attn(self.ln_1(x))
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class Transformer(nn.Module):
    """Blocks, one after the other."""

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(ResidualAttentionBlock(width, heads) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        """Return the last block's tokens."""
        for block in self.resblocks:
            x = block(x)
        return x


class EcgTower(nn.Module):
    """Signal (B, 12, patch x patches) -> (B, joint), before L2."""

    def __init__(self, width: int, depth: int, heads: int, joint: int, patch: int, patches: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(12, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(patches + 1, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Transformer(width, depth, heads)
        self.proj = nn.Parameter(torch.zeros(width, joint))

    def forward(self, x: Tensor) -> Tensor:
        """Return the class token's projection."""
        tokens = self.conv1(x).transpose(1, 2)
        first = self.class_embedding.expand(len(tokens), 1, -1)
        tokens = self.ln_pre(torch.cat([first, tokens], dim=1) + self.positional_embedding)
        return self.readout(self.transformer(tokens))

    def readout(self, tokens: Tensor) -> Tensor:
        """Return the embedding of tokens (B, N, W)."""
        embedded: Tensor = self.ln_post(tokens[:, 0]) @ self.proj
        return embedded


class TextProjection(nn.Module):
    """The linear layer behind the text tower, which is not run here."""

    def __init__(self, text_width: int, joint: int) -> None:
        super().__init__()
        self.proj = nn.Linear(text_width, joint, bias=False)


class CocaNetwork(nn.Module):
    """The signal tower, and the projection of the text tower's features."""

    def __init__(self, ecg: EcgTower, text: TextProjection) -> None:
        super().__init__()
        self.ecg, self.text = ecg, text
        self.text_width = text.proj.in_features

    def forward(self, x: Tensor) -> Tensor:
        """Return the joint embedding, before L2."""
        embedded: Tensor = self.ecg(x)
        return embedded

    def readout(self, tokens: Tensor) -> Tensor:
        """Return the joint embedding, before L2, of tokens (B, N, W): what is done with the last block's."""
        return self.ecg.readout(tokens)

    def self_attention(self) -> SelfAttention:
        """Return where each block's attention is; only the class token, token 0, is read out."""
        blocks = tuple(f"ecg.transformer.resblocks.{i}" for i in range(len(self.ecg.transformer.resblocks)))
        return SelfAttention(tuple(f"{block}.attn.attend" for block in blocks), blocks, blocks[-2], class_token=True)

    def project_text(self, features: Tensor) -> Tensor:
        """Return joint embeddings (P, joint), before L2, of the text tower's mean token (P, text_width)."""
        projected: Tensor = self.text.proj(features)
        return projected

    def adapt_state(self, state: State, _source: Path) -> State:
        """Return the part of a checkpoint that is this network."""
        return without(state, _UNUSED)


def build(
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    joint: int = 512,
    patch: int = 50,
    patches: int = 100,
    text_width: int = 768,
) -> CocaNetwork:
    """Return a network with untrained weights; sizes of the signal tower and of the joint space."""
    return CocaNetwork(EcgTower(width, depth, heads, joint, patch, patches), TextProjection(text_width, joint))
