"""Recordings explained one batch after the other in this process: read, run, draw, write."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecgcam.batch.reading import Reading
from ecgcam.batch.worklist import Item, slugs
from ecgcam.errors import EcgcamError
from ecgcam.models.base import EcgTextModel
from ecgcam.models.spec import InputSpec
from ecgcam.pipeline import explain_windows, score_windows
from ecgcam.records import Window
from ecgcam.settings import Settings
from ecgcam.store import write_result

log = logging.getLogger("ecgcam")

MOVE = "--start S moves the window"


@dataclass(frozen=True)
class Output:
    """What is written, and where."""

    out: Path
    scale: str = "evidence"
    png: bool = True
    npz: bool = True


@dataclass(frozen=True)
class Failure:
    """A recording that could not be explained, and why."""

    item: Item
    error: EcgcamError


Failed = Callable[[Failure], None]


def run_explain(
    items: Sequence[Item],
    texts: Sequence[str],
    model: EcgTextModel,
    reading: Reading,
    settings: Settings,
    output: Output,
    failed: Failed,
) -> Iterator[dict[str, Any]]:
    """Explain recordings and write their results; yield each summary as it is written.

    A recording or a window of it that cannot be read or written is handed to `failed` and the others go on.
    """
    folders = slugs(texts)
    lost: set[str] = set()
    for (item, start), explanation in explain_windows(
        _windows(items, reading, model.input, failed, f"{MOVE}, --all slides it"), texts, model, settings
    ):
        if item.name in lost:
            continue
        slug = folders[explanation.meta["text"]]
        folder = output.out / item.name / slug
        if reading.all_windows:
            folder /= f"w{start:09.3f}"
        try:
            summary = write_result(explanation, folder, scale=output.scale, png=output.png, npz=output.npz, slug=slug)
        except EcgcamError as error:
            lost.add(item.name)
            failed(Failure(item, error))
            continue
        yield summary


def run_score(
    items: Sequence[Item], texts: Sequence[str], model: EcgTextModel, reading: Reading, failed: Failed
) -> Iterator[tuple[Item, float, list[float]]]:
    """Score recordings against prompts: (item, start of the window, one score a prompt)."""
    for (item, start), scores in score_windows(
        _noted(_windows(items, reading, model.input, failed, MOVE)), texts, model
    ):
        yield item, start, scores


def _noted(windows: Iterator[tuple[tuple[Item, float], Window]]) -> Iterator[tuple[tuple[Item, float], Window]]:
    """Log what a reader of the scores should know; an explanation carries it along instead."""
    for (item, start), window in windows:
        for note in (*window.record.notes, *window.warnings):
            log.info("%s: %s", item.name, note)
        yield (item, start), window


def _windows(
    items: Sequence[Item], reading: Reading, spec: InputSpec, failed: Failed, rest_by: str
) -> Iterator[tuple[tuple[Item, float], Window]]:
    """Read recordings and cut them; `rest_by` says how to get what lies beyond the window."""
    for item in items:
        try:
            record = reading.record(item, spec)
            starts = reading.starts(record, spec)
        except EcgcamError as error:
            failed(Failure(item, error))
            continue
        for start in starts:
            try:
                window = reading.window(record, spec, start)
            except EcgcamError as error:  # such as a stretch without a signal; the rest of the recording may be well
                failed(Failure(item, error))
                continue
            rest = record.seconds - window.time[-1]
            if rest > 0.5 and reading.seconds is None and not reading.all_windows:
                log.info(
                    "%s lasts %.4g s, of which %.4g to %.4g s are used; %s",
                    item.name, record.seconds, window.start, window.start + spec.seconds, rest_by,
                )  # fmt: skip
            yield (item, window.start), window
