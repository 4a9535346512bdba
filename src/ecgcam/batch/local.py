"""Recordings explained on this machine: read, run, draw, write, all at the same time where there are helpers.

The model runs in this process, on full batches across recordings. What goes before it and comes after it is done by helpers
(`ecgcam.batch.helpers`), a bounded number of recordings ahead and results behind, so that memory does not grow with the
number of recordings. Results come in order, and do not depend on the number of helpers.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from ecgcam.attribution.problem import untold
from ecgcam.batch.helpers import Helpers
from ecgcam.batch.manifest import DONE, FAILED, Line
from ecgcam.batch.packs import Packs
from ecgcam.batch.reading import Reading, read_windows
from ecgcam.batch.resume import refuse_other, settings_of
from ecgcam.batch.worklist import Failure, Item, slugs
from ecgcam.errors import EcgcamError
from ecgcam.explanation import FILE, SUMMARY, Explanation, window_name
from ecgcam.models.base import EcgTextModel
from ecgcam.models.spec import InputSpec
from ecgcam.pipeline import Progress, explain_windows, score_windows
from ecgcam.records import Window
from ecgcam.settings import Settings
from ecgcam.store import encode_result, encode_timeline, summary_text, write_result, write_timeline
from ecgcam.timeline import Joining

log = logging.getLogger("ecgcam")

MOVE = "--start S moves the window"


@dataclass(frozen=True)
class Output:
    """What is written, and where."""

    out: Path
    scale: str = "evidence"
    layout: str = "12x1"
    waves: bool = False
    png: bool = True
    npz: bool = True
    packs: Packs | None = None


Failed = Callable[[Failure], None]
Finished = Callable[[Line], None]
Summary = dict[str, Any]


def run_explain(
    items: Iterable[Item],
    texts: Sequence[str],
    model: EcgTextModel,
    reading: Reading,
    settings: Settings,
    output: Output,
    failed: Failed,
    finished: Finished = lambda _: None,
    helpers: Helpers | None = None,
    done: AbstractSet[tuple[str, str]] = frozenset(),
    *,
    resume: bool = False,
    progress: Progress = untold,
) -> Generator[Summary, None, None]:
    """Explain recordings and write their results; yield each summary when it is written.

    Parameters
    ----------
    items, texts
        The recordings, as they come, and the prompts.
    model, reading, settings, output
        How to explain them.
    failed : callable
        Takes a recording or a window of it that cannot be read or written; the others go on.
    finished : callable
        Takes the manifest's line for each recording and prompt, when nothing of it is left to do.
    helpers : Helpers, optional
        To read, draw and write meanwhile.
    done : set of (recording, prompt)
        What is left out, though the recording is read for other prompts.
    resume : bool
        Whether windows of which an earlier call has every prompt's result are left out too.
    progress : callable
        Takes how much of how much is done of one window and prompt, where the method is a long one.
    """
    run = _Run(texts, model, reading, settings, output, failed, finished, helpers, done, resume, progress)
    try:
        yield from run.results(items)
    finally:
        run.settle()


@dataclass
class _State:
    """How far a recording is."""

    item: Item
    cut: int = 0
    all_cut: bool = False
    written: int = 0
    error: str | None = None
    lost: bool = False
    taken_up: int = 0
    missing: list[str] = field(default_factory=list)
    # By prompt:
    packs: dict[str, Path] = field(default_factory=dict)
    timelines: dict[str, Joining] = field(default_factory=dict)


@dataclass
class _Written:
    """A result on its way to the disk."""

    state: _State
    folder: Path
    summary: Future[Summary] | Future[tuple[Summary, dict[str, bytes]]] | None


@dataclass
class _Timelines:
    """The timelines of a recording, the last of it, on their way to the disk."""

    state: _State
    files: dict[str, Future[Any]]  # by prompt

    def done(self) -> bool:
        return all(file.done() for file in self.files.values())


@dataclass
class _Run:
    texts: Sequence[str]
    model: EcgTextModel
    reading: Reading
    settings: Settings
    output: Output
    failed: Failed
    finished: Finished
    helpers: Helpers | None
    done: AbstractSet[tuple[str, str]]
    resume: bool = False
    progress: Progress = untold
    behind: deque[_Written | _Timelines] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.slugs = slugs(self.texts)
        # Enough that no helper waits for work, and not so much that results pile up.
        self.most = 0 if self.helpers is None else max(4 * self.helpers.count, len(self.texts))

    def results(self, items: Iterable[Item]) -> Iterator[Summary]:
        windows = self.windows(items)
        for (state, start), explanation in explain_windows(
            windows, self.texts, self.model, self.settings, self.progress
        ):
            self.behind.append(self.write(state, start, explanation))
            yield from self.ready(self.most)
        yield from self.ready(0)

    def ready(self, most: int) -> Iterator[Summary]:
        """Yield what has been written, in order, and wait until no more than `most` are behind."""
        while self.behind and (len(self.behind) > most or _is_done(self.behind[0])):
            first = self.behind[0]
            summary = None
            if isinstance(first, _Timelines):
                self.take_timelines(first)
            else:
                summary = self.take(first)
            self.behind.popleft()
            if summary is not None:
                yield summary

    def take(self, written: _Written) -> Summary | None:
        """Wait for a result, and note how far its recording is."""
        state, summary = written.state, None
        if written.summary is not None:
            try:
                summary = self.placed(written.summary.result(), written.folder, state)
            except EcgcamError as error:
                if not state.lost:
                    self.failed(Failure(state.item, error))
                state.error, state.lost = str(error), True
        state.written += 1
        self.finish_if_complete(state)
        return summary

    def placed(self, result: Summary | tuple[Summary, dict[str, bytes]], folder: Path, state: _State) -> Summary:
        """Return the summary of a result that is in its folder, or after having put it into a pack."""
        packs = self.output.packs
        if packs is None or not isinstance(result, tuple):
            return cast("Summary", result)
        summary, files = result
        inside = folder.relative_to(self.output.out)
        place = state.packs[summary["text"]] = packs.next_place()
        summary["out"] = str(place / inside)
        packs.add(inside.as_posix(), files | {SUMMARY: summary_text(summary).encode()})
        return summary

    def settle(self) -> None:
        """Where the run has been broken off: let what has begun end, and put it down as done."""
        while self.behind:
            first = self.behind.popleft()
            if isinstance(first, _Timelines):
                stopped = [file.cancel() for file in first.files.values()]
                if not any(stopped):
                    self.take_timelines(first)
            elif first.summary is None or not first.summary.cancel():
                self.take(first)

    def write(self, state: _State, start: float, explanation: Explanation) -> _Written:
        """Begin to write a result, where it is to be written."""
        text, item = explanation.meta["text"], state.item
        folder = self.folder(item, text)
        if self.reading.several:
            folder /= window_name(start)
        if state.lost or (item.name, text) in self.done:
            return _Written(state, folder, None)
        if self.reading.all_windows:
            state.timelines.setdefault(text, Joining()).add(explanation)
        what: dict[str, Any] = {key: getattr(self.output, key) for key in ("scale", "layout", "waves", "png", "npz")}
        what["slug"] = self.slugs[text]
        function: Callable[..., Any] = encode_result
        if self.output.packs is None:
            function, what["folder"] = write_result, folder
            what["in_two"] = self.helpers is not None and self.helpers.spare
        return _Written(state, folder, self.submit(function, explanation, **what))

    def submit(self, function: Callable[..., Any], *args: Any, **what: Any) -> Future[Any]:
        """Let a helper do something, or do it here."""
        if self.helpers is not None:
            return self.helpers.submit(function, *args, **what)
        result: Future[Any] = Future()
        try:
            result.set_result(function(*args, **what))
        except EcgcamError as error:
            result.set_exception(error)
        return result

    def folder(self, item: Item, text: str) -> Path:
        return item.place(self.output.out) / self.slugs[text]

    def windows(self, items: Iterable[Item]) -> Iterator[tuple[tuple[_State, float], Window]]:
        """Read recordings and cut them."""
        for item, windows in _read_ahead(items, self.reading, self.model.input, self.helpers):
            state = _State(item)
            if self.resume and self.reading.all_windows:
                windows = self.reading.windows(item, self.model.input, partial(self.take_up, state))
            try:
                for window in windows:
                    if isinstance(window, EcgcamError):
                        state.error = state.error or str(window)
                        state.missing.append(str(window))
                        self.failed(Failure(item, window))
                        continue
                    state.cut += 1
                    _say_what_is_left(item, window, self.reading, f"{MOVE}, --all slides it")
                    yield (state, window.start), window
            except EcgcamError as error:
                state.error = str(error)
                self.failed(Failure(item, error))
            state.all_cut = True
            self.finish_if_complete(state)

    def take_up(self, state: _State, start: float, _seconds: float) -> bool:
        """Return whether an earlier call has explained a window; if so, let its maps join the timeline."""
        left = [text for text in self.texts if (state.item.name, text) not in self.done]
        folders = [self.folder(state.item, text) / window_name(start) for text in left]
        if not all((folder / name).is_file() for folder in folders for name in (SUMMARY, FILE)):
            return False
        wanted = settings_of(self.settings, self.model.spec, self.model.checkpoint_sha256, self.model.precision)
        for text, folder in zip(left, folders, strict=True):
            earlier = Explanation.load(folder)
            refuse_other(folder, earlier.meta, wanted)
            state.timelines.setdefault(text, Joining()).add(earlier)
        state.taken_up += 1
        return True

    def finish_if_complete(self, state: _State) -> None:
        """Put a recording down as done, or failed, when nothing of it is left to do; its timelines come before that."""
        if not state.all_cut or state.written < state.cut * len(self.texts):
            return
        if not state.timelines or state.lost:
            self.finish(state)
            return
        files, packs = {}, self.output.packs
        how = {"scale": self.output.scale, "png": self.output.png}
        for text, joining in state.timelines.items():
            timeline, windows = joining.finish(state.missing)
            if packs is None:
                files[text] = self.submit(write_timeline, timeline, windows, self.folder(state.item, text), **how)
            else:
                files[text] = self.submit(encode_timeline, timeline, windows, **how)
        state.timelines = {}
        self.behind.append(_Timelines(state, files))

    def take_timelines(self, timelines: _Timelines) -> None:
        """Wait for a recording's timelines, and put it down."""
        state = timelines.state
        for text, file in timelines.files.items():
            try:
                content = file.result()
                if self.output.packs is not None:
                    inside = self.folder(state.item, text).relative_to(self.output.out)
                    self.output.packs.add_to_last(inside.as_posix(), content)
            except EcgcamError as error:
                self.failed(Failure(state.item, error))
                state.error, state.lost = str(error), True
                continue
        self.finish(state)

    def finish(self, state: _State) -> None:
        """Tell what became of a recording."""
        for text in self.texts:
            if (state.item.name, text) not in self.done:
                folder = self.folder(state.item, text)
                if text in state.packs:
                    folder = state.packs[text] / folder.relative_to(self.output.out)
                out = str(folder) if (state.cut or state.taken_up) and not state.lost else None
                status = DONE if state.error is None else FAILED
                self.finished(Line(state.item.name, text, status, out, state.error))


def flush_denormals() -> None:
    """Let numbers below 1e-38 be 0 in this process: call before torch computes anything, since its threads inherit it.

    Gradients behind a saturated softmax are that small, and a processor takes some fifty times as long for each of them.
    """
    torch.set_flush_denormal(True)


def run_score(
    items: Sequence[Item], texts: Sequence[str], model: EcgTextModel, reading: Reading, failed: Failed
) -> Iterator[tuple[Item, float, list[float]]]:
    """Score recordings against prompts: (item, start of the window, one score a prompt)."""
    for (item, start), scores in score_windows(_noted(items, reading, model.input, failed), texts, model):
        yield item, start, scores


def _noted(
    items: Sequence[Item], reading: Reading, spec: InputSpec, failed: Failed
) -> Iterator[tuple[tuple[Item, float], Window]]:
    """Read recordings, and log what a reader of the scores should know; an explanation carries it along instead."""
    for item in items:
        try:
            for window in reading.windows(item, spec):
                if isinstance(window, EcgcamError):
                    failed(Failure(item, window))
                    continue
                _say_what_is_left(item, window, reading, MOVE)
                for note in (*window.record.notes, *window.warnings):
                    log.info("%s: %s", item.name, note)
                yield (item, window.start), window
        except EcgcamError as error:
            failed(Failure(item, error))


def _read_ahead(
    items: Iterable[Item], reading: Reading, spec: InputSpec, helpers: Helpers | None
) -> Iterator[tuple[Item, Iterator[Window | EcgcamError]]]:
    """Yield recordings in order, each with its windows, some of them read before they are needed."""
    if helpers is None or reading.all_windows:
        for item in items:
            yield item, reading.windows(item, spec)
        return
    ahead: deque[tuple[Item, Future[list[Window | EcgcamError]]]] = deque()
    for item in items:
        ahead.append((item, helpers.submit(read_windows, reading, item, spec)))
        if len(ahead) > max(8, 2 * helpers.count):
            first, windows = ahead.popleft()
            yield first, _from(windows)
    for item, windows in ahead:
        yield item, _from(windows)


def _from(windows: Future[list[Window | EcgcamError]]) -> Iterator[Window | EcgcamError]:
    yield from windows.result()


def _is_done(written: _Written | _Timelines) -> bool:
    return written.done() if isinstance(written, _Timelines) else written.summary is None or written.summary.done()


def _say_what_is_left(item: Item, window: Window, reading: Reading, rest_by: str) -> None:
    rest = window.record.seconds - window.time[-1]
    if rest > 0.5 and reading.seconds is None and not reading.several:
        log.info(
            "%s lasts %.4g s, of which %.4g to %.4g s are used; %s",
            item.name, window.record.seconds, window.start, window.time[-1] + 1 / window.fs, rest_by,
        )  # fmt: skip
