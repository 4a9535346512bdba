"""`ecgcam evaluate`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ecgcam.cli import options as shared
from ecgcam.cli.console import print_error, print_json, print_line, progress, set_up_logging
from ecgcam.cli.help import ASK, MANY, METHOD, OUTPUT
from ecgcam.cli.tables import print_table
from ecgcam.errors import EcgcamError


def run(
    records: shared.Records,
    text: shared.Text = None,
    text_file: shared.TextFile = None,
    sentences: shared.Sentences = False,
    target: shared.Target = None,
    questions: Annotated[
        Path | None,
        typer.Option(
            "--questions",
            metavar="FILE",
            help="Answer these questions about criteria with the maps, instead of metrics and --text.",
            show_default=False,
            rich_help_panel=ASK,
        ),
    ] = None,
    what: Annotated[
        str,
        typer.Option(
            "--what",
            metavar="A,B",
            help="Which groups of metrics: faithfulness, localisation, sanity.",
            rich_help_panel=ASK,
        ),
    ] = "faithfulness,localisation,sanity",
    all_metrics: Annotated[
        bool,
        typer.Option(
            "--all-metrics",
            help="All metrics, not only the headline metrics; about six times as slow.",
            rich_help_panel=ASK,
        ),
    ] = False,
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth",
            metavar="DIR",
            help="Folder of NAME-truth.npz files, each with mask (L, N), leads and fs. [default: next to each recording]",
            show_default=False,
            rich_help_panel=ASK,
        ),
    ] = None,
    annotations: Annotated[
        str | None,
        typer.Option(
            "--annotations",
            metavar="EXT:SYMBOLS",
            help="Take these annotations of the WFDB file next to each recording as the truth: atr:V; leads:N for LUDB's QRS.",
            show_default=False,
            rich_help_panel=ASK,
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            metavar="A,B|all",
            help="Which methods are evaluated; `ecgcam methods` lists them. [default: grad-cam, or the calibration's]",
            show_default=False,
            rich_help_panel=METHOD,
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            "--layers",
            metavar="A,B",
            help="Each method at each of these layers. [default: the model's]",
            show_default=False,
            rich_help_panel=METHOD,
        ),
    ] = None,
    masks: Annotated[
        str | None,
        typer.Option(
            "--masks",
            metavar="A,B",
            help="With which masks. [default: the model's]",
            show_default=False,
            rich_help_panel=METHOD,
        ),
    ] = None,
    scale: Annotated[
        str,
        typer.Option(
            "--scale", metavar="evidence|lead|raw", help="Which scale of the maps is evaluated.", rich_help_panel=METHOD
        ),
    ] = "evidence",
    tile: Annotated[
        float,
        typer.Option(
            "--tile", metavar="MS", help="Width of the tiles that are removed, 40 to 120 ms.", rich_help_panel=METHOD
        ),
    ] = 80.0,
    randomisations: Annotated[
        int,
        typer.Option(
            "--randomisations",
            metavar="N",
            min=1,
            help="Number of networks with random weights; with 2 or more, networks with only the top 25, 50 "
            "and 75 % random are added.",
            rich_help_panel=METHOD,
        ),
    ] = 1,
    seed: shared.Seed = 0,
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
    unit: shared.Unit = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Also write DIR/evidence.jsonl and .csv, the table, DIR/conclusions.csv, and DIR/evidence-records.jsonl, "
            "a line for each map.",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (read by ecgcam.cli.app, which decides what an error looks like)
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue DIR/evidence-records.jsonl; its values are not computed again.",
            rich_help_panel=MANY,
        ),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            metavar="N",
            min=1,
            help="Number of processes, each with its own model; 1 means only this process. "
            "[default: cores; 1 on a GPU]",
            show_default=False,
            rich_help_panel=MANY,
        ),
    ] = None,
) -> None:
    """Evaluate maps: faithfulness to the score, localisation of the finding, dependence on weights and prompt.

    A random map is always evaluated with them.
    """
    from ecgcam.attribution.methods import METHODS
    from ecgcam.evidence.truths import Annotations
    from ecgcam.models.text.vocabulary import clean_texts
    from ecgcam.records import parse_lead_names
    from ecgcam.runs.evaluate_call import EvaluateCall
    from ecgcam.runs.events import Evaluated
    from ecgcam.runs.model_options import ModelOptions
    from ecgcam.runs.prompts import check_kinds
    from ecgcam.runs.reading import Reading
    from ecgcam.runs.worklist import Failure

    set_up_logging(quiet)
    texts = shared.read_prompts(text or [], text_file, sentences)
    check_kinds(texts, target or [], [], None)
    if resume and out is None:
        raise EcgcamError("--resume: needs the folder of the run to continue; give --out DIR")
    if annotations is not None and truth is not None:
        raise EcgcamError("--truth and --annotations: both state where the finding is; give one of them")
    call = EvaluateCall(
        records=records,
        prompts=[] if questions is not None and not (target or texts) else clean_texts(target or texts),
        options=ModelOptions(
            model, checkpoint, embeddings, text_model, device, offline, allow_numpy_scalars, targets=bool(target)
        ),
        reading=Reading(
            fs=fs,
            lead_names=None if lead_names is None else parse_lead_names(lead_names),
            start=start,
            seconds=seconds,
            unit=unit,
        ),
        methods=[] if methods is None else list(METHODS) if methods == "all" else _listed("--methods", methods),
        layers=[None] if layers is None else [*_listed("--layers", layers)],
        masks=[None] if masks is None else [*_listed("--masks", masks)],
        groups=_listed("--what", what),
        how={"scale": scale, "tile_ms": tile, "randomisations": randomisations, "seed": seed},
        truth=truth if annotations is None else Annotations.parse(annotations),
        questions=questions,
        all_metrics=all_metrics,
        out=out,
        jobs=jobs,
        stdin=sys.stdin,
    )
    call.check()
    noted: set[tuple[str, str]] = set()
    entries, failures = [], 0
    with progress(len(call.items), "evaluating", quiet) as step, contextlib.closing(call.events()) as events:
        for event in events:
            step(1)
            if isinstance(event, Failure):
                failures += 1
                print_error(event.error)
            elif isinstance(event, Evaluated):
                entries += event.entries
                for method, why in event.left_out:
                    if (method, why) not in noted and not quiet:
                        print_error(f"note: {method} is left out: {why}")
                    noted.add((method, why))

    rows = call.rows(entries)
    table = call.write_table(rows)
    call.write_conclusions(entries, table)
    if as_json:
        for row in rows:
            print_json(row)
    elif rows and questions is not None:
        _print_answers(rows)
    elif rows:
        _print_conclusions(entries, len({entry["record"] for entry in entries}))
        _print(rows)
    if not rows:
        if not failures:
            print_error(
                f"{questions}: no question is about these recordings, or no method is allowed"
                if questions is not None
                else "no metric has a value: no method is allowed, or no truth lies next to the recordings"
            )
        raise typer.Exit(2)
    if failures:
        raise typer.Exit(1)


def _listed(flag: str, value: str) -> list[str]:
    """Return the parts of a comma-separated list, each once."""
    parts = [part.strip() for part in value.split(",")]
    if "" in parts:
        raise EcgcamError(f"{flag} {value}: an empty name; write for example {flag} A,B")
    return list(dict.fromkeys(parts))


def _print_conclusions(entries: list[dict[str, Any]], count: int) -> None:
    """Print what the headline metrics show of each method, before the figures."""
    from ecgcam.runs.conclusions import ONE_RECORDING, draw_conclusions
    from ecgcam.runs.evaluation import Entry

    found = [one for one in draw_conclusions(Entry(**entry) for entry in entries) if one.comparisons]
    prompts = {(one.text, one.mask) for one in found}
    layers = len({(one.method, one.layer) for one in found}) > len({one.method for one in found})
    for one in found:
        about = f"{one.text!r}, mask {one.mask}: " if len(prompts) > 1 else ""
        print_line(f"{about}{one.named(layer=layers)}")
    if found and count == 1:
        print_line(ONE_RECORDING)
    if found:
        print_line("")


def _print_answers(rows: list[dict[str, Any]]) -> None:
    """Print a line for each metric over all questions, a column a method; criteria are in --json and the table file."""
    here = [row for row in rows if row["criterion"] == "all"]
    columns = list(dict.fromkeys((row["method"], row["layer"], row["mask"]) for row in here))
    several = len({mask for *_, mask in columns}) > 1
    names = [f"{name}, {mask}" if several else name for name, (*_, mask) in zip(_names(columns), columns, strict=True)]
    cells = {(row["metric"], row["method"], row["layer"], row["mask"]): row for row in here}
    lines = []
    for metric in dict.fromkeys(row["metric"] for row in here):
        known = next(row for row in here if row["metric"] == metric)
        values = [_cell(cells.get((metric, *column))) for column in columns]
        lines.append([metric, str(known["n"]), f"{known['chance']:.3f}", *values])
    print_table(["metric", "questions", "chance", *names], lines, right=("questions", "chance", *names))


def _print(rows: list[dict[str, Any]]) -> None:
    """Print a table for each prompt and mask: a line a metric, a column a method, mean and interval."""
    for text, mask in dict.fromkeys((row["text"], row["mask"]) for row in rows):
        here = [row for row in rows if (row["text"], row["mask"]) == (text, mask)]
        methods = list(dict.fromkeys((row["method"], row["layer"]) for row in here))
        names = _names(methods)
        cells = {(row["metric"], row["method"], row["layer"]): row for row in here}
        lines = []
        for metric in dict.fromkeys(row["metric"] for row in here):
            known = [cells[metric, *method] for method in methods if (metric, *method) in cells]
            chance = next((f"{row['chance']:.3f}" for row in reversed(known) if row["chance"] is not None), "")
            columns = [_cell(cells.get((metric, *method))) for method in methods]
            lines.append([metric, known[0]["direction"], chance, *columns])
        most = max(row["n"] for row in here)
        print_line(f"{text!r}, mask {mask}, {most} window{'s' if most > 1 else ''}")
        print_table(["metric", "better", "chance", *names], lines, right=("chance", *names))
        print_line("")


def _names(columns: Sequence[tuple[Any, ...]]) -> list[str]:
    """Return the names of columns that begin with method and layer: with the layer where a method has several."""
    layers: dict[str, set[str | None]] = {}
    for method, layer, *_ in columns:
        layers.setdefault(method, set()).add(layer)
    return [f"{method} at {layer}" if len(layers[method]) > 1 else method for method, layer, *_ in columns]


def _cell(row: dict[str, Any] | None) -> str:
    if row is None or row["mean"] is None:
        return ""
    interval = "" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['mean']:.3f}{interval}"
