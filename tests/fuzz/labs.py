"""What labs' devices write: EDF, BDF, HL7 aECG, Philips Sierra, DICOM; and what must hold of those beside the property."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from ecgcam.errors import EcgcamError
from ecgcam.records import Record
from tests.fuzz.harness import Files
from tests.records.formats_by_hand import Signal, aecg, bent, chunk, edf, sequence, sierra, times

# Stands where these formats have a patient's name, and may reach no note and no error.
PATIENT = "Qxzjkv^Wqpzx"
_PARTS = re.compile(rf"{PATIENT[:4]}|{PATIENT[-4:]}")


def lab(suffix: str, folder: Path, valid: Files, changed: Files) -> None:
    """Read a recording, and where it can be a stretch of it; errors name the file, in one line that is no patient's."""
    from tests.fuzz.targets import recording, right

    path = folder / f"rec{suffix}"
    try:
        recording(path.name, folder, valid, changed)
        record = stretch(path)
    except EcgcamError as error:
        said = str(error)
        assert said.isprintable(), "an error that is not printable"
        # A window without a signal is told by the record's name, which is the file's without its suffix.
        assert said.startswith((str(path), "rec: no lead has a signal")), f"an error that names no file: {said[:99]!r}"
        assert len(said) < 1000, "a long error"
        assert not _PARTS.search(said), "an error that quotes the patient's name"
        raise
    if record is not None:
        right(record)
        assert not _PARTS.search(" ".join(record.notes)), "a note that quotes the patient's name"


def stretch(path: Path) -> Record | None:
    """Return a second of the recording, where the format can be read in parts."""
    from ecgcam.records.readers import partial_length, read_stretch

    return read_stretch(path, 0.5, 1.5) if partial_length(path) else None


def edf_seeds(suffix: str) -> list[Files]:
    """Return EDF or BDF files: two rates, one lead."""
    from tests.fuzz.targets import gathered

    steps = np.arange(400) % 97 * 50
    rows = [
        [Signal("ECG I", "uV", steps), Signal("II", "mV", np.arange(800) % 31)],
        [Signal("ECG V1-Ref", "uV", steps), Signal("EMG chin", "uV", steps), Signal("ECG II", "uV", steps)],
        [Signal("I", "uV", steps)],
    ]
    made = [gathered(partial(lambda folder, of: edf(folder / f"rec{suffix}", of, records=4), of=of)) for of in rows]
    name = f"{PATIENT} M 02-MAY-1951".ljust(80).encode()
    return [{f"rec{suffix}": each[f"rec{suffix}"].replace(b"X".ljust(80), name, 1)} for each in made]


def xml_seeds() -> list[Files]:
    """Return HL7 aECG files of one and two sets, and a Philips Sierra one; each names a patient."""
    from tests.fuzz.targets import gathered

    walks = np.cumsum(np.random.default_rng(0).integers(-9, 10, (3, 100)), axis=1)
    packed = b"".join(chunk(*bent(row)) for row in walks)
    first = times() + sequence("MDC_ECG_LEAD_I", " ".join(map(str, range(60))))
    second = times(head="20021122091000.006") + sequence("MDC_ECG_LEAD_V1", "5 6 7")
    files = [
        gathered(lambda folder: aecg(folder / "rec.xml", first + sequence("MDC_ECG_LEAD_V1", "5 " * 60))),
        gathered(lambda folder: aecg(folder / "rec.xml", first, second)),
        gathered(lambda folder: sierra(folder / "rec.xml", packed, "I II V1", 100, encoding="utf-8")),
    ]
    name = f"<name>{PATIENT}</name>".encode()
    for each in files:
        each["rec.xml"] = re.sub(rb"(<component><series>|<waveforms>)", name + rb"\1", each["rec.xml"], count=1)
    return files


def dicom_seeds() -> list[Files]:
    """Return pydicom's own example of a 12-lead ECG, shortened; explicit and implicit types."""
    import pydicom

    from tests.fuzz.targets import gathered

    held = pydicom.dcmread(pydicom.examples.get_path("waveform"))
    del held.WaveformSequence[1]
    group = held.WaveformSequence[0]
    group.NumberOfWaveformSamples, group.WaveformData = 200, group.WaveformData[:4800]
    held.PatientName = PATIENT
    explicit = gathered(lambda folder: held.save_as(folder / "rec.dcm"))
    held.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    return [explicit, gathered(lambda folder: held.save_as(folder / "rec.dcm", implicit_vr=True, little_endian=True))]
