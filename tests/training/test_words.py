"""Held-out phrasings stay held out."""

from __future__ import annotations

import pytest
from training.data import load_findings
from training.words import STEMS, content_words, german_sentences, held_out, named


def test_no_held_out_phrase_has_the_content_words_of_a_training_phrase() -> None:
    trained = {content_words(phrase) for finding in load_findings() for phrase in (finding.prompt, *finding.phrases)}
    shared = [phrase.text for phrase in held_out() if content_words(phrase.text) in trained]
    assert shared == []


def test_every_finding_has_every_kind() -> None:
    kinds = {(phrase.finding, phrase.kind) for phrase in held_out()}
    for finding in load_findings():
        for kind in ("variants", "synonyms", "descriptions", "chinese"):
            assert (finding.name, kind) in kinds


def test_german_sentences_name_one_finding_and_are_new() -> None:
    reports = [
        "tachykardes vorhofflimmern  linkstyp  linkshypertrophie mÖglich",
        "vorhofflimmern  vorhofflattern und vorhofflimmern  kein vorhofflimmern",
    ]
    reports.append(
        "supraventrikulÄre extrasystole(n)  inkompletter rechtsschenkelblock  v.a. ventrikulÄre extrasystole"
    )
    found = german_sentences(reports, ["vorhofflimmern."])
    assert [(phrase.finding, phrase.text) for phrase in found] == [
        ("af", "tachykardes vorhofflimmern"),
        ("pac", "supraventrikulÄre extrasystole(n)"),
        ("pvc", "ventrikulÄre extrasystole"),
    ]


@pytest.mark.parametrize(
    ("sentence", "finding"),
    [
        ("linksschenkelblock", "lbbb"),
        ("unvollstÄndiger linksschenkelblock", "ilbbb"),
        ("kompletter rechtsschenkelblock", "rbbb"),
        ("unvollstÄndiger rechtsschenkelblock", "irbbb"),
        ("amplitudenkriterien fÜr linkshypertrophie", "high-voltage"),
        ("linkshypertrophie", "lvh"),
        ("linksanteriorer hemiblock", "lafb"),
        ("linksposteriorer hemiblock", "lpfb"),
        ("kein linksschenkelblock", None),
        ("linksschenkelblock und vorhofflimmern", None),
        ("linkstyp", None),
    ],
)
def test_a_sentence_names_the_finding_of_its_longest_stem(sentence: str, finding: str | None) -> None:
    assert named(sentence) == finding


def test_every_stem_is_of_a_finding() -> None:
    assert set(STEMS) <= {finding.name for finding in load_findings()}
