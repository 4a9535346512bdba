"""The straight line of step and offset on which the entries of an axis lie, from how much each sample moves them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Entries at one end that may be tokens rather than cells.
MOST_PREFIX = 8


@dataclass(frozen=True)
class Line:
    """Positions of probed entries of an axis on a line, and how many leading and trailing entries do not lie on it."""

    step: float
    offset: float
    width: float
    deviation: float
    local: bool
    inherited: bool = False
    prefix: int = 0
    suffix: int = 0
    # Of an axis that holds the entries of every lead one lead after the other: the leads, and the entries of each.
    leads: int = 0
    each: int = 0


def fitted_line(numbers: npt.NDArray[np.int_], responses: Floats, count: int) -> Line | None:
    """Return the line on which entries lie, of how much each sample moves them (P, T); None if they do not follow time."""
    samples = responses.shape[1]
    if not (np.isfinite(responses).all() and (responses.max(axis=1) > 0).all()) or len(numbers) < 2:
        return None
    spans = [np.flatnonzero(response) for response in responses]
    first, last = (np.array([span[end] for span in spans]) for end in (0, -1))
    local = bool(((last - first) < 0.7 * samples).all() and np.median(last - first) < samples / 2)
    if local:
        # A stretch that begins or ends with the window may be cut off there.
        edges = [(numbers[inside], end[inside]) for end, inside in ((first, first > 0), (last, last < samples - 1))]
        if any(len(inside) < 2 for inside, _ in edges):
            return None
        lines = [np.polyfit(inside, end, 1) for inside, end in edges]
        deviation = max(
            float(np.abs(np.polyval(line, inside) - end).max())
            for line, (inside, end) in zip(lines, edges, strict=True)
        )
        slope = float(np.mean([line[0] for line in lines]))
        middles = (np.polyval(lines[0], numbers) + np.polyval(lines[1], numbers)) / 2
        width = float(np.median(last - first) + 1)
        # Of what fades until it is 0 the edges scatter; those of cells that were sampled up scatter by a coarser step.
        sharp = all(
            response[span[[0, -1]]].min() > 1e-5 * response.max()
            for response, span in zip(responses, spans, strict=True)
        )
        local = deviation <= (max(1.0, 0.15 * width) if sharp else 1.0)
    if not local:
        common = np.median(responses, axis=0)
        peaks = [_peak(np.maximum(response - 1.5 * common, 0.0), samples / count) for response in responses]
        if any(peak is None for peak in peaks):
            return None
        middles, widths = np.array([peak for peak in peaks if peak is not None]).T
        width = float(np.median(widths))
        slope, intercept = np.polyfit(numbers, middles, 1)
        deviation = float(np.abs(middles - (slope * numbers + intercept)).max())
    if (
        slope <= 0
        or deviation > max(1.0, 0.2 * slope, 0.15 * width if local else 0.0)
        or slope * (numbers[-1] - numbers[0]) < samples / 4
    ):
        return None
    slack = max(1.0, 2 * deviation) / (count / 2)
    step = next(
        (guess for guess in (float(round(slope)), samples / count) if abs(slope - guess) <= slack), float(slope)
    )
    offset = float(np.median(middles - step * numbers))
    if local:
        # A residual connection around causal convolutions looks at one end of its stretch above all.
        whole = (first > 0) & (last < samples - 1)
        centres = [_peak(response, step, 0.0, 0.5) for response in responses[whole]] if whole.any() else []
        mass = [float(response @ np.arange(samples) / response.sum()) for response in responses[whole]]
        lean = float(np.median(np.array(mass) - middles[whole])) if mass else 0.0
        if abs(lean) > max(0.1 * width, step) and all(centres):
            offset += float(np.median([peak[0] for peak in centres if peak] - middles[whole]))
    return Line(step, round(offset * 2) / 2 if local else round(offset, 1), width, deviation, local)


def without_ends(line: Line, response: Callable[[int], Floats], count: int) -> Line:
    """Return a line with the number of leading and trailing entries that do not lie on it, such as a class token."""

    def off(number: int) -> bool:
        moved, centre = response(number), line.offset + line.step * number
        if line.local:
            span = np.flatnonzero(moved)
            slack = line.width / 2 + line.step
            return not len(span) or bool(centre < span[0] - slack or centre > span[-1] + slack)
        peak = _peak(moved, line.step, 0.0)
        outside = centre < -line.step / 4 or centre > len(moved) - 1 + line.step / 4
        near = min(max(centre, 0.0), float(len(moved)))
        return outside and (peak is None or abs(peak[0] - near) > 2 * max(line.step, line.width))

    most = min(MOST_PREFIX, count // 8) + 1
    prefix = next((number for number in range(most) if not off(number)), 0)
    suffix = next((number for number in range(most) if not off(count - 1 - number)), 0)
    return replace(line, prefix=prefix, suffix=suffix)


def _peak(response: Floats, scale: float, least: float = 0.3, level: float = 0.2) -> tuple[float, float] | None:
    """Return the centre and the width of the highest peak of a response (T,); None if it holds less than a share `least`.

    It ends where the response, smoothed over `scale` samples, falls below a share `level` of its top.
    """
    if not response.any():
        return None
    width = max(1, round(scale)) | 1
    smooth = np.convolve(response, np.ones(width) / width, "same")
    top = int(smooth.argmax())
    below = smooth < level * smooth[top]
    left = top - int(np.argmax(below[top::-1])) if below[: top + 1].any() else 0
    right = top + int(np.argmax(below[top:])) if below[top:].any() else len(response) - 1
    share = response[left : right + 1]
    if share.sum() < least * response.sum():
        return None
    return float(share @ np.arange(left, right + 1) / share.sum()), float(right - left + 1)
