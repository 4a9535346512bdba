"""The cost of drawing compared with the minimum: python -m benchmarks.pictures [--repeat N] [--waves] [--layout NAME].

Two minima, measured in the same run. *Same pictures*: Agg draws the finished figures, and their pixels are encoded as PNG; what
is over is making figures. *Traces only*: Agg draws empty figures of the same sizes with the traces alone, without paper, map or
words, and the same pixels are encoded. All are CPU seconds, best of N.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ecgcam import render
from ecgcam.records import CANONICAL_LEADS
from ecgcam.records.simulator import simulate
from ecgcam.render.output import PNG_LEVEL
from ecgcam.results.beatwise import wave_table
from ecgcam.results.explanation import FORMAT, LAYOUTS, Explanation


def example() -> Explanation:
    """A simulated recording with a smooth map: what the bundled model gives, without the model."""
    record = simulate("lbbb", 3)
    signal = record.signal
    time_ = np.arange(signal.shape[1]) / record.fs
    maps = np.abs(np.sin(2 * np.pi * (0.7 + 0.1 * np.arange(12)[:, None]) * time_)).astype(np.float32) ** 4
    nothing = np.zeros((12, 0), np.float32)
    meta = {
        "format": FORMAT, "record": "lbbb-3", "text": "left bundle branch block", "against": None, "method": "grad-cam",
        "layer": "layer", "mask": "baseline", "signed": False, "model": "mini", "cell_step_ms": 32.0, "cell_width_ms": 640.0,
        "warnings": [],
    }  # fmt: skip
    return Explanation(
        map=maps, map_cells=np.zeros((12, 313), np.float32), cell_time=np.arange(313) * 0.032, gradient=nothing,
        gradient_smoothed=nothing, signal=signal, time=time_, fs=record.fs, valid=np.ones(signal.shape, bool),
        leads=CANONICAL_LEADS, score=0.5, empty_score=0.1, lead_scores=np.linspace(0.1, 0.6, 12).astype(np.float32),
        mask_shift=np.zeros(12, np.float32), meta=meta,
    )  # fmt: skip


def bare(sizes: list[tuple[int, int]], pixels: list[np.ndarray], explanation: Explanation, folder: Path) -> None:
    """Draw the traces on empty figures of these sizes with Agg, and encode these pixels as PNG."""
    for number, ((width, height), picture) in enumerate(zip(sizes, pixels, strict=True)):
        figure = Figure(figsize=(width / 100, height / 100), dpi=100)
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        rows = [number] if number < 12 else range(12)
        for row in rows:
            axes.plot(explanation.time, explanation.signal[row] + (0 if number < 12 else row), linewidth=0.9)
        canvas.draw()
        Image.fromarray(picture).save(folder / "bare.png", compress_level=PNG_LEVEL)


def redraw(figures: list[Figure], pixels: list[np.ndarray], folder: Path) -> None:
    """Draw finished figures with Agg, and encode these pixels as PNG."""
    for figure, picture in zip(figures, pixels, strict=True):
        FigureCanvasAgg(figure).draw()
        Image.fromarray(picture).save(folder / "same.png", compress_level=PNG_LEVEL)


def best(call: object, repeat: int) -> float:
    """CPU seconds of the fastest of `repeat` calls."""
    times = []
    for _ in range(repeat):
        began = time.process_time()
        call()  # type: ignore[operator]
        times.append(time.process_time() - began)
    return min(times)


def measure(repeat: int, layout: str, waves: bool) -> tuple[float, float, float]:
    """Return the seconds of our pictures, of the same figures drawn and encoded, and of the traces alone."""
    explanation = example()
    table = wave_table(explanation) if waves else None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def ours() -> None:
            for file, figure in render.pictures(explanation, layout=layout, waves=table):
                render.save(figure, folder / file)

        ours()
        names = [f"lead-{lead}.png" for lead in CANONICAL_LEADS] + ["page.png"] + (["beats.png"] if waves else [])
        pixels = [np.asarray(Image.open(folder / file)) for file in names]
        sizes = [(picture.shape[1], picture.shape[0]) for picture in pixels]
        figures = [render.strip(explanation, lead) for lead in CANONICAL_LEADS]
        figures.append(render.page(explanation, layout=layout, waves=table))
        if table is not None:
            figures.append(render.beats(explanation, table))
        return (
            best(ours, repeat),
            best(lambda: redraw(figures, pixels, folder), repeat),
            best(lambda: bare(sizes, pixels, explanation, folder), repeat),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--layout", choices=LAYOUTS, default="12x1")
    parser.add_argument("--waves", action="store_true")
    options = parser.parse_args()
    took, same, least = measure(options.repeat, options.layout, options.waves)
    what = "twelve strips and a page" + (", and the average beats" if options.waves else "")
    print(f"{what} ({options.layout}): {took:.3f} s")
    print(f"  same pictures drawn and encoded {same:.3f} s: {took / same:.2f} times that")
    print(f"  traces only drawn, same pixels encoded {least:.3f} s: {took / least:.2f} times that")


if __name__ == "__main__":
    main()
