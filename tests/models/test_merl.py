"""MERL's networks: keys, shapes, the path to the embedding, and where the cells of its layers are."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from ecgcam.attribution.cam import grad_cam, hires_cam
from ecgcam.attribution.cells import to_cells
from ecgcam.attribution.hooks import capture
from ecgcam.attribution.taps import tap
from ecgcam.errors import EcgcamError
from ecgcam.models.families.merl import ResNetEncoder, build
from ecgcam.models.load import build_network, load_model
from ecgcam.models.model_file import load_spec, model_names

Shapes = dict[str, tuple[int, ...]]

# name -> keys, trainable numbers; then what the shapes follow from: blocks per stage and bottlenecks, or the token width.
SIZES: dict[str, tuple[int, int, tuple[int, ...] | int, bool]] = {
    "merl-resnet18": (138, 4_788_618, (2, 2, 2, 2), False),
    "merl-resnet34": (234, 8_162_954, (3, 4, 6, 3), False),
    "merl-resnet50": (336, 17_307_530, (3, 4, 6, 3), True),
    "merl-resnet101": (642, 29_614_986, (3, 4, 23, 3), True),
    "merl-vit-tiny": (168, 5_950_336, 192, False),
    "merl-vit-small": (168, 22_187_776, 384, False),
    "merl-vit-middle": (168, 38_910_976, 512, False),
    "merl-vit-base": (168, 86_513_152, 768, False),
}


def bn(name: str, width: int) -> Shapes:
    per_channel = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (width,) for part in per_channel} | {f"{name}.num_batches_tracked": ()}


def linear(name: str, before: int, after: int, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (after, before)} | ({f"{name}.bias": (after,)} if bias else {})


def shared_shapes(features: int) -> Shapes:
    return (
        linear("linear1", features, 256, bias=False)
        | linear("linear2", features, 256, bias=False)
        | linear("proj_t.0", 768, 256)
        | linear("proj_t.2", 256, 256)
    )


def resnet_shapes(depths: tuple[int, ...], bottleneck: bool) -> Shapes:
    shapes = shared_shapes(256) | {"ecg_encoder.conv1.weight": (64, 12, 7)} | bn("ecg_encoder.bn1", 64)
    channels = 64
    for stage, depth in enumerate(depths):
        width = 64 * 2**stage
        out = width * (4 if bottleneck else 1)
        for block in range(depth):
            at = f"ecg_encoder.layer{stage + 1}.{block}"
            if bottleneck:
                convolutions = [(width, channels, 1), (width, width, 3), (out, width, 1)]
            else:
                convolutions = [(width, channels, 3), (width, width, 3)]
            for i, shape in enumerate(convolutions, start=1):
                shapes |= {f"{at}.conv{i}.weight": shape} | bn(f"{at}.bn{i}", shape[0])
            if block == 0 and (stage > 0 or bottleneck):
                shapes |= {f"{at}.shortcut.0.weight": (out, channels, 1)} | bn(f"{at}.shortcut.1", out)
            channels = out
    head = "att_pool_head"
    return (
        shapes
        | linear("ecg_encoder.linear", channels, 10)
        | {"downconv.weight": (256, channels, 1), "downconv.bias": (256,)}
        | {f"{head}.positional_embedding": (1, 314, 256), f"{head}.cls_token": (1, 1, 256)}
        | {f"{head}.mhsa.in_proj_weight": (768, 256), f"{head}.mhsa.in_proj_bias": (768,)}
        | linear(f"{head}.mhsa.out_proj", 256, 256)
        | linear(f"{head}.c_proj", 256, 256)
    )


def vit_shapes(width: int) -> Shapes:
    shapes = shared_shapes(width) | linear("proj_e.0", width, 256) | bn("proj_e.1", 256)
    shapes |= linear("proj_e.3", 256, 256) | bn("proj_e.4", 256)
    shapes |= {"ecg_encoder.pos_embedding": (1, 100, width), "ecg_encoder.to_patch_embedding.weight": (width, 12, 50)}
    norms = ["ecg_encoder.norm"]
    for i in range(12):
        at = f"ecg_encoder.block{i}"
        norms += [f"{at}.attn.norm", f"{at}.ff.norm"]
        shapes |= linear(f"{at}.attn.fn.to_qkv", width, 3 * width) | linear(f"{at}.attn.fn.to_out.0", width, width)
        shapes |= linear(f"{at}.ff.fn.net.0", width, 4 * width) | linear(f"{at}.ff.fn.net.3", 4 * width, width)
    for norm in norms:
        shapes |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    return shapes


def test_the_table_names_every_model_file() -> None:
    assert {name for name in model_names() if name.startswith("merl")} == {*SIZES, "merl-ecg-bench"}


@pytest.mark.parametrize("name", SIZES)
def test_every_size_has_its_keys_and_shapes(name: str) -> None:
    count, numbers, size, bottleneck = SIZES[name]
    expected = vit_shapes(size) if isinstance(size, int) else resnet_shapes(size, bottleneck)
    network = build_network(load_spec(name)).eval()
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == expected
    assert len(expected) == count
    assert sum(parameter.numel() for parameter in network.parameters()) == numbers
    with torch.device("meta"):
        assert network(torch.zeros(2, 12, 5000)).shape == (2, 256)


@pytest.mark.parametrize("name", SIZES)
def test_every_declared_layer_gives_the_axes_it_declares(name: str) -> None:
    spec = load_spec(name)
    network = build_network(spec).eval()
    size = SIZES[name][2]
    for path, where in spec.layers.items():
        with torch.device("meta"), torch.no_grad(), tap(network.get_submodule(path), path) as outputs:
            network(torch.zeros(2, 12, 5000))
        channels, cells = to_cells(outputs[0], where).shape[1:]
        assert cells == len(range(round(where.offset - 0.1), 5000, round(where.step)))
        assert isinstance(size, tuple) or channels == size
    assert spec.layer == ("ecg_encoder.layer4" if "resnet" in name else "ecg_encoder.block11")


@pytest.mark.parametrize("name", SIZES)
def test_the_model_file_says_what_merl_eats(name: str) -> None:
    spec = load_spec(name)
    assert spec.input.leads == ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
    assert (spec.input.fs, spec.input.samples, spec.input.normalisation) == (500, 5000, "minmax")
    assert (spec.input.fill, spec.input.padding, spec.similarity, spec.text) == (
        "baseline",
        "zero-mv",
        "cosine",
        "table",
    )
    assert spec.input.fill_reason
    assert "2403.06659" in spec.paper


@pytest.mark.parametrize("layer", ["layer1", "layer2", "layer3", "layer4"])
@pytest.mark.parametrize("name", ["merl-resnet18", "merl-resnet50"])
def test_a_cell_of_the_resnet_looks_around_its_declared_centre(name: str, layer: str) -> None:
    # One block per stage is enough: more of them widen what a cell sees on both sides alike.
    encoder = ResNetEncoder((1, 1, 1, 1), bottleneck=name.endswith("50")).eval()
    where = load_spec(name).layers[f"ecg_encoder.{layer}"]
    cell = round(2500 / where.step)
    x = torch.randn(1, 12, 5000, requires_grad=True)
    outputs: list[torch.Tensor] = []
    encoder.get_submodule(layer).register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    encoder(x)
    (gradient,) = torch.autograd.grad(outputs[0][0, :, cell].sum(), x)
    seen = gradient.abs().sum((0, 1)).nonzero().flatten()
    assert float(seen[0] + seen[-1]) / 2 == where.offset + where.step * cell


def test_a_patch_of_the_vit_lies_at_its_declared_centre(standin: Callable[[str], Path]) -> None:
    model = load_model("merl-vit-tiny", standin("merl-vit-tiny"), device="cpu")
    x = torch.full((2, 12, 5000), 0.4)
    x[1, :, 37 * 50 : 38 * 50] += torch.randn(12, 50, generator=torch.Generator().manual_seed(0))
    outputs: dict[str, torch.Tensor] = {}
    with ExitStack() as stack, torch.no_grad():
        for path in model.spec.layers:
            keep = functools.partial(outputs.__setitem__, path)
            handle = model.layer(path)[0].register_forward_hook(lambda _module, _inputs, out, keep=keep: keep(out))
            stack.callback(handle.remove)
        model.encode_signal(x)
    for path, where in model.spec.layers.items():
        A = to_cells(outputs[path], where)
        change = (A[1] - A[0]).norm(dim=0)
        assert int(change.argmax()) == 37
        assert where.offset + where.step * 37 == (37 * 50 + 38 * 50 - 1) / 2
        if path.endswith("to_patch_embedding"):
            assert change.count_nonzero() == 1


def test_grad_cam_is_hires_cam_at_the_last_block_but_not_at_its_first_norm(standin: Callable[[str], Path]) -> None:
    # The mean over tokens gives every token of the last block the same gradient.
    model = load_model("merl-vit-tiny", standin("merl-vit-tiny"), device="cpu")
    x = torch.rand(3, 12, 5000, generator=torch.Generator().manual_seed(0))
    texts = torch.nn.functional.normalize(torch.randn(1, 256, generator=torch.Generator().manual_seed(1)), dim=-1)

    def apart(layer: str) -> float:
        captured = capture(model, x, texts, layer)
        A, G = captured.activations, captured.gradients[0]
        return float((grad_cam(A, G) - hires_cam(A, G)).abs().max() / hires_cam(A, G).abs().max())

    assert apart("ecg_encoder.block11") < 1e-4
    # The layers of MERL's own heat maps are there too; activation x gradient is hires-cam.
    assert apart("ecg_encoder.block11.attn.norm") > 0.01
    assert apart("ecg_encoder.to_patch_embedding") > 0.01


@pytest.mark.parametrize("name", ["merl-resnet18", "merl-vit-tiny"])
def test_the_layers_of_the_training_loss_are_off_the_path(name: str, standin: Callable[[str], Path]) -> None:
    model = load_model(name, standin(name), device="cpu")
    x = torch.rand(1, 12, 5000)
    with torch.no_grad():
        before = model.encode_signal(x)
        for path in ("linear1", "linear2"):
            model.network.get_submodule(path).weight.fill_(1e6)
        assert torch.equal(model.encode_signal(x), before)


@pytest.mark.parametrize(("arch", "cells"), [("resnet18", "313 cells"), ("vit-tiny", "100 cells")])
def test_a_window_of_another_length_is_refused(arch: str, cells: str) -> None:
    with torch.device("meta"), pytest.raises(EcgcamError, match=cells):
        build(arch).eval()(torch.zeros(1, 12, 2500))


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(EcgcamError, match=r"resnet152.*resnet18.*vit-base"):
        build("resnet152")
