"""Finds words of `prose.toml` in README, docs, and strings and comments of the code: `python docs/check_prose.py [FILE...]`."""

from __future__ import annotations

import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RULES = Path(__file__).with_name("prose.toml")
MARKDOWN = ("*.md", "docs/*.md")
SOURCES = ("src/**/*.py", "benchmarks/*.py", "training/*.py", "docs/*.py")


@dataclass(frozen=True)
class Rule:
    """A pattern to avoid, and what to write instead."""

    find: re.Pattern[str]
    instead: str


def read_rules(path: Path = RULES) -> list[Rule]:
    """Return the rules."""
    read = tomllib.loads(path.read_text(encoding="utf-8"))
    return [Rule(re.compile(rf"\b(?:{one['find']})\b", re.IGNORECASE), one["instead"]) for one in read["rule"]]


def _blank(match: re.Match[str]) -> str:
    """Replace a stretch by blanks, so that lines keep their numbers."""
    return re.sub(r"[^\n]", " ", match[0])


def markdown_prose(text: str) -> str:
    """Return a page with blanks in place of code blocks, code spans, link targets and quoted examples."""
    text = re.sub(r"^```.*?^```", _blank, text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^ {4}.*$", _blank, text, flags=re.MULTILINE)
    return re.sub(r"`[^`\n]*`|\]\([^)]*\)|\"[^\"\n]*\"", _blank, text)


def python_prose(text: str) -> str:
    """Return a module's comments and strings on their lines, with blanks in place of code spans and fields."""
    lines = [""] * (text.count("\n") + 2)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            for number, line in enumerate(token.string.split("\n"), start=token.start[0]):
                lines[number] += line
    return re.sub(r"`[^`\n]*`|\{[^{}\n]*\}", _blank, "\n".join(lines[1:]))


def findings(text: str, rules: Sequence[Rule]) -> Iterator[tuple[int, str, str]]:
    """Yield line number, word and advice of each match."""
    for number, line in enumerate(text.split("\n"), start=1):
        for rule in rules:
            yield from ((number, match[0], rule.instead) for match in rule.find.finditer(line))


def main(arguments: Sequence[str]) -> int:
    """Check files, all of them without arguments; return 1 if a word was found."""
    rules = read_rules()
    paths = [Path(name).resolve() for name in arguments] or sorted(
        {path for pattern in (*MARKDOWN, *SOURCES) for path in ROOT.glob(pattern)}
    )
    found = 0
    for path in paths:
        name = path.relative_to(ROOT).as_posix()
        text = path.read_text(encoding="utf-8")
        for number, word, instead in findings(
            markdown_prose(text) if path.suffix == ".md" else python_prose(text), rules
        ):
            found += 1
            sys.stdout.write(f"{name}:{number}: {word!r}; write: {instead}\n")
    sys.stdout.write(f"{len(paths)} files, {found} words to avoid\n")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
