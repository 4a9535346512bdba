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

POOLING = {
    "pooler": "the pooler's output",
    "class": "the first token",
    "last": "the last token",
    "tokens": "every token, which the model pools itself",
}


def tower(spec: ModelSpec) -> str:
    """Return how prompts become embeddings."""
    if spec.text == "bundled":
        return "a text tower of its own"
    if not spec.text_model:
        return "none here: `--target`, `--like`, or a table of joint embeddings"
    made = spec.tower
    parts = [f"`{spec.text_model}`"]
    if made.kind == "bert-decoder":
        parts.append("run as a causal decoder")
    parts.append(POOLING[made.pooling])
    parts += ["lower case"] if made.lower else []
    parts.append(f"{made.length} tokens")
    parts += [f"written as `{made.template}`"] if made.template != "{}" else []
    parts += [f"weights in the checkpoint (`{made.weights}*`)"] if made.weights else []
    return ", ".join(parts)


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
        f"- Prompts: {tower(spec)}. Score: {'cosine' if spec.similarity == 'cosine' else 'dot product, or the output itself'}.",
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
        prompts = (
            f"`{spec.text_model}`"
            if spec.text_model
            else "own tower"
            if spec.text == "bundled"
            else "outputs, likeness"
        )
        window = f"{spec.input.fs:g} Hz, {spec.input.seconds:g} s"
        rows.append(f"| [{spec.name}](#{spec.name}) | {spec.family} | {prompts} | {window} | {spec.licence} |")
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
