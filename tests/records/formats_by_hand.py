"""EDF, BDF, aECG, Sierra and DICOM files written from their formats' descriptions, not by the libraries that read them."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Signal(NamedTuple):
    label: str
    unit: str
    samples: Sequence[int]  # digital, over all data records
    tall: int = 32767  # what 32767 digital units are, in `unit`


def edf(
    path: Path, signals: Sequence[Signal], records: int = 1, seconds: float = 1, onsets: Sequence[float] | None = None
) -> Path:
    """An EDF file (Kemp et al. 1992): 256 bytes, 256 a signal, then records of little-endian int16; BDF: of 24 bits.

    With `onsets` it is a discontinuous EDF+ file, whose last signal holds the time at which each record begins.
    """
    bdf = path.suffix == ".bdf"
    most = 8388607 if bdf else 32767
    first = b"\xffBIOSEMI" if bdf else b"0       "
    head = first + f"{'X':80}{'Y':80}01.01.0101.01.01{256 * (len(signals) + 1):<8}".encode()
    kind = "24BIT" if bdf else ""
    if onsets is not None:
        kind = "BDF+D" if bdf else "EDF+D"
        width = 3 if bdf else 2
        texts = [f"{onset:+.9g}\x14\x14".encode().ljust(12 * width, b"\0") for onset in onsets]
        words = np.frombuffer(b"".join(texts), np.uint8).reshape(-1, width).astype(np.int64)
        annotations = (words << (8 * np.arange(width))).sum(axis=1)
        annotations -= (annotations >> (8 * width - 1)) << (8 * width)
        label = "BDF Annotations" if bdf else "EDF Annotations"
        signals = [*signals, Signal(label, "", annotations.tolist(), 1)]
    head += f"{kind:44}{records:<8}{seconds:<8g}{len(signals):<4}".encode()
    for field in (
        [f"{one.label:16}" for one in signals],
        [f"{'':80}"] * len(signals),
        [f"{one.unit:8}" for one in signals],
        [f"{-one.tall:<8}" for one in signals],
        [f"{one.tall:<8}" for one in signals],
        [f"{-most:<8}"] * len(signals),
        [f"{most:<8}"] * len(signals),
        [f"{'':80}"] * len(signals),
        [f"{len(one.samples) // records:<8}" for one in signals],
        [f"{'':32}"] * len(signals),
    ):
        head += "".join(field).encode("latin-1")
    body = b""
    for record in range(records):
        for one in signals:
            per = len(one.samples) // records
            part = np.asarray(one.samples[record * per : (record + 1) * per], "<i4")
            body += part.view(np.uint8).reshape(-1, 4)[:, :3].tobytes() if bdf else part.astype("<i2").tobytes()
    path.write_bytes(head + body)
    return path


def sequence(code: str, digits: str, scale: str = '<scale value="2.5" unit="uV"/>', origin: str = "0") -> str:
    return (
        f'<component><sequence><code code="{code}"/><value xsi:type="SLIST_PQ"><origin value="{origin}" unit="uV"/>'
        f"{scale}<digits>{digits}</digits></value></sequence></component>"
    )


def times(increment: str = "0.002", head: str = "20021122091000.000") -> str:
    return (
        '<component><sequence><code code="TIME_ABSOLUTE"/><value xsi:type="GLIST_TS">'
        f'<head value="{head}"/><increment value="{increment}" unit="s"/></value></sequence></component>'
    )


def aecg(path: Path, *sets: str) -> Path:
    inner = "".join(f"<component><sequenceSet>{one}</sequenceSet></component>" for one in sets)
    path.write_text(
        '<?xml version="1.0"?><AnnotatedECG xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<component><series>{inner}</series></component></AnnotatedECG>"
    )
    return path


def chunk(stored: Sequence[int], start: int = 0) -> bytes:
    """A lead's chunk of XLI: high bytes, low bytes, each a literal 10-bit code, and 0x3FF to end."""
    words = np.asarray(stored, np.int64) & 0xFFFF
    codes = [*(words >> 8).tolist(), *(words & 255).tolist(), 0x3FF]
    bits = "".join(f"{code:010b}" for code in codes)
    bits += "0" * (-len(bits) % 8)
    packed = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return struct.pack("<ihh", len(packed), 0, start) + packed


def bent(samples: Sequence[int]) -> tuple[list[int], int]:
    """What is stored for a lead, and its start value: the first two samples, then 64 less the second differences."""
    bends = -np.diff(samples, 2)
    return [*samples[:2], *(int(bend) + 64 for bend in bends[1:]), 0], int(bends[0])


def sierra(
    path: Path, packed: bytes, labels: str, samples: int, compression: str = "XLI", encoding: str = "utf-16"
) -> Path:
    path.write_text(
        f'<?xml version="1.0" encoding="{encoding}"?><restingecgdata xmlns="http://www3.medical.philips.com">'
        "<waveforms><parsedwaveforms "
        f'dataencoding="Base64" compression="{compression}" leadlabels="{labels}" numberofleads="{len(labels.split())}" '
        f'durationperchannel="{samples * 2}" samplespersecond="500" resolution="5" signaloffset="0">'
        f"{base64.b64encode(packed).decode()}</parsedwaveforms></waveforms></restingecgdata>",
        encoding=encoding,
    )
    return path
