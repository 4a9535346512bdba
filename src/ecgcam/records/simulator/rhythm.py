"""Findings of the rhythm: when the heart beats, and where a beat begins (see the package)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ecgcam.records.simulator.heart import (
    ATRIAL_GAIN,
    LEAD_VECTORS,
    MARGIN,
    T_TAIL,
    Beat,
    Doubles,
    Patient,
    Plan,
    Vector,
    Wave,
    intervals_in,
    place_beats,
    random_breathing_intervals,
    sinus_beats,
    turned_vector,
    without_wave,
)


def atrial_fibrillation(plan: Plan, rng: np.random.Generator) -> Plan:
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


def atrial_flutter(plan: Plan, rng: np.random.Generator) -> Plan:
    """The atria turn in a circle at 250 to 330 a minute; every second, third or fourth turn reaches the ventricles."""
    ratio = int(rng.choice([2, 3, 4], p=[0.25, 0.25, 0.5]))
    turns = float(rng.uniform(250, 330))
    rate = turns / ratio
    count = intervals_in(plan.seconds, rate) + 2 * MARGIN
    onsets, rr = place_beats(np.ones(count), rate, plan.seconds, float(rng.uniform()))
    jitter = rng.standard_normal(len(onsets))
    beats = [
        replace(b, p=None, waves=without_wave(b, "P")) for b in sinus_beats(plan.patient, onsets, rr, rate, jitter)
    ]
    phase = 2 * np.pi * (turns / 60 * (plan.time - onsets[0]) + float(rng.uniform(0.0, 1.0)))
    # A saw's teeth, counterclockwise: down slowly and up fast in II, III and aVF; small and upright in V1.
    height = float(rng.uniform(0.10, 0.17))
    teeth = sum(math.exp(-0.12 * k * k) / k * np.sin(k * phase) for k in (1, 2, 3, 4))
    bumps = np.cos(phase - 0.4) + 0.25 * np.cos(2 * phase)
    frontal = np.outer(LEAD_VECTORS @ np.array([0.0, 0.85, 0.0]), height * teeth)
    forward = np.outer(LEAD_VECTORS @ np.array([0.0, 0.0, -0.55]), height * bumps)
    return replace(plan, rate=rate, beats=tuple(beats), background=ATRIAL_GAIN[:, None] * (frontal + forward))


def sinus_tachycardia(plan: Plan, rng: np.random.Generator) -> Plan:
    """The same heart at 105 to 140 a minute: diastole shrinks, PR a little, QT with the cube root of RR."""
    return _at_rate(plan, float(rng.uniform(105, 140)), 0.4, rng)


def sinus_bradycardia(plan: Plan, rng: np.random.Generator) -> Plan:
    """The same heart at 37 to 54 a minute."""
    return _at_rate(plan, float(rng.uniform(37, 54)), 1.0, rng)


def _at_rate(plan: Plan, rate: float, swing: float, rng: np.random.Generator) -> Plan:
    """Sinus rhythm at another rate; `swing` is how much of the breathing's effect on RR is left."""
    patient = replace(plan.patient, pr=min(0.196, plan.patient.pr * (75 / rate) ** 0.25))
    rr = random_breathing_intervals(patient, plan.seconds, rate, rng, swing)
    onsets, rr = place_beats(rr, rate, plan.seconds, float(rng.uniform()))
    beats = sinus_beats(patient, onsets, rr, rate, rng.standard_normal(len(onsets)))
    return replace(plan, patient=patient, rate=rate, beats=tuple(beats))


def first_degree_av_block(plan: Plan, rng: np.random.Generator) -> Plan:
    """Every P wave is conducted, and late: PR 220 to 340 ms, as long as diastole leaves room for the P wave."""
    share = float(rng.uniform())
    diastole = min(
        later.onset - (beat.onset + beat.qt) for beat, later in zip(plan.beats, plan.beats[1:], strict=False)
    )
    longest = min(0.34, max(0.23, diastole + 0.02))
    pr = 0.22 + share * (longest - 0.22)
    earlier = pr - plan.patient.pr

    def delayed(beat: Beat) -> Beat:
        waves = tuple(replace(w, at=w.at - earlier) if w.name == "P" else w for w in beat.waves)
        return replace(beat, p=(-pr, -pr + plan.patient.p), waves=waves)

    return replace(plan, beats=tuple(delayed(beat) for beat in plan.beats))


# Where an ectopic beat begins, and how its QRS then runs: early, main and late vector (mV).
_ORIGINS: tuple[tuple[Vector, Vector, Vector], ...] = (
    ((0.15, 0.25, -0.10), (0.45, 1.25, 0.75), (0.15, 0.45, 0.70)),  # right ventricular outflow: downwards
    ((0.20, -0.15, -0.05), (0.85, -0.80, 0.75), (0.35, -0.45, 0.65)),  # right ventricular apex: upwards and to the left
    (
        (-0.05, -0.25, -0.35),
        (-0.30, -0.85, -0.80),
        (-0.35, -0.40, -0.30),
    ),  # left ventricle, below: upwards, V1 positive
    (
        (-0.10, 0.20, -0.35),
        (-0.50, 0.95, -0.75),
        (-0.35, 0.45, -0.30),
    ),  # left ventricle, side: to the right, V1 positive
)


def premature_ventricular_complexes(plan: Plan, rng: np.random.Generator) -> Plan:
    """Early broad beats from one place in a ventricle; the sinus beat they forestall is missing, its P wave remains.

    Single ones, or every second or third beat. The sinus node is not reset, so the pause is fully compensatory and all other
    beats are where the twin's are.
    """
    every = int(rng.choice([0, 2, 3], p=[0.7, 0.18, 0.12]))
    forestalled = _forestalled(plan, every, rng)
    origin = _ORIGINS[int(rng.integers(len(_ORIGINS)))]
    qrs = float(rng.uniform(0.135, 0.165))
    coupling = float(rng.uniform(0.52, 0.68))
    axis, turn = (math.radians(float(rng.uniform(-15, 15))) for _ in range(2))
    size = plan.patient.size**0.5 * float(rng.uniform(1.0, 1.35))
    waves = ectopic_ventricle(plan.patient, qrs, origin, size, axis, turn)
    beats = list(plan.beats)
    for index in forestalled:
        before, missed = plan.beats[index - 1], plan.beats[index]
        earliest = before.onset + before.qt + 0.03
        onset = max(earliest, before.onset + (coupling + 0.01 * rng.standard_normal()) * (missed.onset - before.onset))
        shift = missed.onset - onset
        qt = qrs + (missed.qt - missed.qrs) * 1.05
        atria = tuple(replace(w, at=w.at + shift) for w in missed.waves if w.name == "P")
        ventricles = tuple(replace(w, at=w.at + qt) if w.name == "T" else w for w in waves)
        p = None if missed.p is None else (missed.p[0] + shift, missed.p[1] + shift)
        beats[index] = replace(missed, onset=onset, p=p, qrs=qrs, qt=qt, waves=atria + ventricles, symbol="V")
    return replace(plan, beats=tuple(beats))


def _forestalled(plan: Plan, every: int, rng: np.random.Generator) -> list[int]:
    """Which beats come as ectopic ones: never two in a row, at least one in the recording, none at its edge if it has room."""
    first = [rng.uniform() for _ in plan.beats]
    onsets = np.array([beat.onset for beat in plan.beats])
    inside = np.flatnonzero((onsets > 0.7) & (onsets < plan.seconds - 0.1))
    room = inside[1:-1] if len(inside) > 3 else inside
    if not len(room):  # a second or two: the beat nearest to its end
        room = np.array([max(1, int(np.searchsorted(onsets, plan.seconds)) - 1)])
    if every:
        return [int(index) for index in room if (index - room[0]) % every == 1 % len(room)]
    wanted = max(1, round(float(rng.uniform(0.08, 0.3)) * len(room)))
    chosen: list[int] = []
    for index in sorted(room.tolist(), key=lambda i: first[i]):
        if len(chosen) < wanted and not any(abs(index - other) < 2 for other in chosen):
            chosen.append(int(index))
    return sorted(chosen)


def ectopic_ventricle(
    patient: Patient, qrs: float, origin: tuple[Vector, Vector, Vector], size: float, axis: float, turn: float
) -> tuple[Wave, ...]:
    """QRS and T of a beat that begins in a ventricle and spreads from muscle to muscle; T waves are timed from the end of T."""
    shape = ((0.18, 0.068), (0.42, 0.125), (0.67, 0.107))
    complex_ = tuple(
        Wave("QRS", at * qrs, width * qrs, turned_vector(vector, size, axis, turn))
        for (at, width), vector in zip(shape, origin, strict=True)
    )
    # Repolarisation runs against the QRS: ST and T are opposite to its area.
    area = np.sum([width * np.array(vector) for (_, width), vector in zip(shape, origin, strict=True)], axis=0)
    x, y, z = (float(value) for value in -area * 2.05)
    end = -T_TAIL * patient.t_fall
    t_size = size * patient.sizes[4] ** 0.5
    return (
        *complex_,
        Wave("T", end - 0.010, 1.25 * patient.t_fall, turned_vector((x, y, z), t_size, axis, turn)),
        Wave("T", end - 0.085, 0.062, turned_vector((x, y, z), 0.55 * t_size, axis, turn)),
    )
