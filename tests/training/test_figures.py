"""What the card is made from: labels of recordings by their headers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.records.by_hand import wfdb
from training.figures import load_cinc
from training.train import SAMPLES

from ecgcam.records import CANONICAL_LEADS


def test_codes_of_the_header_are_the_labels_and_windows_have_no_offset(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, codes in (("A", "164889003,59118001"), ("B", "426783006"), ("C", "713427006, 39732003")):
        samples = rng.normal(400, 100, (12, 2750)).astype(int).tolist()
        header = wfdb(tmp_path, samples, CANONICAL_LEADS, fs="250", name=name)
        header.write_text(header.read_text() + f"# Dx: {codes}\n")
    windows, labels = load_cinc(tmp_path)
    assert windows.shape == (3, 12, SAMPLES)
    assert np.median(windows, axis=2) == pytest.approx(0, abs=1e-6)
    assert labels["atrial fibrillation"].tolist() == [1, 0, 0]
    assert labels["right bundle branch block"].tolist() == [1, 0, 1]
    assert labels["left axis deviation"].tolist() == [0, 0, 1]
    assert not labels["sinus tachycardia"].any()
