"""`ecgcam evaluate`."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecgcam.cli import options as shared
from ecgcam.cli.chosen import Chosen, one_kind
from ecgcam.cli.console import complain, print_json, progress, say, set_up_logging
from ecgcam.cli.tables import print_table
from ecgcam.errors import EcgcamError

if TYPE_CHECKING:
    from ecgcam.batch.helpers import Helpers

ROOMS = ("faithfulness", "localisation", "sanity")
# Fewer recordings are judged before other processes have loaded the model.
_SEVERAL = 4


def run(
    records: shared.Records,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", "-t", metavar="TEXT", help="A prompt; may be repeated.", show_default=False),
    ] = None,
    text_file: shared.TextFile = None,
    target: shared.Target = None,
    methods: Annotated[
        str, typer.Option("--methods", metavar="A,B|all", help="What is judged; see `ecgcam methods`.")
    ] = "grad-cam",
    masks: Annotated[
        str | None,
        typer.Option("--masks", metavar="A,B", help="With these masks. [default: the model's]", show_default=False),
    ] = None,
    what: Annotated[
        str, typer.Option("--what", metavar="A,B", help="Of faithfulness, localisation and sanity.")
    ] = "faithfulness,localisation,sanity",
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth",
            metavar="DIR",
            help="Where NAME-truth.npz lies: mask (L, N) of true and false, leads, fs. [default: beside each recording]",
            show_default=False,
        ),
    ] = None,
    annotations: Annotated[
        str | None,
        typer.Option(
            "--annotations",
            metavar="EXT:SYMBOLS",
            help="The truth is these marks of the WFDB annotation file beside each recording: atr:V; leads:N for LUDB's QRS.",
            show_default=False,
        ),
    ] = None,
    scale: Annotated[
        str, typer.Option("--scale", metavar="evidence|lead|raw", help="At which maps are judged.")
    ] = "evidence",
    tile: Annotated[
        float, typer.Option("--tile", metavar="MS", help="What is taken out at a time, 40 to 120 ms.")
    ] = 80.0,
    randomisations: Annotated[
        int,
        typer.Option(
            "--randomisations",
            metavar="N",
            min=1,
            help="Networks with random weights; from 2 on, also with only the top 25, 50, 75 % random.",
        ),
    ] = 1,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of everything random.")] = 0,
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
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Also write DIR/evidence.jsonl, the table, and DIR/evidence-records.jsonl, a line a map.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on after DIR/evidence-records.jsonl: what is there is not done again.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            metavar="N",
            min=1,
            help="Recordings judged at a time, each in a process with the model; 1: in this one. [default: cores; 1 on a GPU]",
            show_default=False,
        ),
    ] = None,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (read by ecgcam.cli.app, which decides what an error looks like)
) -> None:
    """Judge maps: does the score follow them, do they lie where the finding is, do they depend on what they should.

    A random map is always judged beside them.
    """
    from ecgcam.attribution.methods import METHODS, method_named
    from ecgcam.batch.reading import Reading
    from ecgcam.batch.worklist import find_recordings
    from ecgcam.evidence.edits import check_tile
    from ecgcam.evidence.journal import Journal
    from ecgcam.evidence.truths import Annotations
    from ecgcam.explanation import SCALES
    from ecgcam.prompts import clean_texts
    from ecgcam.records import parse_lead_names
    from ecgcam.settings import Settings

    set_up_logging(quiet)
    texts = shared.read_prompts(text or [], text_file)
    one_kind(texts, target, None, None)
    prompts = clean_texts(target or texts)
    shared.check_choice("--scale", scale, SCALES)
    rooms = _listed("--what", what)
    for room in rooms:
        shared.check_choice("--what", room, ROOMS)
    check_tile(tile)
    chosen = Chosen(
        model, checkpoint, embeddings, text_model, device, offline, allow_numpy_scalars, targets=bool(target)
    )
    chosen.check()
    spec = chosen.spec
    named = list(METHODS) if methods == "all" else _listed("--methods", methods)
    fills: list[str | None] = [None] if masks is None else [*_listed("--masks", masks)]
    for name in named:
        method_named(name)
    for fill in fills:
        Settings(mask=fill).check(spec)
    names = None if lead_names is None else parse_lead_names(lead_names)
    reading = Reading(fs=fs, lead_names=names, start=start, seconds=seconds)
    reading.check_flags()
    items = find_recordings(records, sys.stdin)
    if resume and out is None:
        raise EcgcamError("--resume: needs the folder of the run to go on with; give --out DIR")
    marks = None if annotations is None else Annotations.parse(annotations)
    if marks is not None and truth is not None:
        raise EcgcamError("--truth and --annotations: each says where the finding is; give one of them")
    if truth is not None and not truth.is_dir():
        raise EcgcamError(f"{truth}: no such folder; --truth takes the folder of NAME-truth.npz files")
    if len(items) == 1:
        reading.check(items[0], spec.input)
    asked = {
        "texts": prompts, "methods": named, "masks": fills, "what": rooms, "scale": scale, "tile_ms": tile, "seed": seed,
        "randomisations": randomisations,
        "annotations": annotations, "model": spec.name, "start": start, "seconds": seconds,
    }  # fmt: skip
    journal = Journal(out, asked, resume)

    from ecgcam.batch.local import flush_denormals
    from ecgcam.cli.judging import Job
    from ecgcam.evidence.evaluation import Plan, Trial, mean_rows

    flush_denormals()
    loaded = chosen.loaded
    trials = [Trial(name, fill) for fill in fills for name in named]
    plan = Plan(tuple(rooms), scale, tile, randomisations)
    job = Job(replace(chosen), prompts, trials, plan, Settings(seed=seed), reading, truth, marks)
    left = [item for item in items if item.name not in journal.done]
    told: set[tuple[str, str]] = set()
    failures = 0
    with (
        journal,
        progress(len(items), "evaluating", quiet) as step,
        _processes(len(left), 1 if jobs is None and loaded.device.type != "cpu" else jobs) as helpers,
    ):
        step(len(items) - len(left))
        for item, judged in job.judge_all(left, loaded, helpers):
            try:
                entries, left_out = judged()
                journal.add(item.name, entries)
            except EcgcamError as error:
                failures += 1
                complain(str(error))
            else:
                for method, why in left_out:
                    if (method, why) not in told and not quiet:
                        complain(f"note: {method} is left out: {why}")
                    told.add((method, why))
            step(1)
        rows = mean_rows(journal.entries())
    if out is not None:
        journal.write_table(rows)
    if as_json:
        for row in rows:
            print_json(row)
    elif rows:
        _print(rows)
    if not rows:
        if not failures:
            complain("no metric has a value: no method is allowed, or no truth lies beside the recordings")
        raise typer.Exit(2)
    if failures:
        raise typer.Exit(1)


def _processes(recordings: int, jobs: int | None) -> AbstractContextManager[Helpers | None]:
    """Return the helpers for so many recordings: as many as are asked for, or pay, and never more than recordings."""
    from ecgcam.batch.helpers import Helpers, cores, learn_to_read

    if jobs is None:
        jobs = cores() if recordings >= _SEVERAL else 1
    count = min(jobs, recordings)
    return nullcontext() if count <= 1 else Helpers(count, learn_to_read, long=True)


def _listed(flag: str, value: str) -> list[str]:
    """Return the parts of a comma-separated list, each once."""
    parts = [part.strip() for part in value.split(",")]
    if "" in parts:
        raise EcgcamError(f"{flag} {value}: an empty name; write for example {flag} A,B")
    return list(dict.fromkeys(parts))


def _print(rows: list[dict[str, Any]]) -> None:
    """Print a table for each prompt and mask: a line a metric, a column a method, mean and interval."""
    for text, mask in dict.fromkeys((row["text"], row["mask"]) for row in rows):
        here = [row for row in rows if (row["text"], row["mask"]) == (text, mask)]
        methods = list(dict.fromkeys(row["method"] for row in here))
        cells = {(row["metric"], row["method"]): row for row in here}
        lines = []
        for metric in dict.fromkeys(row["metric"] for row in here):
            known = [cells[metric, method] for method in methods if (metric, method) in cells]
            chance = next((f"{row['chance']:.3f}" for row in reversed(known) if row["chance"] is not None), "")
            columns = [_cell(cells.get((metric, method))) for method in methods]
            lines.append([metric, known[0]["direction"], chance, *columns])
        most = max(row["n"] for row in here)
        say(f"{text!r}, mask {mask}, {most} window{'s' if most > 1 else ''}")
        print_table(["metric", "better", "chance", *methods], lines, right=("chance", *methods))
        say("")


def _cell(row: dict[str, Any] | None) -> str:
    if row is None or row["mean"] is None:
        return ""
    interval = "" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['mean']:.3f}{interval}"
