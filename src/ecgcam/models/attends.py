"""Where a network's attention is: declared by its family, never guessed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor


@dataclass(frozen=True)
class SelfAttention:
    """Blocks of self-attention over tokens, from the first to the last.

    Attributes
    ----------
    maps : tuple of str
        Modules whose output is a block's attention (B, heads, queries, keys) after the softmax, all of N tokens.
    blocks : tuple of str
        The blocks around them, whose outputs are the tokens (B, N, W).
    cells : str
        A declared layer whose cells the tokens are.
    class_token : bool
        Whether token 0 is one, and all that is read; otherwise the mean of the tokens is.
    """

    maps: tuple[str, ...]
    blocks: tuple[str, ...]
    cells: str
    class_token: bool = False


@dataclass(frozen=True)
class AttentionPooling:
    """A head that pools cells by attention.

    Attributes
    ----------
    weights : str
        The module whose output is the weights (B, heads, keys) after the softmax.
    cells : str
        A declared layer whose cells the keys are.
    skip : int
        Leading keys that are no cells (the query's own token).
    """

    weights: str
    cells: str
    skip: int = 0


@runtime_checkable
class SelfAttends(Protocol):
    """A network with blocks of self-attention."""

    def self_attention(self) -> SelfAttention:
        """Say where it is."""

    def readout(self, tokens: Tensor) -> Tensor:
        """Return joint embeddings (B, D), before L2, of any block's tokens (B, N, W): what is done with the last block's."""


@runtime_checkable
class PoolsByAttention(Protocol):
    """A network whose head pools by attention."""

    def attention_pooling(self) -> AttentionPooling:
        """Say where it is."""
