"""What two published networks use for left bundle branch block and AV block.

    PYTHONPATH=FOLDER/OF/aime2024 python -m benchmarks.networks PTBXL RECORDS.csv

`aime2024.py` holds the networks (Gumpfer et al. 2024) and their filters, PTBXL the 500 Hz records as WFDB, RECORDS.csv their
`ecg_id`, `scp_codes` and `strat_fold`. Each positive of fold 9 is explained for the network's own output.
"""

from __future__ import annotations

import argparse
import ast
import csv
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

from ecgcam.evidence.reasons import Reasons, weigh_reasons
from ecgcam.evidence.scores import score_functions
from ecgcam.models.own import own_model
from ecgcam.pipeline.engine import explain_windows
from ecgcam.pipeline.preparation import prepare
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import windows_of
from ecgcam.records import Record, Window, read_record
from ecgcam.records.criteria import criteria_of
from ecgcam.records.measurements import measure
from ecgcam.records.waves import find_waves

NETWORKS = {"lbbb": ("lbbb", "CLBBB"), "avb": ("av-block-1", "1AVB")}  # the criteria, and PTB-XL's code
METHODS = ("saliency", "grad-cam")  # what `ecgcam models calibrate` chooses for both, and the default


def judged(model: EcgTextModel, target: str, finding: str, method: str, window: Window, record: Record) -> Reasons:
    """Return the evidence of a network's output on the criteria of a finding, by one method."""
    settings = Settings(method=method, gradient=None)
    ((_, found),) = explain_windows([(None, window)], [target], model, settings)
    score = score_functions(prepare(window, model.input, settings), [target], model)[target]
    with torch.no_grad():
        no, yes = model.network(torch.from_numpy(window.signal[None].astype(np.float32)))[0].tolist()
    return weigh_reasons(
        found, find_waves(found.signal, found.fs, found.valid), criteria_of(finding), measure(record).criteria, score,
        empty_score=found.empty_score, given=yes > no,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ptbxl", type=Path)
    parser.add_argument("records", type=Path)
    options = parser.parse_args()
    networks = import_module("aime2024")
    stems = {int(path.stem.partition("_")[0]): path for path in options.ptbxl.rglob("*.hea")}
    with options.records.open() as file:
        fold = [(int(row["ecg_id"]), row["scp_codes"]) for row in csv.DictReader(file) if row["strat_fold"] == "9"]
    for name, (finding, code) in NETWORKS.items():
        model = own_model(getattr(networks, name)(), name, layer="stages.4", targets=True)
        numbers = [number for number, codes in fold if code in ast.literal_eval(codes) and number in stems]
        for method in METHODS:
            together, by_name, rights = [], dict[str, list[tuple[float, float]]](), list[bool | None]()
            for number in numbers:
                record = read_record(stems[number])
                signal = networks.filtered(record.signal.astype(float)).astype(np.float32)
                seen = Record.from_array(signal, record.fs, record.leads, name=str(number))
                reasons = judged(
                    model, name.upper(), finding, method, next(iter(windows_of(seen, model.input))), record
                )
                rights.append(reasons.right)
                print(f"{method} {name} {number}: right {reasons.right}; {reasons.sentence}", flush=True)
                if reasons.together is not None:
                    together.append(reasons.together)
                for row in reasons.rows:
                    if row.result.holds and row.density is not None and row.slope_density is not None:
                        by_name.setdefault(row.result.name, []).append((row.density, row.slope_density))
            known = [right for right in rights if right is not None]
            print(f"{method} {name}: right for the right reasons in {sum(known)} of {len(known)}; medians:", end="")
            for key in ("share", "density", "drop", "drop_chance", "drop_sd", "worth"):
                print(f" {key} {np.median([one[key] for one in together if key in one]):.3f}", end="")
            print()
            for criterion, pairs in by_name.items():
                dense, slope = np.median(pairs, axis=0)
                print(f"  {criterion} ({len(pairs)}): {dense:.2f} times chance, the slope {slope:.2f}")


if __name__ == "__main__":
    main()
