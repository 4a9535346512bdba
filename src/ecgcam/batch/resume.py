"""``--resume``: what a call that was broken off has left to do. No torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ecgcam.attribution.methods import method_named
from ecgcam.batch import manifest
from ecgcam.batch.worklist import Item, slugs
from ecgcam.errors import EcgcamError
from ecgcam.explanation import SUMMARY
from ecgcam.files import is_file, open_file
from ecgcam.models.spec import ModelSpec
from ecgcam.settings import Settings
from ecgcam.store import clear_unfinished

Done = Mapping[tuple[str, str], str]


def undone(items: Iterable[Item], texts: Sequence[str], done: Done, out: Path) -> Iterator[Item]:
    """Yield recordings of which a prompt is left to do, without what a killed process left in their folders."""
    folders = slugs(texts)
    for item in items:
        left = [text for text in texts if (item.name, text) not in done]
        for text in left:
            clear_unfinished(item.place(out) / folders[text])
        if left:
            yield item


def refuse_other_settings(done: Done, settings: Mapping[str, object]) -> None:
    """Raise `EcgcamError` if what is done was done differently: its last result's summary against `settings`."""
    for out in reversed(list(done.values())):
        path = Path(out) / SUMMARY
        if not is_file(path):
            continue
        with open_file(path) as file:
            refuse_other(path.parent, json.load(file)["settings"], settings)
        return


def refuse_other(folder: Path, earlier: Mapping[str, object], settings: Mapping[str, object]) -> None:
    """Raise `EcgcamError` if the result in `folder` was made with other settings."""
    for name, value in settings.items():
        if name in earlier and earlier[name] != json.loads(json.dumps(value)):
            raise EcgcamError(
                f"{folder}: was made with {name} {json.dumps(earlier[name])}, and this call has {json.dumps(value)}; "
                "--resume goes on with the same settings, --force begins again"
            )


def settings_of(
    settings: Settings, spec: ModelSpec, checkpoint_sha256: str, precision: str = "fp32"
) -> dict[str, object]:
    """Return what a summary says of a call's settings, for `refuse_other_settings`."""
    return {
        "method": settings.method,
        "options": method_named(settings.method).complete(settings.options),
        "mask": settings.mask or spec.input.fill,
        "model": spec.name,
        "checkpoint_sha256": checkpoint_sha256,
        "precision": precision,
        "gradient": settings.gradient,
        "seed": settings.seed,
        "smoothing": {"smoother": settings.smoother, "ms": settings.smooth_ms, "signed": settings.signed_gradient},
    }


def forget(out: Path, items: Iterable[Item], texts: Sequence[str]) -> None:
    """Take what is going to be made again (``--force``) out of the manifest, so that `--resume` would make the rest of it."""
    names, prompts = {item.name for item in items}, set(texts)
    manifest.forget(out, lambda line: line.record in names and line.text in prompts)
