"""Which channels of a file are leads, and what is advised where none is."""

from __future__ import annotations

import numpy as np
import pytest

from ecgcam.errors import EcgcamError
from ecgcam.records import CANONICAL_LEADS, Record
from ecgcam.records.lead_names import leads_of, naming_advice, parse_lead_names, renaming_note

CHEST = [f"C{i}" for i in range(1, 7)]


@pytest.mark.parametrize(
    ("names", "leads"),
    [
        (["C3", "C4", "M1", "M2", "LOC", "ROC", "ECG2", "ECG1"], [None] * 8),
        (["C3", "C4"], [None, None]),
        (["I", "II", *CHEST], ["I", "II", *CANONICAL_LEADS[6:]]),
        (["I", *[name.lower() for name in CHEST]], ["I", *CANONICAL_LEADS[6:]]),
        # A cap for the EEG has all six of them, too.
        (["Fp1", "Cz", *CHEST, "I"], [None] * 8 + ["I"]),
        (["EEG Fpz-Cz", *CHEST], [None] * 7),
        (["C3-M2", *CHEST], [None] * 7),
        (["I", "ECG C1", "lead C2"], ["I", "V1", "V2"]),  # who says ECG means it
        (["MLII", "V1"], ["II", "V1"]),
        (["MLII", "II"], [None, "II"]),
    ],
)
def test_channels_of_a_file(names: list[str], leads: list[str | None]) -> None:
    assert leads_of(names) == leads


@pytest.mark.parametrize(
    ("names", "advice"),
    [
        (["C3", "ECG2", "ECG1", "SpO2"], "`lead_names` C3,II,I,SpO2"),
        (["EKG"], "`lead_names` II"),
        (["ECG", "EKG"], "`lead_names` II,I"),
        (["ECG LA-RA", "ECG LL-RA", "LL-LA"], "`lead_names` I,II,III"),
        (["ECG I-Ref", "V5-Ref"], "`lead_names` I,V5"),
        (["Resp, thorax", "ECG 3"], "`lead_names` Resp_thorax,III"),
        (["chan 1", "chan 2"], "name them with `lead_names`"),
    ],
)
def test_advice(names: list[str], advice: str) -> None:
    assert naming_advice(names).endswith(advice)
    with pytest.raises(EcgcamError) as error:
        Record.from_channels("r", np.ones((len(names), 5)), 500, names, source="r.edf")
    assert str(error.value).endswith(advice)
    if "," in advice or " I" in advice:
        listed = parse_lead_names(advice.rpartition(" ")[2])
        assert any(leads_of(listed))  # the advice works


def test_aliases_are_noted() -> None:
    got = Record.from_channels("r", np.ones((8, 5)), 500, ["I", "II", *CHEST], source="r")
    assert "C1 to C6 are taken for the chest leads V1 to V6" in got.notes
    got = Record.from_channels("r", np.ones((2, 5)), 500, ["I", "C3"], source="r")
    assert got.leads == ("I",)
    assert any(note.startswith("C3 may be EEG electrodes") for note in got.notes)


def test_names_that_overrule_are_noted() -> None:
    assert renaming_note(["I", "II"], ["I", "ii"]) == ""
    assert renaming_note(["C3", "ECG1"], ["C3", "I"]) == ""
    assert renaming_note(["I", "II"], ["V1", "II"]) == "`lead_names` overrules the file: I is taken for V1"


def test_lists_with_electrodes_of_the_brain() -> None:
    assert parse_lead_names("C3,M1,V3,I") == ("C3", "M1", "V3", "I")
    with pytest.raises(EcgcamError, match="named twice"):
        parse_lead_names("V3,I,C3")
