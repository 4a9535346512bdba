"""Explain a network of your own: a classifier with two outputs, on three leads at 100 Hz."""

from torch import nn

import ecgcam

network = nn.Sequential(
    nn.Conv1d(3, 8, 9, padding=4),
    nn.ReLU(),
    nn.Conv1d(8, 8, 9, stride=4),
    nn.ReLU(),
    nn.AdaptiveAvgPool1d(1),
    nn.Flatten(),
    nn.Linear(8, 2),
)
spec = ecgcam.InputSpec(fs=100, seconds=10, leads=("I", "II", "V1"))
model = ecgcam.own_model(network, layer="2", input=spec, targets=True)
print(ecgcam.explain("demo/af-7.dat", "1", model)[0])
