"""One recording explained window by window, as its samples are read, and its windows joined to a timeline."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecgcam.errors import EcgcamError
from ecgcam.records import Window
from ecgcam.results.explanation import SUMMARY, Explanation, window_name
from ecgcam.results.timeline import Joining
from ecgcam.runs.events import Event, Finished, Result, Timelines
from ecgcam.runs.places import Place
from ecgcam.runs.tasks import Progress, Submit
from ecgcam.runs.worklist import Failure, Item
from ecgcam.runs.writer import MODEL, PICTURES, encode_timeline, write_result, write_timeline

if TYPE_CHECKING:
    from ecgcam.protocol.model import EcgTextModel
    from ecgcam.runs.explain_task import ExplainTask, Todo


def written_result(item: Item, text: str, written: Any, out: Path) -> Result:
    """Return what was written of one window: its summary, or summary and files for a pack."""
    summary, files = written if isinstance(written, tuple) else (written, None)
    folder = Path(summary["out"])
    return Result(item, text, folder, summary | {"out": str(out / folder)}, files)


class SlidingWindows:
    """Explains one recording window by window, as its samples are read, and joins the windows to a timeline."""

    # So many results wait to be written; beyond, reading waits.
    MAX_PENDING = 16

    def __init__(self, task: ExplainTask, todo: Todo, model: EcgTextModel, progress: Progress, submit: Submit) -> None:
        self._task, self._todo, self._model, self._progress, self._submit = task, todo, model, progress, submit
        self._texts = list(todo.places)
        self._joined: dict[str, Joining] = {text: Joining() for text in self._texts}
        self._errors: list[EcgcamError] = []
        self._pending: list[tuple[str, Future[Any]]] = []
        self._settled = {text for text, place in todo.places.items() if place.stored is not None}
        self._lost: EcgcamError | None = None
        self._windows = 0
        self._explained = False

    def events(self) -> Iterator[Event]:
        """Explain every window that no earlier call has explained; yield results as they are written."""
        from ecgcam.pipeline.engine import explain_windows

        task, todo, reported = self._task, self._todo, 0
        try:
            explained = explain_windows(self._read(), self._texts, self._model, task.settings, self._progress)
            verdicts = task.verdicts(self._model, self._texts)
            for window, explanation in explained:
                verdicts.add_to(window, [explanation])
                text = str(explanation.meta["text"])
                self._explained = True
                name = window_name(window.start)
                settled = text in self._settled
                future = task.write(todo, explanation, window, self._submit, name, settled=settled)
                self._joined[text].add(explanation)
                self._pending.append((text, future))
                # The first window decides where the others lie.
                yield from self._written(self.MAX_PENDING if settled else 0)
                for wrong in self._errors[reported:]:
                    yield Failure(todo.item, wrong)
                reported = len(self._errors)
                if self._lost is not None:
                    break
        except EcgcamError as error:
            self._errors.append(error)
        yield from self._written(0)
        for wrong in self._errors[reported:]:
            yield Failure(todo.item, wrong)
        yield from self._finish()

    def _read(self) -> Iterator[tuple[Window, Window]]:
        reading = self._task.reading
        for window in reading.windows(self._todo.item, self._model.input, self._reuse_window):
            if isinstance(window, EcgcamError):
                self._errors.append(window)
                continue
            self._windows += 1
            yield window, window

    def _reuse_window(self, start: float, _seconds: float) -> bool:
        """Return whether an earlier call has explained a window; if so, let its maps join the timeline."""
        task, todo = self._task, self._todo
        stored = [todo.places[text].stored for text in self._texts]
        if task.force or any(one is None for one in stored) or task.reading.follow:
            return False
        loaded = []
        for one in stored:
            assert one is not None  # noqa: S101  (for mypy)
            for part in reversed(one.folders):
                folder = task.out / part / window_name(start)
                with contextlib.suppress(EcgcamError):
                    earlier = Explanation.load(folder)
                    break
            else:
                return False
            if earlier.meta.get("fingerprint") != one.fingerprint:
                return False
            if not task.packed:
                if not (folder / SUMMARY).is_file():
                    return False
                lacks = task.lacks(folder / SUMMARY)
                if lacks == MODEL:
                    return False
                if lacks == PICTURES:
                    write_result(earlier, folder, task.keeping(folder), place=folder.relative_to(task.out))
            loaded.append(earlier)
        for text, earlier in zip(self._texts, loaded, strict=True):
            self._joined[text].add(earlier)
        self._windows += 1
        return True

    def _written(self, most: int) -> Iterator[Event]:
        while self._pending and (len(self._pending) > most or self._pending[0][1].done()):
            text, future = self._pending.pop(0)
            try:
                result = written_result(self._todo.item, text, future.result(), self._task.out)
            except EcgcamError as error:
                if self._lost is None:
                    self._errors.append(error)
                self._lost = error
                continue
            if text not in self._settled:
                self._settled.add(text)
                self._todo.places[text] = Place(result.folder.parent)
            yield result

    def _finish(self) -> Iterator[Event]:
        task, todo = self._task, self._todo
        outputs, missing = task.outputs, [str(error) for error in self._errors]
        error = missing[0] if missing else None
        for text in self._texts:
            folder = todo.places[text].folder
            fingerprint = task.fingerprint(text, todo.recording)
            if self._lost is not None or not self._windows:
                yield Finished(todo.item, text, fingerprint, None, error)
                continue
            if task.reading.all_windows:
                timeline, windows = self._joined[text].finish(missing)
                drawing = {"scale": outputs.scale, "png": outputs.png}
                try:
                    if task.packed:
                        files = self._submit(encode_timeline, timeline, windows, **drawing).result()
                        yield Timelines(todo.item, text, folder, files)
                    else:
                        self._submit(write_timeline, timeline, windows, task.out / folder, **drawing).result()
                except EcgcamError as failure:
                    yield Failure(todo.item, failure)
                    yield Finished(todo.item, text, fingerprint, folder, str(failure))
                    continue
            yield Finished(todo.item, text, fingerprint, folder, error, existing=not self._explained)
