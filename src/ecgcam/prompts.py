"""Prompts: checked, and the bundled vocabulary of findings. No torch."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from ecgcam.errors import EcgcamError
from ecgcam.resources import configs

# The kinds of other words for a finding that a row of the vocabulary lists.
KINDS = ("synonyms", "abbreviations", "descriptions", "german", "swedish", "chinese")


def clean_texts(texts: Sequence[str]) -> list[str]:
    """Return the prompts without surrounding space and repeats.

    Raises
    ------
    EcgcamError
        If there is none, one is blank, or one is not UTF-8.
    """
    cleaned = [text.strip() for text in texts]
    if not cleaned:
        raise EcgcamError("no prompt: say what to explain, for example --text 'atrial fibrillation'")
    if "" in cleaned:
        raise EcgcamError("--text: a blank prompt; say what to explain, for example --text 'atrial fibrillation'")
    for text in cleaned:
        if not _is_unicode(text):
            raise EcgcamError(f"--text {text!a}: not UTF-8 text; save or type the prompt as UTF-8")
    return list(dict.fromkeys(cleaned))


def _is_unicode(text: str) -> bool:
    """Whether a text from the command line can be written to a file: bytes that are no UTF-8 come as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def vocabulary_prompts() -> list[str]:
    """Return the prompt of every finding of the bundled vocabulary, in its order."""
    return [finding["prompt"] for finding in _findings()]


def phrases_of(text: str) -> list[str]:
    """Return what else people call the finding that a text names, its prompt among it; empty if it names none as it stands."""
    for finding in _findings():
        known = [finding["prompt"], *other_words(finding)]
        if text.casefold() in {phrase.casefold() for phrase in known}:
            return known
    return []


def other_words(finding: Mapping[str, Any]) -> list[str]:
    """Return what else a row of the vocabulary calls its finding, kind by kind, each phrase once."""
    phrases = [finding["statement"], *(phrase for kind in KINDS for phrase in finding[kind])]
    return [phrase for phrase in dict.fromkeys(phrases) if phrase != finding["prompt"]]


@cache
def _findings() -> list[dict[str, Any]]:
    table = tomllib.loads((configs() / "vocabulary/findings.toml").read_text(encoding="utf-8"))
    findings: list[dict[str, Any]] = table["finding"]
    return findings
