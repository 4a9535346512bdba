"""DICOM ECG waveforms through pydicom (`ecgcam[dicom]`): the longest multiplex group, its channels by their coded source."""

from __future__ import annotations

import io
import re
import struct
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ecgcam.errors import EcgcamError
from ecgcam.records.channels import DAMAGED, Channel, record_from
from ecgcam.records.record import Record

# The last number of SCP-ECG's 5.6.3-9-N and of MDC's 2:N (DICOM PS3.16, CID 3001), or what is left of N + 131072.
_LEADS = {
    1: "I", 2: "II", 3: "V1", 4: "V2", 5: "V3", 6: "V4", 7: "V5", 8: "V6", 61: "III", 62: "aVR", 63: "aVL", 64: "aVF",
}  # fmt: skip
_MDC = 131_072
# Deflated files are unpacked before anything of them can be known, to whatever size.
_DEFLATED = "1.2.840.10008.1.2.1.99"


def read_dicom(path: Path, fs: float | None, lead_names: tuple[str, ...] | None) -> Record:
    """Read the longest waveform of a DICOM file; others (median beats) are noted.

    Raises
    ------
    EcgcamError
        If it is no DICOM file, holds no waveform, or is damaged.
    """
    try:
        import pydicom
        from pydicom.errors import BytesLengthException, InvalidDicomError
        from pydicom.filereader import read_dataset, read_preamble
        from pydicom.waveforms.numpy_handler import multiplex_array
    except ImportError as error:
        raise EcgcamError(f"{path}: DICOM is read through pydicom; pip install 'ecgcam[dicom]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's name values, which may be a patient's
            # Of bytes in memory no more can be asked for than there are; of a file pydicom asks for what a header promises.
            file = io.BytesIO(path.read_bytes())
            read_preamble(file, force=False)
            meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != 2)
            if str(meta.get("TransferSyntaxUID", "")) == _DEFLATED:
                raise EcgcamError(f"{path}: is a deflated DICOM file, which is never unpacked; save it uncompressed")
            file.seek(0)
            held = pydicom.dcmread(file)
            groups = list(held.get("WaveformSequence", None) or ())
            if not groups:
                raise EcgcamError(
                    f"{path}: is a DICOM file without a waveform ({_modality(held)}); there is nothing to explain"
                )
            seconds = [float(one.NumberOfWaveformSamples) / float(one.SamplingFrequency) for one in groups]
            longest = int(np.argmax(seconds))
            values = multiplex_array(held, longest, as_raw=False)
            rate = float(groups[longest].SamplingFrequency)
            channels = [
                Channel(*_named(path, channel), rate, values[:, row])
                for row, channel in enumerate(groups[longest].ChannelDefinitionSequence)
            ]
    except (*DAMAGED, InvalidDicomError, BytesLengthException, struct.error) as error:
        # What the error says is left out: it may quote values of the file, such as a patient's name.
        kind = type(error).__name__
        raise EcgcamError(f"{path}: not a readable DICOM file ({kind}); copy the file again") from error
    record = record_from(path, path.stem, channels, fs, lead_names)
    if len(groups) == 1:
        return record
    return replace(record, notes=(*record.notes, f"the longest of {len(groups)} waveforms is read"))


def _modality(held: Any) -> str:
    """Return the kind of a DICOM file, where it is a code and not what a damaged file has in its place."""
    stated = str(held.get("Modality", ""))
    return stated if re.fullmatch(r"[A-Z]{2,10}", stated) else "of no known modality"


def _named(path: Path, channel: Any) -> tuple[str, str]:
    """Return a channel's lead and unit."""
    source = channel.ChannelSourceSequence[0]
    number = re.fullmatch(r"(?:5\.6\.3-9-|2:|MDC_2:)?(\d+)", str(source.get("CodeValue", "")).strip())
    code = int(number[1]) if number else 0
    meaning = re.sub(r"\(.*\)", "", str(source.get("CodeMeaning", ""))).strip()
    name = _LEADS.get(code - _MDC if code > _MDC else code) or meaning or "unnamed"
    units = channel.get("ChannelSensitivityUnitsSequence", None)
    if not units:
        raise EcgcamError(f"{path}: channel {name} has no sensitivity, its voltages are lost; export it again")
    if not float(channel.get("ChannelSensitivity", 0) or 0):
        raise EcgcamError(f"{path}: channel {name} has a sensitivity of 0, its voltages are lost; export it again")
    return name, str(units[0].get("CodeValue", "")).strip()
