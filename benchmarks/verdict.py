"""Is the verdict right? Sensitivity, specificity and precision on PTB-XL, by finding. Limits from fold 8, reported on fold 9.

    python -m benchmarks.verdict --data .cache/recordings/ptbxl --out benchmarks/results/verdict.json --page docs/evidence.md

Reference recordings are those that ship with mini. Findings are those with ten positives in fold 9; labels as in training.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from training.data import PtbXl, load_findings, load_ptbxl

from benchmarks.page import put
from benchmarks.sanity import FS, SAMPLES, window_of
from ecgcam.evidence.verdict import decide_verdict
from ecgcam.models.load import load_model
from ecgcam.models.text.vocabulary import vocabulary_prompts
from ecgcam.pipeline.preparation import prepare
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.model import EcgTextModel

ROOT = Path(__file__).resolve().parents[1]
LEAST = 10
REPORTED = 9


def scores_of(data: PtbXl, fold: int, model: EcgTextModel, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores of a fold's recordings, and of them with every lead filled, each (N, P)."""
    embedded = model.encode_text(texts)
    found = []
    for row in np.flatnonzero(data.folds == fold):
        prepared = prepare(window_of(data, int(row), model), model.input, Settings())
        with torch.no_grad():
            pair = model.encode_signal(torch.from_numpy(np.stack([prepared.x, prepared.fill])).to(model.device))
        found.append((pair @ embedded.T).cpu().numpy())
    whole, empty = np.array(found).transpose(1, 0, 2)
    return whole, empty


def answers_of(scores: np.ndarray, empty: np.ndarray, references: np.ndarray, column: int) -> np.ndarray:
    """Return the answers to one prompt, by recording."""
    return np.array([
        decide_verdict(row[column], blank[column], np.delete(row, column), references, without=True).answer
        for row, blank in zip(scores, empty, strict=True)
    ])  # fmt: skip


def row_of(name: str, answers: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return what the answers get, of the recordings that were answered."""
    known = ~np.isnan(labels)
    answers, positive = answers[known], labels[known] == 1
    answered = answers != "unclear"
    yes = answers == "yes"
    return {
        "finding": name, "positives": int(positive.sum()),
        "sensitivity": float(yes[answered & positive].mean()), "specificity": float((~yes)[answered & ~positive].mean()),
        "precision": float(positive[yes].mean()) if yes.any() else None, "unclear": float((~answered).mean()),
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows and their mean as Markdown."""
    keys = ("sensitivity", "specificity", "precision", "unclear")
    lines = [f"| finding | positives | {' | '.join(keys)} |", "|---|---:|" + "---:|" * len(keys)]
    for row in rows:
        cells = ["" if row[key] is None else f"{row[key]:.2f}" for key in keys]
        lines.append(f"| {row['finding']} | {row['positives']} | {' | '.join(cells)} |")
    means = [np.mean([row[key] for row in rows if row[key] is not None]) for key in keys]
    lines.append(f"| **mean of {len(rows)}** | | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fold", type=int, default=REPORTED)
    parser.add_argument("--page", type=Path, help="a page whose table is made again")
    args = parser.parse_args()
    findings = load_findings()
    data = load_ptbxl(args.data, FS, SAMPLES, findings, ROOT / ".cache")
    model, texts = load_model("mini", device="cpu"), vocabulary_prompts()
    if model.reference is None:
        raise SystemExit("the statistics next to mini's weights belong to other weights: python -m training.reference")
    references = [
        model.reference.scores(direction, text)[0]
        for direction, text in zip(model.encode_text(texts), texts, strict=True)
    ]
    scores, empty = scores_of(data, args.fold, model, texts)
    labels = data.labels[data.folds == args.fold]
    rows = [
        row_of(
            finding.name,
            answers_of(scores, empty, references[texts.index(finding.prompt)], texts.index(finding.prompt)),
            labels[:, column],
        )
        for column, finding in enumerate(findings)
        if (labels[:, column] == 1).sum() >= LEAST and finding.prompt in texts
    ]
    args.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(table(rows))
    if args.page:
        put(args.page, "verdict", table(rows), model.checkpoint_sha256)


if __name__ == "__main__":
    main()
