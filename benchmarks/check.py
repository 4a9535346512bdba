"""Does the check separate right maps from wrong ones? Pass rates and ROC on simulated findings with known places.

    python -m benchmarks.check --count 10 --out benchmarks/results/check.json --page docs/evidence.md

For each recording: the map of its finding; that map reversed in time; the map of another finding's prompt; the map of a network
with random weights; a random map. All are checked by the score of the recording's finding. A map of the finding is called right
where its largest value lies in the truth (for relations between beats: where its time does). Seeds from 4,000 up.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from training.data import load_findings

from benchmarks.localisation import AIMED, RELATIONS
from benchmarks.page import put
from ecgcam.evidence.check import Check, check_map
from ecgcam.evidence.edits import TilePerturbation
from ecgcam.evidence.faithfulness import random_map
from ecgcam.evidence.localisation import localisation_parts, pointing
from ecgcam.evidence.sanity import randomised
from ecgcam.evidence.scores import score_functions
from ecgcam.evidence.truths import Truth
from ecgcam.models.load import load_model
from ecgcam.pipeline.preparation import prepare
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import windows_of
from ecgcam.records import Record
from ecgcam.records.simulator import simulate
from ecgcam.runs.evaluation import maps_of

WRONG = ("reversed in time", "another prompt", "random weights", "random map")
FIRST = 4000


def rows_of(model: EcgTextModel, seed: int, settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield the check of each map of one recording of each finding."""
    prompts = {finding.name: finding.prompt for finding in load_findings()}
    findings = list(AIMED | RELATIONS)
    twin = randomised(model, 1.0, seed)
    for number, finding in enumerate(findings):
        made = simulate(finding, seed)
        window = next(windows_of(Record(f"{finding}-{seed}", made.signal, made.fs, made.leads), model.input))
        own, other = prompts[finding], prompts[findings[(number + 1 + seed % (len(findings) - 1)) % len(findings)]]
        found = maps_of(window, [own, other], model, settings)
        prepared = prepare(window, model.input, settings)
        score = score_functions(prepared, [own], model)[own]
        signal = window.signal
        case = TilePerturbation(signal, signal, window.valid, window.leads, window.fs, score, removal="line", seed=seed)
        right = found[own].scaled_map("evidence")
        maps = {
            "of the finding": right,
            "reversed in time": right[:, ::-1],
            "another prompt": found[other].scaled_map("evidence"),
            "random weights": maps_of(window, [own], twin, settings)[own].scaled_map("evidence"),
            "random map": random_map(case, seed),
        }
        truth = Truth(made.mask, made.leads, made.fs).on(window)
        tolerance = model.spec.layer_named(None)[1].step / 2
        parts = dict(localisation_parts(right, truth, window.valid, tolerance))
        part = parts.get((AIMED | RELATIONS)[finding])
        is_right = part is not None and pointing(part) == 1.0
        for name, values in maps.items():
            check = check_map(case, values, found[own].score)
            yield {
                "finding": finding, "seed": seed, "map": name, "right": is_right and name == "of the finding",
                "z": z_of(check), **check.to_json(),
            }  # fmt: skip


def z_of(check: Check) -> float:
    """Return by how many standard deviations the marked part exceeds the random ones."""
    return (check.drop - check.random) / max(check.random_sd, 1e-9)


def tables(rows: list[dict[str, Any]]) -> str:
    """Return pass rates by finding and map, and the ROC of right against wrong maps, as Markdown."""
    lines = ["| finding | right maps | pass | " + " | ".join(WRONG) + " |", "|---|---:|---:|" + "---:|" * len(WRONG)]

    def share(chosen: list[dict[str, Any]]) -> str:
        return f"{np.mean([row['passed'] for row in chosen]):.2f}" if chosen else ""

    for finding in [*dict.fromkeys(row["finding"] for row in rows), "all"]:
        here = [row for row in rows if finding in {row["finding"], "all"}]
        right = [row for row in here if row["right"]]
        cells = [share([row for row in here if row["map"] == name]) for name in WRONG]
        lines.append(f"| {finding} | {len(right)} | {share(right)} | {' | '.join(cells)} |")
    positive = np.array([row["z"] for row in rows if row["right"]])
    lines += ["", "| right maps against | AUROC | right maps that pass where 5 % of these do |", "|---|---:|---:|"]
    for name in (*WRONG, "all wrong maps"):
        negative = np.array(
            [row["z"] for row in rows if row["map"] == name or (name not in WRONG and row["map"] in WRONG)]
        )
        above = positive[:, None] - negative[None]
        auc = float(((above > 0) + 0.5 * (above == 0)).mean())
        sensitivity = float((positive > np.quantile(negative, 0.95)).mean())
        lines.append(f"| {name} | {auc:.3f} | {sensitivity:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10, help="recordings a finding")
    parser.add_argument("--method", default="grad-cam")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path, help="a page whose table is made again")
    args = parser.parse_args()
    model = load_model("mini", device="cpu")
    rows: list[dict[str, Any]] = []
    for seed in range(FIRST, FIRST + args.count):
        rows += rows_of(model, seed, Settings(method=args.method, gradient=None))
        print(f"{seed}: {len(rows)} maps", flush=True)
        args.out.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", encoding="utf-8")
    print(tables(rows))
    if args.page:
        put(args.page, "check", tables(rows), model.checkpoint_sha256)


if __name__ == "__main__":
    main()
