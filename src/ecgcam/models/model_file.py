"""Model files: read from TOML and checked key by key. No torch."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from ecgcam.errors import EcgcamError, no_such
from ecgcam.files import file_sha256
from ecgcam.protocol.preprocessing import STEPS, Place, Preprocessing, Resampling
from ecgcam.protocol.spec import (
    Fill,
    InputSpec,
    LayerSpec,
    Layout,
    ModelSpec,
    Normalisation,
    Padding,
    Pooling,
    Similarity,
    Text,
    TowerKind,
    TowerSpec,
)
from ecgcam.records import CANONICAL_LEADS, canonical_name
from ecgcam.records.filters import KINDS, Filter
from ecgcam.resources import configs

# The largest sizes of a network that an option may state: number of blocks, and anything else.
_MOST_BLOCKS, _LARGEST = 200, 1_000_000
# The largest factor for one step of `scipy.signal.decimate`, by its documentation.
_MOST_DECIMATED = 13
# Names of layer keys in model files of version 1 and their names today; both are read.
_OLD_LAYER_KEYS = {"skip": "n_prefix_tokens", "between": "n_separators", "run": "concat_grid"}


def model_names() -> list[str]:
    """Return the names of the bundled model files."""
    return sorted(path.stem for path in (configs() / "models").glob("*.toml"))


def load_spec(name_or_file: str | Path) -> ModelSpec:
    """Read a model file by name (``"mini"``) or path (``my.toml``).

    Raises
    ------
    EcgcamError
        If there is no such file, or a key in it is missing, unknown or out of range.
    """
    text = str(name_or_file)
    path = Path(text) if text.endswith(".toml") else configs() / "models" / f"{text}.toml"
    if not path.is_file():
        if text.endswith(".toml"):
            raise EcgcamError(f"`model` {text}: no such model file; check the path")
        rest = "a model file ends in .toml; code of your own is package.module:function"
        raise no_such(f"`model` {text}", "model", text, model_names(), f"`ecgcam models list` lists all; {rest}")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EcgcamError(f"{path}: not a readable TOML file ({error}); correct it") from error
    return _Checked(path, table).spec()


def weights_file(spec: ModelSpec, checkpoint: Path | None = None) -> Path:
    """Return the file of a model's weights: `checkpoint`, or the one that ecgcam brings.

    Raises
    ------
    EcgcamError
        If neither is there.
    """
    if checkpoint is not None:
        return checkpoint
    if not spec.weights:
        where = f" (published at {spec.source})" if spec.source else ""
        raise EcgcamError(f"{spec.name}: its weights are not part of ecgcam; give them with `checkpoint` FILE{where}")
    return Path(__file__).resolve().parent / "weights" / spec.weights


def text_side_identity(spec: ModelSpec, embeddings: Path | None = None, text_model: Path | None = None) -> str | None:
    """Return what embeds prompts, by content: a table's hash, or a text tower's; None where the weights hold it."""
    if embeddings is not None:
        return f"table:{file_sha256(embeddings)}"
    if spec.text != "table":
        return None
    tower: list[Any] = [spec.text_model, asdict(spec.tower)]
    if text_model is not None and text_model.is_dir():
        files = sorted(path for path in text_model.iterdir() if path.is_file())
        tower = [[path.name, file_sha256(path)] for path in files] + tower[1:]
    return "tower:" + hashlib.sha256(json.dumps(tower).encode()).hexdigest()


_KINDS = {
    float: "a number",
    int: "a whole number",
    str: "a string",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}


class _Checked:
    """A TOML table whose every access is checked, so that an error names file, key and allowed values."""

    def __init__(self, path: Path, table: dict[str, Any]) -> None:
        self.path, self.table = path, table

    def spec(self) -> ModelSpec:
        self._only("", self.table, {"name", "family", "summary", "licence", "weights", "source", "paper", "input", "text",
                                    "score", "layer", "layers", "options", "open", "labels"})  # fmt: skip
        self._only("text.", self._get("text", dict), {"tower", "model", "kind", "pooling", "lower", "length", "template",
                                                      "weights"})  # fmt: skip
        layers = {path: self._layer(path, entry) for path, entry in self._get("layers", dict).items()}
        layer = self._get("layer", str)
        if layer not in layers:
            raise self._error("layer", f"{layer!r} is not under [layers]; allowed: {', '.join(layers)}")
        return ModelSpec(
            name=self._get("name", str),
            family=self._get("family", str),
            summary=self._get("summary", str),
            licence=self._get("licence", str),
            weights=self._get("weights", str, ""),
            source=self._get("source", str, ""),
            paper=self._get("paper", str, ""),
            text=self._choice("text.tower", Text),
            text_model=self._get("text.model", str, ""),
            tower=self._tower(),
            labels=self._words("labels"),
            input=self._input(),
            layers=layers,
            layer=layer,
            similarity=self._choice("score.similarity", Similarity, "cosine"),
            options=self._options(),
            open=self._words("open"),
            file=str(self.path),
        )

    def _options(self) -> dict[str, Any]:
        """The network's sizes, each small enough that building it ends."""
        options: dict[str, Any] = self._get("options", dict, {})
        for key, value in options.items():
            most = _MOST_BLOCKS if key in {"blocks", "depth", "depths", "layers"} else _LARGEST
            sizes = [size for size in (value if isinstance(value, list) else [value]) if isinstance(size, int | float)]
            if not all(abs(size) <= most for size in sizes):
                raise self._error(f"options.{key}", f"no network is that large; at most {most}")
        return options

    def _input(self) -> InputSpec:
        self._only("input.", self._get("input", dict), {"fs", "seconds", "leads", "normalisation", "fill", "fill_reason",
                                                         "padding", "mean", "offset", "scale", "filters",
                                                         "preprocessing"})  # fmt: skip
        leads = tuple(self._get("input.leads", list))
        wrong = [lead for lead in leads if canonical_name(str(lead)) != lead]
        if wrong or len(set(leads)) < len(leads) or not leads:
            raise self._error("input.leads", f"lead names must be distinct, of {', '.join(CANONICAL_LEADS)}")
        fs, seconds = self._get("input.fs", float), self._get("input.seconds", float)
        if not (0 < fs <= 100_000 and 0 < seconds <= 86_400):
            raise self._error("input.fs", "rate and seconds must be positive, at most 100000 Hz and a day")
        preprocessing = self._preprocessing()
        padding = self._choice("input.padding", Padding, "zero" if preprocessing.pads_scaled else "zero-mv")
        if (padding == "zero") != preprocessing.pads_scaled:
            raise self._error("input.padding", "'zero' is for steps with pad after normalise, and those need it")
        mean = self._get("input.mean", list, None)
        if mean is not None and not (len(mean) == len(leads) and all(isinstance(value, int | float) for value in mean)):
            raise self._error("input.mean", f"one number for each of the {len(leads)} leads")
        return InputSpec(
            fs=fs,
            seconds=seconds,
            leads=leads,
            normalisation=self._choice("input.normalisation", Normalisation),
            fill=self._choice("input.fill", Fill),
            fill_reason=self._get("input.fill_reason", str),
            padding=padding,
            mean=None if mean is None else tuple(float(value) for value in mean),
            offset=self._numbers("input.offset", len(leads)),
            scale=self._numbers("input.scale", len(leads)),
            filters=tuple(self._filter(entry, fs) for entry in self._get("input.filters", list, [])),
            preprocessing=preprocessing,
        )

    def _preprocessing(self) -> Preprocessing:
        """The order of the steps, and what they need."""
        table = self._get("input.preprocessing", dict, {})
        self._only("input.preprocessing.", table, {"steps", "place", "resampling", "source_fs"})
        steps = tuple(self._get("input.preprocessing.steps", list, list(STEPS)))
        if sorted(map(str, steps)) != sorted(STEPS) or steps.index("cut") > steps.index("pad"):
            raise self._error(
                "input.preprocessing.steps", f"must be {', '.join(STEPS)} in the model's order, cut before pad"
            )
        source_fs = self._get("input.preprocessing.source_fs", float, None)
        if steps[0] != "resample" and steps[-1] != "resample":
            raise self._error("input.preprocessing.steps", "resample must be the first step, or the last")
        if (source_fs is None) != (steps[0] == "resample"):
            raise self._error(
                "input.preprocessing.source_fs", "is needed where resample is not the first step, and only there"
            )
        resampling = self._choice("input.preprocessing.resampling", Resampling, "polyphase")
        factor = (source_fs or 0) / self._get("input.fs", float)
        last = steps[-1] == "resample"
        if (resampling == "decimate") != last or (last and factor not in range(2, _MOST_DECIMATED + 1)):
            raise self._error(
                "input.preprocessing.resampling",
                f"'decimate' is for steps that end with resample, from 2 to {_MOST_DECIMATED} times input.fs, a whole number",
            )
        return Preprocessing(steps, self._choice("input.preprocessing.place", Place, "begin"), resampling, source_fs)

    def _tower(self) -> TowerSpec:
        length, template = self._get("text.length", int, 256), self._get("text.template", str, "{}")
        if length < 4:
            raise self._error("text.length", "must be at least 4 tokens")
        if template.count("{}") != 1:
            raise self._error("text.template", "must hold {} once, where the prompt goes")
        return TowerSpec(
            kind=self._choice("text.kind", TowerKind, "bert"),
            pooling=self._choice("text.pooling", Pooling, "pooler"),
            lower=self._get("text.lower", bool, False),
            length=length,
            template=template,
            weights=self._prefixes(),
        )

    def _prefixes(self) -> tuple[str, ...]:
        """The prefixes of the text tower's weights: one as a string, or several in a list."""
        table = self._get("text", dict)
        given = table.get("weights", [])
        listed = [given] if isinstance(given, str) else given
        if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
            raise self._error("text.weights", "must be a prefix, or a list of prefixes")
        return tuple(each for each in listed if each)

    def _filter(self, entry: Any, fs: float) -> Filter:
        kind = entry.get("kind") if isinstance(entry, dict) else None
        if kind not in KINDS:
            raise self._error("input.filters", f"each needs a kind, one of {', '.join(KINDS)}")
        keys = KINDS[str(kind)]
        numbers = {key: value for key, value in entry.items() if key != "kind"}
        if set(numbers) != set(keys) or not all(
            isinstance(value, int | float) and value > 0 for value in numbers.values()
        ):
            raise self._error("input.filters", f"{kind} takes {', '.join(keys)}, positive numbers, not {numbers}")
        if kind in {"bandpass", "fir"} and numbers["low"] >= numbers["high"]:
            raise self._error("input.filters", f"{kind}: low must lie below high")
        if numbers.get("seconds", 0) > self._get("input.seconds", float):
            raise self._error("input.filters", f"{kind}: seconds must be at most input.seconds")
        for key in numbers.keys() & {"low", "high", "hz"}:
            if numbers[key] >= fs / 2:
                raise self._error("input.filters", f"{kind}: {key} must lie below half of input.fs, {fs / 2:g} Hz")
        return Filter(str(kind), **{key: float(value) for key, value in numbers.items()})

    def _numbers(self, key: str, count: int) -> tuple[float, ...] | None:
        """Return one number for each lead: as many are given, or one for all."""
        values = self._get(key, list, None)
        if values is None:
            return None
        if len(values) not in {1, count} or not all(isinstance(value, int | float) for value in values):
            raise self._error(key, f"one number, or one for each of the {count} leads, in a list")
        return tuple(float(value) for value in (values * count if len(values) == 1 else values))

    def _words(self, key: str) -> tuple[str, ...]:
        words = self._get(key, list, [])
        if not all(isinstance(word, str) for word in words):
            raise self._error(key, "must be a list of sentences")
        return tuple(words)

    def _layer(self, path: str, entry: Any) -> LayerSpec:
        if not isinstance(entry, dict):
            raise self._error(f"layers.{path!r}", "must be a table with layout, step and offset")
        for old, new in _OLD_LAYER_KEYS.items():
            if old in entry and new in entry:
                raise self._error(f"layers.{path!r}.{old}", f"is the old name of {new}; leave one of them out")
        entry = {_OLD_LAYER_KEYS.get(key, key): value for key, value in entry.items()}
        known = {
            "layout",
            "step",
            "offset",
            "n_prefix_tokens",
            "n_suffix_tokens",
            "leads",
            "n_separators",
            "concat_grid",
            "part",
        }
        self._only(f"layers.{path!r}.", entry, known)
        checked = _Checked(self.path, {"layer": entry})
        part = checked._get("layer.part", int, None)
        if part is not None and part < 0:
            raise self._error(f"layers.{path!r}.part", "counts from 0")
        return LayerSpec(
            layout=checked._choice("layer.layout", Layout),
            step=checked._get("layer.step", float),
            offset=checked._get("layer.offset", float),
            n_prefix_tokens=checked._get("layer.n_prefix_tokens", int, 0),
            n_suffix_tokens=checked._get("layer.n_suffix_tokens", int, 0),
            leads=checked._get("layer.leads", int, 0),
            n_separators=checked._get("layer.n_separators", int, 0),
            concat_grid=self._concat_grid(path, entry),
            part=part,
        )

    def _concat_grid(self, path: str, entry: dict[str, Any]) -> tuple[float, float, float] | None:
        grid = entry.get("concat_grid")
        if grid is None:
            return None
        if not (isinstance(grid, list) and len(grid) == 3 and all(isinstance(value, int | float) for value in grid)):
            raise self._error(
                f"layers.{path!r}.concat_grid", "three numbers: step, first centre, and samples of a lead"
            )
        return float(grid[0]), float(grid[1]), float(grid[2])

    def _get(self, key: str, kind: type, default: Any = ...) -> Any:
        value: Any = self.table
        for part in key.split("."):
            if not isinstance(value, dict) or part not in value:
                if default is ...:
                    raise self._error(key, "is missing")
                return default
            value = value[part]
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self._error(key, f"must be {_KINDS[kind]}, not {value!r}")
        return value

    def _choice(self, key: str, kind: Any, default: Any = ...) -> Any:
        value = self._get(key, str, default)
        if value not in get_args(kind):
            raise self._error(key, f"{value!r} is not allowed; choose from {', '.join(get_args(kind))}")
        return value

    def _only(self, prefix: str, table: dict[str, Any], known: set[str]) -> None:
        for key in table.keys() - known:
            raise self._error(f"{prefix}{key}", f"is unknown; allowed: {', '.join(sorted(known))}")

    def _error(self, key: str, message: str) -> EcgcamError:
        return EcgcamError(f"{self.path}: {key}: {message}")
