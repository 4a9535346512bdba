"""The statistics next to mini's weights: activations of the recordings of its training.

    python -m training.reference --data PTBXL [MORE]

Clusters of folds 1-7, at most 2,000 records of them, of the cells of an early layer, to which noise is unlike any heart; limits
by fold 8. To be computed again whenever the weights change: a test holds the two together. What they separate is measured by
benchmarks/masks.py, on fold 9.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from ecgcam.models.load import load_model
from ecgcam.protocol.reference import reference_beside
from training.data import ROOT, Finding, PtbXl, load_findings, load_ptbxl
from training.familiarity import fit_reference
from training.train import FS, SAMPLES

LAYER = "signal.stages.0"
KNOWN = 2000
SHIPPED = ROOT / "src/ecgcam/models/weights/mini.npz"


def take_reference(weights: Path, data: PtbXl, findings: list[Finding]) -> None:
    """Take and write the statistics next to a file of mini's weights."""
    model = load_model("mini", weights, device="cpu")
    known = np.flatnonzero(data.folds <= 7)
    known = known[np.linspace(0, len(known) - 1, min(len(known), KNOWN)).astype(int)]
    reference = fit_reference(model, data.windows[known], data.windows[data.folds == 8], LAYER)
    without = {finding.prompt: data.labels[known, i] == 0 for i, finding in enumerate(findings)}
    reference = replace(reference, without=without)
    out = reference_beside(weights)
    reference.save(out)
    print(f"{out}: {out.stat().st_size / 1024:.0f} KB, limits {reference.limits}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--weights", type=Path, default=SHIPPED)
    args = parser.parse_args()
    findings = load_findings()
    take_reference(args.weights, load_ptbxl(args.data, FS, SAMPLES, findings, ROOT / ".cache"), findings)


if __name__ == "__main__":
    main()
