"""Which model, and what it is asked in place of a text: the flags that `explain`, `score` and `evaluate` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecgcam.cli import options as shared
from ecgcam.errors import EcgcamError
from ecgcam.models.spec import PRECISIONS, ModelSpec, load_spec

if TYPE_CHECKING:
    from ecgcam.batch.reading import Reading
    from ecgcam.models.base import EcgTextModel

DEFAULT = "mini"


@dataclass(frozen=True)
class Chosen:
    """The flags --model, --checkpoint, --embeddings, --text-model, --device, --offline, --allow-numpy-scalars, --layer.

    `targets` says that prompts are outputs of a classifier. A model is loaded once, when first needed; before, its model file
    is read without torch, unless only the checkpoint or the user's own code can say which it is.
    """

    model: str | None
    checkpoint: Path | None = None
    embeddings: Path | None = None
    text_model: Path | None = None
    device: str = "auto"
    offline: bool = False
    allow_numpy_scalars: bool = False
    layer: str | None = None
    targets: bool = False
    precision: str = "fp32"

    def check(self) -> None:
        """Raise `EcgcamError` if a flag is wrong whatever the model, before torch is imported."""
        shared.check_model_flags(self.device, self.checkpoint, self.embeddings)
        shared.check_choice("--precision", self.precision, PRECISIONS)
        if self.own and self.precision != "fp32":
            raise EcgcamError(
                f"--precision {self.precision}: --model {self.model} is your own code, which chooses its own"
            )
        if self.text_model is not None and not self.text_model.is_dir():
            raise EcgcamError(
                f"{self.text_model}: no such folder; --text-model takes one with a tower's configuration and tokenizer"
            )
        if self.targets and self.embeddings is not None:
            raise EcgcamError(
                "--target and --embeddings: a target is an output of the model, a table holds texts; give one of them"
            )

    @property
    def own(self) -> bool:
        """Whether the model is the user's own code."""
        name = self.model or ""
        module, colon, function = name.partition(":")
        return bool(colon) and function.isidentifier() and all(part.isidentifier() for part in module.split("."))

    @cached_property
    def spec(self) -> ModelSpec:
        """The model file, or what the user's own model says of itself."""
        if self.own:
            return self.loaded.spec
        if self.model is None and self.checkpoint is not None:
            from ecgcam.models.recognition import recognise

            found = recognise(self.checkpoint, self.allow_numpy_scalars)
            shared.note(f"{self.checkpoint}: is a checkpoint of {found.name}")
            return found
        return load_spec(self.model or DEFAULT)

    @property
    def arguments(self) -> dict[str, Any]:
        """What `ecgcam.load_model` is called with, in this process or another."""
        return {
            "name_or_file": self.model if self.model is not None else self.spec.name, "checkpoint": self.checkpoint,
            "text_model": self.text_model, "device": self.device, "embeddings": self.embeddings, "targets": self.targets,
            "offline": self.offline, "allow_numpy_scalars": self.allow_numpy_scalars,
            "precision": self.precision,
        }  # fmt: skip

    def check_elsewhere(self, alike: Mapping[str, Path]) -> None:
        """Raise `EcgcamError` if another process could not load the same model and prompts by name."""
        if self.own:
            raise EcgcamError(f"--engine ray: --model {self.model} is code that workers lack; use --engine local")
        if alike:
            raise EcgcamError("--engine ray: --like compares with a recording of this machine; use --engine local")

    @cached_property
    def loaded(self) -> EcgTextModel:
        """The model."""
        if self.own:
            from ecgcam.models.load import choose_device
            from ecgcam.own import load_own

            return load_own(str(self.model), choose_device(self.device), self.layer, self.targets)
        from ecgcam.models.load import load_model

        return load_model(**self.arguments)


def like_prompts(recordings: Sequence[str]) -> dict[str, Path]:
    """Return a prompt for each recording of --like, and its path."""
    from ecgcam.records.readers import record_name

    return {f"like {record_name(Path(name))}": Path(name) for name in recordings}


def compare_with(model: EcgTextModel, prompts: dict[str, Path], reading: Reading) -> None:
    """Let a model's prompts be recordings: their embeddings stand in for a text's."""
    import torch

    from ecgcam.assembly import model_input
    from ecgcam.batch.worklist import Item
    from ecgcam.models.text.targets import LikenessEncoder

    embedded = {}
    for prompt, path in prompts.items():
        window = reading.window(reading.record(Item(path, path.stem), model.input), model.input, reading.start)
        with torch.no_grad():
            x = torch.from_numpy(model_input(window, model.input)[0])[None].to(model.device)
            embedded[prompt] = model.place(model.encode_signal(x)[0]).cpu()
    model.text = LikenessEncoder(embedded)


def best_prompts(model: EcgTextModel, path: Path, prompts: list[str], count: int, reading: Reading) -> list[str]:
    """Return the prompts that score best on a recording, best first."""
    from ecgcam.batch.worklist import Item
    from ecgcam.pipeline import score_windows

    window = reading.window(reading.record(Item(path, path.stem), model.input), model.input, reading.start)
    ((_, scores),) = score_windows([(None, window)], prompts, model)
    order = sorted(range(len(prompts)), key=lambda i: -scores[i])
    return [prompts[i] for i in order[:count]]


def one_kind(texts: Sequence[str], targets: Sequence[str] | None, likes: Sequence[str] | None, top: int | None) -> None:
    """Raise `EcgcamError` unless prompts are all texts, all targets or all recordings."""
    given = [flag for flag, values in (("--text", texts), ("--target", targets), ("--like", likes)) if values]
    if len(given) > 1:
        raise EcgcamError(f"{' and '.join(given)}: each is a question of its own kind; ask them in calls of their own")
    if top is not None and (targets or likes):
        raise EcgcamError(f"--top {top}: is of texts; leave {given[0]} out")


def the_one(records: Sequence[str]) -> Path:
    """Return the only recording, for flags that choose by it."""
    from ecgcam.batch.worklist import find_recordings

    items = [] if "-" in records else find_recordings(records)
    if len(items) != 1:
        raise EcgcamError("--top: chooses by one recording; name one, or rank the prompts of many by `ecgcam score`")
    return items[0].path
