"""Options that several commands share: declared once, with one meaning, each in the panel of help where it belongs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecgcam.cli import completion
from ecgcam.cli.console import waiting
from ecgcam.cli.help import ASK, METHOD, MODEL, OUTPUT, WINDOW
from ecgcam.errors import EcgcamError

_RECORD_HELP = (
    "A WFDB recording (rec.dat, rec.hea or the stem), .npy, .npz, .mat, .edf, .bdf, .xml, .dcm, .scp, .csv or .h5; FILE#INDEX "
    "for one of many in a file; a folder; - for a list on standard input."
)
Records = Annotated[list[str], typer.Argument(metavar="RECORD", help=_RECORD_HELP, show_default=False)]
OptionalRecords = Annotated[
    list[str] | None,
    typer.Argument(metavar="RECORD", help=_RECORD_HELP, show_default=False),
]
Text = Annotated[
    list[str] | None,
    typer.Option(
        "--text",
        "-t",
        metavar="TEXT",
        help="A prompt, or several phrasings of one, separated by |. Repeatable.",
        show_default=False,
        autocompletion=completion.complete_prompt,
        rich_help_panel=ASK,
    ),
]
TextFile = Annotated[
    Path | None,
    typer.Option("--text-file", metavar="FILE", help="Prompts, one per line.", show_default=False, rich_help_panel=ASK),
]
Sentences = Annotated[
    bool,
    typer.Option("--sentences", help="Prompts are the sentences of --text-file, not its lines.", rich_help_panel=ASK),
]
Target = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="INDEX|LABEL",
        help="An output of a classifier (its logit) instead of a text. Outputs along time are summed; INDEX@START-END sums "
        "those seconds of the window. Repeatable.",
        show_default=False,
        rich_help_panel=ASK,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|FILE.toml|package.module:function",
        help="A name of `ecgcam models list`, a model file, or your own code (it runs). [default: the checkpoint's, or mini]",
        show_default=False,
        autocompletion=completion.complete_model,
        rich_help_panel=MODEL,
    ),
]
TextModel = Annotated[
    Path | None,
    typer.Option(
        "--text-model",
        metavar="DIR",
        help="Configuration and tokenizer of the published text tower. [default: from the hub]",
        show_default=False,
        rich_help_panel=MODEL,
    ),
]
Offline = Annotated[bool, typer.Option("--offline", help="Download nothing.", rich_help_panel=MODEL)]
AllowNumpyScalars = Annotated[
    bool,
    typer.Option(
        "--allow-numpy-scalars",
        help="Accept NumPy scalars in a checkpoint; everything else that is not a tensor stays refused.",
        rich_help_panel=MODEL,
    ),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        metavar="FILE",
        help="The model's weights: a file, or hf://OWNER/REPO[/FILE][@REVISION].",
        show_default=False,
        rich_help_panel=MODEL,
    ),
]
Embeddings = Annotated[
    Path | None,
    typer.Option(
        "--embeddings",
        metavar="FILE.npz",
        help="A table of embedded prompts, for models whose text tower is not on this machine; `ecgcam embed` writes it.",
        show_default=False,
        rich_help_panel=MODEL,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda[:N]|mps",
        help="Where the model runs.",
        autocompletion=completion.complete_device,
        rich_help_panel=MODEL,
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="fp32|bf16",
        help="bf16 is faster on processors that have it, and less exact.",
        rich_help_panel=MODEL,
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Random seed.", rich_help_panel=METHOD)]
Start = Annotated[
    float, typer.Option("--start", metavar="S", help="Where the window begins, in seconds.", rich_help_panel=WINDOW)
]
Seconds = Annotated[
    float | None,
    typer.Option(
        "--seconds",
        metavar="S",
        help="Use only this much signal; the rest of the window is padding.",
        show_default=False,
        rich_help_panel=WINDOW,
    ),
]
Fs = Annotated[
    float | None,
    typer.Option(
        "--fs",
        metavar="HZ",
        help="Sampling rate, for files that do not state one.",
        show_default=False,
        rich_help_panel=WINDOW,
    ),
]
LeadNames = Annotated[
    str | None,
    typer.Option(
        "--lead-names",
        metavar="I,II,...",
        help="Channel names in file order, for files that have none; 'standard' means I,II,III,aVR,aVL,aVF,V1,...,V6.",
        show_default=False,
        rich_help_panel=WINDOW,
    ),
]
Unit = Annotated[
    str | None,
    typer.Option(
        "--unit",
        metavar="mV|uV|V",
        help="Unit of the samples, for files that do not state one.",
        show_default=False,
        rich_help_panel=WINDOW,
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(
        "--scale",
        metavar="evidence|lead|raw",
        help="Scale of the maps in pictures. [default: evidence; raw for methods without cells]",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
Layout = Annotated[
    str,
    typer.Option(
        "--layout",
        metavar="3x4|12x1",
        help="Layout of the page: 3x4 has columns of 2.5 s over a rhythm strip, 12x1 shows every lead whole.",
        rich_help_panel=OUTPUT,
    ),
]
Waves = Annotated[
    bool,
    typer.Option(
        "--waves",
        help="Find beats and waves, and show how the map lies on P, PR, QRS, ST, T and TP.",
        rich_help_panel=OUTPUT,
    ),
]
Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        metavar="png|pdf|svg",
        help="Format of pictures. Repeatable. [default: png]",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
Dpi = Annotated[
    float | None,
    typer.Option(
        "--dpi",
        metavar="N",
        help="Pixels per inch. [default: 152.4; 300 with --width-mm]",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
WidthMm = Annotated[
    float | None,
    typer.Option(
        "--width-mm",
        metavar="N",
        help="Width of the page and of lead pictures, with a new layout. [default: 25 mm/s, 10 mm/mV]",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Results as JSON, one object per line.", rich_help_panel=OUTPUT)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No notes and no progress.", rich_help_panel=OUTPUT)]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of each error.", rich_help_panel=OUTPUT)]


# Bytes of a file of prompts. A larger one is something else, or has no end.
_MOST_TEXT = 64 << 20


def read_prompts(texts: list[str], text_file: Path | None, sentences: bool = False) -> list[str]:
    """Return the prompts of --text and --text-file, in order; with `sentences` those of the file are its sentences."""
    from ecgcam.models.text.vocabulary import split_sentences

    if text_file is None:
        if sentences:
            raise EcgcamError("--sentences: takes the sentences of --text-file FILE; name the report")
        return texts
    try:
        with waiting(f"{text_file}: waiting for prompts, one per line, until its end"), text_file.open("rb") as file:
            content = file.read(_MOST_TEXT + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise EcgcamError(
            f"{text_file}: cannot be read ({error.strerror or error}); --text-file takes one prompt per line"
        ) from error
    except UnicodeDecodeError as error:
        raise EcgcamError(f"{text_file}: is not UTF-8 text; --text-file takes one prompt per line") from error
    if len(content) > _MOST_TEXT:
        raise EcgcamError(f"{text_file}: holds more than {_MOST_TEXT >> 20} MB; --text-file takes one prompt per line")
    prompts = split_sentences(text) if sentences else [line.strip() for line in text.splitlines() if line.strip()]
    if not prompts:
        raise EcgcamError(f"{text_file}: holds no prompt; --text-file takes one prompt per line")
    return [*texts, *prompts]
