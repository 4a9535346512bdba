"""`ecgcam explain`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ecgcam.cli import options as shared
from ecgcam.cli.console import (
    Notes,
    StdoutError,
    complain,
    drop_stdout,
    print_json,
    progress,
    say,
    set_up_logging,
)
from ecgcam.cli.tables import print_table
from ecgcam.explanation import SCALES


def run(
    records: shared.Records,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", "-t", metavar="TEXT", help="A prompt; may be repeated.", show_default=False),
    ] = None,
    text_file: shared.TextFile = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            metavar="TEXT|mean|empty",
            help="Explain the score less this prompt's, the vocabulary's mean, or the empty text's; may be repeated.",
            show_default=False,
        ),
    ] = None,
    method: Annotated[str, typer.Option("--method", metavar="NAME", help="See `ecgcam methods`.")] = "grad-cam",
    set_options: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="An option of the method; may be repeated.", show_default=False
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer",
            metavar="PATH",
            help="Target layer; several, separated by commas, are averaged. [default: the model's]",
            show_default=False,
        ),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            "--mask",
            metavar="NAME",
            help="What fills a masked lead: baseline, zero-mv, zero, mean or noise. [default: the model's]",
            show_default=False,
        ),
    ] = None,
    gradient: Annotated[
        str,
        typer.Option(
            "--gradient", metavar="record|lead", help="Input gradient on the whole record, or on each lead alone."
        ),
    ] = "record",
    no_gradient: Annotated[bool, typer.Option("--no-gradient", help="Do not compute the input gradient.")] = False,
    signed_gradient: Annotated[
        bool, typer.Option("--signed-gradient", help="Smooth the gradient itself, not its magnitude.")
    ] = False,
    smoother: Annotated[str, typer.Option("--smoother", metavar="NAME", help="gaussian, savgol or mean.")] = "gaussian",
    smooth: Annotated[
        float,
        typer.Option("--smooth", metavar="MS", help="Its width: full width at half maximum, or window; 0 for none."),
    ] = 40.0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of everything random.")] = 0,
    model: shared.Model = "mini",
    checkpoint: shared.Checkpoint = None,
    embeddings: shared.Embeddings = None,
    device: shared.Device = "auto",
    start: shared.Start = 0.0,
    seconds: shared.Seconds = None,
    all_windows: Annotated[
        bool, typer.Option("--all", help="Slide the model's window over the whole recording.")
    ] = False,
    hop: Annotated[
        float | None,
        typer.Option("--hop", metavar="S", help="The step of --all. [default: the window]", show_default=False),
    ] = None,
    fs: shared.Fs = None,
    lead_names: shared.LeadNames = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Results go to DIR/<record>/<prompt>/.")
    ] = Path("ecgcam-out"),
    scale: Annotated[
        str,
        typer.Option("--scale", metavar="evidence|lead|raw", help="Of the maps in pictures; arrays are always raw."),
    ] = "evidence",
    no_png: Annotated[bool, typer.Option("--no-png", help="No pictures.")] = False,
    no_npz: Annotated[bool, typer.Option("--no-npz", help="No arrays.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over earlier results.")] = False,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (read by ecgcam.cli.app, which decides what an error looks like)
) -> None:
    """Explain recordings: for each prompt, a heatmap a lead, a page, arrays and a summary."""
    from ecgcam.attribution.registry import read_pairs
    from ecgcam.batch.reading import Reading
    from ecgcam.batch.worklist import destinations, find_recordings, refuse_existing, refuse_obstructed
    from ecgcam.files import check_writable
    from ecgcam.models.spec import load_spec
    from ecgcam.prompts import clean_texts
    from ecgcam.records import parse_lead_names
    from ecgcam.settings import Settings

    set_up_logging(quiet)
    # Everything that can be wrong is looked at before torch is imported and before anything is written.
    prompts = clean_texts(shared.read_prompts(text or [], text_file))
    shared.check_choice("--scale", scale, SCALES)
    shared.check_model_flags(device, checkpoint, embeddings)
    spec = load_spec(model)
    settings = Settings(
        method=method,
        options=read_pairs(set_options or []),
        layer=layer,
        mask=mask,
        gradient=None if no_gradient else gradient,
        signed_gradient=signed_gradient,
        smoother=smoother,
        smooth_ms=smooth,
        against=tuple(against or ()),
        seed=seed,
    )
    settings.check(spec)
    names = None if lead_names is None else parse_lead_names(lead_names)
    reading = Reading(fs, names, start, seconds, all_windows, hop)
    reading.check_flags()
    items = find_recordings(records, sys.stdin)
    folders = destinations(items, prompts, out)
    refuse_obstructed(folders.values())
    if not force:
        refuse_existing(folders.values())
    check_writable(out)
    if len(items) == 1:
        reading.check(items[0], spec.input)

    from ecgcam.batch.local import Failure, Output, run_explain
    from ecgcam.models.load import load_model

    loaded = load_model(model, checkpoint, embeddings=embeddings, device=device)
    failures: list[Failure] = []
    summaries = []
    stdout: StdoutError | None = None
    notes = Notes(quiet)
    about_prompts = [warning for prompt in prompts for warning in loaded.text.warnings(prompt)]
    notes.general(about_prompts)
    output = Output(out, scale, not no_png, not no_npz)
    with progress(len(folders), "explaining", quiet or all_windows) as step:

        def failed(failure: Failure) -> None:
            failures.append(failure)
            complain(str(failure.error))
            step(len(prompts))

        for summary in run_explain(items, prompts, loaded, reading, settings, output, failed):
            step(1)
            summaries.append(summary)
            notes.about(summary["record"], [warning for warning in summary["warnings"] if warning not in about_prompts])
            if as_json and stdout is None:
                try:
                    print_json(summary)
                except StdoutError as error:
                    # The results are the files; whoever read about them may leave.
                    drop_stdout()
                    stdout = error
    notes.close()
    if summaries and not as_json:
        _print_table(summaries, out, several_windows=all_windows)
    if failures:
        raise typer.Exit(1 if summaries else 2)
    if stdout is not None:
        raise stdout


def _print_table(summaries: list[dict[str, Any]], out: Path, *, several_windows: bool) -> None:
    if len(summaries) == 1:
        _print_one(summaries[0])
        return
    rows = []
    for summary in summaries:
        leads = ", ".join(f"{lead['name']} {lead['gain']:+.3f}" for lead in summary["leads"][:3])
        start = f"{summary['settings']['window']['start']:.3f}"
        scores = [f"{summary['score']:.3f}", f"{summary['empty_score']:.3f}"]
        rows.append([summary["record"], *([start] if several_windows else []), summary["text"], *scores, leads])
    window = ["start, s"] if several_windows else []
    headings = ["record", *window, "prompt", "score", "empty", "strongest leads (gain)"]
    print_table(headings, rows, right=(*window, "score", "empty"))
    say(f"results in {out}")


def _print_one(summary: dict[str, Any]) -> None:
    score, empty = (f"{summary[key]:.3f}" for key in ("score", "empty_score"))
    say(f"{summary['record']}  {summary['text']!r}  score {score}  empty {empty}")
    rows = []
    for lead in summary["leads"]:
        moments = "  ".join(f"{moment:.2f}" for moment in lead["moments_s"])
        rows.append([lead["name"], f"{lead['gain']:+.3f}", f"{lead['score']:.3f}", moments])
    print_table(("lead", "gain", "alone", "strongest moments, s"), rows, right=("gain", "alone"))
    say(f"results in {summary['out']}")
