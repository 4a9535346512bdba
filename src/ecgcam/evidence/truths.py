"""The known place of a finding: ``NAME-truth.npz`` (`ecgcam simulate`, or a user's own), or WFDB annotations. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.files import load_arrays, one_line
from ecgcam.records import CANONICAL_LEADS, Window
from ecgcam.records.record import canonical_name

BoolArray = npt.NDArray[np.bool_]
_RATES = (0.1, 1e6)  # samples per second that a mask may have

_LONGEST = 86_400  # s, if a header does not state the length of its recording
# s around the mark of a beat that has no onset and offset: about what a wide QRS takes.
BEAT = (-0.06, 0.10)
LEADS = "leads"


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
    known : bool, (L, N), optional
        Where it is known whether the finding is there; None: everywhere.
    """

    mask: BoolArray
    leads: tuple[str, ...]
    fs: float
    known: BoolArray | None = None

    def on(self, window: Window) -> BoolArray:
        """Return the mask on a window's leads and samples; false where the truth has no such lead or moment."""
        return self._on_window(self.mask, window)

    def known_samples(self, window: Window) -> BoolArray:
        """Return the samples of a window where the truth is known, on its leads and samples."""
        return window.valid if self.known is None else self._on_window(self.known, window)

    def _on_window(self, mask: BoolArray, window: Window) -> BoolArray:
        at = np.rint(window.time * self.fs).astype(np.int64)
        inside = at < mask.shape[1]
        rows = np.zeros((len(window.leads), len(at)), bool)
        for row, lead in zip(rows, window.leads, strict=True):
            if lead in self.leads:
                row[inside] = mask[self.leads.index(lead), at[inside]]
        return rows & window.valid


def find_truth(recording: Path, folder: Path | None = None) -> Truth | None:
    """Return the truth of a recording: ``STEM-truth.npz`` in `folder`, or next to it; None if there is none."""
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
            f"{path}: not a truth (no {', '.join(sorted(missing))}); a truth holds mask (L, N), leads (L,) and fs"
        )
    mask, names, fs = arrays["mask"], [str(name) for name in np.atleast_1d(arrays["leads"])], arrays["fs"]
    # NaN would count as true.
    if mask.dtype != np.bool_ or mask.ndim != 2:
        raise EcgcamError(
            f"{path}: its mask is {mask.dtype} {mask.shape}; a truth is an array (L, N) of true and false"
        )
    if len(names) != len(mask):
        raise EcgcamError(f"{path}: {len(names)} leads for {len(mask)} rows of the mask; name each row")
    if fs.size != 1 or fs.dtype.kind not in "iuf" or not _RATES[0] <= fs.item() <= _RATES[1]:
        raise EcgcamError(f"{path}: its fs is not a sampling rate; give samples per second")
    return Truth(mask, tuple(canonical_name(name) or name for name in names), float(fs.item()))


@dataclass(frozen=True)
class Annotations:
    """Which marks of which annotation files are the truth.

    Attributes
    ----------
    extension : str
        Of the files next to a recording, such as ``atr``; ``leads``: a file for each lead, named after it, as in LUDB.
    symbols : tuple of str
        Of the marks (WFDB annot(5)): ``V`` a premature ventricular beat, ``p``, ``N`` and ``t`` LUDB's P, QRS and T.
    """

    extension: str
    symbols: tuple[str, ...]

    @classmethod
    def parse(cls, flag: str) -> Annotations:
        """Return what ``EXTENSION:SYMBOLS`` selects, the symbols separated by commas."""
        extension, _, symbols = flag.partition(":")
        if not extension or not all(symbols.split(",")):
            raise EcgcamError(
                f"`annotations` {flag}: write EXTENSION:SYMBOLS, for example atr:V, or leads:N for LUDB's QRS"
            )
        return cls(extension, tuple(symbols.split(",")))

    def read(self, recording: Path) -> Truth:
        """Read the truth of a WFDB recording.

        A mark between ``(`` and ``)`` is a wave from the one to the other, any other is `BEAT` around it. A file for all leads
        holds for every lead. In a file of one lead, the time before its first mark and after its last is not known.

        Raises
        ------
        EcgcamError
            If a file is missing or damaged, or none has such a mark.
        """
        stem = recording.with_suffix("") if recording.suffix else recording
        names = CANONICAL_LEADS if self.extension == LEADS else (self.extension,)
        files = [stem.parent / f"{stem.name}.{name.lower() if self.extension == LEADS else name}" for name in names]
        read = [_marks(file, self.symbols) for file in files]
        fs = read[0][1]
        length = max(span[1] for _, _, span in read)
        mask, known = np.zeros((len(read), length), bool), np.zeros((len(read), length), bool)
        for row, certain, (stretches, _, span) in zip(mask, known, read, strict=True):
            certain[span[0] : span[1]] = True
            for begin, end in stretches:
                row[begin:end] = True
        if not mask.any():
            raise EcgcamError(f"{files[0]}: has no mark {' or '.join(self.symbols)}; choose others with `annotations`")
        if self.extension == LEADS:
            return Truth(mask, CANONICAL_LEADS, fs, known)
        return Truth(np.repeat(mask, len(CANONICAL_LEADS), axis=0), CANONICAL_LEADS, fs)


def _marks(file: Path, symbols: tuple[str, ...]) -> tuple[list[tuple[int, int]], float, tuple[int, int]]:
    """Return where the marks of these symbols are (first sample, end), samples per second, and from where to where marks are."""
    import wfdb

    if not file.is_file():
        raise EcgcamError(f"{file}: no such annotation file; `annotations` needs it next to the recording")
    try:
        marks = wfdb.rdann(str(file.with_suffix("")), file.suffix[1:])
        length = wfdb.rdheader(str(file.with_suffix(""))).sig_len
    except (ValueError, LookupError, TypeError, OSError, ArithmeticError, AttributeError) as error:
        raise EcgcamError(f"{file}: is not a WFDB annotation file ({one_line(error)}); see annot(5) of WFDB") from error
    if marks.fs is None or not len(marks.sample):
        raise EcgcamError(f"{file}: has no mark, or its recording's header does not state a rate; check both")
    if marks.sample.min() < 0 or marks.sample.max() > (length or _LONGEST * marks.fs):
        raise EcgcamError(f"{file}: has a mark outside the recording; copy the file again")
    found, kinds, fs = marks.sample.tolist(), marks.symbol, float(marks.fs)
    stretches = []
    for at, symbol in enumerate(kinds):
        if symbol in symbols:
            begins = at > 0 and kinds[at - 1] == "("
            ends = at + 1 < len(kinds) and kinds[at + 1] == ")"
            begin = found[at - 1] if begins else round(found[at] + BEAT[0] * fs)
            end = found[at + 1] if ends else round(found[at] + BEAT[1] * fs)
            stretches.append((max(begin, 0), end + 1))
    return stretches, fs, (found[0], max([found[-1] + 1, *(end for _, end in stretches)]))
