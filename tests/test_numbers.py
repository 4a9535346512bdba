"""Numbers at the edge: no NaN leaves, nothing hangs, and how a call is cut up does not change its answer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from ecgcam import explain, explain_many
from ecgcam.errors import EcgcamError
from ecgcam.models.load import load_model
from ecgcam.protocol.model import EcgTextModel
from ecgcam.records import Record
from ecgcam.records.simulator import simulate

LEADS = ("II", "V1")


@pytest.fixture(scope="module", params=["fp32", "bf16"])
def mini(request: pytest.FixtureRequest) -> Iterator[EcgTextModel]:
    """Both precisions; torch computes in bfloat16 on every processor, if need be slowly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ecgcam.models.load._has_bf16", lambda _: True)
        model = load_model("mini", device="cpu", precision=request.param)
        assert model.precision == request.param
        yield model


def beats() -> np.ndarray:
    return simulate("af", 3).signal[[1, 6]].astype(np.float32)


def record(signal: np.ndarray, name: str = "rec") -> Record:
    return Record(name, signal.astype(np.float32), 500.0, LEADS)


SPOILED = {
    "a gap of NaN": (slice(1000, 2000), np.nan),
    "one NaN": (slice(7, 8), np.nan),
    "inf": (slice(3000, 3001), np.inf),
    "-inf": (slice(3000, 3010), -np.inf),
    "1e30 mV": (slice(100, 200), 1e30),
    "denormals": (slice(0, 5000), 1e-40),
    "zero": (slice(0, 5000), 0.0),
    "a constant": (slice(0, 5000), 1.25),
    "the smallest step": (slice(0, 5000), np.float32(1) + np.finfo(np.float32).eps),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_spoiled_lead_leaves_finite_maps(mini: EcgTextModel, case: str) -> None:
    where, value = SPOILED[case]
    signal = beats()
    signal[1, where] = value
    (got,) = explain(record(signal), ["af"], mini)
    got.check()  # that all is finite
    assert not got.map[~got.valid].any()
    assert not got.gradient[~got.valid].any()
    if where == slice(0, 5000):
        assert not got.valid[1].any()
        assert got.valid[0].all()


@pytest.mark.parametrize("value", [0.0, 1.25, 1e-40, np.nan, np.inf])
def test_a_recording_without_a_signal_is_refused(mini: EcgTextModel, value: float) -> None:
    with pytest.raises(EcgcamError, match=r"no lead has a signal|missing"):
        explain(record(np.full((2, 5000), value)), ["af"], mini)


@pytest.mark.parametrize("factor", [1e-3, 1e3, 1e6])
def test_any_amplitude_gives_finite_maps(mini: EcgTextModel, factor: float) -> None:
    (got,) = explain(record(beats() * factor), ["af"], mini)
    got.check()


def test_ten_thousand_words_and_a_thousand_prompts(mini: EcgTextModel) -> None:
    long = "atrial fibrillation " * 5000
    (got,) = explain(record(beats()), [long], mini, gradient=None)
    got.check()
    assert got.meta["text"] == long.strip()
    prompts = [f"atrial fibrillation {i}" for i in range(1000)]
    all_of_them = list(explain_many([record(beats())], prompts, mini, gradient=None))
    assert [one.meta["text"] for one in all_of_them] == prompts
    (alone,) = explain(record(beats()), prompts[-1:], mini, gradient=None)
    np.testing.assert_allclose(all_of_them[-1].map, alone.map, atol=1e-5 * np.abs(alone.map).max())


@pytest.mark.parametrize(
    ("value", "says"), [(0.0, "whatever the recording, its embedding is zero"), (np.nan, "is not finite")]
)
def test_a_prompt_whose_embedding_says_nothing(
    mini: EcgTextModel, monkeypatch: pytest.MonkeyPatch, value: float, says: str
) -> None:
    width = mini.encode_text(["af"]).shape[1]
    monkeypatch.setattr(mini, "encode_text", lambda texts: torch.full((len(texts), width), value))
    with pytest.raises(EcgcamError, match=says):
        explain(record(beats()), ["af"], mini)


def test_a_prompt_against_itself_says_nothing(mini: EcgTextModel) -> None:
    with pytest.raises(EcgcamError, match=r"'af': its score is 0 whatever the recording, `against` subtracts it"):
        explain(record(beats()), ["af"], mini, against=("af",))


def test_a_millionth_of_the_heart_s_amplitude_is_no_signal(mini: EcgTextModel) -> None:
    with pytest.raises(EcgcamError, match="no lead has a signal"):
        explain(record(beats() * 1e-6), ["af"], mini)


def test_order_and_batch_change_nothing(mini: EcgTextModel) -> None:
    records = [record(simulate("af", seed).signal[[1, 6]], f"r{seed}") for seed in range(5)]
    one = {got.meta["record"]: got for got in explain_many(records, ["af"], mini, batch=1)}
    for batch, order in ((7, 1), (64, 1), (64, -1)):
        for got in explain_many(records[::order], ["af"], mini, batch=batch):
            want = one[got.meta["record"]]
            for key in ("map", "gradient", "lead_scores", "mask_shift"):
                a, b = getattr(got, key), getattr(want, key)
                assert np.abs(a - b).max() <= 1e-5 * max(1.0, np.abs(b).max()), (batch, order, key)
