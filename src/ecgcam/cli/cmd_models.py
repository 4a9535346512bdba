"""`ecgcam models list`, `show` and `check`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecgcam.cli import options as shared
from ecgcam.cli.console import complain, print_json, say
from ecgcam.cli.tables import print_rows

if TYPE_CHECKING:
    from ecgcam.models.spec import ModelSpec

app = typer.Typer(help="The models that ecgcam knows.", rich_markup_mode=None)


@app.command("list")
def list_models(as_json: shared.AsJson = False) -> None:
    """List the models, without loading any."""
    from ecgcam.models.spec import load_spec, model_names

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
    """Show what a model eats, where its cells are, and under which licence it comes."""
    from ecgcam.models.spec import load_spec

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
    filters = "".join(f"{one.kind} filter, " for one in source.filters)
    lines = {
        "name": spec.name,
        "summary": spec.summary,
        "family": spec.family,
        "input": f"{source.fs:g} Hz, {source.seconds:g} s, {filters}normalisation {source.normalisation}",
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
        say(f"{key + ':':<9} {value}")
    for question in spec.open:
        say(f"open:     {question}")


@app.command("check")
def check_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A file of weights.", show_default=False)],
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME|FILE.toml", help="Against this model file alone.", show_default=False),
    ] = None,
    allow_numpy_scalars: shared.AllowNumpyScalars = False,
    as_json: shared.AsJson = False,
    debug: shared.Debug = False,  # noqa: ARG001  (read by ecgcam.cli.app)
) -> None:
    """Say what a checkpoint is, which model file fits it, and how far the usual mistakes would move its answers.

    Exit code 2 when no model file fits.
    """
    from ecgcam.inspection import inspect_checkpoint

    found = inspect_checkpoint(checkpoint, model, allow_numpy_scalars)
    best = found.fits[0]
    if as_json:
        print_json({
            "checkpoint": str(checkpoint), "tensors": found.tensors, "parameters": found.parameters,
            "model": best.spec.name if best.whole else None, "nearest": best.spec.name, "share": round(best.share, 4),
            "problem": best.problem, **found.facts,
        })  # fmt: skip
    else:
        say(f"{checkpoint}: {found.tensors} tensors, {found.parameters:,} numbers")
        for fit in [fit for fit in found.fits if fit.whole] or found.fits[:3]:
            said = "fits" if fit.whole else f"{100 * fit.share:.0f} % of its keys are there; {fit.problem}"
            say(f"{fit.spec.name}: {said}")
        for name, value in found.facts.items():
            if name not in {"mistakes", "measure"}:
                say(f"  {name}: {value}")
        for name, moved in found.facts.get("mistakes", {}).items():
            say(f"  {name}: moves the embedding by {moved:.4f} ({found.facts['measure']})")
        for question in best.spec.open if best.whole else ():
            say(f"  open: {question}")
    if not best.whole:
        complain(f"{checkpoint}: no model file fits; docs/own-model.md brings in any model")
        raise typer.Exit(2)


def _show_layers(spec: ModelSpec, as_json: bool) -> None:
    """Run the network without weights, on shapes alone."""
    import torch

    from ecgcam.attribution.hooks import output_shapes
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
