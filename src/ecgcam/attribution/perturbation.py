"""What the score loses when a part of the signal is filled: maps (L, T), signed, in units of the score."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ecgcam.attribution.problem import Problem
from ecgcam.errors import EcgcamError


def occlusion(problem: Problem, window_ms: float = 200.0, stride_ms: float = 100.0) -> Tensor:
    """Mean over the windows that cover a sample of score(x) - score(x, window of one lead filled): Zeiler and Fergus 2014.

    Windows begin every `stride_ms`; the last one is cut at the window's end. Padding is never filled and gets no value.
    """
    leads, samples = problem.x.shape
    width, stride = _samples(window_ms, "window_ms", problem), _samples(stride_ms, "stride_ms", problem)
    if stride > width:
        raise EcgcamError(
            f"`options` stride_ms={stride_ms:g}: longer than window_ms={window_ms:g}, so some samples would never "
            "be occluded; give a shorter stride_ms"
        )
    begin = torch.arange(-(-(samples - width) // stride) + 1) * stride
    end = (begin + width).clamp(max=samples)
    valid = problem.valid.cpu()
    before = torch.nn.functional.pad(valid.cumsum(dim=1), (1, 0))
    real = (before[:, end] > before[:, begin])[problem.rows]
    row, window = torch.tensor(problem.rows)[real.nonzero()[:, 0]], real.nonzero()[:, 1]
    begin, end, time = begin[window], end[window], torch.arange(samples)

    def hidden(numbers: Tensor) -> Tensor:
        return (time >= begin[numbers, None]) & (time < end[numbers, None]) & valid[row[numbers]]

    drop = _losses(problem, "occluded", row, hidden)
    # The sum over windows of (drop, 1) at each sample: steps up where a window begins, down where it ends.
    steps = torch.zeros(2, leads, samples + 1, dtype=torch.float64)
    for step, height in zip(steps, (drop.cpu().double(), torch.ones(len(row), dtype=torch.float64)), strict=True):
        step.index_put_((row, begin), height, accumulate=True).index_put_((row, end), -height, accumulate=True)
    total, count = steps.cumsum(dim=-1)[..., :samples]
    return torch.where(valid, total / count.clamp(min=1), 0.0).to(problem.x)


def wave_occlusion(problem: Problem, by: str = "segment") -> Tensor:
    """score(x) - score(x with one part of the heartbeat filled in one lead), at each sample of the part: Zeiler and Fergus 2014.

    Where the parts lie is the record's business: `Problem.parts`. What is in no part has no value, nor has padding.
    """
    if problem.parts is None:
        raise ValueError("the places of the heartbeats are missing")
    label = torch.from_numpy(problem.parts(by))
    valid = problem.valid.cpu()
    pairs = [(row, part) for row in problem.rows for part in sorted({*label[valid[row]].tolist()} - {-1})]
    values = torch.zeros_like(problem.x)
    if not pairs:
        problem.warnings.append("no heartbeat is found in this window, so nothing was hidden; occlusion needs none")
        return values
    row, part = torch.tensor(pairs).T
    hidden = (label == part[:, None]) & valid[row]
    drop = _losses(problem, f"without a {by}", row, lambda numbers: hidden[numbers])
    return values.index_add(0, row.to(values.device), drop[:, None] * hidden.to(values))


def lead_occlusion(problem: Problem) -> Tensor:
    """score(x) - score(x with one lead filled) at each of its valid samples: Zeiler and Fergus 2014 with a lead for a window."""
    rows = torch.tensor(problem.rows)
    drop = _losses(problem, "without a lead", rows, lambda numbers: torch.ones(len(numbers), 1, dtype=torch.bool))
    values = torch.zeros_like(problem.x)
    values[rows] = drop[:, None] * problem.valid[rows]
    return values


def _losses(problem: Problem, name: str, row: Tensor, hidden: Callable[[Tensor], Tensor]) -> Tensor:
    """Return score(x) - score(x with one lead filled where it is hidden), (M,).

    Parameters
    ----------
    name : str
        Of what is hidden, within the method.
    row : Tensor, (M,)
        The lead of each signal.
    hidden : callable
        Numbers (m,) of signals to the samples of their leads that are filled, bool (m, T).
    """

    def without(numbers: Tensor) -> Tensor:
        which, signals = row[numbers], problem.x.repeat(len(numbers), 1, 1)
        filled = torch.where(hidden(numbers).to(signals.device), problem.fill[which], problem.x[which])
        signals[torch.arange(len(numbers)), which] = filled
        return signals

    return problem.scores(problem.x[None]) - problem.scores_of(name, len(row), without)


def _samples(ms: float, option: str, problem: Problem) -> int:
    """Milliseconds to whole samples, at least one."""
    length = problem.x.shape[1] / problem.fs * 1000
    if not 0 < ms <= length:
        raise EcgcamError(f"`options` {option}={ms:g}: must be more than 0 and at most the window's {length:g} ms")
    return max(1, round(ms * problem.fs / 1000))
