"""The third stage: its losses by hand, what it keeps apart, and what it leaves alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from training.data import Finding, PtbXl, load_findings
from training.observed import Observation, Observed
from training.speak import Heard, Speaking, balanced_loss, kept_apart, listen, measured, placed_share, spoken
from training.train import TwoTowers
from training.words import sentences_of

from ecgcam.records.criteria import all_criteria

CRITERIA = [
    Observation(("wide QRS", "broad QRS"), ("narrow QRS",), (0,)), Observation(("fast rate",), ("slow rate", "calm rate"), (1,)),
]  # fmt: skip


def directions_of(findings: int) -> torch.Tensor:
    """A direction for each finding and criterion."""
    return torch.eye(findings + len(CRITERIA), 128)


def test_both_sides_of_a_finding_weigh_the_same() -> None:
    # One record with the finding, at a gap of 0, and three without it, at gaps of 0, 0 and a large negative one; NaN is neither.
    gap = torch.tensor([[0.0], [0.0], [0.0], [-100.0], [50.0]])
    labels = torch.tensor([[1.0], [0.0], [0.0], [0.0], [math.nan]])
    expected = (math.log(2) + (2 * math.log(2) + 0) / 3) / 2
    assert float(balanced_loss(gap, labels)) == pytest.approx(expected)


def test_a_finding_that_no_record_has_counts_by_those_without_it() -> None:
    assert float(balanced_loss(torch.zeros(2, 1), torch.zeros(2, 1))) == pytest.approx(math.log(2))


def test_sentences_are_set_apart_by_blanks_and_full_stops() -> None:
    assert sentences_of("sinusrhythmus  linkstyp. qt verlängert   ") == ["sinusrhythmus", "linkstyp", "qt verlängert"]


def test_phrases_kept_apart_are_not_trained_on_and_none_is_lost() -> None:
    findings = load_findings()
    kept, apart = kept_apart(findings, 0.2, 0)
    for before, after in zip(findings, kept, strict=True):
        gone = {phrase for name, phrase in apart if name == before.name}
        assert gone.isdisjoint(after.phrases)
        assert gone | set(after.phrases) == set(before.phrases)
    assert 0.1 < len(apart) / sum(len(finding.phrases) for finding in findings) < 0.3


def test_sentences_that_name_a_finding_are_its_phrases_and_frames_for_others() -> None:
    said, frames = spoken(["sinusrhythmus linksschenkelblock path", "linkstyp", "VORHOFFLIMMERN"])
    assert said == {"lbbb": ["sinusrhythmus linksschenkelblock path"], "af": ["VORHOFFLIMMERN"]}
    assert frames == [("sinusrhythmus", "path"), ("", "")]
    findings = [finding for finding in load_findings() if finding.name in {"lbbb", "pvc"}]
    heard = replace(record_output(findings), sentences=["sinusrhythmus linksschenkelblock path"])
    speaking = Speaking(TwoTowers(), heard, findings, CRITERIA, directions_of(2), 1, 0)
    lbbb, pvc = findings
    phrases = {finding.name: [speaking._in_a_report(finding) for _ in range(200)] for finding in findings}
    assert "sinusrhythmus linksschenkelblock path" in phrases["lbbb"]
    assert "sinusrhythmus linksschenkelblock path" not in phrases["pvc"]
    for finding in (lbbb, pvc):
        assert {f"sinusrhythmus {phrase} path" for phrase in finding.phrases} & set(phrases[finding.name])


def test_the_text_tower_learns_and_the_signal_tower_does_not_move() -> None:
    findings = [finding for finding in load_findings() if finding.name in {"af", "lbbb", "pvc", "paced"}]
    torch.manual_seed(0)
    towers = TwoTowers()
    before = {key: value.clone() for key, value in towers.signal.state_dict().items()}
    directions = directions_of(len(findings))
    speaking = Speaking(towers, record_output(findings), findings, CRITERIA, directions, 40, 0)
    phrases = [(finding.name, phrase) for finding in findings for phrase in finding.phrases]
    untrained = placed_share(towers, findings, phrases)
    losses = [speaking.step() for _ in range(40)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert placed_share(towers, findings, phrases) > max(untrained, 0.9)
    prompts = torch.nn.functional.normalize(towers.text([finding.prompt for finding in findings]), dim=1)
    assert (prompts * directions[: len(findings)]).sum(1).min() > 0.8  # held to the directions
    sides = torch.nn.functional.normalize(towers.text(["wide QRS", "narrow QRS", "fast rate", "slow rate"]), dim=1)
    for row in (0, 1):
        with_it, without = record_output(findings).means[row], record_output(findings).means[1 - row]
        difference = (towers.signal.head(with_it) - towers.signal.head(without)) @ (sides[2 * row] - sides[2 * row + 1])
        assert difference > 0  # the criterion's phrase has the recordings that meet it, less the one against it
    assert all(torch.equal(before[key], value) for key, value in towers.signal.state_dict().items())


def test_a_sentence_of_few_records_is_no_text_of_its_own() -> None:
    findings = load_findings()
    reports = ["linkstyp. sinusrhythmus", "sinusrhythmus", "steiltyp", "sinusrhythmus"]
    data = PtbXl(
        np.arange(4), np.arange(4), np.array([1, 1, 1, 8]), np.ones((4, 12, 256), np.float16),
        np.zeros((4, len(findings)), np.float32), np.zeros((4, 1), np.float32), ["sinus rhythm"], reports,
    )  # fmt: skip
    made = np.ones((1, 12, 256), np.float16), np.zeros((1, len(findings)), np.float32)
    answers = np.array([[1], [0], [math.nan], [1]], np.float16)
    heard = listen(TwoTowers().signal, data, {1}, made, answers, 0, augmented=1, least=2)
    assert heard.observed[:, 0].tolist() == pytest.approx(2 * [1, 0, math.nan, math.nan], nan_ok=True)
    assert heard.sentences == ["sinusrhythmus", "linkstyp", "steiltyp"]
    assert heard.holds[:3].tolist() == [[1], [1], [0]]
    assert heard.holds[3].isnan().all()  # simulated
    assert heard.spread.shape == (128,)
    assert len(heard.means) == len(heard.labels) == 2 * len(heard.holds)


def test_criteria_that_hardly_ever_hold_are_not_trained() -> None:
    criteria = all_criteria()
    numbers = np.arange(70)[::-1].copy()
    answers = np.full((70, len(criteria)), math.nan, np.float16)
    wide = [one.name for one in criteria].index("lbbb/qrs-duration")
    answers[:, wide] = np.arange(70) < 35
    answers[:, [one.name for one in criteria].index("tachycardia/rate")] = np.arange(70) < 5
    observed = Observed(
        numbers, answers, np.zeros((70, len(criteria), 12), bool), np.zeros((70, len(criteria), 40), np.uint8)
    )
    data = PtbXl(
        np.arange(70), np.arange(70), np.ones(70, int), np.zeros((70, 12, 8), np.float16), np.zeros((70, 0), np.float32),
        np.zeros((70, 0), np.float32), [], [""] * 70,
    )  # fmt: skip
    kept, found = measured(observed, data, {1})
    assert [wide in one.columns for one in kept] == [True]
    assert found[:, 0].tolist() == answers[::-1, wide].tolist()  # by number, whatever the order


def test_the_same_seed_repeats() -> None:
    findings: list[Finding] = load_findings()[:3]
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        speaking = Speaking(TwoTowers(), record_output(findings), findings, CRITERIA, directions_of(3), 3, 5)
        runs.append([speaking.step() for _ in range(3)])
    assert runs[0] == runs[1]


def record_output(findings: list[Finding]) -> Heard:
    """Means of which every finding has its own channel."""
    count = len(findings)
    labels = torch.eye(count).repeat(20, 1)
    means = torch.cat([labels, torch.full((len(labels), 128 - count), 0.02)], dim=1)
    statements = ["one", "two", "three", "four"][:count]
    return Heard(means, torch.ones(128), labels, labels[:, :2], labels, statements, ["a sentence"], labels[:, :1])
