"""`models show --layers`: shapes without weights, and they are those of a real pass."""

from __future__ import annotations

import json

import pytest
import torch

from ecgcam.attribution.hooks import capture
from ecgcam.attribution.taps import output_shapes
from ecgcam.cli.app import run
from ecgcam.models.load import build_network, load_model
from ecgcam.models.model_file import load_spec, model_names
from ecgcam.protocol.preprocessing import Preprocessing
from ecgcam.protocol.spec import InputSpec


def test_shapes_on_the_meta_device_are_those_of_a_real_pass() -> None:
    model = load_model("mini")
    paths = list(model.spec.layers)
    meta = output_shapes(build_network(model.spec), paths, torch.zeros(1, 12, 2500, device="meta"))
    assert meta == output_shapes(model.network, paths, torch.zeros(1, 12, 2500))
    for path in paths:
        got = capture(model, torch.randn(1, 12, 2500), model.encode_text(["AF"]), path)
        assert meta[path] == tuple(got.activations.shape)


@pytest.mark.parametrize("name", model_names())
def test_every_model_file_declares_layers_that_exist(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "show", name, "--layers", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    spec = load_spec(name)
    assert [row["layer"] for row in rows] == list(spec.layers)
    assert [row["layer"] for row in rows if row["default"]] == [spec.layer]
    for row in rows:
        cells = row["shape"]["BCT".index("T") if row["layout"] == "BCT" else 1]
        where = spec.layers[row["layer"]]
        if where.concat_grid:
            # Cells along all leads end to end, of which those of a lead are read.
            step, first, samples = where.concat_grid
            assert samples == spec.input.samples
            assert where.leads * samples - step <= first + step * (cells - 1) + step / 2 <= where.leads * samples + step
            cells = round(samples / where.step)
        elif where.leads:
            assert (cells - where.n_prefix_tokens) % where.leads == 0
            cells = (cells - where.n_prefix_tokens) // where.leads - 2 * where.n_separators
        n_prefix_tokens = 0 if where.leads else where.n_prefix_tokens
        # The last cell's centre lies within a step of the window's end: neither too few nor too many cells.
        last = where.offset + where.step * (cells - n_prefix_tokens - 1)
        assert spec.input.samples - where.step <= last + where.step / 2 <= spec.input.samples + where.step


def test_layers_and_what_is_not_known_are_shown_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "show", "mini", "--layers"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split()[:2] == ["layer", "layout"]
    assert any(row.startswith(f"{load_spec('mini').layer} ") for row in table[1:])
    assert run(["models", "show", "ecgfounder"]) == 0
    shown = capsys.readouterr().out
    assert "open:     " in shown
    assert (
        "prepared: resampled to 500 Hz with an anti-aliasing filter, cut to 10 s, padded with 0 mV, filtered (50 Hz notch; "
        "0.67 to 40 Hz bandpass; less the running median over 0.4 s), z-scored by the mean and deviation of all leads over "
        "the window\n"
    ) in shown


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (InputSpec(), "cut to 10 s, padded with 0 mV"),
        (InputSpec(normalisation="median"), "less each lead's median over the window"),
        (InputSpec(normalisation="zscore-lead", padding="baseline"), "padded with each lead's baseline, each lead z-scored"),
        (InputSpec(normalisation="fixed", offset=(0.0,) * 12, scale=(2.0,) * 12), ", scaled: (mV - 0) x 2"),
        (InputSpec(normalisation="fixed", offset=tuple(range(12)), scale=(2.0,) * 12), ", scaled: (mV - offset) x 2"),
        (InputSpec(normalisation="fixed"), "(mV - offset) x scale; write both numbers in a copy of its model file"),
        (
            InputSpec(
                normalisation="minmax-lead", padding="zero",
                preprocessing=Preprocessing(("resample", "normalise", "cut", "pad", "filter"), "centre", "fft"),
            ),
            "resampled to 500 Hz by FFT, each lead scaled to -1 to 1 by its minimum and maximum over the whole recording, cut to "
            "10 s, padded with zeros on both sides",
        ),
    ],
)  # fmt: skip
def test_the_preprocessing_in_words(spec: InputSpec, words: str) -> None:
    assert words in spec.in_words
