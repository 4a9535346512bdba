"""The pages of the repository: their code blocks, commands and links."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

README = ROOT / "README.md"
CHINESE = ROOT / "README.zh.md"
PAGES = (
    README,
    CHINESE,
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language (`sh` and `python` blocks run) and its text."""

    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    found = re.findall(r"^```([\w-]*)[^\n]*\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [Block(language, text) for language, text in found]


def prose(text: str) -> str:
    """Return a Markdown text without its fenced blocks and its code spans."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`]*`", "", text)


def links(page: Path) -> list[str]:
    """Return the targets of a page's links, addresses left out."""
    found = re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text(encoding="utf-8")))
    return [target for target in found if "://" not in target]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub forms them."""
    headings = re.findall(r"^#+ +(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def command_lines(page: Path) -> list[str]:
    """Return the calls of ecgcam in a page's blocks, fenced or indented, without comments and columns of explanation."""
    text = page.read_text(encoding="utf-8")
    fenced = [block.text for block in blocks(page)]
    indented = re.findall(r"^ {4}(ecgcam .*(?:\\\n.*)*)", text, re.MULTILINE)
    lines = "\n".join([*fenced, *indented]).replace("\\\n", " ").splitlines()
    calls = (re.search(r"(?:^|[|;&] |do )(ecgcam .*)", line.strip()) for line in lines)
    return [re.split(r" {2,}| #", call[1])[0] for call in calls if call]


def words(line: str) -> list[str]:
    """Return the words of one call of ecgcam, without what follows it in its line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;<>")
    lexer.whitespace_split = True
    lexer.commenters = ""
    found: list[str] = []
    for word in lexer:
        if word and set(word) <= set("|;<>"):
            break
        found.append(word)
    return found
