"""Other programs that compute the same. Absent ones skip on a user's machine and fail in CI."""

from __future__ import annotations

import importlib
import importlib.util
import os
import random
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ecgcam.protocol.model import EcgTextModel


class Nothing:
    """Stands for a class that is named, and never used."""


_KERAS = {
    "Model": Nothing, "Sequential": Nothing, "layers": types.SimpleNamespace(Layer=Nothing), "models": types.SimpleNamespace(),
}  # fmt: skip
# What grad-cam takes from packages that it pins torch or pictures with, and that nothing here runs.
STAND_INS: dict[str, dict[str, Any]] = {
    "cv2": {"COLORMAP_JET": 2, "resize": lambda _image, size: np.zeros(size[::-1], np.float32)},
    "torchvision": {},
    "torchvision.transforms": {"Compose": None, "Normalize": None, "ToTensor": None},
    "torchvision.transforms.functional": {"resize": None},
}
# And what signal-grad-cam names of TensorFlow, for networks that are not PyTorch's, and of packages that draw.
SIGNAL_STAND_INS: dict[str, dict[str, Any]] = {
    "cv2": {},
    "imageio": {},
    "keras": _KERAS,
    "tensorflow": {"Tensor": Nothing, "keras": types.SimpleNamespace(**_KERAS)},
}


class Scores(nn.Module):
    """Signals (B, 12, T), or as pictures (B, 12, 1, T), to their scores (B, P) with prompts (P, D), or with one (D,)."""

    def __init__(self, model: EcgTextModel, text: Tensor) -> None:
        super().__init__()
        self.network, self.encode, self.text = model.network, model.encode_signal, text.reshape(-1, text.shape[-1])

    def forward(self, x: Tensor) -> Tensor:
        # The network's parameters are frozen in a pass: what peers differentiate hangs on the input alone.
        x = x if x.requires_grad or not torch.is_grad_enabled() else x.detach().clone().requires_grad_()
        scores: Tensor = self.encode(x[:, :, 0] if x.ndim == 4 else x) @ self.text.T
        return scores


def told(difference: float) -> float:
    """Print a relative difference: `pytest tests/peers -rP` shows what docs/methods.md states."""
    print(f"relative difference {difference:.0e}")  # noqa: T201
    return difference


def imported(name: str) -> Any:
    """A peer's module, or a skip, or in CI a failure."""
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not installed, and CI must not skip")
        pytest.skip(f"{name} is not installed (make ci installs it)")
    return importlib.import_module(name)


@contextmanager
def standing_in(names: dict[str, dict[str, Any]]) -> Iterator[None]:
    """Stand-ins for modules that are not installed, taken away again."""
    roots = {name.partition(".")[0] for name in names} - sys.modules.keys()
    absent = {root for root in roots if importlib.util.find_spec(root) is None}
    missing = [name for name in names if name.partition(".")[0] in absent]
    try:
        for name in missing:
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__dict__.update(names[name])
        yield
    finally:
        for name in missing:
            del sys.modules[name]


@pytest.fixture(scope="session")
def pytorch_grad_cam() -> Iterator[Any]:
    """grad-cam 1.5, with stand-ins for the names that it imports from torchvision and OpenCV."""
    with standing_in(STAND_INS):
        yield imported("pytorch_grad_cam")


@pytest.fixture
def signal_grad_cam() -> Iterator[Any]:
    """signal-grad-cam 2.2. It sets seeds and deterministic algorithms for the whole process; they are put back."""
    with standing_in(SIGNAL_STAND_INS):
        package = imported(
            "signal_grad_cam"
        )  # other packages ask whether TensorFlow is there: only while it is imported
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  (the state that it seeds)
    deterministic = torch.are_deterministic_algorithms_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    with torch.random.fork_rng(devices=[]):
        yield package
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn


@pytest.fixture(scope="session")
def torchcam_methods() -> Any:
    """torchcam 0.5."""
    return imported("torchcam.methods")
