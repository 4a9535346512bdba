"""Figures of the shipped weights on a fold of PTB-XL, and the model card made from them.

    python -m training.card --data PTBXL --fold 9 --out docs/mini.md

AUROC of each finding's own prompt against the labels of the vocabulary; intervals by 1,000 bootstrap draws of patients.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ecgcam.models.load import load_model
from ecgcam.records import CANONICAL_LEADS
from training.data import Finding, PtbXl, load_findings, load_ptbxl
from training.metrics import auroc, bootstrap_interval
from training.train import FIGURES, FS, ROOT, SAMPLES, embed

TEMPLATE = ROOT / "training/card.md"


def single_leads(network: nn.Module, windows: np.ndarray, labels: np.ndarray, text: np.ndarray) -> list[float]:
    """AUROC from each lead alone, the others at their baseline."""
    figures = []
    for lead in range(windows.shape[1]):
        alone = np.zeros_like(windows)
        alone[:, lead] = windows[:, lead]
        figures.append(auroc(labels, embed(network, alone).numpy() @ text))
    return figures


def tables(data: PtbXl, findings: list[Finding], fold: int) -> dict[str, str]:
    """The card's figures, as Markdown, by the names of its place holders."""
    model = load_model("mini", device="cpu")
    rows = data.folds == fold
    windows, patients = data.windows[rows], data.patients[rows]
    texts = model.encode_text([finding.prompt for finding in findings]).numpy()
    scores = embed(model.network, windows).numpy() @ texts.T
    by_name: dict[str, float] = {}
    lines = []
    for i, finding in enumerate(findings):
        labels = data.labels[rows, i]
        positives = int((labels == 1).sum())
        by_name[finding.name] = auroc(labels, scores[:, i])
        if positives == 0:
            lines.append(f"| {finding.prompt} | 0 | none to score | |")
            continue
        low, high = bootstrap_interval(labels, scores[:, i], patients)
        few = " (few)" if positives < 10 else ""
        lines.append(f"| {finding.prompt} | {positives}{few} | {by_name[finding.name]:.3f} | {low:.3f} to {high:.3f} |")
    leads = []
    for name in FIGURES:
        i = [finding.name for finding in findings].index(name)
        alone = single_leads(model.network, windows, data.labels[rows, i], texts[i])
        leads.append(
            f"| {findings[i].prompt} | " + " | ".join(f"{value:.2f}" for value in alone) + f" | {np.mean(alone):.2f} |"
        )
    common = [f.name for i, f in enumerate(findings) if (data.labels[rows, i] == 1).sum() >= 10]
    return {
        "fold": str(fold),
        "records": str(int(rows.sum())),
        "findings": "\n".join(lines),
        "five": f"{np.mean([by_name[name] for name in FIGURES]):.3f}",
        "common": f"{np.mean([by_name[name] for name in common]):.3f}",
        "common_count": str(len(common)),
        "lead_names": " | ".join(CANONICAL_LEADS),
        "lead_rule": " | ".join(["---:"] * len(CANONICAL_LEADS)),
        "leads": "\n".join(leads),
        "parameters": f"{sum(p.numel() for p in model.network.parameters()):,}",
        "signal_parameters": f"{sum(p.numel() for p in model.network.signal.parameters()):,}",  # type: ignore[union-attr]
        "sha256": model.checkpoint_sha256,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--fold", type=int, default=9)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/mini.md")
    args = parser.parse_args()
    torch.set_num_threads(2)
    findings = load_findings()
    data = load_ptbxl(args.data, FS, SAMPLES, findings, ROOT / ".cache")
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in tables(data, findings, args.fold).items():
        text = text.replace("{{" + name + "}}", value)
    args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
