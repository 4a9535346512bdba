"""HDF5 through h5py (`ecgcam[hdf5]`): one dataset of many recordings, or of one; only the requested recording is read.

CODE-15%, CODE-test and SaMi-Trop are known by their layout: ``tracings`` (N, 4096, 12), 400 Hz, the twelve leads in order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.files import one_line
from ecgcam.records.arrays import (
    ID_KEYS,
    NAME_KEYS,
    RATE_KEYS,
    UNIT_KEYS,
    choose,
    layout_array,
    member_number,
    near,
    stack_notes,
    stated_options,
)
from ecgcam.records.channels import DAMAGED, ReadOptions
from ecgcam.records.lead_names import CANONICAL_LEADS
from ecgcam.records.record import Record

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Groups and datasets that are looked through, and how deep they nest.
_MOST_OBJECTS, _DEEPEST = 10_000, 8
# Bytes of one recording, or of one chunk that it is unpacked from.
_LARGEST = 1 << 28
# Values of a dataset of rates, names or ids.
_SMALL = 1 << 22
_CODE_SHAPE, _CODE_RATE = (4096, 12), 400.0
# Filters that every build of HDF5 has.
_FILTERS = {"gzip", "lzf", "szip", None}


class _Found(NamedTuple):
    """The dataset of recordings, its name, and the small datasets and attributes next to it.

    MATLAB writes an array's axes in reverse, so that its first axis is the dataset's last.
    """

    name: str
    data: Any
    others: dict[str, npt.NDArray[Any]]
    reverse: bool

    @property
    def several(self) -> bool:
        return len(self.data.shape) == 3

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.data.shape[:: -1 if self.reverse else 1])

    @property
    def ids(self) -> npt.NDArray[Any] | None:
        return next((self.others[key] for key in ID_KEYS if key in self.others), None)


def is_hdf5(path: Path, beginning: bytes) -> bool:
    """Whether a file is HDF5, MATLAB 7.3 included; a user block may come first."""
    del path
    return beginning[:8] == _SIGNATURE or beginning[512:520] == _SIGNATURE


def read_hdf5(path: Path, options: ReadOptions) -> Record:
    """Read one recording.

    Raises
    ------
    EcgcamError
        If the file is damaged, holds no recording or several candidates, or refers to other files.
    """
    with _opened(path) as found:
        data = found.data
        number = None
        if found.several:
            number = member_number(path, options.member, found.shape[0], found.ids)
        elif options.member is not None:
            raise EcgcamError(f"{path}: holds one recording; leave #{options.member[:40]} out")
        shape = found.shape[1:] if found.several else found.shape
        _check_size(path, data, shape)
        if number is None:
            array = np.asarray(data[()])
        else:
            array = np.asarray(data[..., number]).T if found.reverse else np.asarray(data[number])
        given, notes = stated_options(path, found.others, options)
        if found.name == "tracings" and shape == _CODE_SHAPE:
            assumed = []
            if given.fs is None:
                given, assumed = replace(given, fs=_CODE_RATE), [f"{_CODE_RATE:g} Hz"]
            if given.lead_names is None:
                given, assumed = replace(given, lead_names=CANONICAL_LEADS), [*assumed, "leads in the usual order"]
            if assumed:
                notes.append(f"read as the CODE data sets are laid out: {', '.join(assumed)}")
        whole = found.shape
    stem = path.stem if path.suffix.lower() in {".h5", ".hdf5", ".mat"} else path.name
    record = layout_array(path, array, given, stem if number is None else f"{stem}-{number}")
    notes += stack_notes(whole, record) if number is not None else []
    return replace(record, notes=(*record.notes, *notes))


def hdf5_members(path: Path) -> int | None:
    """Return how many recordings a file holds, None for a single one or a file that cannot be read (its reader reports why)."""
    try:
        with _opened(path) as found:
            return int(found.shape[0]) if found.several else None
    except (OSError, EcgcamError):
        return None


def hdf5_member(path: Path, member: str) -> int:
    """Return the number of the recording that a reference names."""
    with _opened(path) as found:
        if not found.several:
            raise EcgcamError(f"{path}: holds one recording; leave #{member[:40]} out")
        return member_number(path, member, int(found.shape[0]), found.ids)


@contextmanager
def _opened(path: Path) -> Iterator[_Found]:
    try:
        import h5py
    except ImportError as error:
        raise EcgcamError(f"{path}: HDF5 is read through h5py; pip install 'ecgcam[hdf5]'") from error
    try:
        # Without a lock: the file may lie on a read-only or a network file system.
        with h5py.File(path, "r", locking=False) as file:
            yield _find(path, file, h5py)
    except EcgcamError:
        raise
    except DAMAGED as error:
        raise EcgcamError(f"{path}: not a readable HDF5 file ({one_line(error)}); copy the file again") from error


def _find(path: Path, file: Any, h5py: Any) -> _Found:
    """Return the one dataset that can be recordings. Links to other files and soft links are not followed."""
    datasets = dict(_datasets(file, h5py))
    numbers = {
        name: data
        for name, data in datasets.items()
        if data.dtype.kind in "fiu" and len(data.shape or ()) in (2, 3) and data.size and _matlab(data) != "char"
    }
    held = {name: data.shape for name, data in datasets.items()}
    shapes = {name: data.shape for name, data in numbers.items()}
    chosen = choose(path, shapes, held, "dataset holds the recordings", "/")
    data = numbers[chosen]
    if data.external is not None or data.is_virtual:
        raise EcgcamError(
            f"{path}: the samples of {chosen} lie in other files, which are never opened; save them in one"
        )
    others: dict[str, npt.NDArray[Any]] = {}
    parents = chosen.split("/")[:-1]
    around = [file, *(file["/".join(parents[: depth + 1])] for depth in range(len(parents))), data]
    for key, value in (item for one in around for item in one.attrs.items()):
        _keep(others, key, np.asarray(value))
    wanted = {*RATE_KEYS, *NAME_KEYS, *UNIT_KEYS, *ID_KEYS}
    for key, name in near(datasets, chosen, "/").items():
        other = datasets[name]
        plain = other.external is None and not other.is_virtual
        if key in wanted and name != chosen and plain and other.shape is not None and other.size <= _SMALL:
            _check_size(path, other, other.shape)
            _keep(others, key, _content(path, other, file, h5py))
    return _Found(chosen.rsplit("/", 1)[-1].lower(), data, others, bool(_matlab(data)))


def _matlab(data: Any) -> str:
    """Return the class of what MATLAB saved; empty for another program's dataset."""
    kind = data.attrs.get("MATLAB_class", b"")
    return kind.decode("latin-1") if isinstance(kind, bytes) else str(kind)


def _content(path: Path, data: Any, file: Any, h5py: Any) -> npt.NDArray[Any]:
    """Return a small dataset's values. MATLAB's text is whole numbers, a cell references to the text of its elements."""
    if _matlab(data) == "char":
        units = np.asarray(data[()]).T.astype("<u2")
        return np.array([row.tobytes().decode("utf-16-le", "replace") for row in np.atleast_2d(units)])
    if _matlab(data) == "cell":
        texts: list[str] = []
        for reference in np.ravel(data[()]):
            one = file[reference]
            _check_size(path, one, one.shape)
            texts += _content(path, one, file, h5py).tolist()[:1] if _matlab(one) == "char" else [""]
        return np.array(texts, "U")
    return np.asarray(data[()])


def _keep(others: dict[str, npt.NDArray[Any]], key: str, value: npt.NDArray[Any]) -> None:
    """Keep a small array; text, which h5py gives as objects, as an array of text."""
    if value.dtype.kind == "O":
        texts = [one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in np.ravel(value)]
        value = np.array(texts, "U")
    others[key.lower()] = value


def _datasets(file: Any, h5py: Any) -> Iterator[tuple[str, Any]]:
    """Yield the datasets of a file by their paths; each group once, however it is linked."""
    seen: set[Any] = set()
    todo = [("", file, 0)]
    count = 0
    while todo:
        prefix, group, depth = todo.pop(0)
        for name in group:
            count += 1
            if count > _MOST_OBJECTS:
                return
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            one = group[name]
            if isinstance(one, h5py.Dataset):
                yield f"{prefix}{name}", one
            elif isinstance(one, h5py.Group) and depth < _DEEPEST and one.id.__hash__() not in seen:
                seen.add(one.id.__hash__())
                if name[:1] != "#":  # what MATLAB keeps the elements of cells in
                    todo.append((f"{prefix}{name}/", one, depth + 1))


def _check_size(path: Path, data: Any, shape: tuple[int, ...]) -> None:
    """Refuse what would unpack to more than a recording can be, or needs a filter that may not be there."""
    size = math.prod(shape) * data.dtype.itemsize
    chunk = math.prod(data.chunks or (0,)) * data.dtype.itemsize
    if size > _LARGEST or chunk > _LARGEST:
        raise EcgcamError(
            f"{path}: a recording of {size} bytes in chunks of {chunk}, more than the {_LARGEST >> 20} MB that are "
            "read; save it in smaller chunks"
        )
    if data.compression not in _FILTERS:
        raise EcgcamError(
            f"{path}: is packed by the filter {str(data.compression)[:40]!r}, which is not read; repack it with gzip"
        )
