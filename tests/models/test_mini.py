"""The bundled model: what it is made of, how big it is, and that it still tells findings apart."""

from __future__ import annotations

import ast
import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import ROOT
from torch import nn
from training.data import load_findings
from training.metrics import auroc
from training.train import FIGURES

import ecgcam
from ecgcam.models.families.mini import MiniSignalTower, ResidualBlock
from ecgcam.protocol.preprocessing import scale_window
from ecgcam.protocol.spec import windows_of
from ecgcam.records import read_record

WEIGHTS = ROOT / "src/ecgcam/models/weights/mini.npz"


def test_the_signal_tower_is_made_of_what_every_method_can_take() -> None:
    tower = ecgcam.load_model("mini").network.get_submodule("signal")
    allowed = (nn.Conv1d, nn.BatchNorm1d, nn.ReLU, nn.Linear, nn.Sequential, ResidualBlock, MiniSignalTower)
    assert all(isinstance(module, allowed) for module in tower.modules())


def test_size_and_cells() -> None:
    spec = ecgcam.load_model("mini").spec
    assert WEIGHTS.stat().st_size <= 5_000_000
    assert spec.layers[spec.layer].step / spec.input.fs <= 0.040
    with np.load(WEIGHTS, allow_pickle=False) as archive:
        assert {archive[key].dtype.kind for key in archive.files} <= {"f", "i", "b"}


@pytest.mark.slow
@pytest.mark.shared
def test_macro_auroc_of_five_findings_on_fold_9(unpacked: Path) -> None:
    model = ecgcam.load_model("mini")
    findings = [finding for finding in load_findings() if finding.name in FIGURES]
    with (unpacked / "ptbxl/ptbxl_database.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["strat_fold"] == "9"]
    inputs = []
    for row in rows:
        record = read_record(unpacked / "ptbxl" / row["filename_hr"])
        inputs.append(scale_window(next(windows_of(record, model.input)), model.input)[0])
    with torch.no_grad():
        embedded = torch.cat(
            [model.encode_signal(part) for part in torch.split(torch.from_numpy(np.stack(inputs)), 64)]
        )
        scores = (embedded @ model.encode_text([finding.prompt for finding in findings]).T).numpy()
    labels = np.array([[finding.label(ast.literal_eval(row["scp_codes"])) for finding in findings] for row in rows])
    assert len(rows) == 329
    assert np.mean([auroc(labels[:, i], scores[:, i]) for i in range(len(findings))]) >= 0.97
