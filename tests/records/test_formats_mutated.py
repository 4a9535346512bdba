"""Files with bytes changed, cut out and put in: a record or one line, and no word of the file's own on standard output.

`python -m tests.records.test_formats_mutated 10000` tries as many of each kind, with another seed by a second number.
"""

from __future__ import annotations

import random
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.records.formats_by_hand import Signal, aecg, bent, chunk, edf, sequence, sierra, times

from ecgcam.errors import EcgcamError
from ecgcam.records import read_record
from ecgcam.records.readers import partial_length, read_stretch

PIECES = [b"9", b"-1", b"1e999", b"nan", b"99999999", b"\xff\xff\xff\x7f", b"<a>", b"&x;", b"\0" * 9, b'"']


def wholes(folder: Path, suffix: str) -> list[bytes]:
    """Small files of a kind that are read."""
    path = folder / f"whole{suffix}"
    if suffix == ".edf":
        rows = [Signal("ECG I", "uV", np.arange(400) % 97 * 50), Signal("II", "mV", np.arange(800) % 31)]
        return [edf(path, rows, records=4).read_bytes()]
    if suffix == ".xml":
        walks = np.cumsum(np.random.default_rng(0).integers(-9, 10, (3, 100)), axis=1)
        packed = b"".join(chunk(*bent(row)) for row in walks)
        first = times() + sequence("MDC_ECG_LEAD_I", " ".join(map(str, range(60))))
        second = times(head="20021122091000.006") + sequence("MDC_ECG_LEAD_V1", "5 6 7")
        return [
            aecg(path, first + sequence("MDC_ECG_LEAD_V1", "5 " * 60)).read_bytes(),
            aecg(path, first, second).read_bytes(),
            sierra(path, packed, "I II V1", 100, encoding="utf-8").read_bytes(),
        ]
    pydicom = pytest.importorskip("pydicom")
    held = pydicom.dcmread(pydicom.examples.get_path("waveform"))
    del held.WaveformSequence[1]
    group = held.WaveformSequence[0]
    group.NumberOfWaveformSamples, group.WaveformData = 200, group.WaveformData[:4800]
    held.save_as(path)
    return [path.read_bytes()]


def mutated(whole: bytes, rng: random.Random) -> bytes:
    content = bytearray(whole)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        at = rng.randrange(len(content) if rng.random() < 0.5 else min(len(content), 800))
        kind = rng.randrange(5)
        if kind == 0:
            content[at] = rng.randrange(256)
        elif kind == 1:
            content[at] = rng.choice(b'0123456789-.eE \0\xff<>&"')
        elif kind == 2:
            del content[at : at + rng.choice([1, 2, 8, 100])]
        elif kind == 3:
            content[at:at] = rng.choice(PIECES)
        elif rng.random() < 0.1:
            del content[at:]
        if not content:
            break
    return bytes(content)


def tried(folder: Path, suffix: str, count: int, seed: int) -> tuple[int, int]:
    """Return how many of `count` mutated files were read and refused; all else is raised."""
    rng, pool = random.Random(seed), wholes(folder, suffix)  # noqa: S311  (no secret)
    path, read, refusals = folder / f"rec{suffix}", 0, 0
    for _ in range(count):
        path.write_bytes(mutated(rng.choice(pool), rng))
        try:
            record = read_record(path)
            if partial_length(path):
                read_stretch(path, 0.5, 1.5)
        except EcgcamError as error:
            said = str(error)
            refusals += said.isprintable() and said.startswith(str(path)) and len(said) < 1000
        else:
            read += record.signal.dtype == np.float32 and bool(np.isfinite(record.signal).any())
    return read, refusals


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".edf", ".xml", ".dcm"])
def test_mutated_files_are_read_or_refused(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    read, refusals = tried(tmp_path, suffix, 150, seed=0)
    assert read + refusals == 150
    assert min(read, refusals) > 10
    assert capfd.readouterr() == ("", "")


def main(arguments: Sequence[str]) -> None:
    count, seed = int(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 1
    warnings.simplefilter("error")
    for suffix in (".edf", ".xml", ".dcm"):
        with tempfile.TemporaryDirectory() as folder:
            read, refusals = tried(Path(folder), suffix, count, seed)
        sys.stdout.write(f"{suffix} {count} tried, {read} read, {refusals} refused\n")


if __name__ == "__main__":
    main(sys.argv[1:])
