"""Where the maps of simulated findings lie, against the simulator's truth: a fact about the model and the method together.

    python -m benchmarks.localisation --out benchmarks/results/localisation.json

Fifty recordings a finding, maps at evidence scale, the truth widened by half a cell. The aim for findings with a place: mass
at least `min(3 x chance, (1 + chance) / 2)` and pointing at least 0.9; for pacing over time alone. Seeds 0 to 999 are for
choosing, seeds from 1,000 up for reporting.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from training.data import load_findings

from ecgcam.attribution.methods import METHODS
from ecgcam.errors import EcgcamError
from ecgcam.evidence.truths import Truth
from ecgcam.models.load import load_model
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import windows_of
from ecgcam.records import Record
from ecgcam.records.simulator import simulate
from ecgcam.runs.evaluation import RANDOM, SLOPE, Entry, EvaluationConfig, MethodConfig, evaluate_window, mean_rows

AIMED = {"pvc": "", "lbbb": "", "rbbb": "", "st-elevation": "", "paced": "time: "}
# Relations: their truth is an interval in every lead, so that time alone is scored.
RELATIONS = {"af": "time: ", "av-block-1": "time: ", "long-qt": "time: "}


def judged(
    model: EcgTextModel,
    finding: str,
    prompt: str,
    trials: list[MethodConfig],
    layer: str | None,
    first: int,
    count: int,
) -> list[dict[str, Any]]:
    """Rows of `ecgcam evaluate` for one finding."""
    entries: list[Entry] = []

    def refused(trial: MethodConfig, error: EcgcamError) -> None:
        print(f"  {trial.method}: {error}", flush=True)

    for seed in range(first, first + count):
        known = simulate(finding, seed)
        window = next(windows_of(Record(str(seed), known.signal, known.fs, known.leads), model.input))
        truth = Truth(known.mask, known.leads, known.fs)
        for trial in trials:
            scale = "raw" if METHODS[trial.method].family == "signal" else "evidence"
            plan = EvaluationConfig(("localisation",), scale)
            found = evaluate_window(
                window, [prompt], model, Settings(layer=layer, seed=seed), [trial], plan, truth, refused
            )
            entries += [entry for entry in found if trial is trials[0] or entry.method not in {RANDOM, SLOPE}]
    return mean_rows(entries)


def aim(chance: float) -> float:
    """Return the mass that is asked of a map where a share `chance` of the window is the truth."""
    return min(3 * chance, (1 + chance) / 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", default="grad-cam")
    parser.add_argument("--masks", default="baseline")
    parser.add_argument("--layers", default="")
    parser.add_argument("--findings", default=",".join([*AIMED, *RELATIONS]))
    parser.add_argument("--first", type=int, default=1000)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--checkpoint", type=Path)
    args = parser.parse_args()
    model = load_model("mini", args.checkpoint, device="cpu")
    prompts = {finding.name: finding.prompt for finding in load_findings()}
    names = list(METHODS) if args.methods == "all" else args.methods.split(",")
    trials = [MethodConfig(name, mask) for mask in args.masks.split(",") for name in names]
    kept: list[dict[str, Any]] = []
    print(
        "| finding | layer | method | mask | mass (aim) | chance | pointing | n |\n|---|---|---|---|---:|---:|---:|---:|"
    )
    for finding in args.findings.split(","):
        prefix = (AIMED | RELATIONS)[finding]
        for layer in args.layers.split(","):
            rows = judged(model, finding, prompts[finding], trials, layer or None, args.first, args.count)
            kept += [{"finding": finding, "layer": layer or model.spec.layer, **row} for row in rows]
            by = {(row["method"], row["mask"], row["metric"]): row for row in rows}
            for method, mask in dict.fromkeys((row["method"], row["mask"]) for row in rows):
                mass, pointing = (by[method, mask, prefix + metric] for metric in ("mass", "pointing"))
                print(
                    f"| {finding} | {layer or model.spec.layer} | {method} | {mask} | {mass['mean']:.3f} "
                    f"[{mass['low']:.3f}, {mass['high']:.3f}] ({aim(mass['chance']):.3f}) | {mass['chance']:.3f} "
                    f"| {pointing['mean']:.3f} [{pointing['low']:.3f}, {pointing['high']:.3f}] | {mass['n']} |",
                    flush=True,
                )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
