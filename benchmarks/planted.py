"""Planted evidence: which methods, layers and masks find what a network was made to rely on.

    python -m benchmarks.planted --data PTBXL --out benchmarks/results/planted.json

The bundled model is fine-tuned on a label that has nothing to do with hearts: whether lead V3 carries a small marker, 120 ms of
25 Hz and 0.4 mV at a random moment. The same marker in another lead means no. So the right map is known, lead and moment, and
what a method misses is the method's fault. That the network relies on the marker is checked first: it tells marked records from
unmarked ones, and with the markers taken out again it cannot.

Records of folds 1 to 7 are fine-tuned on, those of fold 9 judged.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from training.data import ROOT, load_findings, load_ptbxl
from training.metrics import auroc
from training.train import FS, SAMPLES

from ecgcam.attribution.methods import METHODS
from ecgcam.errors import EcgcamError
from ecgcam.evidence.evaluation import RANDOM, Plan, Trial, evaluate_window, mean_rows
from ecgcam.evidence.truths import Truth
from ecgcam.models.base import EcgTextModel
from ecgcam.models.load import load_model
from ecgcam.models.spec import windows_of
from ecgcam.records import CANONICAL_LEADS, Record
from ecgcam.settings import Settings

PROMPT = "marker in lead V3"
LEAD, SECONDS, MILLIVOLTS, HERTZ = CANONICAL_LEADS.index("V3"), 0.12, 0.4, 25.0
LENGTH = round(SECONDS * FS)
MARKER = (MILLIVOLTS * np.sin(2 * np.pi * HERTZ * np.arange(LENGTH) / FS)).astype(np.float32)
# Fewer draws than by default, for methods whose draws differ in nothing but their number.
FEWER: dict[str, dict[str, Any]] = {"kernel-shap": {"samples": 256}, "lime": {"samples": 256}}


def plant(windows: np.ndarray, leads: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """Return windows (N, 12, T) with the marker in one lead each; none where the lead is -1."""
    marked = windows.copy()
    for window, lead, begin in zip(marked, leads, begins, strict=True):
        if lead >= 0:
            window[lead, begin : begin + LENGTH] += MARKER
    return marked


def draw_places(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Half in V3, a quarter in another lead, a quarter in none; and where they begin."""
    others = np.array([lead for lead in range(12) if lead != LEAD])
    kind = rng.random(count)
    leads = np.where(kind < 0.5, LEAD, np.where(kind < 0.75, rng.choice(others, count), -1))
    return leads, rng.integers(round(0.5 * FS), SAMPLES - round(0.5 * FS), count)


def fine_tune(model: EcgTextModel, windows: np.ndarray, epochs: int, seed: int) -> EcgTextModel:
    """Return a copy of the model that answers the prompt by the marker alone; leads are masked at random, as in training."""
    twin = copy.copy(model)
    twin.network = copy.deepcopy(model.network)
    twin.forget()
    text = model.encode_text([PROMPT])[0]
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    scale, bias = nn.Parameter(torch.tensor(8.0)), nn.Parameter(torch.tensor(-2.0))
    tower = twin.network.get_submodule("signal")
    parameters = [*tower.parameters(), scale, bias]
    batch, steps = 48, len(windows) // 48
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=epochs * steps)
    tower.train()
    for epoch in range(epochs):
        total = 0.0
        for rows in rng.permutation(len(windows))[: steps * batch].reshape(steps, batch):
            leads, begins = draw_places(batch, rng)
            x = plant(windows[rows].astype(np.float32), leads, begins)
            for i in np.flatnonzero(rng.random(batch) < 0.5):
                x[i, rng.permutation(12)[int(rng.integers(1, 12)) :]] = 0
                if not x[i, LEAD].any():
                    leads[i] = -1
            answers = nn.functional.normalize(tower(torch.from_numpy(x)), dim=1) @ text
            loss = nn.functional.binary_cross_entropy_with_logits(
                scale * answers + bias, torch.from_numpy((leads == LEAD).astype(np.float32))
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / steps:.3f}", flush=True)
    tower.eval()
    return twin


@torch.no_grad()
def scores(model: EcgTextModel, windows: np.ndarray) -> np.ndarray:
    text = model.encode_text([PROMPT])[0]
    parts = [
        model.encode_signal(torch.from_numpy(windows[i : i + 64].astype(np.float32))) @ text
        for i in range(0, len(windows), 64)
    ]
    answers: Tensor = torch.cat(parts)
    return answers.numpy()


def reliance(model: EcgTextModel, windows: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """AUROC of the label with the markers, with them taken out again, and for V3 against the same marker in other leads."""
    leads, begins = draw_places(len(windows), rng)
    labels = (leads == LEAD).astype(float)
    marked, plain = scores(model, plant(windows.astype(np.float32), leads, begins)), scores(model, windows)
    elsewhere = leads >= 0
    return {
        "with markers": auroc(labels, marked),
        "markers taken out": auroc(labels, plain),
        "V3 against other leads": auroc(labels[elsewhere], marked[elsewhere]),
    }


def judged(
    model: EcgTextModel, windows: np.ndarray, trials: list[Trial], layer: str | None, seed: int
) -> list[dict[str, Any]]:
    """Rows of `ecgcam evaluate` for records that all carry the marker."""
    rng = np.random.default_rng([seed, 1])
    begins = rng.integers(round(0.5 * FS), SAMPLES - round(0.5 * FS), len(windows))
    marked = plant(windows.astype(np.float32), np.full(len(windows), LEAD), begins)
    entries = []

    def refused(trial: Trial, error: EcgcamError) -> None:
        print(f"  {trial.method}: {error}", flush=True)

    for i, (signal, begin) in enumerate(zip(marked, begins, strict=True)):
        mask = np.zeros(signal.shape, bool)
        mask[LEAD, begin : begin + LENGTH] = True
        window = next(windows_of(Record(str(i), signal, FS, CANONICAL_LEADS), model.input))
        truth = Truth(mask, CANONICAL_LEADS, FS)
        for trial in trials:
            settings = Settings(layer=layer, seed=seed, options=FEWER.get(trial.method, {}))
            scale = "raw" if METHODS[trial.method].family == "signal" else "evidence"
            plan = Plan(("localisation",), scale)
            found = evaluate_window(window, [PROMPT], model, settings, [trial], plan, truth, refused)
            # The random map is the same beside every method; once is enough.
            entries += [entry for entry in found if trial is trials[0] or entry.method != RANDOM]
    return mean_rows(entries)


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a line a method and mask, best first."""
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        found[row["method"], row["mask"]][row["metric"]] = row
    lines = [
        "| method | mask | pointing | mass | AUC | time: pointing | leads: pointing |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for (method, mask), by in sorted(found.items(), key=lambda item: -item[1]["pointing"]["mean"]):
        cells = [by["pointing"], by["mass"], by["auc"], by["time: pointing"], by.get("leads: pointing")]
        lines.append(
            f"| {method} | {mask} | " + " | ".join("" if c is None else f"{c['mean']:.3f}" for c in cells) + " |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--records", type=int, default=60)
    parser.add_argument("--methods", default="all")
    parser.add_argument("--masks", default="baseline")
    parser.add_argument("--layers", default="signal.stages.1")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    data = load_ptbxl(args.data, FS, SAMPLES, load_findings(), ROOT / ".cache")
    model = fine_tune(load_model("mini", device="cpu"), data.windows[data.folds <= 7], args.epochs, args.seed)
    held_out = data.windows[data.folds == 9]
    result: dict[str, Any] = {"reliance": reliance(model, held_out, np.random.default_rng(args.seed)), "rows": {}}
    print(json.dumps(result["reliance"]), flush=True)
    names = list(METHODS) if args.methods == "all" else args.methods.split(",")
    for layer in args.layers.split(","):
        trials = [Trial(name, mask) for mask in args.masks.split(",") for name in names]
        rows = judged(model, held_out[: args.records], trials, layer, args.seed)
        result["rows"][layer] = rows
        print(f"\n{layer}\n{table(rows)}", flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
