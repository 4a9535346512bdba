"""`ecgcam.run` and `ecgcam.evaluate`: the commands of those names as functions, with the same words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from ecgcam.errors import EcgcamError, warn_user
from ecgcam.evidence import METRIC_GROUPS
from ecgcam.models.text.vocabulary import clean_texts, vocabulary_prompts
from ecgcam.runs.evaluate_call import EvaluateCall
from ecgcam.runs.events import Evaluated, Finished, Result
from ecgcam.runs.explain_call import ExplainCall, Many
from ecgcam.runs.keywords import (
    AttributionOptions,
    EvaluateOptions,
    ModelKeywords,
    RunOptions,
    check_keywords,
    explicit_in,
    like_of,
    reading_of,
    settings_of,
)
from ecgcam.runs.model_options import LoadedModel, ModelOptions
from ecgcam.runs.prompts import check_kinds
from ecgcam.runs.tasks import no_progress
from ecgcam.runs.worklist import Failure, parse_shard
from ecgcam.runs.writer import Outputs

if TYPE_CHECKING:
    from ecgcam.protocol.model import EcgTextModel


@dataclass(frozen=True)
class RunReport:
    """The outcome of a run.

    Attributes
    ----------
    results : list of dict
        The content of each ``summary.json``, with `out`, the folder; including existing results.
    failures : list of (str, EcgcamError)
        Recordings that could not be explained, by name, and why.
    """

    results: list[dict[str, Any]]
    failures: list[tuple[str, EcgcamError]]


def run(
    records: str | Path | Sequence[str | Path],
    texts: str | Sequence[str] = (),
    *,
    out: str | Path = "ecgcam-out",
    model: EcgTextModel | str | None = None,
    targets: str | Sequence[str] = (),
    **options: Unpack[RunOptions],
) -> RunReport:
    """Explain recordings and write results into `out`, as ``ecgcam explain`` does; existing results are not made again.

    Parameters
    ----------
    records : path or sequence of paths
        Files, stems and folders.
    texts, targets : str or sequence of str
        The prompts, or outputs of a classifier.
    out : path
        The folder of results.
    model : EcgTextModel or str, optional
        A loaded model, which runs only in this process, or what ``--model`` takes.
    **options
        See `ecgcam.runs.keywords.RunOptions`.
    """
    check_keywords("run", options, RunOptions)
    call = _call(records, texts, Path(out), model, targets, options)
    call.check()
    results, failures = [], []
    for event in call.events(options.get("progress", no_progress)):
        if isinstance(event, Result):
            results.append(event.summary)
            for note in event.summary["warnings"]:
                warn_user(f"{event.summary['record']}: {note}")
        elif isinstance(event, Finished) and event.existing and event.summary is not None:
            results.append(dict(event.summary))
        elif isinstance(event, Failure):
            failures.append((event.item.name, event.error))
    return RunReport(results, failures)


def _call(
    records: str | Path | Sequence[str | Path],
    texts: str | Sequence[str],
    out: Path,
    model: EcgTextModel | str | None,
    targets: str | Sequence[str],
    options: Mapping[str, Any],
) -> ExplainCall:
    asked = [texts] if isinstance(texts, str) else list(texts)
    outputs_of = [targets] if isinstance(targets, str) else list(targets)
    alike = like_of(options.get("like", ()))
    top = options.get("top")
    check_kinds(asked, outputs_of, list(alike), top)
    if top is not None and not asked:
        asked = vocabulary_prompts()
    output_names, many_names = (
        ("scale", "layout", "waves", "png", "npz", "check", "criteria", "formats", "dpi", "width_mm"),
        ("jobs", "engine", "pack", "resume", "force"),
    )
    shard = options.get("shard")
    return ExplainCall(
        records=[str(one) for one in ([records] if isinstance(records, str | Path) else records)],
        prompts=clean_texts(outputs_of or list(alike) or asked),
        options=options_of_model(model, options, bool(outputs_of)),
        settings=settings_of({key: options[key] for key in AttributionOptions.__annotations__ if key in options}),
        reading=reading_of(options),
        out=out,
        outputs=Outputs(
            **{key: options[key] for key in output_names if key in options}, recheck=options.get("check", False)
        ),
        many=Many(
            shard=None if shard is None else parse_shard(shard),
            **{key: options[key] for key in many_names if key in options},
        ),
        like=alike,
        top=top,
        explicit=explicit_in(options),
    )


def options_of_model(model: EcgTextModel | str | None, options: Mapping[str, Any], targets: bool) -> ModelOptions:
    """Return which model a call runs: a loaded one, or what `ecgcam.load_model` takes."""
    given = {key: options[key] for key in ModelKeywords.__annotations__ if options.get(key) is not None}
    given |= {key: Path(given[key]) for key in ("checkpoint", "embeddings", "text_model") if key in given}
    if model is None or isinstance(model, str):
        return ModelOptions(model=model, layer=options.get("layer"), targets=targets, **given)
    if given:
        raise EcgcamError(f"`{next(iter(given))}`: the given model is already loaded; give its name instead")
    return LoadedModel(targets=model.targets, given=model)


def evaluate(
    records: str | Path | Sequence[str | Path],
    texts: str | Sequence[str] = (),
    model: EcgTextModel | str | None = None,
    *,
    methods: str | Sequence[str] | None = None,
    layers: str | Sequence[str] | None = None,
    masks: str | Sequence[str] | None = None,
    what: str | Sequence[str] = METRIC_GROUPS,
    **options: Unpack[EvaluateOptions],
) -> list[dict[str, Any]]:
    """Measure whether maps are true; return a row for each prompt, method, mask and metric, as ``ecgcam evaluate --json`` prints.

    Parameters
    ----------
    records, texts, model
        As in `run`.
    methods, layers, masks : str or sequence of str
        What is evaluated, each method with each layer and mask; default: the choice of the model's calibration, or Grad-CAM.
    what : str or sequence of str
        Groups of metrics. ``all_metrics`` measures more than the headline metrics of these.
    **options
        See `ecgcam.runs.keywords.EvaluateOptions`.
    """
    from ecgcam.evidence.truths import Annotations

    check_keywords("evaluate", options, EvaluateOptions)
    marks = options.get("annotations")
    folder = options.get("truth")
    truth = Annotations.parse(marks) if isinstance(marks, str) else marks
    if folder is not None and truth is not None:
        raise EcgcamError("`truth` and `annotations`: both state where the finding is; give one of them")
    out = options.get("out")
    asked = [texts] if isinstance(texts, str) else list(texts)
    prompts = [] if options.get("questions") is not None and not asked else clean_texts(asked)
    call = EvaluateCall(
        records=[str(one) for one in ([records] if isinstance(records, str | Path) else records)],
        prompts=prompts,
        options=options_of_model(model, options, False),
        reading=reading_of(options),
        methods=[methods] if isinstance(methods, str) else list(methods or ()),
        layers=[None] if layers is None else [layers] if isinstance(layers, str) else list(layers),
        masks=[None] if masks is None else [masks] if isinstance(masks, str) else list(masks),
        groups=[what] if isinstance(what, str) else list(what),
        how={key: options[key] for key in ("scale", "tile_ms", "randomisations", "seed") if key in options},
        truth=Path(folder) if folder is not None else truth,
        questions=None if (questions := options.get("questions")) is None else Path(questions),
        all_metrics=options.get("all_metrics", False),
        out=None if out is None else Path(out),
        jobs=options.get("jobs"),
    )
    call.check()
    entries: list[dict[str, Any]] = []
    for event in call.events():
        if isinstance(event, Failure):
            raise event.error
        if isinstance(event, Evaluated):
            entries += event.entries
    rows = call.rows(entries)
    call.write_conclusions(entries, call.write_table(rows))
    return rows
