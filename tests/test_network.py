"""Nothing is asked of the network at run time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Python tells an audit hook of every address that is looked up or connected to; a process cannot take the hook off again.
GUARD = """
import socket, sys
def guard(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request"}:
        if event != "socket.connect" or arguments[0].family != socket.AF_UNIX:
            sys.stderr.write(f"NETWORK {event} {arguments[1:]}\\n")
            raise OSError("the network was asked")
sys.addaudithook(guard)
from ecgcam.cli.app import run
"""


def guarded(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GUARD + code], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_guard_sees_a_connection(tmp_path: Path) -> None:
    got = guarded("import urllib.request as u; u.urlopen('http://127.0.0.1:9/')", tmp_path)
    assert got.returncode != 0
    assert "NETWORK" in got.stderr


@pytest.mark.slow
def test_every_way_through_the_bundled_model_stays_at_home(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("af\n")
    code = """
calls = [
    ["simulate", "af", "--seed", "7", "--out", "d"],
    ["models", "list"],
    ["methods"],
    ["explain", "d/af-7.dat", "--text", "af", "--out", "out", "--report"],
    ["score", "d/af-7.dat"],
    ["draw", "out/af-7/af/explanation.npz"],
    ["summarize", "out"],
    ["report", "out", "--out", "again.html"],
    ["evaluate", "d/af-7.dat", "--text", "af"],
    ["models", "show", "mini"],
    ["embed", "--text-file", "prompts.txt", "--out", "prompts.npz"],
    ["explain", "d/af-7.dat", "--embeddings", "prompts.npz", "--text", "af", "--out", "other", "--offline", "--no-png"],
]
for call in calls:
    assert run(call) == 0, call
"""
    got = guarded(code, tmp_path)
    assert got.returncode == 0, got.stderr
    assert "NETWORK" not in got.stderr


TOWER = """
from ecgcam.errors import EcgcamError
from ecgcam.protocol.spec import TowerSpec
from ecgcam.models.text.published import TOWERS
try:
    TOWERS["bert"]("nobody/nothing", TowerSpec(), None, OFFLINE)
except EcgcamError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("offline", [True, False])
def test_offline_forbids_the_one_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: bool) -> None:
    """A published text tower that is not on the disk; without the flag the network is asked, or this could not fail."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    got = guarded(TOWER.replace("OFFLINE", str(offline)), tmp_path)
    assert got.returncode == 0, got.stderr
    assert ("NETWORK" in got.stderr) is not offline
    assert got.stdout.count("\n") == 1
    assert "nobody/nothing" in got.stdout
    assert ("`offline` forbids a download" in got.stdout) is offline


def test_the_help_says_which_option_runs_code() -> None:
    got = guarded("run(['explain', '--help'])", Path.cwd())
    words = " ".join(got.stdout.split())
    assert "package.module:function" in words
    assert "it runs" in words[words.index("package.module:function") :][:600]
