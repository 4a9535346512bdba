"""What each model file states, a second time and by hand: the facts of the published code that no reference can show.

The text towers of MERL, KED and EchoingECG have no small reference, and two models wait for the numbers of their scaler; here a
changed lead order, scale, padding, mask, order of steps, filter, pooling, case, cut or template of any model file is noticed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ecgcam.errors import EcgcamError
from ecgcam.models.model_file import load_spec, model_names
from ecgcam.protocol.spec import ModelSpec
from ecgcam.resources import configs

STANDARD = "I II III aVR aVL aVF V1 V2 V3 V4 V5 V6"
MIMIC = "I II III aVR aVF aVL V1 V2 V3 V4 V5 V6"
# name: rate, seconds, leads, normalisation, padding, mask.
INPUTS = {
    "anyecg": (100, 10, STANDARD, "minmax-lead", "zero", "baseline"),
    "d-beta": (500, 10, STANDARD, "none", "zero-mv", "zero"),
    "ecg-coca": (500, 10, MIMIC, "none", "zero-mv", "baseline"),
    "ecg-fm": (500, 5, STANDARD, "zscore-lead", "zero", "zero"),
    "ecgfounder": (500, 10, STANDARD, "zscore", "zero-mv", "baseline"),
    "echoing-ecg": (100, 10, STANDARD, "fixed", "zero-mv", "baseline"),
    "esi": (500, 10, MIMIC, "zscore", "zero-mv", "baseline"),
    "hubert-ecg": (100, 5, STANDARD, "minmax-lead", "zero", "baseline"),
    "ked": (100, 10, MIMIC, "none", "zero-mv", "baseline"),
    "melp": (500, 10, MIMIC, "minmax", "zero-mv", "baseline"),
    "merl": (500, 10, MIMIC, "minmax", "zero-mv", "baseline"),
    "merl-ecg-bench": (250, 10, "I II III aVL aVR aVF V1 V2 V3 V4 V5 V6", "minmax", "zero-mv", "baseline"),
    "mini": (250, 10, STANDARD, "median", "baseline", "baseline"),
    "ribeiro": (400, 10.24, STANDARD, "fixed", "zero-mv", "zero-mv"),
    "st-mem": (250, 9, STANDARD, "zscore", "zero-mv", "zero"),
    "xresnet1d101": (100, 2.5, STANDARD, "fixed", "zero-mv", "baseline"),
}
# name: kind, pooling, lower case, tokens, template, prefixes of the weights.
TOWERS = {
    "d-beta": ("t5", "class", True, 512, "{}", ("language_encoder.",)),
    "ecg-coca": ("bert", "mean", True, 77, "{}", ("text.transformer.",)),
    "echoing-ecg": ("bert", "tokens", True, 128, "{}", ("text_encoder.backbone.",)),
    "esi": ("bert", "class", False, 500, "{}", ("unimodal_layers.", "pretrained_text_encoder.")),
    "ked": ("bert", "pooler", True, 256, "{}", ("text_encoder.bert_model.",)),
    "melp": ("bert-decoder", "last", True, 128, "[BOS]{}", ("lm_model.bert.",)),
    "merl": ("bert", "pooler", True, 256, "{}", ("lm_model.",)),
    "merl-ecg-bench": ("bert", "pooler", False, 256, "{}", ("lm_model.", "lm.")),
}
SCORES = {"d-beta": "dot", "ecg-fm": "dot", "ecgfounder": "dot", "ked": "dot", "ribeiro": "dot", "xresnet1d101": "dot"}


def family_of(name: str) -> str:
    """MERL's eight sizes have one input and one text side."""
    return "merl" if name.startswith(("merl-resnet", "merl-vit")) else name


# Where not resampled (polyphase), cut, padded at the end, filtered, normalised: steps, place, resampling.
USUAL = ("resample cut pad filter normalise", "begin", "polyphase")
STEPS = {
    "anyecg": ("resample cut filter normalise pad", "begin", "fft"),
    "ecg-fm": ("resample filter normalise cut pad", "begin", "polyphase"),
    "hubert-ecg": ("filter normalise cut pad resample", "begin", "decimate"),
    "ked": (USUAL[0], "begin", "fft"),
    "ribeiro": (USUAL[0], "centre", "polyphase"),
    "st-mem": (USUAL[0], "begin", "fft"),
}
FILTERS = {
    "ecgfounder": ["50 Hz notch", "0.67 to 40 Hz bandpass", "less the running median over 0.4 s"],
    "hubert-ecg": ["0.05 to 47 Hz FIR bandpass"],
    "st-mem": ["0.67 Hz highpass", "40 Hz lowpass"],
}


def differences(name: str, spec: ModelSpec) -> list[str]:
    """Return in which facts a model file differs from those above."""
    family, source, tower = family_of(name), spec.input, spec.tower
    steps = source.preprocessing
    asked = (tower.kind, tower.pooling, tower.lower, tower.length, tower.template, tower.weights)
    fixed = (2.0,) * 12 if name == "ribeiro" else None
    found = {
        "input": (source.fs, source.seconds, " ".join(source.leads), source.normalisation, source.padding, source.fill)
        == INPUTS[family],
        "scale": (source.scale, source.offset) == (fixed, fixed and (0.0,) * 12),
        "steps": (" ".join(steps.steps), steps.place, steps.resampling) == STEPS.get(name, USUAL),
        "rate of the first steps": steps.source_fs == (500 if name == "hubert-ecg" else None),
        "filters": [one.in_words for one in source.filters] == FILTERS.get(name, []),
        "score": spec.similarity == SCORES.get(family, "cosine"),
        "text": asked == TOWERS[family] if spec.text_model else family not in TOWERS,
    }
    return [fact for fact, holds in found.items() if not holds]


@pytest.mark.parametrize("name", model_names())
def test_a_model_file_states_the_published_facts(name: str) -> None:
    assert not differences(name, load_spec(name))


POOLINGS = ("pooler", "class", "mean", "eos", "last", "tokens")
# What somebody might change by hand: kind -> what is written, and what might be written in its place.
CHANGES = {
    "lead order": [('"aVL", "aVF"', '"aVF", "aVL"'), ('"aVF", "aVL"', '"aVL", "aVF"'), ('"aVL", "aVR"', '"aVR", "aVL"')],
    "scale": [
        ("scale = [2]", "scale = [10]"),
        *((f'normalisation = "{one}"', f'normalisation = "{other}"') for one, other in (
            ("none", "median"), ("median", "none"), ("minmax", "minmax-lead"), ("minmax-lead", "zscore-lead"),
            ("zscore", "zscore-lead"), ("zscore-lead", "zscore"), ("fixed", "none"),
        )),
    ],
    "padding": [('padding = "zero-mv"', 'padding = "baseline"'), ('padding = "baseline"', 'padding = "zero-mv"'),
                ('padding = "zero"', 'padding = "zero-mv"')],
    "pooling": [(f'pooling = "{one}"', f'pooling = "{other}"') for one in POOLINGS for other in POOLINGS if one != other],
    "steps": [('"normalise", "cut"', '"cut", "normalise"'), ('"normalise", "pad"', '"pad", "normalise"'),
              ('place = "centre"', 'place = "begin"'), ('resampling = "fft"', 'resampling = "polyphase"')],
    "filters": [("low = 0.67", "low = 0.5"), ("high = 47", "high = 40")],
    "prompts": [("lower = true", "lower = false"), ('template = "[BOS]{}"', 'template = "{}"')],
}  # fmt: skip


def mutants(name: str) -> Iterator[tuple[str, str]]:
    """Yield each kind of change that applies to a model file, and the file's text with it."""
    text = (configs() / "models" / f"{name}.toml").read_text(encoding="utf-8")
    for kind, changes in CHANGES.items():
        for before, after in changes:
            if before in text:
                yield kind, text.replace(before, after)


@pytest.mark.parametrize("name", model_names())
def test_a_model_file_changed_by_hand_is_noticed(name: str, tmp_path: Path) -> None:
    tried = set()
    for kind, text in mutants(name):
        path = tmp_path / f"{name}.toml"
        path.write_text(text, encoding="utf-8")
        tried.add(kind)
        try:
            found = differences(name, load_spec(str(path)))
        except EcgcamError:  # refused
            continue
        assert found, f"a changed {kind} went unnoticed"
    wanted = {"lead order", "scale", "padding"}
    if load_spec(name).text_model:
        wanted.add("pooling")
    assert tried >= wanted
