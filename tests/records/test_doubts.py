"""Recordings made to lie are doubted; real ones are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecgcam.records.doubts import doubts_about
from ecgcam.records.readers import read_record
from ecgcam.records.record import Record, limb_leads


def honest() -> Record:
    rng = np.random.default_rng(0)
    one, two = np.cumsum(rng.normal(size=(2, 1000)), axis=1) * 0.02
    limb = {lead: a * one + b * two for lead, (a, b) in limb_leads().items()}
    rows = limb | {f"V{i}": np.cumsum(rng.normal(size=1000)) * 0.02 for i in range(1, 7)}
    return Record.from_channels("x", np.stack(list(rows.values())), 100.0, list(rows), source="x")


def lying(lead: str, row: np.ndarray) -> Record:
    record = honest()
    signal = record.signal.copy()
    signal[record.leads.index(lead)] = row
    return replace(record, signal=signal)


def test_an_honest_recording_is_not_doubted() -> None:
    assert doubts_about(honest()) == ()


def test_every_lead_one_unit_tall() -> None:
    record = honest()
    [first, *_] = doubts_about(replace(record, signal=record.signal / np.ptp(record.signal, axis=1, keepdims=True)))
    assert first.startswith("every lead is 1 mV tall")


@pytest.mark.parametrize(("times", "says"), [(1000, "implausibly large"), (0.001, "implausibly small")])
def test_a_wrong_unit(times: float, says: str) -> None:
    record = honest()
    [note] = doubts_about(replace(record, signal=(record.signal * times).astype(np.float32)))
    assert says in note


def test_a_lead_twice() -> None:
    [note] = doubts_about(lying("V5", honest().signal[honest().leads.index("V2")]))
    assert note.endswith(": V2 and V5")


def test_a_lead_against_einthoven_is_named_with_its_departure() -> None:
    record = honest()
    third = record.signal[2]
    [note] = doubts_about(lying("III", -third))
    assert note.endswith(f": III by {2 * third.std(dtype=np.float64):.2g} mV")
    assert doubts_about(lying("III", third + 5)) == ()  # an offset is no lie


def test_a_clipped_lead() -> None:
    row = honest().signal[honest().leads.index("V3")]
    [note] = doubts_about(lying("V3", np.minimum(row, np.quantile(row, 0.9))))
    assert note.endswith(": V3 10%")


def test_less_than_a_second_says_nothing() -> None:
    record = honest()
    assert doubts_about(replace(record, signal=record.signal[:, :99] * 1000)) == ()


@pytest.mark.shared
@pytest.mark.slow
def test_real_recordings_are_not_doubted(unpacked: Path) -> None:
    paths = sorted((unpacked / "ptbxl").rglob("*.hea"))[:100]
    assert len(paths) == 100
    doubted = [path.stem for path in paths if doubts_about(read_record(path))]
    assert len(doubted) <= 2, doubted


def test_values_near_the_largest_float_are_doubted_without_a_warning() -> None:
    record = honest()
    assert any(
        "implausibly large" in note for note in doubts_about(replace(record, signal=record.signal * np.float32(1e37)))
    )
