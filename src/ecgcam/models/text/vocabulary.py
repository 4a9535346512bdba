"""Prompts: checked, and the bundled vocabulary of findings. No torch."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from ecgcam.errors import EcgcamError
from ecgcam.resources import configs

# The kinds of other words for a finding that a row of the vocabulary lists.
KINDS = ("synonyms", "abbreviations", "descriptions", "german", "swedish", "chinese")

# Words of reports that end with a full stop in the middle of a sentence.
_SHORTENED = {"approx", "ca", "cf", "dr", "e.g", "i.e", "incl", "poss", "prob", "resp", "susp", "vs"}


def split_sentences(report: str) -> list[str]:
    """Return the sentences of a report, in order: prompts of their own.

    A sentence ends with a line, or with ``.``, ``;``, ``!`` or ``?`` before a space, unless it is the full stop of a shortened
    word (``prob. old infarct``). Full stops and semicolons at the end are left out.
    """
    sentences: list[str] = []
    for line in report.splitlines():
        begin = 0
        for found in re.finditer(r"[.;!?]+(?=\s|$)", line):
            word = re.split(r"[\s(]", line[begin : found.start()])[-1].casefold()
            if found[0] == "." and word in _SHORTENED:
                continue
            sentences.append(line[begin : found.end()])
            begin = found.end()
        sentences.append(line[begin:])
    return [text for sentence in sentences if (text := sentence.strip().rstrip(".;").rstrip())]


def clean_texts(texts: Sequence[str]) -> list[str]:
    """Return the prompts without surrounding space and repeats.

    Raises
    ------
    EcgcamError
        If there is none, one is blank, or one is not UTF-8.
    """
    cleaned = [text.strip() for text in texts]
    if not cleaned:
        raise EcgcamError("no prompt: give what to explain, for example `texts` 'atrial fibrillation'")
    if "" in cleaned:
        raise EcgcamError("`texts`: a blank prompt; give what to explain, for example `texts` 'atrial fibrillation'")
    for text in cleaned:
        if not _is_unicode(text):
            raise EcgcamError(f"`texts` {text!a}: not UTF-8 text; save or type the prompt as UTF-8")
    return list(dict.fromkeys(cleaned))


def _is_unicode(text: str) -> bool:
    """Whether a text from the command line can be written to a file: bytes that are not UTF-8 come as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def vocabulary_prompts() -> list[str]:
    """Return the prompt of every finding of the bundled vocabulary, in its order."""
    return [finding["prompt"] for finding in _findings()]


def phrases_of(text: str) -> list[str]:
    """Return all names of the finding that a text names exactly, its prompt included; empty if it names none."""
    return list(_by_phrase().get(text.casefold(), ()))


def findings_named(text: str, *, part: bool = False) -> list[str]:
    """Return the names of the findings that a text names as it stands; with `part`, is part of.

    A part: all of its words are among those of the prompt, or of one abbreviation.
    """
    if not part:
        known = [(row["name"], {row["prompt"], *other_words(row)}) for row in _findings()]
        return [name for name, phrases in known if text.casefold() in {phrase.casefold() for phrase in phrases}]
    words = set(text.casefold().split())
    return [
        row["name"]
        for row in _findings()
        if any(words <= set(phrase.casefold().split()) for phrase in (row["prompt"], *row["abbreviations"]))
    ]


def other_words(finding: Mapping[str, Any]) -> list[str]:
    """Return what else a row of the vocabulary calls its finding, kind by kind, each phrase once."""
    phrases = [finding["statement"], *(phrase for kind in KINDS for phrase in finding[kind])]
    return [phrase for phrase in dict.fromkeys(phrases) if phrase != finding["prompt"]]


@cache
def _by_phrase() -> dict[str, list[str]]:
    """Return all names of a finding by each of them, case folded."""
    found: dict[str, list[str]] = {}
    for finding in _findings():
        known = [finding["prompt"], *other_words(finding)]
        for phrase in known:
            found.setdefault(phrase.casefold(), known)
    return found


@cache
def _findings() -> list[dict[str, Any]]:
    table = tomllib.loads((configs() / "vocabulary/findings.toml").read_text(encoding="utf-8"))
    findings: list[dict[str, Any]] = table["finding"]
    return findings
