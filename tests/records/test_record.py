"""Names of leads, and the algebra between the limb leads."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from ecgcam.errors import EcgcamError
from ecgcam.records import CANONICAL_LEADS, Record, canonical_name, parse_lead_names

# One heart vector in the frontal plane, written out by hand: I = 0.5, II = 1.25 mV; III = II - I = 0.75;
# aVR = -(I + II)/2 = -0.875; aVL = I - II/2 = -0.125; aVF = II - I/2 = 1.
LIMB = {"I": 0.5, "II": 1.25, "III": 0.75, "aVR": -0.875, "aVL": -0.125, "aVF": 1.0}


def record(rows: dict[str, list[float]], fs: float = 500.0) -> Record:
    return Record.from_channels("r", np.array(list(rows.values()), float), fs, list(rows), source="r.dat")


@pytest.mark.parametrize(
    ("given", "lead"),
    [
        ("I", "I"), ("i", "I"), ("avr", "aVR"), ("AVR", "aVR"), ("aVr", "aVR"), (" aVL ", "aVL"), ("a VF", "aVF"), ("v6", "V6"),
        ("DI", "I"), ("DIII", "III"), ("D2", "II"), ("Lead 1", "I"), ("lead-aVR", "aVR"), ("LEAD_II", "II"), ("ECG V1", "V1"),
        ("ECG lead II", "II"), ("MDC_ECG_LEAD_AVF", "aVF"), ("MDC_ECG_LEAD_V3", "V3"), ("C1", "V1"), ("c6", "V6"),
    ],
)  # fmt: skip
def test_a_lead_goes_by_many_names(given: str, lead: str) -> None:
    assert canonical_name(given) == lead


@pytest.mark.parametrize(
    "given",
    [
        # Cabrera's inverted lead is not aVR; a channel's number is not a lead; MLII is another electrode place.
        "-aVR", "lead -aVR", "1", "2", "3", "12", "ECG 1", "ECG1", "MLII", "vx", "V7", "V3R", "V0", "C7", "", "None", "V1-V2",
        "lead", "aV", "ch1",
    ],
)  # fmt: skip
def test_what_is_not_one_of_the_twelve_is_none(given: str) -> None:
    assert canonical_name(given) is None


@pytest.mark.parametrize("pair", list(combinations(LIMB, 2)))
def test_any_two_limb_leads_give_the_other_four(pair: tuple[str, str]) -> None:
    """The second sample is twice the first and the third is missing in one parent."""
    rows = {lead: [LIMB[lead], 2 * LIMB[lead], LIMB[lead]] for lead in pair}
    rows[pair[0]][2] = np.nan
    got = record(rows)
    assert got.leads == tuple(LIMB)
    assert got.derived == tuple(lead for lead in LIMB if lead not in pair)
    assert got.notes == (f"leads derived from {pair[0]} and {pair[1]}: {', '.join(got.derived)}",)
    for lead, row in zip(got.leads, got.signal, strict=True):
        np.testing.assert_allclose(row[:2], [LIMB[lead], 2 * LIMB[lead]], atol=1e-6, err_msg=lead)
        assert np.isnan(row[2]) == (lead != pair[1]), lead
    assert got.signal[got.leads.index(pair[1])][2] == np.float32(LIMB[pair[1]])


def test_leads_of_the_file_are_never_recomputed() -> None:
    got = record({"I": [1, 0], "II": [1, 1], "III": [9, 9]})
    assert got.signal[2].tolist() == [9, 9]
    assert got.derived == ("aVR", "aVL", "aVF")


def test_flat_and_missing_leads_are_not_parents() -> None:
    """A lead that is off says nothing, though it is there: II and aVF stand for the plane."""
    got = record({"I": [0, 0, 0], "II": [1.25, 2.5, 0], "aVF": [1, 2, 0], "aVL": [np.nan, np.nan, 1]})
    assert got.notes == ("leads derived from II and aVF: III, aVR",)
    np.testing.assert_allclose(got.signal[got.leads.index("III")], [0.75, 1.5, 0], atol=1e-6)


def test_one_limb_lead_derives_nothing() -> None:
    got = record({"V2": [1, 2], "II": [3, 4]})
    assert (got.leads, got.derived, got.notes) == (("II", "V2"), (), ())
    assert got.signal.tolist() == [[3, 4], [1, 2]]


def test_rows_come_in_canonical_order_and_strangers_are_named() -> None:
    rows = {lead: [i, -i] for i, lead in enumerate(reversed(CANONICAL_LEADS))}
    got = record({"vx": [7, 7], **rows, "resp": [8, 8]})
    assert got.leads == CANONICAL_LEADS
    assert got.signal[:, 0].tolist() == list(range(11, -1, -1))
    assert got.notes == ("channels left out, not among the twelve leads: vx, resp",)
    assert (got.signal.dtype, got.fs, got.seconds) == (np.float32, 500.0, 0.004)


def test_infinities_and_numbers_beyond_float32_are_missing() -> None:
    got = record({"V1": [1, np.inf, -np.inf, 1e300, np.nan]})
    assert np.isnan(got.signal[0]).tolist() == [False, True, True, True, True]


def test_the_channels_given_are_not_modified() -> None:
    channels = np.array([[1.0, np.inf], [2.0, 3.0]])
    kept = channels.copy()
    Record.from_channels("r", channels, 500.0, ("I", "II"), source="r")
    np.testing.assert_array_equal(channels, kept)


@pytest.mark.parametrize(
    ("rows", "fs", "says"),
    [
        ({"I": [1.0], " i": [2.0]}, 500, "r.dat: lead I occurs twice"),
        ({"V1": [1.0], "lead V1": [2.0]}, 500, "r.dat: lead V1 occurs twice"),
        ({"a": [1.0], "b": [2.0]}, 500, "r.dat: none of the channels (a, b) is one of the twelve leads"),
        ({"I": [np.nan], "II": [np.inf]}, 500, "r.dat: every sample is missing (NaN)"),
        ({"I": []}, 500, "r.dat: the recording is empty"),
        ({"I": [1.0]}, 0, "r.dat: a sampling rate of 0 Hz is not possible"),
        ({"I": [1.0]}, -500, "a sampling rate of -500 Hz"),
        ({"I": [1.0]}, np.nan, "a sampling rate of nan Hz"),
        ({"I": [1.0]}, 0.5, "a sampling rate of 0.5 Hz"),  # kHz for Hz
        ({"I": [1.0]}, 1e9, "a sampling rate of 1e+09 Hz"),
    ],
)
def test_what_cannot_be_a_recording_is_refused(rows: dict[str, list[float]], fs: float, says: str) -> None:
    with pytest.raises(EcgcamError) as error:
        Record.from_channels("r", np.array(list(rows.values()), float), fs, list(rows), source="r.dat")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_only_keeps_what_a_model_takes() -> None:
    got = record({"I": [1, 2], "II": [3, 5], "V1": [5, 6]})
    kept = got.only(("V1", "II", "aVR"))
    assert (kept.leads, kept.derived) == (("II", "aVR", "V1"), ("aVR",))
    assert kept.signal[:, 0].tolist() == [3, -2, 5]
    assert kept.notes[-1] == "leads that the model does not take: I, III, aVL, aVF"
    assert got.only(CANONICAL_LEADS) is got
    with pytest.raises(EcgcamError, match="no lead is common; choose another recording"):
        got.only(("V6",))


def test_lists_of_names() -> None:
    assert parse_lead_names("standard") == parse_lead_names(" Standard ") == CANONICAL_LEADS
    assert parse_lead_names("II, v1,x") == ("II", "v1", "x")
    for text in ("I,,II", "", "I,II,"):
        with pytest.raises(EcgcamError, match="an empty name"):
            parse_lead_names(text)
    for text in ("I,i", "V1,c1", "x,x"):
        with pytest.raises(EcgcamError, match="named twice"):
            parse_lead_names(text)
