"""LRP: hand-worked values, a slow re-implementation of AttnLRP in relevances, captum and lxt, conservation."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import pytest
import torch
from tests.narrow import narrow_resnet, narrow_vit
from tests.toys import toy_model
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ecgcam.attribution.problem import Problem
from ecgcam.attribution.relevance import RelevanceRule, lrp
from ecgcam.errors import EcgcamError
from ecgcam.models.families import coca, dbeta, leadpatches, melp
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import LayerSpec
from ecgcam.records import CANONICAL_LEADS

SAMPLES = LayerSpec("BCT", 1.0, 0.0)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def problem_of(model: EcgTextModel, x: Tensor, text: Tensor) -> Problem:
    valid, scale = torch.ones_like(x, dtype=torch.bool), torch.ones(len(x), 1)
    return Problem(model, text, x, torch.zeros_like(x), valid, scale, list(range(len(x))), model.input.fs)


def asked(network: nn.Module, first: str = "first", samples: int = 8, **how: object) -> Problem:
    """Two leads of noise through a network of two outputs."""
    model = toy_model(network, {first: SAMPLES}, samples=samples, **how)  # type: ignore[arg-type]
    return problem_of(model, 2 * noise(2, samples), torch.tensor([0.6, -0.8]))


def filled(network: nn.Module, biases: bool = True) -> nn.Module:
    """Weights from a seed; without biases, running means and shifts are 0 too."""
    with torch.no_grad():
        for i, (name, weight) in enumerate(network.named_parameters()):
            values = noise(*weight.shape, seed=i)
            shift = "bias" in name
            weight.copy_(values * (biases if shift else 1.0) / (1 if weight.ndim < 2 else weight[0].numel() ** 0.5))
    return network.eval()


class Residual(nn.Module):
    """Convolutions, batch normalisation, ReLU, a shortcut and a mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(2, 4, 3, padding=1), nn.Conv1d(4, 4, 3, padding=1)
        self.bn, self.head = nn.BatchNorm1d(4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        f = self.first(x).relu()
        f = F.relu(self.bn(self.second(f)) + f, inplace=True)
        return self.head(f.mean(dim=-1))


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("biases", [True, False])
def test_with_a_small_epsilon_it_is_input_times_gradient_of_a_relu_network(similarity: str, biases: bool) -> None:
    """Ancona et al. 2018, proposition 1: so it is in networks of ReLU, sums and means; of a cosine, with the length held."""
    problem = asked(filled(Residual(), biases), similarity=similarity)
    values = lrp(problem, epsilon=1e-12)
    leaf = problem.x[None].clone().requires_grad_()
    e = problem.model.network(leaf)[0]
    score = e @ problem.text / (e.norm().detach() if similarity == "cosine" else 1.0)
    (slope,) = torch.autograd.grad(score, leaf)
    torch.testing.assert_close(values, (problem.x * slope[0]).detach(), rtol=1e-4, atol=1e-6)
    kept = problem.report["kept_by_biases"]
    assert kept == pytest.approx(float(score.detach() - values.sum()), abs=1e-5)
    assert (abs(kept) < 1e-5) is not biases


def test_by_hand() -> None:
    # z = 2 a + b + 1 of a = 3, b = 1 is 8; with epsilon = 2 R = 8 goes to 6 x 8 / 10 and 1 x 8 / 10. The score's own layer has
    # weight 1 and the same epsilon: R = 8 is 8 x 8 / 10 there. A Flatten and an Identity share nothing out, and keep nothing.
    class Line(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Conv1d(2, 1, 1)
            with torch.no_grad():
                self.line.weight.copy_(torch.tensor([[[2.0], [1.0]]]))
                self.line.bias.fill_(1.0)
            self.flat, self.same = nn.Flatten(), nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.same(self.flat(self.same(self.line(x))))

    model = toy_model(Line(), {"line": SAMPLES}, samples=1, width=1)
    problem = problem_of(model, torch.tensor([[3.0], [1.0]]), torch.ones(1))
    torch.testing.assert_close(lrp(problem, epsilon=2.0), torch.tensor([[3.84], [0.64]]))
    assert problem.report["kept_by_biases"] == pytest.approx(8 - 3.84 - 0.64)
    torch.testing.assert_close(lrp(problem, epsilon=1e-9), torch.tensor([[6.0], [1.0]]))
    assert problem.report["kept_by_biases"] == pytest.approx(1.0)


def arrived(function: Callable[..., Tensor], R: Tensor, *tensors: Tensor) -> tuple[list[Tensor], RelevanceRule]:
    """Relevance R of what a function gives, taken back to its tensors."""
    rule, leaves = RelevanceRule(1e-9), [tensor.clone().requires_grad_() for tensor in tensors]
    with rule:
        y = function(*(leaf.clone() for leaf in leaves))
    per_unit = torch.where(R == 0, 0.0, R / torch.where(R == 0, 1.0, y.detach()))
    slopes = torch.autograd.grad(y, leaves, per_unit)
    return [slope * tensor for slope, tensor in zip(slopes, tensors, strict=True)], rule


def test_softmax_by_hand() -> None:
    # x = (ln 3, 0): s = (3/4, 1/4). R = (1, 0): x_i (R_i - s_i) = (ln 3 / 4, 0); the rest of 1 is kept.
    x = torch.tensor([math.log(3.0), 0.0])
    (values,), rule = arrived(lambda z: z.softmax(-1), torch.tensor([1.0, 0.0]), x)
    torch.testing.assert_close(values, torch.tensor([math.log(3.0) / 4, 0.0]))
    assert rule.kept_by_softmax == pytest.approx(1 - math.log(3.0) / 4)


def test_a_product_gives_each_half_and_a_quotient_its_numerator_all() -> None:
    a, v = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [4.0]])  # 1 x 3 + 2 x 4 = 11, of which 3 and 8
    (of_a, of_v), _ = arrived(torch.matmul, torch.tensor([[22.0]]), a, v)
    torch.testing.assert_close(of_a, torch.tensor([[3.0, 8.0]]))
    torch.testing.assert_close(of_v, torch.tensor([[3.0], [8.0]]))
    (of_n, of_d), _ = arrived(lambda n, d: n / d + 0 * d, torch.tensor([5.0]), torch.tensor([2.0]), torch.tensor([4.0]))
    torch.testing.assert_close(of_n, torch.tensor([5.0]))
    assert not of_d.any()


def test_a_function_of_one_number_passes_all_but_what_it_gives_at_zero() -> None:
    x = torch.tensor([-1.5, 0.0, 2.0])
    for function in (F.gelu, F.silu, torch.tanh, lambda z: z.pow(2), F.leaky_relu, lambda z: z.clamp(-1, 1)):
        R = torch.where(x == 0, 0.0, torch.tensor([1.0, 0.0, 3.0]))
        (values,), rule = arrived(function, R, x)
        torch.testing.assert_close(values, R)
        assert rule.kept_by_biases == pytest.approx(0.0, abs=1e-6)
    # sigmoid(2) = 0.8808 holds 1/2 from 0 on.
    (values,), rule = arrived(torch.sigmoid, torch.tensor([0.8808]), torch.tensor([2.0]))
    assert float(values) == pytest.approx(0.3808, abs=1e-4)
    assert rule.kept_by_biases == pytest.approx(0.5, abs=1e-4)


NORMALISED = {
    "layer norm": lambda x: F.layer_norm(x, (6,)),
    "group norm": lambda x: F.group_norm(x[..., None], 1)[..., 0],
    "instance norm": lambda x: F.instance_norm(x[:, None])[:, 0],
    "z-score": lambda x: (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True, correction=0) + 1e-7),
    "by rsqrt": lambda x: (x - x.mean(-1, True)) * torch.rsqrt(x.var(-1, keepdim=True, correction=0) + 1e-9),
}


@pytest.mark.parametrize("name", NORMALISED)
def test_a_normalisation_holds_its_scale_and_conserves(name: str) -> None:
    x, R = noise(3, 6), noise(3, 6, seed=1)
    (values,), rule = arrived(NORMALISED[name], R, x)
    centred = x - x.mean(-1, keepdim=True)
    wanted = torch.zeros_like(x)
    for row in range(3):
        for j in range(6):
            for i in range(6):
                wanted[row, i] += x[row, i] * (float(i == j) - 1 / 6) * R[row, j] / centred[row, j]
    torch.testing.assert_close(values, wanted, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(values.sum(-1), R.sum(-1), rtol=1e-3, atol=1e-3)
    assert rule.kept_by_softmax == 0


@pytest.mark.parametrize("by", [lambda x: F.rms_norm(x, (6,), eps=1e-6), lambda x: F.normalize(x, dim=-1)])
def test_a_scale_alone_passes_relevance_as_it_is(by: Callable[[Tensor], Tensor]) -> None:
    x, R = noise(3, 6), noise(3, 6, seed=1)
    (values,), _ = arrived(by, R, x)
    torch.testing.assert_close(values, R)


class Slow:
    """Relevances through a pre-norm encoder layer of torch, number by number: AttnLRP's rules as the paper writes them."""

    def __init__(self, layer: nn.TransformerEncoderLayer, heads: int, eps: float) -> None:
        self.layer, self.heads, self.eps = layer, heads, eps

    def shared(self, terms: Tensor, z: Tensor, R: Tensor) -> Tensor:
        """Terms (..., i, j) of z (..., j): each gets its part of R (..., j), with epsilon."""
        return (terms * (R / (z + self.eps * torch.where(z < 0, -1.0, 1.0)))[..., None, :]).sum(-1)

    def linear(self, a: Tensor, layer_weight: Tensor, bias: Tensor, R: Tensor) -> Tensor:
        return self.shared(a[..., :, None] * layer_weight.T, a @ layer_weight.T + bias, R)

    def added(self, a: Tensor, b: Tensor, R: Tensor) -> tuple[Tensor, Tensor]:
        per = R / (a + b + self.eps * torch.where(a + b < 0, -1.0, 1.0))
        return a * per, b * per

    def norm(self, x: Tensor, norm: nn.LayerNorm, R: Tensor) -> Tensor:
        mean, var = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
        R, _ = self.added((x - mean) / (var + norm.eps).sqrt() * norm.weight, norm.bias.expand_as(x), R)
        R, of_mean = self.added(x, -mean.expand_as(x), R)
        of_mean = of_mean.sum(-1, keepdim=True)
        return R + x / x.shape[-1] * of_mean / (mean + self.eps * torch.where(mean < 0, -1.0, 1.0))

    def product(self, a: Tensor, b: Tensor, R: Tensor) -> tuple[Tensor, Tensor]:
        of_a, of_b, o = torch.zeros_like(a), torch.zeros_like(b), a @ b
        for j in range(a.shape[0]):
            for p in range(b.shape[1]):
                z = o[j, p] + (self.eps if o[j, p] >= 0 else -self.eps)
                for i in range(a.shape[1]):
                    of_a[j, i] += a[j, i] * b[i, p] * R[j, p] / (2 * z)
                    of_b[i, p] += a[j, i] * b[i, p] * R[j, p] / (2 * z)
        return of_a, of_b

    def attention(self, x: Tensor, R: Tensor) -> Tensor:
        attention, width = self.layer.self_attn, x.shape[-1]
        packed = x @ attention.in_proj_weight.T + attention.in_proj_bias
        q, k, v = packed.chunk(3, -1)
        size, mixed, weights = width // self.heads, [], []
        parts = [slice(h * size, h * size + size) for h in range(self.heads)]
        for part in parts:
            logits = q[:, part] @ k[:, part].T * size**-0.5
            weights.append((logits, logits.softmax(-1)))
            mixed.append(weights[-1][1] @ v[:, part])
        R = self.linear(torch.cat(mixed, -1), attention.out_proj.weight, attention.out_proj.bias, R)
        of_packed = torch.zeros_like(packed)
        for h, part in enumerate(parts):
            logits, a = weights[h]
            of_a, of_v = self.product(a, v[:, part], R[:, part])
            of_logits = torch.zeros_like(a)
            for row in range(len(a)):
                for key in range(len(a)):
                    of_logits[row, key] = logits[row, key] * (of_a[row, key] - a[row, key] * of_a[row].sum())
            of_q, of_k = self.product(q[:, part], k[:, part].T, of_logits)
            for i, given in enumerate((of_q, of_k.T, of_v)):
                of_packed[:, i * width + h * size : i * width + h * size + size] = given
        return self.linear(x, attention.in_proj_weight, attention.in_proj_bias, of_packed)

    def back(self, x: Tensor, R: Tensor) -> Tensor:
        layer = self.layer
        mixed = layer.self_attn(*[layer.norm1(x)[None]] * 3)[0][0]
        middle = x + mixed
        inner = layer.linear1(layer.norm2(middle))
        of_middle, of_ff = self.added(middle, layer.linear2(F.gelu(inner)), R)
        of_ff = self.linear(F.gelu(inner), layer.linear2.weight, layer.linear2.bias, of_ff)
        of_ff = self.linear(layer.norm2(middle), layer.linear1.weight, layer.linear1.bias, of_ff)
        of_x, of_mixed = self.added(x, mixed, of_middle + self.norm(middle, layer.norm2, of_ff))
        return of_x + self.norm(x, layer.norm1, self.attention(layer.norm1(x), of_mixed))


class Encoder(nn.Module):
    """Every sample is a token of four leads; their mean is read."""

    def __init__(self, **how: object) -> None:
        super().__init__()
        how = {"dim_feedforward": 6, "activation": "gelu", "batch_first": True, "norm_first": True, **how}
        self.layer, self.head = nn.TransformerEncoderLayer(4, 2, dropout=0.0, **how), nn.Linear(4, 3)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x.transpose(1, 2)).mean(1))


@pytest.mark.parametrize("epsilon", [1e-9, 0.02])
def test_a_transformer_is_the_paper_s_rules_number_by_number(epsilon: float) -> None:
    network = filled(Encoder()).double()
    model = toy_model(network, {"layer": SAMPLES}, leads=("I", "II", "V1", "V2"), samples=5, width=3)
    x, text = noise(4, 5, seed=7).double(), torch.tensor([0.5, -1.0, 2.0]).double()
    problem = problem_of(model, x, text)
    slow = Slow(network.layer, 2, epsilon)  # type: ignore[arg-type]
    with torch.no_grad():
        tokens = x.T
        out = network.layer(tokens[None])[0]  # type: ignore[operator]
        e = network.head(out.mean(0))  # type: ignore[operator]
        R = slow.shared((e * text)[:, None], (e @ text)[None], (e @ text)[None])
        R = slow.linear(out.mean(0), network.head.weight, network.head.bias, R)  # type: ignore[union-attr, arg-type]
        R = slow.shared((out / len(out)).T[..., None], out.mean(0)[:, None], R[:, None]).T
        wanted = slow.back(tokens, R).T
    values = lrp(problem, epsilon)
    torch.testing.assert_close(values, wanted, rtol=1e-7, atol=1e-9)
    assert values.abs().max() > 0.01
    report = problem.report
    # Three ways on: the map, biases with epsilon, and the softmax.
    whole = report["sum"] + report["kept_by_biases"] + report["kept_by_softmax"]
    assert whole == pytest.approx(float(e @ text), abs=1e-9)
    assert abs(report["kept_by_softmax"]) > 1e-4


class Forms(nn.Module):
    """One attention in the forms in which it is written, with the same weights."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.attend, self.head = how, nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        z = x.transpose(1, 2)
        if self.how in {"weights", "no weights"}:
            return self.head(self.attend(z, z, z, need_weights=self.how == "weights")[0].mean(1))
        q, k, v = F.linear(z, self.attend.in_proj_weight, self.attend.in_proj_bias).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (2, 2)).transpose(1, 2) for part in (q, k, v))
        if self.how == "fused":
            mixed = F.scaled_dot_product_attention(q, k, v)
        elif self.how == "masked":
            mask = torch.zeros(z.shape[1], z.shape[1] + 1)
            mask[:, -1] = -torch.inf  # a key that no query sees
            k, v = (torch.cat([part, part[..., :1, :] + 1], -2) for part in (k, v))
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            mixed = torch.einsum("bhqk,bhkd->bhqd", (q @ k.mT / 2**0.5).softmax(-1), v)
        return self.head(self.attend.out_proj(mixed.transpose(1, 2).flatten(2)).mean(1))


def test_every_form_of_attention_is_one_case() -> None:
    def of(how: str) -> Tensor:
        model = toy_model(filled(Forms(how)), {"attend": SAMPLES}, leads=("I", "II", "V1", "V2"), samples=6, width=3)
        problem = problem_of(model, noise(4, 6, seed=7), torch.tensor([0.5, -1.0, 2.0]))
        values = lrp(problem)
        assert abs(problem.report["unaccounted"]) < 1e-5
        return values

    wanted = of("written")
    assert wanted.abs().max() > 0.01
    for how in ("weights", "no weights", "fused", "masked"):
        torch.testing.assert_close(of(how), wanted, rtol=1e-3, atol=1e-5)


def narrow_st_mem() -> nn.Module:
    return leadpatches.build_st_mem(width=64, depth=2, patch=10, patches=3, labels=4)


def narrow_dbeta() -> nn.Module:
    return dbeta.build(width=32, depth=2, heads=2, hidden=64, stem=16, joint=8, text_width=8)


def narrow_melp() -> nn.Module:
    return melp.build(width=32, depth=2, heads=2, hidden=64, stem=16, joint=16, queries=3, pool_heads=2, text_width=8)


def narrow_coca() -> nn.Module:
    return coca.build(width=24, depth=2, heads=4, joint=10, patch=50, patches=6, text_width=8)


FAMILIES: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "st-mem": (narrow_st_mem, 30, 4), "d-beta": (narrow_dbeta, 400, 8), "melp": (narrow_melp, 400, 16),
    "ecg-coca": (narrow_coca, 300, 10),
}  # fmt: skip


def of_family(name: str, biases: bool = True) -> Problem:
    build, samples, width = FAMILIES[name]
    network = filled(build(), biases)
    model = toy_model(network, {"": SAMPLES}, leads=CANONICAL_LEADS, samples=samples, width=width, similarity="cosine")
    return problem_of(model, noise(12, samples), noise(width, seed=1))


@pytest.mark.parametrize("name", [*FAMILIES, "merl-vit", "merl-resnet"])
def test_published_networks_conserve_relevance(name: str) -> None:
    if name in FAMILIES:
        problem = of_family(name)
    else:
        model = narrow_vit() if name == "merl-vit" else narrow_resnet()
        problem = problem_of(model, noise(12, 5000), noise(256, seed=1))
    values = lrp(problem)
    report, score = problem.report, float(problem.scores(problem.x[None])[0])
    total = float(values.double().sum()) + report["kept_by_biases"] + report["kept_by_softmax"]
    assert total == pytest.approx(score, abs=1e-4 * max(1.0, float(values.abs().sum())))
    assert values.abs().max() > 0
    assert not problem.warnings
    assert all(not module._forward_hooks for module in problem.model.network.modules())


def test_class_tokens_and_positions_count_as_biases() -> None:
    class Token(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token, self.first = nn.Parameter(torch.tensor([[[2.0, 1.0]]])), nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.token.expand(len(x), -1, -1), self.first(x).transpose(1, 2)], dim=1).sum(1)

    problem = asked(Token())
    values = lrp(problem)
    # The score is 0.6 x (2 + sum of lead I) - 0.8 x (1 + sum of lead II).
    torch.testing.assert_close(values, problem.x * torch.tensor([[0.6], [-0.8]]), rtol=1e-4, atol=1e-5)
    assert problem.report["kept_by_biases"] == pytest.approx(0.6 * 2 - 0.8, abs=1e-4)


def test_a_function_without_a_rule_is_told() -> None:
    class Cubes(Residual):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + torch.cumprod(x, dim=-1)[..., 2]

    problem = asked(filled(Cubes()))
    lrp(problem)
    assert "passed functions that have no rule" in problem.warnings[0]


def test_recurrent_layers_and_torchscript_are_refused() -> None:
    class Lstm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.LSTM(2, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.first(x.transpose(1, 2))[0].mean(1)

    with pytest.raises(
        EcgcamError, match="`method` lrp: has no rule for a recurrent layer, and this network runs lstm"
    ):
        lrp(asked(Lstm()))
    scripted = nn.Sequential()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted.add_module("first", torch.jit.script(Residual()))
    with pytest.raises(EcgcamError, match="`method` lrp: toy has TorchScript"):
        lrp(asked(scripted))


@pytest.fixture
def modules() -> nn.Module:
    """A network of modules alone, as captum needs it."""
    return filled(
        nn.Sequential(
            nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.BatchNorm1d(4), nn.Conv1d(4, 4, 3, padding=1), nn.Tanh(),
            nn.AdaptiveAvgPool1d(1), nn.Conv1d(4, 2, 1), nn.Conv1d(2, 1, 1, bias=False),
        )
    )  # fmt: skip


@pytest.mark.parametrize("epsilon", [1e-6, 0.3])
def test_equal_to_captum_on_convolutions(modules: nn.Sequential, epsilon: float) -> None:
    attr = pytest.importorskip("captum.attr")
    rules = pytest.importorskip("captum.attr._utils.lrp_rules")
    model = toy_model(nn.Sequential(*modules[:-1], nn.Flatten()), {"0": SAMPLES}, samples=8)
    problem = problem_of(model, noise(2, 8), modules[-1].weight[0, :, 0].detach())
    values = lrp(problem, epsilon)
    for module in modules:
        if not isinstance(module, nn.ReLU | nn.Tanh):
            module.rule = rules.EpsilonRule(epsilon)  # type: ignore[assignment]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        wanted = attr.LRP(modules).attribute(problem.x[None].clone().requires_grad_(), target=(0, 0))[0].detach()
    torch.testing.assert_close(values, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.peers
@pytest.mark.slow
def test_each_rule_equal_to_lxt() -> None:
    """lxt, the authors' own code: its functions take and return relevance."""
    lxt = pytest.importorskip("lxt.explicit.functional")
    x, w, b = noise(4, 6).double(), noise(5, 6, seed=1).double(), noise(5, seed=2).double()
    pairs: list[tuple[Callable[..., Tensor], Callable[..., Tensor], tuple[Tensor, ...]]] = [
        (lambda x: F.linear(x, w, b), lambda x: lxt.linear_epsilon(x, w, b, 1e-12), (x,)),
        (lambda x: x.softmax(-1), lambda x: lxt.softmax(x, -1), (x,)),
        (torch.matmul, lambda a, v: lxt.matmul(a, v, False, 1e-12), (x, w.T.contiguous())),
        (torch.add, lambda a, c: lxt.add2(a, c, False, 1e-12), (x, x.flip(0) * 2)),
        (torch.mul, lxt.mul2, (x, x.flip(0) * 2)),
        (lambda x: F.layer_norm(x, (6,), w[0], w[1]), lambda x: lxt.layer_norm(x, w[0], w[1], 1e-5), (x,)),
        (lambda x: F.rms_norm(x, (6,), w[0], 1e-6), lambda x: lxt.rms_norm_identity(x, w[0], 1e-6), (x,)),
    ]
    for ours, theirs, tensors in pairs:
        leaves = [tensor.clone().requires_grad_() for tensor in tensors]
        y = theirs(*leaves)
        R = noise(*y.shape, seed=5).double()
        wanted = torch.autograd.grad(y, leaves, R)
        got, _ = arrived(ours, R, *tensors)
        for one, other in zip(got, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=2e-4, atol=2e-4)  # lxt adds its own small number to quotients
