"""Phrases that were never trained on, and how the text tower places them.

The nearest finding is the one whose prompt's embedding has the largest cosine with the phrase's.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass

import numpy as np

from ecgcam.models.text.bundled import words_of
from ecgcam.protocol.model import EcgTextModel
from training.data import ROOT, Finding

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
    "pvc": " ventrikulÄre extrasystole", "paced": "schrittmacher", "st-depression": "st-senkung", "long-qt": "qt-verlÄngerung",
    "sinus-arrhythmia": "sinus arrhythmie", "pac": " supraventrikulÄre extrasystole",
    "sv-arrhythmia": "supraventrikulÄre arrhythmie", "ivcd": "intraventrikul", "irbbb": "unvollstÄndiger rechtsschenkelblock",
    "ilbbb": "unvollstÄndiger linksschenkelblock", "lpfb": "linksposteriorer", "wpw": "wpw", "lae": "p-sinistrocardiale",
    "rae": "p-dextrocardiale", "rvh": "rechtshypertrophie", "high-voltage": "amplitudenkriterien für linkshypertrophie",
    "low-voltage": "niederspannung", "digitalis": "digitalis", "electrolyte": "elektrolyt", "aneurysm": "aneurysma",
    "anterior-mi": "anteriorer infarkt", "anterolateral-mi": "anterolateraler infarkt", "lateral-mi": "lateraler infarkt",
    "inferolateral-mi": "inferolateraler infarkt", "posterior-mi": "posteriorer infarkt",
    "anterior-injury": "anteriorer innenschichtsschaden", "anterior-ischaemia": "anteriore ischÄmie",
    "inferior-ischaemia": "inferiore ischÄmie", "lateral-ischaemia": "laterale ischÄmie",
}  # fmt: skip
# What makes a sentence no plain name of a finding.
_UNCLEAR = re.compile("kein|nicht|möglich|inkompl|verdacht|ausschl", re.IGNORECASE)


@dataclass(frozen=True)
class Phrase:
    """A phrase, the finding that it means, and of which kind it is."""

    finding: str
    kind: str
    text: str


def content_words(text: str) -> frozenset[str]:
    """Return the informative words of a phrase."""
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


def sentences_of(report: str) -> list[str]:
    """Return the sentences of a report, which are set apart by several blanks or a full stop."""
    return [part.strip() for part in re.split(r"\s{2,}|\.\s", report) if part.strip()]


def named(sentence: str) -> str | None:
    """Return the one finding that a German or Swedish sentence of a report names plainly, or None.

    A stem that is part of another one found does not count: an incomplete left bundle branch block is not a complete one.
    """
    padded = f" {sentence.lower()} "
    found = [finding for finding, stem in STEMS.items() if stem.lower() in padded]
    stems = [STEMS[finding].lower() for finding in found]
    found = [
        name for name in found if not any(STEMS[name].lower() in stem for stem in stems if stem != STEMS[name].lower())
    ]
    return found[0] if len(found) == 1 and not _UNCLEAR.search(padded) else None


def german_sentences(reports: list[str], trained: list[str]) -> list[Phrase]:
    """Return the sentences of held-out reports that name one finding, without those whose words some training report has."""
    known = {content_words(sentence) for report in trained for sentence in sentences_of(report)}
    return [
        Phrase(finding, "german", sentence)
        for sentence in dict.fromkeys(sentence for report in reports for sentence in sentences_of(report))
        if (finding := named(sentence)) and content_words(sentence) not in known
    ]


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
