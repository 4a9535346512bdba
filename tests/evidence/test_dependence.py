"""Maps compared with those of other weights, prompts and recordings, on models whose map is known on paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from tests.toys import toy_model
from torch import Tensor, nn

from ecgcam.evidence import dependence
from ecgcam.evidence.dependence import DEPTHS, MapRuns, RandomWeights, Reruns, agreement, relatives_of
from ecgcam.evidence.edits import TilePerturbation
from ecgcam.evidence.faithfulness import ShownMap
from ecgcam.evidence.metrics import measure
from ecgcam.evidence.sanity import randomised
from ecgcam.models.load import load_model
from ecgcam.models.text.vocabulary import phrases_of
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import LayerSpec, windows_of
from ecgcam.records import Record, Window
from ecgcam.runs.evaluation import cells_of, maps_of

SAMPLES = 200
SETTINGS = Settings(gradient=None)


class Sign(nn.Module):
    """Channel 0 is each sample's sum over the leads, times one weight; the score is its mean. It has no other number."""

    def __init__(self) -> None:
        super().__init__()
        self.sum = nn.Conv1d(2, 1, 1, bias=False)
        self.sum.weight.data = torch.ones(1, 2, 1)
        self.look = nn.Identity()
        self.weight = nn.Parameter(torch.tensor([1.0, 3.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.look(self.sum(x)).mean(dim=2) * self.weight


def toy(network: nn.Module, path: str = "look") -> EcgTextModel:
    return toy_model(network, {path: LayerSpec("BCT", 1.0, 0.0)}, samples=SAMPLES)


def window_of(model: EcgTextModel) -> Window:
    signal = np.random.default_rng(3).standard_normal((2, SAMPLES)).astype(np.float32)
    return next(windows_of(Record("noise", signal, 100.0, ("I", "II")), model.input))


def reruns_of(
    model: EcgTextModel, window: Window, texts: Sequence[str] = ("0",), draws: int = 1, seed: int = 0
) -> tuple[dict[str, Reruns], list[Any]]:
    """The maps of grad-cam, and the calls that made them."""
    calls: list[Any] = []

    def explain(there: Window, asked: Sequence[str], network: Any, _: str) -> dict[str, np.ndarray]:
        calls.append((there, list(asked), network))
        return {text: cells_of(made) for text, made in maps_of(there, asked, network, SETTINGS).items()}

    relatives = {text: relatives_of(text, model.text.has, seed) for text in texts}
    related = [other for kinds in relatives.values() for others in kinds.values() for other in others]
    as_is = explain(window, [*texts, *related], model, "as is")
    blank = np.zeros_like(window.signal)

    def score(text: str, signals: np.ndarray) -> np.ndarray:
        return signals.sum(axis=(1, 2)).astype(np.float64)

    runs = MapRuns(
        explain, as_is, window, texts, model, relatives, lambda depth, draw: randomised(model, depth, seed + draw), score,
        n_draws=draws, seed=seed,
    )  # fmt: skip
    case = TilePerturbation(window.signal, blank, window.valid, window.leads, window.fs, partial(score, ""))
    shown = {text: made.map for text, made in maps_of(window, texts, model, SETTINGS).items()}
    return {text: Reruns(text, runs, ShownMap(case, shown[text])) for text in texts}, calls


def test_maps_that_differ_in_sign_alone_agree_by_plus_or_minus_one() -> None:
    """With random weights, the map is the trained one times the sign of their product: each draw agrees by +1 or -1."""
    model = toy(Sign())
    window = window_of(model)
    values = []
    for seed in range(6):
        (subject,) = reruns_of(model, window, seed=seed)[0].values()
        values.append([dependence.weights_randomised(RandomWeights(subject, depth)) for depth in DEPTHS])
    assert np.abs(values) == pytest.approx(np.ones((6, 4)))
    assert {round(value) for value in np.ravel(values)} == {-1, 1}
    (subject,) = reruns_of(model, window, draws=6)[0].values()
    # The mean over six draws, which have the seeds 0 to 5.
    assert dependence.weights_randomised(RandomWeights(subject, 1.0)) == pytest.approx(np.mean([v[-1] for v in values]))


def test_a_map_that_no_weight_feeds_is_caught() -> None:
    """A network without weights has the same map whatever is drawn: the correlation that the check must not let pass."""
    model = toy(nn.Sequential(nn.Identity(), nn.AdaptiveAvgPool1d(1), nn.Flatten()), "0")
    (subject,) = reruns_of(model, window_of(model))[0].values()
    assert measure(RandomWeights(subject, 1.0)) == {"weights randomised": pytest.approx(1.0)}


def test_a_cell_later_the_map_of_a_local_model_is_the_same_and_noise_moves_it_a_little() -> None:
    model = toy(Sign())
    (subject,) = reruns_of(model, window_of(model))[0].values()
    assert dependence.shift(subject) == pytest.approx(1.0)
    assert 0.99 < dependence.noise_agreement(subject) < 1.0  # 20 µV on a signal of 1 mV


def test_coherence_by_hand() -> None:
    """Seen through its own map s (over the largest), the cells w become w s: the fill is 0 and the model is linear."""
    model = toy(Sign())
    window = window_of(model)
    (subject,) = reruns_of(model, window)[0].values()
    opacity = np.maximum(subject.cells, 0) / subject.cells.max()
    assert dependence.coherence(subject) == pytest.approx(agreement(subject.cells, subject.cells * opacity), abs=1e-6)
    assert 0 < dependence.coherence(subject) < 1


def test_each_run_is_made_once_for_all_prompts() -> None:
    model = toy(Sign())
    subjects, calls = reruns_of(model, window_of(model), texts=("0", "1"))
    for subject in (*subjects.values(), *subjects.values()):
        measure(subject)
        measure(RandomWeights(subject, 1.0))
    # As they are, noise, shift, random weights; and seen through each map.
    assert [asked for _, asked, _ in calls].count(["0", "1"]) == 4
    assert len(calls) == 4 + 2


def test_shuffled_time_is_a_loss_of_the_score() -> None:
    model = toy(Sign())
    window = window_of(model)
    (subject,) = reruns_of(model, window)[0].values()
    scored: list[tuple[str, np.ndarray]] = []

    def score(text: str, signals: np.ndarray) -> np.ndarray:
        scored.append((text, signals))
        return np.array([0.75, 0.5])

    assert dependence.time_shuffled(replace(subject, runs=replace(subject.runs, score=score))) == 0.25
    ((text, (whole, mixed)),) = scored
    assert text == "0"
    assert np.array_equal(whole, window.signal)
    assert np.array_equal(np.sort(mixed), np.sort(whole))
    assert not np.array_equal(mixed, whole)


def test_relatives_are_the_vocabulary_s_as_far_as_the_model_can_embed_them() -> None:
    mini = load_model("mini", device="cpu")
    kinds = relatives_of("AFib", mini.text.has, seed=0)
    assert kinds["negation"] == ["no AFib"]
    assert len(kinds["synonyms"]) == len(kinds["other prompts"]) == len(kinds["paraphrase"]) == 3
    assert set(kinds["synonyms"]) <= set(phrases_of("AFib")) - {"AFib"}
    assert not set(kinds["other prompts"]) & set(phrases_of("AFib"))
    assert all("AFib" in sentence for sentence in kinds["paraphrase"])
    toys = relatives_of("0", toy(Sign()).text.has, seed=0)  # a model that embeds its own prompts alone
    assert not any(toys.values())


def test_what_has_nothing_to_compare_with_is_not_a_number() -> None:
    model = toy(Sign())
    (subject,) = reruns_of(model, window_of(model))[0].values()
    found = measure(subject)
    assert {name for name, value in found.items() if np.isnan(value)} == {
        "other prompts", "negation", "synonyms", "paraphrase",
    }  # fmt: skip


def test_every_metric_of_mini_s_map() -> None:
    mini = load_model("mini", device="cpu")
    signal = (0.2 * np.random.default_rng(0).standard_normal((12, 2500))).astype(np.float32)
    window = next(windows_of(Record("noise", signal, 250.0, mini.input.leads), mini.input))
    found = measure(reruns_of(mini, window, ["atrial fibrillation"], seed=4)[0]["atrial fibrillation"])
    correlations = {name: value for name, value in found.items() if name != "time shuffled"}
    assert all(-1 <= value <= 1 for value in correlations.values())
    assert correlations["synonyms"] > correlations["negation"]


def test_methods_without_cells_are_compared_by_their_map() -> None:
    model = toy(Sign())
    found = maps_of(window_of(model), ["0"], model, replace(SETTINGS, method="saliency"))
    assert cells_of(found["0"]).shape == (2, SAMPLES)
