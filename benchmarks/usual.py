"""The usual script: pytorch-grad-cam one lead at a time, and Matplotlib, as a competent user writes it.

    python -m benchmarks.usual MODEL FOLDER OUT RECORD...    (MODEL: mini, merl-resnet18 or merl-vit-tiny)

Frozen weights, the model and the CAM object made once, prompts embedded once; per lead the recording with the other leads at their
baseline, its map, and a figure with the trace over the map; all maps in one npz. The model is loaded by ecgcam, so that both
explain the same network; nothing else of it is used.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np


def stand_in_for_torchvision() -> None:
    """pytorch-grad-cam asks for torchvision, of which nothing here is run."""
    if "torchvision" not in sys.modules:
        for name in ("torchvision", "torchvision.transforms", "torchvision.models", "torchvision.ops"):
            sys.modules[name] = types.ModuleType(name)
        for name in ("Compose", "Normalize", "ToTensor"):
            setattr(sys.modules["torchvision.transforms"], name, object)
        sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]  # type: ignore[attr-defined]


def grad_cam(model, text):  # type: ignore[no-untyped-def]
    """Return a function from a signal (1, L, T) to its cells, by pytorch-grad-cam."""
    stand_in_for_torchvision()
    import torch
    from pytorch_grad_cam import GradCAM

    module, where = model.layer()

    class Cells(GradCAM):
        """Maps on the layer's own cells, before relu and any scaling: what both sides are compared on."""

        def compute_cam_per_layer(self, input_tensor, targets, eigen_smooth):  # type: ignore[no-untyped-def]
            A, G = self.activations_and_grads.activations[0], self.activations_and_grads.gradients[0]
            return self.get_cam_image(
                input_tensor, self.target_layers[0], targets, A.cpu().numpy(), G.cpu().numpy(), eigen_smooth
            )

        def aggregate_multi_layers(self, maps):  # type: ignore[no-untyped-def]
            return maps

        def get_cam_weights(self, input_tensor, layer, targets, A, G):  # type: ignore[no-untyped-def]
            return G.mean(axis=-1)

        def get_cam_image(self, input_tensor, layer, targets, A, G, eigen_smooth=False):  # type: ignore[no-untyped-def]
            return (self.get_cam_weights(input_tensor, layer, targets, A, G)[..., None] * A).sum(axis=1)

    class Score(torch.nn.Module):
        """The network as pytorch-grad-cam takes it."""

        def __init__(self) -> None:
            super().__init__()
            self.network = model.network

        def forward(self, x):  # type: ignore[no-untyped-def]
            return model.encode_signal(x) @ text.T

    transpose = None if where.layout == "BCT" else lambda tensor: tensor.transpose(1, 2)
    cam = Cells(Score(), [module], reshape_transform=transpose)
    return lambda x: cam(input_tensor=x, targets=[lambda out: out[0]])


def explain(paths: list[Path], out: Path, name: str, folder: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import torch
    import wfdb
    from scipy.signal import resample_poly

    from benchmarks.models import PROMPTS, model_named

    model = model_named(name, folder)
    text = model.encode_text(PROMPTS[:1])
    cells_of = grad_cam(model, text)
    fs = int(model.input.fs)
    for path in paths:
        record = wfdb.rdrecord(str(path.with_suffix("")))
        signal = resample_poly(record.p_signal, fs, record.fs, axis=0).T[:, : model.input.samples].astype(np.float32)
        x = signal - np.median(signal, axis=1, keepdims=True)
        if model.input.normalisation == "minmax":
            x = (signal - signal.min()) / (signal.max() - signal.min())
        base = np.median(x, axis=1, keepdims=True)
        place = out / path.stem
        place.mkdir(parents=True, exist_ok=True)
        maps = []
        for lead in range(12):
            alone = np.repeat(base, x.shape[1], axis=1)
            alone[lead] = x[lead]
            cells = cells_of(torch.from_numpy(alone[None].astype(np.float32)))[0]
            cells = np.maximum(np.asarray(cells).squeeze(), 0)
            maps.append(np.interp(np.linspace(0, 1, x.shape[1]), np.linspace(0, 1, len(cells)), cells))
        time = np.arange(x.shape[1]) / fs
        for lead in range(12):
            figure, axes = plt.subplots(figsize=(10, 2.5), dpi=150)
            axes.imshow(
                maps[lead][None],
                extent=(0, time[-1], signal[lead].min(), signal[lead].max()),
                aspect="auto",
                cmap="Blues",
            )
            axes.plot(time, signal[lead], "k", linewidth=0.8)
            axes.set_title(record.sig_name[lead])
            figure.savefig(place / f"{record.sig_name[lead]}.png")
            plt.close(figure)
        np.savez(place / "maps.npz", maps=maps, signal=signal)


if __name__ == "__main__":
    explain([Path(path) for path in sys.argv[4:]], Path(sys.argv[3]), sys.argv[1], Path(sys.argv[2]))
