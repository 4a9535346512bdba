"""What a call has to do: which recordings, what of them is done, and whether anything is in the way. No torch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ecgcam.batch import manifest
from ecgcam.batch.packs import Packs
from ecgcam.batch.resume import undone
from ecgcam.batch.worklist import (
    NOTHING,
    Item,
    destinations,
    each_recording,
    find_recordings,
    of_shard,
    refuse_existing,
    refuse_obstructed,
)
from ecgcam.errors import EcgcamError

Refuse = Callable[[EcgcamError], None]


@dataclass(frozen=True)
class Work:
    """Recordings to explain.

    Attributes
    ----------
    items : iterable of Item
        As they come; a list unless it streams from standard input.
    done : dict
        Where the results of earlier calls are, by recording and prompt; empty without ``--resume``.
    skipped : int
        Recordings of a list of which nothing is left to do.
    """

    items: Iterable[Item]
    done: dict[tuple[str, str], str] = field(default_factory=dict)
    skipped: int = 0

    @property
    def total(self) -> int | None:
        """How many recordings there are, where that is known."""
        return len(self.items) if isinstance(self.items, list) else None

    @property
    def only(self) -> Item | None:
        """The recording, if it is a single one."""
        return self.items[0] if isinstance(self.items, list) and len(self.items) == 1 else None


def plan(
    inputs: Sequence[str],
    stdin: Iterable[str] | None,
    texts: Sequence[str],
    out: Path,
    *,
    refuse: Refuse,
    shard: tuple[int, int] | None = None,
    resume: bool = False,
    force: bool = False,
    packs: Packs | None = None,
) -> Work:
    """Return what is to be done.

    Inputs that are known are checked as a whole before anything is done. A list on standard input is taken as it comes, and
    `refuse` takes what of it cannot be explained; with `force` it is read to its end first.

    Raises
    ------
    EcgcamError
        If an input is wrong, two share a folder, or a result is there already.
    """
    if resume and force:
        raise EcgcamError("--resume and --force: one goes on where the other begins again; choose one")
    done = manifest.finished(out) if resume else {}
    if packs is not None and not resume and packs.existing():
        raise EcgcamError(f"{packs.existing()[0]}: holds results already; go on with --resume, or choose another --out")
    if "-" in inputs and not force:
        named = each_recording(inputs, stdin, refuse)
        first = next(named, None)
        if first is None:
            raise EcgcamError(NOTHING)
        part = of_shard(itertools.chain([first], named), shard or (1, 1))
        fresh = part if resume or packs is not None else _not_there_yet(part, texts, out, refuse)
        return Work(undone(fresh, texts, done, out) if resume else fresh, done)
    found = list(of_shard(find_recordings(inputs, stdin), shard or (1, 1)))
    if packs is None:
        folders = destinations(found, texts, out).values()
        refuse_obstructed(folders)
        if not force and not resume:
            refuse_existing(folders)
    items = list(undone(found, texts, done, out)) if resume else found
    return Work(items, done, len(found) - len(items))


def _not_there_yet(items: Iterable[Item], texts: Sequence[str], out: Path, refuse: Refuse) -> Iterator[Item]:
    for item in items:
        folders = destinations([item], texts, out).values()
        try:
            refuse_obstructed(folders)
            refuse_existing(folders)
        except EcgcamError as error:
            refuse(error)
        else:
            yield item
