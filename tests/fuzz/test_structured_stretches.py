"""A window cut from a part of a recording is that of the whole, at any rate, in every format that is read in parts."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgcam.errors import EcgcamError
from ecgcam.records import read_record, take_window
from ecgcam.records.readers import partial_length, read_stretch
from ecgcam.records.windows import part_for_windows
from tests.fuzz.structured import a_folder, examples
from tests.records.formats_by_hand import Signal, edf
from tests.records.more_by_hand import ishne

MISSING = -32768


@st.composite
def written(draw: st.DrawFn, folder: Path) -> Path:
    """Write a recording of 5 to 60 s in one of the formats: two chest leads, their rates, gaps and held ends drawn."""
    form = draw(st.sampled_from(("wfdb", "segments", "edf", "ishne")))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ratio = draw(st.integers(50, 10_000)) / draw(st.integers(1, 30))
    frames_per_second = min(draw(st.sampled_from((60.0, 400.0, 1500.0, 2500.0))), max(25.0, float(f"{ratio:.7g}")))
    counts = [draw(st.integers(1, 4)), draw(st.sampled_from((1, 1, 2, 3)))] if form != "ishne" else [1, 1]
    frames = int(draw(st.floats(5, 120 if frames_per_second < 500 else 40)) * frames_per_second)
    rows = [np.cumsum(random.integers(-50, 51, frames * count)) for count in counts]
    rows = [(row - row.mean()).clip(-32000, 32000).astype(int) for row in rows]
    if draw(st.booleans()):
        held = draw(st.integers(1, max(1, int(3 * frames_per_second))))
        for row, count in zip(rows, counts, strict=True):
            row[-held * count :] = 77
    if form != "edf":
        for row, count in zip(rows, counts, strict=True):
            for _ in range(draw(st.integers(0, 3))):
                begin = int(random.integers(0, len(row)))
                row[begin : begin + int(random.exponential(count * frames_per_second / 2)) + 1] = MISSING
    if form == "ishne":
        return ishne(folder / "rec.ecg", ["V1", "V2"], rows, fs=max(25, round(frames_per_second)))
    if form == "edf":
        seconds = draw(st.sampled_from((0.5, 1.0, 2.0)))
        per = [max(25, round(frames_per_second * seconds)) * count for count in counts]
        records = max(3, int(frames / per[0] * counts[0]))
        signals = [
            Signal(lead, "uV", np.resize(row, records * size))
            for lead, row, size in zip(("V1", "V2"), rows, per, strict=True)
        ]
        return edf(folder / "rec.edf", signals, records, seconds)
    table = np.concatenate([row.reshape(frames, -1) for row in rows], axis=1).astype("<i2")
    lines = [f"NAME.dat 16x{count} 1000/mV 16 0 0 0 0 {lead}" for lead, count in zip(("V1", "V2"), counts, strict=True)]
    cuts = [0, frames] if form == "wfdb" else [0, frames // 3, frames // 2, frames]
    names = ["rec"] if form == "wfdb" else ["s1", "s2", "s3"]
    for name, begin, end in zip(names, cuts, cuts[1:], strict=False):
        (folder / f"{name}.dat").write_bytes(table[begin:end].tobytes())
        head = f"{name} 2 {frames_per_second:.9g} {end - begin}\n" + "\n".join(lines).replace("NAME", name)
        (folder / f"{name}.hea").write_text(head + "\n")
    if form == "segments":
        listed = "\n".join(f"{name} {end - begin}" for name, begin, end in zip(names, cuts, cuts[1:], strict=False))
        (folder / "rec.hea").write_text(f"rec/3 2 {frames_per_second:.9g} {frames}\n{listed}\n")
    return folder / "rec.hea"


def compare(data: st.DataObject) -> None:
    """Draw a recording and windows of it; each window of the part that is read for them is that of the whole, to 1e-6 mV."""
    fs = data.draw(st.sampled_from((100.0, 250.0, 500.0)))
    with a_folder() as folder:
        path = data.draw(written(folder))
        whole, length = read_record(path), partial_length(path)
        assert length is not None
        assert length.seconds == pytest.approx(whole.seconds, rel=1e-9)
        starts = sorted(data.draw(st.lists(st.floats(0, whole.seconds - 0.5), min_size=1, max_size=2)))
        seconds = data.draw(st.floats(0.5, 5.0))
        begin, end = part_for_windows(starts[0], starts[-1] + seconds, fs, length.fs, length.seconds)
        part = read_stretch(path, begin, end)
    assert part.samples == whole.samples
    for start in starts:
        try:
            wanted = take_window(whole, fs, int(seconds * fs), start)
        except EcgcamError as error:
            with pytest.raises(EcgcamError, match=re.escape(str(error))):
                take_window(part, fs, int(seconds * fs), start)
            continue
        got = take_window(part, fs, int(seconds * fs), start)
        np.testing.assert_allclose(got.signal, wanted.signal, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(got.valid, wanted.valid)
        assert got.warnings == wanted.warnings


@examples
@given(st.data())
def test_a_window_of_a_part_is_the_whole_s(data: st.DataObject) -> None:
    compare(data)


@pytest.mark.slow
@settings(examples, max_examples=500)
@given(st.data())
def test_500_windows_of_parts_are_those_of_the_whole(data: st.DataObject) -> None:
    compare(data)


def test_a_slow_lead_is_right_up_to_the_ends_of_what_was_asked_for(tmp_path: Path) -> None:
    """The filter that brings it to the fastest lead's rate reaches beyond them."""
    random = np.random.default_rng(0)
    rows = [random.integers(-900, 900, 40 * 30), random.integers(-900, 900, 400 * 30)]
    path = edf(tmp_path / "rec.edf", [Signal("V1", "uV", rows[0]), Signal("V2", "uV", rows[1])], 30, 1.0)
    (tmp_path / "w.dat").write_bytes(
        np.concatenate([rows[0].reshape(-1, 1), rows[1].reshape(-1, 10)], axis=1).astype("<i2").tobytes()
    )
    lines = "w.dat 16 1000/mV 16 0 0 0 0 V1\nw.dat 16x10 1000/mV 16 0 0 0 0 V2\n"
    (tmp_path / "w.hea").write_text(f"w 2 40 1200\n{lines}")
    for file in (path, tmp_path / "w.hea"):
        whole, part = read_record(file), read_stretch(file, 12.0, 14.0)
        first, last = 12 * 400 - part.first, 14 * 400 - part.first
        assert 0 <= first < last <= part.signal.shape[1]
        np.testing.assert_array_equal(part.signal[:, first:last], whole.signal[:, 12 * 400 : 14 * 400])
