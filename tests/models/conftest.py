"""Stand-ins for weights that nobody may ship: numbers made from each key's name, by the rule beside the reference values."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ecgcam.models.load import build_network
from ecgcam.models.model_file import load_spec

Keys = list[tuple[str, tuple[int, ...]]]
PROMPTS = ("sinus rhythm", "atrial fibrillation", "Acute inferior infarction")


def standin_array(key: str, shape: tuple[int, ...]) -> np.ndarray:
    v = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape)
    if "num_batches_tracked" in key:
        return np.ones(shape, np.int64)
    if "running_var" in key:
        v = 1 + 0.1 * np.abs(v)
    elif len(shape) == 1 and key.endswith("weight"):
        v = 1 + 0.1 * v
    elif any(name in key for name in ("positional_embedding", "pos_embedding", "cls_token")):
        v = 0.1 * v
    elif len(shape) >= 2:
        gain = 4.0 if "in_proj" in key or "to_qkv" in key else 1.5
        v = gain * v / np.sqrt(np.prod(shape[1:]))
    else:
        v = 0.1 * v
    return v.astype(np.float32)


def keys_of(name: str) -> Keys:
    """The keys and shapes of a model file's network."""
    return [(key, tuple(value.shape)) for key, value in build_network(load_spec(name)).state_dict().items()]


@pytest.fixture(scope="session")
def standin_state() -> Callable[[Keys], dict[str, Tensor]]:
    return lambda keys: {key: torch.from_numpy(np.asarray(standin_array(key, shape))) for key, shape in keys}


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory, standin_state: Callable) -> Callable[[str], Path]:
    """Model name -> a checkpoint file of stand-in weights, written once."""
    folder = tmp_path_factory.mktemp("standin")

    def write(name: str) -> Path:
        path = folder / f"{name}.pth"
        if not path.exists():
            torch.save(standin_state(keys_of(name)), path)
        return path

    return write


@pytest.fixture(scope="session")
def text_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three prompts with the text features of the reference values."""
    path = tmp_path_factory.mktemp("table") / "prompts.npz"
    features = np.random.default_rng(7).standard_normal((3, 768)).astype("f4")
    np.savez(path, texts=np.array(PROMPTS), features=features, tower="ncbi/MedCPT-Query-Encoder")
    return path
