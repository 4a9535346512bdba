"""Other programs that compute the same. Absent ones skip on a user's machine and fail in CI."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

from ecgcam.models.base import EcgTextModel

# What grad-cam takes from packages that it pins torch or pictures with, and that nothing here runs.
STAND_INS: dict[str, dict[str, Any]] = {
    "cv2": {"COLORMAP_JET": 2, "resize": lambda _image, size: np.zeros(size[::-1], np.float32)},
    "torchvision": {},
    "torchvision.transforms": {"Compose": None, "Normalize": None, "ToTensor": None},
    "torchvision.transforms.functional": {"resize": None},
}


class Scores(nn.Module):
    """Signals (B, 12, T), or as pictures (B, 12, 1, T), to their scores (B, P) with prompts (P, D), or with one (D,)."""

    def __init__(self, model: EcgTextModel, text: Tensor) -> None:
        super().__init__()
        self.network, self.encode, self.text = model.network, model.encode_signal, text.reshape(-1, text.shape[-1])

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.encode(x[:, :, 0] if x.ndim == 4 else x) @ self.text.T
        return scores


def imported(name: str) -> Any:
    """A peer's module, or a skip, or in CI a failure."""
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not installed, and CI must not skip")
        pytest.skip(f"{name} is not installed (make ci installs it)")
    return importlib.import_module(name)


@pytest.fixture(scope="session")
def pytorch_grad_cam() -> Iterator[Any]:
    """grad-cam 1.5, with stand-ins for the names that it imports from torchvision and OpenCV."""
    missing = [name for name in STAND_INS if importlib.util.find_spec(name.partition(".")[0]) is None]
    try:
        for name in missing:
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__dict__.update(STAND_INS[name])
        yield imported("pytorch_grad_cam")
    finally:
        for name in missing:
            del sys.modules[name]


@pytest.fixture(scope="session")
def torchcam_methods() -> Any:
    """torchcam 0.5."""
    return imported("torchcam.methods")
