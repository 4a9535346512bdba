"""The least top of the colour scale of each method: python -m benchmarks.picture_scale --data FOLDER [--records N] [METHOD...].

FOLDER holds PTB-XL (``ptbxl_database.csv``, ``records500``). For each of N recordings of fold 9 and each of the prompts below the
top of the page's own scale is taken (`ecgcam.render.colour.colours`), where the ECG raises the score; their 75th percentile is
written to ``configs/picture-scale.toml``, from where pictures read it: a page of weak evidence is pale, and pages compare.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tomllib
import warnings
from pathlib import Path

import numpy as np

from ecgcam.resources import configs

PROMPTS = (
    "normal ECG", "atrial fibrillation", "left bundle branch block", "right bundle branch block", "paced rhythm",
    "premature ventricular complexes", "left ventricular hypertrophy", "anterior myocardial infarction",
    "first-degree atrioventricular block", "inferior myocardial infarction",
)  # fmt: skip
PERCENTILE = 75.0


def recordings(data: Path, count: int) -> list[Path]:
    """Return `count` recordings of fold 9 that are on disk, spread evenly over them."""
    with (data / "ptbxl_database.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["strat_fold"] == "9"]
    found = [path for row in rows if (path := data / row["filename_hr"]).with_suffix(".hea").is_file()]
    return [found[number] for number in np.linspace(0, len(found) - 1, min(count, len(found))).astype(int)]


def tops(method: str, paths: list[Path], model: object) -> dict[str, list[float]]:
    """Return the tops of the pages' own scales, of each scale in use."""
    import ecgcam
    from ecgcam.render import colour

    colour._shipped.cache_clear()
    found: dict[str, list[float]] = {}
    for path in paths:
        for explanation in ecgcam.explain(path, list(PROMPTS), model, method=method, gradient=None, check=False):
            if explanation.score <= explanation.empty_score:
                continue
            bare = {key: value for key, value in explanation.meta.items() if key != "model"}
            object.__setattr__(explanation, "meta", bare)
            palette = colour.colours(explanation)
            if palette.vmax > 0:
                found.setdefault(palette.scale, []).append(palette.vmax)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=["grad-cam"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--records", type=int, default=60)
    parser.add_argument("--model", default="mini")
    options = parser.parse_args()
    import ecgcam

    warnings.simplefilter("ignore")
    path = configs() / "picture-scale.toml"
    known = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    model = ecgcam.load_model(options.model)
    paths = recordings(options.data, options.records)
    for method in options.methods:
        try:
            found = tops(method, paths, model)
        except ecgcam.EcgcamError as error:  # such as a method for attention, of a network without
            print(f"{method}: {error}", file=sys.stderr)
            continue
        for scale, values in found.items():
            top = float(f"{np.percentile(values, PERCENTILE):.2g}")
            known.setdefault(options.model, {}).setdefault(method, {})[scale] = top
            spread = np.percentile(values, [5, 25, 50, 75, 95])
            print(method, scale, len(values), " ".join(f"{value:.3g}" for value in spread), file=sys.stderr)
    lines = [
        f"# Least tops of colour scales, by model and method: {PERCENTILE:g}th percentiles. By benchmarks/picture_scale.py"
    ]
    for name, by_method in sorted(known.items()):
        for method, scales in sorted(by_method.items()):
            lines += ["", f'[{name}."{method}"]', *(f"{scale} = {top:g}" for scale, top in sorted(scales.items()))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
