"""A user's network in the form that attribution needs: all of its modules, and one tensor for each signal."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ecgcam.errors import EcgcamError
from ecgcam.files import one_line
from ecgcam.protocol.attention import AttentionSpec

# Different prompts that one loaded joint model can score.
SLOTS = 1024
# The name of the layer that is the signal itself.
SIGNAL = "signal"


class OwnNetwork(nn.Module):
    """The user's signal side as one module. Layer paths are the user's.

    Parameters
    ----------
    encode : callable
        Signals (B, L, T) to (B, D), or (B, D, T) along time.
    network : nn.Module
        Where layers are looked up.
    others : list of nn.Module
        Further modules that `encode` or the text side use: their mode, device, gradients and weights count too.
    name : str
        For errors.
    dense : bool
        Whether outputs along time are kept, as (B, D x T), rather than summed over it.
    """

    def __init__(
        self,
        encode: Callable[[Tensor], Any],
        network: nn.Module,
        others: Sequence[nn.Module],
        name: str,
        dense: bool = False,
    ) -> None:
        super().__init__()
        self.own_network, self.own_others, self.own_signal = network, nn.ModuleList(others), nn.Identity()
        self._encode, self._name, self._dense = encode, name, dense
        self.dtype = torch.float32
        self.places: dict[str, Any] = {}
        self.attention: dict[str, AttentionSpec] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> OwnNetwork:
        """Copy the modules, and make a function that refers to them refer to their copies."""
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        nn.Module.__init__(twin)
        for key, value in vars(self).items():
            if key != "_encode":
                vars(twin)[key] = copy.deepcopy(value, memo)
        twin._encode = copied_function(self._encode, memo)
        return twin

    def given(self, x: Tensor) -> Tensor:
        """Return what the user's code makes of signals (B, L, T): (B, D), or (B, D, T) along time; in float32."""
        try:
            with _uncompiled():
                output = _tensor_of(self._encode(self.own_signal(x.to(self.dtype))))
        except (EcgcamError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise EcgcamError(
                f"`model` {self._name}: encode_signal failed on signals {tuple(x.shape)} ({type(error).__name__}: "
                f"{one_line(error)}); `debug` shows where"
            ) from error
        if not isinstance(output, Tensor) or output.ndim not in {2, 3}:
            what, fix = _shown(output)
            raise EcgcamError(
                f"`model` {self._name}: signals {tuple(x.shape)} gave {what}; it must be a tensor (B, D), or (B, D, T) along "
                f"time{fix}"
            )
        return output.float()

    def get_submodule(self, target: str) -> nn.Module:
        """Look a path up as the user writes it; parts of `torch.compile` and of a module named `network` may be left out."""
        target = ".".join(part for part in target.split(".") if part != "_orig_mod")
        if target == SIGNAL and not hasattr(self.own_network, SIGNAL):
            return self.own_signal
        inner = getattr(self.own_network, "network", None)
        for root in (self.own_network, inner, *self.own_others):
            if isinstance(root, nn.Module):
                try:
                    return _looked_up(root, target)
                except AttributeError:
                    continue
        return super().get_submodule(target)

    def has_module(self, path: str) -> bool:
        """Whether there is a module of this path."""
        try:
            self.get_submodule(path)
        except AttributeError:
            return False
        return True

    def paths(self) -> dict[str, nn.Module]:
        """Return the user's modules by their paths."""
        named = self.own_network.named_modules()
        return {path: module for path, module in named if path and not isinstance(module, torch.jit.ScriptModule)}

    def forward(self, x: Tensor) -> Tensor:
        """Return the user's embedding; outputs over time (B, D, T) are summed over it, or, `dense`, kept."""
        embedded = self.given(x)
        if torch.is_grad_enabled() and not embedded.requires_grad and x.requires_grad:
            raise EcgcamError(
                f"`model` {self._name}: encode_signal passes no gradient (does it use torch.no_grad or detach?); remove that"
            )
        if not embedded.isfinite().all() and bool((x.amax(dim=-1) == x.amin(dim=-1)).any()):
            raise EcgcamError(
                f"`model` {self._name}: gives values that are not finite for a signal with a constant lead, such as "
                "a masked lead (a normalisation may divide by 0); add a small number to the divisor, or use `mask` noise"
            )
        if embedded.ndim != 3:
            return embedded
        return embedded.flatten(1) if self._dense else embedded.sum(dim=-1)


class JointNetwork(OwnNetwork):
    """A network that reads signal and text together: its embedding holds the scores of the prompts so far.

    Parameters
    ----------
    own : object
        Has ``score_texts(x, texts) -> (B, P)``; with ``encode_once(x)`` too, that runs once for all prompts, and `score_texts`
        gets what it returned in place of `x`.
    network, others, name
        As in `OwnNetwork`.
    """

    def __init__(self, own: Any, network: nn.Module, others: Sequence[nn.Module], name: str) -> None:
        super().__init__(self._scores, network, others, name)
        self._score_texts, self._encode_once = own.score_texts, getattr(own, "encode_once", None)
        self.per_pass = int(getattr(own, "texts_per_pass", 16))
        self.prompts: list[str] = []
        self.active: list[int] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> JointNetwork:
        """Copy as `OwnNetwork` does."""
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        nn.Module.__init__(twin)
        functions = {"_score_texts", "_encode_once", "_encode"}
        for key, value in vars(self).items():
            if key not in functions:
                vars(twin)[key] = copy.deepcopy(value, memo)
        twin._score_texts = copied_function(self._score_texts, memo)
        twin._encode_once = self._encode_once and copied_function(self._encode_once, memo)
        twin._encode = twin._scores
        return twin

    @property
    def encodes_once(self) -> bool:
        """Whether the part of the network that does not read the prompts runs once for all of them."""
        return self._encode_once is not None

    def slot(self, text: str) -> int:
        """Return the place of a prompt's score in the embedding."""
        if text not in self.prompts:
            if len(self.prompts) == SLOTS:
                raise EcgcamError(
                    f"`model` {self._name}: a loaded model scores at most {SLOTS} different prompts; load it again for others"
                )
            self.prompts.append(text)
        return self.prompts.index(text)

    @contextmanager
    def asking(self, directions: Tensor) -> Iterator[None]:
        """Score only the prompts that some direction (P, SLOTS) looks at."""
        before, self.active = self.active, directions.reshape(-1, SLOTS).any(dim=0).nonzero()[:, 0].tolist()
        try:
            yield
        finally:
            self.active = before

    def _scores(self, x: Tensor) -> Tensor:
        count = len(self.prompts)
        active = list(range(count)) if self.active is None else [slot for slot in self.active if slot < count]
        asked = [self.prompts[slot] for slot in active] or ["atrial fibrillation"]  # before there is any prompt
        encoded = x if self._encode_once is None else self._encode_once(x)
        parts = [asked[i : i + self.per_pass] for i in range(0, len(asked), self.per_pass)]
        scores = torch.cat([self._of(encoded, part) for part in parts], dim=1)
        full = scores.new_zeros(len(scores), SLOTS)
        slots = torch.tensor(active or [0], device=scores.device)
        return full.index_copy(1, slots, scores)

    def _of(self, signals: Any, texts: list[str]) -> Tensor:
        scores = self._score_texts(signals, texts)
        if not isinstance(scores, Tensor) or scores.ndim != 2 or scores.shape[1] != len(texts):
            what = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise EcgcamError(
                f"`model` {self._name}: score_texts gave {what} for {len(texts)} prompts; it must be a tensor (B, P)"
            )
        return scores


def modules_of(own: object) -> list[nn.Module]:
    """Return the modules that an object, or a function, refers to: itself, its attributes, its closure, the globals it names."""
    found: dict[int, nn.Module] = {}
    seen: set[int] = set()

    def visit(value: object, depth: int) -> None:
        if id(value) in seen or depth > 4:
            return
        seen.add(id(value))
        if isinstance(value, nn.Module):
            found[id(value)] = value
            for part in vars(value).values():
                if isinstance(part, FunctionType | MethodType | partial):
                    visit(part, depth + 1)
        elif isinstance(value, partial):
            for part in (value.func, *value.args, *value.keywords.values()):
                visit(part, depth + 1)
        elif isinstance(value, MethodType):
            visit(value.__self__, depth + 1)
        elif isinstance(value, FunctionType):
            for part in _referred(value).values():
                visit(part, depth + 1)
        elif isinstance(value, list | tuple):
            for part in value:
                visit(part, depth + 1)
        elif isinstance(value, Mapping):
            for part in value.values():
                visit(part, depth + 1)
        elif hasattr(value, "__dict__") and not isinstance(value, type) and not hasattr(value, "__path__"):
            for part in vars(value).values():
                visit(part, depth + 1)

    visit(own, 0)
    inside = {id(child) for module in found.values() for child in module.modules() if child is not module}
    return [module for key, module in found.items() if key not in inside]


def copied_function(function: Callable[..., Any], memo: dict[int, Any]) -> Callable[..., Any]:
    """Return a function that refers to the copies of the modules to which the original refers."""
    if not isinstance(function, FunctionType):
        return copy.deepcopy(function, memo)  # a bound method goes with its object
    referred = {
        name: copied_function(value, memo) if isinstance(value, FunctionType) else copy.deepcopy(value, memo)
        for name, value in _referred(function).items()
        if isinstance(value, nn.Module | FunctionType) and (not isinstance(value, FunctionType) or modules_of(value))
    }
    cells = tuple(
        CellType(referred[name]) if name in referred else cell
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    )
    names = {
        **function.__globals__,
        **{name: value for name, value in referred.items() if name in function.__globals__},
    }
    twin = FunctionType(function.__code__, names, function.__name__, function.__defaults__, cells)
    twin.__kwdefaults__ = function.__kwdefaults__
    return twin


def _referred(function: FunctionType) -> dict[str, Any]:
    """Return what a function's closure holds, and its globals that are network modules or functions of the same file."""
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    held = {name: cell.cell_contents for name, cell in cells.items() if _filled(cell)}
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        neighbour = (
            isinstance(value, FunctionType) and value.__module__ == function.__module__ and value is not function
        )
        if isinstance(value, nn.Module) or neighbour:
            held[name] = value
    return held


def _filled(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def prepare_weights(module: nn.Module) -> None:
    """Replace weights that were made under `torch.inference_mode`, of which no gradient can be taken, by equal ones."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None and not is_lazy(parameter) and parameter.is_inference():
                part._parameters[name] = nn.Parameter(parameter.detach().clone(), parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None and not is_lazy(buffer) and buffer.is_inference():
                part._buffers[name] = buffer.clone()


def _tensor_of(output: object) -> object:
    """Return the logits of a model output; anything else as it is."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        return output.get("logits", output)
    return getattr(output, "logits", output)


def _shown(output: object) -> tuple[str, str]:
    """Return what a network gave in words, and how to make it a tensor (B, D)."""
    if isinstance(output, Tensor):
        return str(tuple(output.shape)), ": return it with unsqueeze(-1)" if output.ndim == 1 else ""
    keys: list[object] = []
    if isinstance(output, Mapping):
        keys = list(output)
    elif isinstance(output, list | tuple):
        keys = list(range(len(output)))
    if not keys:
        return type(output).__name__, ""
    named = f"{type(output).__name__} of {', '.join(str(key) for key in keys[:8])}"
    if all(isinstance(key, int) for key in keys):
        named = f"{type(output).__name__} of {len(keys)}"
    return named, f": wrap the network in a module that returns one of its parts, such as network(x)[{keys[0]!r}]"


def _looked_up(root: nn.Module, target: str) -> nn.Module:
    """Return a submodule by its path, through modules that `torch.compile` wrapped."""
    for name in target.split("."):
        root = getattr(root, "_orig_mod", root)
        child = getattr(root, name)
        if not isinstance(child, nn.Module):
            raise AttributeError(target)  # noqa: TRY004 - as nn.Module.get_submodule does
        root = child
    found: nn.Module = getattr(root, "_orig_mod", root)
    return found


def _uncompiled() -> Any:
    """Run a network that `torch.compile` wrapped as plain Python, so that hooks and rules reach it."""
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    return torch.compiler.set_stance("force_eager")
