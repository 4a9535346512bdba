"""Model files: what a model eats, where to look inside it, and under which licence. Read and checked without torch."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.records import CANONICAL_LEADS, Record, Window, canonical_name, take_window, window_starts
from ecgcam.records.filters import KINDS, Filter, apply_filters
from ecgcam.records.record import FloatArray
from ecgcam.resources import configs

Normalisation = Literal["none", "median", "minmax", "minmax-lead", "zscore", "zscore-lead", "fixed"]
Fill = Literal["baseline", "zero-mv", "zero", "mean", "noise"]
Layout = Literal["BCT", "BTC", "TBC"]
Similarity = Literal["cosine", "dot"]
Padding = Literal["zero-mv", "baseline"]
Text = Literal["bundled", "table", "none"]
TowerKind = Literal["bert", "t5", "bert-decoder"]
Pooling = Literal["pooler", "class", "last", "tokens"]
PRECISIONS = ("fp32", "bf16")


# Beyond these an option of a model file is no size of a network: of its blocks, and of anything else.
_MOST_BLOCKS, _LARGEST = 200, 1_000_000


@dataclass(frozen=True)
class InputSpec:
    """What a model's signal encoder takes.

    Attributes
    ----------
    fs, seconds : float
        Rate (Hz) and length (s) of the window.
    leads : tuple of str
        The order of the model's channels.
    normalisation : str
        ``none`` (mV), ``median`` (less the lead's median), ``minmax`` (whole window to [0, 1]), ``minmax-lead`` (each lead to
        [-1, 1]), ``zscore`` (whole window), ``zscore-lead`` (each lead), ``fixed`` (`offset` and `scale`).
    fill, fill_reason : str
        What a masked lead is filled with unless the caller says otherwise, and why.
    padding : str
        Where a short record's padding lies: ``zero-mv``, or each lead's ``baseline``.
    mean : tuple of float
        Training mean per lead in model space, where the model states it.
    offset, scale : tuple of float
        Of ``fixed``, one number for all leads or one for each: model input = (mV - offset) x scale. Without them the model file
        waits for the user's numbers.
    filters : tuple of Filter
        What the signal goes through before it is normalised.
    """

    fs: float = 500.0
    seconds: float = 10.0
    leads: tuple[str, ...] = CANONICAL_LEADS
    normalisation: Normalisation = "none"
    fill: Fill = "baseline"
    fill_reason: str = ""
    padding: Padding = "zero-mv"
    mean: tuple[float, ...] | None = None
    offset: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None
    filters: tuple[Filter, ...] = ()

    @property
    def samples(self) -> int:
        """Length of the window in samples."""
        return round(self.fs * self.seconds)

    def arrange(self, window: Window) -> FloatArray:
        """Return the window's millivolts (leads, T) in the model's lead order, behind its filters; absent leads lie at 0 mV."""
        rows = {lead: row for row, lead in enumerate(window.leads)}
        signal = np.zeros((len(self.leads), window.signal.shape[1]), np.float32)
        for i, lead in enumerate(self.leads):
            if lead in rows:
                signal[i] = window.signal[rows[lead]]
        return apply_filters(signal, self.filters, self.fs) if self.filters else signal

    def constants(self, window: Window) -> tuple[FloatArray, FloatArray]:
        """Return offset and scale (leads, 1) of this window: model input = (mV - offset) x scale.

        They are taken once from the unmasked window, so that masking a lead leaves the others as they were.
        """
        signal = self.arrange(window)
        shape = (len(self.leads), 1)
        offset: npt.NDArray[np.floating] = np.zeros(shape)
        scale: npt.NDArray[np.floating] = np.ones(shape)
        if self.normalisation == "median":
            offset = self.baseline(window)
        elif self.normalisation == "minmax":
            low, high = signal.min(), signal.max()
            offset, scale = np.full(shape, low), np.full(shape, 1.0 / (high - low))
        elif self.normalisation == "minmax-lead":
            low, high = signal.min(axis=1, keepdims=True), signal.max(axis=1, keepdims=True)
            # A lead that does not move lands on 0.
            offset, scale = (low + high) / 2, 2.0 / np.where(high > low, high - low, 2.0)
        elif self.normalisation == "zscore":
            offset, scale = np.full(shape, signal.mean()), np.full(shape, 1.0 / signal.std())
        elif self.normalisation == "zscore-lead":
            deviation = signal.std(axis=1, keepdims=True)
            offset, scale = signal.mean(axis=1, keepdims=True), 1.0 / np.where(deviation > 0, deviation, 1.0)
        elif self.normalisation == "fixed":
            if self.offset is None or self.scale is None:
                raise EcgcamError(
                    "input.offset, input.scale: this model was trained behind fixed numbers that are not public as numbers; "
                    "copy its model file and write them there, (mV - offset) x scale, one number or one for each lead "
                    "(`ecgcam models show` says where they are)"
                )
            offset, scale = (np.broadcast_to(np.array(v)[:, None], shape) for v in (self.offset, self.scale))
        return offset.astype(np.float32), scale.astype(np.float32)

    def baseline(self, window: Window) -> FloatArray:
        """Return each lead's median over its valid samples (leads, 1), mV behind the filters; 0 for leads without any."""
        rows = {lead: row for row, lead in enumerate(window.leads)}
        medians = np.zeros((len(self.leads), 1), np.float32)
        for i, (lead, values) in enumerate(zip(self.leads, self.arrange(window), strict=True)):
            if lead in rows and window.valid[rows[lead]].any():
                medians[i] = np.median(values[window.valid[rows[lead]]])
        return medians


@dataclass(frozen=True)
class LayerSpec:
    """Where a layer's cells are, declared and never guessed.

    Attributes
    ----------
    layout : str
        The axes of its output: B batch, C channels, T cells along time.
    step, offset : float
        Samples at the model's rate from one cell's centre to the next, and to the first cell's centre.
    skip : int
        Leading cells that are no place in time (a class token).
    leads : int
        How many leads the cells keep apart, in the model's order, all cells of one lead after those of the other; 0 where a cell
        looks at every lead.
    between : int
        Cells before and after those of each lead that are no place in time (separators).
    run : tuple of float
        Where the leads were laid end to end, so that cells keep no distance to the seams: samples from one cell's centre to the
        next, to the first cell's centre, and of one lead. Each lead's cells, of `step` and `offset`, are read off on the way.
    part : int, optional
        Which part of a tuple of outputs holds the cells, counted from 0.
    """

    layout: Layout
    step: float
    offset: float
    skip: int = 0
    leads: int = 0
    between: int = 0
    run: tuple[float, float, float] | None = None
    part: int | None = None


@dataclass(frozen=True)
class TowerSpec:
    """How a published text tower, a class of transformers, is asked: the keys of ``[text]`` beside `tower` and `model`.

    Attributes
    ----------
    kind : str
        ``bert``, an encoder; ``t5``, the encoder of T5; ``bert-decoder``, BERT run as a causal decoder.
    pooling : str
        ``pooler``, the pooler's output; ``class``, the first token's last hidden state; ``last``, the last token's; ``tokens``,
        those of all, but for the padding, which the model pools itself.
    lower : bool
        Prompts are put in lower case, before they go into the template.
    length : int
        Prompts are padded and cut to so many tokens.
    template : str
        What a prompt is put into, where ``{}`` stands.
    weights : str
        Prefix of the tower's weights inside the model's checkpoint; empty where the tower's own weights are used.
    """

    kind: TowerKind = "bert"
    pooling: Pooling = "pooler"
    lower: bool = False
    length: int = 256
    template: str = "{}"
    weights: str = ""


_POOLED: dict[Pooling, str] = {
    "pooler": "the pooler's output",
    "class": "the first token",
    "last": "the last token",
    "tokens": "every token, which the model pools itself",
}


@dataclass(frozen=True)
class ModelSpec:
    """A model file.

    `options` go to the family's network; `weights` is a file beside ecgcam's own, or empty. `text` says where prompts come
    from: ``bundled``, the network's own tower; ``table``, the published tower that `text_model` names and `tower` describes, or
    embeddings that it made elsewhere; ``none``, a classifier, whose `labels` are its outputs in order, where they are known.
    `open` holds what the sources leave open or contradict each other in, and what was done about it. `file` is where all this
    was read, for errors.
    """

    name: str
    family: str
    summary: str
    text: Text
    licence: str
    input: InputSpec
    layers: dict[str, LayerSpec]
    layer: str
    similarity: Similarity = "cosine"
    weights: str = ""
    source: str = ""
    paper: str = ""
    text_model: str = ""
    tower: TowerSpec = field(default_factory=TowerSpec)
    labels: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    open: tuple[str, ...] = ()
    file: str = ""

    def layer_named(self, path: str | None = None) -> tuple[str, LayerSpec]:
        """Return the path of a layer (default: the target layer) and where its cells are.

        Raises
        ------
        EcgcamError
            If the model file does not declare it.
        """
        path = self.layer if path is None else path
        if path not in self.layers:
            raise EcgcamError(f"--layer {path}: {self.name} declares {', '.join(self.layers)}; choose one of them")
        return path, self.layers[path]

    def layers_named(self, paths: str | None = None) -> list[tuple[str, LayerSpec]]:
        """Return several layers, their paths separated by commas (default: the target layer alone)."""
        return [self.layer_named(path.strip()) for path in (self.layer if paths is None else paths).split(",")]

    @property
    def prompts(self) -> str:
        """How prompts become embeddings, in words."""
        if self.text == "bundled":
            return "a text tower of its own"
        if not self.text_model:
            return "no text tower here: --target, --like, or a table of joint embeddings"
        tower = self.tower
        parts = [self.text_model]
        parts += ["run as a causal decoder"] if tower.kind == "bert-decoder" else []
        parts.append(_POOLED[tower.pooling])
        parts += ["lower case"] if tower.lower else []
        parts.append(f"{tower.length} tokens")
        parts += [f"written as {tower.template}"] if tower.template != "{}" else []
        parts += [f"weights in the checkpoint ({tower.weights}*)"] if tower.weights else []
        return ", ".join(parts)

    def row(self) -> dict[str, Any]:
        """Return the model's line in ``ecgcam models list``; `text` is its text tower."""
        tower = self.text_model or ("its own" if self.text == "bundled" else "none")
        return {
            "name": self.name, "family": self.family, "text": tower,
            "fs": self.input.fs, "seconds": self.input.seconds, "licence": self.licence,
        }  # fmt: skip


def windows_of(
    record: Record,
    spec: InputSpec,
    start: float = 0.0,
    seconds: float | None = None,
    all_windows: bool = False,
    hop: float | None = None,
) -> Iterator[Window]:
    """Cut a record into a model's windows: the one at `start`, or all of them, `hop` seconds apart (default: end to end)."""
    record = record.only(spec.leads)
    starts = window_starts(record, spec.seconds, hop, start) if all_windows else [start]
    for begin in starts:
        yield take_window(record, spec.fs, spec.samples, begin, seconds, spec.padding)


def model_names() -> list[str]:
    """Return the names of the model files that ecgcam brings."""
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
        raise EcgcamError(
            f"{text}: no such model; ecgcam brings {', '.join(model_names())}, or give a model file ending in .toml, "
            "or code of your own as package.module:function"
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EcgcamError(f"{path}: not a readable TOML file ({error})") from error
    return _Checked(path, table).spec()


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
        """The network's sizes, of which none may be so large that building it would never end."""
        options: dict[str, Any] = self._get("options", dict, {})
        for key, value in options.items():
            most = _MOST_BLOCKS if key in {"blocks", "depth", "depths", "layers"} else _LARGEST
            sizes = [size for size in (value if isinstance(value, list) else [value]) if isinstance(size, int | float)]
            if not all(abs(size) <= most for size in sizes):
                raise self._error(f"options.{key}", f"no network is that large; at most {most}")
        return options

    def _input(self) -> InputSpec:
        self._only("input.", self._get("input", dict), {"fs", "seconds", "leads", "normalisation", "fill", "fill_reason",
                                                         "padding", "mean", "offset", "scale", "filters"})  # fmt: skip
        leads = tuple(self._get("input.leads", list))
        wrong = [lead for lead in leads if canonical_name(str(lead)) != lead]
        if wrong or len(set(leads)) < len(leads) or not leads:
            raise self._error("input.leads", f"lead names must be distinct, of {', '.join(CANONICAL_LEADS)}")
        fs, seconds = self._get("input.fs", float), self._get("input.seconds", float)
        if not (0 < fs <= 100_000 and 0 < seconds <= 86_400):
            raise self._error("input.fs", "rate and seconds must be positive, at most 100000 Hz and a day")
        mean = self._get("input.mean", list, None)
        if mean is not None and len(mean) != len(leads):
            raise self._error("input.mean", f"one number for each of the {len(leads)} leads")
        return InputSpec(
            fs=fs,
            seconds=seconds,
            leads=leads,
            normalisation=self._choice("input.normalisation", Normalisation),
            fill=self._choice("input.fill", Fill),
            fill_reason=self._get("input.fill_reason", str),
            padding=self._choice("input.padding", Padding, "zero-mv"),
            mean=None if mean is None else tuple(float(value) for value in mean),
            offset=self._numbers("input.offset", len(leads)),
            scale=self._numbers("input.scale", len(leads)),
            filters=tuple(self._filter(entry, fs) for entry in self._get("input.filters", list, [])),
        )

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
            weights=self._get("text.weights", str, ""),
        )

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
        self._only(f"layers.{path!r}.", entry, {"layout", "step", "offset", "skip", "leads", "between", "run", "part"})
        checked = _Checked(self.path, {"layer": entry})
        part = checked._get("layer.part", int, None)
        if part is not None and part < 0:
            raise self._error(f"layers.{path!r}.part", "counts from 0")
        return LayerSpec(
            layout=checked._choice("layer.layout", Layout),
            step=checked._get("layer.step", float),
            offset=checked._get("layer.offset", float),
            skip=checked._get("layer.skip", int, 0),
            leads=checked._get("layer.leads", int, 0),
            between=checked._get("layer.between", int, 0),
            run=self._run(path, entry),
            part=part,
        )

    def _run(self, path: str, entry: dict[str, Any]) -> tuple[float, float, float] | None:
        run = entry.get("run")
        if run is None:
            return None
        if not (isinstance(run, list) and len(run) == 3 and all(isinstance(value, int | float) for value in run)):
            raise self._error(f"layers.{path!r}.run", "three numbers: step, first centre, and samples of a lead")
        return float(run[0]), float(run[1]), float(run[2])

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
