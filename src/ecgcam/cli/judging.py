"""One recording judged, in this process or in a helper that has loaded the model too."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from ecgcam.batch.helpers import Helpers
from ecgcam.batch.local import flush_denormals
from ecgcam.batch.reading import Reading
from ecgcam.batch.worklist import Item
from ecgcam.cli.chosen import Chosen
from ecgcam.errors import EcgcamError
from ecgcam.evidence.evaluation import Entry, Plan, Trial, evaluate_window
from ecgcam.evidence.truths import Annotations, find_truth
from ecgcam.models.base import EcgTextModel
from ecgcam.settings import Settings

# What a recording got, and which methods were left out of it, and why.
Judged = tuple[list[Entry], list[tuple[str, str]]]


@dataclass(frozen=True)
class Job:
    """Everything of a call of `ecgcam evaluate` that a recording's figures hang on.

    Attributes
    ----------
    chosen : Chosen
        The model's flags, without the model: another process loads it by them.
    prompts, trials, plan, settings
        As `evaluate_window` takes them.
    reading : Reading
        How recordings are read.
    truth, marks : Path, Annotations, optional
        Where the findings are known to be.
    """

    chosen: Chosen
    prompts: Sequence[str]
    trials: Sequence[Trial]
    plan: Plan
    settings: Settings
    reading: Reading
    truth: Path | None
    marks: Annotations | None

    def judge(self, item: Item, model: EcgTextModel | None = None) -> Judged:
        """Read a recording and judge its maps; without `model`, by one that this process loads once.

        Raises
        ------
        EcgcamError
            If the recording or its truth cannot be read.
        """
        model = _loaded(self.chosen) if model is None else model
        window = self.reading.window(self.reading.record(item, model.input), model.input, self.reading.start)
        known = find_truth(item.path, self.truth) if self.marks is None else self.marks.read(item.path)
        left_out: list[tuple[str, str]] = []

        def refused(trial: Trial, error: EcgcamError) -> None:
            left_out.append((trial.method, str(error)))

        entries = list(
            evaluate_window(window, self.prompts, model, self.settings, self.trials, self.plan, known, refused)
        )
        return entries, left_out

    def judge_all(
        self, items: Sequence[Item], model: EcgTextModel, helpers: Helpers | None
    ) -> Iterator[tuple[Item, Callable[[], Judged]]]:
        """Yield recordings in order, each with what waits for its figures; `helpers` work ahead, each on a recording."""
        if helpers is None:
            for item in items:
                yield item, partial(self.judge, item, model)
            return
        ahead: deque[tuple[Item, Callable[[], Judged]]] = deque()
        for item in items:
            ahead.append((item, helpers.submit(self.judge, item).result))
            if len(ahead) > 2 * helpers.count:
                yield ahead.popleft()
        yield from ahead


@cache
def _loaded(chosen: Chosen) -> EcgTextModel:
    flush_denormals()
    return chosen.loaded
