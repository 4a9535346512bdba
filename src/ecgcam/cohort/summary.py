"""`summarize`: means over the recordings of a cohort with confidence intervals, by prompt, method and class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgcam.cohort.gather import Floats, Group, Labels, collect
from ecgcam.errors import EcgcamError
from ecgcam.results.collection import Result, find_results
from ecgcam.results.explanation import Explanation
from ecgcam.results.intervals import DRAWS, Estimate, bootstrap_means

OnError = Callable[[Path, EcgcamError], object]
OnProgress = Callable[[int, int], object]
Source = str | Path | Result | Explanation


@dataclass(frozen=True, eq=False)
class GroupSummary:
    """Means over the recordings of a `Group`. Shapes are those of its fields without the first axis.

    Attributes
    ----------
    group : Group
        The values of each recording.
    gain, share, density, beats, passed, right, holds, criterion_density, criterion_drop, criterion_score : Estimate
        Their means.
    """

    group: Group
    gain: Estimate
    share: Estimate
    density: Estimate
    beats: Estimate
    passed: Estimate
    right: Estimate
    holds: Estimate
    criterion_density: Estimate
    criterion_drop: Estimate
    criterion_score: Estimate


@dataclass(frozen=True, eq=False)
class Comparison:
    """One method less the first one, over the recordings that both have; differences are taken within recordings.

    Attributes
    ----------
    text, method, against : str
        The prompt, and the two methods.
    label : str, optional
        The class.
    leads : tuple of str
        Leads of the cohort.
    gain, share, density : tuple of Estimate, float64 array, float64 array
        The mean difference; the mean of the method; the mean of the first method.
    """

    text: str
    method: str
    against: str
    label: str | None
    leads: tuple[str, ...]
    gain: tuple[Estimate, Floats, Floats]
    share: tuple[Estimate, Floats, Floats]
    density: tuple[Estimate, Floats, Floats]


@dataclass(frozen=True, eq=False)
class Summary:
    """A cohort: its groups, and the comparisons of every further method with the first one of the same prompt and class."""

    groups: list[GroupSummary]
    comparisons: list[Comparison]


def summarize(
    results: Source | Iterable[Source],
    by: Labels | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    on_error: str | OnError = "raise",
    on_progress: OnProgress = lambda *_: None,
) -> Summary:
    """Return means over recordings with 95 % bootstrap intervals: gains, shares of the waves, and mean beats.

    Parameters
    ----------
    results : path, Explanation, or several
        Folders that `ecgcam explain` wrote, single ``explanation.npz`` files, packs; or explanations.
    by : sequence or callable, optional
        Classes of the recordings: a label for each explanation in order, or a function of the explanation. Means are then by
        class.
    draws, seed : int
        Number of draws, and random seed, of the bootstrap over recordings.
    on_error : {"raise", "skip"} or callable
        What happens where a file is damaged; a callable is called with (path, error), and the file is left out.
    on_progress : callable
        Called with (done, total) after each file.

    Examples
    --------
    >>> summary = ecgcam.summarize("OUT", by=lambda explanation: explanation.meta["record"][:4])
    >>> [(group.group.label, group.gain.mean[-1]) for group in summary.groups]
    """
    if not callable(on_error) and on_error not in {"raise", "skip"}:
        raise EcgcamError(f"`on_error` {on_error}: no such choice; choose from raise, skip, or give a function")
    groups = collect(_explanations(results, on_error, on_progress), by)
    return Summary([summarize_group(group, draws, seed) for group in groups], list(_comparisons(groups, draws, seed)))


def _explanations(
    results: Source | Iterable[Source], on_error: str | OnError, on_progress: OnProgress
) -> Iterator[Explanation]:
    """Yield the explanations, those in files read one at a time, each file once."""
    given = [results] if isinstance(results, str | Path | Result | Explanation) else results
    found: list[Result] = []
    for one in given:
        if isinstance(one, Explanation):
            yield one
        else:
            found += [one] if isinstance(one, Result) else find_results([Path(one)])
    found = list(dict.fromkeys(found))
    failures: list[EcgcamError] = []
    for done, result in enumerate(found, 1):
        try:
            yield result.load()
        except EcgcamError as error:
            if on_error == "raise":
                raise
            failures.append(error)
            if callable(on_error):
                on_error(result.file, error)
        on_progress(done, len(found))
    if found and len(failures) == len(found):
        raise failures[0]


def summarize_group(group: Group, draws: int = DRAWS, seed: int = 0) -> GroupSummary:
    """Return the means of a group. Every bootstrap of a cohort is made here, or for a comparison, once."""
    fields = (
        group.gain, group.share, group.density, group.beats, group.passed, group.right, group.holds, group.criterion_density,
        group.criterion_drop, group.criterion_score,
    )  # fmt: skip
    return GroupSummary(group, *(bootstrap_means(values, draws, seed) for values in fields))


def _comparisons(groups: Sequence[Group], draws: int, seed: int) -> Iterator[Comparison]:
    firsts: dict[tuple[str, str | None], Group] = {}
    for group in groups:
        first = firsts.setdefault((group.text, group.label), group)
        if group is first:
            continue
        new, old = group.rows_shared_with(first)
        if new:
            gain, share, density = (
                _paired(values[new], others[old], draws, seed)
                for values, others in (
                    (group.gain, first.gain),
                    (group.share, first.share),
                    (group.density, first.density),
                )
            )
            yield Comparison(group.text, group.method, first.method, group.label, group.leads, gain, share, density)


def _paired(new: Floats, old: Floats, draws: int, seed: int) -> tuple[Estimate, Floats, Floats]:
    """Return the mean difference with its interval, and both means, over the recordings where both are known."""
    difference = new - old
    known = np.isfinite(difference)
    n = known.sum(axis=0)
    means = (np.where(known, values, 0.0).sum(axis=0) for values in (new, old))
    after, before = (np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0) for total in means)
    return bootstrap_means(difference, draws, seed), after, before
