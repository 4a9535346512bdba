"""Prompts that are not texts: an output of a classifier, or another recording."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ecgcam.errors import EcgcamError

_INTERVAL = re.compile(r"(\d+\.?\d*|\.\d+)-(\d+\.?\d*|\.\d+)", re.ASCII)


class TargetEncoder:
    """Outputs of a classifier as directions: the score is the output itself, a logit and never a probability.

    Where the outputs run along time (one logit for each moment), the score is their sum: over the whole window, or over the
    moments that a target names, ``"QRS@1.2-1.4,2.1-2.3"``, seconds from the window's first sample.

    Parameters
    ----------
    width : int
        How many outputs there are.
    labels : sequence of str
        Their names, in order, where they are known.
    model : str
        The model's name, for errors.
    steps : int
        How many moments each output has, evenly over the window; 1 for an output of the whole window. The embedding of a
        signal holds its outputs (width, steps), row by row.
    seconds : float
        Of the window.
    where : str
        Where the names of outputs are declared, for notes.
    embedding : bool
        Whether the outputs are the dimensions of an embedding that signals share with texts.
    """

    def __init__(
        self,
        width: int,
        labels: Sequence[str],
        model: str,
        steps: int = 1,
        seconds: float = 0.0,
        where: str = "its model file; look it up where the weights are published",
        embedding: bool = False,
    ) -> None:
        self.width, self.model, self.steps, self.seconds, self.where = width, model, steps, seconds, where
        self._embedding = embedding
        self._index = {label.casefold(): i for i, label in enumerate(labels)}
        self._labels = list(labels)

    def _number(self, output: str) -> int | None:
        known = self._index.get(output.casefold())
        if known is not None:
            return known
        return int(output) if output.isdecimal() and int(output) < self.width else None

    def _split(self, target: str) -> tuple[str, str | None]:
        """Return which output, and which moments of it, if it names any. A label may hold an @ itself."""
        output, _, moments = target.rpartition("@")
        return (target, None) if self._number(target) is not None or not output else (output, moments)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return rows of zeros and ones (P, width x steps): the outputs that are summed.

        Raises
        ------
        EcgcamError
            If the output or the moments do not exist.
        """
        rows = torch.zeros(len(texts), self.width, self.steps)
        for row, text in zip(rows, texts, strict=True):
            output, moments = self._split(text)
            number = self._number(output)
            if number is None:
                names = f", or a label such as {', '.join(self._labels[:3])}" if self._labels else ""
                raise EcgcamError(
                    f"`targets` {text}: {self.model} has the outputs 0 to {self.width - 1}{names}; choose one of them"
                )
            row[number] = 1.0 if moments is None else self._chosen(text, moments)
        return rows.flatten(1)

    def _chosen(self, target: str, moments: str) -> Tensor:
        """Return which of the steps (steps,) have their middle in one of the intervals."""
        if self.steps == 1:
            raise EcgcamError(
                f"`targets` {target}: an output of {self.model} covers the whole window; leave @{moments} out"
            )
        middles = (torch.arange(self.steps, dtype=torch.float64) + 0.5) * self.seconds / self.steps
        chosen = torch.zeros(self.steps, dtype=torch.bool)
        for begin, end in _intervals(target, moments):
            within = (middles >= begin) & (middles < end)
            if not within.any():
                raise EcgcamError(
                    f"`targets` {target}: no moment of {self.model} lies in {begin:g}-{end:g}; its {self.steps} outputs stand "
                    f"{self.seconds / self.steps:g} s apart over the window, which is from 0 to {self.seconds:g} s"
                )
            chosen |= within
        return chosen.float()

    def has(self, text: str) -> bool:
        """Return whether there is such an output."""
        return self._number(self._split(text)[0]) is not None

    def has_exact(self, text: str) -> bool:
        """Return the same."""
        return self.has(text)

    def warnings(self, text: str) -> list[str]:
        """Note where an output has no name here."""
        output, _ = self._split(text)
        if self._labels or not output.isdecimal():
            return []
        if self._embedding:
            return [
                f"output {output} of {self.model} is a dimension of its embedding, not a finding; for a finding, use `texts`"
            ]
        return [f"output {output} of {self.model} has no name in {self.where}"]


def _intervals(target: str, moments: str) -> list[tuple[float, float]]:
    """Read ``1.2-1.4,2.1-2.3``: where each begins and ends, s."""
    read = []
    for part in moments.split(","):
        interval = _INTERVAL.fullmatch(part.strip())
        if interval is None or float(interval[1]) >= float(interval[2]):
            raise EcgcamError(
                f"`targets` {target}: {part.strip()!r} is not an interval; write START-END in seconds of the window, several "
                "separated by commas: 1.2-1.4,2.1-2.3"
            )
        read.append((float(interval[1]), float(interval[2])))
    return read


class LikenessEncoder:
    """Other recordings' embeddings as texts: the score is the similarity of two ECGs."""

    def __init__(self, embedded: Mapping[str, Tensor]) -> None:
        self._embedded = dict(embedded)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return (P, D)."""
        for text in texts:
            if text not in self._embedded:
                raise EcgcamError(f"{text!r}: `like` compares recordings only; leave the text out")
        return torch.stack([self._embedded[text] for text in texts])

    def has(self, text: str) -> bool:
        """Return whether it is one of the recordings."""
        return text in self._embedded

    def has_exact(self, text: str) -> bool:
        """Return the same."""
        return self.has(text)

    def warnings(self, text: str) -> list[str]:  # noqa: ARG002
        """Return nothing."""
        return []
