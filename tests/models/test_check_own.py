"""`ecgcam models check --model package.module:function`: what is found out about a user's own network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.models.own_networks import CASES, INPUT, Tokens
from tests.models.test_zoo import PLACES, made

from ecgcam import explain
from ecgcam.cli.app import run
from ecgcam.errors import EcgcamError
from ecgcam.models.check import simulated
from ecgcam.models.check_own import PROMPT, inspect_own, report_lines
from ecgcam.models.own import own_model
from ecgcam.protocol.spec import LayerSpec
from ecgcam.records import Record

# Why a network of the cases may refuse a method; of these methods alone.
MAY_REFUSE = {
    "attention-rollout", "chefer", "legrad", "attention-pool", "guided-backprop", "deconvolution", "guided-grad-cam", "lrp",
    "cam",
}  # fmt: skip
CODE = """
import torch
from torch import nn
from ecgcam.protocol.spec import InputSpec


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.input = InputSpec(fs=100, leads=("I", "II", "V1"))
        self.conv, self.fc = nn.Sequential(nn.Conv1d(3, 4, 5, 5), nn.ReLU()), nn.Linear(4, 2)
        self.labels = ["AF", "normal"]

    def forward(self, x):
        return self.fc(self.conv(x).mean(-1))


def load():
    torch.manual_seed(0)
    return Net()


def from_state(state):
    network = Net()
    network.load_state_dict(state)
    return network
"""


FEW = ("grad-cam", "occlusion", "chefer")


def facts_of(name: str) -> dict[str, Any]:
    case = CASES[name]
    torch.manual_seed(0)
    return inspect_own(own_model(case.build(), layer=case.layer, targets=not case.text, input=INPUT), FEW)


def test_a_classifier() -> None:
    facts = facts_of("group norm")
    place = facts["layers"]["features"]
    assert (place["layout"], place["found"]) == ('LayerSpec("BCT", step=10, offset=0)', "exact")
    assert (place["step_ms"], place["offset_ms"], place["gradients"]) == (100, 0, True)
    # Two kernels of 9 samples, the second over cells 2 samples apart.
    assert place["width"] == 9 + 8 * 2
    assert facts["layers"]["fc"]["layout"] is None
    assert "not cells along time" in facts["layers"]["fc"]["problem"]
    assert (facts["output"], facts["prompts"]) == ([3], "--target 0 to 2")
    assert facts["dtype"] == {"weights": ["float32"], "signals": "float32"}
    assert (facts["random"], facts["batch_dependent"], facts["notes"]) == (False, False, [])
    assert facts["methods"]["grad-cam"] == "runs"
    assert "no blocks of self-attention" in facts["methods"]["chefer"]


def test_randomness_batches_and_kinds_of_numbers() -> None:
    assert (facts_of("random")["random"], facts_of("random")["batch_dependent"]) == (True, None)
    assert facts_of("batch dependent")["batch_dependent"] is True
    assert facts_of("double")["dtype"] == {"weights": ["float64"], "signals": "float32"}


def test_a_joint_score_s_layer_is_found_and_gradients_reach_it() -> None:
    torch.manual_seed(0)
    facts = inspect_own(own_model(CASES["joint"].build(), input=INPUT), FEW)
    assert facts["layer"] == "tokens"
    assert facts["layers"]["tokens"]["gradients"]
    assert facts["prompts"] == "--text, scored by score_texts; encode_once runs once for all prompts"
    assert facts["methods"]["grad-cam"] == facts["methods"]["occlusion"] == "runs"


def test_where_gradients_end_and_where_a_place_comes_from() -> None:
    torch.manual_seed(0)
    layers = inspect_own(own_model(Tokens(class_token=True), targets=True, input=INPUT), FEW)["layers"]
    # Only the class token of the last block is read.
    assert not layers["encoder"]["gradients"]
    assert "gradient" in layers["encoder"]["problem"]
    assert layers["encoder.layers.0"]["gradients"]
    assert layers["encoder.layers.0"]["found"] == "inherited"
    assert layers["encoder.layers.0"]["layout"] == 'LayerSpec("BTC", step=20, offset=9.5, n_prefix_tokens=1)'
    assert layers["patch"]["found"] == "exact"
    declared = own_model(Tokens(), targets=True, input=INPUT, layers={"encoder": LayerSpec("BTC", 20, 10)})
    assert inspect_own(declared, FEW)["layers"]["encoder"]["found"] == "declared"


def test_models_that_are_not_one_s_own_are_refused() -> None:
    from ecgcam.models.load import load_model

    with pytest.raises(EcgcamError, match="is not a network of your own"):
        inspect_own(load_model("mini"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["class token", "joint"])
def test_a_method_is_said_to_run_if_explain_runs_it(name: str) -> None:
    case = CASES[name]
    torch.manual_seed(0)
    model = own_model(case.build(), layer=case.layer, targets=not case.text, input=INPUT)
    methods = inspect_own(model)["methods"]
    known = simulated()
    record = Record.from_channels("normal", known.signal[[0, 1, 6]], known.fs, INPUT.leads, source="normal")
    for method in MAY_REFUSE:
        result = "runs"
        try:
            explain(record, [PROMPT if case.text else "0"], model, method=method, gradient=None)
        except EcgcamError as error:
            result = str(error)
        assert methods[method] == result
    assert {method for method, result in methods.items() if result != "runs"} <= MAY_REFUSE


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize(("name", "layer", "layout", "step", "offset"), PLACES)
def test_every_network_of_the_zoo(name: str, layer: str, layout: str, step: float, offset: float, shared: Path) -> None:
    facts = inspect_own(made(shared, name, layer), FEW)
    place = facts["layers"][layer]
    assert place["layout"].startswith(f'LayerSpec("{layout}", step={step}, offset={offset}')
    assert place["gradients"]
    assert place["found"] == ("inherited" if name in {"tokens_btc", "tokens_tbc", "recurrent"} else "exact")
    assert facts["random"] == (name == "random_outputs")
    assert facts["batch_dependent"] == (None if name == "random_outputs" else name == "batch_dependent")
    assert facts["dtype"]["weights"] == [{"half": "float16", "double": "float64"}.get(name, "float32")]
    assert facts["methods"]["grad-cam"] == facts["methods"]["occlusion"] == "runs"


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of a user's in the current folder; its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(CODE, encoding="utf-8")
    return name


def test_the_command(own_code: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["models", "check", "--model", f"{own_code}:load", "--layer", "conv.0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "target layer: conv.0" in lines
    assert "prompts: --target 0 to 1 or AF, normal" in lines
    assert any(
        line.startswith('  conv.0: LayerSpec("BCT", step=5, offset=2), a cell every 50 ms, exact') for line in lines
    )
    assert any(line.startswith("  attention-rollout, chefer, legrad: ") for line in lines)

    state = {"conv.0.weight": torch.zeros(4, 3, 5), "conv.0.bias": torch.zeros(4), "fc.weight": torch.ones(2, 4)}
    torch.save(state | {"fc.bias": torch.zeros(2)}, tmp_path / "w.pt")
    assert run(["models", "check", "--model", f"{own_code}:from_state", "--checkpoint", "w.pt", "--json"]) == 0
    # Its output does not depend on the signal, so no gradient reaches a layer.
    assert not json.loads(capsys.readouterr().out)["layers"]["conv.0"]["gradients"]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ([], "no checkpoint: name a file of weights, or your own network by --model"),
        (["--model", "{}:load", "--checkpoint", "w.pt"], "w.pt: no such file"),
        (["--model", "{}:nothing"], "cannot be imported"),
        (["--model", "{}:load", "--layer", "dense"], "no such module"),
        (["w.npz", "--layer", "conv"], "--layer: only for your own network"),
    ],
)
def test_what_the_command_refuses(
    call: list[str], says: str, own_code: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "w.npz").write_bytes(b"")
    assert run(["models", "check", *[word.format(own_code) for word in call]]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert says in printed.err
    assert printed.err.count("\n") == 1


def test_lines_name_every_method_once() -> None:
    facts = facts_of("batch norm")
    facts["methods"] = {
        "grad-cam": "runs",
        "lrp": "`method` lrp: no rule",
        "chefer": "none here",
        "legrad": "none here",
    }
    lines = report_lines(facts)
    assert lines[lines.index("methods that run: grad-cam") :] == [
        "methods that run: grad-cam",
        "methods that do not run:",
        "  lrp: no rule",
        "  chefer, legrad: none here",
    ]
