"""`ecgcam explain`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ecgcam.cli import options as shared
from ecgcam.cli.console import complain, print_json, progress, set_up_logging, stdout_console
from ecgcam.errors import EcgcamError
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
        typer.Option("--layer", metavar="PATH", help="Target layer. [default: the model's]", show_default=False),
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
    from ecgcam.attribution.methods import read_pairs
    from ecgcam.batch.reading import Reading
    from ecgcam.batch.worklist import destinations, refuse_existing, worklist
    from ecgcam.files import check_writable
    from ecgcam.models.spec import load_spec
    from ecgcam.prompts import clean_texts
    from ecgcam.records import parse_lead_names
    from ecgcam.settings import Settings

    set_up_logging(quiet)
    # Everything that can be wrong is looked at before torch is imported and before anything is written.
    prompts = clean_texts(shared.read_prompts(text or [], text_file))
    _choice("--scale", scale, SCALES)
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
    items = worklist(records, sys.stdin)
    folders = destinations(items, prompts, out)
    if not force:
        refuse_existing(folders.values())
    check_writable(out)
    reading = Reading(fs, names, start, seconds, all_windows, hop)
    if len(items) == 1:
        reading.check(items[0].path, spec.input)

    from ecgcam.batch.local import Failure, Output, run_explain
    from ecgcam.models.load import load_model

    loaded = load_model(model, checkpoint, embeddings=embeddings, device=device)
    failures: list[Failure] = []

    def failed(failure: Failure) -> None:
        failures.append(failure)
        complain(str(failure.error))

    summaries = []
    output = Output(out, scale, not no_png, not no_npz)
    with progress(len(folders), "explaining", quiet or all_windows) as step:
        for summary in run_explain(items, prompts, loaded, reading, settings, output, failed):
            step()
            if as_json:
                print_json(summary)
            else:
                summaries.append(summary)
                for warning in [] if quiet else summary["warnings"]:
                    _note(f"{summary['record']}: {warning}")
    if summaries:
        _print_table(summaries)
    if failures:
        raise typer.Exit(2 if len({failure.item.name for failure in failures}) == len(items) else 1)


def _choice(flag: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise EcgcamError(f"{flag} {value}: no such choice; choose from {', '.join(allowed)}")


_noted: set[str] = set()


def _note(message: str) -> None:
    """Write a note once, however many prompts repeat it."""
    if message not in _noted:
        _noted.add(message)
        sys.stderr.write(f"note: {message}\n")


def _print_table(summaries: list[dict[str, Any]]) -> None:
    from rich.table import Table

    console = stdout_console()
    if len(summaries) == 1:
        _print_one(summaries[0])
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("record", "prompt", "score", "empty", "strongest leads (gain)", "results"):
        table.add_column(heading, justify="right" if heading in {"score", "empty"} else "left", overflow="fold")
    for summary in summaries:
        leads = ", ".join(f"{lead['name']} {lead['gain']:+.3f}" for lead in summary["leads"][:3])
        row = (
            summary["record"],
            summary["text"],
            f"{summary['score']:.3f}",
            f"{summary['empty_score']:.3f}",
            leads,
            summary["out"],
        )
        table.add_row(*map(_plain, row))
    console.print(table)


def _print_one(summary: dict[str, Any]) -> None:
    from rich.table import Table

    console = stdout_console()
    console.print(
        f"{summary['record']}  {summary['text']!r}  score {summary['score']:.3f}  empty {summary['empty_score']:.3f}",
        markup=False,
    )
    table = Table(box=None, pad_edge=False)
    for heading in ("lead", "gain", "alone", "strongest moments, s"):
        table.add_column(heading, justify="right" if heading in {"gain", "alone"} else "left")
    for lead in summary["leads"]:
        moments = "  ".join(f"{moment:.2f}" for moment in lead["moments_s"])
        table.add_row(lead["name"], f"{lead['gain']:+.3f}", f"{lead['score']:.3f}", moments)
    console.print(table)
    console.print(f"results in {summary['out']}", markup=False, soft_wrap=True)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
