"""The table of findings: how each changes a sinus rhythm, where it shows, and whether it has a wall (see the package)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ecgcam.records.simulator import conduction, muscle, rhythm
from ecgcam.records.simulator.heart import Plan


@dataclass(frozen=True)
class Row:
    """A finding.

    `change` takes a plan, a generator and, where there are `walls`, one of them. `shows_in` names the intervals that are the
    truth; where there are none, the truth is the difference from the twin.
    """

    change: Callable[..., Plan]
    shows_in: tuple[str, ...] = ()
    walls: tuple[str, ...] = ()


def _normal(plan: Plan, _: np.random.Generator) -> Plan:
    return plan


WALLS = muscle.WALLS
TABLE: dict[str, Row] = {
    "normal": Row(_normal),
    "af": Row(rhythm.atrial_fibrillation, shows_in=("TQ",)),
    "flutter": Row(rhythm.atrial_flutter, shows_in=("TQ",)),
    "tachycardia": Row(rhythm.sinus_tachycardia, shows_in=("TQ",)),
    "bradycardia": Row(rhythm.sinus_bradycardia, shows_in=("TQ",)),
    "av-block-1": Row(rhythm.first_degree_av_block, shows_in=("PR",)),
    "lbbb": Row(conduction.left_bundle_branch_block),
    "rbbb": Row(conduction.right_bundle_branch_block),
    "irbbb": Row(conduction.incomplete_right_bundle_branch_block),
    "lafb": Row(conduction.left_anterior_fascicular_block),
    "lvh": Row(muscle.left_ventricular_hypertrophy),
    "inferior-mi": Row(muscle.inferior_infarction),
    "anteroseptal-mi": Row(muscle.anteroseptal_infarction),
    "pvc": Row(rhythm.premature_ventricular_complexes),
    "paced": Row(conduction.paced_rhythm),
    "ischaemia": Row(muscle.ischaemia, walls=WALLS),
    "st-depression": Row(muscle.st_depression, walls=WALLS),
    "t-abnormal": Row(muscle.t_abnormality),
    "q-waves": Row(muscle.q_waves, walls=WALLS),
    "t-inversion": Row(muscle.t_inversion, walls=WALLS),
    "st-elevation": Row(muscle.st_elevation, walls=WALLS),
    "long-qt": Row(muscle.long_qt, shows_in=("QT",)),
}


def change(plan: Plan, finding: str, wall: str | None, rng: np.random.Generator) -> tuple[Plan, str | None]:
    """Return the plan with the finding, and the wall: the given one, or the one that is drawn."""
    row = TABLE[finding]
    if not row.walls:
        return row.change(plan, rng), None
    drawn = row.walls[int(rng.integers(len(row.walls)))]
    return row.change(plan, rng, wall or drawn), wall or drawn
