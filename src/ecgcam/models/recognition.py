"""Which model file is a checkpoint's? The one whose network has the checkpoint's keys and shapes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ecgcam.errors import EcgcamError
from ecgcam.models.checkpoint import format_key_errors, read_state
from ecgcam.models.hub import local_checkpoint
from ecgcam.models.load import FixesWindow, matched
from ecgcam.models.model_file import load_spec, model_names
from ecgcam.protocol.spec import ModelSpec


@dataclass(frozen=True)
class Fit:
    """How well a checkpoint fits a model file: `share` of its keys are there, `problem` describes the misfits."""

    spec: ModelSpec
    share: float
    problem: str

    @property
    def whole(self) -> bool:
        """Whether the checkpoint is this model's."""
        return not self.problem


def fits(state: dict[str, Tensor], source: Path) -> list[Fit]:
    """Return how a checkpoint fits every bundled model file, the best first. Networks are built without memory."""
    found = [fit_to(load_spec(name), state, source) for name in model_names()]
    return sorted(found, key=lambda fit: (not fit.whole, -fit.share))


def recognise(path: str | Path, allow_numpy_scalars: bool = False, offline: bool = False) -> ModelSpec:
    """Return the model file of a checkpoint: a file, or ``hf://OWNER/REPO[/FILE][@REVISION]``.

    Raises
    ------
    EcgcamError
        If none fits, or more than one does.
    """
    path = local_checkpoint(path, offline)
    ranked = fits(read_state(path, allow_numpy_scalars), path)
    whole = [fit.spec.name for fit in ranked if fit.whole]
    if len(whole) > 1:
        raise EcgcamError(f"{path}: fits {' and '.join(whole)}, whose inputs differ; choose one with `model`")
    if not whole:
        raise EcgcamError(
            f"{path}: fits none of the bundled model files; the nearest is {ranked[0].spec.name} ({ranked[0].problem}); "
            "`ecgcam models check` lists the misfits, `ecgcam docs own-model` explains how to use any other network"
        )
    return ranked[0].spec


def fit_to(spec: ModelSpec, state: dict[str, Tensor], source: Path) -> Fit:
    """Return how a checkpoint fits one model file."""
    found = matched(spec, state, source)
    network, problems = found.network, found.problems
    wanted = network.state_dict()
    if found.error is not None:
        there = sum(key in state and state[key].shape == value.shape for key, value in wanted.items())
        return Fit(spec, there / max(1, len(wanted)), str(found.error).removeprefix(f"{source}: "))
    absent = len(problems["missing"]) + len(problems["of another shape"])
    said = format_key_errors(problems)
    if not said and isinstance(network, FixesWindow):
        said = network.window_problem(spec.input.samples)
    return Fit(spec, 1 - absent / max(1, len(wanted)), said)
