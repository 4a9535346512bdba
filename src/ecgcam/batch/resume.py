"""``--resume``: what a call that was broken off has left to do. No torch."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ecgcam.attribution.methods import method_named
from ecgcam.batch import manifest
from ecgcam.batch.reading import Reading
from ecgcam.batch.worklist import Item, slugs
from ecgcam.errors import EcgcamError
from ecgcam.explanation import SUMMARY
from ecgcam.files import is_file
from ecgcam.models.spec import InputSpec, ModelSpec
from ecgcam.results import read_summary
from ecgcam.settings import Settings
from ecgcam.store import clear_unfinished
from ecgcam.timeline import TIMELINE, Timeline

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


def clear(items: Iterable[Item], texts: Sequence[str], out: Path) -> None:
    """Take away what a process that was killed left half-made of recordings, and folders in which nothing else is."""
    folders = slugs(texts)
    for item in items:
        for text in texts:
            clear_unfinished(item.place(out) / folders[text])
        with contextlib.suppress(OSError):  # not there, or other results are in it
            item.place(out).rmdir()


def refuse_other_settings(
    done: Done, texts: Sequence[str], settings: Mapping[str, object], reading: Reading, spec: InputSpec
) -> None:
    """Raise `EcgcamError` if what is done was done differently: for each prompt, its last result that is there."""
    left = set(texts)
    for (_, text), out in reversed(list(done.items())):
        if text not in left:
            continue
        earlier = _made_with(Path(out))
        if earlier is not None:
            left.remove(text)
            refuse_other(Path(out), earlier, dict(settings) | _wanted(reading, spec))


def _made_with(folder: Path) -> dict[str, object] | None:
    """Return what a result says that it was made with, in a folder or in a pack; None if it is gone."""
    if is_file(folder / TIMELINE):
        timeline = Timeline.load(folder / TIMELINE)
        starts = [float(start) for start in timeline.window_start]
        # The last window ends with the recording, so that its step is another.
        steps = [after - before for before, after in itertools.pairwise(starts[:-1])]
        of_all = {"start": round(starts[0], 3)} | ({"hop": round(min(steps), 2)} if steps else {})
        return timeline.meta | {"all": True} | ({} if timeline.meta.get("missing") else of_all)
    if is_file(folder / SUMMARY):
        try:
            settings = read_summary(folder / SUMMARY)["settings"]
            return {**settings, "all": False, "start": round(float(settings["window"]["start"]), 3)}
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise EcgcamError(f"{folder / SUMMARY}: not a summary of ecgcam; --force begins again") from error
    return None


def _wanted(reading: Reading, spec: InputSpec) -> dict[str, object]:
    """Return what of a recording this call would look at, likewise."""
    wanted: dict[str, object] = {"all": reading.several}
    if not reading.follow:
        wanted["start"] = round(round(reading.start * spec.fs) / spec.fs, 3)
        wanted["hop"] = round(reading.hop or spec.seconds, 2)
    return wanted


def refuse_other(folder: Path, earlier: Mapping[str, object], settings: Mapping[str, object]) -> None:
    """Raise `EcgcamError` if the result in `folder` was made with other settings."""
    for name, value in settings.items():
        if name in earlier and earlier[name] != json.loads(json.dumps(value)):
            if name == "layer" and earlier[name] is None:
                continue  # the method looks at none
            raise EcgcamError(
                f"{folder}: was made with {name} {json.dumps(earlier[name])}, and this call has {json.dumps(value)}; "
                "--resume goes on with the same settings, --force begins again"
            )


def settings_of(
    settings: Settings, spec: ModelSpec, checkpoint_sha256: str | None = None, precision: str = "fp32"
) -> dict[str, object]:
    """Return what a summary says of a call's settings, for `refuse_other_settings`; without the checkpoint if it is not known.

    A contrasting method's own foils are chosen by the model for each prompt, and are left out.
    """
    method = method_named(settings.method)
    asked: dict[str, object] = {
        "model": spec.name,
        "method": settings.method,
        "options": method.complete(settings.options),
        "layer": ",".join(path for path, _ in spec.layers_named(settings.layer)),
        "mask": settings.mask or spec.input.fill,
        "precision": precision,
        "gradient": settings.gradient,
        "seed": settings.seed,
        "smoothing": {"smoother": settings.smoother, "ms": settings.smooth_ms, "signed": settings.signed_gradient},
    }
    if checkpoint_sha256 is not None:
        asked["checkpoint_sha256"] = checkpoint_sha256
    if settings.against or not method.contrast:
        asked["against"] = list(settings.against) or None
    return asked


def forget(out: Path, items: Iterable[Item], texts: Sequence[str]) -> None:
    """Take what is going to be made again (``--force``) out of the manifest, so that `--resume` would make the rest of it."""
    names, prompts = {item.name for item in items}, set(texts)
    manifest.forget(out, lambda line: line.record in names and line.text in prompts)
