"""Training: labels as stated, metrics by hand, and a short run that learns, exports and loads."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from training.data import PtbXl, load_findings, load_ptbxl, load_simulated
from training.export import export
from training.metrics import auroc, bootstrap_interval
from training.train import FS, SAMPLES, Training, augment, evaluate, misspell, pair_loss, sample_texts, train

from ecgcam.models.load import load_model


def test_auroc_by_hand() -> None:
    labels = np.array([1, 0, 1, 0, np.nan])
    # Pairs: (3 > 2), (3 > 1), (1.5 < 2), (1.5 > 1): three of four.
    assert auroc(labels, np.array([3.0, 2.0, 1.5, 1.0, 9.0])) == 0.75
    assert auroc(np.array([1, 0, 0]), np.array([1.0, 1.0, 0.0])) == 0.75  # a tie counts half
    assert np.isnan(auroc(np.array([1.0, 1.0]), np.array([1.0, 2.0])))


def test_bootstrap_draws_patients() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(rng.integers(0, 2, 40).astype(float), 5)
    scores = labels + np.repeat(rng.standard_normal(40), 5)
    narrow = bootstrap_interval(labels, scores, np.arange(200), draws=200)
    wide = bootstrap_interval(labels, scores, np.repeat(np.arange(40), 5), draws=200)
    assert wide[0] < auroc(labels, scores) < wide[1]
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])


def test_labels_by_hand() -> None:
    lbbb = next(finding for finding in load_findings() if finding.name == "lbbb")
    assert lbbb.label({"CLBBB": 100.0, "SR": 0.0}) == 1.0
    assert np.isnan(lbbb.label({"CLBBB": 15.0}))
    assert np.isnan(lbbb.label({"ILBBB": 100.0}))
    assert lbbb.label({"NORM": 100.0}) == 0.0


@pytest.mark.shared
def test_the_vocabulary_holds_the_labels_of_all_figures(shared: Path) -> None:
    with (shared / "data/findings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    ours = load_findings()
    assert [finding.name for finding in ours] == [row["finding"] for row in rows]
    for finding, row in zip(ours, rows, strict=True):
        assert finding.prompt == row["prompt"]
        assert finding.codes == set(row["codes"].split("|"))
        assert finding.min_likelihood == float(row["min_likelihood"])
        assert finding.leave_out == set(filter(None, row["leave_out"].split("|")))
        assert finding.source == row["source"]


def test_the_loss_leaves_unlabelled_pairs_out() -> None:
    targets = torch.tensor([[1.0, 0.0], [0.0, float("nan")]])
    logits = torch.tensor([[2.0, -1.0], [-3.0, 50.0]], requires_grad=True)
    pair_loss(logits, targets).backward()
    assert logits.grad is not None
    assert logits.grad[1, 1] == 0
    assert logits.grad[0, 0] < 0
    assert logits.grad[0, 1] > 0


def test_negated_phrases_have_inverted_targets_normal_among_them() -> None:
    findings = load_findings()
    labels = torch.zeros(3, len(findings))
    labels[0, 1] = 1
    denied = set()
    for seed in range(4):
        texts, targets = sample_texts(findings, labels, np.random.default_rng(seed))
        count = 2 * len(findings)
        assert len(texts) == targets.shape[1] > count
        assert torch.equal(targets[:, :count], labels.repeat(1, 2))
        assert targets[1, count:].eq(1).all()
        denied |= set(texts[count:])
    assert any("normal" in text or text == "pathological ECG" for text in denied)


def test_a_slip_changes_one_word_and_leaves_other_scripts() -> None:
    rng = np.random.default_rng(0)
    slips = {misspell("left bundle branch block", rng) for _ in range(50)}
    assert len(slips) > 10
    for slip in slips:
        changed = [a != b for a, b in zip(slip.split(" "), ["left", "bundle", "branch", "block"], strict=True)]
        assert sum(changed) <= 1
    assert misspell("心房颤动", rng) == "心房颤动"
    assert misspell("AF", rng) == "AF"


def test_simulated_recordings_are_labelled_with_their_finding_and_their_twins_normal() -> None:
    findings = [finding for finding in load_findings() if finding.name in {"normal", "lbbb", "pvc"}]
    windows, labels = load_simulated(findings, 3, 100.0, 1000)
    assert windows.shape == (3 * 3 + 2, 12, 1000)
    assert np.abs(np.median(windows.astype("f4"), axis=2)).max() < 2e-3
    names = [finding.name for finding in findings]
    rows = labels[:, names.index("lbbb")] == 1
    assert rows.sum() == 3
    assert (labels[rows, names.index("normal")] == 0).all()
    assert (labels[:, names.index("normal")] == 1).sum() == 3 + 2
    empty, none = load_simulated(findings, 0, 100.0, 1000)
    assert (len(empty), len(none)) == (0, 0)


def test_augmentation_masks_leads_and_leaves_its_input() -> None:
    x = torch.ones(200, 12, 500)
    out = augment(x, np.random.default_rng(0))
    assert x.eq(1).all()
    silent = out.eq(0).all(dim=2).sum(dim=1)
    assert 0.2 < silent.eq(11).float().mean() < 0.4  # all but one
    assert 0.3 < silent.eq(0).float().mean() < 0.6  # none


def few_records(count: int = 96) -> PtbXl:
    """Noise with labels: enough to take steps."""
    rng = np.random.default_rng(0)
    labels = (rng.random((count, len(load_findings()))) < 0.2).astype(np.float32)
    return PtbXl(
        np.arange(count), np.arange(count), np.where(np.arange(count) < 64, 1, 8),
        rng.standard_normal((count, 12, 256)).astype(np.float16), labels, labels[:, :16].copy(),
        [f"statement {i}" for i in range(16)],
        ["sinusrhythmus"] * count,
    )  # fmt: skip


@pytest.mark.parametrize("supervised", [False, True])
def test_a_run_that_was_interrupted_ends_as_if_it_had_not_been(tmp_path: Path, supervised: bool) -> None:
    findings = load_findings()

    def training() -> Training:
        none = (np.zeros((0, 12, 256), np.float16), np.zeros((0, len(findings)), np.float32))
        return Training(few_records(), none, findings, {1}, 3, 0, supervised)

    whole, broken = training(), training()
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    train(whole, tmp_path / "whole")
    broken.run_epoch()
    torch.save(broken.state(), tmp_path / "broken/resume.pt")
    train(training(), tmp_path / "broken")
    ends = [torch.load(tmp_path / name / "last.pt", weights_only=True)["state"] for name in ("whole", "broken")]
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])
    lines = (tmp_path / "broken/log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [2, 3]


@pytest.mark.slow
@pytest.mark.shared
def test_a_short_training_learns_repeats_and_exports(unpacked: Path, tmp_path: Path) -> None:
    findings = load_findings()
    data = load_ptbxl(unpacked / "ptbxl", FS, SAMPLES, findings, unpacked.parent)
    few = np.flatnonzero(np.isin(data.folds, [1, 8]))
    small = type(data)(
        data.ids[few], data.patients[few], data.folds[few], data.windows[few], data.labels[few], data.statements[few],
        data.statement_texts, [data.reports[i] for i in few],
    )  # fmt: skip
    training = Training(small, load_simulated(findings, 4, FS, SAMPLES), findings, {1}, 6, 0)
    train(training, tmp_path)
    model = training.model
    figures = evaluate(model, small, findings, 8)
    assert figures["lbbb"] > 0.6
    assert np.mean([figures[name] for name in ("lbbb", "af", "tachycardia", "bradycardia", "lafb")]) > 0.6
    export(tmp_path / "last.pt", tmp_path / "weights.npz", ["atrial fibrillation"])
    loaded = load_model("mini", checkpoint=tmp_path / "weights.npz")
    x = torch.from_numpy(small.windows[:4].astype("f4"))
    with torch.no_grad():
        direct = torch.nn.functional.normalize(training.averaged.signal.eval()(x), dim=1)
        torch.testing.assert_close(loaded.encode_signal(x), direct, atol=5e-3, rtol=0)
    assert loaded.text.warnings("atrial fibrillation") == []
    assert loaded.text.warnings("xyzzy")
