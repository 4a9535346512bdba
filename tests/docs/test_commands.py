"""The commands of README and docs: they exist, and those in `sh` and `python` blocks run in order in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from ecgcam.cli.app import application
from tests.conftest import ROOT
from tests.docs.pages import CHINESE, PAGES, README, anchors, blocks, command_lines, links, prose, words

BY_NAME = {page.relative_to(ROOT).as_posix(): page for page in PAGES}
RUN = [page for page in PAGES if page != CHINESE and any(block.language == "sh" for block in blocks(page))]


@pytest.fixture(scope="module")
def commands() -> dict[str, Any]:
    """Every command and subcommand by name."""
    root = typer.main.get_command(application())
    found: dict[str, Any] = {}
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        found[name] = command
        found |= {f"{name} {sub}": below for sub, below in getattr(command, "commands", {}).items()}
    return found


def wrong(call: list[str], commands: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a call: a command or an option that does not exist."""
    rest = call[1:]
    if not rest or rest[0].startswith("-"):
        return
    name = " ".join(rest[:2]) if " ".join(rest[:2]) in commands else rest[0]
    if name not in commands and not rest[0].isupper():
        yield f"no command {name}"
        return
    if name in commands:
        known = {option for one in commands[name].params for option in (*one.opts, *one.secondary_opts)} | {
            "-h",
            "--help",
        }
        # A page may write alternatives and optional parts: [--out DIR], --text TEXT|--target INDEX.
        written = re.findall(
            r"(?<![\w-])--?[a-z][\w-]*", " ".join(word for word in rest if word[0] in "[-" or "|--" in word)
        )
        yield from (f"{name} {option}" for option in written if option not in known)


def test_a_wrong_command_and_a_wrong_option_are_found(commands: dict[str, Any]) -> None:
    assert list(wrong(words("ecgcam explane a.dat"), commands)) == ["no command explane"]
    assert list(wrong(words("ecgcam explain a.dat --txt af | tee --output"), commands)) == ["explain --txt"]
    assert list(wrong(words("ecgcam models show mini --layers [--jsn]"), commands)) == ["models show --jsn"]
    assert not list(wrong(words('ecgcam explain a.dat --text "no --flag" --out=x'), commands))


@pytest.mark.parametrize("name", BY_NAME)
def test_commands_of_a_page_exist(name: str, commands: dict[str, Any]) -> None:
    assert not [problem for line in command_lines(BY_NAME[name]) for problem in wrong(words(line), commands)]


@pytest.mark.parametrize("name", BY_NAME)
def test_links_of_a_page_lead_somewhere(name: str) -> None:
    page = BY_NAME[name]
    for target in links(page):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), target


@pytest.mark.parametrize("name", [name for name in BY_NAME if name != "CHANGELOG.md"])
def test_make_targets_and_extras_of_a_page_exist(name: str) -> None:
    text = BY_NAME[name].read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make ([\w-]+)|^ *make ([a-z][\w-]+)", text, re.MULTILINE)) <= {
        pair for target in targets for pair in ((target, ""), ("", target))
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {one for some in re.findall(r"ecgcam\[([\w,]+)\]", text) for one in some.split(",")}
    assert named <= project["optional-dependencies"].keys()


def test_the_readme_is_short_and_names_the_test_command() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(prose(text).split()) < 850
    assert "make test" in text
    before = text.partition("```sh")[0]
    assert len(prose(before).split()) < 300, "words before the first picture"


def test_the_chinese_readme_has_the_same_blocks_and_links() -> None:
    assert blocks(CHINESE) == blocks(README)
    assert set(links(README)) - {"README.zh.md"} == set(links(CHINESE)) - {"README.md"}
    sections = [re.findall(r"^#+ ", page.read_text(encoding="utf-8"), re.MULTILINE) for page in (README, CHINESE)]
    assert sections[0] == sections[1]


def close(shown: str, printed: str) -> bool:
    """Whether two lines agree: the same words, numbers within 0.02 (another processor, another rounding)."""
    pairs = list(zip(shown.split(), printed.split(), strict=False))
    return len(shown.split()) == len(printed.split()) and all(
        a == b
        or (
            re.fullmatch(r"[+-]?\d+\.\d+", a) and re.fullmatch(r"[+-]?\d+\.\d+", b) and abs(float(a) - float(b)) <= 0.02
        )
        for a, b in pairs
    )


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_the_commands_of_a_page_run_in_order_in_an_empty_folder(page: Path, tmp_path: Path) -> None:
    """Each `sh` block runs in a shell, each `python` block after one in Python; an `output` block is lines of the last output."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    printed: list[str] = []
    ran = False
    for block in blocks(page):
        if block.language in {"sh", "python"} and (ran or block.language == "sh"):
            call = ["bash", "-e", "-c"] if block.language == "sh" else [sys.executable, "-c"]
            done = subprocess.run(
                [*call, block.text], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
            printed, ran = done.stdout.splitlines(), True
        elif block.language == "output":
            assert printed
            for line in block.text.splitlines():
                assert any(close(line, other) for other in printed), line


@pytest.mark.slow
def test_the_recipe_for_ci_fails_when_a_recording_fails(tmp_path: Path) -> None:
    (recipe,) = (block.text for block in blocks(ROOT / "docs/how-to.md") if "| tee" in block.text)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", recipe], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "demo/af-7" in done.stderr
