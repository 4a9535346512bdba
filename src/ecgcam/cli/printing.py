"""What `ecgcam explain` prints during a run: results, notes, failures, progress; then it sets the exit code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import typer

from ecgcam.cli.console import Bar, Notes, StdoutError, drop_stdout, print_error, print_json, print_line
from ecgcam.cli.tables import Table, print_table
from ecgcam.errors import EcgcamError
from ecgcam.results.sentences import verdict_sentence
from ecgcam.runs.events import Event, Finished, Result
from ecgcam.runs.worklist import Failure


class Printer:
    """Prints the events of one run; it keeps nothing of a finished recording."""

    def __init__(
        self, *, quiet: bool, as_json: bool, several_windows: bool, at_once: bool = False, existing: bool = True
    ) -> None:
        self._as_json, self._several_windows, self._at_once = as_json, several_windows, at_once
        self._print_existing = existing
        self._notes = Notes(quiet)
        self._results = self._existing = self._failures = 0
        self._unrecorded: str | None = None
        self._first: dict[str, Any] | None = None
        window = ["start, s"] if several_windows else []
        headings = ["record", *window, "prompt", "answer", "score", "empty", "strongest leads (gain)"]
        self._table = Table(headings, right=(*window, "score", "empty"))
        self._stdout: StdoutError | None = None
        self.bar = Bar()

    @property
    def results(self) -> int:
        """How many results have been written."""
        return self._results

    def print(self, event: Event) -> None:
        """Print an event."""
        if isinstance(event, Result):
            self._results += 1
            self._print_result(event.summary)
        elif isinstance(event, Failure):
            self.print_failure(event.error)
        elif isinstance(event, Finished):
            if event.existing:
                self._existing += 1
                if event.summary is not None and self._print_existing:
                    self._print_result(event.summary)
            elif event.unrecorded != self._unrecorded:
                self._unrecorded = event.unrecorded
                if event.unrecorded is not None:
                    print_error(f"{event.unrecorded}; the results themselves are complete")
            self.bar(1)

    def print_failure(self, error: EcgcamError) -> None:
        """Print a recording, or an input, that could not be explained."""
        self._failures += 1
        print_error(error)

    def end(self, out: object, also: Iterable[str] = ()) -> None:
        """Print what is left, and exit with 0 (all done), 1 (some failed) or 2 (nothing was done)."""
        if self._existing:
            what = "result was" if self._existing == 1 else "results were"
            self._notes.general(
                [f"{self._existing} {what} there already, so nothing was computed (`force` computes again)"]
            )
        self._notes.close()
        try:
            if self._first is not None and self._results + self._existing == 1:
                _print_one(self._first)
            elif self._table.rows and self._stdout is None:
                self._flush()
                print_line(f"results in {out}")
            if self._stdout is None and not self._as_json:
                for line in also:
                    print_line(line)
        except StdoutError as error:
            self._stdout = self._stdout or error
        if self._failures or self._unrecorded is not None:
            raise typer.Exit(1 if self._results or self._existing else 2)
        if self._stdout is not None:
            raise self._stdout

    def _print_result(self, summary: dict[str, Any]) -> None:
        about_prompts = summary.get("prompt_warnings", [])
        self._notes.general(about_prompts)
        self._notes.about(summary["record"], [one for one in summary["warnings"] if one not in about_prompts])
        if self._stdout is not None:
            return
        try:
            if self._as_json:
                print_json(summary)
            elif self._first is None and not self._table.rows and not self._at_once:
                self._first = summary  # one result is printed in full
            else:
                self._flush() if self._at_once else None
                self._add(summary)
                if self._at_once:
                    self._table.flush()
        except StdoutError as error:
            # The results are the files; the reader of these lines may leave.
            drop_stdout()
            self._stdout = error

    def _flush(self) -> None:
        if self._first is not None:
            first, self._first = self._first, None
            self._add(first)
        self._table.flush()

    def _add(self, summary: dict[str, Any]) -> None:
        if self._first is not None:
            first, self._first = self._first, None
            self._add(first)
        leads = ", ".join(f"{lead['name']} {lead['gain']:+.3f}" for lead in summary["leads"][:3])
        start = [f"{summary['settings']['window']['start']:.3f}"] if self._several_windows else []
        scores = [f"{summary['score']:.3f}", f"{summary['empty_score']:.3f}"]
        answer = (summary.get("verdict") or {}).get("answer", "")
        self._table.add([summary["record"], *start, summary["text"], answer, *scores, leads])


def _print_one(summary: dict[str, Any]) -> None:
    print_line(verdict_sentence(summary))
    basis = (summary.get("verdict") or {}).get("basis")
    score, empty = (f"{summary[key]:.3f}" for key in ("score", "empty_score"))
    print_line(f"{summary['record']}: {basis or f'score {score}, empty score {empty}'}")
    check = summary.get("check")
    if check is not None and not check["passed"]:
        print_line("check failed: without random parts the score falls about as far as without the marked ones")
    if summary.get("reasons"):
        print_line(summary["reasons"]["sentence"])
    rows = []
    for lead in summary["leads"]:
        moments = "  ".join(f"{moment:.2f}" for moment in lead["moments_s"])
        rows.append([lead["name"], f"{lead['gain']:+.3f}", f"{lead['score']:.3f}", moments])
    print_table(("lead", "gain", "alone", "strongest moments, s"), rows, right=("gain", "alone"))
    print_line(f"results in {summary['out']}")
