"""DICOM ECG waveforms through pydicom (`ecgcam[dicom]`): all multiplex groups, their channels by coded source or label.

PS3.3 C.10.9 (Waveform Module), PS3.16 CID 3001 (ECG Leads). Samples are decoded here: pydicom leaves companded samples, unused
bits and padding as they are.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.records.channels import DAMAGED, Channel, ReadOptions, plain_text, record_from
from ecgcam.records.lead_names import canonical_name
from ecgcam.records.record import Record
from ecgcam.records.windows import HELD_S

# The last number of SCP-ECG's 5.6.3-9-N and of MDC's 2:N (PS3.16, CID 3001).
_LEADS = {
    1: "I", 2: "II", 3: "V1", 4: "V2", 5: "V3", 6: "V4", 7: "V5", 8: "V6", 61: "III", 62: "aVR", 63: "aVL", 64: "aVF",
}  # fmt: skip
# Codes by scheme; elsewhere only what no other scheme writes so.
_SCP_CODE, _MDC_CODE = re.compile(r"5\.6\.3-9-(\d+)"), re.compile(r"(?:MDC_)?2:(\d+)")
_MDC_NUMBER = 131_072  # 2 x 65536: 2:N as one number
_MDC_POTENTIAL = 256  # MDC_ECG_ELEC_POTL_I and on are 2:257 and on
# Deflated files must be unpacked, to any size, before their content can be checked.
_DEFLATED = "1.2.840.10008.1.2.1.99"
# SOP classes: of DICOMDIR; what those of storage begin with, of which 9.* are waveforms.
_DIRECTORY, _STORAGE = "1.2.840.10008.1.3.10", "1.2.840.10008.5.1.4.1.1."
# Sample interpretation -> NumPy kind and bytes. MB and AB are 8 bits companded by mu-law and A-law.
_KINDS = {
    "SB": ("i", 1), "UB": ("u", 1), "MB": ("u", 1), "AB": ("u", 1), "SS": ("i", 2), "US": ("u", 2), "SL": ("i", 4),
    "UL": ("u", 4), "SV": ("i", 8), "UV": ("u", 8),
}  # fmt: skip
# Parts of one recording lie within a day.
_LONGEST = 86_400.0

Stored = npt.NDArray[np.int64]


class _Group(NamedTuple):
    """A multiplex group: when it begins (s), its rate, whether it is derived (median beats), and its channels."""

    begin: float
    fs: float
    derived: bool
    channels: list[Channel]

    @property
    def seconds(self) -> float:
        return len(self.channels[0].samples) / self.fs


def is_dicom(path: Path, beginning: bytes) -> bool:
    """Whether a file is DICOM: by its prefix, or without a preamble by a first element of group 2 or 8."""
    del path
    if beginning[128:132] == b"DICM":
        return True
    if len(beginning) < 16:
        return False
    for order in ("<", ">"):
        group, element = struct.unpack_from(f"{order}2H", beginning)
        explicit = re.fullmatch(rb"[A-Z]{2}", beginning[4:6]) is not None
        (implicit,) = struct.unpack_from(f"{order}I", beginning, 4)
        if (group, element) in {(2, 0), (2, 1), (8, 0), (8, 1), (8, 5), (8, 8), (8, 0x16)} and (
            explicit or implicit < 256
        ):
            return True
    return False


def is_other_dicom(path: Path) -> bool:
    """Whether a file with a preamble states that it is DICOM of another kind: DICOMDIR, an image, a report, a document."""
    with path.open("rb") as file:
        meta = file.read(1024)
    stated = re.search(rb"\x02\0\x02\0UI..([\d.]+)", meta[132:], re.DOTALL)  # (0002,0002), the SOP class
    kind = stated[1].decode("ascii") if stated else ""
    return kind == _DIRECTORY or (kind.startswith(_STORAGE) and not kind.startswith(f"{_STORAGE}9."))


def read_dicom(path: Path, options: ReadOptions) -> Record:
    """Read all waveforms of a DICOM file, each at its time offset; median beats are left out with a note.

    Raises
    ------
    EcgcamError
        If it is not a DICOM file, holds no waveform, or is damaged.
    """
    try:
        import pydicom
        from pydicom.errors import BytesLengthException, InvalidDicomError
    except ImportError as error:
        raise EcgcamError(f"{path}: DICOM is read through pydicom; pip install 'ecgcam[dicom]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings quote values, which may be a patient's
            held = _parsed(path, pydicom)
            items = list(held.get("WaveformSequence", None) or ())
            if not items:
                raise EcgcamError(
                    f"{path}: is a DICOM file without a waveform ({_modality(held)}); choose another file"
                )
            order = "<" if held.original_encoding[1] else ">"
            groups = [_group(path, item, order) for item in items]
    except EcgcamError:
        raise
    except (*DAMAGED, InvalidDicomError, BytesLengthException, struct.error) as error:
        # The message is left out: it may quote values of the file, such as a patient's name.
        kind = type(error).__name__
        raise EcgcamError(f"{path}: not a readable DICOM file ({kind}); copy the file again") from error
    channels, notes = _laid_out(path, groups)
    record = record_from(path, path.stem if path.suffix.lower() == ".dcm" else path.name, channels, options)
    return replace(record, notes=(*record.notes, *notes))


def _parsed(path: Path, pydicom: Any) -> Any:
    from pydicom.filereader import read_dataset, read_preamble

    # pydicom allocates what a header states when it reads a file; of bytes in memory it can take no more than there are.
    file = io.BytesIO(path.read_bytes())
    read_preamble(file, force=True)
    meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != 2)
    if str(meta.get("TransferSyntaxUID", "")) == _DEFLATED:
        raise EcgcamError(f"{path}: is a deflated DICOM file, which is never unpacked; save it uncompressed")
    file.seek(0)
    held = pydicom.dcmread(file, force=True)
    if not len(held):
        raise EcgcamError(f"{path}: not a readable DICOM file (no element in it); copy the file again")
    return held


def _modality(held: Any) -> str:
    """Return the kind of a DICOM file, where it is a code and not what a damaged file has in its place."""
    stated = str(held.get("Modality", ""))
    return stated if re.fullmatch(r"[A-Z]{2,10}", stated) else "of no known modality"


# One group


def _group(path: Path, item: Any, order: str) -> _Group:
    rate = float(item.SamplingFrequency)
    if not (np.isfinite(rate) and rate > 0):
        raise EcgcamError(f"{path}: not a readable DICOM file (a sampling rate of {rate:g} Hz); export it again")
    definitions = list(item.ChannelDefinitionSequence)
    interpretation = str(item.get("WaveformSampleInterpretation", "SS"))
    stored = _stored(path, item, len(definitions), interpretation, order)
    if interpretation in _COMPANDED and not _is_g711(stored, _COMPANDED[interpretation]):
        raise EcgcamError(
            f"{path}: its 8-bit companded samples ({interpretation}) are not those of ITU-T G.711, which DICOM requires, so "
            "their voltages are unknown; export it again with 16 bits"
        )
    padding = _padding(item, interpretation, order)
    channels = []
    for row, definition in enumerate(definitions):
        values = stored[:, row]
        missing = _is_padding(values, padding, definition, interpretation, rate)
        name, unit = _named(path, definition)
        sensitivity = float(definition.ChannelSensitivity)
        correction = float(definition.get("ChannelSensitivityCorrectionFactor", 1) or 1)
        baseline = float(definition.get("ChannelBaseline", 0) or 0)
        samples = _linear(values, definition, interpretation) * (sensitivity * correction) + baseline
        samples[missing] = np.nan
        skew = float(definition.get("ChannelSampleSkew", 0) or 0)
        if round(skew):  # recorded this many sample intervals later than the group states
            samples = _shifted(samples, round(skew))
        channels.append(Channel(name, unit, rate, samples))
    if not channels or not len(channels[0].samples):
        raise EcgcamError(f"{path}: a waveform without samples; choose another file")
    label = str(item.get("MultiplexGroupLabel", "")).lower()
    derived = str(item.get("WaveformOriginality", "")).upper() == "DERIVED"
    median = re.search(r"median|average|representative|template", label) is not None
    return _Group(float(item.get("MultiplexGroupTimeOffset", 0) or 0) / 1000, rate, derived or median, channels)


def _shifted(samples: npt.NDArray[np.float64], late: int) -> npt.NDArray[np.float64]:
    shifted = np.full(len(samples), np.nan)
    if abs(late) < len(samples):
        if late > 0:
            shifted[late:] = samples[:-late]
        else:
            shifted[:late] = samples[-late:]
    return shifted


def _stored(path: Path, item: Any, channels: int, interpretation: str, order: str) -> Stored:
    """Return the stored whole numbers, (samples, channels)."""
    kind = _KINDS.get(interpretation)
    if kind is None:
        raise EcgcamError(f"{path}: samples of the kind {interpretation[:10]!r} are not supported; export it again")
    width = kind[1]
    allocated = int(item.get("WaveformBitsAllocated", 8 * width))
    if allocated != 8 * width:
        raise EcgcamError(
            f"{path}: samples of {allocated} bits of the kind {interpretation} are not supported; export it again"
        )
    content = item.WaveformData
    count = int(item.NumberOfWaveformSamples)
    if count < 1 or channels < 1 or len(content) < count * channels * width:
        raise EcgcamError(
            f"{path}: not a readable DICOM file ({len(content)} bytes of samples where {count} x {channels} are expected); "
            "copy the file again"
        )
    flat = np.frombuffer(content, np.dtype(f"{order}{kind[0]}{width}"), count * channels)
    return flat.astype(np.int64).reshape(count, channels)


def _bits(definition: Any, interpretation: str) -> int:
    """Return how many bits of a sample are used; the others may hold anything."""
    width = 8 * _KINDS[interpretation][1]
    stated = int(definition.get("WaveformBitsStored", width) or width)
    return stated if 1 < stated <= width else width


def _linear(values: Stored, definition: Any, interpretation: str) -> npt.NDArray[np.float64]:
    """Return stored values as they count: of the bits stored, with their sign, companded ones expanded."""
    if interpretation in _COMPANDED:
        return _COMPANDED[interpretation][values].astype(np.float64)
    bits = _bits(definition, interpretation)
    if bits >= 63:
        return values.astype(np.float64)
    low = values & ((1 << bits) - 1)
    if _KINDS[interpretation][0] == "i":
        half = 1 << (bits - 1)
        low = (low ^ half) - half
    return low.astype(np.float64)


def _mu_law() -> Stored:
    """Return G.711's mu-law of each byte, as 16 bits (4 x the 14 of the standard, as sound programs have it)."""
    code = ~np.arange(256) & 255
    magnitude = (((code & 15) << 3) + 132 << (code >> 4 & 7)) - 132
    return np.where(code & 128, -magnitude, magnitude).astype(np.int64)


def _a_law() -> Stored:
    """Return G.711's A-law of each byte, as 16 bits (8 x the 13 of the standard)."""
    code = np.arange(256) ^ 0x55
    exponent, mantissa = code >> 4 & 7, code & 15
    magnitude = np.where(exponent == 0, 16 * mantissa + 8, (16 * mantissa + 264) << np.maximum(exponent - 1, 0))
    return np.where(code & 128, magnitude, -magnitude).astype(np.int64)


# PS3.3 C.10.9.1.5: MB and AB are companded by G.711.
_COMPANDED = {"MB": _mu_law(), "AB": _a_law()}


def _is_g711(stored: Stored, table: Stored) -> bool:
    """Whether companded samples are bytes of G.711, whose order is not that of the values they stand for.

    Some programs write the companding formula as numbers that ascend from 0 to 255, for a full scale that the file does not
    state. At each crossing of 0 mV such bytes take a small step, which would be a jump by half the range if they were G.711.
    Bytes of G.711 jump there themselves.
    """
    rank = np.argsort(np.argsort(table, kind="stable"))
    as_numbers, as_g711 = (np.abs(np.diff(rows, axis=0)) for rows in (stored, rank[stored]))
    against = (as_numbers <= 8) & (as_g711 >= 100)
    in_favour = (as_numbers >= 100) & (as_g711 <= 8)
    return bool(against.sum() <= in_favour.sum())


# Padding


def _padding(item: Any, interpretation: str, order: str) -> int | None:
    """Return the group's Waveform Padding Value as a stored number."""
    value = item.get("WaveformPaddingValue", None)
    if value is None:
        return None
    kind, width = _KINDS[interpretation]
    if isinstance(value, bytes):
        if len(value) < width:
            return None
        return int(np.frombuffer(value[:width], np.dtype(f"{order}{kind}{width}"))[0])
    try:
        number = int(value)
    except (TypeError, ValueError):
        return None
    # An unsigned element for signed samples holds the same bits.
    half = 1 << (8 * width - 1)
    number &= 2 * half - 1
    return (number ^ half) - half if kind == "i" else number


def _is_padding(
    values: Stored, padding: int | None, definition: Any, interpretation: str, rate: float
) -> npt.NDArray[np.bool_]:
    """Which samples are padding: all at that value if it ends the range, else where it runs through the lead's start or end.

    Some devices state 0, which is an ordinary value.
    """
    missing = np.zeros(len(values), bool)
    if padding is None:
        return missing
    same: npt.NDArray[np.bool_] = values == padding
    if not same.any():
        return missing
    bits = _bits(definition, interpretation)
    mask = (1 << bits) - 1
    ends = {1 << (bits - 1), (1 << (bits - 1)) - 1} if _KINDS[interpretation][0] == "i" else {mask}
    if interpretation not in _COMPANDED and padding & mask in ends:
        return same
    for run, part in ((same, missing), (same[::-1], missing[::-1])):
        length = len(run) if run.all() else int(np.argmin(run))
        if length > HELD_S * rate:
            part[:length] = True
    return missing


# Names


def _named(path: Path, channel: Any) -> tuple[str, str | None]:
    """Return a channel's lead and unit."""
    name = _source(channel)
    units = channel.get("ChannelSensitivityUnitsSequence", None)
    if not units or channel.get("ChannelSensitivity", None) is None:
        raise EcgcamError(f"{path}: channel {name} has no sensitivity, so its voltages are unknown; export it again")
    if not float(channel.ChannelSensitivity or 0):
        raise EcgcamError(
            f"{path}: channel {name} has a sensitivity of 0, so its voltages are unknown; export it again"
        )
    return name, str(units[0].get("CodeValue", "")).strip() or None


def _source(channel: Any) -> str:
    """Return a channel's name: its lead by the code, in the code's own scheme; else by the code's meaning or the label."""
    sources = list(channel.get("ChannelSourceSequence", None) or ())
    meaning = ""
    if sources:
        source = sources[0]
        scheme = str(source.get("CodingSchemeDesignator", "")).strip().upper()
        lead = _lead_of_code(str(source.get("CodeValue", "")).strip(), scheme)
        meaning = _without_remark(str(source.get("CodeMeaning", "")))
        if lead:
            return lead
    label = _without_remark(str(channel.get("ChannelLabel", "")))
    for text in (meaning, label):
        if canonical_name(text):
            return plain_text(text)
    return plain_text(meaning or label) or "unnamed"


def _without_remark(text: str) -> str:
    """Return a name without what is in brackets, as in "Lead I (Einthoven)"."""
    return re.sub(r"\(.*\)", "", text).strip()


def _lead_of_code(code: str, scheme: str) -> str | None:
    if found := _SCP_CODE.fullmatch(code):
        return _LEADS.get(int(found[1])) if scheme in {"", "SCPECG"} else None
    number = None
    if found := _MDC_CODE.fullmatch(code):
        number = int(found[1]) if scheme in {"", "MDC", "MDC_10101"} else None
    elif scheme.startswith("MDC") and re.fullmatch(r"\d{6}", code):
        number = int(code) - _MDC_NUMBER
    if number is None:
        return None
    return _LEADS.get(number) or _LEADS.get(number - _MDC_POTENTIAL)


# Several groups


def _laid_out(path: Path, groups: Sequence[_Group]) -> tuple[list[Channel], list[str]]:
    """Return all leads, each at its groups' times and missing elsewhere, and notes of groups that are left out.

    Derived groups (median beats) are left out where there are others. Where two groups hold the same lead at the same time,
    the longer one's samples are kept.
    """
    originals = [group for group in groups if not group.derived] or list(groups)
    first = min(group.begin for group in originals)
    if not max(group.begin + group.seconds for group in originals) - first <= _LONGEST:
        raise EcgcamError(
            f"{path}: its waveforms lie more than a day apart, so they are not one recording; export each as a file"
        )
    left_out = len(groups) - len(originals)
    stored = sum(len(channel.samples) for group in groups for channel in group.channels)
    laid_out = max(
        (group.begin - first + group.seconds) * max(one.fs for one in originals) * len(group.channels)
        for group in originals
    )
    if not laid_out <= max(1 << 24, 16 * stored):
        raise EcgcamError(
            f"{path}: its waveforms lie far apart for their length, so they are not one recording; "
            "export each part as a file"
        )
    parts: dict[str, Channel] = {}
    for group in sorted(originals, key=lambda one: -one.seconds):
        used = False
        for channel in group.channels:
            at = round((group.begin - first) * group.fs)
            held = parts.get(channel.name)
            if held is not None and (held.fs != channel.fs or held.unit != channel.unit):
                continue
            size = max(at + len(channel.samples), 0 if held is None else len(held.samples))
            row = np.full(size, np.nan)
            row[at : at + len(channel.samples)] = channel.samples
            if held is not None:
                known = np.isfinite(held.samples)
                row[: len(known)][known] = held.samples[known]
                if not (np.isfinite(row).sum() > known.sum()):
                    continue
            used = True
            parts[channel.name] = channel._replace(samples=row)
        left_out += not used
    notes = (
        [f"{left_out} of {len(groups)} waveforms left out (median beats, or leads that a longer one has)"]
        if left_out
        else []
    )
    longest = max(len(channel.samples) / channel.fs for channel in parts.values())
    channels = []
    for channel in parts.values():
        missing = round(longest * channel.fs) - len(channel.samples)
        row = np.concatenate([channel.samples, np.full(max(0, missing), np.nan)])
        channels.append(channel._replace(samples=row))
    return channels, notes
