"""What only a process of its own can show: imports, exit codes, streams that are terminals, full, or gone."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ECGCAM = [sys.executable, "-c", "from ecgcam.cli import main; main()"]
ARRAY = ("--fs", "500", "--lead-names", "V1", "--no-png", "--no-gradient")


# The command line in a process where torch cannot be imported.
WITHOUT_TORCH = """
import sys
class Refuse:
    def find_spec(self, name, *_):
        if name == "torch":
            raise ImportError("torch was imported")
sys.meta_path.insert(0, Refuse())
from ecgcam.cli import main
main()
"""


def call(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run([*ECGCAM, *map(str, arguments)], text=True, check=False, timeout=120, **streams)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"], ["--version"], ["explain", "--help"], ["models", "list"], ["models", "show", "mini"], ["methods"],
        ["simulate", "--help"], ["explain", "no.dat", "--text", "af"], ["explain", "RECORD", "--text", "af", "--mask", "magic"],
        ["explain", "RECORD", "--text", "af", "--out", "/proc/ecgcam"],
        ["simulate", "af", "--out", "OUT"],
    ],
)  # fmt: skip
def test_torch_is_not_imported(arguments: list[str], recordings: Path, tmp_path: Path) -> None:
    places = {"RECORD": recordings / "af-7.dat", "OUT": tmp_path}
    words = [str(places.get(word, word)) for word in arguments]
    got = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert "Traceback" not in got.stderr
    wrong = arguments[0] == "explain" and arguments[1] != "--help"
    assert got.returncode == (2 if wrong else 0), got.stderr
    assert bool(got.stdout) != wrong


def test_the_guard_against_torch_works(recordings: Path, tmp_path: Path) -> None:
    words = ["explain", str(recordings / "af-7.dat"), "--text", "af", "--out", str(tmp_path)]
    got = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert "torch was imported" in got.stderr


def test_the_installed_command_is_this_one(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("ecgcam")
    got = subprocess.run([str(command), "--version"], capture_output=True, text=True, check=True)
    assert got.stdout.startswith("ecgcam ")
    got = subprocess.run([str(command), "nothing"], capture_output=True, text=True, check=False)
    assert (got.returncode, got.stdout) == (2, "")
    assert got.stderr == "ecgcam: No such command 'nothing' (see ecgcam --help)\n"


@pytest.mark.parametrize("arguments", [["models", "list"], ["methods", "--json"], ["--help"]])
def test_a_reader_that_left_is_no_error(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    got = call(*arguments, stdout=writer)
    os.close(writer)
    assert (got.returncode, got.stderr) == (0, "")


def test_results_are_written_though_the_reader_of_the_lines_left(lead_v1: Path, tmp_path: Path) -> None:
    """As in `ecgcam explain ... --json | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    prompts = ("--text", "af", "--text", "lbbb")
    got = call("explain", lead_v1, *prompts, *ARRAY, "--json", "--out", tmp_path / "out", stdout=writer)
    os.close(writer)
    assert (got.returncode, got.stderr) == (0, "")
    assert {p.name for p in (tmp_path / "out/v1").iterdir()} == {"af", "lbbb"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
@pytest.mark.parametrize("arguments", [["models", "list"], ["--help"]])
def test_a_full_disk_behind_stdout_is_one_line(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        got = call(*arguments, stdout=full)
    assert got.returncode == 1
    assert got.stderr == "ecgcam: standard output cannot be written (No space left on device)\n"


def test_closed_streams_are_no_error() -> None:
    got = subprocess.run(
        ["sh", "-c", '"$0" -c "from ecgcam.cli import main; main()" models list >&- 2>&-', sys.executable], check=False
    )
    assert got.returncode == 0


def test_a_list_on_a_closed_standard_input_is_one_line(tmp_path: Path) -> None:
    command = '"$0" -c "from ecgcam.cli import main; main()" explain - --text af <&-'
    got = subprocess.run(
        ["sh", "-c", command, sys.executable], check=False, capture_output=True, text=True, cwd=tmp_path
    )
    assert (got.returncode, got.stdout) == (2, "")
    assert got.stderr.startswith("ecgcam: no recording named")
    assert got.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_text_that_stdout_cannot_hold_is_escaped() -> None:
    """As under LANG=C with UTF-8 mode off: results must not end in a traceback."""
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    got = call("explain", "没有.npy", "--text", "af", env=environment)
    assert got.returncode == 2
    assert got.stderr == "ecgcam: \\u6ca1\\u6709.npy: no such recording; check the path\n"
    got = call("methods", "--json", env=environment)
    assert got.stdout.isascii()
    assert json.loads(got.stdout) == json.loads(call("methods", "--json").stdout)


def on_terminal(*arguments: object, env: dict[str, str] | None = None) -> tuple[subprocess.CompletedProcess[str], str]:
    """Call with a terminal for stderr and a pipe for stdout; return what the terminal saw, too."""
    master, slave = pty.openpty()
    got = call(*arguments, stderr=slave, env=os.environ | {"TERM": "xterm-256color"} if env is None else env)
    os.close(slave)
    seen = b""
    try:
        while part := os.read(master, 65536):
            seen += part
    except OSError:  # how Linux tells that the other side of a terminal is closed
        pass
    os.close(master)
    return got, seen.decode()


@pytest.mark.parametrize("no_color", [False, True])
def test_progress_is_for_terminals_and_never_on_stdout(lead_v1: Path, tmp_path: Path, no_color: bool) -> None:
    """Stderr is a terminal, stdout a pipe: the bar goes to the one, the lines to the other. NO_COLOR leaves no colour."""
    environment = os.environ | {"TERM": "xterm-256color"} | ({"NO_COLOR": "1"} if no_color else {})
    environment = {key: value for key, value in environment.items() if no_color or key != "NO_COLOR"}
    prompts = ("--text", "af", "--text", "lbbb")
    got, text = on_terminal("explain", lead_v1, *prompts, *ARRAY, "--json", "--out", tmp_path / "out", env=environment)
    assert got.returncode == 0
    assert [json.loads(line)["text"] for line in got.stdout.splitlines()] == ["af", "lbbb"]
    assert "explaining" in text
    assert '"record"' not in text
    coloured = any(f"\x1b[{code}" in text for code in ("3", "9", "38"))
    assert coloured != no_color


def test_a_long_method_tells_how_far_it_is_and_a_short_one_shows_no_bar(lead_v1: Path, tmp_path: Path) -> None:
    """One recording, one prompt: occlusion runs a hundred signals for 10 s in strides of 100 ms."""
    one = ("explain", lead_v1, "--text", "af", *ARRAY, "--json", "--no-png", "--force", "--out", tmp_path / "out")
    long = ("--method", "occlusion", "--set", "window_ms=100", "--set", "stride_ms=100")
    got, text = on_terminal(*one, *long)
    assert got.returncode == 0
    assert len(got.stdout.splitlines()) == 1
    assert "explaining" in text
    assert "/100" in text
    _, text = on_terminal(*one)
    assert "explaining" not in text
    _, text = on_terminal(*one, *long, "--quiet")
    assert text == ""
    assert call(*one, *long).stderr.count("explaining") == 0


def test_prompts_from_a_pipe_are_waited_for_with_a_word(lead_v1: Path, tmp_path: Path) -> None:
    """As in a shell's ``--text-file <(command)``: read to its end; where nobody writes, it says what it waits for."""
    pipe = tmp_path / "prompts"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [*ECGCAM, "explain", str(lead_v1), "--text-file", str(pipe), *ARRAY, "--json"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline() == f"note: {pipe}: waiting for prompts, one per line, until its end\n"
    pipe.write_text("af\nlbbb\n")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert [json.loads(line)["text"] for line in out.splitlines()] == ["af", "lbbb"]


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="/dev/zero is of Unix")
def test_a_list_of_prompts_without_an_end_is_one_line(lead_v1: Path, tmp_path: Path) -> None:
    got = call("explain", lead_v1, "--text-file", "/dev/zero", *ARRAY, cwd=tmp_path)
    assert (got.returncode, got.stdout) == (2, "")
    assert got.stderr == "ecgcam: /dev/zero: holds more than 64 MB; --text-file takes one prompt per line\n"


def test_a_device_is_not_replaced_by_a_result(tmp_path: Path) -> None:
    """As a superuser one could put a file in the place of /dev/null."""
    (tmp_path / "prompts.txt").write_text("af\n")
    os.mkfifo(tmp_path / "pipe.npz")
    got = call("embed", "--text-file", "prompts.txt", "--out", "pipe.npz", cwd=tmp_path)
    assert (got.returncode, got.stdout) == (2, "")
    assert got.stderr == "ecgcam: pipe.npz: cannot be written (it is a pipe or a device); choose another with --out\n"
    assert (tmp_path / "pipe.npz").is_fifo()


def test_python_m_is_the_command() -> None:
    got = subprocess.run(
        [sys.executable, "-m", "ecgcam", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert got.stdout.startswith("ecgcam ")


def test_a_notebook_s_backend_and_a_matplotlibrc_are_not_heeded(tmp_path: Path) -> None:
    from tests.handmade import explanation

    explanation().save(tmp_path)
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\naxes.facecolor: red\n")
    options = {"cwd": tmp_path, "env": {**os.environ, "MPLBACKEND": "nonsense"}}
    got = call("draw", "explanation.npz", "--out", "drawn", **options)
    assert (got.returncode, got.stderr) == (0, "")
    assert list((tmp_path / "drawn").rglob("page.png"))


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    command = (
        f"cd {tmp_path}; rmdir {tmp_path}; exec {sys.executable} -c 'from ecgcam.cli import main; main()' score x.dat"
    )
    got = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert (got.returncode, got.stderr) == (
        2,
        "ecgcam: the current folder no longer exists; change to another with cd\n",
    )
