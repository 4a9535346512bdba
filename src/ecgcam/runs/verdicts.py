"""What a result concludes: the verdict on its prompt, and the check of its map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from ecgcam.attribution.methods import method_named
from ecgcam.errors import EcgcamError
from ecgcam.evidence.check import check_explanation
from ecgcam.evidence.edits import Score
from ecgcam.evidence.reasons import weigh_reasons
from ecgcam.evidence.scores import score_along
from ecgcam.evidence.verdict import decide_verdict
from ecgcam.models.text.vocabulary import phrases_of, vocabulary_prompts
from ecgcam.pipeline.preparation import prepare
from ecgcam.pipeline.question import embed_prompts
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.model import EcgTextModel, ScoresPrompts
from ecgcam.protocol.preprocessing import scale_window
from ecgcam.records import Window
from ecgcam.records.criteria import criteria_of, evaluate_criteria
from ecgcam.records.measurements import measure_signal
from ecgcam.records.waves import find_waves
from ecgcam.results.explanation import Explanation
from ecgcam.results.trace import Trace, shown_trace
from ecgcam.runs.calibration import Calibration


class Verdicts:
    """Adds verdicts and checks to the explanations of one call.

    Parameters
    ----------
    model, settings, prompts
        Those of the call.
    texts_only : bool
        Whether prompts are texts, which compare with the vocabulary's; targets, recordings and differences do not.
    check : bool
        Whether maps are checked: one batch of 17 more signals for each window and prompt, without gradients.
    criteria : bool
        Whether the evidence is compared with the criteria of the prompt's finding: 17 more signals for each criterion.
    calibration : Calibration, optional
        Of the model: its reference scores come before the model's own reference.
    """

    def __init__(
        self,
        model: EcgTextModel,
        settings: Settings,
        prompts: Sequence[str],
        *,
        texts_only: bool,
        check: bool,
        criteria: bool = False,
        calibration: Calibration | None = None,
    ) -> None:
        self._model, self._settings, self._check, self._criteria = model, settings, check, criteria
        self._prompts = list(prompts)
        method = method_named(settings.method)
        # Scores of differences have no reference.
        plain = not settings.against and not method.contrast
        self._references = calibration.references if calibration is not None and plain else {}
        comparable = texts_only and plain and not isinstance(model.network, ScoresPrompts)
        known = {prompt.casefold() for prompt in self._prompts}
        self._others = [
            text
            for text in (vocabulary_prompts() if comparable else ())
            if text.casefold() not in known and model.text.has(text)
        ]
        with torch.no_grad():
            self._embedded = self._embed() if comparable else None
            self._directions = embed_prompts(self._prompts, settings, method, model).directions

    def _embed(self) -> torch.Tensor:
        """Embed the prompts and the vocabulary; the prompts alone where a text side of the user's own takes no others."""
        try:
            return self._model.encode_text([*self._prompts, *self._others])
        except EcgcamError:
            self._others = []
            return self._model.encode_text(self._prompts)

    def add_to(self, window: Window, explanations: Sequence[Explanation]) -> None:
        """Put the verdict, and the check or None, into the meta of a window's explanations, one for each prompt."""
        scores = {str(one.meta["text"]): one.score for one in explanations}
        vocabulary = self._vocabulary_scores(window)
        for explanation in explanations:
            text = str(explanation.meta["text"])
            # Other phrases for the same finding do not compete.
            same = {phrase.casefold() for phrase in (text, *phrases_of(text))}
            others = [score for prompt, score in (*scores.items(), *vocabulary) if prompt.casefold() not in same]
            references, without = self._reference_scores(text)
            found = decide_verdict(explanation.score, explanation.empty_score, others, references, without=without)
            explanation.meta["verdict"] = found.to_json()
            explanation.meta.update({"check": None, "criteria": None, "reasons": None})
            if not (self._check or self._criteria):
                continue
            prepared = prepare(window, self._model.input, self._settings)
            score = score_along(prepared, self._directions[self._prompts.index(text)], self._model)
            if self._check:
                explanation.meta["check"] = check_explanation(window, explanation, score).to_json()
            if self._criteria:
                explanation.meta.update(self._reasons(window, explanation, score, found.answer))

    def _reasons(self, window: Window, explanation: Explanation, score: Score, answer: str) -> dict[str, object]:
        """Return the criteria of the prompt's finding, and whether the evidence lies on them."""
        text = str(explanation.meta["text"])
        criteria = criteria_of(text) or criteria_of(next(iter(phrases_of(text)), text))  # by another name: "AFib"
        if not criteria:
            return {"criteria": []}
        # At the recording's own rate, as `ecgcam measure` does: the model's may be too low for a pacing spike.
        own = None if window.own is None else shown_trace(explanation, Trace(*window.own))
        if own is None:
            measured = measure_signal(explanation.signal, explanation.fs, explanation.leads, explanation.valid)
        else:
            measured = measure_signal(own.signal, window.record.fs, explanation.leads)
        waves = find_waves(explanation.signal, explanation.fs, explanation.valid)
        phrases = list(dict.fromkeys(text for one in criteria for text in (*one.positive, *one.negative)))
        known = [text for text in phrases if self._embedded is not None and self._model.text.has(text)]
        reasons = weigh_reasons(
            explanation,
            waves,
            criteria,
            evaluate_criteria(criteria, measured),
            score,
            dict(zip(known, self._scores_of(window, known), strict=True)),
            empty_score=explanation.empty_score,
            given=answer == "yes",
            seed=self._settings.seed,
        )
        return {
            "criteria": [row.to_dict() for row in reasons.rows],
            "reasons": {"right": reasons.right, "sentence": reasons.sentence},
        }

    def _vocabulary_scores(self, window: Window) -> list[tuple[str, float]]:
        """Return the vocabulary's other prompts, each with the window's score."""
        if self._embedded is None or not self._others:
            return []
        return list(zip(self._others, self._product(window, self._embedded[len(self._prompts) :]), strict=True))

    def _scores_of(self, window: Window, texts: list[str]) -> list[float]:
        """Return the window's scores for other texts."""
        if not texts:
            return []
        with torch.no_grad():
            return self._product(window, self._model.encode_text(texts))

    def _product(self, window: Window, embedded: torch.Tensor) -> list[float]:
        """Return the window's scores for embedded texts (P, D)."""
        x = torch.from_numpy(scale_window(window, self._model.input)[0])[None].to(self._model.device)
        with torch.no_grad():
            scores = self._model.encode_signal(x) @ embedded.T
        return [float(score) for score in scores[0].cpu()]

    def _reference_scores(self, text: str) -> tuple[npt.NDArray[np.float64] | None, bool]:
        """Return the prompt's scores for the model's reference recordings, if it has any that compare; whether without it."""
        if text in self._references:
            return np.array(self._references[text]), False
        reference = self._model.reference
        if reference is None or self._embedded is None or self._model.spec.similarity != "cosine":
            return None, False
        return reference.scores(self._embedded[self._prompts.index(text)], next(iter(phrases_of(text)), None))
