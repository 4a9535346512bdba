"""The layers of the user's own network: those declared are checked, those requested or found are placed."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from ecgcam.attribution.cam import cancels
from ecgcam.attribution.cells import lead_cells, pulses_found, with_pulses
from ecgcam.attribution.hooks import activations_of, capture
from ecgcam.attribution.placement import Placement, contradiction, described, place_cells
from ecgcam.attribution.taps import on_call, outputs_of, run_order
from ecgcam.errors import EcgcamError, nearest
from ecgcam.models.own_network import SIGNAL, OwnNetwork
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import LayerSpec, Layout

log = logging.getLogger("ecgcam")
# Layers that are tried, from the last, where none is named.
_TRIES = 8
CANCELS = (
    "the gradients at layer {} cancel over its cells (a softmax over time follows, or a normalisation of each channel), so "
    "Grad-CAM shows rounding errors there; choose an earlier layer, or hires-cam or layer-cam"
)


def give_layers(model: EcgTextModel, signal: OwnNetwork, declared: Mapping[str, Any], layer: str | None) -> None:
    """Give the model its layers: those declared, which must agree with the measurement, and those requested, which are placed."""
    layers, name = model.spec.layers, model.name
    asked = [path.strip() for path in layer.split(",")] if layer else []
    with model.frozen():
        for path, where in declared.items():
            if not isinstance(where, LayerSpec) or not signal.has_module(path):
                raise EcgcamError(
                    f"`model` {name}: `layers` {path!r}: must name a module of the network, and give its LayerSpec"
                )
            if where.leads not in {0, len(model.input.leads)}:
                raise EcgcamError(
                    f"`model` {name}: `layers` {path!r}: leads={where.leads}, but the input has {len(model.input.leads)}; "
                    "leads is that number, or 0 where a cell looks at all of them"
                )
            wrong = _malformed(where)
            if wrong:
                raise EcgcamError(f"`model` {name}: `layers` {path!r}: {wrong} (`ecgcam docs own-model`)")
            _check(model, signal, path, where)
            layers[path] = where
        for path in asked:
            if path not in layers:
                found = place_layer(model, signal, path)
                layers[path] = found.where
                log.info("%s: layer %s is read as %s", name, path, _words(found))
                G = _gradients(model, _noise(model, 1), path)
                if G is not None and bool(cancels(G).all()):
                    model.notes += (CANCELS.format(path),)
        if not layers:
            path, where = _last_layer(model, signal)
            layers[path] = where
            log.info("%s: no `layer` is given, so %s is used, %s", name, path, described(where))
    object.__setattr__(model.spec, "layer", asked[0] if len(asked) == 1 else next(iter(layers)))


def _malformed(where: LayerSpec) -> str | None:
    """Return what no layout can be, in words."""
    if where.layout not in get_args(Layout):
        return f"layout {where.layout!r}; choose {', '.join(get_args(Layout))}"
    if not math.isfinite(where.offset) or not math.isfinite(where.step) or where.step == 0:
        return f"step={where.step} and offset={where.offset} must be finite numbers of samples, and the step not 0"
    if where.rows != 1 and (where.rows < 1 or where.folded or "L" not in where.layout):
        return f"rows={where.rows} is the size of an L axis, and the layout {where.layout} has none"
    return None


def found_places(model: EcgTextModel) -> dict[str, Placement]:
    """Return what looking found of each layer of an own model that was placed."""
    places: dict[str, Placement] = getattr(model.network, "places", {})
    return places


def _words(found: Placement) -> str:
    where = found.where
    axes = ", ".join(where.layout.replace("(BL)", "*")).replace("*", "B x L")
    ends = ((where.n_prefix_tokens, "before the first"), (where.n_suffix_tokens, "after the last"))
    tokens = "".join(f", {count} tokens {at}" for count, at in ends if count)
    return f"({axes}), a cell every {where.step:g} samples, the first at sample {where.offset:g}{tokens}"


def place_layer(model: EcgTextModel, signal: OwnNetwork, path: str) -> Placement:
    """Return where the cells of a layer of an own network lie."""
    if not signal.has_module(path):
        known = [*signal.paths()]
        near = nearest(path, known) or known[:8]
        raise EcgcamError(f"`layer` {path}: {model.name} has no such module; it has for example {', '.join(near)}")
    source = model.input
    found = place_cells(
        signal.given, signal.get_submodule(path), path, len(source.leads), source.samples, signal, model.device
    )
    signal.places[path] = found
    return found


def _check(model: EcgTextModel, signal: OwnNetwork, path: str, declared: LayerSpec) -> None:
    """Raise `EcgcamError` if a declared layout contradicts what the layer does.

    Without a clear answer it is believed, unless no pulse moves the cell most that is declared to lie there.
    """
    found = None
    if declared.concat_grid is None and not declared.n_separators:
        with suppress(EcgcamError):
            found = place_layer(model, signal, path)
    if found is None:
        _check_by_pulses(model, signal, path, declared)
        return
    with torch.no_grad(), outputs_of(signal.get_submodule(path)) as given:
        signal.given(torch.zeros(1, len(model.input.leads), model.input.samples, device=model.device))
    part = given[0] if given and isinstance(given[0], Tensor) else None
    cells = part.shape[found.where.layout.replace("(BL)", "B").index("T")] if part is not None else 2
    wrong = contradiction(declared, found, cells)
    if wrong is not None:
        raise EcgcamError(f"`layers` {path!r}: declared as {described(declared)}, but {wrong}")


def _check_by_pulses(model: EcgTextModel, signal: OwnNetwork, path: str, declared: LayerSpec) -> None:
    """Raise `EcgcamError` if each of three pulses moves another cell most than the one that is declared to lie there."""
    if isinstance(signal.get_submodule(path), torch.jit.ScriptModule):
        return  # it never reports what it returns
    source = model.input
    x = torch.randn(len(source.leads), source.samples, generator=torch.Generator().manual_seed(0)).to(model.device)
    model.spec.layers[path] = declared
    try:
        count = lead_cells(activations_of(model, x[None], path), declared).shape[-1]
        signals, cells = with_pulses(x, declared, count)
        A = activations_of(model, signals, path)
    except EcgcamError as error:
        why = str(error).partition(": ")[2]
        raise EcgcamError(f"`layers` {path!r}: declared as {described(declared)}, but {why}") from error
    if not pulses_found((A[:-1] - A[-1:]).abs().sum(dim=1), declared, cells):
        raise EcgcamError(
            f"`layers` {path!r}: declared as {described(declared)}, but pulses at the times of three cells move others most; "
            "check step, offset and the order of the leads"
        )


def _last_layer(model: EcgTextModel, signal: OwnNetwork) -> tuple[str, LayerSpec]:
    """Return the last layer whose cells can be placed and move the output; the signal itself where there is none."""
    x = _noise(model, 2)
    tries = 0
    for path in reversed(run_order(signal.given, signal.paths(), x)):
        if tries == _TRIES:
            break
        try:
            found = place_layer(model, signal, path)
        except EcgcamError:
            continue
        tries += 1
        model.spec.layers[path] = found.where
        if _moves_output(model, x, path):
            return path, found.where
        del model.spec.layers[path]
    log.warning("%s: no layer could be located, so the signal itself is the layer", model.name)
    return SIGNAL, LayerSpec("BCT", 1.0, 0.0)


def _noise(model: EcgTextModel, count: int) -> Tensor:
    size = (count, len(model.input.leads), model.input.samples)
    return torch.randn(size, generator=torch.Generator().manual_seed(0)).to(model.device)


def _moves_output(model: EcgTextModel, x: Tensor, path: str) -> bool:
    """Whether a gradient of the output reaches a layer's cells, and not one that cancels over them."""
    G = _gradients(model, x, path)
    return G is not None and not bool(cancels(G).all())


def _gradients(model: EcgTextModel, x: Tensor, path: str) -> Tensor | None:
    """Return the gradients (N, C, K) of the output at a layer; None if there are none."""
    try:
        return capture(model, x, model.encode_signal(x[:1]).detach().sign(), path).reduced[0]
    except EcgcamError:
        return None


def declare_layers(model: EcgTextModel, paths: str) -> None:
    """Place layers of an own network, separated by commas, that it has not declared; other models keep what their file declares.

    Raises
    ------
    EcgcamError
        If there is no such module, or its cells cannot be placed.
    """
    if not isinstance(model.network, OwnNetwork):
        return
    for path in (one.strip() for one in paths.split(",")):
        if path and path not in model.spec.layers:
            with model.frozen():
                model.spec.layers[path] = place_layer(model, model.network, path).where


def spread_layers(model: EcgTextModel, count: int) -> list[str]:
    """Return at most `count` layers over the depth of a model, the target layer first.

    Those of an own network that can be placed are declared from then on.
    """
    target = model.spec.layer
    declared = [path for path in model.spec.layers if path != target]
    if isinstance(model.network, OwnNetwork):
        for path in _spread(_outputs_in_order(model, model.network), count):
            try:
                declare_layers(model, path)
            except EcgcamError:
                continue
            if path != target and path not in declared:
                declared.append(path)
    return [target, *_spread(declared, count - 1)]


def _spread(paths: list[str], count: int) -> list[str]:
    """Return at most `count` of the paths, evenly over them, the last included."""
    if not paths or count < 1:
        return []
    places = np.linspace(len(paths) - 1, 0, count).round().astype(int)
    return [paths[place] for place in sorted(set(places.tolist()))]


def _outputs_in_order(model: EcgTextModel, signal: OwnNetwork) -> list[str]:
    """Return the modules that give something along time, in the order of the pass; of those that give the same, the last."""
    order: list[str] = []
    x = torch.zeros(2, len(model.input.leads), model.input.samples, device=model.device)
    with ExitStack() as stack:
        outputs = {}
        for path, module in signal.paths().items():
            outputs[path] = stack.enter_context(outputs_of(module))
            stack.enter_context(on_call(module, partial(order.append, path)))
        with model.frozen(), torch.no_grad():
            signal.given(x)
        by_output = {}
        for path in order:
            given = outputs[path]
            if len(given) == 1 and isinstance(given[0], Tensor) and given[0].ndim >= 3:
                by_output[id(given[0])] = path  # the tensors are held, so that no two have one id
    return list(by_output.values())
