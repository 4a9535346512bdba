"""Truths: read with suspicion, laid on a window by name and time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecgcam.errors import EcgcamError
from ecgcam.evidence.truths import Annotations, Truth, find_truth, read_truth
from ecgcam.records import CANONICAL_LEADS, Record, Window, read_record, take_window
from ecgcam.records.simulator import simulate, write


def test_by_name_and_time() -> None:
    mask = np.zeros((2, 1000), bool)
    mask[0, 500:600] = True  # 1.0 to 1.2 s of V1
    truth = Truth(mask, ("V1", "I"), 500.0)
    signal = np.zeros((3, 250), np.float32)
    record = Record("r", signal, 100.0, ("I", "II", "V1"))
    valid = np.ones(signal.shape, bool)
    valid[2, :55] = False
    window = Window(record, signal, valid, start=0.5, fs=100.0)
    found = truth.on(window)
    assert not found[:2].any()
    assert np.flatnonzero(found[2]).tolist() == list(
        range(55, 70)
    )  # 0.5 to 0.7 s in the window, the first 5 samples not real


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"mask": np.zeros((1, 5), bool), "leads": ["I"]}, "no fs"),
        ({"mask": np.full((1, 5), np.nan), "leads": ["I"], "fs": 500.0}, "true and false"),
        ({"mask": np.zeros((2, 5), bool), "leads": ["I"], "fs": 500.0}, "1 leads for 2 rows"),
        ({"mask": np.zeros((1, 5), bool), "leads": ["I"], "fs": 0.0}, "sampling rate"),
    ],
)
def test_what_is_no_truth_is_refused(tmp_path: Path, arrays: dict, said: str) -> None:
    np.savez(tmp_path / "r-truth.npz", **arrays)
    with pytest.raises(EcgcamError, match=said):
        find_truth(tmp_path / "r.dat")


def test_it_is_looked_for_beside_the_recording_or_in_a_folder(tmp_path: Path) -> None:
    assert find_truth(tmp_path / "r.dat") is None
    (tmp_path / "truths").mkdir()
    np.savez(tmp_path / "truths/r-truth.npz", mask=np.zeros((1, 5), bool), leads=["aVR"], fs=500.0)
    assert find_truth(tmp_path / "r.dat") is None
    for name in ("r", "r.hea"):
        truth = find_truth(tmp_path / name, tmp_path / "truths")
        assert truth is not None
        assert truth.leads == ("aVR",)
    with pytest.raises(EcgcamError):
        read_truth(tmp_path / "none.npz")


def test_marks_of_beats_are_the_truth(tmp_path: Path) -> None:
    known = simulate("pvc", 3)
    write(known, tmp_path)
    truth = Annotations.parse("atr:V").read(tmp_path / "pvc-3.dat")
    beats = [beat for beat, symbol in zip(known.beats.tolist(), known.symbols, strict=True) if symbol == "V"]
    wanted = np.zeros(truth.mask.shape[1], bool)
    for beat in beats:  # 60 ms before to 100 ms after, at the recording's rate
        wanted[beat - round(0.06 * known.fs) : beat + round(0.1 * known.fs) + 1] = True
    assert beats
    assert (truth.mask == wanted).all()
    assert (truth.leads, truth.fs, truth.known) == (CANONICAL_LEADS, known.fs, None)
    # The simulator's own truth is the beat's waves: every mark's beat is in it.
    assert all(known.mask[:, beat - 25 : beat + 50].any() for beat in beats)
    both = Annotations.parse("atr:V,N").read(tmp_path / "pvc-3")
    assert both.mask.sum() > truth.mask.sum()


@pytest.mark.shared
def test_waves_of_each_lead_are_the_truth_and_nothing_is_known_beyond_the_marks(unpacked: Path) -> None:
    import wfdb

    stem = unpacked / "ludb/1"
    truth = Annotations.parse("leads:N").read(stem)
    window = take_window(read_record(stem.with_suffix(".dat")), 500.0, 5000)
    on, known_samples = truth.on(window), truth.known_samples(window)
    for row, lead in enumerate(window.leads):
        marks = wfdb.rdann(str(stem), lead.lower())
        wanted = np.zeros(on.shape[1], bool)
        for at, symbol in enumerate(marks.symbol):
            if symbol == "N":
                assert (marks.symbol[at - 1], marks.symbol[at + 1]) == ("(", ")")
                wanted[marks.sample[at - 1] : marks.sample[at + 1] + 1] = True
        assert (on[row] == wanted).all()
        assert 3 <= np.diff(np.r_[0, wanted, 0].astype(int)).clip(min=0).sum() <= 30
        assert np.flatnonzero(known_samples[row])[[0, -1]].tolist() == [marks.sample[0], marks.sample[-1]]


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("atr", "atr:V"),
        (":V", "atr:V"),
        ("atr:V,", "atr:V"),
        ("qrs:V", "pvc-3.qrs: no such annotation file"),
        ("atr:f", "has no mark f"),
        ("cut:V", "pvc-3.cut: "),
    ],
)
def test_what_are_no_marks_is_refused(tmp_path: Path, flag: str, said: str) -> None:
    write(simulate("pvc", 3), tmp_path)
    (tmp_path / "pvc-3.cut").write_bytes(b"\x01")
    with pytest.raises(EcgcamError, match=said):
        Annotations.parse(flag).read(tmp_path / "pvc-3.dat")
