"""Evaluating maps of recordings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ecgcam.errors import EcgcamError
from ecgcam.pipeline.settings import Settings
from ecgcam.runs.events import Evaluated, Event
from ecgcam.runs.model_options import ModelOptions
from ecgcam.runs.reading import Reading
from ecgcam.runs.tasks import flush_denormals
from ecgcam.runs.worklist import Failure, Item

if TYPE_CHECKING:
    from ecgcam.evidence.questions import Question
    from ecgcam.evidence.truths import Annotations
    from ecgcam.runs.evaluation import EvaluationConfig, MethodConfig


@dataclass(frozen=True)
class EvaluateTask:
    """Evaluate maps of recordings.

    Attributes
    ----------
    options : ModelOptions
        The model.
    texts, methods, settings : tuple, tuple, Settings
        Prompts, methods with masks, and the settings that they share.
    config : EvaluationConfig
        What is measured.
    reading : Reading
        How recordings are read.
    truth, annotations : Path, Annotations, optional
        Where the findings are known to be.
    questions : tuple of Question
        Questions that maps answer in place of the metrics; those about a recording state its prompts.
    """

    options: ModelOptions
    texts: tuple[str, ...]
    methods: tuple[MethodConfig, ...]
    config: EvaluationConfig
    settings: Settings
    reading: Reading
    truth: Path | None = None
    annotations: Annotations | None = None
    questions: tuple[Question, ...] = ()

    def run(self, items: Iterable[Item], again: bool = False) -> Iterator[Event]:  # noqa: ARG002  (leaves nothing)
        """Yield the figures of each recording, or its answers."""
        from ecgcam.evidence.questions import questions_about
        from ecgcam.evidence.truths import find_truth
        from ecgcam.runs.evaluation import answer_window, evaluate_window

        flush_denormals()
        model = self.options.loaded
        if self.options.own:
            from ecgcam.models.own_layers import declare_layers

            for path in dict.fromkeys(method.layer for method in self.methods if method.layer is not None):
                declare_layers(model, path)
        for item in items:
            left_out: list[tuple[str, str]] = []
            asked = questions_about(item.name, self.questions)
            if self.questions and not asked:
                yield Evaluated(item, [], left_out)
                continue
            try:
                record = self.reading.record(item, model.input)
                window = self.reading.window(record, model.input, self.reading.start)
                if asked:
                    answers = answer_window(
                        window, asked, model, self.settings, self.methods, self.config,
                        lambda method, error: left_out.append((method.method, str(error))),  # noqa: B023  (used at once)
                    )  # fmt: skip
                    yield Evaluated(item, [asdict(one) for one in answers if one.values], left_out)
                    continue
                marks = self.annotations
                truth = find_truth(item.path, self.truth) if marks is None else marks.read(item.path)
                entries = evaluate_window(
                    window, self.texts, model, self.settings, self.methods, self.config, truth,
                    lambda method, error: left_out.append((method.method, str(error))),  # noqa: B023  (used at once)
                )  # fmt: skip
                yield Evaluated(item, [asdict(entry) for entry in entries], left_out)
            except EcgcamError as error:
                yield Failure(item, error)
