"""Files of GE MUSE, SCP-ECG, ISHNE, DICOM and CSV, written byte by byte from whole numbers, for tests and as seeds of fuzzing."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Whole = npt.NDArray[np.int64]


# GE MUSE


def muse_lead(
    name: str, samples: Whole, step: str = "4.88", unit: str = "MICROVOLTS", size: int = 2, crc: bool = True
) -> str:
    content = samples.astype({1: "i1", 2: "<i2", 4: "<i4"}[size]).tobytes()
    text = base64.b64encode(content).decode()
    lines = "\n".join(text[at : at + 76] for at in range(0, len(text), 76))
    checksum = f"<LeadDataCRC32>{zlib.crc32(content)}</LeadDataCRC32>" if crc else ""
    return (
        f"<LeadData><LeadByteCountTotal>{len(content)}</LeadByteCountTotal>"
        f"<LeadSampleCountTotal>{len(samples)}</LeadSampleCountTotal>"
        f"<LeadAmplitudeUnitsPerBit>{step}</LeadAmplitudeUnitsPerBit><LeadAmplitudeUnits>{unit}</LeadAmplitudeUnits>"
        f"<LeadID>{name}</LeadID><LeadSampleSize>{size}</LeadSampleSize>{checksum}"
        f"<WaveFormData>\n{lines}\n</WaveFormData></LeadData>"
    )


def muse_waveform(kind: str, leads: Sequence[str], base: int = 500, exponent: int = 0) -> str:
    return (
        f"<Waveform><WaveformType>{kind}</WaveformType><SampleBase>{base}</SampleBase>"
        f"<SampleExponent>{exponent}</SampleExponent>{''.join(leads)}</Waveform>"
    )


def muse(path: Path, *waveforms: str, encoding: str = "ISO-8859-1", name: str = "Müller") -> Path:
    text = (
        f'<?xml version="1.0" encoding="{encoding}"?>\n<!DOCTYPE RestingECG SYSTEM "restecg.dtd">\n'
        f"<RestingECG><PatientDemographics><PatientLastName>{name}</PatientLastName></PatientDemographics>"
        f"{''.join(waveforms)}</RestingECG>"
    )
    path.write_bytes(text.encode(encoding))
    return path


# SCP-ECG

SCP_CODES = {
    "I": 1, "II": 2, "V1": 3, "V2": 4, "V3": 5, "V4": 6, "V5": 7, "V6": 8, "III": 61, "aVR": 62, "aVL": 63, "aVF": 64,
}  # fmt: skip


def scp_section(number: int, body: bytes, protocol: int = 20) -> bytes:
    body += bytes(len(body) % 2)
    head = struct.pack("<HIBB6x", number, 16 + len(body), 20, protocol)
    return struct.pack("<H", binascii.crc_hqx(head + body, 0xFFFF)) + head + body


def default_code(value: int) -> str:
    """The bits of a number by the standard's Huffman table."""
    if value == 0:
        return "0"
    if abs(value) <= 8:
        return "1" * abs(value) + "0" + ("0" if value > 0 else "1")
    if -128 <= value < 128:
        return "1111111110" + f"{value & 255:08b}"
    return "1111111111" + f"{value & 65535:016b}"


def scp_table(codes: Sequence[tuple[str, int, int, int]]) -> bytes:
    """A Huffman table of section 2: prefix, plain bits behind it, mode (0 goes on with the table of the value), value."""
    rows = [
        struct.pack("<BBBhI", len(bits), len(bits) + plain, mode, value, int(bits[::-1], 2))
        for bits, plain, mode, value in codes
    ]
    return struct.pack("<H", len(codes)) + b"".join(rows)


def differences(samples: Whole, order: int) -> Whole:
    """First or second differences, the first samples as they are; in 16 bits, as the format has it."""
    made = samples.copy()
    if order == 1:
        made[1:] = np.diff(samples)
    elif order == 2 and len(samples) > 2:
        made[2:] = samples[2:] - 2 * samples[1:-1] + samples[:-2]
    return made.astype(np.int16).astype(np.int64)


def scp_data(samples: Whole, order: int, packed: bool) -> bytes:
    values = differences(samples, order)
    if not packed:
        return values.astype("<i2").tobytes()
    bits = "".join(default_code(int(value)) for value in values)
    bits += "0" * (-len(bits) % 16)
    return int(bits, 2).to_bytes(len(bits) // 8, "big") if bits else b""


def scp_samples(
    number: int, rows: Sequence[Whole], step: int, interval: int, order: int, packed: bool, bimodal: int = 0
) -> bytes:
    parts = [scp_data(row, order, packed) for row in rows]
    head = struct.pack("<HHBB", step, interval, order, bimodal) + struct.pack(f"<{len(parts)}H", *map(len, parts))
    return scp_section(number, head + b"".join(parts))


@dataclass
class Beat:
    """A reference beat of all leads (stored numbers), its fiducial sample, and where it was subtracted (start, fiducial, end)."""

    rows: Sequence[Whole]
    fiducial: int
    step: int
    zones: Sequence[tuple[int, int, int]]


@dataclass
class Bimodal:
    """Protected zones (first and last sample, from 1), and how many samples a mean stands for outside them."""

    zones: Sequence[tuple[int, int]]
    factor: int

    def stored(self, row: Whole) -> Whole:
        """Walk along a row: its samples inside a zone, elsewhere the mean of the next `factor` samples."""
        made, at = [], 1
        while at <= len(row):
            if any(first <= at <= last for first, last in self.zones):
                made.append(int(row[at - 1]))
                at += 1
            else:
                group = row[at - 1 : at - 1 + self.factor]
                made.append(int(group.sum() / len(group)))
                at += self.factor
        return np.array(made)


def scp(
    path: Path, leads: Sequence[str], rows: Sequence[Whole], *, step: int = 2500, interval: int = 2000, order: int = 2,
    packed: bool = True, starts: Sequence[int] | None = None, beat: Beat | None = None, bimodal: Bimodal | None = None,
    tables: bytes = struct.pack("<H", 19999),
) -> Path:  # fmt: skip
    begin = starts or [1] * len(leads)
    lead_list = b"".join(
        struct.pack("<IIB", first, first + len(row) - 1, SCP_CODES[lead])
        for lead, row, first in zip(leads, rows, begin, strict=True)
    )
    sections = [scp_section(1, b"\xff\0\0")]
    if packed:
        sections.append(scp_section(2, tables))
    sections.append(scp_section(3, bytes([len(leads), 5 if beat else 4]) + lead_list))
    if beat is not None:
        length = len(beat.rows[0]) * interval // 1000
        zones = b"".join(struct.pack("<HIII", 0, *zone) for zone in beat.zones)
        zones += b"".join(struct.pack("<II", *zone) for zone in bimodal.zones) if bimodal else b""
        sections.append(scp_section(4, struct.pack("<HHH", length, beat.fiducial, len(beat.zones)) + zones))
        sections.append(scp_samples(5, beat.rows, beat.step, interval, order, packed))
    if bimodal is None:
        sections.append(scp_samples(6, rows, step, interval, order, packed))
    else:
        short = [bimodal.stored(row) for row in rows]
        sections.append(scp_samples(6, short, step, interval * bimodal.factor, order, packed, bimodal=1))
    at, pointers = 6 + 16 + 10 * 12 + 1, []
    held = {struct.unpack_from("<H", one, 2)[0]: one for one in sections}
    pointers.append(struct.pack("<HII", 0, 16 + 120, 7))
    for number in range(1, 12):
        size = len(held.get(number, b""))
        pointers.append(struct.pack("<HII", number, size, at if size else 0))
        at += size
    body = b"".join(pointers)
    first = struct.pack("<HIBB", 0, 16 + len(body), 20, 20) + b"SCPECG" + body
    zero = struct.pack("<H", binascii.crc_hqx(first, 0xFFFF)) + first
    rest = zero + b"".join(held[number] for number in sorted(held))
    content = struct.pack("<I", 6 + len(rest)) + rest
    path.write_bytes(struct.pack("<H", binascii.crc_hqx(content, 0xFFFF)) + content)
    return path


# ISHNE

ISHNE_CODES = {
    "I": 5, "II": 6, "III": 7, "aVR": 8, "aVL": 9, "aVF": 10, "V1": 11, "V2": 12, "V3": 13, "V4": 14, "V5": 15, "V6": 16,
}  # fmt: skip


def ishne(
    path: Path, leads: Sequence[str], rows: Sequence[Whole], step: int = 2500, fs: int = 200, extra: bytes = b""
) -> Path:
    count = len(leads)
    fixed = bytearray(522)
    fixed[:8] = b"ISHNE1.0"
    struct.pack_into("<iiii", fixed, 10, len(extra), len(rows[0]), 522, 522 + len(extra))
    struct.pack_into("<h", fixed, 156, count)
    codes = [ISHNE_CODES[lead] for lead in leads] + [-9] * (12 - count)
    struct.pack_into("<12h", fixed, 158, *codes)
    struct.pack_into("<12h", fixed, 206, *([step] * count + [-9] * (12 - count)))
    struct.pack_into("<h", fixed, 272, fs)
    path.write_bytes(bytes(fixed) + extra + np.stack(rows, axis=1).astype("<i2").tobytes())
    return path


# MFER


def tlv(tag: int, value: bytes) -> bytes:
    """A definition, its length in one byte or in five."""
    size = bytes([len(value)]) if len(value) < 128 else b"\x84" + len(value).to_bytes(4, "big")
    return bytes([tag]) + size + value


def mfer(
    path: Path, leads: Sequence[str], rows: Sequence[Whole], *, big: bool = True, block: int | None = None, fs: int = 500,
    step: int = 25, offset: int = 0, missing: int | None = None, beat: bool = False, name: str = "",
) -> Path:  # fmt: skip
    """Write 16-bit samples of `step` x 100 nV, in blocks of so many samples (all in one, unless given)."""
    order: Any = "big" if big else "little"
    size = block or len(rows[0])
    parts = [tlv(0x40, b"MFR " + b"ECG".ljust(28)), tlv(0x01, bytes([0 if big else 1])), tlv(0x81, name.encode())]
    wave = b"".join(
        row[at : at + size].astype(f"{'>' if big else '<'}i2").tobytes()
        for at in range(0, len(rows[0]), size)
        for row in rows
    )
    layout = tlv(0x0B, b"\0\0" + fs.to_bytes(2, order)) + tlv(0x0C, b"\0\xf9" + step.to_bytes(2, order))
    layout += tlv(0x05, len(leads).to_bytes(2, order)) + tlv(0x04, size.to_bytes(4, order))
    layout += tlv(0x06, (len(rows[0]) // size).to_bytes(4, order))
    if offset:
        layout += tlv(0x0D, offset.to_bytes(2, order, signed=True))
    if missing is not None:
        layout += tlv(0x12, missing.to_bytes(2, order, signed=True))
    names = b"".join(b"\x3f" + bytes([at]) + _attributes(lead, order) for at, lead in enumerate(leads))
    parts += [layout, names]
    if beat:
        parts += [tlv(0x08, (9).to_bytes(2, order)), tlv(0x1E, wave)]
    parts += [tlv(0x08, (1).to_bytes(2, order)), tlv(0x1E, wave), b"\x80\0"]
    path.write_bytes(b"".join(parts))
    return path


def _attributes(lead: str, order: Any) -> bytes:
    inner = tlv(0x09, SCP_CODES[lead].to_bytes(2, order))
    return bytes([len(inner)]) + inner


# DICOM


@dataclass
class Group:
    """A multiplex group: leads, stored numbers (samples x channels), and what else it states."""

    leads: Sequence[str]
    stored: Whole
    fs: float = 500.0
    offset_ms: float = 0.0
    kind: str = "SS"
    sensitivity: float = 2.5
    baseline: float = 0.0
    bits: int | None = None
    padding: int | None = None
    scheme: str = "SCPECG"
    label: str = "RHYTHM"
    derived: bool = False


def mu_law_bytes(values: Whole) -> Whole:
    """Encode 16-bit values by G.711's mu-law: sign, number of the segment, step in it, all bits inverted."""
    made = np.zeros(values.shape, np.int64)
    for at, value in np.ndenumerate(values):
        magnitude = min(abs(int(value)), 32635) + 132
        segment = magnitude.bit_length() - 8
        made[at] = ~((value < 0) << 7 | segment << 4 | (magnitude >> (segment + 3) & 15)) & 255
    return made


_WIDTH = {"SB": 1, "UB": 1, "MB": 1, "AB": 1, "SS": 2, "US": 2, "SL": 4, "UL": 4}


def dicom(path: Path, groups: Sequence[Group], *, big: bool = False, preamble: bool = True) -> Path:
    """Write groups by pydicom, the samples' bytes by hand."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.sequence import Sequence as Items
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    held = Dataset()
    held.SOPClassUID, held.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.9.1.1", "1.2.3"
    held.Modality = "ECG"
    held.WaveformSequence = Items([_group(group, ">" if big else "<") for group in groups])
    held.file_meta = FileMetaDataset()
    held.file_meta.MediaStorageSOPClassUID, held.file_meta.MediaStorageSOPInstanceUID = held.SOPClassUID, "1.2.3"
    held.file_meta.TransferSyntaxUID = ExplicitVRBigEndian if big else ExplicitVRLittleEndian
    if preamble:
        held.save_as(path, enforce_file_format=True)
    else:
        del held.file_meta
        held.save_as(path, implicit_vr=True, little_endian=True)
        assert ImplicitVRLittleEndian
    return path


def _group(group: Group, order: str) -> Any:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence as Items

    width = _WIDTH[group.kind]
    item = Dataset()
    item.MultiplexGroupTimeOffset, item.MultiplexGroupLabel = f"{group.offset_ms:g}", group.label
    item.WaveformOriginality = "DERIVED" if group.derived else "ORIGINAL"
    item.NumberOfWaveformChannels, item.NumberOfWaveformSamples = len(group.leads), len(group.stored)
    item.SamplingFrequency = f"{group.fs:g}"
    item.ChannelDefinitionSequence = Items([_channel(group, lead) for lead in group.leads])
    item.WaveformBitsAllocated, item.WaveformSampleInterpretation = 8 * width, group.kind
    unsigned = group.stored & ((1 << 8 * width) - 1)
    content = unsigned.astype(f"{order}u{width}").tobytes()
    vr = "OB" if width == 1 else "OW"
    item.add_new(0x54001010, vr, content + bytes(len(content) % 2))
    if group.padding is not None:
        value = np.array([group.padding & ((1 << 8 * width) - 1)]).astype(f"{order}u{width}").tobytes()
        item.add_new(0x5400100A, vr, value + bytes(len(value) % 2))
    return item


def _channel(group: Group, lead: str) -> Any:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence as Items

    channel, unit = Dataset(), Dataset()
    if group.scheme == "label":
        channel.ChannelLabel = lead
    else:
        source = Dataset()
        number = SCP_CODES[lead]
        source.CodeValue = {"SCPECG": f"5.6.3-9-{number}", "MDC": f"2:{number}", "99X": "5"}[group.scheme]
        source.CodingSchemeDesignator, source.CodeMeaning = group.scheme, f"Lead {lead}"
        channel.ChannelSourceSequence = Items([source])
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "uV", "UCUM", "microvolt"
    channel.ChannelSensitivity, channel.ChannelSensitivityCorrectionFactor = f"{group.sensitivity:g}", "1"
    channel.ChannelSensitivityUnitsSequence = Items([unit])
    channel.ChannelBaseline = f"{group.baseline:g}"
    channel.WaveformBitsStored = group.bits or 8 * _WIDTH[group.kind]
    return channel
