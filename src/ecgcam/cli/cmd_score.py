"""`ecgcam score`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated

import typer

from ecgcam.cli import options as shared
from ecgcam.cli.console import note, print_error, print_json, print_line, progress, set_up_logging
from ecgcam.errors import EcgcamError


def run(
    records: shared.Records,
    text: shared.Text = None,
    text_file: shared.TextFile = None,
    sentences: shared.Sentences = False,
    target: shared.Target = None,
    model: shared.Model = None,
    checkpoint: shared.Checkpoint = None,
    text_model: shared.TextModel = None,
    embeddings: shared.Embeddings = None,
    allow_numpy_scalars: shared.AllowNumpyScalars = False,
    device: shared.Device = "auto",
    offline: shared.Offline = False,
    criteria: Annotated[
        bool,
        typer.Option(
            "--criteria",
            help="Score each finding by its criteria too: phrases for them less phrases against them (`ecgcam docs criteria`).",
        ),
    ] = False,
    start: shared.Start = 0.0,
    seconds: shared.Seconds = None,
    fs: shared.Fs = None,
    lead_names: shared.LeadNames = None,
    unit: shared.Unit = None,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (read by ecgcam.cli.app, which decides what an error looks like)
) -> None:
    """Rank prompts by their similarity to each recording; without prompts, those of the bundled vocabulary."""
    from ecgcam.evidence.observations import observation_score, texts_to_score
    from ecgcam.models.text.vocabulary import clean_texts, vocabulary_prompts
    from ecgcam.records import parse_lead_names
    from ecgcam.runs.events import Scored
    from ecgcam.runs.model_options import ModelOptions
    from ecgcam.runs.reading import Reading
    from ecgcam.runs.score_task import ScoreTask
    from ecgcam.runs.worklist import Failure, find_recordings

    set_up_logging(quiet)
    texts = shared.read_prompts(text or [], text_file, sentences)
    if texts and target:
        raise EcgcamError("--target and --text: a model gives the score of a text or its own outputs; choose one")
    prompts = clean_texts(target or texts or vocabulary_prompts())
    options = ModelOptions(
        model, checkpoint, embeddings, text_model, device, offline, allow_numpy_scalars, targets=bool(target)
    )
    options.check()
    spec = options.spec
    names = None if lead_names is None else parse_lead_names(lead_names)
    reading = Reading(fs=fs, lead_names=names, start=start, seconds=seconds, unit=unit)
    reading.check_values()
    items = find_recordings(records, sys.stdin)
    calibration = options.calibration
    if len(items) == 1:
        reading.check(items[0], spec.input)
    texts, observed = texts_to_score(prompts, options.loaded.text.has) if criteria else (prompts, {})
    if calibration is not None:
        known = sum(prompt in calibration.references for prompt in prompts)
        note(
            f"calibrated for these weights: percentiles of {known} prompt{'s' if known != 1 else ''} are among "
            f"{calibration.source}"
        )
    failures = 0
    with progress(len(items), "scoring", quiet) as step:
        for event in ScoreTask(options, tuple(texts), reading).run(items):
            step(1)
            if isinstance(event, Failure):
                failures += 1
                print_error(event.error)
            if not isinstance(event, Scored):
                continue
            by_text = dict(zip(texts, event.scores, strict=True))
            ranked = dict(sorted(((prompt, by_text[prompt]) for prompt in prompts), key=lambda pair: -pair[1]))
            by_criteria = {prompt: observation_score(several, by_text) for prompt, several in observed.items()}
            found = {
                prompt: None if calibration is None else calibration.percentile(prompt, score)
                for prompt, score in ranked.items()
            }
            if as_json:
                percentiles = {prompt: None if one is None else round(one, 1) for prompt, one in found.items()}
                line = {"record": event.item.name, "scores": _rounded(ranked)}
                line |= {"criteria": _rounded(by_criteria)} if criteria else {}
                print_json(line | ({} if calibration is None else {"percentiles": percentiles}))
                continue
            print_line(event.item.name + ("  (score; by criteria)" if criteria else ""))
            for prompt, score in ranked.items():
                place = "" if found[prompt] is None else f"  (percentile {found[prompt]:.0f})"
                print_line(f"  {score:7.3f}  {_cell(by_criteria, prompt) if criteria else ''}{prompt}{place}")
    if failures:
        raise typer.Exit(2 if failures == len(items) else 1)


def _rounded(scores: Mapping[str, float | None]) -> dict[str, float | None]:
    return {prompt: None if score is None else round(score, 6) for prompt, score in scores.items()}


def _cell(by_criteria: Mapping[str, float | None], prompt: str) -> str:
    """Return the column of scores by criteria."""
    score = by_criteria.get(prompt)
    return "      –  " if score is None else f"{score:7.3f}  "
