"""`ecgcam embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecgcam.cli import options as shared
from ecgcam.cli.console import print_line, set_up_logging
from ecgcam.cli.help import ASK, OUTPUT


def run(
    text_file: Annotated[
        Path,
        typer.Option(
            "--text-file", metavar="FILE", help="Prompts, one per line.", show_default=False, rich_help_panel=ASK
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FILE.npz", help="The table.", show_default=False, rich_help_panel=OUTPUT),
    ],
    model: shared.Model = None,
    checkpoint: shared.Checkpoint = None,
    text_model: shared.TextModel = None,
    allow_numpy_scalars: shared.AllowNumpyScalars = False,
    offline: shared.Offline = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (read by ecgcam.cli.app, which decides what an error looks like)
) -> None:
    """Embed prompts into a table for --embeddings, which needs neither transformers nor the network.

    The table holds joint embeddings of the model whose checkpoint made them. For a model that reads signal and text together
    (ked), it holds the features of its text tower.
    """
    import numpy as np

    from ecgcam.errors import EcgcamError
    from ecgcam.files import atomic, check_writable, writing
    from ecgcam.models.text.vocabulary import clean_texts
    from ecgcam.runs.model_options import ModelOptions

    set_up_logging(quiet)
    prompts = clean_texts(shared.read_prompts([], text_file))
    options = ModelOptions(model, checkpoint, None, text_model, "cpu", offline, allow_numpy_scalars)
    options.check()
    if out.suffix.lower() != ".npz":
        raise EcgcamError(f"{out}: a table of embeddings is an .npz file; use that suffix")
    if out.is_dir():
        raise EcgcamError(f"{out}: is a folder; --out takes the name of the table")
    check_writable(out.parent)
    texts, rows = options.loaded.embedding_table(prompts)
    features = rows.numpy().astype(np.float32)
    tower = options.spec.text_model or options.spec.name
    with writing(out), atomic(out) as path:
        np.savez(path, texts=np.array(texts), features=features, tower=np.array(tower))
    print_line(f"{out}: {len(texts)} prompts, {features.shape[1]} numbers each, by {tower}")
