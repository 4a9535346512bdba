"""Writes `models.md` beside this file from the model files: `python docs/make_models.py`."""

from __future__ import annotations

from pathlib import Path

from ecgcam.models.spec import ModelSpec, load_spec, model_names

PAGE = Path(__file__).with_name("models.md")

HEAD = """# Models

<!-- Made by `python docs/make_models.py` from configs/models/*.toml: change those, not this. -->

Bring the checkpoint; ecgcam knows the network, the input and the layer. None of these weights is part of it but mini's.

    ecgcam models check CHECKPOINT                 # which model it is, how it is asked, what it still waits for
    ecgcam explain RECORD --checkpoint CHECKPOINT --text "atrial fibrillation"

Each model is one readable file, [`configs/models/NAME.toml`](../configs/models). A copy with changes of your own (sizes,
scaling, lead order, layers, the wording around prompts) goes to `--model FILE.toml`. A wrong key is named with what is allowed;
what the sources of a model leave open or contradict each other in stands in its file, below, and in `models check`.

**Prompts** go through the published text tower (`pip install 'ecgcam[text]'`): configuration and tokenizer come from the hub
or from `--text-model DIR`, weights too unless the checkpoint holds them. `ecgcam embed` makes a table for machines with neither
transformers nor a network (`--embeddings`). Models without a text side are asked for outputs (`--target`) or for the similarity
to another recording (`--like`).

"""


def section(spec: ModelSpec) -> str:
    """Return one model's section."""
    source, where = spec.input, spec.layers[spec.layer]
    filters = "".join(f"{one.kind} filter, " for one in source.filters)
    window = f"{source.fs:g} Hz, {source.seconds:g} s, {filters}normalisation `{source.normalisation}`"
    kept = "; cells of each lead of their own, so that `--mask none` works too" if where.leads else ""
    lines = [
        f"## {spec.name}",
        "",
        spec.summary,
        "",
        f"- Input: {window}; {' '.join(source.leads)}.",
        f"- Prompts: {spec.prompts}. Score: {'cosine' if spec.similarity == 'cosine' else 'dot product, or the output itself'}.",
        f"- Layer: `{spec.layer}`, a cell every {where.step / source.fs * 1000:g} ms{kept}.",
        f"- A masked lead is `{source.fill}`: {source.fill_reason}",
        f"- Licence: {spec.licence}. {'Weights: ' + spec.source + '.' if spec.source else 'Weights: part of ecgcam.'}",
        *([f"- {spec.paper}."] if spec.paper else []),
    ]
    if spec.open:
        lines += ["", "Left open by the sources, and what is done:", "", *(f"- {question}" for question in spec.open)]
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
    parts, told = [], {}
    for spec in specs:
        alike = told.setdefault(
            repr((spec.family, spec.input, spec.layer, spec.layers, spec.tower, spec.open)), spec.name
        )
        same = f"## {spec.name}\n\n{spec.summary} All else as [{alike}](#{alike}).\n\n"
        parts.append(section(spec) if alike == spec.name else same)
    return HEAD + "\n".join(rows) + "\n\n" + "".join(parts).rstrip("\n") + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
