"""Every method on every kind of network that ecgcam brings or reads, in full size: an answer, or a refusal with its reason.

    make methods                                                   # writes docs/methods-models.md
    python -m benchmarks.every_method --methods dff,wave-occlusion  # tries these again, and keeps the page's other rows

MERL's weights are stand-ins with the published keys and shapes, so the maps mean nothing; what is tried is the way through:
finite values, right shapes, one and three prompts, no hook left behind, the signal and every parameter as they were. The
recording is simulated, leads II and V1.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from tests.models.conftest import keys_of, standin_array

import ecgcam
from ecgcam.attribution.methods import METHODS
from ecgcam.models.load import load_model
from ecgcam.protocol.model import EcgTextModel
from ecgcam.records import Record
from ecgcam.records.simulator import simulate
from ecgcam.records.waves import find_waves

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


def tried(method: str, model: EcgTextModel, record: Record) -> tuple[float, str]:
    """Return the seconds that one prompt took, and the refusal, if any."""
    options, seconds, before = FEWER.get(method, {}), 0.0, state(model, record)
    for prompts in (PROMPTS[:1], PROMPTS):
        begun = time.perf_counter()
        try:
            found = ecgcam.explain(record, prompts, model, method=method, options=options, gradient=None)
        except ecgcam.EcgcamError as error:
            return seconds, f"{error}"
        seconds = seconds or time.perf_counter() - begun
        if wrong := [words for words, is_wrong in faults(found, len(prompts), model, record, before) if is_wrong]:
            raise SystemExit(f"{method}, {model.name}: {', '.join(wrong)}")
    return seconds, ""


def state(model: EcgTextModel, record: Record) -> list[torch.Tensor]:
    """Return copies of all that a method might change: parameters, buffers, the signal, what wants a gradient and has one."""
    detach_norm = [tensor.detach().clone() for tensor in model.network.state_dict().values()]
    flags = [(p.requires_grad, p.grad is not None) for p in model.network.parameters()]
    modes = [module.training for module in model.network.modules()]
    return [*detach_norm, torch.from_numpy(record.signal.copy()), torch.tensor(flags), torch.tensor(modes)]


def faults(
    found: list[ecgcam.Explanation], prompts: int, model: EcgTextModel, record: Record, before: list[torch.Tensor]
) -> Iterator[tuple[str, bool]]:
    shapes = [(2, model.input.samples), (2, len(found[0].cell_time))]
    yield f"{len(found)} maps", len(found) != prompts
    yield "wrong shapes", any([e.map.shape, e.map_cells.shape] != shapes for e in found)
    yield "not finite", not all(np.isfinite(e.map).all() and np.isfinite(e.map_cells).all() for e in found)
    yield "hooks left", any(module._forward_hooks or module._backward_hooks for module in model.network.modules())
    yield "something changed", not all(map(torch.equal, before, state(model, record)))


def earlier(page: Path) -> tuple[dict[tuple[str, str], str], dict[tuple[str, str], str]]:
    """Return the cells of the page's table by (method, model), and its refusals."""
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    rows = [
        [part.strip() for part in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]
    cells = {(row[0], model): said for row in rows[1:] for model, said in zip(rows[0][1:], row[1:], strict=True)}
    refusals = re.findall(r"^- \*\*(.*), (.*)\*\*: (.*)$", text, re.MULTILINE)
    return cells, {(method, model): said for method, model, said in refusals}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/methods-models.md")
    parser.add_argument("--methods", default="all", metavar="A,B")
    args = parser.parse_args()
    named = list(METHODS) if args.methods == "all" else args.methods.split(",")
    simulation = simulate("af", 7)
    record = Record.from_channels("af-7", simulation.signal[[1, 6]], simulation.fs, ("II", "V1"), source="af-7")
    find_waves(record.signal, record.fs)  # what this and captum import is not part of a method's time
    import_module("captum.attr")
    cells, refusals = earlier(args.out)
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS:
            model = model_named(name, Path(folder))
            tried("grad-cam", model, record)  # a first call costs what no later one does
            for method in named:
                unit, _ = tried("grad-cam", model, record)  # alternately: other load on the machine slows both
                seconds, refusal = tried(method, model, record)
                refusals.pop((method, name), None)
                if refusal:
                    refusals[method, name] = refusal
                cells[method, name] = "refused" if refusal else f"{float(f'{seconds / unit:.2g}'):g}"
                print(f"{name:14} {method:22} {cells[method, name]}", flush=True)
    lines = [
        "# Every method on every kind of network",
        "",
        "<!-- Made by `make methods` (benchmarks/every_method.py). -->",
        "",
        "Full-size networks; MERL's weights are stand-ins with the published keys and shapes. A simulated 10 s recording, leads",
        "II and V1; the time of one prompt divided by that of grad-cam on the same network, measured alternately on "
        "one or two CPU cores.",
        "Methods with many draws use few here (ss-cam and is-cam 2, kernel-shap and lime 256). One and three "
        "prompts were tried: all",
        "values are finite, shapes are right, no hook stays.",
        "",
        "| method | " + " | ".join(MODELS) + " |",
        "|---|" + "---:|" * len(MODELS),
        *(f"| {method} | " + " | ".join(cells.get((method, name), "") for name in MODELS) + " |" for method in METHODS),
        "",
        "## Refusals, in the words of the command",
        "",
        *(f"- **{method}, {name}**: {refusals[method, name]}" for method, name in _ordered(refusals)),
    ]
    args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _ordered(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    methods = list(METHODS)
    return sorted(pairs, key=lambda pair: (MODELS.index(pair[1]), methods.index(pair[0])))


if __name__ == "__main__":
    main()
