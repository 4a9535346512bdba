"""Fails where too few branches ran: `python -m tests.mutation.branches coverage.json 95`."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(report: Path, least: float) -> int:
    """Say the share of branches that ran; 1 if it is less than `least` percent."""
    totals = json.loads(report.read_text())["totals"]
    ran, of = totals["covered_branches"], totals["num_branches"]
    sys.stdout.write(f"{ran} of {of} branches ran: {ran / of:.1%}; {least:g} % are asked for\n")
    return int(100 * ran < least * of)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2])))
