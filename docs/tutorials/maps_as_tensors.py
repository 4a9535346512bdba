"""Use maps as a training target: tensors on the model's device."""

import ecgcam
from ecgcam.records.simulator import simulate

model = ecgcam.load_model("mini")
signals = [simulate(finding, 7).signal for finding in ("af", "normal")]
found = ecgcam.map_tensors(signals, ["atrial fibrillation", "normal ECG"], model, fs=500, lead_names="standard")
print(found.maps.shape, found.maps.device, found.scores)
