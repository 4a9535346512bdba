"""The tables of docs/performance.md and docs/scale.md, written again from what `make bench` measured.

python -m benchmarks.tables [benchmarks/results/bench.json]
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SETS = {"PTB-XL": 21_799, "MIMIC-IV-ECG": 800_035}
WHAT = {
    "a": "Twelve leads, one prompt, in one process",
    "b": "More prompts",
    "c": "One recording from the shell, with all pictures",
    "d": "Many recordings",
    "e": "Memory",
    "f": "The command line alone",
    "g": "Drawing: twelve strips and a page",
    "p": "`--precision bf16`",
}


def performance(measured: dict[str, Any]) -> str:
    """Return the figures as tables, one for each part, with what is wanted of them."""
    lines = [_machine(measured["machine"])]
    for part, title in WHAT.items():
        rows = [row for row in measured["figures"] if row["figure"] == part]
        if not rows:
            continue
        lines += ["", f"**({part}) {title}**", "", "| | median | quartiles | wanted | |", "|---|---|---|---|---|"]
        for row in rows:
            met = {True: "met", False: "**missed**", None: ""}[row["met"]]
            spread = "" if row["low"] == row["high"] else f"{row['low']:.2f} to {row['high']:.2f}"
            lines.append(f"| {row['what']} | {row['value']:.{_digits(row)}f} | {spread} | {row['goal']} | {met} |")
    return "\n".join(lines)


def scale(measured: dict[str, Any]) -> str:
    """Return how many core hours the well-known sets take at the rates of part (d)."""
    cores, count = measured["machine"]["cores"], measured["machine"]["recordings"]
    sets = " | ".join(f"{name} ({size:,})" for name, size in SETS.items())
    lines = [_machine(measured["machine"]), "", f"| | s per recording | {sets} |", "|---|---|" + "---|" * len(SETS)]
    for row in measured["figures"]:
        if row["figure"] != "d":
            continue
        model = row["what"].partition(":")[0]
        kinds = {
            "no-png": "arrays (`--no-png`)",
            "maps": "maps alone (`--no-png --no-gradient`)",
            "pictures": "with pictures",
        }
        for key, said in kinds.items():
            if key in row["details"]:
                seconds = row["details"][key] / count
                hours = [f"{size * seconds * cores / 3600:,.0f} core h" for size in SETS.values()]
                lines.append(f"| {model}, {said} | {seconds:.2f} | " + " | ".join(hours) + " |")
    return "\n".join(lines)


def _machine(machine: dict[str, Any]) -> str:
    return (
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, torch {machine['torch']}; "
        f"{machine['rounds']} rounds, {machine['recordings']} recordings; load when it ended {machine['load'][0]:.1f}."
    )


def _digits(row: dict[str, Any]) -> int:
    return 0 if row["value"] >= 100 else 2


def put(page: Path, name: str, table: str) -> None:
    """Replace what lies between a page's marks of this name."""
    begin, end = f"<!-- {name}: python -m benchmarks.tables -->", f"<!-- end of {name} -->"
    text = page.read_text(encoding="utf-8")
    changed, count = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n{table}\n{end}", text, flags=re.DOTALL
    )
    if count != 1:
        raise SystemExit(f"{page}: has not one place marked {begin}")
    page.write_text(changed, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=ROOT / "benchmarks/results/bench.json")
    measured = json.loads(parser.parse_args().results.read_text(encoding="utf-8"))
    put(ROOT / "docs/performance.md", "figures", performance(measured))
    put(ROOT / "docs/scale.md", "hours", scale(measured))


if __name__ == "__main__":
    main()
