"""Calibrations: found by the hash of the weights, used unless a flag wins, part of the fingerprint; and the search on networks of
which the right method is certain by construction."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ecgcam
from ecgcam.cli.app import run
from ecgcam.errors import EcgcamError
from ecgcam.models.own import own_model
from ecgcam.models.own_layers import spread_layers
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import InputSpec
from ecgcam.records import CANONICAL_LEADS, Record
from ecgcam.records.simulator import simulate
from ecgcam.records.simulator import write as write_simulation
from ecgcam.runs import calibrate_search
from ecgcam.runs.calibration import (
    Calibration,
    calibration_beside,
    find_calibration,
    kept_calibration,
    read_calibration,
)

FS, SECONDS = 100, 5
REGION = slice(150, 250)


class Bypass(nn.Module):
    """Nearly all of the score is w . x, w one second of lead II; a little passes a layer that shows all but the wave in II."""

    labels = ("activity",)
    input = InputSpec(fs=FS, seconds=SECONDS)

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.layer = nn.Conv1d(12, 2, 5, padding=2, bias=False)
        self.w = nn.Parameter(torch.zeros(12, FS * SECONDS))
        with torch.no_grad():
            self.layer.weight.zero_()
            self.layer.weight[:, 11] = torch.tensor([[0.2], [0.1]])
            self.layer.weight[:, 1] = -torch.tensor([[0.2], [0.1]])
            self.w[1, REGION] = scale

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.w).sum(dim=(1, 2), keepdim=True)[:, 0] + 0.001 * self.layer(x).mean(dim=(1, 2))[:, None]


def _records(count: int = 3) -> list[Record]:
    """A wave in the second that counts, a larger one elsewhere in V6, and noise."""
    records = []
    for number in range(count):
        signal = 0.05 * np.random.default_rng(number).standard_normal((12, FS * SECONDS))
        signal[1, REGION] += 1.0 + 0.1 * number
        signal[11, 300:400] += 2.0
        records.append(Record(f"made-{number}", signal.astype(np.float32), FS, CANONICAL_LEADS))
    return records


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ECGCAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def bypass() -> EcgTextModel:
    return own_model(Bypass(), "bypass", targets=True)


def test_a_layer_that_the_score_bypasses_is_not_chosen_and_the_next_call_uses_the_choice(
    cache: Path, bypass: EcgTextModel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ecgcam")
    record = _records(1)[0]
    (before,) = ecgcam.explain(record, "activity", bypass)
    assert "not verified" in caplog.text
    found = ecgcam.calibrate(bypass, _records())
    # Every map of the layer is wrong; w, w x or a lost score are right.
    assert found.layer is None
    assert found.method in {"saliency", "input-x-gradient", "full-grad", "deep-lift", "integrated-gradients"}
    by_method = {row["method"]: row["score"] for row in found.table if row["round"] == "final"}
    assert by_method[found.method] > 0.9
    assert by_method["grad-cam"] < 0.3
    caplog.clear()
    (after,) = ecgcam.explain(record, "activity", bypass)
    assert f"calibrated for these weights: {found.choice}" in caplog.text
    assert after.meta["method"] == found.method
    assert after.map[1, REGION].sum() > 0.9 * np.abs(after.map).sum()
    (flag,) = ecgcam.explain(record, "activity", bypass, method="grad-cam")
    assert (flag.meta["method"], flag.meta["layer"]) == ("grad-cam", "layer")
    assert after.meta["spec"]["model"]["calibration"] == flag.meta["spec"]["model"]["calibration"] == found.sha256
    assert len({one.meta["fingerprint"] for one in (before, after, flag)}) == 3
    assert before.meta["spec"]["model"]["calibration"] is None
    # Another network's weights have no calibration.
    (other,) = ecgcam.explain(record, "activity", own_model(Bypass(2.0), "bypass", targets=True))
    assert other.meta["method"] == "grad-cam"
    assert other.meta["spec"]["model"]["calibration"] is None


@pytest.mark.slow
def test_the_references_are_the_scores_of_the_given_recordings(cache: Path, bypass: EcgTextModel) -> None:
    records = _records(4)
    found = ecgcam.calibrate(bypass, records)
    scores = [ecgcam.score(record, ["activity"], bypass)[0]["activity"] for record in records]
    assert found.references["activity"] == pytest.approx(scores, abs=1e-5)
    assert found.source == "4 given recordings"
    # Two of four are below the third, and it ties with itself.
    assert found.percentile("activity", found.references["activity"][2]) == pytest.approx(62.5)
    assert found.percentile("something else", 0.0) is None


@pytest.mark.slow
def test_interrupted_it_goes_on_and_gives_the_same(
    cache: Path, bypass: EcgTextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ecgcam.calibrate(bypass, _records())
    journal = kept_calibration(bypass.checkpoint_sha256, ".jsonl")
    assert journal is not None
    lines = journal.read_text(encoding="utf-8").splitlines(keepends=True)
    journal.write_text("".join(lines[:20]) + lines[20][:9], encoding="utf-8")  # and half a line

    asked: list[int] = []

    def counted(window: object, texts: Sequence[str], model: object, several: Sequence[Settings]) -> object:
        asked.append(len(several))
        return explain(window, texts, model, several)  # type: ignore[arg-type]

    explain = calibrate_search.explain_by_methods
    monkeypatch.setattr(calibrate_search, "explain_by_methods", counted)
    again = ecgcam.calibrate(bypass, _records())
    measured = [json.loads(line) for line in lines]
    assert sum(asked) == len(lines) - 20 - sum(
        one["candidate"] in ("random map", "slope of the ECG") for one in measured[20:]
    )
    drop = ("cost",)
    assert [{k: v for k, v in row.items() if k not in drop} for row in again.table] == [
        {k: v for k, v in row.items() if k not in drop} for row in whole.table
    ]
    assert (again.sha256, again.why) == (whole.sha256, whole.why)
    asked.clear()
    ecgcam.calibrate(bypass, _records())
    assert sum(asked) == 0


class Trunk(nn.Module):
    """Four layers, of which none is declared."""

    labels = ("activity",)
    input = InputSpec(fs=FS, seconds=SECONDS)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stages = nn.Sequential(*(nn.Sequential(nn.Conv1d(12, 12, 3, padding=1), nn.ReLU()) for _ in range(4)))
        self.head = nn.Linear(12, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(x).mean(dim=-1))


def test_layers_of_an_own_network_are_tried_over_its_depth_and_a_chosen_one_is_found_again(cache: Path) -> None:
    model = own_model(Trunk(), "trunk", targets=True)
    layers = spread_layers(model, 4)
    assert layers[0] == model.spec.layer
    assert len(set(layers)) == 4
    assert layers[1] == "stages.0.0"
    fresh = own_model(Trunk(), "trunk", targets=True)
    chosen = _calibration(fresh.checkpoint_sha256, method="layer-cam", layer="stages.1")
    path = kept_calibration(fresh.checkpoint_sha256)
    assert path is not None
    chosen.write(path)
    (made,) = ecgcam.explain(_records(1)[0], "activity", fresh)
    assert (made.meta["method"], made.meta["layer"]) == ("layer-cam", "stages.1")


def _calibration(weights: str = "0" * 64, **more: object) -> Calibration:
    known = Calibration(
        "a \"quoted\" name", weights, "layer-cam", "signal.stages.0", "zero-mv", "because\nof \\ this",
        ({"method": "layer-cam", "layer": "signal.stages.0", "mask": "zero-mv", "score": 0.9, "n": 4, "round": "final"},),
        {"atrial fibrillation": (-0.1, 0.0, 0.25), "\x7f = [1]": (1.0,)}, "3 given recordings",
    )  # fmt: skip
    return replace(known, **more)  # type: ignore[arg-type]


def test_a_file_holds_what_was_written(tmp_path: Path) -> None:
    for known in (_calibration(), _calibration(layer=None, method="saliency", references={}, table=())):
        known.write(tmp_path / "calibration.toml")
        assert read_calibration(tmp_path / "calibration.toml") == known
    assert _calibration().sha256 != _calibration(mask="noise").sha256
    assert _calibration().sha256 == _calibration(why="another reason", table=()).sha256


@pytest.mark.parametrize(
    ("edit", "word"),
    [
        (('method = "layer-cam"', 'method = "no-such"'), "lacks"),
        (('mask = "zero-mv"', 'mask = "no-such"'), "lacks"),
        (("ecgcam-calibration/1", "ecgcam-calibration/9"), "format"),
        (("[choice]", "[chosen]"), "not a calibration"),
        (("-0.1", "nan"), "not a number"),
        (("-0.1", '"much"'), "not a calibration"),
        (("[references]", "[references"), "not a calibration"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, edit: tuple[str, str], word: str) -> None:
    path = tmp_path / "calibration.toml"
    text = _calibration().to_toml()
    assert edit[0] in text
    path.write_text(text.replace(*edit, 1), encoding="utf-8")
    with pytest.raises(EcgcamError, match=word) as error:
        read_calibration(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_one_next_to_the_checkpoint_comes_first_and_one_of_other_weights_is_passed_over(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ecgcam")
    weights, checkpoint = "ab" * 32, tmp_path / "net.pt"
    assert find_calibration(weights, checkpoint) is None
    kept = kept_calibration(weights)
    assert kept is not None
    _calibration(weights, mask="noise").write(kept)
    found = find_calibration(weights, checkpoint)
    assert found is not None
    assert found.mask == "noise"
    _calibration(weights).write(calibration_beside(checkpoint))
    found = find_calibration(weights, checkpoint)
    assert found is not None
    assert found.mask == "zero-mv"
    _calibration("cd" * 32).write(calibration_beside(checkpoint))
    found = find_calibration(weights, checkpoint)
    assert found is not None
    assert found.mask == "noise"
    assert "other weights" in caplog.text


def test_what_the_caller_chose_wins() -> None:
    known, given = _calibration(), Settings(method="hires-cam", layer="a", mask="noise")
    chosen = known.settings(Settings(), ())
    assert (chosen.method, chosen.layer, chosen.mask) == ("layer-cam", "signal.stages.0", "zero-mv")
    assert known.settings(given, {"method"}) == given
    only_layer = known.settings(given, {"layer"})
    assert (only_layer.method, only_layer.layer, only_layer.mask) == ("layer-cam", "a", "zero-mv")


def test_run_evaluate_and_score_use_it_and_results_lie_apart(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_simulation(simulate("af", 3), tmp_path)
    record, out = tmp_path / "af-3.hea", tmp_path / "out"
    quick = {"png": False, "out": out, "gradient": None, "jobs": 1}
    (plain,) = ecgcam.run(record, "atrial fibrillation", **quick).results  # type: ignore[arg-type]
    weights = plain["spec"]["model"]["weights"]
    path = kept_calibration(weights)
    assert path is not None
    _calibration(weights, references={"atrial fibrillation": tuple(np.linspace(-1, -0.5, 30).tolist())}).write(path)
    (found,) = ecgcam.run(record, "atrial fibrillation", **quick).results  # type: ignore[arg-type]
    used = found["spec"]["attribution"]
    assert (used["method"], used["layer"], used["mask"]) == ("layer-cam", "signal.stages.0", "zero-mv")
    assert found["out"] != plain["out"]
    assert found["verdict"]["percentile"] == 100.0
    assert "of 30 reference recordings" in found["verdict"]["basis"]
    (again,) = ecgcam.run(record, "atrial fibrillation", **quick).results  # type: ignore[arg-type]
    assert (again["fingerprint"], again["out"]) == (found["fingerprint"], found["out"])
    rows = ecgcam.evaluate(record, "atrial fibrillation", what="faithfulness", jobs=1)
    assert ("layer-cam", "signal.stages.0", "zero-mv") in {(row["method"], row["layer"], row["mask"]) for row in rows}
    assert all(row["method"] != "grad-cam" for row in rows)
    capsys.readouterr()
    assert run(["score", str(record), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["percentiles"]["atrial fibrillation"] == 100.0
    assert "calibrated for these weights" in printed.err
    summary = Path(found["out"]) / "summary.json"
    assert run(["explain", "--again", str(summary), str(record), "--no-png", "--out", str(out)]) == 0
    path.unlink()
    assert run(["explain", "--again", str(summary), str(record), "--no-png", "--out", str(out)]) == 2
    assert "now there is none" in capsys.readouterr().err


def test_without_a_place_to_keep_it_nothing_is_measured(bypass: EcgTextModel) -> None:
    with pytest.raises(EcgcamError, match="`out`"):
        ecgcam.calibrate(bypass)


def test_methods_by_layers_in_one_call(tmp_path: Path) -> None:
    write_simulation(simulate("pvc", 3), tmp_path)
    rows = ecgcam.evaluate(
        tmp_path / "pvc-3.hea", "premature ventricular complex", methods=["grad-cam", "saliency"],
        layers=["signal.stages.1", "signal.stages.0"], what="localisation", jobs=1, out=tmp_path / "out",
    )  # fmt: skip
    trials = {(row["method"], row["layer"]) for row in rows}
    assert {("grad-cam", "signal.stages.1"), ("grad-cam", "signal.stages.0")} <= trials
    assert len([method for method, _ in trials if method == "saliency"]) == 1
    assert (tmp_path / "out/evidence.csv").read_text(encoding="utf-8").startswith("text,method,layer,mask,metric,")
    lines = (tmp_path / "out/conclusions.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "text,method,layer,mask,metric,reference,better,n,advantage,low,high,wins"
    assert len(lines) == 1 + 3 * 2  # three maps against the random map and the slope, by one headline metric
