"""Where a finding is known to be: ``NAME-truth.npz``, as `ecgcam simulate` writes it, or a user's own. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.files import load_arrays
from ecgcam.records import Window
from ecgcam.records.record import canonical_name

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Truth:
    """A mask of lead x time on a recording.

    Attributes
    ----------
    mask : bool, (L, N)
        Where the finding is.
    leads : tuple of str
        Row names.
    fs : float
        Samples per second, from the start of the recording.
    """

    mask: BoolArray
    leads: tuple[str, ...]
    fs: float

    def on(self, window: Window) -> BoolArray:
        """Return the mask on a window's leads and samples; false where the truth has no such lead or moment."""
        at = np.rint(window.time * self.fs).astype(np.int64)
        inside = at < self.mask.shape[1]
        rows = np.zeros((len(window.leads), len(at)), bool)
        for row, lead in zip(rows, window.leads, strict=True):
            if lead in self.leads:
                row[inside] = self.mask[self.leads.index(lead), at[inside]]
        return rows & window.valid


def find_truth(recording: Path, folder: Path | None = None) -> Truth | None:
    """Return the truth of a recording: ``STEM-truth.npz`` in `folder`, or beside it; None if there is none."""
    stem = recording.with_suffix("") if recording.suffix else recording
    path = (folder or stem.parent) / f"{stem.name}-truth.npz"
    return read_truth(path) if path.is_file() else None


def read_truth(path: Path) -> Truth:
    """Read a truth: ``mask`` (L, N) of true and false, ``leads`` (L,), ``fs``.

    Raises
    ------
    EcgcamError
        If the file is damaged, lacks an array, or its arrays do not fit together.
    """
    arrays = load_arrays(path, "a truth of lead x time")
    missing = ["mask", "leads", "fs"] if not isinstance(arrays, dict) else {"mask", "leads", "fs"} - arrays.keys()
    if missing or not isinstance(arrays, dict):
        raise EcgcamError(
            f"{path}: not a truth (no {', '.join(sorted(missing))}); it holds mask (L, N), leads (L,) and fs"
        )
    mask, names, fs = arrays["mask"], [str(name) for name in np.atleast_1d(arrays["leads"])], arrays["fs"]
    # A number that is not a number would count as true.
    if mask.dtype != np.bool_ or mask.ndim != 2:
        raise EcgcamError(
            f"{path}: its mask is {mask.dtype} {mask.shape}; a truth is an array (L, N) of true and false"
        )
    if len(names) != len(mask):
        raise EcgcamError(f"{path}: {len(names)} leads for {len(mask)} rows of the mask; name each row")
    if fs.size != 1 or not float(fs) > 0:
        raise EcgcamError(f"{path}: its fs is no sampling rate; give samples per second")
    return Truth(mask, tuple(canonical_name(name) or name for name in names), float(fs))
