"""`ecgcam report` and `explain --report`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Run, tree
from tests.handmade import explanation
from tests.records.by_hand import wfdb

from ecgcam.runs.writer import Outputs, write_result


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Two results of one recording, without pictures."""
    for text in ("atrial fibrillation", "normal ECG"):
        write_result(explanation(text), tmp_path / "out/rec" / text.replace(" ", "-"), Outputs(png=False))
    return tmp_path / "out"


def test_a_report_is_written_beside_the_results_and_again_the_same(ecgcam: Run, out: Path) -> None:
    got = ecgcam("report", out)
    assert (got.code, got.out, got.err) == (0, f"{out}/report.html\n", "")
    first = (out / "report.html").read_bytes()
    assert b"normal ECG" in first
    assert ecgcam("report", out).code == 0
    assert (out / "report.html").read_bytes() == first


def test_one_result_another_place_and_fewer(ecgcam: Run, out: Path, tmp_path: Path) -> None:
    file = tmp_path / "new/one.html"
    got = ecgcam("report", out, "--out", file, "--most", 1)
    assert (got.code, got.err) == (
        0,
        "note: 1 result is left out of the report; --most 2 takes all, or name the folders of some\n",
    )
    assert b"normal ECG" not in file.read_bytes()
    assert b'"leftOut":1' in file.read_bytes()
    assert ecgcam("report", out / "rec/normal-ECG/explanation.npz").code == 0
    assert (out / "rec/normal-ECG/report.html").is_file()


def test_evidence_beside_the_results_is_taken_in(ecgcam: Run, out: Path, tmp_path: Path) -> None:
    row = dict.fromkeys(("text", "method", "mask", "metric", "direction"), "normal ECG")
    numbers = {"mean": 1, "low": 0, "high": 2, "chance": None, "n": 1}
    (out / "evidence.jsonl").write_text(json.dumps(row | numbers | {"metric": "found here"}))
    (tmp_path / "evidence.json").write_text(json.dumps([row | numbers | {"metric": "named"}]))
    assert ecgcam("report", out).code == 0
    assert b"found here" in (out / "report.html").read_bytes()
    assert ecgcam("report", out, "--evidence", tmp_path / "evidence.json").code == 0
    assert b'"metric":"named"' in (out / "report.html").read_bytes()
    assert b"found here" not in (out / "report.html").read_bytes()


def test_what_is_damaged_is_told_and_the_others_are_in_it(ecgcam: Run, out: Path) -> None:
    (out / "rec/normal-ECG/explanation.npz").write_bytes(b"PK nonsense")
    got = ecgcam("report", out)
    assert got.code == 1
    assert got.err.startswith(f"ecgcam: {out}/rec/normal-ECG/explanation.npz: not an explanation of ecgcam")
    assert got.err.count("\n") == 1
    assert (out / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["empty"], "empty: holds no result"),
        (["other.npz"], "other.npz: not an explanation of ecgcam"),
        (["out", "--scale", "loud"], "--scale loud: no such choice"),
        (["out", "--evidence", "nowhere"], "nowhere: no such file or folder"),
        (["out", "--out", "empty"], "empty: is a folder"),
        (["out", "--out", "other.npz/x.html"], "other.npz/x.html: cannot be written"),
    ],
)
def test_bad_input_is_one_line(
    ecgcam: Run, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    before = tree(tmp_path)
    got = ecgcam("report", *arguments)
    assert (got.code, got.out, got.err.count("\n")) == (2, "", 1)
    assert says in got.err
    assert tree(tmp_path) == before


def test_explain_writes_one_too(ecgcam: Run, lead_v1: Path, tmp_path: Path) -> None:
    arguments = [
        "explain",
        lead_v1,
        "--fs",
        500,
        "--lead-names",
        "V1",
        "--text",
        "a",
        "--no-png",
        "--out",
        tmp_path / "out",
        "-q",
    ]
    got = ecgcam(*arguments, "--report")
    assert got.code == 0
    assert got.out.endswith(f"report in {tmp_path}/out/report.html\n")
    assert (tmp_path / "out/report.html").is_file()
    got = ecgcam(*arguments, "--report", "--json", "--force")
    assert got.out.count("\n") == 1
    got = ecgcam(*arguments, "--report", "--no-npz", "--force")
    assert (got.code, got.err.count("\n")) == (2, 1)
    assert "leave out one of the two" in got.err


def test_what_a_header_says_of_the_patient_never_reaches_it(ecgcam: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    record = wfdb(tmp_path, rng.integers(-200, 200, (1, 5000)).tolist(), ["V1"])
    header = record.with_suffix(".hea")
    lines = header.read_text().splitlines()
    lines[0] += " 12:34:56 01/02/1934"
    header.write_text("\n".join([*lines, "# Name: Zebedee Quux", "# Age: 97"]) + "\n")
    got = ecgcam("explain", header, "--text", "a", "--no-png", "--report", "--out", tmp_path / "out")
    assert got.code == 0, got.err
    page = (tmp_path / "out/report.html").read_text()
    for secret in ("Zebedee", "Quux", "1934", "12:34", '"97"', "Age"):
        assert secret not in page


def test_reporting_needs_no_torch(out: Path) -> None:
    code = (
        f"import sys; from ecgcam.cli.app import run; run(['report', {str(out)!r}]); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
