"""Every family through the whole way: from the form in which its checkpoints come to a map, on narrow networks of its class."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.models.published import (
    PROMPTS,
    PUBLISHED,
    published_model,
)

from ecgcam import explain
from ecgcam.attribution.cells import cell_centres, select_lead
from ecgcam.attribution.hooks import activations_of
from ecgcam.errors import EcgcamError
from ecgcam.models.model_file import load_spec, model_names
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import InputSpec
from ecgcam.records import CANONICAL_LEADS, read_record, take_window
from ecgcam.records.filters import Filter
from ecgcam.resources import configs
from ecgcam.results.explanation import Explanation

TOLERANCE = 1e-5
NAMES = sorted(PUBLISHED)


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(name: str, tmp_path_factory: pytest.TempPathFactory) -> EcgTextModel:
    return published_model(name, tmp_path_factory.mktemp(name))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("record") / "record.npz", range(12))


def written(path: Path, order: range | np.ndarray) -> Path:
    """Twelve leads, each with its own beat, mV, 500 Hz, 10.5 s."""
    t, lead = np.arange(5250) / 500, np.arange(12)[:, None]
    beat = np.mod(t, 0.9) - 0.3
    qrs = np.cos(1.7 * lead) * np.exp(-(beat**2) / (2 * 0.012**2))
    signal = qrs + 0.25 * np.sin(0.9 * lead + 1) * np.exp(-((beat - 0.25) ** 2) / (2 * 0.04**2))
    rows = list(order)
    np.savez(path, signal=signal[rows].astype("f4"), fs=500, leads=np.array(CANONICAL_LEADS)[rows])
    return path


def differences(one: Explanation, other: Explanation) -> list[str]:
    arrays = ("map", "map_cells", "gradient", "signal", "valid", "lead_scores", "mask_shift")
    return [each for each in arrays if not np.array_equal(getattr(one, each), getattr(other, each))]


def test_a_published_checkpoint_goes_all_the_way_to_a_map(model: EcgTextModel, name: str, record: Path) -> None:
    explanations = explain(record, PROMPTS, model)
    spec = load_spec(name)
    assert (model.spec.layer, list(model.spec.layers)) == (spec.layer, list(spec.layers))
    for got in explanations:
        assert got.leads == CANONICAL_LEADS
        assert got.map.shape == got.gradient.shape == (12, spec.input.samples)
        assert got.map_cells.shape[0] == 12
        assert got.map_cells.shape[1] == len(got.cell_time) > 4
        # Every lead's cells and gradient move: the layer is reached, and no lead is lost on the way.
        assert (np.abs(got.map_cells).max(axis=1) > 0).all()
        assert (np.abs(got.gradient).max(axis=1) > 0).all()
        assert np.ptp(got.lead_scores) > 100 * TOLERANCE * max(abs(got.score), abs(got.empty_score), 1e-3)
    assert abs(explanations[0].score - explanations[1].score) > 100 * TOLERANCE


def test_a_permuted_file_gives_the_same_explanation(model: EcgTextModel, record: Path, tmp_path: Path) -> None:
    # The stand-in tells any two leads apart that the model tells apart, or the rest would prove nothing.
    spec = model.input
    window = take_window(read_record(record), spec.fs, spec.samples)
    offset, scale = spec.constants(window)
    x = torch.from_numpy((spec.arrange(window) - offset) * scale)
    texts = model.encode_text(PROMPTS)
    with torch.no_grad():
        whole, swapped = model.encode_signal(torch.stack([x, x[[0, 1, 2, 3, 5, 4, *range(6, 12)]]]))
    assert (whole - swapped).abs().max() > 100 * TOLERANCE * whole.abs().max()
    assert ((whole - swapped) @ texts.T).abs().max() > 100 * TOLERANCE

    permuted = written(tmp_path / "permuted.npz", np.random.default_rng(0).permutation(12))
    for straight, shuffled in zip(explain(record, PROMPTS, model), explain(permuted, PROMPTS, model), strict=True):
        assert shuffled.score == straight.score
        assert differences(straight, shuffled) == []


# A class token is all that is read of the last block, so no gradient reaches its other tokens.
SILENT = {
    "d-beta": "ecg_encoder.encoder.layers.7",
    "ecg-coca": "ecg.transformer.resblocks.11",
    "anyecg": "transformer.layers.11",
}
# A norm of each channel over time follows, to which a shift of the channel is nothing: its gradients cancel over the cells.
CANCELLED = {"esi": {"img_encoder.stages.0", "img_encoder.stages.1", "img_encoder.stages.2"}}


def test_every_declared_layer_has_cells_that_move_or_says_why_not(model: EcgTextModel, name: str, record: Path) -> None:
    for path in model.spec.layers:
        if path == SILENT.get(name):
            assert path != model.spec.layer
            with pytest.raises(EcgcamError, match="exactly zero at every cell"):
                explain(record, PROMPTS[:1], model, layer=path, gradient=None)
            continue
        (got,) = explain(record, PROMPTS[:1], model, layer=path, gradient=None)
        cancelled = path in CANCELLED.get(name, ())
        assert any("the gradients cancel over the cells" in note for note in got.meta["warnings"]) == cancelled
        if cancelled:
            (got,) = explain(record, PROMPTS[:1], model, layer=path, gradient=None, method="hires-cam")
        assert np.abs(got.map_cells).max() > 0


def test_a_cell_stands_where_it_looks(model: EcgTextModel) -> None:
    """Bumps in single leads, each at the centre of a cell of the first declared layer, on the whole move those cells most."""
    path, where = next(iter(model.spec.layers.items()))
    samples = model.input.samples
    t = torch.arange(samples)
    base = 0.3 * torch.sin(t / 37.0) + 0.1 * torch.sin(torch.arange(12)[:, None] + t / 11.0)
    rows, centres = [], []
    for lead in range(12):
        for part in (0.3, 0.45, 0.6, 0.75):
            rows.append(lead)
            centres.append(where.offset + where.step * round((part * samples - where.offset) / where.step))
    x = base.repeat(1 + len(rows), 1, 1)
    for i, (lead, centre) in enumerate(zip(rows, centres, strict=True)):
        x[i + 1, lead] += 3 * torch.exp(-((t - centre) ** 2) / (2 * max(where.step / 4, 2.0) ** 2))
    A = torch.cat([activations_of(model, part, path) for part in torch.split(x, 8)])
    moved = select_lead((A[1:] - A[:1]).abs().sum(dim=1), where, rows).double()
    lags = torch.from_numpy(cell_centres(moved.shape[1], where)) - torch.tensor(centres)[:, None]
    # A few taps of random weights blur a fine cell; a coarse one is hit or missed.
    reach = max(where.step, 12.0)
    near, far = moved[lags.abs() <= reach].mean(), moved[lags.abs() > 2 * reach].mean()
    assert near > 1.5 * far
    excess = (moved - moved.median(dim=1, keepdim=True).values).clamp(min=0) * (lags.abs() <= 2 * reach)
    assert abs(float((excess * lags).sum() / excess.sum())) < 0.4 * reach


def test_every_family_that_is_not_trained_here_has_a_stand_in() -> None:
    assert {*PUBLISHED} == {each for each in model_names() if not each.startswith(("mini", "merl-"))}


def test_every_model_file_says_what_a_reader_needs() -> None:
    for each in model_names():
        spec = load_spec(each)
        assert spec.name == each
        assert spec.summary
        assert spec.licence
        assert len(spec.input.fill_reason) > 30
        assert each == "mini" or (spec.paper and "http" in spec.source)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('normalisation = "none"\nfilters = [{ kind = "comb" }]', "input.filters: each needs a kind, one of notch, "),
        ('normalisation = "none"\nfilters = [{ kind = "notch", hz = 50 }]', "input.filters: notch takes hz, quality"),
        (
            'normalisation = "none"\nfilters = [{ kind = "lowpass", order = 4, high = 250 }]',
            "lowpass: high must lie below half of input.fs, 250 Hz",
        ),
        (
            'normalisation = "none"\nfilters = [{ kind = "fir", seconds = 0.3, low = 47, high = 0.05 }]',
            "input.filters: fir: low must lie below high",
        ),
        (
            'normalisation = "none"\nfilters = [{ kind = "median", seconds = 11 }]',
            "input.filters: median: seconds must be at most input.seconds",
        ),
        ('normalisation = "fixed"\noffset = [0, 1]', "input.offset: one number, or one for each of the 12 leads"),
        ('normalisation = "loudest"', "input.normalisation: 'loudest' is not allowed; choose from none, median, "),
    ],
)
def test_a_wrong_key_in_a_model_file_is_named_with_what_is_allowed(written: str, said: str, tmp_path: Path) -> None:
    text = (configs() / "models/d-beta.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text.replace('normalisation = "none"', written))
    with pytest.raises(EcgcamError, match=re.escape(said)) as error:
        load_spec(tmp_path / "mine.toml")
    assert "mine.toml" in str(error.value)


def test_a_model_that_waits_for_numbers_says_so(tmp_path: Path, record: Path) -> None:
    text = (configs() / "models/d-beta.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text.replace('normalisation = "none"', 'normalisation = "fixed"'))
    spec = load_spec(tmp_path / "mine.toml").input
    window = take_window(read_record(record), spec.fs, spec.samples)
    with pytest.raises(EcgcamError, match=r"input\.offset, input\.scale: .*copy its model file"):
        spec.constants(window)
    numbers = 'normalisation = "fixed"\noffset = [0.5]\nscale = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]'
    (tmp_path / "mine.toml").write_text(text.replace('normalisation = "none"', numbers))
    offset, scale = load_spec(tmp_path / "mine.toml").input.constants(window)
    assert offset[:, 0].tolist() == [0.5] * 12
    assert scale[:, 0].tolist() == list(range(1, 13))


def test_each_lead_to_minus_one_and_one(record: Path) -> None:
    window = take_window(read_record(record), 500, 5000)
    spec = InputSpec(normalisation="minmax-lead")
    offset, scale = spec.constants(window)
    x = (spec.arrange(window) - offset) * scale
    assert x.min(axis=1) == pytest.approx(-1, abs=1e-5)
    assert x.max(axis=1) == pytest.approx(1, abs=1e-5)


def test_the_constants_are_those_of_the_filtered_signal(record: Path) -> None:
    window = take_window(read_record(record), 500, 5000)
    spec = InputSpec(normalisation="zscore", filters=(Filter("highpass", order=5, low=0.67),))
    offset, scale = spec.constants(window)
    x = (spec.arrange(window) - offset) * scale
    assert (float(x.mean()), float(x.std())) == pytest.approx((0, 1), abs=1e-3)
    assert np.abs(spec.arrange(window) - InputSpec().arrange(window)).max() > 0.02
