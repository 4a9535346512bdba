"""Hooks on modules. They are registered in this file alone, and none outlives a call."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ecgcam.errors import EcgcamError
from ecgcam.files import one_line
from ecgcam.protocol.model import EcgTextModel, frozen
from ecgcam.protocol.spec import LayerSpec


@contextmanager
def tap(
    module: nn.Module,
    path: str,
    part: int | None = None,
    *,
    detach: bool = False,
    keep_graph: bool = False,
    change: Callable[[Tensor], Tensor] | None = None,
    keep: Callable[[Tensor], Any] = lambda output: output,
) -> Iterator[list[Any]]:
    """Give the tensors that a module returns, each time it runs; the hook is removed when the block ends.

    Parameters
    ----------
    module, path : nn.Module, str
        The module, and its name for errors.
    part : int, optional
        Which part of a tuple, a list, a dict or a model output is meant.
    detach : bool
        The graph begins at what is kept: a leaf, which requires a gradient where gradients are on.
    keep_graph : bool
        With `detach`: an output that has a graph already keeps it.
    change : callable, optional
        What the rest of the network gets, of what is kept; without it, the output as it is. A layer whose gradient is wanted
        needs a copy at least (`torch.clone`), so that operations in place after it neither change it nor break the graph.
    keep : callable
        What goes into the list, of the tensor.
    """
    kept: list[Any] = []

    def hook(_module: nn.Module, _inputs: object, output: object) -> object:
        chosen = part_of(output, part)
        if chosen is None:
            raise EcgcamError(
                f"`layer` {path}: gives a {type(output).__name__}, not a tensor; choose another layer, or declare which of its "
                "parts holds the cells (part = 0 for the first)"
            )
        if detach and not (keep_graph and chosen.requires_grad):
            chosen = chosen.detach().requires_grad_(torch.is_grad_enabled())
        with torch.set_grad_enabled(torch.is_grad_enabled() and not hasattr(keep, "without_graph")):
            kept.append(keep(chosen))
        return None if change is None else _with_part(output, part, change(chosen))

    handle = _registered(module, path, hook)
    try:
        yield kept
    finally:
        handle.remove()


def _registered(module: nn.Module, path: str, hook: Callable[..., Any]) -> RemovableHandle:
    if isinstance(module, torch.jit.ScriptModule):
        raise EcgcamError(
            f"`layer` {path}: is TorchScript, which hides the outputs of its modules; give the network as Python "
            "code, or choose a "
            "method on samples, such as integrated-gradients"
        )
    return module.register_forward_hook(hook)


@contextmanager
def outputs_of(module: nn.Module) -> Iterator[list[object]]:
    """Give what a module returns, each time it runs, whatever it is and with its graph; nothing is changed."""
    kept: list[object] = []
    handle = _registered(module, type(module).__name__, lambda _module, _inputs, output: kept.append(output))
    try:
        yield kept
    finally:
        handle.remove()


@contextmanager
def on_call(module: nn.Module, call: Callable[[], None]) -> Iterator[None]:
    """Call a function after each run of a module, whose output is neither kept nor changed."""
    handle = _registered(module, type(module).__name__, lambda _module, _inputs, _output: call())
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def running(modules: Mapping[str, nn.Module]) -> Iterator[list[str]]:
    """Give the paths of the modules that run at the moment, the innermost last."""
    path: list[str] = []
    with ExitStack() as stack:
        for name, module in modules.items():
            before = module.register_forward_pre_hook(lambda _module, _inputs, name=name: path.append(name))
            after = module.register_forward_hook(
                lambda _module, _inputs, _output: path.pop() and None, always_call=True
            )
            stack.callback(before.remove)
            stack.callback(after.remove)
        yield path


def run_order(encode: Callable[[Tensor], object], modules: Mapping[str, nn.Module], x: Tensor) -> list[str]:
    """Return the paths of the modules that run once when signals (B, L, T) are encoded, in the order in which they end."""
    order: list[str] = []
    with ExitStack() as stack, torch.no_grad():
        for path, module in modules.items():
            if not isinstance(module, torch.jit.ScriptModule):  # its modules never report what they return
                stack.enter_context(on_call(module, partial(order.append, path)))
        encode(x)
    return [path for path in order if order.count(path) == 1]


def part_of(output: object, part: int | None) -> Tensor | None:
    """Return the tensor that a part of a module's output is (None: all of it); None if it is not a tensor, or not there."""
    if part is not None and not isinstance(output, Tensor):
        parts = parts_of(output)
        output = parts[part] if part < len(parts) else None
    return output if isinstance(output, Tensor) else None


def parts_of(output: object) -> list[object]:
    """Return the parts of a tuple, list, dict or model output, in order; none of anything else."""
    if isinstance(output, Mapping):
        return list(output.values())
    return list(output) if isinstance(output, tuple | list) else []


def _with_part(output: object, part: int | None, value: Tensor) -> object:
    """Return a module's output with another tensor in one part of it."""
    if part is None or isinstance(output, Tensor):
        return value
    if isinstance(output, Mapping):
        changed: Any = copy.copy(output)
        changed[list(output)[part]] = value  # a model output's attribute of the name follows
        return changed
    assert isinstance(output, tuple | list)  # noqa: S101 - for mypy; `part_of` has refused others
    items = [*output[:part], value, *output[part + 1 :]]
    return type(output)(*items) if hasattr(output, "_fields") else type(output)(items)


@contextmanager
def layer_output(
    model: EcgTextModel, layer: str | None = None, change: Callable[[Tensor], Tensor] = torch.clone
) -> Iterator[tuple[list[Tensor], LayerSpec, str]]:
    """Hold the model frozen and make a layer's output the start of the graph: what it gave, where its cells are, its path."""
    path, where = model.spec.layer_named(layer)
    module, _ = model.layer(layer)
    with model.frozen(), tap(module, path, where.part, detach=True, change=change) as outputs:
        yield outputs, where, path


def grad(score: Tensor, inputs: Any, model: EcgTextModel, **how: Any) -> tuple[Tensor, ...]:
    """Return `torch.autograd.grad`; what torch refuses (a quantised module, for one) is an error of one line."""
    try:
        slopes: tuple[Tensor, ...] = torch.autograd.grad(score, inputs, **how)
    except torch.OutOfMemoryError:
        raise
    except EcgcamError:
        raise
    except (RuntimeError, NotImplementedError) as error:
        raise EcgcamError(
            f"`model` {model.name}: torch cannot compute a gradient through this network ({one_line(error)}); "
            "choose a method that needs "
            "none, such as occlusion"
        ) from error
    return slopes


def copy_network(network: nn.Module) -> nn.Module:
    """Return a deep copy in evaluation mode; tensors with a graph, which a network keeps of its last pass, lose it."""
    memo: dict[int, Any] = {}
    for module in network.modules():
        for value in vars(module).values():
            for tensor in _tensors_in(value):
                if not tensor.is_leaf:
                    memo[id(tensor)] = tensor.detach().clone()
    return copy.deepcopy(network, memo).eval()


def _tensors_in(value: object) -> Iterator[Tensor]:
    """Yield the tensors in a value, however deep in lists, tuples and mappings; modules keep their own."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors_in(each)
    elif isinstance(value, list | tuple | set):
        for each in value:
            yield from _tensors_in(each)


def output_shapes(
    network: nn.Module, paths: Sequence[str], x: Tensor, parts: Sequence[int | None] = ()
) -> dict[str, tuple[int, ...]]:
    """Return the shape of what each module gives for signals `x` (N, L, T); on the ``meta`` device it costs nothing.

    `parts` names, for each that gives a tuple, the part that is meant.
    """
    with ExitStack() as stack, frozen(network), torch.no_grad():
        kept = {path: stack.enter_context(outputs_of(network.get_submodule(path))) for path in paths}
        network(x)
    shapes: dict[str, tuple[int, ...]] = {}
    for path, part in zip(paths, parts or [None] * len(paths), strict=True):
        chosen = part_of(kept[path][-1], part) if kept[path] else None
        if chosen is not None:
            shapes[path] = tuple(chosen.shape)
    return shapes
