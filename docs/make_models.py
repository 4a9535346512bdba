"""Writes `models.md` next to this file from the model files: `python docs/make_models.py`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from ecgcam.models.model_file import load_spec, model_names
from ecgcam.protocol.spec import ModelSpec

PAGE = Path(__file__).with_name("models.md")

HEAD = """# Models

<!-- Made by `python docs/make_models.py` from configs/models/*.toml and docs/compared.toml: change those, not this page. -->

You supply the checkpoint; ecgcam has the network, the preprocessing and the target layer of each model. Only mini's weights are
included.

    ecgcam models check CHECKPOINT                 # which model it is, how prompts are given, what is missing
    ecgcam models show NAME                        # input, preprocessing, layers, text side and licence
    ecgcam explain RECORD --checkpoint CHECKPOINT --text "atrial fibrillation"
    ecgcam explain RECORD --checkpoint hf://OWNER/REPO/FILE@REVISION --text "atrial fibrillation"

A checkpoint is a torch file, safetensors (one file, several by their index, or a folder), `.npz`, or a name on the hub,
`hf://OWNER/REPO[/FILE][@REVISION]` (`pip install 'ecgcam[text]'`; `--offline` uses only the local cache). Wrappers of
training frameworks are removed: Lightning, DeepSpeed, FSDP, `torch.compile`, AveragedModel, fairseq, fastai. A name around
all keys (`signal_encoder.`) is removed where the rest fits. Where a file holds averaged weights next to raw ones, the raw ones
are used, with a note. Weights of whole numbers (quantised) are refused, and so is a file with several networks.

Each model is one readable file, [`configs/models/NAME.toml`](../configs/models). Pass a copy with your changes (sizes,
scaling, lead order, layers, the template around prompts) as `--model FILE.toml`. An error names the wrong key and the allowed
values. Points that the sources of a model leave open are listed in its file, below, and by `models check`.

**Preprocessing.** The order of the steps differs between models, so the model file states it. `[input.preprocessing]` has
`steps` (the order of `resample`, `cut`, `pad`, `filter`, `normalise`; steps before `cut` apply to the whole recording), `place`
of a short recording (`begin` or `centre`), `resampling` (`polyphase`, `fft`, `decimate`) and `source_fs`, the rate of the steps
before `resample`. The default is to resample, cut, pad, filter and normalise the window. The gradient per millivolt goes
through the same steps backwards.

**Prompts** go through the published text tower (`pip install 'ecgcam[text]'`): configuration and tokenizer come from the hub
or from `--text-model DIR`, the weights from the checkpoint. A checkpoint without its text tower is refused, because the
weights on the hub are not those that it was trained with; `--text-model DIR` chooses a tower explicitly. `ecgcam embed`
writes a table of prompts for machines without transformers or network (`--embeddings`). Models without a text side take an
output (`--target`) or the similarity to another recording (`--like`).

**Compared with the original code**: the tests run each network with the same stand-in weights as the authors' code, and prepare
the input from files of real recordings as the authors' code does. Each section names the commit and states the largest
difference that the tests allow, of the largest value (`tests/models/test_references.py`, `test_merl_reference.py`,
`test_preprocessing.py`).

Networks without a model file run as [your own model](own-model.md). openecg's codec (PyPI, Apache-2.0) is tested in this way with
its published weights (`tests/peers/test_openecg_peers.py`): it takes one rank-normalised lead, and no model file has that step.

"""


COMPARED = tomllib.loads(Path(__file__).with_name("compared.toml").read_text(encoding="utf-8"))
WORDS = {
    "network": "embeddings and scores",
    "activations": "activations",
    "gradient": "gradients",
    "cells": "Grad-CAM",
    "text": "prompts",
    "input": "the input of real recordings",
}


def compared(row: dict[str, Any]) -> str:
    """Return how a model's tests compare it with its authors' code."""
    parts = [f"{words} {row[key]:g}" for key, words in WORDS.items() if key in row]
    note = f" {row['note']}" if "note" in row else ""
    return f"Compared with the original code ({row['code']}), largest differences allowed: {', '.join(parts)}.{note}"


def section(spec: ModelSpec) -> str:
    """Return one model's section."""
    source, where = spec.input, spec.layers[spec.layer]
    kept = "; each lead has its own cells, so `--mask none` works too" if where.leads else ""
    lines = [
        f"## {spec.name}",
        "",
        spec.summary,
        "",
        f"- Input: {source.fs:g} Hz, {source.seconds:g} s; {' '.join(source.leads)}.",
        f"- Preprocessing: {source.in_words}.",
        f"- Prompts: {spec.prompts}. Score: {'cosine' if spec.similarity == 'cosine' else 'dot product, or the output itself'}.",
        f"- Layer: `{spec.layer}`, a cell every {where.step / source.fs * 1000:g} ms{kept}.",
        f"- Fill of a masked lead: `{source.fill}`. {source.fill_reason}",
        f"- Licence: {spec.licence}. {'Weights: ' + spec.source + '.' if spec.source else 'Weights: part of ecgcam.'}",
        *([f"- {spec.paper}."] if spec.paper else []),
    ]
    if spec.name in COMPARED:
        lines.append(f"- {compared(COMPARED[spec.name])}")
    if spec.open:
        lines += [
            "",
            "Open points of the sources, and what ecgcam does:",
            "",
            *(f"- {question}" for question in spec.open),
        ]
    return "\n".join([*lines, "", ""])


def page() -> str:
    """Return the whole page."""
    specs = [load_spec(name) for name in model_names()]
    rows = ["| model | family | prompts | window | licence |", "|---|---|---|---|---|"]
    for spec in specs:
        window = f"{spec.input.fs:g} Hz, {spec.input.seconds:g} s"
        rows.append(
            f"| [{spec.name}](#{spec.name}) | {spec.family} | {spec.row()['text']} | {window} | {spec.licence} |"
        )
    parts, described = [], {}
    for spec in specs:
        alike = described.setdefault(
            repr((spec.family, spec.input, spec.layer, spec.layers, spec.tower, spec.open)), spec.name
        )
        same = f"## {spec.name}\n\n{spec.summary} Everything else as for [{alike}](#{alike}).\n\n"
        parts.append(section(spec) if alike == spec.name else same)
    return HEAD + "\n".join(rows) + "\n\n" + "".join(parts).rstrip("\n") + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
