"""How recordings become windows: a long one in parts is what it is as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.records.by_hand import in_segments

from ecgcam.errors import EcgcamError
from ecgcam.models.model_file import load_spec
from ecgcam.records import Record, Window, read_record, window_starts
from ecgcam.runs import reading as reading_room
from ecgcam.runs.reading import Reading
from ecgcam.runs.worklist import Item


@pytest.mark.parametrize("gap", [False, True])
def test_segments_in_parts_give_the_windows_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gap: bool
) -> None:
    """Windows inside a gap are errors that say so, and those behind it are not lost."""
    item, spec = Item(in_segments(tmp_path, gap), "rec"), load_spec("mini").input
    reading = Reading(all_windows=True, hop=7.0)
    longest = []
    stretch = reading_room.read_stretch

    def measured(*arguments: object) -> Record:
        got = stretch(*arguments)  # type: ignore[arg-type]  # passed on as they came
        longest.append(got.signal.shape[1] / got.fs)
        return got

    monkeypatch.setattr(reading_room, "read_stretch", measured)
    parts = list(reading.windows(item, spec))
    assert len(longest) > 1
    assert max(longest) <= 16 * 7 + 10 + 2 * 10
    monkeypatch.setattr(reading_room, "partial_length", lambda *_: None)
    whole = list(reading.windows(item, spec))
    assert len(parts) == len(whole) == 34
    missing = 0
    for one, other in zip(parts, whole, strict=True):
        if isinstance(other, EcgcamError):
            assert str(one) == str(other)
            missing += 1
            continue
        assert isinstance(one, Window)
        assert (one.start, one.leads, one.warnings) == (other.start, other.leads, other.warnings)
        np.testing.assert_array_equal(one.valid, other.valid)
        np.testing.assert_allclose(one.signal, other.signal, atol=1e-6)
    assert missing == (7 if gap else 0)


@pytest.mark.parametrize("fs", [249.89, 360.1, 128.3])
def test_windows_of_a_long_recording_at_an_awkward_rate_are_those_of_the_whole(tmp_path: Path, fs: float) -> None:
    samples = int(300 * fs)
    rows = np.cumsum(np.random.default_rng(0).integers(-9, 10, (samples, 2)), axis=0)
    rows = np.clip(rows - rows.mean(axis=0), -30000, 30000)
    rows[-int(0.2 * fs) :] = 5  # held at the end
    (tmp_path / "rec.dat").write_bytes(rows.astype("<i2").tobytes())
    lines = "rec.dat 16 1000/mV 16 0 0 0 0 V1\nrec.dat 16 1000/mV 16 0 0 0 0 V2\n"
    (tmp_path / "rec.hea").write_text(f"rec 2 {fs} {samples}\n{lines}")
    spec = load_spec("mini").input
    whole = read_record(tmp_path / "rec.hea")
    reading = Reading(all_windows=True)
    got = list(reading.windows(Item(tmp_path / "rec.hea", "rec"), spec))
    assert len(got) == len(window_starts(whole, spec.seconds)) >= 30
    for window in got:
        assert not isinstance(window, EcgcamError)
        wanted = reading.window(whole.only(spec.leads), spec, window.start)
        np.testing.assert_array_equal(window.signal, wanted.signal)
        np.testing.assert_array_equal(window.valid, wanted.valid)
        assert window.warnings == wanted.warnings
