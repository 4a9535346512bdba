"""What makes two results the same."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from ecgcam.models.model_file import load_spec
from ecgcam.pipeline.settings import Settings
from ecgcam.runs.reading import Reading
from ecgcam.runs.spec import ModelRef, RunSpec, identity, name_of_difference

MINI = load_spec("mini")
REF = ModelRef("mini", "a" * 64)


def spec(prompt: str = "af", ref: ModelRef = REF, reading: Reading | None = None, **settings: Any) -> RunSpec:
    return RunSpec.of(ref, prompt, Settings(**settings), reading or Reading(), MINI)


# Every parameter that changes a result, with a value that is not the default, and the folder's name of it.
CHANGES: dict[str, tuple[RunSpec, str]] = {
    "method": (spec(method="dot-grad-cam"), "dot-grad-cam"),
    "options": (spec(method="eigen-cam", options={"centre": "true"}), "centre-true"),
    "layer": (spec(layer="signal.stem"), "signal-stem"),
    "mask": (spec(mask="zero-mv"), "mask-zero-mv"),
    "gradient": (spec(gradient=None), "no-gradient"),
    "gradient of leads": (spec(gradient="lead"), "gradient-lead"),
    "signed_gradient": (spec(signed_gradient=True), "signed-gradient"),
    "smoother": (spec(smoother="mean"), "mean"),
    "smooth_ms": (spec(smooth_ms=0), "smooth-0"),
    "against": (spec(against=("atrial flutter", "mean")), "against-atrial-flutter-mean"),
    "seed": (spec(seed=3), "seed-3"),
    "precision": (spec(ref=replace(REF, precision="bf16")), "bf16"),
    "weights": (spec(ref=replace(REF, weights="b" * 64)), "weights-bbbbbbbb"),
    "model": (spec(ref=replace(REF, name="merl")), "merl"),
    "text": (spec(ref=replace(REF, text="table:" + "c" * 64)), "text-side-cccccccc"),
    "targets": (spec(ref=replace(REF, targets=True)), "targets"),
    "calibration": (spec(ref=replace(REF, calibration="d" * 64)), "calibration-dddddddd"),
    "start": (spec(reading=Reading(start=60)), "start-60"),
    "seconds": (spec(reading=Reading(seconds=3)), "seconds-3"),
    "all": (spec(reading=Reading(all_windows=True)), "all"),
    "fs": (spec(reading=Reading(fs=500)), "fs-500"),
    "lead_names": (spec(reading=Reading(lead_names=("I", "II"))), "lead-names-i-ii"),
    "unit": (spec(reading=Reading(unit="uV")), "unit-uv"),
    "follow": (spec(reading=Reading(follow=True)), "newest"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_every_change_is_another_question_with_a_name_of_its_own(what: str) -> None:
    changed, name = CHANGES[what]
    base = spec(method="eigen-cam") if what == "options" else spec()
    assert changed.fingerprint() != base.fingerprint()
    assert not changed.is_same_question(base.to_json())
    assert changed.name_of_difference(base.to_json()) == name
    assert identity({"spec": changed.to_json()}) != identity({"spec": base.to_json()})


def test_all_changes_differ_from_one_another() -> None:
    prints = [changed.fingerprint() for changed, _ in CHANGES.values()]
    assert len(set(prints)) == len(prints)
    assert len({name for _, name in CHANGES.values()}) == len(prints)


def test_defaults_that_are_given_are_the_same_question() -> None:
    given = spec(layer=MINI.layer, mask=MINI.input.fill, seed=0, options={}, smooth_ms=40.0)
    assert given.fingerprint() == spec().fingerprint()
    ints, floats = spec(reading=Reading(all_windows=True, hop=10.0)), spec(reading=Reading(all_windows=True))
    assert ints.fingerprint() == floats.fingerprint()


def test_batch_and_processes_are_no_part_of_it() -> None:
    assert spec(batch=7).fingerprint() == spec().fingerprint()


def test_every_setting_is_in_it() -> None:
    """A field that is added to `Settings`, `Reading` or `ModelRef` must be placed here, in or out."""
    written = {*spec().attribution, "batch"}
    assert {one.name for one in fields(Settings)} == written
    windows = set(spec().windows) | {"all_windows", "follow"}
    assert {one.name for one in fields(Reading)} == windows - {"which"}
    assert set(spec().to_json()["model"]) == {one.name for one in fields(ModelRef)}


def test_the_recording_and_the_prompt_are_part_of_the_fingerprint() -> None:
    prints = {spec(prompt).fingerprint(recording) for prompt in ("af", "AF") for recording in ("", "x", "y")}
    assert len(prints) == 6


def test_it_is_json_and_stays_the_same_in_another_process() -> None:
    one = spec(options={}, against=("mean",))
    assert json.loads(json.dumps(one.to_json())) == one.to_json()
    pinned = RunSpec(ModelRef("m", "w"), "p", None, {"a": 1}, {"b": [2.5]})
    form = pinned.to_json() | {"ecgcam": "0"}
    assert form == {
        "format": "ecgcam-spec/1", "ecgcam": "0",
        "model": {"name": "m", "weights": "w", "precision": "fp32", "text": None, "targets": False, "calibration": None},
        "prompt": {"text": "p", "like": None}, "attribution": {"a": 1}, "windows": {"b": [2.5]},
    }  # fmt: skip


def test_differences_by_name() -> None:
    assert spec(mask="zero").difference(spec().to_json()) == {"attribution.mask": ("zero", "baseline")}
    assert spec().difference(spec().to_json()) == {}


def test_another_method_is_named_by_itself_whatever_its_options_and_layer() -> None:
    assert spec(method="integrated-gradients").name_of_difference(spec().to_json()) == "integrated-gradients"
    assert spec().name_of_difference(spec(method="integrated-gradients").to_json()) == "grad-cam"


def test_long_differences_become_a_hash() -> None:
    name = spec(against=("x" * 50, "y" * 50), method="dot-grad-cam").name_of_difference(spec().to_json())
    assert len(name) == 8
    assert int(name, 16) >= 0
    assert name_of_difference({}) == ""


def test_results_of_earlier_versions_are_told_apart_by_their_meta() -> None:
    old = {"method": "grad-cam", "options": {}, "layer": "a", "mask": "zero", "model": "m", "precision": "fp32"}
    assert identity(old) == identity({**old, "text": "other", "record": "r"})
    assert identity(old) != identity({**old, "precision": "bf16"})
