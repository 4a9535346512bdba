"""One window and one prompt, for methods that run the model themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ecgcam.attribution.hooks import input_gradient
from ecgcam.protocol.model import EcgTextModel

# Prompts whose maps are made together, and held until each is asked for.
_PROMPTS_PER_PASS = 32


def no_progress(_done: int, _of: int) -> None:
    """Ignore the progress of a method."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What a method of the families ``signal`` and ``rerun`` is handed. Everything is in model space and the model's lead order.

    Attributes
    ----------
    model : EcgTextModel
        The model; methods leave it as it was.
    text : Tensor, (D,)
        The prompt's embedding.
    x, fill : Tensor, (L, T)
        The unmasked window, and what fills a masked lead.
    valid : bool Tensor, (L, T)
        Which samples are real.
    scale : Tensor, (L, 1)
        Model units per millivolt.
    rows : list of int
        The leads that the record has.
    fs : float
        Samples per second.
    layer : str, optional
        The target layer; None for the model's.
    seed, batch : int
        Random seed; signals at a time.
    report : dict
        Facts that the method stores next to its map, as JSON.
    warnings : list of str
        What its reader should know.
    shared : dict
        What `cached` keeps: the prompts of one window have it in common.
    texts, number : Tensor, (P, D), int
        The embeddings of all prompts that are asked of the window, and which of them `text` is; None: it is the only one.
    parts : callable, optional
        Takes ``segment``, ``wave`` or ``beat`` and gives the part of the heartbeat that each sample is in, (T,), -1 in none.
    on_progress : callable
        Takes how much of how much is done, now and then, while a method runs the model many times.
    """

    model: EcgTextModel
    text: Tensor
    x: Tensor
    fill: Tensor
    valid: Tensor
    scale: Tensor
    rows: list[int]
    fs: float
    layer: str | None = None
    seed: int = 0
    batch: int = 64
    report: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    shared: dict[str, Tensor] = field(default_factory=dict)
    parts: Callable[[str], npt.NDArray[np.int64]] | None = None
    on_progress: Callable[[int, int], object] = no_progress
    texts: Tensor | None = None
    number: int = 0

    def spread(self) -> Tensor:
        """Return each lead's robust standard deviation, 1.4826 x its median absolute deviation over valid samples, (L, 1).

        A lead without valid samples has 0. Unlike max - min it is not that of the QRS or of the wander.
        """
        rows = [row[real] for row, real in zip(self.x, self.valid, strict=True)]
        spread = [1.4826 * (row - row.median()).abs().median() if len(row) else row.new_zeros(()) for row in rows]
        return torch.stack(spread)[:, None]

    @property
    def backward_batch(self) -> int:
        """How many signals at a time are followed back: on a processor more are no faster, and mini's graph of 64 is 500 MB."""
        return min(self.batch, 24) if self.x.device.type == "cpu" else self.batch

    def chunks(self, count: int, most: int | None = None) -> Iterator[Tensor]:
        """Yield the numbers from 0 to `count` - 1, `most` (by default `batch`) at a time, and report how many are done."""
        for part in torch.split(torch.arange(count), most or self.batch):
            yield part
            self.on_progress(int(part[-1]) + 1, count)

    def cached(self, name: str, compute: Callable[[], Tensor]) -> Tensor:
        """Return what `compute` gave for the window's first prompt; for what no prompt changes."""
        if name not in self.shared:
            self.shared[name] = compute()
        return self.shared[name]

    def per_prompt(self, name: str, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Return this prompt's part of `compute` of embeddings (P, D), (P, ...); it runs once for `_PROMPTS_PER_PASS` prompts."""
        if self.texts is None:
            return compute(self.text[None])[0]
        begin = self.number - self.number % _PROMPTS_PER_PASS
        some = self.texts[begin : begin + _PROMPTS_PER_PASS]
        return self.cached(f"{name} from prompt {begin}", lambda: compute(some))[self.number - begin]

    def scores_of(self, name: str, count: int, make: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the scores (M,) of M signals that are made a chunk at a time, and run once for all prompts.

        Parameters
        ----------
        name : str
            Of these signals within the method. The prompt must have no part in them: their embeddings are remembered.
        count : int
            M.
        make : callable
            Numbers (m,) of signals, on the CPU, to the signals (m, L, T).
        """

        def embeddings() -> Tensor:
            with self.model.asking(self.text if self.texts is None else self.texts), torch.no_grad():
                return torch.cat([self.model.encode_signal(make(part)) for part in self.chunks(count)])

        return self.cached(name, embeddings) @ self.text

    def scores(self, signals: Tensor) -> Tensor:
        """Return the score of each signal, (M, L, T) -> (M,), in chunks and without a graph."""
        with self.model.asking(self.text), torch.no_grad():
            parts = [self.model.encode_signal(part) @ self.text for part in torch.split(signals, self.batch)]
        return torch.cat(parts)

    def report_sum(self, values: Tensor, wanted: Tensor, closer: str) -> None:
        """Compare the sum of a map with the difference of scores that it explains; warn where it misses by 5 %.

        `closer` names what brings them closer, for the warning.
        """
        total, difference, mass = float(values.double().sum()), float(wanted), float(values.double().abs().sum())
        if abs(total - difference) > max(0.05 * abs(difference), 1e-3 * mass):
            self.warnings.append(
                f"the map sums to {total:.3g}, and the difference of scores that it explains is {difference:.3g}; {closer}"
            )
        self.report.update(
            sum=total,
            score_difference=difference,
            completeness_error=abs(total - difference),
            sum_in_padding=float(values[~self.valid].double().sum()),
        )

    def gradients(self, signals: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (M,) and d score / d signal (M, L, T), in chunks."""
        scores, gradients = [], []
        for part in torch.split(signals, self.batch):
            _, score, gradient = input_gradient(self.model, part, self.text[None])
            scores.append(score[:, 0])
            gradients.append(gradient[0])
        return torch.cat(scores), torch.cat(gradients)
