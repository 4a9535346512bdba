"""What is asked of the model: prompts, and the foils they are held against."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ecgcam.attribution.registry import Method
from ecgcam.errors import EcgcamError
from ecgcam.models.base import EcgTextModel
from ecgcam.prompts import vocabulary_prompts
from ecgcam.settings import Settings


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked of the model.

    Attributes
    ----------
    prompts : list of str
        The prompts.
    texts : Tensor, (P, D)
        Their embeddings.
    foils : list of tuple of str
        What each is held against.
    foil : Tensor, (P, D), optional
        The mean embedding of each prompt's foils.
    strength : float
        How much of it is taken off.
    """

    prompts: list[str]
    texts: Tensor
    foils: list[tuple[str, ...]]
    foil: Tensor | None = None
    strength: float = 1.0

    @property
    def directions(self) -> Tensor:
        """Return what the score is the product with, (P, D): the prompt, or the prompt less the foils."""
        return self.texts if self.foil is None else self.texts - self.strength * self.foil

    def parts(self, prompt: int, embedding: Tensor) -> dict[str, float] | None:
        """Return the scores of a signal's embedding (D,) that its score, text - strength x against, is made of."""
        if self.foil is None:
            return None
        text, against = (float(embedding @ side[prompt]) for side in (self.texts, self.foil))
        return {"text": text, "against": against, "strength": self.strength}


def ask(prompts: list[str], settings: Settings, method: Method, model: EcgTextModel) -> Question:
    """Embed prompts, and the foils they are held against: those given, or a contrasting method's nearest findings."""
    texts = model.encode_text(prompts)
    foils = [settings.against] * len(prompts)
    options = method.complete(settings.options)
    if method.contrast and not settings.against:
        foils = _nearest_findings(prompts, texts, int(options["nearest"] or 0), model)
    if not any(foils):
        return _answerable(Question(prompts, texts, foils))
    embedded = torch.stack([torch.stack([_embed_foil(foil, model) for foil in given]).mean(dim=0) for given in foils])
    return _answerable(
        Question(prompts, texts, foils, embedded, float(options["gamma"] or 0) if method.contrast else 1.0)
    )


def _answerable(question: Question) -> Question:
    """Raise `EcgcamError` if a score would be 0, or no number, whatever the recording: no map could say why."""
    for prompt, foils, direction in zip(question.prompts, question.foils, question.directions, strict=True):
        if not bool(direction.isfinite().all()):
            raise EcgcamError(f"--text {prompt!r}: its embedding is not finite; check the checkpoint or the table")
        if not bool(direction.any()):
            why = (
                "it is what --against takes off"
                if foils
                else "its embedding is zero; check the checkpoint or the table"
            )
            raise EcgcamError(f"--text {prompt!r}: its score is 0 whatever the recording, {why}")
    return question


def _embed_foil(foil: str, model: EcgTextModel) -> Tensor:
    texts = vocabulary_prompts() if foil == "mean" else [""] if foil == "empty" else [foil]
    return model.encode_text(texts).mean(dim=0)


def _nearest_findings(prompts: list[str], texts: Tensor, count: int, model: EcgTextModel) -> list[tuple[str, ...]]:
    """Return for each prompt the findings of the vocabulary whose prompts lie nearest to it, itself left out.

    Raises
    ------
    EcgcamError
        If the model can embed none of them.
    """
    known = [finding for finding in vocabulary_prompts() if model.text.has(finding)]
    chosen = []
    for prompt, text in zip(prompts, texts, strict=True):
        others = [finding for finding in known if finding.casefold() != prompt.casefold()]
        if not others:
            raise EcgcamError(
                f"--text {prompt!r}: {model.name} has embeddings of none of the vocabulary's other findings to hold it against; "
                "give foils with --against"
            )
        nearness = torch.nn.functional.cosine_similarity(model.encode_text(others), text[None], dim=1)
        ranked = nearness.argsort(descending=True)[:count]
        chosen.append(tuple(others[i] for i in ranked))
    return chosen
