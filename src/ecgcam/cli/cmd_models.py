"""`ecgcam models list`, `show`, `check` and `calibrate`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecgcam.cli import options as shared
from ecgcam.cli.console import print_error, print_json, print_line
from ecgcam.cli.tables import print_rows
from ecgcam.errors import EcgcamError

if TYPE_CHECKING:
    from ecgcam.protocol.spec import ModelSpec
    from ecgcam.runs.model_options import ModelOptions

app = typer.Typer(help="List, show, check and calibrate models.", rich_markup_mode=None)


@app.command("list")
def list_models(as_json: shared.AsJson = False) -> None:
    """List the models, without loading any."""
    from ecgcam.models.model_file import load_spec, model_names

    rows = [load_spec(name).row() for name in model_names()]
    if as_json:
        print_json(rows)
    else:
        print_rows(rows)


@app.command("show")
def show_model(
    name: Annotated[
        str, typer.Argument(metavar="NAME|FILE.toml", help="A model, or a model file.", show_default=False)
    ],
    layers: Annotated[bool, typer.Option("--layers", help="The shape of each layer's output, for one window.")] = False,
    as_json: shared.AsJson = False,
) -> None:
    """Show a model's input, where its cells are, and its licence."""
    from ecgcam.models.model_file import load_spec

    spec = load_spec(name)
    if layers:
        _show_layers(spec, as_json)
        return
    if as_json:
        print_json(asdict(spec))
        return
    source = spec.input
    places = [
        f"{path}{' (default)' if path == spec.layer else ''}: {layer.layout}, a cell every {layer.step / source.fs * 1000:g} ms"
        f"{', leads kept apart' if layer.leads else ''}"
        for path, layer in spec.layers.items()
    ]
    lines = {
        "name": spec.name,
        "summary": spec.summary,
        "family": spec.family,
        "input": f"{source.fs:g} Hz, {source.seconds:g} s",
        "prepared": source.in_words,
        "leads": " ".join(source.leads),
        "mask": f"{source.fill}: {source.fill_reason}",
        "layers": "; ".join(places),
        "text": spec.prompts,
        "score": spec.similarity,
        "licence": spec.licence,
        "weights": spec.source or ("part of ecgcam" if spec.weights else "given with --checkpoint"),
        "paper": spec.paper or "none",
    }
    for key, value in lines.items():
        print_line(f"{key + ':':<9} {value}")
    for question in spec.open:
        print_line(f"open:     {question}")


@app.command("check", short_help="Describe a checkpoint, or a network of your own.")
def check_model(
    checkpoint: Annotated[
        Path | None, typer.Argument(metavar="CHECKPOINT", help="A file of weights.", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME|FILE.toml|package.module:function",
            help="Compare with this model file only; or name your own network, which is run.",
            show_default=False,
        ),
    ] = None,
    weights: shared.Checkpoint = None,
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer", metavar="PATH", help="The target layer of your own network. [default: found]", show_default=False
        ),
    ] = None,
    allow_numpy_scalars: shared.AllowNumpyScalars = False,
    as_json: shared.AsJson = False,
    debug: shared.Debug = False,  # noqa: ARG001  (read by ecgcam.cli.app)
) -> None:
    """Describe a checkpoint or a network of your own, and what it can be used for.

    For a checkpoint: which model file fits it, and how far common mistakes would change its scores. For your own network:
    where the cells of its layers lie and how certain that is, whether it is random or depends on the batch, where gradients
    reach, and which methods run. Exit code 2 when no model file fits.
    """
    from ecgcam.runs.model_options import ModelOptions

    checkpoint = checkpoint or weights
    options = ModelOptions(model=model, checkpoint=checkpoint, layer=layer)
    options.check()
    if options.own:
        _check_own(options, allow_numpy_scalars, as_json)
    elif checkpoint is None:
        raise EcgcamError(
            "no checkpoint: name a file of weights, or your own network by `model` package.module:function"
        )
    elif layer is not None:
        raise EcgcamError("`layer`: only for your own network; `ecgcam models show` lists the layers of a model file")
    else:
        _check_checkpoint(checkpoint, model, allow_numpy_scalars, as_json)


def _check_checkpoint(checkpoint: Path, model: str | None, allow_numpy_scalars: bool, as_json: bool) -> None:
    from ecgcam.models.check import inspect_checkpoint

    found = inspect_checkpoint(checkpoint, model, allow_numpy_scalars)
    best = found.fits[0]
    if as_json:
        print_json({
            "checkpoint": str(checkpoint), "tensors": found.tensors, "parameters": found.parameters,
            "model": best.spec.name if best.whole else None, "nearest": best.spec.name, "share": round(best.share, 4),
            "problem": best.problem, **found.facts,
        })  # fmt: skip
    else:
        print_line(f"{checkpoint}: {found.tensors} tensors, {found.parameters:,} numbers")
        for fit in [fit for fit in found.fits if fit.whole] or found.fits[:3]:
            result = "fits" if fit.whole else f"{100 * fit.share:.0f} % of its keys are there; {fit.problem}"
            print_line(f"{fit.spec.name}: {result}")
        for name, value in found.facts.items():
            if name not in {"mistakes", "measure"}:
                print_line(f"  {name}: {value}")
        for name, moved in found.facts.get("mistakes", {}).items():
            print_line(f"  {name}: moves the embedding by {moved:.4f} ({found.facts['measure']})")
        for question in best.spec.open if best.whole else ():
            print_line(f"  open: {question}")
    if not best.whole:
        print_error(f"{checkpoint}: no model file fits; docs/own-model.md brings in any model")
        raise typer.Exit(2)


def _check_own(options: ModelOptions, allow_numpy_scalars: bool, as_json: bool) -> None:
    from ecgcam.models.check_own import inspect_own_code, report_lines

    facts = inspect_own_code(str(options.model), options.checkpoint, options.layer, allow_numpy_scalars)
    if as_json:
        print_json(facts)
        return
    for line in report_lines(facts):
        print_line(line)


@app.command("calibrate", short_help="Choose the method, layer and mask that explain a model best.")
def calibrate_model(
    records: shared.OptionalRecords = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="OUTPUT[=FINDING]",
            help="The model is a classifier: an output, and its finding where the label does not name one; may be "
            "repeated.",
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            "-t",
            metavar="TEXT",
            help="A prompt in addition to the vocabulary; may be repeated.",
            show_default=False,
        ),
    ] = None,
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
    fs: shared.Fs = None,
    lead_names: shared.LeadNames = None,
    unit: shared.Unit = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Random seed.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE.toml",
            help="Also write the calibration here; it is kept in the cache in any case.",
            show_default=False,
        ),
    ] = None,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (read by ecgcam.cli.app)
) -> None:
    """Choose the method, layer and mask that explain a model best, by measurement; later calls with its weights use them.

    It uses simulated recordings, and RECORDs if they are given; scores are then compared with those of the RECORDs.
    It takes minutes; a call that was interrupted continues where it stopped.
    """
    import sys

    from ecgcam.cli.console import note, progress, set_up_logging
    from ecgcam.records import parse_lead_names
    from ecgcam.runs.calibrate_call import calibrate_files
    from ecgcam.runs.model_options import ModelOptions
    from ecgcam.runs.reading import Reading

    set_up_logging(quiet)
    options = ModelOptions(
        model, checkpoint, embeddings, text_model, device, offline, allow_numpy_scalars, targets=bool(target),
        precision=precision,
    )  # fmt: skip
    names = None if lead_names is None else parse_lead_names(lead_names)
    reading = Reading(fs=fs, lead_names=names, start=start, seconds=seconds, unit=unit)
    with progress(1, "calibrating", quiet) as bar:
        found, places = calibrate_files(
            options, records or [], [*(target or []), *(text or [])], reading, out, seed=seed, stdin=sys.stdin,
            progress=bar.within, on_failure=lambda _name, error: print_error(str(error)),
        )  # fmt: skip
    if as_json:
        print_json({
            "model": found.model, "weights": found.weights, "method": found.method, "layer": found.layer, "mask": found.mask,
            "why": found.why, "table": [dict(row) for row in found.table], "references": found.source,
        })  # fmt: skip
        return
    print_line(f"{found.model}: {found.choice}")
    print_line(f"  {found.why}")
    print_line("")
    rows = [
        {"layer": "", "mask": "", **row} | {"cost": row.get("cost", "")}
        for row in found.table
        if row["round"] == "final"
    ]
    print_rows([{key: "" if value is None else value for key, value in row.items()} for row in rows])
    for place in places:
        note(f"written to {place}")


def _show_layers(spec: ModelSpec, as_json: bool) -> None:
    """Run the network without weights, on shapes alone."""
    import torch

    from ecgcam.attribution.taps import output_shapes
    from ecgcam.models.load import build_network

    x = torch.zeros(1, len(spec.input.leads), spec.input.samples, device="meta")
    shapes = output_shapes(build_network(spec), list(spec.layers), x, [layer.part for layer in spec.layers.values()])
    rows = [
        {
            "layer": path,
            "layout": layer.layout,
            "shape": list(shapes[path]),
            "step_ms": layer.step / spec.input.fs * 1000,
            "default": path == spec.layer,
        }
        for path, layer in spec.layers.items()
    ]
    if as_json:
        print_json(rows)
    else:
        print_rows(rows)
