"""The check of words: what it finds, and what it passes over."""

from __future__ import annotations

import re
from types import ModuleType

import pytest

from tests.conftest import ROOT
from tests.docs.scripts import script


@pytest.fixture(scope="module")
def check() -> ModuleType:
    """docs/check_prose.py, which is not part of a package."""
    return script("check_prose")


def found(check: ModuleType, text: str) -> list[tuple[int, str]]:
    rules = check.read_rules()
    return [(line, word) for line, word, _ in check.findings(text, rules)]


def test_prose_of_a_page_is_checked_and_code_is_not(check: ModuleType) -> None:
    page = (
        "The page says so.\n\n"
        "```sh\nsays\n```\n\n"
        "    says\n\n"
        'Not `says`, not [a link](docs/says.md), not "says".\n'
        "It lies Beside the file.\n"
    )
    assert found(check, check.markdown_prose(page)) == [(1, "says"), (10, "Beside")]


def test_strings_and_comments_of_a_module_are_checked_and_names_are_not(check: ModuleType) -> None:
    module = '"""It tells.\n\nAnd `tells`."""\nbeside = 1  # likewise\nsaid = f"{said} and {beside}: anew"\n'
    assert found(check, check.python_prose(module)) == [(1, "tells"), (4, "likewise"), (5, "anew")]


@pytest.mark.parametrize("word", ["sayings", "besieged", "knowledge", "dearth", "task", "retell"])
def test_parts_of_other_words_are_no_finding(check: ModuleType, word: str) -> None:
    assert not found(check, f"a {word} here")


def test_every_rule_has_advice(check: ModuleType) -> None:
    rules = check.read_rules()
    assert len(rules) > 10
    assert not [rule for rule in rules if not re.fullmatch(r".{4,}", rule.instead)]


def test_it_fails_on_a_file_with_such_a_word(check: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    page = ROOT / ".cache/prose-check.md"
    page.parent.mkdir(exist_ok=True)
    try:
        page.write_text("A dear method.\n", encoding="utf-8")
        assert check.main([str(page)]) == 1
        assert "'dear'; write: expensive" in capsys.readouterr().out
        page.write_text("An expensive method.\n", encoding="utf-8")
        assert check.main([str(page)]) == 0
    finally:
        page.unlink()
