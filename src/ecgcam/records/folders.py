"""Recordings in a folder, found by their content. Skipped files are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ecgcam.errors import EcgcamError
from ecgcam.records.dicom import is_other_dicom
from ecgcam.records.readers import WFDB, is_reported, sniff
from ecgcam.records.wfdb_header import segments_of

# Suffixes of files that accompany recordings and are recognised by nothing; they are not opened.
_NEVER = {
    ".md", ".pdf", ".png", ".jpg", ".jpeg", ".svg", ".html", ".json", ".jsonl", ".toml", ".yaml", ".yml", ".py",
    ".zip", ".gz", ".tar", ".atr", ".xws", ".pt", ".pth", ".safetensors",
}  # fmt: skip


@dataclass
class Found:
    """The recordings of a folder.

    Attributes
    ----------
    recordings : list of (path, str)
        Each recording's file and the name of its reader, in the order of the paths. Damaged files with a recording's suffix
        are among them, so that reading them reports the damage. Files with many recordings are one entry.
    skipped : Counter
        How many files were left out, by suffix.
    """

    recordings: list[tuple[Path, str]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def read(self) -> Counter[str]:
        """Return how many recordings there are, by reader."""
        return Counter(kind for _, kind in self.recordings)

    def summary(self) -> str:
        """Return one line: how many files are read and how many are skipped, by kind."""
        read = ", ".join(f"{count} {kind}" for kind, count in sorted(self.read().items())) or "none"
        skipped = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in sorted(self.skipped.items()))
        return f"files read: {read}" + (f"; skipped: {skipped}" if skipped else "")


def find_in_folder(folder: Path, exclude: Callable[[Path], bool] = lambda _: False) -> Found:
    """Return the recordings under a folder, without hidden files and those for which `exclude` is true.

    A WFDB recording is its header; its data files are not counted, nor the headers of its segments. A `.mat` with a header is
    its header's. DICOM files of other kinds (images, reports, DICOMDIR) are skipped.
    """
    found = Found()
    files = sorted(
        (path for path in _shown(folder) if not exclude(path)),
        key=lambda path: (path.with_suffix("").parts, path.suffix),
    )
    headers = {path.with_suffix("") for path in files if path.suffix.lower() == ".hea"}
    segments = {part for path in files if path.suffix.lower() == ".hea" for part in _segments(path)}
    for path in files:
        suffix = path.suffix.lower()
        if suffix == ".hea" and path.with_suffix("") in segments:
            continue
        if path.with_suffix("") in headers and suffix != ".hea" and suffix in {".dat", ".mat", ".atr", ".xyz", ""}:
            continue
        reader = WFDB if suffix == ".hea" else None if suffix in _NEVER or suffix == ".dat" else sniff(path)
        if reader is not None and reader.name == "DICOM" and is_other_dicom(path):
            found.skipped[suffix] += 1
        elif reader is not None and (reader is not WFDB or suffix == ".hea"):
            found.recordings.append((path, reader.name))
        elif reader is None and suffix != ".dat" and is_reported(path):
            found.recordings.append((path, "damaged"))
        elif suffix != ".dat":
            found.skipped[suffix] += 1
    return found


def _segments(header: Path) -> set[Path]:
    """Return the segments of a WFDB recording, none if it has no others or cannot be read (its reader reports why)."""
    try:
        return {header.parent / name for name in segments_of(header)} - {header.with_suffix("")}
    except (OSError, EcgcamError):
        return set()


def _shown(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if not any(part.startswith(".") for part in path.relative_to(folder).parts) and path.is_file():
            yield path
