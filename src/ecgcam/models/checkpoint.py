"""Weights from files, as tensors and nothing else."""

from __future__ import annotations

import hashlib
import pickle
import re
from pathlib import Path

import torch
from torch import Tensor, nn

from ecgcam.errors import EcgcamError
from ecgcam.files import load_arrays, one_line

_WRAPPERS = ("state_dict", "model_state_dict", "model")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_state(path: Path) -> dict[str, Tensor]:
    """Return a checkpoint's state dict: ``.npz`` arrays, or a torch file with the usual wrappers taken off.

    Torch files are read with ``weights_only=True``, so that nothing in a checkpoint ever runs.

    Raises
    ------
    EcgcamError
        If the file is missing, holds more than tensors, or no state dict.
    """
    if not path.is_file():
        raise EcgcamError(f"{path}: no such checkpoint; check the path")
    if path.suffix.lower() == ".npz":
        arrays = load_arrays(path, "a readable .npz checkpoint")
        if not isinstance(arrays, dict):
            raise EcgcamError(f"{path}: holds no state dict (one array alone)")
        return {key: torch.from_numpy(array) for key, array in arrays.items() if array.dtype.kind in "fiub"}
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Torch's own message tells how to switch the protection off; only the object that it met is worth passing on.
        met = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"it holds {met[1]}" if met else "it is no plain list of tensors"
        raise EcgcamError(f"{path}: refused, it needs more than tensors ({what}); save its state_dict alone") from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, IndexError) as error:
        raise EcgcamError(f"{path}: not a readable torch checkpoint ({one_line(error)})") from error
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
            break
    if not isinstance(content, dict) or not any(isinstance(value, Tensor) for value in content.values()):
        raise EcgcamError(f"{path}: holds no state dict (a dictionary of tensors)")
    return {str(key).removeprefix("module."): value for key, value in content.items() if isinstance(value, Tensor)}


def load_into(network: nn.Module, state: dict[str, Tensor], source: Path, model: str) -> None:
    """Load a state dict into a network; every key must be there and fit. The network may be on the ``meta`` device.

    Raises
    ------
    EcgcamError
        Naming the keys that are missing, unexpected or misshapen.
    """
    wanted = network.state_dict()
    problems = {
        "missing": [key for key in wanted if key not in state],
        "unexpected": [key for key in state if key not in wanted],
        "of another shape": [
            f"{key} {tuple(state[key].shape)} for {tuple(wanted[key].shape)}"
            for key in wanted
            if key in state and state[key].shape != wanted[key].shape
        ],
    }
    said = "; ".join(f"{what}: {_some(keys)}" for what, keys in problems.items() if keys)
    if said:
        raise EcgcamError(f"{source}: does not fit {model} ({said}); choose its model file with --model")
    network.load_state_dict({key: value.to(wanted[key].dtype) for key, value in state.items()}, assign=True)


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
