"""Findings by their criteria against findings by their name: python -m benchmarks.observations PTBXL [--model NAME].

PTBXL is the unpacked folder of PTB-XL's records. AUROC on fold 9 of the score of each finding's prompt, and of its criteria's
phrases for less those against (`ecgcam score --criteria`), with the difference and its 95 % interval (bootstrap over recordings).
"""

from __future__ import annotations

import argparse
import ast
import csv
from pathlib import Path

import numpy as np
from training.data import load_findings
from training.metrics import auroc

from ecgcam import score
from ecgcam.evidence.observations import observation_score, observations_of, words_of
from ecgcam.models.load import load_model

LEAST = 5  # recordings with the finding


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--fold", default="9")
    args = parser.parse_args()
    with (args.data / "ptbxl_database.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["strat_fold"] == args.fold]
    findings = load_findings()
    labels = np.array([[finding.label(ast.literal_eval(row["scp_codes"])) for finding in findings] for row in rows])
    observed = observations_of([finding.prompt for finding in findings])
    words = words_of([one for criteria in observed.values() for one in criteria])
    model = load_model(args.model)
    paths = [args.data / row["filename_hr"] for row in rows]
    scored = score(paths, list(dict.fromkeys([*observed, *words])), model)
    print("| finding | n | by name | by criteria | difference | 95 % interval |\n|---|---:|---:|---:|---:|---:|")
    rng, pairs = np.random.default_rng(0), []
    for column, finding in enumerate(findings):
        known = np.isfinite(labels[:, column])
        truth = labels[known, column] == 1
        if finding.prompt not in observed or truth.sum() < LEAST:
            continue
        both = np.array([
            (one[finding.prompt], observation_score(observed[finding.prompt], one))
            for one, kept in zip(scored, known, strict=True) if kept
        ])  # fmt: skip
        values = [auroc(truth, both[:, side]) for side in (0, 1)]
        differences = []
        while len(differences) < 1000:
            drawn = rng.integers(0, len(truth), len(truth))
            if 0 < truth[drawn].sum() < len(truth):
                differences.append(auroc(truth[drawn], both[drawn, 1]) - auroc(truth[drawn], both[drawn, 0]))
        low, high = np.percentile(differences, [2.5, 97.5])
        pairs.append(values)
        print(
            f"| {finding.prompt} | {truth.sum()} | {values[0]:.3f} | {values[1]:.3f} | {values[1] - values[0]:+.3f} | "
            f"{low:+.3f} to {high:+.3f} |"
        )
    mean = np.mean(pairs, axis=0)
    print(f"| mean of {len(pairs)} | | {mean[0]:.3f} | {mean[1]:.3f} | {mean[1] - mean[0]:+.3f} | |")


if __name__ == "__main__":
    main()
