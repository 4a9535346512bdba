"""Valid DICOM, GE MUSE, SCP-ECG, ISHNE, CSV and HDF5 files by construction are read as they were written, value by value."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecgcam.errors import EcgcamError
from ecgcam.records import CANONICAL_LEADS, Record, read_record
from ecgcam.records.readers import partial_length, read_stretch, record_name, recordings_in, sniff
from tests.fuzz.structured import a_folder, examples
from tests.records.more_by_hand import (
    Beat,
    Bimodal,
    Group,
    Whole,
    dicom,
    ishne,
    mfer,
    mu_law_bytes,
    muse,
    muse_lead,
    muse_waveform,
    scp,
)

LEADS = st.lists(st.sampled_from(CANONICAL_LEADS), min_size=1, max_size=12, unique=True)
SEEDS = st.integers(0, 2**32 - 1)


def stored(seed: int, channels: int, count: int, reach: int) -> Whole:
    """Whole numbers, (channels, count): a walk of small steps with some jumps, all within `reach`."""
    random = np.random.default_rng(seed)
    steps = random.integers(-6, 7, (channels, count)) + random.integers(
        -reach // 2, reach // 2 + 1, (channels, count)
    ) * (random.random((channels, count)) < 0.05)
    walk: Whole = np.clip(steps.cumsum(axis=1), -reach, reach).astype(np.int64)
    walk[:, 0] += (walk == walk[:, :1]).all(axis=1)  # no lead is constant
    return walk


def assert_rows(record: Record, leads: list[str], millivolts: npt.NDArray[np.float64]) -> None:
    own = [lead for lead in record.leads if lead not in record.derived]
    assert set(own) == set(leads)
    for lead, wanted in zip(leads, millivolts, strict=True):
        np.testing.assert_allclose(record.signal[record.leads.index(lead)], wanted, rtol=1e-6, atol=1e-9, err_msg=lead)


# DICOM


@examples
@given(
    LEADS, st.integers(20, 200), SEEDS, st.sampled_from(("SS", "SB", "US", "UB", "SL", "SS12", "SS12 masked")),
    st.booleans(), st.booleans(), st.sampled_from(("SCPECG", "MDC", "99X", "label")), st.data(),
)  # fmt: skip
def test_dicom(
    leads: list[str], count: int, seed: int, kind: str, big: bool, preamble: bool, scheme: str, data: st.DataObject
) -> None:
    kind, _, masked = kind.partition(" ")
    bits = 12 if kind == "SS12" else None
    kind = kind[:2]
    top = {"SS": 32767, "SL": (1 << 31) - 1, "US": 65535, "SB": 127, "UB": 255}[kind] if bits is None else 2047
    values = stored(seed, len(leads), count, min(top // 3, 2000)).T
    if kind[0] == "U":
        values = values + top // 2
    written, wanted = values.copy(), values.astype(float)
    padding = None
    if kind[0] == "S" and data.draw(st.booleans()):
        padding = -top - 1
        missing = np.random.default_rng(seed).random(values.shape) < 0.1
        missing[0] = False
        written[missing], wanted[missing] = padding, np.nan
    if masked:
        written &= 0xFFF
        padding = None if padding is None else padding & 0xFFF
    baseline = data.draw(st.sampled_from((0.0, 12.5, -300.0)))
    group = Group(
        leads, written, data.draw(st.sampled_from((250.0, 500.0, 1000.0))), kind=kind, bits=bits, padding=padding,
        scheme=scheme, baseline=baseline, sensitivity=data.draw(st.sampled_from((2.5, 4.88, 1.0))),
    )  # fmt: skip
    with a_folder() as folder:
        path = dicom(folder / "IM000001", [group], big=big and preamble, preamble=preamble)
        found = sniff(path)
        assert found is not None
        assert found.name == "DICOM"
        record = read_record(path)
    assert record.fs == group.fs
    assert_rows(record, leads, (wanted.T * group.sensitivity + baseline) / 1000)


@examples
@given(st.permutations(CANONICAL_LEADS), st.integers(1, 4), SEEDS, st.booleans(), st.data())
def test_dicom_groups_lie_at_their_times(
    order: list[str], parts: int, seed: int, median: bool, data: st.DataObject
) -> None:
    """Groups one after another, overlapping, or side by side; a median beat that is left out."""
    size = 12 // parts
    offsets = [data.draw(st.integers(0, 50)) * 20 for _ in range(parts)]
    counts = [data.draw(st.integers(20, 80)) for _ in range(parts)]
    groups, wanted = [], {}
    first = min(offsets)
    end = max((offset - first) // 2 + count for offset, count in zip(offsets, counts, strict=True))
    for number in range(parts):
        leads = order[number * size : (number + 1) * size]
        values = stored(seed + number, size, counts[number], 900)
        groups.append(Group(leads, values.T, offset_ms=offsets[number]))
        for lead, row in zip(leads, values, strict=True):
            at = (offsets[number] - first) // 2  # 500 Hz
            wanted[lead] = np.full(end, np.nan)
            wanted[lead][at : at + len(row)] = row * 2.5e-3
    if median:
        groups.insert(
            data.draw(st.integers(0, parts)),
            Group(CANONICAL_LEADS, stored(seed, 12, 300, 900).T, derived=True, label="MEDIAN BEAT"),
        )
    with a_folder() as folder:
        record = read_record(dicom(folder / "rec.dcm", groups))
    assert_rows(record, list(wanted), np.stack(list(wanted.values())))
    assert any("waveforms left out" in note for note in record.notes) == median


def test_padding_that_is_an_ordinary_value_is_missing_at_the_ends_alone(tmp_path: Path) -> None:
    values = stored(1, 2, 400, 50).T
    values[100:110] = values[-30:] = values[:19] = 0
    values[19] = values[-31] = 1
    record = read_record(dicom(tmp_path / "rec.dcm", [Group(["I", "V1"], values, padding=0)]))
    # 30 samples at 500 Hz are 60 ms; 19 are 38 ms.
    assert np.isnan(record.signal).sum(axis=1).tolist() == [30, 30]
    assert np.isnan(record.signal[:, -30:]).all()


def test_companded_samples(tmp_path: Path) -> None:
    """G.711 by its definition: the decoder's output of each byte is the middle of the values that the encoder gives it."""
    codes = np.concatenate(
        [np.arange(0x7F, -1, -1), np.arange(0x80, 0x100)]
    )  # a walk from -0 down, then from the top down
    mu = read_record(dicom(tmp_path / "mu.dcm", [Group(["V1"], codes[:, None], kind="MB", sensitivity=1.0)]))
    law = read_record(dicom(tmp_path / "a.dcm", [Group(["V1"], codes[:, None] ^ 0x55, kind="AB", sensitivity=1.0)]))
    mu_law, a_law = np.zeros((2, 256))
    mu_law[codes], a_law[codes ^ 0x55] = mu.signal[0] * 1000, law.signal[0] * 1000
    # Recommendation G.711, tables 1a and 2a, x 8 and x 4 to 16 bits: first and last values of either sign.
    np.testing.assert_allclose(mu_law[[0x80, 0x8F, 0xFF, 0xFE, 0x7F, 0x00]], [32124, 16764, 0, 8, 0, -32124], atol=1e-3)
    np.testing.assert_allclose(a_law[[0xAA, 0xD5, 0xD4, 0x55, 0x2A]], [32256, 8, 24, -8, -32256], atol=1e-3)
    assert len(np.unique(mu_law)) == 255  # two zeros
    assert len(np.unique(a_law)) == 256


@examples
@given(LEADS, st.integers(30, 300), SEEDS, st.sampled_from((1, 8, 20)))
def test_companded_walks(leads: list[str], count: int, seed: int, factor: int) -> None:
    """Any walk, encoded by G.711, is read back within the encoder's step at each value."""
    values = stored(seed, len(leads), count, 1500) * factor
    group = Group(leads, mu_law_bytes(values).T, kind="MB", sensitivity=1.0)
    with a_folder() as folder:
        record = read_record(dicom(folder / "rec.dcm", [group]))
    for lead, row in zip(leads, values, strict=True):
        got = record.signal[record.leads.index(lead)] * 1000
        # Segment n holds magnitudes from 2^(n + 7) - 132 on, in 16 steps.
        segment = np.floor(np.log2(np.abs(row) + 132)) - 7
        assert (np.abs(got - row) <= 2.0 ** (segment + 2) + 1e-3).all()


def test_the_formula_of_mu_law_as_ascending_numbers_is_refused(tmp_path: Path) -> None:
    """Its full scale is lost: F(x) = sgn(x) ln(1 + 255 |x|) / ln 256 in 255 steps, which is not G.711."""
    shape = np.cumsum(np.random.default_rng(0).normal(0, 0.02, (2000, 3)), axis=0)
    shape = (shape - shape.mean(axis=0)) / np.abs(shape).max()
    numbers = np.floor((np.sign(shape) * np.log1p(255 * np.abs(shape)) / np.log(256) + 1) / 2 * 255).astype(int)
    for kind in ("MB", "AB"):
        path = dicom(tmp_path / f"{kind}.dcm", [Group(["I", "II", "V1"], numbers, kind=kind)])
        with pytest.raises(EcgcamError, match=r"not those of ITU-T G\.711.*export it again with 16 bits"):
            read_record(path)


# GE MUSE


@examples
@given(
    LEADS, st.integers(20, 300), SEEDS, st.sampled_from((1, 2, 4)), st.sampled_from(("ISO-8859-1", "UTF-8", "UTF-16")),
    st.sampled_from((("4.88", "MICROVOLTS", 4.88e-3), ("0.00488", "MILLIVOLTS", 4.88e-3), ("2.5", "uV", 2.5e-3))),
    st.sampled_from(((500, 0), (25, 1), (5000, -1))), st.booleans(), st.booleans(),
)  # fmt: skip
def test_muse(
    leads: list[str], count: int, seed: int, size: int, encoding: str, scale: tuple[str, str, float], rate: tuple[int, int],
    median: bool, median_first: bool,
) -> None:  # fmt: skip
    values = stored(seed, len(leads), count, 100 if size == 1 else 3000)
    lines = [muse_lead(lead, row, scale[0], scale[1], size) for lead, row in zip(leads, values, strict=True)]
    waveforms = [muse_waveform("Rhythm", lines, *rate)]
    if median:
        other = muse_waveform("Median", [muse_lead(lead, np.arange(600)) for lead in leads])
        waveforms.insert(0 if median_first else 1, other)
    with a_folder() as folder:
        record = read_record(muse(folder / "rec.xml", *waveforms, encoding=encoding))
    assert record.fs == rate[0] * 10.0 ** rate[1]
    assert_rows(record, leads, values * scale[2])
    assert ("waveforms left out: Median" in record.notes) == median


# SCP-ECG


@examples
@given(LEADS, st.integers(3, 120), SEEDS, st.integers(0, 2), st.booleans(), st.sampled_from((2500, 4880, 1)), st.data())
def test_scp(leads: list[str], count: int, seed: int, order: int, packed: bool, step: int, data: st.DataObject) -> None:
    starts = [1 + data.draw(st.sampled_from((0, 0, 7))) for _ in leads]
    values = stored(seed, len(leads), count, 4000)
    wanted = np.full((len(leads), count + max(starts) - min(starts)), np.nan)
    for row, start in enumerate(starts):
        at = start - min(starts)
        wanted[row, at : at + count] = values[row] * step * 1e-6
    with a_folder() as folder:
        path = scp(
            folder / "rec.scp", leads, list(values), step=step, interval=1000, order=order, packed=packed, starts=starts
        )
        record = read_record(path)
    assert record.fs == 1000.0
    assert_rows(record, leads, wanted)
    assert not any("checksum" in note for note in record.notes)


@examples
@given(LEADS, SEEDS, st.integers(0, 2), st.booleans())
def test_scp_with_reference_beats(leads: list[str], seed: int, order: int, packed: bool) -> None:
    """The beat is subtracted wherever the zones say, also where a zone is shorter than the beat or ends with the recording."""
    values = stored(seed, len(leads), 300, 3000)
    beat = stored(seed + 1, len(leads), 60, 3000)
    zones = [(11, 31, 70), (120, 130, 150), (260, 281, 300)]
    residual = values * 2500
    for first, peak, last in zones:
        for sample in range(first, last + 1):
            at = sample - (peak - 21 + 1)  # the beat's sample 21 lies on the peak
            if 0 <= at < 60:
                residual[:, sample - 1] -= beat[:, at] * 2500
    with a_folder() as folder:
        path = scp(
            folder / "rec.scp", leads, list(residual // 2500), step=2500, interval=1000, order=order, packed=packed,
            beat=Beat(list(beat), 21, 2500, zones),
        )  # fmt: skip
        record = read_record(path)
    assert_rows(record, leads, values * 2.5e-3)


@examples
@given(
    LEADS, SEEDS, st.integers(0, 2), st.booleans(), st.integers(2, 4), st.integers(0, 5),
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9)), min_size=1, max_size=4), st.booleans(),
)  # fmt: skip
def test_scp_with_bimodal_compression(
    leads: list[str],
    seed: int,
    order: int,
    packed: bool,
    factor: int,
    more: int,
    drawn: list[tuple[int, int]],
    subtracted: bool,
) -> None:
    """Zones are exact; elsewhere a mean lies in the middle of its group, with straight lines between, sample by sample."""
    size = 60 * factor + more
    zones, end = [], 0
    for gap, length in drawn:
        begin = end + factor * gap
        end = begin + factor * length
        if end <= size:
            zones.append((begin + 1, end))
    if not zones:
        zones.append((1, factor))
    values, beat = stored(seed, len(leads), size, 2000), stored(seed + 1, len(leads), 60, 2000)
    subtractions = [(5, 12, 5 + 9 * place) for place in range(len(zones))] if subtracted else [(9, 12, 3)] * len(zones)
    bimodal = Bimodal(zones, factor)
    with a_folder() as folder:
        path = scp(
            folder / "rec.scp", leads, list(values), step=2500, interval=1000, order=order, packed=packed,
            beat=Beat(list(beat), 21, 2500, subtractions), bimodal=bimodal,
        )  # fmt: skip
        record = read_record(path)
    wanted = np.full((len(leads), size), np.nan)
    for lead, row in enumerate(values):
        places, at = [], 1
        for value in bimodal.stored(row):
            inside = any(first <= at <= last for first, last in zones)
            width = 1 if inside else factor
            if at + width - 1 <= size:  # an incomplete group at the end is left out
                places.append((at + (width - 1) / 2, at + width - 1, value))
            at += width
        for sample in range(1, places[-1][1] + 1):
            before = [one for one in places if one[0] <= sample][-1:] or places[:1]
            after = [one for one in places if one[0] >= sample][:1] or places[-1:]
            (left, _, low), (right, _, high) = before[0], after[0]
            part = 0 if left >= right else (sample - left) / (right - left)
            wanted[lead, sample - 1] = low + part * (high - low)
        for first, peak, last in subtractions:
            for sample in range(first, min(last, size) + 1):
                if 0 <= sample - (peak - 20) < 60:
                    wanted[lead, sample - 1] += beat[lead, sample - (peak - 20)]
    assert (record.fs, record.samples) == (1000.0, size)
    assert_rows(record, leads, wanted * 2.5e-3)


def test_scp_bimodal_by_hand(tmp_path: Path) -> None:
    """Twelve samples, every second one stored but for 5 to 8: means 1, 5, the samples, means 30 and 50."""
    row = np.array([0, 2, 4, 6, 10, 11, 12, 13, 20, 40, 40, 60])
    path = scp(
        tmp_path / "rec.scp", ["V1"], [row], step=1000, interval=2000, order=0, packed=False,
        beat=Beat([np.zeros(2, int)], 1, 1000, [(9, 1, 1)]), bimodal=Bimodal([(5, 8)], 2),
    )  # fmt: skip
    record = read_record(path)
    assert record.fs == 500.0
    # Means lie at 1.5, 3.5, 9.5 and 11.5; sample 4 is a third of the way from 3.5 to 5.
    wanted = [1, 2, 4, 5 + 5 / 3, 10, 11, 12, 13, 13 + 17 / 1.5, 35, 45, 50]
    np.testing.assert_allclose(record.signal[0] * 1000, wanted, atol=1e-4)


@pytest.mark.parametrize("zones", [[(4, 8)], [(1, 3), (7, 9)]])
def test_scp_bimodal_zones_that_do_not_fit(tmp_path: Path, zones: list[tuple[int, int]]) -> None:
    path = scp(
        tmp_path / "rec.scp", ["V1"], [np.arange(20)], packed=False, order=0,
        beat=Beat([np.zeros(2, int)], 1, 1000, [(9, 1, 1)] * len(zones)), bimodal=Bimodal(zones, 2),
    )  # fmt: skip
    with pytest.raises(EcgcamError, match="zones do not fit its groups of 2 samples; export it without compression"):
        read_record(path)


# ISHNE


@examples
@given(LEADS, st.integers(10, 400), SEEDS, st.sampled_from((128, 200, 1000)), st.data())
def test_ishne(leads: list[str], count: int, seed: int, fs: int, data: st.DataObject) -> None:
    values = stored(seed, len(leads), count, 3000)
    wanted = values * 2.5e-3
    values[:, 4], wanted[:, 4] = -32768, np.nan
    with a_folder() as folder:
        path = ishne(folder / "rec.ecg", leads, list(values), fs=fs, extra=b"x" * data.draw(st.sampled_from((0, 13))))
        record, length = read_record(path), partial_length(path)
        assert length == (float(fs), count, True)
        begin = data.draw(st.floats(0, count / fs))
        part = read_stretch(path, begin, begin + 0.2)
    assert record.fs == fs
    assert_rows(record, leads, wanted)
    same = [row for row, lead in enumerate(record.leads) if lead not in record.derived]
    cut = record.signal[:, part.first : part.first + part.signal.shape[1]]
    np.testing.assert_array_equal(part.signal[same], cut[same])
    assert part.first <= begin * fs
    assert part.first + part.signal.shape[1] >= min(count, (begin + 0.2) * fs)


# MFER


@examples
@given(
    LEADS,
    st.integers(1, 8),
    st.integers(1, 40),
    SEEDS,
    st.booleans(),
    st.booleans(),
    st.sampled_from((0, 7, -300)),
    st.booleans(),
)
def test_mfer(
    leads: list[str], blocks: int, block: int, seed: int, big: bool, beat: bool, offset: int, gap: bool
) -> None:
    values = stored(seed, len(leads), blocks * block, 3000)
    wanted = (values + offset) * 2.5e-3
    if gap and blocks * block > 1:
        values[:, 1], wanted[:, 1] = -32768, np.nan
    with a_folder() as folder:
        path = mfer(
            folder / "rec.mwf", leads, list(values), big=big, block=block, offset=offset, beat=beat,
            missing=-32768 if gap else None,
        )  # fmt: skip
        found = sniff(path)
        assert found is not None
        assert found.name == "MFER"
        record = read_record(path)
    assert record.fs == 500.0
    assert_rows(record, leads, wanted)
    assert ("1 waveforms left out (not a recording)" in record.notes) == beat


# CSV


@examples
@given(
    LEADS, st.integers(5, 60), SEEDS, st.sampled_from((",", ";", "\t", "; comma", "\t comma")),
    st.sampled_from(("names", "time", "count", "keys")), st.sampled_from(("", "mV", "µV")),
    st.sampled_from(("utf-8", "utf-8-sig", "latin-1", "utf-16")), st.sampled_from(("\n", "\r\n")), st.booleans(),
)  # fmt: skip
def test_csv(
    leads: list[str],
    count: int,
    seed: int,
    separator: str,
    header: str,
    unit: str,
    encoding: str,
    newline: str,
    gap: bool,
) -> None:
    separator, _, comma = separator.partition(" ")
    values = stored(seed, len(leads), count, 3000).T / 8
    wanted = values * (1e-3 if unit == "µV" else 1.0)
    texts = [[f"{value:.3f}" for value in row] for row in values]
    if gap and len(leads) > 1:
        texts[2][0], wanted[2, 0] = "", np.nan
    names = [f"{lead} ({unit})" if unit else lead for lead in leads]
    lines = []
    if header == "time":
        names = ["time (ms)", *names]
        texts = [[f"{4 * row}", *cells] for row, cells in enumerate(texts)]
    elif header == "count":
        names = ["sample", *names]
        texts = [[str(row), *cells] for row, cells in enumerate(texts)]
    elif header == "keys":
        lines = [f"Name{separator}Nobody", f"Sample Rate{separator}250 hertz", f"Device{separator}a, b"]
    if comma:
        texts = [[cell.replace(".", ",") for cell in row] for row in texts]
    lines += [separator.join(row) for row in (names, *texts)]
    with a_folder() as folder:
        path = folder / "rec.csv"
        path.write_bytes((newline.join(lines) + newline).encode(encoding))
        found = sniff(path)
        assert found is not None
        assert found.name == "CSV"
        record = read_record(path, fs=None if header in {"time", "keys"} else 250)
    assert record.fs == 250.0
    assert_rows(record, leads, wanted.T)


# HDF5 and arrays of many


@examples
@given(
    st.integers(1, 5), st.integers(1, 4), SEEDS, st.booleans(), st.sampled_from((None, "gzip", "lzf")),
    st.sampled_from(("<f4", "<f8", ">f4", "<i2")), st.sampled_from(("h5", "npz", "npz packed")), st.booleans(),
)  # fmt: skip
def test_many_recordings_in_one_file(
    rows: int, channels: int, seed: int, across: bool, packed: str | None, kind: str, form: str, texts: bool
) -> None:
    leads = list(CANONICAL_LEADS[6 : 6 + channels])
    random = np.random.default_rng(seed)
    values = random.integers(-30, 30, (rows, channels, 50))
    array = (values.transpose(0, 2, 1) if across else values).astype(kind)
    ids = [f"e{number}-{seed % 7}" for number in range(rows)]
    marks = np.array(ids) if texts else np.arange(rows) * 3 + 100
    with a_folder() as folder:
        if form == "h5":
            path = folder / "set.h5"
            with h5py.File(path, "w") as file:
                file.create_dataset("ecg", data=array, compression=packed)
                file.create_dataset("exam_id", data=marks.astype("S") if texts else marks)
                file.attrs["fs"] = 300.0
        else:
            path = folder / "set.npz"
            save = np.savez_compressed if form.endswith("packed") else np.savez
            save(path, ecg=array, exam_id=marks, fs=300.0)
        named = recordings_in(path)
        assert named == [f"{path}#{number}" for number in range(rows)]
        for number in range(rows):
            by_id = f"{path}#id={marks[number]}"
            for reference in (named[number], by_id):
                record = read_record(reference, lead_names=leads)
                assert (record.name, record.fs, record.leads) == (f"set-{number}", 300.0, tuple(leads))
                assert record_name(Path(reference)) == f"set-{number}"
                np.testing.assert_array_equal(record.signal, values[number])


def test_the_same_seed_is_the_same_file(tmp_path: Path) -> None:
    """Findings can be repeated."""
    first = stored(7, 2, 30, 500)
    assert json.dumps(first.tolist()) == json.dumps(stored(7, 2, 30, 500).tolist())
    assert (np.abs(first) <= 501).all()
