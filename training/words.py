"""Phrases that were never trained on, and how the text tower places them.

The nearest finding is the one whose prompt's embedding has the largest cosine with the phrase's.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass

import numpy as np

from ecgcam.models.base import EcgTextModel
from ecgcam.models.text.bundled import words_of
from training.data import ROOT, Finding
from training.speak import sentences_of

HELD_OUT = ROOT / "training/held_out.toml"
# Words that carry no finding: two phrases that differ in these alone are one phrase.
STOP = frozenset(
    {
        "a",
        "an",
        "and",
        "are",
        "at",
        "be",
        "before",
        "by",
        "each",
        "every",
        "for",
        "from",
        "has",
        "in",
        "into",
        "is",
        "it",
    }
    | {"its", "of", "on", "or", "out", "that", "the", "their", "this", "to", "with"}
)

# German and Swedish words of the reports, by finding: what a sentence is about.
STEMS = {
    "af": "vorhofflimmern", "flutter": "vorhofflattern", "tachycardia": "sinustachykardie", "bradycardia": "sinusbradykardie",
    "av-block-1": "a-v block i ", "lbbb": "linksschenkelblock", "rbbb": " rechtsschenkelblock", "lafb": "linksanteriorer",
    "lvh": "linkshypertrophie", "inferior-mi": "inferiorer infarkt", "anteroseptal-mi": "anteroseptaler infarkt",
    "pvc": "ventrikulÄre extrasystole", "paced": "schrittmacher", "st-depression": "st-senkung", "long-qt": "qt-verlÄngerung",
}  # fmt: skip


@dataclass(frozen=True)
class Phrase:
    """A phrase, the finding that it means, and of which kind it is."""

    finding: str
    kind: str
    text: str


def content_words(text: str) -> frozenset[str]:
    """Return the words of a phrase that say something."""
    return frozenset(words_of(text)) - STOP


def held_out() -> list[Phrase]:
    """Return the phrases of ``held_out.toml``."""
    table = tomllib.loads(HELD_OUT.read_text(encoding="utf-8"))
    return [
        Phrase(finding, kind, text)
        for finding, kinds in table.items()
        for kind, texts in kinds.items()
        for text in texts
    ]


def german_sentences(reports: list[str], trained: list[str]) -> list[Phrase]:
    """Return the sentences of held-out reports that name one finding, without those whose words some training report has.

    Reports set sentences apart by several blanks or a full stop. A sentence that says "no", "possible" or "incomplete" is
    left out, since it does not name the finding plainly.
    """
    known = {content_words(sentence) for report in trained for sentence in sentences_of(report)}
    found = {}
    for report in reports:
        for sentence in sentences_of(report):
            padded = f" {sentence.lower()} "
            named = [finding for finding, stem in STEMS.items() if stem.lower() in padded]
            unclear = re.search(
                r"kein|nicht|mÖglich|möglich|unvoll|inkompl|verdacht|ausschl|posterior", padded, re.IGNORECASE
            )
            if len(named) == 1 and not unclear and content_words(sentence) not in known:
                found[sentence] = Phrase(named[0], "german", sentence)
    return list(found.values())


def placed(model: EcgTextModel, findings: list[Finding], phrases: list[Phrase]) -> list[str]:
    """Return the finding whose prompt lies nearest to each phrase."""
    prompts = model.encode_text([finding.prompt for finding in findings])
    nearest = (model.encode_text([phrase.text for phrase in phrases]) @ prompts.T).argmax(dim=1)
    return [findings[int(i)].name for i in nearest]


def shares(model: EcgTextModel, findings: list[Finding], phrases: list[Phrase]) -> dict[str, tuple[float, int]]:
    """Return the share of each kind that is placed with its finding, and how many there are."""
    hits = np.array(
        [name == phrase.finding for name, phrase in zip(placed(model, findings, phrases), phrases, strict=True)]
    )
    kinds = np.array([phrase.kind for phrase in phrases])
    return {
        kind: (float(hits[kinds == kind].mean()), int((kinds == kind).sum())) for kind in dict.fromkeys(kinds.tolist())
    }
