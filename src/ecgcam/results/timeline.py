"""A long recording as a whole: the score of every window over time, and the windows' maps joined. NumPy only."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.files import atomic, load_arrays, one_line, parse_json, save_arrays
from ecgcam.results.explanation import Explanation, Floats

FORMAT = "ecgcam-timeline/1"
TIMELINE = "timeline.npz"
# At most so many moments of a recording: two minutes at 500 Hz sample for sample, a day in steps of 1.3 s.
MOMENTS = 65_536
STRONGEST = 3
# So many windows are kept to choose the strongest from, each the best of its own stretch of the recording.
_KEPT = 64
_MOST_WARNINGS = 4
_OF_WINDOWS = frozenset({
    "window", "warnings", "format", "score_parts", "report", "derived_leads", "absent_leads", "verdict", "check",
    "criteria", "reasons",
})  # fmt: skip


def start_of(explanation: Explanation) -> float:
    """Return where a window begins in the recording, s: at its first sample that is not padding."""
    window = explanation.meta.get("window")
    known = isinstance(window, dict) and isinstance(window.get("start"), int | float)
    return float(window["start"]) if isinstance(window, dict) and known else float(explanation.time[0])


@dataclass(frozen=True, eq=False)
class Timeline:
    """One recording, one prompt, W windows.

    L leads are the recording's, in canonical order; T moments follow one another in steps of a whole number of samples, the
    fewest that keep T at 65,536. No array holds NaN.

    Attributes
    ----------
    time : float64, (T,)
        The middle of each moment, s from the start of the recording.
    step : float
        How long a moment is, s.
    map, evidence : float32, (L, T)
        The windows' maps as they are, and with unit mass times the lead's positive gain (similarity per second), which compares
        between windows and leads; the mean over a moment's valid samples, weighted over the windows that hold it. 0 where
        `valid` is false.
    valid : bool, (L, T)
        Whether some window has a valid sample there.
    leads : tuple of str
        Row names.
    window_start : float64, (W,)
        Where the windows begin, s; ascending.
    window_seconds : float
        How long they are.
    score, empty_score, lead_scores : float32, (W,), (W,), (W, L)
        As in an explanation.
    strongest : int64, (K,)
        Numbers of the K <= 3 windows that score highest and do not overlap, best first; all but the first score higher than
        with every lead filled.
    meta : dict
        The settings that the windows share, how long the recording is, and which windows could not be explained.
    """

    time: npt.NDArray[np.float64]
    step: float
    map: Floats
    evidence: Floats
    valid: npt.NDArray[np.bool_]
    leads: tuple[str, ...]
    window_start: npt.NDArray[np.float64]
    window_seconds: float
    score: Floats
    empty_score: Floats
    lead_scores: Floats
    strongest: npt.NDArray[np.int64]
    meta: dict[str, Any]

    def save(self, folder: Path) -> Path:
        """Write ``timeline.npz`` into `folder` (made if needed), whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {one.name: np.asarray(getattr(self, one.name)) for one in fields(self) if one.name != "meta"}
        arrays["meta"] = np.asarray(json.dumps(self.meta, ensure_ascii=False, sort_keys=True))
        with atomic(folder / TIMELINE) as path:
            save_arrays(path, arrays)
        return folder / TIMELINE

    @classmethod
    def load(cls, path: str | Path) -> Timeline:
        """Read a ``timeline.npz``, or the one in a folder.

        Raises
        ------
        EcgcamError
            If the file is missing, or is not a timeline.
        """
        path = Path(path)
        path = path / TIMELINE if path.is_dir() else path
        arrays = load_arrays(path, "a timeline of ecgcam")
        names = [one.name for one in fields(cls)]
        if not isinstance(arrays, dict) or (missing := [name for name in names if name not in arrays]):
            raise EcgcamError(
                f"{path}: not a timeline of ecgcam"
                + (f" (no {', '.join(missing)})" if arrays else "")
                + "; explain the recording again"
            )
        known: dict[str, Any] = {name: arrays[name] for name in names}
        try:
            meta = parse_json(str(arrays["meta"]))
            known |= {name: float(arrays[name][()]) for name in ("step", "window_seconds")}
        except (ValueError, TypeError) as error:
            raise EcgcamError(
                f"{path}: not a timeline of ecgcam ({one_line(error)}); explain the recording again"
            ) from error
        if not isinstance(meta, dict) or meta.get("format") != FORMAT:
            raise EcgcamError(
                f"{path}: not a timeline of ecgcam in the format {FORMAT!r}, which this version "
                "reads; explain the recording again"
            )
        timeline = cls(**known | {"leads": tuple(map(str, np.atleast_1d(arrays["leads"]))), "meta": meta})
        timeline._check(path)
        return timeline

    def _check(self, path: Path) -> None:
        """Raise `EcgcamError` unless the arrays fit together, and hold finite numbers."""
        moments, leads, windows = self.time.shape[:1], len(self.leads), self.window_start.shape[:1]
        shapes = {
            "time": moments, "map": (leads, *moments), "evidence": (leads, *moments), "valid": (leads, *moments),
            "window_start": windows, "score": windows, "empty_score": windows, "lead_scores": (*windows, leads),
        }  # fmt: skip
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape or not array.size or array.dtype.kind not in "fb" or not np.isfinite(array).all():
                raise EcgcamError(
                    f"{path}: not a timeline of ecgcam ({name} is {array.dtype} {array.shape}, or not finite); explain it again"
                )
        strongest = self.strongest
        if strongest.ndim != 1 or strongest.dtype.kind not in "iu" or not np.isin(strongest, range(*windows)).all():
            raise EcgcamError(
                f"{path}: not a timeline of ecgcam (strongest names windows that it does not have); explain it again"
            )


@dataclass(eq=False)
class Joining:
    """Joins the windows of a recording as they come, in any order; memory does not grow with their number.

    Where windows overlap, each counts by its distance from its nearer end, at the ends a network sees least of what is around;
    the weights at a moment sum to 1. Excerpts of the strongest windows are kept for a picture.
    """

    seconds: float = 0.0
    _maps: npt.NDArray[np.float64] | None = None  # (2, L, T), weighted sums
    _weights: npt.NDArray[np.float64] | None = None  # (L, T)
    _per: int = 1
    _leads: tuple[str, ...] = ()
    _fs: float = 1.0
    _samples: int = 0
    _meta: dict[str, Any] = field(default_factory=dict)
    _rows: list[tuple[float, float, float, Floats]] = field(default_factory=list)
    _best: dict[int, tuple[float, Explanation]] = field(default_factory=dict)  # by stretch of the recording
    _warnings: Counter[str] = field(default_factory=Counter)

    def add(self, window: Explanation) -> None:
        """Take one more window."""
        if self._maps is None or self._weights is None:
            self._begin(window)
            self.add(window)
            return
        if window.leads != self._leads or window.fs != self._fs:
            raise EcgcamError(
                f"{window.meta['record']}: a window has the leads {', '.join(window.leads)} at {window.fs:g} Hz, an earlier one "
                f"{', '.join(self._leads)} at {self._fs:g} Hz; explain the recording again with `force`"
            )
        start, length = start_of(window), window.map.shape[1]
        first = round(float(window.time[0]) * self._fs)  # before the recording where padding comes first
        inside = slice(max(0, -first), max(0, min(length, round(self.seconds * self._fs) - first)))
        moment = (first + np.arange(length)[inside]) // self._per
        at, begins = np.unique(moment, return_index=True)
        middle = inside.start + (begins + np.append(begins[1:], len(moment)) - 1) / 2
        weight = np.minimum(middle + 1, length - middle)
        known = window.valid[:, inside]
        for sums, values in ((self._maps[0], window.map), (self._maps[1], window.scaled_map("evidence"))):
            sums[:, at] += weight * np.add.reduceat(np.where(known, values[:, inside], 0.0), begins, axis=1)
        self._weights[:, at] += weight * np.add.reduceat(known.astype(np.float64), begins, axis=1)
        self._rows.append((start, window.score, window.empty_score, window.lead_scores))
        self._warnings.update(window.meta["warnings"])
        stretch = int(start * self._fs // length)
        if stretch not in self._best or window.score > self._best[stretch][0]:
            self._best[stretch] = window.score, _excerpt(window)
            if len(self._best) > _KEPT:
                del self._best[min(self._best, key=lambda key: self._best[key][0])]

    def finish(self, missing: list[str]) -> tuple[Timeline, list[Explanation]]:
        """Return the timeline, and of each of its strongest windows the lead with the largest gain.

        Parameters
        ----------
        missing : list of str
            Why windows could not be explained.

        Raises
        ------
        EcgcamError
            If there was no window.
        """
        if self._maps is None or self._weights is None:
            raise EcgcamError("timeline: no window could be explained; choose another recording")
        known = self._weights > 0
        map_, evidence = np.divide(self._maps, self._weights, out=np.zeros_like(self._maps), where=known[None])
        rows = sorted(self._rows, key=lambda row: row[0])
        starts = np.array([row[0] for row in rows])
        chosen = self._strongest()
        numbers = [int(np.searchsorted(starts, start_of(one))) for one in chosen]
        timeline = Timeline(
            time=np.asarray((np.arange(known.shape[1]) * self._per + (self._per - 1) / 2) / self._fs, np.float64),
            step=self._per / self._fs,
            map=map_.astype(np.float32),
            evidence=evidence.astype(np.float32),
            valid=known,
            leads=self._leads,
            window_start=starts,
            window_seconds=self._samples / self._fs,
            score=np.array([row[1] for row in rows], np.float32),
            empty_score=np.array([row[2] for row in rows], np.float32),
            lead_scores=np.stack([row[3] for row in rows]),
            strongest=np.array(numbers, np.int64),
            meta=self._meta | {"seconds": self.seconds, "missing": missing, "warnings": self._notes()},
        )
        return timeline, chosen

    def _begin(self, window: Explanation) -> None:
        self.seconds = float(window.meta["window"]["record_seconds"])
        self._leads, self._fs, self._samples = window.leads, window.fs, window.map.shape[1]
        total = max(1, round(self.seconds * self._fs))
        self._per = -(-total // MOMENTS)
        moments = -(-total // self._per)
        self._maps, self._weights = np.zeros((2, len(self._leads), moments)), np.zeros((len(self._leads), moments))
        self._meta = {key: value for key, value in window.meta.items() if key not in _OF_WINDOWS} | {"format": FORMAT}

    def _notes(self) -> list[str]:
        """Return the commonest warnings of the windows, with the number of windows where not all have it."""
        windows = len(self._rows)
        commonest = sorted(self._warnings.items(), key=lambda item: (-item[1], item[0]))[:_MOST_WARNINGS]
        said = [
            warning if count == windows else f"{count} of {windows} windows: {warning}" for warning, count in commonest
        ]
        more = len(self._warnings) - len(said)
        return [*said, f"{more} more warnings of single windows are in their summaries"] if more else said

    def _strongest(self) -> list[Explanation]:
        chosen: list[Explanation] = []
        apart = self._samples / self._fs - 1e-6
        for _, window in sorted(self._best.values(), key=lambda pair: (-pair[0], float(pair[1].time[0]))):
            if chosen and window.score <= window.empty_score:
                break
            if all(abs(float(window.time[0] - other.time[0])) >= apart for other in chosen):
                chosen.append(window)
        return chosen[:STRONGEST]


def _excerpt(window: Explanation) -> Explanation:
    """Return the lead with the largest gain alone, without gradients."""
    row = slice(window.ranking[0], window.ranking[0] + 1)
    nothing = np.zeros((1, 0), np.float32)
    return replace(
        window, map=window.map[row].copy(), map_cells=nothing, cell_time=np.zeros(0), gradient=nothing,
        gradient_smoothed=nothing, signal=window.signal[row].copy(), valid=window.valid[row].copy(),
        leads=window.leads[row], lead_scores=window.lead_scores[row].copy(), mask_shift=window.mask_shift[row].copy(),
    )  # fmt: skip
