"""Findings, and the recording they make with the twin that lacks them (see the package)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.records.record import CANONICAL_LEADS, BoolArray, FloatArray
from ecgcam.records.simulator.heart import (
    ATRIAL_GAIN,
    FINDING,
    LEAD_VECTORS,
    MARGIN,
    NOISE,
    RHYTHM,
    Beat,
    Doubles,
    Patient,
    Plan,
    Wave,
    draw_patient,
    intervals_in,
    place_beats,
    project,
    sinus_beats,
    sinus_rhythm,
    turned_vector,
    without_wave,
)

# A difference from the twin that counts as truth, µV: a fifth of the smallest square on ECG paper.
TRUTH_UV = 20


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
        Kind of each beat: N normal, L left bundle branch block.
    intervals : tuple of (str, float, float)
        Name, start and stop (s from the start) of what lies within the recording: "P", "QRS" and "T" of each beat, and
        "TQ", from the end of T to the next QRS, where the finding's truth is made of them.
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


def _normal(plan: Plan, _: np.random.Generator) -> Plan:
    return plan


def _atrial_fibrillation(plan: Plan, rng: np.random.Generator) -> Plan:
    """No P waves, beats at random, and the baseline between them trembles."""
    rate = float(rng.uniform(62, 128))
    spread = float(rng.uniform(0.20, 0.26))
    count = intervals_in(plan.seconds, rate) + 2 * MARGIN
    logs = rng.standard_normal(count)
    # Standardised over what the recording shows: in ten seconds chance alone could make the pulse all but regular.
    seen = logs[MARGIN:-MARGIN]
    if len(seen) > 2:
        logs = (logs - seen.mean()) / seen.std()
    rr = np.clip(np.exp(spread * np.clip(logs, -2.2, 2.6)), 0.55, 1.9)
    onsets, rr = place_beats(rr, rate, plan.seconds, float(rng.uniform()))
    jitter = rng.standard_normal(len(onsets))
    beats = [
        replace(b, p=None, waves=without_wave(b, "P")) for b in sinus_beats(plan.patient, onsets, rr, rate, jitter)
    ]
    return replace(plan, rate=rate, beats=tuple(beats), background=_fibrillation(plan.time, rng))


def _fibrillation(time: Doubles, rng: np.random.Generator) -> Doubles:
    """Fibrillatory waves (8, N), mV: two sources whose frequency (4 to 9 Hz) and size wander."""
    height = float(rng.uniform(0.03, 0.075))  # in V1, from zero to peak
    main = float(rng.uniform(5.4, 7.6))
    sources = ((1.0, (-0.1, 0.62, -0.85)), (0.6, (0.6, 0.3, 0.45)))
    waves = np.zeros((len(LEAD_VECTORS), len(time)))
    for share, direction in sources:
        frequency = main + float(rng.uniform(-0.5, 0.5))
        phase = 2 * np.pi * (frequency * time + float(rng.uniform()))
        size = np.ones_like(time)
        for slow in (0.17, 0.43, 1.1, 2.3):
            # `slow` Hz of modulation by 0.22 Hz either way: the instantaneous frequency stays within 4 to 9 Hz.
            phase += 0.22 / slow * np.sin(2 * np.pi * (slow * time + float(rng.uniform())))
            size += 0.2 * np.sin(2 * np.pi * (1.3 * slow * time + float(rng.uniform())))
        # Steeper on one side, and never twice the same.
        second = float(rng.uniform(0.15, 0.35))
        wave = np.sin(phase) + second * np.sin(2 * phase + float(rng.uniform(0, 2 * np.pi)))
        waves += np.outer(LEAD_VECTORS @ np.array(direction), share * size * wave)
    return np.asarray(height * ATRIAL_GAIN[:, None] * waves)


def _left_bundle_branch_block(plan: Plan, rng: np.random.Generator) -> Plan:
    """The left ventricle is reached late, through the septum from the right: broad, notched, to the left and back."""
    patient = plan.patient
    qrs = float(rng.uniform(0.132, 0.160))
    size = patient.size * float(rng.uniform(0.9, 1.15))
    notch = float(rng.uniform(0.85, 1.1))
    small_r = float(rng.uniform(0.0, 0.22))  # V1 to V3: QS, or a small r before the S
    axis = 0.6 * patient.axis - float(rng.uniform(0.0, 0.35))
    # No septal q: the septum is crossed from right to left, so the first vector already points to the left.
    ventricle = (
        (0.13, 0.055, (0.16, 0.04, -small_r)),
        (0.31, 0.105, (0.84, 0.50, 0.95)),
        (0.51, 0.125, (0.44, 0.20, 1.35)),
        (0.72, 0.100, (0.60 * notch, 0.10, 0.72)),
    )
    waves = tuple(
        Wave("QRS", at * qrs, width * qrs, turned_vector(vector, size, axis, 0.5 * patient.turn))
        for at, width, vector in ventricle
    )
    discordant = size * float(rng.uniform(0.85, 1.15)) * patient.sizes[4] ** 0.5

    def widened(beat: Beat) -> Beat:
        # Most of the delay is added to QT; what follows the QRS keeps its length.
        qt = beat.qt + 0.8 * (qrs - beat.qrs)
        # Repolarisation runs against the QRS: ST and T opposite to it, the ST running into the T.
        peak = qt - 2.1 * patient.t_fall
        repolarisation = (
            Wave("T", peak, 1.1 * patient.t_fall, turned_vector((-0.20, -0.03, -0.32), discordant, axis, 0.0)),
            Wave("T", peak - 0.075, 0.072, turned_vector((-0.13, -0.03, -0.30), discordant, axis, 0.0)),
        )
        kept = tuple(wave for wave in beat.waves if wave.name == "P")
        return replace(beat, qrs=qrs, qt=qt, symbol="L", waves=kept + waves + repolarisation)

    return replace(plan, beats=tuple(widened(beat) for beat in plan.beats))


@dataclass(frozen=True)
class _Finding:
    """A row: how the finding changes a sinus rhythm, and the intervals it shows in (none: where it differs from the twin)."""

    change: Callable[[Plan, np.random.Generator], Plan]
    shows_in: tuple[str, ...] = ()


_TABLE: dict[str, _Finding] = {
    "normal": _Finding(_normal),
    "af": _Finding(_atrial_fibrillation, shows_in=("TQ",)),
    "lbbb": _Finding(_left_bundle_branch_block),
}
FINDINGS: tuple[str, ...] = tuple(_TABLE)


def simulate(finding: str, seed: int, *, seconds: float = 10.0, fs: float = 500.0, noise: float = 1.0) -> Simulation:
    """Simulate a 12-lead recording with a finding whose place is known.

    Parameters
    ----------
    finding : str
        One of `FINDINGS`.
    seed : int
        Not negative. The same call gives the same recording, bit for bit.
    seconds, fs : float
        Length (s) and sampling rate (Hz).
    noise : float
        Scale of baseline wander, mains hum and muscle noise; 0 leaves the heart alone.

    Raises
    ------
    EcgcamError
        If the finding is unknown, or a number is out of range.
    """
    if finding not in _TABLE:
        raise EcgcamError(f"{finding}: no such finding; choose one of {', '.join(FINDINGS)}")
    if seed < 0:
        raise EcgcamError(f"--seed {seed}: a seed must not be negative; give 0 or more")
    if not (math.isfinite(fs) and 100 <= fs <= 10_000):
        raise EcgcamError(f"a sampling rate of {fs:g} Hz cannot be simulated; give 100 to 10000 Hz")
    if not (math.isfinite(seconds) and 1 <= seconds <= 3600):
        raise EcgcamError(f"a recording of {seconds:g} s cannot be simulated; give 1 to 3600 s")
    if not (math.isfinite(noise) and 0 <= noise <= 10):
        raise EcgcamError(f"noise {noise:g}: out of range; give 0 (none) to 10, 1 is usual")

    row = _TABLE[finding]
    samples = round(seconds * fs)
    sinus = sinus_rhythm(
        draw_patient(seed), samples / fs, np.arange(samples) / fs, np.random.default_rng([seed, RHYTHM])
    )
    plan = row.change(sinus, np.random.default_rng([seed, FINDING]))
    disturbance = noise * _disturbance(samples, fs, sinus.patient, np.random.default_rng([seed, NOISE]))

    heart = project(plan)
    whole = _microvolts(heart + disturbance)
    intervals = _intervals(plan, row.shows_in)
    twin: npt.NDArray[np.int16] | None = None
    mask = np.zeros(whole.shape, dtype=np.bool_)
    if finding != "normal":
        twin = _microvolts(project(sinus) + disturbance)
        if row.shows_in:
            for name, start, stop in intervals:
                if name in row.shows_in:
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
    )


def _disturbance(samples: int, fs: float, patient: Patient, rng: np.random.Generator) -> Doubles:
    """Noise of nine electrodes as the eight leads see it, (8, N) mV.

    It arises at the electrodes, so limb leads share it, and the precordial leads carry a third of each limb's.
    """
    time = np.arange(samples) / fs
    top = min(130.0, 0.45 * fs)
    muscle = 0.0035 * float(np.exp(0.45 * np.clip(rng.standard_normal(), -2, 2)))
    mains = float(rng.uniform(0.0005, 0.003))
    hum = 2 * np.pi * (50 * time + float(rng.uniform()))
    wander = 0.038 * float(np.exp(0.4 * np.clip(rng.standard_normal(), -2, 2)))
    noises = []
    for _ in range(9):
        own = float(np.exp(0.4 * np.clip(rng.standard_normal(), -2, 2)))
        slow = 0.55 * np.sin(2 * np.pi * patient.breathing * time + patient.breath + 0.6 * rng.standard_normal())
        slow += 0.5 * np.sin(2 * np.pi * (float(rng.uniform(0.06, 0.2)) * time + float(rng.uniform())))
        slow += 0.6 * _coloured(rng, samples, fs, 0.04, 0.7, slope=1.0)
        # Muscles tense and relax: the noise swells within seconds.
        swell = np.exp(0.35 * _coloured(rng, samples, fs, 0.05, 0.5, slope=0.0))
        noises.append(
            wander * own * slow
            + muscle * swell * _coloured(rng, samples, fs, 18.0, top, slope=0.25)
            + 0.0035 * _coloured(rng, samples, fs, 0.7, 18.0, slope=0.5)
            + mains * float(rng.uniform(0.3, 1.0)) * np.sin(hum + 0.5 * rng.standard_normal())
        )
    right, left, foot, *chest = noises
    centre = (right + left + foot) / 3
    return np.stack([left - right, foot - right, *(electrode - centre for electrode in chest)])


def _coloured(rng: np.random.Generator, samples: int, fs: float, low: float, high: float, slope: float) -> Doubles:
    """Gaussian noise between `low` and `high` Hz whose spectrum falls as frequency**-slope; standard deviation about 1."""
    # At least 40 s, cut afterwards: what the Fourier transform makes is periodic, and slow waves need room.
    length = max(2 * samples, math.ceil(40 * fs))
    frequency = np.fft.rfftfreq(length, 1 / fs)
    band = (frequency >= low) & (frequency <= high)
    spectrum = np.zeros(len(frequency), dtype=np.complex128)
    parts = rng.standard_normal((2, int(band.sum())))
    spectrum[band] = (parts[0] + 1j * parts[1]) * frequency[band] ** -slope
    noise = np.fft.irfft(spectrum, length)
    return np.asarray(noise[:samples] / noise.std())


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
        if beat.p is not None:
            found.append(("P", beat.onset + beat.p[0], beat.onset + beat.p[1]))
        found.append(("QRS", beat.onset, beat.onset + beat.qrs))
        found.append(("T", beat.onset + beat.qrs, beat.onset + beat.qt))
        if "TQ" in extra and following is not None:
            found.append(("TQ", beat.onset + beat.qt, following.onset))
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
