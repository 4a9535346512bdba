"""`ecgcam explain`."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ecgcam.cli import completion
from ecgcam.cli import options as shared
from ecgcam.cli.console import note, progress, set_up_logging
from ecgcam.cli.help import ASK, MANY, METHOD, OUTPUT, WINDOW
from ecgcam.errors import EcgcamError


def run(
    records: shared.OptionalRecords = None,
    text: shared.Text = None,
    text_file: shared.TextFile = None,
    sentences: shared.Sentences = False,
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            metavar="TEXT|mean|empty",
            help="A foil: explain the score minus the score of this prompt, of the vocabulary's mean, or of the empty text. "
            "Repeatable.",
            show_default=False,
            rich_help_panel=ASK,
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            "--top",
            metavar="K",
            min=1,
            help="Only the K prompts that score best on the recording; without --text, prompts of the vocabulary.",
            show_default=False,
            rich_help_panel=ASK,
        ),
    ] = None,
    like: Annotated[
        list[str] | None,
        typer.Option(
            "--like",
            metavar="RECORD",
            help="Explain the similarity to another recording instead of a text. Repeatable.",
            show_default=False,
            rich_help_panel=ASK,
        ),
    ] = None,
    target: shared.Target = None,
    criteria: Annotated[
        bool,
        typer.Option(
            "--criteria",
            help="Measure the criteria of the prompt's finding, and state whether the evidence lies on them.",
            rich_help_panel=ASK,
        ),
    ] = False,
    again: Annotated[
        Path | None,
        typer.Option(
            "--again",
            metavar="SUMMARY.json",
            help="Repeat the call of this result. RECORD and the options of model and output are as in any other call.",
            show_default=False,
            rich_help_panel=ASK,
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            metavar="NAME",
            help="Attribution method; `ecgcam methods` lists all. [default: grad-cam, or the calibration's]",
            show_default=False,
            autocompletion=completion.complete_method,
            rich_help_panel=METHOD,
        ),
    ] = None,
    set_options: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="An option of the method; `ecgcam methods NAME` lists them. Repeatable.",
            show_default=False,
            rich_help_panel=METHOD,
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer",
            metavar="PATH",
            help="Target layer; several, separated by commas, are averaged. [default: the model's]",
            show_default=False,
            rich_help_panel=METHOD,
        ),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            "--mask",
            metavar="NAME",
            help="What fills a masked lead: baseline, zero-mv, zero, mean or noise. With none, no lead is masked, for layers "
            "that keep leads apart. [default: the model's]",
            show_default=False,
            autocompletion=completion.complete_mask,
            rich_help_panel=METHOD,
        ),
    ] = None,
    gradient: Annotated[
        str,
        typer.Option(
            "--gradient",
            metavar="record|lead",
            help="Input gradient of the whole record, or of each lead alone.",
            rich_help_panel=METHOD,
        ),
    ] = "record",
    no_gradient: Annotated[
        bool, typer.Option("--no-gradient", help="Do not compute the input gradient.", rich_help_panel=METHOD)
    ] = False,
    signed_gradient: Annotated[
        bool,
        typer.Option(
            "--signed-gradient", help="Smooth the gradient with its sign, not its magnitude.", rich_help_panel=METHOD
        ),
    ] = False,
    smoother: Annotated[
        str,
        typer.Option(
            "--smoother",
            metavar="NAME",
            help="How the gradient is smoothed: gaussian, savgol or mean.",
            autocompletion=completion.complete_smoother,
            rich_help_panel=METHOD,
        ),
    ] = "gaussian",
    smooth: Annotated[
        float,
        typer.Option(
            "--smooth",
            metavar="MS",
            help="Width of the smoother in milliseconds (full width at half maximum, or window); 0 for none.",
            rich_help_panel=METHOD,
        ),
    ] = 40.0,
    check: Annotated[
        bool | None,
        typer.Option(
            "--check/--no-check",
            help="Check each map: does the score fall more without the marked parts than without random parts? "
            "[default: on if pictures of one window are drawn]",
            show_default=False,
            rich_help_panel=METHOD,
        ),
    ] = None,
    seed: shared.Seed = 0,
    model: shared.Model = None,
    checkpoint: shared.Checkpoint = None,
    text_model: shared.TextModel = None,
    embeddings: shared.Embeddings = None,
    allow_numpy_scalars: shared.AllowNumpyScalars = False,
    device: shared.Device = "auto",
    precision: shared.Precision = "fp32",
    offline: shared.Offline = False,
    start: shared.Start = 0.0,
    seconds: shared.Seconds = None,
    all_windows: Annotated[
        bool,
        typer.Option("--all", help="Slide the model's window over the whole recording.", rich_help_panel=WINDOW),
    ] = False,
    follow_growth: Annotated[
        bool,
        typer.Option(
            "--follow",
            help="Explain the newest window of a growing recording, until interrupted.",
            rich_help_panel=WINDOW,
        ),
    ] = False,
    hop: Annotated[
        float | None,
        typer.Option(
            "--hop",
            metavar="S",
            help="Step of --all and --follow, in seconds. [default: the window]",
            show_default=False,
            rich_help_panel=WINDOW,
        ),
    ] = None,
    fs: shared.Fs = None,
    lead_names: shared.LeadNames = None,
    unit: shared.Unit = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Results go to DIR/<record>/<prompt>/.", rich_help_panel=OUTPUT
        ),
    ] = Path("ecgcam-out"),
    scale: shared.Scale = None,
    layout: shared.Layout = "3x4",
    waves: shared.Waves = False,
    report_too: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Also write DIR/report.html, with every result in DIR (see `ecgcam report`).",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    formats: shared.Formats = None,
    dpi: shared.Dpi = None,
    width_mm: shared.WidthMm = None,
    no_png: Annotated[bool, typer.Option("--no-png", help="Draw no pictures.", rich_help_panel=OUTPUT)] = False,
    no_npz: Annotated[bool, typer.Option("--no-npz", help="Write no arrays.", rich_help_panel=OUTPUT)] = False,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (read by ecgcam.cli.app, which decides what an error looks like)
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            metavar="N",
            min=1,
            help="Processes that read, draw and write; with 1, the model's process does it all. [default: cores]",
            show_default=False,
            rich_help_panel=MANY,
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            metavar="local|ray",
            help="Where recordings run: here, or on Ray's workers (RAY_ADDRESS, or this machine).",
            rich_help_panel=MANY,
        ),
    ] = "local",
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="I/N",
            help="Only the I-th of N parts of the recordings, I from 1 to N.",
            show_default=False,
            rich_help_panel=MANY,
        ),
    ] = None,
    pack: Annotated[
        int | None,
        typer.Option(
            "--pack",
            metavar="N",
            min=1,
            help="Put N results into one tar file instead of a folder each.",
            show_default=False,
            rich_help_panel=MANY,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue after an interruption: keep finished results, and remove half-written files.",
            rich_help_panel=MANY,
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Compute existing results again and replace them.", rich_help_panel=MANY)
    ] = False,
) -> None:
    """Explain recordings: for each prompt, a heatmap per lead, a page, arrays and a summary."""
    from ecgcam.attribution.registry import read_pairs
    from ecgcam.cli import cmd_report
    from ecgcam.cli.cmd_draw import picture_options
    from ecgcam.cli.printing import Printer
    from ecgcam.models.text.vocabulary import clean_texts, vocabulary_prompts
    from ecgcam.pipeline.settings import Settings
    from ecgcam.records import parse_lead_names
    from ecgcam.runs.again import check_again, read_again
    from ecgcam.runs.calibration import CHOSEN
    from ecgcam.runs.explain_call import ExplainCall, Many
    from ecgcam.runs.model_options import ModelOptions
    from ecgcam.runs.prompts import check_kinds, like_prompts
    from ecgcam.runs.reading import Reading
    from ecgcam.runs.worklist import parse_shard
    from ecgcam.runs.writer import Outputs

    set_up_logging(quiet)
    texts = shared.read_prompts(text or [], text_file, sentences)
    check_kinds(texts, target or [], like or [], top)
    alike = like_prompts(like or [])
    if top is not None and not texts:
        texts = vocabulary_prompts()
    if report_too and no_npz:
        raise EcgcamError("--report and --no-npz: the report needs the arrays; leave out one of the two")
    options = ModelOptions(
        model, checkpoint, embeddings, text_model, device, offline, allow_numpy_scalars, layer, bool(target), precision
    )
    settings = Settings(
        method=method or Settings.method,
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
    explicit = frozenset(name for name, value in (("method", method), ("layer", layer), ("mask", mask)) if value)
    names = None if lead_names is None else parse_lead_names(lead_names)
    reading = Reading(fs, names, start, seconds, all_windows, hop, follow_growth, unit)
    earlier = None
    if again is not None:
        earlier = read_again(again)
        settings, reading, texts = earlier.settings, earlier.reading, [earlier.prompt]
        explicit = frozenset(CHOSEN)
        options = replace(
            options, model=model if model or checkpoint else earlier.model["name"],
            precision=earlier.model["precision"], targets=earlier.model["targets"], layer=earlier.settings.layer,
        )  # fmt: skip
        records = records or [earlier.recording]
    if not records:
        raise EcgcamError("no recording named: give a file, a folder, or - for a list on standard input")
    pictures = picture_options(formats, dpi, width_mm)
    recheck = check is True
    if check is None:
        check = not (no_png or reading.several)
    call = ExplainCall(
        records=records,
        prompts=clean_texts(target or list(alike) or texts),
        options=options,
        settings=settings,
        reading=reading,
        out=out,
        outputs=Outputs(
            scale,
            layout,
            waves,
            not no_png,
            not no_npz,
            check,
            pictures.formats,
            pictures.dpi,
            pictures.width_mm,
            criteria,
            recheck,
        ),
        many=Many(jobs, engine, None if shard is None else parse_shard(shard), pack, resume, force),
        like=alike,
        top=top,
        stdin=sys.stdin,
        explicit=explicit,
    )
    call.check()
    if earlier is not None and again is not None and call.only is not None:
        check_again(earlier, reading.content_sha256(call.only.path), options.ref, again)
    printer = Printer(
        quiet=quiet, as_json=as_json, several_windows=call.reading.several, at_once=follow_growth, existing=not resume
    )
    if call.total == 0:
        note("no recording in this shard")
        return
    total = None if call.total is None else call.total * len(call.prompts)
    with (
        progress(total, "explaining", quiet) as printer.bar,
        contextlib.closing(call.events(printer.bar.within)) as events,
    ):
        for event in events:
            for error in call.take_refused():
                printer.print_failure(error)
            printer.print(event)
    for error in call.take_refused():
        printer.print_failure(error)
    also = []
    if all_windows and printer.results:
        also.append(
            f"scores over time and joined maps in {out}/<record>/<prompt>/timeline.{'npz' if no_png else 'png'}"
        )
    if report_too:
        try:
            also.append(f"report in {cmd_report.make([out], None, scale=scale, quiet=quiet)[0]}")
        except EcgcamError as error:
            printer.print_failure(error)
    printer.end(out, also)
