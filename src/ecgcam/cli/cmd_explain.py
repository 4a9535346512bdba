"""`ecgcam explain`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from ecgcam.cli import cmd_report
from ecgcam.cli import options as shared
from ecgcam.cli.chosen import Chosen, best_prompts, compare_with, like_prompts, one_kind, the_one
from ecgcam.cli.console import set_up_logging
from ecgcam.cli.explain_report import Report
from ecgcam.errors import EcgcamError
from ecgcam.explanation import LAYOUTS, SCALES


def run(
    records: shared.Records,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            "-t",
            metavar="TEXT",
            help="A prompt, or phrasings of one (A | B); may be repeated.",
            show_default=False,
        ),
    ] = None,
    text_file: shared.TextFile = None,
    target: shared.Target = None,
    like: Annotated[
        list[str] | None,
        typer.Option(
            "--like",
            metavar="RECORD",
            help="Explain the similarity to another recording, in place of a text; may be repeated.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            "--top",
            metavar="K",
            min=1,
            help="Of one recording, only the K prompts that score best; of the vocabulary, where no prompt is given.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            metavar="TEXT|mean|empty",
            help="Explain the score less this prompt's, the vocabulary's mean, or the empty text's; may be repeated.",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        str, typer.Option("--method", metavar="NAME", help="See `ecgcam methods`; docs/evidence.md ranks them.")
    ] = "grad-cam",
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
            help="What fills a masked lead: baseline, zero-mv, zero, mean or noise; none: no masking, "
            "where a layer keeps leads apart. [default: the model's]",
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
        bool, typer.Option("--all", help="Slide the model's window over the whole recording.")
    ] = False,
    follow_growth: Annotated[
        bool, typer.Option("--follow", help="Explain the newest window of a growing recording, until interrupted.")
    ] = False,
    hop: Annotated[
        float | None,
        typer.Option(
            "--hop", metavar="S", help="The step of --all and --follow. [default: the window]", show_default=False
        ),
    ] = None,
    fs: shared.Fs = None,
    lead_names: shared.LeadNames = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Results go to DIR/<record>/<prompt>/.")
    ] = Path("ecgcam-out"),
    scale: shared.Scale = "evidence",
    layout: shared.Layout = "12x1",
    waves: shared.Waves = False,
    report_too: Annotated[
        bool, typer.Option("--report", help="Also write OUT/report.html, of every result in OUT: see `ecgcam report`.")
    ] = False,
    no_png: Annotated[bool, typer.Option("--no-png", help="No pictures.")] = False,
    no_npz: Annotated[bool, typer.Option("--no-npz", help="No arrays.")] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            metavar="N",
            min=1,
            help="Processes that read, draw and write; 1: none beside the model's. [default: cores]",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", metavar="local|ray", help="ray: on Ray's workers (RAY_ADDRESS, or this machine).")
    ] = "local",
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="I/N",
            help="Only the I-th of N parts of the recordings, I from 1 to N.",
            show_default=False,
        ),
    ] = None,
    pack: Annotated[
        int | None,
        typer.Option(
            "--pack",
            metavar="N",
            min=1,
            help="N results in one tar file, instead of a folder each.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on after an interruption: only what is not done, by OUT/manifest.jsonl."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over earlier results.")] = False,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (read by ecgcam.cli.app, which decides what an error looks like)
) -> None:
    """Explain recordings: for each prompt, a heatmap a lead, a page, arrays and a summary."""
    from ecgcam.attribution.registry import read_pairs
    from ecgcam.batch.helpers import be_patient, helpers_for, uncollected
    from ecgcam.batch.packs import Packs
    from ecgcam.batch.reading import Reading
    from ecgcam.batch.resume import forget, refuse_other_settings, settings_of
    from ecgcam.batch.work import plan
    from ecgcam.batch.worklist import parse_shard
    from ecgcam.files import check_writable
    from ecgcam.prompts import clean_texts, vocabulary_prompts
    from ecgcam.records import parse_lead_names
    from ecgcam.records.readers import is_there
    from ecgcam.settings import Settings

    set_up_logging(quiet)
    # Everything that can be wrong is looked at before torch is imported and before anything is written.
    asked = shared.read_prompts(text or [], text_file)
    one_kind(asked, target, like, top)
    alike = like_prompts(like or [])
    if top is not None and not asked:
        asked = vocabulary_prompts()
    prompts = clean_texts(target or list(alike) or asked)
    shared.check_choice("--scale", scale, SCALES)
    shared.check_choice("--layout", layout, LAYOUTS)
    chosen = Chosen(
        model,
        checkpoint,
        embeddings,
        text_model,
        device,
        offline,
        allow_numpy_scalars,
        layer,
        targets=bool(target),
        precision=precision,
    )
    chosen.check()
    if report_too and no_npz:
        raise EcgcamError("--report and --no-npz: the report is made of the arrays; leave one of the two out")
    spec = chosen.spec
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
    reading = Reading(fs, names, start, seconds, all_windows, hop, follow_growth)
    reading.check_flags()
    shared.check_choice("--engine", engine, ("local", "ray"))
    if engine == "ray":
        chosen.check_elsewhere(alike)
    if top is not None:
        prompts = best_prompts(chosen.loaded, the_one(records), prompts, top, reading)
    part = None if shard is None else parse_shard(shard)
    packs = None if pack is None else Packs(out, pack, part)
    report = Report(out, prompts, quiet=quiet, as_json=as_json, several_windows=reading.several)
    work = plan(
        records, sys.stdin, prompts, out, refuse=report.refused, shard=part, resume=resume, force=force, packs=packs
    )
    check_writable(out)
    if resume:  # again with the checkpoint, when it is loaded
        refuse_other_settings(work.done, prompts, settings_of(settings, spec, None, precision), reading, spec.input)
    if follow_growth and work.only is None:
        raise EcgcamError("--follow: takes one recording; start one call for each")
    if work.total == 0:
        report.nothing_left(work.skipped)
        return

    be_patient()
    with helpers_for(work.total, 1 if engine == "ray" else jobs, drawing=not no_png) as helpers:
        checked = None
        if work.only is not None and not follow_growth:
            if helpers is None or not is_there(work.only.path):
                reading.check(work.only, spec.input)
            else:  # beside the import of torch: reading has imports of its own
                checked = helpers.submit(reading.check, work.only, spec.input)

        with uncollected():
            from ecgcam.batch.local import Output, flush_denormals, run_explain

        flush_denormals()
        if checked is not None:
            checked.result()
        loaded = chosen.loaded
        if alike:
            compare_with(loaded, alike, reading)
        if resume:
            wanted = settings_of(settings, loaded.spec, loaded.checkpoint_sha256, loaded.precision)
            refuse_other_settings(work.done, prompts, wanted, reading, spec.input)
        if packs is not None:
            packs.take_up(set(work.done.values()))
        if force and isinstance(work.items, list):
            forget(out, work.items, prompts)
        report.begin(loaded.text.warnings, work.total)
        output = Output(out, scale, layout, waves, not no_png, not no_npz, packs)
        if follow_growth and work.only is not None:
            from ecgcam.batch.growing import follow

            run = follow(work.only, prompts, loaded, reading, settings, output, report.failed, report.note)
        elif engine == "ray":
            from ecgcam.batch.ray import run_with_ray

            run = run_with_ray(
                work.items, prompts, chosen.arguments, reading, settings, output,
                report.failed, report.finished, jobs, work.done.keys(), resume=resume,
            )  # fmt: skip
        else:
            run = run_explain(
                work.items, prompts, loaded, reading, settings, output,
                report.failed, report.finished, helpers, work.done.keys(), resume=resume, progress=report.within,
            )  # fmt: skip
        with contextlib.closing(run), report:
            for summary in run:
                report.result(summary)
                if follow_growth:
                    report.flush()
    if all_windows and report.results:
        report.also(
            f"scores over time and joined maps in {out}/<record>/<prompt>/timeline.{'npz' if no_png else 'png'}"
        )
    if report_too and report.results:
        try:
            cmd_report.make([out], None, scale=scale, quiet=quiet, tell=lambda path: report.also(f"report in {path}"))
        except EcgcamError as error:
            report.refused(error)
    report.end()
