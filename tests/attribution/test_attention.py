"""Attention methods: the papers' formulas in slow loops, a block worked out by hand, and who is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from tests.toys import toy_model
from torch import Tensor, nn

from ecgcam import Record, explain, load_model
from ecgcam.attribution.attention import attention_pool, attention_rollout, chefer, legrad
from ecgcam.attribution.problem import Problem
from ecgcam.errors import EcgcamError
from ecgcam.models.families.merl import MerlResNet, MerlViT, ResidualBlock, ResNetEncoder, ViTEncoder
from ecgcam.protocol.attention import SelfAttention
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import LayerSpec
from ecgcam.records import CANONICAL_LEADS

NAMES = ("attention-rollout", "chefer", "legrad", "attention-pool")
Function = Callable[[Problem, Tensor], Tensor]


def drawn(network: nn.Module, seed: int = 0) -> nn.Module:
    """Numbers for a network's parameters: wide enough that no softmax is flat."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            width = 3.0 if "to_qkv" in name or "in_proj" in name or "embedding" in name else 1.5
            spread = width / max(parameter[0].numel(), 1) ** 0.5 if parameter.ndim > 1 else 0.1
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
            if name.endswith(("norm.weight", "bn1.weight", "bn2.weight")):
                parameter.fill_(1.0)
    return network


def merl(network: nn.Module, layers: dict[str, LayerSpec]) -> EcgTextModel:
    """A model of one of MERL's classes, narrow."""
    leads, scale = CANONICAL_LEADS, "zscore"
    return toy_model(drawn(network), layers, leads=leads, samples=5000, fs=500.0, width=256, similarity="cosine",
                     normalisation=scale, fill="baseline")  # fmt: skip


@pytest.fixture(scope="module")
def vit() -> EcgTextModel:
    """Two heads, three blocks."""
    network = MerlViT(128)
    network.ecg_encoder = ViTEncoder(128, depth=3)
    where = LayerSpec("BTC", 50, 24.5)
    return merl(network, {"ecg_encoder.block2": where, "ecg_encoder.block0": where})


@pytest.fixture(scope="module")
def resnet() -> EcgTextModel:
    """One residual block a stage, eight channels."""

    class Narrow(ResNetEncoder):
        def __init__(self) -> None:
            super().__init__((), False)
            self.conv1, self.bn1 = nn.Conv1d(12, 8, 7, 2, 3, bias=False), nn.BatchNorm1d(8)
            for i in range(4):
                self.add_module(f"layer{i + 1}", nn.Sequential(ResidualBlock(8, 8, 2 if i else 1, False)))
            self.channels, self.stages = 8, 4

    network = MerlResNet((1, 1, 1, 1), False)
    network.ecg_encoder, network.downconv = Narrow(), nn.Conv1d(8, 256, 1)
    layers = {"ecg_encoder.layer4": LayerSpec("BCT", 16, 0), "ecg_encoder.layer3": LayerSpec("BCT", 8, 0)}
    return merl(network, layers)


def asked(model: EcgTextModel, prompt: int = 0, batch: int = 64, layer: str | None = None) -> tuple[Problem, Tensor]:
    """A problem of three leads, and the signals that keep one of them each."""
    rows = [0, 1, 5] if len(model.input.leads) > 5 else [0, 1]
    x = torch.randn(len(model.input.leads), model.input.samples, generator=torch.Generator().manual_seed(3))
    fill = torch.zeros_like(x)
    alone = fill.repeat(len(rows), 1, 1)
    alone[torch.arange(len(rows)), rows] = x[rows]
    text = torch.randn(256 if len(rows) == 3 else 2, generator=torch.Generator().manual_seed(prompt))
    valid, scale = torch.ones_like(x, dtype=torch.bool), torch.ones(len(x), 1)
    return Problem(model, text, x, fill, valid, scale, rows, 500.0, layer=layer, batch=batch), alone


class Slow:
    """One signal through a MERL ViT, operation by operation, with each head's attention in a list."""

    def __init__(self, network: MerlViT, x: Tensor) -> None:
        self.network, encoder = network, network.ecg_encoder
        tokens = encoder.to_patch_embedding(x[None]).transpose(1, 2)[0] + encoder.pos_embedding[0]
        self.maps: list[list[Tensor]] = []
        self.tokens: list[Tensor] = []
        for b in range(encoder.depth):
            block = encoder.get_submodule(f"block{b}")
            attention = block.attn.fn
            q, k, v = attention.to_qkv(block.attn.norm(tokens)).chunk(3, dim=-1)
            heads, mixed = [], []
            for h in range(q.shape[-1] // 64):
                part = slice(64 * h, 64 * h + 64)
                a = torch.softmax(q[:, part] @ k[:, part].T / 8, dim=-1)
                a = a if a.requires_grad else a.detach().requires_grad_()
                heads.append(a)
                mixed.append(a @ v[:, part])
            tokens = tokens + attention.to_out(torch.cat(mixed, dim=-1))
            tokens = tokens + block.ff(tokens)
            self.maps.append(heads)
            self.tokens.append(tokens)

    def score(self, block: int, text: Tensor) -> Tensor:
        pooled = self.network.ecg_encoder.norm(self.tokens[block].mean(0))[None]
        embedding = self.network.proj_e(pooled)[0]
        return embedding @ text / embedding.norm()


def slow_rollout(slow: Slow, text: Tensor) -> Tensor:
    rolled = torch.eye(100)
    for heads in slow.maps:
        mean = sum(heads) / len(heads)
        residual = 0.5 * mean + 0.5 * torch.eye(100)
        for row in range(100):
            residual[row] = residual[row] / residual[row].sum()
        rolled = residual @ rolled
    return torch.stack([rolled[:, key].mean() for key in range(100)])


def slow_chefer(slow: Slow, text: Tensor) -> Tensor:
    score, R = slow.score(-1, text), torch.eye(100)
    for heads in slow.maps:
        kept = torch.zeros(100, 100)
        for a in heads:
            (gradient,) = torch.autograd.grad(score, a, retain_graph=True)
            kept += torch.clamp(gradient * a, min=0) / len(heads)
        R = R + kept @ R
    return torch.stack([sum(R[query, key] - float(query == key) for query in range(100)) / 100 for key in range(100)])


def slow_legrad(slow: Slow, text: Tensor) -> Tensor:
    total = torch.zeros(100)
    for b, heads in enumerate(slow.maps):
        score = slow.score(b, text)
        for a in heads:
            (gradient,) = torch.autograd.grad(score, a, retain_graph=True)
            for query in range(100):
                total += torch.clamp(gradient[query], min=0) / (100 * len(heads) * len(slow.maps))
    return total


@pytest.mark.parametrize(
    ("function", "by_loops"), [(attention_rollout, slow_rollout), (chefer, slow_chefer), (legrad, slow_legrad)]
)
def test_each_is_its_papers_formula(vit: EcgTextModel, function: Function, by_loops: Callable) -> None:
    problem, alone = asked(vit)
    got = function(problem, alone)
    with vit.frozen():
        for i, signal in enumerate(alone):
            slow = Slow(vit.network, signal)  # type: ignore[arg-type]  # a MerlViT
            torch.testing.assert_close(got[i], by_loops(slow, problem.text).detach(), rtol=1e-4, atol=1e-9)
    # The stand-in's attention is not flat, or all this would prove little.
    assert (got.std(dim=-1) > 0.01 * got.mean(dim=-1)).all()


def test_the_pool_is_the_mean_of_its_heads(resnet: EcgTextModel) -> None:
    problem, alone = asked(resnet)
    got = attention_pool(problem, alone)
    network = resnet.network
    assert isinstance(network, MerlResNet)
    head = network.att_pool_head
    with torch.no_grad():
        cells = network.downconv(network.ecg_encoder(alone))
        for i in range(len(alone)):
            position = head.positional_embedding[0]
            tokens = torch.cat([head.cls_token[0] + position[:1], cells[i].T]) + position
            weights, biases = head.mhsa.in_proj_weight.chunk(3), head.mhsa.in_proj_bias.chunk(3)
            query, keys = tokens[0] @ weights[0].T + biases[0], tokens @ weights[1].T + biases[1]
            total = torch.zeros(314)
            for h in range(4):
                part = slice(64 * h, 64 * h + 64)
                total += torch.softmax(keys[:, part] @ query[part] / 8, dim=0) / 4
            torch.testing.assert_close(got[i].float(), total[1:], rtol=1e-3, atol=1e-6)
    assert got.shape == (3, 313)
    assert got.std() > 0.1 * got.mean()


class OneBlock(nn.Module):
    """Every sample is a token z of two numbers, one a lead; a query q attends to the keys k by softmax_k(ln 3 x z_q0 x z_k0).

    One head; tokens z + A z; read by their mean, or by token 0.
    """

    def __init__(self, class_token: bool = False) -> None:
        super().__init__()
        self.attend, self.block = nn.Softmax(dim=-1), nn.Identity()
        self.class_token = class_token

    def forward(self, x: Tensor) -> Tensor:
        z = x.transpose(1, 2)
        a = self.attend((np.log(3.0) * z[:, :, :1] @ z[:, :, :1].mT)[:, None])
        return self.readout(self.block(z + (a @ z[:, None])[:, 0]))

    def self_attention(self) -> SelfAttention:
        return SelfAttention(("attend",), ("block",), "block", self.class_token)

    def readout(self, tokens: Tensor) -> Tensor:
        return tokens[:, 0] if self.class_token else tokens.mean(1)


# Tokens (1, 0) and (0, 2): logits ln 3 * [[1, 0], [0, 0]], so A = [[3/4, 1/4], [1/2, 1/2]].
ONE = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])


@pytest.mark.parametrize(
    ("function", "read", "text", "cells"),
    [
        # (A + I) / 2 = [[7/8, 1/8], [1/4, 3/4]]: the mean of its rows, or the class token's row less its own.
        (attention_rollout, "mean", [1.0, 0.0], [9 / 16, 7 / 16]),
        (attention_rollout, "class", [1.0, 0.0], [1 / 8]),
        # Score (1, 0): d / d A_qk = z_k0 / 2 = (1/2, 0). (G A)^+ = [[3/8, 0], [1/4, 0]]: mean over queries.
        (chefer, "mean", [1.0, 0.0], [5 / 16, 0.0]),
        # Score (0, 1): d / d A_qk = z_k1 / 2 = (0, 1). (G A)^+ = [[0, 1/4], [0, 1/2]].
        (chefer, "mean", [0.0, 1.0], [0.0, 3 / 8]),
        (chefer, "mean", [0.0, -1.0], [0.0, 0.0]),
        # The class token alone is read: d / d A_0k = z_k1 = (0, 2), other queries nothing; 2 x 1/4.
        (chefer, "class", [0.0, 1.0], [1 / 2]),
        # LeGrad: the same gradients, without the attention.
        (legrad, "mean", [1.0, 0.0], [1 / 2, 0.0]),
        (legrad, "mean", [1.0, 1.0], [1 / 2, 1.0]),
        (legrad, "class", [0.0, 1.0], [1.0]),
    ],
)
def test_one_block_worked_out_by_hand(function: Function, read: str, text: list[float], cells: list[float]) -> None:
    model = toy_model(OneBlock(read == "class"), {"block": LayerSpec("BTC", 1, 0)}, samples=2)
    valid, scale = torch.ones(2, 2, dtype=torch.bool), torch.ones(2, 1)
    problem = Problem(model, torch.tensor(text), ONE[0], torch.zeros(2, 2), valid, scale, [0], 100.0)
    torch.testing.assert_close(function(problem, ONE), torch.tensor([cells]))


def hooks(network: nn.Module) -> int:
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks)
        for module in network.modules()
    )


@pytest.mark.parametrize("function", [attention_rollout, chefer, legrad])
def test_batches_and_other_leads_change_nothing(vit: EcgTextModel, function: Function) -> None:
    problem, alone = asked(vit)
    whole = function(problem, alone)
    in_twos = function(asked(vit, batch=2)[0], alone)
    # docs/methods.md: no more than 1e-5 of the largest value.
    torch.testing.assert_close(whole, in_twos, rtol=0, atol=1e-5 * float(whole.abs().max()))
    torch.testing.assert_close(whole[1:2], function(asked(vit)[0], alone[1:2]), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(("function", "asks"), [(attention_rollout, False), (chefer, True), (legrad, True)])
def test_which_depend_on_the_prompt(vit: EcgTextModel, function: Function, asks: bool) -> None:
    one, other = (function(*asked(vit, prompt)) for prompt in (0, 1))
    assert torch.equal(one, other) is not asks


def test_what_no_prompt_changes_is_run_once(vit: EcgTextModel) -> None:
    problem, alone = asked(vit)
    first = attention_rollout(problem, alone)
    other = Problem(**{**vars(problem), "text": -problem.text})
    assert attention_rollout(other, alone) is first


class Broken(OneBlock):
    """Ways in which a declaration does not fit its network."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "twice":
            super().forward(x)
        if self.how == "fails":
            super().forward(x)
            raise ValueError("the network's own error")
        return x.mean(-1) if self.how == "never" else super().forward(x)


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        ("twice", EcgcamError, "attend: ran 2 times"),
        ("never", EcgcamError, "attend: ran 0 times"),
        ("fails", ValueError, "the network's own error"),
    ],
)
@pytest.mark.parametrize("function", [attention_rollout, chefer, legrad])
def test_nothing_is_left_behind_by_an_error(function: Function, how: str, error: type[Exception], says: str) -> None:
    model = toy_model(Broken(how), {"block": LayerSpec("BTC", 1, 0)}, samples=2)
    model.network.train()
    problem, _ = asked(model)
    with pytest.raises(error, match=says):
        function(problem, ONE)
    assert hooks(model.network) == 0
    assert all(module.training for module in model.network.modules())


def test_another_grid_of_cells_is_refused(resnet: EcgTextModel, vit: EcgTextModel) -> None:
    with pytest.raises(EcgcamError, match=r"layer3: the attention is over the cells of ecg_encoder\.layer4; leave"):
        attention_pool(*asked(resnet, layer="ecg_encoder.layer3"))
    # Another block's tokens lie where the last one's do.
    assert attention_rollout(*asked(vit, layer="ecg_encoder.block0")).shape == (3, 100)


def beats() -> Record:
    t = np.arange(5000) / 500
    beat = np.exp(-((np.mod(t, 0.9) - 0.3) ** 2) / (2 * 0.012**2))
    return Record("beats", (np.linspace(-0.5, 1.0, 12)[:, None] * beat).astype(np.float32), 500.0, CANONICAL_LEADS)


@pytest.fixture
def model(request: pytest.FixtureRequest) -> Iterator[EcgTextModel]:
    """A model by name, which must be the same after the test."""
    chosen = load_model("mini", device="cpu") if request.param == "mini" else request.getfixturevalue(request.param)
    network: nn.Module = chosen.network
    before = {key: value.clone() for key, value in network.state_dict().items()}
    wants = [parameter.requires_grad for parameter in network.parameters()]
    yield chosen
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert [parameter.requires_grad for parameter in network.parameters()] == wants
    assert all(parameter.grad is None for parameter in network.parameters())
    assert hooks(network) == 0


@pytest.mark.parametrize("prompts", [1, 3])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("model", ["mini", "vit", "resnet"], indirect=True)
def test_every_method_on_every_model_explains_or_says_why_not(model: EcgTextModel, name: str, prompts: int) -> None:
    texts, record = [["0", "1", "2"], ["sinus rhythm", "atrial fibrillation", "pvc"]][model.name == "mini"], beats()
    kept = record.signal.copy()
    has = isinstance(model.network, MerlResNet) if name == "attention-pool" else isinstance(model.network, MerlViT)
    if not has:
        what = "attention pooling" if name == "attention-pool" else "blocks of self-attention"
        with pytest.raises(EcgcamError, match=f"`method` {name}: {model.name} has no {what}; choose another method"):
            explain(record, texts[:prompts], model, method=name)
        return
    explanations = explain(record, texts[:prompts], model, method=name)
    assert len(explanations) == prompts
    cells = 313 if name == "attention-pool" else 100
    for explanation in explanations:
        assert explanation.map.shape == (12, 5000)
        assert explanation.map_cells.shape == (12, cells)
        assert np.isfinite(explanation.map).all()
        assert explanation.map.any(axis=1).all()
        assert (explanation.map_cells >= 0).all()
    agnostic = name in {"attention-rollout", "attention-pool"}
    if prompts > 1:
        same = np.array_equal(explanations[0].map_cells, explanations[1].map_cells)
        assert same is agnostic
    assert np.array_equal(record.signal, kept)
