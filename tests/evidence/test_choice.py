"""The benchmarks behind docs/evidence.md that rank methods: what is planted, and what is kept between runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks import planted
from benchmarks.choice import CHOSEN, Candidate, Lines, judge_all, ranked, reported, simulated
from benchmarks.localisation import aim
from benchmarks.parts import Parts

from ecgcam.models.load import load_model
from ecgcam.protocol.model import EcgTextModel
from ecgcam.runs.evaluation import RANDOM

pytestmark = pytest.mark.slow
CANDIDATES = [Candidate("grad-cam"), Candidate(CHOSEN, "signal.stages.0"), Candidate(RANDOM)]


@pytest.fixture(scope="module")
def mini() -> EcgTextModel:
    return load_model("mini", device="cpu")


def test_what_is_asked_of_the_mass() -> None:
    assert [aim(chance) for chance in (0.1, 0.2, 0.6)] == pytest.approx([0.3, 0.6, 0.8])


def test_a_pair_differs_in_the_marker_alone() -> None:
    phase, windows = planted.Phase(250, 1, 1e-3), np.random.default_rng(0).standard_normal((5, 12, planted.SAMPLES))
    x, labels, begins = planted.draw_batch(windows, phase, np.random.default_rng(1))
    marked, plain = x.numpy().reshape(2, -1, 12, 250)
    assert labels.tolist() == [1.0] * len(marked) + [0.0] * len(plain)
    for one, other, begin in zip(marked, plain, begins.tolist(), strict=True):
        differs = np.abs(one - other) > 1e-6
        assert np.array_equal(np.flatnonzero(differs[planted.LEAD]), np.arange(begin, begin + planted.LENGTH))
        assert differs.any(axis=1).sum() in (1, 2)  # the marker in V3, and in its pair in another lead or in none


def test_fine_tuning_leaves_the_model_and_lowers_the_loss(
    mini: EcgTextModel, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {key: value.clone() for key, value in mini.network.state_dict().items()}
    windows = np.random.default_rng(0).standard_normal((20, 12, planted.SAMPLES)).astype(np.float32) * 0.05
    tuned = planted.fine_tune(mini, windows, [planted.Phase(250, 100, 2e-3)], 0)
    losses = [float(line.rpartition(" ")[2]) for line in capsys.readouterr().out.splitlines()]
    assert losses[1] < 0.5 * losses[0]
    assert all(torch.equal(value, before[key]) for key, value in mini.network.state_dict().items())
    assert not torch.equal(tuned.network.state_dict()["signal.stem.0.weight"], before["signal.stem.0.weight"])


def test_lines_go_on_where_they_were_cut_off(mini: EcgTextModel, tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    judge_all(simulated(mini, 0, 1, ["pvc"]), CANDIDATES, mini, Lines(path, {"weights": "a"}), 0)
    before = path.read_text(encoding="utf-8")
    path.write_text(before[:-20], encoding="utf-8")
    again = Lines(path, {"weights": "a"})
    assert len(again.known) == 2
    judge_all(simulated(mini, 0, 1, ["pvc"]), CANDIDATES, mini, again, 0)
    assert path.read_text(encoding="utf-8") == before  # the same seed repeats
    assert not Lines(path, {"weights": "b"}).known  # of other weights nothing is taken over


def test_parts_are_worked_out_once_and_anew_for_another_question(tmp_path: Path) -> None:
    path, asked = tmp_path / "parts.jsonl", {"model": "a"}
    parts = Parts(path, asked)
    assert parts.of("draw 0", lambda: [0.25, 0.5]) == [0.25, 0.5]
    assert parts.of("draw 1", lambda: {"synonyms": 1.0}) == {"synonyms": 1.0}
    path.write_text(path.read_text() + '{"draw 2": [0.')  # killed while it wrote
    again = Parts(path, asked)
    assert again.known == {"draw 0": [0.25, 0.5], "draw 1": {"synonyms": 1.0}}
    assert again.of("draw 0", lambda: pytest.fail("is known")) == [0.25, 0.5]
    assert again.of("draw 2", lambda: 3) == 3
    assert Parts(path, asked).known["draw 2"] == 3
    assert Parts(path, {"model": "b"}).known == {}


def test_tables_hold_what_the_lines_say(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    lines = Lines(path, {})
    for finding in ("pvc", "lbbb", "rbbb", "st-elevation", "paced"):
        for candidate, value in zip(CANDIDATES, (0.25, 1.0, 0.0), strict=True):
            values = dict.fromkeys(("pointing", "mass", "auc", "reached", "deletion", "insertion"), value)
            line = {"case": finding, "group": finding, "candidate": [candidate.method, candidate.layer, candidate.mask]}
            lines.known[finding, candidate] = line | {"values": values | {"chance": 0.1}}
    rows = ranked(lines, CANDIDATES, []).split("\n")[2:]
    assert [row.split(" | ")[:4] for row in rows] == [
        [f"| {CHOSEN}", "stages.0", "baseline", "1.00"],
        ["| grad-cam", "stages.1", "baseline", "0.25"],
        [f"| {RANDOM}", "", "baseline", "0.00"],
    ]
    assert (
        "| paced (time) | grad-cam | stages.1 | 0.25 [nan, nan] | 0.30 | 0.10 | 0.25 [nan, nan] | 0.25 | 1 |"
        in reported(lines, CANDIDATES, [])
    )
