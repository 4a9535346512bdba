"""`explain` says of a recording that it is unlike those a model knows, whatever the method, and at no further forward pass."""

from __future__ import annotations

import numpy as np
import pytest

from ecgcam import explain
from ecgcam.models.load import load_model
from ecgcam.records import CANONICAL_LEADS, Record
from ecgcam.records.simulator import simulate


def noise() -> Record:
    signal = (0.3 * np.random.default_rng(0).standard_normal((12, 2500))).astype(np.float32)
    return Record("noise", signal, 250.0, CANONICAL_LEADS)


def heart() -> Record:
    known = simulate("normal", 1)
    return Record("heart", known.signal, known.fs, known.leads)


CALLS = (
    {}, {"gradient": None}, {"gradient": "lead"}, {"method": "saliency"}, {"method": "saliency", "gradient": None},
    {"layer": "signal.stages.0"},
)  # fmt: skip


@pytest.mark.parametrize("options", CALLS, ids=str)
def test_noise_is_told_and_a_heart_is_not_by_every_way_through(options) -> None:
    mini = load_model("mini", device="cpu")
    far, near = (explain(record, ["normal ECG"], mini, **options)[0] for record in (noise(), heart()))
    assert far.meta["distance"] > 1 > near.meta["distance"] > 0
    said = [
        any(
            words.startswith("further from the reference recordings of mini than 99 % of others")
            for words in one.meta["warnings"]
        )
        for one in (far, near)
    ]
    assert said == [True, False]
    assert far.meta["distance"] == pytest.approx(explain(noise(), ["normal ECG"], mini)[0].meta["distance"], rel=1e-4)


def test_windows_of_one_batch_keep_each_their_own_distance() -> None:
    mini = load_model("mini", device="cpu")
    both = np.concatenate([noise().signal, heart().signal[:, ::2][:, :2500]], axis=1)
    record = Record("both", both, 250.0, CANONICAL_LEADS)
    for gradient in ("record", None):
        first, second = explain(record, ["normal ECG"], mini, all_windows=True, gradient=gradient)
        assert first.meta["distance"] > 1 > second.meta["distance"]


def test_a_network_passes_no_more_signals_than_without(monkeypatch) -> None:
    mini = load_model("mini", device="cpu")
    explain(heart(), ["normal ECG"], mini)  # what is found out once, such as how far a cell looks
    passed: list[int] = []
    forward = mini.network.forward
    monkeypatch.setattr(mini.network, "forward", lambda x: (passed.append(len(x)), forward(x))[1])
    explain(heart(), ["normal ECG"], mini)
    with_statistics, passed[:] = list(passed), []
    monkeypatch.setattr(mini, "reference", None)
    explained = explain(heart(), ["normal ECG"], mini)[0]
    assert passed == with_statistics
    assert explained.meta["distance"] is None
