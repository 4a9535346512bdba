"""The vocabulary's rows: every kind of word, no phrase for two findings."""

from __future__ import annotations

import tomllib
from collections import Counter
from typing import Any

import pytest
from training.words import content_words

from ecgcam.models.text.vocabulary import KINDS, other_words, phrases_of
from ecgcam.resources import configs

FINDINGS: list[dict[str, Any]] = tomllib.loads((configs() / "vocabulary/findings.toml").read_text(encoding="utf-8"))[
    "finding"
]


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda finding: str(finding["name"]))
def test_a_row_has_words_of_every_kind(finding: dict[str, Any]) -> None:
    for kind in ("codes", "statement", *KINDS):
        assert finding[kind], kind
    assert all(any("\u3400" <= character <= "\u9fff" for character in phrase) for phrase in finding["chinese"][:3])


def test_no_phrase_means_two_findings() -> None:
    said = Counter(phrase.casefold() for finding in FINDINGS for phrase in {finding["prompt"], *other_words(finding)})
    assert [phrase for phrase, count in said.items() if count > 1] == []


def test_few_phrases_of_two_findings_share_their_words_in_another_order() -> None:
    """The text tower has word order from neighbours only: it can hardly tell two such phrases apart."""
    said: dict[frozenset[str], set[str]] = {}
    for row in FINDINGS:
        for phrase in (row["prompt"], *other_words(row)):
            said.setdefault(content_words(phrase), set()).add(row["name"])
    assert [names for names in said.values() if len(names) > 1] == [{"lbbb", "rbbb"}, {"st-depression", "st-elevation"}]


def test_other_words_leave_the_prompt_and_repeats_out() -> None:
    row = {kind: ["b", "a"] for kind in KINDS} | {"prompt": "a", "statement": "c"}
    assert other_words(row) == ["c", "b"]


def test_a_phrase_of_any_kind_leads_to_its_finding() -> None:
    assert phrases_of("vorhofflimmern") == phrases_of("房颤") == phrases_of("atrial fibrillation")
    assert phrases_of("atrial fibrillation")[0] == "atrial fibrillation"
    assert phrases_of("no such finding") == []
