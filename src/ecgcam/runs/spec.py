"""What makes two results the same: `RunSpec`. Resume, journal, folders, cohorts and reports use nothing else. No torch."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ecgcam._version import __version__
from ecgcam.attribution.methods import method_named
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.spec import ModelSpec
from ecgcam.results.explanation import slug_of
from ecgcam.runs.reading import Reading

FORMAT = "ecgcam-spec/1"
# Longer names of what differs become a hash.
_LONGEST_NAME = 60
# What names a difference in a folder's name: the group and the key of the JSON form.
_PREFIXES = {
    "model.weights": "weights",
    "model.text": "text-side",
    "attribution.mask": "mask",
    "attribution.seed": "seed",
    "attribution.gradient": "gradient",
    "attribution.against": "against",
    "attribution.smooth_ms": "smooth",
    "windows.start": "start",
    "windows.seconds": "seconds",
    "windows.hop": "hop",
    "windows.fs": "fs",
    "windows.unit": "unit",
    "windows.lead_names": "lead-names",
    "prompt.like": "like",
}


@dataclass(frozen=True)
class ModelRef:
    """Which model answers.

    Attributes
    ----------
    name : str
        Of the model file or the user's code.
    weights : str
        SHA-256 of the checkpoint.
    precision : str
        ``fp32`` or ``bf16``.
    text : str, optional
        What embeds prompts, by content: a table, a text tower. None: the weights hold it.
    targets : bool
        Prompts are outputs of the network.
    calibration : str, optional
        SHA-256 of the calibration in use.
    """

    name: str
    weights: str
    precision: str = "fp32"
    text: str | None = None
    targets: bool = False
    calibration: str | None = None


@dataclass(frozen=True)
class RunSpec:
    """One question: a model, a prompt, an attribution, windows.

    Attributes
    ----------
    model : ModelRef
        Who answers.
    prompt : str
        The text, target or name of another recording.
    like : str, optional
        SHA-256 of the other recording, where the prompt is one.
    attribution : dict
        Every setting that changes a map, with the model's defaults filled in.
    windows : dict
        Which windows of the recording, and how the file is read.
    """

    model: ModelRef
    prompt: str
    like: str | None
    attribution: dict[str, Any]
    windows: dict[str, Any]

    @classmethod
    def of(
        cls,
        model: ModelRef,
        prompt: str,
        settings: Settings,
        reading: Reading,
        source: ModelSpec,
        like: str | None = None,
    ) -> RunSpec:
        """Fill in the defaults of the method and of the model file."""
        method = method_named(settings.method)
        looks_at_a_layer = method.family != "signal" or "activations" in method.needs
        layers = [path for path, _ in source.layers_named(settings.layer)]
        attribution = {
            "method": settings.method,
            "options": method.complete(settings.options),
            "layer": ",".join(layers) if looks_at_a_layer or settings.layer is not None else None,
            "mask": settings.mask or source.input.fill,
            "gradient": settings.gradient,
            "signed_gradient": settings.signed_gradient,
            "smoother": settings.smoother,
            "smooth_ms": float(settings.smooth_ms),
            "against": list(settings.against),
            "seed": settings.seed,
        }
        return cls(model, prompt, like, attribution, reading.identity(source.input))

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, which `from_json` reads."""
        form = {
            "format": FORMAT,
            "ecgcam": __version__,
            "model": asdict(self.model),
            "prompt": {"text": self.prompt, "like": self.like},
            "attribution": self.attribution,
            "windows": self.windows,
        }
        plain: dict[str, Any] = json.loads(json.dumps(form))
        return plain

    def fingerprint(self, recording: str = "") -> str:
        """Return what names the result of this question on a recording, given by the SHA-256 of its content."""
        content = json.dumps(self.to_json() | {"recording": recording}, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()

    def difference(self, other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Return what differs from the JSON form of another spec: by name, its value here and there."""
        return difference(self.to_json(), other)

    def is_same_question(self, other: Mapping[str, Any]) -> bool:
        """Return whether another spec, as JSON, is the same, perhaps in another version of ecgcam."""
        return not self.difference(other)

    def name_of_difference(self, other: Mapping[str, Any]) -> str:
        """Return what differs as part of a folder's name: ``dot-grad-cam``, ``start-60``, ``all``."""
        return name_of_difference(self.difference(other)) or self.fingerprint()[:8]


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what differs between two specs as JSON: by name such as ``attribution.method``, the values of both."""
    flat = [_flat(spec) for spec in (one, other)]
    keys = dict.fromkeys([*flat[0], *flat[1]])
    return {key: (flat[0].get(key), flat[1].get(key)) for key in keys if flat[0].get(key) != flat[1].get(key)}


def identity(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a result that must agree before results of several recordings are averaged, from its meta.

    That is its spec without the prompt. Results of earlier versions have no spec: what their meta states of the settings.
    """
    spec = meta.get("spec")
    if isinstance(spec, Mapping):
        settings = {key: value for key, value in _flat(spec).items() if not key.startswith("prompt.")}
        return settings | {"ecgcam": spec.get("ecgcam")}
    known = (
        "method", "options", "layer", "mask", "against", "gradient", "seed", "smoothing", "model", "checkpoint_sha256",
        "precision", "text_model", "embeddings_sha256", "targets",
    )  # fmt: skip
    return {key: meta.get(key) for key in known}


def _flat(spec: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for group in ("model", "prompt", "attribution", "windows"):
        values = spec.get(group)
        if isinstance(values, Mapping):
            flat |= {f"{group}.{key}": value for key, value in values.items()}
    return flat


def name_of_difference(found: Mapping[str, tuple[Any, Any]]) -> str:
    """Return a difference as part of a folder's name; a hash where that would be long, empty where nothing has a name."""
    other_method = "attribution.method" in found
    parts = []
    for key, (here, there) in found.items():
        # Another method has other options, and may look at no layer.
        if other_method and (key == "attribution.options" or (key == "attribution.layer" and None in (here, there))):
            continue
        if key == "windows.hop" and "windows.which" in found:
            continue
        if key == "attribution.options":
            parts += [f"{name}-{value}" for name, value in here.items() if there is None or there.get(name) != value]
        elif key == "attribution.gradient" and here is None:
            parts.append("no-gradient")
        elif key == "windows.which":
            parts.append({"one": "one-window"}.get(here, str(here)))
        elif key in {"model.weights", "model.text", "model.calibration", "prompt.like"} and here:
            parts.append(f"{_PREFIXES.get(key, key.partition('.')[2])}-{str(here).rpartition(':')[2][:8]}")
        elif isinstance(here, bool):
            parts.append(key.partition(".")[2] if here else f"no-{key.partition('.')[2]}")
        else:
            value = (
                ",".join(map(str, here)) if isinstance(here, list) else f"{here:g}" if isinstance(here, float) else here
            )
            prefix = _PREFIXES.get(key, "" if isinstance(value, str) else key.partition(".")[2])
            parts.append(f"{prefix}-{'default' if value in (None, '') else value}")
    name = "+".join(slug_of(part) for part in parts)
    if len(name) <= _LONGEST_NAME and re.fullmatch(r"[\w+.-]*", name):
        return name
    return hashlib.sha256(name.encode()).hexdigest()[:8]
