"""Explaining recordings, from file to written result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecgcam.errors import EcgcamError
from ecgcam.files import is_file
from ecgcam.pipeline.settings import BATCH, Settings
from ecgcam.records import Window
from ecgcam.results.collection import read_summary
from ecgcam.results.explanation import FILE, SUMMARY, Explanation
from ecgcam.results.trace import Trace
from ecgcam.runs.events import Event, Finished
from ecgcam.runs.model_options import ModelOptions
from ecgcam.runs.places import Place, Places, Stored, is_complete
from ecgcam.runs.reading import Reading, read_windows
from ecgcam.runs.sliding_windows import SlidingWindows, written_result
from ecgcam.runs.spec import RunSpec
from ecgcam.runs.tasks import Progress, Submit, flush_denormals, log_rest, no_progress, run_here
from ecgcam.runs.worklist import Failure, Item, slugs
from ecgcam.runs.writer import (
    MODEL,
    PICTURES,
    TIMELINE_PICTURE,
    Outputs,
    TakenError,
    clear_unfinished_of,
    encode_result,
    write_result,
)

if TYPE_CHECKING:
    from ecgcam.protocol.model import EcgTextModel
    from ecgcam.runs.verdicts import Verdicts


@dataclass(frozen=True)
class Todo:
    """A recording with prompts that are left to explain, by prompt where each belongs; its windows if they are read already."""

    item: Item
    recording: str
    places: dict[str, Place]
    windows: list[Window | EcgcamError] | None = None


@dataclass(frozen=True)
class ExplainTask:
    """Explain recordings and write their results.

    Attributes
    ----------
    options : ModelOptions
        The model.
    specs : tuple of RunSpec
        One for each prompt.
    settings, reading : Settings, Reading
        How to explain, and which windows.
    out : Path
        The folder of results.
    outputs : Outputs
        Which files.
    force : bool
        Explain again what is there.
    packed : bool
        Hand files on in place of writing them; what is there has been looked up before.
    like : dict
        The recordings that prompts stand for, by prompt.
    """

    options: ModelOptions
    specs: tuple[RunSpec, ...]
    settings: Settings
    reading: Reading
    out: Path
    outputs: Outputs = field(default_factory=Outputs)
    force: bool = False
    packed: bool = False
    like: Mapping[str, Path] = field(default_factory=dict)

    @property
    def texts(self) -> list[str]:
        """The prompts."""
        return [spec.prompt for spec in self.specs]

    def run(self, items: Iterable[Item | Todo], again: bool = False) -> Iterator[Event]:
        """Explain recordings that are not explained yet, in full batches."""
        places = Places(self.out)

        def todos() -> Iterator[Todo | Event]:
            for item in items:
                if isinstance(item, Todo):
                    yield item
                    continue
                if again:
                    clear_unfinished_of(self.out, item.name)
                yield from self.look_up(item, places)

        for is_todo, some in groupby(todos(), lambda one: isinstance(one, Todo)):
            if is_todo:
                yield from self.explain(some)  # type: ignore[arg-type]  # todos alone
            else:
                yield from some  # type: ignore[misc]  # events alone

    def look_up(self, item: Item, places: Places) -> Iterator[Todo | Event]:
        """Yield what is there of a recording as finished, and the rest as something to do. No torch."""
        reading, left = self.reading, {}
        try:
            # A growing recording is identified by its name: its content changes while it is looked at.
            recording = f"growing {item.name}" if reading.follow else reading.content_sha256(item.path)
            for (text, slug), spec in zip(slugs(self.texts).items(), self.specs, strict=True):
                place = places.find(item, slug, spec, recording)
                if place.stored is None or self.force or not self._is_done(place.stored, item):
                    left[text] = place
                    continue
                summary = self._summary(place.stored)
                found = None if summary is None else {**summary, "out": str(self.out / place.stored.path)}
                yield Finished(item, text, spec.fingerprint(recording), place.stored.path, None, found, existing=True)
        except EcgcamError as error:
            yield from self._failed(item, self.texts, "", error)
            return
        if left:
            yield Todo(item, recording, left)

    def _is_done(self, stored: Stored, item: Item) -> bool:
        """Return whether a result of the same question has every file that this call wants, drawn as it wants them."""
        if self.reading.follow:
            return False
        folder = self.out / stored.path
        if stored.summary is None:
            if not is_complete(self.out, stored):
                return False
            drawn = not self.outputs.png or (folder / TIMELINE_PICTURE).is_file()
            return self.packed or (drawn and not any(map(self.lacks, folder.glob(f"w*/{SUMMARY}"))))
        lacks = self.lacks(folder / SUMMARY)
        if lacks is None:
            return True
        if lacks == MODEL or self.packed:  # what is in a pack is not drawn again
            return False
        explanation = Explanation.load(folder)
        outputs = self.keeping(folder)
        trace = self.reading.own_samples(item, explanation) if outputs.png else None
        write_result(explanation, folder, outputs, place=stored.path, trace=trace)
        return True

    def lacks(self, path: Path) -> str | None:
        """Return what it takes to add what this call wants of a result and it lacks, `MODEL` or `PICTURES`; None: nothing.

        `path` is of its summary.
        """
        summary, folder, outputs = read_summary(path), path.parent, self.outputs
        wanted_again = {"check": outputs.check and outputs.recheck, "criteria": outputs.criteria}
        if any(wanted and summary.get(key) is None for key, wanted in wanted_again.items()):
            return MODEL
        npz = is_file(folder / FILE)
        if outputs.npz and not npz:
            return MODEL
        earlier = summary.get("drawn") or {}
        wanted = {key: getattr(outputs, key) for key in ("scale", "layout", "waves", "dpi", "width_mm")}
        same = all(earlier.get(key) == value for key, value in wanted.items())
        same = self.packed or (same and earlier.get("formats") == list(outputs.formats))
        drawn = not outputs.png or (is_file(folder / outputs.page) and same)
        if drawn and (not outputs.waves or summary.get("waves")):
            return None
        return PICTURES if npz else MODEL

    def keeping(self, folder: Path) -> Outputs:
        """Return which files to write over a result: those of this call, and of those that are there what it leaves out."""
        outputs = self.outputs
        if self.force or not (folder / SUMMARY).is_file():
            return outputs
        earlier = read_summary(folder / SUMMARY).get("drawn") or {}
        if not outputs.png and earlier.get("png") and (folder / f"page.{earlier['formats'][0]}").is_file():
            look = {key: earlier[key] for key in ("scale", "layout", "dpi", "width_mm")}
            outputs = replace(outputs, png=True, formats=tuple(earlier["formats"]), **look)
        return replace(outputs, npz=outputs.npz or (folder / FILE).is_file())

    def _summary(self, stored: Stored) -> Mapping[str, Any] | None:
        """Return the summary of a result of one window; the index of packs has no whole ones."""
        if stored.summary is None or not self.packed:
            return stored.summary
        return read_summary(self.out / stored.path / SUMMARY)

    def explain(
        self,
        todos: Iterable[Todo],
        model: EcgTextModel | None = None,
        progress: Progress = no_progress,
        submit: Submit = run_here,
    ) -> Iterator[Event]:
        """Explain recordings; `submit` runs what writes a result, perhaps in another process."""
        if model is None:
            model = self.load()
        if self.reading.several:
            for todo in todos:
                yield from SlidingWindows(self, todo, model, progress, submit).events()
            return
        per_batch = max(1, BATCH // (len(model.input.leads) + 1))
        proved = False
        for texts, same in groupby(todos, lambda todo: tuple(todo.places)):
            verdicts = self.verdicts(model, texts)
            remaining = iter(same)
            pending: list[tuple[Todo, str, Future[Any]]] = []
            while some := list(islice(remaining, per_batch)):
                windows: list[tuple[Todo, Window]] = []
                for todo in some:
                    try:
                        window = self._window(todo, model)
                    except EcgcamError as error:
                        yield from self._failed(todo.item, texts, todo.recording, error)
                    else:
                        windows.append((todo, window))
                explained, errors = self._explain_batch(windows, texts, model, progress)
                of = {id(todo): window for todo, window in windows}
                for todo, window in windows:
                    verdicts.add_to(window, [one for key, one in explained if key is todo])
                if errors and not explained and not proved and len({str(error) for _, error in errors}) == 1:
                    raise errors[0][1]  # no recording is at fault where none goes through
                proved = proved or bool(explained)
                yield from _written(self, pending)
                pending = [
                    (todo, explanation.meta["text"], self.write(todo, explanation, of[id(todo)], submit))
                    for todo, explanation in explained
                ]
                for todo, wrong in errors:
                    yield from self._failed(todo.item, texts, todo.recording, wrong)
            yield from _written(self, pending)

    def verdicts(self, model: EcgTextModel, texts: Sequence[str]) -> Verdicts:
        """Return what draws the verdicts, and the checks, of some of the prompts."""
        from ecgcam.runs.verdicts import Verdicts

        texts_only = not self.like and not self.options.targets and not model.targets
        return Verdicts(
            model, self.settings, texts, texts_only=texts_only, check=self.outputs.check, criteria=self.outputs.criteria,
            calibration=None if self.like else self.options.calibration,
        )  # fmt: skip

    def load(self) -> EcgTextModel:
        """Load the model, once in a process; recordings take the place of texts where prompts stand for them."""
        flush_denormals()
        model = self.options.loaded
        if self.settings.layer is not None and self.options.own:
            from ecgcam.models.own_layers import declare_layers

            declare_layers(model, self.settings.layer)
        if self.like:
            from ecgcam.runs.prompts import compare_with

            return compare_with(model, self.like, self.reading)
        return model

    def _window(self, todo: Todo, model: EcgTextModel) -> Window:
        windows = read_windows(self.reading, todo.item, model.input) if todo.windows is None else todo.windows
        if isinstance(windows[0], EcgcamError):
            raise windows[0]
        log_rest(todo.item, windows[0], self.reading, "`start` S moves the window, `all_windows` slides it")
        return windows[0]

    def _explain_batch(
        self, windows: list[tuple[Todo, Window]], texts: Sequence[str], model: EcgTextModel, progress: Progress
    ) -> tuple[list[tuple[Todo, Explanation]], list[tuple[Todo, EcgcamError]]]:
        """Explain windows together; where that fails, one after the other, so that each fails alone."""
        from ecgcam.pipeline.engine import explain_windows

        try:
            return list(explain_windows(windows, texts, model, self.settings, progress)), []
        except EcgcamError as error:
            if len(windows) == 1:
                return [], [(windows[0][0], error)]
        explained, errors = [], []
        for todo, window in windows:
            try:
                explained += list(explain_windows([(todo, window)], texts, model, self.settings, progress))
            except EcgcamError as error:
                errors.append((todo, error))
        return explained, errors

    def write(
        self,
        todo: Todo,
        explanation: Explanation,
        window: Window,
        submit: Submit,
        name: str = "",
        *,
        settled: bool = False,
    ) -> Future[Any]:
        """Begin to write a result; the future gives its summary, or summary and files for a pack.

        `name` is of the window's folder, where there are several; `settled`: earlier ones of them lie in its place already.
        """
        text = str(explanation.meta["text"])
        spec = next(spec for spec in self.specs if spec.prompt == text)
        path = todo.item.path
        explanation.meta.update(
            {
                "fingerprint": spec.fingerprint(todo.recording),
                "spec": spec.to_json(),
                "recording_sha256": todo.recording,
                # No folder of the user's in a result: the path as it was written, if it was a relative one.
                "recording_file": path.name if path.is_absolute() else path.as_posix(),
            }
        )
        folder = todo.places[text].folder
        trace = None if window.own is None else Trace(*window.own)
        if self.packed:
            return submit(encode_result, explanation, folder / name, self.outputs, trace=trace)
        if not settled:
            slug = slugs(self.texts)[text]
            find = partial(Places(self.out).find, todo.item, slug, spec, todo.recording)
            outputs = self.outputs if todo.places[text].stored is None else self.keeping(self.out / folder / name)
            return submit(write_in_place, explanation, self.out, folder, find, outputs, name=name, trace=trace)
        place = folder / name
        outputs = self.keeping(self.out / place)
        return submit(write_result, explanation, self.out / place, outputs, place=place, trace=trace)

    def _failed(
        self, item: Item, texts: Iterable[str], recording: str, error: EcgcamError
    ) -> Iterator[Failure | Finished]:
        yield Failure(item, error)
        for text in texts:
            yield Finished(item, text, self.fingerprint(text, recording), None, str(error))

    def fingerprint(self, text: str, recording: str) -> str:
        """Return what names the result of a prompt on a recording."""
        return next(spec for spec in self.specs if spec.prompt == text).fingerprint(recording)


def write_in_place(
    explanation: Explanation, out: Path, folder: Path, find: Callable[[], Place], outputs: Outputs, *, name: str = "",
    trace: Trace | None = None, fork: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Write a result into `folder` below `out`, or where else it belongs by now; return its summary; its ``out`` is that folder.

    `find` finds its place. Another call may have put another result there since it was looked up.
    """
    while True:
        place = folder / name
        try:
            return write_result(
                explanation, out / place, outputs, place=place, fork=fork, trace=trace,
                is_free=lambda: find().folder == folder,  # noqa: B023  (used at once)
            )  # fmt: skip
        except TakenError:
            folder = find().folder


def _written(task: ExplainTask, pending: list[tuple[Todo, str, Future[Any]]]) -> Iterator[Event]:
    """Yield results of single windows when they are written."""
    for todo, text, future in pending:
        try:
            result = written_result(todo.item, text, future.result(), task.out)
        except EcgcamError as error:
            yield Failure(todo.item, error)
            yield Finished(todo.item, text, task.fingerprint(text, todo.recording), None, str(error))
            continue
        yield result
        yield Finished(todo.item, text, str(result.summary["fingerprint"]), result.folder)
