"""One call of `explain` over recordings: checked before torch is imported, then run, its journal kept and its packs written."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ecgcam.errors import EcgcamError, check_choice
from ecgcam.files import check_writable
from ecgcam.pipeline.settings import Settings
from ecgcam.records import Window
from ecgcam.results.explanation import LAYOUTS, SCALES
from ecgcam.runs.calibration import CHOSEN
from ecgcam.runs.engine import drawing_helper, run_in_processes, workers_for
from ecgcam.runs.events import Event, Finished, Result, Timelines
from ecgcam.runs.explain_task import ExplainTask, Todo, write_in_place
from ecgcam.runs.helpers import cores, gc_paused, set_passive_openmp_wait
from ecgcam.runs.journal import EXPLAIN, Journal
from ecgcam.runs.model_options import ModelOptions
from ecgcam.runs.packs import Packs, index_packs
from ecgcam.runs.places import Places
from ecgcam.runs.prompts import best_prompts
from ecgcam.runs.reading import Reading, read_windows
from ecgcam.runs.spec import RunSpec
from ecgcam.runs.tasks import Progress, no_progress, run_here
from ecgcam.runs.worklist import (
    NOTHING,
    Failure,
    Item,
    content_sha256,
    each_recording,
    find_recordings,
    of_shard,
)
from ecgcam.runs.writer import Outputs, clear_unfinished_of

Shard = tuple[int, int]


@dataclass(frozen=True)
class Many:
    """How many recordings are run: processes, `engine`, part of them, results in packs, clearing up, explaining again."""

    jobs: int | None = None
    engine: str = "local"
    shard: Shard | None = None
    pack: int | None = None
    resume: bool = False
    force: bool = False

    def check(self) -> None:
        """Raise `EcgcamError` if parameters contradict each other."""
        check_choice("engine", self.engine, ("local", "ray"))
        if self.resume and self.force:
            raise EcgcamError("`resume` and `force`: one keeps existing results, the other replaces them; choose one")
        if self.engine == "ray" and self.pack is not None:
            raise EcgcamError(
                "`pack`: with `engine` ray each worker writes its own results; use `shard` or the local engine"
            )


@dataclass
class ExplainCall:
    """What to explain, by what, and where results go.

    Attributes
    ----------
    records : sequence of str
        Files, stems, folders; ``-`` for the lines of `stdin`.
    prompts : list of str
        Texts, targets, or the names of `like`.
    options, settings, reading, outputs, many
        The model, the attribution, the windows, the files, the processes.
    out : Path
        The folder of results.
    like : dict
        By prompt the recording that it stands for.
    top : int, optional
        Explain only so many of the prompts, those that score best on the only recording.
    stdin : iterable of str, optional
        Lines that name recordings.
    explicit : frozenset of str
        Which of method, layer and mask the caller chose; a calibration of the model chooses the others.
    """

    records: Sequence[str]
    prompts: list[str]
    options: ModelOptions
    settings: Settings
    reading: Reading
    out: Path
    outputs: Outputs = field(default_factory=Outputs)
    many: Many = field(default_factory=Many)
    like: dict[str, Path] = field(default_factory=dict)
    top: int | None = None
    stdin: Iterable[str] | None = None
    explicit: frozenset[str] = frozenset(CHOSEN)
    refused: list[EcgcamError] = field(default_factory=list)

    def check(self) -> None:
        """Raise `EcgcamError` if anything is wrong that can be seen without torch, before anything is written."""
        if self.outputs.scale is not None:
            check_choice("scale", self.outputs.scale, SCALES)
        check_choice("layout", self.outputs.layout, LAYOUTS)
        self.options.check()
        self.many.check()
        self.reading.check_values()
        if self.many.engine == "ray" and self.options.own:
            raise EcgcamError(
                f"`engine` ray: `model` {self.options.model} is code that workers lack; use `engine` local"
            )
        self.settings.check(self.options.spec)
        if self.reading.follow and self.only is None:
            raise EcgcamError("`follow`: takes one recording; start one call for each")
        _ = self.items
        if self.only is not None and not self.reading.follow:
            self.reading.content_sha256(self.only.path)
        check_writable(self.out)
        self.settings = self.options.calibrated(self.settings, self.explicit)
        self.settings.check(self.options.spec)

    def take_refused(self) -> list[EcgcamError]:
        """Return the errors of inputs that could not be explained, each once."""
        refused, self.refused[:] = self.refused[:], []
        return refused

    @cached_property
    def items(self) -> list[Item] | Iterator[Item]:
        """The recordings of this shard: a list, or as they come on standard input."""
        shard = self.many.shard or (1, 1)
        if "-" in self.records:
            named = each_recording(self.records, self.stdin, self.refused.append)
            first = next(named, None)
            if first is None:
                raise self.refused[0] if self.refused else EcgcamError(NOTHING)
            return of_shard(itertools.chain([first], named), shard)
        return list(of_shard(find_recordings(self.records), shard))

    @property
    def total(self) -> int | None:
        """How many recordings there are, where that is known."""
        return len(self.items) if isinstance(self.items, list) else None

    @property
    def only(self) -> Item | None:
        """The recording, if it is a single one."""
        return self.items[0] if isinstance(self.items, list) and len(self.items) == 1 else None

    @cached_property
    def task(self) -> ExplainTask:
        """What is done with each recording."""
        if self.top is not None:
            if self.only is None:
                raise EcgcamError(
                    "`top`: needs one recording; name one, or rank the prompts of many with `ecgcam score`"
                )
            self.prompts = best_prompts(self.options.loaded, self.only, self.prompts, self.top, self.reading)
        ref, source = self.options.ref, self.options.spec
        hashes = {prompt: content_sha256(path) for prompt, path in self.like.items()}
        specs = [
            RunSpec.of(ref, prompt, self.settings, self.reading, source, hashes.get(prompt)) for prompt in self.prompts
        ]
        return ExplainTask(
            self.options, tuple(specs), self.settings, self.reading, self.out, self.outputs, self.many.force,
            self.many.pack is not None, self.like,
        )  # fmt: skip

    def events(self, progress: Progress = no_progress) -> Generator[Event, None, None]:
        """Run it; yield what happens, in the order of recordings, when it is written down."""
        task, many = self.task, self.many
        packs = None
        todos: Iterable[Item | Todo | Event] = self.items
        if many.pack is not None:
            packs = Packs(self.out, many.pack, many.shard)
            places = Places(self.out, index_packs(self.out))
            packs.open_for_append()
            todos = itertools.chain.from_iterable(task.look_up(item, places) for item in self.items)
        elif many.resume and isinstance(self.items, list):
            for item in self.items:
                clear_unfinished_of(self.out, item.name)
        if self.reading.follow and self.only is not None:
            from ecgcam.runs.growing import follow

            events = follow(self.only, task)
        elif many.engine == "ray":
            from ecgcam.runs.ray import run_with_ray

            events = self._cleared(run_with_ray(task, todos, many.jobs))
        else:
            device = "cpu" if self.options.device in {"auto", "cpu"} else self.options.device
            count = (
                1 if self.options.own else workers_for(self.total, many.jobs, pictures=self.outputs.png, device=device)
            )
            several = count > 1
            events = self._cleared(_in_processes(task, todos, count)) if several else self._here(task, todos, progress)
        yield from _recorded(events, task, Journal(self.out / EXPLAIN), packs)

    def _here(self, task: ExplainTask, todos: Iterable[Any], progress: Progress) -> Generator[Event, None, None]:
        """Run in this process, with another that reads and draws while this one imports torch."""
        set_passive_openmp_wait()
        few = self.total is not None and self.total < 16
        with drawing_helper(self.total if few else None, pictures=self.outputs.png) as helper:

            def submit(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
                if helper is None:
                    return run_here(function, *args, **kwargs)
                if function is write_in_place:
                    kwargs["fork"] = cores() > 1
                return helper.submit(function, *args, **kwargs)

            places = Places(self.out)
            if self.only is None or task.packed:
                yield from _run_here(task, todos, places, progress, submit)
                return
            found = list(task.look_up(self.only, places))
            left = [one for one in found if isinstance(one, Todo)]
            yield from (one for one in found if not isinstance(one, Todo))
            if not left:
                return
            windows = None
            if not self.reading.several:
                windows = submit(read_windows, self.reading, self.only, self.options.spec.input)
                if helper is None and (wrong := _first_error(windows)) is not None:
                    yield from task._failed(self.only, list(left[0].places), left[0].recording, wrong)
                    return
            with gc_paused():
                import ecgcam.pipeline.engine  # noqa: F401

            model = task.load()
            todo = left[0]
            if windows is not None:
                if (wrong := _first_error(windows)) is not None:
                    yield from task._failed(todo.item, list(todo.places), todo.recording, wrong)
                    return
                todo = replace(todo, windows=windows.result())
            yield from task.explain([todo], model, progress, submit)

    def _cleared(self, events: Generator[Event, None, None]) -> Generator[Event, None, None]:
        """Yield events; where the run breaks off, remove what workers that were killed have left."""
        try:
            yield from events
        except BaseException:
            events.close()
            if isinstance(self.items, list):
                for item in self.items:
                    clear_unfinished_of(self.out, item.name)
            raise


def _first_error(windows: Future[list[Window | EcgcamError]]) -> EcgcamError | None:
    """Return why a recording, or its only window, cannot be read; None if it can."""
    try:
        first = windows.result()[0]
    except EcgcamError as error:
        return error
    return first if isinstance(first, EcgcamError) else None


def _run_here(
    task: ExplainTask, todos: Iterable[Any], places: Places, progress: Progress, submit: Callable[..., Future[Any]]
) -> Iterator[Event]:
    """Run many recordings in this process; torch is imported when there is something to do."""
    model = None
    for is_todo, some in itertools.groupby(_looked_up(task, todos, places), lambda one: isinstance(one, Todo)):
        if not is_todo:
            yield from some
            continue
        if model is None:
            model = task.load()
        yield from task.explain(some, model, progress, submit)


def _looked_up(task: ExplainTask, todos: Iterable[Any], places: Places) -> Iterator[Any]:
    for one in todos:
        if isinstance(one, Item):
            yield from task.look_up(one, places)
        else:
            yield one


def _in_processes(task: ExplainTask, todos: Iterable[Any], count: int) -> Generator[Event, None, None]:
    """Run in several processes; what was looked up before and is there already takes its turn between their events."""
    if not task.packed:
        yield from run_in_processes(task, todos, count)
        return
    events: list[Event] = []

    def left() -> Iterator[Todo]:
        for one in todos:
            if isinstance(one, Todo):
                yield one
            else:
                events.append(one)

    for event in run_in_processes(task, left(), count):
        while events:
            yield events.pop(0)
        yield event
    yield from events


def _recorded(
    events: Generator[Event, None, None], task: ExplainTask, journal: Journal, packs: Packs | None
) -> Generator[Event, None, None]:
    """Yield events when they are in the journal, and results when they are in their pack."""
    specs = {spec.prompt: (spec.to_json(), spec.fingerprint()) for spec in task.specs}
    in_pack: dict[tuple[str, str], Path] = {}
    lost: dict[tuple[str, str], str] = {}  # what found no room in its pack, and why
    try:
        for event in events:
            if packs is not None and isinstance(event, Result) and event.files is not None:
                pack = packs.next_place()
                try:
                    packs.add(event.folder.as_posix(), event.files)
                except EcgcamError as error:
                    lost[event.item.name, event.text] = str(error)
                    yield Failure(event.item, error)
                    continue
                where = pack.relative_to(task.out) / event.folder
                in_pack[event.item.name, event.text] = pack.relative_to(task.out)
                yield replace(event, folder=where, summary=event.summary | {"out": str(task.out / where)}, files=None)
                continue
            if packs is not None and isinstance(event, Timelines):
                packs.add_to_last(event.folder.as_posix(), event.files)
                continue
            if isinstance(event, Finished):
                pack_of = in_pack.pop((event.item.name, event.text), None)
                wrong = lost.pop((event.item.name, event.text), None)
                if wrong is not None:
                    event = replace(event, folder=None, error=wrong)
                elif pack_of is not None and event.folder is not None:
                    event = replace(event, folder=pack_of / event.folder)
                if not (event.existing and journal.has(event.item.name, event.fingerprint)):
                    spec, fingerprint = specs[event.text]
                    journal.add_spec(spec, fingerprint)
                    event = _journaled(event, journal)
            yield event
    finally:
        events.close()
        if packs is not None:
            packs.close()


def _journaled(event: Finished, journal: Journal) -> Finished:
    """Write an event's line; a journal that cannot be written holds up nothing."""
    try:
        journal.add(event.entry(), failed=event.folder is None)
    except EcgcamError as error:
        return replace(event, unrecorded=str(error))
    return event
