"""`ecgcam embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecgcam.cli import options as shared
from ecgcam.cli.chosen import Chosen
from ecgcam.cli.console import say, set_up_logging


def run(
    text_file: Annotated[
        Path, typer.Option("--text-file", metavar="FILE", help="Prompts, one a line.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.npz", help="The table.", show_default=False)],
    model: shared.Model = None,
    checkpoint: shared.Checkpoint = None,
    text_model: shared.TextModel = None,
    allow_numpy_scalars: shared.AllowNumpyScalars = False,
    offline: shared.Offline = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (read by ecgcam.cli.app, which decides what an error looks like)
) -> None:
    """Embed prompts once, into a table that --embeddings reads where there is neither transformers nor a network.

    The table holds joint embeddings, for the model whose checkpoint made them; for a model that answers prompts itself (ked), its
    text tower's features.
    """
    import numpy as np

    from ecgcam.errors import EcgcamError
    from ecgcam.files import atomic, check_writable, writing
    from ecgcam.prompts import clean_texts

    set_up_logging(quiet)
    prompts = clean_texts(shared.read_prompts([], text_file))
    chosen = Chosen(model, checkpoint, None, text_model, "cpu", offline, allow_numpy_scalars)
    chosen.check()
    if out.suffix.lower() != ".npz":
        raise EcgcamError(f"{out}: a table of embeddings is an .npz file; name it so")
    if out.is_dir():
        raise EcgcamError(f"{out}: is a folder; --out takes the name of the table")
    check_writable(out.parent)
    texts, rows = chosen.loaded.rows_of_a_table(prompts)
    features = rows.numpy().astype(np.float32)
    tower = chosen.spec.text_model or chosen.spec.name
    with writing(out), atomic(out) as path:
        np.savez(path, texts=np.array(texts), features=features, tower=np.array(tower))
    say(f"{out}: {len(texts)} prompts, {features.shape[1]} numbers each, by {tower}")
