"""Train the bundled model on PTB-XL: both towers at once, sigmoid loss over record x text pairs (Zhai et al. 2023).

    python -m training.train --data PTBXL --out RUN            select: folds 1-7 train, fold 8 chooses the epoch
    python -m training.train --data PTBXL --out RUN --refit E  refit: folds 1-8, E epochs, nothing is chosen

The texts of a batch are: one phrase for every finding of the vocabulary, negated phrases, SCP statements, and the records' own
reports. Leads are masked at random, down to a single one, so that a lead-masked record is no stranger to the model.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ecgcam.models.families.mini import MiniSignalTower
from ecgcam.models.text.bundled import BundledTextTower
from training.data import ROOT, Finding, PtbXl, load_findings, load_ptbxl
from training.metrics import auroc

FS, SAMPLES = 250.0, 2500
TEMPLATES = ("{}", "{}", "{}", "{}", "ECG with {}", "ECG shows {}", "signs of {}", "{} is present", "{}.")
NEGATIONS = (
    "no {}",
    "no {}",
    "without {}",
    "no evidence of {}",
    "without evidence of {}",
    "absence of {}",
    "{} absent",
    "no signs of {}",
    "kein {}",
    "无{}",
)
FIGURES = ("af", "lbbb", "tachycardia", "pvc", "paced")


class TwoTowers(nn.Module):
    """Signal and text tower with the scale and bias of the sigmoid loss."""

    def __init__(self) -> None:
        super().__init__()
        self.signal, self.text = MiniSignalTower(), BundledTextTower()
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.bias = nn.Parameter(torch.tensor(-2.0))

    def logits(self, signals: Tensor, texts: Tensor) -> Tensor:
        """(B, D), (P, D) -> (B, P)."""
        cosine = nn.functional.normalize(signals, dim=1) @ nn.functional.normalize(texts, dim=1).T
        return self.log_scale.exp() * cosine + self.bias


def augment(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Shift in time (padding with silence), scale, mild noise and wander, and leads masked at random. (B, 12, T) -> same."""
    x = x.clone()
    count, leads, samples = x.shape
    time_axis = torch.arange(samples) / FS
    for i in range(count):
        if rng.random() < 0.3:
            shift = int(rng.integers(-int(FS), int(FS) + 1))
            x[i] = torch.roll(x[i], shift, dims=-1)
            x[i, :, : max(shift, 0)] = 0
            if shift < 0:
                x[i, :, shift:] = 0
        if rng.random() < 0.1:
            x[i, :, int(rng.integers(samples // 4, samples)) :] = 0
        x[i] *= float(rng.uniform(0.85, 1.18))
        if rng.random() < 0.3:
            x[i] += torch.from_numpy(rng.normal(0, rng.uniform(0.003, 0.03), (leads, samples)).astype("f4"))
        if rng.random() < 0.3:
            phase = torch.from_numpy(rng.uniform(0, 2 * np.pi, (leads, 1)).astype("f4"))
            size = torch.from_numpy(rng.uniform(0, 0.15, (leads, 1)).astype("f4"))
            x[i] += size * torch.sin(2 * math.pi * float(rng.uniform(0.1, 0.5)) * time_axis + phase)
        if (chance := rng.random()) < 0.55:
            keep = 1 if chance < 0.3 else int(rng.integers(1, leads))
            x[i, rng.permutation(leads)[keep:]] = 0
    return x


def sample_texts(findings: list[Finding], labels: Tensor, rng: np.random.Generator) -> tuple[list[str], Tensor]:
    """One phrase for every finding, a negated one for a third of them; and their targets (B, P)."""

    def phrase(finding: Finding) -> str:
        return finding.prompt if rng.random() < 0.35 else str(rng.choice(finding.phrases))

    texts = [str(rng.choice(TEMPLATES)).format(phrase(finding)) for finding in findings]
    negated = rng.permutation([i for i, f in enumerate(findings) if f.name != "normal"])[: len(findings) // 3]
    texts += [str(rng.choice(NEGATIONS)).format(phrase(findings[i])) for i in negated]
    return texts, torch.cat([labels, 1 - labels[:, torch.from_numpy(negated)]], dim=1)


def report_targets(reports: list[str]) -> Tensor:
    """(B, B): 1 for a record's own report and its exact repeats."""
    return torch.tensor([[float(a == b) for b in reports] for a in reports])


def pair_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Sigmoid loss over the pairs that are labelled; positives weigh up to 6 times as much where they are rare."""
    known = ~targets.isnan()
    positive = (targets == 1).sum(0)
    negative = known.sum(0) - positive
    weight = (negative / positive.clamp(min=1)).sqrt().clamp(1, 6)
    weights = torch.where(targets == 1, weight.expand_as(targets), 1.0) * known
    loss = nn.functional.binary_cross_entropy_with_logits(logits, targets.nan_to_num(0), reduction="none")
    return (loss * weights).sum() / weights.sum()


def sampling_weights(labels: np.ndarray) -> np.ndarray:
    """Records with rare findings are drawn more often, by the square root of the rarity, at most 8 times."""
    positives = np.nansum(labels == 1, axis=0)
    rarity = np.sqrt(len(labels) / np.maximum(positives, 1)).clip(1, 8)
    weights: np.ndarray = np.where(labels == 1, rarity, 1.0).max(axis=1)
    return weights / weights.sum()


@torch.no_grad()
def embed(tower: nn.Module, windows: np.ndarray, batch: int = 64) -> Tensor:
    """(N, 12, T) -> (N, D), L2-normalised, in evaluation mode."""
    tower.eval()
    parts = [tower(torch.from_numpy(windows[i : i + batch].astype("f4"))) for i in range(0, len(windows), batch)]
    return nn.functional.normalize(torch.cat(parts), dim=1)


@torch.no_grad()
def evaluate(model: TwoTowers, data: PtbXl, findings: list[Finding], fold: int) -> dict[str, float]:
    """AUROC of each finding's prompt on a fold; NaN where it has fewer than two positives."""
    rows = data.folds == fold
    signals = embed(model.signal, data.windows[rows])
    model.text.eval()
    texts = nn.functional.normalize(model.text([finding.prompt for finding in findings]), dim=1)
    scores = (signals @ texts.T).numpy()
    return {f.name: auroc(data.labels[rows, i], scores[:, i]) for i, f in enumerate(findings)}


def train(
    data: PtbXl, findings: list[Finding], folds: set[int], epochs: int, seed: int, out: Path, schedule: int
) -> TwoTowers:
    """Train for `epochs` of a cosine schedule that would last `schedule`; fold 8 is watched."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = TwoTowers()
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.02}, {"params": rest, "weight_decay": 0.0}], lr=2e-3
    )
    index = np.flatnonzero(np.isin(data.folds, list(folds)))
    weights, batch = sampling_weights(data.labels[index]), 48
    steps = len(index) // batch
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=schedule * steps, pct_start=0.1)
    statements = [str(text) for text in data.statement_texts]
    best = -1.0
    for epoch in range(epochs):
        model.train()
        begun, total = time.monotonic(), 0.0
        for rows in rng.choice(index, size=(steps, batch), p=weights):
            labels = torch.from_numpy(data.labels[rows])
            texts, targets = sample_texts(findings, labels, rng)
            some = rng.permutation(len(statements))[:16]
            reports = [data.reports[i] for i in rows]
            targets = torch.cat(
                [targets, torch.from_numpy(data.statements[rows][:, some]), report_targets(reports)], dim=1
            )
            x = augment(torch.from_numpy(data.windows[rows].astype("f4")), rng)
            with torch.autocast("cpu", torch.bfloat16):
                signals = model.signal(x)
            embedded = model.text([*texts, *(statements[i] for i in some), *reports])
            loss = pair_loss(model.logits(signals.float(), embedded), targets)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            total += loss.item()
        figures = evaluate(model, data, findings, 8)
        enough = {f.name for i, f in enumerate(findings) if np.sum(data.labels[data.folds == 8, i] == 1) >= 3}
        macro = float(np.mean([figures[name] for name in sorted(enough)]))
        five = float(np.mean([figures[name] for name in FIGURES]))
        line = {"epoch": epoch + 1, "loss": round(total / steps, 4), "macro": round(macro, 4), "five": round(five, 4),
                "seconds": round(time.monotonic() - begun, 1), "scale": round(model.log_scale.exp().item(), 2)}  # fmt: skip
        with (out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        if macro > best:
            best = macro
            torch.save({"state": model.state_dict(), **line}, out / "best.pt")
    torch.save({"state": model.state_dict(), **line}, out / "last.pt")
    return model


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="PTB-XL: the folder with ptbxl_database.csv")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument(
        "--refit",
        type=int,
        metavar="EPOCHS",
        help="train on folds 1-8 for this many epochs of the same schedule",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    findings = load_findings()
    data = load_ptbxl(args.data, FS, SAMPLES, findings, ROOT / ".cache")
    folds = set(range(1, 9)) if args.refit else set(range(1, 8))
    train(data, findings, folds, args.refit or args.epochs, args.seed, args.out, args.epochs)


if __name__ == "__main__":
    main()
