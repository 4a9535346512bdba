"""The wheel works outside the checkout: a fresh environment, another folder, one recording explained."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_the_wheel_explains_a_recording_in_a_fresh_environment(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "ecgcam/configs/models/mini.toml" in names
    assert "ecgcam/configs/boxes/two-column.toml" in names
    assert "ecgcam/models/weights/mini.npz" in names
    assert "ecgcam/py.typed" in names
    assert {f"ecgcam/render/report/{name}" for name in ("template.html", "report.css", "report.js")} <= set(names)
    assert not [name for name in names if name.startswith(("tests", "training"))]

    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin/python"
    install = [str(python), "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), str(wheel)]
    subprocess.run(install, check=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    clean = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    command = str(environment / "bin/ecgcam")
    for arguments in (
        ["simulate", "af", "--seed", "7", "--out", "in"],
        ["explain", "in/af-7.dat", "--text", "atrial fibrillation", "--out", "out"],
        ["report", "out"],
    ):
        subprocess.run([command, *arguments], check=True, cwd=elsewhere, env=clean)
    assert (elsewhere / "out/report.html").stat().st_size > 100_000
    results = elsewhere / "out/af-7/atrial-fibrillation"
    assert len(list(results.glob("lead-*.png"))) == 12
    assert (results / "page.png").stat().st_size > 10_000
    with np.load(results / "explanation.npz") as archive:
        assert archive["map"].shape == (12, 2500)
