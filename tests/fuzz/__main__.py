"""`python -m tests.fuzz`: a run over all targets, counted and written down; or one case again."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from tests.fuzz.harness import damaged, fuzz
from tests.fuzz.targets import TARGETS, shares


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000, help="over all targets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="this one alone; may be repeated")
    parser.add_argument("--case", type=int, help="write this case's files to a folder, and read them here")
    parser.add_argument("--out", type=Path, help="a JSON file for the counts")
    options = parser.parse_args()
    chosen = options.target or list(TARGETS)
    if options.case is not None:
        return again(chosen[0], options.seed, options.case)
    rows, begin = {}, time.monotonic()
    for name, each in shares(options.cases, chosen).items():
        started = time.monotonic()
        outcome = fuzz(name, TARGETS[name], range(each), options.seed)
        rows[name] = {"cases": outcome.cases, "refused": outcome.refused, "read": outcome.read,
                      "findings": [str(finding) for finding in outcome.findings]}  # fmt: skip
        print(
            f"{name:24} {outcome.cases:7} cases  {outcome.refused:7} refused  {outcome.read:7} read  "
            f"{len(outcome.findings):3} findings  {time.monotonic() - started:5.0f} s",
            flush=True,
        )
        for finding in outcome.findings:
            print(f"    {finding}", flush=True)
    total = sum(row["cases"] for row in rows.values())
    found = sum(len(row["findings"]) for row in rows.values())
    print(f"{total} cases, {found} findings, seed {options.seed}, {time.monotonic() - begin:.0f} s")
    if options.out:
        options.out.write_text(json.dumps({"seed": options.seed, "cases": total, "targets": rows}, indent=1) + "\n")
    return 1 if found else 0


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
