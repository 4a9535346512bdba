"""Valid arrays, MATLAB files, EDF and model files by construction are read as they were written, value by value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.io import savemat

from ecgcam.errors import EcgcamError
from ecgcam.models.model_file import load_spec
from ecgcam.records import CANONICAL_LEADS, Record, read_record
from ecgcam.records.readers import partial_length, read_stretch
from tests.fuzz.structured import a_folder, examples
from tests.fuzz.structured_wfdb import common_points
from tests.records.formats_by_hand import Signal, edf

DTYPES = (
    "<i1",
    "<u1",
    "<i2",
    ">i2",
    "<u2",
    "<i4",
    ">i4",
    "<u4",
    "<i8",
    ">i8",
    "<u8",
    "<f2",
    "<f4",
    ">f4",
    "<f8",
    ">f8",
)
IN_MATLAB = tuple(dtype for dtype in DTYPES if dtype[0] == "<" and dtype != "<f2")
RATES = st.sampled_from((50, 100.0, 250, 360.0, 500, 333.33, 1000, 62.5)) | st.integers(50, 10_000)


@st.composite
def arrays(draw: st.DrawFn, dtypes: tuple[str, ...]) -> tuple[tuple[str, ...], npt.NDArray[Any]]:
    """Draw names of leads and samples (leads, N) of some type, with what is missing where the type can say so."""
    names = tuple(draw(st.lists(st.sampled_from(CANONICAL_LEADS), min_size=1, max_size=12, unique=True)))
    count = draw(st.integers(1, 60).filter(lambda count: count != len(names)))
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if dtype.kind == "f":
        values = random.normal(0, draw(st.sampled_from((1e-3, 1.0, 1000.0))), (len(names), count))
        gone = random.random(values.shape) < draw(st.sampled_from((0.0, 0.2)))
        gone[0, 0] = False
        values[gone] = draw(st.sampled_from((np.nan, np.inf, -np.inf)))
    else:
        limits = np.iinfo(dtype)
        values = random.integers(max(limits.min, -(10**6)), min(limits.max, 10**6), (len(names), count), endpoint=True)
    return names, values.astype(dtype)


def assert_leads(record: Record, names: tuple[str, ...], values: npt.NDArray[Any], fs: float) -> None:
    """The leads by their names, each value as single precision has it, and infinity missing."""
    assert record.fs == float(fs)
    assert {*record.leads} == {*names, *record.derived}
    wanted = values.astype(np.float64)
    wanted[np.isinf(wanted)] = np.nan
    for name, row in zip(names, wanted, strict=True):
        np.testing.assert_array_equal(record.signal[record.leads.index(name)], row.astype(np.float32), err_msg=name)


@examples
@given(arrays(DTYPES), RATES, st.booleans(), st.booleans())
def test_npy(held: tuple[tuple[str, ...], npt.NDArray[Any]], fs: float, turned: bool, by_columns: bool) -> None:
    names, values = held
    array = values.T if turned else values
    with a_folder() as folder:
        np.save(folder / "rec.npy", np.asfortranarray(array) if by_columns else np.ascontiguousarray(array))
        assert_leads(read_record(folder / "rec.npy", fs, names), names, values, fs)


@examples
@given(
    arrays(DTYPES), RATES, st.booleans(), st.sampled_from((np.savez, np.savez_compressed)),
    st.sampled_from(("signal", "ECG", "val", "p_signal", "anything")), st.sampled_from(("fs", "sampling_rate", "SFREQ")),
    st.sampled_from(("leads", "lead_names", "sig_name")), st.booleans(),
)  # fmt: skip
def test_npz(
    held: tuple[tuple[str, ...], npt.NDArray[Any]], fs: float, turned: bool, save: Any, signal: str, rate: str, leads: str,
    in_a_list: bool,
) -> None:  # fmt: skip
    names, values = held
    assume(signal != "anything" or values.size > 1)
    with a_folder() as folder:
        said = {rate: np.array([fs]) if in_a_list else fs, leads: np.array(names), "age": 60}
        save(folder / "rec.npz", **{signal: values.T if turned else values}, **said)
        assert_leads(read_record(folder / "rec.npz"), names, values, fs)
        if len(names) > 1 and len({*names[1:]} | {"V1"}) == len(names):
            turned_names = (*names[1:], names[0])
            got = read_record(folder / "rec.npz", lead_names=turned_names)
            assert_leads(got, turned_names, values, fs)
            assert any(note.startswith("`lead_names` overrules the file") for note in got.notes)


@examples
@given(arrays(IN_MATLAB), RATES, st.booleans(), st.sampled_from(("4", "cells", "characters", "packed")))
def test_mat(held: tuple[tuple[str, ...], npt.NDArray[Any]], fs: float, turned: bool, kind: str) -> None:
    names, values = held
    values = values.astype("<f8") if kind == "4" and values.dtype.str[1:] in {"i1", "u4", "i8", "u8"} else values
    content: dict[str, Any] = {"val": values.T if turned else values, "fs": fs}
    if kind != "4":
        content["leads"] = np.array(names, object)[None] if kind == "cells" else np.array(names)
    with a_folder() as folder:
        savemat(folder / "rec.mat", content, format="4" if kind == "4" else "5", do_compression=kind == "packed")
        assert_leads(read_record(folder / "rec.mat", lead_names=names if kind == "4" else None), names, values, fs)


@st.composite
def european(draw: st.DrawFn) -> tuple[str, int, float, list[tuple[str, Signal]]]:
    """Draw an EDF or BDF file: suffix, data records and their length, and the leads' signals."""
    suffix = draw(st.sampled_from((".edf", ".bdf")))
    records, seconds = draw(st.integers(1, 4)), draw(st.sampled_from((1.0, 2.0, 0.5)))
    names = draw(st.lists(st.sampled_from(CANONICAL_LEADS), min_size=1, max_size=6, unique=True))
    most = 8388607 if suffix == ".bdf" else 32767
    held = []
    for name in names:
        count = draw(st.sampled_from((50, 100, 125, 150, 200)))
        random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        samples = random.integers(-most, most, count * records, endpoint=True)
        label = draw(st.sampled_from((name, f"ECG {name}", f"EKG {name}")))
        held.append(
            (name, Signal(label, draw(st.sampled_from(("uV", "mV"))), samples, draw(st.sampled_from((5, 500, 3277)))))
        )
    return suffix, records, seconds, held


@examples
@given(european(), st.data())
def test_edf(drawn: tuple[str, int, float, list[tuple[str, Signal]]], data: st.DataObject) -> None:
    suffix, records, seconds, held = drawn
    full = 8388607 if suffix == ".bdf" else 32767
    most = max(len(one.samples) for _, one in held)
    with a_folder() as folder:
        path = edf(folder / f"rec{suffix}", [one for _, one in held], records, seconds)
        whole, length = read_record(path), partial_length(path)
        assert length is not None
        begin = data.draw(st.integers(0, length.samples - 1))
        end = data.draw(st.integers(begin + 1, length.samples))
        part = read_stretch(path, begin / length.fs, end / length.fs)
    assert whole.fs == length.fs == most / (records * seconds)
    assert whole.samples == part.samples == length.samples == most
    for name, one in held:
        wanted = np.asarray(one.samples) / full * one.tall * (1e-3 if one.unit == "uV" else 1.0)
        row = whole.signal[whole.leads.index(name)]
        near = {"rtol": 1e-5, "atol": 1e-5 * np.abs(wanted).max(), "err_msg": name}
        slow, fast = common_points(len(one.samples), most, len(wanted))
        np.testing.assert_allclose(row[fast], wanted[slow], **near)
        if len(one.samples) == most:
            there = row[part.first : part.first + part.signal.shape[1]]
            np.testing.assert_array_equal(part.signal[part.leads.index(name)], there)


# Model files

WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@st.composite
def model_files(draw: st.DrawFn) -> tuple[dict[str, Any], str]:
    """Draw a model file: what it says, by key, and its text, keys in any order."""
    leads = draw(st.lists(st.sampled_from(CANONICAL_LEADS), min_size=1, max_size=12, unique=True))
    number = st.floats(-100, 100).map(lambda value: float(f"{value:.4g}")) | st.integers(-5, 5)
    said: dict[str, Any] = {
        "fs": draw(st.sampled_from((100, 250.0, 500, 62.5))), "seconds": draw(st.sampled_from((2.5, 5, 10.0))), "leads": leads,
        "normalisation": draw(st.sampled_from(("none", "median", "minmax", "minmax-lead", "zscore", "zscore-lead", "fixed"))),
        "fill": draw(st.sampled_from(("baseline", "zero-mv", "zero", "mean", "noise"))), "fill_reason": draw(WORDS),
    }  # fmt: skip
    if draw(st.booleans()):
        said["padding"] = draw(st.sampled_from(("zero-mv", "baseline")))
    for key in ("offset", "scale"):
        if draw(st.booleans()):
            said[key] = draw(
                st.lists(number, min_size=1, max_size=1) | st.lists(number, min_size=len(leads), max_size=len(leads))
            )
    if draw(st.booleans()):
        said["mean"] = draw(st.lists(number, min_size=len(leads), max_size=len(leads)))

    def shown(value: Any) -> str:
        if isinstance(value, str):
            return quoted(value)
        return f"[{', '.join(map(shown, value))}]" if isinstance(value, list) else repr(value)

    lines = [f"{key} = {shown(said[key])}" for key in draw(st.permutations(sorted(said)))]
    top = draw(st.permutations(['name = "m"', 'family = "mini"', 'summary = ""', 'licence = ""', 'layer = "a.b"']))
    tables = [
        "[input]\n" + "\n".join(lines), '[text]\ntower = "bundled"',
        '[layers]\n"a.b" = { layout = "BCT", step = 8, offset = 0.5 }',
    ]  # fmt: skip
    return said, "\n".join([*top, *draw(st.permutations(tables))]) + "\n"


@examples
@given(model_files())
def test_model_files(drawn: tuple[dict[str, Any], str]) -> None:
    said, text = drawn
    with a_folder() as folder:
        (folder / "m.toml").write_text(text, encoding="utf-8")
        spec = load_spec(folder / "m.toml").input
    count = len(said["leads"])
    assert (spec.fs, spec.seconds, list(spec.leads)) == (said["fs"], said["seconds"], said["leads"])
    assert spec.samples == round(said["fs"] * said["seconds"])
    for key in ("normalisation", "fill", "fill_reason"):
        assert getattr(spec, key) == said[key]
    assert spec.padding == said.get("padding", "zero-mv")
    for key in ("offset", "scale", "mean"):
        wanted = said.get(key)
        assert getattr(spec, key) == (
            None if wanted is None else tuple(map(float, wanted * (count if len(wanted) == 1 else 1)))
        )


@examples
@given(model_files(), st.data())
def test_a_key_of_a_model_file_that_is_wrong_is_named(drawn: tuple[dict[str, Any], str], data: st.DataObject) -> None:
    said, text = drawn
    key = data.draw(st.sampled_from(sorted(said)))
    wrong = data.draw(st.sampled_from(("true", "{}", "[[]]", "1979-05-27", '"no such word"', "nan", "-1")))
    line = next(line for line in text.splitlines() if line.startswith(f"{key} = "))
    assume(not (key == "fill_reason" and wrong.startswith('"')))
    changed = data.draw(
        st.sampled_from((text.replace(line, f"{key} = {wrong}"), text.replace(line, f"{line}\nx{key} = 1")))
    )
    with a_folder() as folder:
        (folder / "m.toml").write_text(changed, encoding="utf-8")
        with pytest.raises(EcgcamError) as error:
            load_spec(folder / "m.toml")
    assert "m.toml: " in str(error.value)
    assert key in str(error.value) or (key == "seconds" and "input.fs" in str(error.value))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("mean", ["[[]]", '["0"]', "[0.1, 0.2]", "[{}]"])
def test_a_mean_that_is_no_number_for_each_lead(tmp_path: Path, mean: str) -> None:
    (tmp_path / "m.toml").write_text(
        'name = "m"\nfamily = "mini"\nsummary = ""\nlicence = ""\nlayer = "a.b"\n[input]\nfill = "baseline"\n'
        f'fill_reason = ""\nfs = 100\nleads = ["I"]\nmean = {mean}\nnormalisation = "none"\nseconds = 2.5\n'
        '[text]\ntower = "bundled"\n[layers]\n"a.b" = {layout = "BCT", step = 8, offset = 0.5}\n'
    )
    with pytest.raises(EcgcamError, match=r"input\.mean.*one number for each of the 1 leads"):
        load_spec(tmp_path / "m.toml")
