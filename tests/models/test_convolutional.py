"""ECGFounder, Ribeiro, xresnet1d101, ESI and EchoingECG: keys and shapes as published, and slow copies of what they compute."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ecgcam.models.families import echoing, esi, net1d, ribeiro, xresnet
from ecgcam.models.load import build_network
from ecgcam.models.model_file import load_spec

Shapes = dict[str, tuple[int, ...]]
State = dict[str, Tensor]
SOURCE = Path("checkpoint.pt")


def shapes_of(name: str) -> Shapes:
    return {key: tuple(value.shape) for key, value in build_network(load_spec(name)).state_dict().items()}


def conv(name: str, before: int, after: int, kernel: int, bias: bool = False) -> Shapes:
    return {f"{name}.weight": (after, before, kernel)} | ({f"{name}.bias": (after,)} if bias else {})


def linear(name: str, before: int, after: int) -> Shapes:
    return {f"{name}.weight": (after, before), f"{name}.bias": (after,)}


def bn(name: str, width: int) -> Shapes:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (width,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def filled(network: nn.Module, seed: int = 0) -> nn.Module:
    """Weights large enough that every part of a network matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            draws = torch.randn(value.shape, generator=generator)
            if "running_var" in name:
                value.copy_(1 + 0.2 * draws.abs())
            elif "num_batches" not in name:
                gain = 1.5 / value[0].numel() ** 0.5 if value.ndim > 1 else 0.2
                value.copy_(gain * draws + (value.ndim == 1 and name.endswith(("weight", "gamma"))))
    return network.eval()


def agree(got: Tensor, wanted: Tensor) -> None:
    assert got.shape == wanted.shape
    assert wanted.abs().max() > 0.05
    assert (got - wanted).abs().max() < 1e-4 * wanted.abs().max()


def norm(x: Tensor, state: State, name: str) -> Tensor:
    mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    gain = state[f"{name}.weight"] / (var + 1e-5).sqrt()
    return (x - mean[:, None]) * gain[:, None] + state[f"{name}.bias"][:, None]


# ECGFounder ---------------------------------------------------------------------------------------------------------------


def test_ecgfounder_has_the_published_keys_and_shapes() -> None:
    widths, blocks = (64, 160, 160, 400, 400, 1024, 1024), (2, 2, 2, 3, 3, 4, 4)
    shapes = conv("first_conv.conv", 12, 64, 16, bias=True) | linear("dense", 1024, 150)
    before = 64
    for i, (width, depth) in enumerate(zip(widths, blocks, strict=True)):
        for j in range(depth):
            block = f"stage_list.{i}.block_list.{j}"
            shapes |= conv(f"{block}.conv1.conv", width if j else before, width, 1, bias=True)
            shapes |= conv(f"{block}.conv2.conv", 16, width, 16, bias=True)  # groups of 16 channels
            shapes |= conv(f"{block}.conv3.conv", width, width, 1, bias=True)
            shapes |= linear(f"{block}.se_fc1", width, width // 2) | linear(f"{block}.se_fc2", width // 2, width)
        before = width
    assert shapes_of("ecgfounder") == shapes


def test_net1d_against_a_slow_copy_of_its_blocks() -> None:
    network = filled(net1d.build(filters=(16, 32), blocks=(2, 1), kernel=16, group=16, labels=3))
    state = network.state_dict()

    def same(x: Tensor, name: str, stride: int, groups: int = 1) -> Tensor:
        weight, length = state[f"{name}.conv.weight"], x.shape[-1]
        out = math.ceil(length / stride)
        missing = max(0, (out - 1) * stride + weight.shape[-1] - length)
        zeros = x.new_zeros(*x.shape[:2], missing)
        x = torch.cat([zeros[..., : missing // 2], x, zeros[..., missing // 2 :]], dim=-1)
        return functional.conv1d(x, weight, state[f"{name}.conv.bias"], stride, groups=groups)

    def swish(x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)

    def block(x: Tensor, name: str, stride: int, first: bool, width: int) -> Tensor:
        out = same(x if first else swish(x), f"{name}.conv1", 1)
        out = same(swish(out), f"{name}.conv2", stride, groups=width // 16)
        out = same(swish(out), f"{name}.conv3", 1)
        gate = swish(out.mean(-1) @ state[f"{name}.se_fc1.weight"].T + state[f"{name}.se_fc1.bias"])
        gate = torch.sigmoid(gate @ state[f"{name}.se_fc2.weight"].T + state[f"{name}.se_fc2.bias"])
        if stride == 2:
            padded = torch.cat([x, x.new_zeros(*x.shape[:2], 1)], dim=-1)
            pairs = padded[..., : padded.shape[-1] // 2 * 2].unflatten(-1, (-1, 2))
            x = pairs.amax(dim=-1)
        wider = torch.zeros_like(out)
        left = (out.shape[1] - x.shape[1]) // 2
        wider[:, left : left + x.shape[1]] = x
        return out * gate[..., None] + wider

    x = torch.randn(2, 12, 101)
    with torch.no_grad():
        out = swish(same(x, "first_conv", 2))
        out = block(out, "stage_list.0.block_list.0", 2, True, 16)
        out = block(out, "stage_list.0.block_list.1", 1, False, 16)
        out = block(out, "stage_list.1.block_list.0", 2, False, 32)
        assert out.shape == (2, 32, 13)
        agree(network(x), out.mean(-1) @ state["dense.weight"].T + state["dense.bias"])


def test_net1d_runs_its_normalisations_when_asked() -> None:
    plain = filled(net1d.build(filters=(16,), blocks=(1,), labels=2))
    normed = filled(net1d.build(filters=(16,), blocks=(1,), labels=2, normed=True))
    state = normed.state_dict()
    assert (
        set(state) - set(plain.state_dict())
        == {key for key in state if ".bn" in key or key.startswith("first_bn.")}
        != set()
    )
    # The same file goes into both.
    plain.load_state_dict(plain.adapt_state(dict(state), SOURCE), assign=True)
    normed.load_state_dict(normed.adapt_state(dict(state), SOURCE), assign=True)
    x = torch.randn(1, 12, 64)
    assert (plain.eval()(x) - normed.eval()(x)).abs().max() > 0.01


# Ribeiro ------------------------------------------------------------------------------------------------------------------


def test_ribeiro_has_the_published_keys_and_shapes() -> None:
    widths = (64, 128, 196, 256, 320)
    shapes = conv("conv1", 12, 64, 17) | bn("bn1", 64) | linear("lin", 320 * 16, 1)
    before = 64
    for i, width in enumerate(widths):
        block = f"resblock1d_{i}"
        shapes |= conv(f"{block}.conv1", before, width, 17) | conv(f"{block}.conv2", width, width, 17)
        shapes |= bn(f"{block}.bn1", width) | bn(f"{block}.bn2", width)
        if before != width:
            shapes |= conv(f"{block}.skip_connection.1", before, width, 1)  # behind the pooling
        before = width
    assert shapes_of("ribeiro") == shapes


def test_ribeiro_against_a_slow_copy() -> None:
    network = filled(ribeiro.build(filters=(4, 6), lengths=(64, 16), kernel=17, outputs=2))
    state = network.state_dict()
    x = torch.randn(2, 12, 64)
    with torch.no_grad():
        x1 = norm(functional.conv1d(x, state["conv1.weight"], padding=8), state, "bn1")
        out = shortcut = x1
        for name, stride in (("resblock1d_0", 1), ("resblock1d_1", 4)):
            inner = functional.conv1d(out, state[f"{name}.conv1.weight"], padding=8)
            inner = norm(inner, state, f"{name}.bn1").clamp(min=0)
            # 'Same' padding of the port: floor((17 - stride + 1) / 2).
            padding = (17 - stride + 1) // 2
            main = functional.conv1d(inner, state[f"{name}.conv2.weight"], stride=stride, padding=padding)
            if stride == 4:
                shortcut = functional.conv1d(
                    functional.max_pool1d(shortcut, 4), state[f"{name}.skip_connection.1.weight"]
                )
            shortcut = main + shortcut
            out = norm(shortcut, state, f"{name}.bn2").clamp(min=0)
        wanted = out.reshape(2, -1) @ state["lin.weight"].T + state["lin.bias"]
    agree(network(x).detach(), wanted)


# xresnet1d101 -------------------------------------------------------------------------------------------------------------


def xresnet_shapes(widths: tuple[int, ...]) -> Shapes:
    """fastai's modules 0 to 7, with blocks of 3, 4, 23 and 3."""
    shapes: Shapes = {}
    for i, (before, after) in enumerate(((12, 32), (32, 32), (32, 64))):
        shapes |= conv(f"{i}.0", before, after, 5) | bn(f"{i}.1", after)
    before = 64
    for stage, (width, depth) in enumerate(zip(widths, (3, 4, 23, 3), strict=True)):
        for j in range(depth):
            block, after = f"{stage + 4}.{j}", width * 4
            for k, (a, b, kernel) in enumerate(((before, width, 1), (width, width, 5), (width, after, 1))):
                shapes |= conv(f"{block}.convs.{k}.0", a, b, kernel) | bn(f"{block}.convs.{k}.1", b)
            if before != after:
                place = 1 if stage else 0  # the averaging comes first
                shapes |= conv(f"{block}.idpath.{place}.0", before, after, 1) | bn(f"{block}.idpath.{place}.1", after)
            before = after
    return shapes


def test_xresnet1d101_has_the_published_keys_and_shapes() -> None:
    head = bn("8.2", 512) | linear("8.4", 512, 128) | bn("8.6", 128) | linear("8.8", 128, 71)
    assert shapes_of("xresnet1d101") == xresnet_shapes((64, 64, 64, 64)) | head


def test_an_xresnet_block_against_a_slow_copy() -> None:
    block = filled(xresnet.Block(8, 4, 2))
    state = block.state_dict()
    x = torch.randn(2, 8, 11)
    with torch.no_grad():
        out = x
        for k, (stride, padding) in enumerate(((1, 0), (2, 2), (1, 0))):
            out = functional.conv1d(out, state[f"convs.{k}.0.weight"], stride=stride, padding=padding)
            out = norm(out, state, f"convs.{k}.1")
            out = out.clamp(min=0) if k < 2 else out
        # Pairs are averaged, the odd sample at the end stands alone.
        pairs = torch.stack([x[..., i : i + 2].mean(-1) for i in range(0, 11, 2)], dim=-1)
        shortcut = norm(functional.conv1d(pairs, state["idpath.1.0.weight"]), state, "idpath.1.1")
        agree(block(x), (out + shortcut).clamp(min=0))


def test_the_xresnet_head_pools_the_maximum_before_the_mean() -> None:
    network = filled(xresnet.build(widths=(4, 4, 4, 4), depths=(1, 1, 1, 1), hidden=6, labels=3))
    x = torch.randn(2, 12, 250)
    with torch.no_grad():
        for module in list(network)[:8]:
            x = module(x)
        assert x.shape == (2, 16, 8)
        head = network[8]
        pooled = torch.cat([x.max(dim=-1).values, x.mean(dim=-1)], dim=1)
        wanted = head[8](head[6](head[4](head[2](pooled)).clamp(min=0)))
        agree(head(x), wanted)


# ESI ----------------------------------------------------------------------------------------------------------------------


def test_esi_has_the_published_keys_and_shapes() -> None:
    widths = (128, 256, 512, 1024)
    shapes: Shapes = {}
    for i, width in enumerate(widths):
        down = f"img_encoder.downsample_layers.{i}"
        normed, before, kernel = (1, 12, 4) if i == 0 else (0, widths[i - 1], 2)
        shapes |= conv(f"{down}.{1 - normed}", before, width, kernel, bias=True)
        channels = width if i == 0 else before
        shapes |= {f"{down}.{normed}.{part}": (1, channels, 1) for part in ("weight", "bias")}
        for j in range((3, 3, 27, 3)[i]):
            block = f"img_encoder.stages.{i}.{j}"
            shapes |= conv(f"{block}.dwconv", 1, width, 7, bias=True)
            shapes |= {f"{block}.norm.{part}": (width,) for part in ("weight", "bias")}
            shapes |= linear(f"{block}.pwconv1", width, 4 * width) | linear(f"{block}.pwconv2", 4 * width, width)
            shapes |= {f"{block}.grn.{part}": (1, 1, 4 * width) for part in ("gamma", "beta")}
    shapes |= {f"img_encoder.norm.{part}": (1024,) for part in ("weight", "bias")}
    shapes |= linear("img_token_head", 1024, 768)
    shapes |= {f"img_attn_pool_norm.{part}": (768,) for part in ("gamma", "beta")}
    shapes |= {f"{side}_to_latents.to_latents.weight": (768, 768) for side in ("img", "text")}
    assert shapes_of("esi") == shapes


def test_esi_against_a_slow_copy() -> None:
    network = filled(esi.build(widths=(4, 6), depths=(1, 1), width=8, joint=5))
    state = network.state_dict()
    x = torch.randn(2, 12, 64)

    def over_time(x: Tensor, name: str) -> Tensor:
        mean = x.mean(-1, keepdim=True)
        deviation = ((x - mean) ** 2).sum(-1, keepdim=True).div(x.shape[-1] - 1).sqrt()
        return (x - mean) / (deviation + 1e-6) * state[f"{name}.weight"] + state[f"{name}.bias"]

    def block(x: Tensor, name: str) -> Tensor:
        out = functional.conv1d(
            x, state[f"{name}.dwconv.weight"], state[f"{name}.dwconv.bias"], padding=3, groups=x.shape[1]
        )
        out = out.mT
        mean = out.mean(-1, keepdim=True)
        var = ((out - mean) ** 2).mean(-1, keepdim=True)
        out = (out - mean) / (var + 1e-6).sqrt() * state[f"{name}.norm.weight"] + state[f"{name}.norm.bias"]
        out = functional.gelu(out @ state[f"{name}.pwconv1.weight"].T + state[f"{name}.pwconv1.bias"])
        size = (out**2).sum(dim=1, keepdim=True).sqrt()
        share = size / (size.mean(dim=-1, keepdim=True) + 1e-6)
        out = state[f"{name}.grn.gamma"] * out * share + state[f"{name}.grn.beta"] + out
        return x + (out @ state[f"{name}.pwconv2.weight"].T + state[f"{name}.pwconv2.bias"]).mT

    with torch.no_grad():
        down = "img_encoder.downsample_layers"
        out = functional.conv1d(x, state[f"{down}.0.0.weight"], state[f"{down}.0.0.bias"], stride=4)
        out = block(over_time(out, f"{down}.0.1"), "img_encoder.stages.0.0")
        out = functional.conv1d(
            over_time(out, f"{down}.1.0"), state[f"{down}.1.1.weight"], state[f"{down}.1.1.bias"], stride=2
        )
        out = block(out, "img_encoder.stages.1.0")
        assert out.shape == (2, 6, 8)
        pooled = functional.layer_norm(
            out.mean(-1), (6,), state["img_encoder.norm.weight"], state["img_encoder.norm.bias"], eps=1e-6
        )
        token = pooled @ state["img_token_head.weight"].T + state["img_token_head.bias"]
        token = functional.layer_norm(token, (8,), state["img_attn_pool_norm.gamma"], state["img_attn_pool_norm.beta"])
        agree(network(x), token @ state["img_to_latents.to_latents.weight"].T)


# EchoingECG ---------------------------------------------------------------------------------------------------------------


def test_echoing_ecg_has_the_published_keys_and_shapes() -> None:
    shapes = conv("ecg_encoder.conv1", 12, 96, 7) | bn("ecg_encoder.bn1", 96)
    before = 96
    for stage, depth in enumerate((3, 4, 23, 3)):
        width = 96 * 2 ** (stage + 1)
        for j in range(depth):
            block = f"ecg_encoder.layer{stage + 1}.{j}"
            shapes |= conv(f"{block}.conv1", before, width, 3) | conv(f"{block}.conv2", width, width, 3)
            shapes |= bn(f"{block}.bn1", width) | bn(f"{block}.bn2", width)
            if j == 0:
                shapes |= conv(f"{block}.shortcut.0", before, width, 1) | bn(f"{block}.shortcut.1", width)
            before = width
    for side, width in (("ecg_encoder", 1536), ("text_encoder_head", 768)):
        shapes |= linear(f"{side}.linear", width, 512) | {f"{side}.gpool.linear.weight": (1, 32)}
        for way in ("", "_reverse"):
            shapes |= {f"{side}.gpool.gru.{part}_l0{way}": (96, 32) for part in ("weight_ih", "weight_hh")}
            shapes |= {f"{side}.gpool.gru.{part}_l0{way}": (96,) for part in ("bias_ih", "bias_hh")}
    assert shapes_of("echoing-ecg") == shapes


def test_rank_pooling_against_a_slow_copy() -> None:
    pool = filled(echoing.RankPooling(6))
    features = torch.randn(2, 9, 4)

    def step(x: Tensor, h: Tensor, way: str) -> Tensor:
        gates_x = pool.gru.get_parameter(f"weight_ih_l0{way}") @ x + pool.gru.get_parameter(f"bias_ih_l0{way}")
        gates_h = pool.gru.get_parameter(f"weight_hh_l0{way}") @ h + pool.gru.get_parameter(f"bias_hh_l0{way}")
        (rx, zx, nx), (rh, zh, nh) = gates_x.chunk(3), gates_h.chunk(3)
        r, z = torch.sigmoid(rx + rh), torch.sigmoid(zx + zh)
        return (1 - z) * torch.tanh(nx + r * nh) + z * h

    with torch.no_grad():
        encoded = torch.zeros(9, 6)
        for rank in range(9):
            for i in range(3):
                angle = rank * math.exp(-2 * i * math.log(10000.0) / 6)
                encoded[rank, 2 * i], encoded[rank, 2 * i + 1] = math.sin(angle), math.cos(angle)
        both = torch.zeros(9, 6)
        for way, order in (("", range(9)), ("_reverse", reversed(range(9)))):
            h = torch.zeros(6)
            for rank in order:
                h = step(encoded[rank], h, way)
                both[rank] += h / 2
        weights = torch.softmax(both @ pool.linear.weight[0] / 0.1, dim=0)
        wanted = torch.zeros(2, 4)
        for b in range(2):
            for c in range(4):
                ranked = sorted(features[b, :, c].tolist(), reverse=True)
                wanted[b, c] = sum(w * v for w, v in zip(weights.tolist(), ranked, strict=True))
        agree(pool(features), wanted)
        # Not the mean: the weights differ by rank, and the pooling knows no order in time.
        assert np.ptp(weights.numpy()) > 0.02
        assert torch.allclose(pool(features), pool(features.flip(1)), atol=1e-6)


def test_the_gradient_goes_to_the_moments_that_were_ranked() -> None:
    pool = filled(echoing.RankPooling(6))
    features = torch.randn(1, 9, 4, requires_grad=True)
    pool(features).sum().backward()
    assert features.grad is not None
    assert features.grad.sum(dim=1)[0].tolist() == pytest.approx([1.0] * 4, abs=1e-5)


# Heads --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "head", "samples"),
    [
        (lambda: net1d.build(filters=(16,), blocks=(1,), labels=2), "dense", 64),
        (lambda: ribeiro.build(filters=(4,), lengths=(64,), outputs=1), "lin", 64),
        (lambda: xresnet.build(widths=(4,) * 4, depths=(1,) * 4, hidden=6, labels=3), "8.8", 250),
    ],
)
def test_a_classifier_is_as_wide_as_the_file(build: Callable[[], nn.Module], head: str, samples: int) -> None:
    network = filled(build())
    state = dict(network.state_dict())
    features = state[f"{head}.weight"].shape[1]
    state |= {f"{head}.weight": torch.randn(7, features), f"{head}.bias": torch.randn(7)}
    network.load_state_dict(network.adapt_state(state, SOURCE), assign=True)  # type: ignore[operator]
    assert network.eval()(torch.randn(2, 12, samples)).shape == (2, 7)
