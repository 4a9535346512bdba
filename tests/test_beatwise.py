"""Shares, densities and average beats of maps whose answers are known."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from ecgcam.beatwise import average_beat, wave_table
from ecgcam.explanation import Explanation
from ecgcam.records.waves import QRS, SEGMENTS, P, T
from tests import handmade
from tests.records.test_waves import BEATS, hand_made

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


def test_without_beats_nothing_is_known() -> None:
    example = explained(np.ones((3, 5000)), signal=np.zeros((3, 5000), np.float32))
    beat = average_beat(example, np.ones((3, 5000)), wave_table(example).waves)
    assert beat.beats == 0
    assert np.isnan(beat.mean).all()
    assert np.isnan(beat.bounds).all()
