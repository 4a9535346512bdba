"""The keywords of `ecgcam.explain`, `run`, `evaluate` and `score`: typed, so that editors complete them and checkers read them.

A keyword means the same as the option of the command line of that name (``smooth_ms`` is ``--smooth``, ``all_windows`` is
``--all``, ``options`` is ``--set``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

from ecgcam.errors import EcgcamError, nearest
from ecgcam.pipeline.settings import Settings
from ecgcam.records import Record, parse_lead_names, read_record
from ecgcam.runs.calibration import CHOSEN
from ecgcam.runs.prompts import like_prompts
from ecgcam.runs.reading import Reading

if TYPE_CHECKING:
    from ecgcam.evidence.truths import Annotations

Progress = Callable[[int, int], object]
OnError = Literal["raise", "skip"] | Callable[[Any, EcgcamError], object]


class ArrayLike(Protocol):
    """What NumPy takes for an array: NumPy's own arrays, tensors of torch."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        """Return a NumPy array."""


# A recording: a file, a `Record`, or an array with `fs`, `lead_names` and perhaps `unit`.
RecordLike = Record | str | Path | ArrayLike


class AttributionOptions(TypedDict, total=False):
    """How a map is made: the fields of `ecgcam.pipeline.settings.Settings`."""

    method: str
    options: Mapping[str, object]
    layer: str | None
    mask: str | None
    gradient: str | None
    signed_gradient: bool
    smoother: str
    smooth_ms: float
    against: str | Sequence[str]
    seed: int
    batch: int


class WindowOptions(TypedDict, total=False):
    """How a recording is read and cut into windows."""

    fs: float | None
    lead_names: str | Sequence[str] | None
    unit: str | None
    start: float
    seconds: float | None
    all_windows: bool
    hop: float | None


class ScoreOptions(WindowOptions, total=False):
    """The keywords of `score`.

    Attributes
    ----------
    criteria : bool
        Score each finding by its criteria too: phrases for them less phrases against them.
    """

    criteria: bool


class FindingScores(TypedDict):
    """What `score` returns of a recording with `criteria`.

    Attributes
    ----------
    scores : dict
        The score of each prompt, best first.
    criteria : dict
        Of each prompt that is a finding's, its score by criteria; None where the model has no embedding of their phrases.
    """

    scores: dict[str, float]
    criteria: dict[str, float | None]


class MapOptions(AttributionOptions, WindowOptions, total=False):
    """The keywords of `map_tensors`."""

    progress: Progress


class ExplainOptions(MapOptions, total=False):
    """The keywords of `explain` and `explain_many`.

    Attributes
    ----------
    method, options, layer, mask : str, dict, str, str
        The attribution method with its options, its target layer, and what fills a masked lead.
    gradient, signed_gradient, smoother, smooth_ms : str, bool, str, float
        The input gradient (``"record"``, ``"lead"`` or None), and how it is smoothed, with the width in ms.
    against : str or sequence of str
        Foils: the score minus their mean score is explained.
    seed, batch : int, int
        The random seed; how many masked signals run at once.
    fs, lead_names, unit : float, str or sequence of str, str
        Sampling rate (Hz), channel names and unit (``"mV"``, ``"uV"``, ``"V"``) of recordings that do not state them.
    start, seconds, all_windows, hop : float, float, bool, float
        Which windows, in seconds.
    like : str, path or sequence of them
        Other recordings instead of texts.
    top : int
        The number of prompts: those that score best on the recording.
    check : bool
        Check each map (`meta["check"]`): 17 more signals for each window and prompt.
    criteria : bool
        Measure the criteria of the prompt's finding, and whether the evidence lies on them (`meta["criteria"]`).
    progress : callable
        Called with (done, total) while a method runs the model many times.
    """

    like: str | Path | Sequence[str | Path]
    top: int | None
    check: bool | None
    criteria: bool


class ModelKeywords(TypedDict, total=False):
    """Which model: the parameters of `ecgcam.load_model`."""

    checkpoint: str | Path | None
    embeddings: str | Path | None
    text_model: str | Path | None
    device: str
    offline: bool
    allow_numpy_scalars: bool
    precision: str


class RunOptions(AttributionOptions, WindowOptions, ModelKeywords, total=False):
    """The keywords of `run`: the options of ``ecgcam explain``."""

    like: str | Path | Sequence[str | Path]
    top: int | None
    scale: str | None
    layout: str
    waves: bool
    formats: tuple[str, ...]
    dpi: float | None
    width_mm: float | None
    png: bool
    npz: bool
    check: bool
    criteria: bool
    jobs: int | None
    engine: str
    shard: str | None
    pack: int | None
    resume: bool
    force: bool
    progress: Progress


class EvaluateOptions(WindowOptions, ModelKeywords, total=False):
    """The keywords of `evaluate`: the options of ``ecgcam evaluate``."""

    scale: str
    tile_ms: float
    randomisations: int
    seed: int
    truth: str | Path | None
    annotations: Annotations | str | None
    questions: str | Path | None
    all_metrics: bool
    out: str | Path | None
    jobs: int | None


def check_keywords(function: str, options: Mapping[str, Any], known: type) -> None:
    """Raise `TypeError`, as Python does, for a keyword that does not exist, with the nearest one that does."""
    names = list(known.__annotations__)
    for name in options:
        if name not in names:
            near = nearest(name, names, 1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            raise TypeError(f"{function} got an unexpected keyword argument {name!r}{hint}")


def settings_of(options: Mapping[str, Any]) -> Settings:
    """Return the settings among the keywords of a call."""
    given = {name: value for name, value in options.items() if name in AttributionOptions.__annotations__}
    against = given.pop("against", ())
    given["against"] = (against,) if isinstance(against, str) else tuple(against)
    return Settings(**given)


def explicit_in(options: Mapping[str, Any]) -> frozenset[str]:
    """Return which of method, layer and mask the caller chose; a calibration may choose the others."""
    return frozenset(name for name in CHOSEN if options.get(name) is not None)


def reading_of(options: Mapping[str, Any]) -> Reading:
    """Return how recordings are read, by the keywords of a call."""
    given = {name: value for name, value in options.items() if name in WindowOptions.__annotations__}
    names = given.get("lead_names")
    given["lead_names"] = parse_lead_names(names) if isinstance(names, str) else names
    return Reading(**given)


def like_of(like: str | Path | Sequence[str | Path]) -> dict[str, Path]:
    """Return the recordings that stand for prompts, by prompt."""
    return like_prompts([like] if isinstance(like, str | Path) else like)


def to_record(source: Any, reading: Reading) -> Record:
    """Return a `Record` of a record, a path or an array."""
    if isinstance(source, Record):
        return source
    if isinstance(source, str | Path):
        return read_record(source, reading.fs, reading.lead_names, reading.unit)
    if reading.fs is None or reading.lead_names is None:
        raise EcgcamError("`record`: an array carries neither rate nor lead names; give `fs` and `lead_names`")
    return Record.from_array(source, reading.fs, reading.lead_names, reading.unit or "mV")
