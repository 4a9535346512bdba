"""How recordings become windows: a long one in parts is what it is as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.records.by_hand import in_segments

from ecgcam.batch import reading as reading_room
from ecgcam.batch.reading import Reading
from ecgcam.batch.worklist import Item
from ecgcam.errors import EcgcamError
from ecgcam.models.spec import load_spec
from ecgcam.records import Record, Window


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
