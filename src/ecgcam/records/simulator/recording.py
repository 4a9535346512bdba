"""Findings, and the recording they make with the twin that lacks them (see the package)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError, no_such
from ecgcam.records.record import CANONICAL_LEADS, BoolArray, FloatArray
from ecgcam.records.simulator.findings import TABLE, change
from ecgcam.records.simulator.heart import FINDING, RHYTHM, Doubles, Plan, draw_patient, project, sinus_rhythm
from ecgcam.records.simulator.noise import disturbance

FINDINGS: tuple[str, ...] = tuple(TABLE)
# A difference from the twin that counts as truth, µV: a fifth of the smallest square on ECG paper.
TRUTH_UV = 20
# Seeds from here up are for training; lower ones are for evaluation.
TRAINING_SEEDS = 1_000_000


@dataclass(frozen=True, eq=False)
class Simulation:
    """A simulated recording, the same recording without the finding, and where the two differ.

    Attributes
    ----------
    finding : str
        One of `FINDINGS`.
    seed : int
        What everything was drawn from.
    fs : float
        Samples per second.
    leads : tuple of str
        The twelve leads in canonical order.
    signal : float32, (12, N)
        Millivolts, on whole microvolts: what `write` writes.
    twin : float32, (12, N), or None
        The same heart and the same noise without the finding; None for ``"normal"``.
    mask : bool, (12, N)
        The truth: where the finding is. All false for ``"normal"``.
    rate : float
        The intended heart rate, beats per minute.
    beats : int64, (B,)
        Samples at which the QRS complexes are largest over all leads.
    symbols : tuple of str, (B,)
        Kind of each beat: N normal, L and R left and right bundle branch block, V premature ventricular, / paced.
    intervals : tuple of (str, float, float)
        Name, start and stop (s from the start) of what lies within the recording: "P", "QRS" and "T" of each beat, and
        those that the finding's truth is made of: "PR", from the start of P to the start of QRS, "QT", from the start of
        QRS to the end of T, "TQ", from the end of T to the next QRS.
    wall : str, or None
        Where the finding is, for findings by wall.
    """

    finding: str
    seed: int
    fs: float
    leads: tuple[str, ...]
    signal: FloatArray
    twin: FloatArray | None
    mask: BoolArray
    rate: float
    beats: npt.NDArray[np.int64]
    symbols: tuple[str, ...]
    intervals: tuple[tuple[str, float, float], ...]
    wall: str | None = None


def simulate(
    finding: str, seed: int, *, wall: str | None = None, seconds: float = 10.0, fs: float = 500.0, noise: float = 1.0
) -> Simulation:
    """Simulate a 12-lead recording with a finding whose place is known.

    Parameters
    ----------
    finding : str
        One of `FINDINGS`.
    seed : int
        Not negative. The same call gives the same recording, bit for bit.
    wall : str, optional
        For findings by wall, one of `WALLS`; drawn where it is not given.
    seconds, fs : float
        Length (s) and sampling rate (Hz).
    noise : float
        Scale of baseline wander, mains hum and muscle noise; 0 adds none.

    Raises
    ------
    EcgcamError
        If the finding is unknown or has no such wall, or a number is out of range.
    """
    _check(finding, seed, wall, seconds, fs, noise)
    sinus, plan, wall = _plans(finding, seed, wall, seconds, fs)
    added = noise * disturbance(len(sinus.time), fs, sinus.patient, seed) if noise else 0.0
    heart = project(plan)
    whole = _microvolts(heart + added)
    shows_in = TABLE[finding].shows_in
    intervals = _intervals(plan, shows_in)
    twin: npt.NDArray[np.int16] | None = None
    mask = np.zeros(whole.shape, dtype=np.bool_)
    if finding != "normal":
        twin = _microvolts(project(sinus) + added)
        if shows_in:
            for name, start, stop in intervals:
                if name in shows_in:
                    mask[:, math.ceil(start * fs) : math.ceil(stop * fs)] = True
        else:
            mask = np.abs(whole.astype(np.int32) - twin) > TRUTH_UV
    beats, symbols = _annotate(plan, heart, fs)
    return Simulation(
        finding=finding,
        seed=int(seed),
        fs=float(fs),
        leads=CANONICAL_LEADS,
        signal=_millivolts(whole),
        twin=None if twin is None else _millivolts(twin),
        mask=mask,
        rate=plan.rate,
        beats=beats,
        symbols=symbols,
        intervals=intervals,
        wall=wall,
    )


def simulate_batch(
    findings: Sequence[str],
    first_seed: int,
    *,
    walls: Sequence[str | None] | None = None,
    seconds: float = 10.0,
    fs: float = 500.0,
    noise: float = 1.0,
) -> FloatArray:
    """Simulate many recordings without twin and truth, for training: float32 (B, 12, N), mV, leads in canonical order.

    Row i has finding i, wall i (None: drawn, or it has none) and the seed ``first_seed + i``, and is
    ``simulate(findings[i], first_seed + i, wall=walls[i]).signal`` to the bit. Train on seeds from `TRAINING_SEEDS` up; lower
    ones are for evaluation.

    Raises
    ------
    EcgcamError
        As `simulate` does.
    ValueError
        If there are not as many walls as findings.
    """
    batch = np.empty((len(findings), len(CANONICAL_LEADS), round(seconds * fs)), dtype=np.float32)
    for row, (finding, wall) in enumerate(zip(findings, walls or [None] * len(findings), strict=True)):
        seed = first_seed + row
        _check(finding, seed, wall, seconds, fs, noise)
        sinus, plan, _ = _plans(finding, seed, wall, seconds, fs)
        added = noise * disturbance(len(sinus.time), fs, sinus.patient, seed) if noise else 0.0
        batch[row] = _millivolts(_microvolts(project(plan) + added))
    return batch


def _check(finding: str, seed: int, wall: str | None, seconds: float, fs: float, noise: float) -> None:
    if finding not in TABLE:
        raise no_such(finding, "finding", finding, FINDINGS)
    walls = TABLE[finding].walls
    if wall is not None and wall not in walls:
        fix = f"choose one of {', '.join(walls)}" if walls else f"{finding} has no wall to choose"
        raise EcgcamError(f"wall={wall}: no such wall; {fix}")
    if seed < 0:
        raise EcgcamError(f"`seed` {seed}: must be 0 or more")
    if not (math.isfinite(fs) and 100 <= fs <= 10_000):
        raise EcgcamError(f"`fs` {fs:g}: out of range; give 100 to 10000 Hz")
    if not (math.isfinite(seconds) and 1 <= seconds <= 3600):
        raise EcgcamError(f"`seconds` {seconds:g}: out of range; give 1 to 3600 s")
    if not (math.isfinite(noise) and 0 <= noise <= 10):
        raise EcgcamError(f"`noise` {noise:g}: out of range; give 0 (none) to 10, usually 1")


def _plans(finding: str, seed: int, wall: str | None, seconds: float, fs: float) -> tuple[Plan, Plan, str | None]:
    """The seed's sinus rhythm, the same heart with the finding, and the wall."""
    samples = round(seconds * fs)
    time = np.arange(samples) / fs
    sinus = sinus_rhythm(draw_patient(seed), samples / fs, time, np.random.default_rng([seed, RHYTHM]))
    plan, wall = change(sinus, finding, wall, np.random.default_rng([seed, FINDING]))
    return sinus, plan, wall


def _microvolts(measured: Doubles) -> npt.NDArray[np.int16]:
    """Twelve leads (12, N) in whole µV from the eight measured ones (8, N) mV.

    I and II are rounded first and the others follow from them, so that Einthoven's law holds exactly and Goldberger's to
    half a microvolt, whatever the noise.
    """
    eight = np.rint(1000 * measured)
    one, two = eight[:2]
    limb = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    twelve = np.rint(np.vstack([np.stack(limb), eight[2:]]))
    # WFDB keeps -32768 for missing samples.
    return np.asarray(np.clip(twelve, -32767, 32767), dtype=np.int16)


def _millivolts(whole: npt.NDArray[np.int16]) -> FloatArray:
    return np.asarray(whole / 1000, dtype=np.float32)


def _intervals(plan: Plan, extra: tuple[str, ...]) -> tuple[tuple[str, float, float], ...]:
    """Named intervals of all beats, cut to the recording, in order of time."""
    found = []
    for beat, following in zip(plan.beats, (*plan.beats[1:], None), strict=True):
        at = beat.onset
        named = {"QRS": (at, at + beat.qrs), "T": (at + beat.qrs, at + beat.qt), "QT": (at, at + beat.qt)}
        if beat.p is not None:
            named |= {"P": (at + beat.p[0], at + beat.p[1]), "PR": (at + beat.p[0], at)}
        if following is not None:
            named["TQ"] = (at + beat.qt, following.onset)
        found += [(name, *named[name]) for name in ("P", "QRS", "T", *extra) if name in named]
    cut = ((name, max(0.0, start), min(plan.seconds, stop)) for name, start, stop in found)
    return tuple(sorted((row for row in cut if row[1] < row[2]), key=lambda row: row[1]))


def _annotate(plan: Plan, heart: Doubles, fs: float) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Where the QRS of each beat is largest over the measured leads (8, N), and the beats' symbols."""
    size = np.square(heart).sum(axis=0)
    beats, symbols = [], []
    for beat in plan.beats:
        first, last = math.ceil(beat.onset * fs), math.floor((beat.onset + beat.qrs) * fs) + 1
        # A complex cut by the recording's edge has no peak to point at.
        if first >= 0 and last <= len(size):
            beats.append(first + int(np.argmax(size[first:last])))
            symbols.append(beat.symbol)
    return np.array(beats, dtype=np.int64), tuple(symbols)
