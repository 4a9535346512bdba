"""Two calls into one folder: whatever the second one changes, nothing of the first is lost, mixed or taken for the other's.

For every option that changes a result: A, then B with `--resume`. B's result is what B alone gives, in a place of its own; A's
files are as they were; A again finds its own.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cli.conftest import Run, tree
from tests.cli.test_many import load_packed

import ecgcam as package
from ecgcam.files import is_file
from ecgcam.models.load import load_model
from ecgcam.records.simulator import simulate
from ecgcam.results.explanation import Explanation
from ecgcam.runs import explain_task
from ecgcam.runs.packs import index_packs

TEXT = ("--text", "af")
QUICK = ("--no-png", "--quiet")

pytestmark = pytest.mark.usefixtures("one_model", "here")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings of one lead, another table of prompts, another checkpoint, another recording to compare with."""
    folder = tmp_path_factory.mktemp("data")
    for name, finding in (("a", "af"), ("b", "normal")):
        np.save(folder / f"{name}.npy", np.tile(simulate(finding, 11).signal[6], 2))
    model = load_model("mini")
    rows = model.encode_text(["af", "lbbb"]).numpy()
    for name, order in (("t1", [0, 1]), ("t2", [1, 0])):
        texts = np.array(["af", "lbbb"])
        np.savez(folder / f"{name}.npz", texts=texts, features=rows[order], tower=np.array("mini"))
    shutil.copy(Path(package.models.load.__file__).parent / "weights/mini.npz", folder / "mini.npz")
    shutil.copy(Path(__file__).parents[2] / "training/weights/select-0.npz", folder / "other.npz")
    return folder


# By option: the flags of A and of B, DATA standing for the folder.
BASE = ("--fs", "500", "--lead-names", "V1")
OPTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "method": ((), ("--method", "layer-cam")),
    "set": (("--method", "eigen-cam"), ("--method", "eigen-cam", "--set", "centre=true")),
    "layer": ((), ("--layer", "signal.stem")),
    "mask": ((), ("--mask", "zero-mv")),
    "gradient": (("--gradient", "record"), ("--gradient", "lead")),
    "no-gradient": ((), ("--no-gradient",)),
    "signed-gradient": ((), ("--signed-gradient",)),
    "smoother": ((), ("--smoother", "mean")),
    "smooth": ((), ("--smooth", "80")),
    "seed": (("--mask", "noise"), ("--mask", "noise", "--seed", "1")),
    "against": ((), ("--against", "normal ECG")),
    "checkpoint": (("--checkpoint", "DATA/mini.npz"), ("--checkpoint", "DATA/other.npz")),
    "embeddings": (("--embeddings", "DATA/t1.npz"), ("--embeddings", "DATA/t2.npz")),
    "start": ((), ("--start", "3")),
    "seconds": ((), ("--seconds", "3")),
    "all": ((), ("--all",)),
    "hop": (("--all",), ("--all", "--hop", "4")),
    "fs": (BASE, ("--fs", "400", "--lead-names", "V1")),
    "lead-names": (BASE, ("--fs", "500", "--lead-names", "II")),
    "like": (("--like", "DATA/a.npy"), ("--like", "DATA/b.npy")),
}


def flags_of(options: tuple[str, ...], data: Path) -> list[str]:
    given = [*options] if "--fs" in options else [*BASE, *options]
    prompt = [] if "--like" in options else [*TEXT]
    return [word.replace("DATA", str(data)) for word in (*prompt, *given, *QUICK)]


def explanations(out: Path) -> dict[str, Explanation]:
    """Every explanation of a folder and its packs, by fingerprint and window."""
    found = {}
    for path in out.rglob("explanation.npz"):
        one = Explanation.load(path)
        found[f"{one.meta['fingerprint']} {one.time[0]:.3f}"] = one
    for folder, stored in index_packs(out).items():
        if stored.summary is not None:
            one = load_packed(out, folder)
            found[f"{one.meta['fingerprint']} {one.time[0]:.3f}"] = one
            continue
        for start in range(0, 60, 2):
            name = f"{folder}/w{start:09.3f}"
            if any(is_file(pack / name / "explanation.npz") for pack in out.glob("*.tar")):
                one = load_packed(out, name)
                found[f"{one.meta['fingerprint']} {one.time[0]:.3f}"] = one
    return found


def assert_equal(one: Explanation, other: Explanation) -> None:
    assert one.meta["spec"] == other.meta["spec"]
    for name in ("map", "map_cells", "gradient_smoothed", "lead_scores", "signal"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.shape == b.shape
        assert np.abs(a - b).max(initial=0) <= 1e-5 * max(1e-6, np.abs(a).max(initial=0)), name
    assert one.score == pytest.approx(other.score, abs=1e-5)


@pytest.mark.parametrize("pack", [[], ["--pack", "2"]], ids=["folders", "packs"])
@pytest.mark.parametrize("option", OPTIONS)
def test_a_then_b(ecgcam: Run, data: Path, here: Path, option: str, pack: list[str]) -> None:
    record = data / "a.npy"
    one, two = (flags_of(options, data) for options in OPTIONS[option])
    assert ecgcam("explain", record, *one, *pack, "--out", "out").code == 0
    first = tree(here / "out")
    alone = explanations(here / "out")
    assert ecgcam("explain", record, *two, *pack, "--out", "out", "--resume").code == 0
    assert ecgcam("explain", record, *two, "--out", "b").code == 0
    both, only_b = explanations(here / "out"), explanations(here / "b")
    assert only_b
    assert not set(only_b) & set(alone)
    assert set(both) == set(alone) | set(only_b)
    for key, explanation in only_b.items():
        assert_equal(both[key], explanation)
    after = tree(here / "out")
    for name, content in first.items():
        if name.endswith(".tar"):
            assert after[name] is not None
            assert (after[name] or b"").startswith(content or b"")  # only ever added to
        elif name != "manifest.jsonl":
            assert after[name] == content
    again = ecgcam("explain", record, *one, *pack, "--out", "out")
    assert again.code == 0
    assert tree(here / "out") == after


@pytest.mark.parametrize("pack", [[], ["--pack", "2"]], ids=["folders", "packs"])
@pytest.mark.parametrize("damage", ["none", "lost", "line", "all"])
def test_another_recording_with_a_lost_or_damaged_journal(
    ecgcam: Run, data: Path, here: Path, pack: list[str], damage: str
) -> None:
    """No result of A is lost, whatever happened to the journal; what it lists is written anew."""
    flags = flags_of((), data)
    assert ecgcam("explain", data / "a.npy", *flags, *pack, "--out", "out").code == 0
    before = explanations(here / "out")
    journal = here / "out/manifest.jsonl"
    if damage == "lost":
        journal.unlink()
    elif damage == "line":
        journal.write_text(journal.read_text() + "garbage\n")
    elif damage == "all":
        journal.write_bytes(b"\xff\n" * 3)
    assert ecgcam("explain", data / "b.npy", *flags, *pack, "--out", "out", "--resume").code == 0
    after = explanations(here / "out")
    assert set(before) < set(after)
    assert len(after) == 2
    kept = tree(here / "out")
    assert ecgcam("explain", data / "a.npy", data / "b.npy", *flags, *pack, "--out", "out", "--resume").code == 0
    assert explanations(here / "out").keys() == after.keys()
    done = [json.loads(line) for line in journal.read_text(errors="replace").splitlines() if '"done"' in line]
    assert {line["record"] for line in done} == {"a", "b"}
    assert set(tree(here / "out")) == set(kept)


def test_from_another_working_folder(ecgcam: Run, data: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths in OUT are relative to OUT, so that it does not matter where a call is made."""
    (here / "cw").mkdir()
    monkeypatch.chdir(here / "cw")
    flags = flags_of((), data)
    assert ecgcam("explain", data / "a.npy", *flags, "--out", "O").code == 0
    monkeypatch.chdir(here)
    before = tree(here / "cw/O")
    assert ecgcam("explain", data / "a.npy", *flags, "--out", "cw/O", "--resume").code == 0
    assert tree(here / "cw/O") == before
    assert ecgcam("explain", data / "a.npy", *flags, "--out", "cw/O", "--resume", "--method", "layer-cam").code == 0
    methods = {one.meta["method"] for one in explanations(here / "cw/O").values()}
    assert methods == {"grad-cam", "layer-cam"}
    assert all(one.meta["method"] == "grad-cam" for one in [Explanation.load(here / "cw/O/a/af")])


def test_a_recording_that_changed_is_another_one(ecgcam: Run, data: Path, here: Path) -> None:
    signal = np.load(data / "a.npy")
    np.save(here / "x.npy", signal)
    flags = flags_of((), data)
    assert ecgcam("explain", "x.npy", *flags, "--out", "out").code == 0
    np.save(here / "x.npy", signal * 1.5)
    assert ecgcam("explain", "x.npy", *flags, "--out", "out").code == 0
    assert len(explanations(here / "out")) == 2
    assert (here / "out/x.npy/af/summary.json").is_file()


def test_what_lies_next_to_a_recording_does_not_move_its_result(ecgcam: Run, data: Path, here: Path) -> None:
    """Neither other recordings of the call, nor their order, nor what is added to the folder later."""
    flags = flags_of((), data)
    (here / "in").mkdir()
    shutil.copy(data / "b.npy", here / "in/b.npy")
    assert ecgcam("explain", "in", *flags, "--out", "out").code == 0
    before = tree(here / "out/b")
    shutil.copy(data / "a.npy", here / "in/a.npy")
    assert ecgcam("explain", "in", *flags, "--out", "out").code == 0
    assert tree(here / "out/b") == before
    assert ecgcam("explain", "in/b.npy", "in/a.npy", *flags, "--out", "other").code == 0
    assert explanations(here / "other").keys() == explanations(here / "out").keys()


def test_pictures_are_added_to_arrays_without_the_model(
    ecgcam: Run, data: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = ("explain", data / "a.npy", *flags_of((), data), "--out", "out")
    assert ecgcam(*call).code == 0
    folder = here / "out/a/af"
    arrays = (folder / "explanation.npz").read_bytes()
    monkeypatch.setattr("ecgcam.models.load.load_model", lambda **_: pytest.fail("the model was loaded"))
    drawn = [word for word in call if word != "--no-png"]
    assert ecgcam(*drawn).code == 0
    first = (folder / "page.png").read_bytes()
    assert ecgcam(*drawn).code == 0
    assert (folder / "page.png").read_bytes() == first
    assert ecgcam(*drawn, "--scale", "raw").code == 0
    assert (folder / "page.png").read_bytes() != first
    assert (folder / "explanation.npz").read_bytes() == arrays


@pytest.mark.parametrize(
    "change",
    [
        ("--methods", "layer-cam"), ("--masks", "zero-mv"), ("--what", "localisation"), ("--scale", "raw"), ("--tile", "100"),
        ("--randomisations", "2"), ("--seed", "1"), ("--checkpoint", "DATA/other.npz"), ("--embeddings", "DATA/t2.npz"),
        ("--start", "3"), ("--seconds", "5"), ("--fs", "400"), ("--lead-names", "II"), ("--text", "lbbb"),
    ],
    ids=lambda change: change[0],
)  # fmt: skip
def test_evaluate_a_then_b(ecgcam: Run, data: Path, here: Path, change: tuple[str, str]) -> None:
    call = ["evaluate", str(data / "a.npy"), *TEXT, *BASE, "--what", "faithfulness", "--quiet", "--json", "--jobs", "1"]
    a = ecgcam(*call, "--out", "j")
    assert a.code == 0
    table = (here / "j/evidence.jsonl").read_bytes()
    flag, value = change
    changed = list(call)
    if flag in changed and flag != "--text":
        at = changed.index(flag)
        changed[at : at + 2] = []
    b = [*changed, flag, value.replace("DATA", str(data))]
    if change == ("--what", "localisation"):
        b += ["--what", "faithfulness,sanity"][1:] and []
        b[b.index("localisation")] = "faithfulness,sanity"
    got, alone = ecgcam(*b, "--out", "j", "--resume"), ecgcam(*b, "--out", "k")
    assert (got.code, alone.code) == (0, 0), got.err
    assert got.out == alone.out
    assert (here / "j/evidence.jsonl").read_bytes() == table
    assert len(list((here / "j").glob("evidence+*.jsonl"))) == 1
    again = ecgcam(*call, "--out", "j", "--resume")
    assert again.out == a.out
    lines = [json.loads(line) for line in (here / "j/evidence-records.jsonl").read_text().splitlines()]
    assert [("spec" in line) for line in lines] == [True, False, True, False]


def test_evaluate_goes_on_where_a_crash_cut_it_off(ecgcam: Run, data: Path, here: Path) -> None:
    call = ("evaluate", data, *TEXT, *BASE, "--what", "faithfulness", "--quiet", "--json", "--jobs", "1", "--out", "j")
    records = [str(data / "a.npy"), str(data / "b.npy")]
    call = ("evaluate", *records, *call[2:])
    first = ecgcam(*call)
    journal = here / "j/evidence-records.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    again = ecgcam(*call, "--resume")
    assert again.out == first.out
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [line.get("record") for line in lines] == [None, "a", "b"]


@pytest.mark.parametrize("windows", [(), ("--all", "--hop", "5")], ids=["one window", "all windows"])
@pytest.mark.parametrize("change", ["method", "recording", "prompt"])
def test_a_place_that_another_call_takes_meanwhile(
    ecgcam: Run, data: Path, here: Path, monkeypatch: pytest.MonkeyPatch, windows: tuple[str, ...], change: str
) -> None:
    """B has looked up its place when A writes to the same one: both results stay, each in a place where it is found."""
    (here / "x").mkdir()
    shutil.copy(data / "b.npy", here / "x/a.npy")
    a = [data / "a.npy", *flags_of(windows, data)]
    b = [here / "x/a.npy" if change == "recording" else a[0], *a[1:]]
    b += ["--method", "layer-cam"] if change == "method" else []
    if change == "prompt":
        b[b.index("af")] = "AF"
    assert ecgcam("explain", *a, "--out", "a").code == ecgcam("explain", *b, "--out", "b").code == 0
    look_up = explain_task.ExplainTask.look_up

    def too_early(*given: Any) -> Any:
        found = list(look_up(*given))
        shutil.copytree(here / "a/a", here / "out/a")
        return iter(found)

    with monkeypatch.context() as patch:
        patch.setattr(explain_task.ExplainTask, "look_up", too_early)
        assert ecgcam("explain", *b, "--out", "out").code == 0
    both, alone = explanations(here / "out"), explanations(here / "a") | explanations(here / "b")
    assert both.keys() == alone.keys()
    for key, explanation in alone.items():
        assert_equal(both[key], explanation)
    after = tree(here / "out")
    done = [json.loads(line)["out"] for line in (here / "out/manifest.jsonl").read_text().splitlines()[1:]]
    assert (here / "out" / done[0]).is_dir()
    assert done[0] != "a/af"
    for call in (a, b):
        assert ecgcam("explain", *call, "--out", "out").code == 0
    assert {name: content for name, content in tree(here / "out").items() if name in after} | {
        "manifest.jsonl": None
    } == after | {"manifest.jsonl": None}


def test_files_that_a_call_leaves_out_stay(ecgcam: Run, data: Path, here: Path) -> None:
    call = ["explain", data / "a.npy", *TEXT, *BASE, "--quiet", "--out", "out"]
    folder = here / "out/a/af"
    assert ecgcam(*call, "--scale", "raw", "--no-check").code == 0
    before = {path.name for path in folder.iterdir()}
    for flags in (["--no-png", "--waves"], ["--no-png", "--criteria"], ["--no-png", "--no-npz", "--check"]):
        assert ecgcam(*call, *flags).code == 0
        assert before <= {path.name for path in folder.iterdir()}
        assert json.loads((folder / "summary.json").read_text())["drawn"]["scale"] == "raw"
    assert ecgcam(*call, "--no-png", "--no-npz", "--force").code == 0
    assert [path.name for path in folder.iterdir()] == ["summary.json"]


@pytest.mark.parametrize("flags", [["--waves"], ["--criteria"], ["--scale", "raw"], ["--no-png"]])
def test_what_windows_lack_is_added(ecgcam: Run, data: Path, here: Path, flags: list[str]) -> None:
    call = ["explain", data / "a.npy", *TEXT, *BASE, "--all", "--hop", "5", "--quiet"]
    first = ["--no-npz"] if flags == ["--no-png"] else ["--no-png"]
    assert ecgcam(*call, *first, "--out", "out").code == 0
    for out in ("out", "fresh"):
        assert ecgcam(*call, *flags, "--out", out).code == 0
    files, fresh = tree(here / "out"), tree(here / "fresh")
    assert fresh.keys() <= files.keys()
    for name in fresh:
        if name.endswith("summary.json"):
            one, other = (json.loads(each[name] or b"") for each in (files, fresh))
            for key in ("waves", "criteria", *(["drawn"] if flags != ["--no-png"] else [])):
                assert one.get(key) == other.get(key), (name, key)
    again = ecgcam(*call, *flags, "--out", "out")
    assert again.code == 0
    assert tree(here / "out") == files


@pytest.mark.parametrize("flags", [[], ["--criteria"], ["--waves"]])
def test_what_a_result_in_a_pack_lacks_is_appended(ecgcam: Run, data: Path, here: Path, flags: list[str]) -> None:
    call = ["explain", data / "a.npy", *flags_of((), data), "--pack", "5", "--out", "out"]
    assert ecgcam(*call, "--no-npz").code == 0
    pack = here / "out/pack-00000.tar"
    before = pack.read_bytes()
    assert ecgcam(*call, *flags).code == 0
    after = pack.read_bytes()
    assert after.startswith(before)
    assert load_packed(here / "out", "a/af").meta["text"] == "af"
    assert ecgcam(*call, *flags).code == 0
    assert pack.read_bytes() == after


def test_evaluate_after_the_truth_has_changed(ecgcam: Run, here: Path) -> None:
    assert ecgcam("simulate", "pvc", "--seed", "2", "--out", "d").code == 0
    truth = here / "d/pvc-2-truth.npz"
    call = [
        "evaluate",
        "d/pvc-2.dat",
        *TEXT,
        "--what",
        "localisation",
        "--quiet",
        "--json",
        "--jobs",
        "1",
        "--out",
        "j",
    ]
    first = ecgcam(*call)
    arrays = dict(np.load(truth))
    truth.unlink()
    assert ecgcam(*call).code == 2
    np.savez(truth, **arrays | {"mask": ~arrays["mask"]})
    second = ecgcam(*call)
    assert second.code == 0
    assert second.out == ecgcam(*call[:-1], "fresh").out != first.out
    np.savez(truth, **arrays)
    assert ecgcam(*call).out == first.out


def test_evaluate_prompts_that_differ_by_case_have_their_own_tables(ecgcam: Run, data: Path, here: Path) -> None:
    call = [
        "evaluate",
        data / "a.npy",
        *BASE,
        "--what",
        "faithfulness",
        "--quiet",
        "--jobs",
        "1",
        "--out",
        "j",
        "--text",
    ]
    for text in ("x", "AF", "af", "AF"):
        assert ecgcam(*call, text).code == 0
    tables = sorted((here / "j").glob("evidence+*.jsonl"))
    texts = [{json.loads(line)["text"] for line in path.read_text().splitlines()} for path in tables]
    assert sorted(map(sorted, texts)) == [["AF"], ["af"]]


def test_evaluate_copies_of_a_recording_twice(ecgcam: Run, data: Path, here: Path) -> None:
    for name in ("one", "two"):
        shutil.copy(data / "a.npy", here / f"{name}.npy")
    call = [
        "evaluate",
        "one.npy",
        "two.npy",
        *TEXT,
        *BASE,
        "--what",
        "faithfulness",
        "--quiet",
        "--jobs",
        "1",
        "--out",
        "j",
    ]
    first = ecgcam(*call)
    assert " 2 of 2 " in first.out
    assert ecgcam(*call).out == first.out


def test_nothing_of_the_user_s_folders_is_in_a_result(ecgcam: Run, data: Path, here: Path) -> None:
    assert ecgcam("explain", data / "a.npy", *flags_of((), data), "--out", here / "out").code == 0
    for path in (here / "out").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            if path.suffix == ".npz":
                content = json.dumps(Explanation.load(path).meta).encode()
            assert os.fsencode(str(here)) not in content
            assert os.fsencode(str(data)) not in content


@pytest.mark.parametrize("pack", [[], ["--pack", "2"]], ids=["folders", "packs"])
def test_windows_of_another_version_are_all_replaced_even_after_an_interruption(
    ecgcam: Run, data: Path, here: Path, pack: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The timeline of the earlier version lies next to the first new window; it does not make the new result complete."""
    call = ["explain", data / "a.npy", *flags_of(("--all", "--hop", "2"), data), *pack, "--jobs", "1", "--out", "out"]
    assert ecgcam(*call).code == 0
    monkeypatch.setattr("ecgcam.runs.spec.__version__", "99.0")
    written = []
    with monkeypatch.context() as patch:

        def once(write: Callable[..., Any], *given: Any, **named: Any) -> Any:
            written.append(given)
            if len(written) > 1:
                raise KeyboardInterrupt
            return write(*given, **named)

        for name in ("write_result", "encode_result"):
            patch.setattr(explain_task, name, partial(once, getattr(explain_task, name)))
        assert ecgcam(*call).code == 130
    assert len(written) == 2
    assert ecgcam(*call).code == 0
    if not pack:  # an older pack keeps the windows of the earlier version
        assert {one.meta["spec"]["ecgcam"] for one in explanations(here / "out").values()} == {"99.0"}
    before = tree(here / "out")
    results = [name for name in before if name.endswith((".tar", ".npz"))]
    assert ecgcam(*call).code == 0
    after = tree(here / "out")
    assert all(after[name] == before[name] for name in results)
    (stored,) = index_packs(here / "out").values() if pack else [None]
    if stored is not None:
        assert stored.spec["ecgcam"] == "99.0"
