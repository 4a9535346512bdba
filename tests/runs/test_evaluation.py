"""Whole evaluations of a model whose maps are known on paper."""

from __future__ import annotations

import zlib
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toys import Directions, toy_model
from torch import Tensor, nn

from ecgcam.errors import EcgcamError
from ecgcam.evidence import metrics
from ecgcam.evidence.faithfulness import ShownMap
from ecgcam.evidence.metrics import METRICS, Metric, metric_named
from ecgcam.evidence.questions import Question
from ecgcam.evidence.truths import Truth
from ecgcam.models.own import own_model
from ecgcam.pipeline import engine
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.spec import InputSpec, LayerSpec, windows_of
from ecgcam.records import Record
from ecgcam.runs import evaluation
from ecgcam.runs.evaluation import (
    RANDOM,
    SLOPE,
    Entry,
    EvaluationConfig,
    MethodConfig,
    answer_window,
    evaluate_window,
    mean_rows,
)

SAMPLES = 400


class Bumps(nn.Module):
    """Answers with how much of lead II there is in the first axis, and of lead I in the second."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv1d(2, 2, 1, bias=False)
        self.look.weight.data = torch.tensor([[[0.0], [1.0]], [[1.0], [0.0]]])
        self.pool = nn.AvgPool1d(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(torch.relu(self.look(x))).mean(dim=2)


class Words(Directions):
    """Has the vocabulary's prompts too, in directions of their own: contrasts have foils, and prompts have relatives."""

    def encode(self, texts):
        own = [np.random.default_rng(zlib.crc32(text.encode())).standard_normal(self.width) for text in texts]
        axes = np.eye(self.width)
        rows = [axes[int(text)] if text.isdigit() else row for text, row in zip(texts, own, strict=True)]
        return torch.tensor(np.array(rows), dtype=torch.float32)

    def has(self, text):
        return True


def model(words=False):
    layers = {"look": LayerSpec("BCT", 1.0, 0.0), "pool": LayerSpec("BCT", 8.0, 3.5)}
    toy = toy_model(Bumps(), layers, samples=SAMPLES)
    toy.text = Words(2) if words else toy.text
    return toy


def window():
    """Lead II has a bump from 1.0 to 1.4 s, lead I one everywhere else."""
    rng = np.random.default_rng(0)
    signal = 0.01 * rng.random((2, SAMPLES)).astype(np.float32)
    signal[1, 100:140] += 1.0
    signal[0, 200:300] += 1.0
    record = Record("bump", signal, 100.0, ("I", "II"))
    return next(windows_of(record, model().input))


def judged(texts=("0",), methods=("grad-cam",), truth=None, plan=None, mask=None, seed=0, words=False) -> list[Entry]:
    refused = []
    configs = [one if isinstance(one, MethodConfig) else MethodConfig(one, mask) for one in methods]
    entries = list(
        evaluate_window(
            window(),
            texts,
            model(words),
            Settings(seed=seed),
            configs,
            plan or EvaluationConfig(),
            truth,
            lambda *given: refused.append(given),
        )
    )
    assert not refused
    return entries


def bump_truth() -> Truth:
    mask = np.zeros((2, SAMPLES), bool)
    mask[1, 100:140] = True
    return Truth(mask, ("I", "II"), 100.0)


def test_the_right_map_beats_the_random_one_everywhere() -> None:
    random, _, ours = (entry.values for entry in judged(truth=bump_truth()))
    for metric in ("mass", "rank", "auc", "comprehensiveness", "faithfulness correlation"):
        assert ours[metric] > random[metric], metric
    # A line between what is left draws a wide bump anew, so that what is kept is judged by the mask's fill.
    for metric in ("insertion, mask", "comprehensiveness, mask", "faithfulness correlation, mask"):
        assert ours[metric] > random[metric], metric
    for metric in ("deletion", "deletion, mask", "sufficiency, mask", "infidelity, mask"):
        assert ours[metric] < random[metric], metric
    assert ours["pointing"] == 1.0
    assert ours["leads: mass"] == pytest.approx(1.0, abs=0.05)
    assert ours["time: pointing"] == 1.0


# hires-cam shares the pass of grad-cam; finer-cam explains a contrast; saliency has no cells; smooth-grad and the mask draw; the
# layer pool has wider cells.
METHODS = (
    MethodConfig("grad-cam"), MethodConfig("hires-cam"), MethodConfig("finer-cam"), MethodConfig("saliency"),
    MethodConfig("smooth-grad"),
    MethodConfig("grad-cam", mask="noise"), MethodConfig("layer-cam", layer="pool"),
)  # fmt: skip


@cache
def figures(methods: tuple[MethodConfig, ...]) -> dict:
    entries = judged(methods=methods, truth=bump_truth(), seed=3, words=True, plan=EvaluationConfig(tile_ms=120.0))
    assert len({(entry.method, entry.layer, entry.mask) for entry in entries}) == len(entries)
    return {(entry.method, entry.layer, entry.mask): (entry.values, entry.chances) for entry in entries}


@settings(max_examples=6, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(METHODS), min_size=2, max_size=4, unique=True))
def test_figures_do_not_depend_on_the_other_methods_or_their_order(chosen: list[MethodConfig]) -> None:
    expected: dict = {}
    for method in chosen:
        alone = figures((method,))
        assert all(expected.get(key, value) == value for key, value in alone.items())  # the rows without a model
        expected |= alone
    assert figures(tuple(chosen)) == expected


def test_cam_methods_of_one_layer_and_mask_share_a_pass(monkeypatch) -> None:
    passes = []

    def counted(*given):
        passes.append(given)
        return capture(*given)

    capture = engine.capture
    monkeypatch.setattr(engine, "capture", counted)
    names = ("grad-cam", "hires-cam", "layer-cam")
    judged(methods=names, plan=EvaluationConfig(groups=("faithfulness",), all_metrics=False))
    assert len(passes) == 1
    questions = [Question("bump", "p", text, "c", "lead", ("I", "II"), (False, True)) for text in ("0", "1")]
    configs = [*map(MethodConfig, names), MethodConfig("grad-cam", mask="noise")]
    answers = list(answer_window(window(), questions, model(), Settings(), configs, EvaluationConfig(), pytest.fail))
    assert len(passes) == 3
    assert len(answers) == 2 * (len(configs) + 4)  # the two maps without a model, for both masks


def test_all_methods_are_measured_by_the_plain_score_and_one_truth() -> None:
    entries = {
        entry.method: entry for entry in judged(methods=("finer-cam", "grad-cam"), truth=bump_truth(), words=True)
    }
    whole = float(model().encode_signal(torch.from_numpy(window().signal)[None])[0, 0].detach())
    # A blank map leaves the order of the tiles to chance; the curves of every map begin at the score of the window.
    for entry in entries.values():
        assert entry.values["time shuffled"] == pytest.approx(0.0, abs=1e-6)
        assert entry.values["sufficiency, mask"] <= whole + 1e-6
        # Half a cell of the layer look, 0.5 samples, widens the truth by one sample on each side, for every method.
        assert entry.chances["mass"] == 42 / (2 * SAMPLES)
    by_pool = judged(methods=(MethodConfig("grad-cam", layer="pool"),), truth=bump_truth())
    assert {entry.chances["mass"] for entry in by_pool} == {42 / (2 * SAMPLES)}
    wide = judged(truth=bump_truth(), plan=EvaluationConfig(("localisation",), tolerance_ms=50.0))
    assert {entry.chances["mass"] for entry in wide} == {50 / (2 * SAMPLES)}


def test_headline_metrics_alone_are_the_same_figures() -> None:
    plan = EvaluationConfig(all_metrics=False)
    some, all_of_them = judged(truth=bump_truth(), plan=plan), judged(truth=bump_truth())
    names = ["comprehensiveness", "auc", "time: auc", "leads: auc", "weights randomised"]
    for few, many in zip(some, all_of_them, strict=True):
        assert few.values == pytest.approx({name: many.values[name] for name in names})


def test_prompts_are_judged_each_on_its_own() -> None:
    entries = judged(texts=("0", "1"), truth=bump_truth())
    assert [(entry.text, entry.method) for entry in entries] == [
        ("0", RANDOM), ("0", SLOPE), ("0", "grad-cam"), ("1", RANDOM), ("1", SLOPE), ("1", "grad-cam"),
    ]  # fmt: skip
    alone = judged(texts=("1",), truth=bump_truth())
    assert entries[3:] == alone
    assert entries[5].values["pointing"] == 0.0  # what lead I holds is not the bump of lead II


def test_sanity_by_hand() -> None:
    random, slope, ours = judged(plan=EvaluationConfig(groups=("sanity",)))
    assert random.values.keys() == ours.values.keys()
    assert random.values["time shuffled"] == ours.values["time shuffled"]  # which is a fact about the model
    correlations = [value for name, value in random.values.items() if name != "time shuffled"]
    assert all(abs(value) < 0.6 for value in correlations)  # ten tiles, drawn twice
    assert slope.values["weights randomised"] == pytest.approx(1.0)  # it depends on no weight
    assert slope.values["time shuffled"] == ours.values["time shuffled"]
    values = ours.values
    assert values["time shuffled"] == pytest.approx(0.0, abs=1e-6)  # a mean over time does not know its order
    assert values["shift"] == pytest.approx(1.0, abs=0.02)
    assert abs(values["weights randomised"]) < 1.0


def test_a_truth_of_every_lead_has_no_lead_score_and_none_no_score_at_all() -> None:
    everywhere = Truth(np.tile(bump_truth().mask[1], (2, 1)), ("I", "II"), 100.0)
    plan = EvaluationConfig(groups=("localisation",))
    named = set(judged(truth=everywhere, plan=plan)[2].values)
    assert not any(name.startswith("leads: ") for name in named)
    assert "time: mass" in named
    assert judged(truth=None, plan=plan)[2].values == {}


def test_a_method_that_the_model_refuses_is_left_out_and_the_others_go_on() -> None:
    refused = []
    entries = list(
        evaluate_window(
            window(), ["0"], model(), Settings(), [MethodConfig("attention-rollout"), MethodConfig("grad-cam")],
            EvaluationConfig(groups=("faithfulness",)), None, lambda method, error: refused.append((method.method, type(error))),
        )
    )  # fmt: skip
    assert refused == [("attention-rollout", EcgcamError)]
    assert [entry.method for entry in entries] == [RANDOM, SLOPE, "grad-cam"]


def test_the_table_is_the_mean_with_chance_beside_it() -> None:
    entries = [
        Entry(f"r{i}", 0.0, "af", method, None, "zero", {"mass": mass, "deletion": score}, {"mass": 0.2 + 0.1 * i})
        for method, masses, scores in ((RANDOM, (0.1, 0.3), (0.5, 0.7)), ("grad-cam", (0.8, 0.6), (0.2, float("nan"))))
        for i, (mass, score) in enumerate(zip(masses, scores, strict=True))
    ]
    rows = {(row["method"], row["metric"]): row for row in mean_rows(entries)}
    ours = rows["grad-cam", "mass"]
    assert (ours["mean"], ours["chance"], ours["n"], ours["direction"]) == (0.7, 0.25, 2, "higher")
    assert ours["low"] <= 0.7 <= ours["high"]
    left = rows["grad-cam", "deletion"]
    assert (left["mean"], left["chance"], left["n"], left["direction"]) == (0.2, 0.6, 1, "lower")
    assert left["low"] is None


def test_every_metric_has_an_interval_a_direction_chance_and_a_random_map_s_row() -> None:
    plan = EvaluationConfig(n_randomisations=2)
    rows = mean_rows([*judged(truth=bump_truth(), plan=plan), *judged(truth=bump_truth(), plan=plan, seed=1)])
    found = {(row["method"], row["metric"]): row for row in rows}
    metrics = {metric for method, metric in found if method == "grad-cam"}
    for other in (RANDOM, SLOPE):
        assert metrics == {metric for method, metric in found if method == other}
    # The toy's prompts have no synonyms, and no words around them.
    unasked = {"other prompts", "negation", "synonyms", "paraphrase"}
    assert {metric_named(metric).name for metric in metrics} == {metric.name for metric in METRICS} - unasked
    for row in rows:
        assert row["low"] <= row["mean"] <= row["high"], row
        assert row["direction"] in {"higher", "lower"}
        assert row["chance"] is not None, row
        assert row["n"] == 2


def test_questions_are_answered_by_every_map() -> None:
    """Prompt 0 asks for lead II, whose bump lies from 1.0 to 1.4 s; prompt 1 for lead I, whose bump lies from 2 to 3 s."""
    ranges, leads = ((1.0, 1.3), (2.1, 2.4), (3.2, 3.5)), ("I", "II")
    questions = [
        Question("bump", "p", "0", "c", "range", ranges, (True, False, False), ("II",)),
        Question("bump", "p", "0", "c", "lead", leads, (False, True)),
        Question("bump", "p", "1", "c", "range", ranges, (False, True, False)),
        Question("bump", "p", "1", "c", "lead", leads, (True, False)),
    ]
    refused = []
    methods = [MethodConfig("attention-rollout"), MethodConfig("grad-cam"), MethodConfig("saliency")]
    answers = list(
        answer_window(
            window(), questions, model(), Settings(), methods, EvaluationConfig(), lambda *given: refused.append(given)
        )
    )
    assert [method.method for method, _ in refused] == ["attention-rollout"]
    assert list(dict.fromkeys(one.method for one in answers)) == [RANDOM, SLOPE, "grad-cam", "saliency"]
    right = {
        method: [value for one in answers if one.method == method for value, _ in one.values.values()]
        for method in (RANDOM, SLOPE, "grad-cam")
    }
    assert right["grad-cam"] == [1.0] * 6  # two ranges, and two questions of leads by two metrics
    assert right[SLOPE] != right["grad-cam"]  # it has one answer for both prompts
    alone = list(
        answer_window(
            window(),
            questions,
            model(),
            Settings(),
            methods[2:],
            EvaluationConfig(),
            lambda *given: refused.append(given),
        )
    )
    assert alone[: 2 * len(questions)] == answers[: 2 * len(questions)]  # the maps without a model
    assert alone[2 * len(questions) :] == answers[3 * len(questions) :]


class Own(nn.Module):
    """A user's module: encoders of its own, and a tensor kept from the forward pass, which torch does not copy."""

    input = InputSpec(fs=100.0, seconds=4.0, leads=("I", "II"), normalisation="none", fill="zero")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv1d(2, 8, 9, 4, 4), nn.ReLU(), nn.Conv1d(8, 4, 1))
        self.words = nn.Embedding(16, 4)

    def encode_signal(self, x: Tensor) -> Tensor:
        self.features = self.body(x)
        return self.features.mean(dim=2)

    def encode_text(self, texts):
        return self.words(torch.tensor([len(text) % 16 for text in texts]))


def test_every_group_of_metrics_works_for_an_own_network() -> None:
    network = own_model(Own(), "own", layer="body")
    refused = []
    entries = list(
        evaluate_window(
            window(), ["a bump"], network, Settings(), [MethodConfig("grad-cam")], EvaluationConfig(n_randomisations=2),
            bump_truth(), lambda *given: refused.append(given),
        )
    )  # fmt: skip
    assert not refused
    names = {metric_named(name).name for name in entries[-1].values}
    assert names == {metric.name for metric in METRICS} - {"synonyms"}  # "a bump" is not a finding of the vocabulary
    assert "weights randomised, top 25 %" in entries[-1].values


def test_a_metric_is_a_function_and_a_row(monkeypatch) -> None:
    def largest(subject: ShownMap) -> float:
        """Largest value of the map."""
        return float(subject.values.max())

    table = (*METRICS, Metric("largest", "faithfulness", "higher", None, ShownMap, largest))
    for module in (metrics, evaluation):
        monkeypatch.setattr(module, "METRICS", table)
    rows = {(row["method"], row["metric"]): row for row in mean_rows(judged(plan=EvaluationConfig(("faithfulness",))))}
    assert rows[RANDOM, "largest"]["mean"] == pytest.approx(1.0, abs=0.05)
    assert rows["grad-cam", "largest"]["chance"] == rows[RANDOM, "largest"]["mean"]
