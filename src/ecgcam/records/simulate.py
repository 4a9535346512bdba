"""A small 12-lead ECG simulator whose findings have a known place.

A dipole in the middle of the chest turns with every beat; each lead sees its projection. The dipole is a sum of Gaussian
waves (P, Q, R, S, T), each with a time, a width and a direction in space:

- P. E. McSharry, G. D. Clifford, L. Tarassenko, L. A. Smith: A dynamical model for generating synthetic electrocardiogram
  signals. IEEE Trans Biomed Eng 50(3), 289-294, 2003 (the Gaussian waves of a beat).
- R. Sameni, G. D. Clifford, C. Jutten, M. B. Shamsollahi: Multichannel ECG and noise modeling: application to maternal and
  fetal ECG signals. EURASIP J Adv Signal Process 2007, 43407 (the same in three dimensions, seen by many leads).
- G. E. Dower: A lead synthesizer for the Frank system to simulate the standard 12-lead electrocardiogram. J Electrocardiol
  1(1), 101-116, 1968; L. Edenbrandt, O. Pahlm: Vectorcardiogram synthesized from a 12-lead ECG: superiority of the inverse
  Dower matrix. J Electrocardiol 21(4), 361-367, 1988 (the lead vectors).

The sizes of waves and noise were set by eye beside median beats of PTB-XL records. This is a test bench for maps, not a
model of disease: it shows what a textbook shows, and a real heart does more.

A finding is a function of the seed's sinus rhythm: it takes that plan and hands back a changed one. The **twin** is the
plan unchanged, with the very same noise, so it equals ``simulate("normal", seed)``. Patient, rhythm, noise and finding draw
from streams of their own; no draw of a finding can shift its twin.

The **truth** is one of two, by the finding's row in the table:

- *difference*: the beats are where the twin's are, so the truth is every sample of every lead where the two recordings are
  more than 20 µV apart, counted on the whole microvolts that are written.
- *intervals*: a finding of the rhythm moves the beats, and a difference from the twin would only say so. The truth is then
  the named intervals in which the finding shows, in all leads. Atrial fibrillation: "TQ", from the end of T to the next QRS,
  where the P wave is missing and fibrillatory waves run undisturbed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.files import atomic, check_writable
from ecgcam.records.record import CANONICAL_LEADS, BoolArray, FloatArray

_Doubles = npt.NDArray[np.float64]
_Vector = tuple[float, float, float]

# A difference from the twin that counts as truth, µV: a fifth of the smallest square on ECG paper.
TRUTH_UV = 20

# The eight leads that are measured, as they see a dipole pointing to the left, to the feet, to the back (Dower).
_LEAD_VECTORS = np.array(
    [
        [0.632, -0.235, 0.059],  # I
        [0.235, 1.066, -0.132],  # II
        [-0.515, 0.157, -0.917],  # V1
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],  # V6
    ]
)
# The atria lie under V1, and one dipole in mid-chest would make V2 the larger: what fibrillation keeps of it in each lead.
_ATRIAL_GAIN = np.array([0.75, 0.75, 1.0, 0.45, 0.35, 0.35, 0.4, 0.5])

# One stream per purpose.
_PATIENT, _RHYTHM, _NOISE, _FINDING = range(1, 5)
# Beats before and after the recording, so that its first and last samples lie between beats like all others.
_MARGIN = 4
# Beat symbols and their codes in an annotation file (WFDB annot(5)).
_CODES = {"N": 1, "L": 2, "R": 3, "V": 5, "/": 12}
_SKIP = 59


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


@dataclass(frozen=True)
class _Wave:
    """A Gaussian of the dipole: centre (s after QRS onset), width (s, one standard deviation), size and direction (mV)."""

    name: str
    at: float
    width: float
    vector: _Vector


@dataclass(frozen=True)
class _Beat:
    """One beat: QRS onset (s), durations (s), breathing's gain, and its waves. `p` is (start, stop) after onset, or None."""

    onset: float
    gain: float
    p: tuple[float, float] | None
    qrs: float
    qt: float
    waves: tuple[_Wave, ...]
    symbol: str = "N"


@dataclass(frozen=True)
class _Patient:
    """What a seed keeps through all its recordings; no draw depends on a finding."""

    size: float  # of the QRS, 1 is average
    sizes: tuple[float, ...]  # of P, septal Q, R, S, T
    axis: float  # turn of the QRS in the frontal plane, radians
    turn: float  # turn of the QRS in the horizontal plane, radians
    t_axis: float
    t_turn: float
    p: float  # durations, s
    pr: float
    qrs: float
    qtc: float  # after Fridericia
    t_fall: float  # width of the T wave's end, s
    breathing: float  # Hz
    breath: float  # its phase
    swing: float  # how far breathing changes the size of beats
    electrodes: _Doubles  # (8, 3), the lead vectors of these electrode positions


@dataclass(frozen=True, eq=False)
class _Plan:
    """A recording before it is projected: beats, and a background (8, N) mV that belongs to none of them."""

    patient: _Patient
    seconds: float
    time: _Doubles
    rate: float
    beats: tuple[_Beat, ...]
    background: _Doubles | None = None


# --- findings -------------------------------------------------------------------------------------------------------


def _normal(plan: _Plan, _: np.random.Generator) -> _Plan:
    return plan


def _atrial_fibrillation(plan: _Plan, rng: np.random.Generator) -> _Plan:
    """No P waves, beats at random, and the baseline between them trembles."""
    rate = float(rng.uniform(62, 128))
    spread = float(rng.uniform(0.20, 0.26))
    count = _intervals_in(plan.seconds, rate) + 2 * _MARGIN
    logs = rng.standard_normal(count)
    # Standardised over what the recording shows: in ten seconds chance alone could make the pulse all but regular.
    seen = logs[_MARGIN:-_MARGIN]
    if len(seen) > 2:
        logs = (logs - seen.mean()) / seen.std()
    rr = np.clip(np.exp(spread * np.clip(logs, -2.2, 2.6)), 0.55, 1.9)
    onsets, rr = _place(rr, rate, plan.seconds, float(rng.uniform()))
    jitter = rng.standard_normal(len(onsets))
    beats = [replace(b, p=None, waves=_without(b, "P")) for b in _sinus_beats(plan.patient, onsets, rr, rate, jitter)]
    return replace(plan, rate=rate, beats=tuple(beats), background=_fibrillation(plan.time, rng))


def _fibrillation(time: _Doubles, rng: np.random.Generator) -> _Doubles:
    """Fibrillatory waves (8, N), mV: two sources whose frequency (4 to 9 Hz) and size wander."""
    height = float(rng.uniform(0.03, 0.075))  # in V1, from zero to peak
    main = float(rng.uniform(5.4, 7.6))
    sources = ((1.0, (-0.1, 0.62, -0.85)), (0.6, (0.6, 0.3, 0.45)))
    waves = np.zeros((len(_LEAD_VECTORS), len(time)))
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
        waves += np.outer(_LEAD_VECTORS @ np.array(direction), share * size * wave)
    return np.asarray(height * _ATRIAL_GAIN[:, None] * waves)


def _left_bundle_branch_block(plan: _Plan, rng: np.random.Generator) -> _Plan:
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
        _Wave("QRS", at * qrs, width * qrs, _turned(vector, size, axis, 0.5 * patient.turn))
        for at, width, vector in ventricle
    )
    discordant = size * float(rng.uniform(0.85, 1.15)) * patient.sizes[4] ** 0.5

    def widened(beat: _Beat) -> _Beat:
        # Most of the delay is added to QT; what follows the QRS keeps its length.
        qt = beat.qt + 0.8 * (qrs - beat.qrs)
        # Repolarisation runs against the QRS: ST and T opposite to it, the ST running into the T.
        peak = qt - 2.1 * patient.t_fall
        repolarisation = (
            _Wave("T", peak, 1.1 * patient.t_fall, _turned((-0.20, -0.03, -0.32), discordant, axis, 0.0)),
            _Wave("T", peak - 0.075, 0.072, _turned((-0.13, -0.03, -0.30), discordant, axis, 0.0)),
        )
        kept = tuple(wave for wave in beat.waves if wave.name == "P")
        return replace(beat, qrs=qrs, qt=qt, symbol="L", waves=kept + waves + repolarisation)

    return replace(plan, beats=tuple(widened(beat) for beat in plan.beats))


@dataclass(frozen=True)
class _Finding:
    """A row: how the finding changes a sinus rhythm, and the intervals it shows in (none: where it differs from the twin)."""

    change: Callable[[_Plan, np.random.Generator], _Plan]
    shows_in: tuple[str, ...] = ()


_TABLE: dict[str, _Finding] = {
    "normal": _Finding(_normal),
    "af": _Finding(_atrial_fibrillation, shows_in=("TQ",)),
    "lbbb": _Finding(_left_bundle_branch_block),
}
FINDINGS: tuple[str, ...] = tuple(_TABLE)


# --- the recording --------------------------------------------------------------------------------------------------


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
    sinus = _sinus_rhythm(_patient(seed), samples / fs, np.arange(samples) / fs, np.random.default_rng([seed, _RHYTHM]))
    plan = row.change(sinus, np.random.default_rng([seed, _FINDING]))
    disturbance = noise * _disturbance(samples, fs, sinus.patient, np.random.default_rng([seed, _NOISE]))

    heart = _project(plan)
    whole = _microvolts(heart + disturbance)
    intervals = _intervals(plan, row.shows_in)
    twin: npt.NDArray[np.int16] | None = None
    mask = np.zeros(whole.shape, dtype=np.bool_)
    if finding != "normal":
        twin = _microvolts(_project(sinus) + disturbance)
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


def _patient(seed: int) -> _Patient:
    rng = np.random.default_rng([seed, _PATIENT])

    def about(value: float, spread: float) -> float:
        return value * float(np.exp(spread * np.clip(rng.standard_normal(), -2, 2)))

    def turn(degrees: float) -> float:
        return math.radians(degrees * float(np.clip(rng.standard_normal(), -2, 2)))

    size = about(1.0, 0.16)
    sizes = (about(1.0, 0.2), about(1.0, 0.25), about(1.0, 0.1), about(1.0, 0.15), about(1.0, 0.2))
    # Electrodes are never quite where the book wants them, and chests differ.
    electrodes = _LEAD_VECTORS * np.exp(0.06 * rng.standard_normal((8, 1))) + 0.04 * rng.standard_normal((8, 3))
    return _Patient(
        size=size,
        sizes=sizes,
        axis=turn(11),
        turn=turn(6),
        t_axis=turn(7),
        t_turn=turn(7),
        p=float(rng.uniform(0.092, 0.112)),
        pr=float(rng.uniform(0.142, 0.188)),
        qrs=float(rng.uniform(0.082, 0.100)),
        qtc=float(rng.uniform(0.385, 0.425)),
        t_fall=float(rng.uniform(0.034, 0.044)),
        breathing=float(rng.uniform(0.2, 0.33)),
        breath=float(rng.uniform(0, 2 * np.pi)),
        swing=float(rng.uniform(0.015, 0.05)),
        electrodes=electrodes,
    )


def _sinus_rhythm(patient: _Patient, seconds: float, time: _Doubles, rng: np.random.Generator) -> _Plan:
    """The seed's own rhythm: 55 to 95 a minute, quickening with every breath."""
    rate = float(rng.uniform(55, 95))
    count = _intervals_in(seconds, rate) + 2 * _MARGIN
    nominal = np.arange(count) * 60 / rate
    breath = np.sin(2 * np.pi * patient.breathing * nominal + patient.breath)
    slow = np.sin(2 * np.pi * (0.1 * nominal + float(rng.uniform())))
    rr = 1 + float(rng.uniform(0.012, 0.04)) * breath + float(rng.uniform(0.005, 0.018)) * slow
    rr += 0.008 * rng.standard_normal(count)
    onsets, rr = _place(rr, rate, seconds, float(rng.uniform()))
    beats = _sinus_beats(patient, onsets, rr, rate, rng.standard_normal(len(onsets)))
    return _Plan(patient=patient, seconds=seconds, time=time, rate=rate, beats=tuple(beats))


def _intervals_in(seconds: float, rate: float) -> int:
    return max(1, math.floor((seconds - 0.4) * rate / 60))


def _place(rr: _Doubles, rate: float, seconds: float, where: float) -> tuple[_Doubles, _Doubles]:
    """Onsets (s) and the interval before each (s), from relative intervals with `_MARGIN` more on either side.

    The intervals inside the recording are scaled to the intended rate; `where` (0 to 1) shifts them within it.
    """
    rr = rr * (60 / rate) / rr[_MARGIN:-_MARGIN].mean()
    inside = float(rr[_MARGIN:-_MARGIN].sum())
    first = 0.15 + where * max(0.0, seconds - 0.4 - inside)
    onsets = first + np.concatenate([[0.0], np.cumsum(rr)]) - rr[:_MARGIN].sum()
    return onsets, np.concatenate([rr[:1], rr])


def _sinus_beats(patient: _Patient, onsets: _Doubles, rr: _Doubles, rate: float, jitter: _Doubles) -> list[_Beat]:
    """Ordinary beats with their QRS onsets at `onsets`; `rr` is the interval before each, s."""
    p_size, q_size, r_size, s_size, t_size = patient.sizes
    d, size = patient.qrs, patient.size
    atria = tuple(
        _Wave("P", -patient.pr + at * patient.p, 0.165 * patient.p, _scaled(vector, p_size))
        for at, vector in ((0.37, (0.034, 0.080, -0.035)), (0.63, (0.052, 0.052, 0.032)))
    )
    ventricles = tuple(
        _Wave("QRS", at * d, width * d, _turned(vector, size * own, patient.axis, patient.turn))
        for at, width, own, vector in (
            (0.19, 0.075, q_size, (-0.08, -0.04, -0.24)),  # septum: to the right and forward
            (0.45, 0.098, r_size, (1.22, 0.60, 0.16)),  # apex and free wall: to the left and down
            (0.63, 0.110, s_size, (-0.08, 0.03, 0.84)),  # base: back
        )
    )
    beats = []
    for onset, interval, noise in zip(onsets, rr, jitter, strict=True):
        # The heart remembers: QT follows the rate of the last minute more than the last beat.
        effective = 0.7 * 60 / rate + 0.3 * float(interval)
        qt = patient.qtc * effective ** (1 / 3)
        peak = qt - 2.1 * patient.t_fall
        repolarisation = tuple(
            _Wave("T", peak + at, width, _turned(vector, t_size * size**0.5, patient.t_axis, patient.t_turn))
            for at, width, vector in (
                (0.0, patient.t_fall, (0.185, 0.105, -0.095)),
                (-0.055, 0.062, (0.080, 0.040, -0.115)),
            )
        )
        breath = math.sin(2 * np.pi * patient.breathing * float(onset) + patient.breath)
        beats.append(
            _Beat(
                onset=float(onset),
                gain=1 + patient.swing * breath + 0.008 * float(noise),
                p=(-patient.pr, -patient.pr + patient.p),
                qrs=patient.qrs,
                qt=qt,
                waves=atria + ventricles + repolarisation,
            )
        )
    return beats


def _project(plan: _Plan) -> _Doubles:
    """The eight measured leads (8, N), mV, free of noise."""
    dipole = np.zeros((3, len(plan.time)))
    for beat in plan.beats:
        for wave in beat.waves:
            centre = beat.onset + wave.at
            first, last = np.searchsorted(plan.time, [centre - 5 * wave.width, centre + 5 * wave.width])
            bell = np.exp(-0.5 * ((plan.time[first:last] - centre) / wave.width) ** 2)
            dipole[:, first:last] += np.outer(wave.vector, beat.gain * bell)
    leads = plan.patient.electrodes @ dipole
    return np.asarray(leads if plan.background is None else leads + plan.background)


def _disturbance(samples: int, fs: float, patient: _Patient, rng: np.random.Generator) -> _Doubles:
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


def _coloured(rng: np.random.Generator, samples: int, fs: float, low: float, high: float, slope: float) -> _Doubles:
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


def _microvolts(measured: _Doubles) -> npt.NDArray[np.int16]:
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


def _intervals(plan: _Plan, extra: tuple[str, ...]) -> tuple[tuple[str, float, float], ...]:
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


def _annotate(plan: _Plan, heart: _Doubles, fs: float) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
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


def _without(beat: _Beat, name: str) -> tuple[_Wave, ...]:
    return tuple(wave for wave in beat.waves if wave.name != name)


def _scaled(vector: _Vector, size: float) -> _Vector:
    x, y, z = vector
    return (size * x, size * y, size * z)


def _turned(vector: _Vector, size: float, axis: float, turn: float) -> _Vector:
    """Turn a vector by `axis` in the frontal plane (towards the feet) and by `turn` in the horizontal plane (to the back)."""
    x, y, z = vector
    x, y = x * math.cos(axis) - y * math.sin(axis), x * math.sin(axis) + y * math.cos(axis)
    x, z = x * math.cos(turn) - z * math.sin(turn), x * math.sin(turn) + z * math.cos(turn)
    return (size * x, size * y, size * z)


# --- files ----------------------------------------------------------------------------------------------------------


def write(simulation: Simulation, folder: Path) -> dict[str, str | None]:
    """Write a simulation as WFDB records and its truth; return the paths under "record", "twin" and "truth".

    ``FINDING-SEED.{hea,dat,atr}``, ``FINDING-SEED-twin.{hea,dat}`` (not for ``"normal"``, where "twin" is None) and
    ``FINDING-SEED-truth.npz`` with ``mask`` (12, N) bool, ``leads`` (12,), ``fs``, and the named intervals as
    ``interval_names`` (K,) and ``interval_times`` (K, 2), s. The same simulation gives the same bytes.

    Raises
    ------
    EcgcamError
        If `folder` cannot be written to.
    """
    folder = Path(folder)
    check_writable(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _write_all(simulation, folder)
    except OSError as error:
        where = error.filename2 or error.filename or folder
        raise EcgcamError(
            f"{where}: cannot be written ({error.strerror or error}); choose another folder with --out"
        ) from error


def _write_all(simulation: Simulation, folder: Path) -> dict[str, str | None]:
    name = f"{simulation.finding}-{simulation.seed}"
    about = f"ecgcam simulate {simulation.finding} --seed {simulation.seed}"
    truth = folder / f"{name}-truth.npz"
    with atomic(truth) as path:
        np.savez_compressed(
            path,
            mask=simulation.mask,
            leads=np.array(simulation.leads),
            fs=np.float64(simulation.fs),
            interval_names=np.array([row[0] for row in simulation.intervals], dtype=np.str_),
            interval_times=np.array([row[1:] for row in simulation.intervals], dtype=np.float64).reshape(-1, 2),
        )
    twin = None
    if simulation.twin is not None:
        twin = _write_record(folder, f"{name}-twin", simulation.twin, simulation.fs, f"{about}: without the finding")
    with atomic(folder / f"{name}.atr") as path:
        path.write_bytes(_annotation_bytes(simulation.beats, simulation.symbols))
    # The record comes last: who finds it finds the rest.
    record = _write_record(folder, name, simulation.signal, simulation.fs, about)
    return {"record": str(record), "twin": None if twin is None else str(twin), "truth": str(truth)}


def _write_record(folder: Path, name: str, signal: FloatArray, fs: float, comment: str) -> Path:
    """Write mV (12, N) as WFDB format 16, 1000 units per mV; return the path of the data file."""
    whole = np.asarray(np.rint(1000 * signal.astype(np.float64)), dtype="<i2")
    data = folder / f"{name}.dat"
    lines = [f"{name} {len(whole)} {fs:.12g} {whole.shape[1]}"]
    for lead, row in zip(CANONICAL_LEADS, whole, strict=True):
        # The sum of all samples as a signed number of 16 bits.
        checksum = (int(row.sum(dtype=np.int64)) + 0x8000) % 0x10000 - 0x8000
        lines.append(f"{data.name} 16 1000.0(0)/mV 16 0 {row[0]} {checksum} 0 {lead}")
    lines.append(f"# {comment}")
    with atomic(data) as path:
        path.write_bytes(whole.T.tobytes())
    with atomic(folder / f"{name}.hea") as path:
        path.write_bytes(("\n".join(lines) + "\n").encode("ascii"))
    return data


def _annotation_bytes(beats: npt.NDArray[np.int64], symbols: tuple[str, ...]) -> bytes:
    """Beats as an annotation file in MIT format (WFDB annot(5)): a 16-bit word each, code above, samples since the last below."""
    words: list[int] = []
    last = 0
    for sample, symbol in zip(beats.tolist(), symbols, strict=True):
        step = sample - last
        if step > 1023:
            # Ten bits are not enough: a SKIP carries the step as two words, the high one first.
            words += [_SKIP << 10, step >> 16, step & 0xFFFF]
            step = 0
        words.append(_CODES[symbol] << 10 | step)
        last = sample
    return np.array([*words, 0], dtype="<u2").tobytes()
