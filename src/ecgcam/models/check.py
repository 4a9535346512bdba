"""What a checkpoint is, and what the usual mistakes of preprocessing do to it: facts for `ecgcam models check`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ecgcam.attribution.hooks import capture
from ecgcam.errors import EcgcamError
from ecgcam.models.checkpoint import read_state
from ecgcam.models.hub import local_checkpoint
from ecgcam.models.load import BringsText, ProjectsText, load_model, matched
from ecgcam.models.model_file import load_spec
from ecgcam.models.recognition import Fit, fit_to, fits
from ecgcam.models.text.trial import try_text_side
from ecgcam.protocol.model import AnswersPrompts, EcgTextModel
from ecgcam.protocol.preprocessing import scale_window
from ecgcam.protocol.spec import InputSpec, windows_of
from ecgcam.records import Record
from ecgcam.records.simulator import simulate

SEED = 1
# How far a mistake moves the embedding.
MEASURES = {"cosine": "1 - cosine", "dot": "change / length"}


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes
    ----------
    tensors, parameters : int
        How many the file holds.
    fits : list of Fit
        Every model file, the best first.
    facts : dict
        Of the model file that fits: its input, its prompts, values that are missing, shape of the embedding of a
        simulated recording, whether gradients reach the target layer, and how far each usual mistake moves the embedding
        (1 - cosine). Empty where none fits.
    """

    tensors: int
    parameters: int
    fits: list[Fit]
    facts: dict[str, Any]


def inspect_checkpoint(path: Path, model: str | None, allow_numpy_scalars: bool = False) -> Inspection:
    """Look at a checkpoint: with `model`, as that model file's; otherwise as the one that fits.

    Raises
    ------
    EcgcamError
        If it cannot be read.
    """
    path = local_checkpoint(path)
    state = read_state(path, allow_numpy_scalars)
    # A copy of a model file with the user's values usually keeps its name, so the file decides, not the name.
    ranked = fits(state, path) if model is None else [fit_to(load_spec(model), state, path)]
    count = sum(value.numel() for value in state.values())
    whole = [fit for fit in ranked if fit.whole]
    facts = {}
    if len(whole) == 1:
        loaded = load_model(model or whole[0].spec.name, path, device="cpu", allow_numpy_scalars=allow_numpy_scalars)
        if _embed(loaded, torch.zeros(len(loaded.input.leads), loaded.input.samples)).numel() == 1:
            loaded.spec = replace(loaded.spec, similarity="dot")  # the cosine of two single numbers is a sign
        facts = _described(loaded, matched(whole[0].spec, state, path).whole)
        try:
            facts |= _facts(loaded)
        except EcgcamError as error:  # values that the user has to supply
            facts["missing"] = str(error)
    return Inspection(len(state), count, ranked, facts)


def _described(model: EcgTextModel, state: dict[str, Tensor]) -> dict[str, Any]:
    """Return the input of the model, and how prompts are given."""
    source = model.input
    return {
        "input": f"{source.fs:g} Hz, {source.seconds:g} s, leads {' '.join(source.leads)}: {source.in_words}",
        "prompts": _prompts(model, state),
    }


def _prompts(model: EcgTextModel, state: dict[str, Tensor]) -> str:
    """Return the options that give prompts, and what they need."""
    network, spec = model.network, model.spec
    if isinstance(network, BringsText):
        return "--text, by the text tower in the checkpoint"
    if isinstance(network, ProjectsText) and spec.text_model:
        try:
            if network.text_width:
                network.project_text(torch.zeros(1, network.text_width))
        except EcgcamError as error:
            return str(error)
        return try_text_side(spec, network.project_text, state)
    width = _embed(model, torch.zeros(len(model.input.leads), model.input.samples)).shape[0]
    return (
        f"no text tower here: --like RECORD, --target 0 to {width - 1} where its outputs are labels, or --embeddings with "
        f"{width} numbers a prompt"
    )


def _facts(model: EcgTextModel) -> dict[str, Any]:
    record = simulated()
    x = seen(record, model.input)
    network = model.network
    if isinstance(network, AnswersPrompts) and isinstance(network, ProjectsText):
        # A head that scores prompts runs only once there is a prompt; any prompt will do.
        network.project_text(torch.randn(1, network.text_width, generator=torch.Generator().manual_seed(SEED)))
    embedded = _embed(model, x)
    mistakes: dict[str, Tensor] = {
        "aVL and aVF exchanged": seen(_swapped(record), model.input),
        "leads in reverse order": x.flip(0),
        "microvolts taken for millivolts": seen(replace(record, signal=record.signal * 1000), model.input),
        "half the rate taken for the rate": seen(replace(record, fs=record.fs * 2), model.input),
    }
    if model.input.normalisation != "none":
        mistakes["no normalisation"] = seen(record, replace(model.input, normalisation="none"))
    return {
        "embedding": list(embedded.shape),
        "finite": bool(embedded.isfinite().all()),
        "gradients reach the target layer": _reached(model, x),
        "measure": MEASURES[model.spec.similarity],
        "mistakes": {name: _moved(model, embedded, _embed(model, wrong)) for name, wrong in mistakes.items()},
    }


def simulated() -> Record:
    """Return the recording on which models are tried: 10 s of sinus rhythm, twelve leads."""
    known = simulate("normal", SEED)
    return Record("simulated", known.signal, known.fs, known.leads)


def seen(record: Record, spec: InputSpec) -> Tensor:
    """Return the first window of a recording as a model gets it, (L, T), in model space."""
    window = next(windows_of(record, spec))
    return torch.from_numpy(scale_window(window, spec)[0].astype(np.float32))


def _swapped(record: Record) -> Record:
    rows = {lead: row for row, lead in enumerate(record.leads)}
    order = list(range(len(record.leads)))
    order[rows["aVL"]], order[rows["aVF"]] = rows["aVF"], rows["aVL"]
    return replace(record, signal=record.signal[order])


def _embed(model: EcgTextModel, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model.encode_signal(x[None])[0]


def _moved(model: EcgTextModel, one: Tensor, other: Tensor) -> float:
    """How far apart two embeddings are: 1 - cosine where the score is one, else the change over the length of the first."""
    one, other = model.comparable_embedding(one), model.comparable_embedding(other)
    if model.spec.similarity == "cosine":
        return max(0.0, round(float(1 - torch.nn.functional.cosine_similarity(one, other, dim=0)), 6))
    return round(float((one - other).norm() / one.norm().clamp(min=1e-12)), 6)


def _reached(model: EcgTextModel, x: Tensor) -> str:
    """Whether a gradient of the embedding arrives at the target layer: "yes", or why not."""
    direction = torch.linspace(-1, 1, _embed(model, x).shape[0])[None]
    try:
        capture(model, x[None], direction)
    except EcgcamError as error:
        return f"no: {error}"
    return "yes"
