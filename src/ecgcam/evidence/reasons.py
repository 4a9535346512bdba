"""Does a model use the evidence of a cardiologist? No torch.

For each criterion of a finding (`ecgcam.records.criteria`): the share of the model's evidence that lies on its waves and leads,
against chance and against the ECG's slope, and how far the score falls where these waves become the isoelectric line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ecgcam.evidence.observations import observation_score
from ecgcam.records.criteria import Criterion, CriterionResult
from ecgcam.records.median_beats import isoelectric_level
from ecgcam.records.waves import SEGMENTS, Waves

Floats = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Score = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float64]]

DRAWS = 16
DEVIATIONS = 2.0  # by how many standard deviations a fall exceeds those of the draws
_RAMP = 0.02  # s
LEAST_FALL = 0.15  # of what the whole recording adds to the score: what the criteria together are worth, at least
# What each wave of a criterion covers. "beat" is everywhere, so evidence on it is not informative.
_COVERS = {"P": ("P",), "PR": ("P", "PR"), "QRS": ("QRS",), "ST": ("ST",), "T": ("T",), "TP": ("TP", "P")}
_NAMES = {
    "P": "the P wave", "PR": "the PR segment", "QRS": "the QRS", "ST": "the ST segment", "T": "the T wave",
    "TP": "the line between T and P",
}  # fmt: skip


class Explained(Protocol):
    """The attributes of an explanation that are needed here; `ecgcam.Explanation` has them."""

    @property
    def map(self) -> npt.NDArray[np.float32]:
        """The map, (L, T)."""

    @property
    def gains(self) -> npt.NDArray[np.float32]:
        """The gain of each lead, (L,)."""

    @property
    def signal(self) -> npt.NDArray[np.float32]:
        """The window in mV, (L, T)."""

    @property
    def valid(self) -> BoolArray:
        """Which samples are real, (L, T)."""

    @property
    def leads(self) -> tuple[str, ...]:
        """Row names."""

    @property
    def fs(self) -> float:
        """Samples per second."""


@dataclass(frozen=True)
class Reason:
    """The evidence of a model on one criterion.

    Attributes
    ----------
    result : CriterionResult
        Whether the criterion holds on the recording.
    text : str
        The criterion in words.
    share, density : float or None
        Share of the evidence on its waves and leads; the same over the share of samples there (1 is chance). None where the
        criterion has no place in the beat, such as a rate, where its waves were not found, or without any evidence.
    slope_density : float or None
        The density that the magnitude of the ECG's slope has there.
    score : float or None
        Score of its positive phrases less that of its negative ones.
    drop, drop_chance, drop_sd : float or None
        How far the score falls where its waves become the isoelectric line; mean and standard deviation of the same for the
        region moved elsewhere in time at random (`shifts_elsewhere`).
    on_it : bool or None
        Whether the evidence is denser there than chance. The fall of a single lead is not a test of it: leads share information.
    """

    result: CriterionResult
    text: str
    share: float | None
    density: float | None
    slope_density: float | None
    score: float | None
    drop: float | None
    drop_chance: float | None
    drop_sd: float | None
    on_it: bool | None

    def to_dict(self) -> dict[str, Any]:
        """Return a row of ``criteria`` in ``summary.json``."""
        kept = ("holds", "value", "unit", "threshold", "leads")
        result = self.result.to_dict()
        numbers = {
            name: None if value is None else round(value, 6)
            for name, value in (
                ("share", self.share), ("density", self.density), ("slope_density", self.slope_density), ("score", self.score),
                ("drop", self.drop), ("drop_chance", self.drop_chance), ("drop_sd", self.drop_sd),
            )
        }  # fmt: skip
        head = {"name": self.result.name, "text": self.text}
        return {**head, **{name: result[name] for name in kept}, **numbers, "on_it": self.on_it}


@dataclass(frozen=True)
class Reasons:
    """The criteria of a finding as a model uses them.

    Attributes
    ----------
    rows : tuple of Reason
        One a criterion.
    together : dict, or None
        ``share``, ``density``, ``drop``, ``drop_chance``, ``drop_sd`` and ``worth`` of all criteria that hold and have a place in
        the beat, taken together. ``worth`` is the fall over what the recording adds to the score.
    right : bool or None
        Whether the model is right for the right reasons: it gives the finding, its evidence is denser than chance on at least
        one of these criteria and on all of them together, and without them the score falls by more than without random
        regions and by 15 % of what the recording adds. A model may use one criterion and one lead of many that repeat one
        another. None where no such criterion holds, or without a score function.
    elsewhere : tuple of (str, str, float, float), or None
        Segment, lead, share and density of the place outside the criteria with the most evidence.
    sentence : str
        The same in words.
    """

    rows: tuple[Reason, ...]
    together: dict[str, float] | None
    right: bool | None
    elsewhere: tuple[str, str, float, float] | None
    sentence: str


def weigh_reasons(
    explained: Explained,
    waves: Waves,
    criteria: Sequence[Criterion],
    results: Mapping[str, CriterionResult],
    score: Score | None = None,
    text_scores: Mapping[str, float] | None = None,
    *,
    empty_score: float | None = None,
    given: bool | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Reasons:
    """Return the evidence of a model on the criteria of a finding.

    Parameters
    ----------
    explained : Explanation
        The map of the finding's prompt on a window with L leads and T samples.
    waves : Waves
        Those of the same window, `ecgcam.records.waves.find_waves`.
    criteria, results
        The finding's criteria, and their results on the recording (`ecgcam.records.criteria.evaluate_criteria`).
    score : callable, optional
        (B, L, T) in mV -> (B,): the score of the prompt. Without it no `drop` is known.
    text_scores : mapping, optional
        The model's score of each phrase of the criteria on this window; missing phrases do not count.
    empty_score : float, optional
        The score of the window with every lead filled. Without it `worth` is not judged.
    given : bool, optional
        Whether the model gives the finding (its verdict is "yes"). A model that does not has no reasons for it.
    draws, seed : int
        Random regions that a fall is compared with, and what they are drawn from.
    """
    evidence = evidence_of(explained.map, explained.gains, explained.valid)
    steepness = _normalised(np.abs(np.gradient(explained.signal.astype(np.float64), axis=1)), explained.valid)
    segments = waves.segments()
    level = isoelectric_level(explained.signal.astype(np.float64), waves)
    whole = None if score is None else float(score(explained.signal[None])[0])
    regions = [criterion_region(one, results[one.name], segments, explained.leads, explained.valid) for one in criteria]
    rows = []
    covered = np.zeros(explained.valid.shape, bool)
    for number, (criterion, region) in enumerate(zip(criteria, regions, strict=True)):
        result = results[criterion.name]
        said = observation_score([criterion], text_scores or {})
        if region is None:
            rows.append(Reason(result, criterion.text, None, None, None, said, None, None, None, None))
            continue
        if result.holds:
            covered |= region
        share, density = _density(evidence, region, explained.valid)
        _, slope = _density(steepness, region, explained.valid)
        fall: tuple[float | None, float | None, float | None] = (None, None, None)
        if score is not None and whole is not None:
            fall = _fall(explained, level, region, score, whole, draws, np.random.default_rng([seed, number]))
        rows.append(
            Reason(result, criterion.text, share, density, slope, said, *fall, None if density is None else density > 1)
        )
    placed = [row for row in rows if row.result.holds and row.density is not None]
    elsewhere = None if evidence is None else _densest(evidence, segments, explained, covered)
    together = (
        _together(explained, level, covered, evidence, score, whole, empty_score, draws, seed) if placed else None
    )
    right = None if together is None or score is None else given is not False and _is_right(placed, together)
    holding = sum(bool(row.result.holds) for row in rows)
    sentence = _sentence(placed, holding, together, right, given, elsewhere, evidence is not None)
    return Reasons(tuple(rows), together, right, elsewhere, sentence)


def _density(values: Floats | None, region: BoolArray, valid: BoolArray) -> tuple[float | None, float | None]:
    """Return the share of `values` in a region, and the same over the share of samples there."""
    if values is None:
        return None, None
    share = float(values[region].sum())
    return share, share / float(region.sum() / valid.sum())


def _together(
    explained: Explained,
    level: Floats,
    covered: BoolArray,
    evidence: Floats | None,
    score: Score | None,
    whole: float | None,
    empty_score: float | None,
    draws: int,
    seed: int,
) -> dict[str, float]:
    """Return share, density, fall and worth of all criteria that hold."""
    share, density = _density(evidence, covered, explained.valid)
    found = {"share": share or 0.0, "density": density or 0.0}
    if score is not None and whole is not None:
        drop, chance, deviation = _fall(
            explained, level, covered, score, whole, draws, np.random.default_rng([seed, len(SEGMENTS), 1])
        )
        found |= {"drop": drop, "drop_chance": chance, "drop_sd": deviation}
        if empty_score is not None and whole > empty_score:
            found["worth"] = drop / (whole - empty_score)
    return found


def _is_right(placed: Sequence[Reason], together: Mapping[str, float]) -> bool:
    some = any(row.on_it for row in placed)
    falls = together["drop"] > max(0.0, together["drop_chance"] + DEVIATIONS * together["drop_sd"])
    return some and together["density"] > 1 and falls and together.get("worth", 1.0) >= LEAST_FALL


def evidence_of(values: npt.NDArray[np.floating], gains: npt.NDArray[np.floating], valid: BoolArray) -> Floats | None:
    """Return a map (L, T) as shares that add up to 1: each lead's map of unit mass times its positive gain.

    None where no lead has both a map and a positive gain.
    """
    positive = np.where(valid, np.maximum(values, 0.0), 0.0).astype(np.float64)
    mass = positive.sum(axis=1, keepdims=True)
    unit = np.divide(positive, mass, out=np.zeros_like(positive), where=mass > 0)
    return _normalised(unit * np.maximum(np.asarray(gains, np.float64), 0.0)[:, None], valid)


def _normalised(values: Floats, valid: BoolArray) -> Floats | None:
    kept = np.where(valid, values, 0.0)
    total = float(kept.sum())
    return kept / total if total > 0 else None


def criterion_region(
    criterion: Criterion,
    result: CriterionResult,
    segments: npt.NDArray[np.int8],
    leads: Sequence[str],
    valid: BoolArray,
) -> BoolArray | None:
    """Return the samples (L, T) in which a criterion shows: its waves, in the leads in which it holds, or in all it looks at.

    None where it has no place in the beat, its waves were not found, or none of its leads is there.
    """
    if criterion.wave not in _COVERS:
        return None
    wanted = result.leads or criterion.leads or tuple(leads)
    rows = np.array([lead in wanted for lead in leads])
    times = np.isin(segments, [SEGMENTS.index(name) for name in _COVERS[criterion.wave]])
    region: BoolArray = rows[:, None] & times[None] & valid
    return region if region.any() else None


def flattened(signal: npt.NDArray[np.float32], region: BoolArray, level: Floats, fs: float) -> npt.NDArray[np.float32]:
    """Return a signal (L, T) with its isoelectric `level` (L, T) in place of a region.

    A line between its two ends would keep a depressed ST unchanged. At each edge the distance from the level
    goes to zero within 20 ms, so that no step is made.
    """
    edited = signal.copy()
    ramp = max(1, round(_RAMP * fs))
    samples = signal.shape[1]
    distance = signal - level
    for row in np.flatnonzero(region.any(axis=1)):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], region[row], [False]]).astype(np.int8)))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            at = np.arange(start, stop)
            left = distance[row, start - 1] * np.maximum(0.0, 1 - (at - start + 1) / ramp) if start else 0.0
            right = distance[row, stop] * np.maximum(0.0, 1 - (stop - at) / ramp) if stop < samples else 0.0
            edited[row, at] = level[row, at] + left + right
    return edited


def _fall(
    explained: Explained,
    level: Floats,
    region: BoolArray,
    score: Score,
    whole: float,
    draws: int,
    rng: np.random.Generator,
) -> tuple[float, float, float]:
    """Return how far the score falls without a region, and mean and deviation of the same for the region moved elsewhere."""
    moved = [
        np.roll(region, int(shift), axis=1) & explained.valid for shift in rng.choice(shifts_elsewhere(region), draws)
    ]
    edited = np.stack([flattened(explained.signal, one, level, explained.fs) for one in (region, *moved)])
    falls = whole - np.asarray(score(edited), np.float64)
    return float(falls[0]), float(falls[1:].mean()), float(falls[1:].std(ddof=1)) if draws > 1 else 0.0


def shifts_elsewhere(region: BoolArray) -> npt.NDArray[np.int64]:
    """Return the shifts in time, samples, that move a region (L, T) elsewhere: the half of all that leave least of it in place.

    Waves come back with every beat. A region that moves by the length of a beat lies on the same waves again, and the score
    falls as without the region itself.
    """
    spectrum = np.fft.rfft(region.astype(np.float64), axis=1)
    in_place = np.rint(np.fft.irfft((np.abs(spectrum) ** 2).sum(axis=0), region.shape[1]))[1:]
    found: npt.NDArray[np.int64] = np.flatnonzero(in_place <= np.median(in_place)) + 1
    return found


def _places(segments: npt.NDArray[np.int8], explained: Explained) -> Iterator[tuple[str, str, BoolArray]]:
    """Yield every segment of every lead that has samples, with where it is (L, T)."""
    for row, lead in enumerate(explained.leads):
        for number, name in enumerate(SEGMENTS):
            place = np.zeros(explained.valid.shape, bool)
            place[row] = (segments == number) & explained.valid[row]
            if place.any():
                yield name, lead, place


def _densest(
    evidence: Floats, segments: npt.NDArray[np.int8], explained: Explained, covered: BoolArray
) -> tuple[str, str, float, float] | None:
    """Return segment, lead, share and density of the place outside the criteria with the largest share of the evidence."""
    best: tuple[str, str, float, float] | None = None
    for name, lead, place in _places(segments, explained):
        if (place & covered).any():
            continue
        share = float(evidence[place].sum())
        if best is None or share > best[2]:
            best = name, lead, share, share / float(place.sum() / explained.valid.sum())
    return best


def _sentence(
    placed: Sequence[Reason],
    holding: int,
    together: Mapping[str, float] | None,
    right: bool | None,
    given: bool | None,
    elsewhere: tuple[str, str, float, float] | None,
    evidence: bool,
) -> str:
    """Return the result in words."""
    if not evidence:
        return "the map holds no evidence for this finding"
    if not placed or together is None:
        return "no criterion of this finding that has a place in the beat holds on this recording"
    on, density = sum(bool(row.on_it) for row in placed), f"{together['density']:.1f} × chance"
    place = " and have a place in the beat" if len(placed) < holding else ""
    if len(placed) > 1:
        lies = (
            f"evidence lies on {on or 'none'} of the {len(placed)} criteria that hold{place} ({density} on all of them)"
        )
    else:
        which = (
            f"only one of the {holding} criteria that hold with a place in the beat"
            if place
            else "criterion that holds"
        )
        lies = f"evidence {'lies' if on else 'does not lie'} on the {which} ({density})"
    if given is False:
        return f"the verdict is not yes; {lies}"
    parts = [lies, _fall_in_words(together)] if "drop" in together else [lies]
    if not right and elsewhere is not None:
        wave, lead, share, dense = elsewhere
        parts.append(
            f"outside them, most evidence lies on {_NAMES[wave]} of {lead} ({100 * share:.0f} % of all, {dense:.1f} × chance), "
            "which is not a criterion"
        )
    return "; ".join(parts)


def _fall_in_words(together: Mapping[str, float]) -> str:
    """Return what the score does without the waves of all criteria that hold, and whether that is more than elsewhere."""
    drop, mean, deviation = (together[name] for name in ("drop", "drop_chance", "drop_sd"))
    if drop <= 0:
        return "without these waves the score does not fall"
    worth = together.get("worth")
    part = "" if worth is None else f", {100 * worth:.0f} % of what the recording adds"
    if drop <= max(0.0, mean + DEVIATIONS * deviation):
        return (
            f"without these waves the score falls by {drop:.3f}{part}, but other stretches of this length do nearly as much "
            f"({mean:.3f} ± {deviation:.3f})"
        )
    if worth is not None and worth < LEAST_FALL:
        return (
            f"without these waves the score falls by only {drop:.3f}{part} (a model that uses them loses at least "
            f"{100 * LEAST_FALL:.0f} %)"
        )
    return f"without these waves the score falls by {drop:.3f}{part}"
