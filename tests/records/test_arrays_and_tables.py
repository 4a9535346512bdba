"""Arrays in memory, files with many recordings, tables, folders: what is read, and one line for what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from tests.records.formats_by_hand import Signal, edf
from tests.records.more_by_hand import Group, dicom, muse, muse_lead, muse_waveform, scp

from ecgcam.errors import EcgcamError
from ecgcam.records import CANONICAL_LEADS, Record, read_record
from ecgcam.records.folders import find_in_folder
from ecgcam.records.readers import READERS, record_name, recordings_in, sniff

ROWS = np.cumsum(np.random.default_rng(5).normal(0, 0.04, (3, 900)), axis=1)
NAMES = ("I", "V1", "V2")


def refused(path: Path | str, **options: Any) -> str:
    with pytest.raises(EcgcamError) as error:
        read_record(path, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


# In memory


@pytest.mark.parametrize("made", [np.array, torch.tensor, list, lambda rows: torch.tensor(rows, requires_grad=True)])
@pytest.mark.parametrize("across", [False, True])
def test_an_array_in_memory(made: Any, across: bool) -> None:
    array = made((ROWS.T if across else ROWS).tolist())
    record = Record.from_array(array, 500, NAMES, name="mine")
    assert (record.name, record.fs, record.leads) == ("mine", 500.0, NAMES)
    np.testing.assert_allclose(record.signal, ROWS, rtol=1e-6)
    assert record.signal.dtype == np.float32


def test_an_array_whose_axes_both_fit_has_its_leads_first() -> None:
    square = np.arange(9.0).reshape(3, 3)
    np.testing.assert_array_equal(Record.from_array(square, 500, NAMES).signal, square)


@pytest.mark.parametrize(("unit", "scale"), [("mV", 1.0), ("uV", 1e-3), ("V", 1e3), ("µV", 1e-3)])
def test_units_of_an_array(unit: str, scale: float) -> None:
    record = Record.from_array(ROWS / scale, 500, "I,V1,V2", unit=unit)
    np.testing.assert_allclose(record.signal, ROWS, rtol=1e-6)
    assert record.notes == ()


def test_an_array_gets_the_checks_of_a_file() -> None:
    notes = Record.from_array(ROWS * 1000, 500, NAMES).notes
    assert any("implausibly large" in note and "`unit` uV" in note for note in notes)
    notes = Record.from_array(ROWS[[0, 1, 1]], 500, NAMES).notes
    assert any("same signal" in note for note in notes)
    gap = ROWS.copy()
    gap[1, 5] = np.nan
    assert np.isnan(Record.from_array(gap, 500, NAMES).signal).sum() == 1
    half = torch.tensor(ROWS, dtype=torch.bfloat16)
    np.testing.assert_array_equal(Record.from_array(half, 500, NAMES).signal, half.float().numpy())
    assert Record.from_array(ROWS[0], 500, ["V4"]).signal.shape == (1, 900)
    kept = ROWS.copy()
    Record.from_array(kept, 500, NAMES, unit="uV")
    np.testing.assert_array_equal(kept, ROWS)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"fs": 0}, "`fs` 0: not possible"),
        ({"fs": float("nan")}, "`fs` nan: not possible"),
        ({"fs": None}, "`fs` None: is not a number"),
        ({"fs": "fast"}, "`fs` fast: is not a number"),
        ({"signal": np.zeros((3, 0))}, "the recording is empty"),
        ({"signal": np.zeros((2, 900))}, "3 lead names do not fit an array of shape (2, 900)"),
        ({"signal": np.zeros((1, 3, 900))}, "has shape (1, 3, 900)"),
        ({"signal": np.zeros((3, 900), complex)}, "not numbers"),
        ({"signal": np.full((3, 900), np.nan)}, "every sample is missing"),
        ({"signal": [[1.0], [1.0, 2.0], "a"]}, "not"),
        ({"signal": "file.npy"}, "not numbers"),
        ({"lead_names": ("I", "I", "V1")}, "lead I occurs twice"),
        ({"lead_names": ("a", "b", "c")}, "none of the channels"),
        ({"lead_names": "I,,V1"}, "an empty name"),
        ({"unit": "pV"}, "`unit` pV: no such unit"),
        ({"unit": None}, ""),
    ],
)
def test_arrays_that_cannot_be(change: dict[str, Any], says: str) -> None:
    arguments = {"signal": ROWS, "fs": 500, "lead_names": NAMES} | change
    if change.get("unit", 1) is None:
        assert Record.from_array(**arguments).signal.shape == (3, 900)
        return
    with pytest.raises(EcgcamError) as error:
        Record.from_array(**arguments)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


# Many in one file


def code_set(path: Path, rows: int = 3) -> np.ndarray:
    values = np.random.default_rng(1).normal(0, 0.5, (rows, 4096, 12)).astype(np.float32)
    with h5py.File(path, "w") as file:
        file["tracings"] = values
        file["exam_id"] = np.arange(rows) + 1_169_160
    return values


def test_the_code_data_sets(tmp_path: Path) -> None:
    path = tmp_path / "exams_part0.hdf5"
    values = code_set(path)
    assert recordings_in(path) == [f"{path}#{number}" for number in range(3)]
    for reference in (f"{path}#1", f"{path}#id=1169161"):
        record = read_record(reference)
        assert (record.name, record.fs, record.leads) == ("exams_part0-1", 400.0, CANONICAL_LEADS)
        np.testing.assert_array_equal(record.signal, values[1].T)
        assert "read as the CODE data sets are laid out: 400 Hz, leads in the usual order" in record.notes
    assert record_name(Path(f"{path}#id=1169162")) == "exams_part0-2"
    assert "holds 3 recordings; name one as exams_part0.hdf5#0" in refused(path)
    assert "has no recording '3'; they are numbered 0 to 2" in refused(f"{path}#3")
    assert "0 recordings have the id 7" in refused(f"{path}#id=7")


def test_a_file_whose_name_has_the_mark_is_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "rec#1.npy", ROWS)
    assert read_record(tmp_path / "rec#1.npy", fs=500, lead_names=NAMES).name == "rec#1"
    np.save(tmp_path / "a", ROWS)
    (tmp_path / "a.npy").rename(tmp_path / "a#2")
    assert read_record(tmp_path / "a#2", fs=500, lead_names=NAMES).name == "a#2"
    assert "no such recording" in refused(tmp_path / "b#2")
    assert "holds one recording; leave #0 out" in refused(f"{tmp_path / 'rec#1.npy'}#0", fs=500, lead_names=NAMES)


def test_hdf5_never_opens_other_files(tmp_path: Path) -> None:
    values = code_set(tmp_path / "secret.h5")
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["tracings"] = h5py.ExternalLink("secret.h5", "/tracings")
    assert "it holds nothing" in refused(tmp_path / "link.h5")
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file.create_dataset("tracings", (3, 4096, 12), "f4", external=[(str(tmp_path / "secret.h5"), 0, 3 * 4096 * 48)])
    assert "lie in other files, which are never opened" in refused(f"{tmp_path / 'raw.h5'}#0")
    layout = h5py.VirtualLayout((3, 4096, 12), "f4")
    layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "tracings", (3, 4096, 12))
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("tracings", layout)
    assert "lie in other files" in refused(f"{tmp_path / 'virtual.h5'}#0")
    with h5py.File(tmp_path / "loop.h5", "w") as file:
        file["a/tracings"] = values
        file["a/again"] = file["a"]
        file["a/soft"] = h5py.SoftLink("/a/tracings")
    assert read_record(f"{tmp_path / 'loop.h5'}#2").signal.shape == (12, 4096)


def test_hdf5_of_one_recording_or_none(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["ecg"] = ROWS * 1000
        file["ecg"].attrs["fs"], file["ecg"].attrs["unit"] = 500, "uV"
        file["ecg"].attrs["leads"] = list(NAMES)
    record = read_record(tmp_path / "one.h5")
    assert (record.name, record.fs, record.leads) == ("one", 500.0, NAMES)
    np.testing.assert_allclose(record.signal, ROWS, rtol=1e-5)
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"] = file["b"] = ROWS
    assert "it is unclear which dataset holds the recordings" in refused(tmp_path / "two.h5")
    with h5py.File(tmp_path / "wide.h5", "w") as file:
        file.create_dataset("ecg", (2, 1 << 27, 3), "f4", chunks=(1, 1 << 26, 3))
    assert "more than the 256 MB that are read; save it in smaller chunks" in refused(f"{tmp_path / 'wide.h5'}#0")
    (tmp_path / "cut.h5").write_bytes((tmp_path / "one.h5").read_bytes()[:600])
    assert "not a readable HDF5 file" in refused(tmp_path / "cut.h5")


def test_only_the_recording_asked_for_is_read(tmp_path: Path) -> None:
    """A thousandth of a file: its other bytes may as well be missing."""
    values = np.random.default_rng(0).normal(size=(1000, 3, 64)).astype(np.float32)
    np.save(tmp_path / "many.npy", values)
    whole = (tmp_path / "many.npy").read_bytes()
    (tmp_path / "many.npy").write_bytes(whole[: 128 + 2 * 3 * 64 * 4])
    record = read_record(f"{tmp_path / 'many.npy'}#1", fs=500, lead_names=NAMES)
    np.testing.assert_array_equal(record.signal, values[1])
    assert "its recording 2 is cut off" in refused(f"{tmp_path / 'many.npy'}#2", fs=500, lead_names=NAMES)
    np.save(tmp_path / "columns.npy", np.asfortranarray(values))
    np.testing.assert_array_equal(
        read_record(f"{tmp_path / 'columns.npy'}#7", fs=500, lead_names=NAMES).signal, values[7]
    )


# Tables


@pytest.mark.parametrize(
    ("text", "options", "leads", "fs", "first"),
    [
        ("I;II\n0,5;1,25\n0,25;1\n0;0,5\n", {"fs": 500}, ("I", "II"), 500, [0.5, 1.25]),
        ("time,V1\n0.000,1\n0.004,2\n0.008,3\n", {}, ("V1",), 250, [1]),
        ("# a comment\nTime [ms]\tV1\n0\t1\n2\t2\n4\t3\n", {}, ("V1",), 500, [1]),
        ("1,2\n3,4\n5,6\n", {"fs": 100, "lead_names": ("V2", "V1")}, ("V1", "V2"), 100, [2, 1]),
        ("1 2\n3 4\n5 6\n", {"fs": 100, "lead_names": ("V2", "V1")}, ("V1", "V2"), 100, [2, 1]),
        ("Sampling frequency: 0.5 kHz\nUnit: uV\nI,II\n1000,500\n1,2\n3,4\n", {}, ("I", "II"), 500, [1.0, 0.5]),
        ("I_uV,V1_mV\n1000,0.5\n1,2\n3,4\n", {"fs": 250}, ("I", "V1"), 250, [1.0, 0.5]),
        ('"I","V1"\n"1","2"\n"3","4"\n"5","6"\n', {"fs": 250}, ("I", "V1"), 250, [1, 2]),
        (",I,V1\n0,1,2\n1,3,4\n2,5,6\n", {"fs": 250}, ("I", "V1"), 250, [1, 2]),
        ("I;V1;\n1;2;\n3;4;\n5;6;\n", {"fs": 250}, ("I", "V1"), 250, [1, 2]),
        ("I\n0,5\n0,25\n1\n", {"fs": 250}, ("I",), 250, [0.5]),
        ("I,V1,RR\n1,2,\n3,4,\n5,6,800\n", {"fs": 250}, ("I", "V1"), 250, [1, 2]),
        ("sep=;\nI;II\n0,5;1,25\n0,25;1\n0;0,5\n", {"fs": 500}, ("I", "II"), 500, [0.5, 1.25]),
        (
            "'Elapsed time','I','V1'\n'seconds','uV','mV'\n0.000,500,2\n0.004,3,4\n0.008,5,6\n",
            {},
            ("I", "V1"),
            250,
            [0.5, 2],
        ),
        (
            "Elapsed time\tI\tV1\n(seconds)\t(mV)\t(mV)\n0\t1\t2\n0.004\t3\t4\n0.008\t5\t6\n",
            {},
            ("I", "V1"),
            250,
            [1, 2],
        ),
        ("I uV,V1 mV\n1000,0.5\n1,2\n3,4\n", {"fs": 250}, ("I", "V1"), 250, [1.0, 0.5]),
        # pandas numbers columns that have no names
        (
            "0,1,2\n1,2,3\n3,4,5\n5,6,7\n",
            {"fs": 250, "lead_names": ("I", "V1", "V2")},
            ("I", "V1", "V2"),
            250,
            [1, 2, 3],
        ),
        (",0,1\n0,1.5,2\n1,3,4\n2,5,6\n", {"fs": 250, "lead_names": ("n", "I", "V1")}, ("I", "V1"), 250, [1.5, 2]),
        # steps of 1 may be ms or numbers of samples
        ("time,V1\n0,1\n1,2\n2,3\n", {"fs": 500}, ("V1",), 500, [1]),
        ("time,V1\n0,1\n4,2\n8,3\n", {"fs": 500}, ("V1",), 500, [1]),
        # times that are rounded to ms
        (
            "Time (s),V1\n" + "\n".join(f"{row / 256.4:.3f},{row}" for row in range(1, 400)),
            {"fs": 256.4},
            ("V1",),
            256.4,
            [1],
        ),
        ("Time (s),V1\n" + "\n".join(f"{row / 360:.3f},{row}" for row in range(1, 400)), {}, ("V1",), 360, [1]),
    ],
)
def test_tables(
    tmp_path: Path, text: str, options: dict[str, Any], leads: tuple[str, ...], fs: float, first: list[float]
) -> None:
    (tmp_path / "rec.csv").write_text(text)
    record = read_record(tmp_path / "rec.csv", **options)
    own = [row for row, lead in enumerate(record.leads) if lead not in record.derived]
    assert tuple(record.leads[row] for row in own) == leads
    assert record.fs == fs
    np.testing.assert_allclose(record.signal[own, 0], first, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it holds no rows of numbers"),
        ("name,age\nAnna,5\n", "it holds no rows of numbers"),
        ("1,2\n3,4\n", "2 columns without names"),
        ("a,b\n1,2\n3,4\n", "none of the channels (a, b)"),
        ("I,II\n1,2\n3,4\n5,6\n7,8\n9\n", "row 5 of the samples has 1 columns"),
        ("I,II\n1,2\n3,4\n5,x\n", "not a readable CSV file"),
        ("1,2\n3,4\nlead off,lead off\n5,6\n7,8\n", "line 1 holds samples, and one of the next lines something else"),
        ("Unit,ADC\nI,II\n1,2\n3,4\n", "states the unit 'ADC', which is not a voltage; give the true one with `unit`"),
        ("time,II\n0.000,2\n0.004,4\n0.008,6\n", "`fs` 500 contradicts the file, which states 250 Hz"),
    ],
)
def test_tables_that_are_no_recording(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "rec.csv").write_text(text)
    assert says in refused(tmp_path / "rec.csv", fs=500)


def test_times_that_may_be_numbers_of_samples(tmp_path: Path) -> None:
    (tmp_path / "rec.csv").write_text("time,II\n0,1\n1,2\n2,3\n3,4\n")
    assert "carries no sampling rate; give it with `fs`" in refused(tmp_path / "rec.csv")


def test_units_of_the_caller(tmp_path: Path) -> None:
    path = edf(tmp_path / "a.edf", [Signal("I", "", np.arange(200), 1000)])
    plain = read_record(path)
    assert any(note.startswith("no unit in the file, mV assumed: I") for note in plain.notes)
    np.testing.assert_allclose(read_record(path, unit="uV").signal, plain.signal / 1000, rtol=1e-6)
    path = edf(tmp_path / "b.edf", [Signal("I", "uV", np.arange(200), 1000)])
    got = read_record(path, unit="mV")
    np.testing.assert_array_equal(got.signal, read_record(path).signal)
    assert "`unit` mV is not used, the file states uV" in got.notes
    assert "`unit` Hz: no such unit; choose from mV, uV, V" in refused(path, unit="Hz")


# Folders


def test_a_folder_is_searched_by_looking(tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(-500, 500, (2, 200))
    dicom(tmp_path / "IM000001", [Group(["I", "V1"], values.T)])
    dicom(tmp_path / "IM000002", [Group(["I", "V1"], values.T)], preamble=False)
    muse(tmp_path / "a.xml", muse_waveform("Rhythm", [muse_lead("I", values[0])]))
    (tmp_path / "b.xml").write_text("<settings/>")
    (tmp_path / "sub").mkdir()
    scp(tmp_path / "sub/ECG0001", ["I"], [values[0]])
    (tmp_path / "sub/c.csv").write_text("I,II\n1,2\n3,4\n5,6\n")
    (tmp_path / "sub/labels.csv").write_text("record,age\n1,60\n2,70\n3,80\n")
    (tmp_path / "notes.txt").write_text("nothing here\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "empty.edf").touch()
    (tmp_path / ".hidden.csv").write_text("I,II\n1,2\n3,4\n5,6\n")
    np.save(tmp_path / "many.npy", np.zeros((4, 2, 50)))
    (tmp_path / "rec.hea").write_text("rec 1 500 100\nrec.dat 16 1000/mV 16 0 0 0 0 I\n")
    (tmp_path / "rec.dat").write_bytes(bytes(200))
    (tmp_path / "alone.dat").write_bytes(bytes(200))
    found = find_in_folder(tmp_path)
    kinds = {path.relative_to(tmp_path).as_posix(): kind for path, kind in found.recordings}
    assert kinds == {
        "IM000001": "DICOM", "IM000002": "DICOM", "a.xml": "GE MUSE XML", "sub/ECG0001": "SCP-ECG", "sub/c.csv": "CSV",
        "empty.edf": "damaged", "many.npy": "NumPy", "rec.hea": "WFDB",
    }  # fmt: skip
    assert found.summary() == (
        "files read: 1 CSV, 2 DICOM, 1 GE MUSE XML, 1 NumPy, 1 SCP-ECG, 1 WFDB, 1 damaged; "
        "skipped: 1 .csv, 1 .png, 1 .txt, 1 .xml"
    )
    assert [record_name(path) for path, _ in found.recordings][:2] == ["IM000001", "IM000002"]


def test_the_table_of_readers_is_whole() -> None:
    """Each row has a name of its own, and parts are read only where their length is known."""
    assert len({reader.name for reader in READERS}) == len(READERS)
    for reader in READERS:
        assert (reader.length is None) == (reader.stretch is None)
        assert (reader.members is None) == (reader.member is None)
        assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in reader.suffixes)


def test_what_is_no_recording_is_recognised_as_none(tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"\0" * 400, b"hello\n" * 90, b"PK\3\4" + b"\0" * 90, b"%PDF-1.4\n1 2 3\n")):
        path = tmp_path / f"file{number}"
        path.write_bytes(content)
        assert sniff(path) is None
    assert sniff(tmp_path / "missing") is None
    assert sniff(tmp_path) is None
