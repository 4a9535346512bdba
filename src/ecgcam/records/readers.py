"""Readers: one function each, chosen by suffix. Every one ends in `Record.from_channels`."""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.files import is_special, load_arrays, one_line
from ecgcam.records.channels import DAMAGED, Channel, Length, names_for, rate_for, record_from
from ecgcam.records.dicom import read_dicom
from ecgcam.records.doubts import doubts_about
from ecgcam.records.edf import edf_length, read_edf
from ecgcam.records.matlab import read_matlab
from ecgcam.records.record import Record, canonical_name, possible_rate
from ecgcam.records.xml_files import read_xml

_SIGNAL_KEYS = ("signal", "ecg", "val", "data", "x", "p_signal", "signals")
_RATE_KEYS = ("fs", "sampling_rate", "frequency", "sfreq")
_NAME_KEYS = ("leads", "lead_names", "sig_name")
# Bits a sample takes in a data file, where a format has a fixed number of them.
_BITS = {"8": 8, "80": 8, "212": 12, "16": 16, "61": 16, "160": 16, "24": 24, "32": 32}
# Of which each sample is its difference to the one before: only from the beginning can it be read.
_DIFFERENCES = "8"
# As many values are read whatever the files' size; beyond, so many for each byte (compressed formats, gaps between segments).
_ALWAYS_READ, _VALUES_PER_BYTE = 1 << 24, 4
# More than any heart, drift or spike in millivolts; raw integers and microvolts are far beyond it.
_LARGEST_MV = 100.0
# Suffixes of files, beside WFDB, of which a stretch can be read.
_IN_PARTS = {".edf", ".bdf"}
# What wfdb and scipy let through when a file is damaged.
_DAMAGED = (*DAMAGED, struct.error, zlib.error)


def read_record(path: str | Path, fs: float | None = None, lead_names: Sequence[str] | None = None) -> Record:
    """Read a recording into millivolts, with canonical lead names.

    Parameters
    ----------
    path : path
        WFDB (``rec.dat``, ``rec.hea`` or the stem), ``.npy``, ``.npz``, ``.mat``, EDF or BDF, XML (HL7 aECG, Philips
        Sierra) or DICOM.
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
    check_rate(fs)
    try:
        if path.is_dir():
            raise EcgcamError(f"{path}: is a folder, not a recording; name a file in it")
        reader = _reader(path)
        with np.errstate(all="ignore"):  # absurd gains and values end as infinity or NaN, which are missing
            record = reader(path, fs, None if lead_names is None else tuple(lead_names))
    except OSError as error:  # a folder that may not be entered, a name that is too long
        raise EcgcamError(f"{path}: cannot be read ({one_line(error)}); check the path and its permissions") from error
    return replace(record, notes=(*record.notes, *doubts_about(record)))


def check_rate(fs: float | None) -> None:
    """Raise `EcgcamError` if `fs`, where given, cannot be the sampling rate of an ECG."""
    if fs is not None and not possible_rate(fs):
        raise EcgcamError(f"--fs {fs:g}: not possible for an ECG; give the recording's sampling rate in Hz")


def record_name(path: Path) -> str:
    """Return the name of the record in `path`: the file name without a suffix that a reader knows."""
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def is_there(path: Path) -> bool:
    """Whether there is anything to read: the file, or the header of a WFDB recording that is named by its stem."""
    return path.exists() or _header_of(path).exists()


def _reader(path: Path) -> Callable[[Path, float | None, tuple[str, ...] | None], Record]:
    suffix = path.suffix.lower()
    header = _header_of(path)
    for file in (path, header):
        _refuse_special(file)
    if suffix in _FILES and not (suffix == ".mat" and header.is_file()):
        if not path.is_file():
            raise EcgcamError(f"{path}: no such recording; check the path")
        return _FILES[suffix]
    if header.is_file():
        if "::" in str(
            header.absolute()
        ):  # wfdb opens through fsspec, to which that is two paths, the first one another file
            raise EcgcamError(f"{path}: a path with '::' cannot be given to wfdb; rename the folder or the file")
        return _read_wfdb
    if path.is_file() and suffix in {".dat", ".hea"}:
        raise EcgcamError(f"{path}: its WFDB header {header.name} is missing; put the two files side by side")
    if path.is_file():
        raise EcgcamError(
            f"{path}: cannot tell what this is; WFDB (.dat, .hea, stem) and {', '.join(sorted(_FILES))} are read"
        )
    raise EcgcamError(f"{path}: no such recording; check the path")


def _refuse_special(path: Path) -> None:
    if is_special(path):
        raise EcgcamError(f"{path}: is a pipe or a device, which may never end; copy the recording to a file first")


def _header_of(path: Path) -> Path:
    known = path.suffix.lower() in {".dat", ".hea", ".mat"}
    return path.with_suffix(".hea") if known else path.with_name(path.name + ".hea")


def wfdb_length(path: str | Path) -> Length | None:
    """Return how long a WFDB recording is by its header and its data's size, without reading it.

    A recording that is still growing may have a header that is ahead of its data, or that says no length. None if it is no
    WFDB recording, damaged, or not one of a single segment in a format whose samples have a fixed size.
    """
    path = Path(path)
    header = _header_of(path)
    try:
        if not header.is_file() or header.stat().st_size == 0 or _reader(path) is not _read_wfdb:
            return None
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The inplace keyword in DataFrame.set_index")
            import wfdb

        head = wfdb.rdheader(str(header.with_suffix("")))
        if hasattr(head, "seg_name") or not head.n_sig or len(head.file_name or ()) != head.n_sig:
            return None
        there = [_samples_in(header.parent / name, head) for name in dict.fromkeys(head.file_name)]
    except (*_DAMAGED, EcgcamError):  # whoever reads it is told why
        return None
    if not possible_rate(float(head.fs)) or any(samples is None for samples in there):
        return None
    samples = min(samples for samples in there if samples is not None)
    stated = samples if head.sig_len is None else int(head.sig_len)
    return Length(float(head.fs), min(stated, samples), stated <= samples)


def _segments_length(path: Path) -> Length | None:
    """Return how long a WFDB recording of several segments is, by its header; None if it is none, or damaged."""
    header = _header_of(path)
    try:
        if not header.is_file() or _reader(path) is not _read_wfdb:
            return None
        status = header.stat()
        return _length_of_segments(header, status.st_mtime_ns, status.st_size)
    except (*_DAMAGED, EcgcamError):  # whoever reads it is told why
        return None


@lru_cache(maxsize=8)
def _length_of_segments(header: Path, _changed: int, _size: int) -> Length | None:
    """Look through all headers of a recording once: there may be thousands, and each stretch asks."""
    import wfdb

    head = wfdb.rdheader(str(header.with_suffix("")))
    if not hasattr(head, "seg_name") or not head.sig_len or not possible_rate(float(head.fs)):
        return None
    _check_header(header, head)
    if head.layout == "fixed" and "~" in head.seg_name:
        return None  # gaps belong to a variable layout; wfdb tells
    # What is missing is known before the first stretch, not when its turn comes.
    for name in {*head.seg_name} - {"~"}:
        segment = header.parent / f"{name}.hea"
        own = wfdb.rdheader(str(segment.with_suffix("")))
        if own.sig_len:  # the layout has none
            _check_header(segment, own)
        if _DIFFERENCES in (getattr(own, "fmt", None) or ()):
            return None
    return Length(float(head.fs), int(head.sig_len), complete=True)


def _samples_in(data: Path, head: Any) -> int | None:
    """Return how many samples of each of its signals a data file holds; None where its format does not say."""
    rows = [i for i, other in enumerate(head.file_name) if other == data.name]
    bits = {_BITS.get(head.fmt[i]) for i in rows}
    width = bits.pop()
    if bits or not width or head.fmt[rows[0]] == _DIFFERENCES:
        return None
    per_frame = sum(head.samps_per_frame[i] or 1 for i in rows)
    size = data.stat().st_size - (head.byte_offset[rows[0]] or 0)
    return int(max(0, size) * 8 // (width * per_frame))


def partial_length(path: str | Path, lead_names: Sequence[str] | None = None) -> Length | None:
    """Return how long a recording is that `read_stretch` can read in parts; else None.

    It can WFDB as by `wfdb_length`, of several segments those that a stretch needs; EDF and BDF.
    """
    path = Path(path)
    if path.suffix.lower() not in _IN_PARTS:
        return wfdb_length(path) or _segments_length(path)
    return edf_length(path, None if lead_names is None else tuple(lead_names)) if path.is_file() else None


def read_stretch(
    path: str | Path, begin: float, end: float, fs: float | None = None, lead_names: Sequence[str] | None = None
) -> Record:
    """Read `begin` to `end` (s) of a recording for which `partial_length` gives a length; only its samples are read.

    Raises
    ------
    EcgcamError
        As `read_record` does.
    """
    path = Path(path)
    names = None if lead_names is None else tuple(lead_names)
    length = partial_length(path, names)
    if length is None:
        raise EcgcamError(f"{path}: not a recording that can be read in parts")
    try:
        with np.errstate(all="ignore"):
            if path.suffix.lower() in _IN_PARTS:
                record = read_edf(path, fs, names, (begin, end))
            else:
                first, last = max(0, int(begin * length.fs)), min(length.samples, int(np.ceil(end * length.fs)))
                record = _read_wfdb(path, fs, names, (first, max(last, first), length.samples))
    except OSError as error:
        raise EcgcamError(f"{path}: cannot be read ({one_line(error)}); check the path and its permissions") from error
    return replace(record, notes=(*record.notes, *doubts_about(record)))


def _read_wfdb(
    path: Path, fs: float | None, lead_names: tuple[str, ...] | None, stretch: tuple[int, int, int] | None = None
) -> Record:
    """Read a WFDB recording, or of a `stretch` (first sample, the one behind its last, samples in all) its samples alone."""
    header = _header_of(path)
    with warnings.catch_warnings():
        # wfdb 4.3 builds its annotation tables with a keyword that pandas 3 deprecates.
        warnings.filterwarnings("ignore", message="The inplace keyword in DataFrame.set_index")
        import wfdb
    stem = str(header.with_suffix(""))
    if header.stat().st_size == 0:
        raise EcgcamError(f"{header}: is an empty file; copy the header again")
    try:
        head = wfdb.rdheader(stem)
    except _DAMAGED as error:
        raise EcgcamError(f"{header}: not a readable WFDB header ({one_line(error)}); copy the file again") from error
    if stretch is None:
        _check_header(header, head)
    segments = hasattr(head, "seg_name")
    # wfdb's own integers of format 61 have the other order of bytes, which it stumbles over; its millivolts have not.
    swapped = not segments and "61" in head.fmt
    late = [0] * (head.n_sig or 0) if segments or not head.skew else [int(skew or 0) for skew in head.skew]
    try:
        # wfdb reads a part only where the header says how long the whole is.
        partly = stretch is not None and head.sig_len is not None
        begin, end = (stretch[0], stretch[1]) if stretch is not None else (0, None)
        part = {"sampfrom": begin, "sampto": min(stretch[1] + max(late), head.sig_len)} if stretch and partly else {}
        record = wfdb.rdrecord(
            stem, physical=segments or swapped, smooth_frames=segments, ignore_skew=not segments, **part
        )
        checksums = [] if segments or swapped or stretch is not None else record.calc_checksum(expanded=True)
        signals = record.p_signal.T if segments else record.e_p_signal if swapped else record.dac(expanded=True)
        per_frame = [1] * len(signals) if segments else [int(count or 1) for count in record.samps_per_frame]
        if any(late):
            signals = [_earlier(row, skew * k) for row, skew, k in zip(signals, late, per_frame, strict=True)]
        if end is not None:
            first = 0 if partly else begin
            signals = [row[first * k : (first + end - begin) * k] for row, k in zip(signals, per_frame, strict=True)]
        lines = [] if segments else _signal_lines(header)
        stated, units = _as_written(lines, record.sig_name, record.units)
        channels = [
            # A channel that is missing all along has no unit.
            Channel(name or "", unit or ("mV" if np.isnan(row).all() else unit), float(record.fs) * k, row)
            for name, unit, k, row in zip(stated, units, per_frame, signals, strict=True)
        ]
    except _DAMAGED as error:
        raise EcgcamError(
            f"{header}: its signals cannot be read ({one_line(error)}); the data file may be damaged"
        ) from error
    result = record_from(path, header.stem, channels, fs, lead_names, state_units=False, part=stretch is not None)
    names = names_for(path, [channel.name for channel in channels], lead_names)
    notes = []
    gains = [] if segments else _stated_gains(lines)
    if assumed := [name for name, gain in zip(names, gains, strict=False) if not gain and canonical_name(name)]:
        notes.append(f"no gain in the header, WFDB's 200 per mV assumed: {', '.join(assumed)}")
    if wrong := [] if segments else _against_checksums(head, checksums, names):
        notes.append(f"checksums of the header do not fit the samples: {', '.join(wrong)}; the file may be damaged")
    if stretch is not None:
        times = round(result.fs / float(record.fs)) if possible_rate(float(record.fs)) else 1
        result = replace(result, first=stretch[0] * times, length=stretch[2] * times)
    return replace(result, notes=(*result.notes, *notes))


def _earlier(row: npt.NDArray[np.float64], late: int) -> npt.NDArray[np.float64]:
    """Return a signal that lies `late` samples too far back in its file; what it would need from behind the end is missing.

    wfdb refuses skews that differ among the signals of a file, and takes zeros for what is missing of several samples a frame.
    """
    return np.concatenate([row[late:], np.full(min(late, len(row)), np.nan)])


def _against_checksums(head: Any, sums: Sequence[int], names: Sequence[str]) -> list[str]:
    """Return the leads whose samples do not add up to what their header says, modulo 2**16; a stated 0 says nothing."""
    return [
        name
        for name, stated, found in zip(names, head.checksum or (), sums, strict=False)
        if stated and canonical_name(name) and int(stated) % 65536 != int(found) % 65536
    ]


def _signal_lines(header: Path) -> list[str]:
    """The lines of signals (or segments) of a header, by what wfdb takes for lines and comments, in all their letters."""
    content = header.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    lines = [line.strip() for line in re.split(r"[\n\r\x0b\x0c\x1c-\x1e]", text)]
    seen = [(line, line.encode("ascii", "ignore").strip()) for line in lines]
    return [line for line, plain in seen if plain and not plain.startswith(b"#")][1:]


def _stated_gains(lines: Sequence[str]) -> list[str]:
    """The gain of every signal line as it is written; empty where it is absent or 0, which WFDB both reads as 200."""
    fields = [line.split() for line in lines]
    numbers = [re.match(r"[-+\d.eE]*", line[2] if len(line) > 2 else "") for line in fields]
    return [match[0] if match and match[0].strip("+-0.eE") else "" for match in numbers]


def _as_written(lines: Sequence[str], names: Sequence[str], units: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return names and units of the signals where wfdb left out what is not ASCII: µV would be V, and a million times as tall."""
    names, units = list(names), list(units)
    for row, fields in enumerate(line.split(None, 8) for line in lines if len(lines) == len(names)):
        if len(fields) > 2 and not fields[2].isascii():
            units[row] = fields[2].partition("/")[2]
        if len(fields) > 8 and not fields[8].isascii():
            names[row] = fields[8]
    return names, units


def _refuse_beyond_ascii(header: Path, segments: bool) -> None:
    """Refuse files' names that wfdb would read without some letters, which may be another file's; of segments, units too."""
    for line in _signal_lines(header):
        if not line.split()[0].isascii():
            raise EcgcamError(
                f"{header}: names {line.split()[0]}; files of WFDB have names in ASCII: rename it, here too"
            )
        if segments and not line.isascii():
            raise EcgcamError(
                f"{header}: signals of a segment are described in other letters than ASCII; write uV for µV"
            )


def _check_header(header: Path, head: Any) -> None:
    """Refuse what wfdb would stumble over, missing and short data files first, so that the message can name the file."""
    if head.sig_len == 0:
        raise EcgcamError(f"{header}: the recording is empty, 0 samples; there is nothing to explain")
    _refuse_beyond_ascii(header, segments=False)
    if hasattr(head, "seg_name"):
        # A multi-segment header; its segments have headers of their own. Gaps among them take memory, too.
        if head.n_seg != len(head.seg_name):
            raise EcgcamError(
                f"{header}: promises {head.n_seg} segments and lists {len(head.seg_name)}; copy the header again"
            )
        parts = {header.parent / f"{name}.{suffix}" for name in head.seg_name for suffix in ("dat", "mat")}
        _check_claim(header, head, sum(part.stat().st_size for part in parts if part.is_file()))
        for name in dict.fromkeys(head.seg_name):
            _check_segment(header.parent / f"{name}.hea")
        return
    if not head.n_sig or not head.file_name:
        raise EcgcamError(f"{header}: the header describes no signal; there is nothing to explain")
    if len(head.file_name) != head.n_sig:
        raise EcgcamError(
            f"{header}: promises {head.n_sig} signals and describes {len(head.file_name)}; copy the header again"
        )
    for name in dict.fromkeys(head.file_name):
        data = header.parent / name
        _refuse_special(data)
        if not data.is_file():
            raise EcgcamError(f"{header}: its data file {name} is missing; put it beside the header")
        size = data.stat().st_size
        if size == 0:
            raise EcgcamError(f"{data}: the recording is empty, 0 bytes; there is nothing to explain")
        rows = [i for i, other in enumerate(head.file_name) if other == name]
        bits = {_BITS.get(head.fmt[i]) for i in rows}
        if len(bits) == 1 and (width := bits.pop()) and head.sig_len:
            per_frame = sum(head.samps_per_frame[i] or 1 for i in rows)
            need = (head.byte_offset[rows[0]] or 0) + -(-head.sig_len * per_frame * width // 8)
            if size < need:
                raise EcgcamError(
                    f"{data}: truncated, {size} bytes where its header promises {need}; copy the file again"
                )
        _check_claim(header, head, size)


def _check_segment(header: Path) -> None:
    """Refuse a segment whose own header promises far more than its files hold; gaps and layouts have no samples."""
    import wfdb

    if not header.is_file():
        return
    try:
        head = wfdb.rdheader(str(header.with_suffix("")))
    except _DAMAGED as error:
        raise EcgcamError(f"{header}: not a readable WFDB header ({one_line(error)}); copy the file again") from error
    _refuse_beyond_ascii(header, segments=True)
    names = getattr(head, "file_name", None) or ()  # a segment may have segments itself
    if head.sig_len:
        data = {header.parent / name for name in names}
        _check_claim(header, head, sum(file.stat().st_size for file in data if file.is_file()))


def _check_claim(header: Path, head: Any, held: int) -> None:
    """Refuse a header that promises far more samples than its files' bytes can hold; gaps and compression are allowed for."""
    counts = getattr(head, "samps_per_frame", None)
    per_frame = sum(count or 1 for count in counts) if counts else head.n_sig or 0
    skew = max((late or 0 for late in getattr(head, "skew", None) or ()), default=0)
    promised = ((head.sig_len or 0) + skew) * per_frame
    if promised > max(_ALWAYS_READ, _VALUES_PER_BYTE * held):
        raise EcgcamError(f"{header}: promises {promised} values, and its files hold {held} bytes; copy them again")


def _read_numpy(path: Path, fs: float | None, lead_names: tuple[str, ...] | None) -> Record:
    """Read a `.npy` array or a `.npz` archive, by what the file is and not by what it is called."""
    contents = load_arrays(path)
    if isinstance(contents, np.ndarray):
        return _from_array(path, contents, fs, lead_names)
    return _from_container(path, contents, fs, lead_names)


def _read_mat(path: Path, fs: float | None, lead_names: tuple[str, ...] | None) -> Record:
    arrays = {name: array for name, array in read_matlab(path).items() if not name.startswith("__")}
    return _from_container(path, arrays, fs, lead_names)


def _from_container(
    path: Path, contents: Mapping[str, npt.NDArray[Any]], fs: float | None, lead_names: tuple[str, ...] | None
) -> Record:
    """Pick the recording of several arrays, with the rate and the names that lie beside it."""
    lowered = {key.lower(): value for key, value in contents.items()}
    if len(lowered) < len(contents):
        raise EcgcamError(f"{path}: two of its arrays ({', '.join(contents)}) differ by case alone; keep one of them")
    contents = lowered
    array = _pick(path, contents)
    rate = next((_number(path, key, contents[key]) for key in _RATE_KEYS if key in contents), None)
    stated = next((_strings(contents[key]) for key in _NAME_KEYS if key in contents), None)
    names = lead_names if stated is None else names_for(path, stated, lead_names)
    return _from_array(path, array, rate_for(path, rate, fs), names)


def _strings(names: npt.NDArray[Any]) -> list[str]:
    """The texts of an array of text; MATLAB wraps each in an array of its own and pads it with blanks."""
    return [str(np.ravel(name)[0]).strip() if np.size(name) else "" for name in np.ravel(names)]


def _pick(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return the one array of a container that can be a recording."""
    numbers = {key: value for key, value in arrays.items() if value.dtype.kind in "fiu"}
    for key in _SIGNAL_KEYS:
        if key in numbers and numbers[key].ndim in (1, 2):
            return numbers[key]
    fitting = [value for key, value in numbers.items() if value.ndim == 2 and value.size > 1 and key not in _RATE_KEYS]
    if len(fitting) == 1:
        return fitting[0]
    held = ", ".join(f"{key} {value.shape}" for key, value in arrays.items()) or "nothing"
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
    record = Record.from_channels(record_name(path), channels_first, fs, names, source=str(path))
    largest = float(np.nanmax(np.abs(record.signal)))
    if largest > _LARGEST_MV:
        # Integers of a recorder or microvolts make a plausible map all the same, where the model normalises.
        note = f"values up to {largest:.4g}, too large for mV; arrays are taken to be in mV, divide by the gain before saving"
        return replace(record, notes=(*record.notes, note))
    return record


def _number(path: Path, key: str, value: npt.NDArray[Any]) -> float:
    if np.size(value) != 1 or np.asarray(value).dtype.kind not in "fiu":
        raise EcgcamError(f"{path}: its {key!r} is not a number")
    return float(np.ravel(value)[0])


# Files of one recording each, by suffix; WFDB's are two or more, found by their header.
_FILES: dict[str, Callable[[Path, float | None, tuple[str, ...] | None], Record]] = {
    ".npy": _read_numpy,
    ".npz": _read_numpy,
    ".mat": _read_mat,
    ".edf": read_edf,
    ".bdf": read_edf,
    ".xml": read_xml,
    ".dcm": read_dicom,
}
SUFFIXES = frozenset({".hea", ".dat", *_FILES})
