"""How long `ecgcam evaluate` takes for a hundred recordings and five methods.

    python -m benchmarks.hundred --page docs/evaluate.md

Twenty simulated recordings of each of five findings (seeds from 1,000 up), one call per finding, `--jobs 2`. Wall time hangs on
what else the machine does; processor time, of all processes together, less so: on two free cores wall time is half of it.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from training.data import load_findings

from benchmarks.localisation import AIMED
from benchmarks.page import put
from ecgcam.records.simulator import simulate, write

METHODS = "grad-cam,layer-cam,hires-cam,saliency,layer-integrated-gradients"


def measured(finding: str, prompt: str, count: int, methods: str, jobs: int, folder: Path) -> list[str]:
    """Return a row: finding, recordings, wall time and processor time (s) of a call, and its largest process (MB)."""
    for seed in range(1000, 1000 + count):
        write(simulate(finding, seed), folder)
    stems = [str(folder / f"{finding}-{seed}.dat") for seed in range(1000, 1000 + count)]
    call = ["evaluate", *stems, "--text", prompt, "--methods", methods, "--jobs", str(jobs), "--json", "--quiet"]
    command = [sys.executable, "-c", "from ecgcam.cli import main; main()", *call]
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  (this interpreter)
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return [finding, str(count), f"{wall:.0f}", f"{spent:.0f}", f"{after.ru_maxrss / 1024:.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20, help="recordings a finding")
    parser.add_argument("--findings", default=",".join(AIMED))
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--page", type=Path, help="a page whose table is replaced")
    args = parser.parse_args()
    prompts = {finding.name: finding.prompt for finding in load_findings()}
    rows = []
    for finding in args.findings.split(","):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measured(finding, prompts[finding], args.count, args.methods, args.jobs, Path(folder)))
        print(" | ".join(rows[-1]), flush=True)
    total = [str(sum(int(row[column]) for row in rows)) for column in (1, 2, 3)]
    rows.append(["together", *total, str(max(int(row[4]) for row in rows))])
    head = "| finding | recordings | wall s | processor s | largest process MB |\n|---|---:|---:|---:|---:|\n"
    table = head + "\n".join(f"| {' | '.join(row)} |" for row in rows)
    print(table)
    if args.page:
        put(args.page, "hundred", table)


if __name__ == "__main__":
    main()
