"""Explain arrays in a loop, with their classes, and average over each class."""

import ecgcam
from ecgcam.records.simulator import simulate

labels = ["af", "af", "normal", "normal"]
arrays = (simulate(label, seed).signal for seed, label in enumerate(labels))  # (12, 5000) millivolts each
explanations = list(ecgcam.explain_many(arrays, "atrial fibrillation", fs=500, lead_names="standard", on_error="raise"))
for summary in ecgcam.summarize(explanations, by=labels).groups:
    print(summary.group.label, len(summary.group.records), "recordings, mean gain", summary.gain.mean[-1].round(3))
