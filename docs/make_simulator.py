"""Draw docs/img/simulator.png (`python docs/make_simulator.py`): every finding in three leads, twin grey, truth yellow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ecgcam.records.simulator import FINDINGS, Simulation, simulate

OUT = Path(__file__).parent / "img" / "simulator.png"
SEED, SECONDS, COLUMNS = 14, 2.4, 2
LOWEST, HIGHEST = -2.2, 1.9  # mV from a lead's level
# The leads that a reader of the finding looks at first.
LEADS = {
    "normal": ("II", "V1", "V5"), "af": ("II", "V1", "V5"), "flutter": ("II", "aVF", "V1"), "av-block-1": ("II", "V1", "V5"),
    "lbbb": ("I", "V1", "V6"), "rbbb": ("I", "V1", "V6"), "irbbb": ("I", "V1", "V6"), "lafb": ("I", "II", "aVF"),
    "lvh": ("aVL", "V1", "V5"), "inferior-mi": ("II", "III", "aVL"), "anteroseptal-mi": ("V1", "V2", "V3"),
}  # fmt: skip
WALL = {"ischaemia": "lateral", "st-depression": "anterior", "q-waves": "inferior", "t-inversion": "anterior",
        "st-elevation": "inferior"}  # fmt: skip
BY_WALL = {"inferior": ("II", "III", "aVL"), "anterior": ("V2", "V3", "V4"), "lateral": ("I", "V5", "V6")}


def window(made: Simulation) -> int:
    """The first sample to draw: before a premature beat if there is one."""
    early = [beat for beat, symbol in zip(made.beats, made.symbols, strict=True) if symbol == "V"]
    return max(0, int(early[0] - 1.1 * made.fs)) if early else int(0.5 * made.fs)


def draw(axes: Axes, finding: str) -> None:
    """Draw one finding in its three leads."""
    made = simulate(finding, SEED, wall=WALL.get(finding))
    first = window(made)
    cut = slice(first, first + round(SECONDS * made.fs))
    time = np.arange(cut.stop - cut.start) / made.fs
    leads = BY_WALL[made.wall] if made.wall else LEADS.get(finding, ("II", "V1", "V5"))
    for place, lead in enumerate(leads):
        row = made.leads.index(lead)
        left = place * (SECONDS + 0.2)
        level = np.median(made.signal[row])
        if made.twin is not None:
            axes.plot(left + time, np.clip(made.twin[row, cut] - level, LOWEST, HIGHEST), color="#9aa0a6", lw=0.6)
        axes.plot(left + time, np.clip(made.signal[row, cut] - level, LOWEST, HIGHEST), color="black", lw=0.9)
        axes.fill_between(left + time, LOWEST, HIGHEST, where=made.mask[row, cut], color="#ffe08a", alpha=0.55, lw=0)
        axes.text(left, 1.5, lead, fontsize=7)
    width = 3 * (SECONDS + 0.2) - 0.2
    axes.set(xlim=(0, width), ylim=(LOWEST, HIGHEST), xticks=np.arange(0, width, 0.2), yticks=np.arange(-2, 2, 0.5))
    axes.tick_params(length=0, labelbottom=False, labelleft=False)
    axes.grid(color="#f6c9c9", lw=0.4)
    axes.set_axisbelow(True)
    axes.set_title(finding + (f" ({made.wall})" if made.wall else ""), loc="left", fontsize=9, pad=2)
    for side in axes.spines.values():
        side.set_visible(False)


def main() -> None:
    """Draw all findings."""
    rows = -(-len(FINDINGS) // COLUMNS)
    figure = Figure(figsize=(6.6 * COLUMNS, 1.75 * rows), dpi=90)
    FigureCanvasAgg(figure)
    for axes, finding in zip(figure.subplots(rows, COLUMNS).flat, FINDINGS, strict=True):
        draw(axes, finding)
    figure.tight_layout(h_pad=0.4, w_pad=0.8)
    figure.savefig(OUT, metadata={"Software": None}, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main()
