"""What the findings of `findings-45.toml` need in `training.words` and `training.data`; not used until mini is trained on them.

`STEMS` extends `training.words.STEMS`. One stem may be part of another there, so `named` then has to keep the longest:
"amplitudenkriterien für linkshypertrophie" is not `lvh`, "unvollständiger linksschenkelblock" not `lbbb`. It also has to leave
"unvoll" and "posterior" out of the words that make a sentence unclear. Sinus rhythm and abnormal QRS have no stem: most German
sentences state them next to another finding. A prolonged PR and non-specific ST changes have none in German reports.

`ALONG` extends `training.data._ALONG`. The simulator makes none of the new findings, so `load_simulated` has to leave out the
names that are not in `ecgcam.records.simulator.FINDINGS`.
"""

from __future__ import annotations

STEMS = {
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

_WALLS = {"anterior-ischaemia", "inferior-ischaemia", "lateral-ischaemia"}
_INFARCTIONS = {"anterior-mi", "anterolateral-mi", "lateral-mi", "inferolateral-mi", "posterior-mi"}
_REPOLARISATION = {*_WALLS, "st-change", "anterior-injury", "digitalis", "electrolyte"}

# `sinus-rhythm`: of all simulated recordings but those of fibrillation and flutter.
ALONG: dict[str, set[str]] = {
    "normal": {"sinus-rhythm"},
    "af": {"sv-arrhythmia"},
    "flutter": {"sv-arrhythmia"},
    "tachycardia": {"sinus-rhythm"},
    "bradycardia": {"sinus-rhythm"},
    "av-block-1": {"sinus-rhythm", "long-pr"},
    "lbbb": {"sinus-rhythm", "abnormal-qrs", "ilbbb", "ivcd", "high-voltage", "aneurysm", *_INFARCTIONS, *_REPOLARISATION},
    "rbbb": {"sinus-rhythm", "abnormal-qrs", "ivcd", "rvh", "posterior-mi", *_REPOLARISATION},
    "irbbb": {"sinus-rhythm", "abnormal-qrs", "rvh", "posterior-mi"},
    "lafb": {"sinus-rhythm", "abnormal-qrs", "high-voltage", "lateral-mi"},
    "lvh": {"sinus-rhythm", "abnormal-qrs", "high-voltage", "lae", *_REPOLARISATION},
    "inferior-mi": {"sinus-rhythm", "abnormal-qrs", "inferolateral-mi", "posterior-mi", *_REPOLARISATION},
    "anteroseptal-mi": {
        "sinus-rhythm", "abnormal-qrs", "anterior-mi", "anterolateral-mi", "aneurysm", "low-voltage", *_REPOLARISATION,
    },
    "pvc": {"sinus-rhythm", "abnormal-qrs"},
    "paced": {"sinus-rhythm", "abnormal-qrs", "ivcd", "wpw", *_INFARCTIONS, *_REPOLARISATION},
    "ischaemia": {"sinus-rhythm", *_REPOLARISATION},
    "st-depression": {"sinus-rhythm", *_REPOLARISATION},
    "t-abnormal": {"sinus-rhythm", *_REPOLARISATION},
    "q-waves": {"sinus-rhythm", "abnormal-qrs", "aneurysm", *_INFARCTIONS},
    "t-inversion": {"sinus-rhythm", "rvh", *_REPOLARISATION},
    "st-elevation": {"sinus-rhythm", "aneurysm", *_REPOLARISATION},
    "long-qt": {"sinus-rhythm", "electrolyte", "st-change"},
}  # fmt: skip
