"""`ecgcam score`."""

from __future__ import annotations

import sys

import typer

from ecgcam.cli import options as shared
from ecgcam.cli.chosen import Chosen
from ecgcam.cli.console import complain, print_json, progress, say, set_up_logging


def run(
    records: shared.Records,
    text_file: shared.TextFile = None,
    model: shared.Model = None,
    checkpoint: shared.Checkpoint = None,
    text_model: shared.TextModel = None,
    embeddings: shared.Embeddings = None,
    allow_numpy_scalars: shared.AllowNumpyScalars = False,
    device: shared.Device = "auto",
    offline: shared.Offline = False,
    start: shared.Start = 0.0,
    seconds: shared.Seconds = None,
    fs: shared.Fs = None,
    lead_names: shared.LeadNames = None,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (read by ecgcam.cli.app, which decides what an error looks like)
) -> None:
    """Rank prompts by their similarity to each recording (without --text-file: the bundled vocabulary)."""
    from ecgcam.batch.reading import Reading
    from ecgcam.batch.worklist import Failure, find_recordings
    from ecgcam.prompts import clean_texts, vocabulary_prompts
    from ecgcam.records import parse_lead_names

    set_up_logging(quiet)
    prompts = clean_texts(shared.read_prompts([], text_file) or vocabulary_prompts())
    chosen = Chosen(model, checkpoint, embeddings, text_model, device, offline, allow_numpy_scalars)
    chosen.check()
    spec = chosen.spec
    names = None if lead_names is None else parse_lead_names(lead_names)
    reading = Reading(fs=fs, lead_names=names, start=start, seconds=seconds)
    reading.check_flags()
    items = find_recordings(records, sys.stdin)
    if len(items) == 1:
        reading.check(items[0], spec.input)

    from ecgcam.batch.local import run_score

    failures: list[Failure] = []
    loaded = chosen.loaded
    with progress(len(items), "scoring", quiet) as step:

        def failed(failure: Failure) -> None:
            failures.append(failure)
            complain(str(failure.error))
            step(1)

        for item, _, scores in run_score(items, prompts, loaded, reading, failed):
            step(1)
            ranked = dict(sorted(zip(prompts, scores, strict=True), key=lambda pair: -pair[1]))
            if as_json:
                print_json(
                    {"record": item.name, "scores": {prompt: round(score, 6) for prompt, score in ranked.items()}}
                )
                continue
            say(item.name)
            for prompt, score in ranked.items():
                say(f"  {score:7.3f}  {prompt}")
    if failures:
        raise typer.Exit(2 if len(failures) == len(items) else 1)
