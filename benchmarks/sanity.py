"""Do mini's maps hang on what it learnt and on what it was asked, and on nothing else? On recordings of PTB-XL's fold 9.

    python -m benchmarks.sanity --data .cache/recordings/ptbxl --out benchmarks/results/sanity.json

Three recordings of each finding with so many (more than fifty in all), each explained for its finding's prompt by the shipped
defaults. Spearman's rank correlation of the cells before relu, pooled over leads, with the maps of: networks whose weights were
drawn again from the top layer down (two draws of each depth, five of all weights); other prompts, negations, synonyms, sentences
around the prompt; the recording with noise, a cell later, and with its tenths of a second in another order; and networks trained
from other seeds on folds 1-7 (--seeds: their files), which is as much as two networks that learnt the same can agree. A run that
was interrupted continues from --journal. What runs at a time is one map of one recording.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from training.data import ROOT, PtbXl, load_findings, load_ptbxl

from benchmarks.page import put
from benchmarks.parts import Parts
from ecgcam.evidence import sanity
from ecgcam.evidence.dependence import agreement, noisy, relatives_of, shifted, shuffled
from ecgcam.models.load import load_model
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import windows_of
from ecgcam.records import CANONICAL_LEADS, Record, Window
from ecgcam.results.explanation import Explanation
from ecgcam.results.intervals import mean_interval
from ecgcam.runs.evaluation import cells_of, maps_of

FS, SAMPLES = 250.0, 2500
# All phrases that the vocabulary has for a finding, at most so many: three are too few to name a figure.
PHRASES = 8
Values = dict[str, list[float]]
Cells = npt.NDArray[np.floating]


def cases_of(data: PtbXl, fold: int, each: int, seed: int) -> list[tuple[int, str]]:
    """Return (row, prompt) of `each` recordings of every finding that the fold has so many of, drawn at random."""
    rng = np.random.default_rng([seed, 8])
    chosen = []
    for column, finding in enumerate(load_findings()):
        rows = np.flatnonzero((data.folds == fold) & (data.labels[:, column] == 1))
        if len(rows) >= each:
            chosen += [(int(row), finding.prompt) for row in np.sort(rng.choice(rows, each, replace=False))]
    return chosen


def window_of(data: PtbXl, row: int, model: EcgTextModel) -> Window:
    """Return a recording's window."""
    record = Record(str(data.ids[row]), data.windows[row].astype(np.float32), FS, CANONICAL_LEADS)
    return next(windows_of(record, model.input))


def settled(twin: EcgTextModel, windows: np.ndarray) -> EcgTextModel:
    """Return a network of random weights whose batch averages are recomputed, in place.

    With the trained network's averages, random weights answer almost the same to every recording.
    """
    norms = [module for module in twin.network.modules() if isinstance(module, nn.BatchNorm1d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over what it sees
        norm.train()
    with torch.no_grad():
        twin.network(torch.from_numpy(windows.astype(np.float32)))
    twin.network.eval()
    return twin


def spread(model: EcgTextModel, windows: np.ndarray) -> float:
    """Return the mean 1 - cosine between a network's answers to different recordings."""
    with torch.no_grad():
        embedded = model.encode_signal(torch.from_numpy(windows.astype(np.float32)))
    count = len(embedded)
    return float(1 - ((embedded @ embedded.T).sum() - count) / (count * (count - 1)))


def judged(
    data: PtbXl,
    fold: int,
    model: EcgTextModel,
    others: list[EcgTextModel],
    each: int,
    draws: int,
    settings: Settings,
    parts: Parts | None = None,
    on_the_way: int = 2,
) -> dict[str, Any]:
    """Return every correlation by name, and facts about the networks; what `parts` holds is not computed again."""
    parts = parts or Parts()
    cases = cases_of(data, fold, each, settings.seed)
    windows = [window_of(data, row, model) for row, _ in cases]
    found = [maps_of(window, [text], model, settings) for window, (_, text) in zip(windows, cases, strict=True)]
    ours = [cells_of(maps[text]) for maps, (_, text) in zip(found, cases, strict=True)]
    values: Values = defaultdict(list)
    some = data.windows[data.folds == fold][:64]
    facts: dict[str, Any] = {"spread, trained": spread(model, some)}

    def cells_by(network: EcgTextModel) -> Iterator[Cells]:
        for window, (_, text) in zip(windows, cases, strict=True):
            yield cells_of(maps_of(window, [text], network, settings)[text])

    def held_against(network: EcgTextModel) -> list[float]:
        return [agreement(one, other) for one, other in zip(ours, cells_by(network), strict=True)]

    def settled_twin(seed: int) -> EcgTextModel:
        return settled(sanity.randomised(model, 1.0, seed), some)

    layers = sanity.signal_layers(model)
    spreads = []
    for draw in range(draws):
        seed = settings.seed + draw
        for name, count in _tops(layers).items():
            if count < len(layers) and draw >= on_the_way:
                continue
            twin = partial(sanity.randomised, model, count / len(layers), seed)
            key = f"weights from the top to {name}"
            values[f"random weights from the output back to {name}"] += parts.of(
                f"{key}, draw {draw}", lambda twin=twin: held_against(twin())
            )
        spreads.append(
            parts.of(f"spread, draw {draw}", lambda seed=seed: spread(sanity.randomised(model, 1.0, seed), some))
        )
        if draw >= on_the_way:
            continue
        key = "all weights, batch averages recomputed"
        values[key] += parts.of(f"{key}, draw {draw}", lambda seed=seed: held_against(settled_twin(seed)))
    facts["spread, all weights random"] = float(np.mean(spreads))
    lost = []
    for number, (window, (row, text), maps) in enumerate(zip(windows, cases, found, strict=True)):
        known = parts.of(
            f"case {number}, {data.ids[row]}: {text}", partial(by_words_and_signal, window, text, maps, model, settings)
        )
        lost.append(known["score lost"])
        for kind, value in known["agreement"].items():
            values[kind].append(value)
    facts["score lost, time shuffled"] = dict(zip(("mean", "low", "high"), mean_interval(np.array(lost)), strict=True))
    if others:
        agreed = parts.of("another seed", lambda: _each_other([list(cells_by(other)) for other in others]))
        values["another seed"] += agreed
    return {"records": len({row for row, _ in cases}), "cases": len(cases), "values": values, "facts": facts}


def by_words_and_signal(
    window: Window, text: str, found: dict[str, Explanation], model: EcgTextModel, settings: Settings
) -> dict[str, Any]:
    """Return a map's agreement with those of other words and of the recording changed, and the score lost by shuffling it."""
    cells, agreements = cells_of(found[text]), {}
    kinds = relatives_of(text, model.text.has, settings.seed, PHRASES)
    asked = list(dict.fromkeys(other for several in kinds.values() for other in several))
    maps = maps_of(window, asked, model, settings)
    for kind, several in kinds.items():
        agreements[kind] = float(np.mean([agreement(cells, cells_of(maps[other])) for other in several]))
    step = max(1, round(found[text].meta["cell_step_ms"] * window.fs / 1000))
    noise, later = (
        cells_of(maps_of(replace(window, signal=signal), [text], model, settings)[text])
        for signal in (noisy(window.signal, window.valid, settings.seed), shifted(window.signal, step))
    )
    agreements |= {"noise": agreement(cells, noise), "shift": agreement(cells[:, :-1], later[:, 1:])}
    mixed = shuffled(window.signal, window.valid, window.fs, settings.seed)
    there = maps_of(replace(window, signal=mixed), [text], model, settings)[text]
    agreements["time shuffled"] = agreement(cells, cells_of(there))
    return {"agreement": agreements, "score lost": found[text].score - there.score}


def _each_other(trained: list[list[Cells]]) -> list[float]:
    pairs = combinations(trained, 2)
    return [agreement(a, b) for one, other in pairs for a, b in zip(one, other, strict=True)]


def _tops(layers: list[str]) -> dict[str, int]:
    """Return how many of the layers lie at or above the head, each block, each stage and the stem, from the top down."""
    tops: dict[str, int] = {}
    for at in range(len(layers) - 1, -1, -1):
        parts = layers[at].split(".")
        name = ".".join(parts[1 : 4 if parts[1] == "stages" else 2])
        tops[name] = len(layers) - at
    return tops


def rows_of(values: Values, cases: int) -> list[dict[str, Any]]:
    """Return mean and interval (recordings drawn, with all their values), and the mean magnitude, of each name."""
    rows = []
    for name, several in values.items():
        by_case = np.array(several).reshape(-1, cases)
        mean, low, high = mean_interval(by_case.mean(axis=0))
        rows.append(
            {"compared with": name, "mean": mean, "low": low, "high": high, "magnitude": float(np.abs(by_case).mean()),
             "n": by_case.size}
        )  # fmt: skip
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = ["| compared with | correlation | magnitude | n |", "|---|---:|---:|---:|"]
    for row in rows:
        interval = f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        lines.append(f"| {row['compared with']} | {interval} | {row['magnitude']:.3f} | {row['n']} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path, help="a page whose tables are replaced")
    parser.add_argument("--journal", type=Path, help="where an interrupted run continues")
    parser.add_argument(
        "--seeds", type=Path, nargs="*", default=sorted((ROOT / "training/weights").glob("select-*.npz"))
    )
    parser.add_argument("--fold", type=int, default=9)
    parser.add_argument("--each", type=int, default=3)
    parser.add_argument("--draws", type=int, default=5, help="of all weights")
    parser.add_argument("--on-the-way", type=int, default=2, help="draws of each depth above")
    parser.add_argument("--layer")
    parser.add_argument("--mask")
    args = parser.parse_args()
    data = load_ptbxl(args.data, FS, SAMPLES, load_findings(), ROOT / ".cache")
    model = load_model("mini", device="cpu")
    others = [load_model("mini", path, device="cpu") for path in args.seeds]
    settings = replace(Settings(gradient=None), layer=args.layer, mask=args.mask)
    asked = {
        "model": model.checkpoint_sha256, "seeds": [other.checkpoint_sha256 for other in others], "fold": args.fold,
        "each": args.each, "layer": args.layer, "mask": args.mask, "records": len(data.ids),
    }  # fmt: skip
    parts = Parts(args.journal, asked)
    found = judged(data, args.fold, model, others, args.each, args.draws, settings, parts, args.on_the_way)
    rows = rows_of(found["values"], found["cases"])
    print(
        f"{found['cases']} maps of {found['records']} recordings of fold {args.fold}; {found['facts']}\n{table(rows)}"
    )
    if args.page:
        put(args.page, "sanity", table(rows), model.checkpoint_sha256)
    kept = {key: found[key] for key in ("records", "cases", "facts")} | {
        "model": model.checkpoint_sha256, "seeds": [path.name for path in args.seeds], "rows": rows,
    }  # fmt: skip
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
