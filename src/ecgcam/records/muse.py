"""GE MUSE XML (restecg.dtd): the rhythm waveform, whole numbers in Base64, each lead with its own scale.

The format has no public specification; this follows what exports hold and BRAVEHEART's and ECGToolkit's readers.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.records.channels import Channel, ReadOptions, record_from
from ecgcam.records.record import Record

_SIZES = {1: "i1", 2: "<i2", 4: "<i4"}
_RHYTHM = "rhythm"


def read_muse(path: Path, root: Element, options: ReadOptions) -> Record:
    """Read the rhythm of a GE MUSE export; median beats are left out. Missing limb leads are derived from I and II.

    Raises
    ------
    EcgcamError
        If it holds no rhythm, or one that is damaged.
    """
    found = [one for one in root.iter("Waveform") if _text(one, "WaveformType").lower() in {"", _RHYTHM}]
    others = sorted({_text(one, "WaveformType") for one in root.iter("Waveform") if one not in found})
    if not found:
        raise EcgcamError(f"{path}: is a GE MUSE ECG without a rhythm waveform; choose another file")
    channels: dict[str, Channel] = {}
    failed, empty = [], []
    for waveform in found:
        rate = _rate(path, waveform)
        for lead in waveform.iter("LeadData"):
            if not _text(lead, "WaveFormData"):
                empty.append(_text(lead, "LeadID") or "unnamed")
                continue
            channel, right = _channel(path, lead, rate)
            # A second rhythm repeats leads, or brings further ones (XLeads); the longer of two is kept.
            held = channels.get(channel.name)
            if held is None or len(channel.samples) / channel.fs > len(held.samples) / held.fs:
                channels[channel.name] = channel
            if not right:
                failed.append(channel.name)
    if not channels:
        raise EcgcamError(f"{path}: is a GE MUSE ECG whose rhythm has no leads; choose another file")
    record = record_from(path, path.stem, list(channels.values()), options)
    notes = [f"waveforms left out: {', '.join(other[:20] for other in others)}"] if others else []
    if empty:
        notes.append(f"leads without samples: {', '.join(name[:20] for name in empty)}")
    if failed:
        notes.append(f"checksums of the file do not fit the samples: {', '.join(failed)}; the file may be damaged")
    return replace(record, notes=(*record.notes, *notes))


def _rate(path: Path, waveform: Element) -> float:
    base = _number(path, waveform, "SampleBase", "its sampling rate")
    exponent = _number(path, waveform, "SampleExponent", "its sampling rate", absent=0.0)
    if not abs(exponent) <= 9:
        raise EcgcamError(
            f"{path}: is a GE MUSE ECG with a rate of {base:g} x 10^{exponent:g} Hz; the file is "
            "damaged, export it again"
        )
    return float(base * 10.0**exponent)


def _channel(path: Path, lead: Element, rate: float) -> tuple[Channel, bool]:
    """Return a lead and whether its checksum fits."""
    name = _text(lead, "LeadID") or "unnamed"
    size = int(_number(path, lead, "LeadSampleSize", f"the size of samples of {name}", absent=2.0))
    if size not in _SIZES:
        raise EcgcamError(
            f"{path}: {name[:20]} has samples of {size} bytes, which are not supported; export it with 2 bytes"
        )
    try:
        content = base64.b64decode("".join(_text(lead, "WaveFormData").split()), validate=True)
        stored: npt.NDArray[np.float64] = np.frombuffer(content, _SIZES[size]).astype(np.float64)
    except (binascii.Error, ValueError) as error:
        raise EcgcamError(f"{path}: the samples of {name[:20]} are damaged; export the file again") from error
    promised = _number(
        path, lead, "LeadSampleCountTotal", f"the number of samples of {name}", absent=float(len(stored))
    )
    if not len(stored) or len(stored) != promised:
        raise EcgcamError(
            f"{path}: {name[:20]} has {len(stored)} samples where {promised:g} are expected; export the file again"
        )
    scale = _number(path, lead, "LeadAmplitudeUnitsPerBit", f"the scale of {name}")
    if not scale:
        raise EcgcamError(f"{path}: {name[:20]} has a scale of 0, so its voltages are unknown; export it again")
    checksum = _text(lead, "LeadDataCRC32")
    right = not (checksum.isascii() and checksum.isdigit()) or int(checksum) in {0, zlib.crc32(content) & 0xFFFFFFFF}
    unit = _text(lead, "LeadAmplitudeUnits")
    return Channel(name, unit or None, rate, stored * scale), right


def _children(element: Element, tag: str) -> Iterator[Element]:
    return (child for child in element if child.tag.lower() == tag.lower())


def _text(element: Element, tag: str) -> str:
    child = next(_children(element, tag), None)
    return "" if child is None else "".join(child.itertext()).strip()


def _number(path: Path, element: Element, tag: str, what: str, absent: float | None = None) -> float:
    text = _text(element, tag)
    if not text and absent is not None:
        return absent
    try:
        number = float(text.replace(",", "."))
    except ValueError as error:
        raise EcgcamError(
            f"{path}: is a GE MUSE ECG that does not state {what[:60]} as a number; export it again"
        ) from error
    if not np.isfinite(number):
        raise EcgcamError(
            f"{path}: is a GE MUSE ECG that states {what[:60]} as {number:g}; the file is damaged, export it again"
        )
    return number
