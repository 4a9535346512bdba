"""Findings of the heart muscle: Q waves, ST and T by wall, hypertrophy, long QT (see the package)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ecgcam.records.simulator.heart import T_TAIL, Beat, Patient, Plan, Vector, Wave, turned_vector

# What a wall's injury does to ST (mV at average size), to T when inverted, and to the first 40 ms of the QRS.
# Left, feet, back: the leads over the wall see it one way, those across from it the other.
_ST: dict[str, Vector] = {
    "inferior": (-0.050, 0.170, 0.030),
    "anterior": (0.080, -0.065, -0.170),
    "lateral": (0.190, -0.070, 0.080),
}
_T: dict[str, Vector] = {
    "inferior": (0.110, -0.210, -0.060),
    "anterior": (-0.055, 0.050, 0.215),
    "lateral": (-0.230, 0.060, -0.040),
}
_Q: dict[str, Vector] = {
    "inferior": (0.10, -0.62, 0.00),
    "anterior": (0.06, 0.05, 0.62),
    "lateral": (-0.52, 0.12, -0.14),
}
# That first wave's centre and width, s: in front, Q and S run together.
_Q_TIME = {"inferior": (0.0240, 0.0088), "anterior": (0.0310, 0.0112), "lateral": (0.0260, 0.0099)}
# How the rest of the QRS leans away from a wall that is lost, degrees in the frontal and horizontal plane, and what is left.
_LEAN = {"inferior": (-14, 0, 0.92), "anterior": (0, 33, 0.78), "lateral": (14, 0, 0.92)}
WALLS = tuple(_ST)


def each_beat(plan: Plan, change: Callable[[Beat], Beat]) -> Plan:
    """Return the plan with every beat changed."""
    return replace(plan, beats=tuple(change(beat) for beat in plan.beats))


def st_elevation(plan: Plan, rng: np.random.Generator, wall: str) -> Plan:
    """ST raised over the wall and lowered across from it, running into a tall T wave."""
    return _injury(plan, _ST[wall], float(rng.uniform(0.85, 1.6)), float(rng.uniform(0.5, 1.1)))


def st_depression(plan: Plan, rng: np.random.Generator, wall: str) -> Plan:
    """ST lowered over the wall, level or falling; the T wave small."""
    return _injury(plan, _ST[wall], -float(rng.uniform(0.75, 1.2)), float(rng.uniform(0.3, 0.9)), fall=True)


def _injury(plan: Plan, direction: Vector, size: float, hump: float, *, fall: bool = False) -> Plan:
    """A current between the end of QRS and the end of T; `hump` is how much the T wave adds to it."""
    patient = plan.patient
    size *= patient.size**0.5

    def injured(beat: Beat) -> Beat:
        start = beat.qrs - 0.002
        peak = beat.qt - T_TAIL * patient.t_fall
        vector = turned_vector(direction, size, 0.4 * patient.t_axis, 0.4 * patient.t_turn)
        stop = peak - (0.06 if fall else 0.02)
        segment = Wave("T", (start + stop) / 2, 0.009, vector, hold=stop - start, fall=patient.t_fall)
        top = Wave(
            "T",
            peak,
            0.055,
            turned_vector(direction, hump * size, 0.4 * patient.t_axis, 0.0),
            fall=1.05 * patient.t_fall,
        )
        return replace(beat, waves=(*beat.waves, segment, top))

    return each_beat(plan, injured)


def t_inversion(plan: Plan, rng: np.random.Generator, wall: str) -> Plan:
    """T turned over in the leads over the wall: pointed, its two sides alike."""
    return _turned_over(plan, wall, float(rng.uniform(0.8, 1.6)))


def _turned_over(plan: Plan, wall: str, size: float) -> Plan:
    patient = plan.patient
    size *= _t_size(patient)

    def inverted(beat: Beat) -> Beat:
        width = 1.1 * patient.t_fall
        vector = turned_vector(_T[wall], size, 0.4 * patient.t_axis, 0.4 * patient.t_turn)
        kept = tuple(wave for wave in beat.waves if wave.name != "T")
        return replace(beat, waves=(*kept, Wave("T", beat.qt - T_TAIL * width, width, vector)))

    return each_beat(plan, inverted)


def ischaemia(plan: Plan, rng: np.random.Generator, wall: str) -> Plan:
    """ST lowered and T turned over by the same wall."""
    depth, turned = float(rng.uniform(0.3, 0.6)), float(rng.uniform(0.6, 1.2))
    return _injury(_turned_over(plan, wall, turned), _ST[wall], -depth, 0.0)


def q_waves(plan: Plan, rng: np.random.Generator, wall: str) -> Plan:
    """A wall that is lost: the first 40 ms point away from it, and its R wave is smaller."""
    return _lost(plan, wall, float(rng.uniform(0.85, 1.3)))


def _lost(plan: Plan, wall: str, size: float) -> Plan:
    patient = plan.patient
    size *= patient.size**0.7
    lean, back, left = _LEAN[wall]

    def scarred(beat: Beat) -> Beat:
        waves = []
        septum = True
        for wave in beat.waves:
            if wave.name != "QRS":
                waves.append(wave)
            elif septum:  # the first of the QRS, small and forward, has no part in what now comes first
                septum = False
            else:
                waves.append(
                    replace(wave, vector=turned_vector(wave.vector, left, math.radians(lean), math.radians(back)))
                )
        first = Wave("QRS", *_Q_TIME[wall], turned_vector(_Q[wall], size, 0.3 * patient.axis, 0.3 * patient.turn))
        return replace(beat, waves=(*waves, first))

    return each_beat(plan, scarred)


def inferior_infarction(plan: Plan, rng: np.random.Generator) -> Plan:
    """Q waves in II, III and aVF at some age: ST still raised, or T turned over, or neither."""
    return _infarction(plan, rng, "inferior")


def anteroseptal_infarction(plan: Plan, rng: np.random.Generator) -> Plan:
    """Q waves or QS in V1 to V4, at some age."""
    return _infarction(plan, rng, "anterior")


def _infarction(plan: Plan, rng: np.random.Generator, wall: str) -> Plan:
    age = float(rng.uniform())
    lost, raised, turned = (float(rng.uniform(*bounds)) for bounds in ((0.85, 1.3), (0.4, 1.0), (0.5, 1.1)))
    plan = _lost(plan, wall, lost)
    if age < 0.3:
        return _injury(plan, _ST[wall], raised, 0.5)
    if age < 0.75:
        return _injury(_turned_over(plan, wall, turned), _ST[wall], 0.3 * raised, 0.0)
    return plan


def left_ventricular_hypertrophy(plan: Plan, rng: np.random.Generator) -> Plan:
    """Tall R to the left, deep S in V1 to V3; in most, strain: ST and T against it in I, aVL, V5 and V6."""
    patient = plan.patient
    larger = float(rng.uniform(1.75, 2.1)) / patient.size**0.95
    strain = max(0.0, float(rng.uniform(-0.4, 1.0)))

    def thickened(beat: Beat) -> Beat:
        waves = []
        for wave in beat.waves:
            if wave.name == "QRS":
                x, y, z = wave.vector
                waves.append(replace(wave, vector=(larger * x, 0.85 * larger * y, larger * z)))
            elif wave.name == "T" and strain:
                waves.append(replace(wave, vector=turned_vector(wave.vector, 1 - 0.85 * strain, 0.0, 0.0)))
            else:
                waves.append(wave)
        if strain:
            peak = beat.qt - T_TAIL * patient.t_fall
            against: Vector = (-0.20, -0.04, -0.24)
            start = beat.qrs - 0.002
            segment = turned_vector(against, 0.45 * strain, 0.0, 0.0)
            waves.append(
                Wave("T", (start + peak - 0.05) / 2, 0.010, segment, hold=peak - 0.05 - start, fall=patient.t_fall)
            )
            waves.append(Wave("T", peak, 1.1 * patient.t_fall, turned_vector(against, strain, 0.0, 0.0)))
        # What is larger is seen for longer.
        return replace(beat, qrs=1.05 * beat.qrs, waves=tuple(waves))

    return each_beat(plan, thickened)


def t_abnormality(plan: Plan, rng: np.random.Generator) -> Plan:
    """T waves flat everywhere, or just turned over: no wall in particular."""
    left = float(rng.uniform(-0.25, 0.18))

    def flattened(beat: Beat) -> Beat:
        waves = (replace(w, vector=turned_vector(w.vector, left, 0, 0)) if w.name == "T" else w for w in beat.waves)
        return replace(beat, waves=tuple(waves))

    return each_beat(plan, flattened)


def long_qt(plan: Plan, rng: np.random.Generator) -> Plan:
    """QTc (Fridericia) of 490 to 580 ms, less where T would run into the next P: a late T wave, or a broad one."""
    patient = plan.patient
    room = min(
        (later.onset - patient.pr - 0.045 - beat.onset) / beat.qt
        for beat, later in zip(plan.beats, plan.beats[1:], strict=False)
    )
    wanted = max(0.475 / patient.qtc, min(float(rng.uniform(0.49, 0.58)) / patient.qtc, room))
    broad = float(rng.uniform(1.0, 1.5))

    def prolonged(beat: Beat) -> Beat:
        qt = beat.qt * wanted
        # The end of T is so many widths after its peak, however broad it is.
        peak = beat.qt - T_TAIL * patient.t_fall
        later = qt - T_TAIL * broad * patient.t_fall
        waves = (
            replace(w, at=later + broad * (w.at - peak), width=broad * w.width) if w.name == "T" else w
            for w in beat.waves
        )
        return replace(beat, qt=qt, waves=tuple(waves))

    return each_beat(plan, prolonged)


def _t_size(patient: Patient) -> float:
    return patient.sizes[4] * math.sqrt(patient.size)
