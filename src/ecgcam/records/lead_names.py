"""Names of leads: the canonical twelve, the names they go by, and which channels of a file are which lead."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ecgcam.errors import EcgcamError

CANONICAL_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

# Other names: DI, D1, "lead 1" and IEC's C1 to C6. A bare number is the number of a channel, not a lead.
_BY_KEY = {name.lower(): name for name in CANONICAL_LEADS} | {
    "di": "I", "dii": "II", "diii": "III", "d1": "I", "d2": "II", "d3": "III",
    "lead1": "I", "lead2": "II", "lead3": "III", **{f"c{i}": f"V{i}" for i in range(1, 7)},
}  # fmt: skip
# "ECG lead II", "lead-aVR" and HL7's MDC_ECG_LEAD_V1. A minus further on turns the lead over (Cabrera's -aVR): not a prefix.
_PREFIX = re.compile(r"^(?:(?:mdc|ecg|ekg|lead)(?:[\s_:]+|-))+")
# IEC's names of the chest leads are electrodes of the EEG's 10-20 system as well.
_IEC_CHEST = {f"c{i}" for i in range(1, 7)}
# Electrodes of the EEG (10-20 and 10-10), of the eyes and mastoids, and their derivations such as C3-M2 or "EEG Fpz-Cz".
_EEG_SITE = r"(?:fp|af|f|ft|fc|c|t|tp|cp|p|po|o|a|m|e)(?:z|\d{1,2})|loc|roc|eog\w*|emg\w*"
_EEG = re.compile(rf"^(?:eeg.*|(?:{_EEG_SITE})(?:\s*[-:/]\s*(?:{_EEG_SITE}|ref|avg|le|ar|m|a))?)$")
# Leads of ambulatory recorders with the limb electrodes on the torso: the nearest to I, II and III that such a file has.
_MODIFIED = {"mli": "I", "mlii": "II", "mliii": "III"}
# Channels of which an example of `lead_names` lists all.
_MOST_LISTED = 40
# Pairs of electrodes, positive one first, that define a limb lead.
_PAIRS = {"la-ra": "I", "ll-ra": "II", "lf-ra": "II", "ll-la": "III", "lf-la": "III"}


def canonical_name(name: str) -> str | None:
    """Return the canonical name of a lead (``"AVR"``, ``"lead ii"``, ``"ECG V1"``), or None if it is not one of the twelve.

    For the channels of a file use `leads_of`: C3 alone may be a chest lead or an electrode of the EEG.
    """
    return _BY_KEY.get(_key(name))


def _key(name: str) -> str:
    text = str(name).strip().lower()
    key = re.sub(r"[\s_]+", "", _PREFIX.sub("", text))
    return f"lead{key}" if key in {"1", "2", "3"} and "lead" in text else key


def leads_of(names: Sequence[str]) -> list[str | None]:
    """Return which lead each channel of a file is, None for channels that are none of the twelve.

    C1 to C6 are the chest leads only if all six are there and no channel is an EEG's. MLI to MLIII stand for I to III where
    nothing else does.
    """
    texts = [str(name).strip().lower() for name in names]
    leads = [canonical_name(name) for name in names]
    if not _are_iec_chest_leads(texts):
        leads = [None if text in _IEC_CHEST else lead for text, lead in zip(texts, leads, strict=True)]
    for row, text in enumerate(texts):
        modified = _MODIFIED.get(_PREFIX.sub("", text))
        if modified and modified not in leads:
            leads[row] = modified
    return leads


def _are_iec_chest_leads(texts: Sequence[str]) -> bool:
    others = [text for text in texts if text not in _IEC_CHEST]
    return set(texts) >= _IEC_CHEST and not any(_EEG.match(text) for text in others)


def alias_notes(names: Sequence[str], leads: Sequence[str | None]) -> list[str]:
    """Return a note for each kind of alias by which channels were recognised, and for C1 to C6 where they were not."""
    notes = []
    chest = [name for name, lead in zip(names, leads, strict=True) if lead and str(name).strip().lower() in _IEC_CHEST]
    if chest:
        notes.append("C1 to C6 are taken for the chest leads V1 to V6")
    for name, lead in zip(names, leads, strict=True):
        if lead and canonical_name(name) is None:
            notes.append(f"{name}, with its electrodes on the torso, is taken for {lead}")
    unclear = [str(name) for name, lead in zip(names, leads, strict=True) if not lead and _key(name) in _IEC_CHEST]
    if unclear:
        notes.append(
            f"{', '.join(unclear)} may be EEG electrodes, not chest leads; name them with `lead_names` if they are chest leads"
        )
    return notes


def renaming_note(stated: Sequence[str], given: Sequence[str]) -> str:
    """Return a note of the leads that the user named otherwise than the file, or an empty text."""
    changed = [
        f"{a} is taken for {b}"
        for a, b, lead, other in zip(stated, given, leads_of(stated), leads_of(given), strict=True)
        if lead and lead != other
    ]
    return f"`lead_names` overrules the file: {', '.join(changed)}" if changed else ""


def naming_advice(names: Sequence[str]) -> str:
    """Return how to name the channels of a file of which none is one of the twelve leads."""
    guesses: list[str] = []
    for name in names:
        guess = _guess(name)
        taken = [one for one in guesses if one]
        if guess and guess in taken:
            guess = next((lead for lead in CANONICAL_LEADS if lead not in taken), "")
        guesses.append(guess)
    if not any(guesses) or len(names) > _MOST_LISTED:
        return "name them with `lead_names`"
    listed = ",".join(guess or re.sub(r"[,\s]+", "_", str(name)) for guess, name in zip(guesses, names, strict=True))
    return f"name all channels in file order, if that is what they are: `lead_names` {listed}"


def _guess(name: str) -> str:
    """Return the lead that an ECG channel with an unusual name is likely to be, or an empty text."""
    text = str(name).strip().lower()
    bare = re.sub(r"[\s_:]*[-\s]\s*(?:ref|avg|gnd|n)$", "", text)
    if lead := canonical_name(bare) if bare not in _IEC_CHEST else None:
        return lead
    pair = re.sub(r"\s+", "", _PREFIX.sub("", text)).replace("_", "-").replace("/", "-")
    if pair in _PAIRS:
        return _PAIRS[pair]
    numbered = re.fullmatch(r"(?:ecg|ekg)[\s_-]*([123])(?:\D.*)?", text)
    if numbered:
        return ("I", "II", "III")[int(numbered[1]) - 1]
    return "II" if re.match(r"(?:ecg|ekg|cardio)", text) else ""


def parse_lead_names(text: str) -> tuple[str, ...]:
    """Return the names of a comma-separated list; ``"standard"`` stands for I, II, III, aVR, aVL, aVF, V1 to V6.

    Raises
    ------
    EcgcamError
        If a name is empty or occurs twice.
    """
    if text.strip().lower() == "standard":
        return CANONICAL_LEADS
    names = tuple(part.strip() for part in text.split(","))
    brain = any(_EEG.match(name.lower()) and name.lower() not in _IEC_CHEST for name in names)
    leads = leads_of(names) if brain else [canonical_name(name) for name in names]
    keys = [lead or name for name, lead in zip(names, leads, strict=True)]
    if "" in names:
        raise EcgcamError(
            f"`lead_names` {text}: an empty name; write for example I,II,V1 (or 'standard' for the usual twelve)"
        )
    if len(set(keys)) < len(keys):
        raise EcgcamError(f"`lead_names` {text}: a lead is named twice; each channel needs its own name")
    return names
