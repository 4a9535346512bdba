"""Criteria against truth: python -m benchmarks.criteria PTBXL RECORDS.csv [--questions erb_ptbxl.jsonl] [--fold 9].

PTBXL holds PTB-XL's 500 Hz records as WFDB, RECORDS.csv their `ecg_id`, `scp_codes` and `strat_fold`. With --questions, the
questions of ECG-Reasoning-Benchmark (arXiv:2603.14326): whether a criterion is present, by rules on an automatic delineation.
"""

from __future__ import annotations

import argparse
import ast
import csv
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from ecgcam.records.measurements import Measurements, measure

# The beginning of a question, and the criteria of which one set must hold altogether; a comparison of a measurement otherwise.
QUESTIONS: dict[str, tuple[tuple[str, ...], ...]] = {
    "Absence of significant": (("pvc/wide",),),  # its `finding` states that the QRS is prolonged
    "Cornell Product": (("lvh/cornell-product",),),
    "R wave amplitude in lead aVL": (("lvh/r-avl",),),
    "Sum of S amplitude": (("lvh/sokolow",),),
    "Presence of an LV strain": (("lvh/strain",),),
    "Presence of ST-segment depression in anterior": (("anterior-ischaemia/st-depression",),),
    "Presence of ST-segment depression in inferior": (("inferior-ischaemia/st-depression",),),
    "Presence of ST-segment depression in lateral": (("lateral-ischaemia/st-depression",),),
    "Presence of inverted T waves in anterior": (("anterior-ischaemia/t-inversion",),),
    "Presence of inverted T waves in inferior": (("inferior-ischaemia/t-inversion",),),
    "Presence of inverted T waves in lateral": (("lateral-ischaemia/t-inversion",),),
    "Presence of ST-segment elevation in anterior": (("anteroseptal-mi/st-elevation",),),
    "Presence of ST-segment elevation in inferior": (("inferior-mi/st-elevation",),),
    "Presence of ST-segment elevation in lateral": (("lateral-mi/st-elevation",),),
    "Presence of pathological Q waves in anterior": (("anteroseptal-mi/q-waves",),),
    "Presence of pathological Q waves in inferior": (("inferior-mi/q-waves",),),
    "Presence of pathological Q waves in lateral": (("lateral-mi/q-waves",),),
    "Presence of a dominant S wave": (("lbbb/dominant-s-v1-v2",),),
    "Presence of a positive monophasic": (("lbbb/lateral-r",),),
    "Presence of a notched R": (("lbbb/notched-r",),),
    "Presence of a broad monophasic R wave with": (("lbbb/r-peak-time",),),
    "Presence of an RSR'": (("rbbb/rsr-v1-v2",),),
    "Presence of a broad monophasic R wave or": (("rbbb/dominant-r-v1",),),
    "Presence of a slurred S": (("rbbb/late-s",),),
    "Presence of a qR pattern in leads I and": (("lafb/qr-i-avl",),),
    "Presence of an rS pattern in leads II": (("lafb/rs-inferior",),),
    "Presence of an rS pattern in leads I and": (("lpfb/rs-i-avl",),),
    "Presence of a qR pattern in leads II": (("lpfb/qr-inferior",),),
    "Prolongation of the PR": (("av-block-1/pr",),),
    "Prolongation of the QRS": (("ivcd/qrs-duration",),),
    "Evidence of consistent": (("av-block-1/conducted",),),
    "Presence of premature": (("pvc/premature",),),
    "Presence of significant QRS prol": (("pvc/wide",),),
    "Presence of right axis": (("rvh/axis",),),
    "Presence of left axis": (("lafb/axis",),),
    "Presence of bradycardia": (("bradycardia/rate",),),
    "Presence of a dominant R wave in V1": (("rvh/dominant-r-v1",),),
    "Presence of atrial fib": (("af/no-p", "af/irregular"),),
    "Presence of left bundle": (("lbbb/qrs-duration", "lbbb/dominant-s-v1-v2"),),
    "Presence of right bundle": tuple(
        (f"{kind}/qrs-duration", shape)
        for kind in ("rbbb", "irbbb")
        for shape in ("rbbb/rsr-v1-v2", "rbbb/dominant-r-v1")
    ),
}
MEASURED = {
    "QRS axis > +60": ("axis_deg", 60.0, 1),
    "Regularity": ("rr_cv", 0.1, -1),
    "Occurrence of": ("longest_rr", 1.4, 1),
}
# PTB-XL's code, and the criteria that must all hold.
STATEMENTS = {
    "CLBBB": ("lbbb/qrs-duration", "lbbb/dominant-s-v1-v2"),
    "CRBBB": ("rbbb/qrs-duration", "rbbb/late-s"),
    "1AVB": ("av-block-1/pr",),
    "AFIB": ("af/no-p", "af/irregular"),
    "LAFB": ("lafb/axis",),
    "PVC": ("pvc/wide",),
    "PACE": ("paced/spikes",),
    "STACH": ("tachycardia/rate",),
    "SBRAD": ("bradycardia/rate",),
}


def holds(measured: Measurements, sets: tuple[tuple[str, ...], ...]) -> bool:
    """Whether all criteria of one of the sets hold; unknown ones do not."""
    return any(all(measured.criteria[name].holds is True for name in names) for names in sets)


def answer(measured: Measurements, question: str) -> bool | None:
    """Whether the subject of a question is present; None if nothing here answers it."""
    for start, sets in QUESTIONS.items():
        if question.startswith(start):
            return holds(measured, sets)
    for start, (name, limit, sign) in MEASURED.items():
        if question.startswith(start):
            value = measured.values[name]
            return value is not None and sign * (value - limit) > 0
    return None


def row(name: str, pairs: list[tuple[bool, bool]]) -> tuple[str, float, bool]:
    """A line of the table, the balanced accuracy, and whether there are five of each."""
    present = [got for truth, got in pairs if truth]
    absent = [not got for truth, got in pairs if not truth]
    found, spared = (float(np.mean(part)) if part else float("nan") for part in (present, absent))
    line = f"{name[:60]:60} {len(present):4} {len(absent):4} {found:6.2f} {spared:6.2f} {(found + spared) / 2:6.3f}"
    return line, (found + spared) / 2, min(len(present), len(absent)) >= 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ptbxl", type=Path)
    parser.add_argument("records", type=Path)
    parser.add_argument("--questions", type=Path)
    parser.add_argument("--fold", default="9")
    options = parser.parse_args()
    stems = {int(path.stem.partition("_")[0]): path for path in options.ptbxl.rglob("*.hea")}
    kept: dict[int, Measurements] = {}

    def of(number: int) -> Measurements:
        if number not in kept:
            kept[number] = measure(stems[number])
        return kept[number]

    print(f"{'':60} have  not  found spared balanced")
    if options.questions:
        asked = defaultdict(list)
        for line in options.questions.read_text().splitlines():
            case = json.loads(line)
            for step in case["steps"]:
                got = answer(of(case["ecg_id"]), step["criterion"]) if case["ecg_id"] in stems else None
                if got is not None:
                    asked[step["criterion"]].append((step["finding"], got))
        rows = [row(name, pairs) for name, pairs in sorted(asked.items())]
        print("\n".join(("* " if many else "  ") + line for line, _, many in rows))
        five = [accuracy for _, accuracy, many in rows if many]
        print(f"mean of the {len(five)} with five of each: {np.mean(five):.3f}")
    labelled = defaultdict(list)
    with options.records.open() as file:
        for record in csv.DictReader(file):
            if record["strat_fold"] == options.fold and int(record["ecg_id"]) in stems:
                codes = ast.literal_eval(record["scp_codes"])
                for code, names in STATEMENTS.items():
                    labelled[code].append((code in codes, holds(of(int(record["ecg_id"])), (names,))))
    print("\n".join("  " + row(code, pairs)[0] for code, pairs in labelled.items()))


if __name__ == "__main__":
    main()
