"""Options that several commands share: declared once, meaning the same."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ecgcam.cli.console import waiting
from ecgcam.errors import EcgcamError

Records = Annotated[
    list[str],
    typer.Argument(
        metavar="RECORD",
        help="WFDB (rec.dat, rec.hea or the stem), .npy, .npz, .mat, .edf, .bdf, .xml or .dcm; a folder; - for a list on stdin.",
        show_default=False,
    ),
]
TextFile = Annotated[
    Path | None, typer.Option("--text-file", metavar="FILE", help="Prompts, one a line.", show_default=False)
]
Target = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="INDEX|LABEL",
        help="Ask for an output of a classifier, its logit, in place of a text; of outputs along time their sum, or with "
        "INDEX@START-END,... that of these seconds of the window; may be repeated.",
        show_default=False,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|FILE.toml|package.module:function",
        help="A name of `ecgcam models list`, a model file, or your own code, which runs. [default: the checkpoint's, or mini]",
        show_default=False,
    ),
]
TextModel = Annotated[
    Path | None,
    typer.Option(
        "--text-model",
        metavar="DIR",
        help="The published text tower's configuration and tokenizer. [default: from the hub]",
        show_default=False,
    ),
]
Offline = Annotated[bool, typer.Option("--offline", help="Download nothing.")]
AllowNumpyScalars = Annotated[
    bool,
    typer.Option("--allow-numpy-scalars", help="Let NumPy's scalars into a checkpoint, and nothing else but tensors."),
]
Checkpoint = Annotated[
    Path | None, typer.Option("--checkpoint", metavar="FILE", help="The model's weights.", show_default=False)
]
Embeddings = Annotated[
    Path | None,
    typer.Option(
        "--embeddings",
        metavar="FILE.npz",
        help="A table of prompts, for models without a text tower here: texts, features, tower.",
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda", help="Where the model runs.")]
Precision = Annotated[
    str,
    typer.Option("--precision", metavar="fp32|bf16", help="bf16: faster where the processor has it, and less exact."),
]
Start = Annotated[float, typer.Option("--start", metavar="S", help="Where the window begins, s.")]
Seconds = Annotated[
    float | None,
    typer.Option("--seconds", metavar="S", help="Use only this much signal; the rest is padding.", show_default=False),
]
Fs = Annotated[
    float | None,
    typer.Option("--fs", metavar="HZ", help="Sampling rate, for files that carry none.", show_default=False),
]
LeadNames = Annotated[
    str | None,
    typer.Option(
        "--lead-names",
        metavar="I,II,...",
        help="Channel names in file order, for files that carry none; 'standard' for I,II,III,aVR,aVL,aVF,V1,...,V6.",
        show_default=False,
    ),
]
Scale = Annotated[
    str,
    typer.Option("--scale", metavar="evidence|lead|raw", help="Of the maps in pictures; arrays are always raw."),
]
Layout = Annotated[
    str,
    typer.Option(
        "--layout", metavar="3x4|12x1", help="Of the page: columns of 2.5 s over a strip, or every lead whole."
    ),
]
Waves = Annotated[
    bool, typer.Option("--waves", help="Find beats and waves: how the map lies on P, PR, QRS, ST, T and TP.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Results as JSON, one object a line.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No notes and no progress.")]
Debug = Annotated[bool, typer.Option("--debug", help="A full traceback on errors.")]


def note(text: str) -> None:
    """Tell a note on stderr, as the library does."""
    logging.getLogger("ecgcam").info(text)


# Of a file of prompts; beyond, it is something else, or has no end.
_MOST_TEXT = 64 << 20
DEVICES = ("auto", "cpu", "cuda")


def check_choice(flag: str, value: str, allowed: Sequence[str]) -> None:
    """Raise `EcgcamError` if `value` is none of `allowed`."""
    if value not in allowed:
        raise EcgcamError(f"{flag} {value}: no such choice; choose from {', '.join(allowed)}")


def check_model_flags(device: str, checkpoint: Path | None, embeddings: Path | None) -> None:
    """Raise `EcgcamError` if one of them is wrong whatever the model, before torch is imported."""
    check_choice("--device", device, DEVICES)
    for what, path in (("checkpoint", checkpoint), ("embeddings", embeddings)):
        if path is not None and not os.path.isfile(path):  # noqa: PTH113  (unlike pathlib's, it never raises)
            raise EcgcamError(f"{path}: no such file; check the path given with --{what}")


def read_prompts(texts: list[str], text_file: Path | None) -> list[str]:
    """Return the prompts of --text and --text-file, in order."""
    if text_file is None:
        return texts
    try:
        with waiting(f"{text_file}: waiting for prompts, one a line, to its end"), text_file.open("rb") as file:
            content = file.read(_MOST_TEXT + 1)
        lines = content.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise EcgcamError(
            f"{text_file}: cannot be read ({error.strerror or error}); --text-file takes one prompt a line"
        ) from error
    except UnicodeDecodeError as error:
        raise EcgcamError(f"{text_file}: is not UTF-8 text; --text-file takes one prompt a line") from error
    if len(content) > _MOST_TEXT:
        raise EcgcamError(f"{text_file}: holds more than {_MOST_TEXT >> 20} MB; --text-file takes one prompt a line")
    prompts = [line.strip() for line in lines if line.strip()]
    if not prompts:
        raise EcgcamError(f"{text_file}: holds no prompt; --text-file takes one prompt a line")
    return [*texts, *prompts]
