"""ST-MEM, anyECG and HuBERT-ECG, whose grids keep leads: maps of each lead from one whole signal, through the whole way."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.models.published import PROMPTS, narrow_file, published_model, write_checkpoint, write_table
from tests.models.test_families import differences, written
from torch import Tensor, nn

from ecgcam import explain
from ecgcam.cli.app import run
from ecgcam.errors import EcgcamError
from ecgcam.models.model_file import load_spec
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.preprocessing import scale_window
from ecgcam.protocol.spec import windows_of
from ecgcam.records import CANONICAL_LEADS, read_record
from ecgcam.results.explanation import Explanation

TOLERANCE = 1e-5
# Twelve layers of random attention make HuBERT's tokens all alike, but for rounding: its first layer tells them apart.
LAYERS = {"st-mem": "block11", "anyecg": "transformer.layers.10", "hubert-ecg": "encoder.encoder.layers.0"}
NAMES = tuple(LAYERS)


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(name: str, tmp_path_factory: pytest.TempPathFactory) -> EcgTextModel:
    return published_model(name, tmp_path_factory.mktemp(name))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("record") / "record.npz", range(12))


def model_signal(model: EcgTextModel, record: Path) -> Tensor:
    window = next(windows_of(read_record(record), model.input))
    return torch.from_numpy(scale_window(window, model.input)[0])


def of_the_whole_signal(model: EcgTextModel, path: str, x: Tensor, text: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Tokens (N, W) of a layer and their gradient, by a hook of our own."""
    heard: list[Tensor] = []
    module: nn.Module = model.network.get_submodule(path)
    handle = module.register_forward_hook(lambda _module, _inputs, output: heard.append(output))
    try:
        score = model.encode_signal(x[None].clone().requires_grad_())[0] @ text
        (gradient,) = torch.autograd.grad(score, heard[0])
    finally:
        handle.remove()
    return heard[0][0].detach().numpy(), gradient[0].numpy()


def by_hand(name: str, tokens: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Grad-CAM over the tokens that are a place in time, then each lead's, (12, cells), by the grids as they are published."""
    places = {
        "st-mem": [32 * lead + 1 + k for lead in range(12) for k in range(30)],  # separator, 30 patches, separator
        "anyecg": [1 + 5 * lead + k for lead in range(12) for k in range(5)],  # a class token, then 5 patches a lead
        "hubert-ecg": list(range(93)),
    }[name]
    cells = tokens[places] @ gradient[places].mean(axis=0)
    if name != "hubert-ecg":
        return cells.reshape(12, -1)
    # 6000 samples end to end, a token every 64 from 40.5 on; a lead's 8 cells lie every 62.5 samples of its own 500.
    centres = 40.5 + 64 * np.arange(93)
    wanted = 500 * np.arange(12)[:, None] + 30.75 + 62.5 * np.arange(8)
    return np.interp(wanted, centres, cells)


def test_maps_without_masking_are_those_of_the_whole_signal(model: EcgTextModel, name: str, record: Path) -> None:
    x = model_signal(model, record)
    found = explain(record, PROMPTS, model, mask="none", layer=LAYERS[name])
    for got, text in zip(found, model.encode_text(PROMPTS), strict=True):
        wanted = by_hand(name, *of_the_whole_signal(model, LAYERS[name], x, text))
        largest = np.abs(wanted).max()
        # No two leads have the same row, or a wrong order of leads would pass.
        apart = np.abs(wanted[:, None] - wanted[None]).max(axis=-1) + np.eye(12) * largest
        assert apart.min() > 100 * TOLERANCE * largest
        np.testing.assert_allclose(got.map_cells, wanted, rtol=0, atol=TOLERANCE * largest)
        assert got.leads == CANONICAL_LEADS
        assert got.map.shape == (12, model.input.samples)
        assert np.allclose(got.map.max(axis=1), np.maximum(wanted, 0).max(axis=1), rtol=0.35)
        assert got.meta["mask"] == "none"
        said = next(words for words in got.meta["warnings"] if "without masking" in words)
        mixed = re.search(r"change by (\d+)% when the other leads are masked", said)
        assert mixed is not None  # attention comes before every declared layer
        assert int(mixed[1]) > 0


def test_maps_without_masking_are_not_those_with(model: EcgTextModel, name: str, record: Path) -> None:
    (none,) = explain(record, PROMPTS[:1], model, mask="none", layer=LAYERS[name])
    (masked,) = explain(record, PROMPTS[:1], model, layer=LAYERS[name])
    assert np.abs(none.map_cells - masked.map_cells).max() > 100 * TOLERANCE * np.abs(none.map_cells).max()
    # What is said of leads alone is that of the model's own fill.
    np.testing.assert_allclose(none.lead_scores, masked.lead_scores, atol=1e-6)
    assert none.score == pytest.approx(masked.score, abs=1e-6)


def test_a_permuted_file_gives_the_same_maps_without_masking(
    model: EcgTextModel, name: str, record: Path, tmp_path: Path
) -> None:
    swapped = read_record(record)
    rows = list(range(12))
    rows[4], rows[5] = 5, 4
    mistaken = type(swapped).from_channels("r", swapped.signal[rows], swapped.fs, swapped.leads, source="r")
    (straight,) = explain(record, PROMPTS[:1], model, mask="none", layer=LAYERS[name])
    (other,) = explain(mistaken, PROMPTS[:1], model, mask="none", layer=LAYERS[name])
    largest = np.abs(straight.map_cells).max()
    assert np.abs(straight.map_cells - other.map_cells).max() > 100 * TOLERANCE * largest

    permuted = written(tmp_path / "permuted.npz", np.random.default_rng(1).permutation(12))
    (shuffled,) = explain(permuted, PROMPTS[:1], model, mask="none", layer=LAYERS[name])
    assert differences(straight, shuffled) == []


def test_by_the_command_line(name: str, record: Path, tmp_path: Path) -> None:
    file = narrow_file(name, tmp_path)
    spec = load_spec(file)
    width = {"st-mem": 64, "anyecg": 16, "hubert-ecg": 64}[name]
    call = [
        "explain",
        str(record),
        "--model",
        str(file),
        "--text",
        PROMPTS[0],
        "--mask",
        "none",
        "--out",
        str(tmp_path / "o"),
    ]
    call += ["--checkpoint", str(write_checkpoint(name, spec, tmp_path / "c.pt"))]
    assert run([*call, "--embeddings", str(write_table(spec, width, tmp_path / "t.npz"))]) == 0
    folder = tmp_path / "o/record/sinus-rhythm"
    assert (folder / "page.png").stat().st_size > 10_000
    got = Explanation.load(folder)
    assert (np.abs(got.map_cells).max(axis=1) > 0).all()
    assert got.meta["mask"] == "none"


def test_cells_that_look_at_every_lead_need_masking(tmp_path: Path, record: Path) -> None:
    with pytest.raises(EcgcamError, match=r"cells of ecg-fm at .* depend on every lead"):
        explain(record, PROMPTS[:1], published_model("ecg-fm", tmp_path), mask="none")
