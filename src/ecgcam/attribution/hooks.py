"""Runs the model and returns scores, activations and gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ecgcam.attribution.cells import cells_view, shortest_span, sum_leads, to_cells
from ecgcam.attribution.taps import grad, layer_output, tap
from ecgcam.errors import EcgcamError
from ecgcam.protocol.model import EcgTextModel


@dataclass(frozen=True)
class Capture:
    """The result of one pass.

    Attributes
    ----------
    embeddings : Tensor, (N, D)
        Joint embeddings of the signals.
    scores : Tensor, (N, P)
        Similarity of each signal and prompt.
    activations : Tensor, (N, C, K)
        A, of the target layer.
    reduced : list of P Tensors
        The result of `reduce` for A and G, for each prompt; G itself, (N, C, K), by default.
    """

    embeddings: Tensor
    scores: Tensor
    activations: Tensor
    reduced: list[Tensor]

    @property
    def gradients(self) -> Tensor:
        """The reduced tensors stacked, (P, ...)."""
        return torch.stack(self.reduced)


def capture(
    model: EcgTextModel,
    x: Tensor,
    texts: Tensor,
    layer: str | None = None,
    reduce: Callable[[Tensor, Tensor], Tensor] = lambda _A, G: G,
    detach_norm: bool = False,
) -> Capture:
    """Run signals (N, L, T) through the model, with a graph that begins at the target layer.

    Nothing before the layer requires a gradient, so that stretch costs a bare forward pass; after it, one short backward pass
    per prompt.

    Parameters
    ----------
    model : EcgTextModel
        Its network is unchanged afterwards.
    x : Tensor, (N, L, T)
        Signals in model space; not modified.
    texts : Tensor, (P, D)
        Embeddings of the prompts.
    layer : str, optional
        Module path; default the model's target layer.
    reduce : callable
        (A, G), both (N, C, K), to what is kept of a prompt, so that many prompts need not hold many G.
    detach_norm : bool
        Whether G takes the length of a cosine's embedding for a constant.
    """
    reached, reduced = False, []
    with torch.enable_grad(), model.asking(texts), layer_output(model, layer) as (outputs, where, path):
        embeddings = model.to_joint_space(model.embed(x.detach()), detach_norm)
        scores = embeddings @ texts.detach().T
        leaf = _only(outputs, path, model)
        activations = to_cells(leaf.detach(), where, len(x))
        _need_gradient(scores, path)
        for p in range(scores.shape[1]):
            more = p + 1 < scores.shape[1]
            G = to_cells(_slope(scores[:, p].sum(), leaf, model, more), where)
            reached = reached or bool(G.any())
            with torch.no_grad():
                reduced.append(reduce(activations, G))
    if not reached:
        raise _unreached(model, x, texts, path)
    return Capture(embeddings.detach(), scores.detach(), activations, reduced)


def curvature(model: EcgTextModel, x: Tensor, text: Tensor, layer: str | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Return A, G and H A of the target layer, (N, C, K) each, H the score's Hessian with respect to the layer's whole output.

    Parameters
    ----------
    model : EcgTextModel
        Its network is unchanged afterwards.
    x, text : Tensor, (N, L, T), (D,)
        Signals in model space, and the prompt's embedding.
    layer : str, optional
        Module path; default the model's target layer.
    """
    # Fused attention has no second derivative.
    math = sdpa_kernel(SDPBackend.MATH)
    with torch.enable_grad(), math, model.asking(text), layer_output(model, layer) as (outputs, where, path):
        score = (model.encode_signal(x.detach()) @ text.detach()).sum()
        leaf = _only(outputs, path, model)
        _need_gradient(score, path)
        (slope,) = grad(score, leaf, model, create_graph=True)
        if slope.requires_grad:
            along = (slope * leaf.detach()).sum()
            (product,) = grad(along, leaf, model, allow_unused=True, materialize_grads=True)
        else:  # the score is linear in the layer
            product = torch.zeros_like(leaf)
    A, G, HA = (to_cells(part.detach(), where, len(x)) for part in (leaf, slope, product))
    if not G.any():
        raise _unreached(model, x, text[None], path)
    return A, G, HA


def gradients_along_path(
    model: EcgTextModel,
    x: Tensor,
    start: Tensor,
    text: Tensor,
    points: Sequence[float],
    layer: str | None = None,
    batch: int = 1,
) -> tuple[Tensor, Tensor]:
    """Return the target layer's cells less those of another signal, and the gradients on the straight path between them.

    Where nothing but the layer reaches the embedding, what lies before it runs once; what lies behind it, for several points
    at a time.

    Parameters
    ----------
    model : EcgTextModel
        Its network is unchanged afterwards.
    x, start : Tensor, (N, L, T), (1, L, T)
        Signals in model space, and the one whose layer is the start of the way.
    text : Tensor, (D,)
        The prompt's embedding.
    points : sequence of float
        Where on the way the gradients are taken: 0 is the start, 1 is the signal's own layer.
    layer : str, optional
        Module path; default the model's target layer.
    batch : int
        Rows of the layer at a time; N at least, one point after the other.

    Returns
    -------
    Tensor, Tensor, (N, C, K), (P, N, C, K)
        A - A_start, and the score's gradient with respect to the layer at A_start + a (A - A_start) for each point a.
    """
    slopes: list[Tensor] = []
    with torch.no_grad(), layer_output(model, layer) as (outputs, where, path):
        model.encode_signal(start)
        start_output = _only(outputs, path, model)
        model.encode_signal(x)
    end, axis = outputs[1], where.batch_axis
    begin = _repeated(start_output, len(x), axis)
    to_cells(end, where, len(x))
    bottleneck = model.cached(("bottleneck", path), lambda: _is_bottleneck(model, path))
    several = max(1, batch // len(x)) if bottleneck else 1
    for some in (points[i : i + several] for i in range(0, len(points), several)):
        way = torch.cat([begin + point * (end - begin) for point in some], dim=axis).requires_grad_()

        def on_the_way(_output: Tensor, way: Tensor = way) -> Tensor:
            return way.clone()

        with torch.enable_grad(), model.asking(text), layer_output(model, layer, on_the_way):
            # If only the layer reaches the embedding, any signal gives the rest of the network a batch to replace.
            score = (model.encode_signal(start if bottleneck else x.detach()) @ text.detach()).sum()
            _need_gradient(score, path)
            slope = _slope(score, way, model)
        slopes += [to_cells(part, where) for part in slope.chunk(len(some), dim=axis)]
    if not any(bool(slope.any()) for slope in slopes):
        raise _unreached(model, x, text[None], path)
    return to_cells(end - begin, where), torch.stack(slopes)


def unnormalised_gradients(
    model: EcgTextModel, x: Tensor, text: Tensor, layer: str | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return A and d (e . t) / d A of the target layer, (N, C, K) both, and |e| (N,), e the embeddings before L2."""
    with torch.enable_grad(), model.asking(text), layer_output(model, layer) as (outputs, where, path):
        embedding = model.embed(x.detach())
        leaf = _only(outputs, path, model)
        score = (embedding @ text.detach()).sum()
        _need_gradient(score, path)
        slope = _slope(score, leaf, model)
    G = to_cells(slope, where, len(x))
    if not G.any():
        raise _unreached(model, x, text[None], path)
    return to_cells(leaf.detach(), where), G, embedding.detach().norm(dim=-1)


def activations_of(model: EcgTextModel, x: Tensor, layer: str | None = None) -> Tensor:
    """Return A (N, C, K) of the target layer for signals (N, L, T), without a graph."""
    with torch.no_grad(), layer_output(model, layer) as (outputs, where, path):
        model.encode_signal(x)
    return to_cells(_only(outputs, path, model), where, len(x))


def without_channel(model: EcgTextModel, x: Tensor, channels: Tensor, layer: str | None = None) -> Tensor:
    """Run one signal (1, L, T) with one channel of the target layer at zero in every cell, for each of M channels.

    What lies before the layer runs once, for one signal; if the network cannot take more rows there than it was given
    signals (it took the batch size down at its entrance), M copies go all the way.

    Returns
    -------
    Tensor, (M, D)
        Joint embeddings.
    """
    path, where = model.spec.layer_named(layer)
    axis, count = where.batch_axis, len(channels)

    def without(output: Tensor) -> Tensor:
        rows = _repeated(output, count * where.rows_per_signal // output.shape[axis], axis)
        cells_view(rows, where)[torch.arange(count, device=rows.device), channels.to(rows.device)] = 0.0
        return rows

    narrow = model.cached(("batch grows at", path), lambda: _batch_can_grow(model, path))
    with torch.no_grad(), layer_output(model, layer, without) as (outputs, _, _):
        embeddings = model.encode_signal(x if narrow else x.expand(count, -1, -1))
    _only(outputs, path, model)
    return embeddings


def with_cells(model: EcgTextModel, x: Tensor, cells: Tensor, layer: str | None = None) -> Tensor:
    """Run a signal (1, L, T) with the same channels at every cell of the target layer, for each of M vectors (M, C).

    Entries that are not cells (a class token, separators between leads) stay as the signal has them.

    Returns
    -------
    Tensor, (M, D)
        Joint embeddings.
    """
    _, where = model.layer(layer)

    def put(output: Tensor) -> Tensor:
        rows = output.clone()
        view = cells_view(rows, where)
        view[:] = cells.to(view).reshape(*cells.shape, *(1,) * (view.ndim - 2))
        return rows

    with torch.no_grad(), layer_output(model, layer, put) as (outputs, _, path):
        embeddings = model.encode_signal(x.expand(len(cells), -1, -1))
    _only(outputs, path, model)
    return embeddings


@contextmanager
def observe(model: EcgTextModel, layer: str, look: Callable[[Tensor], Tensor]) -> Iterator[list[Tensor]]:
    """Keep what `look` makes of a layer's cells (N, C, K), each time signals go through; the cells pass unchanged."""
    module, where = model.layer(layer)

    def seen(output: Tensor) -> Tensor:
        with torch.no_grad():
            return look(to_cells(output.detach(), where))

    with model.frozen(), tap(module, layer, where.part, keep=seen) as looks:
        yield looks


def score_signals(model: EcgTextModel, x: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
    """Return embeddings (N, D) and scores (N, P) of signals (N, L, T), without a graph."""
    with model.asking(texts), torch.no_grad():
        embeddings = model.encode_signal(x)
        return embeddings, embeddings @ texts.T


def input_gradient(
    model: EcgTextModel, x: Tensor, texts: Tensor, reduce: Callable[[Tensor], Tensor] = lambda G: G
) -> tuple[Tensor, Tensor, Tensor]:
    """Return embeddings (N, D), scores (N, P) and d score / d x (P, N, L, T) in model space; `x` is not modified.

    `reduce` makes of each prompt's G (N, L, T) what is kept of it, so that many prompts need not hold many G.
    """
    with model.asking(texts), torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        embeddings = model.encode_signal(leaf.clone())  # a copy, that a network may change in place
        scores = embeddings @ texts.detach().T
        if not scores.requires_grad:
            raise EcgcamError(
                f"{model.name}: turns gradients off (torch.no_grad) before the embedding; use `method` occlusion"
            )
        gradients = [
            reduce(grad(scores[:, p].sum(), leaf, model, retain_graph=p + 1 < scores.shape[1])[0])
            for p in range(scores.shape[1])
        ]
    return embeddings.detach(), scores.detach(), torch.stack(gradients)


def cell_width(model: EcgTextModel, layer: str | None = None) -> float | None:
    """Return the time (in samples) of the cells that hold 90 % of a layer's response to an impulse; None if it has none.

    The impulse is one sample of unit height in every lead, in the middle of silence (0 in model space), at a cell's centre.
    Step is not resolution: this is how far a cell looks.
    """
    _, where = model.layer(layer)
    samples = model.input.samples
    middle = round(where.offset + where.step * round((samples / 2 - where.offset) / where.step))
    silence = torch.zeros(2, len(model.input.leads), samples, device=model.device)
    silence[1, :, middle] = 1.0
    A = activations_of(model, silence, layer)
    response: np.ndarray = sum_leads((A[1] - A[0]).abs().sum(dim=0), where).cpu().double().numpy()
    cells = shortest_span(response)
    return cells * where.step if cells else None


def outputs_of(model: EcgTextModel, x: Tensor, paths: Sequence[str]) -> tuple[Tensor, list[Tensor]]:
    """Run signals (N, L, T) and return their embeddings (N, D) and what the modules at `paths` gave.

    Where gradients are on, the graph begins at the first of them. Call within `EcgTextModel.frozen`.
    """
    with ExitStack() as stack:
        heard = {
            path: stack.enter_context(
                tap(model.network.get_submodule(path), path, detach=True, keep_graph=True, change=torch.clone)
            )
            for path in paths
        }
        embeddings = model.encode_signal(x.detach())
    return embeddings, [_only(outputs, path, model) for path, outputs in heard.items()]


def module_gradients(
    model: EcgTextModel, x: Tensor, text: Tensor, kinds: tuple[type[nn.Module], ...], hold_length: bool
) -> tuple[Tensor, list[tuple[nn.Module, Tensor]]]:
    """Return the gradient of one signal's score with respect to it, (1, L, T), and to what every module of `kinds` gives.

    Parameters
    ----------
    model : EcgTextModel
        Its network is unchanged afterwards.
    x, text : Tensor, (1, L, T), (D,)
        The signal in model space, and the prompt's embedding.
    kinds : tuple of classes
        Modules to listen to. One that runs twice is there twice.
    hold_length : bool
        Of a cosine, take the length of the signal's embedding for a constant.
    """
    cosine = model.spec.similarity == "cosine"
    heard: list[tuple[nn.Module, list[Tensor]]] = []
    with ExitStack() as stack, model.asking(text), torch.enable_grad():
        for path, module in model.network.named_modules():
            if isinstance(module, kinds):
                listener = tap(module, path, detach=True, keep_graph=True, change=torch.clone)
                heard.append((module, stack.enter_context(listener)))
        leaf = x.detach().clone().requires_grad_()
        embedding = model.embed(leaf.clone())
        length = embedding.norm(dim=-1, keepdim=True) if cosine else torch.ones_like(embedding[:, :1])
        score = (embedding / (length.detach() if hold_length else length) @ text.detach()).sum()
        outputs = [(module, output) for module, given in heard for output in given]
        wanted = [leaf, *(output for _, output in outputs)]
        if not score.requires_grad:
            raise EcgcamError(
                f"{model.name}: turns gradients off (torch.no_grad) before the embedding; use `method` occlusion"
            )
        slope, *slopes = grad(score, wanted, model, allow_unused=True, materialize_grads=True)
    return slope, [(module, G) for (module, _), G in zip(outputs, slopes, strict=True)]


def _slope(score: Tensor, leaf: Tensor, model: EcgTextModel, more: bool = False) -> Tensor:
    """Return d score / d leaf. In half precision it is taken of a larger score, since small gradients would become 0."""
    factor = 2.0**12 if leaf.dtype == torch.float16 else 1.0
    (slope,) = grad(score * factor, leaf, model, retain_graph=more)
    return slope if factor == 1.0 else slope.float() / factor


def _need_gradient(score: Tensor, path: str) -> None:
    if not score.requires_grad:
        raise EcgcamError(
            f"`layer` {path}: no gradient of the score reaches it; it is not on the path to the embedding, or the "
            "model turns gradients off (torch.no_grad); choose another"
        )


def _unreached(model: EcgTextModel, x: Tensor, texts: Tensor, path: str) -> EcgcamError:
    """Return the error of a layer whose gradient is zero; it names the last declared layer whose gradient is not."""
    others = [other for other in reversed(model.spec.layers) if other != path and _reaches(model, x, texts, other)]
    use = f"use `layer` {others[0]}" if others else "choose an earlier layer"
    return EcgcamError(
        f"`layer` {path}: the gradient of the score is exactly zero at every cell there (as at the last block before a "
        f"class token, or where a foil cancels the score); {use}"
    )


def _reaches(model: EcgTextModel, x: Tensor, texts: Tensor, path: str) -> bool:
    """Whether a layer runs once, gives the cells that it declares, and has a gradient there."""
    try:
        with torch.enable_grad(), model.asking(texts), layer_output(model, path) as (outputs, where, _):
            score = (model.encode_signal(x.detach()) @ texts.detach().T).sum()
            if len(outputs) != 1 or not score.requires_grad:
                return False
            return bool(to_cells(_slope(score, outputs[0], model), where).any())
    except EcgcamError:
        return False


def _only(outputs: list[Tensor], path: str, model: EcgTextModel) -> Tensor:
    """Return the output of a layer that ran once."""
    if not outputs:
        raise EcgcamError(
            f"`layer` {path}: ran 0 times in one pass of {model.name}; choose one that runs (hooks do not see "
            "modules inside TorchScript)"
        )
    if len(outputs) != 1:
        raise EcgcamError(
            f"`layer` {path}: ran {len(outputs)} times in one pass of {model.name}; choose one that runs once"
        )
    return outputs[0]


def _repeated(output: Tensor, count: int, axis: int) -> Tensor:
    return torch.cat([output] * count, dim=axis)


def _probe(model: EcgTextModel, signals: int) -> Tensor:
    shape = (signals, len(model.input.leads), model.input.samples)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(model.device)


def _batch_can_grow(model: EcgTextModel, path: str) -> bool:
    """Whether one signal's output of a layer, doubled, comes out as two equal embeddings."""
    x, axis = _probe(model, 1), model.spec.layers[path].batch_axis
    with model.frozen(), torch.no_grad():
        own = model.encode_signal(x)
        two = _if_it_fits(model, x, path, lambda output: _repeated(output, 2, axis))
    return two is not None and two.shape == (2, own.shape[1]) and _alike(two, own.expand_as(two))


def _is_bottleneck(model: EcgTextModel, path: str) -> bool:
    """Whether a layer's output alone makes the embedding: one signal, with two others' put there, comes out as these two."""
    x = _probe(model, 3)
    with torch.no_grad(), layer_output(model, path) as (outputs, _, _):
        own = model.encode_signal(x[1:])
    with torch.no_grad():
        put = _if_it_fits(model, x[:1], path, lambda _output: outputs[0].clone())
    return put is not None and put.shape == own.shape and _alike(put, own)


def _if_it_fits(model: EcgTextModel, x: Tensor, path: str, change: Callable[[Tensor], Tensor]) -> Tensor | None:
    """Return the embeddings with a layer's output changed; None where the rest of the network cannot take another batch."""
    try:
        with layer_output(model, path, change):
            return model.encode_signal(x)
    except (EcgcamError, RuntimeError):  # how torch, or the wrapper of a user's network, reports shapes that do not fit
        return None


def _alike(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-4, atol=1e-6 * max(1.0, float(other.abs().max())))
