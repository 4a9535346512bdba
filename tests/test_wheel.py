"""The wheel works outside the checkout: a fresh environment, another folder, one recording explained."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
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
    assert {
        f"ecgcam/render/report/{name}"
        for name in ("template.html", "report.css", "logic.js", "elements.js", "report.js")
    } <= set(names)
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


@pytest.mark.slow
def test_the_sdist_builds_the_same_wheel_and_holds_no_recordings(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--outdir"]
    subprocess.run([*build, str(tmp_path / "direct"), "--wheel", str(ROOT)], check=True)
    subprocess.run([*build, str(tmp_path / "source"), "--sdist", str(ROOT)], check=True)
    (sdist,) = (tmp_path / "source").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    # What is there is what is under version control: nothing that a test, a run or a download left behind.
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split(
        "\n"
    )
    held = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert held - {"PKG-INFO"} <= set(listed)
    assert {"SECURITY.md", "constraints-min.txt", "tests/fuzz/harness.py", "configs/models/mini.toml"} <= held
    assert not [
        name for name in held if name.endswith((".hea", ".dat", ".edf", ".bdf", ".dcm", ".mat", ".xml", ".atr"))
    ]
    subprocess.run([*build, str(tmp_path / "indirect"), "--wheel", str(unpacked)], check=True)
    direct, indirect = (
        {part.filename: part.CRC for part in zipfile.ZipFile(next((tmp_path / way).glob("*.whl"))).infolist()}
        for way in ("direct", "indirect")
    )
    assert direct == indirect
