"""Reads the attention of any network while it runs: of own networks, declared by path or found."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ecgcam.attribution.cells import lead_cells, pulses_found, to_cells, with_pulses
from ecgcam.attribution.hooks import activations_of
from ecgcam.attribution.taps import outputs_of, part_of, running, tap
from ecgcam.attribution.written_out import ATTENTION
from ecgcam.errors import EcgcamError
from ecgcam.protocol.attention import AttentionSpec, DeclaresAttention
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import LayerSpec


class AttentionReader(TorchFunctionMode):
    """Within it, every attention's weights (B, heads, queries, keys) are kept, with the path of the module that made them.

    Fused attention is written out, and torch's fast paths are off, so that the weights exist. Where gradients are on, the graph
    begins at the first of them at the latest.

    Parameters
    ----------
    signals : int
        B; where each lead is a sequence of its own, signals x leads. Weights whose leading axes do not hold B times a number
        of heads are left alone.
    path : list of str
        The modules that run now, the innermost last; see `taps.running`.
    """

    def __init__(self, signals: int, path: list[str]) -> None:
        super().__init__()
        self.signals, self.path = signals, path
        self.found: list[tuple[str, Tensor]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Keep what a softmax over keys gives; write fused attention out."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in ATTENTION:
            with self:
                return ATTENTION[name](*args, **kwargs)
        result = func(*args, **kwargs)
        if name != "softmax" or not isinstance(result, Tensor) or result.ndim < 3:
            return result
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        rows = result.shape[:-2].numel()
        if dim not in {-1, result.ndim - 1} or rows % self.signals:
            return result
        weights = result.reshape(self.signals, -1, *result.shape[-2:])
        if torch.is_grad_enabled() and not weights.requires_grad:
            weights = weights.detach().requires_grad_()
        self.found.append((self.path[-1] if self.path else "", weights))
        return weights.reshape(result.shape)


@dataclass(frozen=True)
class OwnAttention:
    """The attention of an own network over the cells of a layer.

    Attributes
    ----------
    model : EcgTextModel
        The model.
    paths : tuple of str
        Modules that make the weights, in the order in which they run.
    blocks : tuple of str
        The blocks around them, whose outputs are the tokens; empty where they are not known.
    queries : tuple of int
        Which queries the network reads after the last of them; the others have no part in its output.
    where : LayerSpec
        Where the cells are.
    rows : int
        Sequences of each signal: the leads where each attends to its own tokens alone, otherwise 1.
    prefix, tokens : int
        Keys of a sequence before the first token of the layer, and the number of those.
    keys_in_all : int
        Keys of each attention; those of others are left alone.

    Attention below is (S, heads, queries, keys), S the sequences: of the first signal, then of the second, and so on.
    """

    model: EcgTextModel
    paths: tuple[str, ...]
    blocks: tuple[str, ...]
    queries: tuple[int, ...]
    where: LayerSpec
    rows: int
    prefix: int
    tokens: int
    keys_in_all: int

    def run(self, part: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the embeddings of signals (B, L, T), and each block's weights (S, heads, queries, keys)."""
        embeddings, found = _read(self.model, part, self.rows)
        return embeddings, [w for path, w in found if path in self.paths and w.shape[-1] == self.keys_in_all]

    def read(self, R: Tensor) -> Tensor:
        """(S, queries, keys) to cells (B, K): the mean over the queries that the network reads."""
        return self.keys(R[:, list(self.queries)].mean(dim=1))

    def keys(self, weights: Tensor) -> Tensor:
        """(S, keys) to cells (B, K): each lead's own, in the order of the layer's, where it keeps leads apart."""
        tokens = weights[:, self.prefix : self.prefix + self.tokens].reshape(-1, 1, self.rows * self.tokens)
        return to_cells(tokens, replace(self.where, layout="BCT", n_prefix_tokens=0, n_suffix_tokens=0))[:, 0]

    def scores(self, part: Tensor, text: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return each block's weights, and the score of each block's tokens, put in place of the last block's."""
        modules = [self.model.network.get_submodule(path) for path in self.blocks]
        with ExitStack() as stack:
            outputs = [stack.enter_context(outputs_of(module)) for module in modules]
            _, maps = self.run(part)
        where = None if isinstance(outputs[-1][-1], Tensor) else 0
        scores = []
        for kept in outputs:
            tokens = part_of(kept[-1], None if isinstance(kept[-1], Tensor) else 0)
            if tokens is None:
                raise EcgcamError(
                    f"`method` legrad: {self.blocks[0]} returns no tensor of tokens; declare another `block`"
                )
            with tap(modules[-1], self.blocks[-1], where, change=partial(_instead, tokens)):
                scores.append((self.model.encode_signal(part.detach()) @ text).sum())
        return maps, scores


def _instead(tokens: Tensor, _output: Tensor) -> Tensor:
    return tokens


def own_attention(model: EcgTextModel, layer: str | None, kind: str, method: str) -> OwnAttention | None:
    """Return where an own network's attention over a layer's cells is; None where it has none.

    Parameters
    ----------
    model : EcgTextModel
        Of a network of the user's own (`DeclaresAttention`).
    layer : str, optional
        Whose cells the keys are; default the model's target layer.
    kind : str
        ``self``: as many queries as keys; ``pool``: other queries gather from the cells.
    method : str
        For errors.

    Raises
    ------
    EcgcamError
        If there is such attention, over other cells.
    """
    if not isinstance(model.network, DeclaresAttention):
        return None
    path, where = model.spec.layer_named(layer)
    declared = model.network.attention
    found = {count: _read(model, _probe(model, count))[1] for count in (2, 3)}
    # The batch axis is that of the signals: the number of heads does not follow it.
    same = [
        (at, one) for (at, one), (other, two) in zip(found[2], found[3], strict=False)
        if at == other and one.shape[1:] == two.shape[1:] and _kind(at, one, declared) == kind
    ]  # fmt: skip
    if not same:
        return None
    cells = activations_of(model, _probe(model, 1), layer).shape[-1]
    fits = {at: _fit(at, one.shape[-1], cells, where, declared) for at, one in same}
    at, one = next(((at, one) for at, one in same if fits[at]), same[0])
    keys, fit = one.shape[-1], fits[at]
    paths = tuple(at for at, one in same if one.shape[-1] == keys and fits[at] == fit)
    blocks = tuple(spec.block for spec in (_declared(at, declared) for at in paths) if spec is not None and spec.block)
    blocks = blocks if len(blocks) == len(paths) else _blocks(paths)
    if fit is not None:
        attention = OwnAttention(model, paths, blocks, (), where, *fit, keys)
        if not where.leads and _leads_apart(attention):
            raise EcgcamError(
                f"`method` {method}: in {at} each lead attends only to its own tokens, and `layer` {path} has mixed the leads; "
                "choose an earlier layer, which keeps them apart, or another method"
            )
        if _aligned(attention):
            return replace(attention, queries=_queries_read(attention) if kind == "self" else ())
    if kind == "pool" and not declared:
        return None
    raise EcgcamError(
        f"`method` {method}: the attention of {at} has {keys} tokens, which are not the {cells} cells"
        f"{' of all leads' if where.leads else ''} of `layer` {path}; choose a layer whose cells are these tokens, declare the "
        "attention, or choose another method"
    )


def _fit(
    path: str, keys: int, cells: int, where: LayerSpec, declared: Mapping[str, AttentionSpec]
) -> tuple[int, int, int] | None:
    """Return the sequences of a signal, the keys before a sequence's first token, and its tokens; None where none are the cells.

    One sequence holds all cells, or, of a layer with an axis of leads, each lead's cells are a sequence.
    """
    spec = _declared(path, declared)
    declared_prefix = None if spec is None else spec.n_prefix_tokens
    prefix = where.n_prefix_tokens if declared_prefix is None else declared_prefix
    for rows in (1, where.leads or where.rows if "L" in where.layout else 1):
        tokens = cells // rows + 2 * where.n_separators * where.leads
        rest = keys - prefix - tokens
        if rest == where.n_suffix_tokens or (rest > 0 and declared_prefix is not None):
            return rows, prefix, tokens
    return None


def _aligned(attention: OwnAttention) -> bool:
    """Return whether a pulse in one lead moves the weights of its own cell's key most, for two of three cells at least.

    Where a cell looks at all leads, the pulse is in all.
    """
    where = attention.where
    count = lead_cells(attention.keys(torch.zeros(attention.rows, attention.keys_in_all)), where).shape[-1]
    signals, cells = with_pulses(_probe(attention.model, 1)[0], where, count)
    with torch.no_grad():
        weights = attention.run(signals)[1][0].unflatten(0, (4, -1))  # type: ignore[no-untyped-call]
    moved = (weights[:-1] - weights[-1:]).abs().flatten(0, 1).mean(dim=(1, 2))
    return pulses_found(attention.keys(moved), where, cells) >= 2


def _leads_apart(attention: OwnAttention) -> bool:
    """Return whether what looks like heads are sequences of single leads: the first lead moves those of its own alone."""
    signals = _probe(attention.model, 1).repeat(2, 1, 1)
    signals[1, 0] *= -1
    with torch.no_grad():
        weights = attention.run(signals)[1][0]
    moved = (weights[1] - weights[0]).abs().amax(dim=(1, 2))
    own, leads = len(moved) // signals.shape[1], signals.shape[1]
    return leads > 1 and own * leads == len(moved) and float(moved[own:].max()) <= 1e-4 * float(moved[:own].max())


def _declared(path: str, declared: Mapping[str, AttentionSpec]) -> AttentionSpec | None:
    """Return an attention's declaration; that of a module around it counts."""
    return next((spec for name, spec in declared.items() if path == name or path.startswith(f"{name}.")), None)


def _kind(path: str, weights: Tensor, declared: Mapping[str, AttentionSpec]) -> str:
    """Return what an attention is for, by its declaration, or by its shape where nothing is declared."""
    if declared:
        spec = _declared(path, declared)
        return "" if spec is None else spec.kind
    return "self" if weights.shape[-1] == weights.shape[-2] else "pool"


def _blocks(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Return the blocks around attention modules: their paths up to the number by which they differ; of one, its last number."""
    ends = [[match.end() for match in re.finditer(r"\d+(?=\.|$)", path)] for path in paths]
    for level in range(min(map(len, ends))):
        blocks = tuple(path[: end[level]] for path, end in zip(paths, ends, strict=True))
        if len(set(blocks)) == len(blocks) and (len(blocks) > 1 or level + 1 == len(ends[0])):
            return blocks
    return ()


def _queries_read(attention: OwnAttention) -> tuple[int, ...]:
    """Return the queries of the last attention that move the output."""
    with torch.enable_grad():
        embeddings, maps = attention.run(_probe(attention.model, 2))
        direction = torch.linspace(1.0, 2.0, embeddings.shape[1], device=embeddings.device)
        (slope,) = torch.autograd.grad(
            (embeddings @ direction).sum(), maps[-1], allow_unused=True, materialize_grads=True
        )
    size = slope.abs().amax(dim=(0, 1, 3))
    read = torch.nonzero(size > 1e-6 * size.max().clamp(min=1e-30))[:, 0].tolist()
    return tuple(read) or tuple(range(slope.shape[2]))


def _read(model: EcgTextModel, signals: Tensor, rows: int = 1) -> tuple[Tensor, list[tuple[str, Tensor]]]:
    """Run signals and return their embeddings, and the weights of every attention with its module's path.

    `rows` are the sequences of each signal.
    """
    assert isinstance(model.network, DeclaresAttention)  # noqa: S101 - for mypy; `own_attention` has looked
    with running(model.network.paths()) as path, AttentionReader(len(signals) * rows, path) as reader:
        embeddings = model.encode_signal(signals.detach())
    return embeddings, reader.found


def _probe(model: EcgTextModel, count: int) -> Tensor:
    shape = (count, len(model.input.leads), model.input.samples)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(model.device)
