"""Where the time of one of many recordings goes: python -m benchmarks.stages [--count N]. CPU, one thread, mini, no pictures."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

import ecgcam
from ecgcam.protocol.spec import windows_of
from ecgcam.records.readers import partial_length, read_record
from ecgcam.records.simulator import simulate, write
from ecgcam.runs.writer import Outputs, write_result

T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20)
    count = parser.parse_args().count
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    model = ecgcam.load_model("mini", device="cpu")
    model.network.requires_grad_(False)
    took: dict[str, float] = defaultdict(float)

    def clock(stage: str, do: Callable[[], T]) -> T:
        began = time.process_time()
        result = do()
        took[stage] += time.process_time() - began
        return result

    with tempfile.TemporaryDirectory() as name:
        signals = torch.zeros(14, 12, model.input.samples)
        for number in range(count + 1):
            if number == 1:  # the first is for what is done once
                took.clear()
            path = Path(str(write(simulate("af", number), Path(name))["record"]))
            clock("its length, from the header", lambda path=path: partial_length(path))
            record = clock("reading it (WFDB)", lambda path=path: read_record(path))
            clock("its window, resampled", lambda record=record: list(windows_of(record, model.input)))
            with torch.no_grad():
                clock("a forward pass of 14 signals", lambda: model.encode_signal(signals))
            clock(
                "maps, with that pass and the window",
                lambda r=record: ecgcam.explain(r, ["af"], model, gradient=None, check=False),
            )
            made = clock(
                "maps and gradient, with the same", lambda r=record: ecgcam.explain(r, ["af"], model, check=False)
            )
            clock(
                "writing npz and json",
                lambda n=number, e=made[0]: write_result(e, Path(name) / f"{n}", Outputs(png=False)),
            )
    print("| what | ms of processor |\n|---|---:|")
    for stage, seconds in took.items():
        print(f"| {stage} | {1000 * seconds / count:.1f} |")


if __name__ == "__main__":
    main()
