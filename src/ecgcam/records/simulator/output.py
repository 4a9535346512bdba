"""A simulation as WFDB records, annotations and truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecgcam.files import atomic, check_writable, save_arrays, writing
from ecgcam.records.record import CANONICAL_LEADS, FloatArray
from ecgcam.records.simulator.recording import Simulation

# Beat symbols and their codes in an annotation file (WFDB annot(5)).
_CODES = {"N": 1, "L": 2, "R": 3, "V": 5, "/": 12}
_SKIP = 59


def write(simulation: Simulation, folder: Path) -> dict[str, str | None]:
    """Write a simulation as WFDB records and its truth; return the paths under "record", "twin" and "truth".

    ``FINDING-SEED.{hea,dat,atr}``, ``FINDING-SEED-twin.{hea,dat}`` (not for ``"normal"``, where "twin" is None) and
    ``FINDING-SEED-truth.npz`` with ``mask`` (12, N) bool, ``leads`` (12,), ``fs``, and the named intervals as
    ``interval_names`` (K,) and ``interval_times`` (K, 2), s. The same simulation gives the same bytes.

    Raises
    ------
    EcgcamError
        If `folder` cannot be written to.
    """
    folder = Path(folder)
    check_writable(folder)
    name = f"{simulation.finding}-{simulation.seed}"
    about = f"ecgcam simulate {simulation.finding} --seed {simulation.seed}"
    if simulation.wall is not None:
        about += f" --set wall={simulation.wall}"
    truth = folder / f"{name}-truth.npz"
    with writing(truth), atomic(truth) as path:
        save_arrays(
            path,
            {
                "mask": simulation.mask,
                "leads": np.array(simulation.leads),
                "fs": np.float64(simulation.fs),
                "interval_names": np.array([row[0] for row in simulation.intervals], dtype=np.str_),
                "interval_times": np.array([row[1:] for row in simulation.intervals], dtype=np.float64).reshape(-1, 2),
            },
        )
    twin = None
    if simulation.twin is not None:
        twin = _write_record(folder, f"{name}-twin", simulation.twin, simulation.fs, f"{about}: without the finding")
    beats = folder / f"{name}.atr"
    with writing(beats), atomic(beats) as path:
        path.write_bytes(_annotation_bytes(simulation.beats, simulation.symbols))
    # The record comes last: who finds it finds the rest.
    record = _write_record(folder, name, simulation.signal, simulation.fs, about)
    return {"record": str(record), "twin": None if twin is None else str(twin), "truth": str(truth)}


def _write_record(folder: Path, name: str, signal: FloatArray, fs: float, comment: str) -> Path:
    """Write mV (12, N) as WFDB format 16, 1000 units per mV; return the path of the data file."""
    whole = np.asarray(np.rint(1000 * signal.astype(np.float64)), dtype="<i2")
    data = folder / f"{name}.dat"
    lines = [f"{name} {len(whole)} {fs:.12g} {whole.shape[1]}"]
    for lead, row in zip(CANONICAL_LEADS, whole, strict=True):
        # The sum of all samples as a signed number of 16 bits.
        checksum = (int(row.sum(dtype=np.int64)) + 0x8000) % 0x10000 - 0x8000
        lines.append(f"{data.name} 16 1000.0(0)/mV 16 0 {row[0]} {checksum} 0 {lead}")
    lines.append(f"# {comment}")
    header = folder / f"{name}.hea"
    with writing(data), atomic(data) as path:
        path.write_bytes(whole.T.tobytes())
    with writing(header), atomic(header) as path:
        path.write_bytes(("\n".join(lines) + "\n").encode("ascii"))
    return data


def _annotation_bytes(beats: npt.NDArray[np.int64], symbols: tuple[str, ...]) -> bytes:
    """Beats as an annotation file in MIT format (WFDB annot(5)): a 16-bit word each, code above, samples since the last below."""
    words: list[int] = []
    last = 0
    for sample, symbol in zip(beats.tolist(), symbols, strict=True):
        step = sample - last
        if step > 1023:
            # Ten bits are not enough: a SKIP carries the step as two words, the high one first.
            words += [_SKIP << 10, step >> 16, step & 0xFFFF]
            step = 0
        words.append(_CODES[symbol] << 10 | step)
        last = sample
    return np.array([*words, 0], dtype="<u2").tobytes()
