"""Findings of conduction: the ventricles are reached late, by a detour, or by wire (see the package)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ecgcam.records.simulator.heart import T_TAIL, Beat, Plan, Vector, Wave, turned_vector
from ecgcam.records.simulator.rhythm import ectopic_ventricle


def left_bundle_branch_block(plan: Plan, rng: np.random.Generator) -> Plan:
    """The left ventricle is reached late, through the septum from the right: broad, notched, to the left and back."""
    patient = plan.patient
    qrs = float(rng.uniform(0.132, 0.160))
    size = patient.size * float(rng.uniform(0.9, 1.15))
    notch = float(rng.uniform(0.85, 1.1))
    small_r = float(rng.uniform(0.0, 0.22))  # V1 to V3: QS, or a small r before the S
    axis = 0.6 * patient.axis - float(rng.uniform(0.0, 0.35))
    # No septal q: the septum is crossed from right to left, so the first vector already points to the left.
    ventricle = (
        (0.14, 0.052, (0.16, 0.04, -small_r)),
        (0.31, 0.105, (0.80, 0.44, 0.95)),
        (0.51, 0.125, (0.50, 0.20, 1.50)),
        (0.70, 0.092, (0.50 * notch, 0.08, 0.90)),
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
        peak = qt - T_TAIL * patient.t_fall
        repolarisation = (
            Wave("T", peak, 1.1 * patient.t_fall, turned_vector((-0.17, -0.03, -0.40), discordant, axis, 0.0)),
            Wave("T", peak - 0.075, 0.072, turned_vector((-0.13, -0.03, -0.38), discordant, axis, 0.0)),
        )
        kept = tuple(wave for wave in beat.waves if wave.name == "P")
        return replace(beat, qrs=qrs, qt=qt, symbol="L", waves=kept + waves + repolarisation)

    return replace(plan, beats=tuple(widened(beat) for beat in plan.beats))


def right_bundle_branch_block(plan: Plan, rng: np.random.Generator) -> Plan:
    """The left ventricle as ever, then the right one late and slowly: R' in V1, broad S in I and V6, T against it in V1."""
    qrs = float(rng.uniform(0.126, 0.152))
    size = float(rng.uniform(0.85, 1.25))
    return _right_ventricle_last(plan, qrs, size, discordance=float(rng.uniform(0.8, 1.2)), rng=rng)


def incomplete_right_bundle_branch_block(plan: Plan, rng: np.random.Generator) -> Plan:
    """The same, less late: QRS 102 to 116 ms, a small narrow r' in V1, a small S in I and V6."""
    qrs = float(rng.uniform(0.102, 0.116))
    return _right_ventricle_last(
        plan, qrs, float(rng.uniform(0.40, 0.60)), discordance=float(rng.uniform(0.2, 0.4)), rng=rng
    )


def _right_ventricle_last(plan: Plan, qrs: float, size: float, discordance: float, rng: np.random.Generator) -> Plan:
    opposed = 1 - float(rng.uniform(0.5, 0.75)) * min(1.0, size)
    patient = plan.patient
    # Forward and to the right; a little up or down as the heart lies.
    towards: Vector = (-0.42, float(rng.uniform(-0.12, 0.12)), -0.78)
    size *= patient.size**0.5
    delay = qrs - patient.qrs
    late = tuple(
        Wave("QRS", qrs - back, width, turned_vector(towards, size * share, 0.0, 0.5 * patient.turn))
        for back, width, share in (
            (0.040 + 0.42 * delay, 0.009 + 0.10 * delay, 0.85),
            (0.027 + 0.16 * delay, 0.009 + 0.08 * delay, 0.55),
        )
    )
    t_size = discordance * size * patient.sizes[4] ** 0.5

    def widened(beat: Beat) -> Beat:
        qt = beat.qt + 0.7 * (qrs - beat.qrs)
        moved = [replace(w, at=w.at + qt - beat.qt) if w.name == "T" else w for w in beat.waves]
        # The left ventricle's last forces point backward, and the right one's forward: little is left of them.
        base = max(i for i, w in enumerate(moved) if w.name == "QRS")
        moved[base] = replace(moved[base], vector=turned_vector(moved[base].vector, opposed, 0.0, 0.0))
        # T runs against the late forces: inverted in V1, seldom beyond V2 or V3.
        against = Wave(
            "T", qt - 2.3 * patient.t_fall, 1.1 * patient.t_fall, turned_vector((0.05, 0.0, 0.27), t_size, 0, 0)
        )
        return replace(beat, qrs=qrs, qt=qt, symbol="R", waves=(*moved, *late, against))

    return replace(plan, beats=tuple(widened(beat) for beat in plan.beats))


def left_anterior_fascicular_block(plan: Plan, rng: np.random.Generator) -> Plan:
    """The upper front of the left ventricle comes last: first down, then up and left: axis -45 to -75 degrees, QRS to 112 ms."""
    patient = plan.patient
    qrs = patient.qrs + float(rng.uniform(0.008, 0.014))
    size = patient.size * float(rng.uniform(0.9, 1.1))
    axis = math.radians(float(rng.uniform(-12, 10)))
    ventricle = (
        (0.18, 0.074, (-0.14, 0.26, -0.20)),  # down and forward: small r in II, III, aVF and q in I, aVL
        (0.43, 0.105, (0.85, -0.36, 0.10)),
        (0.63, 0.105, (-0.24, -0.42, 0.74)),
    )
    waves = tuple(
        Wave("QRS", at * qrs, width * qrs, turned_vector(vector, size, axis, patient.turn))
        for at, width, vector in ventricle
    )

    def turned(beat: Beat) -> Beat:
        kept = tuple(wave for wave in beat.waves if wave.name != "QRS")
        return replace(beat, qrs=qrs, waves=kept + waves)

    return replace(plan, beats=tuple(turned(beat) for beat in plan.beats))


def paced_rhythm(plan: Plan, rng: np.random.Generator) -> Plan:
    """A spike, then a beat from the right ventricle's apex, after each P wave; in some, a spike before the P wave too."""
    patient = plan.patient
    both = bool(rng.uniform() < 0.35)
    qrs = float(rng.uniform(0.150, 0.180))
    height = math.exp(float(rng.uniform(math.log(0.18), math.log(1.3))))
    # From the lead's tip to its ring, or to the can below the left shoulder: mostly downwards, or against that.
    across = float(rng.uniform(-0.4, 0.4))
    towards: Vector = (-0.5 + across, 0.75, -0.25)
    origin: tuple[Vector, Vector, Vector] = (
        (0.25, -0.30, 0.05), (0.45, -0.85, 0.55), (0.20, -0.45, 0.55),
    )  # fmt: skip
    axis, turn = (math.radians(float(rng.uniform(-14, 14))) for _ in range(2))
    size = patient.size**0.7 * float(rng.uniform(0.9, 1.2))
    waves = ectopic_ventricle(patient, qrs, origin, size, axis, turn)
    atrial = height * float(rng.uniform(0.5, 1.0))

    def spike(at: float, size: float) -> Wave:
        return Wave("spike", at, 0.0011, turned_vector(towards, size, 0.0, 0.0))

    def paced(beat: Beat) -> Beat:
        qt = beat.qt + 0.7 * (qrs - beat.qrs)
        ventricles = tuple(replace(w, at=w.at + qt) if w.name == "T" else w for w in waves)
        kept = tuple(wave for wave in beat.waves if wave.name == "P")
        spikes = [spike(-0.004, height)]
        if both and beat.p is not None:
            spikes.append(spike(beat.p[0] - 0.004, atrial))
        return replace(beat, qrs=qrs, qt=qt, symbol="/", waves=(*kept, *spikes, *ventricles))

    return replace(plan, beats=tuple(paced(beat) for beat in plan.beats))
