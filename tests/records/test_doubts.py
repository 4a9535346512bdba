"""Recordings made to lie are doubted; real ones are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecgcam.records.doubts import arms_reversed, doubts_about
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


def test_exchange_and_hum_need_something_to_look_at() -> None:
    record = beating(arms=True)
    rows = dict(zip(record.leads, record.signal.astype(float), strict=True))
    assert "lead I is upside down" in arms_reversed(rows, record.fs)
    assert arms_reversed({"I": rows["I"]}, record.fs) == ""
    assert arms_reversed(rows | {"V6": np.zeros_like(rows["V6"])}, record.fs) == ""
    assert arms_reversed({lead: row[: int(record.fs) - 1] for lead, row in rows.items()}, record.fs) == ""
    known = np.arange(len(rows["I"])) < record.fs / 2  # too little of V6
    assert arms_reversed(rows | {"V6": np.where(known, rows["V6"], np.nan)}, record.fs) == ""


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


def beating(*, arms: bool = False) -> Record:
    """Beats upright in I and V6 (QRS and T), with the electrodes of the arms exchanged or not."""
    time = np.arange(1000) / 100
    beat = np.exp(-(((time % 1 - 0.4) / 0.02) ** 2)) + 0.3 * np.exp(-(((time % 1 - 0.7) / 0.06) ** 2))
    one, two = 0.8 * beat, 1.0 * beat
    if arms:
        one, two = -one, two - one  # I is turned over, II becomes III
    limb = {lead: a * one + b * two for lead, (a, b) in limb_leads().items()}
    rows = limb | {f"V{i}": (0.4 * i - 1) * beat for i in range(1, 7)}
    return Record.from_channels("x", np.stack(list(rows.values())), 100.0, list(rows), source="x")


def test_arm_electrodes_exchanged() -> None:
    assert not any("arms" in note for note in doubts_about(beating()))
    [note] = [note for note in doubts_about(beating(arms=True)) if "arms" in note]
    assert note == "lead I is upside down beside V6 (correlation -1.00): the arms' electrodes may be exchanged"


def test_drift_and_offsets_do_not_exchange_the_arms() -> None:
    record, exchanged = beating(), beating(arms=True)
    drift = np.linspace(-3, 3, 1000, dtype=np.float32)  # V6 falls while all others rise
    falling = np.array([[-1 if lead == "V6" else 1] for lead in record.leads], np.float32)
    assert not any("arms" in note for note in doubts_about(replace(record, signal=record.signal + drift * falling)))
    rising = doubts_about(replace(exchanged, signal=exchanged.signal + drift))
    assert sum("arms" in note for note in rising) == 1


def test_an_i_against_v6_that_is_not_upside_down_is_no_exchange() -> None:
    """V6 alone turned over, as in a mislabelled chest lead: I is upright."""
    record = beating()
    signal = record.signal.copy()
    signal[record.leads.index("V6")] *= -1
    assert not any("arms" in note for note in doubts_about(replace(record, signal=signal)))


@pytest.mark.parametrize("hertz", [50, 60])
def test_hum_of_the_mains_is_named_by_lead_and_frequency(hertz: int) -> None:
    fs, rng = 500.0, np.random.default_rng(0)
    slow = np.cumsum(rng.normal(size=(2, 5000)), axis=1) * 0.005
    time = np.arange(5000) / fs
    tone = 0.3 * np.sin(2 * np.pi * hertz * time)
    signal = np.stack([slow[0], slow[1] + tone]).astype(np.float32)
    [note] = doubts_about(Record("x", signal, fs, ("V1", "V2")))
    assert note.startswith("hum of the mains, share of the power: V2 ")
    assert note.endswith(f"% at {hertz} Hz")
    share = int(note.split("V2 ")[1].split("%")[0]) / 100
    beyond = np.abs(np.fft.rfft(slow[1] - slow[1].mean()))[10:] ** 2  # above 1 Hz
    expected = 0.045 * 5000**2 / 2 / (0.045 * 5000**2 / 2 + beyond.sum())
    assert share == pytest.approx(expected, abs=0.05)
    assert doubts_about(Record("x", np.stack([*slow]).astype(np.float32), fs, ("V1", "V2"))) == ()


@pytest.mark.parametrize("fs", [50.0, 100.0, 120.0])
def test_a_slow_recording_has_no_mains_to_find(fs: float) -> None:
    rows = np.cumsum(np.random.default_rng(0).normal(size=(1, 1000)), axis=1).astype(np.float32) * np.float32(0.02)
    assert not any("mains" in note for note in doubts_about(Record("x", rows, fs, ("V1",))))


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


@pytest.mark.shared
@pytest.mark.slow
def test_exchanged_arms_are_noted_and_true_ones_are_not(unpacked: Path) -> None:
    """Of 2,659 recordings of PTB-XL 5 are noted as they are, and 94 in 100 with I turned over; here every fifth."""
    paths = sorted((unpacked / "ptbxl").rglob("*.hea"))[::5]
    false, true = 0, 0
    for path in paths:
        record = read_record(path)
        rows = {lead: row.astype(np.float64) for lead, row in zip(record.leads, record.signal, strict=True)}
        false += bool(arms_reversed(rows, record.fs))
        true += bool(arms_reversed({**rows, "I": -rows["I"]}, record.fs))
    assert len(paths) > 500
    assert false / len(paths) < 0.01
    assert true / len(paths) > 0.9
