"""What was found out of one model's weights: which method, layer and mask explain it, and scores to compare with. No torch.

`ecgcam models calibrate` writes it as ``calibration.toml``; `explain`, `evaluate` and `score` use it. It belongs to weights, by
their hash: another network never uses it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ecgcam._version import __version__
from ecgcam.attribution.masking import FILLS
from ecgcam.attribution.methods import METHODS
from ecgcam.errors import EcgcamError
from ecgcam.files import atomic, one_line, writing
from ecgcam.pipeline.settings import Settings
from ecgcam.resources import cache_folder

FORMAT = "ecgcam-calibration/1"
# What a calibration chooses; an explicit flag wins.
CHOSEN = ("method", "layer", "mask")
_TEXTS = ("model", "weights", "why", "source")
_LONGEST = 16 << 20
log = logging.getLogger("ecgcam")


@dataclass(frozen=True)
class Calibration:
    """The choice for one model, and why.

    Attributes
    ----------
    model, weights : str
        Its name, and the SHA-256 of its weights.
    method, layer, mask : str, str or None, str
        The choice; `layer` is None for methods without a layer.
    why : str
        The reason in words.
    table : tuple of dict
        A row for each candidate, best first: method, layer, mask, the mean `score` with its parts, `n`, and `cost`, its time
        divided by that of one forward pass.
    references : dict
        By prompt: scores of the reference recordings, for the percentile of the verdict.
    source : str
        Which recordings these are.
    """

    model: str
    weights: str
    method: str
    layer: str | None
    mask: str
    why: str
    table: tuple[Mapping[str, Any], ...] = ()
    references: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    source: str = ""

    @cached_property
    def sha256(self) -> str:
        """Its identity in a result: the hash of the choice and the references, because nothing else changes results."""
        content = [self.weights, self.method, self.layer, self.mask, {k: list(v) for k, v in self.references.items()}]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def choice(self) -> str:
        """The choice in words."""
        return f"{self.method}{f' at {self.layer}' if self.layer else ''}, mask {self.mask}"

    def percentile(self, prompt: str, score: float) -> float | None:
        """Return the percentile (0 to 100) of a score among the reference recordings; None without references for the prompt."""
        known = np.asarray(self.references.get(prompt, ()))
        return float(100 * ((known < score).mean() + 0.5 * (known == score).mean())) if len(known) else None

    def settings(self, given: Settings, explicit: Collection[str]) -> Settings:
        """Return settings in which the choice fills what the caller left open.

        If the caller names a method, layer and mask come from the caller and the model file: the choice was not measured with it.
        """
        if "method" in explicit:
            return given
        chosen = {name: getattr(self, name) for name in CHOSEN if name not in explicit}
        return replace(given, **chosen)

    def write(self, path: Path) -> None:
        """Write it as TOML, whole or not at all."""
        with writing(path), atomic(path) as temporary:
            temporary.write_text(self.to_toml(), encoding="utf-8")

    def to_toml(self) -> str:
        """Return it as TOML, which `read_calibration` reads."""
        lines = [
            "# Which explanation of this model to trust, by `ecgcam models calibrate`. docs/calibrate.md explains each line.",
            f"format = {_toml(FORMAT)}",
            f"ecgcam = {_toml(__version__)}",
            f"model = {_toml(self.model)}",
            f"weights = {_toml(self.weights)}",
            "",
            "[choice]",
            f"method = {_toml(self.method)}",
            *([] if self.layer is None else [f"layer = {_toml(self.layer)}"]),
            f"mask = {_toml(self.mask)}",
            f"why = {_toml(self.why)}",
            "",
            "# Best first: 1 is the best map of each case, 0 a random map. Cost: time over that of one forward pass.",
            "[measured]",
            "table = [",
            *(f"  {_toml({k: v for k, v in row.items() if v is not None})}," for row in self.table),
            "]",
            "",
            "# Scores of the reference recordings by prompt, for the percentile of the verdict.",
            "[references]",
            f"source = {_toml(self.source)}",
            "",
            "[references.scores]",
            *(f"{_toml(prompt)} = {_toml(list(scores))}" for prompt, scores in self.references.items()),
        ]
        return "\n".join(lines) + "\n"


def read_calibration(path: Path) -> Calibration:
    """Read a calibration.

    Raises
    ------
    EcgcamError
        If the file cannot be read, is not a calibration, or names a method or mask that does not exist.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
        if len(content) > _LONGEST:
            raise EcgcamError(f"{path}: is longer than any calibration; calibrate the model again")
        found = tomllib.loads(content.decode("utf-8"))
    except OSError as error:
        raise EcgcamError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8
        raise EcgcamError(f"{path}: is not a calibration ({one_line(error)}); calibrate the model again") from error
    try:
        if found["format"] != FORMAT:
            raise EcgcamError(f"{path}: has the format {found['format']!r}, not {FORMAT!r}; calibrate the model again")
        choice, references = found["choice"], found["references"]
        calibration = Calibration(
            found["model"], found["weights"], choice["method"], choice.get("layer"), choice["mask"], choice["why"],
            tuple(dict(row) for row in found["measured"]["table"]),
            {prompt: tuple(float(score) for score in scores) for prompt, scores in references["scores"].items()},
            references["source"],
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EcgcamError(f"{path}: is not a calibration ({one_line(error)}); calibrate the model again") from error
    texts = [*(getattr(calibration, name) for name in (*_TEXTS, "method", "mask")), calibration.layer or ""]
    if not all(isinstance(text, str) for text in texts):
        raise EcgcamError(f"{path}: is not a calibration (a name in it is not text); calibrate the model again")
    if calibration.method not in METHODS or calibration.mask not in FILLS:
        raise EcgcamError(
            f"{path}: chooses {calibration.choice}, which this version of ecgcam lacks; calibrate the model again"
        )
    if not all(np.isfinite(scores).all() for scores in calibration.references.values()):
        raise EcgcamError(f"{path}: holds a score that is not a number; calibrate the model again")
    return calibration


def calibration_beside(checkpoint: Path) -> Path:
    """Return where the calibration of a checkpoint lies: ``NAME-calibration.toml`` next to ``NAME.pt``."""
    return checkpoint.with_name(f"{checkpoint.stem}-calibration.toml")


def kept_calibration(weights: str, suffix: str = ".toml") -> Path | None:
    """Return where the cache keeps the calibration of weights, by their hash; None if the cache is switched off."""
    folder = cache_folder()
    return None if folder is None else folder / "calibration" / f"{weights[:32]}{suffix}"


def find_calibration(weights: str, checkpoint: Path | None = None) -> Calibration | None:
    """Return the calibration of weights: next to the checkpoint, or in the cache; None without one.

    One of other weights is skipped with a note.
    """
    places = [None if checkpoint is None else calibration_beside(checkpoint), kept_calibration(weights)]
    for path in places:
        if path is None or not path.is_file():
            continue
        found = read_calibration(path)
        if found.weights == weights:
            return found
        log.info("%s: is of other weights and is not used; calibrate this model", path)
    return None


def note_unverified(model: str, weights: str) -> None:
    """Note, once for these weights where there is a cache, that nobody has verified the default method for this model."""
    marker = kept_calibration(weights, ".noted")
    if marker is not None and marker.is_file():
        return
    log.info(
        "the default method is not verified for %s; `ecgcam models calibrate` chooses one that is (`ecgcam docs calibrate`)",
        model,
    )
    if marker is not None:
        with contextlib.suppress(OSError):
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.touch()


def note_use(calibration: Calibration, explicit: Collection[str]) -> None:
    """Note that a calibration is used, and what of it."""
    flags = [name for name in CHOSEN if name in explicit]
    if "method" in explicit:
        log.info("the calibration of %s chose %s; the given settings replace it", calibration.model, calibration.choice)
    else:
        given = f"; {' and '.join(flags)} as given" if flags else ""
        log.info("calibrated for these weights: %s%s", calibration.choice, given)


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    if isinstance(value, bool | int):
        return json.dumps(value)
    if isinstance(value, float):
        return repr(round(value, 6))
    # A basic string of TOML escapes as JSON does, except for DEL.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if name.isidentifier() and name.isascii() else _toml(name)
