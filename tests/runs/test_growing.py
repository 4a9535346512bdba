"""A recording that grows, and one that is longer than it is read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.pipeline.test_engine import assert_same

import ecgcam
from ecgcam.errors import EcgcamError
from ecgcam.models.load import load_model
from ecgcam.pipeline.settings import Settings
from ecgcam.records import read_record, take_window
from ecgcam.records.readers import read_stretch, wfdb_length
from ecgcam.results.explanation import Explanation
from ecgcam.runs.events import Event, Result
from ecgcam.runs.explain_task import ExplainTask
from ecgcam.runs.growing import follow
from ecgcam.runs.model_options import LoadedModel
from ecgcam.runs.reading import Reading
from ecgcam.runs.spec import RunSpec
from ecgcam.runs.worklist import Failure, Item
from ecgcam.runs.writer import Outputs

FS = 360  # not the model's


class Growing:
    """A WFDB recording of two leads, format 16; samples are appended as a monitor does."""

    def __init__(self, folder: Path, seconds: int) -> None:
        at = np.arange(seconds * FS) / FS
        beats = 500 * np.exp(-(((at % 0.8) - 0.4) ** 2) / 0.0005)
        self.samples = np.stack([beats + 40 * np.sin(at), beats * (1.5 + np.sin(at / 9))], axis=1).astype("<i2")
        self.folder, self.there = folder, 0
        (folder / "live.dat").touch()

    def header(self, samples: int | None) -> None:
        length = "" if samples is None else f" {samples}"
        lines = [f"live 2 {FS}{length}", *(f"live.dat 16 1000/mV 16 0 0 0 0 {lead}" for lead in ("II", "V1"))]
        (self.folder / "live.hea").write_text("\n".join(lines) + "\n")

    def grow(self, seconds: float, half_a_sample: bool = False) -> None:
        end = self.there + round(seconds * FS)
        with (self.folder / "live.dat").open("ab") as file:
            file.write(self.samples[self.there : end].tobytes() + b"x" * half_a_sample)
        self.there = end


def test_a_stretch_is_that_part_of_the_recording(tmp_path: Path) -> None:
    record = Growing(tmp_path, 300)
    record.grow(300)
    record.header(300 * FS)
    whole, part = read_record(tmp_path / "live.hea"), read_stretch(tmp_path / "live.hea", 90, 130)
    assert wfdb_length(tmp_path / "live.hea") == (FS, 300 * FS, True)
    assert (part.first, part.samples, part.seconds) == (90 * FS, 300 * FS, 300)
    np.testing.assert_array_equal(part.signal, whole.signal[:, 90 * FS : 130 * FS])
    for fs in (250, 360, 500):
        a, b = (take_window(record, fs, 10 * fs, 104.5) for record in (whole, part))
        np.testing.assert_array_equal(a.signal, b.signal)
        np.testing.assert_array_equal(a.valid, b.valid)


def test_all_windows_of_a_long_recording_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Growing(tmp_path, 300)
    record.grow(300)
    record.header(300 * FS)
    spec, item = load_model("mini").input, Item(tmp_path / "live.hea", "live")
    reading = Reading(all_windows=True, hop=7.0)
    most = 0

    def counted(*arguments: object) -> object:
        nonlocal most
        part = read_stretch(*arguments)  # type: ignore[arg-type]  # as they came
        most = max(most, part.signal.shape[1])
        return part

    monkeypatch.setattr("ecgcam.runs.reading.read_stretch", counted)
    parts = list(reading.windows(item, spec))
    assert 0 < most < 150 * FS
    monkeypatch.setattr("ecgcam.runs.reading._LONG", 1e9)
    for a, b in zip(parts, reading.windows(item, spec), strict=True):
        assert not isinstance(a, Exception)
        assert not isinstance(b, Exception)
        assert (a.start, a.record.seconds, a.warnings) == (b.start, b.record.seconds, b.warnings)
        np.testing.assert_array_equal(a.signal, b.signal)
    assert len(parts) == 43


def task(out: Path, hop: float) -> ExplainTask:
    model = load_model("mini")
    options, settings, reading = LoadedModel(given=model), Settings(gradient=None), Reading(follow=True, hop=hop)
    spec = RunSpec.of(options.ref, "af", settings, reading, model.spec)
    return ExplainTask(options, (spec,), settings, reading, out, Outputs(png=False))


@pytest.mark.parametrize("stated", [False, True])
def test_the_newest_window_of_a_growing_recording(
    tmp_path: Path, stated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, out = Growing(tmp_path, 60), tmp_path / "out"
    notes: list[str] = []
    monkeypatch.setattr("ecgcam.runs.growing.log.info", lambda text, *values: notes.append(text % values))
    waited: list[float] = []

    def steps() -> None:
        step = len(waited)
        if step == 6:
            raise KeyboardInterrupt
        if step in {1, 2, 4, 5}:  # nothing comes in the third
            record.grow(6.5, half_a_sample=step == 5)
        # A header may be ahead of the data by what is still to be written.
        record.header(record.there + 50 if stated else None)

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        steps()

    record.header(0 if stated else None)
    run = follow(Item(tmp_path / "live", "live"), task(out, 0.01), sleep)
    events: list[Event] = []
    with contextlib.closing(run), contextlib.suppress(KeyboardInterrupt):
        for event in run:
            events.append(event)
    assert not [event for event in events if isinstance(event, Failure)]
    assert len(waited) == 6
    starts = [event.summary["settings"]["window"]["start"] for event in events if isinstance(event, Result)]
    assert starts == [3.0, 9.5, 16.0]
    assert notes == ["live: shorter than the 10 s of a window so far; waiting"]
    assert sorted(path.name for path in (out / "live/af").iterdir()) == [f"w{start:09.3f}" for start in starts]
    record.header(record.there)
    (tmp_path / "live.dat").write_bytes((tmp_path / "live.dat").read_bytes()[: record.there * 4])
    got = Explanation.load(out / f"live/af/w{16:09.3f}")
    (again,) = ecgcam.explain(tmp_path / "live.hea", ["af"], start=16.0, gradient=None)
    assert_same(got, again)


def test_an_error_of_a_growing_recording_is_reported_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, item = Growing(tmp_path, 60), Item(tmp_path / "live.hea", "live")
    record.header(None)
    record.grow(10)
    wrong = ["a lead fell off", "a lead fell off", "it smokes", "", "it smokes"]

    def explain(_self: ExplainTask, _todos: object, _model: object) -> Iterator[Event]:
        if message := wrong[record.there // FS - 10]:
            yield Failure(item, EcgcamError(message))

    monkeypatch.setattr(ExplainTask, "explain", explain)
    steps = iter(range(6))

    def sleep(_: float) -> None:
        step = next(steps, None)
        if step is None:
            raise KeyboardInterrupt
        if step < 4:
            record.grow(1)
        else:  # twice the same
            (tmp_path / "live.hea").write_text("live 2/2 360\n")

    reported: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        reported.extend(
            str(event.error) for event in follow(item, task(tmp_path / "out", 1.0), sleep) if isinstance(event, Failure)
        )
    assert reported[:3] == ["a lead fell off", "it smokes", "it smokes"]
    assert len(reported) == 4
    assert "live.hea" in reported[3]
