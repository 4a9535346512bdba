"""Train the bundled model on PTB-XL: both towers at once, sigmoid loss over record x text pairs (Zhai et al. 2023).

    python -m training.train --data PTBXL --out RUN              select: folds 1-7 train, fold 8 is watched
    python -m training.train --data PTBXL --out RUN --refit      refit: folds 1-8, nothing is chosen
    python -m training.train --data PTBXL --out RUN --supervised the yardstick: the same signal tower, one output per finding
    python -m training.train --data PTBXL MORE --out RUN --from training/weights/select-1.npz --rate 1e-3 --epochs 10 --steps 140

The texts of a batch are: two phrases for every finding, some misspelt, negated phrases, SCP statements, and the records' own
reports. An eighth of the records are simulated, findings and their twins. Leads are masked at random, down to a single one, so
that a lead-masked record is familiar to the model. The weights are an exponential average over about the last hundred steps.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ecgcam.files import atomic
from ecgcam.models.families.mini import MiniSignalTower, build
from ecgcam.models.text.bundled import BundledTextTower
from training.data import ROOT, Finding, PtbXl, load_findings, load_ptbxl, load_simulated
from training.metrics import auroc

FS, SAMPLES = 250.0, 2500
EPOCHS, RATE, AVERAGE = 60, 2e-3, 0.99
# Real and simulated records of a batch, and simulated recordings of each finding.
REAL, SIMULATED, EACH = 56, 8, 60
# At most so many records of the fold that is watched are scored after an epoch.
WATCHED = 600
# Half precision where the processor computes it: elsewhere a step takes twelve times as long as in single precision.
HALF = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
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
NOT_NORMAL = (
    "no {}",
    "not a {}",
    "without {}",
    "no evidence of {}",
    "kein {}",
    "非{}",
    "abnormal ECG",
    "pathological ECG",
    "pathologisches ekg",
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


def misspell(text: str, rng: np.random.Generator) -> str:
    """A slip of the hand in one word of Latin letters: two letters swapped, one lost, one doubled, or an ending."""
    words = text.split(" ")
    long = [i for i, word in enumerate(words) if len(word) > 4 and word.isascii() and word.isalpha()]
    if not long:
        return text
    chosen = int(rng.choice(long))
    word, at = words[chosen], int(rng.integers(1, len(words[chosen]) - 1))
    kinds = (
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
        word[:-1] if word.endswith("s") else word + "s",
    )
    words[chosen] = str(rng.choice(kinds))
    return " ".join(words)


def sample_texts(findings: list[Finding], labels: Tensor, rng: np.random.Generator) -> tuple[list[str], Tensor]:
    """Two phrases for every finding, a negated one for half of them; and their targets (B, P)."""

    def phrase(finding: Finding) -> str:
        text = finding.prompt if rng.random() < 0.25 else str(rng.choice(finding.phrases))
        text = str(rng.choice(TEMPLATES)).format(text)
        return misspell(text, rng) if rng.random() < 0.25 else text

    def negated(finding: Finding) -> str:
        text = finding.prompt if rng.random() < 0.5 else str(rng.choice(finding.phrases))
        templates = NOT_NORMAL if finding.name == "normal" else NEGATIONS
        return str(rng.choice(templates)).format(text)

    texts = [phrase(finding) for finding in (*findings, *findings)]
    denied = rng.permutation(len(findings))[: len(findings) // 2]
    texts += [negated(findings[i]) for i in denied]
    return texts, torch.cat([labels, labels, 1 - labels[:, torch.from_numpy(denied)]], dim=1)


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


def sampling_weights(labels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Records with rare findings are drawn more often, by the square root of the rarity, at most 8 times.

    A record that is there at both rates is drawn as often as one that is there once.
    """
    positives = np.nansum(labels == 1, axis=0)
    rarity = np.sqrt(len(labels) / np.maximum(positives, 1)).clip(1, 8)
    _, record, versions = np.unique(ids, return_inverse=True, return_counts=True)
    weights: np.ndarray = np.where(labels == 1, rarity, 1.0).max(axis=1) / versions[record]
    return weights / weights.sum()


@torch.no_grad()
def embed(tower: nn.Module, windows: np.ndarray, batch: int = 64) -> Tensor:
    """(N, 12, T) -> (N, D), L2-normalised, in evaluation mode."""
    tower.eval()
    parts = [tower(torch.from_numpy(windows[i : i + batch].astype("f4"))) for i in range(0, len(windows), batch)]
    return nn.functional.normalize(torch.cat(parts), dim=1)


@torch.no_grad()
def evaluate(
    model: nn.Module, data: PtbXl, findings: list[Finding], fold: int, at_most: int | None = None
) -> dict[str, float]:
    """AUROC of each finding on a fold, by its prompt, or by its output; NaN where it has fewer than two positives.

    With `at_most` on so many of its records, evenly spaced.
    """
    rows = watched_rows(data, fold, at_most)
    if isinstance(model, Yardstick):
        scores = model.scores(data.windows[rows])
    else:
        signals = embed(model.signal, data.windows[rows])
        model.text.eval()
        texts = nn.functional.normalize(model.text([finding.prompt for finding in findings]), dim=1)
        scores = (signals @ texts.T).numpy()
    return {f.name: auroc(data.labels[rows, i], scores[:, i]) for i, f in enumerate(findings)}


def watched_rows(data: PtbXl, fold: int, at_most: int | None = None) -> np.ndarray:
    """The rows of a fold, at most so many, evenly spaced."""
    rows = np.flatnonzero(data.folds == fold)
    return rows[:: -(-len(rows) // at_most)] if at_most else rows


class Training:
    """A run that can stop after any epoch and continue as if it had not: weights, averages, schedule and draws are kept.

    Parameters
    ----------
    data : PtbXl
        Real recordings.
    simulated : (windows, labels)
        Mixed in at a quarter of each batch; may be empty.
    findings : list of Finding
        The vocabulary.
    folds : set of int
        Which folds are trained on.
    epochs, seed : int
        Length of the schedule; of every draw.
    supervised : bool
        Train the yardstick instead: the same signal tower with one output per finding, no text.
    rate : float
        The highest of the one cycle.
    steps : int, optional
        Batches of an epoch; default as many as the folds fill.
    """

    def __init__(
        self,
        data: PtbXl,
        simulated: tuple[np.ndarray, np.ndarray],
        findings: list[Finding],
        folds: set[int],
        epochs: int,
        seed: int,
        supervised: bool = False,
        rate: float = RATE,
        steps: int | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self.rng = np.random.default_rng(seed)
        self.data, self.simulated, self.findings, self.supervised = data, simulated, findings, supervised
        self.index = np.flatnonzero(np.isin(data.folds, list(folds)))
        self.weights = sampling_weights(data.labels[self.index], data.ids[self.index])
        self.model: nn.Module = Yardstick(len(findings)) if supervised else TwoTowers()
        # The shipped weights are an average over about the last hundred steps, which is steadier than any one of them.
        self.average = torch.optim.swa_utils.AveragedModel(
            self.model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGE), use_buffers=True
        )
        decay = [p for p in self.model.parameters() if p.ndim > 1]
        rest = [p for p in self.model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decay, "weight_decay": 0.02}, {"params": rest, "weight_decay": 0.0}], lr=rate
        )
        self.steps = steps or len(self.index) // REAL
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, rate, total_steps=epochs * self.steps, pct_start=0.1
        )
        self.epochs, self.epoch = epochs, 0

    @property
    def averaged(self) -> nn.Module:
        """The averaged network."""
        return self.average.module

    def begin_with(self, weights: dict[str, Tensor]) -> None:
        """Take both towers' weights from a network that was trained before."""
        network = build()
        network.load_state_dict(weights)
        for model in (self.model, self.averaged):
            model.get_submodule("signal").load_state_dict(network.signal.state_dict())
            model.get_submodule("text").load_state_dict(network.text.state_dict())

    def run_epoch(self) -> float:
        """Take one epoch's steps; return the mean loss."""
        self.model.train()
        total = 0.0
        for rows in self.rng.choice(self.index, size=(self.steps, REAL), p=self.weights):
            loss = self._loss(rows)
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.schedule.step()
            self.average.update_parameters(self.model)
            total += loss.item()
        self.epoch += 1
        return total / self.steps

    def _loss(self, rows: np.ndarray) -> Tensor:
        windows, labels = self.data.windows[rows].astype("f4"), self.data.labels[rows]
        if len(self.simulated[0]):
            drawn = self.rng.integers(len(self.simulated[0]), size=SIMULATED)
            windows = np.concatenate([windows, self.simulated[0][drawn].astype("f4")])
            labels = np.concatenate([labels, self.simulated[1][drawn]])
        x, targets = augment(torch.from_numpy(windows), self.rng), torch.from_numpy(labels)
        with torch.autocast("cpu", torch.bfloat16, enabled=HALF):
            signals = self.model.signal(x)
        if self.supervised:
            return pair_loss(self.model.output(signals.float()), targets)
        texts, targets = sample_texts(self.findings, targets, self.rng)
        statements = self.rng.permutation(len(self.data.statement_texts))[:16]
        reports = [self.data.reports[i] for i in rows]
        own = torch.cat([torch.from_numpy(self.data.statements[rows][:, statements]), report_targets(reports)], dim=1)
        # A simulated recording has neither statements nor a report: unlabelled.
        unlabelled = torch.full((len(windows) - len(rows), own.shape[1]), torch.nan)
        targets = torch.cat([targets, torch.cat([own, unlabelled])], dim=1)
        embedded = self.model.text([*texts, *(self.data.statement_texts[i] for i in statements), *reports])
        return pair_loss(self.model.logits(signals.float(), embedded), targets)

    def state(self) -> dict[str, Any]:
        """Everything a later process needs to continue."""
        return {
            "model": self.model.state_dict(), "average": self.average.state_dict(), "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(), "epoch": self.epoch, "torch": torch.get_rng_state(),
            "numpy": json.dumps(self.rng.bit_generator.state),
        }  # fmt: skip

    def go_on(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.epoch = state["epoch"]
        torch.set_rng_state(state["torch"])
        self.rng.bit_generator.state = json.loads(state["numpy"])


class Yardstick(nn.Module):
    """The supervised network that the bundled model is measured by: the same signal tower, one output per finding."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.signal, self.output = MiniSignalTower(), nn.Linear(128, count)

    @torch.no_grad()
    def scores(self, windows: np.ndarray) -> np.ndarray:
        """(N, 12, T) -> (N, findings)."""
        self.eval()
        parts = [
            self.output(self.signal(torch.from_numpy(windows[i : i + 64].astype("f4"))))
            for i in range(0, len(windows), 64)
        ]
        scores: np.ndarray = torch.cat(parts).numpy()
        return scores


def train(training: Training, out: Path, watched: int = 8) -> None:
    """Run to the end of the schedule, or continue from ``resume.pt``; write ``log.jsonl`` and ``last.pt``."""
    kept = out / "resume.pt"
    if kept.exists():
        training.go_on(torch.load(kept, weights_only=True))
    while training.epoch < training.epochs:
        begun = time.monotonic()
        loss = training.run_epoch()
        figures = evaluate(training.averaged, training.data, training.findings, watched, WATCHED)
        line = {"epoch": training.epoch, "loss": round(loss, 4), **summary(figures, training, watched),
                "seconds": round(time.monotonic() - begun, 1)}  # fmt: skip
        with (out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)
        with atomic(kept) as path:
            torch.save(training.state(), path)
    with atomic(out / "last.pt") as path:
        torch.save({"state": training.averaged.state_dict(), "epoch": training.epoch}, path)


def summary(figures: dict[str, float], training: Training, fold: int) -> dict[str, float]:
    """Macro AUROC over the findings with at least three positives in the fold, and over the five of the README."""
    rows = watched_rows(training.data, fold, WATCHED)
    enough = [f.name for i, f in enumerate(training.findings) if np.sum(training.data.labels[rows, i] == 1) >= 3]
    return {
        "macro": round(float(np.mean([figures[name] for name in enough])), 4),
        "five": round(float(np.mean([figures[name] for name in FIGURES])), 4),
    }


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="PTB-XL: folders with ptbxl_database.csv")
    parser.add_argument("--out", type=Path, required=True, help="an interrupted run there continues")
    parser.add_argument(
        "--from", dest="first", type=Path, metavar="NPZ", help="begin with the weights of an exported file"
    )
    parser.add_argument("--rate", type=float, default=RATE, help="the highest learning rate")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--steps", type=int, help="batches of an epoch; default as many as the folds fill")
    parser.add_argument("--refit", action="store_true", help="train on folds 1-8: nothing is left to choose")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--simulated", type=int, default=EACH, metavar="N", help="simulated recordings a finding")
    parser.add_argument("--supervised", action="store_true", help="train the yardstick: an output per finding, no text")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    findings = load_findings()
    data = load_ptbxl(args.data, FS, SAMPLES, findings, ROOT / ".cache", coarse=True)
    simulated = load_simulated(findings, args.simulated, FS, SAMPLES)
    folds = set(range(1, 9)) if args.refit else set(range(1, 8))
    training = Training(
        data, simulated, findings, folds, args.epochs, args.seed, args.supervised, args.rate, args.steps
    )
    if args.first:
        from training.figures import read_weights  # which imports this module

        training.begin_with(read_weights(args.first))
    train(training, args.out)


if __name__ == "__main__":
    main()
