"""Simulated recordings: ECGs by hand-checked laws, and a truth that anyone can find again in the files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import wfdb
from tests.records.calipers import qrs_peaks

from ecgcam.errors import EcgcamError
from ecgcam.records import CANONICAL_LEADS, read_record
from ecgcam.records.simulator import FINDINGS, Simulation, simulate, simulate_batch, write
from ecgcam.records.simulator.recording import _microvolts

SEEDS = range(12)
# Where they are not those of the seed's sinus rhythm, beats per minute.
RATES = {"af": (60, 130), "flutter": (60, 166), "tachycardia": (100, 145), "bradycardia": (35, 55)}
ROW = {lead: row for row, lead in enumerate(CANONICAL_LEADS)}


def raw(path: str | Path) -> np.ndarray:
    """Whole microvolts (12, N) of a written record, read without any library."""
    return np.fromfile(path, "<i2").reshape(-1, 12).T.astype(int)


def qrs_width(simulation: Simulation, signal: np.ndarray) -> float:
    """Median time (s) around the beats in which the leads together move faster than 12 % of their fastest."""
    speed = np.abs(np.diff(signal.astype(float), axis=1)).sum(axis=0)
    widths = []
    for beat in simulation.beats[1:-1]:
        around = speed[beat - 75 : beat + 75]  # 150 ms either side
        moving = np.flatnonzero(around > 0.12 * around.max())
        widths.append((moving[-1] - moving[0]) / simulation.fs)
    return float(np.median(widths))


def level(simulation: Simulation, lead: str, after: float, signal: np.ndarray | None = None) -> float:
    """Median value of a lead (mV) `after` seconds from the QRS onsets, over the value 20 ms before them."""
    onsets = [round(start * simulation.fs) for name, start, _ in simulation.intervals if name == "QRS"][1:-1]
    row = (simulation.signal if signal is None else signal)[ROW[lead]]
    return float(np.median([row[at + round(after * simulation.fs)] - row[at - 10] for at in onsets]))


@pytest.mark.parametrize("finding", FINDINGS)
def test_limb_leads_obey_einthoven_and_goldberger(finding: str, tmp_path: Path) -> None:
    paths = write(simulate(finding, 5), tmp_path)
    for path in filter(None, (paths["record"], paths["twin"])):
        i, ii, iii, avr, avl, avf = raw(path)[:6]
        np.testing.assert_array_equal(iii, ii - i)
        for augmented, twice in ((avr, -(i + ii)), (avl, 2 * i - ii), (avf, 2 * ii - i)):
            assert np.abs(2 * augmented - twice).max() <= 1  # half a microvolt
        assert np.ptp(ii) > 200  # 0.2 mV: the laws also hold for silence


@pytest.mark.parametrize("finding", FINDINGS)
def test_same_seed_same_bytes_and_other_seed_other_signal(finding: str, tmp_path: Path) -> None:
    def digests(folder: Path, seed: int) -> dict[str, str]:
        write(simulate(finding, seed), folder)
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}

    first, again = digests(tmp_path / "a", 7), digests(tmp_path / "b", 7)
    twin = set() if finding == "normal" else {f"{finding}-7-twin.hea", f"{finding}-7-twin.dat"}
    assert set(first) == {f"{finding}-7{end}" for end in (".hea", ".dat", ".atr", "-truth.npz")} | twin
    assert first == again
    assert digests(tmp_path / "c", 8)[f"{finding}-8.dat"] != first[f"{finding}-7.dat"]


@pytest.mark.parametrize("finding", FINDINGS)
def test_heart_rate_is_the_intended_one(finding: str) -> None:
    for seed in SEEDS:
        made = simulate(finding, seed)
        for peaks in (made.beats, qrs_peaks(made.signal, made.fs, 0.25 if finding == "af" else 0.34)):
            # A T wave whose QRS lies before the first sample may pass for a beat: the median does not mind.
            rr = np.diff(peaks).mean() if finding in {"af", "pvc"} else np.median(np.diff(peaks))
            rate = 60 * made.fs / rr
            assert rate == pytest.approx(made.rate, rel=0.05), seed
        lowest, highest = RATES.get(finding, (50, 100))
        assert lowest < made.rate < highest


def test_fibrillation_is_irregular_and_sinus_rhythm_is_not() -> None:
    def spread(finding: str, seed: int) -> float:
        made = simulate(finding, seed)
        rr = np.diff(qrs_peaks(made.signal, made.fs, 0.25 if finding == "af" else 0.34))
        return float(rr.std() / rr.mean())

    assert min(spread("af", seed) for seed in SEEDS) > 0.12
    assert max(spread("normal", seed) for seed in SEEDS) < 0.08
    assert min(spread("normal", seed) for seed in SEEDS) > 0.003  # nor a metronome


def test_fibrillation_has_no_p_waves_and_trembles_at_4_to_9_hz_most_in_v1() -> None:
    for seed in SEEDS:
        made = simulate("af", seed, noise=0.0, seconds=30.0)
        names = {name for name, _, _ in made.intervals}
        assert names == {"QRS", "T", "TQ"}
        longest = max((row for row in made.intervals if row[0] == "TQ"), key=lambda row: row[2] - row[1])
        start, stop = (round(second * made.fs) for second in longest[1:])
        between = made.signal[:, start + 20 : stop - 20].astype(float)
        between -= between.mean(axis=1, keepdims=True)
        size = between.std(axis=1)
        assert 0.008 < size[ROW["V1"]] < 0.12
        assert size[ROW["V1"]] > 1.5 * size[ROW["V6"]]
        spectrum = np.abs(np.fft.rfft(between[ROW["V1"]] * np.hanning(between.shape[1]), 8192))
        peak = np.fft.rfftfreq(8192, 1 / made.fs)[spectrum.argmax()]
        assert 3.5 < peak < 9.5, seed


def test_fibrillation_truth_is_where_the_p_wave_ought_to_be() -> None:
    made = simulate("af", 2)
    expected = np.zeros(made.signal.shape[1], dtype=bool)
    at = np.arange(made.signal.shape[1]) / made.fs
    for name, start, stop in made.intervals:
        if name == "TQ":
            expected |= (at >= start) & (at < stop)
    assert (made.mask == expected).all()
    assert 0.2 < expected.mean() < 0.7
    # The 120 ms before each QRS belong to it, and no QRS does.
    for name, start, stop in made.intervals:
        if name == "QRS" and start > 0.2:
            assert not expected[(at >= start) & (at < stop)].any()
            assert expected[(at >= start - 0.02) & (at < start - 0.01)].all()


def test_lbbb_is_broad_and_leftward_with_discordant_t() -> None:
    for seed in SEEDS:
        made = simulate("lbbb", seed, noise=0.0)
        assert made.twin is not None
        broad, narrow = qrs_width(made, made.signal), qrs_width(made, made.twin)
        assert broad > narrow + 0.04, seed
        assert 0.05 < narrow < 0.1
        assert 0.11 < broad < 0.17
        # Early in the QRS nothing points to the right (no septal q), where the twin has a q in V6.
        assert min(level(made, "V6", at) for at in (0.005, 0.01, 0.02)) > 0
        assert level(made, "V6", 0.016, made.twin) < -0.01
        # V1 is negative, V6 positive in mid-QRS; T goes the other way in both.
        assert level(made, "V1", 0.07) < -0.5
        assert level(made, "V6", 0.07) > 0.3
        assert level(made, "V1", 0.32) > 0.1
        assert level(made, "V6", 0.32) < -0.05
        assert set(made.symbols) == {"L"}


def test_normal_reads_as_normal() -> None:
    for seed in SEEDS:
        made = simulate("normal", seed, noise=0.0)
        qrs = [row for row in made.intervals if row[0] == "QRS"][1]
        complexes = made.signal[:, round(qrs[1] * made.fs) : round(qrs[2] * made.fs)]
        heights, depths = complexes.max(axis=1), -complexes.min(axis=1)
        assert 0.3 < heights[ROW["II"]] < 2.2
        assert depths[ROW["aVR"]] > 3 * heights[ROW["aVR"]]
        ratio = heights / (heights + depths)  # the share of R grows from V1 to V6
        assert ratio[ROW["V1"]] < 0.5 < ratio[ROW["V5"]]
        assert ratio[ROW["V1"]] - 0.05 < ratio[ROW["V3"]] < ratio[ROW["V4"]] < ratio[ROW["V5"]] + 0.05
        p = next(row for row in made.intervals if row[0] == "P" and row[1] > 0.1)
        inside = made.signal[:, round(p[1] * made.fs) : round(p[2] * made.fs)]
        before = made.signal[:, round(p[1] * made.fs)]
        rise = inside[ROW["II"]].max() - before[ROW["II"]]
        assert 0.04 < rise < 0.25
        assert not made.mask.any()
        assert made.twin is None


@pytest.mark.parametrize("seed", [0, 4, 9])
def test_lbbb_truth_is_every_difference_above_20_microvolts_and_nothing_else(seed: int, tmp_path: Path) -> None:
    paths = write(simulate("lbbb", seed), tmp_path)
    with np.load(str(paths["truth"]), allow_pickle=False) as truth:
        mask, leads, fs = truth["mask"], truth["leads"], truth["fs"]
    difference = np.abs(raw(str(paths["record"])) - raw(str(paths["twin"])))
    np.testing.assert_array_equal(mask, difference > 20)
    assert (mask.dtype, tuple(leads), float(fs)) == (np.bool_, CANONICAL_LEADS, 500.0)
    assert 0.2 < mask.mean() < 0.8
    # Outside the ventricles' own time nothing was touched: P waves and noise are the twin's, to the bit.
    made = simulate("lbbb", seed)
    at = np.arange(mask.shape[1]) / made.fs
    ventricles = np.zeros(len(at), dtype=bool)
    for name, start, stop in made.intervals:
        if name in {"QRS", "T"}:
            ventricles |= (at > start - 0.03) & (at < stop + 0.12)
    # (but for the last of the Gaussians' tails)
    assert difference[:, ~ventricles].max() <= 5
    assert (~ventricles).mean() > 0.05


@pytest.mark.parametrize("finding", [name for name in FINDINGS if name != "normal"])
def test_twin_is_the_seeds_normal_recording(finding: str) -> None:
    for seed in (0, 3):
        np.testing.assert_array_equal(simulate(finding, seed).twin, simulate("normal", seed).signal)


def test_noise_is_of_the_size_of_real_recordings_and_can_be_left_out() -> None:
    noise = np.stack([simulate("normal", s).signal - simulate("normal", s, noise=0.0).signal for s in SEEDS])
    spread = noise.std(axis=2)  # (seeds, leads), mV; PTB-XL: about 0.04, a tenth of the records above 0.1
    assert 0.015 < np.median(spread) < 0.06
    assert spread.max() < 0.3
    steps = np.median(np.abs(np.diff(noise, axis=2)), axis=2)  # what is left without the slow wander
    assert 0.0005 < np.median(steps) < 0.01
    # Between beats, the heart alone is silent.
    silent = simulate("normal", 0, noise=0.0)
    p = [row for row in silent.intervals if row[0] == "P"][2]
    assert np.abs(silent.signal[:, round((p[1] - 0.03) * 500)]).max() < 0.03


@pytest.mark.parametrize("finding", FINDINGS)
def test_files_read_back_with_wfdb_and_with_our_reader(finding: str, tmp_path: Path) -> None:
    made = simulate(finding, 11)
    paths = write(made, tmp_path / "new" / "folder")
    stem = str(paths["record"]).removesuffix(".dat")
    assert Path(stem).name == f"{finding}-11"
    record = read_record(str(paths["record"]))
    np.testing.assert_array_equal(record.signal, made.signal)
    assert (record.leads, record.fs, record.derived) == (CANONICAL_LEADS, 500.0, ())
    if paths["twin"] is not None:
        np.testing.assert_array_equal(read_record(paths["twin"]).signal, made.twin)

    whole = wfdb.rdrecord(stem, physical=False)
    assert [value % 65536 for value in whole.checksum] == whole.calc_checksum()  # signed in the file
    assert whole.init_value == whole.d_signal[0].tolist()
    assert (whole.fmt, whole.adc_gain, whole.units) == (["16"] * 12, [1000.0] * 12, ["mV"] * 12)

    beats = wfdb.rdann(stem, "atr")
    np.testing.assert_array_equal(beats.sample, made.beats)
    assert tuple(beats.symbol) == made.symbols
    assert beats.fs == 500
    # An annotation points at the top of the complex: no sample of the QRS around it is larger over all leads by more
    # than the noise can do.
    clean = np.square(simulate(finding, 11, noise=0.0).signal[[0, 1, *range(6, 12)]]).sum(axis=0)
    for sample in beats.sample:
        assert clean[sample] == pytest.approx(clean[max(0, sample - 25) : sample + 26].max(), rel=0.02)


def test_annotations_far_apart_and_a_long_recording_survive_the_file(tmp_path: Path) -> None:
    made = simulate("af", 1, seconds=20.0, fs=2000.0)  # more than 1023 samples between beats
    assert np.diff(made.beats).max() > 1023
    stem = str(write(made, tmp_path)["record"]).removesuffix(".dat")
    np.testing.assert_array_equal(wfdb.rdann(stem, "atr").sample, made.beats)
    assert made.signal.shape == (12, 40_000)


def test_nothing_is_left_behind_when_writing_fails(tmp_path: Path) -> None:
    made = simulate("lbbb", 1, seconds=2.0)
    (tmp_path / "lbbb-1.hea").mkdir()  # the last file to be written cannot take its place
    with pytest.raises(EcgcamError, match=r"lbbb-1\.hea.*`out`"):
        write(made, tmp_path)
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("finding", "seed", "settings", "words"),
    [
        ("asystole", 0, {}, "asystole.*" + ", ".join(FINDINGS)),
        ("af", -1, {}, "-1.*0 or more"),
        ("af", 0, {"seconds": float("nan")}, "`seconds` nan.*3600 s"),
        ("af", 0, {"fs": 50.0}, "`fs` 50.*100"),
        ("af", 0, {"noise": -1.0}, "`noise` -1"),
    ],
)
def test_a_wrong_call_is_one_line(finding: str, seed: int, settings: dict[str, float], words: str) -> None:
    with pytest.raises(EcgcamError, match=words) as caught:
        simulate(finding, seed, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("finding", sorted(FINDINGS))
def test_a_stated_p_is_where_the_p_wave_is(finding: str) -> None:
    """On the heart alone: II leaves the line before the stated onset by little, and is highest in the middle of the stated P."""
    simulation = simulate(finding, 3, noise=0)
    two = simulation.signal[ROW["II"]].astype(float)
    found = []
    for name, begin, end in simulation.intervals:
        if name != "P" or not 0.3 < begin < 9:
            continue
        first, last = round(begin * simulation.fs), round(end * simulation.fs)
        assert last < simulation.beats[np.searchsorted(simulation.beats, first)]
        hump = two[first : last + 1] - np.linspace(two[first], two[last], last + 1 - first)
        found.append((hump.argmax() / (last - first), hump.max(), abs(two[first] - two[first - 5]) / hump.max()))
    assert bool(found) == (finding not in {"af", "flutter"})
    if found:  # the median: a P may meet a premature beat's T
        place, height, before = np.median(found, axis=0)
        assert 0.35 < place < 0.55
        assert 0.05 < height < 0.2
        assert before < 0.25  # of a fast heart, the T before is not over


def test_the_lowest_rate_and_a_long_quiet_stretch() -> None:
    assert simulate("normal", 0, fs=100).signal.shape == (12, 1000)
    assert simulate("normal", 0, fs=100, seconds=60).signal.shape == (12, 6000)
    assert simulate_batch(["normal"], 0).shape == (1, 12, 5000)


def test_millivolts_become_whole_microvolts_and_twelve_leads() -> None:
    measured = np.array([[0.5], [1.0], [0.0004], [-0.0006], [40.0], [-40.0], [2.0], [3.0]])
    wanted = [500, 1000, 500, -750, 0, 750, 0, -1, 32767, -32767, 2000, 3000]
    assert _microvolts(measured)[:, 0].tolist() == wanted
