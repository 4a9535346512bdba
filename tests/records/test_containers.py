"""Files as other programs lay them out: which array is the recording, what lies next to it, and what is refused as unclear."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from scipy.io import savemat
from tests.records.by_hand import in_segments
from tests.records.more_by_hand import Group, dicom, muse, muse_lead, muse_waveform

from ecgcam.cli.app import run
from ecgcam.errors import EcgcamError
from ecgcam.records import CANONICAL_LEADS, Record, read_record
from ecgcam.records.folders import find_in_folder
from ecgcam.records.quality import quality_checks
from ecgcam.records.readers import format_of, recordings_in

ROWS = np.cumsum(np.random.default_rng(5).normal(0, 0.04, (3, 900)), axis=1)
NAMES = ("I", "V1", "V2")
STATED: dict[str, Any] = {"fs": 500, "lead_names": NAMES}
# Five recordings (N, L, T).
MANY = np.cumsum(np.random.default_rng(6).normal(0, 0.04, (5, 3, 900)), axis=2)
TIME = np.arange(900) / 500


def refused(path: Path | str, **options: Any) -> str:
    with pytest.raises(EcgcamError) as error:
        read_record(path, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def assert_rows(record: Record, wanted: npt.NDArray[Any] = ROWS) -> None:
    assert (record.leads, record.fs) == (NAMES, 500.0)
    np.testing.assert_allclose(record.signal, wanted, rtol=1e-5, atol=1e-7)


# Which array


@pytest.mark.parametrize("suffix", [".npz", ".mat"])
@pytest.mark.parametrize(
    ("arrays", "unclear"),
    [
        ({"signal": ROWS, "ecg": 2 * ROWS}, False),  # what an error advises to name it
        ({"signal": ROWS, "other": MANY}, False),
        ({"ecg": ROWS, "ppg": 2 * ROWS}, False),
        ({"val": ROWS, "peaks": np.arange(40)}, False),
        ({"ecg": ROWS, "data": 2 * ROWS}, True),
        ({"data": ROWS, "others": MANY}, True),
        ({"raw": ROWS, "clean": ROWS}, True),
        ({"x_train": MANY, "x_test": MANY[:2], "means": ROWS}, True),
    ],
)
def test_which_array_is_the_recording(tmp_path: Path, suffix: str, arrays: dict[str, Any], unclear: bool) -> None:
    path = tmp_path / f"rec{suffix}"
    np.savez(path, **arrays) if suffix == ".npz" else savemat(path, arrays)
    if unclear:
        assert "it is unclear which array is the recording" in refused(path, **STATED)
        assert recordings_in(path) == [str(path)]
    else:
        assert_rows(read_record(path, **STATED))


def test_a_time_axis_is_no_lead(tmp_path: Path) -> None:
    one = {"fs": 500, "lead_names": ("V1",)}
    np.savez(tmp_path / "a.npz", x=TIME, y=ROWS[1])
    assert "it is unclear which array is the recording" in refused(tmp_path / "a.npz", **one)
    np.savez(tmp_path / "b.npz", t=TIME, x=ROWS[1])
    savemat(tmp_path / "c.mat", {"x": TIME, "y": ROWS[1]})
    for name in ("b.npz", "c.mat"):
        np.testing.assert_allclose(read_record(tmp_path / name, **one).signal, ROWS[[1]], rtol=1e-5)
    np.save(tmp_path / "d.npy", np.arange(900))  # alone it is what the caller states that it is
    assert read_record(tmp_path / "d.npy", **one).signal[0, 899] == 899


def test_structures_hold_rate_and_names_of_their_own(tmp_path: Path) -> None:
    names = np.array(NAMES, object)
    savemat(tmp_path / "a.mat", {"rec": {"signal": ROWS, "fs": 500.0, "leads": names}, "other": {"fs": 125.0}})
    assert_rows(read_record(tmp_path / "a.mat"))
    savemat(tmp_path / "b.mat", {"a": {"data": ROWS}, "b": {"data": ROWS}})
    assert "it is unclear which array is the recording (it holds a.data" in refused(tmp_path / "b.mat", **STATED)


def test_units_of_arrays(tmp_path: Path) -> None:
    path, named = tmp_path / "a.npz", {"fs": 500.0, "leads": list(NAMES)}
    np.savez(path, signal=ROWS * 1000, units=["uV", "uV", "uV"], **named)
    assert_rows(read_record(path))
    np.savez(path, signal=ROWS * 1000, units=["uV", "mV", "uV"], **named)
    assert "its leads have several units (mV, uV); convert them to one" in refused(path)
    np.savez(path, signal=np.vstack([ROWS, 80 + ROWS[0]]), units=["mV"] * 3 + ["mmHg"], fs=500.0, leads=[*NAMES, "ABP"])
    assert_rows(read_record(path))
    np.savez(path, signal=ROWS * 1000, unit="counts", **named)
    assert "its unit 'counts' is not a voltage; give the true one with `unit`" in refused(path)
    assert_rows(read_record(path, unit="uV"))


# Many in one


@pytest.mark.filterwarnings("error")
def test_many_as_python_2_wrote_them(tmp_path: Path) -> None:
    """Its shapes have an L after each number, of which NumPy warns."""
    path = tmp_path / "a.npy"
    np.save(path, MANY)
    content = path.read_bytes()
    assert b"(5, 3, 900), }   " in content
    path.write_bytes(content.replace(b"(5, 3, 900), }   ", b"(5L, 3L, 900L), }"))
    for number in range(5):
        assert_rows(read_record(f"{path}#{number}", **STATED), MANY[number])


@pytest.mark.parametrize("form", ["npy", "npz", "h5"])
def test_axes_in_another_order_are_refused_or_doubted(tmp_path: Path, form: str) -> None:
    """(T, L, N) fits the names as (N, L, T) does: the recordings would hold one moment of all patients."""
    turned, path = MANY.transpose(2, 1, 0), tmp_path / f"a.{form}"

    def save(array: npt.NDArray[Any], **more: Any) -> None:
        if form == "h5":
            with h5py.File(path, "w") as file:
                for name, value in {"ecg": array, **more}.items():
                    file[name] = value
        else:
            np.savez(path, ecg=array, **more) if form == "npz" else np.save(path, array)

    save(turned)
    record = read_record(f"{path}#0", **STATED)
    assert any("(900, 3, 5) is read as 900 recordings of 0.01 s" in note for note in record.notes)
    save(np.concatenate([turned] * 120, axis=2) * np.random.default_rng(0).normal(1, 0.2, 600))
    record = read_record(f"{path}#100", **STATED)
    assert any(note.startswith("neighbouring samples are unrelated") for note in record.notes)
    save(turned.transpose(1, 0, 2))
    assert "3 lead names do not fit an array of shape (900, 5)" in refused(f"{path}#0", **STATED)
    for array in (MANY, MANY.transpose(0, 2, 1)):
        save(array)
        record = read_record(f"{path}#3", **STATED)
        assert_rows(record, MANY[3])
        assert record.notes == ()
    if form != "npy":
        save(turned, exam_id=np.arange(5))
        for member in ("0", "id=0"):
            assert "has 5 ids for 900 recordings; the first axis of the array must be the" in refused(
                f"{path}#{member}", **STATED
            )


def test_samples_out_of_order_are_doubted() -> None:
    record = Record.from_array(ROWS, 500, NAMES)
    assert not quality_checks(record)
    shuffled = np.random.default_rng(0).permuted(ROWS, axis=1)
    noted = quality_checks(Record.from_array(shuffled, 500, NAMES))
    assert [note.split(",")[0] for note in noted] == ["neighbouring samples are unrelated"]
    assert not quality_checks(Record.from_array(shuffled, 50, NAMES))  # so slow that a QRS complex is one sample
    shuffled[:, ::2] = np.nan  # no two neighbours are known
    assert not quality_checks(Record.from_array(shuffled, 500, NAMES))


# HDF5


def test_datasets_of_several_recordings_are_unclear(tmp_path: Path) -> None:
    for names in (("a/ecg", "b/ecg"), ("a", "b"), ("ecg", "data")):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            for name in names:
                file[name] = ROWS
        assert "it is unclear which dataset holds the recordings" in refused(tmp_path / "a.h5", **STATED)


def test_rate_and_names_of_the_nearest_group_count(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["ecg/signal"], file["ppg/fs"], file["fs"] = ROWS, 125.0, 250.0
        file["ecg"].attrs["fs"], file["ecg"].attrs["leads"] = 500.0, list(NAMES)
    assert read_record(tmp_path / "a.h5").fs == 250.0  # a dataset before an attribute, as ever
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["fs"]
    assert_rows(read_record(tmp_path / "a.h5"))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["ecg"].attrs["fs"]
    assert "carries no sampling rate" in refused(tmp_path / "a.h5")  # not that of the pulse


def matlab_73(path: Path, **held: Any) -> Path:
    """A MATLAB 7.3 file: HDF5 behind 512 bytes, axes in reverse, text as numbers, cells as references."""

    def save(group: h5py.Group, name: str, value: Any) -> h5py.Dataset | h5py.Group:
        if isinstance(value, dict):
            one = group.create_group(name)
            one.attrs["MATLAB_class"] = np.bytes_(b"struct")
            for key, inner in value.items():
                save(one, key, inner)
            return one
        if isinstance(value, str):
            data, kind = np.array([[ord(letter)] for letter in value], "u2"), b"char"
        elif isinstance(value, tuple):
            parts = [save(group.file.require_group("#refs#"), f"{name}{at}", part) for at, part in enumerate(value)]
            data, kind = np.array([[part.ref] for part in parts], h5py.ref_dtype), b"cell"
        else:
            data, kind = np.atleast_2d(value).T, b"double"
        one = group.create_dataset(name, data=data)
        one.attrs["MATLAB_class"] = np.bytes_(kind)
        return one

    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in held.items():
            save(file, name, value)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


def test_matlab_73(tmp_path: Path) -> None:
    path = matlab_73(tmp_path / "rec.mat", val=ROWS * 1000, fs=500.0, leads=NAMES, unit="uV", note="lead off at 3 s")
    record = read_record(path)
    assert (record.name, record.unit, format_of(path)) == ("rec", "uV", "HDF5")
    assert_rows(record)
    path = matlab_73(tmp_path / "s.mat", ECG={"data": ROWS, "sex": "Male", "age": 50.0})
    assert_rows(read_record(path, **STATED))
    path = matlab_73(tmp_path / "many.mat", data=MANY)  # (N, L, T) in MATLAB
    assert recordings_in(path) == [f"{path}#{number}" for number in range(5)]
    assert_rows(read_record(f"{path}#3", **STATED), MANY[3])
    path = matlab_73(tmp_path / "many.mat", data=MANY.transpose(0, 2, 1), exam_id=np.arange(5.0) + 10)
    assert_rows(read_record(f"{path}#3", **STATED), MANY[3])


# Others


def test_a_label_with_a_remark_and_a_rhythm_in_capitals(tmp_path: Path) -> None:
    whole = np.arange(600).reshape(300, 2)
    path = dicom(tmp_path / "a.dcm", [Group(["I", "V1"], whole, scheme="label")])
    held = pydicom.dcmread(path)
    for channel in held.WaveformSequence[0].ChannelDefinitionSequence:
        channel.ChannelLabel = f"{channel.ChannelLabel} (Einthoven)"
    held.save_as(path)
    assert read_record(path).leads == ("I", "V1")
    muse(tmp_path / "a.xml", muse_waveform("RHYTHM", [muse_lead("II", whole[:, 0])]))
    assert read_record(tmp_path / "a.xml").notes == ("converted to mV: MICROVOLTS",)


def test_pairs_of_leads_one_after_another(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(-400, 400, (3000, 12))
    groups = [
        Group(
            CANONICAL_LEADS[lead : lead + 2],
            stored[250 * lead : 250 * lead + 500, lead : lead + 2],
            offset_ms=500.0 * lead,
        )
        for lead in range(0, 12, 2)
    ]
    record = read_record(dicom(tmp_path / "a.dcm", groups))
    wanted = np.full((12, 3000), np.nan)
    for lead in range(12):
        part = slice(500 * (lead // 2), 500 * (lead // 2) + 500)
        wanted[lead, part] = stored[part, lead] * 2.5e-3
    np.testing.assert_allclose(record.signal, wanted, atol=1e-6)


def test_folders_skip_segments_and_dicom_of_other_kinds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    master = in_segments(tmp_path, gap=True)
    path = dicom(tmp_path / "IM000001", [Group(["I", "V1"], np.arange(600).reshape(300, 2))])
    held = pydicom.dcmread(path)
    del held.WaveformSequence
    for name, kind in (("DICOMDIR", "1.2.840.10008.1.3.10"), ("IM000002.dcm", "1.2.840.10008.5.1.4.1.1.104.1")):
        held.file_meta.MediaStorageSOPClassUID = kind
        held.save_as(tmp_path / name)
    found = find_in_folder(tmp_path)
    # s2 and s3 are where the gap is: no header lists them.
    assert [one.name for one, _ in found.recordings] == ["IM000001", master.name, "s2.hea", "s3.hea"]
    assert found.summary() == "files read: 1 DICOM, 3 WFDB; skipped: 1 without suffix, 1 .dcm"
    assert "is a DICOM file without a waveform (ECG)" in refused(tmp_path / "DICOMDIR")
    (tmp_path / "rec.csv.gz").write_bytes(b"\x1f\x8b\x08" + bytes(20))
    assert "is packed by gzip, which is not read; unpack it first" in refused(tmp_path / "rec.csv.gz")
    # One reason is one line, however many recordings of a file it holds for.
    np.save(tmp_path / "many.npy", MANY)
    assert run(["inspect", str(tmp_path / "many.npy")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith("ecgcam: ")]) == 1
