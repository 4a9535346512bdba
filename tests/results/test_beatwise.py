"""Shares, densities and average beats of maps whose answers are known."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests import handmade
from tests.records.test_waves import BEATS, hand_made

from ecgcam.records.waves import QRS, SEGMENTS, P, T
from ecgcam.results.beatwise import average_beat, beat_groups, wave_table
from ecgcam.results.explanation import Explanation

FS = 500.0


def explained(maps: np.ndarray, **changes: Any) -> Explanation:
    """An explanation of the hand-made ECG, three leads, with these maps (3, T)."""
    samples, leads = maps.shape[1], len(maps)
    fields: dict[str, Any] = {
        "map": maps.astype(np.float32), "signal": hand_made(FS).astype(np.float32), "fs": FS,
        "time": np.arange(samples) / FS, "valid": np.ones(maps.shape, bool), "leads": ("I", "II", "V1")[:leads],
        "lead_scores": np.full(leads, 0.5, np.float32), "mask_shift": np.zeros(leads, np.float32),
        "gradient": np.zeros((leads, 0), np.float32), "gradient_smoothed": np.zeros((leads, 0), np.float32),
    }  # fmt: skip
    return handmade.explanation(**(fields | changes))


def test_an_even_map_is_chance_everywhere() -> None:
    table = wave_table(explained(np.ones((3, 5000))))
    np.testing.assert_allclose(table.density, 1.0, rtol=1e-6)
    np.testing.assert_allclose(table.spread, 0.0, atol=1e-6)
    labels = table.waves.segments()
    for place in range(len(SEGMENTS)):
        np.testing.assert_allclose(table.share[:, place], (labels == place).mean())


def test_a_map_on_the_qrs_is_all_there() -> None:
    waves = wave_table(explained(np.ones((3, 5000)))).waves
    maps = np.zeros((3, 5000))
    for first, last in zip(waves.onset[:, QRS], waves.offset[:, QRS], strict=True):
        maps[0, int(first) : int(last) + 1] = 2.0
    maps[1] = -maps[0]  # signed maps count by their magnitude
    table = wave_table(explained(maps))
    qrs = SEGMENTS.index("QRS")
    for row in (0, 1):
        assert table.share[row, qrs] == pytest.approx(1.0)
        assert table.density[row, qrs] == pytest.approx(5000 / np.count_nonzero(maps[0]))
        assert np.nansum(np.delete(table.share[row], qrs)) == 0
    assert np.isnan(table.share[2]).all()  # zero everywhere: no share of nothing


def test_spread_is_the_standard_deviation_over_beats() -> None:
    waves = wave_table(explained(np.ones((3, 5000)))).waves
    maps = np.zeros((3, 5000))
    widths = []
    for beat, (first, last) in enumerate(zip(waves.onset[:, T], waves.offset[:, T], strict=True)):
        maps[0, int(first) : int(last) + 1] = beat
        widths.append(int(last) - int(first) + 1)
    table = wave_table(explained(maps))
    mean = np.sum(np.arange(len(widths)) * widths) / 5000
    assert table.spread[0, SEGMENTS.index("T")] == pytest.approx(np.std(np.arange(len(widths)) / mean, ddof=1))


def test_invalid_samples_do_not_count() -> None:
    valid = np.ones((3, 5000), bool)
    valid[1, 2500:] = False
    maps = np.ones((3, 5000))
    table = wave_table(explained(maps, valid=valid))
    np.testing.assert_allclose(table.density[1], 1.0, rtol=1e-6)


def test_the_summary_is_json_and_none_where_unknown() -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, (3, 5000)).astype(np.float32)
    nothing = wave_table(explained(np.ones((3, 5000)), signal=noise)).summary()
    assert nothing["beats"] == 0
    assert nothing["unknown_time"] == 1.0
    assert nothing["leads"][0]["P"] == {"share": None, "density": None, "spread": None}
    found = wave_table(explained(np.ones((3, 5000)))).summary()
    assert found["beats"] == len(BEATS)
    assert [lead["name"] for lead in found["leads"]] == ["I", "II", "V1"]
    assert list(found["leads"][0]) == ["name", *SEGMENTS]
    json.dumps([nothing, found], allow_nan=False)


def test_the_average_beat_is_the_mean_over_beats() -> None:
    example = explained(np.ones((3, 5000)))
    waves = wave_table(example).waves
    values = np.zeros((3, 5000))
    values[0, waves.beats] = np.arange(len(waves.beats))
    beat = average_beat(example, values, waves)
    centre = int(np.argmin(np.abs(beat.time)))
    assert beat.time[centre] == pytest.approx(0.0)
    assert beat.mean[0, centre] == pytest.approx(np.mean(np.arange(len(waves.beats))))
    assert beat.spread[0, centre] == pytest.approx(np.std(np.arange(len(waves.beats)), ddof=1))
    assert np.nansum(np.delete(beat.mean[0], centre)) == 0
    # The bounds are those of the waves, and the median beat is the beat.
    assert beat.bounds[QRS, 0] < 0 < beat.bounds[QRS, 1]
    assert beat.bounds[P, 1] < beat.bounds[QRS, 0]
    assert np.nanmax(beat.signal[0]) == pytest.approx(1.0, abs=0.05)


def test_no_sample_is_part_of_two_beats() -> None:
    example = explained(np.ones((3, 5000)))
    waves = wave_table(example).waves
    beat = average_beat(example, np.ones((3, 5000)), waves)
    assert len(beat.time) / FS <= 0.9 + 1 / FS  # the beats are 0.9 s apart


def test_each_beat_has_its_own_qrs_however_early_the_next_one_comes() -> None:
    """Two beats 0.3 s apart without a P: the second begins 0.1 s after the first, not 0.35 s before itself."""
    example = explained(np.ones((3, 5000)))
    waves = wave_table(example).waves
    beats = np.array([500, 1000, 1150, 1700, 2200])
    unknown = np.full((5, 3), np.nan)
    close = replace(waves, beats=beats, onset=unknown, offset=unknown)
    beat = average_beat(example, np.ones((3, 5000)), close, np.arange(5))
    assert beat.beats == 5
    assert beat.time[[0, -1]] == pytest.approx([-0.2 + 1 / FS, 0.1 - 1 / FS], abs=1.5 / FS)


def test_without_beats_nothing_is_known() -> None:
    example = explained(np.ones((3, 5000)), signal=np.zeros((3, 5000), np.float32))
    beat = average_beat(example, np.ones((3, 5000)), wave_table(example).waves)
    assert beat.beats == 0
    assert np.isnan(beat.mean).all()
    assert np.isnan(beat.bounds).all()


def test_a_wave_that_fewer_than_half_of_the_beats_have_is_unknown() -> None:
    """T is taken from all beats but the first k: known with half of the beats, unknown with one fewer."""
    example = explained(np.ones((3, 5000)))
    waves = wave_table(example).waves
    half = len(BEATS) // 2
    for missing, known in ((half, True), (half + 1, False)):
        offset, onset = waves.offset.copy(), waves.onset.copy()
        onset[:missing, T] = offset[:missing, T] = np.nan
        with pytest.MonkeyPatch.context() as patch:
            found = replace(waves, onset=onset, offset=offset)
            patch.setattr("ecgcam.results.beatwise.find_waves", lambda *_, found=found: found)
            table = wave_table(example)
        assert len(BEATS) % 2 == 0
        assert table.found[SEGMENTS.index("T")] == len(BEATS) - missing
        for values in (table.share, table.density, table.spread):
            assert np.isfinite(values[:, SEGMENTS.index("T")]).all() == known
        assert table.summary()["found"]["T"] == len(BEATS) - missing


def test_padding_is_no_unknown_time() -> None:
    example = explained(np.ones((3, 5000)))
    whole = wave_table(example).unknown_time
    valid = np.ones((3, 10_000), bool)
    valid[:, 5000:] = False
    longer = explained(
        np.ones((3, 10_000)), valid=valid, signal=np.pad(example.signal, ((0, 0), (0, 5000))),
    )  # fmt: skip
    assert wave_table(longer).unknown_time == pytest.approx(whole, abs=0.02)


def premature() -> tuple[Explanation, list[int]]:
    """The hand-made ECG, three of whose beats are wide and upside down; their numbers."""
    example = explained(np.ones((3, 5000)))
    waves = wave_table(example).waves
    signal = example.signal.copy()
    odd = [2, 5, 8]
    around = np.arange(-50, 125)
    shape = -2.0 * np.exp(-(((np.arange(175) - 60) / 25.0) ** 2)) + np.exp(-(((np.arange(175) - 130) / 15.0) ** 2))
    for beat in odd:
        signal[:, waves.beats[beat] + around] = shape
    return replace(example, signal=signal), odd


def test_beats_of_one_shape_are_a_group() -> None:
    example, odd = premature()
    waves = wave_table(explained(np.ones((3, 5000)))).waves
    groups = beat_groups(example, waves)
    assert [group.tolist() for group in groups] == [
        [beat for beat in range(len(waves.beats)) if beat not in odd], odd,
    ]  # fmt: skip
    regular = beat_groups(explained(np.ones((3, 5000))), waves)
    assert [len(group) for group in regular] == [len(waves.beats)]


def test_the_average_is_of_one_group_and_no_beat_drops_out_along_the_way() -> None:
    example, odd = premature()
    waves = wave_table(explained(np.ones((3, 5000)))).waves
    values = np.zeros((3, 5000))
    for beat in odd:
        values[:, waves.beats[beat]] = 6.0
    common = average_beat(example, values, waves)
    assert common.beats <= len(waves.beats) - len(odd)
    assert np.nanmax(common.mean) == 0.0
    rare = average_beat(example, values, waves, np.array(odd))
    assert rare.beats == 3
    assert np.nanmax(rare.mean) == 6.0
    # What is averaged is known for every beat of the group, and for all offsets in between.
    for beat in (common, rare):
        known = np.isfinite(beat.mean[0])
        assert known.all()
        np.testing.assert_allclose(np.diff(beat.time), 1 / FS)
