"""Weights from files, as tensors and nothing else."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import pickletools
import re
import struct
import warnings
import zipfile
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ecgcam.errors import EcgcamError
from ecgcam.files import load_arrays, one_line

# What training frameworks put around a state dict: our own names first, then Lightning's and fairseq's.
_WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "ecg_model", "net", "network", "weights")
# Networks that some files keep beside each other (KED): each part's name then comes before its keys, as in one network.
_PARTS = ("model", "ecg_model", "text_encoder")
# What they put before every key of it.
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_state(path: Path, allow_numpy_scalars: bool = False) -> dict[str, Tensor]:
    """Return a checkpoint's state dict: ``.npz`` arrays, safetensors, or a torch file, with the usual wrappers taken off.

    Torch files are read with ``weights_only=True``, so that nothing in a checkpoint ever runs. `allow_numpy_scalars` also lets
    NumPy's scalars and dtypes in, which some training loops save beside the tensors, and nothing else.

    Raises
    ------
    EcgcamError
        If the file is missing, damaged, holds more than tensors, or no state dict.
    """
    if not path.is_file():
        raise EcgcamError(f"{path}: no such checkpoint; check the path")
    if path.stat().st_size == 0:
        raise EcgcamError(f"{path}: is empty; copy or download the checkpoint again")
    if path.suffix.lower() == ".npz":
        arrays = load_arrays(path, "a readable .npz checkpoint")
        if not isinstance(arrays, dict):
            raise EcgcamError(f"{path}: holds no state dict (one array alone)")
        return {key: torch.from_numpy(array) for key, array in arrays.items() if array.dtype.kind in "fiub"}
    content = (
        _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_torch(path, allow_numpy_scalars)
    )
    content = _unwrapped(content)
    if not isinstance(content, dict) or not any(isinstance(value, Tensor) for value in content.values()):
        raise EcgcamError(f"{path}: holds no state dict (a dictionary of tensors)")
    state = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    while prefix := next((each for each in _PREFIXES if all(key.startswith(each) for key in state)), ""):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise EcgcamError(f"{path}: not a readable safetensors file ({one_line(error)})") from error


class _Bounded(io.BufferedReader):
    """A file of which no more is asked at once than it holds: pickles promise lengths, and memory is taken for what is asked."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size if size is None else min(size, self._size))


def _read_torch(path: Path, allow_numpy_scalars: bool) -> Any:
    allowed = _numpy_scalars() if allow_numpy_scalars else []
    _refuse_other_files(path)
    try:
        # Torch warns of pickles that it did not write; what comes of them is told below.
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            with _Bounded(path) as file:
                source = (
                    path if file.peek(2)[:2] == b"PK" else file
                )  # torch reads archives bounded, and by their path faster
                return torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Torch's own message tells how to switch the protection off; only the object that it met is worth passing on.
        met = re.search(r"GLOBAL ([\w.]+)", str(error))
        held = met[1] if met is not None else _named_in(path)
        if not held:
            raise EcgcamError(f"{path}: not a torch checkpoint of tensors; give the file of the weights") from error
        mend = "save its state_dict alone"
        if held.startswith("numpy.") and not allow_numpy_scalars:
            mend = "NumPy's scalars alone are let in by --allow-numpy-scalars"
        raise EcgcamError(f"{path}: refused, it needs more than tensors (it holds {held}); {mend}") from error
    except (
        RuntimeError,
        OSError,
        EOFError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        AssertionError,
        MemoryError,
        struct.error,
    ) as error:
        reason = one_line(error)
        if "weights_only" in reason:  # torch's advice to switch the protection off
            reason = "a format that older torch wrote; load it with that torch and save its state_dict"
        raise EcgcamError(f"{path}: not a readable torch checkpoint ({reason})") from error


def _refuse_other_files(path: Path) -> None:
    """Raise `EcgcamError` for what torch never wrote, or of which a part is missing, with the mend; nothing is unpacked.

    A compressed part is refused too: torch writes none, and would unpack any size.
    """
    with path.open("rb") as file:
        begin = file.read(2)
    if begin == b"PK":
        try:
            with zipfile.ZipFile(path) as archive:
                parts = archive.infolist()
        except (
            zipfile.BadZipFile,
            OSError,
            ValueError,
            RuntimeError,
        ) as error:  # the last: of a later version, or encrypted
            raise EcgcamError(f"{path}: cut off or damaged ({one_line(error)}); copy or download it again") from error
        packed = [part.filename for part in parts if part.compress_type != zipfile.ZIP_STORED]
        if packed:
            raise EcgcamError(
                f"{path}: not a torch checkpoint, {packed[0]} is compressed in it; save it again with torch.save"
            )
        if sum(part.file_size for part in parts) > path.stat().st_size:  # parts that lie on one another
            raise EcgcamError(f"{path}: not a torch checkpoint, its parts are larger than the file; download it again")
    elif begin[:1] != b"\x80":
        raise EcgcamError(
            f"{path}: not a torch checkpoint (neither a zip archive nor a pickle); give the file of the weights"
        )


def _named_in(path: Path) -> str:
    """Return the first thing that a plain pickle asks for by name, read without running any of it; empty if there is none."""
    words: list[str] = []
    try:
        with _Bounded(path) as file:
            for operation, argument, _ in islice(pickletools.genops(file), 100_000):
                if operation.name == "GLOBAL":
                    return str(argument).replace(" ", ".")[:80]
                if operation.name == "STACK_GLOBAL" and len(words) > 1:
                    return ".".join(words[-2:])[:80]
                if isinstance(argument, str):
                    words.append(argument)
    except (ValueError, OSError):
        pass  # no pickle, or a broken one
    return ""


def _numpy_scalars() -> list[Any]:
    """What a pickled NumPy scalar is made of, by the names of NumPy 1 and 2: a dtype and its bytes, which run nothing."""
    kinds = [type(np.dtype(code)) for code in _NUMBERS]
    scalars = [(_number, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return [*scalars, (_number_kind, "numpy.dtype"), *kinds]


_NUMBERS = "?bBhHiIlLqQefd"


def _number_kind(code: object, *_: object) -> np.dtype[Any]:
    """Return the dtype of a number, and of nothing else: others may be of any size."""
    kind = np.dtype(code) if isinstance(code, str) and len(code) <= 3 else None
    if kind is None or kind.char not in _NUMBERS:
        raise ValueError(f"a NumPy scalar of dtype {str(code)[:20]!r}, which is no number")
    return kind


def _number(kind: object, content: object = None) -> np.generic:
    """Return a number from its dtype and its bytes."""
    if not isinstance(kind, np.dtype) or not isinstance(content, bytes) or len(content) != kind.itemsize:
        raise ValueError("a NumPy scalar that is no number and its bytes")
    value: np.generic = np.frombuffer(content, kind)[0]
    return value


def _unwrapped(content: Any) -> Any:
    """Take wrappers off, one inside another, as long as what is there is no state dict yet; parts are put side by side."""
    while isinstance(content, dict):
        parts = [name for name in _PARTS if _is_state(content.get(name))]
        if len(parts) > 1:
            return {f"{name}.{key}": value for name in parts for key, value in content[name].items()}
        inside = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), dict)), None)
        if inside is None:
            return content
        content = inside
    return content


def _is_state(content: Any) -> bool:
    return isinstance(content, dict) and any(isinstance(value, Tensor) for value in content.values())


def misfits(network: nn.Module, state: dict[str, Tensor]) -> dict[str, list[str]]:
    """Return the keys in which a state dict is not a network's: missing, unexpected, of another shape."""
    wanted = network.state_dict()
    return {
        "missing": [key for key in wanted if key not in state],
        "unexpected": [key for key in state if key not in wanted],
        "of another shape": [
            f"{key} {tuple(state[key].shape)} for {tuple(wanted[key].shape)}"
            for key in wanted
            if key in state and state[key].shape != wanted[key].shape
        ],
    }


def load_into(network: nn.Module, state: dict[str, Tensor], source: Path, model: str) -> None:
    """Load a state dict into a network; every key must be there and fit. The network may be on the ``meta`` device.

    Raises
    ------
    EcgcamError
        Naming the keys that are missing, unexpected or misshapen.
    """
    said = told(misfits(network, state))
    if said:
        raise EcgcamError(f"{source}: does not fit {model} ({said}); `ecgcam models check {source}` says what it is")
    wanted = network.state_dict()
    network.load_state_dict({key: value.to(wanted[key].dtype) for key, value in state.items()}, assign=True)


def told(problems: dict[str, list[str]]) -> str:
    """Return misfits in words, empty if there are none."""
    return "; ".join(f"{what}: {_some(keys)}" for what, keys in problems.items() if keys)


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
