"""`ecgcam explain --criteria`, and the rate at which its pictures and measurements are made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from ecgcam.records.simulator import simulate, write


@pytest.mark.slow
def test_explain_measures_what_measure_does(ecgcam: Run, tmp_path: Path) -> None:
    """At the recording's own rate: the model's 250 Hz blurs pacing spikes."""
    write(simulate("paced", 3), tmp_path)
    path = tmp_path / "paced-3.dat"
    measured = json.loads(ecgcam("measure", path, "--json", "--criteria", "paced").out)["criteria"]
    found = ecgcam(
        "explain",
        path,
        "--text",
        "paced rhythm",
        "--criteria",
        "--no-png",
        "--no-check",
        "--out",
        tmp_path / "out",
        "--json",
    )
    row = json.loads(found.out.splitlines()[0])
    explained = {each["name"]: each for each in row["criteria"]}
    assert set(explained) == set(measured)
    for name, each in measured.items():
        assert {key: explained[name][key] for key in ("holds", "value", "unit", "leads")} == {
            key: each[key] for key in ("holds", "value", "unit", "leads")
        }
    assert explained["paced/spikes"]["text"] == "two pacing spikes at least"
    assert explained["paced/spikes"]["holds"] is True


def test_another_name_of_a_finding_has_its_criteria(ecgcam: Run, tmp_path: Path) -> None:
    write(simulate("af", 3), tmp_path)
    given = ["--text", "AFib", "--text", "heart", "--criteria", "--no-png", "--no-check", "--no-npz", "--json"]
    found = ecgcam("explain", tmp_path / "af-3.dat", *given, "--out", tmp_path / "out")
    known, unknown = (json.loads(line)["criteria"] for line in found.out.splitlines())
    assert {row["name"] for row in known} == {"af/no-p", "af/irregular"}
    assert unknown == []


def test_pictures_draw_the_recording_at_its_own_rate(ecgcam: Run, lead_v1: Path, tmp_path: Path) -> None:
    given = ["--fs", "500", "--lead-names", "V1", "--text", "atrial fibrillation", "--no-check", "--format", "svg"]
    assert ecgcam("explain", lead_v1, *given, "--out", tmp_path / "out").code == 0
    folder = tmp_path / "out/v1/atrial-fibrillation"
    for name in ("page.svg", "lead-V1.svg"):
        assert "500 Hz" in (folder / name).read_text(encoding="utf-8"), name
    assert ecgcam("draw", folder, "--format", "svg").code == 0  # the arrays hold what the model saw
    assert "the model's 250 Hz" in (folder / "page.svg").read_text(encoding="utf-8")
    # Pictures of another width are drawn from the arrays and the recording, without the model.
    assert ecgcam("explain", lead_v1, *given, "--width-mm", "180", "--out", tmp_path / "out").code == 0
    assert "the recording's 500 Hz" in (folder / "page.svg").read_text(encoding="utf-8")
