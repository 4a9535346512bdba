"""A heart as a moving dipole: its patient, its beats, its sinus rhythm, and how eight electrodes see it (see the package)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Vector = tuple[float, float, float]
# The eight leads that are measured, as they see a dipole pointing to the left, to the feet, to the back (Dower).
LEAD_VECTORS = np.array(
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
ATRIAL_GAIN = np.array([0.75, 0.75, 1.0, 0.45, 0.35, 0.35, 0.4, 0.5])
# One stream per purpose.
PATIENT, RHYTHM, NOISE, FINDING = range(1, 5)
# The tangent to a Gaussian where it falls most steeply meets the baseline so many widths after its peak: the end of T.
T_TAIL = 2.0
# Beats before and after the recording, so that its first and last samples lie between beats like all others.
MARGIN = 4


@dataclass(frozen=True)
class Wave:
    """A Gaussian of the dipole: centre (s after QRS onset), width (s, one standard deviation), size and direction (mV).

    `hold` keeps its top level for so long (s, half on either side of the centre); `fall` is the width of its falling side
    where that is another.
    """

    name: str
    at: float
    width: float
    vector: Vector
    hold: float = 0.0
    fall: float | None = None


@dataclass(frozen=True)
class Beat:
    """One beat: QRS onset (s), durations (s), breathing's gain, and its waves. `p` is (start, stop) after onset, or None."""

    onset: float
    gain: float
    p: tuple[float, float] | None
    qrs: float
    qt: float
    waves: tuple[Wave, ...]
    symbol: str = "N"


@dataclass(frozen=True)
class Patient:
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
    electrodes: Doubles  # (8, 3), the lead vectors of these electrode positions


@dataclass(frozen=True, eq=False)
class Plan:
    """A recording before it is projected: beats, and a background (8, N) mV that belongs to none of them."""

    patient: Patient
    seconds: float
    time: Doubles
    rate: float
    beats: tuple[Beat, ...]
    background: Doubles | None = None


def draw_patient(seed: int) -> Patient:
    """Draw what a seed keeps through all its recordings."""
    rng = np.random.default_rng([seed, PATIENT])

    def about(value: float, spread: float) -> float:
        return value * float(np.exp(spread * np.clip(rng.standard_normal(), -2, 2)))

    def turn(degrees: float) -> float:
        return math.radians(degrees * float(np.clip(rng.standard_normal(), -2, 2)))

    size = about(1.0, 0.19)
    sizes = (about(1.0, 0.25), about(1.0, 0.4), about(1.0, 0.12), about(1.0, 0.25), about(1.15, 0.28))
    # Electrodes are never quite where the book wants them, and chests differ.
    electrodes = LEAD_VECTORS * np.exp(0.10 * rng.standard_normal((8, 1))) + 0.04 * rng.standard_normal((8, 3))
    return Patient(
        size=size,
        sizes=sizes,
        axis=turn(15),
        turn=turn(10),
        t_axis=turn(10),
        t_turn=turn(10),
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


def sinus_rhythm(patient: Patient, seconds: float, time: Doubles, rng: np.random.Generator) -> Plan:
    """The seed's own rhythm: 55 to 95 a minute, quickening with every breath."""
    rate = float(rng.uniform(55, 95))
    rr = random_breathing_intervals(patient, seconds, rate, rng)
    onsets, rr = place_beats(rr, rate, seconds, float(rng.uniform()))
    beats = sinus_beats(patient, onsets, rr, rate, rng.standard_normal(len(onsets)))
    return Plan(patient=patient, seconds=seconds, time=time, rate=rate, beats=tuple(beats))


def random_breathing_intervals(
    patient: Patient, seconds: float, rate: float, rng: np.random.Generator, swing: float = 1.0
) -> Doubles:
    """Relative RR intervals of a sinus rhythm, with `MARGIN` more on either side: about 1, and never a metronome."""
    count = intervals_in(seconds, rate) + 2 * MARGIN
    nominal = np.arange(count) * 60 / rate
    breath = np.sin(2 * np.pi * patient.breathing * nominal + patient.breath)
    slow = np.sin(2 * np.pi * (0.1 * nominal + float(rng.uniform())))
    rr = float(rng.uniform(0.012, 0.04)) * breath + float(rng.uniform(0.005, 0.018)) * slow
    return np.asarray(1 + swing * (rr + 0.008 * rng.standard_normal(count)))


def intervals_in(seconds: float, rate: float) -> int:
    """Return how many whole RR intervals fit into a recording at `rate` beats per minute."""
    return max(1, math.floor((seconds - 0.4) * rate / 60))


def place_beats(rr: Doubles, rate: float, seconds: float, where: float) -> tuple[Doubles, Doubles]:
    """Onsets (s) and the interval before each (s), from relative intervals with `MARGIN` more on either side.

    The intervals inside the recording are scaled to the intended rate; `where` (0 to 1) shifts them within it.
    """
    rr = rr * (60 / rate) / rr[MARGIN:-MARGIN].mean()
    inside = float(rr[MARGIN:-MARGIN].sum())
    first = 0.15 + where * max(0.0, seconds - 0.4 - inside)
    onsets = first + np.concatenate([[0.0], np.cumsum(rr)]) - rr[:MARGIN].sum()
    return onsets, np.concatenate([rr[:1], rr])


def sinus_beats(patient: Patient, onsets: Doubles, rr: Doubles, rate: float, jitter: Doubles) -> list[Beat]:
    """Ordinary beats with their QRS onsets at `onsets`; `rr` is the interval before each, s."""
    p_size, q_size, r_size, s_size, t_size = patient.sizes
    d, size = patient.qrs, patient.size
    atria = tuple(
        Wave("P", -patient.pr + at * patient.p, 0.165 * patient.p, _scaled(vector, p_size))
        for at, vector in ((0.37, (0.034, 0.080, -0.035)), (0.63, (0.052, 0.052, 0.032)))
    )
    ventricles = tuple(
        Wave("QRS", at * d, width * d, turned_vector(vector, size * own, patient.axis, patient.turn))
        for at, width, own, vector in (
            # What is larger is seen for longer: the first wave moves inwards by that much, and so does the last.
            (
                0.19 + 0.029 * math.log(q_size * size),
                0.075,
                q_size,
                (-0.08, -0.04, -0.24),
            ),  # septum: to the right, forward
            (0.45, 0.098, r_size, (1.22, 0.60, 0.16)),  # apex and free wall: to the left and down
            (0.63 - 0.043 * math.log(s_size * size), 0.110, s_size, (-0.08, 0.03, 0.84)),  # base: back
        )
    )
    beats = []
    for onset, interval, noise in zip(onsets, rr, jitter, strict=True):
        # QT follows the rate of the last minute more than the last beat.
        effective = 0.7 * 60 / rate + 0.3 * float(interval)
        qt = patient.qtc * effective ** (1 / 3)
        peak = qt - T_TAIL * patient.t_fall
        repolarisation = tuple(
            Wave("T", peak + at, width, turned_vector(vector, t_size * size**0.5, patient.t_axis, patient.t_turn))
            for at, width, vector in (
                (0.0, patient.t_fall, (0.185, 0.105, -0.095)),
                (-0.055, 0.062, (0.080, 0.040, -0.115)),
            )
        )
        breath = math.sin(2 * np.pi * patient.breathing * float(onset) + patient.breath)
        beats.append(
            Beat(
                onset=float(onset),
                gain=1 + patient.swing * breath + 0.008 * float(noise),
                p=(-patient.pr, -patient.pr + patient.p),
                qrs=patient.qrs,
                qt=qt,
                waves=atria + ventricles + repolarisation,
            )
        )
    return beats


def project(plan: Plan) -> Doubles:
    """The eight measured leads (8, N), mV, free of noise."""
    dipole = np.zeros((3, len(plan.time)))
    # A pacing spike is shorter than a sample; what a recorder's filter makes of it is not.
    shortest = 0.55 * plan.seconds / len(plan.time)
    for beat in plan.beats:
        for wave in beat.waves:
            start = beat.onset + wave.at - wave.hold / 2
            stop = start + wave.hold
            rise = max(wave.width, shortest)
            fall = rise if wave.fall is None else wave.fall
            first, last = np.searchsorted(plan.time, [start - 5 * rise, stop + 5 * fall])
            time = plan.time[first:last]
            bell = np.exp(-0.5 * ((time - start) / rise) ** 2)
            if wave.hold or wave.fall is not None:
                bell[time >= start] = 1.0
                after = time > stop
                bell[after] = np.exp(-0.5 * ((time[after] - stop) / fall) ** 2)
            dipole[:, first:last] += np.outer(wave.vector, beat.gain * bell)
    leads = plan.patient.electrodes @ dipole
    return np.asarray(leads if plan.background is None else leads + plan.background)


def without_wave(beat: Beat, name: str) -> tuple[Wave, ...]:
    """Return a beat's waves but those of one name."""
    return tuple(wave for wave in beat.waves if wave.name != name)


def _scaled(vector: Vector, size: float) -> Vector:
    x, y, z = vector
    return (size * x, size * y, size * z)


def turned_vector(vector: Vector, size: float, axis: float, turn: float) -> Vector:
    """Turn a vector by `axis` in the frontal plane (towards the feet) and by `turn` in the horizontal plane (to the back)."""
    x, y, z = vector
    x, y = x * math.cos(axis) - y * math.sin(axis), x * math.sin(axis) + y * math.cos(axis)
    x, z = x * math.cos(turn) - z * math.sin(turn), x * math.sin(turn) + z * math.cos(turn)
    return (size * x, size * y, size * z)
