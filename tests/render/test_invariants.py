"""What holds for every page, over real recordings and prompts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

import ecgcam
from ecgcam import render
from ecgcam.errors import EcgcamError
from ecgcam.render.colour import NO_LEAD
from ecgcam.render.panels import LAYOUTS
from ecgcam.results.beatwise import wave_table
from ecgcam.results.explanation import Explanation
from ecgcam.results.ranks import lead_ranks

PROMPTS = ["normal ECG", "atrial fibrillation", "left bundle branch block"]
_OPTIONS = render.PictureOptions(dpi=60)


def explanations(folder: Path, count: int) -> Iterator[Explanation]:
    model = ecgcam.load_model("mini")
    found = sorted((folder / "ptbxl/records500").rglob("*.hea"))
    paths = [found[number] for number in np.linspace(0, len(found) - 1, count * 2 // 3).astype(int)]
    poor = sorted((folder / "quality").glob("*.hea"))
    paths += poor[: count - len(paths)]
    for path in paths:
        try:
            yield from ecgcam.explain(path, PROMPTS, model)
        except EcgcamError as error:
            if "no lead has a signal" not in str(error):
                raise


def shown(figure: Figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


@pytest.mark.shared
@pytest.mark.parametrize("count", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_every_page(unpacked: Path, count: int) -> None:
    seen = 0
    for made in explanations(unpacked, count):
        table = wave_table(made)
        figure = render.page(made, waves=table, options=_OPTIONS)
        texts = shown(figure)
        words = " ".join(" ".join(text.get_text().split()) for text in texts)
        said = f"{made.meta['record']}, {made.meta['text']}"
        # No legend says zero where the map is not.
        if made.map.any():
            assert "zero everywhere" not in words, said
        if (made.gains <= 0).all() and made.map.any():
            assert NO_LEAD in words, said
        # The headline is the verdict, and never a yes where the ECG does not raise the score.
        assert f"Model: {made.meta['verdict']['answer']}" in words, said
        assert "Model: yes" not in words or made.score > made.empty_score, said
        # No flat lead has a rank, every other has one.
        ranks = lead_ranks(made)
        assert [rank is not None for rank in ranks] == made.valid.any(axis=1).tolist(), said
        # No value of a wave from fewer than half of the beats.
        few = 2 * table.found < len(table.waves.beats)
        assert np.isnan(table.density[:, few]).all(), said
        # Every trace lies inside its paper.
        panels = LAYOUTS["3x4"](made, 1.0)
        traces = [line for line in figure.axes[0].lines if len(line.get_xdata()) > 50]
        assert len(traces) == len(panels), said
        band = 5 if traces else 0
        for panel, line in zip(panels, traces, strict=True):
            heights = np.asarray(line.get_ydata(), float)
            if np.isfinite(heights).any():
                assert panel.bottom + band <= np.nanmin(heights), said
                assert np.nanmax(heights) <= panel.top + band, said
        # Every warning is on the page; no text is smaller than 6 pt.
        for warning in made.meta["warnings"]:
            assert warning[1:40] in words, said
        assert min(text.get_fontsize() for text in texts) >= 6
        seen += 1
    assert seen >= 0.7 * count * len(PROMPTS)
