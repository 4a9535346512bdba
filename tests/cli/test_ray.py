"""`--engine ray`, with real Ray on this machine: the same results, and a lost worker loses nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.test_many import SLUGS, TEXT, assert_same_results, lines, six  # noqa: F401  (a fixture)

CALL = [sys.executable, "-c", "from ecgcam.cli import main; main()", "explain"]


def call(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CALL, *map(str, arguments)], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )


def test_what_ray_cannot_do_is_one_line(tmp_path: Path, six: Path) -> None:  # noqa: F811
    hidden = "import sys; sys.modules['ray'] = None; from ecgcam.cli import main; main()"
    got = subprocess.run(
        [sys.executable, "-c", hidden, "explain", six, "--text", "af", "--engine", "ray"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert got.returncode == 2
    assert (
        got.stderr.splitlines(keepends=True)[-1]
        == "ecgcam: --engine ray: Ray is not installed; pip install 'ecgcam[ray]'\n"
    )
    got = call(tmp_path, six, "--text", "af", "--engine", "magic")
    assert (got.returncode, "--engine magic: no such choice" in got.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


def _need_ray() -> None:
    """Ray comes with `make ci`, where its absence is an error; elsewhere it may be missing."""
    if not os.environ.get("CI"):
        pytest.importorskip("ray")


def words(line: str) -> list[str]:
    """The words of a printed row; figures are compared in the results: another number of threads rounds them otherwise."""
    return re.sub(r"[+-]?\d+\.\d+", "0", line).split()


def assert_close(one: object, two: object) -> None:
    """The same JSON, numbers to 1e-5 of 1 or of their size."""
    if isinstance(one, dict) and isinstance(two, dict):
        assert one.keys() == two.keys()
        for key, value in one.items():
            assert_close(value, two[key])
    elif isinstance(one, list) and isinstance(two, list):
        assert len(one) == len(two)
        for first, second in zip(one, two, strict=True):
            assert_close(first, second)
    elif isinstance(one, float) and isinstance(two, float):
        assert one == pytest.approx(two, rel=1e-5, abs=1e-5)
    else:
        assert one == two


@pytest.mark.slow
def test_ray_gives_what_the_local_engine_gives(tmp_path: Path, six: Path) -> None:  # noqa: F811
    _need_ray()
    flags = (six, *TEXT, "--quiet")
    local = call(tmp_path, *flags, "--out", "whole")
    ray = call(tmp_path, *flags, "--out", "out", "--engine", "ray", "--jobs", 2)
    assert (local.returncode, ray.returncode) == (1, 1), ray.stderr
    assert local.stderr == ray.stderr
    assert [words(line) for line in local.stdout.splitlines()[:-1]] == [
        words(line) for line in ray.stdout.splitlines()[:-1]
    ]
    assert_same_results(tmp_path / "whole", tmp_path / "out")
    for path in (tmp_path / "whole").rglob("summary.json"):
        other = tmp_path / "out" / path.relative_to(tmp_path / "whole")
        first, second = (json.loads(file.read_text()) for file in (path, other))
        assert first.pop("out").removeprefix("whole/") == second.pop("out").removeprefix("out/")
        assert_close(first, second)


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(tmp_path: Path, six: Path) -> None:  # noqa: F811
    _need_ray()
    (tmp_path / "in").mkdir()
    for i in range(30):
        (tmp_path / f"in/s{i:02d}.npz").symlink_to(six / f"r{i % 6}.npz")
    assert call(tmp_path, "in", *TEXT, "--quiet", "--out", "whole").returncode == 0
    process = subprocess.Popen(
        [*CALL, "in", *TEXT, "--quiet", "--out", "out", "--engine", "ray", "--jobs", "2"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    killed = 0
    while process.poll() is None and not killed:
        time.sleep(0.02)
        if len(list((tmp_path / "out").glob("*/*/summary.json"))) < 3:
            continue
        for place in Path("/proc").glob("[0-9]*"):
            try:
                words, ours = (place / "cmdline").read_bytes(), (place / "cwd").readlink()
            except OSError:  # not ours, or gone
                continue
            if b"ray::RayWorker" in words and ours == tmp_path:
                os.kill(int(place.name), signal.SIGKILL)
                killed += 1
                break
    _, err = process.communicate(timeout=300)
    assert killed == 1
    assert (process.returncode, err) == (0, "")
    assert len(lines(tmp_path / "out")) == 30 * len(SLUGS)
    assert_same_results(tmp_path / "whole", tmp_path / "out")
