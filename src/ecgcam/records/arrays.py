"""Arrays: NumPy files and archives, MATLAB files, and arrays in memory. With three axes they hold many recordings."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError, is_interruption
from ecgcam.files import DAMAGED_ARRAY, array_header, load_arrays, one_line, read_array
from ecgcam.records.channels import ReadOptions, check_unit, millivolts, names_for, plain_text, rate_for
from ecgcam.records.lead_names import leads_of, parse_lead_names, renaming_note
from ecgcam.records.matlab import read_matlab
from ecgcam.records.quality import quality_checks
from ecgcam.records.record import Record, possible_rate

SIGNAL_KEYS = ("signal", "ecg", "val", "data", "x", "p_signal", "signals", "tracings")
RATE_KEYS = ("fs", "sampling_rate", "sampling_frequency", "sample_rate", "frequency", "sfreq")
NAME_KEYS = ("leads", "lead_names", "sig_name")
UNIT_KEYS = ("unit", "units")
ID_KEYS = ("exam_id", "id", "ids", "record_id", "ecg_id")
# Larger than any ECG, drift or spike in millivolts. Raw integers and microvolts are far larger.
_LARGEST_MV = 100.0

Array = npt.NDArray[Any]


def is_numpy(path: Path, beginning: bytes) -> bool:
    """Whether a file is an array of NumPy, or an archive of arrays."""
    del path
    return beginning[:6] == b"\x93NUMPY" or (beginning[:2] == b"PK" and b".npy" in beginning[:200])


def is_matlab(path: Path, beginning: bytes) -> bool:
    """Whether a file is a MATLAB file of version 5 to 7. Version 4 has no signature; version 7.3 is HDF5."""
    del path
    return beginning[:6] == b"MATLAB" and beginning[:10] != b"MATLAB 7.3" and beginning[126:128] in {b"IM", b"MI"}


def read_numpy(path: Path, options: ReadOptions) -> Record:
    """Read a `.npy` array or a `.npz` archive, by what the file is and not by what it is called."""
    stack = _stack_of(path)
    if stack is not None:
        row = member_number(path, options.member, stack.rows, stack.ids)
        given, notes = stated_options(path, stack.others, options)
        record = layout_array(path, stack.row(path, row), given, f"{path.stem}-{row}")
        return replace(record, notes=(*record.notes, *notes, *stack_notes(stack.shape, record)))
    if options.member is not None:
        raise EcgcamError(f"{path}: holds one recording; leave #{options.member} out")
    contents = load_arrays(path)
    if isinstance(contents, np.ndarray):
        given, notes = stated_options(path, {}, options)
        record = layout_array(path, contents, given, _stem(path))
        return replace(record, notes=(*record.notes, *notes))
    return _from_container(path, contents, options)


def numpy_members(path: Path) -> int | None:
    """Return how many recordings an array of three axes holds, None for a file of one recording."""
    stack = _stack_of(path)
    return None if stack is None else stack.rows


def read_mat(path: Path, options: ReadOptions) -> Record:
    """Read a MATLAB file before version 7.3: an array, with rate and names next to it, or CPSC 2018's struct."""
    arrays = {name: array for name, array in read_matlab(path).items() if not name.startswith("__")}
    return _from_container(path, arrays, options)


def record_from_array(signal: Any, fs: float, lead_names: Sequence[str], unit: str, name: str) -> Record:
    """Build a record from an array in memory: `Record.from_array`."""
    check_unit(unit)
    names = parse_lead_names(lead_names) if isinstance(lead_names, str) else tuple(str(one) for one in lead_names)
    try:
        rate = float(fs)
    except (TypeError, ValueError) as error:
        raise EcgcamError(f"`fs` {str(fs)[:40]}: is not a number; give the sampling rate in Hz") from error
    if not possible_rate(rate):
        raise EcgcamError(f"`fs` {rate:g}: not possible for an ECG; give the recording's sampling rate in Hz")
    if hasattr(signal, "detach"):  # a tensor of torch, which may need a gradient or lie on another device
        signal = signal.detach().cpu()
        if getattr(getattr(signal, "dtype", None), "is_floating_point", False):
            signal = signal.float()  # NumPy has no bfloat16
    try:
        array = np.asarray(signal)
    except (TypeError, ValueError, RuntimeError) as error:
        raise EcgcamError(f"{name}: not an array of numbers ({one_line(error)}); give (leads, samples)") from error
    options = ReadOptions(rate, names, unit)
    with np.errstate(all="ignore"):
        record = layout_array(Path(name), array, options, name, both="first")
    return replace(record, notes=(*record.notes, *quality_checks(record)))


# Containers


def _stem(path: Path) -> str:
    return path.stem if path.suffix.lower() in {".npy", ".npz", ".mat"} else path.name


def _from_container(path: Path, contents: Mapping[str, Array], options: ReadOptions) -> Record:
    """Pick the recording of several arrays, with the rate, the names and the unit that lie next to it."""
    lowered = {key.lower(): value for key, value in contents.items()}
    if len(lowered) < len(contents):
        raise EcgcamError(f"{path}: two of its arrays ({', '.join(contents)}) differ only by case; keep one of them")
    numbers = {key: value for key, value in lowered.items() if value.dtype.kind in "fiu"}
    # A time axis has the length of a lead.
    axes = {key for key, value in numbers.items() if _is_axis(value)}
    rest = {key: value.shape for key, value in numbers.items() if key not in axes}
    held = {key: value.shape for key, value in lowered.items()}
    chosen = choose(path, rest or {key: numbers[key].shape for key in axes}, held, "array is the recording", ".")
    given, notes = stated_options(
        path, {key: lowered[name] for key, name in near(lowered, chosen, ".").items()}, options
    )
    array = lowered[chosen]
    record = layout_array(path, array, given, _stem(path))
    return replace(record, notes=(*record.notes, *notes))


def stated_options(path: Path, contents: Mapping[str, Array], options: ReadOptions) -> tuple[ReadOptions, list[str]]:
    """Return the options, completed by what a file states in arrays next to the recording, and notes of what overrules it."""
    rate = next((_number(path, key, contents[key]) for key in RATE_KEYS if key in contents), None)
    stated = next((_strings(contents[key]) for key in NAME_KEYS if key in contents), None)
    units = next((_strings(contents[key]) for key in UNIT_KEYS if _is_text(contents.get(key))), [])
    names = options.lead_names if stated is None else names_for(path, stated, options.lead_names)
    notes = [renaming_note(stated, names)] if stated is not None and names is not None else []
    unit = _unit_of_leads(path, units, names)
    if options.unit and millivolts(unit) is None:
        unit = options.unit
    if unit and options.unit and millivolts(unit) != millivolts(options.unit):
        notes.append(f"`unit` {options.unit} is not used, the file states {plain_text(unit)}")
    given = replace(
        options, fs=rate_for(path, rate, options.fs), lead_names=names, unit=plain_text(unit) or options.unit
    )
    return given, [note for note in notes if note]


def _unit_of_leads(path: Path, units: Sequence[str], names: Sequence[str] | None) -> str | None:
    """Return the unit of a file's leads, of one for all channels or one for each; None if there is none."""
    if len(units) == len(names or ()):
        units = [unit for unit, lead in zip(units, leads_of(names or ()), strict=True) if lead] or units
    if len({millivolts(unit) for unit in units}) > 1:
        raise EcgcamError(
            f"{path}: its leads have several units ({', '.join(sorted(set(units)))[:80]}); convert them to one"
        )
    return next((unit for unit in units if unit), None)


def _is_text(value: Array | None) -> bool:
    return value is not None and value.dtype.kind in "US" and value.size > 0


def _strings(names: Array) -> list[str]:
    """The texts of an array of text; MATLAB wraps each in an array and pads it with blanks."""
    texts = (np.ravel(name)[0] if np.size(name) else "" for name in np.ravel(names))
    return [(text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)).strip() for text in texts]


def choose(
    path: Path, shapes: Mapping[str, tuple[int, ...]], held: Mapping[str, tuple[int, ...]], what: str, mark: str
) -> str:
    """Return the name of the array that is the recording, or the recordings (three axes).

    The one that is called ``signal``, else the only one with another usual name or three axes, else the only one of two axes.
    In a name, `mark` separates the groups or structures around an array.

    Raises
    ------
    EcgcamError
        If there is none, or there are several; the message lists what is `held`.
    """
    usual = [name for name, shape in shapes.items() if name.rpartition(mark)[2].lower() in SIGNAL_KEYS and shape]
    flat = [name for name in usual if sum(size > 1 for size in shapes[name]) < 2]
    if len(flat) < len(usual):  # one of one axis may be anything
        usual = [name for name in usual if name not in flat]
    found = [name for name in usual if name.rpartition(mark)[2].lower() == SIGNAL_KEYS[0]]
    found = found or [name for name, shape in shapes.items() if name in usual or len(shape) == 3]
    found = found or [name for name, shape in shapes.items() if len(shape) == 2 and math.prod(shape) > 1]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{name} {shape}" for name, shape in held.items())[:200] or "nothing"
    raise EcgcamError(f"{path}: it is unclear which {what} (it holds {listed}); keep one of them, or name it 'signal'")


def near(names: Iterable[str], chosen: str, mark: str) -> dict[str, str]:
    """Return the names of the arrays next to the chosen one, and in what holds it, by their last part; the nearest counts."""
    around = chosen.split(mark)[:-1]
    found = {}
    for name in sorted(names, key=lambda one: one.count(mark)):
        *parents, last = name.split(mark)
        if parents == around[: len(parents)]:
            found[last.lower()] = name
    return found


def _is_axis(array: Array) -> bool:
    """Whether an array counts or times samples: it rises evenly."""
    if array.size < 3 or array.size != max(array.shape):
        return False
    steps = np.diff(array.ravel().astype(np.float64))
    return bool(steps.min() > 0 and np.ptp(steps) < 0.01 * steps.max())


def _number(path: Path, key: str, value: Array) -> float:
    if np.size(value) != 1 or np.asarray(value).dtype.kind not in "fiu":
        raise EcgcamError(f"{path}: its {key!r} is not a number; save it as one")
    return float(np.ravel(value)[0])


# One array


def layout_array(path: Path, array: Array, options: ReadOptions, name: str, *, both: str = "refuse") -> Record:
    """Lay out a bare array (C, N) or (N, C) by the number of names.

    Where both axes have that length, it is refused, or with `both` = "first" the first axis holds the leads.
    """
    names = options.lead_names
    if array.dtype.kind not in "fiu":
        raise EcgcamError(f"{path}: holds {array.dtype}, not numbers; save the samples as numbers")
    if array.size == 0:
        raise EcgcamError(f"{path}: the recording is empty; choose another file")
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2:
        raise EcgcamError(f"{path}: has shape {array.shape}; a recording has two axes, leads and samples")
    if names is None:
        channels = min(array.shape)
        hint = (
            "`lead_names` standard for I,II,III,aVR,aVL,aVF,V1,...,V6"
            if channels == 12
            else "for example `lead_names` I,II,V1"
        )
        raise EcgcamError(
            f"{path}: {channels} channels without names, and a wrong order makes a plausible, wrong map; name them: {hint}"
        )
    fits = [axis for axis in (0, 1) if array.shape[axis] == len(names)]
    if not fits or (len(fits) > 1 and both == "refuse"):
        raise EcgcamError(
            f"{path}: {len(names)} lead names do not fit an array of shape {array.shape}; exactly one axis must have that length"
        )
    if options.fs is None:
        raise EcgcamError(f"{path}: an array carries no sampling rate; give it with `fs`, in Hz")
    scale = 1.0 if options.unit is None else millivolts(options.unit)
    if scale is None:
        raise EcgcamError(
            f"{path}: its unit {str(options.unit)[:20]!r} is not a voltage; give the true one with `unit`"
        )
    channels_first = array if fits[0] == 0 else array.T
    if scale != 1.0:
        channels_first = channels_first.astype(np.float64) * scale
    record = Record.from_channels(name, channels_first, options.fs, names, source=str(path))
    record = replace(record, unit=options.unit or "mV")
    largest = float(np.nanmax(np.abs(record.signal)))
    if largest > _LARGEST_MV:
        # Integers of a recorder or microvolts make a plausible map all the same, where the model normalises.
        note = (
            f"values up to {largest:.4g}, too large for mV; arrays are taken to be in mV: as microvolts (`unit` uV) they "
            f"would be up to {largest / 1000:.4g} mV, raw integers are to be divided by the gain"
        )
        return replace(record, notes=(*record.notes, note))
    return record


# Many recordings in one array


class _Stack(NamedTuple):
    """An array of three axes in a file: where its rows lie, and what is next to it.

    `member` is its name in an archive, `begin` the offset of its values in the file or member.
    """

    member: str | None
    begin: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool
    others: dict[str, Array]

    @property
    def rows(self) -> int:
        return self.shape[0]

    @property
    def ids(self) -> Array | None:
        return next((self.others[key] for key in ID_KEYS if key in self.others), None)

    def row(self, path: Path, number: int) -> Array:
        """Read one recording; only its bytes are read."""
        try:
            return self._row(path, number)
        except EcgcamError:
            raise
        except (*DAMAGED_ARRAY, NotImplementedError) as error:
            raise EcgcamError(
                f"{path}: not a readable NumPy file ({one_line(error)}); copy or save it again"
            ) from error

    def _row(self, path: Path, number: int) -> Array:
        size = math.prod(self.shape[1:]) * self.dtype.itemsize
        with path.open("rb") as file:
            if self.member is None:
                return self._strided(path, number) if self.by_columns else self._read(path, file, number, size)
            with zipfile.ZipFile(file) as archive, archive.open(self.member) as member:
                if self.by_columns:  # its values lie all over the member
                    array: Array = read_array(member, archive.getinfo(self.member).file_size)[number]
                    return array
                return self._read(path, member, number, size)

    def _strided(self, path: Path, number: int) -> Array:
        if path.stat().st_size < self.begin + math.prod(self.shape) * self.dtype.itemsize:
            raise EcgcamError(f"{path}: is cut off; copy the file again")
        array: Array = np.memmap(path, self.dtype, "r", self.begin, self.shape, order="F")[number].copy()
        return array

    def _read(self, path: Path, file: IO[bytes], number: int, size: int) -> Array:
        file.seek(self.begin + number * size)
        content = file.read(size)
        if len(content) < size:
            raise EcgcamError(f"{path}: its recording {number} is cut off; copy the file again")
        return np.frombuffer(content, self.dtype).reshape(self.shape[1:])


def _stack_of(path: Path) -> _Stack | None:
    """Return the array of three axes that a file holds; None if it holds none, or is damaged (its reader reports how)."""
    try:
        with path.open("rb") as file:
            if file.read(2) == b"\x93N":
                file.seek(0)
                found = _array_header(file)
                return None if found is None or len(found[1]) != 3 else _Stack(None, *found, {})
            file.seek(0)
            if not zipfile.is_zipfile(file):
                return None
            with zipfile.ZipFile(file) as archive:
                return _stack_in(path, archive)
    except EcgcamError:
        return None
    except (*DAMAGED_ARRAY, NotImplementedError) as error:
        if is_interruption(error):
            raise KeyboardInterrupt from error
        return None


def _stack_in(path: Path, archive: zipfile.ZipFile) -> _Stack | None:
    headers = {}
    for member in archive.infolist():
        if member.filename.endswith(".npy"):
            with archive.open(member) as file:
                headers[member.filename] = _array_header(file)
    shapes = {
        name.removesuffix(".npy"): header[1] for name, header in headers.items() if header and header[2].kind in "fiu"
    }
    chosen = f"{choose(path, shapes, shapes, 'array is the recording', '.')}.npy"
    found = headers[chosen]
    if found is None or len(found[1]) != 3:
        return None
    others: dict[str, Array] = {}
    for member in archive.infolist():
        # Rates, names and ids are small; anything else is not needed.
        if member.filename in headers and member.filename != chosen and member.file_size < 1 << 26:
            with archive.open(member) as file:
                others[member.filename.removesuffix(".npy").lower()] = read_array(file, member.file_size)
    return _Stack(chosen, *found, others)


def _array_header(file: IO[bytes]) -> tuple[int, tuple[int, ...], np.dtype[Any], bool] | None:
    """Return where an array's values begin, its shape, type and order; None for what can be no recording."""
    header = array_header(file)
    if header is None:
        return None
    shape, by_columns, dtype = header
    if dtype.hasobject or dtype.kind not in "fiu" or min(shape, default=0) < 0 or math.prod(shape) == 0:
        return None
    return file.tell(), shape, dtype, by_columns


def stack_notes(shape: tuple[int, ...], record: Record) -> list[str]:
    """Return a note of an array of recordings that are too short to be any: its axes may be in another order."""
    if record.seconds >= 1 or shape[0] <= record.samples:
        return []
    return [
        f"the array {shape} is read as {shape[0]} recordings of {record.seconds:.2g} s; where the first axis is time, move "
        "the axis of the recordings to the front"
    ]


def member_number(path: Path, member: str | None, count: int, ids: Array | None) -> int:
    """Return which of `count` recordings a reference names: a number from 0, or ``id=ID``.

    Raises
    ------
    EcgcamError
        If there is none, or several have that id.
    """
    if ids is not None and np.size(ids) not in {1, count}:
        raise EcgcamError(
            f"{path}: has {np.size(ids)} ids for {count} recordings; the first axis of the array must be the recordings"
        )
    if member is None:
        raise EcgcamError(f"{path}: holds {count} recordings; name one as {path.name}#0 to {path.name}#{count - 1}")
    if member.startswith("id="):
        wanted = member.removeprefix("id=")
        if ids is None or len(ids) != count:
            raise EcgcamError(f"{path}: its recordings have no ids; name one by its number, as {path.name}#0")
        texts = [text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text) for text in np.ravel(ids)]
        rows = [row for row, text in enumerate(texts) if text == wanted]
        if len(rows) != 1:
            raise EcgcamError(f"{path}: {len(rows)} recordings have the id {wanted[:40]}; name one by its number")
        return rows[0]
    if not member.isascii() or not member.isdigit() or not int(member) < count:
        raise EcgcamError(f"{path}: has no recording {member[:40]!r}; they are numbered 0 to {count - 1}")
    return int(member)


def numpy_member(path: Path, member: str) -> int:
    """Return the number of the recording that a reference names."""
    stack = _stack_of(path)
    if stack is None:
        raise EcgcamError(f"{path}: holds one recording; leave #{member[:40]} out")
    return member_number(path, member, stack.rows, stack.ids)
