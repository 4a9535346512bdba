"""Where a network's attention is: stated by its family; of a user's own network declared by path, or found as it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor, nn


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
    n_prefix_tokens : int
        Leading keys that are not cells (the query's own token).
    """

    weights: str
    cells: str
    n_prefix_tokens: int = 0


@runtime_checkable
class SelfAttends(Protocol):
    """A network with blocks of self-attention."""

    def self_attention(self) -> SelfAttention:
        """Return where it is."""

    def readout(self, tokens: Tensor) -> Tensor:
        """Return joint embeddings (B, D), before L2, of any block's tokens (B, N, W): what is done with the last block's."""


@runtime_checkable
class PoolsByAttention(Protocol):
    """A network whose head pools by attention."""

    def attention_pooling(self) -> AttentionPooling:
        """Return where it is."""


@dataclass(frozen=True)
class AttentionSpec:
    """What one attention of a user's own network is for.

    Attributes
    ----------
    kind : str
        ``self``: tokens attend to tokens; ``pool``: other queries (learned ones, words of a text) gather from the cells.
    block : str
        Path of the block around it, whose output is the tokens; needed only by legrad, and found where blocks are numbered.
    n_prefix_tokens : int, optional
        Keys before the first cell; keys after the last one (words of a text) are not cells then. By default the keys must be
        the layer's own tokens, no more and no fewer.
    """

    kind: Literal["self", "pool"] = "self"
    block: str = ""
    n_prefix_tokens: int | None = None


@runtime_checkable
class DeclaresAttention(Protocol):
    """A user's own network: its attention by path; empty where it is to be found."""

    attention: Mapping[str, AttentionSpec]

    def paths(self) -> Mapping[str, nn.Module]:
        """Return its modules by their paths."""
