"""Weights from files: tensors, and nothing else."""

from __future__ import annotations

import io
import logging
import os
import pickle
import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ecgcam.errors import EcgcamError
from ecgcam.files import load_arrays, one_line
from ecgcam.models.hub import shards_of

log = logging.getLogger("ecgcam")

# What training frameworks put around a state dict: our own names first, then Lightning's, fairseq's, DeepSpeed's and BasicSR's.
_WRAPPERS = (
    "state_dict", "model_state_dict", "model_state", "model", "ecg_model", "net", "network", "weights", "module", "params",
)  # fmt: skip
# Averages over training steps that some files keep next to the raw weights.
_AVERAGES = (
    "ema", "ema_model", "model_ema", "ema_state_dict", "state_dict_ema", "ema_state", "model_ema_state_dict", "params_ema",
    "swa_state_dict", "averaged_model",
)  # fmt: skip
# Networks that some files keep side by side (KED): the part's name then comes before its keys, as in one network.
_PARTS = ("model", "ecg_model", "text_encoder")
# What is next to a state dict and holds tensors too.
_NO_WEIGHTS = re.compile(r"optim|sched|scaler|loss|criteri|rng|metric|config|args", re.IGNORECASE)
# Prefixes of every key of a file.
_PREFIXES = ("module.", "model.", "net.", "network.")
# What compiled, sharded and checkpointed modules put inside a key.
_INSIDE = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_module)\.")
# What a training module holds next to the network: AveragedModel's counter; buffers of losses and metrics.
_TRAINING = re.compile(
    r"^(?:n_averaged$|(?:criterion|criteria|loss|losses|loss_?fn|loss_func\w*|metrics?|\w+_(?:loss|metrics?))(?:\.|$))"
)
# Never used in evaluation, and left out by some exports.
_COUNTER = "num_batches_tracked"


def read_state(path: Path, allow_numpy_scalars: bool = False) -> dict[str, Tensor]:
    """Return a checkpoint's state dict: ``.npz`` arrays, safetensors, or a torch file, without the usual wrappers.

    Torch files are read with ``weights_only=True``, so that nothing in a checkpoint ever runs. `allow_numpy_scalars` also lets
    NumPy's scalars and dtypes in, which some training loops save next to the tensors, and nothing else.

    Raises
    ------
    EcgcamError
        If the file is missing, damaged, holds more than tensors, or no state dict.
    """
    shards = shards_of(path)
    if shards is not None:
        parts = [_read_file(shard, allow_numpy_scalars) for shard in shards]
        return _cleaned({key: value for part in parts if isinstance(part, dict) for key, value in part.items()}, path)
    if not path.is_file():
        raise EcgcamError(f"{path}: no such checkpoint; check the path")
    if path.stat().st_size == 0:
        raise EcgcamError(f"{path}: is empty; copy or download the checkpoint again")
    if path.suffix.lower() == ".npz":
        arrays = load_arrays(path, "a readable .npz checkpoint")
        if not isinstance(arrays, dict):
            raise EcgcamError(f"{path}: holds no state dict (a single array); give the file of the weights")
        return {key: torch.from_numpy(array) for key, array in arrays.items() if array.dtype.kind in "fiub"}
    return _cleaned(_unwrapped(_read_file(path, allow_numpy_scalars), path), path)


def _read_file(path: Path, allow_numpy_scalars: bool) -> Any:
    """Return what a file holds, read by what it is: a safetensors file has the length of its header, then JSON."""
    with path.open("rb") as file:
        begin = file.read(9)
    torch_wrote = begin[:2] == b"PK" or begin[:1] == b"\x80"
    if begin[8:] == b"{" or (path.suffix.lower() == ".safetensors" and not torch_wrote):
        return _read_safetensors(path)
    return _read_torch(path, allow_numpy_scalars)


def _cleaned(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the tensors of a state dict under the network's own keys."""
    if not isinstance(content, dict) or not any(isinstance(value, Tensor) for value in content.values()):
        raise EcgcamError(f"{path}: holds no state dict (a dictionary of tensors); give the file of the weights")
    state = {_INSIDE.sub("", str(key)): value for key, value in content.items() if isinstance(value, Tensor)}
    while prefix := _shared_prefix(state):
        state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    return state


def _shared_prefix(state: dict[str, Tensor]) -> str:
    """Return a wrapper's prefix that all keys have, but those that only training needs; empty if there is none."""
    keys = [key for key in state if not _TRAINING.match(key)]
    return next((each for each in _PREFIXES if keys and all(key.startswith(each) for key in keys)), "")


def peeled(state: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Yield a state dict, and it without a name around all keys, such as ``signal_encoder.``, as often as there is one."""
    while True:
        yield state
        keys = [key for key in state if not _TRAINING.match(key)]
        names = {key.partition(".")[0] for key in keys}
        if len(names) != 1 or not all("." in key for key in keys):
            return
        prefix = f"{names.pop()}."
        state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise EcgcamError(
            f"{path}: not a readable safetensors file ({one_line(error)}); copy or download it again"
        ) from error


class _Bounded(io.BufferedReader):
    """A file that is never read beyond its size: a pickle may state any length, and memory would be allocated for it."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size if size is None else min(size, self._size))


def _read_torch(path: Path, allow_numpy_scalars: bool) -> Any:
    allowed = _numpy_scalars() if allow_numpy_scalars else []
    _refuse_other_files(path)
    try:
        # Torch warns of pickles that it did not write; failures are reported below.
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            with _Bounded(path) as file:
                # Torch reads archives bounded, and by their path faster; it reads a path that ends so as safetensors.
                by_path = file.peek(2)[:2] == b"PK" and path.suffix.lower() != ".safetensors"
                source = path if by_path else file
                return torch.load(source, map_location="cpu", weights_only=True)
    except EcgcamError:
        raise
    except pickle.UnpicklingError as error:
        # Torch's message explains how to switch the protection off; only the name of the object is passed on.
        met = re.search(r"GLOBAL ([\w.]+)", str(error))
        held = met[1] if met is not None else _named_in(path)
        if not held:
            raise EcgcamError(f"{path}: not a torch checkpoint of tensors; give the file of the weights") from error
        fix = "save its state_dict alone"
        if held.startswith("numpy.") and not allow_numpy_scalars:
            fix = "NumPy's scalars alone are allowed by `allow_numpy_scalars`"
        raise EcgcamError(f"{path}: refused, it needs more than tensors (it holds {held}); {fix}") from error
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
        raise EcgcamError(f"{path}: not a readable torch checkpoint ({reason}); copy or download it again") from error


def _refuse_other_files(path: Path) -> None:
    """Raise `EcgcamError` for a file that torch did not write, or that is cut off; nothing is unpacked.

    A compressed part is refused too: torch writes none, and it could unpack to any size.
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
    """Return the first global that a plain pickle names, read without running any of it; empty if there is none."""
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
        raise ValueError(f"a NumPy scalar of dtype {str(code)[:20]!r}, which is not a number")
    return kind


def _number(kind: object, content: object = None) -> np.generic:
    """Return a number from its dtype and its bytes."""
    if not isinstance(kind, np.dtype) or not isinstance(content, bytes) or len(content) != kind.itemsize:
        raise ValueError("a NumPy scalar that is not a number and its bytes")
    value: np.generic = np.frombuffer(content, kind)[0]
    return value


def _unwrapped(content: Any, path: Path) -> Any:
    """Remove nested wrappers; the networks of a file with several are put side by side."""
    while isinstance(content, dict):
        parts = [name for name in _PARTS if _is_state(content.get(name))]
        if len(parts) > 1:
            return {f"{name}.{key}": value for name in parts for key, value in content[name].items()}
        averages = [key for key in _AVERAGES if isinstance(content.get(key), dict)]
        inside = next((key for key in _WRAPPERS if isinstance(content.get(key), dict)), None)
        if inside is not None and averages:
            log.warning(
                "%s: holds averaged weights (%s) next to the raw ones (%s), which are used; to use the others, save only them",
                path,
                averages[0],
                inside,
            )
        chosen = inside or next(iter(averages), None)
        if chosen is None and not _is_state(content):
            others = [key for key, value in content.items() if _holds_state(value) and not _NO_WEIGHTS.search(str(key))]
            if len(others) > 1:
                listed = ", ".join(str(key)[:40] for key in others[:5])
                raise EcgcamError(f"{path}: holds several state dicts ({listed}); save the network's own alone")
            chosen = next(iter(others), None)
        if chosen is None:
            return content
        content = content[chosen]
    return content


def _is_state(content: Any) -> bool:
    return isinstance(content, dict) and any(isinstance(value, Tensor) for value in content.values())


def _holds_state(content: Any, depth: int = 0) -> bool:
    """Whether a dictionary is a state dict, or holds one; an optimiser's tensors are numbered."""
    if not isinstance(content, dict) or "param_groups" in content or not all(isinstance(key, str) for key in content):
        return False
    return _is_state(content) or (depth < 3 and any(_holds_state(value, depth + 1) for value in content.values()))


def incompatible_keys(network: nn.Module, state: dict[str, Tensor]) -> dict[str, list[str]]:
    """Return the keys in which a state dict is not a network's: missing, unexpected, of another shape, whole numbers."""
    wanted = network.state_dict()
    return {
        "missing": [key for key in wanted if key not in state and not key.endswith(_COUNTER)],
        "unexpected": [key for key in state if key not in wanted],
        "of another shape": [
            f"{key} {tuple(state[key].shape)} for {tuple(wanted[key].shape)}"
            for key in wanted
            if key in state and state[key].shape != wanted[key].shape
        ],
        # Quantised weights need the scales that their program keeps.
        "whole numbers": [
            f"{key} {state[key].dtype}"
            for key in wanted
            if key in state and wanted[key].is_floating_point() and not state[key].is_floating_point()
        ],
    }


def load_into(network: nn.Module, state: dict[str, Tensor], source: Path, model: str) -> None:
    """Load a state dict into a network; every key must be there and fit. The network may be on the ``meta`` device.

    Raises
    ------
    EcgcamError
        Naming the keys that are missing, unexpected or misshapen.
    """
    said = format_key_errors(incompatible_keys(network, state))
    if said:
        raise EcgcamError(
            f"{source}: does not fit {model} ({said}); `ecgcam models check {source}` names the model that fits"
        )
    wanted = network.state_dict()
    counters = {key: torch.zeros((), dtype=value.dtype) for key, value in wanted.items() if key.endswith(_COUNTER)}
    network.load_state_dict(counters | {key: value.to(wanted[key].dtype) for key, value in state.items()}, assign=True)


def format_key_errors(problems: dict[str, list[str]]) -> str:
    """Return the misfits as text; empty if there are none."""
    return "; ".join(f"{what}: {_some(keys)}" for what, keys in problems.items() if keys)


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
