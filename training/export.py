"""A training run's weights -> a file as it ships.

    python -m training.export --data PTBXL --run RUN/last.pt --out RUN/first.npz

The file has half precision and NumPy arrays only: nothing in it can run, and it has half the size. It also has the words of
the training texts, so that a prompt of unknown words can be detected. The shipped file has also gone through
training/speak.py and has the statistics of training/reference.py next to it. Figures are always computed from the exported
file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ecgcam.files import atomic
from ecgcam.models.families.mini import build
from training.data import Finding, PtbXl, load_findings, load_ptbxl
from training.train import FS, NEGATIONS, NOT_NORMAL, ROOT, SAMPLES, TEMPLATES, Yardstick


def export(run: Path, out: Path, texts: list[str]) -> None:
    """Write a run's weights; a supervised run's (the yardstick's) as they are, since it has no words to learn."""
    state = torch.load(run, weights_only=True)["state"]
    network: nn.Module
    if "output.weight" in state:
        network = Yardstick(len(state["output.weight"]))
        network.load_state_dict(state)
    else:
        network = build()
        network.load_state_dict({key: value for key, value in state.items() if key not in {"log_scale", "bias"}})
        network.text.learn_words(texts)
    write_weights(network, out)


def write_weights(network: nn.Module, out: Path) -> None:
    """Write a network's weights in half precision."""
    arrays = {
        key: value.numpy().astype(np.float16) if value.is_floating_point() else value.numpy()
        for key, value in network.state_dict().items()
    }
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise SystemExit(f"{out}: a weight does not fit half precision")
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic(out) as path:
        np.savez_compressed(path, **arrays)


def training_texts(data: PtbXl, findings: list[Finding]) -> list[str]:
    """Every text that the text tower may have been trained on: its words are the known ones."""
    reports = [report for report, fold in zip(data.reports, data.folds, strict=True) if fold <= 8]
    phrases = [phrase for finding in findings for phrase in (finding.prompt, *finding.phrases)]
    return [*phrases, *data.statement_texts, *reports, *TEMPLATES, *NEGATIONS, *NOT_NORMAL]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="PTB-XL, for the words of its reports")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    findings = load_findings()
    data = load_ptbxl(args.data, FS, SAMPLES, findings, ROOT / ".cache")
    export(args.run, args.out, training_texts(data, findings))
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
