"""Where the result of a question lies below OUT, and whether it is there already. No torch.

``OUT/<record>/<slug>/`` is the first question's. Another question on the same recording lies next to it, in a folder whose name
states the difference; another recording of the same name gets a folder with its full file name. Nothing that is there is
overwritten, except results of the same question by another version of ecgcam.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecgcam.errors import EcgcamError
from ecgcam.files import is_file
from ecgcam.results.collection import read_summary
from ecgcam.results.explanation import FILE, SUMMARY, slug_of
from ecgcam.results.timeline import TIMELINE, Timeline
from ecgcam.runs.spec import RunSpec
from ecgcam.runs.worklist import Item

# Folders are named by what differs, and where such a folder is another question's, by what differs from that; then by a hash.
_MAX_NAMES = 3


@dataclass(frozen=True)
class Stored:
    """What a folder of results holds: one question's answer."""

    fingerprint: str
    spec: Mapping[str, Any]
    recording: str
    path: Path  # of the folder, below OUT or in a pack
    summary: Mapping[str, Any] | None  # None where the answer is of several windows
    further: tuple[Path, ...] = ()  # the same folder in other packs, where windows lie in several

    @property
    def folders(self) -> tuple[Path, ...]:
        """All folders that hold a part of it."""
        return (self.path, *self.further)


@dataclass(frozen=True)
class Place:
    """Where a result belongs, below OUT, and what is there of the same question."""

    folder: Path
    stored: Stored | None = None


class Places:
    """Finds places below one OUT.

    Parameters
    ----------
    out : Path
        The folder of results.
    packed : dict, optional
        What packs hold, by folder (see `ecgcam.runs.packs.index_packs`).
    """

    def __init__(self, out: Path, packed: Mapping[str, Stored] | None = None) -> None:
        self._out, self._packed = out, packed or {}
        self._packed_records: dict[str, list[str]] = {}
        for folder in self._packed:
            self._packed_records.setdefault(folder.rpartition("/")[0], []).append(folder)

    def find(self, item: Item, slug: str, spec: RunSpec, recording: str) -> Place:
        """Return where the answer to a question on a recording belongs, and what is there of it.

        Parameters
        ----------
        item : Item
            The recording.
        slug : str
            The prompt's folder name.
        spec : RunSpec
            The question.
        recording : str
            SHA-256 of the recording's content.

        Raises
        ------
        EcgcamError
            If a file lies where a folder belongs.
        """
        names = (item.name, (Path(item.name).parent / item.path.name).as_posix())
        name = next((name for name in names if self._owner(name) in {None, "", recording}), None)
        name = f"{item.name}-{recording[:8]}" if name is None else name
        fingerprint = spec.fingerprint(recording)
        base = self._read(Path(name) / slug)
        if base is None and not self._packed and not (self._out / name).is_dir():
            return Place(self._free(Path(name) / slug))
        if base is not None and base.spec and base.spec.get("prompt", {}).get("text") != spec.prompt:
            slug = slug_of(spec.prompt, distinct=True)  # two prompts that share a slug
            base = self._read(Path(name) / slug)
        # Next to prompts that share its slug, a prompt has another one than alone.
        slugs = dict.fromkeys((slug, slug_of(spec.prompt), slug_of(spec.prompt, distinct=True)))
        stored = {
            one: [self._read(Path(name) / one), *(self._read(folder) for folder in self._siblings(name, one))]
            for one in slugs
        }
        for one in (one for some in stored.values() for one in some if one is not None):
            if one.fingerprint == fingerprint:
                return Place(self._below(one, name), one)
        known = [one for one in stored[slug] if one is not None]
        for one in known:
            # The same question by another version, which may have written no spec: its result is replaced.
            if not one.spec or (one.recording == recording and spec.is_same_question(one.spec)):
                return Place(self._below(one, name))
        if base is None:
            return Place(self._free(Path(name) / slug))
        other, folder = base, Path(name) / slug
        for _ in range(_MAX_NAMES):
            folder = folder.with_name(f"{folder.name}+{spec.name_of_difference(other.spec)}")
            taken = self._read(folder)
            if taken is None:
                return Place(self._free(folder))
            other = taken
        return Place(self._free(Path(name) / f"{slug}+{fingerprint}"))

    def _below(self, stored: Stored, name: str) -> Path:
        return Path(name) / stored.path.name

    def _free(self, folder: Path) -> Path:
        """Return `folder` if nothing but folders lies on the way to it."""
        for place in (folder, *folder.parents):
            path = self._out / place
            if os.path.lexists(path):
                if not os.path.isdir(path):  # noqa: PTH112  (unlike pathlib's, it never raises)
                    raise EcgcamError(f"{path}: is a file where a folder of results belongs; choose another `out`")
                break
        return folder

    def _owner(self, name: str) -> str | None:
        """Return the recording whose results a folder holds: None if there are none, empty if they do not state it."""
        for folder in self._packed_records.get(name, ()):
            return self._packed[folder].recording
        for folder in _folders(self._out / name):
            stored_here = self._read(Path(name) / folder)
            if stored_here is not None:
                return stored_here.recording
        return None

    def _siblings(self, name: str, slug: str) -> Iterator[Path]:
        for folder in _folders(self._out / name):
            if folder.startswith(f"{slug}+"):
                yield Path(name) / folder
        for packed in self._packed_records.get(name, ()):
            if packed.startswith(f"{name}/{slug}+"):
                yield Path(packed)

    def _read(self, folder: Path) -> Stored | None:
        """Return what a folder of results holds; None if it holds none."""
        if (packed := self._packed.get(folder.as_posix())) is not None:
            return packed
        path = self._out / folder
        summary = path / SUMMARY
        single = summary.is_file()
        if not single:
            windows = (path / name / SUMMARY for name in _folders(path) if name.startswith("w"))
            summary = next((window for window in windows if window.is_file()), summary)
            if not summary.is_file():
                # Arrays without a summary, or damaged by hand, are somebody's all the same.
                return _unknown(folder) if (path / FILE).is_file() else None
        try:
            found = read_summary(summary)
        except EcgcamError:
            return _unknown(folder)
        return stored_from(found, folder, several=not single)


def stored_from(summary: Mapping[str, Any], folder: Path, *, several: bool) -> Stored:
    """Return what a summary states of its question; of earlier versions, which state none, an empty one."""
    spec = summary.get("spec")
    return Stored(
        str(summary.get("fingerprint", "")),
        spec if isinstance(spec, Mapping) else {},
        str(summary.get("recording_sha256", "")),
        folder,
        None if several else summary,
    )


def _unknown(folder: Path) -> Stored:
    """Return a result that does not state its question, such as a damaged one: no question is the same, nothing replaces it."""
    return Stored("", {"damaged": True}, "", folder, None)


def is_complete(out: Path, stored: Stored) -> bool:
    """Return whether the windows of a recording are all there: their timeline is, of the same question, and misses none."""
    for folder in reversed(stored.folders):  # the last pack has the newest timeline
        path = out / folder / TIMELINE
        if is_file(path):
            try:
                meta = Timeline.load(path).meta
            except EcgcamError:
                return False
            # Another version's timeline lies next to new windows where a call that replaces them was interrupted.
            return not meta.get("missing") and meta.get("fingerprint") == stored.fingerprint
    return False


def _folders(path: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted; none if it is not there."""
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []
