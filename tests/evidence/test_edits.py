"""What is taken out, sample by sample."""

from __future__ import annotations

import numpy as np
import pytest

from ecgcam.errors import EcgcamError
from ecgcam.evidence.edits import TilePerturbation, order_of, top_tiles


def total(signals: np.ndarray) -> np.ndarray:
    return signals.sum(axis=(1, 2)).astype(np.float64)


def case(signal: np.ndarray, leads: tuple[str, ...], *, fs: float = 100.0, **settings) -> TilePerturbation:
    signal = np.asarray(signal, np.float32)
    settings = {"fill": np.zeros_like(signal), "valid": np.ones(signal.shape, bool), **settings}
    return TilePerturbation(signal=signal, leads=leads, fs=fs, score=total, **settings)


def test_tiles_are_as_long_as_asked_and_cover_every_sample() -> None:
    one = case(np.zeros((2, 40)), ("I", "V1"))  # 80 ms at 100 Hz: 8 samples
    assert one.bounds.tolist() == [0, 8, 16, 24, 32, 40]
    assert len(one.tiles) == 10


def test_a_tile_without_a_real_sample_is_no_tile_and_padding_is_never_edited() -> None:
    valid = np.ones((1, 40), bool)
    valid[0, :20] = False
    signal = np.arange(40.0)[None]
    one = case(signal, ("V1",), valid=valid, removal="mask")
    assert one.tiles.tolist() == [[0, 2], [0, 3], [0, 4]]
    edited = one.without(np.array([[True, True, True]]))[0, 0]
    assert np.array_equal(edited[:20], signal[0, :20])
    assert not edited[20:].any()


def test_the_line_runs_between_the_samples_left_on_either_side() -> None:
    # A ramp has steps of one size, so its noise level is not zero: hold the noise still by a constant-step-free signal.
    signal = np.zeros((1, 40))
    signal[0, 8:16] = 5.0  # what is to be removed
    signal[0, 16:] = 1.0
    one = case(signal, ("V1",))
    removed = np.zeros((1, 5), bool)
    removed[0, 1] = True
    edited = one.without(removed)[0, 0]
    # Sample 7 is 0 and sample 16 is 1: nine steps.
    assert edited[8:16] == pytest.approx(np.arange(1, 9) / 9, abs=1e-6)
    assert np.array_equal(np.delete(edited, np.s_[8:16]), np.delete(signal[0], np.s_[8:16]))


def test_the_noise_is_at_the_lead_s_own_level() -> None:
    rng = np.random.default_rng(0)
    signal = np.stack([0.02 * rng.standard_normal(4000), 0.1 * rng.standard_normal(4000)])
    one = case(signal, ("V1", "V2"))
    edited = one.without(np.ones((1, len(one.tiles)), bool))[0]
    assert edited.std(axis=1) == pytest.approx([0.02, 0.1], rel=0.1)


def test_a_coherent_edit_takes_the_limb_leads_together_and_keeps_einthoven() -> None:
    rng = np.random.default_rng(0)
    first, second, chest = rng.standard_normal((3, 40))
    signal = np.stack([first, second, second - first, -(first + second) / 2, chest])
    one = case(signal, ("I", "II", "III", "aVR", "V1"), mode="coherent")
    assert one.members == [[0, 1, 2, 3], [4]]
    removed = np.zeros((1, len(one.tiles)), bool)
    removed[0, 2] = True
    edited = one.without(removed)[0]
    assert np.abs(edited[:4] - signal[:4]).max() > 0.1
    assert edited[2] == pytest.approx(edited[1] - edited[0], abs=1e-6)
    assert edited[3] == pytest.approx(-(edited[0] + edited[1]) / 2, abs=1e-6)
    assert np.array_equal(edited[4], one.signal[4])


def test_importance_is_the_mass_over_a_tile_s_leads_and_samples() -> None:
    values = np.ones((3, 16))
    values[2] = 2.0
    one = case(np.zeros((3, 16)), ("I", "II", "V1"), mode="coherent")
    assert one.importance(values).tolist() == [16.0, 16.0, 16.0, 16.0]


def test_order_is_by_importance_with_ties_drawn() -> None:
    assert order_of(np.array([1.0, 3.0, 2.0]), 0).tolist() == [1, 2, 0]
    flat = [tuple(order_of(np.zeros(6), seed)) for seed in range(5)]
    assert len(set(flat)) > 1
    assert sorted(flat[0]) == list(range(6))


def test_shares_are_counted_up() -> None:
    marked = top_tiles(np.array([2, 0, 1, 3]), (0.0, 0.01, 0.5, 1.0))
    assert marked.sum(axis=1).tolist() == [0, 1, 2, 4]
    assert np.flatnonzero(marked[2]).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tile_ms": 20.0}, "40 to 120"),
        ({"removal": "blur"}, "line, mask"),
        ({"mode": "coherent"}, "need leads I and II"),
    ],
)
def test_an_impossible_case_is_refused(settings: dict, said: str) -> None:
    with pytest.raises(EcgcamError, match=said):
        case(np.zeros((1, 40)), ("V1",), **settings)
