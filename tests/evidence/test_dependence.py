"""Maps held against those of other weights, words and recordings, on models whose answer is known on paper."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.toys import toy_model
from torch import Tensor, nn

from ecgcam.evidence.dependence import (
    against_recordings,
    against_weights,
    cells_of,
    check_dependence,
    maps_of,
    relatives_of,
)
from ecgcam.models.load import load_model
from ecgcam.models.spec import LayerSpec, windows_of
from ecgcam.prompts import phrases_of
from ecgcam.records import Record
from ecgcam.settings import Settings

SAMPLES = 200
SETTINGS = Settings(gradient=None)


class Sign(nn.Module):
    """Channel 0 is each sample's sum over the leads, times one weight; the score is its mean. No other number is learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.sum = nn.Conv1d(2, 1, 1, bias=False)
        self.sum.weight.data = torch.ones(1, 2, 1)
        self.look = nn.Identity()
        self.weight = nn.Parameter(torch.tensor([1.0, 3.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.look(self.sum(x)).mean(dim=2) * self.weight


def toy(network: nn.Module, path: str = "look"):
    return toy_model(network, {path: LayerSpec("BCT", 1.0, 0.0)}, samples=SAMPLES)


def window(model):
    signal = np.random.default_rng(3).standard_normal((2, SAMPLES)).astype(np.float32)
    return next(windows_of(Record("noise", signal, 100.0, ("I", "II")), model.input))


def test_maps_that_differ_in_sign_alone_agree_by_the_share_of_equal_signs() -> None:
    """With random weights, the map is the trained one times the sign of their product: each draw agrees by +1 or -1."""
    model = toy(Sign())
    here = window(model)
    found = maps_of(here, ["0"], model, SETTINGS)
    values = against_weights(here, found, model, SETTINGS, draws=6)["0"]
    assert list(values) == [
        "weights randomised, top 25 %", "weights randomised, top 50 %", "weights randomised, top 75 %", "weights randomised",
    ]  # fmt: skip
    assert np.abs(values["weights randomised"]) == pytest.approx(np.ones(6))
    # The sum's two weights are both 1: a spread of 0 draws them as they were, so that only the last weight's sign can turn.
    one = against_weights(here, found, model, SETTINGS, draws=1)["0"]
    assert one == {"weights randomised": values["weights randomised"][:1]}


def test_a_map_that_no_weight_feeds_is_caught() -> None:
    """A network without weights has the same map whatever is drawn: the correlation that the check must not let pass."""
    model = toy(nn.Sequential(nn.Identity(), nn.AdaptiveAvgPool1d(1), nn.Flatten()), "0")
    here = window(model)
    found = maps_of(here, ["0"], model, SETTINGS)
    assert against_weights(here, found, model, SETTINGS, draws=1)["0"]["weights randomised"] == [pytest.approx(1.0)]


def test_a_cell_later_the_map_of_a_local_model_is_the_same_and_noise_moves_it_a_little() -> None:
    model = toy(Sign())
    here = window(model)
    moved = against_recordings(here, maps_of(here, ["0"], model, SETTINGS), model, SETTINGS)["0"]
    assert moved["shift"] == pytest.approx(1.0)
    assert 0.99 < moved["noise"] < 1.0  # 20 µV on a signal of 1 mV


def test_relatives_are_the_vocabulary_s_as_far_as_the_model_can_say_them() -> None:
    mini = load_model("mini", device="cpu")
    kinds = relatives_of("AFib", mini, seed=0)
    assert kinds["negation"] == ["no AFib"]
    assert len(kinds["synonyms"]) == len(kinds["other prompts"]) == len(kinds["paraphrase"]) == 3
    assert set(kinds["synonyms"]) <= set(phrases_of("AFib")) - {"AFib"}
    assert not set(kinds["other prompts"]) & set(phrases_of("AFib"))
    assert all("AFib" in sentence for sentence in kinds["paraphrase"])
    toys = relatives_of("0", toy(Sign()), seed=0)  # a model that knows its own prompts alone
    assert not any(toys.values())


def test_every_metric_of_mini_s_map() -> None:
    mini = load_model("mini", device="cpu")
    signal = (0.2 * np.random.default_rng(0).standard_normal((12, 2500))).astype(np.float32)
    here = next(windows_of(Record("noise", signal, 250.0, mini.input.leads), mini.input))
    found = maps_of(here, ["atrial fibrillation"], mini, SETTINGS)
    scored: list[str] = []

    def score(text: str, mixed: np.ndarray) -> float:
        scored.append(text)
        assert sorted(mixed[0]) == sorted(here.signal[0])
        return found[text].score - 0.25

    values = check_dependence(here, found, mini, replace(SETTINGS, seed=4), score)["atrial fibrillation"]
    assert set(values) == {
        "weights randomised", "noise", "shift", "time shuffled", "other prompts", "synonyms", "negation", "paraphrase",
    }  # fmt: skip
    assert scored == ["atrial fibrillation"]
    assert values["time shuffled"] == pytest.approx(0.25)
    assert all(-1 <= value <= 1 for value in values.values())
    again = check_dependence(here, found, mini, replace(SETTINGS, seed=4), score)["atrial fibrillation"]
    assert again == values  # the same seed repeats
    assert values["synonyms"] > values["negation"]


def test_methods_without_cells_are_held_against_each_other_by_their_map() -> None:
    model = toy(Sign())
    found = maps_of(window(model), ["0"], model, replace(SETTINGS, method="saliency"))
    assert cells_of(found["0"]).shape == (2, SAMPLES)
