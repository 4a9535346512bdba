"""A finding and a seed name a recording: evidence names them, so no version may make another one of them.

`python -m tests.records.test_simulator_stays` writes the table beside this file anew, where a change is meant.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecgcam.records.simulator import FINDINGS, simulate, simulate_batch

TABLE = Path(__file__).with_name("simulated.json")
SEEDS = (0, 2, 7, 10)
# Name of the noise, sampling rate (Hz), seconds: the band's top and the mains depend on the rate, its length on the seconds.
NOISES = {"usual": (500.0, 10.0), "slow recorder": (110.0, 10.0), "slow and long": (100.0, 60.0), "fast": (1000.0, 3.0)}


def figures(signal: np.ndarray) -> list[float]:
    """Root mean square of each lead (µV), and of each lead's steps: what is larger, later or sharper changes them."""
    signal = 1000 * signal.astype(float)
    ramp = np.linspace(1, 2, signal.shape[1])  # so that the same wave elsewhere counts differently
    both = np.sqrt(np.mean((signal * ramp) ** 2, axis=1)), np.sqrt(np.mean(np.diff(signal * ramp, axis=1) ** 2, axis=1))
    return [float(f"{value:.6g}") for value in np.concatenate(both)]


def of_finding(finding: str, seed: int) -> dict[str, Any]:
    made = simulate(finding, seed, noise=0.0)
    return {
        "signal": figures(made.signal),
        "rate": round(made.rate, 6),
        "beats": made.beats.tolist(),
        "symbols": "".join(made.symbols),
        "wall": made.wall,
        "intervals": round(
            sum((row + 1) * (start + 2 * stop) for row, (_, start, stop) in enumerate(made.intervals)), 5
        ),
        "names": len(made.intervals),
        "truth": made.mask.sum(axis=1).tolist(),
    }


def of_noise(fs: float, seconds: float, seed: int) -> list[float]:
    made = [simulate("normal", seed, fs=fs, seconds=seconds, noise=noise).signal for noise in (1.0, 0.0)]
    return figures(made[0] - made[1])


def whole_table() -> dict[str, Any]:
    return {
        "findings": {finding: {str(seed): of_finding(finding, seed) for seed in SEEDS} for finding in FINDINGS},
        "noise": {name: {str(seed): of_noise(*how, seed) for seed in SEEDS[:2]} for name, how in NOISES.items()},
    }


def table() -> dict[str, Any]:
    return json.loads(TABLE.read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_finding_and_a_seed_name_the_recording_they_always_named(finding: str) -> None:
    for seed, wanted in table()["findings"][finding].items():
        made = of_finding(finding, int(seed))
        # Other libraries of mathematics may round a microvolt the other way.
        assert made.pop("signal") == pytest.approx(wanted.pop("signal"), rel=1e-4, abs=0.01)
        assert made.pop("truth") == pytest.approx(wanted.pop("truth"), abs=3)
        assert made.pop("beats") == pytest.approx(wanted.pop("beats"), abs=1)
        assert made.pop("intervals") == pytest.approx(wanted.pop("intervals"), rel=1e-6)
        assert made == wanted


@pytest.mark.parametrize("name", NOISES)
def test_and_the_noise_they_always_had(name: str) -> None:
    for seed, wanted in table()["noise"][name].items():
        assert of_noise(*NOISES[name], int(seed)) == pytest.approx(wanted, rel=1e-3, abs=0.02)


def test_a_batch_is_made_of_the_same_recordings() -> None:
    batch = simulate_batch(["af", "q-waves"], 3, walls=[None, "lateral"])
    alone = [simulate("af", 3).signal, simulate("q-waves", 4, wall="lateral").signal]
    np.testing.assert_array_equal(batch, np.stack(alone))


if __name__ == "__main__":
    rows = [f'"{name}": {{\n' + ",\n".join(f'"{key}": {json.dumps(value)}' for key, value in part.items()) + "\n}"
            for name, part in whole_table().items()]  # fmt: skip
    TABLE.write_text("{\n" + ",\n".join(rows) + "\n}\n")
