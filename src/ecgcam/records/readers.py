"""The table of readers, and reading by it: whole recordings, parts of long ones, and files that hold many.

A reader is one row of `READERS`. Everything that depends on the format is a function of its row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ecgcam.errors import EcgcamError
from ecgcam.files import is_special, one_line
from ecgcam.records import arrays, csv_files, dicom, edf, hdf5, ishne, mfer, scp, wfdb_files
from ecgcam.records.aecg import read_aecg
from ecgcam.records.channels import Length, ReadOptions, check_unit
from ecgcam.records.muse import read_muse
from ecgcam.records.quality import quality_checks
from ecgcam.records.record import Record, possible_rate
from ecgcam.records.sierra import read_sierra
from ecgcam.records.wfdb_files import wfdb_length
from ecgcam.records.wfdb_header import header_of
from ecgcam.records.xml_files import has_root, may_be_recording, read_xml

__all__ = [
    "READERS", "SUFFIXES", "Reader", "check_rate", "format_of", "partial_length", "read_record", "read_stretch",
    "record_name", "recordings_in", "sniff", "wfdb_length",
]  # fmt: skip

# So much of a file is read to recognise it.
_BEGINNING = 4096


@dataclass(frozen=True)
class Reader:
    """How a format is read.

    Attributes
    ----------
    name : str
        The format.
    suffixes : tuple of str
        Lower-case suffixes by which its files go.
    sniff : callable
        Takes a path and the beginning of the file; returns whether the file is of this format.
    whole : callable
        Takes a path and `ReadOptions`; reads the recording.
    length : callable, optional
        Takes the same; returns the `Length` of a recording that `stretch` can read, else None.
    stretch : callable, optional
        Takes the same, begin and end (s); reads that part, whose samples are those of the whole.
    members : callable, optional
        Takes a path; returns how many recordings the file holds, None where it is a recording itself.
    member : callable, optional
        Takes a path and a reference (a number from 0 or ``id=ID``); returns the recording's number.
    """

    name: str
    suffixes: tuple[str, ...]
    sniff: Callable[[Path, bytes], bool]
    whole: Callable[[Path, ReadOptions], Record]
    length: Callable[[Path, ReadOptions], Length | None] | None = None
    stretch: Callable[[Path, ReadOptions, float, float], Record] | None = None
    members: Callable[[Path], int | None] | None = None
    member: Callable[[Path, str], int] | None = None


def _xml(name: str, root: str, read: Callable[..., Record]) -> Reader:
    return Reader(name, (".xml",), partial(has_root, root=root), partial(read_xml, root=root, read=read))


WFDB = Reader(
    "WFDB", (".hea", ".dat"), wfdb_files.is_wfdb, wfdb_files.read_wfdb, wfdb_files.wfdb_partial_length,
    wfdb_files.read_wfdb_stretch,
)  # fmt: skip

# A file that several rows recognise is read by the first.
READERS: tuple[Reader, ...] = (
    WFDB,
    Reader(
        "NumPy", (".npy", ".npz"), arrays.is_numpy, arrays.read_numpy,
        members=arrays.numpy_members, member=arrays.numpy_member,
    ),
    Reader("MATLAB", (".mat",), arrays.is_matlab, arrays.read_mat),
    Reader(
        "HDF5", (".h5", ".hdf5"), hdf5.is_hdf5, hdf5.read_hdf5, members=hdf5.hdf5_members, member=hdf5.hdf5_member
    ),
    Reader("EDF", (".edf", ".bdf"), edf.is_edf, edf.read_edf, edf.edf_length, edf.read_edf_stretch),
    _xml("HL7 aECG", "AnnotatedECG", read_aecg),
    _xml("Philips Sierra XML", "restingecgdata", read_sierra),
    _xml("GE MUSE XML", "RestingECG", read_muse),
    Reader("DICOM", (".dcm",), dicom.is_dicom, dicom.read_dicom),
    Reader("SCP-ECG", (".scp",), scp.is_scp, scp.read_scp),
    Reader("ISHNE", (".ecg",), ishne.is_ishne, ishne.read_ishne, ishne.ishne_length, ishne.read_ishne_stretch),
    Reader("MFER", (".mwf",), mfer.is_mfer, mfer.read_mfer),
    Reader("CSV", (".csv", ".tsv"), csv_files.is_csv, csv_files.read_csv),
)  # fmt: skip

SUFFIXES = frozenset(suffix for reader in READERS for suffix in reader.suffixes)


# Reading


def read_record(
    path: str | Path,
    fs: float | None = None,
    lead_names: Sequence[str] | None = None,
    unit: str | None = None,
) -> Record:
    """Read a recording into millivolts, with canonical lead names.

    Parameters
    ----------
    path : path
        A file of any format in `docs/formats.md`; WFDB as ``rec.dat``, ``rec.hea`` or the stem. A recording of a file with
        many is ``FILE#INDEX``, its number from 0, or ``FILE#id=ID``.
    fs : float, optional
        Sampling rate (Hz), for files that state none.
    lead_names : sequence of str, optional
        Names of all channels in file order, for files that state none or wrong ones.
    unit : str, optional
        ``"mV"``, ``"uV"`` or ``"V"``, for files that state none.

    Raises
    ------
    EcgcamError
        If the file is missing, unreadable or empty, or does not name its leads.
    """
    file, member = split_member(Path(path))
    options = replace(_options(fs, lead_names, unit), member=member)
    record = _guarded(file, lambda: _reader_of(file).whole(file, options))
    return replace(record, notes=(*record.notes, *quality_checks(record)))


def partial_length(path: str | Path, lead_names: Sequence[str] | None = None) -> Length | None:
    """Return how long a recording is that `read_stretch` can read in parts; else None."""
    options = _options(None, lead_names, None)
    try:
        reader = _reader_of(Path(path))
    except (OSError, EcgcamError):  # the caller who reads it gets the reason
        return None
    return reader.length(Path(path), options) if reader.length is not None else None


def read_stretch(
    path: str | Path,
    begin: float,
    end: float,
    fs: float | None = None,
    lead_names: Sequence[str] | None = None,
    unit: str | None = None,
) -> Record:
    """Read `begin` to `end` (s) of a recording for which `partial_length` gives a length; only its samples are read.

    Its samples are those of the whole recording. For windows of a part, see `windows.part_for_windows`.
    """
    path = Path(path)
    options = _options(fs, lead_names, unit)
    try:
        reader = _reader_of(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    if reader.length is None or reader.stretch is None or reader.length(path, options) is None:
        raise EcgcamError(f"{path}: not a recording that can be read in parts; read it whole")
    read = reader.stretch
    record = _guarded(path, lambda: read(path, options, begin, end))
    return replace(record, notes=(*record.notes, *quality_checks(record)))


def _options(fs: float | None, lead_names: Sequence[str] | None, unit: str | None) -> ReadOptions:
    check_rate(fs)
    check_unit(unit)
    return ReadOptions(fs, None if lead_names is None else tuple(lead_names), unit)


def _guarded(path: Path, read: Callable[[], Record]) -> Record:
    try:
        with np.errstate(all="ignore"):  # absurd gains and values end as infinity or NaN, which are missing
            return read()
    except OSError as error:  # a folder that may not be entered, a name that is too long
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> EcgcamError:
    return EcgcamError(f"{path}: cannot be read ({one_line(error)}); check the path and its permissions")


def check_rate(fs: float | None) -> None:
    """Raise `EcgcamError` if `fs`, where given, cannot be the sampling rate of an ECG."""
    if fs is not None and not possible_rate(fs):
        raise EcgcamError(f"`fs` {fs:g}: not possible for an ECG; give the recording's sampling rate in Hz")


# Recognising


def sniff(path: str | Path) -> Reader | None:
    """Return the reader of a file by its content; None if no reader recognises it.

    Of WFDB, the header is recognised, and each file with a header of its name.
    """
    path = Path(path)
    try:
        if is_special(path):
            return None
        has_header = header_of(path).is_file()
        if has_header and (not path.is_file() or path.suffix.lower() in {*WFDB.suffixes, ".mat"}):
            return WFDB
        if not path.is_file():
            return None
        with path.open("rb") as file:
            beginning = file.read(_BEGINNING)
    except (OSError, ValueError):
        return None
    rows = [reader for reader in READERS if reader is not WFDB and reader.sniff(path, beginning)]
    by_suffix = [reader for reader in rows if path.suffix.lower() in reader.suffixes]
    if by_suffix or rows:
        return (by_suffix or rows)[0]
    return WFDB if has_header and path.suffix.lower() not in SUFFIXES else None


def format_of(path: str | Path) -> str:
    """Return the name of a recording's format; `path` as `read_record` takes it.

    Raises
    ------
    EcgcamError
        If there is no such file, or nothing recognises it.
    """
    return _reader_of(split_member(Path(path))[0]).name


def is_reported(path: Path) -> bool:
    """Whether a file that no reader recognises is reported rather than skipped: it has a recording's suffix.

    XML of other kinds and tables of other things are skipped.
    """
    suffix = path.suffix.lower()
    if suffix in {".csv", ".tsv", ".ecg"}:
        return False
    return may_be_recording(path) if suffix == ".xml" else suffix in SUFFIXES


def _reader_of(path: Path) -> Reader:
    """Return the reader of a file by its content; by its suffix where no reader recognises it, so that the reader reports why.

    Raises
    ------
    EcgcamError
        If there is no such file, or no reader is found.
    """
    try:
        header = header_of(path)
        if path.is_dir() and not header.is_file():
            raise EcgcamError(f"{path}: is a folder, not a recording; name a file in it")
        for file in (path, header):
            if is_special(file):
                raise EcgcamError(
                    f"{file}: is a pipe or a device, which may never end; copy the recording to a file first"
                )
        found = sniff(path)
        if found is not None:
            return found
        suffix = path.suffix.lower()
        if not path.is_file():
            raise EcgcamError(f"{path}: no such recording; check the path")
    except OSError as error:
        raise _unreadable(path, error) from error
    if suffix in WFDB.suffixes:
        raise EcgcamError(f"{path}: its WFDB header {header.name} is missing; put the two files into one folder")
    rows = [reader for reader in READERS if suffix in reader.suffixes]
    if not rows:
        formats = ", ".join(reader.name for reader in READERS)
        with path.open("rb") as content:
            packed = content.read(2) == b"\x1f\x8b"
        if packed:
            raise EcgcamError(f"{path}: is packed by gzip, which is not read; unpack it first")
        raise EcgcamError(f"{path}: not recognised as a recording; {formats} are read")
    return rows[0]


# Names, and files with many recordings


def split_member(path: Path) -> tuple[Path, str | None]:
    """Return the file and the member of ``FILE#INDEX`` or ``FILE#id=ID``, None where the path names a whole file.

    A file whose name contains # is a file.
    """
    name, mark, member = path.name.rpartition("#")
    try:
        if not mark or not name or path.exists() or header_of(path).exists():
            return path, None
        file = path.with_name(name)
        return (file, member) if file.is_file() else (path, None)
    except (OSError, ValueError):
        return path, None


def recordings_in(path: str | Path) -> Sequence[str]:
    """Return references to the recordings of a file, ``FILE#0`` on for one that holds many, else the path itself.

    `read_record` and `record_name` take them.
    """
    file, member = split_member(Path(path))
    if member is None:
        reader = sniff(file)
        count = reader.members(file) if reader is not None and reader.members is not None else None
        if count is not None:
            return [f"{path}#{number}" for number in range(count)]
    return [str(path)]


def record_name(path: Path) -> str:
    """Return the name of a recording: the file name without a known suffix; of a file with many, ``STEM-NUMBER``."""
    file, member = split_member(path)
    stem = file.stem if file.suffix.lower() in SUFFIXES else file.name
    if member is None:
        return stem
    reader = sniff(file)
    if member.startswith("id=") and reader is not None and reader.member is not None:
        member = str(reader.member(file, member))
    return f"{stem}-{member}"
