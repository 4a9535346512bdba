"""Every method on every kind of network that ecgcam brings or reads, in full size: an answer, or a refusal with its reason.

    make methods        # writes docs/methods-models.md

MERL's weights are stand-ins with the published keys and shapes, so the maps mean nothing; what is tried is the way through:
finite values, right shapes, one and three prompts, no hook left behind. The recording is simulated, leads II and V1.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from tests.models.conftest import keys_of, standin_array

import ecgcam
from ecgcam.attribution.methods import METHODS
from ecgcam.models.base import EcgTextModel
from ecgcam.models.load import load_model
from ecgcam.records import Record
from ecgcam.records.simulator import simulate

ROOT = Path(__file__).resolve().parents[1]
PROMPTS = ("atrial fibrillation", "sinus tachycardia", "normal ECG")
MODELS = ("mini", "merl-resnet18", "merl-vit-tiny")
# Fewer draws than by default, for methods whose draws differ in nothing but their number.
FEWER = {"ss-cam": {"draws": 2}, "is-cam": {"steps": 2}, "kernel-shap": {"samples": 256}, "lime": {"samples": 256}}


def model_named(name: str, folder: Path) -> EcgTextModel:
    if name == "mini":
        return load_model("mini", device="cpu")
    checkpoint, table = folder / f"{name}.pth", folder / "prompts.npz"
    torch.save(
        {key: torch.from_numpy(np.asarray(standin_array(key, shape))) for key, shape in keys_of(name)}, checkpoint
    )
    features = np.random.default_rng(7).standard_normal((3, 768)).astype("f4")
    np.savez(table, texts=np.array(PROMPTS), features=features, tower="ncbi/MedCPT-Query-Encoder")
    return load_model(name, checkpoint, embeddings=table, device="cpu")


def tried(method: str, model: EcgTextModel, record: Record) -> str:
    """Return the seconds that one prompt took, or the refusal."""
    options, seconds = FEWER.get(method, {}), 0.0
    for prompts in (PROMPTS[:1], PROMPTS):
        begun = time.perf_counter()
        try:
            found = ecgcam.explain(record, prompts, model, method=method, options=options, gradient=None)
        except ecgcam.EcgcamError as error:
            return f"refused: {error}"
        seconds = seconds or time.perf_counter() - begun
        shape = (2, model.input.samples)
        sound = all(e.map.shape == shape and np.isfinite(e.map).all() and np.isfinite(e.map_cells).all() for e in found)
        hooked = any(module._forward_hooks for module in model.network.modules())
        if len(found) != len(prompts) or not sound or hooked:
            raise SystemExit(f"{method}, {model.name}: {len(found)} maps, sound: {sound}, hooks left: {hooked}")
    return f"{seconds:.2g} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/methods-models.md")
    args = parser.parse_args()
    simulation = simulate("af", 7)
    record = Record.from_channels("af-7", simulation.signal[[1, 6]], simulation.fs, ("II", "V1"), source="af-7")
    rows: dict[str, list[str]] = {name: [] for name in METHODS}
    refusals: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS:
            model = model_named(name, Path(folder))
            tried("grad-cam", model, record)  # a first call costs what no later one does
            for method in METHODS:
                said = tried(method, model, record)
                if said.startswith("refused"):
                    refusals.append(f"- **{method}, {name}**: {said.removeprefix('refused: ')}")
                    said = "refused"
                rows[method].append(said)
                print(f"{name:14} {method:22} {said}", flush=True)
    lines = [
        "# Every method on every kind of network",
        "",
        "<!-- Made by `make methods` (benchmarks/every_method.py). -->",
        "",
        "Full-size networks; MERL's weights are stand-ins with the published keys and shapes. A simulated 10 s recording, leads",
        "II and V1; seconds for one prompt on two CPU cores, imports and loading left out, methods with many draws given few",
        "(ss-cam and is-cam 2, kernel-shap and lime 256). One and three prompts were tried; all values are finite.",
        "",
        "| method | " + " | ".join(MODELS) + " |",
        "|---|" + "---:|" * len(MODELS),
        *(f"| {method} | " + " | ".join(said) + " |" for method, said in rows.items()),
        "",
        "## Refusals, in the words of the command",
        "",
        *refusals,
    ]
    args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
