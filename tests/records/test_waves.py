"""Beats and waves of a signal made by hand, where every bound is known."""

from __future__ import annotations

import numpy as np
import pytest

from ecgcam.records.beat_detection import beat_shapes, find_beats, find_spikes, without_spikes
from ecgcam.records.simulator import simulate
from ecgcam.records.waves import QRS, SEGMENTS, P, T, Waves, _peaks, _stands_out, find_waves

SECONDS, BEATS = 10, np.arange(0.6, 9.6, 0.9)  # of the R peaks
# Centre after R (s), half length (s) and height (mV) of each wave, a raised cosine.
SHAPES = {P: (-0.16, 0.05, 0.15), QRS: (0.0, 0.04, 1.0), T: (0.28, 0.09, 0.3)}


def hand_made(fs: float, *, p: bool = True, beats: np.ndarray = BEATS, leads: int = 3) -> np.ndarray:
    """Leads (L, T) in mV that differ in height and sign."""
    time = np.arange(int(SECONDS * fs)) / fs
    signal = np.zeros_like(time)
    for beat in beats:
        for wave, (centre, half, height) in SHAPES.items():
            phase = np.clip((time - beat - centre) / half, -1, 1)
            signal += height * (p or wave != P) * (1 + np.cos(np.pi * phase)) / 2
    return np.outer([1.0, -0.6, 0.8][:leads], signal)


@pytest.mark.parametrize("fs", [100.0, 250.0, 500.0, 1000.0])
@pytest.mark.parametrize("leads", [1, 3])
def test_every_wave_is_found_where_it_lies(fs: float, leads: int) -> None:
    waves = find_waves(hand_made(fs, leads=leads), fs)
    assert len(waves.beats) == len(BEATS)
    assert np.abs(waves.beats / fs - BEATS).max() < 0.03
    for wave, (centre, half, _) in SHAPES.items():
        middle = BEATS + centre
        # A raised cosine has hardly begun at its first sample: bounds lie inside, by at most half of its half length.
        assert np.nanmedian(np.abs(waves.onset[:, wave] / fs - (middle - half))) < half / 2 + 1 / fs
        assert np.nanmedian(np.abs(waves.offset[:, wave] / fs - (middle + half))) < half / 2 + 1 / fs
        assert np.nanmax(np.abs(waves.peak[:, :, wave] / fs - middle)) <= 0.02
    assert np.isfinite(waves.onset[1:]).all()


def test_bounds_are_in_order() -> None:
    waves = find_waves(hand_made(500.0), 500.0)
    in_order = np.stack([waves.onset, waves.offset], axis=-1)[1:].reshape(-1, 6)
    assert (np.diff(in_order, axis=1) > 0).all()


def test_no_p_is_called_where_there_is_none() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, (3, 5000))
    waves = find_waves(hand_made(500.0, p=False) + noise, 500.0)
    assert len(waves.beats) == len(BEATS)
    assert np.isnan(waves.onset[:, P]).all()
    assert np.isnan(waves.peak[:, :, P]).all()
    assert np.isfinite(waves.onset[:, T]).all()


def test_the_place_of_the_window_and_the_voltage_do_not_matter() -> None:
    signal = hand_made(500.0)
    first, second = find_waves(signal, 500.0), find_waves(3 * signal + 0.7, 500.0)
    np.testing.assert_array_equal(first.beats, second.beats)
    np.testing.assert_array_equal(first.onset, second.onset)


@pytest.mark.parametrize(
    "signal",
    [
        np.zeros((3, 5000)),
        np.random.default_rng(1).normal(0, 0.3, (3, 5000)),
        np.full((2, 5000), np.nan),
        np.zeros((1, 0)),
        hand_made(500.0)[:, :200],
        np.eye(1, 5000, 2500),
        np.outer(np.ones(2), np.sin(np.arange(5000) / 500)),
    ],
    ids=["flat", "noise", "missing", "empty", "0.4 s", "spike", "wander"],
)
def test_what_is_no_ecg_is_unknown_and_no_error(signal: np.ndarray) -> None:
    waves = find_waves(signal, 500.0)
    assert np.isnan(waves.onset[:, [P, T]]).all()
    assert (waves.segments() >= 0).sum() < 500
    assert waves.peak.shape == (len(signal), len(waves.beats), 3)


def test_flat_and_missing_leads_have_no_peaks_and_spoil_nothing() -> None:
    signal = hand_made(500.0)
    valid = np.ones(signal.shape, bool)
    signal[1], valid[1] = 0.0, False
    waves = find_waves(signal, 500.0, valid)
    assert np.isnan(waves.peak[1]).all()
    alone = find_waves(signal[[0, 2]], 500.0)
    np.testing.assert_array_equal(waves.onset, alone.onset)
    np.testing.assert_array_equal(waves.peak[[0, 2]], alone.peak)


def test_a_noisy_lead_is_left_out() -> None:
    signal = hand_made(500.0)
    clean = find_waves(signal[[0, 2]], 500.0)
    signal[1] = np.random.default_rng(2).normal(0, 2.0, 5000)
    noisy = find_waves(signal, 500.0)
    np.testing.assert_array_equal(noisy.onset, clean.onset)
    assert np.isnan(noisy.peak[1]).all()


def test_no_beat_in_the_padding() -> None:
    valid = np.ones((3, 5000), bool)
    valid[:, 2500:] = False
    waves = find_waves(np.where(valid, hand_made(500.0), 0.0), 500.0, valid)
    assert len(waves.beats) == (BEATS < 4.9).sum()


def test_three_seconds_in_a_window_of_ten_and_a_late_start() -> None:
    signal = hand_made(500.0)
    short = find_waves(signal[:, 1000:2500], 500.0)
    valid = np.zeros((3, 5000), bool)
    valid[:, 1000:2500] = True
    padded = find_waves(np.where(valid, signal, 0.0), 500.0, valid)
    assert len(short.beats) == 3
    np.testing.assert_array_equal(padded.beats, short.beats + 1000)
    np.testing.assert_array_equal(padded.onset, short.onset + 1000)
    np.testing.assert_array_equal(padded.peak, short.peak + 1000)


def test_segments_follow_one_another() -> None:
    nan = np.nan
    onset = np.array([[1.0, 5, 10], [20, 24, 30], [nan, 40, nan]])
    offset = np.array([[2.0, 7, 13], [21, 26, 33], [nan, 42, nan]])
    waves = Waves(10.0, 46, np.array([6, 25, 41]), onset, offset, np.zeros((1, 3, 3)))
    names = ["-" if label < 0 else SEGMENTS[label] for label in waves.segments()]
    beat = ["P"] * 2 + ["PR"] * 2 + ["QRS"] * 3 + ["ST"] * 2 + ["T"] * 4
    second = ["P"] * 2 + ["PR"] * 2 + ["QRS"] * 3 + ["ST"] * 3 + ["T"] * 4
    # No P before the third QRS: TP lasts until it. Its T is unknown, and so is what follows it.
    assert names == ["-", *beat, *["TP"] * 6, *second, *["TP"] * 6, *["QRS"] * 3, *["-"] * 3]


@pytest.mark.parametrize("seed", range(8))
def test_nothing_raises_whatever_the_signal(seed: int) -> None:
    """Noise, drift, spikes and cut ECGs at any rate, with gaps: bounds stay in order and inside the window."""
    random = np.random.default_rng(seed)
    for fs in (10.0, 25.0, 100.0, 257.0, 500.0):
        ecg = hand_made(fs, leads=3)[:, : int(random.integers(1, 10 * fs))]
        drift = np.cumsum(random.normal(0, 0.1, (3, int(10 * fs))), axis=1)
        spikes = 5.0 * (random.random((3, int(10 * fs))) < 0.01)
        for signal in (ecg, drift, spikes, 1e6 * drift, random.normal(0, 1e-9, (2, int(3 * fs)))):
            valid = np.ones(signal.shape, bool)
            first, stop = sorted(random.integers(0, signal.shape[1], 2))
            valid[0, first:stop] = False
            valid[:, : first // 2] = False
            waves = find_waves(np.where(valid, signal, np.nan).astype(np.float32), fs, valid)
            known = np.isfinite(waves.onset + waves.offset)
            assert (waves.onset[known] <= waves.offset[known]).all()
            assert (waves.onset[known] >= 0).all()
            assert (waves.offset[known] < signal.shape[1]).all()
            assert waves.segments().shape == (signal.shape[1],)


def by_hand() -> Waves:
    """Twenty samples, two beats: P 2-3, QRS 5-6, T 8-9; no P, QRS 14-15, T 17-18."""
    nan = np.nan
    onset, offset = np.array([[2.0, 5, 8], [nan, 14, 17]]), np.array([[3.0, 6, 9], [nan, 15, 18]])
    return Waves(100.0, 20, np.array([5, 14]), onset, offset, np.full((1, 2, 3), nan))


def test_parts_of_the_heartbeat_by_hand() -> None:
    # Segments: P 0, PR 1, QRS 2, ST 3, T 4, TP 5; after the first T it is TP until the second QRS.
    segments = [-1, -1, 0, 0, 1, 2, 2, 3, 4, 4, 5, 5, 5, 5, 2, 2, 3, 4, 4, -1]
    waves = [-1, -1, 0, 0, -1, 1, 1, -1, 2, 2, -1, -1, -1, -1, 4, 4, -1, 5, 5, -1]
    beats = [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]
    for by, want in (("segment", segments), ("wave", waves), ("beat", beats)):
        assert by_hand().parts(by).tolist() == want


@pytest.mark.parametrize("by", ["segment", "wave", "beat"])
def test_without_beats_no_sample_is_in_a_part(by: str) -> None:
    waves = find_waves(np.random.default_rng(0).normal(0, 1, (3, 5000)), 500.0)
    assert len(waves.beats) == 0
    assert (waves.parts(by) == -1).all()


def test_beats_of_an_ecg_follow_one_another() -> None:
    parts = find_waves(hand_made(500.0), 500.0).parts("beat")
    assert parts[0] == 0
    assert set(np.diff(parts)) == {0, 1}
    assert parts[-1] == len(BEATS)


@pytest.mark.parametrize(("height", "found"), [(2.1, 5), (1.9, 0)])
def test_bursts_of_less_than_two_millivolts_a_second_are_no_beats(height: float, found: int) -> None:
    """Bursts of 140 ms a second: their mean over 20 and then over 80 ms is their height."""
    slope = np.zeros((2, 2500))
    for beat in range(5):
        slope[:, 500 * beat + 200 : 500 * beat + 270] = height
    assert len(find_beats(slope, 500.0)) == found


@pytest.mark.parametrize(("rest", "height", "stands_out"), [(62, 0.5, True), (62, 2.0, False), (30, 2.0, True)])
def test_a_p_must_be_higher_than_a_rest_of_80_ms_or_more(rest: int, height: float, stands_out: bool) -> None:
    """`rest` samples of 2 ms lie between T and P, and in them something so high; 20 ms at either end do not count."""
    signal, begin = np.zeros((1, 2000)), np.arange(200, 2000, 400)
    bounds, t_end = np.full((5, 2), np.nan), np.full(5, np.nan)
    for beat, onset in enumerate(begin):
        signal[0, onset + 20] = 1.0
        bounds[beat] = onset, onset + 40
        if beat:
            t_end[beat - 1] = onset - rest
            signal[0, onset - rest // 2] = height
    assert _stands_out(signal, bounds, t_end, 500.0, 1.0) == stands_out


def test_a_peak_is_known_where_all_samples_of_its_wave_are() -> None:
    signal = np.tile([0.0, 0, 1, 3, 1, 0, 0, 0], (4, 1))
    real = np.ones_like(signal, dtype=bool)
    real[0, 1], real[1, 5], real[2, 0], real[3, 6] = False, False, False, False
    onset, offset = np.array([[np.nan, 1.0, np.nan]]), np.array([[np.nan, 5.0, np.nan]])
    peak = _peaks(signal, real, onset, offset)
    assert peak.shape == (4, 1, 3)
    np.testing.assert_array_equal(peak[:, 0, QRS], [np.nan, np.nan, 3, 3])
    assert np.isnan(peak[..., [P, T]]).all()


def test_a_spike_is_found_and_becomes_a_line() -> None:
    signal, spikes = hand_made(500.0), [500, 950, 1400]
    spiked = signal.copy()
    for at in spikes:
        spiked[:, at] += np.array([0.8, -0.5, 0.6])
    np.testing.assert_array_equal(find_spikes(spiked, 500.0), spikes)
    assert len(find_spikes(signal, 500.0)) == 0
    clean = without_spikes(spiked, np.array(spikes), 500.0)
    # A line of 12 ms in place of slowly changing voltages: no more than a few microvolts off.
    assert np.abs(clean - signal).max() < 0.02
    changed = np.flatnonzero((clean != spiked).any(axis=0))
    assert set(changed) <= {at + step for at in spikes for step in range(-3, 4)}


def test_beats_of_paced_rhythm_are_counted_once() -> None:
    """Atrial and ventricular spikes and the tall T of a paced beat are not beats."""
    for seed in range(8):
        paced = simulate("paced", seed)
        waves = find_waves(paced.signal, 500.0)
        qrs = [row[1:] for row in paced.intervals if row[0] == "QRS"]
        inside = [sum(start - 0.03 < beat / 500 < stop + 0.03 for beat in waves.beats) for start, stop in qrs]
        assert inside[1:-1] == [1] * (len(qrs) - 2)
        assert sum(inside) == len(waves.beats)
        assert len(waves.spikes) >= len(qrs) - 1


def test_a_long_pr_has_a_p() -> None:
    for seed in range(6):
        delayed = simulate("av-block-1", seed)
        waves = find_waves(delayed.signal, 500.0)
        begins = np.array([start for name, start, _ in delayed.intervals if name == "P"])
        known = waves.onset[np.isfinite(waves.onset[:, P]), P] / 500
        assert np.isfinite(waves.onset[1:, P]).mean() >= 0.9
        assert np.median([np.abs(begins - onset).min() for onset in known]) <= 0.02


def test_premature_beats_have_a_shape_of_their_own_and_leave_p_to_the_others() -> None:
    for seed in range(6):
        ectopic = simulate("pvc", seed)
        waves = find_waves(ectopic.signal, 500.0)
        kind = {int(beat): symbol for beat, symbol in zip(ectopic.beats, ectopic.symbols, strict=True)}
        for beat, shape, onset in zip(waves.beats, waves.shapes, waves.onset, strict=True):
            near = [symbol for at, symbol in kind.items() if abs(at - beat) < 40]
            if near:
                assert (shape == 0) == (near == ["N"])
                if near == ["V"]:
                    assert np.isnan(onset[P])


def test_shapes_are_numbered_by_how_often_they_occur() -> None:
    time = np.arange(40) / 500
    first, second = np.sin(2 * np.pi * time / 0.08), np.cos(2 * np.pi * time / 0.08) - 1
    signal, beats = np.zeros((2, 2500)), np.arange(200, 2400, 300)
    order = [1, 0, 0, 1, 0, 0, 1, 0]
    for at, kind in zip(beats, order, strict=True):
        signal[:, at - 20 : at + 20] = (first, second)[kind]
    assert beat_shapes(signal, beats, 500.0).tolist() == order
    assert beat_shapes(signal, beats[:0], 500.0).tolist() == []
