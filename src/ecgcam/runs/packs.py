"""``--pack N``: N results in one tar file instead of a folder each, for file systems that dislike a million files. No torch.

A pack is a plain, uncompressed tar file (POSIX.1-2001) whose members are named like the files of a call without ``--pack``:
``tar -xf pack-00000.tar -C OUT`` gives the folders. A result's members follow one another, ``summary.json`` last, and are
appended by one write, so that a crash can only cut the end off. Nothing but such an unfinished end is ever removed.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ecgcam.errors import EcgcamError
from ecgcam.files import lock, open_file, pack_members, parse_json, write_whole, writing
from ecgcam.results.explanation import SUMMARY
from ecgcam.results.timeline import TIMELINE
from ecgcam.runs.places import Stored, stored_from

_WINDOW = re.compile(r"/w\d{5,}\.\d{3}$")


class Packs:
    """Appends results to the packs of one call, in order.

    Parameters
    ----------
    out : Path
        The folder of the packs.
    size : int
        Results per pack.
    shard : (int, int), optional
        Part I of N: such calls write at the same time, so the part is in the packs' names.
    """

    def __init__(self, out: Path, size: int, shard: tuple[int, int] | None = None) -> None:
        self._out, self._size = out, size
        self._stem = "pack" if shard is None else f"pack-{shard[0]}-of-{shard[1]}"
        self._number = self._count = 0
        self._held: tuple[Path, int] | None = None
        self._release: Callable[[], object] = _nothing

    def open_for_append(self) -> None:
        """Continue after the last complete result of the last pack; an incomplete one after it is removed.

        Raises
        ------
        EcgcamError
            If another call is writing to the last pack, or this one cannot.
        """
        numbers = [
            int(path.stem[len(self._stem) + 1 :])
            for path in self._out.glob(f"{self._stem}-*.tar")
            if path.stem[len(self._stem) + 1 :].isdigit()
        ]
        if not numbers:
            return
        self._number = max(numbers)
        pack = self._out / f"{self._stem}-{self._number:05d}.tar"
        with writing(pack):
            handle = self._hold(pack)
            end = 0
            for name, (offset, size) in pack_members(pack).items():
                file = name.rpartition("/")[2]
                if file in {SUMMARY, TIMELINE}:
                    self._count += file == SUMMARY
                    end = offset + -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
            if os.fstat(handle).st_size != end:  # longer, or without the zeros that fill the last block
                os.ftruncate(handle, end)

    def next_place(self) -> Path:
        """Return the pack that the next result goes to."""
        full = self._count >= self._size
        return self._out / f"{self._stem}-{self._number + full:05d}.tar"

    def add(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Append a result, the files of a folder, `summary.json` among them.

        Raises
        ------
        EcgcamError
            If the pack cannot be written.
        """
        path = self.next_place()
        if self._count >= self._size:
            self._number, self._count = self._number + 1, 0
        self._append(path, folder, files)
        self._count += 1

    def add_to_last(self, folder: str, files: Mapping[str, bytes]) -> Path:
        """Append files that are not results of their own to the pack of the last result; return that pack."""
        path = self._out / f"{self._stem}-{self._number:05d}.tar"
        self._append(path, folder, files)
        return path

    def close(self) -> None:
        """Let other calls write to these packs."""
        self._release()
        self._held = None

    def _hold(self, path: Path) -> int:
        """Open a pack as the only process that writes to it, for as long as this one does."""
        if self._held is not None and self._held[0] == path:
            return self._held[1]
        self.close()
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        self._release = weakref.finalize(self, os.close, handle)
        if not lock(handle, wait=False):
            self.close()
            raise EcgcamError(f"{path}: another call is writing to it; wait for its end, or choose another `out`")
        self._held = path, handle
        return handle

    def _append(self, path: Path, folder: str, files: Mapping[str, bytes]) -> None:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name in sorted(files, key=lambda name: (name in {SUMMARY, TIMELINE}, name)):
                member = tarfile.TarInfo(f"{folder}/{name}")
                member.size, member.mode = len(files[name]), 0o644
                tar.addfile(member, io.BytesIO(files[name]))
            end = tar.offset  # without the blocks of zeros that end an archive: more will follow
        with writing(path):
            if self._held is not None and not path.exists():
                self.close()  # removed, perhaps with its folder: begun again
            try:
                write_whole(self._hold(path), buffer.getvalue()[:end])
            except BaseException:
                if self._held is not None and os.fstat(self._held[1]).st_size == 0:
                    path.unlink(missing_ok=True)
                    self.close()
                raise


def index_packs(out: Path) -> dict[str, Stored]:
    """Return what the packs in a folder hold: by the folder of each result, ``record/prompt``, its question and its place.

    A question of several windows is one entry, the first window's, with the folders of all packs that hold a part of it.

    Raises
    ------
    EcgcamError
        If a pack is not a tar file, or cannot be read.
    """
    index: dict[str, Stored] = {}
    specs: dict[str, Any] = {}  # one object for each question, however many results it has
    first: dict[str, str] = {}  # the window whose summary states the question
    for pack in sorted(out.glob("pack-*.tar")):
        for name in pack_members(pack):
            folder, _, file = name.rpartition("/")
            question = _WINDOW.sub("", folder)
            where = pack.relative_to(out) / question
            several = question != folder or file == TIMELINE
            if several and question in index and (file != SUMMARY or folder != first.get(question)):
                found = index[question]
                if where not in found.folders:
                    index[question] = replace(found, further=(*found.further, where))
                continue
            if file != SUMMARY:
                continue
            with open_file(pack / name) as content:
                try:
                    summary = parse_json(content.read())
                except ValueError:
                    continue
            if not isinstance(summary, dict):
                continue
            key = json.dumps(summary.get("spec"), sort_keys=True)
            summary["spec"] = specs.setdefault(key, summary.get("spec"))
            kept = {key: summary.get(key) for key in ("spec", "fingerprint", "recording_sha256")}
            first[question] = folder
            index[question] = stored_from(kept, where, several=question != folder)
    return index


def _nothing() -> None:
    pass
