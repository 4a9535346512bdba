"""Capture: answers on paper, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.toys import toy_model
from torch import Tensor, nn

from ecgcam.attribution.cam import grad_cam, hires_cam
from ecgcam.attribution.hooks import (
    capture,
    cell_width,
    curvature,
    gradients_along_path,
    input_gradient,
    outputs_of,
    unnormalised_gradients,
)  # fmt: skip
from ecgcam.attribution.taps import output_shapes
from ecgcam.errors import EcgcamError
from ecgcam.protocol.model import EcgTextModel, frozen
from ecgcam.protocol.spec import LayerSpec

SAMPLES = LayerSpec("BCT", 1.0, 0.0)


class Paper(nn.Module):
    """Two channels: f0 = 2 x_I, f1 = -x_II. Embedding: (sum_t w_t f0_t + 3 mean_t f1_t, mean_t f0_t), w = (0, 1, 2, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv1d(2, 2, 1, bias=False)
        with torch.no_grad():
            self.features.weight.copy_(torch.tensor([[[2.0], [0.0]], [[0.0], [-1.0]]]))
        self.register_buffer("ramp", torch.arange(4.0))

    def forward(self, x: Tensor) -> Tensor:
        f = self.features(x)
        return torch.stack([(self.ramp * f[:, 0]).sum(-1) + 3 * f[:, 1].mean(-1), f[:, 0].mean(-1)], dim=1)


def paper_model() -> EcgTextModel:
    return toy_model(Paper(), {"features": SAMPLES}, samples=4)


X = torch.tensor([[[1.0, 0.0, 2.0, 0.0], [0.0, 4.0, 0.0, -4.0]]])


def test_grad_cam_of_two_channels_worked_out_by_hand() -> None:
    # Prompt 0. A = [[2, 0, 4, 0], [0, -4, 0, 4]]; G = [[0, 1, 2, 3], [3/4] * 4]; mean weights (1.5, 0.75).
    # cells = 1.5 * [2, 0, 4, 0] + 0.75 * [0, -4, 0, 4] = [3, -3, 6, 3]. Score = 0*2 + 2*4 + 3*0 = 8.
    # Prompt 1. G = [[1/4] * 4, 0]; cells = 0.25 * [2, 0, 4, 0].
    got = capture(paper_model(), X, torch.eye(2))
    torch.testing.assert_close(got.scores, torch.tensor([[8.0, 1.5]]))
    torch.testing.assert_close(got.activations, torch.tensor([[[2.0, 0, 4, 0], [0, -4, 0, 4]]]))
    torch.testing.assert_close(grad_cam(got.activations, got.gradients[0]), torch.tensor([[3.0, -3.0, 6.0, 3.0]]))
    torch.testing.assert_close(grad_cam(got.activations, got.gradients[1]), torch.tensor([[0.5, 0.0, 1.0, 0.0]]))


def test_hires_cam_of_two_channels_worked_out_by_hand() -> None:
    # Cell by cell: [0*2, 1*0 - 0.75*4, 2*4, 3*0 + 0.75*4] = [0, -3, 8, 3].
    got = capture(paper_model(), X, torch.eye(2))
    torch.testing.assert_close(hires_cam(got.activations, got.gradients[0]), torch.tensor([[0.0, -3.0, 8.0, 3.0]]))


def test_input_gradient_worked_out_by_hand() -> None:
    # d score0 / d x_I = 2 w_t; d score0 / d x_II = -3/4.
    _, scores, gradient = input_gradient(paper_model(), X, torch.eye(2))
    assert scores[0, 0].item() == 8.0
    torch.testing.assert_close(gradient[0, 0], torch.tensor([[0.0, 2.0, 4.0, 6.0], [-0.75] * 4]))
    torch.testing.assert_close(gradient[1, 0], torch.tensor([[0.5] * 4, [0.0] * 4]))


class InPlace(nn.Module):
    """In-place operations on both sides of the hooked layer: torch-cam#72, pytorch-grad-cam#147."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inplace = inplace
        self.before = nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(inplace=inplace))
        self.features = nn.Sequential(nn.Conv1d(4, 4, 3, padding=1), nn.BatchNorm1d(4))
        self.relu = nn.ReLU(inplace=inplace)

    def forward(self, x: Tensor) -> Tensor:
        y = self.before(x)
        f = self.features(y)
        if self.inplace:
            f += y
            f *= 2
        else:
            f = (f + y) * 2
        return self.relu(f).square().mean(-1)


def test_operations_in_place_after_the_layer_change_nothing() -> None:
    x = torch.randn(3, 2, 8, generator=torch.Generator().manual_seed(1))
    results = [
        capture(toy_model(InPlace(inplace), {"features": SAMPLES}, width=4), x, torch.eye(4))
        for inplace in (True, False)
    ]
    torch.testing.assert_close(results[0].activations, results[1].activations)
    torch.testing.assert_close(results[0].gradients, results[1].gradients)
    assert results[1].gradients.abs().max() > 0.01


class Failing(Paper):
    """Fails after the layer."""

    def forward(self, x: Tensor) -> Tensor:
        super().forward(x)
        raise ValueError("the network's own error")


def snapshot(network: nn.Module) -> list[object]:
    state: list[object] = []
    for module in network.modules():
        state += [
            module.training,
            len(module._forward_hooks),
            len(module._forward_pre_hooks),
            len(module._backward_hooks),
        ]
    for parameter in network.parameters():
        state += [parameter.requires_grad, None if parameter.grad is None else parameter.grad.clone().tolist()]
    return state


@pytest.mark.parametrize("run", [capture, input_gradient, lambda model, *_: cell_width(model)])
@pytest.mark.parametrize("network", [Paper, Failing])
def test_the_network_is_left_as_it_was(run: Callable[..., object], network: type[nn.Module]) -> None:
    model = toy_model(network(), {"features": SAMPLES}, samples=4)
    model.network.train()
    model.network.features.eval()  # type: ignore[union-attr]
    model.network.features.weight.grad = torch.full((2, 2, 1), 7.0)  # type: ignore[union-attr]
    before, x, texts = snapshot(model.network), X.clone(), torch.eye(2)
    if network is Failing:
        with pytest.raises(ValueError, match="own error"):
            run(model, x, texts)
    else:
        run(model, x, texts)
    assert snapshot(model.network) == before
    assert torch.equal(x, X)
    assert torch.equal(texts, torch.eye(2))
    assert x.grad is None
    assert not x.requires_grad


def test_frozen_parameters_and_the_callers_no_grad_do_not_matter() -> None:
    model = paper_model()
    model.network.requires_grad_(False)
    with torch.no_grad():
        got = capture(model, X, torch.eye(2))
        _, _, gradient = input_gradient(model, X, torch.eye(2))
    torch.testing.assert_close(grad_cam(got.activations, got.gradients[0]), torch.tensor([[3.0, -3.0, 6.0, 3.0]]))
    assert gradient[0, 0, 0, 3] == 6.0
    assert not any(parameter.requires_grad for parameter in model.network.parameters())


class Odd(Paper):
    """Ways in which a layer cannot be explained."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.unused = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "no_grad":
            with torch.no_grad():
                return super().forward(x)
        if self.how == "twice":
            self.features(x)
        if self.how == "tuple":
            return self.features(x)[0].mean()
        if self.how == "zero":
            return super().forward(x) * 0 + x.mean(-1)
        return super().forward(x)


@pytest.mark.parametrize(
    ("how", "layer", "says"),
    [
        ("no_grad", "features", "no_grad"),
        ("twice", "features", "ran 2 times"),
        ("plain", "unused", "ran 0 times"),
        ("zero", "features", "exactly zero"),
        ("plain", "nowhere", "no such layer in toy; choose from features, unused"),
    ],
)
def test_a_layer_that_cannot_be_explained_is_an_error(how: str, layer: str, says: str) -> None:
    model = toy_model(Odd(how), {"features": SAMPLES, "unused": SAMPLES}, samples=4)
    with pytest.raises(EcgcamError, match=says):
        capture(model, X, torch.eye(2), layer)


def test_an_output_that_is_no_tensor_is_an_error() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = Pair()

        def forward(self, x: Tensor) -> Tensor:
            return self.features(x)[0].mean(-1)

    model = toy_model(Network(), {"features": SAMPLES}, samples=4)
    with pytest.raises(EcgcamError, match="tuple"):
        capture(model, X, torch.eye(2))
    with pytest.raises(EcgcamError, match="features: gives a tuple, not a tensor"):
        outputs_of(model, X, ["features"])
    assert output_shapes(model.network, ["features"], X) == {}
    assert output_shapes(model.network, ["features"], X, [1]) == {"features": tuple(X.shape)}
    assert not model.network.features._forward_hooks


class Several(Paper):
    """As Paper, but the layer gives (weights, f) and its f is then changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = self.features
        self.features = Pair(self.conv)  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        weights, f = self.features(x)
        f *= weights
        return torch.stack([(self.ramp * f[:, 0]).sum(-1) + 3 * f[:, 1].mean(-1), f[:, 0].mean(-1)], dim=1)


class Pair(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones(1), self.inner(x)


def test_the_declared_part_of_a_tuple_is_the_layer() -> None:
    declared = toy_model(Several(), {"features": LayerSpec("BCT", 1.0, 0.0, part=1)}, samples=4)
    want, got = capture(paper_model(), X, torch.eye(2)), capture(declared, X, torch.eye(2))
    torch.testing.assert_close(got.activations, want.activations)
    torch.testing.assert_close(got.gradients, want.gradients)
    torch.testing.assert_close(got.scores, want.scores)
    assert output_shapes(declared.network, ["features"], X, [1]) == {"features": (1, 2, 4)}
    beyond = toy_model(Several(), {"features": LayerSpec("BCT", 1.0, 0.0, part=2)}, samples=4)
    with pytest.raises(EcgcamError, match="gives a tuple, not a tensor"):
        capture(beyond, X, torch.eye(2))


def test_an_output_without_three_axes_is_an_error() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Flatten()

        def forward(self, x: Tensor) -> Tensor:
            return self.features(x)[:, :2]

    with pytest.raises(EcgcamError, match=r"shape \(1, 8\)"):
        capture(toy_model(Network(), {"features": SAMPLES}, samples=4), X, torch.eye(2))


@pytest.mark.parametrize("count", [1, 3])
def test_the_batch_is_the_loop(count: int) -> None:
    model = toy_model(InPlace(True), {"features": SAMPLES}, width=4)
    x = torch.randn(5, 2, 8, generator=torch.Generator().manual_seed(2))
    texts = torch.eye(4)[:count]
    whole = capture(model, x, texts)
    for i in range(len(x)):
        alone = capture(model, x[i : i + 1], texts)
        torch.testing.assert_close(whole.gradients[:, i], alone.gradients[:, 0], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(whole.scores[i], alone.scores[0], atol=1e-6, rtol=1e-5)


def test_width_of_a_cell_is_the_span_of_its_response() -> None:
    class Box(nn.Module):
        """Each cell is the mean of 5 samples around it."""

        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Conv1d(2, 1, 5, padding=2, bias=False)
            nn.init.ones_(self.features.weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.features(x).mean(-1).expand(-1, 2)

    # The impulse reaches five cells equally; 90 % of that needs all five.
    assert cell_width(toy_model(Box(), {"features": SAMPLES}, samples=40)) == 5.0
    # The pointwise network answers in one cell.
    assert cell_width(paper_model()) == 1.0


class Readout(nn.Module):
    """Two layers of tokens, the second of which is read by its class token alone; `how` says what a layer gives.

    Tokens (B, 1 + 8, 2): a class token at 0, then each of four samples of two leads, and its square. Between the layers the
    class token gathers the mean of the others. The embedding is the class token.
    """

    def __init__(self, how: str) -> None:
        super().__init__()
        self.first, self.last, self.aside, self.how = Wrapped(how), Wrapped(how), nn.Identity(), how

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        tokens = torch.stack([flat, flat**2], dim=-1)
        tokens = torch.cat([torch.zeros_like(tokens[:, :1]), tokens], dim=1)
        if self.how == "separators":  # a token of its own before and behind each lead's four
            tokens = nn.functional.pad(tokens[:, 1:].unflatten(1, (2, 4)), (0, 0, 1, 1)).flatten(1, 2)
            tokens = torch.cat([torch.zeros_like(tokens[:, :1]), tokens], dim=1)
        out = self.first(tokens)
        out = torch.cat([out[:, :1] + out[:, 1:].mean(dim=1, keepdim=True), out[:, 1:]], dim=1)
        return self.last(out)[:, 0]


class Wrapped(nn.Module):
    """Hands tokens on through a layer that has the time axis first, or gives a tuple."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.layer = nn.Identity() if how != "tuple" else Pair(nn.Identity())
        self.how = how

    def forward(self, tokens: Tensor) -> Tensor:
        if self.how == "tuple":
            return self.layer(tokens)[1]
        return self.layer(tokens.transpose(0, 1)).transpose(0, 1) if self.how == "time first" else self.layer(tokens)


LAYOUTS = {
    "class token": LayerSpec("BTC", 1.0, 0.0, n_prefix_tokens=1),
    "time first": LayerSpec("TBC", 1.0, 0.0, n_prefix_tokens=1),
    "tuple": LayerSpec("BTC", 1.0, 0.0, n_prefix_tokens=1, part=1),
    "grid": LayerSpec("BTC", 1.0, 0.0, n_prefix_tokens=1, leads=2),
    "separators": LayerSpec("BTC", 1.0, 0.0, n_prefix_tokens=1, leads=2, n_separators=1),
}
TRIES: list[Callable[[EcgTextModel, str], object]] = [
    lambda model, path: capture(model, X, torch.eye(2), path),
    lambda model, path: curvature(model, X, torch.eye(2)[0], path),
    lambda model, path: gradients_along_path(model, X, 0 * X, torch.eye(2)[0], [0.5, 1.0], path),
    lambda model, path: unnormalised_gradients(model, X, torch.eye(2)[0], path),
]


@pytest.mark.parametrize("how", LAYOUTS)
@pytest.mark.parametrize("ask", TRIES)
def test_a_layer_behind_which_only_the_class_token_is_read_names_one_to_use(
    how: str, ask: Callable[[EcgTextModel, str], object]
) -> None:
    where = LAYOUTS[how]
    declared = {"first.layer": where, "last.layer": where, "aside": SAMPLES}
    model = toy_model(Readout(how), declared, samples=4)
    with pytest.raises(EcgcamError, match=r"`layer` last\.layer: .* exactly zero .*; use `layer` first\.layer$"):
        ask(model, "last.layer")
    ask(model, "first.layer")
    assert not any(module._forward_hooks for module in model.network.modules())
    # Where no other layer is declared, or none works, the error can only say which way to go.
    lone = toy_model(Readout(how), {"last.layer": where, "aside": SAMPLES}, samples=4)
    with pytest.raises(EcgcamError, match=r"exactly zero .*; choose an earlier layer$"):
        ask(lone, "last.layer")


@pytest.mark.parametrize("how", LAYOUTS)
def test_cells_of_every_layout_on_paper(how: str) -> None:
    """The class token is the mean of the others: each cell's gradient is 1 / 8, or 1 / 12 where separators count too."""
    model = toy_model(Readout(how), {"first.layer": LAYOUTS[how]}, samples=4)
    got = capture(model, X, torch.eye(2))
    torch.testing.assert_close(got.activations, torch.stack([X.flatten(1), X.flatten(1) ** 2], dim=1))
    share = 1 / 12 if how == "separators" else 1 / 8
    want = torch.zeros(2, 1, 2, 8)
    want[0, 0, 0], want[1, 0, 1] = share, share
    torch.testing.assert_close(got.gradients, want)


class Bypass(nn.Module):
    """The layer's output is not all that reaches the embedding: its input does too."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv1d(2, 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return (self.features(x) + x).square().mean(dim=-1)


class Through(Bypass):
    """It is."""

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x).pow(3).mean(dim=-1)


@pytest.mark.parametrize(("network", "passes"), [(Bypass, 2 + 4), (Through, 2 + 2)])
def test_slopes_along_are_those_of_each_point_by_itself(network: type[nn.Module], passes: int) -> None:
    torch.manual_seed(0)
    model = toy_model(network(), {"features": SAMPLES}, samples=4)
    x, start, text, points = torch.randn(3, 2, 4), torch.randn(1, 2, 4), torch.eye(2)[0], [0.1, 0.4, 0.8, 1.0]
    model.encode_signal(x)
    gradients_along_path(model, x, start, text, points, batch=6)  # what is remembered of the model is looked at once
    ran = []
    handle = model.network.features.register_forward_hook(lambda *_: ran.append(1))
    way, slopes = gradients_along_path(model, x, start, text, points, batch=6)
    handle.remove()
    assert len(ran) == passes  # two at a time of the three signals' layers, where nothing goes around the layer
    begin, end = model.network.features(start).detach(), model.network.features(x).detach()
    torch.testing.assert_close(way, end - begin)
    for point, slope in zip(points, slopes, strict=True):
        A = (begin + point * (end - begin)).requires_grad_()
        handle = model.network.features.register_forward_hook(lambda *_, A=A: A)
        (wanted,) = torch.autograd.grad((model.encode_signal(x) @ text).sum(), A)
        handle.remove()
        torch.testing.assert_close(slope, wanted)


def test_frozen_parameters_want_no_gradient_and_get_their_wish_back() -> None:
    network = nn.Linear(2, 2).train()
    network.bias.requires_grad_(False)
    with frozen(network):
        assert not any(parameter.requires_grad for parameter in network.parameters())
        assert not network.training
    assert network.weight.requires_grad
    assert not network.bias.requires_grad
    assert network.training
