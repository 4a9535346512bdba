"""Sentences of README, docs, help and messages: drawn in the same way again, and each within measurable rules of style."""

from __future__ import annotations

import re
from types import ModuleType

import pytest

from tests.docs.scripts import script

MESSAGE_WORDS, HELP_WORDS, CLAUSE_WORDS = 45, 40, 40
# A user is shown what to do: after a semicolon, or in words such as these.
FIX = re.compile(
    r"; |\b(?:must|give|choose|write|name|declare|leave out|install|can be set here|does not fit|need)\b|\{(?:why|wrong|EXTRA)\}$"
)
# Each of these passes on a message that another line of code wrote.
PASSED_ON = re.compile(
    r"^\{(?:error|spec\.file or spec\.name|self\.path|path|where|\.\.\.)\}(?:: \{(?:key|error|message|said)\})*(?: \(|$)"
)


@pytest.fixture(scope="module")
def sentences() -> ModuleType:
    """docs/draw_sentences.py, which is not part of a package."""
    return script("draw_sentences")


def plain(text: str) -> str:
    """Return a sentence with one word in place of code, of a field and of a quotation."""
    return re.sub(r"`[^`]*`|\{[^{}]*\}|\"[^\"]*\"", "X", text)


def clauses(text: str) -> list[str]:
    """Return the parts of a sentence between semicolons and colons, without what is in parentheses."""
    return re.split(r"[;:]", re.sub(r"\([^()]*\)", "", plain(text)))


def test_a_seed_draws_the_same_sixty_again_and_another_seed_others(sentences: ModuleType) -> None:
    first, again, other = sentences.draw(1, 60), sentences.draw(1, 60), sentences.draw(2, 60)
    assert first == again
    assert len({one.text for one in first}) == 60
    assert len({one.text for one in first} & {one.text for one in other}) < 20


def test_readme_docs_help_and_messages_are_all_drawn_from(sentences: ModuleType) -> None:
    found = sentences.all_sentences()
    for part in ("README.md", "docs/", "ecgcam explain --", "src/ecgcam/"):
        assert any(one.where.startswith(part) for one in found), part
    texts = {one.text for one in found}
    assert "Blue marks what raises the score.*" in texts
    assert "Explain the similarity to another recording instead of a text." in texts
    assert "{path}: its end is missing; copy the file again" in texts


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("It is so. It is not.", ["It is so.", "It is not."]),
        ("See Wagner et al. 2020, e.g. the table.", ["See Wagner et al. 2020, e.g. the table."]),
        ("It takes 2.5 s. mini takes `a. B` less.", ["It takes 2.5 s.", "mini takes `a. B` less."]),
    ],
)
def test_a_paragraph_is_split_at_the_ends_of_its_sentences(sentences: ModuleType, text: str, parts: list[str]) -> None:
    assert list(sentences.split(text)) == parts


def test_no_clause_is_long_and_no_parentheses_are_nested(sentences: ModuleType) -> None:
    long = [
        one for one in sentences.all_sentences() if max(len(part.split()) for part in clauses(one.text)) > CLAUSE_WORDS
    ]
    assert not long
    assert not [one for one in sentences.all_sentences() if re.search(r"\([^()]*\([^()]*\)[^()]*\)", plain(one.text))]


def test_help_is_short(sentences: ModuleType) -> None:
    assert not [one for one in sentences.of_help() if len(one.text.split()) > HELP_WORDS]


def test_an_error_is_one_line_that_names_its_subject_and_the_fix(sentences: ModuleType) -> None:
    found = list(sentences.messages(sentences.ERRORS))
    assert len(found) > 400
    for where, text in found:
        assert "\n" not in text, where
        assert len(plain(text).split()) <= MESSAGE_WORDS, where
        assert not re.search(r"[^.]\.$", text), where
        if not PASSED_ON.search(text):
            assert re.match(r"[^;]*[:`]", text), (where, text)
            assert FIX.search(text), (where, text)
