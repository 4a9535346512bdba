"""Which method, layer and mask for mini? Chosen on one set of recordings and weights, reported on others.

    python -m benchmarks.choice search --data PTBXL --out SEARCH.jsonl --page docs/evidence.md
    python -m benchmarks.choice report --data PTBXL --ludb LUDB --out REPORT.jsonl --page docs/evidence.md

``search``: the network trained on folds 1-7 (training/weights/select-1.npz), simulated recordings of seeds 0 to 999, and fold 8:
a handful of methods with every layer, two with every mask, and all at the shipped layer and mask (expensive ones on a fifth of
the simulated recordings and none of fold 8, some with fewer draws). ``report``: the shipped weights, seeds from 1,000 up, fold 9
and LUDB, which nothing was chosen on, with the shipped defaults and what the search put first (some methods on a third). The
file holds a line for a map; an interrupted run continues after it. What runs at a time is one recording and one map, so
memory grows only by the lines.

Of simulated recordings: relevance mass over the mass that is aimed at, `min(3 x chance, (1 + chance) / 2)`, and pointing (paced:
over time alone), truth widened by half a cell; of all: deletion and insertion by the line over tiles of 80 ms.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from training.data import ROOT, load_findings, load_ptbxl
from training.figures import load_ludb

from benchmarks.localisation import AIMED, aim
from benchmarks.page import put
from ecgcam.attribution.masking import FILLS
from ecgcam.attribution.methods import METHODS
from ecgcam.errors import EcgcamError
from ecgcam.evidence.faithfulness import TileRemoval, deletion, insertion, random_map
from ecgcam.evidence.localisation import MarkedValues, over_time, widen
from ecgcam.evidence.metrics import measure
from ecgcam.evidence.truths import Truth
from ecgcam.models.load import load_model
from ecgcam.pipeline.engine import explain_windows
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import windows_of
from ecgcam.records import CANONICAL_LEADS, Record, Window
from ecgcam.records.simulator import simulate
from ecgcam.results.intervals import mean_interval
from ecgcam.runs.evaluation import RANDOM

FS, SAMPLES = 250.0, 2500
LAYERS = ("signal.stem", "signal.stages.0", "signal.stages.1")
# What is tried with every layer and mask: one forward and backward pass each, except for the integrated.
HANDFUL = (
    "grad-cam",
    "dot-grad-cam",
    "hires-cam",
    "layer-cam",
    "grad-cam-elementwise",
    "xgrad-cam",
    "layer-integrated-gradients",
)
CHOSEN = "layer-integrated-gradients"
# Fewer draws than by default, for methods whose draws differ in nothing but their number.
FEWER: dict[str, dict[str, Any]] = {
    "kernel-shap": {"samples": 512}, "lime": {"samples": 512}, "dff": {"steps": 100}, "ss-cam": {"draws": 2},
    "is-cam": {"steps": 2},
}  # fmt: skip
# More than a second a map, which the others are far below: judged on fewer recordings.
EXPENSIVE = ("score-cam", "ss-cam", "is-cam", "gradient-shap", "occlusion", "lead-shapley", "kernel-shap", "lime")
REAL = ("af", "lbbb", "rbbb", "pvc", "paced", "inferior-mi", "lvh")


@dataclass(frozen=True)
class Candidate:
    """A method with a layer, a mask and a number of steps; None for the model's and the method's."""

    method: str
    layer: str | None = None
    mask: str | None = None
    steps: int | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What the method is set to."""
        return FEWER.get(self.method, {}) if self.steps is None else {"steps": self.steps}

    @property
    def name(self) -> str:
        """As in tables."""
        steps = None if self.steps is None else f"{self.steps} step{'s' if self.steps > 1 else ''}"
        return ", ".join(part for part in (self.method, steps) if part)


@dataclass(frozen=True, eq=False)
class Case:
    """A window, what it is asked, and where the finding is, if that is known; `group` is the finding, or the data set."""

    name: str
    group: str
    window: Window
    prompt: str
    truth: np.ndarray | None = None
    faithful: bool = True


def simulated(model: EcgTextModel, first: int, count: int, findings: Sequence[str] = tuple(AIMED)) -> Iterator[Case]:
    """Yield recordings seed by seed, so that an interrupted run has all findings."""
    prompts = {finding.name: finding.prompt for finding in load_findings()}
    for seed in range(first, first + count):
        for finding in findings:
            known = simulate(finding, seed)
            record = Record(f"{finding}-{seed}", known.signal, known.fs, known.leads)
            window = next(windows_of(record, model.input))
            truth = Truth(known.mask, known.leads, known.fs).on(window)
            # Deletion and insertion take longer than most maps, and differ less from recording to recording: a tenth will do.
            yield Case(record.name, finding, window, prompts[finding], truth, seed % 10 == 0)


def real(model: EcgTextModel, folder: Path, fold: int, each: int) -> Iterator[Case]:
    """Yield the first `each` positives of each of `REAL` in a fold of PTB-XL."""
    findings = load_findings()
    data = load_ptbxl(folder, FS, SAMPLES, findings, ROOT / ".cache")
    for column, finding in enumerate(findings):
        if finding.name in REAL:
            for row in np.flatnonzero((data.folds == fold) & (data.labels[:, column] == 1))[:each]:
                name = f"ptbxl-{data.ids[row]}-{finding.name}"
                record = Record(name, data.windows[row].astype(np.float32), FS, CANONICAL_LEADS)
                yield Case(name, f"fold {fold}", next(windows_of(record, model.input)), finding.prompt)


def ludb(model: EcgTextModel, folder: Path, each: int) -> Iterator[Case]:
    """Yield the first `each` recordings of LUDB with each finding that its headers name."""
    windows, labels = load_ludb(folder)
    prompts = {finding.name: finding.prompt for finding in load_findings()}
    for finding, present in labels.items():
        for row in np.flatnonzero(present)[:each]:
            record = Record(f"ludb-{row}-{finding}", windows[row].astype(np.float32), FS, CANONICAL_LEADS)
            yield Case(record.name, "LUDB", next(windows_of(record, model.input)), prompts[finding])


def measured(case: Case, candidate: Candidate, model: EcgTextModel, seed: int) -> dict[str, float]:
    """Return what a candidate's map of a case gets; of the random map, where that is the candidate."""
    from ecgcam.evidence.scores import score_functions
    from ecgcam.pipeline.preparation import prepare

    settings = Settings(
        method="grad-cam" if candidate.method == RANDOM else candidate.method,
        layer=candidate.layer, mask=candidate.mask, gradient=None, seed=seed, options=candidate.options,
    )  # fmt: skip
    prepared = prepare(case.window, model.input, Settings(seed=seed))
    # The fill of `TilePerturbation` is for another way to take tiles out than the line.
    edits = _edits(case.window, score_functions(prepared, [case.prompt], model)[case.prompt], seed)
    step: float | None = model.spec.layers_named(candidate.layer)[0][1].step
    if candidate.method == RANDOM:
        values = random_map(edits, seed)
    else:
        ((_, explanation),) = explain_windows([(None, case.window)], [case.prompt], model, settings)
        # The methods of the family `signal` are in units of the score already, except those of a gradient, which have none.
        values = explanation.scaled_map("raw" if METHODS[candidate.method].family == "signal" else "evidence")
        step = explanation.meta["cell_step_ms"] and explanation.meta["cell_step_ms"] * FS / 1000
    removal = TileRemoval(edits, values)
    found = {"deletion": deletion(removal), "insertion": insertion(removal)} if case.faithful else {}
    if case.truth is not None:
        wide = widen(case.truth, (step or 0.0) / 2) & case.window.valid
        compared = MarkedValues.of(values, wide, case.window.valid)
        part = over_time(values, wide, case.window.valid)
        if AIMED[case.group]:
            inside = part[1][part[2]]
            if not inside.any() or inside.all():
                return found
            compared = MarkedValues.of(*part)
        everywhere = measure(compared)
        found |= {"pointing": everywhere["pointing"], "auc": everywhere["auc"], "mass": everywhere["mass"]}
        found |= {"chance": compared.share, "reached": everywhere["mass"] / aim(compared.share)}
    return found


def _edits(window: Window, score: Any, seed: int) -> Any:
    from ecgcam.evidence.edits import TilePerturbation

    return TilePerturbation(window.signal, window.signal, window.valid, window.leads, window.fs, score, seed=seed)


class Lines:
    """What is known of every (case, candidate): a line of JSON each, after one that names the weights."""

    def __init__(self, path: Path, asked: dict[str, Any]) -> None:
        self.path, self.known = path, dict[tuple[str, Candidate], dict[str, Any]]()
        path.parent.mkdir(parents=True, exist_ok=True)
        head = json.dumps(asked)
        lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
        if not lines or lines[0] != head:  # of other weights: started again
            lines = [head, ""]
        for line in lines[1:-1]:  # what follows the last end of line was cut off
            found = json.loads(line)
            self.known[found["case"], Candidate(*found["candidate"])] = found
        path.write_text("".join(f"{line}\n" for line in lines[:-1]), encoding="utf-8")

    def add(self, case: Case, candidate: Candidate, values: dict[str, float] | None) -> None:
        """Keep a line; `values` is None where the model does not allow the method."""
        parts = [candidate.method, candidate.layer, candidate.mask, candidate.steps]
        line = {"case": case.name, "group": case.group, "candidate": parts, "values": values}
        self.known[case.name, candidate] = line
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def values(self, candidates: Sequence[Candidate], group: str, metric: str) -> dict[Candidate, np.ndarray]:
        """Return a metric's values by candidate, over the cases of a group that hold it."""
        found: dict[Candidate, list[float]] = {candidate: [] for candidate in candidates}
        for (_, candidate), line in self.known.items():
            if candidate in found and line["group"] == group and line["values"] and metric in line["values"]:
                found[candidate].append(line["values"][metric])
        return {candidate: np.array(values) for candidate, values in found.items()}


def judge_all(
    cases: Iterator[Case], candidates: Sequence[Candidate], model: EcgTextModel, lines: Lines, seed: int
) -> None:
    """Judge what is missing, one case at a time, with a message after each."""
    refused: set[str] = set()
    for number, case in enumerate(cases, 1):
        for candidate in candidates:
            if (case.name, candidate) in lines.known or candidate.method in refused:
                continue
            try:
                lines.add(case, candidate, measured(case, candidate, model, seed))
            except EcgcamError as error:
                refused.add(candidate.method)
                print(f"  {candidate.method} is left out: {error}", flush=True)
        print(f"{number}: {case.name}", flush=True)


def ranked(lines: Lines, candidates: Sequence[Candidate], groups: Sequence[str]) -> str:
    """Markdown: a row a candidate, best first by the mean of pointing and of the mass reached, at most 1 a finding."""
    rows = []
    for candidate in candidates:
        found = {
            metric: [lines.values([candidate], group, metric)[candidate] for group in AIMED]
            for metric in ("pointing", "reached", "auc")
        }
        if not all(len(values) for values in found["pointing"]):
            continue
        pointing = [float(values.mean()) for values in found["pointing"]]
        reached = [float(values.mean()) for values in found["reached"]]
        order = float(np.mean([*(min(1.0, value) for value in reached), *pointing]))
        parts = [_pooled(lines, candidate, groups_, metric) for groups_ in (tuple(AIMED), groups) if groups_
                 for metric in ("deletion", "insertion")]  # fmt: skip
        cells = [f"{a:.2f} / {b:.2f}" for a, b in zip(reached, pointing, strict=True)]
        n = sum(len(values) for values in found["pointing"])
        rows.append((order, [f"{order:.2f}", *cells, *(_figure(part) for part in parts), str(n)], candidate))
    names = [*AIMED, "deletion", "insertion", *(f"{groups[0]}: {m}" for m in ("deletion", "insertion") if groups), "n"]
    head = f"| method | layer | mask | mean | {' | '.join(names)} |\n|---|---|---|{'---:|' * (len(names) + 1)}\n"
    rows.sort(key=lambda row: -row[0])
    return head + "\n".join(
        f"| {c.name} | {_short(c)} | {c.mask or 'baseline'} | {' | '.join(cells)} |" for _, cells, c in rows
    )


def _pooled(lines: Lines, candidate: Candidate, groups: Sequence[str], metric: str) -> float:
    values = np.concatenate([lines.values([candidate], group, metric)[candidate] for group in groups])
    return float(values.mean()) if len(values) else float("nan")


def _figure(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"


def _masked(candidate: Candidate) -> str:
    return candidate.name if candidate.mask is None else f"{candidate.name}, {candidate.mask}"


def _short(candidate: Candidate) -> str:
    cells = candidate.method != RANDOM and METHODS[candidate.method].family != "signal"
    return (candidate.layer or "signal.stages.1").replace("signal.", "").replace(",", " + ") if cells else ""


def reported(lines: Lines, candidates: Sequence[Candidate], groups: Sequence[str]) -> str:
    """Markdown: what each candidate reached, with intervals: one row per finding, then the real recordings."""
    out = [
        "| finding | method | layer | mass | asked | chance | pointing | AUC | n |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for group in AIMED:
        for candidate in candidates:
            by = {m: lines.values([candidate], group, m)[candidate] for m in ("mass", "chance", "pointing", "auc")}
            if len(by["mass"]):
                chance = float(by["chance"].mean())
                name = f"{group}{' (time)' if AIMED[group] else ''}"
                cells = [
                    name,
                    _masked(candidate),
                    _short(candidate),
                    _cell(by["mass"]),
                    f"{aim(chance):.2f}",
                    f"{chance:.2f}",
                ]
                cells += [_cell(by["pointing"]), f"{by['auc'].mean():.2f}", str(len(by["mass"]))]
                out.append(f"| {' | '.join(cells)} |")
    out += ["", "| recordings | method | layer | deletion | insertion | n |", "|---|---|---|---:|---:|---:|"]
    for name, parts in (("simulated", tuple(AIMED)), *((group, (group,)) for group in groups)):
        for candidate in candidates:
            found = [
                np.concatenate([lines.values([candidate], part, metric)[candidate] for part in parts])
                for metric in ("deletion", "insertion")
            ]
            if len(found[0]):
                cells = " | ".join(_cell(values) for values in found)
                out.append(f"| {name} | {_masked(candidate)} | {_short(candidate)} | {cells} | {len(found[0])} |")
    return "\n".join(out)


def _cell(values: np.ndarray) -> str:
    mean, low, high = mean_interval(values)
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["search", "report"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ludb", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--weights", type=Path, help="default: select-1.npz for search, the shipped ones for report")
    parser.add_argument(
        "--count",
        type=int,
        default=None,
        help="simulated recordings a finding; 10, 5 (all methods), 50 (report); expensive methods fewer",
    )
    parser.add_argument(
        "--each", type=int, default=None, help="real recordings a finding; 2, 1 for all methods, 4 for report"
    )
    parser.add_argument("--stages", default="layers,masks,methods", help="for search")
    parser.add_argument("--methods", default="all", help="of the stage of that name")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    search = args.what == "search"
    weights = args.weights or (ROOT / "training/weights/select-1.npz" if search else None)
    model = load_model("mini", weights, device="cpu")
    file = weights or ROOT / "src/ecgcam/models/weights/mini.npz"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    lines = Lines(args.out, {"weights": digest, "seed": args.seed})
    if not search:
        first = [
            Candidate("grad-cam"),
            Candidate("dot-grad-cam"),
            Candidate("grad-cam-eigen"),
            Candidate("grad-cam", None, "zero-mv"),
            Candidate(RANDOM),
        ]
        some = [Candidate(CHOSEN, LAYERS[0]), Candidate(CHOSEN, LAYERS[1]), Candidate(CHOSEN, LAYERS[1], None, 1)]
        expensive = [Candidate("integrated-gradients"), Candidate("layer-cam", LAYERS[1])]
        groups = ["fold 9", *(["LUDB"] if args.ludb else [])]
        count, each = args.count or 50, args.each or 4
        for candidates, share in ((first, 1), (some, 1), (expensive, 3)):
            judge_all(simulated(model, 1000, max(1, count // share)), candidates, model, lines, args.seed)
            judge_all(real(model, args.data, 9, max(1, each // share)), candidates, model, lines, args.seed)
            if args.ludb:
                judge_all(ludb(model, args.ludb, max(1, each // share)), candidates, model, lines, args.seed)
        candidates = [*first[:-1], *some, *expensive, first[-1]]
        tables = {"choice-report": reported(lines, candidates, groups)}
    else:
        names = list(METHODS) if args.methods == "all" else args.methods.split(",")
        every = [Candidate(name) for name in (*names, RANDOM)]
        layered = [Candidate(name, layer) for name in HANDFUL for layer in (*LAYERS, ",".join(LAYERS[1:]))
                   if "," not in layer or METHODS[name].family == "cam"]  # fmt: skip
        layered += [Candidate(CHOSEN, LAYERS[1], None, steps) for steps in (1, 2, 4)]
        masked = [Candidate(name, layer, mask) for name, layer in (("grad-cam", None), (CHOSEN, LAYERS[1]))
                  for mask in FILLS if mask != "mean"]  # fmt: skip
        stages = {"layers": (layered, 10, 2), "masks": (masked, 10, 2), "methods": (every, 5, 1)}
        tables = {}
        for stage in args.stages.split(","):
            candidates, count, each = stages[stage]
            count, each = args.count or count, args.each or each
            cheap, expensive = ([c for c in candidates if (c.method in EXPENSIVE) is few] for few in (False, True))
            if cheap:
                judge_all(simulated(model, 0, count), cheap, model, lines, args.seed)
                judge_all(real(model, args.data, 8, each), cheap, model, lines, args.seed)
            if expensive:
                judge_all(simulated(model, 0, max(1, count // 5)), expensive, model, lines, args.seed)
            tables[f"choice-{stage}"] = ranked(lines, candidates, ["fold 8"])
    for name, table in tables.items():
        print(f"\n{name}\n{table}", flush=True)
        if args.page is not None:
            put(args.page, name, table, digest)


if __name__ == "__main__":
    main()
