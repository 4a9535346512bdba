"""A small 12-lead ECG simulator whose findings have a known place.

A dipole in the middle of the chest turns with every beat; each lead sees its projection. The dipole is a sum of Gaussian
waves (P, Q, R, S, T), each with a time, a width and a direction in space:

- P. E. McSharry, G. D. Clifford, L. Tarassenko, L. A. Smith: A dynamical model for generating synthetic electrocardiogram
  signals. IEEE Trans Biomed Eng 50(3), 289-294, 2003 (the Gaussian waves of a beat).
- R. Sameni, G. D. Clifford, C. Jutten, M. B. Shamsollahi: Multichannel ECG and noise modeling: application to maternal and
  fetal ECG signals. EURASIP J Adv Signal Process 2007, 43407 (the same in three dimensions, seen by many leads).
- G. E. Dower: A lead synthesizer for the Frank system to simulate the standard 12-lead electrocardiogram. J Electrocardiol
  1(1), 101-116, 1968; L. Edenbrandt, O. Pahlm: Vectorcardiogram synthesized from a 12-lead ECG: superiority of the inverse
  Dower matrix. J Electrocardiol 21(4), 361-367, 1988 (the lead vectors).

The sizes of waves and noise were compared with median beats of PTB-XL records (``python -m benchmarks.simulator``). This is a
test bench for maps, not a model of disease: it shows textbook findings; real hearts are more complex.

A finding is a function of the seed's sinus rhythm: it takes that plan and hands back a changed one. The **twin** is the
plan unchanged, with the very same noise, so it equals ``simulate("normal", seed)``. Patient, rhythm, noise and finding draw
from streams of their own; no draw of a finding can shift its twin. Seeds from `TRAINING_SEEDS` up are for training.

The **truth** is one of two, by the finding's row in the table:

- *difference*: the beats are where the twin's are, so the truth is every sample of every lead where the two recordings are
  more than 20 µV apart, counted on the whole microvolts that are written.
- *intervals*: a finding that is a relation in time, such as one of the rhythm, moves the beats, and a difference from the twin
  would only state it. The truth is then the named intervals in which the finding shows, in all leads: "TQ", from the end of T
  to the next QRS, for fibrillation (no P wave, fibrillatory waves undisturbed), flutter and rate; "PR" for AV block; "QT" for
  long QT.
"""

from ecgcam.records.simulator.findings import WALLS
from ecgcam.records.simulator.output import write
from ecgcam.records.simulator.recording import (
    FINDINGS,
    TRAINING_SEEDS,
    TRUTH_UV,
    Simulation,
    simulate,
    simulate_batch,
)

__all__ = ["FINDINGS", "TRAINING_SEEDS", "TRUTH_UV", "WALLS", "Simulation", "simulate", "simulate_batch", "write"]
