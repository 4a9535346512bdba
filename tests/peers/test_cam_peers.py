"""CAM methods on mini against torchcam and grad-cam: the same masked signals, the same layer, cell by cell.

Where a definition differs, `docs/methods.md` says so, and the test shows that the difference named there is the whole one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tests.toys import toy_model
from torch import Tensor, nn

import ecgcam
from ecgcam.attribution.hooks import capture
from ecgcam.attribution.methods import METHODS
from ecgcam.pipeline.preparation import prepare
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import LayerSpec, windows_of
from ecgcam.records import Record
from ecgcam.records.simulator import simulate

from .conftest import Scores, told

pytestmark = [pytest.mark.slow, pytest.mark.peers]

Floats = npt.NDArray[np.floating]
TEXT = "atrial fibrillation"
CLOSE = 1e-4


@pytest.fixture(scope="module")
def model() -> EcgTextModel:
    return ecgcam.load_model("mini", device="cpu")


@pytest.fixture(scope="module")
def record() -> Record:
    simulation = simulate("af", 11)
    return Record.from_channels("af", simulation.signal, simulation.fs, simulation.leads, source="af")


@pytest.fixture(scope="module")
def alone(model: EcgTextModel, record: Record) -> Tensor:
    """Each lead alone, (12, 12, T)."""
    (window,) = windows_of(record, model.input)
    return torch.from_numpy(prepare(window, model.input, Settings()).masked())


@pytest.fixture
def ours(model: EcgTextModel, record: Record) -> Callable[..., Floats]:
    def cells(method: str, **options: object) -> Floats:
        return ecgcam.explain(record, [TEXT], model, method=method, options=options, gradient=None)[0].map_cells

    return cells


def by_grad_cam(
    package: Any, name: str, model: EcgTextModel, alone: Tensor, scale: float = 1.0, smooth: bool = False, **how: object
) -> Floats:
    """Cells of grad-cam before relu and scaling, (12, K)."""
    layer = model.network.get_submodule(model.spec.layer)
    scores = Scores(model, scale * model.encode_text([TEXT]))
    seen: list[Floats] = []
    with getattr(package, name)(scores, [layer], reshape_transform=lambda t: t[:, :, None], **how) as cam:
        inner = cam.get_cam_image

        def noted(*arguments: Any, **keywords: Any) -> Floats:
            seen.append(np.asarray(inner(*arguments, **keywords)))
            return seen[-1]

        cam.get_cam_image = noted
        target = package.utils.model_targets.ClassifierOutputTarget(0)
        cam(alone[:, :, None], [target] * len(alone), eigen_smooth=smooth)
    model.network.zero_grad(set_to_none=True)
    return seen[0][:, 0]


def by_torchcam(package: Any, name: str, model: EcgTextModel, alone: Tensor) -> Floats:
    """Cells of torchcam, after relu, (12, K)."""
    scores = Scores(model, model.encode_text([TEXT]))
    with getattr(package, name)(scores, model.network.get_submodule(model.spec.layer)) as cam:
        (cells,) = cam(0, scores(alone), normalized=False)
    found: Floats = cells.detach().numpy()
    return found


def difference(got: Floats, want: Floats) -> float:
    return told(float(np.abs(got - want).max() / np.abs(want).max()))


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("grad-cam", "GradCAM"),
        ("hires-cam", "HiResCAM"),
        ("grad-cam-elementwise", "GradCAMElementWise"),
        ("xgrad-cam", "XGradCAM"),
        ("layer-cam", "LayerCAM"),
    ],
)
def test_the_same_as_grad_cam(
    name: str, theirs: str, ours: Callable[..., Floats], model: EcgTextModel, alone: Tensor, pytorch_grad_cam: Any
) -> None:
    assert difference(ours(name), by_grad_cam(pytorch_grad_cam, theirs, model, alone)) <= CLOSE


@pytest.mark.parametrize(
    ("name", "theirs", "options", "how"),
    [
        ("eigen-cam", "EigenCAM", {"centre": True}, {}),
        ("eigen-grad-cam", "EigenGradCAM", {}, {}),
        ("grad-cam-eigen", "GradCAM", {}, {"smooth": True}),
        ("seg-eigen-cam", "SegEigenCAM", {}, {}),
        ("kpca-cam", "KPCA_CAM", {}, {}),
        ("kpca-cam", "KPCA_CAM", {"kernel": "rbf", "gamma": 0.05}, {"kernel": "rbf", "gamma": 0.05}),
        ("kpca-cam", "KPCA_CAM", {"kernel": "linear"}, {"kernel": "linear"}),
    ],
)
def test_the_same_as_grad_cam_but_for_the_sign(
    name: str,
    theirs: str,
    options: dict[str, object],
    how: dict[str, Any],
    ours: Callable[..., Floats],
    model: EcgTextModel,
    alone: Tensor,
    pytorch_grad_cam: Any,
) -> None:
    got, want = ours(name, **options), by_grad_cam(pytorch_grad_cam, theirs, model, alone, **how)
    signs = np.sign((got * want).sum(axis=1, keepdims=True))
    assert difference(got, signs * want) <= CLOSE


class Pictured(nn.Module):
    """A layer whose output passes by as a picture: grad-cam's ShapleyCAM weighs activations as they are, not reshaped."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.picture = layer, nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        seen: Tensor = self.picture(self.layer(x)[:, :, None].clone())
        return seen[:, :, 0]


def test_shapley_cam_is_the_same_as_grad_cam_s(
    ours: Callable[..., Floats], alone: Tensor, pytorch_grad_cam: Any
) -> None:
    fresh = ecgcam.load_model("mini", device="cpu")
    parent, _, name = fresh.spec.layer.rpartition(".")
    pictured = Pictured(fresh.network.get_submodule(fresh.spec.layer))
    setattr(fresh.network.get_submodule(parent), name, pictured)
    scores, seen = Scores(fresh, fresh.encode_text([TEXT])), []
    with pytorch_grad_cam.ShapleyCAM(scores, [pictured.picture]) as cam:
        inner = cam.get_cam_image
        cam.get_cam_image = lambda *a, **k: seen.append(inner(*a, **k)) or seen[-1]
        cam(alone[:, :, None], [pytorch_grad_cam.utils.model_targets.ClassifierOutputTarget(0)] * len(alone))
    want = seen[0].detach().numpy() if isinstance(seen[0], Tensor) else np.asarray(seen[0])
    got = ours("shapley-cam")
    assert difference(got, want[:, 0]) <= CLOSE
    assert difference(got, ours("grad-cam")) > 0.01


def test_eigen_cam_of_the_paper_is_not_centred(
    ours: Callable[..., Floats], model: EcgTextModel, alone: Tensor, pytorch_grad_cam: Any
) -> None:
    got, want = ours("eigen-cam"), by_grad_cam(pytorch_grad_cam, "EigenCAM", model, alone)
    assert min(difference(got, want), difference(-got, want)) > 0.1


def test_grad_cam_plus_plus_of_grad_cam_adds_a_constant_to_the_denominator(
    ours: Callable[..., Floats], model: EcgTextModel, alone: Tensor, pytorch_grad_cam: Any
) -> None:
    # 1e-6 is large next to squared gradients of a mean over 313 cells, and small next to those of a score 10^8 times as large.
    assert difference(ours("grad-cam++"), by_grad_cam(pytorch_grad_cam, "GradCAMPlusPlus", model, alone)) > 0.1
    scale = 1e8
    scaled = capture(model, alone, scale * model.encode_text([TEXT]), reduce=METHODS["grad-cam++"].bind({}))
    want = by_grad_cam(pytorch_grad_cam, "GradCAMPlusPlus", model, alone, scale)
    assert difference(scaled.reduced[0].numpy(), want) <= CLOSE


def test_fem_of_grad_cam_weighs_activations_by_how_many_are_rare(
    ours: Callable[..., Floats], model: EcgTextModel, alone: Tensor, pytorch_grad_cam: Any
) -> None:
    want = by_grad_cam(pytorch_grad_cam, "FEM", model, alone)
    assert difference(ours("fem"), want) > 0.1
    A = capture(model, alone, model.encode_text([TEXT])).activations.numpy()
    mean, spread = A.mean(axis=2, keepdims=True), A.std(axis=2, keepdims=True)
    rare = (A - mean) > 2 * spread
    assert difference((rare.mean(axis=2, keepdims=True) * A).sum(axis=1), want) <= CLOSE
    assert difference((mean * rare).sum(axis=1), ours("fem")) <= CLOSE


@pytest.mark.parametrize(
    ("name", "theirs"), [("grad-cam", "GradCAM"), ("xgrad-cam", "XGradCAM"), ("layer-cam", "LayerCAM")]
)
def test_the_same_as_torchcam(
    name: str, theirs: str, ours: Callable[..., Floats], model: EcgTextModel, alone: Tensor, torchcam_methods: Any
) -> None:
    want = by_torchcam(torchcam_methods, theirs, model, alone)
    assert difference(np.maximum(ours(name), 0), want) <= CLOSE


def test_grad_cam_plus_plus_of_torchcam_does_not_divide(
    ours: Callable[..., Floats], model: EcgTextModel, alone: Tensor, torchcam_methods: Any
) -> None:
    want = by_torchcam(torchcam_methods, "GradCAMpp", model, alone)
    assert difference(np.maximum(ours("grad-cam++"), 0), want) > 1
    seen = capture(model, alone, model.encode_text([TEXT]))
    A, G = seen.activations, seen.gradients[0]
    undivided = ((G.square() * G.relu()).sum(dim=2, keepdim=True) * A).sum(dim=1).relu()
    assert difference(undivided.numpy(), want) <= CLOSE


def by_finer_cam(package: Any, model: EcgTextModel, alone: Tensor, foils: list[str], gamma: float) -> Floats:
    """Cells of grad-cam's Finer-CAM before relu and scaling, (12, K)."""
    layer = model.network.get_submodule(model.spec.layer)
    scores, seen = Scores(model, model.encode_text([TEXT, *foils])), []
    target = package.utils.model_targets.FinerWeightedTarget(0, list(range(1, 1 + len(foils))), gamma)
    with package.FinerCAM(scores, [layer], reshape_transform=lambda t: t[:, :, None]) as cam:
        inner = cam.base_cam.get_cam_image
        cam.base_cam.get_cam_image = lambda *a, **k: seen.append(np.asarray(inner(*a, **k))) or seen[-1]
        cam(alone[:, :, None], [target] * len(alone))
    model.network.zero_grad(set_to_none=True)
    return seen[0][:, 0]


def test_finer_cam_of_grad_cam_weighs_foils_by_a_softmax(
    model: EcgTextModel, record: Record, alone: Tensor, pytorch_grad_cam: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ours(*foils: str) -> Floats:
        return ecgcam.explain(record, [TEXT], model, method="finer-cam", against=foils, gradient=None)[0].map_cells

    one, several = ["normal ECG"], ["normal ECG", "left bundle branch block", "sinus tachycardia"]
    assert difference(ours(*one), by_finer_cam(pytorch_grad_cam, model, alone, one, 0.6)) <= CLOSE
    assert difference(ours(*several), by_finer_cam(pytorch_grad_cam, model, alone, several, 0.6)) > 1e-3
    monkeypatch.setattr(torch, "softmax", lambda scores, **_how: torch.ones_like(scores))
    assert difference(ours(*several), by_finer_cam(pytorch_grad_cam, model, alone, several, 0.6)) <= CLOSE


class Plain(nn.Module):
    """A network with the head that CAM is defined for."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv1d(12, 8, 9, 4, 4), nn.ReLU())
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        embedded: Tensor = self.head(self.features(x).mean(dim=-1))
        return embedded


def test_cam_of_torchcam(record: Record, torchcam_methods: Any) -> None:
    where = LayerSpec("BCT", 4, 0)
    plain = toy_model(
        Plain(), {"features": where}, leads=record.leads, samples=2500, fs=250.0, width=3, fill="baseline"
    )
    (window,) = windows_of(record, plain.input)
    alone = torch.from_numpy(prepare(window, plain.input, Settings()).masked())
    with torchcam_methods.CAM(plain.network, "features", "head") as cam:
        (want,) = cam(1, plain.network(alone), normalized=False)
    (got,) = ecgcam.explain(record, ["1"], plain, method="cam", gradient=None)
    assert difference(got.map_cells, want.detach().numpy()) <= CLOSE


class Convolution(nn.Conv1d):
    """A layer that passes for a convolution: signal-grad-cam explains no other. What follows gets a copy."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__(1, 1, 1)
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        seen: Tensor = self.layer(x)
        return seen


def by_signal_grad_cam(package: Any, name: str, alone: Tensor, texts: list[str], **how: object) -> Floats:
    """Cells of signal-grad-cam before relu and scaling to bytes, (12, K)."""
    fresh = ecgcam.load_model("mini", device="cpu")
    parent, _, child = fresh.spec.layer.rpartition(".")
    layer = Convolution(fresh.network.get_submodule(fresh.spec.layer))
    setattr(fresh.network.get_submodule(parent), child, layer)
    builder = package.TorchCamBuilder(Scores(fresh, fresh.encode_text(texts)))
    cells, _ = builder._create_raw_batched_cams([*alone.numpy()], 0, layer, name, False, avoid_relu=True, **how)
    return np.stack(cells)


@pytest.mark.parametrize(("name", "theirs"), [("grad-cam", "Grad-CAM"), ("hires-cam", "HiResCAM")])
@pytest.mark.parametrize("foil", [None, "normal ECG"])
def test_the_same_as_signal_grad_cam(
    name: str,
    theirs: str,
    foil: str | None,
    model: EcgTextModel,
    record: Record,
    alone: Tensor,
    signal_grad_cam: Any,
) -> None:
    """All of its methods, and its contrast: the target's score less the foil's, as `--against` has it."""
    # A class of its own is asked for beside one score: it takes a lone score for the second of two.
    texts, how = [TEXT, foil or "normal ECG"], {} if foil is None else {"contrastive_foil": 1}
    want = by_signal_grad_cam(signal_grad_cam, theirs, alone, texts, **how)
    against = () if foil is None else (foil,)
    (got,) = ecgcam.explain(record, [TEXT], model, method=name, against=against, gradient=None)
    assert difference(got.map_cells, want) <= CLOSE
