"""A disk that is full, for real: a small one is mounted where root may mount, else files may not grow (`RLIMIT_FSIZE`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import tree
from tests.cli.test_process import call
from tests.conftest import ROOT
from tests.handmade import explanation

from ecgcam.errors import EcgcamError
from ecgcam.files import pack_members
from ecgcam.runs.packs import Packs
from ecgcam.runs.writer import Outputs, write_result

FAST = ("--no-png", "--no-gradient", "--jobs", "1", "--quiet")


def mounted(folder: Path, options: str) -> bool:
    """Mount a disk of memory; False where that is not allowed."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return (
        sys.platform == "linux"
        and os.geteuid() == 0
        and not subprocess.run(command, check=False, capture_output=True).returncode
    )


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB, of which `fill` leaves so much as a test wants."""
    folder = tmp_path / "disk"
    if not mounted(folder, "size=2m"):
        pytest.skip("only root may mount a small disk; test_every_write_may_fail needs none")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, leave: int) -> None:
    """Leave so many bytes on a disk."""
    status = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(max(0, status.f_bavail * status.f_frsize - leave)))


def results(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != "filler")


@pytest.mark.slow
def test_results_that_find_no_room_leave_nothing(disk: Path, recordings: Path) -> None:
    fill(disk, 40_000)
    before = tree(disk)
    got = call("explain", recordings, "--text", "af", *FAST, "--out", disk / "out")
    lines = got.stderr.splitlines()
    assert (got.returncode, got.stdout) == (2, "")
    assert len(lines) == 3
    assert all(
        "cannot be written (No space left on device); nothing of it was kept; choose another --out" in line
        for line in lines
    )
    assert tree(disk) == before


@pytest.mark.slow
def test_what_found_room_is_whole_and_the_rest_is_resumed(disk: Path, recordings: Path) -> None:
    """Two results fill the disk; when there is room again, only the third is made."""
    one = call("explain", recordings / "af-7.dat", "--text", "af", *FAST, "--out", disk / "out")
    assert one.returncode == 0, one.stderr
    size = sum(path.stat().st_size for path in disk.rglob("*") if path.is_file())
    fill(disk, round(1.5 * size))
    got = call("explain", recordings, "--text", "af", *FAST, "--out", disk / "out", "--resume")
    assert got.returncode == 1, got.stderr
    done = list((disk / "out").rglob("summary.json"))
    assert 1 < len(done) < 3
    for summary in done:
        assert json.loads(summary.read_text())["settings"]["method"] == "grad-cam"
        assert summary.with_name("explanation.npz").is_file()
    assert not list(disk.rglob(".*"))
    (disk / "filler").unlink()
    fill(disk, 3 * size)
    again = call("explain", recordings, "--text", "af", *FAST, "--out", disk / "out", "--resume")
    assert (again.returncode, again.stderr) == (0, "")
    assert len(list((disk / "out").rglob("summary.json"))) == 3


def test_a_pack_ends_after_its_last_whole_result(disk: Path) -> None:
    files = {"page.png": bytes(60_000), "summary.json": b"{}"}
    packs = Packs(disk / "out", 10)
    packs.add("one/af", files)
    fill(disk, 30_000)
    size = (disk / "out/pack-00000.tar").stat().st_size
    for _ in range(2):
        with pytest.raises(EcgcamError, match=r"pack-00000.tar: cannot be written \(No space left on device\)"):
            packs.add("two/af", files)
        assert (disk / "out/pack-00000.tar").stat().st_size == size
    (disk / "filler").unlink()
    packs.add("two/af", files)
    assert [name for name in pack_members(disk / "out/pack-00000.tar") if name.endswith("json")] == [
        "one/af/summary.json", "two/af/summary.json",
    ]  # fmt: skip


@pytest.mark.slow
def test_every_command_that_writes_says_so_and_leaves_nothing(disk: Path, recordings: Path, tmp_path: Path) -> None:
    from PIL import Image

    write_result(explanation(), tmp_path / "result/rec/af", Outputs(png=False))
    (tmp_path / "prompts.txt").write_text("af\n")
    Image.new("RGB", (300, 200)).save(tmp_path / "scan.png")
    fill(disk, 0)
    before = tree(disk)
    here, there = tmp_path / "result", disk / "new/folder"
    commands: dict[str, list[object]] = {
        "explain": [recordings / "af-7.dat", "--text", "af", *FAST, "--out", there],
        "explain --pack 5": [recordings / "af-7.dat", "--text", "af", *FAST, "--pack", "5", "--out", there],
        "embed": ["--text-file", tmp_path / "prompts.txt", "--out", there / "table.npz"],
        "evaluate": [recordings / "af-7.dat", "--text", "af", "--what", "localisation", "--out", there],
        "draw": [here, "--out", there],
        "report": [here, "--out", there / "report.html"],
        "overlay": [tmp_path / "scan.png", here / "rec/af", "--out", there / "page.png"],
        "summarize": [here, "--out", there],
        "simulate": ["af", "--out", there],
    }
    for command, arguments in commands.items():
        got = call(*command.split()[:1], *arguments)
        errors = [line for line in got.stderr.splitlines() if line.startswith("ecgcam: ")]
        assert (got.returncode, got.stdout, len(errors)) == (2, "", 1), (command, got)
        assert str(disk) in errors[0], command
        assert "No space left on device" in errors[0], command
        assert tree(disk) == before, command


@pytest.mark.slow
@pytest.mark.parametrize("options", ["ro", "size=16k,nr_inodes=1"])
def test_a_disk_that_takes_no_file(tmp_path: Path, recordings: Path, options: str) -> None:
    """Read-only, which holds for root too; or without room for another name."""
    folder = tmp_path / "disk"
    if not mounted(folder, options):
        pytest.skip("only root may mount a disk")
    try:
        for arguments in (["explain", recordings / "af-7.dat", "--text", "af"], ["simulate", "af"]):
            got = call(*arguments, "--out", folder / "out")
            assert (got.returncode, got.stdout) == (2, "")
            assert got.stderr.count("\n") == 1
            assert f"{folder / 'out'}: cannot write here (" in got.stderr
            assert "choose another folder with --out" in got.stderr
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


WRITE = """
import resource, sys, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tests.handmade import explanation
from ecgcam.errors import EcgcamError
from ecgcam.runs.writer import Outputs, write_result
for again in range(2):
    try:
        write_result(explanation(), Path(sys.argv[2]), Outputs(png=False))
    except EcgcamError as error:
        print(error)
"""


@pytest.mark.parametrize("most", [0, 1, 100, 1000])
def test_every_write_may_fail(tmp_path: Path, most: int) -> None:
    """Files that may not grow beyond so many bytes: no root needed."""
    got = subprocess.run(
        [sys.executable, "-c", WRITE, str(most), str(tmp_path / "out/rec/af"), str(ROOT)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert got.stderr == ""
    assert got.stdout.count("cannot be written (File too large); nothing of it was kept; choose another `out`\n") == 2
    assert tree(tmp_path) == {}
