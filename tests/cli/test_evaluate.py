"""`ecgcam evaluate` from end to end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Run, tree

from ecgcam.cli.app import run
from ecgcam.records.simulator import simulate, write

TEXT = "atrial fibrillation"


def rows(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_table_with_the_random_map_s_column(ecgcam: Run, recordings: Path) -> None:
    done = ecgcam("evaluate", recordings / "af-7.dat", "--text", TEXT, "--what", "localisation", "--all-metrics")
    assert done.code == 0
    assert done.out.startswith("grad-cam: auc better than the random map on 1 of 1")
    heading = next(line for line in done.out.splitlines() if line.startswith("metric"))
    assert heading.split()[:3] == ["metric", "better", "chance"]
    assert "random map" in heading
    assert "grad-cam" in heading
    # The truth of atrial fibrillation is an interval in every lead: time is scored, leads are not.
    assert "time: mass" in done.out
    assert "leads: " not in done.out


def test_json_rows_are_the_contract_s_and_a_second_run_goes_on(ecgcam: Run, recordings: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    call = ("evaluate", recordings / "af-7.dat", "--text", TEXT, "--what", "faithfulness", "--out", out, "--json")
    done = ecgcam(*call)
    assert done.code == 0
    found = rows(done.out)
    assert all(
        list(row) == ["text", "method", "layer", "mask", "metric", "direction", "mean", "low", "high", "chance", "n"]
        for row in found
    )
    assert {row["method"] for row in found} == {"random map", "slope of the ECG", "grad-cam"}
    assert rows((out / "evidence.jsonl").read_text()) == found
    before = tree(out)
    for again in (call, (*call, "--resume")):
        assert rows(ecgcam(*again).out) == found
        assert tree(out) == before
    every = {row["metric"] for row in rows(ecgcam(*call, "--all-metrics").out)}
    assert every > {row["metric"] for row in found}


def test_questions_about_criteria_are_answered_by_the_maps(ecgcam: Run, recordings: Path, tmp_path: Path) -> None:
    """One question about the leads, one about the time; another recording's are passed over."""
    step = {
        "criterion": "absent P waves", "finding": True, "lead": [{"options": ["I", "II", "V1"], "answer": ["II"]}],
        "wave": [{"options": ["0.5-0.9", "2.0-2.4"], "answer": ["2.0-2.4"]}],
    }  # fmt: skip
    lines = [
        {"ecg_id": name, "dx": "atrial_fibrillation", "label": True, "steps": [step]} for name in ("af-7", "other")
    ]
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    call = ("evaluate", recordings / "af-7.dat", "--questions", file, "--out", tmp_path / "out", "--quiet")
    found = rows(ecgcam(*call, "--json").out)
    assert {(row["kind"], row["metric"], row["n"]) for row in found} == {
        ("range", "range", 1), ("lead", "lead auc", 1), ("lead", "top lead", 1),
    }  # fmt: skip
    assert {row["criterion"] for row in found} == {"all", "absent P waves"}
    assert {row["method"] for row in found} == {"random map", "slope of the ECG", "grad-cam"}
    assert rows(ecgcam(*call, "--json").out) == found  # from the journal
    printed = ecgcam(*call).out.splitlines()
    assert printed[0].split()[:3] == ["metric", "questions", "chance"]
    wrong = ecgcam(*call, "--text", TEXT)
    assert wrong.code == 2
    assert wrong.err.startswith("ecgcam: --questions and --text")
    (tmp_path / "none.jsonl").write_text(json.dumps(lines[1]) + "\n")
    none = ecgcam("evaluate", recordings / "af-7.dat", "--questions", tmp_path / "none.jsonl", "--quiet")
    assert none.code == 2
    assert "no question is about these recordings" in none.err


@pytest.mark.slow
def test_processes_find_the_same_and_the_seed_repeats(tmp_path: Path) -> None:
    for seed in range(3):
        write(simulate("pvc", seed), tmp_path)
    (tmp_path / "broken.hea").write_text("nonsense")
    stems = [*sorted(tmp_path.glob("*[0-9].dat")), tmp_path / "broken.hea"]
    call = [
        sys.executable,
        "-c",
        "from ecgcam.cli import main; main()",
        "evaluate",
        *map(str, stems),
        "--text",
        "premature beats",
        "--json",
        "--quiet",
    ]
    call += ["--what", "localisation", "--methods", "grad-cam,smooth-grad,attention-rollout", "--all-metrics"]
    one, two, other = (
        subprocess.run([*call, *more], check=False, capture_output=True, text=True)
        for more in (("--jobs", "1"), ("--jobs", "2"), ("--jobs", "2", "--seed", "1"))
    )
    assert len(rows(one.stdout)) > 20
    assert (one.returncode, one.stderr) == (two.returncode, two.stderr)
    # A process with one thread may add in another order than one with two.
    for found, wanted in zip(rows(two.stdout), rows(one.stdout), strict=True):
        assert found == {
            key: pytest.approx(value, abs=1e-5) if isinstance(value, float) else value for key, value in wanted.items()
        }
    assert one.returncode == 1
    assert "broken" in one.stderr
    assert other.stdout != one.stdout


@pytest.mark.slow
def test_memory_does_not_grow_with_the_recordings(tmp_path: Path) -> None:
    for seed in range(8):
        write(simulate("normal", seed), tmp_path)
    code = (
        "import resource, sys; from ecgcam.cli.app import run\n"
        "assert run(sys.argv[1:]) == 0\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    stems = sorted(tmp_path.glob("*.dat"))
    most = []
    for count in (1, len(stems)):
        call = ["evaluate", *map(str, stems[:count]), "--text", TEXT, "--what", "sanity", "--quiet", "--jobs", "1"]
        done = subprocess.run([sys.executable, "-c", code, *call], check=True, capture_output=True, text=True)
        most.append(int(done.stderr.split()[-1]))
    assert len(stems) == 8
    assert most[1] < 1.1 * most[0]


def test_the_truth_may_lie_in_a_folder_of_its_own(ecgcam: Run, lead_v1: Path, tmp_path: Path) -> None:
    mask = np.zeros((1, 5000), bool)
    mask[0, :1000] = True
    np.savez(tmp_path / "v1-truth.npz", mask=mask, leads=["V1"], fs=500.0)
    call = ("evaluate", lead_v1, "--text", TEXT, "--fs", 500, "--lead-names", "V1", "--what", "localisation", "--json")
    done = ecgcam(*call, "--truth", tmp_path, "--all-metrics")
    assert done.code == 0
    assert {row["metric"] for row in rows(done.out)} >= {"mass", "pointing", "auc"}
    without = ecgcam(*call)
    assert without.code == 2
    assert "no truth" in without.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--methods", "lucky-guess"), "lucky-guess"),
        (("--methods", "grad-cam,"), "an empty name"),
        (("--masks", "sand"), "--mask sand"),
        (("--what", "beauty"), "--what beauty"),
        (("--tile", "5"), "--tile 5"),
        (("--resume",), "--out"),
        (("--truth", "no-such-folder"), "no-such-folder"),
    ],
)
def test_a_wrong_call_is_one_line(ecgcam: Run, recordings: Path, arguments: tuple[str, ...], said: str) -> None:
    done = ecgcam("evaluate", recordings / "af-7.dat", "--text", TEXT, *arguments)
    assert done.code == 2
    assert not done.out
    assert len(done.err.splitlines()) == 1
    assert said in done.err


def test_a_recording_that_fails_is_told_and_the_others_are_judged(
    ecgcam: Run, recordings: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.hea").write_text("nonsense")
    done = ecgcam(
        "evaluate", tmp_path / "broken.hea", recordings / "af-7.dat", "--text", TEXT, "--what", "localisation", "--json"
    )
    assert done.code == 1
    assert "broken" in done.err
    assert rows(done.out)


def test_outputs_of_a_network_are_judged_like_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    code = """
import torch
from ecgcam.protocol.spec import InputSpec, LayerSpec


def load():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv1d(12, 8, 15, 10, 7), torch.nn.ReLU(), torch.nn.Conv1d(8, 2, 1))
    network.labels, network.input, network.layers = ["P", "QRS"], InputSpec(fs=250), {"1": LayerSpec("BCT", 10, 0)}
    return network
"""
    (tmp_path / "outputs_of_mine.py").write_text(code, encoding="utf-8")
    write(simulate("pvc", 3), tmp_path)
    call = ["evaluate", "pvc-3.dat", "--model", "outputs_of_mine:load", "--what", "faithfulness", "--json"]
    assert run([*call, "--target", "QRS@1-3"]) == 0, capsys.readouterr().err
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["text"] for row in rows} == {"QRS@1-3"}
    assert {row["method"] for row in rows} >= {"grad-cam"}
    assert run([*call, "--target", "QRS", "--text", "x"]) == 2
    assert "--text and --target" in capsys.readouterr().err


def test_marks_of_an_annotation_file_are_a_truth(ecgcam: Run, tmp_path: Path) -> None:
    write(simulate("pvc", 3), tmp_path)
    call = (
        "evaluate",
        tmp_path / "pvc-3.dat",
        "--text",
        "premature ventricular complexes",
        "--what",
        "localisation",
        "--json",
    )
    by = {(row["method"], row["metric"]): row for row in rows(ecgcam(*call, "--annotations", "atr:V").out)}
    assert by["grad-cam", "auc"]["mean"] > 0.7 > by["random map", "auc"]["mean"]
    assert ("grad-cam", "leads: mass") not in by  # a mark of the whole heart is in every lead
    missing = ecgcam(*call, "--annotations", "qrs:V")
    assert missing.code == 2
    assert "pvc-3.qrs" in missing.err
    both = ecgcam(*call, "--annotations", "atr:V", "--truth", tmp_path)
    assert both.code == 2
    assert "--annotations" in both.err
