"""Draws sentences of README, docs, help and messages for a reader to judge: `python docs/draw_sentences.py --seed 1`."""

from __future__ import annotations

import argparse
import ast
import random
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import typer

from ecgcam.cli.app import application
from ecgcam.cli.examples import EXAMPLES

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/*.md")
# A message is the first argument of one of these.
ERRORS = {"EcgcamError"}
_NOTES = {
    "warn_user",
    "log.info",
    "log.warning",
    "logger.info",
    "logger.warning",
    "logging.getLogger('ecgcam').warning",
}
# A cell or an item with fewer words is a name, not a sentence.
_LEAST = 5
# A point that ends no sentence: in "e.g." or "et al.", after an initial.
_NO_END = re.compile(r"(?:\b(?:e\.g|i\.e|al|vs|cf|Fig|No|approx)\.)$")


# Names in small letters that begin sentences.
_SMALL = r"(?:mini|ecgcam|dff|captum|torchcam|openecg|[a-z]+(?:-[a-z]+)*-cam)\b"


class Sentence(NamedTuple):
    """A sentence, and the page, command or line of code that it comes from."""

    where: str
    text: str


def split(text: str) -> Iterator[str]:
    """Yield the sentences of a paragraph; a code span is never split."""
    parts = re.split(rf"(?<=[.?!])[)\"*]*\s+(?=[\"(*`\[A-Z0-9]|{_SMALL})", re.sub(r"\s+", " ", text).strip())
    held = ""
    for part in parts:
        held = f"{held} {part}".strip()
        if not _NO_END.search(held) and held.count("`") % 2 == 0:
            yield held
            held = ""
    if held:
        yield held


def _paragraphs(text: str) -> Iterator[str]:
    """Yield paragraphs, list items and cells of tables, without code blocks, headings and pictures."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^(?:#.*|!\[.*|<.*|\|[-:| ]+)$", "", text, flags=re.MULTILINE)
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*>]|\d+\.) )|\n(?=\|)", text):
        if block.lstrip().startswith("|"):
            yield from re.split(r"(?<!\\)\|", block)
        elif not block.strip("\n").startswith("    "):
            yield re.sub(r"^\s*(?:[-*>]|\d+\.) ", "", block)


def of_pages() -> Iterator[Sentence]:
    """Yield the sentences of README and docs; the target of a link is left out."""
    for path in sorted(path for pattern in PAGES for path in ROOT.glob(pattern)):
        for paragraph in _paragraphs(path.read_text(encoding="utf-8")):
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", paragraph)
            yield from (Sentence(path.relative_to(ROOT).as_posix(), one) for one in split(plain))


def of_help() -> Iterator[Sentence]:
    """Yield the sentences of every command's `--help`."""

    def texts(command: typer.core.TyperCommand | typer.core.TyperGroup, name: str) -> Iterator[Sentence]:
        yield Sentence(f"{name} --help", command.help or "")
        for parameter in command.params:
            yield Sentence(f"{name} {parameter.opts[0]}", getattr(parameter, "help", None) or "")
        for below, one in getattr(command, "commands", {}).items():
            yield from texts(one, f"{name} {below}")

    found = [*texts(typer.main.get_command(application()), "ecgcam")]
    found += [Sentence(f"ecgcam {name} --help", one.what) for name, several in EXAMPLES.items() for one in several]
    return (Sentence(where, one) for where, text in found for one in split(text))


def _written(node: ast.AST, names: dict[str, str]) -> str:
    """Return the text of a string of code, with its fields in braces and the module's constants in their place."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_written(part, names) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        inner = ast.unparse(node.value)
        return names.get(inner, f"{{{inner}}}" if re.fullmatch(r"[\w.]+", inner) else "{...}")
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _written(node.left, names) + _written(node.right, names)
    return ""


def messages(callees: Collection[str] = ERRORS | _NOTES) -> Iterator[Sentence]:
    """Yield every message of an error or a note of the library, whole."""
    for path in sorted((ROOT / "src/ecgcam").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {
            target.id: _written(node.value, {})
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args and ast.unparse(node.func) in callees:
                text = _written(node.args[0], {name: text for name, text in names.items() if text})
                if text:
                    yield Sentence(f"{path.relative_to(ROOT).as_posix()}:{node.lineno}", text)


def all_sentences() -> list[Sentence]:
    """Return every sentence once, in a fixed order."""
    found = {one.text: one for one in (*of_pages(), *of_help(), *messages()) if len(one.text.split()) >= _LEAST}
    return [one for one in found.values() if re.search(r"[a-z]{2,} [a-z]{2,}", one.text)]


def draw(seed: int, count: int) -> list[Sentence]:
    """Return sentences drawn without replacement."""
    return random.Random(seed).sample(all_sentences(), count)  # noqa: S311 - a draw, no secret


def main(arguments: Sequence[str]) -> None:
    """Print the sentences drawn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, default=60)
    given = parser.parse_args(arguments)
    for number, one in enumerate(draw(given.seed, given.count), start=1):
        sys.stdout.write(f"{number:2d}. [{one.where}] {one.text}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
