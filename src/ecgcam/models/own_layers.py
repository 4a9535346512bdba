"""Further layers of a model: of the user's own network, those that nobody declared."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ecgcam.attribution.taps import on_call, outputs_of
from ecgcam.errors import EcgcamError
from ecgcam.models.own import place_layer
from ecgcam.models.own_network import OwnNetwork
from ecgcam.protocol.model import EcgTextModel


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
