"""The least that one explanation can cost: torch, numpy and Pillow alone.

    python -m benchmarks.floor NETWORK.pt SIGNAL.f32 SAMPLES OUT SHAPES.json

`numpy.fromfile`, one forward pass of 14 signals (the recording, twelve leads alone, silence), and as many PNGs as ecgcam
writes, of the same sizes, encoded from pixels that are there already.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image


def main() -> None:
    network, signal, samples, out, pictures = sys.argv[1:]
    x = np.fromfile(signal, np.float32).reshape(12, int(samples))
    batch = np.zeros((14, *x.shape), np.float32)
    batch[0] = x
    batch[np.arange(1, 13), np.arange(12)] = x
    model = torch.jit.load(network)
    with torch.no_grad():
        model(torch.from_numpy(batch))
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for name in json.loads(Path(pictures).read_text()):
        pixels = np.load(Path(pictures).parent / f"{name}.npy")
        Image.fromarray(pixels).save(folder / name, compress_level=3)


if __name__ == "__main__":
    main()
