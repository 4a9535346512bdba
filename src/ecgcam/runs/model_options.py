"""Which model a run loads, and what identifies it. No torch before the model is loaded, where its file can be read without."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecgcam.errors import EcgcamError, check_choice
from ecgcam.files import file_sha256
from ecgcam.models.model_file import load_spec, text_side_identity, weights_file
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.spec import PRECISIONS, ModelSpec, check_device
from ecgcam.runs.calibration import Calibration, find_calibration, note_unverified, note_use
from ecgcam.runs.spec import ModelRef

if TYPE_CHECKING:
    from ecgcam.protocol.model import EcgTextModel

DEFAULT = "mini"
log = logging.getLogger("ecgcam")


@dataclass(frozen=True)
class ModelOptions:
    """The parameters of `ecgcam.load_model`, and `layer` for a model of the user's own.

    A model is loaded once, when first needed; before, its model file is read without torch, unless only the checkpoint or the
    user's own code can determine which it is.
    """

    model: str | None = None
    checkpoint: Path | None = None
    embeddings: Path | None = None
    text_model: Path | None = None
    device: str = "auto"
    offline: bool = False
    allow_numpy_scalars: bool = False
    layer: str | None = None
    targets: bool = False
    precision: str = "fp32"

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was loaded: another process loads it again."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def check(self) -> None:
        """Raise `EcgcamError` if a parameter is wrong whatever the model, before torch is imported."""
        check_device(self.device)
        check_choice("precision", self.precision, PRECISIONS)
        for what in ("checkpoint", "embeddings"):
            path = getattr(self, what)
            of_the_hub = str(path).startswith("hf:/")
            # os.path never raises, unlike pathlib.
            if path is not None and not of_the_hub and not os.path.exists(path):  # noqa: PTH110
                raise EcgcamError(f"{path}: no such file; check the path given with `{what}`")
        if self.own and self.precision != "fp32":
            raise EcgcamError(
                f"`precision` {self.precision}: `model` {self.model} is your own code; choose the precision there"
            )
        if self.text_model is not None and not self.text_model.is_dir():
            raise EcgcamError(
                f"{self.text_model}: no such folder; `text_model` takes one with a tower's configuration and tokenizer"
            )
        if self.targets and self.embeddings is not None:
            raise EcgcamError(
                "`targets` and `embeddings`: a target is an output of the model, a table holds texts; give one of them"
            )

    @property
    def own(self) -> bool:
        """Whether the model is the user's own code."""
        name = self.model or ""
        module, colon, function = name.partition(":")
        return bool(colon) and function.isidentifier() and all(part.isidentifier() for part in module.split("."))

    @cached_property
    def spec(self) -> ModelSpec:
        """The model file, or what the user's own model states of itself."""
        if self.own:
            return self.loaded.spec
        if self.model is None and self.checkpoint is not None:
            from ecgcam.models.recognition import recognise

            found = recognise(self.checkpoint, self.allow_numpy_scalars, self.offline)
            log.info("%s: is a checkpoint of %s", self.checkpoint, found.name)
            return found
        return load_spec(self.model or DEFAULT)

    @cached_property
    def ref(self) -> ModelRef:
        """What identifies the model in a result: the calibration in use is part of it."""
        found = self.calibration
        return replace(self.identity, calibration=None if found is None else found.sha256)

    @cached_property
    def calibration(self) -> Calibration | None:
        """What was found out of these weights by `ecgcam models calibrate`; None if nothing was."""
        return find_calibration(self.identity.weights, self.weights_path)

    @property
    def weights_path(self) -> Path | None:
        """The file of the weights, where the user gave it."""
        return self.checkpoint if self.checkpoint is not None and self.checkpoint.is_file() else None

    @property
    def bundled(self) -> bool:
        """Whether it is a model with the weights that ecgcam brings, for which the defaults were chosen."""
        return not self.own and self.checkpoint is None and bool(self.spec.weights)

    def calibrated(self, settings: Settings, explicit: Collection[str]) -> Settings:
        """Return settings with the calibration's choice in place of what the caller left open, and note it.

        `explicit`: names of the settings that the caller chose.
        """
        found = self.calibration
        if found is None:
            if not self.bundled and "method" not in explicit:
                note_unverified(self.identity.name, self.identity.weights)
            return settings
        note_use(found, explicit)
        chosen = found.settings(settings, explicit)
        if self.own and chosen.layer is not None:
            from ecgcam.models.own_layers import declare_layers

            declare_layers(self.loaded, chosen.layer)
        return chosen

    @cached_property
    def identity(self) -> ModelRef:
        """What identifies the model, without its calibration."""
        if self.own:
            return ModelRef(self.loaded.name, self.loaded.checkpoint_sha256, targets=self.targets)
        weights = weights_file(self.spec, self.checkpoint)
        if weights.is_file() and weights.suffix != ".json":
            sha256 = file_sha256(weights)
        else:  # of the hub, or in several files
            from ecgcam.models.hub import local_checkpoint, sha256_of

            sha256 = sha256_of(local_checkpoint(weights, self.offline))
        text = None if self.targets else text_side_identity(self.spec, self.embeddings, self.text_model)
        return ModelRef(self.spec.name, sha256, self.precision, text, self.targets)

    @property
    def arguments(self) -> dict[str, Any]:
        """What `ecgcam.load_model` is called with, in this process or another."""
        return {
            "name_or_file": self.model if self.model is not None else self.spec.name, "checkpoint": self.checkpoint,
            "text_model": self.text_model, "device": self.device, "embeddings": self.embeddings, "targets": self.targets,
            "offline": self.offline, "allow_numpy_scalars": self.allow_numpy_scalars,
            "precision": self.precision,
        }  # fmt: skip

    @cached_property
    def loaded(self) -> EcgTextModel:
        """The model."""
        import ecgcam.models.load

        if self.own:
            from ecgcam.models.own import load_own

            device = ecgcam.models.load.choose_device(self.device)
            return load_own(
                str(self.model), device, self.layer, self.targets, checkpoint=self.checkpoint,
                text_model=self.text_model, allow_numpy_scalars=self.allow_numpy_scalars,
            )  # fmt: skip
        return ecgcam.models.load.load_model(**self.arguments)


@dataclass(frozen=True)
class LoadedModel(ModelOptions):
    """A model that is loaded already: its process alone has it."""

    given: EcgTextModel | None = None

    @property
    def own(self) -> bool:
        """Whether other processes cannot load it."""
        return True

    @cached_property
    def loaded(self) -> EcgTextModel:
        """The model."""
        if self.given is None:
            raise EcgcamError("`model`: none is given; name one, or give a `checkpoint`")
        return self.given

    @property
    def bundled(self) -> bool:
        """Whether the defaults were chosen for it."""
        return bool(self.loaded.spec.weights) and self.loaded.spec.family != "own"

    @cached_property
    def identity(self) -> ModelRef:
        """What identifies the model, without its calibration."""
        model = self.loaded
        return ModelRef(model.name, model.checkpoint_sha256, model.precision, model.text_identity, self.targets)
