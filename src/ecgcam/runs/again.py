"""A call made again from a result's ``summary.json``. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecgcam.errors import EcgcamError
from ecgcam.pipeline.settings import Settings
from ecgcam.results.collection import read_summary
from ecgcam.runs.reading import Reading
from ecgcam.runs.spec import FORMAT, ModelRef


@dataclass(frozen=True)
class Again:
    """What a summary states of its call.

    Attributes
    ----------
    prompt : str
        The prompt.
    settings, reading : Settings, Reading
        The attribution, and the windows.
    model : dict
        Name, weights' hash, precision, whether prompts are targets.
    recording : str
        The file as it was named, without the folders of an absolute path.
    recording_sha256 : str
        Of its content.
    """

    prompt: str
    settings: Settings
    reading: Reading
    model: Mapping[str, Any]
    recording: str
    recording_sha256: str


def read_again(path: Path) -> Again:
    """Read the call of a ``summary.json``.

    Raises
    ------
    EcgcamError
        If it is not a summary, states no call, or one that needs another recording.
    """
    summary = read_summary(path)
    spec = summary.get("spec")
    if not isinstance(spec, dict) or spec.get("format") != FORMAT:
        raise EcgcamError(
            f"{path}: does not state its call (no spec of the format {FORMAT!r}); explain the recording again"
        )
    try:
        attribution, windows = dict(spec["attribution"]), dict(spec["windows"])
        which = windows.pop("which")
        if spec["prompt"]["like"] is not None:
            raise EcgcamError(
                f"{path}: its prompt is another recording, which it does not name; explain the recording with `like`"
            )
        hop = windows.pop("hop")
        names = windows.pop("lead_names")
        return Again(
            prompt=str(spec["prompt"]["text"]),
            settings=Settings(**{**attribution, "against": tuple(attribution["against"])}),
            reading=Reading(
                lead_names=None if names is None else tuple(names),
                all_windows=which == "all",
                hop=hop if which == "all" else None,
                follow=which == "newest",
                **windows,
            ),
            model=dict(spec["model"]),
            recording=str(summary.get("recording_file") or summary["record"]),
            recording_sha256=str(summary["recording_sha256"]),
        )
    except (KeyError, TypeError) as error:
        raise EcgcamError(f"{path}: its spec is damaged ({error}); explain the recording again") from error


def check_again(again: Again, recording_sha256: str, model: ModelRef, path: Path) -> None:
    """Raise `EcgcamError` unless recording, weights and calibration are those of the result."""
    if recording_sha256 != again.recording_sha256:
        raise EcgcamError(
            f"{path}: belongs to another recording than {again.recording} now contains; name the right file as RECORD"
        )
    if model.weights != again.model["weights"]:
        raise EcgcamError(f"{path}: was made with other weights of {again.model['name']}; give them with `checkpoint`")
    earlier = again.model.get("calibration")
    if model.calibration != earlier:
        was = "no calibration" if earlier is None else f"the calibration {earlier[:8]}"
        now = "there is none" if model.calibration is None else f"there is {model.calibration[:8]}"
        raise EcgcamError(
            f"{path}: was made with {was} of {again.model['name']}, and now {now}; restore the earlier state, or explain the "
            "recording without `again`"
        )
