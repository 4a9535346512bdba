"""`ecgcam measure` as a command."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ecgcam.cli.app import run
from ecgcam.records.simulator import simulate, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("measured")
    for finding in ("lbbb", "normal"):
        write(simulate(finding, 1), place)
    return place


def test_a_table_for_the_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["measure", str(folder / "lbbb-1.dat")]) == 0
    out = capsys.readouterr().out
    assert "beats" in out
    assert "QRS" in out
    assert "aVR" in out


def test_json_has_the_contract_and_criteria_of_a_finding(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["measure", str(folder / "lbbb-1.dat"), "--json", "--criteria", "left bundle branch block"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["record"] == "lbbb-1"
    assert row["qrs_ms"] >= 120
    assert {name.partition("/")[0] for name in row["criteria"]} == {"lbbb"}


def test_a_unit_and_a_member_of_a_container(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    signals = np.stack([simulate(finding, 1).signal for finding in ("lbbb", "normal")])
    np.save(tmp_path / "both.npy", 1000 * signals)
    given = ["--fs", "500", "--lead-names", "I,II,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6", "--unit", "uV", "--json"]
    assert run(["measure", f"{tmp_path / 'both.npy'}#1", *given]) == 0
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert row["record"] == "both-1"
    assert 0.3 < row["leads"]["II"]["r_mv"] < 3
    assert row["qrs_ms"] < 120


def test_csv_over_a_folder_has_a_row_for_each_recording(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["measure", str(folder), "--csv", "--quiet"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["record"] for row in rows] == ["lbbb-1", "lbbb-1-twin", "normal-1"]
    assert rows[0]["lbbb/qrs-duration"] == "1"
    assert rows[2]["lbbb/qrs-duration"] == "0"
    assert float(rows[0]["V1_s_mv"]) < 0


def test_helper_processes_give_the_same_in_the_same_order(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for number in range(16):
        for ending in ("hea", "dat"):
            text = (folder / f"normal-1.{ending}").read_bytes()
            (tmp_path / f"r{number:02d}.{ending}").write_bytes(text.replace(b"normal-1", f"r{number:02d}".encode()))
    assert run(["measure", str(tmp_path), "--json", "--quiet", "--jobs", "1"]) == 0
    alone = capsys.readouterr().out
    assert run(["measure", str(tmp_path), "--json", "--quiet", "--jobs", "2"]) == 0
    assert capsys.readouterr().out == alone


def test_mistakes_are_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = str(folder / "lbbb-1.dat")
    for arguments in (
        [record, "--csv", "--json"], [record, "--criteria", "lbbbb"], [record, "--seconds", "0"], [record, "--start", "99"],
        [str(folder / "none.dat")],
    ):  # fmt: skip
        assert run(["measure", *arguments]) == 2
        error = capsys.readouterr().err
        assert error.startswith("ecgcam: ")
        assert error.count("\n") == 1


def test_what_cannot_be_read_does_not_stop_the_others(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"no archive")
    assert run(["measure", str(broken), str(folder / "normal-1.dat"), "--json"]) == 1
    got = capsys.readouterr()
    assert json.loads(got.out)["record"] == "normal-1"
    assert "broken" in got.err


def test_no_torch_is_imported(folder: Path) -> None:
    code = f"import sys, ecgcam; ecgcam.measure({str(folder / 'normal-1.dat')!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
