"""Runs the model and hands back scores, activations and gradients. The only hooks are here, and none outlives a call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from ecgcam.attribution.cells import cells_view, moment_cells, shortest_span, to_cells
from ecgcam.errors import EcgcamError
from ecgcam.models.base import EcgTextModel
from ecgcam.models.spec import LayerSpec


@dataclass(frozen=True)
class Capture:
    """What one pass gives.

    Attributes
    ----------
    embeddings : Tensor, (N, D)
        Joint embeddings of the signals.
    scores : Tensor, (N, P)
        Similarity of each signal and prompt.
    activations : Tensor, (N, C, K)
        A, of the target layer.
    reduced : list of P Tensors
        What `reduce` made of A and G for each prompt; G itself, (N, C, K), by default.
    """

    embeddings: Tensor
    scores: Tensor
    activations: Tensor
    reduced: list[Tensor]

    @property
    def gradients(self) -> Tensor:
        """The reduced tensors stacked, (P, ...)."""
        return torch.stack(self.reduced)


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, no parameter wanting a gradient; both as before afterwards, whatever happens."""
    modes = [(module, module.training) for module in network.modules()]
    wants = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    try:
        network.eval()
        for parameter, _ in wants:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter, wanted in wants:
            parameter.requires_grad_(wanted)
        for module, training in modes:
            module.training = training


def capture(
    model: EcgTextModel,
    x: Tensor,
    texts: Tensor,
    layer: str | None = None,
    reduce: Callable[[Tensor, Tensor], Tensor] = lambda _A, G: G,
    held: bool = False,
) -> Capture:
    """Run signals (N, L, T) through the model, with a graph that begins at the target layer.

    Nothing before the layer wants a gradient, so that stretch costs a bare forward pass; after it, one short backward pass
    per prompt.

    Parameters
    ----------
    model : EcgTextModel
        Its network is left as it was.
    x : Tensor, (N, L, T)
        Signals in model space; not modified.
    texts : Tensor, (P, D)
        Embeddings of the prompts.
    layer : str, optional
        Module path; default the model's target layer.
    reduce : callable
        (A, G), both (N, C, K), to what is kept of a prompt, so that many prompts need not hold many G.
    held : bool
        Whether G takes the length of a cosine's embedding for a constant.

    Raises
    ------
    EcgcamError
        If no gradient can reach the layer.
    """
    module, where = model.layer(layer)
    path, reached = layer or model.spec.layer, False
    with frozen(model.network), torch.enable_grad(), _leaf_output(module, path, part=where.part) as outputs:
        embeddings = model.finish(model.embed(x.detach()), held)
        scores = embeddings @ texts.detach().T
        _need_one_run(outputs, path, model)
        _need_gradient(scores, path)
        activations, reduced = to_cells(outputs[0].detach(), where), []
        for p in range(scores.shape[1]):
            more = p + 1 < scores.shape[1]
            G = to_cells(torch.autograd.grad(scores[:, p].sum(), outputs[0], retain_graph=more)[0], where)
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
        Its network is left as it was.
    x, text : Tensor, (N, L, T), (D,)
        Signals in model space, and the prompt's embedding.
    layer : str, optional
        Module path; default the model's target layer.
    """
    module, where = model.layer(layer)
    path = layer or model.spec.layer
    # Fused attention has no second derivative.
    with (
        frozen(model.network),
        torch.enable_grad(),
        sdpa_kernel(SDPBackend.MATH),
        _leaf_output(module, path, part=where.part) as outputs,
    ):
        score = (model.encode_signal(x.detach()) @ text.detach()).sum()
        _need_one_run(outputs, path, model)
        leaf = outputs[0]
        _need_gradient(score, path)
        (slope,) = torch.autograd.grad(score, leaf, create_graph=True)
        if slope.requires_grad:
            along = (slope * leaf.detach()).sum()
            (product,) = torch.autograd.grad(along, leaf, allow_unused=True, materialize_grads=True)
        else:  # the score is linear in the layer
            product = torch.zeros_like(leaf)
    A, G, HA = (to_cells(part.detach(), where) for part in (leaf, slope, product))
    if not G.any():
        raise _unreached(model, x, text[None], path)
    return A, G, HA


def slopes_along(
    model: EcgTextModel,
    x: Tensor,
    start: Tensor,
    text: Tensor,
    points: Sequence[float],
    layer: str | None = None,
    batch: int = 1,
) -> tuple[Tensor, Tensor]:
    """Return how far the target layer's cells lie from those of another signal, and the gradients on the straight way there.

    Where nothing but the layer reaches the embedding, what lies before it runs once; what lies behind it, for several points
    at a time.

    Parameters
    ----------
    model : EcgTextModel
        Its network is left as it was.
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
    module, where = model.layer(layer)
    path, axis, slopes = layer or model.spec.layer, 1 if where.layout == "TBC" else 0, []
    with frozen(model.network), torch.no_grad(), _leaf_output(module, path, part=where.part) as outputs:
        model.encode_signal(start)
        _need_one_run(outputs, path, model)
        model.encode_signal(x)
    begin, end = outputs
    alone = model.remember(("closed at", path), lambda: _closed(model, module, path, where.part))
    several = max(1, batch // len(x)) if alone else 1
    for some in (points[i : i + several] for i in range(0, len(points), several)):
        way = torch.cat([begin + point * (end - begin) for point in some], dim=axis).requires_grad_()

        def on_the_way(_output: Tensor, way: Tensor = way) -> Tensor:
            return way.clone()

        with frozen(model.network), torch.enable_grad(), _leaf_output(module, path, on_the_way, where.part):
            score = (model.encode_signal(start if alone else x.detach()) @ text.detach()).sum()
            _need_gradient(score, path)
            (slope,) = torch.autograd.grad(score, way)
        slopes += [to_cells(part, where) for part in slope.chunk(len(some), dim=axis)]
    if not any(bool(slope.any()) for slope in slopes):
        raise _unreached(model, x, text[None], path)
    return to_cells(end - begin, where), torch.stack(slopes)


def unscaled_slopes(
    model: EcgTextModel, x: Tensor, text: Tensor, layer: str | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return A and d (e . t) / d A of the target layer, (N, C, K) both, and |e| (N,), e the embeddings before L2."""
    module, where = model.layer(layer)
    path = layer or model.spec.layer
    with frozen(model.network), torch.enable_grad(), _leaf_output(module, path, part=where.part) as outputs:
        embedding = model.embed(x.detach())
        _need_one_run(outputs, path, model)
        score = (embedding @ text.detach()).sum()
        _need_gradient(score, path)
        (slope,) = torch.autograd.grad(score, outputs[0])
    G = to_cells(slope, where)
    if not G.any():
        raise _unreached(model, x, text[None], path)
    return to_cells(outputs[0].detach(), where), G, embedding.detach().norm(dim=-1)


def activations_of(model: EcgTextModel, x: Tensor, layer: str | None = None) -> Tensor:
    """Return A (N, C, K) of the target layer for signals (N, L, T), without a graph."""
    module, where = model.layer(layer)
    path = layer or model.spec.layer
    with frozen(model.network), torch.no_grad(), _leaf_output(module, path, part=where.part) as outputs:
        model.encode_signal(x)
    _need_one_run(outputs, path, model)
    return to_cells(outputs[0], where)


def without_channel(model: EcgTextModel, x: Tensor, channels: Tensor, layer: str | None = None) -> Tensor:
    """Run one signal (1, L, T) with one channel of the target layer at zero in every cell, for each of M channels.

    What lies before the layer runs once, for one signal; if the network cannot take more rows there than it was given
    signals (it took the batch size down at its entrance), M copies go all the way.

    Returns
    -------
    Tensor, (M, D)
        Joint embeddings.
    """
    module, where = model.layer(layer)
    path, axis, count = layer or model.spec.layer, 1 if where.layout == "TBC" else 0, len(channels)

    def without(output: Tensor) -> Tensor:
        rows = _repeated(output, count // output.shape[axis], axis)
        cells_view(rows, where)[torch.arange(count, device=rows.device), channels] = 0.0
        return rows

    narrow = model.remember(("rows added at", path), lambda: _takes_more_rows(model, module, path, axis, where.part))
    with frozen(model.network), torch.no_grad(), _leaf_output(module, path, without, where.part) as outputs:
        embeddings = model.encode_signal(x if narrow else x.expand(count, -1, -1))
    _need_one_run(outputs, path, model)
    return embeddings


def with_cells(model: EcgTextModel, x: Tensor, cells: Tensor, layer: str | None = None) -> Tensor:
    """Run a signal (1, L, T) with the same channels at every cell of the target layer, for each of M vectors (M, C).

    What is no cell there (a class token, separators between leads) stays as the signal has it.

    Returns
    -------
    Tensor, (M, D)
        Joint embeddings.
    """
    module, where = model.layer(layer)
    path = layer or model.spec.layer

    def put(output: Tensor) -> Tensor:
        rows = output.clone()
        view = cells_view(rows, where)
        view[:] = cells.to(view).reshape(*cells.shape, *(1,) * (view.ndim - 2))
        return rows

    with frozen(model.network), torch.no_grad(), _leaf_output(module, path, put, where.part) as outputs:
        embeddings = model.encode_signal(x.expand(len(cells), -1, -1))
    _need_one_run(outputs, path, model)
    return embeddings


@contextmanager
def watch(model: EcgTextModel, layer: str, look: Callable[[Tensor], Tensor]) -> Iterator[list[Tensor]]:
    """Keep what `look` makes of a layer's cells (N, C, K), each time signals go through; they go on as they were."""
    module, where = model.layer(layer)
    looks: list[Tensor] = []

    def hook(_module: nn.Module, _inputs: object, output: Any) -> None:
        part: Tensor = output if where.part is None else output[where.part]
        with torch.no_grad():
            looks.append(look(to_cells(part.detach(), where)))

    handle = module.register_forward_hook(hook)
    try:
        yield looks
    finally:
        handle.remove()


def score_signals(model: EcgTextModel, x: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
    """Return embeddings (N, D) and scores (N, P) of signals (N, L, T), without a graph."""
    with frozen(model.network), torch.no_grad():
        embeddings = model.encode_signal(x)
        return embeddings, embeddings @ texts.T


def input_gradient(
    model: EcgTextModel, x: Tensor, texts: Tensor, reduce: Callable[[Tensor], Tensor] = lambda G: G
) -> tuple[Tensor, Tensor, Tensor]:
    """Return embeddings (N, D), scores (N, P) and d score / d x (P, N, L, T) in model space; `x` is not modified.

    `reduce` makes of each prompt's G (N, L, T) what is kept of it, so that many prompts need not hold many G.
    """
    with frozen(model.network), torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        embeddings = model.encode_signal(leaf.clone())  # a copy, that a network may change in place
        scores = embeddings @ texts.detach().T
        if not scores.requires_grad:
            raise EcgcamError(f"{model.name}: turns gradients off (torch.no_grad) on the way to the embedding")
        gradients = [
            reduce(torch.autograd.grad(scores[:, p].sum(), leaf, retain_graph=p + 1 < scores.shape[1])[0])
            for p in range(scores.shape[1])
        ]
    return embeddings.detach(), scores.detach(), torch.stack(gradients)


def cell_width(model: EcgTextModel, layer: str | None = None) -> float | None:
    """Return the time (in samples) of the cells that hold 90 % of a layer's response to an impulse; None if it has none.

    The impulse is one sample of unit height in every lead, in the middle of silence (0 in model space), at a cell's centre.
    Step is not resolution: this tells how far a cell looks.
    """
    _, where = model.layer(layer)
    samples = model.input.samples
    middle = round(where.offset + where.step * round((samples / 2 - where.offset) / where.step))
    silence = torch.zeros(2, len(model.input.leads), samples, device=model.device)
    silence[1, :, middle] = 1.0
    module, _ = model.layer(layer)
    with (
        frozen(model.network),
        torch.no_grad(),
        _leaf_output(module, layer or model.spec.layer, part=where.part) as outputs,
    ):
        model.encode_signal(silence)
    A = to_cells(outputs[0].detach(), where)
    response: np.ndarray = moment_cells((A[1] - A[0]).abs().sum(dim=0), where).cpu().double().numpy()
    cells = shortest_span(response)
    return cells * where.step if cells else None


def place_cells(
    encode: Callable[[Tensor], Tensor], module: nn.Module, path: str, leads: int, samples: int
) -> LayerSpec:
    """Find where the cells of a layer (B, C, K) lie: which samples move a cell, for two cells, one at each quarter.

    A cell lies in the middle of the samples that move it; where more than half of the window does (attention), at the centre of
    gravity of how much they do. An impulse run backwards, so to speak: it tells of every sample at once. Two cells give the
    step and the offset; a step within 2 % of a whole number is that number.

    Raises
    ------
    EcgcamError
        If the layer's output is no (B, C, K) with several cells, or nothing moves them.
    """
    # Noise, several times over: what a relu stops in one draw passes in another.
    x = torch.randn(8, leads, samples, generator=torch.Generator().manual_seed(0)).requires_grad_()
    outputs: list[Tensor] = []
    with frozen(module), torch.enable_grad(), _heard(module, outputs):
        encode(x)
        if not outputs or outputs[0].ndim != 3 or outputs[0].shape[2] < 4:
            shape = tuple(outputs[0].shape) if outputs else "nothing"
            raise EcgcamError(
                f"--layer {path}: gives {shape}, not (B, C, T); declare its layout (see docs/own-model.md)"
            )
        count = outputs[0].shape[2]
        cells = (count // 4, 3 * count // 4)
        if not outputs[0].requires_grad:
            raise EcgcamError(f"--layer {path}: no gradient passes on the way to it; declare its layout")
        moved = [
            torch.autograd.grad(outputs[0][:, :, k].abs().sum(), x, retain_graph=True)[0].abs().sum(dim=(0, 1)).double()
            for k in cells
        ]
    first, second = (_middle(weights) for weights in moved)
    if first is None or second is None or second - first < 0.5:
        raise EcgcamError(f"--layer {path}: its cells do not follow time, so they cannot be placed; declare its layout")
    step = (second - first) / (cells[1] - cells[0])
    step = round(step) if abs(step - round(step)) <= 0.02 * step else step
    return LayerSpec("BCT", float(step), float(round(first - step * cells[0], 1)))


def _middle(weights: Tensor) -> float | None:
    """The middle of the samples that count, or their centre of gravity where most of them do; None if none does."""
    counting = weights.nonzero()[:, 0]
    if not len(counting):
        return None
    low, high = int(counting[0]), int(counting[-1])
    if high - low < len(weights) / 2:
        return (low + high) / 2
    return float(weights @ torch.arange(len(weights), dtype=torch.float64) / weights.sum())


@contextmanager
def _heard(module: nn.Module, outputs: list[Tensor]) -> Iterator[None]:
    """Let `outputs` receive what a module gives, graph and all."""
    handle = module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    try:
        yield
    finally:
        handle.remove()


def outputs_of(model: EcgTextModel, x: Tensor, paths: Sequence[str]) -> tuple[Tensor, list[Tensor]]:
    """Run signals (N, L, T) and return their embeddings (N, D) and what the modules at `paths` gave.

    Where gradients are on, the graph begins at the first of them: nothing before it wants one. Call within `frozen`.

    Raises
    ------
    EcgcamError
        If one of the modules does not run exactly once, or gives no tensor.
    """
    heard: dict[str, list[Tensor]] = {path: [] for path in paths}
    with ExitStack() as hooks:
        for path, outputs in heard.items():
            hooks.enter_context(_listening(model.network.get_submodule(path), path, outputs))
        embeddings = model.encode_signal(x.detach())
    for path, outputs in heard.items():
        _need_one_run(outputs, path, model)
    return embeddings, [outputs[0] for outputs in heard.values()]


@contextmanager
def _listening(module: nn.Module, path: str, outputs: list[Tensor]) -> Iterator[None]:
    """Let `outputs` receive what a module gives; the rest of the network gets a copy, safe from operations in place."""

    def hook(_module: nn.Module, _inputs: object, output: object) -> Tensor:
        if not isinstance(output, Tensor):
            raise EcgcamError(f"{path}: gives a {type(output).__name__}, not a tensor")
        wanted = torch.is_grad_enabled() and not output.requires_grad
        outputs.append(output.detach().requires_grad_() if wanted else output)
        return outputs[-1].clone()

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def module_gradients(
    model: EcgTextModel, x: Tensor, text: Tensor, kinds: tuple[type[nn.Module], ...], hold_length: bool
) -> tuple[Tensor, list[tuple[nn.Module, Tensor]]]:
    """Return the gradient of one signal's score with respect to it, (1, L, T), and to what every module of `kinds` gives.

    Parameters
    ----------
    model : EcgTextModel
        Its network is left as it was.
    x, text : Tensor, (1, L, T), (D,)
        The signal in model space, and the prompt's embedding.
    kinds : tuple of classes
        Modules to listen to. One that runs twice is there twice.
    hold_length : bool
        Of a cosine, take the length of the signal's embedding for a constant.
    """
    cosine = model.spec.similarity == "cosine"
    heard: list[tuple[nn.Module, list[Tensor]]] = []
    with ExitStack() as hooks, frozen(model.network), torch.enable_grad():
        for path, module in model.network.named_modules():
            if isinstance(module, kinds):
                heard.append((module, []))
                hooks.enter_context(_listening(module, path, heard[-1][1]))
        leaf = x.detach().clone().requires_grad_()
        embedding = model.embed(leaf.clone())
        length = embedding.norm(dim=-1, keepdim=True) if cosine else torch.ones_like(embedding[:, :1])
        score = (embedding / (length.detach() if hold_length else length) @ text.detach()).sum()
        outputs = [(module, output) for module, given in heard for output in given]
        wanted = [leaf, *(output for _, output in outputs)]
        if not score.requires_grad:
            raise EcgcamError(f"{model.name}: turns gradients off (torch.no_grad) on the way to the embedding")
        slope, *slopes = torch.autograd.grad(score, wanted, allow_unused=True, materialize_grads=True)
    return slope, [(module, G) for (module, _), G in zip(outputs, slopes, strict=True)]


# Non-linear functions beside relu, by the names they have in torch: no rule for relu says what to do with them.
_OTHER_NONLINEAR = frozenset({
    "celu", "elu", "erf", "gelu", "glu", "gru", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu",
    "logsigmoid", "lstm", "mish", "prelu", "relu6", "rnn_relu", "rnn_tanh", "rrelu", "selu", "sigmoid", "silu", "softplus",
    "softshrink", "softsign", "tanh", "tanhshrink", "threshold",
})  # fmt: skip


class ReluRule(TorchFunctionMode):
    """Within it, no relu lets a negative gradient through; it goes when the block ends, however that ends.

    It stands between the network and torch's functions, so that modules, functions and their in-place forms are one case,
    the network is never touched, and nothing that it does not run is looked at.

    Parameters
    ----------
    method : str
        For the error.
    masked : bool
        Whether the gradient is also stopped where the relu's input was negative, as relu's own is: guided backpropagation.
        Otherwise it is let through there: deconvolution.
    """

    def __init__(self, method: str, masked: bool) -> None:
        super().__init__()
        self.method, self.masked, self.met = method, masked, False

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Replace relu, refuse its relatives, leave the rest alone."""
        kwargs = kwargs or {}
        written = getattr(func, "__name__", "")
        name = written.rstrip("_")
        if name in _OTHER_NONLINEAR:
            raise EcgcamError(
                f"--method {self.method}: changes how gradients pass relu, and this network also runs {name}, for which it has "
                "no rule; choose another method, such as integrated-gradients or smooth-grad"
            )
        if name != "relu":
            return func(*args, **kwargs)
        self.met = True
        x = args[0] if args else kwargs["input"]
        y = _Rectified.apply(x, self.masked)  # type: ignore[no-untyped-call]
        in_place = written == "relu_" or kwargs.get("inplace", len(args) > 1 and args[1])
        return x.copy_(y) if in_place else y

    def need_relu(self) -> None:
        """Raise `EcgcamError` if no relu has run."""
        if not self.met:
            raise EcgcamError(
                f"--method {self.method}: changes how gradients pass relu, and this network runs none; choose another method, "
                "such as saliency or integrated-gradients"
            )


class _Rectified(torch.autograd.Function):
    """relu(x); backward relu(G), where `masked` only at x > 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, masked: bool) -> Tensor:
        if masked:
            ctx.save_for_backward(x > 0)
        return x.relu()

    @staticmethod
    def backward(ctx: Any, G: Tensor) -> tuple[Tensor, None]:
        passed = G.relu()
        for positive in ctx.saved_tensors:
            passed = passed * positive
        return passed, None


def output_shapes(
    network: nn.Module, paths: Sequence[str], x: Tensor, parts: Sequence[int | None] = ()
) -> dict[str, tuple[int, ...]]:
    """Return the shape of what each module gives for signals `x` (N, L, T); on the ``meta`` device it costs nothing.

    `parts` says of each, where it gives a tuple, which part is meant.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    with ExitStack() as hooks, frozen(network), torch.no_grad():
        for path, part in zip(paths, parts or [None] * len(paths), strict=True):
            hooks.enter_context(_shape_of(network.get_submodule(path), path, shapes, part))
        network(x)
    return shapes


@contextmanager
def _shape_of(module: nn.Module, path: str, shapes: dict[str, tuple[int, ...]], part: int | None) -> Iterator[None]:
    def hook(_module: nn.Module, _inputs: object, output: object) -> None:
        chosen = (
            output[part] if part is not None and isinstance(output, tuple | list) and part < len(output) else output
        )
        if isinstance(chosen, Tensor):
            shapes[path] = tuple(chosen.shape)

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _need_gradient(score: Tensor, path: str) -> None:
    if not score.requires_grad:
        raise EcgcamError(
            f"--layer {path}: no gradient of the score reaches it; it lies off the path to the embedding, "
            "or the model turns gradients off (torch.no_grad)"
        )


def _unreached(model: EcgTextModel, x: Tensor, texts: Tensor, path: str) -> EcgcamError:
    """Return the error of a layer whose gradient is zero; it names the last declared layer whose gradient is not."""
    others = [other for other in reversed(model.spec.layers) if other != path and _reaches(model, x, texts, other)]
    use = f"use --layer {others[0]}" if others else "choose an earlier layer"
    return EcgcamError(
        f"--layer {path}: the gradient of the score is exactly zero at every cell there (as at the last block before a "
        f"class token); {use}"
    )


def _reaches(model: EcgTextModel, x: Tensor, texts: Tensor, path: str) -> bool:
    """Whether a layer runs once, gives the cells that it declares, and has a gradient there."""
    module, where = model.layer(path)
    try:
        with frozen(model.network), torch.enable_grad(), _leaf_output(module, path, part=where.part) as outputs:
            score = (model.encode_signal(x.detach()) @ texts.detach().T).sum()
            if len(outputs) != 1 or not score.requires_grad:
                return False
            (slope,) = torch.autograd.grad(score, outputs)
            return bool(to_cells(slope, where).any())
    except EcgcamError:
        return False


def _need_one_run(outputs: list[Tensor], path: str, model: EcgTextModel) -> None:
    if len(outputs) != 1:
        raise EcgcamError(
            f"--layer {path}: ran {len(outputs)} times in one pass of {model.name}; choose one that runs once"
        )


def _repeated(output: Tensor, count: int, axis: int) -> Tensor:
    return torch.cat([output] * count, dim=axis)


def _takes_more_rows(model: EcgTextModel, module: nn.Module, path: str, axis: int, part: int | None) -> bool:
    """Whether one signal's output of a layer, doubled, comes out as two equal embeddings."""
    shape = (1, len(model.input.leads), model.input.samples)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(model.device)
    with frozen(model.network), torch.no_grad():
        own = model.encode_signal(x)
        try:
            with _leaf_output(module, path, lambda output: _repeated(output, 2, axis), part):
                two = model.encode_signal(x)
        except RuntimeError:  # how torch says that shapes do not fit
            return False
    return two.shape == (2, own.shape[1]) and torch.allclose(two, own.expand_as(two), rtol=1e-4, atol=1e-6)


def _closed(model: EcgTextModel, module: nn.Module, path: str, part: int | None) -> bool:
    """Whether a layer's output alone makes the embedding: one signal, with two others' put there, comes out as these two."""
    shape = (3, len(model.input.leads), model.input.samples)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(model.device)
    with frozen(model.network), torch.no_grad(), _leaf_output(module, path, part=part) as outputs:
        own = model.encode_signal(x[1:])
    with frozen(model.network), torch.no_grad():
        try:
            with _leaf_output(module, path, lambda _output: outputs[0].clone(), part):
                put = model.encode_signal(x[:1])
        except RuntimeError:  # how torch says that shapes do not fit
            return False
    return put.shape == own.shape and torch.allclose(put, own, rtol=1e-4, atol=1e-6)


@contextmanager
def _leaf_output(
    module: nn.Module, path: str, change: Callable[[Tensor], Tensor] = torch.clone, part: int | None = None
) -> Iterator[list[Tensor]]:
    """Make a module's output the start of the graph; the list receives it.

    The rest of the network gets what `change` makes of it. A copy at least, so that operations in place after the layer
    neither change what was captured nor break the graph. Of a tuple, that is said of the part that the layer declares.
    """
    outputs: list[Tensor] = []

    def hook(_module: nn.Module, _inputs: object, output: object) -> object:
        several = tuple(output) if part is not None and isinstance(output, tuple | list) else ()
        chosen = several[part] if part is not None and part < len(several) else output
        if not isinstance(chosen, Tensor):
            raise EcgcamError(
                f"--layer {path}: gives a {type(output).__name__}, not a tensor; choose another layer, or say in the model file "
                "which of its parts holds the cells (part = 0 for the first)"
            )
        leaf = chosen.detach().requires_grad_(torch.is_grad_enabled())
        outputs.append(leaf)
        return (*several[:part], change(leaf), *several[part + 1 :]) if part is not None and several else change(leaf)

    handle = module.register_forward_hook(hook)
    try:
        yield outputs
    finally:
        handle.remove()
