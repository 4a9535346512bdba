"""A model of the user's own: `--model package.module:function` runs the user's code, and what it returns is explained."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ecgcam.attribution.hooks import place_cells
from ecgcam.errors import EcgcamError
from ecgcam.files import one_line
from ecgcam.models.base import EcgTextModel
from ecgcam.models.spec import InputSpec, LayerSpec, ModelSpec
from ecgcam.models.text.targets import TargetEncoder

log = logging.getLogger("ecgcam")


def load_own(name: str, device: str = "cpu", layer: str | None = None, targets: bool = False) -> EcgTextModel:
    """Call the user's function, ``package.module:function``, and make what it returns explainable; see `own_model`."""
    return own_model(_call(name), name, device, layer, targets)


def own_model(
    own: Any, name: str = "own", device: str = "cpu", layer: str | None = None, targets: bool = False
) -> EcgTextModel:
    """Make any model with two encoders explainable, or any network with outputs.

    It needs ``encode_signal(x: (B, L, T)) -> (B, D)`` and ``encode_text(list of str) -> (P, D)``. With `targets` prompts are
    its outputs, logits (B, D), or (B, D, steps) along time (see `ecgcam.models.text.targets`): no text is encoded, and where
    there is no ``encode_signal`` the module itself is called. It may have

    - ``network``: the `nn.Module` that layers are looked up in, if it is not a module itself;
    - ``input``: an `InputSpec`; without, 500 Hz, 10 s, the twelve leads in canonical order, mV;
    - ``layers``: path -> `LayerSpec`, the first is the default; a layer without one is taken as (B, C, T), its cells placed by
      an impulse;
    - ``labels``: the names of its outputs, in order;
    - ``similarity``: ``cosine`` (default) or ``dot``; ``name``.

    Raises
    ------
    EcgcamError
        If the function cannot be found, fails, or returns something that cannot be explained.
    """
    network = getattr(own, "network", own)
    if not isinstance(network, nn.Module):
        raise EcgcamError(
            f"--model {name}: returned {type(own).__name__}, which is no nn.Module and has none as `network`"
        )
    for needed in () if targets else ("encode_signal", "encode_text"):
        if not callable(getattr(own, needed, None)):
            raise EcgcamError(
                f"--model {name}: what it returned has no {needed}; docs/own-model.md shows what is needed, and a classifier is "
                "asked by --target"
            )
    encode = own.encode_signal if callable(getattr(own, "encode_signal", None)) else network.__call__
    signal = _Signal(encode, network, name, dense=targets)
    source = getattr(own, "input", None)
    if source is None:
        source = InputSpec()
        log.info(
            "%s: no `input`, so taken as 500 Hz, 10 s, twelve leads in canonical order, mV, masked at the lead's median",
            name,
        )
    similarity: Any = getattr(own, "similarity", "cosine")
    if similarity not in {"cosine", "dot"}:
        raise EcgcamError(f"--model {name}: similarity {similarity!r}; choose cosine or dot")
    if not isinstance(source, InputSpec):
        raise EcgcamError(
            f"--model {name}: `input` is {type(source).__name__}; it must be an InputSpec (docs/own-model.md)"
        )
    network.eval()
    layers = dict(getattr(own, "layers", {}))
    for path, where in layers.items():
        if not isinstance(where, LayerSpec) or path not in dict(network.named_modules()):
            raise EcgcamError(
                f"--model {name}: `layers` {path!r}: must name a module of the network, and give its LayerSpec"
            )
    if layer is not None and layer not in layers:
        layers[layer] = _placed(signal.given, network, layer, source, name)
    if not layers:
        raise EcgcamError(
            f"--model {name}: name the target layer with --layer PATH, or give the model `layers` (see docs/own-model.md)"
        )
    spec = ModelSpec(
        getattr(own, "name", name),
        "own",
        "",
        "none",
        "",
        source,
        layers,
        layer or next(iter(layers)),
        "dot" if targets else similarity,
        labels=tuple(str(label) for label in getattr(own, "labels", ())),
    )
    given = _tried(signal.to(device), source, device)
    text = _outputs(given, spec) if targets else _Text(own, name, given.shape[1])
    return EcgTextModel(spec, signal, text, _sha256(network), device)


class _Signal(nn.Module):
    """The user's signal side as one module: paths are looked up in the user's network."""

    def __init__(self, encode: Callable[[Tensor], Tensor], network: nn.Module, name: str, dense: bool = False) -> None:
        super().__init__()
        self.network, self._encode, self._name, self._dense = network, encode, name, dense

    def given(self, x: Tensor) -> Tensor:
        """Return what the user's code makes of signals (B, L, T): (B, D), or (B, D, T) along time.

        Raises
        ------
        EcgcamError
            If it fails, or gives something else.
        """
        try:
            given = self._encode(x)
        except (EcgcamError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise EcgcamError(
                f"--model {self._name}: encode_signal failed on signals {tuple(x.shape)} ({type(error).__name__}: "
                f"{one_line(error)}); --debug shows where"
            ) from error
        if not isinstance(given, Tensor) or given.ndim not in {2, 3} or len(given) != len(x):
            what = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
            raise EcgcamError(
                f"--model {self._name}: signals {tuple(x.shape)} gave {what}; it must be a tensor (B, D), or (B, D, T) along time"
            )
        return given

    def get_submodule(self, target: str) -> nn.Module:
        """Look a path up as the user writes it."""
        return self.network.get_submodule(target)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the user's `encode_signal` does; outputs over time (B, D, T) are summed over it, or, `dense`, kept."""
        embedded = self.given(x)
        if torch.is_grad_enabled() and not embedded.requires_grad and x.requires_grad:
            raise EcgcamError("encode_signal lets no gradient through (torch.no_grad or detach inside?); take it out")
        if embedded.ndim != 3:
            return embedded
        return embedded.flatten(1) if self._dense else embedded.sum(dim=-1)


def _tried(signal: _Signal, source: InputSpec, device: str) -> Tensor:
    """Return what the user's code makes of a few signals."""
    x = 10 * torch.randn(4, len(source.leads), source.samples, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return signal.given(x.to(device))


def _outputs(given: Tensor, spec: ModelSpec) -> TargetEncoder:
    """Return what the user's outputs are: how many, and how many moments each has."""
    if spec.labels and len(spec.labels) != given.shape[1]:
        raise EcgcamError(
            f"--target: {spec.name} has {given.shape[1]} outputs and {len(spec.labels)} `labels`; name each, or none"
        )
    if float(given.min()) >= 0 and float(given.max()) <= 1:
        log.info(
            "%s: its outputs lie between 0 and 1, as probabilities do; explain logits, which do not saturate", spec.name
        )
    steps = given.shape[2] if given.ndim == 3 else 1
    where = "its `labels` (see docs/own-model.md)"
    return TargetEncoder(given.shape[1], spec.labels, spec.name, steps, spec.input.seconds, where)


class _Text:
    """The user's text side."""

    def __init__(self, own: Any, name: str, width: int) -> None:
        self._encode, self._name, self._width = own.encode_text, name, width

    def encode(self, texts: Sequence[str]) -> Tensor:
        try:
            embedded = self._encode(list(texts))
        except Exception as error:
            raise EcgcamError(
                f"--model {self._name}: encode_text failed ({type(error).__name__}: {one_line(error)}); --debug shows where"
            ) from error
        wanted = (len(texts), self._width)
        if not isinstance(embedded, Tensor) or embedded.shape != wanted:
            what = tuple(embedded.shape) if isinstance(embedded, Tensor) else type(embedded).__name__
            raise EcgcamError(
                f"--model {self._name}: encode_text gave {what} for {len(texts)} prompts; it must be a tensor (P, D), D as "
                f"encode_signal has it: {wanted}"
            )
        return embedded

    def has(self, text: str) -> bool:  # noqa: ARG002
        return True

    def warnings(self, text: str) -> list[str]:  # noqa: ARG002
        return []


def _call(name: str) -> Any:
    module, _, function = name.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does, so that a file in the folder is found
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise EcgcamError(f"--model {name}: cannot be imported ({error}); write package.module:function") from error
    except Exception as error:  # the user's module runs when it is imported
        raise EcgcamError(
            f"--model {name}: {module} fails when imported ({type(error).__name__}: {one_line(error)}); --debug shows where"
        ) from error
    try:
        return found()
    except Exception as error:
        raise EcgcamError(
            f"--model {name}: the function failed ({type(error).__name__}: {one_line(error)}); --debug shows where"
        ) from error


def _placed(
    encode: Callable[[Tensor], Tensor], network: nn.Module, layer: str, source: InputSpec, name: str
) -> LayerSpec:
    """Find where a layer's cells are: (B, C, T) is taken for granted, and which samples move a cell tells where it lies."""
    try:
        module = network.get_submodule(layer)
    except AttributeError as error:
        known = [path for path, _ in network.named_modules() if path]
        raise EcgcamError(f"--layer {layer}: {name} has no such module; it has {', '.join(known[:8])}") from error
    spec = place_cells(encode, module, layer, len(source.leads), source.samples)
    log.info(
        "%s: layer %s taken as (B, C, T), a cell every %g samples, the first at sample %g",
        name,
        layer,
        spec.step,
        spec.offset,
    )
    return spec


def _sha256(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        digest.update(key.encode())
        if isinstance(value, Tensor) and value.numel():
            digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
