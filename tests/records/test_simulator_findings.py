"""What each simulated finding does to the voltages, measured on them: rates, durations, walls, twins and truths."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
import tomllib
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from tests.records.calipers import p_onset, qrs_edges, qrs_peaks, t_end

from ecgcam.errors import EcgcamError
from ecgcam.records import CANONICAL_LEADS
from ecgcam.records.simulator import FINDINGS, TRAINING_SEEDS, WALLS, Simulation, simulate, simulate_batch
from ecgcam.records.simulator.heart import draw_patient, sinus_rhythm
from ecgcam.records.simulator.rhythm import premature_ventricular_complexes
from ecgcam.resources import configs

SEEDS = range(6)
ROW = {lead: row for row, lead in enumerate(CANONICAL_LEADS)}
# Findings of the rhythm or of an interval: the truth is made of named intervals.
RELATIONS = {
    "af": "TQ", "flutter": "TQ", "tachycardia": "TQ", "bradycardia": "TQ", "av-block-1": "PR", "long-qt": "QT",
}  # fmt: skip
DIFFERENCES = [name for name in FINDINGS if name not in {"normal", *RELATIONS}]
BY_WALL = ["ischaemia", "st-depression", "q-waves", "t-inversion", "st-elevation"]
OVER = {"inferior": ("II", "III", "aVF"), "anterior": ("V2", "V3"), "lateral": ("I", "aVL", "V6")}
# Leads across from a wall, where its injury shows with the other sign.
ACROSS = {"inferior": "aVL", "anterior": "III", "lateral": "III"}


@cache
def heart(finding: str, seed: int, wall: str | None = None) -> Simulation:
    """A recording without noise, 1000 Hz."""
    return simulate(finding, seed, wall=wall, fs=1000.0, noise=0.0)


def complexes(made: Simulation) -> list[tuple[float, float, float]]:
    """Onset of QRS, its end, the end of T (s) as intended, of beats that lie well within the recording."""
    ends = {start: stop for name, start, stop in made.intervals if name == "T"}
    found = [(start, stop, ends.get(stop, math.nan)) for name, start, stop in made.intervals if name == "QRS"]
    return [row for row in found if 0.6 < row[0] < 9.1]


def at(made: Simulation, lead: str, second: float) -> float:
    return float(made.signal[ROW[lead], round(second * made.fs)])


def test_the_two_kinds_of_truth_cover_all_findings() -> None:
    assert len(FINDINGS) == 22
    assert set(DIFFERENCES) | set(RELATIONS) | {"normal"} == set(FINDINGS)


def test_findings_have_the_vocabulary_s_names() -> None:
    table = tomllib.loads((configs() / "vocabulary" / "findings.toml").read_text(encoding="utf-8"))
    assert set(FINDINGS) <= {row["name"] for row in table["finding"]}


@pytest.mark.parametrize("finding", FINDINGS)
def test_qrs_duration_is_the_intended_one(finding: str) -> None:
    for seed in SEEDS:
        made = heart(finding, seed)
        beats = complexes(made)
        edges = [qrs_edges(made.signal, made.fs, (start + stop) / 2) for start, stop, _ in beats]
        if finding == "paced":  # the spike belongs to the measured QRS, as a cardiologist measures it
            beats = [(start - 0.006, stop, t) for start, stop, t in beats]
        measured = np.median([stop - start for start, stop in edges])
        assert measured == pytest.approx(np.median([stop - start for start, stop, _ in beats]), rel=0.05), seed


@pytest.mark.parametrize("finding", [f for f in FINDINGS if f not in {"af", "flutter", "tachycardia", "pvc"}])
def test_pr_interval_is_the_intended_one(finding: str) -> None:
    """Not where there is no P wave; in tachycardia it rises out of T, where no caliper has a level to begin from."""
    for seed in SEEDS:
        made = heart(finding, seed)
        intended = [
            (start, qrs)
            for name, start, _ in made.intervals
            if name == "P" and start > 0.2
            for qrs in [min((q for n, q, _ in made.intervals if n == "QRS" and q > start), default=math.inf)]
            if qrs < 9.5
        ]
        wanted = np.median([qrs - start for start, qrs in intended])
        # A spike before the P wave comes before its onset.
        found = [qrs - p_onset(made.signal, made.fs, qrs, wanted + 0.012) for _, qrs in intended]
        assert np.median(found) == pytest.approx(wanted, rel=0.05), seed
        assert (wanted > 0.2) == (finding == "av-block-1")


@pytest.mark.parametrize("finding", [f for f in FINDINGS if f not in {"flutter", "t-abnormal", "st-depression"}])
def test_qt_interval_is_the_intended_one(finding: str) -> None:
    """Not where flutter waves run through T, nor where T is all but flat."""
    for seed in SEEDS:
        made = heart(finding, seed)
        found, wanted = [], []
        beats = complexes(made)
        for before, (start, stop, end), after in zip(beats, beats[1:], beats[2:], strict=False):
            if start < before[2] + 0.03 or after[0] < end + 0.03:
                continue  # in fibrillation a QRS may come upon the T before
            level = made.signal[:, round((start - 0.012) * made.fs)].astype(float)
            # In tachycardia the next P wave stands on the end of T.
            found.append(t_end(made.signal, made.fs, stop + 0.08, end + 0.01, level) - start)
            wanted.append(end - start)
        tolerance = 0.08 if finding == "tachycardia" else 0.05
        assert np.median(found) == pytest.approx(np.median(wanted), rel=tolerance), seed


def test_long_qt_is_long_for_its_rate_and_the_seeds_own_is_not() -> None:
    def corrected(finding: str, seed: int) -> float:
        made = heart(finding, seed)
        qt = np.median([end - start for start, _, end in complexes(made)])
        return float(qt / (60 / made.rate) ** (1 / 3))  # Fridericia; QT itself is measured above

    assert min(corrected("long-qt", seed) for seed in SEEDS) >= 0.47
    assert max(corrected("long-qt", seed) for seed in SEEDS) < 0.6
    assert all(0.37 < corrected("normal", seed) < 0.44 for seed in SEEDS)


@pytest.mark.parametrize("finding", DIFFERENCES)
def test_truth_is_every_difference_above_20_microvolts_and_nothing_else(finding: str) -> None:
    for seed in (0, 5):
        made = simulate(finding, seed)
        assert made.twin is not None
        microvolts = [np.rint(1000 * x.astype(np.float64)) for x in (made.signal, made.twin)]
        np.testing.assert_array_equal(made.mask, np.abs(microvolts[0] - microvolts[1]) > 20)
        assert 0.004 < made.mask.mean() < 0.9
        # The noise is the twin's: what differs without it, differs with it, to the rounding.
        silent = simulate(finding, seed, noise=0.0)
        assert silent.twin is not None
        noisy = made.signal - made.twin
        assert (
            np.abs((silent.signal - silent.twin) - noisy).max() < 0.0041
        )  # each rounded twice, in limb leads that are made of others


@pytest.mark.parametrize(("finding", "name"), RELATIONS.items())
def test_truth_of_a_relation_is_its_named_intervals_in_all_leads(finding: str, name: str) -> None:
    for seed in SEEDS:
        made = simulate(finding, seed)
        time = np.arange(made.signal.shape[1]) / made.fs
        inside = np.zeros(len(time), dtype=bool)
        for row, start, stop in made.intervals:
            if row == name:
                inside |= (time >= start) & (time < stop)
        np.testing.assert_array_equal(made.mask, np.broadcast_to(inside, made.mask.shape))
        assert 0.1 < inside.mean() < 0.9


@pytest.mark.parametrize("finding", ["av-block-1", "long-qt"])
def test_beats_stay_where_the_twin_has_them(finding: str) -> None:
    for seed in SEEDS:
        np.testing.assert_array_equal(simulate(finding, seed).beats, simulate("normal", seed).beats)


def test_av_block_moves_p_waves_and_nothing_else() -> None:
    for seed in SEEDS:
        made = heart("av-block-1", seed)
        assert made.twin is not None
        touched = np.zeros(made.signal.shape[1], dtype=bool)
        for name, start, stop in made.intervals:
            if name == "PR":
                touched[max(0, round((start - 0.04) * 1000)) : round(stop * 1000)] = True
        assert np.abs((made.signal - made.twin)[:, ~touched]).max() <= 0.002
        assert np.abs((made.signal - made.twin)[:, touched]).max() > 0.05


def test_rates_beyond_sinus_rhythm() -> None:
    for seed in SEEDS:
        for finding, lowest, highest in (("tachycardia", 100, 145), ("bradycardia", 35, 55)):
            peaks = qrs_peaks(simulate(finding, seed).signal, 500)
            assert lowest < 60 * 500 / np.median(np.diff(peaks)) < highest
            assert np.ptp(np.diff(peaks)) > 0  # no metronome


def test_flutter_is_a_saw_of_250_to_330_a_minute_with_a_whole_number_of_teeth_a_beat() -> None:
    ratios = set()
    for seed in range(16):
        made = heart("flutter", seed)
        assert "P" not in {name for name, _, _ in made.intervals}
        assert np.ptp(np.diff(made.beats)) <= 2  # ms
        quiet = simulate("flutter", seed, seconds=40, noise=0.0).signal[ROW["III"]]
        spectrum = np.abs(np.fft.rfft((quiet - quiet.mean()) * np.hanning(len(quiet))))
        hertz = np.fft.rfftfreq(len(quiet), 1 / 500)
        # The saw is a multiple of the rate; of the multiples between 4.1 and 5.6 Hz its line is the highest.
        band = (hertz > 4.1) & (hertz < 5.6)
        ratio = hertz[band][spectrum[band].argmax()] / (made.rate / 60)
        assert ratio == pytest.approx(round(ratio), abs=0.02), seed
        ratios.add(round(ratio))
    assert ratios == {2, 3, 4}


def test_premature_complexes_are_early_broad_and_followed_by_a_full_pause() -> None:
    shapes = set()
    for seed in range(16):
        made, sinus = heart("pvc", seed), heart("normal", seed)
        early = [i for i, symbol in enumerate(made.symbols) if symbol == "V"]
        assert early
        assert all(symbol == "N" for i, symbol in enumerate(made.symbols) if i not in early)
        assert all(b - a > 1 for a, b in pairwise(early))  # no couplets
        assert len(made.beats) == len(sinus.beats)
        for i, beat in enumerate(made.beats):
            if i not in early:
                assert beat == sinus.beats[i]
                continue
            assert beat < sinus.beats[i] - 120  # ms
            assert beat > sinus.beats[i - 1] + 350
            start, stop = qrs_edges(made.signal, made.fs, beat / 1000)
            assert 0.12 < stop - start < 0.19
            # T runs against the QRS in the lead where the QRS is largest.
            qrs = made.signal[:, beat]
            lead = int(np.abs(qrs).argmax())
            after = made.signal[lead, beat + 150 : beat + 350]
            assert np.sign(after[np.abs(after).argmax()]) == -np.sign(qrs[lead])
            shapes.add((qrs[ROW["V1"]] > 0, qrs[ROW["aVF"]] > 0))
        # The sinus node goes on: every P wave is the twin's.
        p, own = ([row[1:] for row in m.intervals if row[0] == "P"] for m in (made, sinus))
        np.testing.assert_allclose(p, own, atol=1e-9)
    assert len(shapes) >= 3  # from more than one place


def test_the_sinus_node_does_not_hear_of_a_premature_beat() -> None:
    """Its P waves lie under the premature T, where no caliper finds them: the plan itself is asked."""
    for seed in SEEDS:
        sinus = sinus_rhythm(draw_patient(seed), 10.0, np.arange(5000) / 500, np.random.default_rng(seed))
        plan = premature_ventricular_complexes(sinus, np.random.default_rng(seed))
        assert {beat.symbol for beat in plan.beats} == {"N", "V"}
        for beat, own in zip(plan.beats, sinus.beats, strict=True):
            p, twin = ([(b.onset + w.at, w.width, *w.vector) for w in b.waves if w.name == "P"] for b in (beat, own))
            np.testing.assert_allclose(p, twin)
            assert beat.gain == own.gain


def test_rbbb_ends_to_the_right_and_in_front_and_begins_like_the_twin() -> None:
    for seed in SEEDS:
        for finding, least, broad in (("rbbb", 0.35, 0.118), ("irbbb", 0.08, 0.1)):
            made = heart(finding, seed)
            assert made.twin is not None
            for start, stop, end in complexes(made):
                first, last = round(start * 1000), round(stop * 1000)
                late = made.signal[:, last - 45 : last]
                assert late[ROW["V1"]].max() > least
                assert late[ROW["V6"]].min() < -0.06
                assert late[ROW["I"]].min() < -0.03
                early = slice(first, first + 25)
                assert np.abs(made.signal[:, early] - made.twin[:, early]).max() < 0.03
                assert stop - start > broad
                if finding == "rbbb":
                    assert at(made, "V1", end - 0.09) < -0.03  # T against it
                    assert at(made, "V6", end - 0.09) > 0.05


def test_left_anterior_fascicular_block_turns_the_axis_up() -> None:
    def axis(finding: str, seed: int) -> float:
        made = heart(finding, seed)
        start, stop, _ = complexes(made)[0]
        area = made.signal[:, round(start * 1000) : round(stop * 1000)].astype(float).sum(axis=1)
        return math.degrees(math.atan2(2 / math.sqrt(3) * area[ROW["aVF"]], area[ROW["I"]]))

    assert all(-80 < axis("lafb", seed) < -45 for seed in SEEDS)
    assert all(-30 < axis("normal", seed) < 90 for seed in range(40))
    assert np.ptp([axis("normal", seed) for seed in range(40)]) > 60  # hearts lie differently


def test_paced_beats_follow_a_spike() -> None:
    kinds = set()
    for seed in range(12):
        made = simulate("paced", seed, noise=0.0)
        assert set(made.symbols) == {"/"}
        # A spike is what a median over 14 ms takes away.
        steep = np.abs(made.signal - np.stack([np.convolve(row, [0.5, 0, 0.5], "same") for row in made.signal])).max(
            axis=0
        )
        onsets = [start for name, start, _ in made.intervals if name == "QRS" and start > 0.1]
        for start in onsets:
            around = slice(round((start - 0.008) * 500), round(start * 500) + 1)
            elsewhere = slice(round((start + 0.02) * 500), round((start + 0.12) * 500))
            assert steep[around].max() > 2 * steep[elsewhere].max(), seed
        p = next(start for name, start, _ in made.intervals if name == "P" and start > 0.1)
        kinds.add(bool(steep[round((p - 0.008) * 500) : round(p * 500) + 1].max() > 0.02))
        # From the apex upwards: down in II, III and aVF, and in V1.
        at_peak = made.signal[:, made.beats[1]]
        assert at_peak[ROW["aVF"]] < -0.2
        assert at_peak[ROW["V1"]] < -0.1
        assert at_peak[ROW["I"]] > 0.05
    assert kinds == {False, True}  # some atria are paced too


def test_a_spike_is_seen_at_a_slow_rate_too() -> None:
    for seed in SEEDS:
        made = simulate("paced", seed, fs=100.0, noise=0.0)
        onset = next(start for name, start, _ in made.intervals if name == "QRS" and start > 0.3)
        around = made.signal[:, round((onset - 0.015) * 100) : round((onset + 0.005) * 100) + 1]
        before = made.signal[:, [round((onset - 0.03) * 100)]]
        assert np.abs(around - before).max() > 0.05


@pytest.mark.parametrize("wall", WALLS)
@pytest.mark.parametrize("finding", ["st-elevation", "st-depression"])
def test_st_is_shifted_over_the_wall_and_the_other_way_across_from_it(finding: str, wall: str) -> None:
    sign = 1 if finding == "st-elevation" else -1
    for seed in SEEDS:
        made, twin = heart(finding, seed, wall), heart("normal", seed)
        for start, stop, _ in complexes(made):

            def shift(lead: str, start: float = start, stop: float = stop, made: Simulation = made) -> float:
                return sign * (at(made, lead, stop + 0.04) - at(made, lead, start - 0.01))

            assert all(shift(lead) > 0.07 for lead in OVER[wall]), seed
            own = sign * (at(twin, ACROSS[wall], stop + 0.04) - at(twin, ACROSS[wall], start - 0.01))
            assert shift(ACROSS[wall]) < own - 0.02
        # The QRS is hardly touched until its end.
        first = round(complexes(made)[0][0] * 1000)
        assert made.twin is not None
        assert np.abs((made.signal - made.twin)[:, first : first + 50]).max() < 0.02


@pytest.mark.parametrize("wall", WALLS)
@pytest.mark.parametrize("finding", ["t-inversion", "ischaemia"])
def test_t_is_inverted_over_the_wall(finding: str, wall: str) -> None:
    for seed in SEEDS:
        made, twin = heart(finding, seed, wall), heart("normal", seed)
        for start, stop, end in complexes(made):
            for lead in OVER[wall]:
                t = made.signal[ROW[lead], round((stop + 0.08) * 1000) : round(end * 1000)] - at(
                    made, lead, start - 0.01
                )
                assert t.min() < -0.1
                assert t.max() < 0.05
        assert max(at(twin, lead, end - 0.09) for lead in OVER[wall]) > 0.05


@pytest.mark.parametrize(
    ("finding", "wall", "leads"),
    [
        *(("q-waves", wall, OVER[wall]) for wall in WALLS),
        ("inferior-mi", None, OVER["inferior"]),
        ("anteroseptal-mi", None, ("V1", "V2", "V3")),
    ],
)
def test_q_waves_are_deep_and_30_ms_long_over_the_wall(finding: str, wall: str | None, leads: tuple[str, ...]) -> None:
    for seed in SEEDS:
        made, twin = heart(finding, seed, wall), heart("normal", seed)
        for start, stop, _ in complexes(made)[:2]:
            first, last = round(start * 1000), round(stop * 1000)
            for lead in leads:
                q = made.signal[ROW[lead], first - 5 : last] - at(made, lead, start - 0.006)
                until = int(np.flatnonzero(q > 0.05)[0]) if (q > 0.05).any() else len(q)
                assert q[:until].min() < -0.15, (seed, lead)
                assert (q[:until] < -0.005).sum() >= 30, (seed, lead)  # ms
            # and the twin has none: its deepest first deflection is small
            small = twin.signal[ROW[leads[-1]], first : first + 20] - at(twin, leads[-1], start - 0.006)
            assert small.min() > -0.2


def test_hypertrophy_has_the_voltage() -> None:
    def sokolow(finding: str, seed: int) -> float:
        made = heart(finding, seed)
        start, stop, _ = complexes(made)[0]
        qrs = made.signal[:, round(start * 1000) : round(stop * 1000)] - made.signal[:, [round(start * 1000) - 5]]
        return float(max(qrs[ROW["V5"]].max(), qrs[ROW["V6"]].max()) - qrs[ROW["V1"]].min())

    high = [sokolow("lvh", seed) for seed in range(24)]
    usual = [sokolow("normal", seed) for seed in range(24)]
    assert np.median(high) > 4
    assert np.mean(np.array(high) > 3.5) > 0.9
    assert np.mean(np.array(usual) < 3.5) > 0.9
    assert min(h / u for h, u in zip(high, usual, strict=True)) > 1.2


def test_abnormal_t_is_flat_in_every_lead() -> None:
    for seed in SEEDS:
        made, twin = heart("t-abnormal", seed), heart("normal", seed)
        start, stop, end = complexes(made)[1]
        span = slice(round((stop + 0.08) * 1000), round(end * 1000))
        for lead in ("I", "II", "V3", "V4", "V5", "V6"):
            flat = made.signal[ROW[lead], span] - at(made, lead, start - 0.01)
            usual = twin.signal[ROW[lead], span] - at(twin, lead, start - 0.01)
            assert np.abs(flat).max() < 0.35 * np.abs(usual).max(), (seed, lead)


@pytest.mark.parametrize("finding", BY_WALL)
def test_a_wall_that_is_not_given_is_drawn_and_named(finding: str) -> None:
    walls = {seed: simulate(finding, seed, seconds=1).wall for seed in range(20)}
    assert set(walls.values()) == set(WALLS)
    for seed in (0, 1):
        given = simulate(finding, seed, wall=walls[seed])
        np.testing.assert_array_equal(given.signal, simulate(finding, seed).signal)
    assert simulate("af", 0, seconds=1).wall is None


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_second_is_enough_and_no_sample_is_wild(finding: str) -> None:
    for seed in range(6):
        made = simulate(finding, seed, seconds=1, fs=250.0)
        assert made.signal.shape == (12, 250)
        assert np.abs(made.signal).max() < 8  # mV
        assert made.mask.any() == (finding != "normal")


def test_a_batch_is_the_same_recordings_one_by_one() -> None:
    findings = ["af", "normal", "pvc", "q-waves", "paced"]
    for fs in (500.0, 100.0):
        batch = simulate_batch(findings, TRAINING_SEEDS, fs=fs)
        assert (batch.shape, batch.dtype) == ((5, 12, int(10 * fs)), np.float32)
        for row, finding in enumerate(findings):
            np.testing.assert_array_equal(batch[row], simulate(finding, TRAINING_SEEDS + row, fs=fs).signal)
    walls = [None, None, None, "lateral", None]
    np.testing.assert_array_equal(
        simulate_batch(findings, 4, walls=walls, seconds=2)[3], simulate("q-waves", 7, wall="lateral", seconds=2).signal
    )
    with pytest.raises(ValueError, match="zip"):
        simulate_batch(findings, 4, walls=walls[:2])
    assert TRAINING_SEEDS == 1_000_000
    assert simulate_batch([], 0).shape == (0, 12, 5000)
    with pytest.raises(EcgcamError, match="magic"):
        simulate_batch(["af", "magic"], 0)


def test_nothing_but_the_seed_decides() -> None:
    """Not torch, whose threads and flags could change a sum, nor any global generator."""
    code = (
        "import hashlib, sys, numpy as np\n"
        "np.random.seed(int(sys.argv[1]))\n"
        "from ecgcam.records.simulator import FINDINGS, simulate_batch\n"
        "assert 'torch' not in sys.modules\n"
        "print(hashlib.sha256(simulate_batch(FINDINGS, 3, seconds=2).tobytes()).hexdigest())"
    )
    other = [
        subprocess.run([sys.executable, "-c", code, n], capture_output=True, text=True, check=True).stdout for n in "12"
    ]
    here = hashlib.sha256(simulate_batch(FINDINGS, 3, seconds=2).tobytes()).hexdigest()
    assert [line.strip() for line in other] == [here, here]


def test_recorders_of_100_hz_hold_no_mains() -> None:
    """50 Hz would fold onto the recording's own last frequency; a recorder filters it away first."""
    for fs, held in ((100.0, False), (500.0, True)):
        made = [simulate("normal", seed, fs=fs) for seed in SEEDS]
        noise = np.stack([m.signal - simulate("normal", m.seed, fs=fs, noise=0.0).signal for m in made])
        spectrum = np.abs(np.fft.rfft(noise * np.hanning(noise.shape[2]))).mean(axis=(0, 1))
        hertz = np.fft.rfftfreq(noise.shape[2], 1 / fs)
        line = spectrum[np.abs(hertz - 50).argmin()]
        beside = np.median(spectrum[(hertz > 35) & (hertz < 45)])
        assert (line > 2 * beside) == held, fs


@pytest.mark.parametrize(
    ("finding", "wall", "words"),
    [
        ("st-elevation", "posterior", "wall=posterior.*inferior, anterior, lateral"),
        ("af", "inferior", "af has no wall"),
    ],
)
def test_a_wrong_wall_is_one_line(finding: str, wall: str, words: str) -> None:
    with pytest.raises(EcgcamError, match=words):
        simulate(finding, 0, wall=wall)
