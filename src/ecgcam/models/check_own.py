"""What ecgcam finds out about a user's own network: facts for ``ecgcam models check --model package.module:function``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ecgcam.attribution.hooks import capture
from ecgcam.attribution.methods import METHODS
from ecgcam.attribution.placement import Placement, described, place_cells
from ecgcam.attribution.problem import Problem
from ecgcam.attribution.registry import Method
from ecgcam.attribution.taps import run_order
from ecgcam.errors import EcgcamError
from ecgcam.models.check import seen, simulated
from ecgcam.models.own import BATCH_DEPENDENT, RANDOM, load_own
from ecgcam.models.own_layers import found_places
from ecgcam.models.own_network import JointNetwork, OwnNetwork
from ecgcam.models.text.targets import TargetEncoder
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import LayerSpec

Facts = dict[str, Any]
PROMPT = "atrial fibrillation"
# Options that keep the trial of a method short.
_SHORT = {
    "draws": 1, "steps": 2, "samples": 24, "tile_ms": 5000.0, "window_ms": 5000.0, "stride_ms": 2500.0, "permutations": 4,
    "factors": 2,
}  # fmt: skip
# A method that has run so many signals without an error runs; the rest of its trial is left out.
_ENOUGH = 256
# Layers that are tried, from the last, and those of them that are listed with a place.
_TRIES, _LAYERS = 96, 24


class _EnoughSignals(Exception):  # noqa: N818 - ends a trial, and is not an error
    """The trial of a method has run the network often enough."""


def inspect_own_code(
    name: str, checkpoint: str | Path | None = None, layer: str | None = None, allow_numpy_scalars: bool = False
) -> Facts:
    """Call ``package.module:function`` and return what is found out about the network that it returns; see `inspect_own`.

    A network with neither ``encode_text`` nor ``score_texts`` is taken for a classifier.
    """
    model = load_own(name, "cpu", layer, None, checkpoint=checkpoint, allow_numpy_scalars=allow_numpy_scalars)
    return inspect_own(model)


def inspect_own(model: EcgTextModel, methods: Iterable[str] = tuple(METHODS)) -> Facts:
    """Return what is found out about a user's own network; `methods` are those that are tried.

    Returns
    -------
    dict
        `model`, `input`, `prompts`: its name, its input, and how prompts are given; `output`: shape of what one signal gives;
        `dtype`: of the weights and of the signals; `random`, `batch_dependent`: whether the same signal gives other outputs
        the next time, or in another batch (null where it is random); `notes`: the same in words;
        `layer`: the target layer; `layers`: for each layer of the network, from the last, what `_layer_facts` returns;
        `layers_left_out`: how many earlier ones were not looked at; `methods`: for each, "runs" or why not.
        Methods run on a simulated recording, at the target layer.
    """
    network = model.network
    if not isinstance(network, OwnNetwork):
        raise EcgcamError(f"`model` {model.name}: is not a network of your own; give its checkpoint instead")
    x = seen(simulated(), model.input)
    with model.frozen():
        order = run_order(network.given, network.paths(), x[None].to(model.device))
        chosen = list(model.spec.layers)
        others = [path for path in reversed(order) if path not in chosen]
        output = network(x[None].to(model.device)).detach()
        asked = model.encode_text([PROMPT]) if isinstance(network, JointNetwork) else _every_output(output)
        layers: dict[str, Facts] = {}
        for path in [*chosen, *others[:_TRIES]]:
            if sum(facts["layout"] is not None for facts in layers.values()) < _LAYERS:
                layers[path] = _layer_facts(model, network, path, x, asked)
    return {
        "model": model.name,
        "input": f"{model.input.fs:g} Hz, {model.input.seconds:g} s, leads {' '.join(model.input.leads)}: "
        f"{model.input.in_words}",
        "prompts": _prompts(model),
        "output": [1] if isinstance(network, JointNetwork) else list(output.shape[1:]),
        "dtype": {
            "weights": sorted({str(weight.dtype).removeprefix("torch.") for weight in network.parameters()}),
            "signals": str(network.dtype).removeprefix("torch."),
        },
        "random": RANDOM in model.notes,
        "batch_dependent": None if RANDOM in model.notes else BATCH_DEPENDENT in model.notes,
        "notes": list(model.notes),
        "layer": model.spec.layer,
        "layers": layers,
        "layers_left_out": len(chosen) + len(others) - len(layers),
        "methods": {name: _method_runs(model, name, x) for name in methods},
    }


def _prompts(model: EcgTextModel) -> str:
    """Return in words how prompts are given."""
    if isinstance(model.network, JointNetwork):
        once = "; encode_once runs once for all prompts" if model.network.encodes_once else ""
        return f"--text, scored by score_texts{once}"
    if not isinstance(model.text, TargetEncoder):
        return f"--text, by encode_text; score: {model.spec.similarity}"
    text = model.text
    labels = f" or {', '.join(model.spec.labels)}" if model.spec.labels else ""
    along = f", each with {text.steps} values along time" if text.steps > 1 else ""
    return f"--target 0 to {text.width - 1}{labels}{along}"


def _layer_facts(model: EcgTextModel, network: OwnNetwork, path: str, x: Tensor, asked: Tensor) -> Facts:
    """Return what is known of one layer: `asked`, (1, D), is the score whose gradient must reach it.

    Returns
    -------
    dict
        `layout`: the declaration that it amounts to, null where its cells cannot be placed; `step_ms`, `offset_ms`;
        `found`: ``exact`` where a cell looks at a stretch of the window alone, statistics of normalisations held constant;
        ``inherited`` where that is true of the earlier cell from which it came, whose place it takes; ``peak`` where every
        sample moves every cell; ``declared`` where the declaration does not contradict what is found, ``declared only``
        where nothing was found;
        `width`: samples that a cell looks at; `deviation`: samples by which a probed cell lies off the line, at most;
        `gradients`: whether a gradient of the score reaches its cells; `problem`: why it cannot be the target layer, or null.
    """
    where, placed = model.spec.layers.get(path), found_places(model).get(path)
    facts: Facts = {"layout": None, "gradients": False, "problem": None}
    added = where is None
    try:
        if where is None:
            source = model.input
            placed = place_cells(
                network.given,
                network.get_submodule(path),
                path,
                len(source.leads),
                source.samples,
                network,
                model.device,
            )
            where = model.spec.layers[path] = placed.where
        facts |= _place_facts(where, placed, model.input.fs)
        capture(model, x[None].to(model.device), asked, path)
        facts["gradients"] = True
    except EcgcamError as error:
        facts["problem"] = str(error).removeprefix(f"`layer` {path}: ")
    finally:
        if added:
            model.spec.layers.pop(path, None)
    return facts


def _place_facts(where: LayerSpec, found: Placement | None, fs: float) -> Facts:
    facts: Facts = {
        "layout": described(where),
        "step_ms": where.step / fs * 1000,
        "offset_ms": where.offset / fs * 1000,
        "found": "declared only",
    }
    if found is not None:
        kind = "inherited" if found.inherited else "exact" if found.local else "peak"
        facts |= {
            "found": kind if found.where == where else "declared",
            "width": round(found.width, 1),
            "deviation": round(found.deviation, 1),
        }
    return facts


def _every_output(output: Tensor) -> Tensor:
    """Return a direction (1, D) in which every number of an output (1, D) has a part."""
    return torch.linspace(-1, 1, output.shape[1] + 1, device=output.device)[None, 1:]


def _method_runs(model: EcgTextModel, name: str, x: Tensor) -> str:
    """Return "runs", or why a method does not, on two leads of a signal (L, T)."""
    method, rows = METHODS[name], list(range(min(2, len(x))))
    x = x.to(model.device)
    fill = x.median(dim=1, keepdim=True).values.expand_as(x)
    text = model.encode_text(["0" if isinstance(model.text, TargetEncoder) else PROMPT])[0]
    alone = fill.repeat(len(rows), 1, 1)
    alone[torch.arange(len(rows)), rows] = x[rows]
    problem = Problem(
        model, text, x, fill, torch.ones_like(x, dtype=torch.bool), torch.ones_like(x[:, :1]), rows, model.input.fs,
        parts=lambda _by: np.zeros(x.shape[1], np.int64), on_progress=_stop_early,
    )  # fmt: skip
    try:
        _attribute(method, problem, alone)
    except EcgcamError as error:
        return str(error)
    except _EnoughSignals:
        pass
    return "runs"


def _attribute(method: Method, problem: Problem, alone: Tensor) -> None:
    options = {key: value for key, value in _SHORT.items() if key in {option.name for option in method.options}}
    bound = method.bind(options)
    if method.family == "cam":
        capture(problem.model, alone, problem.text[None], None, bound, method.detach_norm)
    elif method.family == "signal":
        bound(problem)
    else:
        bound(problem, alone)


def _stop_early(done: int, _of: int) -> None:
    if done >= _ENOUGH:
        raise _EnoughSignals


def report_lines(facts: Facts) -> list[str]:
    """Return what `inspect_own` found as lines of text; methods that share a reason share a line."""
    dtype, output = facts["dtype"], facts["output"]
    shape = (
        "one score for each prompt" if facts["prompts"].startswith("--text, scored") else " x ".join(map(str, output))
    )
    lines = [
        f"model: {facts['model']}",
        f"input: {facts['input']}",
        f"prompts: {facts['prompts']}",
        f"output of a signal: {shape}",
        f"numbers: weights {', '.join(dtype['weights']) or 'none'}; signals {dtype['signals']}",
        f"random: {_yes(facts['random'])}",
        f"depends on the batch: {_yes(facts['batch_dependent'])}",
        *[f"note: {note}" for note in facts["notes"]],
        f"target layer: {facts['layer']}",
        "layers, from the last:",
        *[f"  {path}: {_layer_line(layer)}" for path, layer in facts["layers"].items() if layer["layout"] is not None],
    ]
    unplaced: dict[str, list[str]] = {}
    for path, layer in facts["layers"].items():
        if layer["layout"] is None:
            unplaced.setdefault(str(layer["problem"]).partition("; declare")[0], []).append(path)
    lines += [f"  cannot be placed: {', '.join(paths)}: {why}" for why, paths in unplaced.items()]
    if facts["layers_left_out"]:
        lines.append(f"  {facts['layers_left_out']} earlier layers were not looked at")
    methods = facts["methods"]
    lines.append(f"methods that run: {', '.join(name for name, result in methods.items() if result == 'runs')}")
    refused: dict[str, list[str]] = {}
    for name, result in methods.items():
        if result != "runs":
            refused.setdefault(result.removeprefix(f"`method` {name}: "), []).append(name)
    if refused:
        lines += ["methods that do not run:", *[f"  {', '.join(names)}: {why}" for why, names in refused.items()]]
    return lines


def _yes(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "unknown, since it is random"}[value]


def _layer_line(layer: Facts) -> str:
    about = {
        "exact": "exact: a cell looks at {width:g} samples",
        "inherited": "exact for the earlier cell from which each came, which looks at {width:g} samples",
        "peak": "at the peak: every sample moves every cell; probed cells lie up to {deviation:g} samples off a line",
        "declared": "as declared, which agrees with what was found",
        "declared only": "as declared; nothing was found to compare with",
    }[layer["found"]].format(**layer)
    gradients = "gradients reach it" if layer["gradients"] else f"cannot be the target layer: {layer['problem']}"
    return f"{layer['layout']}, a cell every {layer['step_ms']:g} ms, {about}; {gradients}"
