"""Truths: read with suspicion, laid on a window by name and time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecgcam.errors import EcgcamError
from ecgcam.evidence.truths import Truth, find_truth, read_truth
from ecgcam.records import Record, Window


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
