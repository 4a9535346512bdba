"""From a model's name to an EcgTextModel."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import torch
from torch import nn

from ecgcam.errors import EcgcamError
from ecgcam.models.base import EcgTextModel
from ecgcam.models.checkpoint import load_into, read_state, sha256_of
from ecgcam.models.spec import ModelSpec, load_spec

# Family -> module:function. The function takes the model file's options and returns the network; a network that brings its
# own text side has it as `network.text_encoder()`.
FAMILIES = {"mini": "ecgcam.models.families.mini:build"}


def load_model(
    name_or_file: str | Path = "mini", checkpoint: str | Path | None = None, device: str = "auto"
) -> EcgTextModel:
    """Load a model by name or model file.

    Parameters
    ----------
    name_or_file : str or path
        ``"mini"``, another name of ``ecgcam models list``, or a model file ending in ``.toml``.
    checkpoint : path, optional
        Its weights; not needed for the model that ecgcam brings.
    device : str
        ``"auto"`` (CUDA if there is one), ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    EcgcamError
        If the model or its checkpoint is missing, or they do not fit.
    """
    spec = load_spec(name_or_file)
    network = _build(spec)
    path = _weights(spec, None if checkpoint is None else Path(checkpoint))
    load_into(network, read_state(path), path, spec.family)
    return EcgTextModel(spec, network, network.text_encoder(), sha256_of(path), choose_device(device))  # type: ignore[operator]


def choose_device(device: str) -> str:
    """Return ``cpu`` or ``cuda`` for ``auto``; refuse a device that is not there."""
    if device not in {"auto", "cpu", "cuda"}:
        raise EcgcamError(f"--device {device}: choose from auto, cpu, cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise EcgcamError("--device cuda: torch sees no CUDA device here; use --device cpu")
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def _build(spec: ModelSpec) -> nn.Module:
    if spec.family not in FAMILIES:
        raise EcgcamError(f"{spec.name}: no such family {spec.family!r}; ecgcam knows {', '.join(FAMILIES)}")
    module, function = FAMILIES[spec.family].split(":")
    try:
        network: nn.Module = getattr(import_module(module), function)(**spec.options)
    except TypeError as error:
        raise EcgcamError(f"{spec.name}: its options do not fit the family {spec.family} ({error})") from error
    return network


def _weights(spec: ModelSpec, checkpoint: Path | None) -> Path:
    if checkpoint is not None:
        return checkpoint
    if not spec.weights:
        where = f" (published at {spec.source})" if spec.source else ""
        raise EcgcamError(f"{spec.name}: its weights are not part of ecgcam; give them with --checkpoint FILE{where}")
    return Path(__file__).resolve().parent / "weights" / spec.weights
