"""`ecgcam.explain`, `explain_many`, `map_tensors` and `score`: recordings in memory or on disk, results in memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, overload

from ecgcam.errors import EcgcamError, warn_user
from ecgcam.evidence.observations import observation_score, texts_to_score
from ecgcam.models.text.vocabulary import clean_texts, vocabulary_prompts
from ecgcam.pipeline.settings import BATCH, Settings
from ecgcam.protocol.spec import windows_of
from ecgcam.records import Window
from ecgcam.results.explanation import Explanation
from ecgcam.runs.keywords import (
    ExplainOptions,
    FindingScores,
    MapOptions,
    OnError,
    Progress,
    RecordLike,
    ScoreOptions,
    WindowOptions,
    check_keywords,
    explicit_in,
    like_of,
    reading_of,
    settings_of,
    to_record,
)
from ecgcam.runs.model_options import LoadedModel
from ecgcam.runs.prompts import check_kinds, compare_with
from ecgcam.runs.reading import Reading
from ecgcam.runs.spec import RunSpec
from ecgcam.runs.tasks import no_progress
from ecgcam.runs.worklist import content_sha256, record_sha256

if TYPE_CHECKING:
    from ecgcam.pipeline.tensors import MapTensors
    from ecgcam.protocol.model import EcgTextModel
    from ecgcam.runs.verdicts import Verdicts

Key = TypeVar("Key")


def explain(
    record: RecordLike,
    texts: str | Sequence[str] = (),
    model: EcgTextModel | str = "mini",
    **options: Unpack[ExplainOptions],
) -> list[Explanation]:
    """Explain one recording: which leads, and which moments, made the model match it with each prompt.

    Parameters
    ----------
    record : Record, path or array
        The recording: a `Record`, a file that `ecgcam.read_record` reads, or millivolts (leads, samples) with `fs` and
        `lead_names`.
    texts : str or sequence of str
        One prompt, or several.
    model : EcgTextModel or str
        A loaded model, or the name of one.
    **options
        See `ecgcam.runs.keywords.ExplainOptions`. `check` is on unless ``check=False`` or ``all_windows=True``.

    Returns
    -------
    list of Explanation
        One for each window and prompt, prompts innermost.

    Warns
    -----
    EcgcamWarning
        Notes for the reader of the result; also in ``meta["warnings"]``.

    Examples
    --------
    >>> explanation = ecgcam.explain("demo/af-7.dat", "atrial fibrillation")[0]
    >>> explanation.plot().savefig("page.png")
    """
    if options.get("check") is None:
        options["check"] = not options.get("all_windows", False)
    return list(explain_many([record], texts, model, **options))


def explain_many(
    records: Iterable[RecordLike],
    texts: str | Sequence[str] = (),
    model: EcgTextModel | str = "mini",
    *,
    on_error: OnError = "raise",
    **options: Unpack[ExplainOptions],
) -> Iterator[Explanation]:
    """Explain many recordings, in order, batched across them. Nothing of a finished recording is kept.

    Parameters
    ----------
    records, texts, model
        As in `explain`.
    on_error : "raise", "skip" or callable
        What happens to a recording that cannot be read or explained: the error is raised, after the recordings before it;
        the recording is left out; or it is left out and ``on_error(record, error)`` is called.
    **options
        See `ecgcam.runs.keywords.ExplainOptions`. `check` is off unless ``check=True``.

    Raises
    ------
    EcgcamError
        If a recording cannot be read, a prompt is blank, or a setting is not possible.
    """
    if not callable(on_error) and on_error not in ("raise", "skip"):
        raise EcgcamError(f'`on_error` {on_error}: choose "raise" or "skip", or give a function of (record, error)')
    check_keywords("explain", options, ExplainOptions)
    progress = options.get("progress", no_progress)
    like, top = options.get("like", ()), options.get("top")
    settings, reading = settings_of(options), reading_of(options)
    loaded, prompts = _model_and_prompts(model, texts, like, top, reading)
    settings.check(loaded.spec)
    reading.check_values()
    alike = like_of(like)
    model_options = LoadedModel(targets=loaded.targets, given=loaded)
    ref, settings = model_options.ref, model_options.calibrated(settings, explicit_in(options))
    settings.check(loaded.spec)
    hashes = {prompt: content_sha256(path) for prompt, path in alike.items()}
    if top is not None:
        records = list(records)
        if len(records) != 1:
            raise EcgcamError("`top`: needs one recording; give one, or rank the prompts of many with `ecgcam.score`")
        prompts = _best(loaded, records[0], prompts, top, reading)
    verdicts = _verdicts(loaded, settings, prompts, options, texts_only=not alike)
    specs = {prompt: RunSpec.of(ref, prompt, settings, reading, loaded.spec, hashes.get(prompt)) for prompt in prompts}

    def stamped(explanation: Explanation, sha256: str) -> Explanation:
        spec = specs[str(explanation.meta["text"])]
        explanation.meta.update({
            "fingerprint": spec.fingerprint(sha256), "spec": spec.to_json(), "recording_sha256": sha256,
        })  # fmt: skip
        for note in explanation.meta["warnings"]:
            warn_user(f"{explanation.meta['record']}: {note}")
        return explanation

    def failed(source: Any, error: EcgcamError) -> None:
        if on_error == "raise":
            raise error
        if callable(on_error):
            on_error(source, error)

    for some in _batches(records, loaded, settings, reading):
        explained, errors = _explain_together(some, prompts, loaded, settings, progress, verdicts)
        for read in some:
            error = read.error or errors.get(id(read))
            try:
                for explanation in explained.get(id(read), ()):
                    yield stamped(explanation, read.sha256)
            except EcgcamError as late:  # of a recording that is explained as it is read
                error = late
            if error is not None:
                failed(read.source, error)


@dataclass(frozen=True, eq=False)
class _Read:
    """A recording that has been read, with its windows, or why it was not."""

    source: Any
    sha256: str = ""
    windows: Iterable[Window] = ()
    error: EcgcamError | None = None


def _batches(
    records: Iterable[Any], model: EcgTextModel, settings: Settings, reading: Reading
) -> Iterator[list[_Read]]:
    """Yield recordings that fill a batch together; one alone where it has many windows, or cannot be read."""
    some: list[_Read] = []
    per_batch = max(1, settings.batch // (len(model.input.leads) + 1))
    for source in records:
        read = _read(source, model, reading)
        some.append(read)
        if len(some) == per_batch or read.error is not None or reading.all_windows:
            yield some
            some = []
    if some:
        yield some


def _read(source: Any, model: EcgTextModel, reading: Reading) -> _Read:
    try:
        record = to_record(source, reading)
        sha256 = reading.content_sha256(Path(source)) if isinstance(source, str | Path) else record_sha256(record)
        windows: Iterable[Window] = windows_of(
            record, model.input, reading.start, reading.seconds, reading.all_windows, reading.hop
        )
        return _Read(source, sha256, windows if reading.all_windows else list(windows))
    except EcgcamError as error:
        return _Read(source, error=error)


def _verdicts(
    model: EcgTextModel, settings: Settings, prompts: list[str], options: Mapping[str, Any], *, texts_only: bool
) -> Verdicts:
    from ecgcam.runs.verdicts import Verdicts

    return Verdicts(
        model, settings, prompts, texts_only=texts_only and not model.targets, check=bool(options.get("check")),
        criteria=options.get("criteria", False),
    )  # fmt: skip


def _concluded(
    windows: Iterable[tuple[Key, Window]], prompts: list[str], model: EcgTextModel, settings: Settings, progress: Progress,
    verdicts: Verdicts,
) -> Iterator[tuple[Key, Explanation]]:  # fmt: skip
    """Explain windows, and add verdict and check to the explanations of each."""
    from ecgcam.pipeline.engine import explain_windows

    pairs = (((key, window), window) for key, window in windows)
    explained = explain_windows(pairs, prompts, model, settings, progress)
    for _, some in itertools.groupby(explained, lambda pair: id(pair[0][1])):
        found = list(some)
        key, window = found[0][0]
        explanations = [explanation for _, explanation in found]
        verdicts.add_to(window, explanations)
        yield from ((key, explanation) for explanation in explanations)


def _explain_together(
    some: list[_Read],
    prompts: list[str],
    model: EcgTextModel,
    settings: Settings,
    progress: Progress,
    verdicts: Verdicts,
) -> tuple[dict[int, Iterable[Explanation]], dict[int, EcgcamError]]:
    """Return explanations, and errors, of recordings by the `id` of each; where they fail together, each is tried alone."""

    def concluded(windows: Iterable[tuple[Key, Window]]) -> Iterator[tuple[Key, Explanation]]:
        return _concluded(windows, prompts, model, settings, progress, verdicts)

    found: dict[int, list[Explanation]] = {}
    readable = [read for read in some if read.error is None]
    if len(some) == 1 and readable:  # perhaps with many windows, which must not be held at once
        return {id(some[0]): (one for _, one in concluded((None, window) for window in readable[0].windows))}, {}
    try:
        for key, explanation in concluded([(id(read), window) for read in readable for window in read.windows]):
            found.setdefault(key, []).append(explanation)
    except EcgcamError:
        found, errors = {}, {}
        for read in readable:
            try:
                found[id(read)] = [one for _, one in concluded([(None, window) for window in read.windows])]
            except EcgcamError as error:
                errors[id(read)] = error
        return dict(found), errors
    return dict(found), {}


def map_tensors(
    records: RecordLike | Sequence[RecordLike],
    texts: str | Sequence[str],
    model: EcgTextModel | str = "mini",
    **options: Unpack[MapOptions],
) -> MapTensors:
    """Explain one window of each recording, with the maps as tensors on the model's device; no gradient passes through them.

    Parameters
    ----------
    records : Record, path or array, or a list or tuple of them
        The recordings, as in `explain`.
    texts, model
        As in `explain`.
    **options
        See `ecgcam.runs.keywords.MapOptions`. The input gradient is computed only with `gradient`, and is not returned.

    Raises
    ------
    EcgcamError
        If a recording cannot be read, or a setting is not possible.

    Examples
    --------
    >>> target = ecgcam.map_tensors(signals, "atrial fibrillation", model, fs=500, lead_names="standard").maps
    """
    from ecgcam.pipeline.tensors import explain_to_tensors

    check_keywords("map_tensors", options, MapOptions)
    given: dict[str, Any] = {"gradient": None, **options}
    settings, reading = settings_of(given), reading_of(given)
    if reading.all_windows:
        raise EcgcamError("`all_windows`: map_tensors takes one window of each recording; choose it with `start`")
    loaded, prompts = _model_and_prompts(model, texts, (), None, reading)
    settings.check(loaded.spec)
    reading.check_values()
    settings = LoadedModel(targets=loaded.targets, given=loaded).calibrated(settings, explicit_in(options))
    settings.check(loaded.spec)
    several = records if isinstance(records, list | tuple) else [records]
    windows = (
        next(iter(windows_of(to_record(source, reading), loaded.input, reading.start, reading.seconds)))
        for source in several
    )
    return explain_to_tensors(windows, prompts, loaded, settings, options.get("progress", no_progress))


def _model_and_prompts(
    model: EcgTextModel | str, texts: str | Sequence[str], like: Any, top: int | None, reading: Reading
) -> tuple[EcgTextModel, list[str]]:
    """Return the loaded model and the prompts: texts, recordings, or the vocabulary where the best are chosen."""
    import ecgcam.models.load

    given = [texts] if isinstance(texts, str) else list(texts)
    alike = like_of(like)
    check_kinds(given, (), list(alike), top)
    loaded = ecgcam.models.load.load_model(model) if isinstance(model, str) else model
    if alike:
        loaded = compare_with(loaded, alike, reading)
    if top is not None and not given:
        given = vocabulary_prompts()
    return loaded, clean_texts(list(alike) or given)


def _best(model: EcgTextModel, source: Any, prompts: list[str], count: int, reading: Reading) -> list[str]:
    scores = score([source], prompts, model, start=reading.start, fs=reading.fs, lead_names=reading.lead_names)[0]
    return list(scores)[:count]


@overload
def score(
    records: RecordLike | Sequence[RecordLike],
    texts: str | Sequence[str] | None = None,
    model: EcgTextModel | str = "mini",
    *,
    criteria: Literal[False] = False,
    **options: Unpack[WindowOptions],
) -> list[dict[str, float]]: ...


@overload
def score(
    records: RecordLike | Sequence[RecordLike],
    texts: str | Sequence[str] | None = None,
    model: EcgTextModel | str = "mini",
    *,
    criteria: Literal[True],
    **options: Unpack[WindowOptions],
) -> list[FindingScores]: ...


def score(
    records: RecordLike | Sequence[RecordLike],
    texts: str | Sequence[str] | None = None,
    model: EcgTextModel | str = "mini",
    **options: Unpack[ScoreOptions],
) -> list[dict[str, float]] | list[FindingScores]:
    """Return the scores of each recording by prompt, best first; without `texts`, of the vocabulary's prompts.

    Parameters
    ----------
    records : Record, path, array, or a list or tuple of them
        The recordings.
    texts, model
        As in `explain`.
    **options
        See `ecgcam.runs.keywords.ScoreOptions`.

    Returns
    -------
    list of dict
        {prompt: score} of each recording. With ``criteria=True`` {"scores": {prompt: score}, "criteria": {prompt: score}},
        the latter of the prompts that are findings.

    Raises
    ------
    EcgcamError
        If a recording cannot be read, a prompt is blank, or `criteria` is given and no prompt is a finding with criteria.
    """
    import ecgcam.models.load
    from ecgcam.pipeline.engine import score_windows

    check_keywords("score", options, ScoreOptions)
    by_criteria = options.get("criteria", False)
    reading = reading_of(options)
    loaded = ecgcam.models.load.load_model(model) if isinstance(model, str) else model
    prompts = clean_texts([texts] if isinstance(texts, str) else list(texts or vocabulary_prompts()))
    scored, observed = texts_to_score(prompts, loaded.text.has) if by_criteria else (prompts, {})
    several = records if isinstance(records, list | tuple) else [records]
    windows = []
    for number, source in enumerate(several):
        record = to_record(source, reading)
        window = next(iter(windows_of(record, loaded.input, reading.start, reading.seconds)))
        windows.append((number, window))
        for note in (*window.record.notes, *window.warnings):
            warn_user(f"{record.name}: {note}")
    found = [dict(zip(scored, scores, strict=True)) for _, scores in score_windows(windows, scored, loaded)]
    ranked = [dict(sorted(((p, one[p]) for p in prompts), key=lambda pair: -pair[1])) for one in found]
    if not by_criteria:
        return ranked
    return [
        FindingScores(scores=plain, criteria={p: observation_score(criteria, one) for p, criteria in observed.items()})
        for plain, one in zip(ranked, found, strict=True)
    ]


__all__ = ["BATCH", "explain", "explain_many", "map_tensors", "score"]
