"""From a record's rate to the model's: amplitude and time kept, gaps marked where they are, nothing touched that is given."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgcam.errors import EcgcamError
from ecgcam.records import Record, Window, take_window, window_starts
from ecgcam.records.windows import held_ends, margin, without_recording

RATES = [1000, 500, 360, 257, 250, 100]
EDGE = 0.15  # s: the longest half of the anti-aliasing filter, ten samples of the slower rate (100 Hz)


def record(rows: npt.ArrayLike, fs: float, leads: tuple[str, ...] = ("V1",)) -> Record:
    return Record.from_channels("r", np.atleast_2d(rows).astype(float), fs, leads, source="r")


def inner(window: Window) -> npt.NDArray[np.bool_]:
    return (window.time > window.time[0] + EDGE) & (window.time < window.time[-1] - EDGE)


@pytest.mark.parametrize("fs", RATES)
@pytest.mark.parametrize("hertz", [1.0, 7.0, 30.0])
def test_a_sine_keeps_its_amplitude_and_its_time(fs: int, hertz: float) -> None:
    t = np.arange(12 * fs) / fs
    got = take_window(record(2.5 + np.sin(2 * np.pi * hertz * t + 0.4), fs), 250, 2500)
    want = 2.5 + np.sin(2 * np.pi * hertz * got.time + 0.4)
    # Half a millisecond of shift would be 0.09 at 30 Hz and 0.003 at 1 Hz.
    assert np.abs(got.signal[0] - want)[inner(got)].max() < 2e-3
    assert got.signal.dtype == np.float32
    assert got.valid.all()
    assert got.warnings == ()


@pytest.mark.parametrize("fs", RATES)
def test_an_impulse_keeps_its_time(fs: int) -> None:
    """A smooth wave of 20 ms width at 4.0 s, which is a sample at every rate; its centre of mass says where it went."""
    t = np.arange(10 * fs) / fs
    got = take_window(record(np.exp(-0.5 * ((t - 4.0) / 0.02) ** 2), fs), 250, 2500)
    assert np.argmax(got.signal[0]) == 1000
    near = slice(950, 1051)
    centre = (got.time[near] * got.signal[0, near]).sum() / got.signal[0, near].sum()
    assert centre == pytest.approx(4.0, abs=1e-5)
    # A single sample, too: at the highest rates it is spread, never moved.
    single = np.zeros(10 * fs)
    single[4 * fs] = 1.0
    assert np.argmax(np.abs(take_window(record(single, fs), 250, 2500).signal[0])) == 1000


def test_what_the_new_rate_cannot_carry_is_gone() -> None:
    """200 Hz in a record of 1000 Hz would come out as 50 Hz at 250; 40 Hz beside it stays."""
    t = np.arange(10_000) / 1000
    got = take_window(record(np.sin(2 * np.pi * 200 * t) + np.sin(2 * np.pi * 40 * t), 1000), 250, 2500)
    want = np.sin(2 * np.pi * 40 * got.time)
    assert np.abs(got.signal[0] - want)[inner(got)].max() < 3e-3


@pytest.mark.parametrize("fs", RATES)
@pytest.mark.parametrize("start", [3.0, 7.304])
def test_a_window_of_the_middle_is_a_stretch_of_the_whole(fs: int, start: float) -> None:
    signal = np.random.default_rng(fs).standard_normal((2, 20 * fs)).cumsum(axis=1) / 20
    for second in (5, 9):
        signal[1, second * fs : second * fs + 30] = np.nan
    long = record(signal, fs, ("V1", "V2"))
    whole = take_window(long, 250, 5000)
    part = take_window(long, 250, 1000, start)
    first = round(start * 250)
    np.testing.assert_array_equal(part.valid, whole.valid[:, first : first + 1000])
    assert not part.valid.all()
    np.testing.assert_allclose(part.signal, whole.signal[:, first : first + 1000], atol=1e-5)
    np.testing.assert_allclose(part.time, start + np.arange(1000) / 250)
    np.testing.assert_allclose(part.time, whole.time[first : first + 1000])


@pytest.mark.parametrize(("fs", "before", "after"), [(1000, 0, 1), (500, 0, 0), (250, 0, 0), (100, 2, 0)])
def test_a_gap_is_marked_where_it_is(fs: int, before: int, after: int) -> None:
    """From 4 s to 5 s: new samples 1000 to 1249.

    At 1000 Hz the last missing one (4.999 s) is nearest to sample 1250; at 100 Hz samples 998 and 999 lie between the last
    known one (3.99 s, sample 997.5) and the first missing one. The last missing one is at 4.99 s, and 1248 and 1249 lie
    between it and the known one at 5 s.
    """
    t = np.arange(10 * fs) / fs
    signal = np.sin(2 * np.pi * t) + 3
    signal[4 * fs : 5 * fs] = np.nan
    got = take_window(record(signal, fs), 250, 2500)
    missing = np.flatnonzero(~got.valid[0])
    np.testing.assert_array_equal(missing, np.arange(missing[0], missing[-1] + 1))
    assert (missing[0], missing[-1]) == (1000 - before, 1249 + after)
    # The line across the gap leads from 3 to 3: nothing of it reaches the valid samples beyond the filter's own length.
    assert np.isfinite(got.signal).all()
    np.testing.assert_allclose(got.signal[0, 1000:1250], 3.0, atol=0.1)
    far = got.valid[0] & inner(got) & (np.abs(got.time - 4) > EDGE) & (np.abs(got.time - 5) > EDGE)
    want = np.sin(2 * np.pi * got.time) + 3
    assert np.abs(got.signal[0] - want)[far].max() < 2e-3
    assert got.warnings == ("missing samples bridged in: V1",)


@pytest.mark.parametrize(
    ("fs", "at"), [(1000, 4001), (1000, 4002), (1000, 4003), (500, 2001), (360, 1447), (257, 1000)]
)
def test_a_single_missing_sample_does_not_disappear(fs: int, at: int) -> None:
    """Even where it lies between two new samples: the nearest is marked, and no more than its neighbours."""
    signal = np.sin(np.arange(10 * fs) / fs)
    signal[at] = np.nan
    missing = np.flatnonzero(~take_window(record(signal, fs), 250, 2500).valid[0])
    assert round(at * 250 / fs) in missing or round(at * 250 / fs + 1e-9) in missing
    assert len(missing) <= 2
    assert np.abs(missing - at * 250 / fs).max() < 1


def test_missing_ends_are_bridged_by_the_nearest_value() -> None:
    signal = np.sin(np.arange(2500) / 250)
    signal[:250] = signal[2250:] = np.nan
    got = take_window(record(signal, 250), 250, 2500)
    np.testing.assert_array_equal(got.signal[0, :250], np.float32(signal[250]))
    np.testing.assert_array_equal(got.signal[0, 2250:], np.float32(signal[2249]))
    assert np.flatnonzero(got.valid[0])[[0, -1]].tolist() == [250, 2249]


@pytest.mark.parametrize("fs", RATES)
def test_a_flat_lead_is_flat_whatever_its_offset(fs: int) -> None:
    """At 5 mV a filter with unequal phases would ripple by a few microvolts, and the lead would pass for alive."""
    t = np.arange(10 * fs) / fs
    got = take_window(record([np.full_like(t, 5.0), np.sin(t)], fs, ("V1", "V2")), 250, 2500)
    assert not got.valid[0].any()
    assert got.valid[1].all()
    np.testing.assert_array_equal(got.signal[0], 0.0)
    assert got.warnings == ("flat or missing leads: V1",)


def test_flat_for_a_while_is_not_flat() -> None:
    signal = np.r_[np.zeros(2000), np.sin(np.arange(500) / 20)]
    assert take_window(record(signal, 250), 250, 2500).valid.all()
    # Within a window that is flat altogether there is nothing to explain.
    with pytest.raises(EcgcamError, match=r"r: no lead has a signal between 0 and 4 s"):
        take_window(record(signal, 250), 250, 1000)


def test_a_lead_that_is_missing_in_this_window_is_named() -> None:
    signal = np.stack([np.sin(np.arange(5000) / 20)] * 2)
    signal[1, :2500] = np.nan
    two = record(signal, 250, ("V1", "V2"))
    got = take_window(two, 250, 2500)
    assert got.warnings == ("flat or missing leads: V2",)
    assert not got.valid[1].any()
    np.testing.assert_array_equal(got.signal[1], 0.0)
    assert take_window(two, 250, 2500, start=10.0).warnings == ()


@pytest.mark.parametrize(("padding", "level"), [("zero-mv", 0.0), ("baseline", 2.0)])
def test_padding(padding: str, level: float) -> None:
    """The lead's median is 2: as many samples above as below."""
    signal = 2 + np.tile([1.0, -1.0, 0.0, 0.0], 250)
    got = take_window(record(signal, 250), 250, 2500, padding=padding)
    np.testing.assert_array_equal(got.valid[0], np.arange(2500) < 1000)
    np.testing.assert_array_equal(got.signal[0, 1000:], np.float32(level))
    np.testing.assert_allclose(got.signal[0, :1000], signal)
    assert got.warnings == ("4 s of signal, padded to 10 s",)
    assert len(got.time) == 2500


def test_seconds_take_less_and_never_more() -> None:
    long = record(np.sin(np.arange(5000) / 20), 250)
    assert take_window(long, 250, 2500, seconds=3.0).valid.sum() == 750
    assert take_window(long, 250, 2500, seconds=30.0).valid.sum() == 2500
    assert take_window(long, 250, 2500, start=19.0).valid.sum() == 250
    for seconds in (0.0, -1.0, np.nan):
        with pytest.raises(EcgcamError, match=r"`seconds` .*: must be a positive number"):
            take_window(long, 250, 2500, seconds=seconds)


@pytest.mark.parametrize("start", [-0.1, 20.0, 1e9, np.nan, np.inf])
def test_a_start_outside_is_refused(start: float) -> None:
    with pytest.raises(EcgcamError, match=r"r: `start` .* lies outside the recording, which lasts 20 s"):
        take_window(record(np.sin(np.arange(5000) / 20), 250), 250, 2500, start)


def test_nothing_given_is_modified() -> None:
    signal = np.sin(np.arange(3000) / 20)
    signal[100:200] = np.nan
    for fs in (250, 500):
        given = record([signal, np.ones_like(signal)], fs, ("V1", "V2"))
        kept = given.signal.copy()
        window = take_window(given, 250, 2500)
        window.signal[:] = 7
        window.valid[:] = False
        np.testing.assert_array_equal(given.signal, kept)


@pytest.mark.parametrize(
    ("seconds", "hop", "start", "want"),
    [
        (38.4, None, 0.0, [0, 10, 20, 28.4]),  # the last ends with the record
        (30.0, None, 0.0, [0, 10, 20]),
        (30.0, None, 5.0, [5, 15, 20]),
        (30.0, 5.0, 0.0, [0, 5, 10, 15, 20]),
        (32.0, 15.0, 0.0, [0, 15, 22]),
        (10.0, None, 0.0, [0]),
        (6.0, None, 0.0, [0]),  # shorter than a window: padded
        (30.0, None, 25.0, [25]),
        (10.3, 0.1, 0.0, [0, 0.1, 0.2, 0.3]),
    ],
)
def test_window_starts(seconds: float, hop: float | None, start: float, want: list[float]) -> None:
    given = record(np.zeros(round(seconds * 500)), 500)
    assert window_starts(given, 10.0, hop, start) == pytest.approx(want)


@pytest.mark.parametrize("hop", [0.0, -1.0, np.nan, np.inf, 1e-9])
def test_a_step_that_leads_nowhere_is_refused(hop: float) -> None:
    with pytest.raises(EcgcamError, match="`hop`"):
        window_starts(record(np.zeros(15_000), 500), 10.0, hop)


@pytest.mark.parametrize("fs", [499.99, 360.0001, 128.3, 12.5, 99_999.0])
def test_odd_rates_neither_fail_nor_drift(fs: float) -> None:
    t = np.arange(int(11 * fs)) / fs
    got = take_window(record(np.exp(-0.5 * ((t - 9.0) / 0.2) ** 2), fs), 250, 2500)
    assert abs(got.time[np.argmax(got.signal[0])] - 9.0) <= 0.005


@pytest.mark.parametrize("fs", [250, 500])
def test_a_window_of_a_stretch_is_the_whole_record_s(fs: int) -> None:
    signal = np.random.default_rng(0).standard_normal((1, 20 * fs))
    whole = record(signal, fs)
    part = replace(whole, signal=whole.signal[:, 5 * fs : 15 * fs], first=5 * fs, length=20 * fs)
    got, wanted = (take_window(one, 250, 1000, 8.0) for one in (part, whole))
    np.testing.assert_allclose(got.signal, wanted.signal, atol=1e-6)
    assert part.without_signal().signal.shape == (1, 0)
    assert part.without_signal().seconds == 20


@settings(max_examples=150, deadline=None)
@given(
    numerator=st.integers(50, 100_000),
    denominator=st.integers(1, 97),
    new=st.sampled_from([100.0, 250.0, 256.0, 500.0]),
    data=st.data(),
)
def test_a_window_of_a_stretch_is_the_whole_record_s_at_any_rate(
    numerator: int, denominator: int, new: float, data: st.DataObject
) -> None:
    fs = min(10_000.0, max(50.0, numerator / denominator))
    seconds = data.draw(st.floats(4.0, min(40.0, 60_000 / fs + 2)))
    total = int(seconds * fs)
    random = np.random.default_rng(numerator)
    signal = random.standard_normal((2, total)).astype(np.float32)
    for gap in data.draw(st.lists(st.integers(0, total - 1), max_size=3)):
        signal[data.draw(st.integers(0, 1)), gap : gap + int(data.draw(st.floats(0, 1)) * fs) + 1] = np.nan
    whole = record(signal, fs, ("I", "V1"))
    start = data.draw(st.floats(0, total / fs - 1.0))
    length = data.draw(st.floats(0.5, 5.0))
    begin = max(0, int((start - margin(new, fs)) * fs))
    end = min(total, math.ceil((start + length + margin(new, fs)) * fs))
    part = replace(whole, signal=whole.signal[:, begin:end], first=begin, length=total)
    try:
        wanted = take_window(whole, new, int(length * new), start)
    except EcgcamError as error:
        with pytest.raises(EcgcamError, match=re.escape(str(error))):
            take_window(part, new, int(length * new), start)
        return
    got = take_window(part, new, int(length * new), start)
    np.testing.assert_array_equal(got.signal, wanted.signal)
    np.testing.assert_array_equal(got.valid, wanted.valid)


def test_a_window_beyond_what_was_read_is_refused() -> None:
    part = replace(record(np.arange(1000.0), 360.1), first=5000, length=20_000)
    with pytest.raises(EcgcamError, match=r"needs samples .* were read"):
        take_window(part, 250, 250, 0.0)


@pytest.mark.parametrize("held", [0, 19, 20, 21, 52, 400])
@pytest.mark.parametrize("at_start", [False, True])
def test_held_values_at_an_end_are_not_valid(held: int, at_start: bool) -> None:
    signal = np.random.default_rng(3).standard_normal((3, 5000)).astype(np.float32)
    signal[:, 5000 - held :] = np.array([[0.1], [-0.2], [0.0]]) + 3
    if at_start:
        signal = signal[:, ::-1]
    got = take_window(record(signal, 500, ("I", "II", "V1")), 500, 5000)
    valid = got.valid[:, ::-1] if at_start else got.valid
    invalid = held if held > 0.04 * 500 else 0
    assert (valid.sum(axis=1) == 5000 - invalid).all()
    assert valid[:, : 5000 - invalid].all()
    bridged = got.signal[:, ::-1] if at_start else got.signal
    rows = [got.leads.index(lead) for lead in ("I", "II", "V1")]
    np.testing.assert_array_equal(bridged[rows], signal[:, ::-1] if at_start else signal)
    if invalid:
        assert any("hold one value in all leads" in warning for warning in got.warnings)
    else:
        assert got.warnings == ()


@pytest.mark.parametrize("held", [51, 52, 53])
@pytest.mark.parametrize("rate", [100.0, 200.0, 250.0])
def test_a_held_end_is_no_gap_at_another_rate(held: int, rate: float) -> None:
    signal = np.random.default_rng(3).standard_normal((2, 5000)).astype(np.float32)
    signal[:, 5000 - held :] = 3.0
    got = take_window(record(signal, 500, ("I", "V1")), rate, round(10 * rate))
    assert len(got.warnings) == 1
    assert "hold one value in all leads" in got.warnings[0]
    assert got.held is not None
    # Every sample that is not valid is one of the held end.
    assert (got.valid == ~got.held).all()


def test_a_window_keeps_the_samples_of_its_own_stretch_for_pictures() -> None:
    signal = np.arange(2 * 6000, dtype=np.float32).reshape(2, 6000) / 1000
    whole = record(signal, 500, ("I", "V1"))
    kept = without_recording(take_window(whole, 250, 1250, start=2.001))
    assert kept.record.signal.shape == (2, 0)
    assert kept.own is not None
    time, own = kept.own
    # 2.001 s is sample 500 at the model's rate, 2.0 s; 5 s at 500 Hz from there on.
    assert (time[0], len(time)) == (2.0, 2500)
    np.testing.assert_array_equal(own, signal[:, 1000:3500])
    # At its end a recording has no more than it has, and at the model's own rate nothing is kept twice.
    beyond = without_recording(take_window(whole, 250, 1250, start=10.0)).own
    assert beyond is not None
    assert beyond[1].shape == (2, 1000)
    assert without_recording(take_window(whole, 500, 2500)).own is None


def test_one_lead_that_moves_keeps_the_end_valid() -> None:
    signal = np.random.default_rng(3).standard_normal((3, 5000)).astype(np.float32)
    signal[:2, 4900:] = 0.0
    assert take_window(record(signal, 500, ("I", "II", "V1")), 500, 5000).valid.all()
    signal[2] = 0.0  # a lead that was off all along says nothing
    assert held_ends(record(signal, 500, ("I", "II", "V1"))) == (0, 100)


@pytest.mark.parametrize("fs", [333.33, 249.89, 128.01, 360.1])
def test_a_window_late_in_a_day_lies_where_it_says(fs: float) -> None:
    """A slope of 1 mV an hour with a step at 20 h: a ratio that is 1e-5 off would move it by 0.7 s."""
    at, count = 20 * 3600.0, round(24 * 3600 * fs)
    first = round((at - 30) * fs)
    time = (first + np.arange(round(60 * fs))) / fs
    part = Record("r", (time >= at).astype(np.float32)[None], fs, ("V1",), first=first, length=count)
    window = take_window(part, 250.0, 2500, at - 5)
    step = window.time[int(np.argmax(window.signal[0] > 0.5))]
    assert abs(step - at) <= 1 / 250 + 1 / fs
