"""Readers: one function each, chosen by suffix. Every one ends in `Record.from_channels`."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.records.record import Record, canonical_name

# Millivolts per unit of the header. A header without a unit means millivolts (WFDB header(5)).
_MILLIVOLTS = {"mv": 1.0, "": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "v": 1e3, "nv": 1e-6}
_SIGNAL_KEYS = ("signal", "ecg", "val", "data", "x", "p_signal", "signals")
_MOST_CHANNELS = 64


def read_record(path: str | Path, fs: float | None = None, lead_names: Sequence[str] | None = None) -> Record:
    """Read a recording into millivolts, with canonical lead names.

    Parameters
    ----------
    path : path
        WFDB (``rec.dat``, ``rec.hea`` or the stem), ``.npy``, ``.npz`` or ``.mat``.
    fs : float, optional
        Sampling rate (Hz), for files that carry none.
    lead_names : sequence of str, optional
        Channel names in file order, for files that carry none. Arrays are taken to be in mV.

    Raises
    ------
    EcgcamError
        If the file is missing, unreadable, empty, or does not say which lead is which.
    """
    path = Path(path)
    if fs is not None and not (np.isfinite(fs) and fs > 0):
        raise EcgcamError(f"--fs {fs:g}: a sampling rate must be positive; give the recording's rate in Hz")
    if path.is_dir():
        raise EcgcamError(f"{path}: is a folder, not a recording")
    reader = _reader(path)
    return reader(path, fs, None if lead_names is None else tuple(lead_names))


def record_name(path: Path) -> str:
    """Return the name of the record in `path`: the file name without a suffix that a reader knows."""
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def _reader(path: Path) -> Callable[[Path, float | None, tuple[str, ...] | None], Record]:
    suffix = path.suffix.lower()
    header = _header_of(path)
    if suffix == ".mat" and not header.is_file():
        return _read_mat
    if suffix in _READERS and suffix not in {".dat", ".mat"}:
        return _READERS[suffix]
    if header.is_file():
        return _read_wfdb
    if path.is_file() and suffix in {".dat", ".hea"}:
        raise EcgcamError(f"{path}: its WFDB header {header.name} is missing; put the two files side by side")
    if path.is_file():
        raise EcgcamError(f"{path}: cannot tell what this is; WFDB (.dat, .hea, stem), .npy, .npz and .mat are read")
    raise EcgcamError(f"{path}: no such recording; check the path")


def _header_of(path: Path) -> Path:
    known = path.suffix.lower() in {".dat", ".hea", ".mat"}
    return path.with_suffix(".hea") if known else path.with_name(path.name + ".hea")


def _read_wfdb(path: Path, fs: float | None, lead_names: tuple[str, ...] | None) -> Record:
    header = _header_of(path)
    with warnings.catch_warnings():
        # wfdb 4.3 builds its annotation tables with a keyword that pandas 3 deprecates.
        warnings.filterwarnings("ignore", message="The inplace keyword in DataFrame.set_index")
        import wfdb
    stem = str(header.with_suffix(""))
    try:
        head = wfdb.rdheader(stem)
    # What wfdb raises on a header it cannot parse; it has no exception of its own for most of them.
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OSError) as error:
        raise EcgcamError(f"{header}: not a readable WFDB header ({_line(error)})") from error
    _check_data_files(header, head)
    try:
        record = wfdb.rdrecord(stem)
    except (ValueError, IndexError, KeyError, TypeError, OSError) as error:
        raise EcgcamError(
            f"{header}: its signals cannot be read ({_line(error)}); the data file may be damaged"
        ) from error
    if record.p_signal is None or record.p_signal.size == 0:
        raise EcgcamError(f"{header}: the recording is empty; there is nothing to explain")
    names = _names_for(path, list(record.sig_name), lead_names)
    channels, kept, foreign = [], [], []
    for channel, name, unit in zip(record.p_signal.T, names, record.units, strict=True):
        scale = _MILLIVOLTS.get((unit or "").strip().lower())
        if scale is None and canonical_name(name) is not None:
            raise EcgcamError(f"{header}: lead {name} has the unit {unit!r}, which is not a voltage; mend the header")
        if scale is None:
            foreign.append(name)
            continue
        channels.append(channel * scale)
        kept.append(name)
    _rate_for(path, record.fs, fs)
    if not channels:
        raise EcgcamError(f"{header}: no channel holds a voltage ({', '.join(foreign)})")
    return Record.from_channels(header.stem, np.stack(channels), float(record.fs), kept, source=str(path))


def _check_data_files(header: Path, head: Any) -> None:
    """Refuse missing or short data files before wfdb reads them, so that the message can name the file."""
    if hasattr(head, "seg_name"):
        return  # a multi-segment header; its segments have headers of their own
    if not head.n_sig or not head.file_name:
        raise EcgcamError(f"{header}: the header describes no signal; there is nothing to explain")
    for name in dict.fromkeys(head.file_name):
        data = header.parent / name
        if not data.is_file():
            raise EcgcamError(f"{header}: its data file {name} is missing; put it beside the header")
        rows = [i for i, other in enumerate(head.file_name) if other == name]
        if {head.fmt[i] for i in rows} <= {"16", "80", "24", "32", "61"} and head.sig_len:
            width = {"16": 2, "61": 2, "80": 1, "24": 3, "32": 4}[head.fmt[rows[0]]]
            per_frame = sum(head.samps_per_frame[i] or 1 for i in rows)
            need = (head.byte_offset[rows[0]] or 0) + head.sig_len * per_frame * width
            if data.stat().st_size < need:
                raise EcgcamError(
                    f"{data}: truncated, {data.stat().st_size} bytes where its header promises {need}; copy the file again"
                )


def _read_npy(path: Path, fs: float | None, lead_names: tuple[str, ...] | None) -> Record:
    array = _load_numpy(path)
    if not isinstance(array, np.ndarray):
        raise EcgcamError(f"{path}: not a .npy array (it holds several); rename it to .npz")
    return _from_array(path, array, fs, lead_names)


def _read_npz(path: Path, fs: float | None, lead_names: tuple[str, ...] | None) -> Record:
    with _load_numpy(path) as archive:
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise EcgcamError(f"{path}: not a .npz archive; a single array belongs in a .npy file")
        try:
            contents = {key: archive[key] for key in archive.files}
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise EcgcamError(f"{path}: not a readable NumPy file ({_line(error)})") from error
    rate = contents.get("fs", contents.get("sampling_rate"))
    names = contents.get("leads", contents.get("lead_names", contents.get("sig_name")))
    array = _pick(path, contents)
    given_names = None if names is None else [str(name) for name in np.ravel(names)]
    return _from_array(
        path,
        array,
        _rate_for(path, None if rate is None else _number(path, "fs", rate), fs),
        lead_names if given_names is None else _names_for(path, given_names, lead_names),
    )


def _read_mat(path: Path, fs: float | None, lead_names: tuple[str, ...] | None) -> Record:
    if not path.is_file():
        raise EcgcamError(f"{path}: no such recording; check the path")
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        contents = loadmat(str(path), appendmat=False)
    except (
        MatReadError,
        ValueError,
        TypeError,
        NotImplementedError,
        OSError,
        EOFError,
        KeyError,
        IndexError,
    ) as error:
        raise EcgcamError(f"{path}: not a readable MATLAB file before version 7.3 ({_line(error)})") from error
    arrays = {k: v for k, v in contents.items() if not k.startswith("__") and isinstance(v, np.ndarray)}
    return _from_array(path, _pick(path, arrays), fs, lead_names)


def _load_numpy(path: Path) -> Any:
    if not path.is_file():
        raise EcgcamError(f"{path}: no such recording; check the path")
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise EcgcamError(f"{path}: not a readable NumPy file ({_line(error)})") from error


def _pick(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return the one array of a container that can be a recording."""
    fitting = {k: v for k, v in arrays.items() if v.ndim == 2 and v.dtype.kind in "fiu"}
    for key in _SIGNAL_KEYS:
        for name, array in fitting.items():
            if name.lower() == key:
                return array
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    held = ", ".join(f"{k} {v.shape}" for k, v in arrays.items()) or "nothing"
    raise EcgcamError(f"{path}: cannot tell which array is the recording (it holds {held}); name it 'signal'")


def _from_array(path: Path, array: npt.NDArray[Any], fs: float | None, names: tuple[str, ...] | None) -> Record:
    """Lay out a bare array (C, N) or (N, C), mV, by the number of names."""
    if array.dtype.kind not in "fiu":
        raise EcgcamError(f"{path}: holds {array.dtype}, not numbers")
    if array.size == 0:
        raise EcgcamError(f"{path}: the recording is empty; there is nothing to explain")
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2:
        raise EcgcamError(f"{path}: has shape {array.shape}; a recording has two axes, leads and samples")
    if names is None:
        channels = min(array.shape)
        hint = (
            "--lead-names standard for I,II,III,aVR,aVL,aVF,V1,...,V6"
            if channels == 12
            else "for example --lead-names I,II,V1"
        )
        raise EcgcamError(
            f"{path}: {channels} channels without names, and a wrong order makes a plausible, wrong map; name them: {hint}"
        )
    fits = [axis for axis in (0, 1) if array.shape[axis] == len(names)]
    if len(fits) != 1:
        raise EcgcamError(
            f"{path}: {len(names)} lead names do not fit an array of shape {array.shape}; exactly one axis must have that length"
        )
    if fs is None:
        raise EcgcamError(f"{path}: an array carries no sampling rate; give it with --fs, in Hz")
    channels_first = array if fits[0] == 0 else array.T
    return Record.from_channels(record_name(path), channels_first.astype(np.float64), fs, names, source=str(path))


def _names_for(path: Path, stated: list[str], given: tuple[str, ...] | None) -> tuple[str, ...]:
    """Names of the file, or those given where the file's own say nothing."""
    if given is None:
        return tuple(stated)
    if len(given) != len(stated):
        raise EcgcamError(f"{path}: {len(given)} lead names for {len(stated)} channels; name every channel")
    known = [canonical_name(name) for name in stated]
    clash = [
        f"{a} is named {b}"
        for a, b, name in zip(stated, given, known, strict=True)
        if name and name != canonical_name(b)
    ]
    if clash:
        raise EcgcamError(f"{path}: --lead-names contradicts the file ({clash[0]}); leave it out")
    return given


def _rate_for(path: Path, stated: float | None, given: float | None) -> float | None:
    if stated is None or given is None:
        return given if stated is None else float(stated)
    if abs(stated - given) > 1e-6 * abs(stated):
        raise EcgcamError(f"{path}: --fs {given:g} contradicts the file, which says {stated:g} Hz; leave it out")
    return float(stated)


def _number(path: Path, key: str, value: npt.NDArray[Any]) -> float:
    if np.size(value) != 1 or np.asarray(value).dtype.kind not in "fiu":
        raise EcgcamError(f"{path}: its {key!r} is not a number")
    return float(np.ravel(value)[0])


def _line(error: BaseException) -> str:
    """The first line of an exception, short enough for a one-line message."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:160]


_READERS: dict[str, Callable[[Path, float | None, tuple[str, ...] | None], Record]] = {
    ".dat": _read_wfdb,
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".mat": _read_mat,
}
SUFFIXES = frozenset({".hea", *_READERS})
