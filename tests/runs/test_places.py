"""Where results lie: the same question is found, another one lies next to it, nothing that is there is overwritten."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ecgcam.errors import EcgcamError
from ecgcam.models.model_file import load_spec
from ecgcam.pipeline.settings import Settings
from ecgcam.results.explanation import slug_of
from ecgcam.runs.places import Places, stored_from
from ecgcam.runs.reading import Reading
from ecgcam.runs.spec import ModelRef, RunSpec
from ecgcam.runs.worklist import Item

MINI = load_spec("mini")
ITEM = Item(Path("x/a.dat"), "a")


def spec(prompt: str = "af", **settings: Any) -> RunSpec:
    reading = settings.pop("reading", Reading())
    return RunSpec.of(ModelRef("mini", "w"), prompt, Settings(**settings), reading, MINI)


def store(out: Path, folder: Path, question: RunSpec, recording: str, **changes: Any) -> None:
    (out / folder).mkdir(parents=True)
    summary = {
        "fingerprint": question.fingerprint(recording),
        "spec": question.to_json(),
        "recording_sha256": recording,
    }
    (out / folder / "summary.json").write_text(json.dumps(summary | changes))


def find(out: Path, question: RunSpec, recording: str = "r", item: Item = ITEM) -> tuple[str, bool]:
    place = Places(out).find(item, slug_of(question.prompt), question, recording)
    return place.folder.as_posix(), place.stored is not None


def test_the_first_question_has_the_plain_folder(tmp_path: Path) -> None:
    assert find(tmp_path, spec()) == ("a/af", False)
    assert find(tmp_path, spec(method="layer-cam")) == ("a/af", False)  # as long as nothing is there


def test_the_same_question_is_found_and_another_lies_next_to_it(tmp_path: Path) -> None:
    questions = [
        spec(), spec(method="layer-cam"), spec(seed=1), spec(reading=Reading(start=60)), spec("AF!"), spec(against=("x",)),
    ]  # fmt: skip
    places = []
    for question in questions:
        place, there = find(tmp_path, question)
        assert not there
        store(tmp_path, Path(place), question, "r")
        places.append(place)
    assert places == ["a/af", "a/af+layer-cam", "a/af+seed-1", "a/af+start-60", places[4], "a/af+against-x"]
    assert places[4].startswith("a/af-")  # a prompt that shares the slug
    for question, place in zip(questions, places, strict=True):
        assert find(tmp_path, question) == (place, True)


def test_the_order_of_calls_changes_names_and_nothing_else(tmp_path: Path) -> None:
    store(tmp_path, Path("a/af"), spec(method="layer-cam"), "r")
    assert find(tmp_path, spec(method="layer-cam")) == ("a/af", True)
    assert find(tmp_path, spec()) == ("a/af+grad-cam", False)


def test_a_result_is_found_wherever_it_lies(tmp_path: Path) -> None:
    """The plain folder was deleted: what lies next to it still answers."""
    store(tmp_path, Path("a/af+seed-1"), spec(seed=1), "r")
    assert find(tmp_path, spec(seed=1)) == ("a/af+seed-1", True)
    assert find(tmp_path, spec()) == ("a/af", False)


def test_a_name_that_a_third_question_has_goes_on_with_what_differs_from_that(tmp_path: Path) -> None:
    store(tmp_path, Path("a/af"), spec(), "r")
    store(tmp_path, Path("a/af+seed-1"), spec(seed=1, mask="zero"), "r")
    assert find(tmp_path, spec(seed=1)) == ("a/af+seed-1+mask-baseline", False)
    for hop, name in ((None, "a/af+all"), (5.0, "a/af+all+hop-5")):
        question = spec(reading=Reading(all_windows=True, hop=hop))
        assert find(tmp_path, question) == (name, False)
        store(tmp_path, Path(name) / "w00000.000", question, "r")
        assert find(tmp_path, question) == (name, True)


def test_another_recording_of_the_same_name_gets_a_folder_with_its_file_name(tmp_path: Path) -> None:
    store(tmp_path, Path("a/af"), spec(), "r")
    other = Item(Path("y/a.edf"), "a")
    assert find(tmp_path, spec(), "s", other) == ("a.edf/af", False)
    store(tmp_path, Path("a.edf/af"), spec(), "s")
    assert find(tmp_path, spec(), "s", other) == ("a.edf/af", True)
    third = Item(Path("z/a.edf"), "a")
    assert find(tmp_path, spec(), "third", third) == ("a-third/af", False)
    assert find(tmp_path, spec()) == ("a/af", True)
    nested = Item(Path("in/sub/a.edf"), "sub/a")
    store(tmp_path, Path("sub/a/af"), spec(), "r")
    assert find(tmp_path, spec(), "s", nested) == ("sub/a.edf/af", False)


def test_another_version_is_replaced_and_a_damaged_result_is_not(tmp_path: Path) -> None:
    question = spec()
    older = question.to_json() | {"ecgcam": "0.0.1"}
    store(tmp_path, Path("a/af"), question, "r", spec=older, fingerprint="of that version")
    assert find(tmp_path, question) == ("a/af", False)
    before = {"record": "a", "settings": {}}  # of a version that wrote no spec
    (tmp_path / "a/af/summary.json").write_text(json.dumps(before))
    assert find(tmp_path, question) == ("a/af", False)
    (tmp_path / "a/af/summary.json").write_text("{")
    place, there = find(tmp_path, question)
    assert (place != "a/af", there) == (True, False)


def test_windows_of_a_recording_are_one_result(tmp_path: Path) -> None:
    question = spec(reading=Reading(all_windows=True))
    store(tmp_path, Path("a/af/w00000.000"), question, "r")
    store(tmp_path, Path("a/af/w00010.000"), question, "r")
    assert find(tmp_path, question) == ("a/af", True)
    assert find(tmp_path, spec()) == ("a/af+one-window", False)


def test_a_prompt_is_found_whether_or_not_others_shared_its_slug(tmp_path: Path) -> None:
    """`--text AF --text af` puts both into folders with a hash; `--text AF` alone does not."""
    question, apart = spec("AF"), slug_of("AF", distinct=True)
    for here, other in (("af", apart), (apart, "af")):
        store(tmp_path / here, Path("a") / here, question, "r")
        place = Places(tmp_path / here).find(ITEM, other, question, "r")
        assert (place.folder.as_posix(), place.stored is not None) == (f"a/{here}", True)


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(EcgcamError, match="a: is a file where a folder of results belongs"):
        find(tmp_path, spec())
    (tmp_path / "a").unlink()
    (tmp_path / "a").mkdir()
    (tmp_path / "a/af").touch()
    with pytest.raises(EcgcamError, match="af: is a file where"):
        find(tmp_path, spec())


def test_what_lies_in_packs_is_found_too(tmp_path: Path) -> None:
    question = spec()
    summary = {"fingerprint": question.fingerprint("r"), "spec": question.to_json(), "recording_sha256": "r"}
    stored = stored_from(summary, Path("pack-00000.tar/a/af"), several=False)
    places = Places(tmp_path, {"a/af": stored})
    assert places.find(ITEM, "af", question, "r").stored == stored
    assert places.find(ITEM, "af", spec(seed=1), "r").folder == Path("a/af+seed-1")
    assert places.find(ITEM, "af", question, "s").folder == Path("a.dat/af")
    changed = replace(question, prompt="lbbb")
    assert places.find(ITEM, "lbbb", changed, "r").folder == Path("a/lbbb")
