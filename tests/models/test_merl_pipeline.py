"""MERL through the whole way: leads by name, short records, and the original's own recipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ecgcam import explain
from ecgcam.errors import EcgcamError
from ecgcam.models.load import load_model
from ecgcam.pipeline import question
from ecgcam.protocol.model import EcgTextModel
from ecgcam.records import CANONICAL_LEADS, read_record, take_window
from ecgcam.results.explanation import Explanation

PROMPTS = ["atrial fibrillation", "sinus rhythm"]
TOLERANCE = 1e-5


@pytest.fixture(scope="module", params=["merl-resnet18", "merl-vit-tiny"])
def model(request: pytest.FixtureRequest, standin: Callable[[str], Path], text_table: Path) -> EcgTextModel:
    return load_model(request.param, standin(request.param), embeddings=text_table, device="cpu")


def channels(seconds: float = 10.0) -> np.ndarray:
    """Twelve leads in canonical order, mV, each with its own beat, (12, seconds x 500)."""
    t, lead = np.arange(round(seconds * 500)) / 500, np.arange(12)[:, None]
    beat = np.mod(t, 0.9) - 0.3
    qrs = np.cos(1.7 * lead) * np.exp(-(beat**2) / (2 * 0.012**2))
    wave = 0.25 * np.sin(0.9 * lead + 1) * np.exp(-((beat - 0.25) ** 2) / (2 * 0.04**2))
    return (qrs + wave + 0.05 * np.sin(2 * np.pi * 0.3 * t + lead)).astype("f4")


def recorded(path: Path, signal: np.ndarray, leads: tuple[str, ...] = CANONICAL_LEADS) -> Path:
    np.savez(path, signal=signal, fs=500, leads=np.array(leads))
    return path


def differences(one: Explanation, other: Explanation) -> list[str]:
    arrays = ("map", "map_cells", "gradient", "gradient_smoothed", "signal", "valid", "lead_scores", "mask_shift")
    return [name for name in arrays if not np.array_equal(getattr(one, name), getattr(other, name))]


def check_leads_by_name(model: EcgTextModel, folder: Path) -> None:
    """A permuted file gives the same explanation, by a model whose stand-in weights tell leads apart."""
    signal = channels()
    order = np.random.default_rng(0).permutation(12)
    record = recorded(folder / "record.npz", signal)
    # The stand-in tells leads apart, or the rest would prove nothing.
    spec = model.input
    window = take_window(read_record(record), spec.fs, spec.samples)
    offset, scale = spec.constants(window)
    x = torch.from_numpy((spec.arrange(window) - offset) * scale)
    with torch.no_grad():
        whole, swapped = model.encode_signal(torch.stack([x, x[[0, 1, 2, 3, 5, 4, *range(6, 12)]]]))
    assert (whole - swapped).abs().max() > 100 * TOLERANCE

    permuted = recorded(folder / "permuted.npz", signal[order], tuple(CANONICAL_LEADS[i] for i in order))
    for straight, shuffled in zip(explain(record, PROMPTS, model), explain(permuted, PROMPTS, model), strict=True):
        assert straight.leads == CANONICAL_LEADS
        assert straight.map.shape == straight.gradient.shape == (12, 5000)
        assert straight.map_cells.shape == (12, 313 if "resnet" in model.name else 100)
        assert shuffled.score == straight.score
        assert differences(straight, shuffled) == []
        assert (np.abs(straight.map_cells).max(axis=1) > 0).all()


def test_a_permuted_file_gives_the_same_explanation(model: EcgTextModel, tmp_path: Path) -> None:
    check_leads_by_name(model, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["resnet34", "resnet50", "resnet101", "vit-small", "vit-middle", "vit-base"])
def test_the_other_sizes_too(size: str, standin: Callable[[str], Path], text_table: Path, tmp_path: Path) -> None:
    path = standin(f"merl-{size}")
    check_leads_by_name(load_model(f"merl-{size}", path, embeddings=text_table, device="cpu"), tmp_path)
    path.unlink()  # up to 350 MB each


def test_the_same_array_without_names_is_refused(model: EcgTextModel, tmp_path: Path) -> None:
    np.save(tmp_path / "bare.npy", channels())
    with pytest.raises(EcgcamError, match="12 channels without names"):
        explain(tmp_path / "bare.npy", PROMPTS, model, fs=500)


def test_the_model_sees_its_own_lead_order(model: EcgTextModel, tmp_path: Path) -> None:
    record = read_record(recorded(tmp_path / "record.npz", channels()))
    arranged = model.input.arrange(take_window(record, 500, 5000))
    by_name = dict(zip(CANONICAL_LEADS, record.signal, strict=True))
    assert np.array_equal(arranged[4], by_name["aVF"])
    assert np.array_equal(arranged[5], by_name["aVL"])


def test_a_short_record_is_padded_at_0_mv_and_its_padding_carries_no_map(model: EcgTextModel, tmp_path: Path) -> None:
    record = recorded(tmp_path / "short.npz", channels(6.0) + np.float32(0.2))
    seen: list[torch.Tensor] = []
    handle = model.network.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].detach().clone()))
    try:
        explanations = explain(record, PROMPTS, model)
    finally:
        handle.remove()
    signal = channels(6.0) + np.float32(0.2)
    low, high = min(signal.min(), 0.0), max(signal.max(), 0.0)
    zero_mv = (0.0 - low) / (high - low)
    assert 0.2 < zero_mv < 0.8
    whole = next(x[-1] for x in seen if len(x) == 1)
    assert whole.shape == (12, 5000)
    assert whole[:, 3000:].numpy() == pytest.approx(zero_mv, abs=1e-6)
    assert (float(whole.min()), float(whole.max())) == pytest.approx((0.0, 1.0), abs=1e-6)
    for explanation in explanations:
        assert explanation.valid[:, :3000].all()
        assert not explanation.valid[:, 3000:].any()
        for array in (explanation.map, explanation.gradient, explanation.gradient_smoothed):
            assert array[:, :3000].any()
            assert not array[:, 3000:].any()


@pytest.mark.parametrize("layer", ["ecg_encoder.block11.attn.norm", "ecg_encoder.to_patch_embedding"])
def test_the_recipe_of_the_original_stays_reachable(
    layer: str, standin: Callable[[str], Path], text_table: Path, tmp_path: Path
) -> None:
    model = load_model("merl-vit-tiny", standin("merl-vit-tiny"), embeddings=text_table, device="cpu")
    record = recorded(tmp_path / "record.npz", channels())
    (own,) = explain(record, PROMPTS[:1], model, method="hires-cam", mask="zero", layer=layer)
    assert (own.meta["method"], own.meta["mask"], own.meta["layer"]) == ("hires-cam", "zero", layer)
    assert own.map_cells.shape == (12, 100)
    assert own.cell_time[0] == pytest.approx(24.5 / 500)
    (ours,) = explain(record, PROMPTS[:1], model)
    assert ours.score == pytest.approx(own.score, abs=TOLERANCE)
    assert np.abs(ours.lead_scores - own.lead_scores).max() > 100 * TOLERANCE


def test_finer_cam_takes_its_foils_from_the_table(
    model: EcgTextModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = recorded(tmp_path / "record.npz", channels())
    (got,) = explain(record, ["sinus rhythm"], model, method="finer-cam", gradient=None)
    assert got.meta["against"] == [
        "atrial fibrillation"
    ]  # the only other finding of the vocabulary that the table holds
    monkeypatch.setattr(question, "vocabulary_prompts", lambda: ["atrial fibrillation"])
    with pytest.raises(EcgcamError, match="give foils with `against`"):
        explain(record, ["atrial fibrillation"], model, method="finer-cam", gradient=None)
