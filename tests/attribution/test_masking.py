"""Masking after normalisation: one lead is masked, the others stay bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from ecgcam.attribution.masking import FILLS, fill_signal, lead_alone
from ecgcam.errors import EcgcamError

X = np.array([[1, 2, 3, 4, 99], [5, 5, 9, 5, 99], [0, 0, 0, 0, 0]], np.float32)
VALID = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [0, 0, 0, 0, 0]], bool)
ZERO = np.array([[0.25], [0.5], [0.75]], np.float32)


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("baseline", [2.5, 5.0, 0.75]),  # medians of the valid samples; a lead without any lies at 0 mV
        ("zero-mv", [0.25, 0.5, 0.75]),
        ("zero", [0.0, 0.0, 0.0]),
        ("mean", [7.0, 8.0, 9.0]),
    ],
)
def test_levels_by_hand(name: str, levels: list[float]) -> None:
    filled = fill_signal(name, X, VALID, ZERO, mean=(7.0, 8.0, 9.0))
    np.testing.assert_array_equal(filled, np.repeat(np.array(levels, np.float32)[:, None], 5, axis=1))


def test_noise_has_the_leads_own_spread_and_stream() -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((3, 20_000)) * [[1.0], [3.0], [0.0]] + [[0.0], [10.0], [2.0]]).astype(np.float32)
    valid = np.ones(x.shape, bool)
    filled = fill_signal("noise", x, valid, np.zeros((3, 1), np.float32), seed=5)
    # The median absolute deviation of a Gaussian is 0.6745 standard deviations.
    np.testing.assert_allclose(filled.std(axis=1), [0.6745, 3 * 0.6745, 0.0], rtol=0.03, atol=1e-6)
    np.testing.assert_allclose(filled.mean(axis=1), [0.0, 10.0, 2.0], atol=0.05)
    again = fill_signal("noise", x, valid, np.zeros((3, 1), np.float32), seed=5)
    other = fill_signal("noise", x, valid, np.zeros((3, 1), np.float32), seed=6)
    np.testing.assert_array_equal(filled, again)
    assert not np.array_equal(filled, other)
    # Changing one lead leaves the others' noise alone.
    changed = x.copy()
    changed[0] *= 2
    np.testing.assert_array_equal(
        fill_signal("noise", changed, valid, np.zeros((3, 1), np.float32), seed=5)[1:], filled[1:]
    )


@pytest.mark.parametrize("name", FILLS)
def test_masking_one_lead_leaves_the_others_bit_equal(name: str) -> None:
    x = np.random.default_rng(1).standard_normal((4, 50)).astype(np.float32)
    kept = x.copy()
    fill = fill_signal(name, x, np.ones(x.shape, bool), np.zeros((4, 1), np.float32), mean=(0.1, 0.2, 0.3, 0.4))
    masked = lead_alone(x, fill, [0, 2, 3])
    assert masked.shape == (3, 4, 50)
    for i, lead in enumerate([0, 2, 3]):
        assert np.array_equal(masked[i, lead], x[lead])
        others = [row for row in range(4) if row != lead]
        assert np.array_equal(masked[i, others], fill[others])
    assert np.array_equal(x, kept)


def test_errors() -> None:
    with pytest.raises(EcgcamError, match=r"`mask` silence: no such mask; choose from baseline"):
        fill_signal("silence", X, VALID, ZERO)
    with pytest.raises(EcgcamError, match="states no training mean"):
        fill_signal("mean", X, VALID, ZERO)
