"""Which model file is a checkpoint's? The one whose network has the checkpoint's keys and shapes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ecgcam.errors import EcgcamError
from ecgcam.models.checkpoint import misfits, read_state, told
from ecgcam.models.load import AdaptsState, build_network
from ecgcam.models.spec import ModelSpec, load_spec, model_names


@dataclass(frozen=True)
class Fit:
    """How well a checkpoint fits a model file: `share` of its keys are there, `problem` says the rest."""

    spec: ModelSpec
    share: float
    problem: str

    @property
    def whole(self) -> bool:
        """Whether the checkpoint is this model's."""
        return not self.problem


def fits(state: dict[str, Tensor], source: Path) -> list[Fit]:
    """Return how a checkpoint fits every model file that ecgcam brings, the best first. Networks are built without memory."""
    found = [fit_to(load_spec(name), state, source) for name in model_names()]
    return sorted(found, key=lambda fit: (not fit.whole, -fit.share))


def recognise(path: Path, allow_numpy_scalars: bool = False) -> ModelSpec:
    """Return the model file of a checkpoint.

    Raises
    ------
    EcgcamError
        If none fits, or more than one does.
    """
    ranked = fits(read_state(path, allow_numpy_scalars), path)
    whole = [fit.spec.name for fit in ranked if fit.whole]
    if len(whole) > 1:
        raise EcgcamError(f"{path}: fits {' and '.join(whole)}, whose inputs differ; choose one with --model")
    if not whole:
        raise EcgcamError(
            f"{path}: is no model that ecgcam knows; the nearest is {ranked[0].spec.name} ({ranked[0].problem}); "
            "`ecgcam models check` tells more, docs/own-model.md brings in any other"
        )
    return ranked[0].spec


def fit_to(spec: ModelSpec, state: dict[str, Tensor], source: Path) -> Fit:
    """Return how a checkpoint fits one model file."""
    network = build_network(spec)
    if isinstance(network, AdaptsState):
        try:
            state = network.adapt_state(dict(state), source)
        except EcgcamError as error:
            wanted = network.state_dict()
            there = sum(key in state and state[key].shape == value.shape for key, value in wanted.items())
            return Fit(spec, there / max(1, len(wanted)), str(error).removeprefix(f"{source}: "))
    problems = misfits(network, state)
    wanted = network.state_dict()
    absent = len(problems["missing"]) + len(problems["of another shape"])
    return Fit(spec, 1 - absent / max(1, len(wanted)), told(problems))
