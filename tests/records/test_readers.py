"""Files in, millivolts out: every suffix, gains and units, and one line for what cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat
from tests.records.by_hand import INVALID, in_segments, wfdb

from ecgcam.errors import EcgcamError
from ecgcam.records import CANONICAL_LEADS, read_record, take_window, wfdb_files
from ecgcam.records.readers import partial_length, read_stretch, wfdb_length
from ecgcam.records.windows import at_rate

RAMP = np.arange(12)[:, None] + np.arange(40) / 100  # lead n starts at n mV


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(EcgcamError) as error:
        read_record(path, **options)
    said = str(error.value)
    assert "\n" not in said
    assert path.stem in said
    return said


# WFDB


@pytest.mark.parametrize("name", ["rec.hea", "rec.dat", "rec"])
def test_a_record_goes_by_header_data_or_stem(tmp_path: Path, name: str) -> None:
    wfdb(tmp_path, [[1000, 500], [0, -250]], ["II", "v3"])
    got = read_record(tmp_path / name)
    assert (got.name, got.leads, got.fs) == ("rec", ("II", "V3"), 500.0)
    assert got.signal.tolist() == [[1.0, 0.5], [0.0, -0.25]]


@pytest.mark.parametrize(
    ("gain", "millivolts"),
    [
        ("1000/mV", 1.0),  # 1000 steps a mV
        ("1000", 1.0),  # no unit: mV
        ("500/mV", 2.0),
        ("1(0)/uV", 1.0),  # 1000 steps are 1000 µV
        ("4.88/uV", 1 / 4.88),
        ("1000000/V", 1.0),
        ("1000(200)/mV", 0.8),  # a baseline of 200 steps
        ("-1000/mV", -1.0),
        ("0", 5.0),  # WFDB: 0 means uncalibrated, read as 200
        ("", 5.0),
    ],
)
def test_gains_and_units(tmp_path: Path, gain: str, millivolts: float) -> None:
    header = wfdb(tmp_path, [[1000, 0]], ["I" if gain else ""], gains=gain)
    got = read_record(header, lead_names=None if gain else ("I",))
    assert got.signal[0, 0] == pytest.approx(millivolts, rel=1e-6)
    assumed = "no gain in the header, WFDB's 200 per mV assumed: I"
    assert (assumed in got.notes) == (gain in {"0", ""})


def test_units_and_gains_mixed_in_one_file(tmp_path: Path) -> None:
    header = wfdb(
        tmp_path, [[250, 500], [250, 500], [250, 500], [90, 91]], ["I", "V1", "V2", "ABP"],
        gains=["1000/mV", "1/uV", "100000/V", "1/mmHg"],
    )  # fmt: skip
    got = read_record(header)
    assert got.leads == ("I", "V1", "V2")
    np.testing.assert_allclose(got.signal, [[0.25, 0.5], [0.25, 0.5], [2.5, 5.0]], rtol=1e-6)
    assert got.notes == ("channels left out, not a voltage: ABP (mmHg)",)


def test_a_lead_that_is_no_voltage_is_refused(tmp_path: Path) -> None:
    assert "lead V1 has the unit 'mmHg'" in refused(wfdb(tmp_path, [[1, 2]], ["V1"], gains="1/mmHg"))
    assert "no channel holds a voltage (ABP (mmHg))" in refused(wfdb(tmp_path, [[1, 2]], ["ABP"], gains="1/mmHg"))


def test_invalid_samples_are_missing(tmp_path: Path) -> None:
    got = read_record(wfdb(tmp_path, [[5, INVALID, 7], [INVALID, 1, 2]], ["V1", "V2"]))
    assert np.isnan(got.signal).tolist() == [[False, True, False], [True, False, False]]


def test_leads_of_several_rates_get_the_fastest_ones(tmp_path: Path) -> None:
    """V2 has three samples a frame: nothing of it is averaged away, and a missing one stays one missing sample."""
    slow, fast = np.full(40, 100), np.arange(120)
    fast[5] = INVALID
    frames = np.column_stack([slow, fast.reshape(40, 3)])
    (tmp_path / "rec.dat").write_bytes(frames.astype("<i2").tobytes())
    header = tmp_path / "rec.hea"
    header.write_text("rec 2 500 40\nrec.dat 16 1000/mV 16 0 0 0 0 V1\nrec.dat 16x3 1000/mV 16 0 0 0 0 V2\n")
    got = read_record(header)
    assert (got.fs, got.seconds) == (1500.0, pytest.approx(0.08))
    np.testing.assert_allclose(got.signal[0], 0.1, atol=1e-6)
    np.testing.assert_allclose(got.signal[1], np.where(fast == INVALID, np.nan, fast / 1000), rtol=1e-6)
    assert "leads of several rates, resampled to 1500 Hz: V1 (500 Hz)" in got.notes


def test_a_faster_channel_that_is_no_lead_changes_no_rate(tmp_path: Path) -> None:
    (tmp_path / "rec.dat").write_bytes(np.array([(100, 30, 40), (200, 30, 50)], "<i2").tobytes())
    header = tmp_path / "rec.hea"
    header.write_text("rec 2 500 2\nrec.dat 16 1000/mV 16 0 0 0 0 V1\nrec.dat 16x2 1000/mV 16 0 0 0 0 RESP\n")
    got = read_record(header)
    assert got.fs == 500.0
    np.testing.assert_allclose(got.signal, [[0.1, 0.2]], rtol=1e-6)


def test_checksums_that_do_not_fit_are_noted(tmp_path: Path) -> None:
    header = wfdb(tmp_path, [[1000, 500], [-3, -4]], ["I", "V1"])
    header.write_text(
        "rec 2 500 2\nrec.dat 16 1000/mV 16 0 1000 1500 0 I\nrec.dat 16 1000/mV 16 0 -3 -7 0 V1\n"  # -7 is 65529
    )
    assert not any("checksum" in note for note in read_record(header).notes)
    header.write_text(header.read_text().replace("1500", "1501"))
    assert "checksums of the header do not fit the samples: I; the file may be damaged" in read_record(header).notes


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_microvolts_written_with_a_micro_sign(tmp_path: Path, encoding: str) -> None:
    """wfdb reads headers as ASCII and drops the rest: volts would be left, a million times as tall."""
    header = wfdb(tmp_path, [[500, -250], [1, 2]], ["I", "V1"], gains=["1/µV", "1000/mV"])
    header.write_text("# größer\n" + header.read_text(), encoding=encoding)
    np.testing.assert_allclose(read_record(header).signal, [[0.5, -0.25], [0.001, 0.002]], rtol=1e-6)


def test_names_beyond_ascii(tmp_path: Path) -> None:
    header = wfdb(tmp_path, [[500, -250]], ["I"])
    header.write_text(header.read_text().replace("rec.dat", "ärec.dat"), encoding="utf-8")
    assert "its data file ärec.dat is missing" in refused(header)
    (tmp_path / "rec.dat").rename(tmp_path / "ärec.dat")
    assert read_record(header).signal.tolist() == [[0.5, -0.25]]


def test_a_path_with_two_colons(tmp_path: Path) -> None:
    (tmp_path / "a::b").mkdir()
    assert read_record(wfdb(tmp_path / "a::b", [[500, -250]], ["I"])).signal.tolist() == [[0.5, -0.25]]


def test_a_segment_in_another_unit(tmp_path: Path) -> None:
    header = in_segments(tmp_path, gap=False)
    whole = read_record(header)
    segment = tmp_path / "s3.hea"
    segment.write_text(segment.read_text().replace("1000/mV", "1/µV"), encoding="utf-8")
    np.testing.assert_allclose(read_record(header).signal, whole.signal, atol=1e-6)
    segment.write_text(segment.read_text(encoding="utf-8").replace("1/µV", "1/mmHg"))
    with pytest.raises(EcgcamError, match="changes its unit from 'mV' to 'mmHg' between segments; correct the headers"):
        read_record(header)


def test_a_format_of_the_other_order_of_bytes(tmp_path: Path) -> None:
    (tmp_path / "rec.dat").write_bytes(np.array([[100, 30], [INVALID, 31]], ">i2").tobytes())
    (tmp_path / "rec.hea").write_text("rec 2 500 2\nrec.dat 61 1000/mV 16 0 0 0 0 V1\nrec.dat 61 1/uV 16 0 0 0 0 V2\n")
    np.testing.assert_allclose(read_record(tmp_path / "rec.hea").signal, [[0.1, np.nan], [0.03, 0.031]], rtol=1e-6)


def test_signals_that_lie_late_in_their_file(tmp_path: Path) -> None:
    """Skews may differ among the signals of a file, and count frames; what they need from behind its end is missing."""
    frames = [(10 * i, 100 * i, 100 * i + 50) for i in range(4)]
    (tmp_path / "rec.dat").write_bytes(np.array(frames, "<i2").tobytes())
    (tmp_path / "rec.hea").write_text(
        "rec 2 500 4\nrec.dat 16:2 1000/mV 16 0 0 0 0 V1\nrec.dat 16x2:1 1000/mV 16 0 0 0 0 V2\n"
    )
    got = read_record(tmp_path / "rec.hea")
    wanted = [0.1, 0.15, 0.2, 0.25, 0.3, 0.35, np.nan, np.nan]
    np.testing.assert_allclose(got.signal[1], wanted, rtol=1e-6)
    assert got.signal[0][:3:2].tolist() == pytest.approx([0.02, 0.03])
    assert np.isnan(got.signal[0][4:]).all()
    part = read_stretch(tmp_path / "rec.hea", 1 / 500, 3 / 500)
    np.testing.assert_array_equal(part.signal[1], got.signal[1, 2:6])


def test_differences_are_read_from_the_beginning_alone(tmp_path: Path) -> None:
    (tmp_path / "rec.dat").write_bytes(np.array([0, 1, 2, 3], "i1").tobytes())
    (tmp_path / "rec.hea").write_text("rec 1 500 4\nrec.dat 8 1000/mV 16 0 100 0 0 V1\n")
    np.testing.assert_allclose(read_record(tmp_path / "rec.hea").signal, [[0.1, 0.101, 0.103, 0.106]], rtol=1e-6)
    assert partial_length(tmp_path / "rec.hea") is None


def test_several_signal_files_and_a_byte_offset(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(b"skip" + np.array([100, 200], "<i2").tobytes())
    (tmp_path / "b.xyz").write_bytes(np.array([300, 400], "<i2").tobytes())
    header = tmp_path / "rec.hea"
    header.write_text("rec 2 500 2\na.dat 16+4 1000/mV 16 0 0 0 0 V1\nb.xyz 16 1000/mV 16 0 0 0 0 V2\n")
    np.testing.assert_allclose(read_record(header).signal, [[0.1, 0.2], [0.3, 0.4]], rtol=1e-6)
    (tmp_path / "b.xyz").unlink()
    assert "its data file b.xyz is missing" in refused(header)


def test_segments_are_joined(tmp_path: Path) -> None:
    for name, first in (("s1", 100), ("s2", 300)):
        wfdb(tmp_path, [[first, first + 100]], ["V1"], name=name)
    (tmp_path / "rec.hea").write_text("rec/2 1 500 4\ns1 2\ns2 2\n")
    got = read_record(tmp_path / "rec")
    np.testing.assert_allclose(got.signal, [[0.1, 0.2, 0.3, 0.4]], rtol=1e-6)
    assert got.notes == ()


@pytest.mark.parametrize("gap", [False, True])
def test_a_stretch_reads_the_segments_that_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gap: bool) -> None:
    header = in_segments(tmp_path, gap)
    length = partial_length(header)
    assert length == (100.0, 24000, True)
    assert wfdb_length(header) is None  # --follow takes one segment
    whole = read_record(header)
    assert whole.samples == 24000
    opened: list[tuple[str, int]] = []
    read = wfdb_files.decode

    def counted(data: Path, *arguments: Any) -> np.ndarray:
        got: np.ndarray = read(data, *arguments)
        opened.append((data.name, got.size))
        return got

    monkeypatch.setattr(wfdb_files, "decode", counted)
    for begin, end, segments in [(0, 10, {0}), (25, 62, {0, 1, 2}), (61, 119, {2, 3}), (118, 240, {3, 4, 5, 6, 7})]:
        opened.clear()
        part = read_stretch(header, begin, end)
        assert {name for name, _ in opened} == {f"s{i}.dat" for i in segments - ({2, 3} if gap else set())}
        assert sum(size for _, size in opened) <= 2 * 100 * (end - begin)
        assert (part.first, part.samples, part.leads) == (100 * begin, 24000, whole.leads)
        np.testing.assert_array_equal(part.signal, whole.signal[:, 100 * begin : 100 * end])


def test_segments_that_are_not_as_they_should_be_are_read_as_a_whole(tmp_path: Path) -> None:
    """So that they are refused before the first window is explained, not when its turn comes."""
    header = in_segments(tmp_path, gap=False)
    (tmp_path / "s5.dat").write_bytes((tmp_path / "s5.dat").read_bytes()[:-100])
    assert partial_length(header) is None
    with pytest.raises(EcgcamError, match=r"s5\.dat: truncated"):
        read_record(header)
    (tmp_path / "rec.hea").write_text("rec/2 2 100 6000\ns0 3000\n~ 3000\n")
    assert np.isnan(read_record(header).signal[:, 3000:]).all()


def test_names_and_rate_of_the_header_are_believed(tmp_path: Path) -> None:
    header = wfdb(tmp_path, [[1, 2], [3, 5]], ["I", "II"])
    assert read_record(header, fs=500).fs == 500.0
    assert "`fs` 250 contradicts the file, which states 500 Hz" in refused(header, fs=250)
    renamed = read_record(header, lead_names=("V1", "V2"))
    assert renamed.leads == ("V1", "V2")
    assert "`lead_names` overrules the file: I is taken for V1, II is taken for V2" in renamed.notes
    assert "1 lead names for 2 channels" in refused(header, lead_names=("I",))


def test_a_header_without_names_takes_those_given(tmp_path: Path) -> None:
    header = wfdb(tmp_path, [[1000, 2], [3, 5], [5, 6]], ["", "", ""])
    assert "none of the channels (unnamed, unnamed, unnamed)" in refused(header)
    got = read_record(header, lead_names=("V1", "V2", "V3"))
    assert got.leads == ("V1", "V2", "V3")
    assert got.signal[0, 0] == 1.0


def test_a_rate_of_zero_is_replaced_by_the_true_one(tmp_path: Path) -> None:
    header = wfdb(tmp_path, [[1, 2]], ["V1"], fs="0")
    assert "a sampling rate of 0 Hz is not possible for an ECG; give the true one with `fs`" in refused(header)
    assert read_record(header, fs=250).fs == 250.0


def test_damaged_records_are_refused_by_name(tmp_path: Path) -> None:
    header = wfdb(tmp_path, [[1, 2, 3], [4, 5, 6]], ["I", "V1"])
    data = header.with_suffix(".dat")
    whole = data.read_bytes()
    data.write_bytes(whole[:-1])
    assert refused(header) == f"{data}: truncated, 11 bytes where its header states 12; copy the file again"
    data.write_bytes(b"")
    assert "the recording is empty, 0 bytes" in refused(header)
    data.unlink()
    assert f"{header}: its data file rec.dat is missing" in refused(header)
    data.write_bytes(whole)
    text = header.read_text()
    header.unlink()
    assert "its WFDB header rec.hea is missing" in refused(data)
    assert "no such recording" in refused(tmp_path / "rec")
    for content, says in (
        ("", "is an empty file"),
        ("Good morning,\nthis is not a header.\n", "not a readable WFDB header"),
        ("rec 0 500 3\n", "describes no signal"),
        (text.replace("rec 2", "rec 5"), "states 5 signals and describes 2"),
        (text.replace(" V1", " I"), "lead I occurs twice"),
    ):
        header.write_text(content)
        assert says in refused(header)
    header.write_bytes(bytes(range(256)))
    assert "not a readable WFDB header" in refused(header)


def test_truncation_counts_packed_bits(tmp_path: Path) -> None:
    """Format 212 packs two samples into three bytes: 2 channels of 3 samples are 9 bytes."""
    header = tmp_path / "rec.hea"
    header.write_text("rec 2 500 3\nrec.dat 212 200/mV 12 0 0 0 0 V1\nrec.dat 212 200/mV 12 0 0 0 0 V2\n")
    # Samples 1 and 2: low bytes 01 and 02, the high nibbles between them.
    (tmp_path / "rec.dat").write_bytes(bytes([200, 0, 100]) * 3)
    np.testing.assert_allclose(read_record(header).signal, [[1.0] * 3, [0.5] * 3])
    (tmp_path / "rec.dat").write_bytes(bytes([200, 0, 100]) * 2)
    assert "truncated, 6 bytes where its header states 9" in refused(header)


def test_folders_and_unknown_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    assert "not recognised as a recording" in refused(tmp_path / "notes.txt")
    assert "is a folder" in refused(tmp_path)
    for name in ("no.npy", "no.npz", "no.mat", "no.dat", "no.hea", "no"):
        assert "no such recording; check the path" in refused(tmp_path / name)


# Real recordings


@pytest.mark.shared
def test_real_recordings_of_every_kind(wfdb_folder: Path) -> None:
    long = read_record(wfdb_folder / "ptb/s0010_re")
    assert (long.leads, long.fs, long.seconds) == (CANONICAL_LEADS, 1000.0, 38.4)
    assert long.notes == ("channels left out, not among the twelve leads: vx, vy, vz",)
    raw = np.fromfile(wfdb_folder / "ptb/s0010_re.dat", "<i2").reshape(
        -1, 12
    )  # i ii iii avr avl avf v1 ... at 2000 a mV
    np.testing.assert_allclose(long.signal, raw.T / 2000, atol=1e-6)
    for name, gain, samples in (("JS00001", 1000, 5000), ("E00001", 1000, 5000), ("A0004", 1000, 5974)):
        by_header, by_data = (read_record(wfdb_folder / f"cinc/{name}{suffix}") for suffix in (".hea", ".mat"))
        assert by_header.leads == CANONICAL_LEADS
        assert by_header.signal.shape == (12, samples)
        np.testing.assert_array_equal(by_header.signal, by_data.signal)
        val = np.frombuffer((wfdb_folder / f"cinc/{name}.mat").read_bytes()[24:], "<i2").reshape(-1, 12).T
        np.testing.assert_allclose(by_header.signal, val / gain, atol=1e-6)
    low = read_record(wfdb_folder / "ptbxl/00003_lr")
    assert (low.fs, low.seconds) == (100.0, 10.0)


# Arrays


@pytest.mark.parametrize("across", [False, True])
def test_arrays_lie_either_way(tmp_path: Path, across: bool) -> None:
    array = RAMP.T if across else RAMP
    np.save(tmp_path / "rec.npy", array)
    kept = array.copy()
    got = read_record(tmp_path / "rec.npy", fs=500, lead_names=CANONICAL_LEADS)
    np.testing.assert_array_equal(array, kept)
    assert (got.name, got.leads, got.fs) == ("rec", CANONICAL_LEADS, 500.0)
    np.testing.assert_allclose(got.signal, RAMP, rtol=1e-6)
    assert got.notes == ()


def test_lead_names_order_the_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "rec.npy", RAMP[:3].astype(np.float16))
    got = read_record(tmp_path / "rec.npy", fs=500, lead_names=("v2", "resp", "V1"))
    assert got.leads == ("V1", "V2")
    assert got.signal[:, 0].tolist() == [2, 0]
    np.save(tmp_path / "one.npy", np.arange(5))
    assert read_record(tmp_path / "one.npy", fs=500, lead_names=("V4",)).signal.tolist() == [[0, 1, 2, 3, 4]]


def test_an_archive_may_carry_rate_and_names(tmp_path: Path) -> None:
    path = tmp_path / "rec.npz"
    np.savez(path, signal=RAMP, fs=250, leads=list(CANONICAL_LEADS))
    got = read_record(path)
    assert (got.fs, got.leads) == (250.0, CANONICAL_LEADS)
    assert "`fs` 500 contradicts the file" in refused(path, fs=500)
    np.savez(path, ecg=RAMP[:2].T, other=np.zeros((3, 4)))  # "ecg" is a recording's name
    assert "carries no sampling rate" in refused(path, lead_names=("V1", "V2"))
    assert "2 channels without names" in refused(path, fs=500)
    assert read_record(path, fs=500, lead_names=("V1", "V2")).signal[1, 0] == 1
    np.savez(path, a=np.zeros((2, 3)), b=np.zeros((2, 3)))
    assert "it is unclear which array is the recording (it holds a (2, 3), b (2, 3))" in refused(path, fs=500)
    np.savez(path, signal=RAMP, fs="fast")
    assert "'fs' is not a number" in refused(path)
    np.savez(path, signal=RAMP, fs=0.0, leads=list(CANONICAL_LEADS))
    assert "a sampling rate of 0 Hz" in refused(path)
    assert read_record(path, fs=100).fs == 100


def test_plain_mat(tmp_path: Path) -> None:
    path = tmp_path / "rec.mat"
    savemat(path, {"val": RAMP})
    np.testing.assert_allclose(read_record(path, fs=500, lead_names=CANONICAL_LEADS).signal, RAMP, rtol=1e-6)
    assert "12 channels without names" in refused(path)
    assert "`lead_names` standard" in refused(path)
    # As MATLAB writes a recording with its rate and a cell array of names.
    savemat(path, {"X": RAMP[:2], "Fs": 250, "leads": np.array(["V1 ", "V2"], object)})
    got = read_record(path)
    assert (got.fs, got.leads) == (250.0, ("V1", "V2"))


def test_values_too_large_for_millivolts_are_noted(tmp_path: Path) -> None:
    np.save(tmp_path / "rec.npy", np.array([[0, 1500, -2]], np.int16))
    got = read_record(tmp_path / "rec.npy", fs=500, lead_names=("V1",))
    assert got.signal.tolist() == [[0, 1500, -2]]
    assert "values up to 1500, too large for mV" in got.notes[0]


@pytest.mark.parametrize(
    ("array", "options", "says"),
    [
        (np.zeros((3, 50)), {"fs": 500}, "3 channels without names"),
        (np.zeros((3, 50)), {"fs": 500, "lead_names": ("I", "II")}, "2 lead names do not fit an array of shape (3, 50)"),
        (np.zeros((2, 2)), {"fs": 500, "lead_names": ("I", "II")}, "exactly one axis must have that length"),
        (np.zeros((1, 2, 3)), {"fs": 500}, "holds 1 recordings; name one as rec.npy#0"),
        (np.zeros((1, 2, 3, 4)), {"fs": 500}, "has shape (1, 2, 3, 4)"),
        (np.zeros((12, 0)), {"fs": 500}, "the recording is empty"),
        (np.array(3.0), {"fs": 500, "lead_names": ("I",)}, "two axes"),
        (np.full((1, 9), np.nan), {"fs": 500, "lead_names": ("I",)}, "every sample is missing (NaN)"),
        (np.array([["a"]]), {"fs": 500}, "not numbers"),
        (np.zeros((1, 9), complex), {"fs": 500, "lead_names": ("I",)}, "not numbers"),
        (np.zeros((1, 9)), {"lead_names": ("I",)}, "carries no sampling rate; give it with `fs`"),
        (np.array([[{"a": 1}]], object), {"fs": 500}, "it holds Python objects, which are never read"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_recording(tmp_path: Path, array: Any, options: dict[str, Any], says: str) -> None:
    np.save(tmp_path / "rec.npy", array, allow_pickle=True)
    assert says in refused(tmp_path / "rec.npy", **options)


@pytest.mark.parametrize("fs", [0, -1, float("nan"), float("inf"), 1e-5])
def test_a_rate_given_must_be_possible(tmp_path: Path, fs: float) -> None:
    np.save(tmp_path / "rec.npy", RAMP)
    with pytest.raises(EcgcamError, match=r"`fs` .*: not possible for an ECG"):
        read_record(tmp_path / "rec.npy", fs=fs, lead_names=CANONICAL_LEADS)


def test_a_file_is_read_by_what_it_is(tmp_path: Path) -> None:
    """An archive called .npy and an array called .npz are read; a pickle or a text is refused whatever it is called."""
    np.save(tmp_path / "a.npy", RAMP)
    (tmp_path / "a.npy").rename(tmp_path / "array.npz")
    np.savez(tmp_path / "b.npz", signal=RAMP)
    (tmp_path / "b.npz").rename(tmp_path / "archive.npy")
    for name in ("array.npz", "archive.npy"):
        got = read_record(tmp_path / name, fs=500, lead_names=CANONICAL_LEADS)
        np.testing.assert_allclose(got.signal, RAMP, rtol=1e-6)
    RAMP.dump(tmp_path / "pickle.npy")
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "empty.npy").write_bytes(b"")
    for name in ("pickle.npy", "text.npz", "empty.npy"):
        assert "not a readable NumPy file (neither .npy nor .npz); choose such a file" in refused(tmp_path / name)


def outcome(path: Path, options: dict[str, Any]) -> str:
    """What became of a file: "" where it is still a recording, else what was said. Any other exception is a failure."""
    try:
        take_window(read_record(path, **options), 250, 100)
    except EcgcamError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", ["a.npy", "b.npz", "c.npz", "d.mat", "e.mat", "rec.hea"])
def test_damaged_files_get_one_line(tmp_path: Path, kind: str) -> None:
    """A hundred and fifty damaged copies: each is either still a recording or refused in one line, and nothing else.

    The uncompressed .mat is only cut short: scipy's reader crashes the process on some changed bytes, which no caller can mend.
    """
    path = tmp_path / kind
    np.save(tmp_path / "a.npy", RAMP)
    np.savez_compressed(tmp_path / "b.npz", signal=RAMP, fs=500.0, leads=list(CANONICAL_LEADS))
    np.savez(tmp_path / "c.npz", signal=RAMP)
    savemat(tmp_path / "d.mat", {"val": RAMP})
    savemat(tmp_path / "e.mat", {"val": RAMP}, do_compression=True)
    wfdb(tmp_path, (RAMP * 1000).astype(int).tolist(), CANONICAL_LEADS)
    options: dict[str, Any] = {} if kind == "rec.hea" else {"fs": 500.0, "lead_names": CANONICAL_LEADS}
    assert outcome(path, options) == ""
    whole = path.read_bytes()
    draw = np.random.default_rng(4)
    said = []
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(0 if kind == "d.mat" else draw.integers(1, 6)):
            reach = min(len(damaged), int(draw.choice([200, 10_000])))
            damaged[draw.integers(reach)] = draw.choice([0, 32, 48, 255])
        length = draw.integers(len(damaged)) if kind == "d.mat" or draw.random() < 0.5 else len(damaged)
        path.write_bytes(damaged[:length])
        said.append(outcome(path, options))
    refusals = [text for text in said if text]
    assert len(refusals) > 30
    assert all("\n" not in text and text.startswith((str(tmp_path), "rec: ", "a: ")) for text in refusals)


def test_reading_leaves_the_files_alone(tmp_path: Path) -> None:
    header = wfdb(tmp_path, [[1, 2]], ["V1"])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    read_record(header)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# What fuzzing found


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (
            "rec/2 1 500 99999999999\nsa 99999999998\nsa 1\n",
            "states 99999999999 values, but its files hold only 8 bytes",
        ),
        ("rec/1 1 500 4\n~ 4\n", "cannot be read"),
        ("rec/4294967295 1 500 4\nsa 4\n", "states 4294967295 segments and lists 1"),
        ("rec/1 99999999999 500 4\nsa 4\n", "values, but its files hold only 8 bytes"),
    ],
)
def test_segments_that_promise_too_much_or_nothing(tmp_path: Path, lines: str, says: str) -> None:
    wfdb(tmp_path, [[1, 2, 3, 4]], ["I"], name="sa")
    (tmp_path / "rec.hea").write_text(lines)
    assert says in refused(tmp_path / "rec.hea")


def test_a_segment_whose_own_header_promises_too_much(tmp_path: Path) -> None:
    wfdb(tmp_path, [[1, 2, 3, 4]], ["I"], name="sa")
    (tmp_path / "rec.hea").write_text("rec/1 1 500 4\nsa 4\n")
    (tmp_path / "sa.hea").write_text((tmp_path / "sa.hea").read_text().replace(" 4", " 99999999999", 1))
    with pytest.raises(EcgcamError, match=r"sa\.hea: states 99999999999 values"):
        read_record(tmp_path / "rec.hea")


def test_a_compressed_format_that_promises_too_much(tmp_path: Path) -> None:
    (tmp_path / "rec.hea").write_text("rec 1 500 99999999999\nrec.dat 516 200 16 0 0 0 0 I\n")
    (tmp_path / "rec.dat").write_bytes(b"fLaC" + bytes(60))
    assert "states 99999999999 values, but its files hold only 64 bytes" in refused(tmp_path / "rec.hea")


def test_a_skew_that_promises_too_much(tmp_path: Path) -> None:
    (tmp_path / "rec.hea").write_text("rec 1 500 4\nrec.dat 16:99999999999 200 16 0 0 0 0 I\n")
    (tmp_path / "rec.dat").write_bytes(bytes(8))
    assert "states 100000000003 values, but its files hold only 8 bytes" in refused(tmp_path / "rec.hea")


def test_values_that_no_voltage_has_are_missing(tmp_path: Path) -> None:
    signal = np.random.default_rng(0).normal(size=(1, 900)).astype(np.float32)
    signal[0, :3] = [3e38, -3e38, np.inf]
    np.save(tmp_path / "rec.npy", signal)
    got = read_record(tmp_path / "rec.npy", fs=500, lead_names=["I"])
    assert np.isnan(got.signal[0, :3]).all()
    assert np.isfinite(take_window(got, 250, 450).signal).all()


def test_absurd_gains_are_read_without_a_warning_of_numpy(tmp_path: Path) -> None:
    path = wfdb(tmp_path, [[30000, 5, -30000, 7]], ["I"], gains="1e-305/mV")
    with pytest.raises(EcgcamError, match=r"every sample is missing"):
        read_record(path)


def test_a_channel_without_samples_has_none_at_another_rate() -> None:
    assert np.isnan(at_rate(np.zeros(0), 500, 250, 3)).all()
    assert at_rate(np.zeros(5), 500, 250, 0).shape == (0,)


KINDS = ("<f8", ">f8", ">f4", "<f2", ">f2", "<i2", ">i2", "<i4", ">i8", "|i1", "<u2", "|u1", "<f8 by columns")


@pytest.mark.parametrize(
    ("suffix", "kind"),
    # MATLAB has no half precision.
    [(suffix, kind) for suffix in (".npy", ".npz", ".mat") for kind in KINDS if suffix != ".mat" or "f2" not in kind],
)
def test_numbers_of_every_kind_are_the_same_recording(tmp_path: Path, kind: str, suffix: str) -> None:
    """Whole numbers, so that each kind holds them; the record's are float32 of this machine's order."""
    rows = np.random.default_rng(0).integers(0, 100, (2, 500))
    dtype, _, by_columns = kind.partition(" ")
    array = np.asarray(rows.astype(dtype), order="F" if by_columns else "C")
    path = tmp_path / f"rec{suffix}"
    if suffix == ".npy":
        np.save(path, array)
    elif suffix == ".npz":
        np.savez(path, signal=array)
    else:
        savemat(path, {"signal": array})
    record = read_record(path, fs=500, lead_names=("I", "V1"))
    assert record.signal.dtype == np.dtype(np.float32)
    np.testing.assert_array_equal(record.signal, rows)


@pytest.mark.parametrize("kind", ["<c16", "|b1", "<U3", "<M8[s]", "<m8[s]", "|V4", "|S4"])
def test_what_is_no_number_is_refused(tmp_path: Path, kind: str) -> None:
    np.save(tmp_path / "rec.npy", np.zeros((2, 500), kind))
    with pytest.raises(EcgcamError, match=r"rec.npy: "):
        read_record(tmp_path / "rec.npy", fs=500, lead_names=("I", "V1"))
