"""The larger vocabulary that mini is not trained on yet: words of every kind, none for two findings, held-out phrasings apart."""

from __future__ import annotations

import tomllib
from collections import Counter
from typing import Any

import pytest
from training.data import FINDINGS, ROOT, load_findings
from training.more_findings import ALONG, STEMS

from ecgcam.models.text.vocabulary import KINDS, other_words
from training import words

MORE = ROOT / "training/findings-45.toml"
ROWS: list[dict[str, Any]] = tomllib.loads(MORE.read_text(encoding="utf-8"))["finding"]
SHIPPED: list[dict[str, Any]] = tomllib.loads(FINDINGS.read_text(encoding="utf-8"))["finding"]


@pytest.fixture
def phrases(monkeypatch: pytest.MonkeyPatch) -> list[words.Phrase]:
    """The held-out phrasings of the old and of the new findings."""
    old = words.held_out()
    monkeypatch.setattr(words, "HELD_OUT", ROOT / "training/held-out-45.toml")
    return [*old, *words.held_out()]


def test_the_shipped_findings_come_first_unchanged() -> None:
    assert ROWS[: len(SHIPPED)] == SHIPPED


def test_a_row_has_words_of_every_kind() -> None:
    for row in ROWS:
        for kind in ("codes", "statement", *KINDS):
            assert row[kind], (row["name"], kind)


def test_no_phrase_means_two_findings() -> None:
    said = Counter(phrase.casefold() for row in ROWS for phrase in {row["prompt"], *other_words(row)})
    assert [phrase for phrase, count in said.items() if count > 1] == []


def test_no_new_phrase_has_the_words_of_another_finding_s_in_another_order() -> None:
    """The text tower has word order from neighbours only: it could hardly tell two such phrases apart."""
    said: dict[frozenset[str], set[str]] = {}
    for finding in load_findings(MORE):
        for phrase in (finding.prompt, *finding.phrases):
            said.setdefault(words.content_words(phrase), set()).add(finding.name)
    new = {row["name"] for row in ROWS[len(SHIPPED) :]}
    assert [names for names in said.values() if len(names) > 1 and names & new] == []


def test_no_held_out_phrase_has_the_content_words_of_a_training_phrase(phrases: list[words.Phrase]) -> None:
    trained = {
        words.content_words(text) for finding in load_findings(MORE) for text in (finding.prompt, *finding.phrases)
    }
    assert [phrase.text for phrase in phrases if words.content_words(phrase.text) in trained] == []


def test_every_finding_has_held_out_phrasings_of_every_kind(phrases: list[words.Phrase]) -> None:
    kinds = {(phrase.finding, phrase.kind) for phrase in phrases}
    for row in ROWS:
        for kind in ("variants", "synonyms", "descriptions", "chinese"):
            assert (row["name"], kind) in kinds


def test_stems_and_simulated_findings_are_those_of_the_table() -> None:
    names = {row["name"] for row in ROWS}
    assert set(STEMS) <= names - set(words.STEMS)
    assert set(ALONG) == {row["name"] for row in SHIPPED}
    assert set().union(*ALONG.values()) <= names - set(ALONG)
