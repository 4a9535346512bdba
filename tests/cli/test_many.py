"""`ecgcam explain` for many recordings: resume, shards, packs, streams, helpers, and what a killed run leaves."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Run, tree

from ecgcam.files import is_file
from ecgcam.records.simulator import simulate
from ecgcam.results.explanation import Explanation
from ecgcam.results.timeline import Timeline

TEXT = ("--text", "atrial fibrillation", "--text", "normal ECG")
SLUGS = ("atrial-fibrillation", "normal-ecg")
QUICK = ("--no-png", "--no-gradient", "--quiet")
ARRAYS = ("map", "map_cells", "gradient", "gradient_smoothed", "lead_scores", "mask_shift", "signal", "valid")

pytestmark = pytest.mark.usefixtures("one_model", "here")


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six recordings of one lead, `r0` to `r5`, and one that is none, `bad`."""
    folder = tmp_path_factory.mktemp("six")
    signal_mv = simulate("af", 11).signal[6:7]
    for i in range(6):
        np.savez(folder / f"r{i}.npz", signal=signal_mv * (1 + i / 10), fs=500, leads=["V1"])
    (folder / "bad.npy").write_text("hello")
    return folder


def lines(out: Path) -> list[dict[str, str | None]]:
    """The entries of a journal, without the specs."""
    found = [json.loads(line) for line in (out / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in found if "record" in line]


def statuses(out: Path) -> dict[tuple[str, str], str]:
    return {(str(line["record"]), str(line["text"])): str(line["status"]) for line in lines(out)}


def assert_same_results(one: Path, two: Path, atol: float = 1e-5) -> None:
    """The same file names, the same entries of the journal, arrays equal to `atol` of their largest value."""
    names = [{p.relative_to(out).as_posix() for p in out.rglob("*")} for out in (one, two)]
    assert names[0] == names[1]
    entries = [{json.dumps(line) for line in lines(out)} for out in (one, two)]
    assert entries[0] == entries[1]
    found = sorted(one.rglob("explanation.npz"))
    assert found
    for path in found:
        a, b = Explanation.load(path), Explanation.load(two / path.relative_to(one))
        for name in ARRAYS:
            first, second = np.asarray(getattr(a, name), float), np.asarray(getattr(b, name), float)
            # 1 - cosine is noise of the last digit where the mask moves nothing: held against what it can be, not what it is.
            size = 1.0 if name == "mask_shift" else max(1e-9, np.abs(first).max(initial=0))
            assert np.abs(first - second).max(initial=0) <= atol * size, name
        assert a.score == pytest.approx(b.score, abs=atol)


def load_packed(out: Path, place: str) -> Explanation:
    """The explanation of a place, in whichever pack it is."""
    (pack,) = (pack for pack in out.glob("*.tar") if is_file(pack / place / "explanation.npz"))
    return Explanation.load(pack / place)


def test_the_manifest_has_a_line_for_each_recording_and_prompt(ecgcam: Run, six: Path, here: Path) -> None:
    got = ecgcam("explain", six, *TEXT, *QUICK, "--out", "out")
    assert got.code == 1
    found = lines(here / "out")
    assert [list(line) for line in found] == [["record", "text", "status", "out", "error", "fingerprint"]] * 14
    specs = [json.loads(line) for line in (here / "out/manifest.jsonl").read_text().splitlines() if '"spec": {' in line]
    assert [line["spec"]["prompt"]["text"] for line in specs] == list(TEXT[1::2])
    good = [line for line in found if line["status"] == "done"]
    assert {(line["record"], line["text"]) for line in good} == {
        (f"r{i}", text) for i in range(6) for text in TEXT[1::2]
    }
    assert all((here / "out" / str(line["out"]) / "summary.json").is_file() and line["error"] is None for line in good)
    bad = [line for line in found if line["status"] == "failed"]
    assert {line["text"] for line in bad} == set(TEXT[1::2])
    assert all(
        line["record"] == "bad" and line["out"] is None and "not a readable" in str(line["error"]) for line in bad
    )


def test_the_number_of_processes_changes_nothing(ecgcam: Run, six: Path, here: Path) -> None:
    flags = ("explain", six / "r0.npz", six / "r1.npz", six / "r2.npz", six / "r3.npz", "--text", "af", "--quiet")
    one, two = (ecgcam(*flags, "--jobs", jobs, "--out", f"out{jobs}") for jobs in (1, 2))
    assert one.code == two.code == 0
    assert [line.split()[0] for line in one.out.splitlines()] == [line.split()[0] for line in two.out.splitlines()]
    assert_same_results(here / "out1", here / "out2")


def test_failures_of_helpers_are_told_like_those_here(ecgcam: Run, six: Path, here: Path) -> None:
    flags = ("explain", six, *TEXT, *QUICK)
    one, two = (ecgcam(*flags, "--jobs", jobs, "--out", f"out{jobs}") for jobs in (1, 2))
    assert (one.code, one.err) == (two.code, two.err) == (1, one.err)
    assert [line.split()[0] for line in one.out.splitlines()] == [line.split()[0] for line in two.out.splitlines()]
    assert statuses(here / "out1") == statuses(here / "out2")


@pytest.mark.parametrize("pack", [[], ["--pack", "3"]])
def test_resume_does_what_is_left_and_nothing_else(ecgcam: Run, six: Path, here: Path, pack: list[str]) -> None:
    whole = ecgcam("explain", six, *TEXT, *QUICK, "--out", "whole", *pack)
    assert whole.code == 1
    for name in ("r0", "r1", "r2"):
        (here / "some").mkdir(exist_ok=True)
        (here / "some" / f"{name}.npz").symlink_to(six / f"{name}.npz")
    assert ecgcam("explain", "some", *TEXT, *QUICK, "--out", "out", *pack).code == 0
    if not pack:
        (here / "out/r3/.normal-ecg-abcdefgh/new").mkdir(parents=True)  # of a process that was killed
        before = {path: path.stat().st_mtime_ns for path in (here / "out").rglob("*.npz")}
    with (here / "out/manifest.jsonl").open("a") as file:
        file.write('{"record": "r4", "te')
    got = ecgcam("explain", six, *TEXT, *QUICK, "--out", "out", "--resume", *pack)
    assert got.code == 1
    assert {line.split()[0] for line in got.out.splitlines()[1:-1]} == {"r3", "r4", "r5"}
    if pack:
        read = {str(line["out"]).partition("/")[2] for line in lines(here / "out") if line["status"] == "done"}
        assert read == {f"r{i}/{slug}" for i in range(6) for slug in SLUGS}
        for place in read:
            a, b = (load_packed(here / out, place) for out in ("whole", "out"))
            np.testing.assert_allclose(a.map, b.map, atol=1e-5 * a.map.max(initial=0))
        assert len(list((here / "out").iterdir())) == 1 + 4
    else:
        assert_same_results(here / "whole", here / "out")
        assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    again = ecgcam("explain", "some", *TEXT, *QUICK[:-1], "--out", "out", "--resume", *pack)
    assert (again.code, again.out) == (0, "")
    assert again.err.splitlines() == [
        "note: some, files read: 3 NumPy", "note: 6 results were there already, so nothing was computed (--force computes again)",
    ]  # fmt: skip


def test_a_prompt_that_is_new_is_done_where_others_are_not_touched(ecgcam: Run, six: Path, here: Path) -> None:
    assert ecgcam("explain", six / "r0.npz", *TEXT[:2], *QUICK, "--out", "out").code == 0
    first = tree(here / "out/r0/atrial-fibrillation")
    when = (here / "out/r0/atrial-fibrillation").stat().st_mtime_ns
    got = ecgcam("explain", six / "r0.npz", *TEXT, *QUICK, "--out", "out", "--resume", "--json")
    assert [json.loads(line)["text"] for line in got.out.splitlines()] == ["normal ECG"]
    assert tree(here / "out/r0/atrial-fibrillation") == first
    assert (here / "out/r0/atrial-fibrillation").stat().st_mtime_ns == when
    assert len(lines(here / "out")) == 2


def test_a_forced_run_that_is_broken_off_leaves_the_earlier_results(
    ecgcam: Run, six: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("explain", six / "r0.npz", six / "r1.npz", *TEXT[:2], *QUICK, "--jobs", "1", "--out", "out")
    assert ecgcam(*flags).code == 0
    before = tree(here / "out")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ecgcam.runs.explain_task.write_result", interrupted)
        assert ecgcam(*flags, "--force").code == 130
    assert tree(here / "out") == before
    assert ecgcam(*flags, "--resume", "--seed", "1").code == 0
    assert Explanation.load(here / "out/r1/atrial-fibrillation").meta["seed"] == 0
    assert Explanation.load(here / "out/r1/atrial-fibrillation+seed-1").meta["seed"] == 1


def test_a_result_that_was_deleted_is_made_again(ecgcam: Run, six: Path, here: Path) -> None:
    """The journal alone is not a result."""
    call = ("explain", six / "r0.npz", six / "r1.npz", *TEXT[:2], *QUICK, "--out", "out", "--resume")
    assert ecgcam(*call).code == 0
    shutil.rmtree(here / "out/r0")
    assert ecgcam(*call).code == 0
    assert (here / "out/r0/atrial-fibrillation/summary.json").is_file()


def test_shards_are_parts_of_the_whole(ecgcam: Run, six: Path, here: Path) -> None:
    (here / "good").mkdir()
    for path in six.glob("r*.npz"):
        (here / "good" / path.name).symlink_to(path)
    assert ecgcam("explain", "good", *TEXT, *QUICK, "--out", "whole").code == 0
    names = []
    for i in (3, 1, 2):
        got = ecgcam("explain", "good", *TEXT, *QUICK, "--out", "out", "--shard", f"{i}/3", "--json")
        assert got.code == 0
        names.append({json.loads(line)["record"] for line in got.out.splitlines()})
    assert names == [{"r2", "r5"}, {"r0", "r3"}, {"r1", "r4"}]
    assert_same_results(here / "whole", here / "out")
    none = ecgcam("explain", "good/r0.npz", *TEXT, *QUICK[:-1], "--out", "other", "--shard", "2/2")
    assert (none.code, none.out, none.err) == (0, "", "note: no recording in this shard\n")


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3", ""])
def test_shards_that_are_none(ecgcam: Run, six: Path, shard: str) -> None:
    got = ecgcam("explain", six, *TEXT, f"--shard={shard}")
    assert got.code == 2
    assert f"--shard {shard}: give I/N" in got.err


def test_packs_hold_what_folders_would(ecgcam: Run, six: Path, here: Path) -> None:
    good = [six / f"r{i}.npz" for i in range(3)]
    assert ecgcam("explain", *good, "--text", "af", "--quiet", "--out", "whole").code == 0
    got = ecgcam("explain", *good, "--text", "af", "--quiet", "--out", "out", "--pack", "2", "--jobs", "2", "--json")
    assert got.code == 0
    assert sorted(p.name for p in (here / "out").iterdir()) == ["manifest.jsonl", "pack-00000.tar", "pack-00001.tar"]
    for line, printed in zip(lines(here / "out"), map(json.loads, got.out.splitlines()), strict=True):
        assert (
            f"out/{line['out']}"
            == printed["out"]
            == f"out/pack-0000{int(str(line['record'])[1]) // 2}.tar/{line['record']}/af"
        )
        assert Explanation.load(here / "out" / str(line["out"])).meta["record"] == line["record"]
    for pack in sorted((here / "out").glob("*.tar")):
        subprocess.run(["tar", "-xf", pack, "-C", here], check=True)
    for path in (here / "whole").rglob("*.*"):
        if path.is_file() and path.name != "manifest.jsonl":
            assert (here / path.relative_to(here / "whole")).is_file()
    before = tree(here / "out")
    again = ecgcam("explain", *good, "--text", "af", "--out", "out", "--pack", "2")
    assert again.code == 0
    assert "3 results were there already" in again.err
    assert tree(here / "out") == before


def test_a_stream_is_explained_as_it_comes(ecgcam: Run, six: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly() -> Iterator[str]:
        for i in range(40):  # more than a batch holds
            (here / f"s{i}.npz").symlink_to(six / "r0.npz")
            yield f"s{i}.npz\n"
        assert (here / "out/s0/af/summary.json").is_file()
        yield "s2.npz\n"
        yield f"{here / 'out'}\n"
        yield "nowhere.dat\n"

    monkeypatch.setattr("sys.stdin", slowly())
    got = ecgcam("explain", "-", "--text", "af", *QUICK, "--out", "out", "--jobs", "1")
    assert got.code == 1
    told = got.err.splitlines()
    assert [line.partition(": ")[2].partition(" (")[0] for line in told] == [
        f"{here / 'out'}: holds no recording", "nowhere.dat: no such recording; check the path",
    ]  # fmt: skip
    assert statuses(here / "out") == {(f"s{i}", "af"): "done" for i in range(40)} | {("nowhere", "af"): "failed"}


@pytest.fixture
def minute(here: Path) -> Path:
    """A recording of 61 s; windows of 10 s every 8 s overlap, and the last, which ends with it, more so."""
    rng = np.random.default_rng(2)
    parts = [simulate(("af", "normal")[i % 2], i).signal[6] * rng.uniform(0.8, 1.2) for i in range(7)]
    np.savez(here / "long.npz", signal=np.concatenate(parts)[None, : 61 * 500], fs=500, leads=["V1"])
    return here / "long.npz"


LONG = (*TEXT, *QUICK, "--all", "--hop", "8")
STARTS = [
    "w00000.000",
    "w00008.000",
    "w00016.000",
    "w00024.000",
    "w00032.000",
    "w00040.000",
    "w00048.000",
    "w00051.000",
]


def assert_same_timelines(one: Path, two: Path) -> None:
    for slug in SLUGS:
        a, b = (Timeline.load(out / "long" / slug) for out in (one, two))
        assert (a.leads, a.step, a.meta) == (b.leads, b.step, b.meta)
        for name in ("time", "map", "evidence", "valid", "window_start", "score", "lead_scores", "strongest"):
            first, second = (np.asarray(getattr(timeline, name), float) for timeline in (a, b))
            assert np.abs(first - second).max() <= 1e-5 * max(1e-9, np.abs(first).max()), name


def test_resume_does_the_windows_that_are_left(
    ecgcam: Run, minute: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two windows are gone of one prompt, one of both: three are explained again, and the timeline is as it was."""
    assert ecgcam("explain", minute, *LONG, "--out", "whole").code == 0
    shutil.copytree(here / "whole", here / "out")
    for slug in SLUGS:
        assert sorted(path.name for path in (here / "out/long" / slug).glob("w*")) == STARTS
        (here / "out/long" / slug / "timeline.npz").unlink()
    for place in (
        f"{SLUGS[0]}/{STARTS[1]}",
        f"{SLUGS[0]}/{STARTS[7]}",
        f"{SLUGS[0]}/{STARTS[3]}",
        f"{SLUGS[1]}/{STARTS[3]}",
    ):
        shutil.rmtree(here / "out/long" / place)
    (here / "out/manifest.jsonl").unlink()
    before = {path: path.stat().st_mtime_ns for path in (here / "out").rglob("explanation.npz")}
    got = ecgcam("explain", minute, *LONG, "--out", "out", "--resume", "--json")
    assert got.code == 0
    told = [json.loads(line)["out"].rpartition("/")[2] for line in got.out.splitlines()]
    assert told == [name for name in (STARTS[1], STARTS[3], STARTS[7]) for _ in SLUGS]
    untouched = [path for path in before if path.parent.name not in told]
    assert all(path.stat().st_mtime_ns == before[path] for path in untouched)
    assert_same_results(here / "whole", here / "out")
    assert_same_timelines(here / "whole", here / "out")
    assert ecgcam("explain", minute, *LONG, "--out", "out", "--resume").code == 0  # nothing is left

    (here / "out/manifest.jsonl").unlink()
    assert ecgcam("explain", minute, *LONG, "--out", "out", "--resume", "--json").out == ""  # all windows are there
    assert_same_results(here / "whole", here / "out")
    assert_same_timelines(here / "whole", here / "out")

    before = tree(here / "out/long" / SLUGS[0])
    assert ecgcam("explain", minute, *LONG, "--out", "out", "--resume", "--mask", "zero-mv").code == 0
    assert tree(here / "out/long" / SLUGS[0]) == before
    assert (here / "out/long" / f"{SLUGS[0]}+mask-zero-mv/timeline.npz").is_file()


def test_timelines_are_in_packs(ecgcam: Run, minute: Path, here: Path) -> None:
    assert ecgcam("explain", minute, *LONG, "--out", "whole").code == 0
    assert ecgcam("explain", minute, *LONG, "--out", "out", "--pack", "5").code == 0
    assert ecgcam("explain", minute, *LONG, "--out", "out", "--pack", "5", "--resume").code == 0
    packs = sorted((here / "out").glob("*.tar"))
    assert [path.name for path in packs] == [f"pack-0000{i}.tar" for i in range(4)]
    for pack in packs:
        subprocess.run(["tar", "-xf", pack, "-C", here / "out"], check=True)
    assert_same_timelines(here / "whole", here / "out")


def test_helpers_write_the_same_timeline(ecgcam: Run, minute: Path, here: Path) -> None:
    flags = ("explain", minute, "--text", "af", "--quiet", "--no-gradient", "--all", "--hop", "20")
    one, two = (ecgcam(*flags, "--jobs", jobs, "--out", f"out{jobs}") for jobs in (1, 2))
    assert (one.code, two.code) == (0, 0)
    assert "scores over time and joined maps in out1/<record>/<prompt>/timeline.png" in one.out
    for name in ("timeline.png", "timeline.npz"):
        assert (here / "out1/long/af" / name).read_bytes() == (here / "out2/long/af" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("pack", [[], ["--pack", "4"]])
def test_killed_at_random_and_resumed_it_is_the_same(tmp_path: Path, six: Path, pack: list[str]) -> None:
    """Up to ten times, each some results further on, and a random moment later: now the process alone, now all its helpers."""
    (tmp_path / "in").mkdir()
    for i in range(40):
        (tmp_path / f"in/s{i}.npz").symlink_to(six / f"r{i % 6}.npz")
    flags = ["explain", "in", "--text", "af", "--text", "normal ECG", "--quiet", "--jobs", "2", *pack]
    call = [sys.executable, "-c", "from ecgcam.cli import main; main()", *flags]
    subprocess.run([*call, "--out", "whole"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    chance = random.Random(7)  # noqa: S311  (the same choices every time)
    manifest = tmp_path / "out/manifest.jsonl"
    killed = 0
    for _ in range(10):
        known = manifest.read_bytes().count(b"\n") if manifest.exists() else 0
        process = subprocess.Popen(
            [*call, "--out", "out", "--resume"], cwd=tmp_path, stdout=subprocess.DEVNULL, start_new_session=True
        )
        wanted = known + chance.randint(0, 6)
        while process.poll() is None and (not manifest.exists() or manifest.read_bytes().count(b"\n") < wanted):
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.2))
        killed += process.poll() is None
        if chance.random() < 0.5:
            process.kill()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert killed >= 5  # what was written and not yet recorded is not done again: later calls may find little left
    subprocess.run([*call, "--out", "out", "--resume"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    if pack:
        for out in ("whole", "out"):
            for path in sorted((tmp_path / out).glob("*.tar")):
                subprocess.run(["tar", "-xf", path, "-C", tmp_path / out], check=True)
    assert_same_results(tmp_path / "whole", tmp_path / "out")


@pytest.mark.slow
def test_the_array_job_of_the_docs(tmp_path: Path, six: Path) -> None:
    """Its lines as a shell runs them, three tasks at once: parts that share nothing, the whole together, one manifest."""
    page = (Path(__file__).parents[2] / "docs/scale.md").read_text(encoding="utf-8")
    script = page.partition("## Slurm")[2].partition("Each task")[0]
    assert "#SBATCH --array=1-50" in script
    assert '--shard "$SLURM_ARRAY_TASK_ID/50"' in script
    for said, here in [("/50", "/3"), ("DATA", "data"), ("OUT", "out"), ("--jobs 4", "--jobs 1"), ("1000", "2")]:
        assert said in script
        script = script.replace(said, here)
    (tmp_path / "data").mkdir()
    for path in six.glob("r*.npz"):
        (tmp_path / "data" / path.name).symlink_to(path)
    (tmp_path / "prompts.txt").write_text("af\nnormal ECG\n")
    program = 'ecgcam() { "$PYTHON" -c "from ecgcam.cli import main; main()" "$@"; }\n' + script

    def task(number: int) -> subprocess.Popen[str]:
        environment = os.environ | {"PYTHON": sys.executable, "SLURM_ARRAY_TASK_ID": str(number)}
        return subprocess.Popen(
            ["bash", "-ec", program], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
        )

    for again in (False, True):  # as it is submitted, and submitted again
        for running in [task(number) for number in (1, 2, 3)]:
            said = running.communicate()[1]
            assert running.returncode == 0, said
            assert not again or "nothing is left to resume" in said or said == ""
    parts: dict[str, set[str]] = {}
    for pack in sorted((tmp_path / "out").glob("*.tar")):
        with tarfile.open(pack) as tar:
            names = tar.getnames()
        parts.setdefault(pack.name[: len("pack-1-of-3")], set()).update(name.partition("/")[0] for name in names)
    assert parts == {"pack-1-of-3": {"r0", "r3"}, "pack-2-of-3": {"r1", "r4"}, "pack-3-of-3": {"r2", "r5"}}
    written = lines(tmp_path / "out")
    assert len(written) == 12
    assert statuses(tmp_path / "out") == {(f"r{i}", text): "done" for i in range(6) for text in ("af", "normal ECG")}
