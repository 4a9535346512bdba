"""Prompts that are chosen by a recording, or are recordings themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ecgcam.errors import EcgcamError
from ecgcam.records.readers import record_name
from ecgcam.runs.reading import Reading
from ecgcam.runs.worklist import Item

if TYPE_CHECKING:
    from ecgcam.protocol.model import EcgTextModel


def like_prompts(recordings: Sequence[str | Path]) -> dict[str, Path]:
    """Return a prompt for each recording to compare with, and its path: by its name, or by its path where names are shared."""
    paths = list(dict.fromkeys(Path(name) for name in recordings))
    names = [record_name(path) for path in paths]
    return {
        f"like {name if names.count(name) == 1 else path.as_posix()}": path
        for name, path in zip(names, paths, strict=True)
    }


def compare_with(model: EcgTextModel, prompts: Mapping[str, Path], reading: Reading) -> EcgTextModel:
    """Return the model with recordings as its prompts: their embeddings take the place of a text's."""
    import copy

    import torch

    from ecgcam.models.text.targets import LikenessEncoder
    from ecgcam.protocol.model import ScoresPrompts
    from ecgcam.protocol.preprocessing import scale_window

    if isinstance(model.network, ScoresPrompts):
        raise EcgcamError(
            f"`like`: {model.name} reads signal and text together and has no embedding of a signal; use `texts`"
        )
    embedded = {}
    for prompt, path in prompts.items():
        window = reading.window(reading.record(Item(path, path.stem), model.input), model.input, reading.start)
        with torch.no_grad():
            x = torch.from_numpy(scale_window(window, model.input)[0])[None].to(model.device)
            embedded[prompt] = model.comparable_embedding(model.encode_signal(x)[0]).cpu()
    compared = copy.copy(model)
    compared.text = LikenessEncoder(embedded)
    return compared


def best_prompts(model: EcgTextModel, item: Item, prompts: list[str], count: int, reading: Reading) -> list[str]:
    """Return the prompts that score best on a recording, best first."""
    from ecgcam.pipeline.engine import score_windows

    window = reading.window(reading.record(item, model.input), model.input, reading.start)
    ((_, scores),) = score_windows([(None, window)], prompts, model)
    order = sorted(range(len(prompts)), key=lambda i: -scores[i])
    return [prompts[i] for i in order[:count]]


def check_kinds(texts: Sequence[str], targets: Sequence[str], likes: Sequence[str | Path], top: int | None) -> None:
    """Raise `EcgcamError` unless prompts are all texts, all targets or all recordings."""
    given = [name for name, values in (("texts", texts), ("targets", targets), ("like", likes)) if values]
    if len(given) > 1:
        raise EcgcamError(
            f"{' and '.join(f'`{name}`' for name in given)}: prompts of several kinds; use a separate call for each"
        )
    if top is not None and (targets or likes):
        raise EcgcamError(f"`top` {top}: chooses among texts; leave `{given[0]}` out")
