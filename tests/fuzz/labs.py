"""What the devices and programs of labs write, from EDF to HDF5, and what must hold of these files besides the property."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ecgcam.errors import EcgcamError
from ecgcam.records import Record
from tests.fuzz.harness import Files
from tests.records.formats_by_hand import Signal, aecg, bent, chunk, edf, sequence, sierra, times
from tests.records.more_by_hand import (
    Beat,
    Bimodal,
    Group,
    dicom,
    ishne,
    mfer,
    mu_law_bytes,
    muse,
    muse_lead,
    muse_waveform,
    scp,
)

# Stands where these formats have a patient's name, and may reach no note and no error.
PATIENT = "Qxzjkv^Wqpzx"
_PARTS = re.compile(rf"{PATIENT[:4]}|{PATIENT[-4:]}")


def lab(suffix: str, folder: Path, valid: Files, changed: Files) -> None:
    """Read a recording, and where it can be a stretch of it; errors name the file, in one line that is not a patient's."""
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
    """Return EDF or BDF files: two rates, one lead, gaps."""
    from tests.fuzz.targets import gathered

    steps = np.arange(400) % 97 * 50
    rows = [
        [Signal("ECG I", "uV", steps), Signal("II", "mV", np.arange(800) % 31)],
        [Signal("ECG V1-Ref", "uV", steps), Signal("EMG chin", "uV", steps), Signal("ECG II", "uV", steps)],
        [Signal("I", "uV", steps)],
    ]
    made = [gathered(partial(lambda folder, of: edf(folder / f"rec{suffix}", of, records=4), of=of)) for of in rows]
    gaps = [0.5, 1.5, 2.75, 9.0]
    made.append(gathered(lambda folder: edf(folder / f"rec{suffix}", rows[0], records=4, onsets=gaps)))
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


def groups_seeds() -> list[Files]:
    """Return DICOM files of several groups, of several kinds of samples, big-endian and without a preamble."""
    from tests.fuzz.targets import gathered

    walks = np.clip(np.cumsum(np.random.default_rng(2).integers(-9, 10, (400, 3)), axis=0), -127, 127)
    first, late = ["I", "II", "V1"], ["V2", "V3", "V4"]
    made = [
        ([Group(first, walks), Group(late, walks[:200], offset_ms=800)], {}),
        ([Group(first, walks, kind="SB", fs=250), Group(first, walks[:90], derived=True, scheme="MDC")], {}),
        ([Group(first, walks, bits=12, padding=-2048, scheme="label")], {"big": True}),
        ([Group(first, mu_law_bytes(20 * walks), kind="MB", padding=255)], {"preamble": False}),
    ]

    def write(folder: Path, groups: list[Group], options: dict[str, bool]) -> None:
        dicom(folder / "rec.dcm", groups, **options)

    return [gathered(partial(write, groups=groups, options=options)) for groups, options in made]


def muse_seeds() -> list[Files]:
    """Return GE MUSE files of a rhythm, with median beats, in two encodings; each names a patient."""
    from tests.fuzz.targets import gathered

    walks = np.cumsum(np.random.default_rng(3).integers(-9, 10, (3, 300)), axis=1)
    rhythm = [muse_lead(lead, row) for lead, row in zip(("I", "II", "V1"), walks, strict=True)]
    median = muse_waveform("Median", [muse_lead("I", walks[0, :90])])
    plain = [muse_waveform("Rhythm", rhythm), median]
    short = muse_waveform("Rhythm", [muse_lead("V1", walks[0], "0.005", "MILLIVOLTS", 4, crc=False)], 25, 1)

    def write(folder: Path, waveforms: list[str], encoding: str) -> None:
        muse(folder / "rec.xml", *waveforms, encoding=encoding, name=PATIENT)

    return [
        gathered(partial(write, waveforms=waveforms, encoding=encoding))
        for waveforms, encoding in ((plain, "ISO-8859-1"), (plain[::-1], "UTF-16"), ([short], "UTF-8"))
    ]


def scp_seeds() -> list[Files]:
    """Return SCP-ECG files: plain, by Huffman's code, with leads at other times, with a reference beat, bimodal."""
    from tests.fuzz.targets import gathered

    walks = list(np.cumsum(np.random.default_rng(4).integers(-9, 10, (3, 300)), axis=1))
    beat = Beat([row[:60] for row in walks], 21, 2500, [(11, 31, 70), (120, 141, 180)])
    leads = ["I", "II", "V1"]

    def write(folder: Path, options: dict[str, Any]) -> None:
        scp(folder / "rec.scp", leads, walks, **options)

    kinds: list[dict[str, Any]] = [
        {"packed": False, "order": 0}, {"order": 2}, {"order": 1, "starts": [1, 1, 50]}, {"beat": beat, "interval": 1000},
        {"beat": beat, "interval": 1000, "bimodal": Bimodal([(5, 40), (101, 160)], 4)},
    ]  # fmt: skip
    return [gathered(partial(write, options=options)) for options in kinds]


def ishne_seeds() -> list[Files]:
    """Return ISHNE files of three leads, with and without a block between header and samples."""
    from tests.fuzz.targets import gathered

    walks = list(np.cumsum(np.random.default_rng(5).integers(-9, 10, (3, 400)), axis=1))

    def write(folder: Path, extra: bytes) -> None:
        ishne(folder / "rec.ecg", ["I", "II", "V1"], walks, extra=extra)

    return [gathered(partial(write, extra=extra)) for extra in (b"", PATIENT.encode() * 3)]


def mfer_seeds() -> list[Files]:
    """Return MFER files of both orders of bytes, in one block and in many, with a beat; each names a patient."""
    from tests.fuzz.targets import gathered

    walks = list(np.cumsum(np.random.default_rng(9).integers(-9, 10, (3, 300)), axis=1))

    def write(folder: Path, options: dict[str, Any]) -> None:
        mfer(folder / "rec.mwf", ["I", "II", "V1"], walks, name=PATIENT, **options)

    kinds: list[dict[str, Any]] = [{}, {"big": False, "block": 30, "offset": 5}, {"beat": True, "missing": -32768}]
    return [gathered(partial(write, options=options)) for options in kinds]


def csv_seeds() -> list[Files]:
    """Return tables of several separators, with a rate in a header or a column of times."""
    rows = np.cumsum(np.random.default_rng(6).integers(-9, 10, (300, 3)), axis=0) / 100
    text = "\n".join(",".join(f"{value:.2f}" for value in row) for row in rows)
    timed = "\n".join(f"{4 * at};" + ";".join(f"{value:.2f}" for value in row) for at, row in enumerate(rows))
    watch = "\n".join(f"{row[0] * 1000:.3f}" for row in rows)
    return [
        {"rec.csv": f"Sampling rate,250 Hz\nI,II,V1\n{text}\n".encode()},
        {"rec.csv": ("time (ms);I (mV);II (mV);V1 (mV)\n" + timed.replace(".", ",") + "\n").encode("utf-16")},
        {"rec.csv": f"Sample Rate,512 hertz\n\nLead,Lead I\nUnit,µV\n\n{watch}\n".encode()},
        {"rec.csv": ("Sampling rate,250 Hz\nI\tII\tV1\n" + text.replace(",", "\t") + "\n").encode("latin-1")},
    ]


def many_seeds() -> list[Files]:
    """Return HDF5 files of several recordings: as CODE's, packed, with ids and names."""
    from tests.fuzz.targets import gathered

    rows = np.random.default_rng(7).normal(0, 0.4, (3, 3, 200)).astype(np.float32)

    def write(folder: Path, packed: bool) -> None:
        import h5py

        with h5py.File(folder / "rec.h5", "w") as file:
            data = file.create_dataset("ecg", data=rows, compression="gzip" if packed else None, shuffle=packed)
            data.attrs["fs"], data.attrs["leads"] = 250.0, ["I", "II", "V1"]
            file["exam_id"] = np.arange(3) + 10
            file["group/ages"] = np.arange(3)

    return [gathered(partial(write, packed=packed)) for packed in (False, True)]


def stack_seeds() -> list[Files]:
    """Return npz archives of several recordings, stored and packed."""
    from tests.fuzz.targets import gathered

    rows = np.random.default_rng(8).normal(0, 0.4, (3, 3, 200)).astype(np.float32)
    named = {"fs": 250.0, "leads": np.array(["I", "II", "V1"]), "exam_id": np.array(["a", "b", "c"])}

    def write(folder: Path, save: Any, array: Any) -> None:
        save(folder / "rec.npz", ecg=array, **named)

    kinds = ((np.savez, rows), (np.savez_compressed, rows), (np.savez, np.asfortranarray(rows)))
    return [gathered(partial(write, save=save, array=array)) for save, array in kinds]


def many(suffix: str, folder: Path, valid: Files, changed: Files) -> None:
    """Read each recording of a file, by its number, and one by its id."""
    from ecgcam.records.readers import recordings_in
    from tests.fuzz.targets import recording

    named = recordings_in(folder / f"rec{suffix}")
    assert len(named) <= 1 << 20
    errors = []
    for reference in [*named[:3], f"{folder / f'rec{suffix}'}#id=11"]:
        try:
            recording(Path(reference).name, folder, valid, changed)
        except EcgcamError as error:
            said = str(error)
            assert said.isprintable(), "an error that is not printable"
            assert said.startswith((str(folder / f"rec{suffix}"), "rec")), f"an error that names no file: {said[:99]!r}"
            errors.append(error)
    if len(errors) > 3 or (len(named) == 1 and errors):
        raise errors[0]
