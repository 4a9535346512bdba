"""What the electrodes add to the signal: baseline wander, mains hum, muscle noise."""

from __future__ import annotations

import math

import numpy as np

from ecgcam.records.simulator.heart import NOISE, Doubles, Patient


def disturbance(samples: int, fs: float, patient: Patient, seed: int) -> Doubles:
    """Noise of nine electrodes as the eight leads see it, (8, N) mV.

    It arises at the electrodes, so limb leads share it, and the precordial leads carry a third of each limb's.
    """
    rng = np.random.default_rng([seed, NOISE])
    time = np.arange(samples) / fs
    top = min(130.0, 0.45 * fs)
    muscle = 0.0035 * float(np.exp(0.45 * np.clip(rng.standard_normal(), -2, 2)))
    # A recorder this slow filters the mains away before it samples.
    mains = float(rng.uniform(0.0005, 0.003)) * (fs > 111)
    hum = 2 * np.pi * (50 * time + float(rng.uniform()))
    wander = 0.038 * float(np.exp(0.4 * np.clip(rng.standard_normal(), -2, 2)))
    noises = []
    for _ in range(9):
        own = float(np.exp(0.4 * np.clip(rng.standard_normal(), -2, 2)))
        slow = 0.55 * np.sin(2 * np.pi * patient.breathing * time + patient.breath + 0.6 * rng.standard_normal())
        slow += 0.5 * np.sin(2 * np.pi * (float(rng.uniform(0.06, 0.2)) * time + float(rng.uniform())))
        slow += 0.6 * _coloured(rng, samples, fs, 0.04, 0.7, slope=1.0)
        # Muscles tense and relax: the noise swells within seconds.
        swell = np.exp(0.35 * _coloured(rng, samples, fs, 0.05, 0.5, slope=0.0))
        noises.append(
            wander * own * slow
            + muscle * swell * _coloured(rng, samples, fs, 18.0, top, slope=0.25)
            + 0.0035 * _coloured(rng, samples, fs, 0.7, 18.0, slope=0.5)
            + mains * float(rng.uniform(0.3, 1.0)) * np.sin(hum + 0.5 * rng.standard_normal())
        )
    right, left, foot, *chest = noises
    centre = (right + left + foot) / 3
    return np.stack([left - right, foot - right, *(electrode - centre for electrode in chest)])


def _coloured(rng: np.random.Generator, samples: int, fs: float, low: float, high: float, slope: float) -> Doubles:
    """Gaussian noise between `low` and `high` Hz whose spectrum falls as frequency**-slope; standard deviation about 1."""
    # At least 40 s, cut afterwards: what the Fourier transform makes is periodic, and slow waves need room.
    length = max(2 * samples, math.ceil(40 * fs))
    frequency = np.fft.rfftfreq(length, 1 / fs)
    band = (frequency >= low) & (frequency <= high)
    spectrum = np.zeros(len(frequency), dtype=np.complex128)
    parts = rng.standard_normal((2, int(band.sum())))
    spectrum[band] = (parts[0] + 1j * parts[1]) * frequency[band] ** -slope
    noise = np.fft.irfft(spectrum, length)
    return np.asarray(noise[:samples] / noise.std())
