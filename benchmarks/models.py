"""The models that are timed: mini, and MERL with stand-in weights, since its own may not be shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

MODELS = ("mini", "merl-resnet18", "merl-vit-tiny")
PROMPTS = tuple(f"finding number {i}" for i in range(30))


def write_stand_ins(folder: Path) -> None:
    """Write checkpoints and a table of prompts."""
    import numpy as np
    import torch
    from tests.models.conftest import keys_of, standin_array

    for name in MODELS[1:]:
        state = {key: torch.from_numpy(np.asarray(standin_array(key, shape))) for key, shape in keys_of(name)}
        torch.save(state, folder / f"{name}.pth")
    features = np.random.default_rng(7).standard_normal((len(PROMPTS), 768)).astype("f4")
    np.savez(folder / "prompts.npz", texts=np.array(PROMPTS), features=features, tower="ncbi/MedCPT-Query-Encoder")


def flags(name: str, folder: Path) -> list[str]:
    """Return what names the model on the command line."""
    if name == "mini":
        return []
    return ["--model", name, "--checkpoint", str(folder / f"{name}.pth"), "--embeddings", str(folder / "prompts.npz")]


def model_named(name: str, folder: Path) -> Any:
    """Load a model."""
    from ecgcam.models.load import load_model

    if name == "mini":
        return load_model(name, device="cpu")
    return load_model(name, folder / f"{name}.pth", embeddings=folder / "prompts.npz", device="cpu")
