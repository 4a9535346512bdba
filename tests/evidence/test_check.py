"""The check on a linear model, whose right map is known on paper."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ecgcam.errors import EcgcamError
from ecgcam.evidence.check import check_explanation, check_map, random_parts
from ecgcam.evidence.edits import TilePerturbation
from ecgcam.evidence.scores import mask_fill, score_along
from ecgcam.models.load import load_model
from ecgcam.pipeline.preparation import prepare
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.spec import windows_of
from ecgcam.records import Record
from ecgcam.records.simulator import simulate
from ecgcam.runs.evaluation import maps_of

LEADS = ("I", "II", "V1", "V2", "V3", "V4")
SAMPLES = 1000  # 10 s at 100 Hz: 125 tiles of 80 ms in each lead


def planted(seed: int = 0) -> tuple[TilePerturbation, np.ndarray]:
    """The model answers with what lies in V1 from 2 to 4 s and 6 to 8 s; waves of equal size lie everywhere."""
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((6, SAMPLES)).astype(np.float32)
    weights = np.zeros((6, SAMPLES))
    weights[2, 200:400] = weights[2, 600:800] = 1.0

    def score(signals: np.ndarray) -> np.ndarray:
        return (np.abs(signals) * weights).sum(axis=(1, 2))

    valid = np.ones(signal.shape, bool)
    case = TilePerturbation(signal, np.zeros_like(signal), valid, LEADS, 100.0, score, removal="mask", seed=seed)
    return case, weights


def wrong_maps(right: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "other times": np.roll(right, 200, axis=1),
        "other lead": np.roll(right, 1, axis=0),
        "blank": np.zeros_like(right),
        "constant": np.ones_like(right),
    }


def test_right_maps_pass_and_wrong_ones_fail() -> None:
    passed: dict[str, list[bool]] = {}
    for seed in range(12):
        case, right = planted(seed)
        maps = {"right": right, **wrong_maps(right)}
        for name, values in maps.items():
            passed.setdefault(name, []).append(check_map(case, values, case.score_whole).passed)
    assert np.mean(passed.pop("right")) == 1.0
    assert {name: np.mean(several) for name, several in passed.items() if np.mean(several) > 0.05} == {}


def test_few_random_maps_pass() -> None:
    """Drops of random maps are about normal; parts drawn from the rest of the tiles make their spread 1.4 times as wide: 3 %."""
    passed = []
    for seed in range(60):
        case, right = planted(seed)
        values = np.random.default_rng(seed).random(right.shape)
        passed.append(check_map(case, values, case.score_whole).passed)
    assert np.mean(passed) <= 0.1  # six of 60; more have a chance of 1 in 500 at 3 %


def test_the_numbers_by_hand() -> None:
    case, right = planted()
    found = check_map(case, right, case.score_whole)
    count = round(0.25 * len(case.tiles))
    assert found.removed == pytest.approx(count / len(case.tiles))
    # A quarter of 750 tiles is 188, more than the 50 tiles of the truth: nothing of the score is left.
    assert found.drop == pytest.approx(case.score_whole, rel=1e-6)
    assert found.draws == 16
    assert found.passed == (found.drop > found.random + 3 * found.random_sd)
    parts = random_parts(case, case.importance(right) > 0, 16)
    drops = case.score_whole - case.scores_without(parts)
    assert np.mean(drops) < found.drop
    assert json.loads(json.dumps(found.to_json())) == found.to_json()
    assert list(found.to_json()) == ["removed", "drop", "random", "random_sd", "draws", "passed"]


def test_random_parts_are_like_the_marked_one() -> None:
    case, _ = planted()
    rng = np.random.default_rng(1)
    case = replace(case, signal=case.signal * np.array([1, 1, 2, 2, 3, 3], np.float32)[:, None])
    marked = np.zeros(len(case.tiles), bool)
    marked[rng.choice(np.flatnonzero(np.isin(case.tiles[:, 0], [1, 4])), 40, replace=False)] = True
    parts = random_parts(case, marked, 40)
    assert (parts.sum(axis=1) == 40).all()
    groups = case.tiles[:, 0]
    assert all(len(np.unique(groups[part])) <= 2 for part in parts)
    assert all(set(groups[part]) <= {1, 4} for part in parts[1::2])  # every other draw keeps the leads
    assert len({tuple(np.unique(groups[part])) for part in parts[::2]}) > 5
    energy = case.energy_of_tiles()
    kept = [energy[part].sum() / energy[marked].sum() for part in parts[1::2]]
    assert np.mean(kept) == pytest.approx(1.0, abs=0.1)
    assert len({part.tobytes() for part in parts}) == 40
    assert not (parts & marked).any()  # two leads have 250 tiles, enough without the 40 marked ones
    most = np.isin(groups, [1, 4]) & (rng.random(len(groups)) < 0.9)
    assert (random_parts(case, most, 4).sum(axis=1) == most.sum()).all()
    np.testing.assert_array_equal(random_parts(case, marked, 40), parts)


def test_one_batch_without_gradient_of_the_window() -> None:
    case, right = planted()
    sizes: list[int] = []
    score = case.score
    counted = replace(case, score=lambda signals: sizes.append(len(signals)) or score(signals))
    check_map(counted, right, case.score_whole)
    assert sizes == [17]  # at most 1.5 times the 14 signals of the maps of twelve leads
    with pytest.raises(EcgcamError, match="at least 16"):
        check_map(case, right, case.score_whole, draws=8)


def test_padding_is_never_removed() -> None:
    case, right = planted()
    valid = np.ones(right.shape, bool)
    valid[:, 500:] = False
    found = check_map(replace(case, valid=valid), right, case.score_whole)
    assert found.removed == pytest.approx(0.25, abs=0.01)  # of the real samples
    assert found.passed


def test_an_explanation_of_mini_is_checked_by_its_own_score() -> None:
    """Right bundle branch block: the map of the prompt passes, the same map upside down does not."""
    model = load_model("mini", device="cpu")
    made = simulate("rbbb", 4002)
    window = next(windows_of(Record("rbbb", made.signal, made.fs, made.leads), model.input))
    settings = Settings(gradient=None)
    text = "right bundle branch block"
    explanation = maps_of(window, [text], model, settings)[text]
    prepared = prepare(window, model.input, settings)
    score = score_along(prepared, model.encode_text([text])[0], model)
    assert float(score(window.signal[None])[0]) == pytest.approx(explanation.score, abs=1e-5)
    assert float(score(mask_fill(prepared)[None])[0]) == pytest.approx(explanation.empty_score, abs=1e-5)
    found = check_explanation(window, explanation, score)
    assert found.passed
    assert found.removed == pytest.approx(0.25, abs=0.005)
    opposite = replace(explanation, map=explanation.map.max(axis=1, keepdims=True) - explanation.map)
    assert not check_explanation(window, opposite, score).passed
