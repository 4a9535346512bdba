"""The input of each model against its authors' preprocessing, written out here from the facts of their code.

Compared on real recordings: every step a user's recording goes through, from the file to the array that enters the network.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import wfdb
from scipy import signal as scipy_signal
from tests.models.references import COMPARED, SIGNAL, fill_signal, filled, keys_of, read

from ecgcam import explain
from ecgcam.errors import EcgcamError
from ecgcam.models.load import load_model
from ecgcam.models.model_file import load_spec
from ecgcam.protocol.preprocessing import LONG, MARGIN, gradient_per_mv, scale_window
from ecgcam.protocol.spec import InputSpec, windows_of
from ecgcam.records import CANONICAL_LEADS, Record, read_record
from ecgcam.resources import configs

Array = np.ndarray
RECORDS = ("00003_hr", "00012_hr", "00108_hr")
MIMIC = [0, 1, 2, 3, 5, 4, *range(6, 12)]


def ribeiro(mv: Array) -> Array:
    """antonior92/ecg-preprocessing: 400 Hz, scale 2, zeros on both sides up to 4096 samples."""
    resampled = 2 * scipy_signal.resample_poly(mv, 400, 500, axis=1, padtype="edge")
    before = (4096 - resampled.shape[1]) // 2
    return np.pad(resampled, ((0, 0), (before, 4096 - resampled.shape[1] - before)))


def ecg_fm(mv: Array) -> Array:
    """fairseq-signals: z-score of each lead over the recording, then 5 s, then zeros."""
    z = (mv - mv.mean(axis=1, keepdims=True)) / mv.std(axis=1, keepdims=True)
    return np.pad(z[:, :2500], ((0, 0), (0, max(0, 2500 - mv.shape[1]))))


def anyecg(mv: Array) -> Array:
    """CuCl-2/anyECG-chat: 10 s by FFT to 100 Hz, each lead to [-1, 1], then zeros."""
    x = scipy_signal.resample(mv, int(mv.shape[1] / 5), axis=1)
    low, high = x.min(axis=1, keepdims=True), x.max(axis=1, keepdims=True)
    return np.pad((x - low) / (high - low) * 2 - 1, ((0, 0), (0, 1000 - x.shape[1])))


def st_mem(mv: Array) -> Array:
    """bakqui/ST-MEM: 10 s by FFT to 250 Hz, the first 9 s, two Butterworth filters, z-score of the window."""
    x = scipy_signal.resample(mv, int(mv.shape[1] / 2), axis=1)[:, :2250]
    for kind, edge in (("highpass", 0.67), ("lowpass", 40)):
        x = scipy_signal.sosfiltfilt(scipy_signal.butter(5, edge, kind, fs=250, output="sos"), x)
    return (x - x.mean()) / x.std()


def ked(mv: Array) -> Array:
    """control-spiderman/ECGFM-KED, training: by FFT to 100 Hz, mV, MIMIC's lead order."""
    return scipy_signal.resample(mv, 1000, axis=1)[MIMIC]


def hubert_ecg(mv: Array) -> Array:
    """Edoar-do/HuBERT-ECG: FIR, each lead to [-1, 1] over the recording, 5 s, joined leads decimated to 100 Hz."""
    taps = scipy_signal.firwin(151, [0.05, 47], pass_zero=False, fs=500)
    x = scipy_signal.filtfilt(taps, [1.0], mv)
    low, high = x.min(axis=1, keepdims=True), x.max(axis=1, keepdims=True)
    x = 2 * (x - low) / (high - low) - 1
    return scipy_signal.decimate(x[:, :2500].ravel(), 5).reshape(12, 500)


def ecgfounder(mv: Array) -> Array:
    """PKUDigitalHealth/ECGFounder, dataset.py: notch, band-pass, median baseline, z-score."""
    x = scipy_signal.filtfilt(*scipy_signal.iirnotch(50, 30, 500), mv)
    x = scipy_signal.filtfilt(*scipy_signal.butter(4, [0.67, 40], "bandpass", fs=500), x)
    x = x - scipy_signal.medfilt(x, (1, 201))
    return (x - x.mean()) / x.std()


def min_max(mv: Array) -> Array:
    """MERL, MELP: zeros up to 10 s, then the whole record to [0, 1], MIMIC's lead order."""
    mv = np.pad(mv[MIMIC], ((0, 0), (0, 5000 - mv.shape[1])))
    return (mv - mv.min()) / (mv.max() - mv.min())


def esi(mv: Array) -> Array:
    """comp-well-org/ESI: one z-score over the record, MIMIC's lead order."""
    return (mv[MIMIC] - mv.mean()) / mv.std()


ORIGINALS: dict[str, Callable[[Array], Array]] = {
    "ribeiro": ribeiro,
    "ecg-fm": ecg_fm,
    "anyecg": anyecg,
    "st-mem": st_mem,
    "ked": ked,
    "hubert-ecg": hubert_ecg,
    "ecgfounder": ecgfounder,
    "merl-resnet18": min_max,
    "merl-vit-tiny": min_max,
    "melp": min_max,
    "esi": esi,
    "ecg-coca": lambda mv: mv[MIMIC],
    "d-beta": lambda mv: mv,
}
# Models whose code says what becomes of a recording that is shorter than the window.
SHORT = ("ribeiro", "ecg-fm", "anyecg", "merl-resnet18", "melp")


def published(wfdb_folder: Path, name: str) -> Array:
    """A recording in mV as wfdb reads it, (12, N)."""
    return np.asarray(wfdb.rdrecord(str(wfdb_folder / "ptbxl" / name)).p_signal.T)


def off(model: str, spec: InputSpec, mv: Array) -> float:
    record = Record("r", mv.astype("f4"), 500.0, CANONICAL_LEADS)
    x, _, _ = scale_window(next(windows_of(record, spec)), spec)
    wanted = ORIGINALS[model](mv)
    return float(np.abs(x - wanted).max() / np.abs(wanted).max())


@pytest.mark.shared
@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("model", ORIGINALS)
def test_a_recording_becomes_the_input_that_the_authors_code_makes(model: str, name: str, wfdb_folder: Path) -> None:
    assert off(model, load_spec(model).input, published(wfdb_folder, name)) < COMPARED[model]["input"]


@pytest.mark.shared
@pytest.mark.parametrize("model", SHORT)
@pytest.mark.parametrize("seconds", [3, 4])
def test_a_short_recording_is_padded_where_and_when_the_authors_code_does(
    model: str, seconds: int, wfdb_folder: Path
) -> None:
    mv = published(wfdb_folder, "00003_hr")[:, : seconds * 500]
    assert off(model, load_spec(model).input, mv) < COMPARED[model]["input"]


# How each model file may be wrong: what is written there, and what somebody might write by hand.
SWAP = ('"aVL", "aVF"', '"aVF", "aVL"'), ('"aVF", "aVL"', '"aVL", "aVF"')
MUTATIONS = {
    "lead order": SWAP,
    "scale": (
        ("scale = [2]", "scale = [10]"), ('normalisation = "none"', 'normalisation = "median"'),
        ('normalisation = "minmax"', 'normalisation = "minmax-lead"'),
        ('normalisation = "minmax-lead"', 'normalisation = "zscore-lead"'),
        ('normalisation = "zscore"', 'normalisation = "zscore-lead"'),
        ('normalisation = "zscore-lead"', 'normalisation = "zscore"'),
    ),
    "padding": (('padding = "zero-mv"', 'padding = "baseline"'),),
    "place": (('place = "centre"', 'place = "begin"'),),
    "steps": (
        ('"normalise", "cut", "pad"]', '"cut", "pad", "normalise"]'), ('"normalise", "pad"]', '"pad", "normalise"]'),
        ('["filter", "normalise", "cut", "pad", "resample"]', '["cut", "pad", "filter", "normalise", "resample"]'),
    ),
    "resampling": (('resampling = "fft"', 'resampling = "polyphase"'),),
    "filters": (("low = 0.67", "low = 1.5"), ("low = 0.05, high = 47", "low = 0.5, high = 40")),
    "rate": (("fs = 500\n", "fs = 250\n"), ("fs = 100\n", "fs = 125\n")),
}  # fmt: skip


@pytest.mark.shared
@pytest.mark.parametrize("model", ORIGINALS)
def test_a_key_changed_by_hand_is_noticed(model: str, wfdb_folder: Path, tmp_path: Path) -> None:
    """Each mutation of a model file that applies to it either moves the input or is refused."""
    text = (configs() / "models" / f"{model}.toml").read_text(encoding="utf-8")
    whole = published(wfdb_folder, "00012_hr")
    tolerance = 10 * COMPARED[model]["input"]
    tried = set()
    for kind, changes in MUTATIONS.items():
        for before, after in changes:
            if before not in text:
                continue
            path = tmp_path / "mutant.toml"
            changed = text.replace(before, after)
            if kind == "padding" and model not in SHORT:
                continue  # their code takes no short recording, or says nothing of it
            if kind == "steps":
                changed = changed.replace('padding = "zero"', 'padding = "zero-mv"')
            path.write_text(changed, encoding="utf-8")
            tried.add(kind)
            short = whole[:, :1500] if kind in {"steps", "padding"} else whole
            try:
                spec = load_spec(path).input
                moved = off(model, spec, short)
            except (EcgcamError, ValueError):  # refused, or of another length
                continue
            assert moved > tolerance, f"{before} -> {after} went unnoticed"
    assert {"lead order", "scale"} <= tried


@pytest.mark.shared
def test_ribeiro_s_output_is_that_of_the_published_preprocessing(
    wfdb_folder: Path, shared: Path, tmp_path: Path
) -> None:
    """The stand-in network's output on recording 00003, through the whole way; -36.7 with the tenfold, uncentred input."""
    expected = read(shared / "reference/families_signal/ribeiro.npz")
    state = filled(keys_of(expected), lambda key, shape: fill_signal(key, shape, float(expected["gain"])))
    torch.save(SIGNAL["ribeiro"].wrap(state), tmp_path / "model.pth")
    model = load_model("ribeiro", tmp_path / "model.pth", device="cpu", targets=True)
    (got,) = explain(wfdb_folder / "ptbxl/00003_hr.hea", ["0"], model)
    assert got.score == pytest.approx(-18.064, rel=1e-3)
    with torch.no_grad():
        direct = model.network(torch.from_numpy(ribeiro_of(published(wfdb_folder, "00003_hr")))[None].float())
    assert float(direct) == pytest.approx(-18.064, abs=5e-4)
    # 10 s in 10.24 s: the window begins before the recording, and its padding is not valid.
    assert got.meta["window"]["start"] == 0.0
    assert got.time[0] == pytest.approx(-0.12)
    assert got.cell_time[0] == pytest.approx(106.25 / 400 - 0.12)
    assert got.valid[:, 48:3990].all()  # values held at the end of the recording may be marked
    assert not got.valid[:, :48].any()
    assert not got.valid[:, 4048:].any()
    assert not got.gradient[:, :48].any()


def ribeiro_of(mv: Array) -> Array:
    """To the letter: zeros beyond the recording's ends while resampling, and four limb leads made of I and II."""
    x = 2 * scipy_signal.resample_poly(mv, 400, 500, axis=1)
    one, two = x[:2]
    x[2:6] = two - one, -(one + two) / 2, one - two / 2, two - one / 2
    return np.pad(x, ((0, 0), (48, 48)))


# Steps of their own ---------------------------------------------------------------------------------------------------------


def noise(seconds: float, fs: float = 500.0, seed: int = 0) -> Record:
    signal = np.random.default_rng(seed).standard_normal((12, round(seconds * fs))).astype("f4").cumsum(axis=1) / 20
    return Record("noise", signal, fs, CANONICAL_LEADS)


def test_without_a_start_the_window_is_where_the_authors_cut() -> None:
    spec = load_spec("ribeiro").input
    record = noise(12, fs=400)
    (window,) = windows_of(record, spec, None)
    assert window.start == (4800 - 4096) // 2 / 400
    np.testing.assert_array_equal(window.signal, record.signal[:, 352 : 352 + 4096])
    (first,) = windows_of(record, spec)
    assert (first.start, first.padding) == (0.0, (0, 0))
    (begin,) = windows_of(record, load_spec("d-beta").input, None)
    assert begin.start == 0.0


@pytest.mark.parametrize("start", [0.0, 3.0, 40.0])
def test_a_z_score_of_the_recording_does_not_depend_on_the_window(start: float) -> None:
    spec = load_spec("ecg-fm").input
    record = noise(60)
    (window,) = windows_of(record, spec, start)
    x, offset, scale = scale_window(window, spec)
    mean, deviation = record.signal.mean(axis=1, keepdims=True), record.signal.std(axis=1, keepdims=True)
    first = round(start * 500)
    np.testing.assert_allclose(x, (record.signal[:, first : first + 2500] - mean) / deviation, atol=2e-5)
    np.testing.assert_allclose((window.signal - offset) * scale, x, atol=2e-5)


@pytest.mark.parametrize("fs", [500.0, 250.0, 400.0])
@pytest.mark.parametrize("model", ["ecg-fm", "hubert-ecg", "st-mem"])
def test_of_a_long_recording_a_part_is_enough(model: str, fs: float) -> None:
    """A part with the margin that the preparation states, and a second for the resampling filter."""
    spec = load_spec(model).input
    whole = noise(LONG + 30, fs)
    (window,) = windows_of(whole, spec, 60.0)
    beyond = spec.preprocessing.margin + 1
    assert beyond == (MARGIN + 1 if model != "st-mem" else 11)
    first, last = round((60 - beyond) * fs), round((60 + spec.seconds + beyond) * fs)
    part = replace(whole, signal=whole.signal[:, first:last], first=first, length=whole.samples)
    (same,) = windows_of(part, spec, 60.0)
    for one, other in zip(scale_window(window, spec), scale_window(same, spec), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_a_rate_that_does_not_divide_the_window_leaves_no_padding_in_the_constants() -> None:
    spec = load_spec("ecg-fm").input
    record = noise(230 / 2, 249.89)
    shifted = replace(record, signal=record.signal + 100.0)  # one sample at 0 mV would show
    (window,) = windows_of(shifted, spec, 20.0)
    _, offset, scale = scale_window(window, spec)
    np.testing.assert_allclose(1 / scale[:, 0], record.signal.std(axis=1), rtol=0.02)
    np.testing.assert_allclose(offset[:, 0], shifted.signal.mean(axis=1), atol=0.1)


def test_a_window_without_the_samples_of_its_recording_keeps_its_input() -> None:
    spec = load_spec("hubert-ecg").input
    (window,) = windows_of(noise(20), spec, 2.0)
    x, _, _ = scale_window(window, spec)
    again, _, _ = scale_window(replace(window, record=window.record.without_signal()), spec)
    np.testing.assert_array_equal(again, x)
    again[:] = 0  # and hands out copies
    assert scale_window(window, spec)[0].any()


@pytest.mark.parametrize("model", ["ecg-fm", "hubert-ecg", "st-mem", "anyecg", "ecgfounder", "ribeiro", "melp"])
def test_the_gradient_per_millivolt_is_that_of_the_steps(model: str) -> None:
    """By differences: a smooth change of the window in mV, constants held, moves a linear score as the gradient says."""
    spec = load_spec(model).input
    record = noise(10, spec.fs)
    (window,) = windows_of(record, spec)
    _, _, scale = scale_window(window, spec)
    t = np.arange(spec.samples) / spec.fs
    # Well inside the window, and well inside the filters' bands: what lies at the edges is the extension's.
    change = np.exp(-((t - spec.seconds / 2) ** 2) / 0.02) * np.sin(2 * np.pi * 8 * t) * np.ones((12, 1))
    weights = np.roll(change, 3, axis=1) * np.arange(1, 13)[:, None]
    filtered = spec.arrange(replace(window, signal=change.astype("f4"))) if spec.filters else change
    if any(one.kind == "median" for one in spec.filters):  # the baseline of a running median is held constant
        filtered = InputSpec(fs=spec.fs, filters=spec.filters[:-1]).arrange(replace(window, signal=change.astype("f4")))
    wanted = float((weights * filtered * scale).sum())
    got = float((gradient_per_mv(weights.astype("f4"), scale, spec) * change).sum())
    assert got == pytest.approx(wanted, rel=2e-3)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('[input.preprocessing]\nsteps = ["resample", "cut"]', "input.preprocessing.steps: must be resample, cut, pad"),
        (
            '[input.preprocessing]\nsteps = ["resample", "pad", "cut", "filter", "normalise"]',
            "cut before pad",
        ),
        (
            '[input.preprocessing]\nsteps = ["resample", "normalise", "filter", "cut", "pad"]',
            "input.padding: 'zero' is for",
        ),
        ('[input.preprocessing]\nplace = "end"', "input.preprocessing.place: 'end' is not allowed; choose from begin"),
        ('[input.preprocessing]\nresampling = "linear"', "input.preprocessing.resampling: 'linear' is not allowed"),
        ('[input.preprocessing]\nresampling = "decimate"', "input.preprocessing.resampling: 'decimate' is for steps"),
        (
            '[input.preprocessing]\nsteps = ["cut", "pad", "resample", "filter", "normalise"]\nsource_fs = 1000',
            "input.preprocessing.steps: resample must be the first step, or the last",
        ),
        *(
            (
                '[input.preprocessing]\nsteps = ["cut", "pad", "filter", "normalise", "resample"]\n'
                f'resampling = "decimate"\nsource_fs = {source}',
                "from 2 to 13 times input.fs",
            )
            for source in (-1000, 500, 750, 50_000)
        ),
        ("[input.preprocessing]\nsource_fs = 500", "input.preprocessing.source_fs: is needed where resample is not"),
        ("[input.preprocessing]\nrate = 500", "input.preprocessing.rate: is unknown; allowed: place, resampling"),
    ],
)
def test_a_wrong_step_is_named_with_what_is_allowed(written: str, said: str, tmp_path: Path) -> None:
    text = (configs() / "models/d-beta.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text.replace("\n[text]\n", f"\n{written}\n\n[text]\n"))
    with pytest.raises(EcgcamError, match=re.escape(said)):
        load_spec(tmp_path / "mine.toml")


def test_a_recording_from_a_file_goes_the_same_way(wfdb_folder: Path) -> None:
    record = read_record(wfdb_folder / "ptbxl/00003_hr.hea")
    spec = load_spec("anyecg").input
    x, _, _ = scale_window(next(windows_of(record, spec)), spec)
    np.testing.assert_allclose(x, anyecg(published(wfdb_folder, "00003_hr")), atol=2e-6)
