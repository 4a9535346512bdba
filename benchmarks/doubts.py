"""How often recordings are doubted as they are, with their arm electrodes swapped, and with hum added.

    python benchmarks/doubts.py FOLDER

Prints one JSON object; docs/formats.md quotes it for PTB-XL.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from ecgcam.records import read_record
from ecgcam.records.quality import check_arm_reversal, check_mains_noise

MAINS, AMPLITUDE_MV = (50, 60), 0.05


def main(folder: Path) -> None:
    paths = sorted(folder.rglob("*.hea"))
    notes: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    for path in paths:
        record = read_record(path)
        notes.update(note.split(":")[0] for note in record.notes)
        rows = {
            lead: row.astype(np.float64)
            for lead, row in zip(record.leads, record.signal, strict=True)
            if np.isfinite(row).any() and np.nanmax(row) > np.nanmin(row)
        }
        if "I" in rows:
            changed["arms exchanged, noted"] += bool(check_arm_reversal({**rows, "I": -rows["I"]}, record.fs))
        time = np.arange(record.samples) / record.fs
        for hertz in MAINS:
            tone = AMPLITUDE_MV * np.sin(2 * np.pi * hertz * time)
            humming = check_mains_noise({lead: row + tone for lead, row in rows.items()}, record.fs)
            changed[f"sine of {AMPLITUDE_MV} mV at {hertz} Hz, noted"] += bool(humming)
    print(json.dumps({"recordings": len(paths), "notes": dict(notes), "changed": dict(changed)}, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
