"""Whether a checkpoint's text side runs: tried once, on what is on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from ecgcam.errors import EcgcamError
from ecgcam.models.text.published import missing_tower, published_text
from ecgcam.models.text.tower import weights_inside
from ecgcam.protocol.spec import ModelSpec

PROMPT = "atrial fibrillation"


def try_text_side(
    spec: ModelSpec, project: Callable[[Tensor], Tensor], state: dict[str, Tensor], folder: Path | None = None
) -> str:
    """Report where a published text tower comes from, and whether it answers a prompt; nothing is downloaded.

    Parameters
    ----------
    spec, project, state
        The model file, the checkpoint's projection of text features, and the whole checkpoint.
    folder : path, optional
        Configuration and tokenizer of the tower; without it they are looked for in huggingface_hub's cache.
    """
    inside = weights_inside(state, spec.tower.weights)
    source = spec.text_model if folder is None else str(folder)
    if inside is None and folder is None:
        return missing_tower(spec.text_model, spec.tower)
    parts = (
        "its weights are in this file, configuration and tokenizer come from"
        if inside is not None
        else "weights, configuration and tokenizer come from"
    )
    where = source if folder is not None else "the hub, or from --text-model DIR"
    said = f"--text, through {spec.text_model}: {parts} {where}; or --embeddings"
    encoder = published_text(spec.text_model, spec.tower, project, state, "", folder, offline=True)
    try:
        embedded = encoder.encode([PROMPT])
    except EcgcamError as error:
        return f"{said}. Tried: {error}"
    if not bool(embedded.isfinite().all()):
        return f"{said}. Tried: the embedding of {PROMPT!r} is not finite; check the checkpoint"
    return f"{said}. Tried: {PROMPT!r} gives {embedded.shape[1]} finite numbers"
