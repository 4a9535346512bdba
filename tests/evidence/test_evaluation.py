"""Whole evaluations of a model whose maps are known on paper."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.toys import toy_model
from torch import Tensor, nn

from ecgcam.errors import EcgcamError
from ecgcam.evidence.evaluation import RANDOM, Entry, Plan, Trial, evaluate_window, mean_rows
from ecgcam.evidence.journal import Journal
from ecgcam.evidence.metrics import METRICS, metric_named
from ecgcam.evidence.truths import Truth
from ecgcam.models.spec import LayerSpec, windows_of
from ecgcam.records import Record
from ecgcam.settings import Settings

SAMPLES = 400


class Bumps(nn.Module):
    """Answers with how much of lead II there is in the first axis, and of lead I in the second."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv1d(2, 2, 1, bias=False)
        self.look.weight.data = torch.tensor([[[0.0], [1.0]], [[1.0], [0.0]]])

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.look(x)).mean(dim=2)


def model():
    return toy_model(Bumps(), {"look": LayerSpec("BCT", 1.0, 0.0)}, samples=SAMPLES)


def window():
    """Lead II has a bump from 1.0 to 1.4 s, lead I one everywhere else."""
    rng = np.random.default_rng(0)
    signal = 0.01 * rng.random((2, SAMPLES)).astype(np.float32)
    signal[1, 100:140] += 1.0
    signal[0, 200:300] += 1.0
    record = Record("bump", signal, 100.0, ("I", "II"))
    return next(windows_of(record, model().input))


def judged(texts=("0",), methods=("grad-cam",), truth=None, plan=None, mask=None, seed=0) -> list[Entry]:
    refused = []
    trials = [Trial(name, mask) for name in methods]
    entries = list(
        evaluate_window(
            window(),
            texts,
            model(),
            Settings(seed=seed),
            trials,
            plan or Plan(),
            truth,
            lambda *told: refused.append(told),
        )
    )
    assert not refused
    return entries


def bump_truth() -> Truth:
    mask = np.zeros((2, SAMPLES), bool)
    mask[1, 100:140] = True
    return Truth(mask, ("I", "II"), 100.0)


def test_the_right_map_beats_the_random_one_everywhere() -> None:
    blind, ours = (entry.values for entry in judged(truth=bump_truth()))
    for metric in ("mass", "rank", "auc", "comprehensiveness", "faithfulness correlation"):
        assert ours[metric] > blind[metric], metric
    # A line between what is left draws a wide bump anew, so that what is kept is judged by the mask's fill.
    for metric in ("insertion, mask", "comprehensiveness, mask", "faithfulness correlation, mask"):
        assert ours[metric] > blind[metric], metric
    for metric in ("deletion", "deletion, mask", "sufficiency, mask", "infidelity, mask"):
        assert ours[metric] < blind[metric], metric
    assert ours["pointing"] == 1.0
    assert ours["leads: mass"] == pytest.approx(1.0, abs=0.05)
    assert ours["time: pointing"] == 1.0


def test_prompts_are_judged_each_on_its_own() -> None:
    entries = judged(texts=("0", "1"), truth=bump_truth())
    assert [(entry.text, entry.method) for entry in entries] == [
        ("0", RANDOM), ("0", "grad-cam"), ("1", RANDOM), ("1", "grad-cam"),
    ]  # fmt: skip
    alone = judged(texts=("1",), truth=bump_truth())
    assert entries[3] == alone[1]
    assert entries[3].values["pointing"] == 0.0  # what lead I holds is not the bump of lead II


def test_sanity_by_hand() -> None:
    blind, ours = judged(plan=Plan(rooms=("sanity",)))
    assert blind.values.keys() == ours.values.keys()
    assert blind.values["time shuffled"] == ours.values["time shuffled"]  # which is a fact about the model
    assert all(abs(value) < 0.4 for value in blind.values.values())  # ten tiles, drawn twice
    values = ours.values
    assert values["time shuffled"] == pytest.approx(0.0, abs=1e-6)  # a mean over time does not know its order
    assert values["shift"] == pytest.approx(1.0, abs=0.02)
    assert abs(values["weights randomised"]) < 1.0


def test_a_truth_of_every_lead_has_no_lead_score_and_none_no_score_at_all() -> None:
    everywhere = Truth(np.tile(bump_truth().mask[1], (2, 1)), ("I", "II"), 100.0)
    plan = Plan(rooms=("localisation",))
    named = set(judged(truth=everywhere, plan=plan)[1].values)
    assert not any(name.startswith("leads: ") for name in named)
    assert "time: mass" in named
    assert judged(truth=None, plan=plan)[1].values == {}


def test_a_method_that_the_model_refuses_is_left_out_and_the_others_go_on() -> None:
    refused = []
    entries = list(
        evaluate_window(
            window(), ["0"], model(), Settings(), [Trial("attention-rollout"), Trial("grad-cam")],
            Plan(rooms=("faithfulness",)), None, lambda trial, error: refused.append((trial.method, type(error))),
        )
    )  # fmt: skip
    assert refused == [("attention-rollout", EcgcamError)]
    assert [entry.method for entry in entries] == [RANDOM, "grad-cam"]


def test_the_table_is_the_mean_with_chance_beside_it() -> None:
    entries = [
        Entry(f"r{i}", 0.0, "af", method, "zero", {"mass": mass, "deletion": score}, {"mass": 0.2 + 0.1 * i})
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
    plan = Plan(draws=2)
    rows = mean_rows([*judged(truth=bump_truth(), plan=plan), *judged(truth=bump_truth(), plan=plan, seed=1)])
    found = {(row["method"], row["metric"]): row for row in rows}
    metrics = {metric for method, metric in found if method == "grad-cam"}
    assert metrics == {metric for method, metric in found if method == RANDOM}
    # What the toy cannot be asked: its prompts have no synonyms, and no words around them.
    unasked = {"other prompts", "negation", "synonyms", "paraphrase"}
    assert {metric_named(metric).name for metric in metrics} == {metric.name for metric in METRICS} - unasked
    for row in rows:
        assert row["low"] <= row["mean"] <= row["high"], row
        assert row["direction"] in {"higher", "lower"}
        assert row["chance"] is not None, row
        assert row["n"] == 2


def test_a_journal_goes_on_where_a_crash_cut_it_off(tmp_path) -> None:
    asked = {"texts": ["0"]}
    entries = judged(plan=Plan(rooms=("faithfulness",)))
    with Journal(tmp_path, asked, resume=False) as journal:
        journal.add("first", entries)
        journal.add("second", entries)
    path = tmp_path / "evidence-records.jsonl"
    path.write_text(path.read_text()[:-20])
    with Journal(tmp_path, asked, resume=True) as journal:
        assert journal.done == {"first"}
        journal.add("second", entries)
        assert list(journal.entries()) == entries + entries
    assert Journal(tmp_path, asked, resume=True).done == {"first", "second"}
    with pytest.raises(EcgcamError, match="another question"):
        Journal(tmp_path, {"texts": ["1"]}, resume=True)
    with pytest.raises(EcgcamError, match="--resume"):
        Journal(tmp_path, asked, resume=False)
    path.write_text("no journal")
    with pytest.raises(EcgcamError, match="no journal of an evaluation"):
        Journal(tmp_path, asked, resume=True)
