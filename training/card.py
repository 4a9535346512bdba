"""Every figure of the model card, from the shipped weights, and the card made from them.

    python -m training.card --data PTBXL [MORE] --ludb LUDB [--cinc CINC] --fold 9 --out docs/mini.md

Most tables are of the first folder, the records of 500 Hz; one is of the fold's records in all folders, and of the others by
themselves.
AUROC of each finding's own prompt against the labels of the vocabulary; intervals by 1,000 bootstrap draws of patients.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ecgcam.attribution.hooks import cell_width
from ecgcam.models.load import load_model
from ecgcam.protocol.model import EcgTextModel
from ecgcam.records import CANONICAL_LEADS
from ecgcam.records.criteria import all_criteria
from training import figures as measure
from training.data import Finding, PtbXl, load_findings, load_ptbxl
from training.figures import ENOUGH
from training.metrics import auroc, bootstrap_interval
from training.observed import Observed, load_observed, observations
from training.train import FIGURES, FS, ROOT, SAMPLES
from training.words import german_sentences, held_out, shares

TEMPLATE = ROOT / "training/card.md"
WEIGHTS = ROOT / "training/weights"
HELD_OUT_CRITERIA = ROOT / "training/held_out_criteria.toml"
YARDSTICK = WEIGHTS / "yardstick-0.npz"
# The yardstick and the seeds were trained on the first findings of the vocabulary; figures that compare are of these.
FORMER = 22
# Positives for a place in the macro over all findings.
MANY = 20
# Atrial fibrillation among records of these rates only, so that rate does not give it away.
USUAL_RATES = (60.0, 110.0)


def by_finding(data: PtbXl, rows: np.ndarray, findings: list[Finding], ours: np.ndarray, theirs: np.ndarray) -> str:
    """A line per finding: positives, AUROC with interval, and the yardstick's."""
    lines = []
    for i, finding in enumerate(findings):
        labels = data.labels[rows, i]
        positives = int((labels == 1).sum())
        if positives == 0:
            lines.append(f"| {finding.prompt} | 0 | none to score | | |")
            continue
        low, high = bootstrap_interval(labels, ours[:, i], data.patients[rows])
        few = " (few)" if positives < ENOUGH else ""
        lines.append(
            f"| {finding.prompt} | {positives}{few} | {auroc(labels, ours[:, i]):.3f} | {low:.3f} to {high:.3f} "
            f"| {f'{auroc(labels, theirs[:, i]):.3f}' if i < FORMER else ''} |"
        )
    return "\n".join(lines)


def whole_table(
    model: EcgTextModel, both: PtbXl, first: PtbXl, fold: int, findings: list[Finding]
) -> tuple[str, dict[str, str]]:
    """A line per finding of a fold's records in all folders, with the AUROC of those not in the first folder; their macros."""
    rows = both.folds == fold
    labels, patients = both.labels[rows], both.patients[rows]
    others = ~np.isin(both.ids[rows], first.ids)
    scores = measure.scores_of(model, both.windows[rows], [finding.prompt for finding in findings])
    lines = []
    for i, finding in enumerate(findings):
        positives = int((labels[:, i] == 1).sum())
        low, high = bootstrap_interval(labels[:, i], scores[:, i], patients)
        few = " (few)" if positives < ENOUGH else ""
        lines.append(
            f"| {finding.prompt} | {positives}{few} | {auroc(labels[:, i], scores[:, i]):.3f} | {low:.3f} to {high:.3f} "
            f"| {auroc(labels[others, i], scores[others, i]):.3f} |"
        )
    positives_of = (labels == 1).sum(axis=0)
    enough = [i for i in range(FORMER) if positives_of[i] >= ENOUGH]
    many = [i for i in range(len(findings)) if positives_of[i] >= MANY]
    facts = {
        "whole_records": f"{int(rows.sum()):,}",
        "whole_others": f"{int(others.sum()):,}",
        "whole_count": str(len(enough)),
        "whole_macro": _macro(labels[:, enough], scores[:, enough], patients),
        "many": str(MANY),
        "many_count": str(len(many)),
        "many_macro": _macro(labels[:, many], scores[:, many], patients),
        "whole_macro_others": f"{measure.macro(labels[others][:, enough], scores[others][:, enough]):.3f}",
    }
    return "\n".join(lines), facts


def _macro(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> str:
    low, high = measure.macro_interval(labels, scores, patients)
    return f"{measure.macro(labels, scores):.3f}** [{low:.3f}, {high:.3f}]"


def lead_table(model: EcgTextModel, data: PtbXl, rows: np.ndarray, findings: list[Finding], common: list[int]) -> str:
    """AUROC of each finding with enough positives from each lead alone."""
    windows, labels = data.windows[rows], data.labels[rows]
    rates = measure.heart_rates(windows)
    usual = (rates >= USUAL_RATES[0]) & (rates <= USUAL_RATES[1])
    names = [finding.name for finding in findings]
    chosen = sorted({*common, *(names.index(name) for name in FIGURES)})
    texts = [findings[i].prompt for i in chosen]
    table = measure.single_leads(model, windows, labels[:, chosen], texts)
    lines = [_row(text, values) for text, values in zip(texts, table, strict=True)]
    af = names.index("af")
    at_usual = measure.single_leads(model, windows[usual], labels[usual][:, [af]], [findings[af].prompt])[0]
    positives = int((labels[usual, af] == 1).sum())
    lines.append(_row(f"{findings[af].prompt}, 60 to 110 beats/min ({positives} of {int(usual.sum())})", at_usual))
    return "\n".join(lines)


def _row(name: str, values: np.ndarray) -> str:
    return f"| {name} | " + " | ".join(f"{value:.2f}" for value in values) + f" | {np.mean(values):.2f} |"


def words_tables(model: EcgTextModel, data: PtbXl, rows: np.ndarray, findings: list[Finding]) -> dict[str, str]:
    """Held-out phrasings, and negation."""
    trained = [report for report, fold in zip(data.reports, data.folds, strict=True) if fold <= 8]
    reports = [report for report, here in zip(data.reports, rows, strict=True) if here]
    phrases = [*held_out(), *german_sentences(reports, trained)]
    former = {finding.name for finding in findings[:FORMER]}
    of_former = shares(model, findings, [phrase for phrase in phrases if phrase.finding in former])
    of_new = shares(model, findings, [phrase for phrase in phrases if phrase.finding not in former])
    placed = [
        f"| {kind} | {count} | {share:.3f} | {of_former[kind][1]} | {of_former[kind][0]:.3f} | {of_new[kind][1]} "
        f"| {of_new[kind][0]:.3f} |"
        for kind, (share, count) in shares(model, findings, phrases).items()
    ]
    denied = measure.negation(model, findings, data.windows[rows], data.labels[rows])
    scored = [one.accuracy for one in denied[:FORMER] if one.positives >= ENOUGH]
    of_all = [one.accuracy for one in denied if one.positives >= ENOUGH]
    lines = []
    for one in denied:
        accuracy = "" if np.isnan(one.accuracy) else f"{one.accuracy:.2f}"
        lines.append(f"| {one.finding} | {one.positives} | {accuracy} | {one.no:.2f} | {one.without:.2f} |")
    near = [one.finding for one in denied if max(one.no, one.without) >= 0.6]
    return {
        "phrasings": "\n".join(placed),
        "negation": "\n".join(lines),
        "negation_mean": f"{np.mean(scored):.3f}",
        "negation_count": str(len(scored)),
        "negation_all": f"{np.mean(of_all):.3f}",
        "negation_all_count": str(len(of_all)),
        "negation_near": f"{len(denied) - len(near)} of {len(denied)}" + (f" (not {', '.join(near)})" if near else ""),
    }


def ludb_table(model: EcgTextModel, folder: Path, findings: list[Finding]) -> str:
    """AUROC on recordings of another hospital that no training saw."""
    windows, labels = measure.load_ludb(folder)
    prompts = {finding.name: finding.prompt for finding in findings}
    lines = []
    for name, known in labels.items():
        scores = measure.scores_of(model, windows, [prompts[name]])[:, 0]
        low, high = bootstrap_interval(known, scores, np.arange(len(known)))
        lines.append(f"| {prompts[name]} | {int(known.sum())} | {auroc(known, scores):.3f} | {low:.3f} to {high:.3f} |")
    return "\n".join(lines)


def cinc_table(model: EcgTextModel, folder: Path | None) -> dict[str, str]:
    """AUROC on recordings of five other sources, and the mean over findings; empty without the folder."""
    if folder is None:
        return {"cinc": "| not measured | | | |", "cinc_records": "no", "cinc_macro": "not measured"}
    windows, labels = measure.load_cinc(folder)
    scores = measure.scores_of(model, windows, list(labels))
    lines, found = [], []
    for column, (prompt, known) in enumerate(labels.items()):
        low, high = bootstrap_interval(known, scores[:, column], np.arange(len(known)))
        found.append(auroc(known, scores[:, column]))
        few = " (few)" if known.sum() < ENOUGH else ""
        lines.append(f"| {prompt} | {int(known.sum())}{few} | {found[-1]:.3f} | {low:.3f} to {high:.3f} |")
    return {"cinc": "\n".join(lines), "cinc_records": str(len(windows)), "cinc_macro": f"{np.mean(found):.3f}"}


def criteria_table(model: EcgTextModel, data: PtbXl, rows: np.ndarray, observed: Observed) -> dict[str, str]:
    """AUROC of criteria's phrases against what was measured on the records: trained phrases, and phrases never trained on."""
    answers = observed.answers[observed.rows_of(data.ids[rows])].astype(float)
    apart = tomllib.loads(HELD_OUT_CRITERIA.read_text(encoding="utf-8"))
    names = [criterion.name for criterion in all_criteria()]
    asked = [
        one for one in observations() if min((answers[:, one.columns[0]] == side).sum() for side in (0, 1)) >= MANY
    ]
    others = [next((apart[names[i]] for i in one.columns if names[i] in apart), None) for one in asked]
    texts = [text for one in asked for text in (*one.positive, *one.negative)]
    texts += [text for other in others if other for text in (*other["positive"], *other["negative"])]
    column = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    scores = measure.scores_of(model, data.windows[rows], list(column))

    def of(for_: Sequence[str], against: Sequence[str], truth: np.ndarray) -> float:
        """AUROC of the mean score of phrases for a criterion less that of those against it."""
        known = np.isfinite(truth)
        sides = [
            scores[known][:, [column[text] for text in side]].mean(axis=1) if side else 0.0 for side in (for_, against)
        ]
        return auroc(truth[known], sides[0] - sides[1])

    lines, table = [], []
    for one, other in zip(asked, others, strict=True):
        truth = answers[:, one.columns[0]]
        values = [of(one.positive[:1], (), truth), of(one.positive, one.negative, truth)]
        values += [of(other["positive"], other["negative"], truth)] if other else [np.nan]
        table.append(values)
        cells = " | ".join("" if np.isnan(value) else f"{value:.2f}" for value in values)
        lines.append(f"| {one.positive[0]} | {int((truth == 1).sum())} | {cells} |")
    means = np.nanmean(table, axis=0)
    lines.append(f"| mean of {len(table)} | | " + " | ".join(f"**{value:.3f}**" for value in means) + " |")
    return {"criteria": "\n".join(lines), "criteria_count": str(len(table))}


def seeds_table(data: PtbXl, findings: list[Finding]) -> str:
    """Fold 8 by the weights of each seed that were trained on folds 1-7: what the seed was chosen by."""
    rows = data.folds == 8
    windows, labels = data.windows[rows], data.labels[rows]
    common = [i for i in range(FORMER) if (labels[:, i] == 1).sum() >= ENOUGH]
    five = [i for i, finding in enumerate(findings) if finding.name in FIGURES]
    lines = []
    for path in sorted(WEIGHTS.glob("select-*.npz")):
        model = load_model("mini", checkpoint=path, device="cpu")
        scores = measure.scores_of(model, windows, [finding.prompt for finding in findings])
        denied = measure.negation(model, findings[:FORMER], windows, labels)
        accuracy = np.mean([one.accuracy for one in denied if one.positives >= ENOUGH])
        seed = path.stem.removeprefix("select-")
        lines.append(
            f"| {seed} | {measure.macro(labels[:, common], scores[:, common]):.3f} "
            f"| {measure.macro(labels[:, five], scores[:, five]):.3f} | {accuracy:.3f} |"
        )
    return "\n".join(lines)


def tables(
    data: PtbXl, both: PtbXl, observed: Observed, findings: list[Finding], fold: int, ludb: Path, cinc: Path | None
) -> dict[str, str]:
    """The card's figures, as Markdown, by the names of its place holders."""
    model = load_model("mini", device="cpu")
    rows = data.folds == fold
    windows, labels = data.windows[rows], data.labels[rows]
    ours = measure.scores_of(model, windows, [finding.prompt for finding in findings])
    theirs = measure.yardstick_scores(YARDSTICK, windows, FORMER)
    common = [i for i in range(FORMER) if (labels[:, i] == 1).sum() >= ENOUGH]
    five = [i for i, finding in enumerate(findings) if finding.name in FIGURES]
    paired = measure.against_yardstick(labels[:, common], ours[:, common], theirs[:, common], data.patients[rows])
    far, limit = measure.far_shares(model, data.windows[data.folds <= 7], windows)
    whole, facts = whole_table(model, both, data, fold, findings)
    signal_tower: nn.Module = model.network.get_submodule("signal")
    return {
        "seeds": seeds_table(data, findings),
        "fold": str(fold),
        "whole": whole,
        **facts,
        "records": str(int(rows.sum())),
        "findings": by_finding(data, rows, findings, ours, theirs),
        "five": f"{measure.macro(labels[:, five], ours[:, five]):.3f}",
        "common": f"{paired.ours:.3f}",
        "common_yardstick": f"{paired.theirs:.3f}",
        "gap": f"{paired.ours - paired.theirs:+.3f} [{paired.low:+.3f}, {paired.high:+.3f}]",
        "common_count": str(len(common)),
        "lead_names": " | ".join(CANONICAL_LEADS),
        "lead_rule": " | ".join(["---:"] * len(CANONICAL_LEADS)),
        "leads": lead_table(model, data, rows, findings, common),
        "far": " | ".join(f"{share:.2f}" for share in far),
        "far_limit": f"{limit:.3f}",
        "ludb": ludb_table(model, ludb, findings),
        **cinc_table(model, cinc),
        **words_tables(model, both, both.folds == fold, findings),
        **criteria_table(model, both, both.folds == fold, observed),
        "parameters": f"{sum(p.numel() for p in model.network.parameters()):,}",
        "signal_parameters": f"{sum(p.numel() for p in signal_tower.parameters()):,}",
        "sha256": model.checkpoint_sha256,
        "cell_width": f"{(cell_width(model) or 0) / FS * 1000:.0f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--ludb", type=Path, required=True)
    parser.add_argument("--cinc", type=Path, help="recordings of PhysioNet/CinC 2021")
    parser.add_argument("--fold", type=int, default=9)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/mini.md")
    args = parser.parse_args()
    torch.set_num_threads(2)
    findings = load_findings()
    first, both = (load_ptbxl(folders, FS, SAMPLES, findings, ROOT / ".cache") for folders in (args.data[0], args.data))
    observed = load_observed(args.data, ROOT / ".cache")
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in tables(first, both, observed, findings, args.fold, args.ludb, args.cinc).items():
        text = text.replace("{{" + name + "}}", value)
    args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
