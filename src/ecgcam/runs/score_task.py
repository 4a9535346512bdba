"""Scoring recordings against prompts, without masking."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ecgcam.errors import EcgcamError
from ecgcam.records import Window
from ecgcam.runs.events import Event, Scored
from ecgcam.runs.model_options import ModelOptions
from ecgcam.runs.reading import Reading
from ecgcam.runs.tasks import log_rest
from ecgcam.runs.worklist import Failure, Item

log = logging.getLogger("ecgcam")


@dataclass(frozen=True)
class ScoreTask:
    """Score recordings against prompts, without masking."""

    options: ModelOptions
    texts: tuple[str, ...]
    reading: Reading

    def run(self, items: Iterable[Item], again: bool = False) -> Iterator[Event]:  # noqa: ARG002  (leaves nothing)
        """Yield the scores of each recording, batched across recordings."""
        from ecgcam.pipeline.engine import score_windows

        model, failed = self.options.loaded, []

        def windows() -> Iterator[tuple[tuple[Item, float], Window]]:
            for item in items:
                try:
                    for window in self.reading.windows(item, model.input):
                        if isinstance(window, EcgcamError):
                            raise window
                        log_rest(item, window, self.reading, "`start` S moves the window")
                        for note in (*window.record.notes, *window.warnings):
                            log.info("%s: %s", item.name, note)
                        yield (item, window.start), window
                except EcgcamError as error:
                    failed.append(Failure(item, error))

        for (item, start), scores in score_windows(windows(), self.texts, model):
            yield from failed
            failed.clear()
            yield Scored(item, start, scores)
        yield from failed
