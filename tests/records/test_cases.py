"""Recordings that were once read wrong give the right values, compared with an independent reading where there is one."""

from __future__ import annotations

import base64
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pydicom
import pyedflib
import pytest
import wfdb
from scipy.io import loadmat

from ecgcam.errors import EcgcamError
from ecgcam.records import CANONICAL_LEADS, Record, read_record, take_window
from ecgcam.records.readers import partial_length, read_stretch, sniff
from ecgcam.records.windows import part_for_windows

pytestmark = pytest.mark.shared
SLEEP_LEADS = ("C3", "C4", "M1", "M2", "LOC", "ROC", "II", "I", "SpO2")


@pytest.fixture(scope="module")
def cases() -> Path:
    return Path(__file__).parents[3] / "shared/cases/recordings"


def rows(record: Record, *leads: str) -> npt.NDArray[np.float32]:
    return record.signal[[record.leads.index(lead) for lead in leads]]


def truth(cases: Path, name: str) -> npt.NDArray[np.float64]:
    array: npt.NDArray[np.float64] = np.load(cases / name)
    return array


# WFDB


def test_every_window_at_an_awkward_rate(cases: Path) -> None:
    path = cases / "mimic16.hea"
    whole = read_record(path)
    assert (whole.fs, whole.signal.shape[1]) == (249.89, 57600)
    reference = wfdb.rdrecord(str(path.with_suffix("")), physical=True).p_signal.T
    np.testing.assert_allclose(rows(whole, "II", "III"), reference, atol=1e-6)
    length = partial_length(path)
    assert length is not None
    for start in (0.0, 20.0, 60.0, 100.0, 150.0, 220.0):
        begin, end = part_for_windows(start, start + 10, 250.0, length.fs, length.seconds)
        window = take_window(read_stretch(path, begin, end), 250.0, 2500, start)
        wanted = take_window(whole, 250.0, 2500, start)
        np.testing.assert_array_equal(window.signal, wanted.signal)
        np.testing.assert_array_equal(window.valid, wanted.valid)
        if 0 < start < 200:
            assert window.valid.all()
            assert 0.727 <= window.signal.max() <= 1.43


def test_several_samples_a_frame_in_several_segments(cases: Path) -> None:
    record = read_record(cases / "041s.hea")
    assert (record.fs, record.signal.shape[1]) == (500.0, 8000)
    np.testing.assert_allclose(rows(record, "I")[0, :6], [0.001, -0.010, -0.032, -0.043, -0.021, 0.0445], atol=1e-6)
    one = read_record(cases / "truth041.hea")
    reference = wfdb.rdrecord(str(cases / "truth041"), physical=True)
    assert reference.sig_name == ["III", "I"]
    np.testing.assert_allclose(rows(one, "III", "I"), reference.p_signal.T, atol=1e-6)
    np.testing.assert_allclose(rows(record, "I", "III"), rows(one, "I", "III"), atol=1e-6)
    # R peaks of the leads that the segments hold: 0.857 mV at 500 Hz; averaged to 125 Hz they would be 0.782 mV.
    assert np.nanmax(rows(record, "I")) == np.nanmax(rows(one, "I"))
    for begin, end in ((1.0, 9.5), (7.9, 8.1), (12.0, 16.0)):
        part = read_stretch(cases / "041s.hea", begin, end)
        np.testing.assert_array_equal(part.signal, record.signal[:, part.first : part.first + part.signal.shape[1]])


@pytest.mark.parametrize("name", ["mgh061.hea", "nofs.hea", "E07835.hea", "E07835.mat"])
def test_headers_that_promise_little(cases: Path, name: str) -> None:
    record = read_record(cases / name)
    assert (record.leads, record.signal.shape) == (CANONICAL_LEADS, (12, 5000))
    np.testing.assert_allclose(record.signal, truth(cases, "csv_truth_mV.npy"), atol=1e-6)
    if name == "nofs.hea":
        assert record.fs == 250.0
        assert any("no sampling rate in the header" in note for note in record.notes)
        record = read_record(cases / name, fs=500)
        assert not any("sampling rate" in note for note in record.notes)
    assert record.fs == 500.0


def test_a_missing_data_file_is_named(cases: Path) -> None:
    with pytest.raises(EcgcamError, match=r"its data file 00001_medians\.dat is missing") as error:
        read_record(cases / "00001_medians_slashname.hea")
    assert "copy" not in str(error.value)


# EDF


def test_electrodes_of_the_brain_are_no_chest_leads(cases: Path) -> None:
    with pytest.raises(EcgcamError, match="`lead_names` C3,C4,M1,M2,LOC,ROC,II,I,SpO2"):
        read_record(cases / "cfs_psg.edf")
    record = read_record(cases / "cfs_psg.edf", lead_names=SLEEP_LEADS)
    assert record.derived == ("III", "aVR", "aVL", "aVF")
    wanted = truth(cases, "edf_truth_I_II_250Hz_mV.npy")
    with pyedflib.EdfReader(str(cases / "cfs_psg.edf")) as file:
        labels = file.getSignalLabels()
        own = [file.readSignal(labels.index(label)) for label in ("ECG1", "ECG2")]
        step = 1e-3 * max((file.getPhysicalMaximum(i) - file.getPhysicalMinimum(i)) / 65535 for i in (6, 7))
    scale = 1e-3 if np.abs(own[0]).max() > 20 else 1.0
    np.testing.assert_allclose(rows(record, "I", "II")[:, : len(own[0])], np.array(own) * scale, atol=1e-6)
    assert record.fs == 250.0
    np.testing.assert_allclose(rows(record, "I", "II"), wanted, atol=max(step, 2e-4))


@pytest.mark.parametrize("name", ["unit_latin1.edf", "unit_greek_utf8.edf", "trailing.edf", "minus1.edf"])
def test_edf_that_departs_from_the_format(cases: Path, name: str) -> None:
    record = read_record(cases / name)
    wanted = truth(cases, "edf_truth_I_II_250Hz_mV.npy")
    assert record.fs == 250.0
    np.testing.assert_allclose(rows(record, "I", "II"), wanted, atol=2e-4)
    note = {"trailing.edf": "100 bytes after the last data record", "minus1.edf": "does not state how much"}.get(
        name, "µV"
    )
    assert any(note in one.replace("μ", "µ") for one in record.notes)
    part = read_stretch(cases / name, 3.0, 6.0)
    np.testing.assert_array_equal(part.signal, record.signal[:, part.first : part.first + part.signal.shape[1]])


# DICOM


@pytest.fixture(scope="module")
def plain(cases: Path) -> npt.NDArray[np.float32]:
    """The rhythm of the recording that most DICOM cases are made from, by pydicom, mV."""
    held = pydicom.dcmread(cases / "label_only.dcm")
    values: npt.NDArray[np.float32] = (held.waveform_array(0).T / 1000).astype(np.float32)
    return values


def test_leads_named_by_their_labels(cases: Path, plain: npt.NDArray[np.float32]) -> None:
    record = read_record(cases / "label_only.dcm")
    assert (record.leads, record.fs) == (CANONICAL_LEADS, 1000.0)
    np.testing.assert_allclose(record.signal, plain, atol=1e-6)


def test_padding_is_missing(cases: Path, plain: npt.NDArray[np.float32]) -> None:
    record = read_record(cases / "padding_1percent.dcm")
    missing = np.zeros((12, 10000), bool)
    missing[6:, 9900:] = True
    np.testing.assert_array_equal(np.isnan(record.signal), missing)
    np.testing.assert_allclose(record.signal[~missing], plain[~missing], atol=1e-6)


def test_unused_bits_are_masked(cases: Path, plain: npt.NDArray[np.float32]) -> None:
    np.testing.assert_allclose(read_record(cases / "bits12_masked.dcm").signal, plain, atol=1e-6)


def test_companded_samples_of_an_unknown_full_scale_are_refused(cases: Path, plain: npt.NDArray[np.float32]) -> None:
    """`mulaw.dcm` is not G.711: it holds the formula of mu-law for the full scale 1570, the recording's own peak, as 0 to 255.

    DICOM requires G.711 and the file states no full scale, so no reader can give its voltages; a guess would be wrong ones.
    """
    held = pydicom.dcmread(cases / "mulaw.dcm").WaveformSequence[0]
    stored = np.frombuffer(held.WaveformData, np.uint8).reshape(-1, 12)
    steps = np.round(plain.T / 1.25e-3)
    peak = np.abs(steps).max()
    formula = np.sign(steps) * np.log1p(255 * np.abs(steps) / peak) / np.log(256)
    np.testing.assert_array_equal(stored, np.floor((formula + 1) / 2 * 255))
    with pytest.raises(EcgcamError, match=r"not those of ITU-T G\.711"):
        read_record(cases / "mulaw.dcm")


def test_two_groups_side_by_side(cases: Path, plain: npt.NDArray[np.float32]) -> None:
    record = read_record(cases / "two_groups.dcm")
    assert record.leads == CANONICAL_LEADS
    np.testing.assert_allclose(record.signal, plain, atol=1e-6)


def test_four_groups_one_after_another(cases: Path, plain: npt.NDArray[np.float32]) -> None:
    record = read_record(cases / "four_groups.dcm")
    assert (record.leads, record.signal.shape) == (CANONICAL_LEADS, (12, 10000))
    for group in range(4):
        part = slice(2500 * group, 2500 * (group + 1))
        leads = slice(3 * group, 3 * group + 3)
        np.testing.assert_allclose(record.signal[leads, part], plain[leads, part], atol=1e-6)
        others = np.delete(record.signal[leads], np.arange(10000)[part], axis=1)
        assert np.isnan(others).all()


# MATLAB, CSV


def test_cpsc_2018_as_published(cases: Path) -> None:
    record = read_record(cases / "A0001_cpsc2018.mat", fs=500, lead_names=CANONICAL_LEADS)
    np.testing.assert_allclose(record.signal, truth(cases, "csv_truth_mV.npy"), atol=1e-6)
    own = loadmat(cases / "A0001_cpsc2018.mat")["ECG"]["data"][0, 0]
    np.testing.assert_allclose(record.signal, own, atol=1e-6)


def test_chapman_as_published(cases: Path) -> None:
    record = read_record(cases / "chapman_uV.csv", fs=500, unit="uV")
    assert (record.leads, record.fs) == (CANONICAL_LEADS, 500.0)
    np.testing.assert_allclose(record.signal, truth(cases, "csv_truth_mV.npy"), atol=1e-6)
    assert not any("implausibly" in note for note in record.notes)
    as_millivolts = read_record(cases / "chapman_uV.csv", fs=500)
    np.testing.assert_allclose(as_millivolts.signal, 1000 * record.signal, rtol=1e-6)
    assert any("856.5 mV" in note and "0.857 mV" in note and "`unit` uV" in note for note in as_millivolts.notes)
    with pytest.raises(EcgcamError, match="carries no sampling rate"):
        read_record(cases / "chapman_uV.csv")


def test_the_export_of_a_watch(cases: Path) -> None:
    record = read_record(cases / "apple_watch.csv")
    assert (record.leads, record.fs) == (("I",), 512.0)
    lines = (cases / "apple_watch.csv").read_text(encoding="utf-8").splitlines()
    values = [float(line) for line in lines[lines.index("Unit,µV") + 1 :] if line]
    np.testing.assert_allclose(record.signal[0], np.array(values) / 1000, atol=1e-6)


# MUSE, SCP


@pytest.mark.parametrize("name", ["muse_1.xml", "muse_3.xml"])
def test_muse(cases: Path, name: str) -> None:
    record = read_record(cases / name)
    assert (record.leads, record.fs, record.signal.shape) == (CANONICAL_LEADS, 500.0, (12, 5000))
    assert record.derived == ("III", "aVR", "aVL", "aVF")
    v3 = rows(record, "V3")[0]
    low, high = {"muse_1.xml": (-0.7076, 1.2590), "muse_3.xml": (-0.7027, 0.3709)}[name]
    assert (float(v3.min()), float(v3.max())) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    if name == "muse_1.xml":
        np.testing.assert_allclose(rows(record, "II")[0, :5], [*[-0.10736] * 4, -0.0976], atol=1e-6)
    # By hand: Base64 of 16-bit samples, 4.88 uV each, and Einthoven and Goldberger for the four that are not stored.
    rhythm = next(
        one
        for one in ElementTree.parse(cases / name).iter("Waveform")  # noqa: S314  (a file that is known)
        if one.findtext("WaveformType") == "Rhythm"
    )
    mv = {
        str(one.findtext("LeadID")): np.frombuffer(base64.b64decode(one.findtext("WaveFormData") or ""), "<i2")
        * 4.88e-3
        for one in rhythm.iter("LeadData")
    }
    one, two = mv["I"], mv["II"]
    mv |= {"III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}
    np.testing.assert_allclose(record.signal, [mv[lead] for lead in CANONICAL_LEADS], atol=1e-5)
    assert "waveforms left out: Median" in record.notes
    assert not any("checksum" in note for note in record.notes)


def test_scp(cases: Path) -> None:
    record = read_record(cases / "example.scp")
    assert (record.leads, record.fs, record.signal.shape) == (CANONICAL_LEADS, 500.0, (12, 5000))
    ii, v2 = rows(record, "II", "V2")
    wanted = [(-0.6675, 0.3350), (-1.9275, 0.4050)]
    for row, (low, high) in zip((ii, v2), wanted, strict=True):
        assert (float(row.min()), float(row.max())) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))
    assert float(rows(record, "I")[0, 0]) == pytest.approx(-0.005, abs=1e-6)
    assert record.derived == ()


def test_every_case_is_recognised_without_its_suffix(cases: Path, tmp_path: Path) -> None:
    for path in sorted(cases.iterdir()):
        if path.suffix in {".hea", ".dat"} or path.name == "E07835.mat":
            continue
        bare = tmp_path / path.stem
        bare.write_bytes(path.read_bytes())
        found = sniff(bare)
        assert found is not None, path.name
        assert path.suffix in found.suffixes
