"""From a record to explanations: the definition, and what must not matter."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.toys import toy_model
from torch import Tensor, nn

import ecgcam
from ecgcam.attribution.hooks import capture
from ecgcam.models.text.bundled import BundledEncoder
from ecgcam.models.text.vocabulary import vocabulary_prompts
from ecgcam.pipeline.engine import explain_windows
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import LayerSpec
from ecgcam.records import CANONICAL_LEADS, Record
from ecgcam.records.simulator import simulate
from ecgcam.results.explanation import Explanation

AF, NORMAL = "atrial fibrillation", "normal ECG"
ARRAYS = ("map", "map_cells", "gradient", "gradient_smoothed", "lead_scores", "mask_shift", "signal", "valid")


@pytest.fixture(scope="module")
def mini() -> EcgTextModel:
    return ecgcam.load_model("mini")


@pytest.fixture(scope="module")
def record() -> Record:
    simulation = simulate("af", 11)
    return Record.from_channels("af", simulation.signal, simulation.fs, simulation.leads, source="af")


def assert_same(a: Explanation, b: Explanation, atol: float = 1e-5) -> None:
    """Equal to `atol` of each array's largest value."""
    assert a.leads == b.leads
    for name in ARRAYS:
        first, second = np.asarray(getattr(a, name), float), np.asarray(getattr(b, name), float)
        assert np.abs(first - second).max(initial=0) <= atol * max(1e-9, np.abs(first).max(initial=0)), name
    assert a.score == pytest.approx(b.score, abs=atol)
    assert a.empty_score == pytest.approx(b.empty_score, abs=atol)


def test_it_is_the_definition(mini: EcgTextModel, record: Record) -> None:
    """Each lead alone, one at a time, written out directly from the definition."""
    (got,) = ecgcam.explain(record, [AF], mini)
    x = torch.from_numpy(got.signal - np.median(got.signal, axis=1, keepdims=True))
    text = mini.encode_text([AF])
    for row in range(12):
        alone = torch.zeros_like(x)
        alone[row] = x[row]
        one = capture(mini, alone[None], text)
        weights = one.gradients[0, 0].mean(dim=1)
        cells = (weights[:, None] * one.activations[0]).sum(0).numpy()
        np.testing.assert_allclose(got.map_cells[row], cells, atol=1e-5 * np.abs(cells).max())
        assert got.lead_scores[row] == pytest.approx(one.scores.item(), abs=1e-5)
        shift = 1 - torch.cosine_similarity(mini.encode_signal(x[None]), one.embeddings).item()
        assert got.mask_shift[row] == pytest.approx(shift, abs=1e-5)
    with torch.no_grad():
        assert got.score == pytest.approx((mini.encode_signal(x[None]) @ text.T).item(), abs=1e-5)
        assert got.empty_score == pytest.approx(
            (mini.encode_signal(torch.zeros_like(x)[None]) @ text.T).item(), abs=1e-5
        )
    assert got.map.max() > 0
    np.testing.assert_array_equal(got.map >= 0, True)


def test_cosine_cells_with_a_mean_readout_sum_to_zero(mini: EcgTextModel, record: Record) -> None:
    """Where is not how much: design, section 2. It holds exactly where the head after the mean is linear."""

    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.features = nn.Sequential(nn.Conv1d(2, 6, 5, padding=2), nn.ReLU())

        def forward(self, x: Tensor) -> Tensor:
            return self.features(x).mean(-1)

    model = toy_model(Linear(), {"features": LayerSpec("BCT", 1, 0)}, samples=100, width=6, similarity="cosine")
    got = capture(model, torch.randn(4, 2, 100), torch.eye(6)[:2])
    cells = (got.gradients.mean(-1, keepdim=True) * got.activations).sum(2)
    assert cells.abs().max() > 1e-4
    assert cells.sum(-1).abs().max() < 1e-5


def test_the_gradient_is_per_millivolt(mini: EcgTextModel, record: Record) -> None:
    """Against central differences of the score in the record's own unit, the normalisation's constants held fixed."""
    (got,) = ecgcam.explain(record, [AF], mini, smooth_ms=0)
    offset = torch.from_numpy(np.median(got.signal, axis=1, keepdims=True))
    text = mini.encode_text([AF]).double()
    double = EcgTextModel(mini.spec, _double_copy(mini.network), mini.text, "")
    signal = torch.from_numpy(got.signal).double()
    for row, sample in [(1, 400), (6, 1250), (10, 2000)]:
        step = 1e-5
        scores = []
        for sign in (1, -1):
            moved = signal.clone()
            moved[row, sample] += sign * step
            with torch.no_grad():
                scores.append((double.encode_signal((moved - offset)[None]) @ text.T).item())
        assert got.gradient[row, sample] == pytest.approx((scores[0] - scores[1]) / (2 * step), rel=2e-2, abs=1e-5)
    np.testing.assert_allclose(got.gradient_smoothed, np.abs(got.gradient), rtol=1e-6)


def _double_copy(network: nn.Module) -> nn.Module:
    import copy

    return copy.deepcopy(network).double()


def test_the_gradient_follows_the_scale_of_the_normalisation() -> None:
    """Min-max: model input = (mV - low) / (high - low), so a record twice as tall has half the gradient per mV."""

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([self.features(x).square().sum((1, 2)), x.sum((1, 2))], dim=1)

    model = toy_model(Sum(), {"features": LayerSpec("BCT", 1, 0)}, samples=50, normalisation="minmax", fill="zero-mv")
    signal = np.random.default_rng(0).standard_normal((2, 50)).astype(np.float32)
    one, two = (
        ecgcam.explain(
            Record.from_channels("r", k * signal, 100.0, ("I", "II"), source="r"), ["0"], model, smooth_ms=0
        )[0]
        for k in (1.0, 2.0)
    )
    spread = float(signal.max() - signal.min())
    np.testing.assert_allclose(one.gradient, 2 * (signal - signal.min()) / spread**2, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(two.gradient, one.gradient / 2, rtol=1e-4, atol=1e-5)
    assert one.score == pytest.approx(two.score, rel=1e-4)


def test_two_prompts_in_one_call_equal_two_calls(mini: EcgTextModel, record: Record) -> None:
    both = ecgcam.explain(record, [AF, NORMAL], mini)
    assert [explanation.meta["text"] for explanation in both] == [AF, NORMAL]
    for together, text in zip(both, [AF, NORMAL], strict=True):
        assert_same(together, ecgcam.explain(record, [text], mini)[0])
    assert abs(both[0].score - both[1].score) > 1e-3


@pytest.mark.parametrize("gradient", ["record", "lead", None])
def test_batch_size_and_company_change_nothing(mini: EcgTextModel, record: Record, gradient: str | None) -> None:
    other = simulate("lbbb", 12)
    second = Record.from_channels("lbbb", other.signal, other.fs, other.leads, source="lbbb")
    short = replace(second, name="short", signal=second.signal[:, :1500])
    alone = [ecgcam.explain(item, [AF], mini, gradient=gradient, batch=1)[0] for item in (record, second, short)]
    for batch in (14, 30, 64):
        together = list(ecgcam.explain_many([record, second, short], [AF], mini, gradient=gradient, batch=batch))
        assert [explanation.meta["record"] for explanation in together] == ["af", "lbbb", "short"]
        for a, b in zip(alone, together, strict=True):
            assert_same(a, b)
    reversed_order = list(ecgcam.explain_many([short, record], [AF], mini, gradient=gradient))
    assert_same(reversed_order[1], alone[0])


@pytest.mark.parametrize("mask", ["baseline", "noise"])
def test_the_order_of_channels_in_the_file_does_not_matter(mini: EcgTextModel, record: Record, mask: str) -> None:
    order = np.random.default_rng(3).permutation(12)
    names = [record.leads[i] for i in order]
    permuted = Record.from_channels("af", record.signal[order], record.fs, names, source="af")
    (a,), (b,) = (ecgcam.explain(item, [AF], mini, mask=mask) for item in (record, permuted))
    assert_same(a, b)
    mislabelled = replace(record, signal=record.signal[order])
    (c,) = ecgcam.explain(mislabelled, [AF], mini, mask=mask)
    assert np.abs(c.map_cells - a.map_cells).max() > 1e-3 * np.abs(a.map_cells).max()  # the check has teeth


def test_inputs_are_not_modified(mini: EcgTextModel, record: Record) -> None:
    kept = record.signal.copy()
    weights = {key: value.clone() for key, value in mini.network.state_dict().items()}
    ecgcam.explain(record, [AF], mini, gradient="lead")
    assert np.array_equal(record.signal, kept)
    assert all(torch.equal(value, weights[key]) for key, value in mini.network.state_dict().items())


def test_two_leads_are_enough(mini: EcgTextModel, record: Record) -> None:
    two = Record.from_channels("two", record.signal[[6, 1]], record.fs, ("V1", "II"), source="two")
    (got,) = ecgcam.explain(two, [AF], mini)
    assert got.leads == ("II", "V1")
    assert got.map.shape == (2, 2500)
    assert got.meta["absent_leads"] == [lead for lead in CANONICAL_LEADS if lead not in ("II", "V1")]
    # The score with every present lead filled is that of an empty record, whatever is absent.
    (whole,) = ecgcam.explain(record, [AF], mini)
    assert got.empty_score == pytest.approx(whole.empty_score, abs=1e-5)
    # One lead of the two is exactly what the whole record's masked signal was.
    np.testing.assert_allclose(got.lead_scores, whole.lead_scores[[1, 6]], atol=1e-5)


def test_derived_leads_are_named(mini: EcgTextModel, record: Record) -> None:
    eight = Record.from_channels(
        "eight", record.signal[[0, 1, 6, 7, 8, 9, 10, 11]], record.fs, ("I", "II", *CANONICAL_LEADS[6:]), source="eight"
    )
    (got,) = ecgcam.explain(eight, [AF], mini)
    assert got.leads == CANONICAL_LEADS
    assert got.meta["derived_leads"] == ["III", "aVR", "aVL", "aVF"]
    assert any("derived from I and II: III, aVR, aVL, aVF" in warning for warning in got.meta["warnings"])
    # Half a microvolt of rounding apart from the leads of the file.
    (given,) = ecgcam.explain(record, [AF], mini)
    np.testing.assert_allclose(got.lead_scores, given.lead_scores, atol=2e-3)
    np.testing.assert_allclose(got.map_cells, given.map_cells, atol=2e-2 * np.abs(given.map_cells).max())


def test_padding_flat_leads_and_gaps_carry_no_map(mini: EcgTextModel, record: Record) -> None:
    signal = record.signal[:, :3000].copy()
    signal[3] = 0.7
    signal[8, 1000:1100] = np.nan
    (got,) = ecgcam.explain(replace(record, signal=signal), [AF], mini)
    assert not got.valid[:, 1500:].any()
    assert not got.valid[3].any()
    assert not got.valid[8, 500:550].any()
    assert got.valid[8, :499].all()
    for name in ("map", "gradient", "gradient_smoothed"):
        assert not getattr(got, name)[~got.valid].any(), name
        assert getattr(got, name)[got.valid].any(), name
    assert got.gains[3] == pytest.approx(0.0, abs=1e-6)
    said = " | ".join(got.meta["warnings"])
    assert "flat or missing leads: aVR" in said
    assert "missing samples bridged in: V3" in said
    assert "6 s of signal, padded to 10 s" in said
    assert all(np.isfinite(getattr(got, name)).all() for name in ARRAYS)


def test_settings_travel_with_the_map(mini: EcgTextModel, record: Record) -> None:
    (got,) = ecgcam.explain(
        record, [AF], mini, method="hires-cam", layer="signal.stages.0", mask="noise", seed=4, smoother="mean", smooth_ms=60.0,
        gradient="lead", signed_gradient=True,
    )  # fmt: skip
    meta = got.meta
    assert (meta["method"], meta["layer"], meta["mask"], meta["seed"]) == ("hires-cam", "signal.stages.0", "noise", 4)
    assert meta["smoothing"] == {"smoother": "mean", "ms": 60.0, "signed": True}
    assert meta["gradient"] == "lead"
    assert (meta["cell_step_ms"], meta["window"]) == (16.0, {"start": 0.0, "seconds": 10.0, "record_seconds": 10.0})
    assert meta["cell_width_ms"] >= meta["cell_step_ms"]
    assert len(meta["checkpoint_sha256"]) == 64
    assert got.gradient_smoothed.min() < 0
    (other,) = ecgcam.explain(record, [AF], mini, method="hires-cam", layer="signal.stages.0", mask="noise", seed=5)
    assert np.abs(other.map_cells - got.map_cells).max() > 0
    assert got.map_cells.shape[1] == 625


def test_an_explanation_travels_to_helpers_without_torch(mini: EcgTextModel, record: Record) -> None:
    """Its pickle names NumPy and ecgcam alone: each helper would import torch, which takes as long as all that it draws."""
    seen: set[str] = set()

    class Seen(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> object:
            seen.add(module.partition(".")[0])
            return super().find_class(module, name)

    made = ecgcam.explain(record, ["atrial fibrillation"], mini, against="mean")[0]
    again = Seen(io.BytesIO(pickle.dumps(made))).load()
    assert again.meta == made.meta
    assert seen == {"ecgcam", "numpy"}


def test_no_gradient(mini: EcgTextModel, record: Record) -> None:
    (got,) = ecgcam.explain(record, [AF], mini, gradient=None)
    (full,) = ecgcam.explain(record, [AF], mini)
    assert got.gradient.shape == got.gradient_smoothed.shape == (12, 0)
    np.testing.assert_allclose(got.map, full.map, atol=1e-6)
    assert got.score == pytest.approx(full.score, abs=1e-6)


def test_lead_gradients_are_those_of_each_lead_alone(mini: EcgTextModel, record: Record) -> None:
    (got,) = ecgcam.explain(record, [AF], mini, gradient="lead", smooth_ms=0)
    x = got.signal - np.median(got.signal, axis=1, keepdims=True)
    alone = torch.zeros(1, 12, 2500)
    alone[0, 6] = torch.from_numpy(x[6])
    alone.requires_grad_()
    (mini.encode_signal(alone) @ mini.encode_text([AF]).T).sum().backward()
    np.testing.assert_allclose(got.gradient[6], alone.grad[0, 6].numpy(), atol=1e-6)
    mini.network.zero_grad(set_to_none=True)


def test_all_windows_slide_and_the_last_one_ends_with_the_record(mini: EcgTextModel, record: Record) -> None:
    long = replace(record, signal=np.tile(record.signal, (1, 3))[:, :12_500])
    got = ecgcam.explain(long, [AF, NORMAL], mini, all_windows=True)
    assert [(e.meta["window"]["start"], e.meta["text"]) for e in got] == [
        (0.0, AF), (0.0, NORMAL), (10.0, AF), (10.0, NORMAL), (15.0, AF), (15.0, NORMAL),
    ]  # fmt: skip
    assert got[4].time[0] == 15.0
    assert_same(got[2], ecgcam.explain(long, [AF], mini, start=10.0)[0])
    assert len(ecgcam.explain(long, [AF], mini, all_windows=True, hop=5.0)) == 4


def test_a_model_with_fewer_leads_takes_what_it_knows(record: Record) -> None:
    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Conv1d(2, 2, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.features(x).square().mean(-1)

    model = toy_model(Mean(), {"features": LayerSpec("BCT", 1, 0)}, leads=("V1", "II"), samples=1000, fs=250.0)
    (got,) = ecgcam.explain(record, ["0"], model)
    assert got.leads == ("II", "V1")
    assert any("leads that the model does not take: I, III" in warning for warning in got.meta["warnings"])
    only_v5 = Record.from_channels("v5", record.signal[[10]], record.fs, ("V5",), source="v5")
    with pytest.raises(ecgcam.EcgcamError, match="no lead is common; choose another recording"):
        ecgcam.explain(only_v5, ["0"], model)


def test_prompts_are_cleaned(mini: EcgTextModel, record: Record) -> None:
    assert [e.meta["text"] for e in ecgcam.explain(record, [AF, f" {AF} "], mini)] == [AF]
    for texts, says in (([], "no prompt"), ([AF, "  "], "blank prompt")):
        with pytest.raises(ecgcam.EcgcamError, match=says):
            ecgcam.explain(record, texts, mini)


def test_unknown_words_are_said(mini: EcgTextModel, record: Record) -> None:
    known, partly, unknown = ecgcam.explain(record, [AF, "atrial xyzzy", "xyzzy plugh"], mini)
    assert not any("prompt" in warning for warning in known.meta["warnings"])
    assert any("does not know: xyzzy" in warning for warning in partly.meta["warnings"])
    assert any("has no word of the prompt 'xyzzy plugh'" in warning for warning in unknown.meta["warnings"])


@pytest.mark.parametrize("text", ["heart attack", "second degree AV block", "pericarditis"])
def test_a_prompt_of_known_words_that_is_no_finding_is_noted(mini: EcgTextModel, text: str) -> None:
    (warning,) = mini.text.warnings(text)
    assert f"the prompt '{text}' is near no finding that the model was trained on" in warning


def test_a_prompt_s_warnings_are_found_once(mini: EcgTextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = BundledEncoder(mini.network.text)
    first = encoder.warnings("heart attack")
    monkeypatch.setattr(encoder, "encode", None)
    assert encoder.warnings("heart attack") == first


def test_what_affirms_or_denies_a_finding_is_not(mini: EcgTextModel) -> None:
    texts = [f"{words} {prompt}" for prompt in vocabulary_prompts() for words in ("no", "signs of")]
    near = "is near no finding"
    assert [text for text in texts if any(near in warning for warning in mini.text.warnings(text))] == []


def test_the_engine_streams(mini: EcgTextModel, record: Record) -> None:
    """Windows are read as they are needed, not all before the first result."""
    from ecgcam.protocol.spec import windows_of

    taken: list[int] = []

    def windows() -> object:
        for i in range(6):
            taken.append(i)
            yield i, next(windows_of(record, mini.input))

    stream = explain_windows(windows(), [AF], mini, Settings(batch=26))  # type: ignore[arg-type]
    key, _ = next(stream)
    assert (key, len(taken)) == (0, 3)
    assert [key for key, _ in stream] == [1, 2, 3, 4, 5]


@pytest.mark.shared
def test_real_recordings_give_twelve_leads(mini: EcgTextModel, wfdb_folder: Path) -> None:
    for name in ("ptbxl/00152_hr", "ptb/s0010_re", "cinc/JS00001.mat", "cinc/A0004.hea", "ptbxl/00003_lr"):
        (got,) = ecgcam.explain(wfdb_folder / name, [AF], mini)
        assert got.leads == CANONICAL_LEADS
        assert got.map.shape == (12, 2500)
        assert got.map.max() > 0


@pytest.mark.shared
def test_atrial_fibrillation_is_found_in_a_real_recording(mini: EcgTextModel, wfdb_folder: Path) -> None:
    af, normal = (ecgcam.explain(wfdb_folder / "ptbxl" / name, [AF], mini)[0] for name in ("00152_hr", "00003_hr"))
    assert af.score > normal.score + 0.2
    assert (af.gains > 0).sum() >= 10


def test_a_contrast_is_the_difference_of_two_explanations(mini: EcgTextModel, record: Record) -> None:
    """Everything is linear in the prompt's embedding: scores, gradients and Grad-CAM's cells subtract."""
    af, normal = ecgcam.explain(record, [AF, NORMAL], mini, signed_gradient=True)
    (got,) = ecgcam.explain(record, [AF], mini, against=(NORMAL,), signed_gradient=True)
    assert got.score == pytest.approx(af.score - normal.score, abs=1e-5)
    assert got.empty_score == pytest.approx(af.empty_score - normal.empty_score, abs=1e-5)
    np.testing.assert_allclose(got.gains, af.gains - normal.gains, atol=1e-5)
    for name in ("map_cells", "gradient", "gradient_smoothed"):
        want = getattr(af, name) - getattr(normal, name)
        np.testing.assert_allclose(getattr(got, name), want, atol=1e-4 * np.abs(want).max(), err_msg=name)
    assert got.meta["against"] == [NORMAL]
    assert got.meta["score_parts"] == pytest.approx(
        {"text": af.score, "against": normal.score, "strength": 1.0}, abs=1e-5
    )
    assert af.meta["against"] is None


def test_several_foils_the_vocabulary_and_the_empty_text(mini: EcgTextModel, record: Record) -> None:
    from ecgcam.models.text.vocabulary import vocabulary_prompts

    scores = {
        e.meta["text"]: e.score
        for e in ecgcam.explain(record, [AF, NORMAL, *vocabulary_prompts()], mini, gradient=None)
    }
    (two,) = ecgcam.explain(record, [AF], mini, against=(NORMAL, "atrial flutter"), gradient=None)
    assert two.score == pytest.approx(scores[AF] - (scores[NORMAL] + scores["atrial flutter"]) / 2, abs=1e-5)
    (mean,) = ecgcam.explain(record, [AF], mini, against=("mean",), gradient=None)
    assert mean.score == pytest.approx(scores[AF] - np.mean([scores[text] for text in vocabulary_prompts()]), abs=1e-5)
    (empty,) = ecgcam.explain(record, [AF], mini, against=("empty",), gradient=None)
    assert empty.score != pytest.approx(scores[AF], abs=1e-4)
    with pytest.raises(ecgcam.EcgcamError, match="a foil is blank"):
        ecgcam.explain(record, [AF], mini, against=(" ",))


def test_finer_cam_is_grad_cam_of_the_score_less_the_nearest_findings(mini: EcgTextModel, record: Record) -> None:
    """Zhang et al. 2025: cells are linear in the score, so they subtract; foils are the vocabulary's nearest by embedding."""
    from ecgcam.models.text.vocabulary import vocabulary_prompts

    (got,) = ecgcam.explain(record, [AF], mini, method="finer-cam", gradient=None)
    others = [text for text in vocabulary_prompts() if text != AF]
    near = (mini.encode_text(others) @ mini.encode_text([AF])[0]).tolist()
    foils = [text for _, text in sorted(zip(near, others, strict=True), reverse=True)[:3]]
    assert sorted(got.meta["against"]) == sorted(foils)
    af, *rest = ecgcam.explain(record, [AF, *foils], mini, gradient=None)
    want = af.map_cells - 0.6 * np.mean([e.map_cells for e in rest], axis=0)
    np.testing.assert_allclose(got.map_cells, want, atol=1e-4 * np.abs(want).max())
    assert got.score == pytest.approx(af.score - 0.6 * np.mean([e.score for e in rest]), abs=1e-5)
    (one,) = ecgcam.explain(
        record, [AF], mini, method="finer-cam", against=(NORMAL,), options={"gamma": 1.0}, gradient=None
    )
    (plain,) = ecgcam.explain(record, [AF], mini, against=(NORMAL,), gradient=None)
    np.testing.assert_allclose(one.map_cells, plain.map_cells, atol=1e-6)
    assert one.meta["options"] == {"gamma": 1.0, "nearest": 3}


def test_several_layers_are_averaged(mini: EcgTextModel, record: Record) -> None:
    paths = ["signal.stages.0", "signal.stages.1"]
    (got,) = ecgcam.explain(record, [AF], mini, layer=",".join(paths), gradient=None)
    singles = [ecgcam.explain(record, [AF], mini, layer=path, gradient=None)[0] for path in paths]
    assert got.meta["layer"] == "signal.stages.0,signal.stages.1"
    assert got.map_cells.shape == (12, 625)
    assert got.meta["cell_step_ms"] == 16.0
    assert got.meta["cell_width_ms"] == max(single.meta["cell_width_ms"] for single in singles)
    # At the coarse layer's own centres both are read off as they are.
    fine, coarse = (single.map_cells / np.abs(single.map_cells).max() for single in singles)
    want = (fine[:, ::2] + coarse) / 2
    np.testing.assert_allclose(got.map_cells[:, ::2], want, atol=1e-5)
    assert got.score == pytest.approx(singles[0].score, abs=1e-6)
    with pytest.raises(ecgcam.EcgcamError, match="several are averaged by CAM methods only"):
        ecgcam.explain(record, [AF], mini, layer=",".join(paths), method="occlusion")
    with pytest.raises(ecgcam.EcgcamError, match="nowhere"):
        ecgcam.explain(record, [AF], mini, layer="signal.stages.0,nowhere")


def test_a_method_that_looks_at_no_layer_names_none(mini: EcgTextModel, record: Record) -> None:
    two = Record.from_channels("two", record.signal[[1, 6]], record.fs, ("II", "V1"), source="two")
    (plain,) = ecgcam.explain(two, [AF], mini, method="saliency", gradient=None)
    assert plain.meta["layer"] is None
    assert plain.meta["cell_step_ms"] is plain.meta["cell_width_ms"] is None
    (guided,) = ecgcam.explain(two, [AF], mini, method="guided-grad-cam", gradient=None)
    assert guided.meta["layer"] == "signal.stages.1"
