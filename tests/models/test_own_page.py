"""docs/own-model.md: its code and its commands run as written, each "my model is a ..." with the layout that it claims."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import ROOT
from torch import Tensor

from ecgcam import InputSpec, explain, own_model, score, split_sentences
from ecgcam.cli.app import run
from ecgcam.records.simulator import simulate, write
from ecgcam.results.explanation import Explanation

PAGE = (ROOT / "docs/own-model.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^    ecgcam (.*)$", PAGE, re.MULTILINE)
REPORT = "Sinus rhythm, 72/min. QT 0.42 s; normal axis\nProb. old inferior infarct. No ST elevation in lead I."
SENTENCES = [
    "Sinus rhythm, 72/min", "QT 0.42 s", "normal axis", "Prob. old inferior infarct", "No ST elevation in lead I",
]  # fmt: skip
# What the sections say of the target layers, by the function of the example: layout, step, offset and more fields.
PLACES = {
    "load": ("BCT", 10, 0, {}),
    "load_with_everything_declared": ("BCT", 10, 0, {}),
    "classifier": ("BCT", 10, 0, {}),
    "segmenter": ("BCT", 10, 0, {}),
    "cnn_lstm": ("BTC", 10, 0, {"part": 0}),
    "transformer": ("BTC", 50, 24.5, {}),
    "transformer_with_class_token": ("BTC", 50, 24.5, {"n_prefix_tokens": 1}),
    "transformer_with_declared_attention": ("BTC", 50, 24.5, {}),
    "lead_wise": ("(BL)TC", 50, 24.5, {"leads": 12}),
    # 10 samples of 10, then 4 of those of 4: 40 samples; the first cell looks at samples 0 to 39.
    "speech_like": ("BTC", 40, 19.5, {}),
    "lightning_task": ("BCT", 10, 0, {}),
    "with_adapters": ("BTC", 40, 19.5, {}),
    "planar": ("BCLT", 10, 0, {"leads": 12}),
    "matcher": ("BTC", 50, 24.5, {}),
    "report_writer": ("BTC", 100, 49.5, {}),
}
NEEDS_TRANSFORMERS = {"speech_like", "report_writer", "with_adapters"}


def functions_of(command: str) -> str:
    found = re.search(r"my_model:(\w+)", command)
    return found[1] if found else ""


EXPLAINED = [command for command in COMMANDS if command.startswith("explain")]
# Wav2Vec2 takes seconds.
EXAMPLES = [
    pytest.param(command, id=name, marks=[pytest.mark.slow] if name in {"speech_like", "with_adapters"} else [])
    for command in EXPLAINED
    for name in [functions_of(command)]
]


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The page's code in a file, a recording, a report, and a checkpoint as Lightning writes one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_model", raising=False)
    (tmp_path / "my_model.py").write_text("\n\n".join(BLOCKS), encoding="utf-8")
    write(simulate("af", 7), tmp_path / "demo")
    (tmp_path / "report.txt").write_text(REPORT, encoding="utf-8")
    weights = {"network.0.weight": torch.randn(16, 12, 25), "network.0.bias": torch.zeros(16)}
    weights |= {"head.weight": torch.randn(2, 16), "head.bias": torch.zeros(2)}
    torch.save({"state_dict": weights, "epoch": 3, "pytorch-lightning_version": "2.5.0"}, tmp_path / "task.ckpt")
    yield tmp_path
    sys.modules.pop("my_model", None)


def code(page: Path) -> ModuleType:
    return importlib.import_module("my_model")


def test_the_page_has_an_example_of_every_kind() -> None:
    sections = re.findall(r"^### (.*)$", PAGE, re.MULTILINE)
    assert sections == [
        "plain classifier", "CNN-LSTM", "transformer, with or without a class token", "PatchTST-like network",
        "Wav2Vec2-like network", "Lightning module", "LoRA", "two-dimensional network", "image-text-matching head",
        "generative decoder",
    ]  # fmt: skip
    assert {functions_of(command) for command in EXPLAINED} >= set(PLACES)
    assert len([line for line in BLOCKS[0].splitlines() if line.strip()]) <= 20


@pytest.mark.parametrize("command", EXAMPLES)
def test_an_example_explains_with_the_layout_that_the_page_states(
    command: str, page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = functions_of(command)
    if name in NEEDS_TRANSFORMERS:
        pytest.importorskip("transformers")
    assert run([*shlex.split(command), "--no-png", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in lines] == SENTENCES if "--sentences" in command else len(lines) == 1
    if name not in PLACES:  # an example of something other than layouts
        return
    layout, step, offset, more = PLACES[name]
    for line in lines:
        found = Explanation.load(page / "ecgcam-out/af-7" / Path(line["out"]).name)
        assert np.isfinite(found.map).all()
        assert found.gradient.any()
        assert found.cell_time[0] == pytest.approx(offset / 500, abs=0.5 / 500)
        assert np.diff(found.cell_time) == pytest.approx(step / 500)
    given: list[Any] = [torch.load(page / "task.ckpt", weights_only=True)["state_dict"]] if "ckpt" in command else []
    layer = re.search(r"--layer (\S+)", command)
    model = own_model(getattr(code(page), name)(*given), layer=layer and layer[1], targets="--target" in command)
    where = model.spec.layers[model.spec.layer]
    assert (where.layout, where.step) == (layout, step)
    assert where.offset == pytest.approx(offset, abs=0.5)
    assert {key: getattr(where, key) for key in more} == more


@pytest.mark.slow
def test_the_other_commands_of_the_page_run(page: Path) -> None:
    for command in COMMANDS:
        if command not in EXPLAINED and "FILE" not in command:
            assert run(shlex.split(command)) == 0


def test_the_segmenter_s_moments(page: Path) -> None:
    model = own_model(code(page).segmenter(), layer="0", targets=True)
    (found,) = explain("demo/af-7.dat", ["QRS@1.2-1.5,2.0-2.3"], model)
    # What lies further from these seconds than the kernel reaches has no part in the score.
    near = np.abs(found.time[:, None] - [1.35, 2.15]).min(axis=1) < 0.15 + 0.05
    assert np.abs(found.gradient[:, near]).max() > 0
    assert not found.gradient[:, ~near].any()


class Counted:
    """How many signals pass a function, and how often it runs."""

    def __init__(self, function: Any) -> None:
        self.function, self.runs, self.signals = function, 0, 0

    def __call__(self, x: Tensor, *more: Any) -> Tensor:
        self.runs += 1
        self.signals += len(x) * (len(more[0]) if more else 1)
        return self.function(x, *more)


def likelihood(network: Any, x: Tensor, text: str) -> float:
    """The mean log-likelihood of a text, by the loss of transformers, whose labels of ECG tokens are left out."""
    tokens = network.encode_once(x)
    ids = torch.tensor([list(text.encode())])
    inputs = torch.cat([tokens, network.decoder.get_input_embeddings()(ids)], 1)
    labels = torch.cat([torch.full(tokens.shape[:2], -100), ids], 1)
    return -float(network.decoder(inputs_embeds=inputs, labels=labels).loss)


def test_a_decoder_s_score_is_the_likelihood_and_prompts_share_the_encoder(page: Path) -> None:
    pytest.importorskip("transformers")
    network = code(page).report_writer()
    model = own_model(network, layer="tokens")
    x = torch.randn(1, 12, 5000)
    rows = model.encode_text(SENTENCES)
    with torch.no_grad(), model.asking(rows):
        scores = model.encode_signal(x) @ rows.T
        wanted = [likelihood(network, x, text) for text in SENTENCES]
    assert scores[0].tolist() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("call", [partial(explain, check=False), score], ids=["explain", "score"])
def test_prompts_cost_at_most_as_many_passes_behind_the_shared_part(call: Any, page: Path) -> None:
    """P prompts of one record: no more signals through `encode_once` than one prompt, and at most P times as many behind it."""
    pytest.importorskip("transformers")
    made = code(page).report_writer()
    costs = []
    for texts in (SENTENCES[:1], SENTENCES[:4]):
        made.encode_once, made.score_texts = (
            Counted(type(made).encode_once.__get__(made)),
            Counted(type(made).score_texts.__get__(made)),
        )
        model = own_model(made, layer="tokens")
        made.encode_once.signals = made.score_texts.signals = 0
        list(call("demo/af-7.dat", texts, model))
        costs.append((made.encode_once.signals, made.score_texts.signals))
    (once, behind), (once_of_four, behind_of_four) = costs
    assert once > 0
    assert once_of_four == once
    assert behind_of_four <= 4 * behind


@pytest.mark.parametrize("once", [True, False])
def test_few_prompts_are_scored_at_once(once: bool, page: Path) -> None:
    network = code(page).matcher()
    texts = [f"finding {number}" for number in range(40)]
    x = torch.randn(1, 12, 5000)
    network.eval()
    with torch.no_grad():
        tokens = network.encode_once(x)
        wanted = network.score_texts(tokens, texts)
    many: list[int] = []
    kept, encode = type(network).score_texts, type(network).encode_once

    def scored(signals: Tensor, some: list[str]) -> Tensor:
        many.append(len(some))
        return kept(network, signals if once else encode(network, signals), some)

    network.score_texts = scored
    if not once:
        network.encode_once = None
    model = own_model(network, layer="tokens", input=InputSpec())
    rows = model.encode_text(texts)
    many.clear()
    with torch.no_grad(), model.asking(rows):
        scores = model.encode_signal(x) @ rows.T
    torch.testing.assert_close(scores, wanted)
    assert many == [16, 16, 8]


def test_sentences() -> None:
    assert split_sentences(REPORT) == SENTENCES
    assert split_sentences("sinus rhythm. normal ecg.\r\n\n  \n") == ["sinus rhythm", "normal ecg"]
    assert split_sentences("Changes, e.g. of T; susp. LVH? Axis -30.5 deg!") == [
        "Changes, e.g. of T", "susp. LVH?", "Axis -30.5 deg!",
    ]  # fmt: skip
    assert split_sentences(" . ; ") == []


def test_sentences_need_a_report(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "demo/af-7.dat", "--text", "af", "--sentences"]) == 2
    assert "--sentences: takes the sentences of --text-file" in capsys.readouterr().err
    assert run(["score", "demo/af-7.dat", "--text-file", "report.txt", "--sentences", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["scores"]) != SENTENCES  # ranked
    (page / "empty.txt").write_text(" .\n", encoding="utf-8")
    assert run(["score", "demo/af-7.dat", "--text-file", "empty.txt", "--sentences"]) == 2
    assert "empty.txt: holds no prompt" in capsys.readouterr().err
