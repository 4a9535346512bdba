"""Philips Sierra XML (1.03 to 1.04.02): one Base64 text of all leads, packed by XLI.

The format is proprietary; the source is sierra-ecg-tools (C. Watford, MIT licence). A lead is a
chunk: 8 bytes (length, unused, start value), then LZW of 10-bit codes. Unpacked, it is the high bytes of all samples, then the
low bytes, of second differences from which 64 and the one before were taken. III, aVR, aVL and aVF are what is left when the
lead is taken from what I and II make it.
"""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.files import one_line
from ecgcam.records.channels import Channel, ReadOptions, record_from
from ecgcam.records.record import CANONICAL_LEADS, Record

# Lead sets whose files do not name their leads.
_STANDARD = {"STD-12", "10-WIRE"}
_BITS, _LAST_CODE = 10, (1 << 10) - 2
# More than any recording of this format lasts, samples a lead (an hour at 1000 Hz).
_LONGEST = 3_600_000

Integers = npt.NDArray[np.int64]


def read_sierra(path: Path, root: Element, options: ReadOptions) -> Record:
    """Read the recording of a Philips Sierra ECG; its samples are integers of `resolution` microvolts.

    Raises
    ------
    EcgcamError
        If its version or packing is unknown, or it is damaged.
    """
    waveform = root.find("waveforms/parsedwaveforms")
    if waveform is None or not (waveform.text or "").strip():
        raise EcgcamError(f"{path}: is a Philips Sierra ECG without a waveform; choose another file")
    packing = waveform.get("compressmethod") or waveform.get("compression") or "none"
    encoding = waveform.get("dataencoding", "none")
    if packing != "XLI" or encoding != "Base64":
        raise EcgcamError(
            f"{path}: is a Philips Sierra ECG in {encoding[:20]} with the compression {packing[:20]!r}; "
            "only Base64 and XLI are read"
        )
    traits = _traits(path, root, waveform)
    names = _names(path, root, waveform)
    if not names:
        raise EcgcamError(f"{path}: a Philips Sierra ECG that names no leads; export it again")
    samples = round(traits["duration"] * traits["rate"] / 1000)
    if not 0 < samples <= _LONGEST:
        raise EcgcamError(
            f"{path}: {traits['duration']:g} ms per lead are not possible; the file is damaged, export it again"
        )
    try:
        packed = base64.b64decode("".join((waveform.text or "").split()), validate=True)
        leads = dict(zip(names, _unpacked(packed, len(names), samples), strict=True))
    except (binascii.Error, ValueError, struct.error) as error:
        raise EcgcamError(
            f"{path}: a Philips Sierra ECG whose waveform cannot be unpacked ({one_line(error)}); copy the file again"
        ) from error
    _undo_redundancy(path, leads)
    rows = np.stack(list(leads.values()))
    kept = _before_calibration(rows, traits["rate"])
    volts = (rows[:, :kept] - traits["offset"]) * traits["resolution"]
    channels = [Channel(lead, "uV", traits["rate"], row) for lead, row in zip(leads, volts, strict=True)]
    record = record_from(path, path.stem, channels, options)
    if kept == samples:
        return record
    note = f"a calibration pulse from {kept / traits['rate']:.4g} s to the end is left out"
    return replace(record, notes=(*record.notes, note))


def _before_calibration(rows: Integers, rate: float) -> int:
    """Return how many samples come before the end in which all leads are one signal: the device's calibration pulse."""
    differ = np.flatnonzero(np.ptp(rows, axis=0))
    last = int(differ[-1]) + 1 if len(differ) else rows.shape[1]
    pulse = rows[0, last:]
    return last if len(rows) > 2 and len(pulse) > 0.1 * rate and np.ptp(pulse) else rows.shape[1]


def _traits(path: Path, root: Element, waveform: Element) -> dict[str, float]:
    """Return rate (Hz), resolution (µV), offset and duration (ms); 1.04 also states them next to the waveform."""
    about = root.find("dataacquisition/signalcharacteristics")
    found = {}
    for what, attribute, tags in (
        ("rate", "samplespersecond", ("samplingrate",)),
        ("resolution", "resolution", ("resolution", "signalresolution")),
        ("offset", "signaloffset", ("signaloffset",)),
        ("duration", "durationperchannel", ()),
    ):
        texts = [waveform.get(attribute)]
        texts += [about.findtext(tag) for tag in tags] if about is not None else []
        stated = next((text for text in texts if text and text.strip()), "0" if what == "offset" else "")
        try:
            found[what] = float(stated)
        except ValueError as error:
            raise EcgcamError(
                f"{path}: a Philips Sierra ECG that does not state its {what}; export it again"
            ) from error
        if not np.isfinite(found[what]) or (what != "offset" and found[what] <= 0):
            raise EcgcamError(
                f"{path}: a {what} of {stated[:20]} is not possible; the file is damaged, export it again"
            )
    return found


def _names(path: Path, root: Element, waveform: Element) -> list[str]:
    labels = waveform.get("leadlabels", "").split()
    if labels:
        return labels[: int(count)] if (count := waveform.get("numberofleads", "")).isdigit() else labels
    kind = root.findtext("dataacquisition/signalcharacteristics/acquisitiontype", "").strip()
    if kind not in _STANDARD:
        raise EcgcamError(
            f"{path}: a Philips Sierra ECG of the lead set {kind[:40]!r}, which names no leads; export it with lead names"
        )
    return list(CANONICAL_LEADS)


def _unpacked(packed: bytes, leads: int, samples: int) -> list[Integers]:
    """Return each lead's stored integers, `samples` of them."""
    rows, at = [], 0
    for lead in range(leads):
        size, start = struct.unpack_from("<i2xh", packed, at)
        if size <= 0 or at + 8 + size > len(packed):
            raise ValueError(f"lead {lead + 1} of {leads} is cut off")
        # Devices round a lead up to whole blocks, by less than a second.
        data = _lzw(packed[at + 8 : at + 8 + size], most=4 * samples + 65536)
        half = (len(data) + 1) // 2
        if half < samples:
            raise ValueError(f"lead {lead + 1} of {leads} has {half} samples where {samples} are expected")
        data = data.ljust(2 * half, b"\0")
        high, low = (np.frombuffer(part, np.uint8).astype(np.int64) for part in (data[:half], data[half:]))
        rows.append(_integrated(((high << 8 | low) + 0x8000 & 0xFFFF) - 0x8000, start)[:samples])
        at += 8 + size
    return rows


def _integrated(stored: Integers, start: int) -> Integers:
    """Return samples z[i] = 2 z[i-1] - z[i-2] - d[i-1], d the stored integers less 64 and d[1] the start value."""
    if len(stored) < 3:
        return stored
    bends = -np.concatenate([[start], stored[2:-1] - 64])
    slopes = stored[1] - stored[0] + np.cumsum(bends)
    values = np.concatenate([stored[:2], stored[1] + np.cumsum(slopes)])
    if np.abs(values).max() > 0x7FFF:
        raise ValueError("values beyond 16 bits")
    return values


def _lzw(packed: bytes, most: int) -> bytes:
    """Return what 10-bit codes stand for, highest bits first, until one beyond the table; more than `most` bytes are refused."""
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))
    rows = bits[: len(bits) // _BITS * _BITS].reshape(-1, _BITS)
    codes = (rows @ (1 << np.arange(_BITS - 1, -1, -1))).tolist()
    table = [bytes([code]) for code in range(256)]
    parts: list[bytes] = []
    held = 0
    for before, code in pairwise([-1, *codes]):
        if code > _LAST_CODE:
            break
        previous = table[before] if before >= 0 else b""
        if code < len(table):
            entry = table[code]
        elif previous and code == len(table):
            entry = previous + previous[:1]
        else:
            raise ValueError(f"code {code} where {len(table)} are known")
        if previous and len(table) <= _LAST_CODE:
            table.append(previous + entry[:1])
        parts.append(entry)
        held += len(entry)
        if held > most:
            raise ValueError(f"more than {most} bytes a lead")
    return b"".join(parts)


def _undo_redundancy(path: Path, leads: dict[str, Integers]) -> None:
    """Give III, aVR, aVL and aVF back what I and II make them, halves rounded down."""
    if stored := [lead for lead in ("III", "aVR", "aVL", "aVF") if lead in leads]:
        if "I" not in leads or "II" not in leads:
            raise EcgcamError(
                f"{path}: a Philips Sierra ECG with {stored[0]} and without I and II; export it with I and II"
            )
        one, two = leads["I"], leads["II"]
        three = two - one - leads["III"] if "III" in leads else two - one
        whole = {"III": two - one, "aVR": -((one + two) // 2), "aVL": (one - three) // 2, "aVF": (two + three) // 2}
        for lead in stored:
            leads[lead] = whole[lead] - leads[lead]
