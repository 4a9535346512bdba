"""`ecgcam explain` and its neighbours: what reaches stdout, stderr and the disk."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Run, tree

from ecgcam.cli.console import with_flags
from ecgcam.records import CANONICAL_LEADS
from ecgcam.records.criteria import criteria_of
from ecgcam.records.simulator import FINDINGS, WALLS
from ecgcam.results.explanation import Explanation
from ecgcam.results.timeline import Timeline

AF = ("--text", "atrial fibrillation")
QUICK = ("--no-png", "--no-gradient")
ARRAY = ("--fs", "500", "--lead-names", "V1")
KEYS = ["record", "text", "slug", "score", "empty_score", "leads", "settings", "warnings", "prompt_warnings",
        "fingerprint", "spec", "recording_sha256", "recording_file", "verdict", "check", "criteria", "reasons", "out",
        "drawn"]  # fmt: skip
LEAD_KEYS = ["name", "rank", "score", "gain", "moments_s"]

pytestmark = pytest.mark.usefixtures("one_model", "here")


def tidy(text: str) -> bool:
    """No line ends in a blank, none is longer than it must be, and no colour is in it."""
    return all(line == line.rstrip() for line in text.splitlines()) and "\x1b" not in text


def test_one_recording_gives_pictures_arrays_and_a_table(ecgcam: Run, recordings: Path, here: Path) -> None:
    before = tree(recordings)
    got = ecgcam("explain", recordings / "af-7.dat", *AF)
    assert (got.code, got.err) == (0, "")
    assert tree(recordings) == before
    folder = here / "ecgcam-out/af-7/atrial-fibrillation"
    pictures = {f"lead-{lead}.png" for lead in CANONICAL_LEADS} | {"page.png"}
    assert {p.name for p in folder.iterdir()} == pictures | {"explanation.npz", "summary.json"}
    assert [p.name for p in here.iterdir()] == ["ecgcam-out"]
    explanation = Explanation.load(folder)
    lines = got.out.splitlines()
    assert tidy(got.out)
    verdict, check = explanation.meta["verdict"], explanation.meta["check"]
    best = ", ".join(explanation.leads[row] for row in explanation.ranking[:3])
    words = "passed" if check["passed"] else "failed"
    assert lines[0] == f"yes: atrial fibrillation, rank 1 of 49; leads {best}; check {words}"
    assert lines[1] == f"af-7: {verdict['basis']}"
    if not check["passed"]:
        assert lines.pop(2).startswith("check failed: without random parts the score falls about as far")
    assert len(lines) == 16
    assert (verdict["answer"], verdict["rank"], verdict["of"]) == ("yes", 1, 49)
    assert verdict["score"] == pytest.approx(explanation.score)
    assert check["draws"] == 16
    lines.pop(1)
    assert lines[1].split() == ["lead", "gain", "alone", "strongest", "moments,", "s"]
    assert [line.split()[0] for line in lines[2:14]] == [explanation.leads[row] for row in explanation.ranking]
    first = explanation.ranking[0]
    assert lines[2].split()[1] == f"{explanation.gains[first]:+.3f}"
    assert [float(moment) for moment in lines[2].split()[3:]] == pytest.approx(explanation.moments(first), abs=0.005)
    assert lines[14] == "results in ecgcam-out/af-7/atrial-fibrillation"
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert list(summary) == KEYS
    assert [lead["name"] for lead in summary["leads"]] == [explanation.leads[row] for row in explanation.ranking]


def test_criteria_of_the_finding_are_in_the_summary_and_printed(ecgcam: Run, recordings: Path, here: Path) -> None:
    """Of a result that is there without them, the call runs the model again; a prompt that is not a finding's has none."""
    call = ("explain", recordings / "af-7", *AF, "--text", "a phrase", "--no-png", "--json")
    assert json.loads(ecgcam(*call).out.splitlines()[0])["criteria"] is None
    found, none = (json.loads(line) for line in ecgcam(*call, "--criteria").out.splitlines())
    keys = {"name", "holds", "value", "unit", "threshold", "share", "density", "score", "drop"}
    assert all(keys <= set(row) for row in found["criteria"])
    assert {row["name"] for row in found["criteria"]} == {one.name for one in criteria_of("af")}
    assert found["reasons"]["sentence"]
    assert (none["criteria"], none["reasons"]) == ([], None)
    assert ecgcam("explain", recordings / "af-7", *AF, "--no-png", "--criteria").code == 0
    assert (here / "ecgcam-out/af-7/a-phrase").is_dir()


def test_json_is_one_object_a_line_with_the_designs_keys(ecgcam: Run, recordings: Path, here: Path) -> None:
    got = ecgcam("explain", recordings / "af-7", *AF, "--text", "心房 xyzzy", "--json", *QUICK)
    assert got.code == 0
    lines = got.out.splitlines()
    assert len(lines) == 2
    assert "心房 xyzzy" in lines[1]
    for line in lines:
        summary = json.loads(line)
        assert list(summary) == KEYS
        assert [list(lead) for lead in summary["leads"]] == [LEAD_KEYS] * 12
        gains = [lead["gain"] for lead in summary["leads"]]
        assert gains == sorted(gains, reverse=True)
        assert all(len(lead["moments_s"]) <= 3 for lead in summary["leads"])
        assert summary["settings"]["model"] == "mini"
        written = json.loads((here / summary["out"] / "summary.json").read_text(encoding="utf-8"))
        assert written | {"out": f"ecgcam-out/{written['out']}"} == summary  # in files paths are relative to OUT
    # What the model says of a prompt is said once, of the prompt, and travels with its result alone.
    assert got.err.count("note: ") == 1
    assert "xyzzy" in got.err
    assert json.loads(lines[0])["warnings"] == []
    assert len(json.loads(lines[1])["warnings"]) == 1


def test_a_call_is_made_again_from_its_summary(
    ecgcam: Run, recordings: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(recordings)
    settings = [
        "--method",
        "layer-cam",
        "--mask",
        "zero-mv",
        "--start",
        "1",
        "--smooth",
        "80",
        "--against",
        "normal ECG",
    ]
    call = ["explain", "af-7.dat", *AF, *settings, "--no-png", "--quiet", "--out", here / "out"]
    assert ecgcam(*call).code == 0
    summary = next((here / "out").rglob("summary.json"))
    first = json.loads(summary.read_text())
    got = ecgcam("explain", "--again", summary, "--no-png", "--quiet", "--json", "--out", here / "again")
    assert got.code == 0
    again = json.loads(got.out)
    assert (again["fingerprint"], again["spec"]) == (first["fingerprint"], first["spec"])
    same = ("score", "leads", "verdict")
    assert [again[key] for key in same] == [first[key] for key in same]
    monkeypatch.chdir(here)
    moved = ecgcam(
        "explain", recordings / "af-7.hea", "--again", summary, "--no-png", "--quiet", "--json", "--out", "moved"
    )
    assert json.loads(moved.out)["fingerprint"] == first["fingerprint"]
    other = ecgcam("explain", recordings / "sub/normal-8.hea", "--again", summary, "--no-png", "--out", "other")
    assert (other.code, "belongs to another recording than af-7.dat" in other.err) == (2, True)
    summary.write_text(json.dumps({**first, "spec": None}))
    assert "does not state its call" in ecgcam("explain", "--again", summary).err


@pytest.mark.parametrize(("text", "answer"), [("atrial fibrillation", "yes"), ("left bundle branch block", "no")])
def test_the_verdict_states_whether_the_model_says_so(
    ecgcam: Run, recordings: Path, here: Path, text: str, answer: str
) -> None:
    got = ecgcam("explain", recordings / "af-7.dat", "--text", text, *QUICK, "--json")
    summary = json.loads(got.out)
    assert summary["verdict"]["answer"] == answer
    assert set(summary["verdict"]) == {"answer", "score", "empty_score", "rank", "of", "percentile", "basis"}
    assert summary["check"] is None  # without pictures
    checked = json.loads(ecgcam("explain", recordings / "af-7.dat", "--text", text, *QUICK, "--json", "--check").out)
    assert set(checked["check"]) == {"removed", "drop", "random", "random_sd", "draws", "passed"}
    against = ecgcam("explain", recordings / "af-7.dat", "--text", text, *QUICK, "--json", "--against", "mean")
    assert json.loads(against.out)["verdict"]["of"] is None  # differences of scores compare with nothing


def test_waves_reach_the_summary_and_a_picture(ecgcam: Run, recordings: Path, here: Path) -> None:
    got = ecgcam("explain", recordings / "af-7.dat", *AF, "--waves", "--layout", "3x4", "--no-gradient", "--json")
    assert (got.code, got.err) == (0, "")
    summary = json.loads(got.out)
    assert set(summary) == {*KEYS, "waves"}
    assert summary["waves"]["beats"] >= 8
    assert [lead["name"] for lead in summary["waves"]["leads"]] == list(CANONICAL_LEADS)
    lead = summary["waves"]["leads"][1]
    assert lead["P"] == {"share": None, "density": None, "spread": None}  # the atria fibrillate
    assert 0 <= lead["QRS"]["share"] <= 1
    assert lead["QRS"]["density"] > 0
    written = json.loads((here / summary["out"] / "summary.json").read_text())
    assert written | {"out": summary["out"]} == summary
    assert (here / summary["out"] / "beats.png").is_file()


def test_overlay_lays_a_result_on_a_scan(ecgcam: Run, lead_v1: Path, here: Path) -> None:
    from PIL import Image

    assert ecgcam("explain", lead_v1, *AF, *ARRAY, *QUICK).code == 0
    result = next(here.rglob("explanation.npz"))
    Image.new("RGB", (700, 495), "white").save(here / "scan.png")
    got = ecgcam("overlay", here / "scan.png", result, "--boxes", "two-column", "--out", here / "new/on-paper.png")
    assert got.code == 0
    assert "on-paper.png" in got.out
    assert "not explained: I, II" in got.err
    with Image.open(here / "new/on-paper.png") as picture:
        assert picture.size == (700, 495)
    again = ecgcam("overlay", here / "scan.png", result.parent, "--out", here / "scan.png")
    assert (again.code, "is the scan itself" in again.err) == (2, True)
    wrong = ecgcam("overlay", here / "scan.png", here / "none.npz", "--out", here / "b.png")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    assert not (here / "b.png").exists()


def test_a_folder_keeps_relative_paths(ecgcam: Run, recordings: Path, here: Path) -> None:
    got = ecgcam("explain", recordings, *AF, *QUICK, "--out", "out")
    assert (got.code, got.err) == (0, f"note: {recordings}, files read: 3 WFDB\n")
    written = {str(p.parent.relative_to(here)) for p in here.rglob("*.npz")}
    assert written == {f"out/{name}/atrial-fibrillation" for name in ("af-7", "af-7-twin", "sub/normal-8")}
    lines = got.out.splitlines()
    assert tidy(got.out)
    assert [line.split("  ")[0] for line in lines] == ["record", "af-7", "af-7-twin", "sub/normal-8", "results in out"]
    assert Explanation.load(here / "out/sub/normal-8/atrial-fibrillation").meta["record"] == "sub/normal-8"


@pytest.mark.parametrize("as_json", [False, True])
def test_one_bad_of_three_is_told_and_the_others_are_done(
    ecgcam: Run, recordings: Path, lead_v1: Path, here: Path, as_json: bool
) -> None:
    bad = here / "bad.npy"
    bad.write_text("hello")
    inputs = [recordings / "af-7.hea", bad, recordings / "sub/normal-8"]
    got = ecgcam("explain", *inputs, *AF, *QUICK, *(["--json"] if as_json else []))
    assert got.code == 1
    assert got.err == f"ecgcam: {bad}: not a readable NumPy file (neither .npy nor .npz); choose such a file\n"
    assert {p.name for p in (here / "ecgcam-out").iterdir()} == {"af-7", "normal-8", "manifest.jsonl"}
    assert got.out.count("af-7") == (3 if as_json else 1)  # "out" and "recording_file" name it too
    assert "bad" not in got.out


def test_all_bad_is_2_and_nothing_is_written(ecgcam: Run, here: Path) -> None:
    (here / "one.npy").write_text("hello")
    got = ecgcam("explain", "one.npy", "two.npy", *AF)
    assert (got.code, got.out, got.err.count("\n")) == (2, "", 2)
    assert [p.name for p in here.iterdir()] == ["one.npy"]
    got = ecgcam("score", "one.npy", "two.npy")
    assert (got.code, got.out, got.err.count("\n")) == (2, "", 2)


def test_a_list_on_stdin(ecgcam: Run, recordings: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{recordings / 'af-7.dat'}\n\n{recordings / 'sub'}\n"))
    got = ecgcam("explain", "-", *AF, *QUICK)
    assert got.code == 0
    assert {p.name for p in (here / "ecgcam-out").iterdir()} == {"af-7", "normal-8", "manifest.jsonl"}


def test_prompts_from_flags_and_a_file_once_each(ecgcam: Run, lead_v1: Path, here: Path) -> None:
    (here / "prompts.txt").write_bytes(b"\xef\xbb\xbfnormal ECG\r\n\r\n  A.F.  \r\na f\r\natrial fibrillation\r\n")
    got = ecgcam("explain", lead_v1, *AF, "--text-file", "prompts.txt", *ARRAY, *QUICK, "--json", "--quiet")
    assert (got.code, got.err) == (0, "")
    summaries = [json.loads(line) for line in got.out.splitlines()]
    assert [summary["text"] for summary in summaries] == ["atrial fibrillation", "normal ECG", "A.F.", "a f"]
    slugs = [summary["slug"] for summary in summaries]
    assert slugs[:2] == ["atrial-fibrillation", "normal-ecg"]
    assert slugs[2][:4] == slugs[3][:4] == "a-f-"
    assert len(set(slugs)) == 4
    assert {p.name for p in (here / "ecgcam-out/v1").iterdir()} == set(slugs)
    assert all(Path(summary["out"]).name == summary["slug"] for summary in summaries)


def test_force_writes_over_and_keeps_strangers(ecgcam: Run, lead_v1: Path, here: Path) -> None:
    call = ("explain", lead_v1, *AF, *ARRAY, *QUICK)
    assert ecgcam(*call).code == 0
    folder = here / "ecgcam-out/v1/atrial-fibrillation"
    (folder / "lead-V6.png").touch()
    (folder / "mine.txt").touch()
    first = (folder / "explanation.npz").read_bytes()
    when = (folder / "explanation.npz").stat().st_mtime_ns
    again = ecgcam(*call)
    assert (again.code, again.err) == (
        0,
        "note: 1 result was there already, so nothing was computed (--force computes again)\n",
    )
    assert (folder / "explanation.npz").stat().st_mtime_ns == when
    assert (folder / "lead-V6.png").exists()
    assert ecgcam(*call, "--force").code == 0
    assert {p.name for p in folder.iterdir()} == {"explanation.npz", "summary.json", "mine.txt"}
    assert (folder / "explanation.npz").stat().st_mtime_ns != when
    assert (folder / "explanation.npz").read_bytes() == first
    assert ecgcam(*call, "--force", "--mask", "zero-mv").code == 0  # another question: next to it
    assert Explanation.load(folder).meta["mask"] == "baseline"
    assert Explanation.load(folder.with_name(f"{folder.name}+mask-zero-mv")).meta["mask"] == "zero-mv"


def test_all_windows(ecgcam: Run, here: Path) -> None:
    """25 s, of which 10 to 20 s are missing: that window fails, the others are done, and the exit code says so."""
    signal = np.sin(np.arange(12_500) / 40)
    signal[5000:10_000] = np.nan
    np.save(here / "long.npy", signal)
    got = ecgcam("explain", "long.npy", *AF, *ARRAY, *QUICK, "--all")
    assert got.code == 1
    (failed,) = (line for line in got.err.splitlines() if line.startswith("ecgcam: "))  # notes: a sine is no heart
    assert failed == (
        "ecgcam: long: no lead has a signal between 10 and 20 s (all flat or missing); choose another stretch with --start"
    )
    folder = here / "ecgcam-out/long/atrial-fibrillation"
    assert sorted(p.name for p in folder.iterdir()) == ["timeline.npz", "w00000.000", "w00015.000"]
    joined = Timeline.load(folder)
    assert joined.window_start == pytest.approx([0.0, 15.0])
    assert joined.valid.sum() == 10 * 250 + 5 * 250
    assert [with_flags(one) for one in joined.meta["missing"]] == [failed[8:]]
    assert [line.split()[:2] for line in got.out.splitlines()[1:3]] == [["long", "0.000"], ["long", "15.000"]]
    summary = json.loads((folder / "w00015.000/summary.json").read_text())
    assert summary["slug"] == "atrial-fibrillation"
    assert summary["settings"]["window"] == {"start": 15.0, "seconds": 10.0, "record_seconds": 25.0}
    assert Explanation.load(folder / "w00015.000").time[[0, -1]] == pytest.approx([15.0, 24.996])
    assert ecgcam("explain", "long.npy", *AF, *ARRAY, *QUICK).code == 0  # one window is another question
    assert (folder.with_name(f"{folder.name}+one-window") / "summary.json").is_file()


def test_longer_than_the_window_is_noted(ecgcam: Run, here: Path) -> None:
    noise = np.random.default_rng(0).standard_normal(12_504)
    np.save(here / "long.npy", np.convolve(noise, np.ones(5) / 2, "valid"))
    note = "note: long lasts 25 s, of which 5 to 15 s are used; --start S moves the window"
    got = ecgcam("explain", "long.npy", *AF, *ARRAY, *QUICK, "--start", "5")
    unlike = (
        "note: long: further from the reference recordings of mini than 99 % of others"  # noise, which is not a heart's
    )
    assert got.code == 0
    assert [line[: len(unlike)] for line in got.err.splitlines()] == [f"{note}, --all slides it"[: len(unlike)], unlike]
    got = ecgcam("score", "long.npy", *ARRAY, "--start", "5")
    assert (got.code, got.err) == (0, f"{note}\n")  # score has no --all
    assert ecgcam("score", "long.npy", *ARRAY, "--start", "5", "--quiet").err == ""
    assert ecgcam("score", "long.npy", *ARRAY, "--seconds", "5").err == "note: long: 5 s of signal, padded to 10 s\n"


def test_notes_are_told_once_and_counted(ecgcam: Run, here: Path) -> None:
    rows = np.stack([np.sin(np.arange(5000) / 40), np.cos(np.arange(5000) / 40)])
    for name in "abc":
        np.savez(here / f"{name}.npz", signal=rows, fs=500, leads=["I", "II"])
    got = ecgcam("explain", here, *AF, "--text", "xyzzy", *QUICK)
    assert got.code == 0
    derived = "leads derived from I and II: III, aVR, aVL, aVF"
    unlike = "further from the reference recordings of mini than 99 % of others"
    files, second, third, first, fourth, last = got.err.splitlines()
    assert files == f"note: {here}, files read: 3 NumPy"
    assert "'xyzzy'" in first  # a note of the prompt, whatever the recording
    assert (second, fourth) == (f"note: a: {derived}", f"note: 2 more recordings: {derived}")
    assert third.startswith(f"note: a: {unlike}")
    assert last.startswith(f"note: 2 more recordings: {unlike}")
    # A second call in the same process tells them again.
    assert f"note: a: {derived}" in ecgcam("explain", "a.npz", *AF, *QUICK, "--force").err
    assert ecgcam("explain", "a.npz", *AF, *QUICK, "--force", "--quiet").err == ""


def test_a_failure_while_writing_is_told_and_leaves_nothing(
    ecgcam: Run, lead_v1: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ecgcam.runs.writer._draw", draw)
    got = ecgcam("explain", lead_v1, *AF, *ARRAY)
    assert (got.code, got.out) == (2, "")
    folder = Path("ecgcam-out/v1/atrial-fibrillation")
    assert got.err == (
        f"ecgcam: {folder}: cannot be written (No space left on device); nothing of it was kept; choose another --out\n"
    )
    assert list(here.iterdir()) == []


def test_an_interruption_is_130_and_leaves_nothing_half_written(
    ecgcam: Run, lead_v1: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ecgcam.runs.writer._draw", draw)
    got = ecgcam("explain", lead_v1, *AF, *ARRAY)
    assert (got.code, got.out) == (130, "")
    assert got.err == "ecgcam: interrupted; finished results are complete\n"
    assert list(here.iterdir()) == []


def test_score_ranks_prompts(ecgcam: Run, recordings: Path, here: Path) -> None:
    (here / "prompts.txt").write_text("normal ECG\natrial fibrillation\n")
    got = ecgcam("score", recordings / "af-7.dat", recordings / "sub", "--text-file", "prompts.txt", "--json")
    assert (got.code, got.err) == (0, f"note: {recordings / 'sub'}, files read: 1 WFDB\n")
    first, second = (json.loads(line) for line in got.out.splitlines())
    assert (list(first), first["record"], second["record"]) == (["record", "scores"], "af-7", "normal-8")
    assert list(first["scores"].values()) == sorted(first["scores"].values(), reverse=True)
    assert set(first["scores"]) == {"normal ECG", "atrial fibrillation"}
    assert first["scores"]["atrial fibrillation"] > second["scores"]["atrial fibrillation"]
    got = ecgcam("score", recordings / "af-7.dat")
    assert got.code == 0
    assert tidy(got.out)
    assert got.out.startswith("af-7\n")
    assert len(got.out.splitlines()) > 10  # the bundled vocabulary
    assert not list(here.glob("ecgcam-out"))


def test_score_and_explain_agree(ecgcam: Run, recordings: Path, here: Path) -> None:
    (here / "prompts.txt").write_text("atrial fibrillation\n")
    explained = json.loads(ecgcam("explain", recordings / "af-7.dat", *AF, *QUICK, "--json").out)
    scored = json.loads(ecgcam("score", recordings / "af-7.dat", "--text-file", "prompts.txt", "--json").out)
    assert explained["score"] == pytest.approx(scored["scores"]["atrial fibrillation"], abs=2e-6)


def test_lists_of_models_and_methods(ecgcam: Run) -> None:
    models = json.loads(ecgcam("models", "list", "--json").out)
    assert all(list(row) == ["name", "family", "text", "fs", "seconds", "licence"] for row in models)
    assert "mini" in [row["name"] for row in models]
    methods = json.loads(ecgcam("methods", "--json").out)
    assert all(
        list(row)
        == [
            "name",
            "shows",
            "family",
            "needs",
            "passes",
            "options",
            "formula",
            "misleads",
            "signed",
            "paper",
        ]
        for row in methods
    )
    assert methods[0]["name"] == "grad-cam"
    for command in (("models", "list"), ("methods",), ("models", "show", "mini")):
        got = ecgcam(*command)
        assert (got.code, got.err) == (0, "")
        assert tidy(got.out)
        assert ("mini" if command[0] == "models" else "grad-cam") in got.out
    assert json.loads(ecgcam("models", "show", "mini", "--json").out)["name"] == "mini"


def test_simulate_says_what_it_wrote(ecgcam: Run, here: Path) -> None:
    got = ecgcam("simulate", "af", "--seed", "3", "--out", "sim", "--json")
    assert (got.code, got.err) == (0, "")
    written = json.loads(got.out)
    assert list(written) == ["record", "twin", "truth"]
    assert {p.name for p in (here / "sim").iterdir()} == {
        "af-3.hea", "af-3.dat", "af-3.atr", "af-3-twin.hea", "af-3-twin.dat", "af-3-truth.npz",
    }  # fmt: skip
    got = ecgcam("simulate", "normal", "--out", "sim")
    assert [line.split()[0] for line in got.out.splitlines()] == ["record", "truth"]


def test_simulate_by_wall_and_its_help_names_every_finding(ecgcam: Run, here: Path) -> None:
    for wall in WALLS:
        assert ecgcam("simulate", "st-elevation", "--set", f"wall={wall}", "--out", wall).code == 0
        assert f"--set wall={wall}" in (here / wall / "st-elevation-0.hea").read_text()
    assert len({(here / wall / "st-elevation-0.dat").read_bytes() for wall in WALLS}) == len(WALLS)
    assert len({(here / wall / "st-elevation-0-twin.dat").read_bytes() for wall in WALLS}) == 1
    words = ecgcam("simulate", "--help").out
    named = re.sub(r"-\s+", "-", words).split("One of ")[1].split(".")[0]  # a name may break at its hyphen
    assert tuple(name.strip() for name in named.split(",")) == FINDINGS
    assert f"wall={'|'.join(WALLS)}" in words


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "private"),
    [
        ("ptbxl/00152_hr.dat", []),
        ("ptb/s0010_re", ["female", "1990", "Myocardial", "infero", "Diabetes", "Smoker", "Akinesia", "RIVA"]),
        ("cinc/JS00001.mat", ["Male", "164889003", "Unknown", "2021", "20:20"]),
    ],
)
def test_real_recordings(ecgcam: Run, wfdb_folder: Path, here: Path, name: str, private: list[str]) -> None:
    """Names, dates and comments of the header reach no output."""
    got = ecgcam("explain", wfdb_folder / name, *AF, *QUICK)
    assert got.code == 0
    (folder,) = (here / "ecgcam-out").glob("*/*")
    explanation = Explanation.load(folder)
    assert explanation.leads == CANONICAL_LEADS
    header = (wfdb_folder / name).with_suffix(".hea").read_text()
    written = got.out + got.err + (folder / "summary.json").read_text() + json.dumps(explanation.meta)
    for word in private:
        assert word in header
        assert word not in written
