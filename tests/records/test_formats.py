"""EDF, BDF, HL7 aECG, Philips Sierra and DICOM: read as written by hand, and one line for what is damaged or means harm."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from tests.records.formats_by_hand import Signal, aecg, bent, chunk, edf, sequence, sierra, times

from ecgcam.errors import EcgcamError
from ecgcam.records import CANONICAL_LEADS, read_record
from ecgcam.records.channels import Channel, record_from
from ecgcam.records.readers import SUFFIXES, partial_length, read_stretch, record_name
from ecgcam.runs.worklist import find_recordings


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(EcgcamError) as error:
        read_record(path, **options)
    said = str(error.value)
    assert "\n" not in said
    assert path.stem in said
    return said


# EDF and BDF


@pytest.mark.parametrize("suffix", [".edf", ".EDF", ".bdf"])
@pytest.mark.parametrize(("unit", "millivolts"), [("uV", 1e-3), ("mV", 1.0), ("V", 1e3), ("", 1.0)])
def test_edf_in_millivolts(tmp_path: Path, suffix: str, unit: str, millivolts: float) -> None:
    most = 8388607 if suffix == ".bdf" else 32767
    samples = [-2000, 0, 1, 7, 2000] * 20
    path = edf(tmp_path / f"rec{suffix}", [Signal("ECG I", unit, samples, 1000)])
    if suffix == ".EDF":
        path.rename(tmp_path / "rec.edf.tmp")
        (tmp_path / "rec.edf.tmp").rename(path)
    got = read_record(path)
    assert (got.name, got.leads, got.fs) == ("rec", ("I",), 100.0)
    np.testing.assert_allclose(got.signal[0], np.array(samples) * 1000 / most * millivolts, rtol=1e-5, atol=1e-9)
    assert any(note == f"converted to mV: {unit}" for note in got.notes) == (unit in {"uV", "V"})


def test_edf_channels_are_found_by_label(tmp_path: Path) -> None:
    rows = [
        Signal(label, "uV", np.full(100, row))
        for row, label in enumerate(("EEG Fpz-Cz", "EKG-V1", "I", "ECG aVF", "MLII", "SaO2"))
    ]
    path = edf(tmp_path / "rec.edf", [*rows, Signal("Temp", "degC", np.zeros(4))])
    got = read_record(path)
    assert tuple(lead for lead in got.leads if lead not in got.derived) == ("I", "II", "aVF", "V1")
    stated = dict(zip(got.leads, got.signal[:, 0], strict=True))
    assert [round(float(stated[lead]) * 1000, 3) for lead in ("V1", "I", "aVF", "II")] == [1.0, 2.0, 3.0, 4.0]
    assert "MLII, with its electrodes on the torso, is taken for II" in got.notes
    assert "channels left out, not a voltage: Temp (degC)" in got.notes
    assert "channels left out, not among the twelve leads: EEG Fpz-Cz, SaO2" in got.notes


def test_a_lead_ii_is_preferred_to_mlii(tmp_path: Path) -> None:
    path = edf(tmp_path / "rec.edf", [Signal("MLII", "mV", np.full(50, 1)), Signal("II", "mV", np.full(50, 2))])
    got = read_record(path)
    assert got.signal[0, 0] == pytest.approx(2)
    assert "channels left out, not among the twelve leads: MLII" in got.notes


def test_edf_without_an_ecg_and_of_other_units(tmp_path: Path) -> None:
    assert "none of the channels (EEG C3)" in refused(edf(tmp_path / "a.edf", [Signal("EEG C3", "uV", np.ones(20))]))
    assert "lead I has the unit 'bpm'" in refused(edf(tmp_path / "b.edf", [Signal("I", "bpm", np.ones(20))]))
    path = edf(tmp_path / "c.edf", [Signal("chan 1", "uV", np.ones(20)), Signal("chan 2", "uV", np.ones(20))])
    assert read_record(path, lead_names=("II", "V5")).leads == ("II", "V5")


def test_edf_of_several_rates_has_the_fastest_ones(tmp_path: Path) -> None:
    """A sine of 5 Hz at 100 and at 250 Hz is the same sine afterwards, away from the ends."""
    sines = {
        rate: np.round(3000 * np.sin(2 * np.pi * 5 * np.arange(4 * rate) / rate)).astype(int) for rate in (100, 250)
    }
    path = edf(
        tmp_path / "rec.edf", [Signal("V1", "uV", sines[100]), Signal("V2", "uV", sines[250])], records=4, seconds=1
    )
    got = read_record(path)
    assert (got.fs, got.signal.shape) == (250.0, (2, 1000))
    np.testing.assert_allclose(got.signal[0, 100:-100], got.signal[1, 100:-100], atol=0.02)
    assert "leads of several rates, resampled to 250 Hz: V1 (100 Hz)" in got.notes


def test_an_edf_stretch_is_that_part_of_the_whole(tmp_path: Path) -> None:
    ramp = np.arange(3000)
    path = edf(tmp_path / "rec.edf", [Signal("V1", "uV", ramp), Signal("SaO2", "%", np.zeros(30))], records=30)
    whole, part = read_record(path), read_stretch(path, 4.5, 7.2)
    assert partial_length(path) == (100.0, 3000, True)
    assert (part.first, part.length, part.signal.shape) == (400, 3000, (1, 400))
    assert part.seconds == whole.seconds == 30
    np.testing.assert_array_equal(part.signal, whole.signal[:, 400:800])
    for begin, end in ((-5.0, 3.0), (28.0, 99.0), (99.0, 100.0)):
        part = read_stretch(path, begin, end)
        np.testing.assert_array_equal(part.signal, whole.signal[:, part.first : part.first + part.signal.shape[1]])


@pytest.mark.parametrize("suffix", [".edf", ".bdf"])
def test_the_gaps_of_discontinuous_edf_are_missing(tmp_path: Path, suffix: str) -> None:
    """Records at 0, 1 and 3.5 s of a file that begins at 0.25 s; the second lead has half the rate."""
    fast, slow = np.arange(1, 301), np.arange(1, 151)
    rows = [Signal("V1", "mV", fast), Signal("V2", "mV", slow)]
    path = edf(tmp_path / f"rec{suffix}", rows, records=3, onsets=[0.25, 1.25, 3.75])
    record = read_record(path)
    assert (record.fs, record.samples) == (100.0, 450)
    wanted = np.concatenate([fast[:200], np.full(150, np.nan), fast[200:]]) * (
        32767 / (8388607 if suffix == ".bdf" else 32767)
    )
    np.testing.assert_allclose(record.signal[0], wanted, rtol=1e-5)
    assert np.isnan(record.signal[1]).any()
    assert "discontinuous EDF+: 1 gaps, 1.5 s in all, are missing" in record.notes
    assert partial_length(path) is None  # read whole


def test_discontinuous_edf_without_gaps_is_read_like_any(tmp_path: Path) -> None:
    row = np.arange(300)
    record = read_record(edf(tmp_path / "a.edf", [Signal("V1", "mV", row)], records=3, onsets=[0, 1, 2]))
    np.testing.assert_allclose(record.signal[0], row, rtol=1e-5)
    assert not any("discontinuous" in note for note in record.notes)
    # Onsets between two samples: each record has all its samples, the nearest place, and no overlap.
    record = read_record(edf(tmp_path / "b.edf", [Signal("V1", "mV", row)], records=3, onsets=[0, 1.0024, 1.9981]))
    np.testing.assert_allclose(record.signal[0], row, rtol=1e-5)
    assert not any("discontinuous" in note for note in record.notes)


@pytest.mark.parametrize("onsets", [[0, 2, 1], [0, 0.5, 2], [0, 1, 1e9], [0, 1, np.nan]])
def test_discontinuous_edf_with_times_that_cannot_be(tmp_path: Path, onsets: list[float]) -> None:
    path = edf(tmp_path / "rec.edf", [Signal("V1", "mV", np.arange(300))], records=3, onsets=onsets)
    said = refused(path)
    assert "overlap; export it as EDF+C" in said or "lie far apart" in said
    content = path.read_bytes().replace(b"EDF Annotations", b"V2             ")
    path.write_bytes(content)
    assert "without the times of its data records; export it as EDF+C" in refused(path)


def test_damaged_edf_gets_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = edf(tmp_path / "rec.edf", [Signal("I", "uV", np.arange(200))], records=2).read_bytes()
    for size in (0, 10, 255, 300, 512, len(whole) - 2):
        (tmp_path / "cut.edf").write_bytes(whole[:size])
        assert "copy the file again" in refused(tmp_path / "cut.edf")
        assert partial_length(tmp_path / "cut.edf") is None
    with pytest.raises(EcgcamError, match="not a recording that can be read in parts; read it whole"):
        read_stretch(tmp_path / "cut.edf", 0, 1)
    assert "no such recording" in refused(tmp_path / "none.edf")
    (tmp_path / "long.edf").write_bytes(whole + b"\0\0")
    assert "2 bytes after the last data record are ignored" in read_record(tmp_path / "long.edf").notes
    (tmp_path / "open.edf").write_bytes(whole[:236] + b"-1      " + whole[244:])
    note = "the header does not state how much was recorded: the file has 2 data records"
    assert note in read_record(tmp_path / "open.edf").notes
    assert capfd.readouterr().out == ""


def test_annotations_are_no_channel_that_a_caller_names(tmp_path: Path) -> None:
    rows = [
        Signal("a", "uV", np.arange(200)),
        Signal("EDF Annotations", "", np.zeros(40)),
        Signal("b", "uV", np.arange(200) % 7),
    ]
    path = edf(tmp_path / "rec.edf", rows, records=2)
    got = read_record(path, lead_names=("I", "V1"))
    assert got.leads == ("I", "V1")
    np.testing.assert_allclose(got.signal[0], np.arange(200) * got.signal[0, 1], rtol=1e-5)
    assert (got.signal[1, :7] == got.signal[1, 7:14]).all()


def test_edf_headers_that_cannot_be(tmp_path: Path) -> None:
    whole = edf(tmp_path / "rec.edf", [Signal("I", "uV", np.arange(200))], records=2).read_bytes()
    for field, value, says in (
        (252, b"0   ", "states 0 signals"),
        (252, b"-1  ", "states -1 signals"),
        (252, b"Bob ", "damaged header"),
        (244, b"0       ", "data records of 0 s"),
    ):
        (tmp_path / "bad.edf").write_bytes(whole[:field] + value + whole[field + len(value) :])
        said = refused(tmp_path / "bad.edf")
        assert says in said
        assert "Bob" not in said


def test_leads_that_end_before_the_others_are_missing_there(tmp_path: Path) -> None:
    path = aecg(tmp_path / "rec.xml", times() + sequence("MDC_ECG_LEAD_I", "4 8 12") + sequence("MDC_ECG_LEAD_V1", "4"))
    got = read_record(path)
    np.testing.assert_allclose(got.signal, [[0.01, 0.02, 0.03], [0.01, np.nan, np.nan]], rtol=1e-6)
    assert "leads that end before the others: MDC_ECG_LEAD_V1" in got.notes


def test_rates_that_no_ecg_has_are_named(tmp_path: Path) -> None:
    path = edf(tmp_path / "rec.edf", [Signal("V1", "uV", np.ones(2)), Signal("V2", "uV", np.ones(250))])
    assert "its leads have sampling rates that are not possible for an ECG (V1 2, V2 250 Hz)" in refused(path)


def test_a_stretch_is_doubted_as_the_whole_is(tmp_path: Path) -> None:
    row = np.random.default_rng(0).integers(-9, 9, 3000)
    path = edf(tmp_path / "rec.edf", [Signal("V1", "uV", row), Signal("V2", "uV", row)], records=30)
    same = "leads that are the same signal, sample by sample: V1 and V2"
    assert same in read_record(path).notes
    assert same in read_stretch(path, 10, 20).notes


# XML


def test_aecg_by_hand(tmp_path: Path) -> None:
    path = aecg(
        tmp_path / "rec.xml",
        times() + sequence("MDC_ECG_LEAD_II", " 4 -8\n 0 ") + sequence("MDC_ECG_LEAD_V1", "1 2 3", origin="10"),
    )
    got = read_record(path)
    assert (got.name, got.leads, got.fs) == ("rec", ("II", "V1"), 500.0)
    np.testing.assert_allclose(got.signal, [[0.01, -0.02, 0], [0.0125, 0.015, 0.0175]], rtol=1e-6, atol=1e-9)


def test_leads_recorded_one_after_the_other_keep_their_times(tmp_path: Path) -> None:
    path = aecg(
        tmp_path / "rec.xml",
        times() + sequence("MDC_ECG_LEAD_I", "4 8"),
        times(head="20021122091000.006") + sequence("MDC_ECG_LEAD_V1", "12 16"),
    )
    got = read_record(path)
    gap = np.nan
    np.testing.assert_allclose(got.signal, [[0.01, 0.02, gap, gap, gap], [gap, gap, gap, 0.03, 0.04]], rtol=1e-6)


def seconds(value: str, unit: str = "s") -> str:
    return times().replace('value="20021122091000.000"', f'value="{value}" unit="{unit}"')


def test_parts_whose_begin_is_a_number_of_seconds(tmp_path: Path) -> None:
    parts = [begin + sequence("MDC_ECG_LEAD_I", "4 8") for begin in (seconds("3000000", "us"), seconds("3008", "ms"))]
    got = read_record(aecg(tmp_path / "rec.xml", *parts))
    np.testing.assert_allclose(got.signal, [[0.01, 0.02, np.nan, np.nan, 0.01, 0.02]], rtol=1e-6)


@pytest.mark.parametrize(
    ("begin", "says"),
    [
        *[(seconds(text), "of several rates or unknown times") for text in ("nan", "inf", "1e999", "soon")],
        (seconds("3", "fortnight"), "of several rates or unknown times"),
        (times(head="yesterday"), "of several rates or unknown times"),
        (times(head="20021399"), "of several rates or unknown times"),
        (times("0.004"), "of several rates or unknown times"),
        (seconds("1e308"), "its parts lie 1e+308 s apart"),
        (seconds("86401"), "its parts lie 86401 s apart"),
        (seconds("86399.999"), "its parts last 86400 s together"),
    ],
)
def test_parts_that_cannot_be_laid_out_get_one_line(tmp_path: Path, begin: str, says: str) -> None:
    first, second = (seconds("0") + sequence("MDC_ECG_LEAD_I", "4 8"), begin + sequence("MDC_ECG_LEAD_V1", "1 2"))
    assert says in refused(aecg(tmp_path / "rec.xml", first, second))


def test_parts_whose_leads_change_their_unit_get_one_line(tmp_path: Path) -> None:
    first, second = (
        sequence("MDC_ECG_LEAD_I", "4 8", scale=f'<scale value="1" unit="{unit}"/>') for unit in ("uV", "mV")
    )
    path = aecg(tmp_path / "rec.xml", seconds("0") + first, seconds("1") + second)
    assert "MDC_ECG_LEAD_I changes its unit between its parts" in refused(path)


def test_the_time_between_samples_in_milliseconds(tmp_path: Path) -> None:
    path = aecg(tmp_path / "rec.xml", times("4").replace('unit="s"', 'unit="ms"') + sequence("MDC_ECG_LEAD_I", "4 8"))
    assert read_record(path).fs == 250


def test_leads_of_rates_that_do_not_divide_end_together() -> None:
    """A hundred samples at 128 Hz are 195.3 at 250 Hz; the row is 195 long, as the other lead's."""
    rows = [Channel("V1", "mV", 128.0, np.ones(100)), Channel("V2", "mV", 250.0, np.ones(195))]
    got = record_from(Path("rec"), "rec", rows)
    assert got.signal.shape == (2, 195)
    assert np.isfinite(got.signal).all()


def test_the_longest_series_is_read(tmp_path: Path) -> None:
    path = aecg(tmp_path / "rec.xml", times() + sequence("MDC_ECG_LEAD_I", "4 8"))
    longer = aecg(tmp_path / "longer.xml", times() + sequence("MDC_ECG_LEAD_V1", "12 16 20")).read_text()
    series = longer[longer.index("<component><series>") : longer.index("</AnnotatedECG>")]
    path.write_text(path.read_text().replace("</AnnotatedECG>", f"{series}</AnnotatedECG>"))
    got = read_record(path)
    assert (got.leads, got.samples) == (("V1",), 3)
    assert "the longest of 2 series is read" in got.notes


def test_an_aecg_origin_of_another_unit(tmp_path: Path) -> None:
    lead = sequence("MDC_ECG_LEAD_I", "4 8", scale='<scale value="0.5" unit="mV"/>', origin="250")
    np.testing.assert_allclose(read_record(aecg(tmp_path / "rec.xml", times() + lead)).signal, [[2.25, 4.25]])
    without = lead.replace('<origin value="250" unit="uV"/>', "")
    np.testing.assert_allclose(read_record(aecg(tmp_path / "rec.xml", times() + without)).signal, [[2, 4]])


def test_sequences_without_code_or_value_are_passed_over(tmp_path: Path) -> None:
    empty = "<component><sequence/></component><component><sequence><code/><value/></sequence></component>"
    assert read_record(aecg(tmp_path / "rec.xml", empty + times() + sequence("MDC_ECG_LEAD_I", "4 8"))).samples == 2


@pytest.mark.parametrize(
    ("inside", "says"),
    [
        ("", "without a waveform"),
        (times() + sequence("MDC_ECG_LEAD_I", "").replace("<digits></digits>", ""), "has no digits"),
        (sequence("MDC_ECG_LEAD_I", "1 2"), "does not state the time between samples"),
        (times("0") + sequence("MDC_ECG_LEAD_I", "1 2"), "the time between samples is 0"),
        (times("x") + sequence("MDC_ECG_LEAD_I", "1 2"), "not stated as a number"),
        (times() + sequence("MDC_ECG_LEAD_I", "1 b"), "holds values that are not numbers"),
        (times() + sequence("MDC_ECG_LEAD_I", ""), "the recording is empty"),
        (times() + sequence("MDC_ECG_LEAD_I", "1 2", scale='<scale value="0" unit="uV"/>'), "a scale of 0"),
        (times() + sequence("MDC_ECG_LEAD_I", "1 2", scale=""), "is not stated as a number"),
        (
            times() + sequence("MDC_ECG_LEAD_I", "1 2", scale='<scale value="1" unit="s"/>'),
            "mixes the units 's' and 'uV'",
        ),
        (times("0.5") + sequence("MDC_ECG_LEAD_I", "1 2"), "a sampling rate of 2 Hz is not possible"),
    ],
)
def test_damaged_aecg_gets_one_line(tmp_path: Path, inside: str, says: str) -> None:
    assert says in refused(aecg(tmp_path / "rec.xml", inside))


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    "document",
    [
        f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]><AnnotatedECG>&l9;</AnnotatedECG>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><AnnotatedECG>&x;</AnnotatedECG>',
        '<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1:9/x.dtd"> %x;]><AnnotatedECG/>',
        f'<!DOCTYPE a [<!ENTITY q "{"a" * 1000}">]><AnnotatedECG>{"&q;" * 1000}</AnnotatedECG>',
    ],
)
def test_entities_are_refused(tmp_path: Path, document: str) -> None:
    (tmp_path / "rec.xml").write_text(document)
    assert "declares XML entities, which are never expanded" in refused(tmp_path / "rec.xml")


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("", "not a readable XML file"),
        ("<AnnotatedECG><component>", "not a readable XML file"),
        ("<AnnotatedECG>&nbsp;</AnnotatedECG>", "not a readable XML file"),
        ('<?xml version="1.0" encoding="no-such"?><a/>', "not a readable XML file"),
        ("<svg/>", "is XML of another kind, <svg>"),
        ("<RestingECG/>", "is a GE MUSE ECG without a rhythm waveform"),
        ("<a>" * 100_000, "nested more than 200 deep"),
        ('<!DOCTYPE AnnotatedECG SYSTEM "http://127.0.0.1:9/x.dtd"><AnnotatedECG/>', "without a waveform"),
    ],
)
def test_xml_of_other_kinds(tmp_path: Path, document: str, says: str) -> None:
    (tmp_path / "rec.xml").write_text(document)
    assert says in refused(tmp_path / "rec.xml")


# Philips Sierra


def sierra_leads() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {lead: np.cumsum(rng.integers(-9, 10, 1000)) for lead in CANONICAL_LEADS}


def test_sierra_by_hand(tmp_path: Path) -> None:
    """The limb leads stored are what is left of I and II; here 0, so that they are what Einthoven and Goldberger say."""
    rows = sierra_leads()
    for lead in ("III", "aVR", "aVL", "aVF"):
        rows[lead] = np.zeros(1000, int)
    packed = b"".join(chunk(*bent(row)) for row in rows.values())
    path = sierra(tmp_path / "rec.xml", packed, " ".join(rows), 1000)
    got = read_record(path)
    assert (got.leads, got.fs, got.notes) == (CANONICAL_LEADS, 500.0, ("converted to mV: uV",))
    for lead in ("I", "II", "V1", "V6"):
        np.testing.assert_allclose(got.signal[got.leads.index(lead)], rows[lead] * 0.005, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(got.signal[2], (rows["II"] - rows["I"]) * 0.005, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(got.signal[3], -((rows["I"] + rows["II"]) // 2) * 0.005, rtol=1e-5, atol=1e-7)
    third = rows["II"] - rows["I"]
    np.testing.assert_allclose(got.signal[4], (rows["I"] - third) // 2 * 0.005, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(got.signal[5], (rows["II"] + third) // 2 * 0.005, rtol=1e-5, atol=1e-7)


def test_a_calibration_pulse_is_no_signal(tmp_path: Path) -> None:
    rows = {lead: row for lead, row in sierra_leads().items() if lead in {"I", "II", "V1"}}
    pulse = np.repeat([0, 200, 0], 50)
    packed = b"".join(chunk(*bent(np.concatenate([row[:850], pulse]))) for row in rows.values())
    got = read_record(sierra(tmp_path / "rec.xml", packed, " ".join(rows), 1000))
    assert got.samples == 850
    assert "a calibration pulse from 1.7 s to the end is left out" in got.notes


def test_damaged_sierra_gets_one_line(tmp_path: Path) -> None:
    one = chunk(*bent(np.arange(100)))
    path = tmp_path / "rec.xml"
    for packed, leads, samples, says in (
        (one, "I II", 100, "unpack"),
        (one + one[:-9], "I II", 100, "lead 2 of 2 is cut off"),
        (one, "I", 200, "has 100 samples where 200 are expected"),
        (b"\xff\xff\xff\x7f" + one[4:], "I", 100, "is cut off"),
        (one + one, "II III", 100, "with III and without I and II"),
    ):
        assert says in refused(sierra(path, packed, leads, samples))
    assert "only Base64 and XLI are read" in refused(sierra(path, one, "I", 100, compression="Uncompressed"))
    assert "possible; the file is damaged, export it again" in refused(sierra(path, one, "I", 10**9))
    unknown = "".join(f"{code:010b}" for code in (1, 400)) + "0000"
    bad = b"\x03\0\0\0\0\0\0\0" + int(unknown, 2).to_bytes(3, "big")
    assert "code 400 where 256 are known" in refused(sierra(path, bad, "I", 2))


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        ('samplespersecond="500" ', "", "does not state its rate"),
        ('resolution="5"', 'resolution="0"', "a resolution of 0 is not possible"),
        ('resolution="5"', 'resolution="nan"', "a resolution of nan is not possible"),
        ('leadlabels="I" ', "", "of the lead set '', which names no leads"),
        ("</parsedwaveforms>", "\u00e9</parsedwaveforms>", "cannot be unpacked"),
    ],
)
def test_sierra_that_leaves_something_out(tmp_path: Path, was: str, becomes: str, says: str) -> None:
    path = sierra(tmp_path / "rec.xml", chunk(*bent(np.arange(100))), "I", 100, encoding="utf-8")
    text = path.read_text()
    assert was in text
    path.write_text(text.replace(was, becomes), encoding="utf-8")
    assert says in refused(path)


def test_sierra_without_a_waveform(tmp_path: Path) -> None:
    path = tmp_path / "rec.xml"
    for inside in ("", "<waveforms><parsedwaveforms> </parsedwaveforms></waveforms>"):
        path.write_text(f"<restingecgdata>{inside}</restingecgdata>")
        assert "is a Philips Sierra ECG without a waveform" in refused(path)


def test_sierra_1_04_says_its_traits_beside_the_waveform_and_names_a_lead_set(tmp_path: Path) -> None:
    rows = sierra_leads() | {lead: np.zeros(1000, int) for lead in ("III", "aVR", "aVL", "aVF")}
    path = sierra(
        tmp_path / "rec.xml", b"".join(chunk(*bent(row)) for row in rows.values()), "", 1000, encoding="utf-8"
    )
    about = (
        "<dataacquisition><signalcharacteristics><samplingrate>250</samplingrate><signalresolution>4</signalresolution>"
        "<signaloffset>100</signaloffset><acquisitiontype>STD-12</acquisitiontype></signalcharacteristics></dataacquisition>"
    )
    text = path.read_text()
    for attribute in (
        'leadlabels=""',
        'numberofleads="0"',
        'samplespersecond="500"',
        'resolution="5"',
        'signaloffset="0"',
    ):
        text = text.replace(attribute, "")
    text = text.replace('durationperchannel="2000"', 'durationperchannel="4000"')
    path.write_text(text.replace("<waveforms>", f"{about}<waveforms>"), encoding="utf-8")
    got = read_record(path)
    assert (got.leads, got.fs, got.samples) == (CANONICAL_LEADS, 250.0, 1000)
    np.testing.assert_allclose(got.signal[0], (rows["I"] - 100) * 0.004, rtol=1e-5, atol=1e-7)


def test_sierra_values_beyond_16_bits_are_damage(tmp_path: Path) -> None:
    path = sierra(tmp_path / "rec.xml", chunk([0, 30000, *[64] * 9]), "I", 11)
    assert "values beyond 16 bits" in refused(path)
    path = sierra(tmp_path / "rec.xml", chunk([100, 200]), "I", 2)  # too short to be bent
    np.testing.assert_allclose(read_record(path).signal, [[0.5, 1.0]])


def test_a_lead_cannot_unpack_to_more_than_it_lasts(tmp_path: Path) -> None:
    """Codes 256, 257, ... each stand for one byte more than the one before."""
    bits = "".join(f"{code:010b}" for code in (0, *range(256, 1022)))
    bits += "0" * (-len(bits) % 8)
    packed = int(bits, 2).to_bytes(len(bits) // 8, "big")
    path = sierra(tmp_path / "rec.xml", len(packed).to_bytes(4, "little") + b"\0" * 4 + packed, "I", 100)
    assert "more than 65936 bytes a lead" in refused(path)


# DICOM


def waveform() -> Path:
    """The 12-lead waveform that pydicom brings."""
    pydicom = pytest.importorskip("pydicom")
    return Path(pydicom.examples.get_path("waveform"))


def test_dicom_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "rec.dcm"
    path.write_bytes(waveform().read_bytes())
    got = read_record(path)
    assert (got.name, got.leads, got.fs, got.samples) == ("rec", CANONICAL_LEADS, 1000.0, 10000)
    assert "1 of 2 waveforms left out (median beats, or leads that a longer one has)" in got.notes
    data = path.read_bytes()
    first = data.index(
        bytes.fromhex("00541010") + b"OW"
    )  # (5400,1010) Waveform Data, 4 bytes of length after 2 of padding
    assert int.from_bytes(data[first + 8 : first + 12], "little") == 240_000
    raw = (
        np.frombuffer(data[first + 12 : first + 240_012], "<i2").reshape(-1, 12).T
    )  # I II III aVR aVL aVF V1 ... 1.25 µV
    np.testing.assert_allclose(got.signal, raw * 0.00125, rtol=1e-6)


def test_dicom_leads_go_by_code_whatever_the_words(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    held = pydicom.dcmread(waveform())
    for channel, code in zip(
        held.WaveformSequence[0].ChannelDefinitionSequence, ("2:1", "131074", "MDC_2:61"), strict=False
    ):
        channel.ChannelSourceSequence[0].CodeValue = code
        channel.ChannelSourceSequence[0].CodeMeaning = "Ableitung"
    held.save_as(tmp_path / "rec.dcm")
    assert read_record(tmp_path / "rec.dcm").leads == CANONICAL_LEADS


def test_damaged_dicom_gets_one_line(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    whole, path = waveform().read_bytes(), tmp_path / "rec.dcm"
    for size in (0, 100, 140, 5000, 100_000):
        path.write_bytes(whole[:size])
        refused(path)
    held = pydicom.dcmread(waveform())
    for change, says in (
        (lambda group: setattr(group, "NumberOfWaveformSamples", 2**31), "not a readable DICOM file"),
        (lambda group: setattr(group, "SamplingFrequency", "0"), "not a readable DICOM file"),
        (
            lambda group: delattr(group.ChannelDefinitionSequence[0], "ChannelSensitivityUnitsSequence"),
            "no sensitivity",
        ),
        (lambda group: setattr(group.ChannelDefinitionSequence[0], "ChannelSensitivity", 0), "a sensitivity of 0"),
    ):
        held = pydicom.dcmread(waveform())
        change(held.WaveformSequence[0])
        held.save_as(path)
        assert says in refused(path)
    del held.WaveformSequence
    held.save_as(path)
    assert "is a DICOM file without a waveform (ECG)" in refused(path)


def test_a_damaged_file_tells_no_names(tmp_path: Path) -> None:
    """Bytes cut out of a header shift a patient's name to where a number or a code belongs."""
    pydicom = pytest.importorskip("pydicom")
    held = pydicom.dcmread(waveform())
    source = held.WaveformSequence[0].ChannelDefinitionSequence[0].ChannelSourceSequence[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom knows better than to write this
        held.PatientName, held.Modality = "Secret^Name", "Secret^Name"
        source.CodeMeaning, source.CodeValue = "Secret\x1b[2J\nName", "5.6.3-9-99"
        held.save_as(tmp_path / "a.dcm")
        del held.WaveformSequence
        held.save_as(tmp_path / "b.dcm")
    assert all(note.isprintable() for note in read_record(tmp_path / "a.dcm").notes)
    assert "Secret" not in refused(tmp_path / "b.dcm")
    whole = edf(tmp_path / "c.edf", [Signal("I", "uV", np.arange(200))], records=2).read_bytes()
    (tmp_path / "c.edf").write_bytes(whole[:8] + b" " * 226 + b"Secret Name".ljust(80) + whole[88:])
    assert "Secret" not in refused(tmp_path / "c.edf")


def test_a_deflated_dicom_is_never_unpacked(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    held = pydicom.dcmread(waveform())
    held.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    held.save_as(tmp_path / "rec.dcm")
    assert "deflated DICOM file, which is never unpacked" in refused(tmp_path / "rec.dcm")


# All of them


@pytest.mark.parametrize(
    ("suffix", "library", "extra", "content"),
    [(".h5", "h5py", "hdf5", b"\x89HDF\r\n\x1a\n"), (".dcm", "pydicom", "dicom", b"")],
)
def test_a_missing_extra_is_named(
    tmp_path: Path, suffix: str, library: str, extra: str, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    path = tmp_path / f"rec{suffix}"
    path.write_bytes(content + bytes(200))
    assert f"pip install 'ecgcam[{extra}]'" in refused(path)


def test_every_suffix_is_found_in_folders_and_left_out_of_names(tmp_path: Path) -> None:
    assert {
        ".edf", ".bdf", ".xml", ".dcm", ".hea", ".dat", ".npy", ".npz", ".mat", ".csv", ".tsv",
        ".h5", ".hdf5", ".scp", ".ecg", ".mwf"
    } == SUFFIXES  # fmt: skip
    for suffix in (".edf", ".BDF", ".xml", ".dcm"):
        (tmp_path / f"a{suffix.lower()}{suffix}").touch()
        assert record_name(Path(f"some.thing{suffix}")) == "some.thing"
    assert [item.path.suffix for item in find_recordings([str(tmp_path)])] == [".BDF", ".dcm", ".edf", ".xml"]


# Real files


def tree(path: Path) -> ElementTree.ElementTree:
    return ElementTree.parse(path)  # noqa: S314  (a file that is known)


@pytest.mark.shared
def test_the_aecg_example_digit_by_digit(shared: Path) -> None:
    path = shared / "data/formats/hl7_aecg_fda_example.xml"
    got = read_record(path)
    assert (got.leads, got.fs, got.seconds) == (CANONICAL_LEADS, 500.0, 10.0)
    hl7 = "{urn:hl7-org:v3}"
    for one in tree(path).iterfind("{*}component/{*}series/{*}component/{*}sequenceSet/{*}component/{*}sequence"):
        code = one.find(f"{hl7}code").get("code")
        if code.startswith("MDC_ECG_LEAD_"):
            row = [lead.upper() for lead in CANONICAL_LEADS].index(code.removeprefix("MDC_ECG_LEAD_"))
            digits = np.array([int(word) for word in one.find(f"{hl7}value/{hl7}digits").text.split()])
            np.testing.assert_allclose(got.signal[row], digits * 0.0025, atol=1e-6)  # 2.5 µV a digit


@pytest.mark.shared
@pytest.mark.parametrize(("name", "seconds"), [("philips_sierra_1_03", 10.53), ("philips_sierra_1_04_demo", 10.6)])
def test_sierra_examples_have_the_waves_that_their_device_measured(shared: Path, name: str, seconds: float) -> None:
    """Each lead's lowest and highest waves, as the device wrote them beside the waveform, in µV."""
    path = shared / f"data/formats/{name}.xml"
    got = read_record(path)
    assert (got.leads, got.fs) == (CANONICAL_LEADS, 500.0)
    assert got.seconds == pytest.approx(seconds, abs=0.005)
    assert not any("Einthoven" in note for note in got.notes)
    waves = ("pamp", "qamp", "ramp", "samp", "rpamp", "spamp", "tamp")
    measured = {
        one.get("leadname"): [float(one.findtext(f"{{*}}{wave}")) for wave in waves]
        for one in tree(path).iter("{http://www3.medical.philips.com}leadmeasurement")
    }
    assert set(measured) >= set(CANONICAL_LEADS)
    for lead, row in zip(got.leads, got.signal, strict=True):
        height = max(0, *measured[lead]) - min(0, *measured[lead])
        assert np.ptp(row) * 1000 == pytest.approx(height, rel=0.25, abs=60), lead


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.peers
@pytest.mark.parametrize("name", ["philips_sierra_1_03", "philips_sierra_1_04_demo"])
def test_sierra_as_sierraecg_reads_it(shared: Path, name: str) -> None:
    sierraecg = pytest.importorskip("sierraecg")
    path = shared / f"data/formats/{name}.xml"
    got = read_record(path)
    for row, lead in zip(got.signal, sierraecg.read_file(str(path)).leads, strict=True):
        np.testing.assert_array_equal(np.round(row / 0.005), lead.samples[: got.samples])
