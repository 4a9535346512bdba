"""Model files: input, layers, text side and licence of a model. Read and checked without torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError, no_such
from ecgcam.protocol.preprocessing import Preprocessing, cut_window, scale_window
from ecgcam.records import CANONICAL_LEADS, Record, Window, window_starts
from ecgcam.records.filters import Filter, apply_filters
from ecgcam.records.record import FloatArray

Normalisation = Literal["none", "median", "minmax", "minmax-lead", "zscore", "zscore-lead", "fixed"]
Fill = Literal["baseline", "zero-mv", "zero", "mean", "noise"]
Layout = Literal["BCT", "BTC", "TBC", "BCLT", "BLTC", "BLCT", "BCTL", "(BL)CT", "(BL)TC"]
Similarity = Literal["cosine", "dot"]
Padding = Literal["zero-mv", "baseline", "zero"]
Text = Literal["bundled", "table", "none"]
TowerKind = Literal["bert", "t5", "bert-decoder"]
Pooling = Literal["pooler", "class", "mean", "eos", "last", "tokens"]
PRECISIONS = ("fp32", "bf16")
DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")


def check_device(device: str) -> None:
    """Raise `EcgcamError` if no device has this name, whether or not this machine has it: one of `DEVICES`, N a number."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", device):
        raise no_such(f"`device` {device}", "device", device, DEVICES)


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
        What a masked lead is filled with unless the caller chooses another fill, and why.
    padding : str
        The value of a short record's padding: ``zero-mv``, each lead's ``baseline``, or, where padding is added to the
        normalised signal, ``zero``.
    mean : tuple of float
        Training mean per lead in model space, where the model states it.
    offset, scale : tuple of float
        Of ``fixed``, one number for all leads or one for each: model input = (mV - offset) x scale. Without them the user
        must write them into a copy of the model file.
    filters : tuple of Filter
        The filters, in order.
    preprocessing : Preprocessing
        The order of the steps, how the signal is resampled, and where it is placed in the window.
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
    preprocessing: Preprocessing = field(default_factory=Preprocessing)

    @property
    def samples(self) -> int:
        """Length of the window in samples."""
        return round(self.fs * self.seconds)

    @property
    def in_words(self) -> str:
        """The preprocessing of a recording, in order: what ``ecgcam models show`` prints."""
        steps = self.preprocessing
        kinds = {
            "polyphase": "with an anti-aliasing filter",
            "fft": "by FFT",
            "decimate": "by decimation, leads joined",
        }
        pads = {"zero": "zeros", "zero-mv": "0 mV", "baseline": "each lead's baseline"}
        words: dict[str, str] = {
            "resample": f"resampled to {self.fs:g} Hz {kinds[steps.resampling]}",
            "cut": f"cut to {self.seconds:g} s",
            "pad": f"padded with {pads[self.padding]}" + (" on both sides" if steps.place == "centre" else ""),
            "filter": f"filtered ({'; '.join(one.in_words for one in self.filters)})" if self.filters else "",
            "normalise": self._normalised_in_words,
        }
        first = "" if steps.source_fs is None else f"at {steps.source_fs:g} Hz: "
        return first + ", ".join(words[step] for step in steps.steps if words[step])

    @property
    def _normalised_in_words(self) -> str:
        over = "the whole recording" if self.preprocessing.before("normalise", "cut") else "the window"
        if self.normalisation == "fixed":
            offset, scale = (
                name if values is None or len(set(values)) > 1 else f"{values[0]:g}"
                for name, values in (("offset", self.offset), ("scale", self.scale))
            )
            missing = "" if self.offset and self.scale else "; write both numbers in a copy of its model file"
            return f"scaled: (mV - {offset}) x {scale}{missing}"
        return {
            "none": "",
            "median": f"less each lead's median over {over}",
            "minmax": f"scaled to 0 to 1 by the minimum and maximum of all leads over {over}",
            "minmax-lead": f"each lead scaled to -1 to 1 by its minimum and maximum over {over}",
            "zscore": f"z-scored by the mean and deviation of all leads over {over}",
            "zscore-lead": f"each lead z-scored over {over}",
        }[self.normalisation]

    def rows_of(self, window: Window) -> FloatArray:
        """Return the window's millivolts (leads, T) in the model's lead order; absent leads are 0 mV."""
        rows = {lead: row for row, lead in enumerate(window.leads)}
        signal = np.zeros((len(self.leads), window.signal.shape[1]), np.float32)
        for i, lead in enumerate(self.leads):
            if lead in rows:
                signal[i] = window.signal[rows[lead]]
        return signal

    def arrange(self, window: Window) -> FloatArray:
        """Return the window's millivolts (leads, T) in the model's lead order, filtered; absent leads are 0 mV."""
        signal = self.rows_of(window)
        return apply_filters(signal, self.filters, self.fs) if self.filters else signal

    def constants(self, window: Window) -> tuple[FloatArray, FloatArray]:
        """Return offset and scale (leads, 1) of this window: model input = (mV - offset) x scale."""
        _, offset, scale = scale_window(window, self)
        return offset, scale

    def constants_of(self, signal: FloatArray, baseline: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return offset and scale (leads, 1) of a filtered signal (leads, T) in mV, whose baselines are (leads, 1)."""
        shape = (len(self.leads), 1)
        offset: npt.NDArray[np.floating] = np.zeros(shape)
        scale: npt.NDArray[np.floating] = np.ones(shape)
        if self.normalisation == "median":
            offset = baseline
        elif self.normalisation == "minmax":
            low, high = signal.min(), signal.max()
            offset, scale = np.full(shape, low), np.full(shape, 1.0 / (high - low) if high > low else 1.0)
        elif self.normalisation == "minmax-lead":
            low, high = signal.min(axis=1, keepdims=True), signal.max(axis=1, keepdims=True)
            # A lead that does not move lands on 0.
            offset, scale = (low + high) / 2, 2.0 / np.where(high > low, high - low, 2.0)
        elif self.normalisation == "zscore":
            spread = signal.std()
            offset, scale = np.full(shape, signal.mean()), np.full(shape, 1.0 / spread if spread > 0 else 1.0)
        elif self.normalisation == "zscore-lead":
            deviation = signal.std(axis=1, keepdims=True)
            offset, scale = signal.mean(axis=1, keepdims=True), 1.0 / np.where(deviation > 0, deviation, 1.0)
        elif self.normalisation == "fixed":
            if self.offset is None or self.scale is None:
                raise EcgcamError(
                    "input.offset, input.scale: this model was trained with fixed numbers that are not published as "
                    "numbers; copy its model file and write them there, (mV - offset) x scale, one number or one for each lead "
                    "(`ecgcam models show` prints where they are published)"
                )
            offset, scale = (np.broadcast_to(np.array(v)[:, None], shape) for v in (self.offset, self.scale))
        return offset.astype(np.float32), scale.astype(np.float32)

    def baseline(self, window: Window) -> FloatArray:
        """Return each lead's median over its valid samples (leads, 1), mV after the filters; 0 for leads without any."""
        rows = {lead: row for row, lead in enumerate(window.leads)}
        medians = np.zeros((len(self.leads), 1), np.float32)
        for i, (lead, values) in enumerate(zip(self.leads, self.arrange(window), strict=True)):
            if lead in rows and window.valid[rows[lead]].any():
                medians[i] = np.median(values[window.valid[rows[lead]]])
        return medians


@dataclass(frozen=True)
class LayerSpec:
    """Where a layer's cells are.

    Attributes
    ----------
    layout : str
        The axes of its output: B batch, C channels, T cells along time, L leads. ``(BL)`` is one axis that holds every lead of
        the first signal, then every lead of the second, and so on.
    step, offset : float
        Samples at the model's rate from one cell's centre to the next, and to the first cell's centre.
    n_prefix_tokens, n_suffix_tokens : int
        Leading and trailing cells that have no place in time (a class token).
    leads : int
        How many leads the cells keep apart, in the model's order; 0 where a cell depends on every lead. In layouts without an
        L the cells of one lead follow those of the previous lead.
    n_separators : int
        Cells before and after those of each lead that have no place in time (separators).
    concat_grid : tuple of float
        Where the leads were joined end to end and cells straddle the joints: samples from one cell's centre to the
        next, to the first cell's centre, and of one lead. Each lead's cells, of `step` and `offset`, are read off on the way.
    part : int, optional
        Which part of a tuple of outputs holds the cells, counted from 0. For a model output or a dict, its existing parts are
        counted in order.
    rows : int
        Size of an L axis that is not the leads: a two-dimensional network has mixed them. Its cells are summed over it.
    """

    layout: Layout
    step: float
    offset: float
    n_prefix_tokens: int = 0
    leads: int = 0
    n_separators: int = 0
    concat_grid: tuple[float, float, float] | None = None
    part: int | None = None
    rows: int = 1
    n_suffix_tokens: int = 0

    @property
    def folded(self) -> bool:
        """Whether the leads are part of the batch axis."""
        return self.layout.startswith("(BL)")

    @property
    def batch_axis(self) -> int:
        """The axis that holds the signals."""
        return 0 if self.folded else self.layout.index("B")

    @property
    def rows_per_signal(self) -> int:
        """How many entries of the batch axis belong to one signal."""
        return self.leads if self.folded else 1


@dataclass(frozen=True)
class TowerSpec:
    """How a published text tower, a class of transformers, encodes prompts: the keys of ``[text]`` next to `tower` and `model`.

    Attributes
    ----------
    kind : str
        ``bert``, an encoder; ``t5``, the encoder of T5; ``bert-decoder``, BERT run as a causal decoder.
    pooling : str
        How the last hidden states become one vector: ``pooler`` (the pooler's output), ``class`` (the first token), ``mean`` (of
        all tokens that are not padding, special ones included), ``eos`` (the last token that is not padding), ``last`` (the last
        position), or ``tokens`` (all that are not padding; the model pools them itself).
    lower : bool
        Prompts are put in lower case, before they go into the template.
    length : int
        The most tokens of a prompt; longer ones are cut.
    template : str
        What a prompt is put into, where ``{}`` stands.
    weights : tuple of str
        Prefixes under which the model's checkpoint may hold the tower's weights; empty where the tower's own weights are used.
    """

    kind: TowerKind = "bert"
    pooling: Pooling = "pooler"
    lower: bool = False
    length: int = 256
    template: str = "{}"
    weights: tuple[str, ...] = ()


_POOLED: dict[Pooling, str] = {
    "pooler": "the pooler's output",
    "class": "the first token",
    "mean": "the mean of all tokens",
    "eos": "the last token",
    "last": "the last position",
    "tokens": "every token, pooled by the model",
}


@dataclass(frozen=True)
class ModelSpec:
    """A model file.

    `options` go to the family's network; `weights` is a file that ecgcam ships, or empty. `text` states where prompts come
    from: ``bundled``, the network's own tower; ``table``, the published tower that `text_model` names and `tower` describes, or
    embeddings that it made elsewhere; ``none``, a classifier, whose `labels` are its outputs in order, where they are known.
    `open` holds what the sources leave open or contradict, and what ecgcam does. `file` is the path of the model file, for
    errors.
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
            raise no_such(f"`layer` {path}", f"layer in {self.name}", path, self.layers)
        return path, self.layers[path]

    def layers_named(self, paths: str | None = None) -> list[tuple[str, LayerSpec]]:
        """Return several layers, their paths separated by commas (default: the target layer alone)."""
        return [self.layer_named(path.strip()) for path in (self.layer if paths is None else paths).split(",")]

    @property
    def prompts(self) -> str:
        """How prompts become embeddings, in words."""
        if self.text == "bundled":
            return "by the text tower in its weights"
        if not self.text_model:
            return "no text tower here: --target, --like, or a table of joint embeddings"
        tower = self.tower
        parts = [self.text_model]
        parts += ["run as a causal decoder"] if tower.kind == "bert-decoder" else []
        parts.append(_POOLED[tower.pooling])
        parts += ["lower case"] if tower.lower else []
        parts.append(f"{tower.length} tokens")
        parts += [f"written as {tower.template}"] if tower.template != "{}" else []
        parts += (
            [f"weights in the checkpoint ({' or '.join(f'{each}*' for each in tower.weights)})"]
            if tower.weights
            else []
        )
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
    start: float | None = 0.0,
    seconds: float | None = None,
    all_windows: bool = False,
    hop: float | None = None,
) -> Iterator[Window]:
    """Cut a record into a model's windows: the one at `start`, or all of them, `hop` seconds apart (default: end to end).

    With `start` None the window is where the model's authors cut it: at the beginning, or in the middle.
    """
    record = record.only(spec.leads)
    starts = window_starts(record, spec.seconds, hop, start or 0.0) if all_windows else [start]
    for begin in starts:
        yield cut_window(record, spec, begin, seconds)
