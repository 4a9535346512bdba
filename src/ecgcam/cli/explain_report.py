"""What `ecgcam explain` says of a run while it runs: results, notes, failures, progress, the exit code; and the manifest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import typer

from ecgcam.batch.manifest import Line, Manifest
from ecgcam.batch.worklist import Failure
from ecgcam.cli.console import Bar, Notes, StdoutError, complain, drop_stdout, print_json, progress, say
from ecgcam.cli.tables import Table, print_table
from ecgcam.errors import EcgcamError


class Report:
    """One run, told as it goes; nothing is kept of a recording that is done."""

    def __init__(self, out: Path, prompts: Sequence[str], *, quiet: bool, as_json: bool, several_windows: bool) -> None:
        self._out, self._prompts, self._quiet, self._as_json = out, prompts, quiet, as_json
        self._several_windows = several_windows
        self._manifest = Manifest(out)
        self._notes = Notes(quiet)
        self._about_prompts: list[str] = []
        self._total: int | None = None
        self._unrecorded: EcgcamError | None = None
        self._results = self._failures = 0
        self._first: dict[str, Any] | None = None
        window = ["start, s"] if several_windows else []
        headings = ["record", *window, "prompt", "score", "empty", "strongest leads (gain)"]
        self._table = Table(headings, right=(*window, "score", "empty"))
        self._stdout: StdoutError | None = None
        self._bar = Bar()
        self._open = ExitStack()
        self._also: list[str] = []

    def begin(self, warnings: Callable[[str], list[str]], total: int | None) -> None:
        """Say what the model says of the prompts, and how many recordings there are, if that is known."""
        self._about_prompts = [warning for prompt in self._prompts for warning in warnings(prompt)]
        self._notes.general(self._about_prompts)
        self._total = None if total is None else total * len(self._prompts)

    def __enter__(self) -> Report:
        self._bar = self._open.enter_context(progress(self._total, "explaining", self._quiet))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()

    def result(self, summary: dict[str, Any]) -> None:
        """Tell a result that has been written."""
        self._results += 1
        warnings = [warning for warning in summary["warnings"] if warning not in self._about_prompts]
        self._notes.about(summary["record"], warnings)
        try:
            if self._stdout is not None:
                return
            if self._as_json:
                print_json(summary)
            elif self._results == 1:
                self._first = summary
            else:
                self._in_table(summary)
        except StdoutError as error:
            # The results are the files; whoever reads about them may leave.
            drop_stdout()
            self._stdout = error

    def flush(self) -> None:
        """Show what has been told so far: more may be long in coming."""
        if self._first is not None:
            first, self._first = self._first, None
            self._in_table(first)
        try:
            self._table.flush()
        except StdoutError as error:
            drop_stdout()
            self._stdout = error

    def failed(self, failure: Failure) -> None:
        """Tell a recording, or a window of it, that could not be explained."""
        self._failures += 1
        complain(str(failure.error))

    def refused(self, error: EcgcamError) -> None:
        """Tell an input of a stream that cannot be explained; a recording that bears its name may be another's."""
        self._failures += 1
        complain(str(error))

    @property
    def results(self) -> int:
        """How many results have been told."""
        return self._results

    def also(self, line: str) -> None:
        """Tell, at the end, what else was written; with --json stdout carries results only."""
        if not self._as_json:
            self._also.append(line)

    def finished(self, line: Line) -> None:
        """Put down that a recording and prompt is done or has failed; a manifest that cannot be written holds up nothing."""
        try:
            self._manifest.add(line)
        except EcgcamError as error:
            if self._unrecorded is None:
                complain(f"{error}; the results themselves are there, and --resume will make them again")
            self._unrecorded = error
        else:
            self._unrecorded = None
        self._bar(1)

    def within(self, done: int, of: int) -> None:
        """Show how much of one recording and prompt is done."""
        self._bar.within(done, of)

    def note(self, note: str) -> None:
        """Tell a note."""
        self._notes.general([note])

    def nothing_left(self, done: int) -> None:
        """Say that all is done."""
        self._notes.general(
            [f"all {done} recordings are done; nothing is left to resume" if done else "no recording in this shard"]
        )

    def end(self) -> None:
        """Tell what is still to tell, and leave with the exit code that it deserves."""
        self._notes.close()
        try:
            if self._first is not None and self._results == 1:
                _print_one(self._first)
            elif self._table.rows and self._stdout is None:
                self._table.flush()
                say(f"results in {self._out}")
            if self._stdout is None:
                for line in self._also:
                    say(line)
        except StdoutError as error:
            self._stdout = self._stdout or error
        if self._failures or self._unrecorded is not None:
            raise typer.Exit(1 if self._results else 2)
        if self._stdout is not None:
            raise self._stdout

    def _in_table(self, summary: dict[str, Any]) -> None:
        if self._first is not None:
            first, self._first = self._first, None
            self._in_table(first)
        leads = ", ".join(f"{lead['name']} {lead['gain']:+.3f}" for lead in summary["leads"][:3])
        start = [f"{summary['settings']['window']['start']:.3f}"] if self._several_windows else []
        scores = [f"{summary['score']:.3f}", f"{summary['empty_score']:.3f}"]
        self._table.add([summary["record"], *start, summary["text"], *scores, leads])


def _print_one(summary: dict[str, Any]) -> None:
    score, empty = (f"{summary[key]:.3f}" for key in ("score", "empty_score"))
    say(f"{summary['record']}  {summary['text']!r}  score {score}  empty {empty}")
    rows = []
    for lead in summary["leads"]:
        moments = "  ".join(f"{moment:.2f}" for moment in lead["moments_s"])
        rows.append([lead["name"], f"{lead['gain']:+.3f}", f"{lead['score']:.3f}", moments])
    print_table(("lead", "gain", "alone", "strongest moments, s"), rows, right=("gain", "alone"))
    say(f"results in {summary['out']}")
