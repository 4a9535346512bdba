"""What the score is: prompts, and the foils whose scores are subtracted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ecgcam.attribution.registry import Method
from ecgcam.errors import EcgcamError
from ecgcam.models.text.vocabulary import vocabulary_prompts
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.model import EcgTextModel


@dataclass(frozen=True, eq=False)
class ScoreDirections:
    """The directions in embedding space whose product with the signal's embedding is the score.

    Attributes
    ----------
    prompts : list of str
        The prompts.
    texts : Tensor, (P, D)
        Their embeddings.
    foils : list of tuple of str
        The foils of each prompt.
    foil : Tensor, (P, D), optional
        The mean embedding of each prompt's foils.
    strength : float
        How much of it is subtracted.
    """

    prompts: list[str]
    texts: Tensor
    foils: list[tuple[str, ...]]
    foil: Tensor | None = None
    strength: float = 1.0

    @property
    def directions(self) -> Tensor:
        """Return the directions (P, D): the prompts, or the prompts minus their foils. The score is the product with them."""
        return self.texts if self.foil is None else self.texts - self.strength * self.foil

    def parts(self, prompt: int, embedding: Tensor) -> dict[str, float] | None:
        """Return the parts of a signal's score, text - strength x against, from its embedding (D,)."""
        if self.foil is None:
            return None
        text, against = (float(embedding @ side[prompt]) for side in (self.texts, self.foil))
        return {"text": text, "against": against, "strength": self.strength}


def embed_prompts(prompts: list[str], settings: Settings, method: Method, model: EcgTextModel) -> ScoreDirections:
    """Embed prompts and their foils: those given, or the nearest findings for a method that contrasts."""
    texts = model.encode_text(prompts)
    foils = [settings.against] * len(prompts)
    options = method.complete(settings.options)
    if method.contrast and not settings.against:
        foils = _nearest_findings(prompts, texts, int(options["nearest"] or 0), model)
    if not any(foils):
        return _answerable(ScoreDirections(prompts, texts, foils))
    embedded = torch.stack([torch.stack([_embed_foil(foil, model) for foil in given]).mean(dim=0) for given in foils])
    return _answerable(
        ScoreDirections(prompts, texts, foils, embedded, float(options["gamma"] or 0) if method.contrast else 1.0)
    )


def _answerable(question: ScoreDirections) -> ScoreDirections:
    """Raise `EcgcamError` if a score would be 0, or no number, whatever the recording: no map could explain it."""
    for prompt, foils, direction in zip(question.prompts, question.foils, question.directions, strict=True):
        if not bool(direction.isfinite().all()):
            raise EcgcamError(f"`texts` {prompt!r}: its embedding is not finite; check the checkpoint or the table")
        if not bool(direction.any()):
            why = "`against` subtracts it" if foils else "its embedding is zero; check the checkpoint or the table"
            raise EcgcamError(f"`texts` {prompt!r}: its score is 0 whatever the recording, {why}")
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
                f"`texts` {prompt!r}: {model.name} has no embeddings of other findings of the vocabulary to compare it with; "
                "give foils with `against`"
            )
        nearness = torch.nn.functional.cosine_similarity(model.encode_text(others), text[None], dim=1)
        ranked = nearness.argsort(descending=True)[:count]
        chosen.append(tuple(others[i] for i in ranked))
    return chosen
