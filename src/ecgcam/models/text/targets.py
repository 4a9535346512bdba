"""What stands in for a text: an output of a classifier, or another recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ecgcam.errors import EcgcamError


class TargetEncoder:
    """Outputs of a classifier as directions: the score is the output itself, a logit and never a probability.

    Parameters
    ----------
    width : int
        How many outputs there are.
    labels : sequence of str
        Their names, in order, where they are known.
    model : str
        The model's name, for errors.
    """

    def __init__(self, width: int, labels: Sequence[str], model: str) -> None:
        self.width, self.model = width, model
        self._index = {label.casefold(): i for i, label in enumerate(labels)}
        self._labels = list(labels)

    def _number(self, target: str) -> int | None:
        known = self._index.get(target.casefold())
        if known is not None:
            return known
        return int(target) if target.isdecimal() and int(target) < self.width else None

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return one-hot rows (P, outputs).

        Raises
        ------
        EcgcamError
            If there is no such output.
        """
        rows = torch.zeros(len(texts), self.width)
        for row, text in zip(rows, texts, strict=True):
            number = self._number(text)
            if number is None:
                names = f", or a label such as {', '.join(self._labels[:3])}" if self._labels else ""
                raise EcgcamError(f"--target {text}: {self.model} has the outputs 0 to {self.width - 1}{names}")
            row[number] = 1.0
        return rows

    def has(self, text: str) -> bool:
        """Return whether there is such an output."""
        return self._number(text) is not None

    def holds(self, text: str) -> bool:
        """Return the same."""
        return self.has(text)

    def warnings(self, text: str) -> list[str]:
        """Say so where an output has no name here."""
        if self._labels or not text.isdecimal():
            return []
        return [
            f"output {text} of {self.model} has no name in its model file; look it up where the weights are published"
        ]


class LikenessEncoder:
    """Other recordings' embeddings as texts: the score is the similarity of two ECGs."""

    def __init__(self, embedded: Mapping[str, Tensor]) -> None:
        self._embedded = dict(embedded)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return (P, D)."""
        for text in texts:
            if text not in self._embedded:
                raise EcgcamError(
                    f"{text!r}: with --like, only recordings are compared; there is no text to hold against them"
                )
        return torch.stack([self._embedded[text] for text in texts])

    def has(self, text: str) -> bool:
        """Return whether it is one of the recordings."""
        return text in self._embedded

    def holds(self, text: str) -> bool:
        """Return the same."""
        return self.has(text)

    def warnings(self, text: str) -> list[str]:  # noqa: ARG002
        """Return nothing."""
        return []
