"""What several families share: transformer blocks under the names that their checkpoints use, and keys put in order.

Attention is written out, with the softmax as a separate module, so that methods on attention find it;
each class keeps the parameter names of one line of published code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


def without(state: State, prefixes: Iterable[str]) -> State:
    """Return a state dict without the keys that begin with one of `prefixes`."""
    unwanted = tuple(prefixes)
    return {key: value for key, value in state.items() if not key.startswith(unwanted)}


def renamed(state: State, patterns: Iterable[tuple[str, str]]) -> State:
    """Return a state dict whose keys went through (regular expression, replacement) pairs, one after the other."""
    pairs = [(re.compile(pattern), to) for pattern, to in patterns]
    result = {}
    for key, value in state.items():
        for pattern, to in pairs:
            key = pattern.sub(to, key)
        result[key] = value
    return result


# torch renamed the two parts of a weight-normalised weight; files of both kinds are about.
WEIGHT_NORM = (
    (r"parametrizations\.weight\.original0$", "weight_g"),
    (r"parametrizations\.weight\.original1$", "weight_v"),
)


def sized_head(head: nn.Linear, state: State, name: str) -> nn.Linear | nn.Identity:
    """Return a head as wide as the one in a checkpoint, or none where the checkpoint has none; on the ``meta`` device.

    How many classes a published classifier has differs from file to file, and encoders come without any.
    """
    if f"{name}.weight" not in state:
        return nn.Identity()
    return nn.Linear(
        head.in_features, len(state[f"{name}.weight"]), bias=f"{name}.bias" in state, device=torch.device("meta")
    )


def mix(q: Tensor, k: Tensor, v: Tensor, heads: int, attend: nn.Module) -> Tensor:
    """Return softmax(q k' / sqrt(d)) v, heads side by side: (B, N, W), (B, M, W), (B, M, W) -> (B, N, W)."""
    q, k, v = (part.reshape(*part.shape[:2], heads, -1).transpose(1, 2) for part in (q, k, v))
    mixed: Tensor = attend(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5) @ v
    return mixed.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Multi-head self-attention, (B, N, W) -> (B, N, W), with heads of 64; the keys of `vit_pytorch`."""

    head = 64

    def __init__(self, width: int, bias: bool = True) -> None:
        super().__init__()
        self.to_qkv = nn.Linear(width, 3 * width, bias=bias)
        self.attend = nn.Softmax(dim=-1)
        self.to_out = nn.Sequential(nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed tokens, projected."""
        q, k, v = self.to_qkv(x).chunk(3, dim=-1)
        out: Tensor = self.to_out(mix(q, k, v, q.shape[-1] // self.head, self.attend))
        return out


class FeedForward(nn.Module):
    """Two linear layers with an exact GELU between, (B, N, W) -> (B, N, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # The third place held the dropout; the checkpoints count it.
        self.net = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the token-wise network's output."""
        out: Tensor = self.net(x)
        return out


class PreNorm(nn.Module):
    """A layer normalisation before a module."""

    def __init__(self, width: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm, self.fn = nn.LayerNorm(width), fn

    def forward(self, x: Tensor) -> Tensor:
        """Return fn(norm(x))."""
        out: Tensor = self.fn(self.norm(x))
        return out


class TransformerBlock(nn.Module):
    """Attention and feed-forward, each with a residual connection, (B, N, W) -> (B, N, W); MERL's and ST-MEM's."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn, self.ff = PreNorm(width, Attention(width)), PreNorm(width, FeedForward(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens after one block."""
        x = x + self.attn(x)
        out: Tensor = x + self.ff(x)
        return out


class ProjectedAttention(nn.Module):
    """Multi-head self-attention, (B, N, W) -> (B, N, W), with one linear layer each for q, k and v; fairseq's keys."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.attend = nn.Softmax(dim=-1)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed tokens, projected."""
        mixed = mix(self.q_proj(x), self.k_proj(x), self.v_proj(x), self.heads, self.attend)
        out: Tensor = self.out_proj(mixed)
        return out


class PackedAttention(nn.Module):
    """Multi-head self-attention, (B, N, W) -> (B, N, W), with the keys of `torch.nn.MultiheadAttention`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.zeros(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        self.attend = nn.Softmax(dim=-1)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed tokens, projected."""
        q, k, v = nn.functional.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        out: Tensor = self.out_proj(mix(q, k, v, self.heads, self.attend))
        return out
