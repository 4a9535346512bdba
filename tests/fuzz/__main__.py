"""`python -m tests.fuzz`: a run over all targets, counted and written down; or one case again."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.fuzz.harness import damaged, fuzz
from tests.fuzz.targets import TARGETS, shares

# A run goes round all targets so many times, so that one that is broken off has tried each alike.
ROUNDS = 20
Rows = dict[str, dict[str, Any]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000, help="over all targets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="this one alone; may be repeated")
    parser.add_argument("--case", type=int, help="write this case's files to a folder, and read them here")
    parser.add_argument(
        "--out", type=Path, help="a folder for counts.json; the same call goes on where it was broken off"
    )
    parser.add_argument("--anew", action="append", choices=list(TARGETS), default=[],
                        help="with --out: this target from its first case, after its reader was changed")  # fmt: skip
    options = parser.parse_args()
    if options.case is not None:
        return again((options.target or list(TARGETS))[0], options.seed, options.case)
    share = shares(options.cases, list(TARGETS))
    chosen = {name: share[name] if options.out else each for name, each in
              shares(options.cases, options.target or list(TARGETS)).items()}  # fmt: skip
    rows = _earlier(options.out, options.seed)
    for name in options.anew:
        rows.pop(name, None)
    for part in range(1, ROUNDS + 1):
        for name, each in chosen.items():
            row = rows.setdefault(name, {"next": 0, "refused": 0, "read": 0, "seconds": 0.0, "findings": []})
            _go_on(name, row, each * part // ROUNDS, options.seed)
            _keep(options.out, options.seed, rows)
    return 1 if told(rows, options.seed) else 0


def _go_on(name: str, row: dict[str, Any], until: int, seed: int) -> None:
    """Try a target's cases from where its row stands to `until`, and count them in the row."""
    if row["next"] >= until:
        return
    begin = time.monotonic()
    outcome = fuzz(name, TARGETS[name], range(row["next"], until), seed, most=10**6)
    row["next"] = until
    row["refused"] += outcome.refused
    row["read"] += outcome.read
    row["findings"] += list(map(str, outcome.findings))
    row["seconds"] += time.monotonic() - begin
    for finding in outcome.findings:
        print(f"    {finding}", flush=True)


def told(rows: Rows, seed: int) -> int:
    """Print the table of a run, and return how many findings there were."""
    for name, row in rows.items():
        print(
            f"| {name:24} | {row['next']:7} | {row['read']:7} | {row['refused']:7} | {len(row['findings']):3} | "
            f"{row['seconds']:5.0f} s |"
        )
    found = sum(len(row["findings"]) for row in rows.values())
    print(f"{sum(row['next'] for row in rows.values())} cases, {found} findings, seed {seed}")
    return found


def _earlier(out: Path | None, seed: int) -> Rows:
    if out is None or not (out / "counts.json").is_file():
        return {}
    earlier = json.loads((out / "counts.json").read_text())
    if earlier["seed"] != seed:
        raise SystemExit(f"{out}: is of the seed {earlier['seed']}; choose another --out")
    rows: Rows = earlier["targets"]
    return rows


def _keep(out: Path | None, seed: int, rows: Rows) -> None:
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        new = out / "counts.json.new"
        new.write_text(json.dumps({"seed": seed, "targets": rows}, indent=1) + "\n")
        new.replace(out / "counts.json")


def again(name: str, seed: int, case: int) -> int:
    """Do a case again, in this process, and let it raise."""
    target = TARGETS[name]
    valid, changed = damaged(name, target, target.seeds(), seed, case)
    folder = Path(tempfile.mkdtemp(prefix="ecgcam-fuzz-"))
    for file, content in changed.items():
        (folder / file).write_bytes(content)
    print(
        f"{name} case {case}: {folder} ({', '.join(file for file in changed if changed[file] != valid[file])} damaged)"
    )
    target.read(folder, valid, changed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
