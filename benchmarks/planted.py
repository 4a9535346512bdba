"""Planted evidence: which methods, layers and masks find the evidence that a network was trained to use.

    python -m benchmarks.planted --data PTBXL --out benchmarks/results/planted.json --page docs/evidence.md

The bundled model is fine-tuned on a label unrelated to hearts: whether lead V3 contains a small marker, one wave of 80 ms
and 0.5 mV at a random moment. The same marker in another lead is a negative example. The correct lead and moment are known,
so an error is an error of the method. A first check shows that the network uses the marker: it separates marked from
unmarked records, and cannot if the markers are removed. There are two networks: one whose cells are pulled to the marker
(training/place.py), so that they respond at the time of the marker, and one without this constraint, as usual.

Folds 1 to 7 are used for fine-tuning and fold 9 for evaluation. Only records whose score falls by at least half of the
median fall without the marker are evaluated, since no map can show a marker that the network did not detect. --quick: fewer
steps and methods, for a test run.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from training.data import ROOT, load_findings, load_ptbxl
from training.metrics import auroc
from training.place import DRAWING, UNIT, reach
from training.train import FS, SAMPLES

from benchmarks.choice import EXPENSIVE, FEWER, HANDFUL, LAYERS
from benchmarks.page import put
from ecgcam import explain
from ecgcam.attribution.masking import FILLS
from ecgcam.attribution.methods import METHODS
from ecgcam.errors import EcgcamError
from ecgcam.evidence.truths import Truth
from ecgcam.models.load import load_model
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import windows_of
from ecgcam.records import CANONICAL_LEADS, Record
from ecgcam.runs.evaluation import RANDOM, SLOPE, EvaluationConfig, MethodConfig, evaluate_window, mean_rows

PROMPT = "marker in lead V3"
LEAD, SECONDS, MILLIVOLTS = CANONICAL_LEADS.index("V3"), 0.08, 0.5
LENGTH = round(SECONDS * FS)
EDGE = round(0.2 * FS)
BATCH = 32
# Of the sigmoid loss, as mini's own training ended: a cosine of a half is sure enough, and no score is driven to 1.
SCALE, BIAS = 15.8, -2.1
# Judged on the most recordings: the default, and what its page compares it with.
FIRST = ("grad-cam", "dot-grad-cam", "layer-integrated-gradients")
# Recordings that are fine-tuned on: the marker is learnt from pairs, not from many hearts.
FEW = 600
# One wave up, its middle half at its full height: what it adds to a mean over time does not cancel.
MARKER = (MILLIVOLTS * np.minimum(1.0, 2 * np.sin(np.pi * (np.arange(LENGTH) + 0.5) / LENGTH) ** 2)).astype(np.float32)


@dataclass(frozen=True)
class Phase:
    """A stretch of fine-tuning: cuts of so many samples, steps, the highest learning rate."""

    samples: int
    steps: int
    rate: float


SCHEDULE = (Phase(250, 250, 2e-3), Phase(1000, 80, 1e-3), Phase(SAMPLES, 40, 5e-4))


def plant(windows: np.ndarray, leads: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """Return windows (N, 12, T) with the marker in one lead each; none where the lead is -1."""
    marked = windows.copy()
    for window, lead, begin in zip(marked, leads, begins, strict=True):
        if lead >= 0:
            window[lead, begin : begin + LENGTH] += MARKER
    return marked


def draw_places(count: int, samples: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Half in V3, a quarter in another lead, a quarter in none; and where they begin."""
    others = np.array([lead for lead in range(12) if lead != LEAD])
    kind = rng.random(count)
    leads = np.where(kind < 0.5, LEAD, np.where(kind < 0.75, rng.choice(others, count), -1))
    return leads, rng.integers(EDGE, samples - EDGE - LENGTH, count)


def fine_tune(
    model: EcgTextModel, windows: np.ndarray, schedule: Sequence[Phase], seed: int, drawing: float = DRAWING
) -> EcgTextModel:
    """Return a copy of the model that answers the prompt by the marker alone.

    Short cuts of the recordings come first: in a second the marker is ten times as large a share of what the network averages,
    which is what makes it learnable in minutes. Leads are masked at random, as in training; and as in training/place.py
    the cells that respond to the marker are pulled to it by `drawing`; otherwise the network may respond next to it.
    """
    twin = copy.copy(model)
    twin.network = copy.deepcopy(model.network)
    twin.clear_cache()
    text = model.encode_text([PROMPT])[0]
    rng = np.random.default_rng(seed)
    # The batch normalisations keep their averages: cuts and whole recordings, masked and not, go through one network.
    tower = twin.network.get_submodule("signal").eval().requires_grad_(True)
    for phase in schedule:
        optimizer = torch.optim.AdamW(tower.parameters(), lr=phase.rate, weight_decay=0.01)
        steps = torch.optim.lr_scheduler.OneCycleLR(optimizer, phase.rate, total_steps=phase.steps)
        total = 0.0
        for step in range(phase.steps):
            x, labels, begins = draw_batch(windows, phase, rng)
            cells = tower.stages(tower.stem(x))
            answers = nn.functional.normalize(tower.head(cells.mean(-1)), dim=1) @ text
            logits = SCALE * answers + BIAS
            marked, plain = logits.chunk(2)
            loss = (
                nn.functional.binary_cross_entropy_with_logits(logits, labels)
                + nn.functional.softplus(plain - marked).mean()
            )
            if drawing:
                spans = torch.stack([begins, begins + LENGTH - 1], dim=1)[:, None].float()
                loss = loss + drawing * reach(*cells.chunk(2), spans) / UNIT**2
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
            optimizer.step()
            steps.step()
            total += loss.item()
            if (step + 1) % 50 == 0:
                print(f"{phase.samples / FS:g} s, step {step + 1}: loss {total / 50:.3f}", flush=True)
                total = 0.0
    return twin


def draw_batch(windows: np.ndarray, phase: Phase, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return signals (B, 12, T), whether V3 shows the marker (B,), and where it begins in each pair (B / 2,).

    Each cut comes twice, with the marker in V3 and with none or with it elsewhere, so that a batch differs in the marker alone;
    of every second pair some leads are masked, not V3.
    """
    half = BATCH // 2
    rows, cuts = rng.integers(len(windows), size=half), rng.integers(0, SAMPLES - phase.samples + 1, half)
    cut = np.stack([windows[row, :, at : at + phase.samples] for row, at in zip(rows, cuts, strict=True)])
    begins = np.tile(rng.integers(EDGE, phase.samples - EDGE - LENGTH, half), 2)
    others = np.array([lead for lead in range(12) if lead != LEAD])
    elsewhere = np.where(rng.random(half) < 0.5, rng.choice(others, half), -1)
    leads = np.concatenate([np.full(half, LEAD), elsewhere])
    x = plant(np.tile(cut, (2, 1, 1)).astype(np.float32), leads, begins)
    for i in range(0, half, 2):
        masked = rng.permutation(others)[int(rng.integers(0, 11)) :]
        x[i, masked] = 0
        x[half + i, masked] = 0
    return torch.from_numpy(x), torch.from_numpy((leads == LEAD).astype(np.float32)), torch.from_numpy(begins[:half])


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
    """AUROC of the label with the markers, after their removal, and for V3 against the same marker in other leads.

    With the markers out, who had one is a lottery: the mean over 200 draws of it, and the share of recordings whose score falls.
    """
    leads, begins = draw_places(len(windows), SAMPLES, rng)
    labels = (leads == LEAD).astype(float)
    marked, plain = scores(model, plant(windows.astype(np.float32), leads, begins)), scores(model, windows)
    lots = [(draw_places(len(windows), SAMPLES, rng)[0] == LEAD).astype(float) for _ in range(200)]
    elsewhere = leads >= 0
    return {
        "with markers": auroc(labels, marked),
        "markers taken out": float(np.mean([auroc(lot, plain) for lot in lots])),
        "V3 against other leads": auroc(labels[elsewhere], marked[elsewhere]),
        "scores that fall": float((plain < marked)[leads == LEAD].mean()),
    }


def all_marked(windows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the windows with the marker in each, and at which sample it begins."""
    begins = np.random.default_rng([seed, 1]).integers(EDGE, SAMPLES - EDGE - LENGTH, len(windows))
    return plant(windows.astype(np.float32), np.full(len(windows), LEAD), begins), begins


def relied_on(model: EcgTextModel, windows: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Return the rows whose score falls by at least half of the median fall when the marker is taken out."""
    fall = scores(model, marked) - scores(model, windows)
    rows: np.ndarray = np.flatnonzero(fall >= np.median(fall) / 2)
    return rows


def beside(model: EcgTextModel, marked: np.ndarray, begins: np.ndarray) -> dict[str, float]:
    """How far, in ms, the default's largest value in the marked lead lies from the marker's middle: late is positive."""
    away, width = [], 0.0
    for i, (signal, begin) in enumerate(zip(marked, begins, strict=True)):
        record = Record(str(i), signal, FS, CANONICAL_LEADS)
        (explanation,) = explain(record, [PROMPT], model, gradient=None)
        away.append((explanation.map[LEAD].argmax() - begin - LENGTH / 2) / FS * 1000)
        width = float(explanation.meta["cell_width_ms"])
    return {
        "median ms": float(np.median(away)),
        "half a cell width ms": width / 2,
        "share within it": float(np.mean(np.abs(away) <= width / 2)),
        "90 % within ms": float(np.percentile(np.abs(away), 90)),
        "n": len(away),
    }


def judged(
    model: EcgTextModel,
    marked: np.ndarray,
    begins: np.ndarray,
    trials: list[MethodConfig],
    layer: str | None,
    seed: int,
) -> list[dict[str, Any]]:
    """Rows of `ecgcam evaluate` for records that all carry the marker."""
    entries, told = [], set[str]()

    def refused(trial: MethodConfig, error: EcgcamError) -> None:
        if trial.method not in told:
            print(f"  {trial.method}: {error}", flush=True)
        told.add(trial.method)

    for i, (signal, begin) in enumerate(zip(marked, begins, strict=True)):
        mask = np.zeros(signal.shape, bool)
        mask[LEAD, begin : begin + LENGTH] = True
        window = next(windows_of(Record(str(i), signal, FS, CANONICAL_LEADS), model.input))
        truth = Truth(mask, CANONICAL_LEADS, FS)
        for trial in trials:
            settings = Settings(layer=layer, seed=seed, options=FEWER.get(trial.method, {}))
            scale = "raw" if METHODS[trial.method].family == "signal" else "evidence"
            plan = EvaluationConfig(("localisation",), scale)
            found = evaluate_window(window, [PROMPT], model, settings, [trial], plan, truth, refused)
            # The maps without a model are the same for every method.
            entries += [entry for entry in found if trial is trials[0] or entry.method not in {RANDOM, SLOPE}]
    return mean_rows(entries)


def said(found: dict[str, float]) -> str:
    """How far the network relies on the marker, and how far from it the default points."""
    return (
        f"AUROC on fold 9: {found['with markers']:.3f} with the markers, {found['markers taken out']:.3f} after "
        f"their removal, {found['V3 against other leads']:.3f} for the marker in V3 against the same in another lead. Of "
        f"{found['recordings']:.0f} recordings with the marker {found['relied on']:.0f} lose at least half of the "
        f"median fall of the score when it is removed; only these are evaluated. In V3 the default's largest value "
        f"lies {found['median ms']:+.0f} ms from the "
        f"marker's middle (median of {found['n']:.0f}), nine in ten within {found['90 % within ms']:.0f} ms, "
        f"{found['share within it']:.0%} within half of the width that a cell responds to "
        f"({found['half a cell width ms']:.0f} ms)."
    )


def table(layers: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown: a line a method, layer and mask, best first."""
    found: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = defaultdict(dict)
    for layer, rows in layers.items():
        for row in rows:
            blind = row["method"] in {RANDOM, SLOPE} or METHODS[row["method"]].family == "signal"
            found[row["method"], "" if blind else layer.removeprefix("signal."), row["mask"]][row["metric"]] = row
    lines = [
        "| method | layer | mask | pointing | mass | AUC | time: pointing | leads: pointing | n |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for (method, layer, mask), by in sorted(found.items(), key=lambda item: -item[1]["pointing"]["mean"]):
        cells = [by["pointing"], by["mass"], by["auc"], by["time: pointing"], by.get("leads: pointing")]
        shown = " | ".join("" if c is None else f"{c['mean']:.3f}" for c in cells)
        lines.append(f"| {method} | {layer} | {mask} | {shown} | {by['pointing']['n']} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--most", type=int, default=50, help="recordings for the shipped defaults")
    parser.add_argument("--records", type=int, default=20, help="for other methods")
    parser.add_argument("--expensive", type=int, default=3, help="for those of `benchmarks.choice.EXPENSIVE`")
    parser.add_argument("--methods", default="all", help="at the shipped layer and mask")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    data = load_ptbxl(args.data, FS, SAMPLES, load_findings(), ROOT / ".cache")
    schedule = [Phase(phase.samples, 2, phase.rate) for phase in SCHEDULE] if args.quick else SCHEDULE
    shipped = load_model("mini", device="cpu")
    names = list(METHODS) if args.methods == "all" else args.methods.split(",")
    layer = shipped.spec.layer
    cheap = [name for name in names if name not in EXPENSIVE]
    plans = [
        (layer, [MethodConfig(name) for name in cheap if name in FIRST], args.most),
        (layer, [MethodConfig(name) for name in cheap if name not in FIRST], args.records),
        (layer, [MethodConfig(name) for name in names if name in EXPENSIVE], args.expensive),
    ]
    if not args.quick:
        masks = [mask for mask in FILLS if mask not in ("mean", shipped.input.fill)]
        plans.append((layer, [MethodConfig("grad-cam", mask) for mask in masks], args.records))
        plans += [(other, [MethodConfig(name) for name in HANDFUL], args.records) for other in LAYERS if other != layer]
    networks = {
        "planted": (DRAWING, plans),
        "planted-free": (0.0, [plans[0], *(plan for plan in plans[-2:] if plan[0] != layer)]),
    }
    result, texts = dict[str, Any](), dict[str, str]()
    for name, (drawing, own) in networks.items():
        tuned = fine_tune(shipped, data.windows[data.folds <= 7][:FEW], schedule, args.seed, drawing)
        result[name] = found = judge_network(tuned, data.windows[data.folds == 9], own, args.seed, args.most)
        texts[name] = f"{said(found['facts'])}\n\n{table(found['rows'])}"
        print(f"{name}\n{texts[name]}", flush=True)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        if args.page is not None:
            put(args.page, name, texts[name], shipped.checkpoint_sha256)


def judge_network(
    model: EcgTextModel, windows: np.ndarray, plans: Sequence[tuple[str, list[MethodConfig], int]], seed: int, most: int
) -> dict[str, Any]:
    """Return the facts of a network that was made to rely on the marker, and rows by layer."""
    marked, begins = all_marked(windows, seed)
    sure = relied_on(model, windows, marked)
    facts = reliance(model, windows, np.random.default_rng(seed)) | {"recordings": len(windows), "relied on": len(sure)}
    facts |= beside(model, marked[sure[:most]], begins[sure[:most]])
    print(json.dumps(facts), flush=True)
    rows: dict[str, list[dict[str, Any]]] = {}
    for number, (layer, trials, count) in enumerate(plans):
        chosen = sure[:count]
        found = judged(model, marked[chosen], begins[chosen], trials, layer, seed) if trials else []
        # The random map of the most recordings is shown.
        rows.setdefault(layer, []).extend(row for row in found if row["method"] not in {RANDOM, SLOPE} or number == 0)
        print(f"{layer}: {', '.join(trial.method for trial in trials)}", flush=True)
    return {"facts": facts, "rows": rows}


if __name__ == "__main__":
    main()
