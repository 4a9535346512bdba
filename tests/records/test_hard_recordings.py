"""Recordings as they come: the 40 of CinC 2011 set-a, most of them unacceptable, and every length, rate, count and name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from tests.records.by_hand import wfdb

from ecgcam.errors import EcgcamError
from ecgcam.protocol.spec import InputSpec
from ecgcam.records import CANONICAL_LEADS, read_record, take_window
from ecgcam.records.readers import read_stretch
from ecgcam.runs.reading import Reading
from ecgcam.runs.worklist import Item, find_recordings


@pytest.mark.shared
@pytest.mark.slow
def test_all_of_quality_is_read_or_refused_in_a_line(unpacked: Path) -> None:
    """Every sample as its file has it, and every lead without a signal named."""
    headers = sorted((unpacked / "quality").rglob("*.hea"))
    assert len(headers) == 40
    flat = refusals = 0
    for header in headers:
        record = read_record(header)
        lines = [line.split() for line in header.read_text().splitlines() if not line.startswith("#")]
        count, samples = int(lines[0][1]), int(lines[0][3])
        raw = np.fromfile(header.with_suffix(".dat"), "<i2").reshape(samples, count).T
        gains = np.array([float(line[2].split("/")[0].split("(")[0]) for line in lines[1:]])
        assert [line[-1] for line in lines[1:]] == list(CANONICAL_LEADS)
        np.testing.assert_allclose(record.signal, raw / gains[:, None], atol=1e-5)
        constant = [lead for lead, row in zip(CANONICAL_LEADS, raw, strict=True) if np.ptp(row) == 0]
        if len(constant) == 12:
            refusals += 1
            with pytest.raises(EcgcamError, match=f"{header.stem}: no lead has a signal"):
                take_window(record, 500, 5000)
            continue
        window = take_window(record, 500, 5000)
        flat += bool(constant)
        assert np.isfinite(window.signal).all()
        said = [warning for warning in window.warnings if warning.startswith("flat or missing leads: ")]
        named = said[0].removeprefix("flat or missing leads: ").split(", ") if said else []
        assert set(constant) <= set(named)
        assert not window.valid[[lead in named for lead in CANONICAL_LEADS]].any()
    assert flat + refusals >= 10


def test_one_sample(tmp_path: Path) -> None:
    record = read_record(wfdb(tmp_path, [[1], [2]], ["I", "V1"]))
    assert record.samples == 1
    with pytest.raises(EcgcamError, match="no lead has a signal"):
        take_window(record, 500, 5000)


@pytest.mark.slow
def test_a_day_is_read_in_parts(tmp_path: Path) -> None:
    """24 h at 50 Hz: the windows of its last hour are those of that hour alone, and what is held stays small."""
    fs, hours = 50, 24
    tail = np.random.default_rng(0).integers(-500, 500, 3600 * fs).astype("<i2")
    with (tmp_path / "day.dat").open("wb") as file:
        file.write(np.tile(np.arange(100, dtype="<i2"), (hours - 1) * 36 * fs).tobytes())
        file.write(tail.tobytes())
    (tmp_path / "day.hea").write_text(f"day 1 {fs} {hours * 3600 * fs}\nday.dat 16 1000/mV 16 0 0 0 0 V1\n")
    (tmp_path / "hour.dat").write_bytes(tail.tobytes())
    (tmp_path / "hour.hea").write_text(f"hour 1 {fs} {3600 * fs}\nhour.dat 16 1000/mV 16 0 0 0 0 V1\n")
    spec = InputSpec(leads=CANONICAL_LEADS, fs=50.0, seconds=10.0)
    item = Item(tmp_path / "day.hea", "day")
    parts = list(Reading(all_windows=True, start=23 * 3600.0).parts(item, spec))
    assert all(part.signal.shape[1] < 300 * fs for part, _ in parts)
    whole = read_record(tmp_path / "hour.hea")
    first, (begin, *_) = parts[0]
    np.testing.assert_array_equal(
        take_window(first, 50.0, 500, begin).signal[:, 100:], take_window(whole, 50.0, 500, 0.0).signal[:, 100:]
    )


@pytest.mark.parametrize("fs", [50, 99, 257, 360, 1000, 2048, 10_000])
def test_rates(tmp_path: Path, fs: int) -> None:
    """A beat's place and height survive every rate."""
    time = np.arange(4 * fs) / fs
    row = np.round(1000 * np.exp(-(((time - 2) / 0.05) ** 2))).astype(int)
    record = read_record(wfdb(tmp_path, [row], ["V2"], fs=str(fs)))
    window = take_window(record, 500.0, 2000)
    assert int(np.argmax(window.signal[0])) == pytest.approx(1000, abs=2)
    assert window.signal[0].max() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("count", [1, 2, 13, 32])
def test_channels_from_1_to_32(tmp_path: Path, count: int) -> None:
    names = [*CANONICAL_LEADS[6:], *CANONICAL_LEADS[:6], *(f"X{i}" for i in range(20))][:count]
    record = read_record(wfdb(tmp_path, np.arange(count * 50).reshape(count, 50) % 97, names))
    assert record.leads == tuple(lead for lead in CANONICAL_LEADS if lead in names)
    others = ", ".join(name for name in names if name not in CANONICAL_LEADS)
    assert (f"channels left out, not among the twelve leads: {others}" in record.notes) == bool(others)


@pytest.mark.parametrize("name", ["two words", "Ωmega-心電図", "a.b.c", "a..b", "-rec", "[x]*?", "rec%s{0}"])
def test_names(tmp_path: Path, name: str) -> None:
    made = wfdb(tmp_path, [[1, 2, 3]], ["I"])
    header = made.read_text().replace("rec 1", "rec 1", 1)
    (tmp_path / f"{name}.hea").write_text(header)
    assert read_record(tmp_path / f"{name}.hea").name == name
    assert {item.name for item in find_recordings([str(tmp_path)])} == {name, "rec"}


def test_names_by_case_dots_and_links(tmp_path: Path) -> None:
    wfdb(tmp_path, [[1, 2, 3]], ["I"])
    for name in ("Rec.hea", "REC.hea"):
        (tmp_path / name).write_bytes((tmp_path / "rec.hea").read_bytes())
    (tmp_path / "link.hea").symlink_to("rec.hea")
    (tmp_path / "nowhere.hea").symlink_to("gone.hea")
    (tmp_path / "sub").mkdir()
    assert read_record(tmp_path / "sub/../rec.hea").name == "rec"
    assert read_record(tmp_path / "link.hea").signal.shape == (1, 3)
    with pytest.raises(EcgcamError, match="no such recording"):
        read_record(tmp_path / "nowhere.hea")
    names = [item.name for item in find_recordings([str(tmp_path)])]
    assert sorted(names) == (["REC", "Rec", "link", "rec"] if os.name == "posix" else names)


@pytest.mark.parametrize("name", ["/etc/passwd", "../rec.dat", "sub/../../rec.dat", "http://127.0.0.1:9/rec.dat"])
def test_a_header_cannot_have_files_of_others_read(tmp_path: Path, name: str) -> None:
    """Whether the file is there or not, whole or in parts: wfdb takes names without a folder alone."""
    (tmp_path / "in").mkdir()
    (tmp_path / "rec.dat").write_bytes(b"\1\0" * 100_000)
    header = tmp_path / "in/rec.hea"
    header.write_text(f"rec 1 500 100\n{name} 16 1000/mV 16 0 0 0 0 V1\n")
    with pytest.raises(EcgcamError, match=r"rec.hea: not a readable WFDB header"):
        read_record(header)
    with pytest.raises(EcgcamError, match=r"rec.hea: not a recording that can be read in parts; read it whole"):
        read_stretch(header, 0.0, 1.0)
    for segments in (["rec"], ["../rec"], ["/etc/passwd"]):
        lines = "\n".join(f"{segment} 100" for segment in segments)
        (tmp_path / "in/all.hea").write_text(f"all/{len(segments)} 1 500 100\n{lines}\n")
        with pytest.raises(EcgcamError, match=r"(rec|all).hea: "):
            read_record(tmp_path / "in/all.hea")


def test_segments_within_segments(tmp_path: Path) -> None:
    wfdb(tmp_path, [[1, 2, 3]], ["I"])
    (tmp_path / "inner.hea").write_text("inner/1 1 500 3\nrec 3\n")
    (tmp_path / "outer.hea").write_text("outer/1 1 500 3\ninner 3\n")
    np.testing.assert_array_equal(read_record(tmp_path / "outer.hea").signal, read_record(tmp_path / "rec.hea").signal)
