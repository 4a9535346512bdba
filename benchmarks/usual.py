"""The usual script: pytorch-grad-cam one lead at a time, and Matplotlib, as a competent user writes it.

    python -m benchmarks.usual MODEL FOLDER OUT RECORD...    (MODEL: mini, merl-resnet18 or merl-vit-tiny)

The weights are frozen, the model and the CAM object made once, the prompt embedded once. Per lead: the recording with the other
leads at their baseline, its map, a figure with the trace over the map; all maps in one npz. No input gradient. The network is
loaded by ecgcam, so that both explain the same one, and subnormal numbers are flushed for both; nothing else of ecgcam is used.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# What grad-cam imports to read and show pictures, and that nothing here runs.
_STAND_INS: dict[str, dict[str, Any]] = {
    "cv2": {"COLORMAP_JET": 2, "resize": lambda _image, size: np.zeros(size[::-1], np.float32)},
    "torchvision": {},
    "torchvision.transforms": {"Compose": None, "Normalize": None, "ToTensor": None},
    "torchvision.transforms.functional": {"resize": None},
}


def grad_cam(model: Any, text: Any) -> Callable[[Any], np.ndarray]:
    """Return a function from a signal (1, L, T) to its cells before relu, by pytorch-grad-cam."""
    import torch

    tops = {name.partition(".")[0] for name in _STAND_INS} - sys.modules.keys()
    missing = {top for top in tops if importlib.util.find_spec(top) is None}
    for name in [name for name in _STAND_INS if name.partition(".")[0] in missing]:
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__dict__.update(_STAND_INS[name])
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    class Scores(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = model.network

        def forward(self, x: Any) -> Any:
            return model.encode_signal(x[:, :, 0]) @ text.T

    class Cells(GradCAM):  # type: ignore[misc]
        """Without the library's relu, scaling and resizing to a picture: what is left is less than it does."""

        def compute_cam_per_layer(self, input_tensor: Any, targets: Any, eigen_smooth: bool) -> Any:
            seen = self.activations_and_grads
            A, G = (part[0].cpu().data.numpy() for part in (seen.activations, seen.gradients))
            return self.get_cam_image(input_tensor, self.target_layers[0], targets, A, G, eigen_smooth)

        def aggregate_multi_layers(self, maps: Any) -> Any:
            return maps

    module, where = model.layer()

    def as_picture(cells: Any) -> Any:
        return cells[:, :, None] if where.layout == "BCT" else cells.transpose(1, 2)[:, :, None]

    cam = Cells(Scores(), [module], reshape_transform=as_picture)
    return lambda x: np.asarray(cam(x[:, :, None], [ClassifierOutputTarget(0)]))[0, 0]


def masked(model: Any, path: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return a recording in mV (12, T), each lead alone in model space (12, 12, T), and the names."""
    import wfdb
    from scipy.signal import resample_poly

    record = wfdb.rdrecord(str(path.with_suffix("")))
    fs = int(model.input.fs)
    signal = record.p_signal if record.fs == fs else resample_poly(record.p_signal, fs, record.fs, axis=0)
    signal = signal.T[:, : model.input.samples].astype(np.float32)
    x = signal - np.median(signal, axis=1, keepdims=True)
    if model.input.normalisation == "minmax":
        x = (signal - signal.min()) / (signal.max() - signal.min())
    alone = np.repeat(np.repeat(np.median(x, axis=1, keepdims=True), x.shape[1], axis=1)[None], 12, axis=0)
    alone[np.arange(12), np.arange(12)] = x
    return signal, alone, record.sig_name


def main() -> None:
    name, folder, out, *paths = sys.argv[1:]
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import torch

    from benchmarks.models import PROMPTS, model_named

    torch.set_flush_denormal(True)
    model = model_named(name, Path(folder))
    model.network.requires_grad_(False)
    cells_of = grad_cam(model, model.encode_text(PROMPTS[:1]))
    for path in map(Path, paths):
        signal, alone, names = masked(model, path)
        place = Path(out) / path.stem
        place.mkdir(parents=True, exist_ok=True)
        time = np.arange(signal.shape[1]) / model.input.fs
        maps = []
        for lead in range(12):
            x = torch.from_numpy(alone[lead : lead + 1]).requires_grad_()
            cells = np.maximum(cells_of(x), 0)
            maps.append(np.interp(np.linspace(0, 1, len(time)), np.linspace(0, 1, len(cells)), cells))
            figure, axes = plt.subplots(figsize=(10, 2.5), dpi=150)
            extent = (0, time[-1], signal[lead].min(), signal[lead].max())
            axes.imshow(maps[-1][None], extent=extent, aspect="auto", cmap="Blues")
            axes.plot(time, signal[lead], "k", linewidth=0.8)
            axes.set_title(names[lead])
            figure.savefig(place / f"{names[lead]}.png")
            plt.close(figure)
        np.savez(place / "maps.npz", maps=maps, signal=signal)


if __name__ == "__main__":
    main()
