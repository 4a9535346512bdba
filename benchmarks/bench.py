"""Speed: each figure is a ratio of two programs timed alternately, A B C A B C, with its spread.

    make bench                                   # under twelve minutes on two cores; benchmarks/results/bench.json
    python -m benchmarks.bench --only a,b --rounds 5

The median of the rounds' ratios is reported, and their lower and upper quartiles: what slows the machine down for a while
slows both contenders. MERL has stand-in weights of the published shapes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.models import MODELS, PROMPTS, flags, model_named, write_stand_ins

ROOT = Path(__file__).resolve().parents[1]
PYTHON = sys.executable
ECGCAM = [PYTHON, "-c", "from ecgcam.cli import main; main()"]
Contenders = dict[str, Callable[[], object]]
Times = dict[str, list[float]]


class Bench:
    """Times, ratios, and the table of both."""

    def __init__(self, rounds: int, recordings: int, folder: Path) -> None:
        self.rounds, self.recordings, self.folder = rounds, recordings, folder
        self.figures: list[dict[str, Any]] = []

    def in_turns(self, contenders: Contenders, rounds: int | None = None) -> Times:
        """Time contenders one after the other, again and again, after one round for warmth (none where `rounds` is given)."""
        times: Times = {name: [] for name in contenders}
        first = 1 if rounds is None else 0
        for turn in range((rounds or self.rounds) + first):
            for name, run in contenders.items():
                begun = time.perf_counter()
                run()
                if turn >= first:
                    times[name].append(time.perf_counter() - begun)
        return times

    def ratio(self, figure: str, what: str, times: Times, one: str, other: str, goal: str, scale: float = 1.0) -> None:
        """Put down how the times of `one` compare with those of `other`, `scale` times."""
        ratios = sorted(scale * a / b for a, b in zip(times[one], times[other], strict=True))
        low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else (ratios[0],) * 3
        seconds = {name: round(statistics.median(times[name]), 4) for name in (one, other)}
        self.put(figure, what, statistics.median(ratios), low, high, goal, seconds)

    def put(self, figure: str, what: str, value: float, low: float, high: float, goal: str, details: Any) -> None:
        """Put a figure down and print it."""
        limit = float(goal.split()[1]) if goal else 0.0
        met = None if not goal else value <= limit if goal.startswith("<=") else value >= limit
        row = {
            "figure": figure,
            "what": what,
            "value": value,
            "low": low,
            "high": high,
            "goal": goal,
            "met": met,
            "details": details,
        }
        self.figures.append(row)
        said = "" if met is None else "  met" if met else "  MISSED"
        print(f"{figure}  {what:<62} {value:7.2f}  ({low:.2f} to {high:.2f})  {goal:>8}{said}", flush=True)


def attribution(bench: Bench) -> None:
    """(a) Twelve leads, one prompt, in this process."""
    import torch

    import ecgcam
    from benchmarks.usual import grad_cam
    from ecgcam.pipeline.preparation import prepare
    from ecgcam.pipeline.settings import Settings
    from ecgcam.protocol.spec import windows_of
    from ecgcam.records import read_record

    path = bench.folder / "in/r000.hea"
    record = read_record(path)
    for name in MODELS:
        model = model_named(name, bench.folder)
        model.network.requires_grad_(False)
        text = model.encode_text(PROMPTS[:1])
        per_lead = grad_cam(model, text)
        (window,) = windows_of(record, model.input)
        alone = torch.from_numpy(prepare(window, model.input, Settings()).masked())
        batch = torch.cat([alone, alone[:2]])
        torchcam = _torchcam(model, text)

        def forward(model: Any = model, batch: Any = batch) -> None:
            with torch.no_grad():
                model.encode_signal(batch)

        def ours(gradient: str | None, model: Any = model) -> Any:
            return ecgcam.explain(record, PROMPTS[:1], model, gradient=gradient, check=False)[0]

        contenders: Contenders = {
            "forward": forward,
            "maps": lambda ours=ours: ours(None),
            "maps and gradient": lambda ours=ours: ours("record"),
            "pytorch-grad-cam": lambda p=per_lead, alone=alone: [
                p(alone[i : i + 1].clone().requires_grad_()) for i in range(12)
            ],
            "torchcam": lambda t=torchcam, alone=alone: [t(alone[i : i + 1]) for i in range(12)],
        }
        times = bench.in_turns(contenders)
        bench.ratio("a", f"{name}: maps / forward pass of 14", times, "maps", "forward", "<= 1.15")
        bench.ratio("a", f"{name}: maps and gradient / forward pass", times, "maps and gradient", "forward", "<= 1.3")
        slower = f"{name}: pytorch-grad-cam per lead / maps and gradient"
        bench.ratio("a", slower, times, "pytorch-grad-cam", "maps and gradient", ">= 2.5")
        bench.ratio("a", f"{name}: torchcam per lead / maps", times, "torchcam", "maps", "")
        cells = ours(None).map_cells
        far, rounding = _agreement(model, text, alone, cells)
        bench.put(
            "a", f"{name}: cells against pytorch-grad-cam's, float64, 1e-5 of the largest", far, far, far, "<= 1", None
        )
        own, theirs = rounding
        bench.put("a", f"{name}: ecgcam's change by rounding to float32, in the same unit", own, own, own, "", None)
        bench.put(
            "a", f"{name}: pytorch-grad-cam's change by rounding, in the same unit", theirs, theirs, theirs, "", None
        )


def _agreement(model: Any, text: Any, alone: Any, cells: Any) -> tuple[float, tuple[float, float]]:
    """Return how far our cells and pytorch-grad-cam's lie apart, and how far each moves from float64 to float32.

    In 1e-5 of the largest cell. Both are compared in float64: cells are a small difference of large numbers, and where a model
    hardly separates signals (stand-in weights), rounding to float32 changes either by more than they differ.
    """
    import copy

    import numpy as np

    from benchmarks.usual import grad_cam
    from ecgcam.attribution.hooks import capture
    from ecgcam.attribution.methods import method_named

    def by_library(model: Any, text: Any, x: Any) -> Any:
        per_lead = grad_cam(model, text)
        return np.stack([per_lead(x[i : i + 1].clone().requires_grad_()) for i in range(len(x))])

    exact = copy.copy(model)
    exact.network = copy.deepcopy(model.network).double()
    ours = capture(exact, alone.double(), text.double(), None, method_named("grad-cam").bind({}, 0)).reduced[0].numpy()
    theirs = by_library(exact, text.double(), alone.double())
    unit = 1e-5 * float(np.abs(theirs).max())
    moved = [
        float(np.abs(low - high).max()) / unit
        for low, high in ((cells, ours), (by_library(model, text, alone), theirs))
    ]
    return float(np.abs(ours - theirs).max()) / unit, (moved[0], moved[1])


def _torchcam(model: Any, text: Any) -> Callable[[Any], Any]:
    import torch
    from torchcam.methods import GradCAM

    class Scores(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = model.network

        def forward(self, x: Any) -> Any:
            return model.encode_signal(x) @ text.T

    scores, module = Scores(), model.layer()[0]

    def cells(x: Any) -> Any:
        # It takes channels to be in the second place; where they are not its map is another, in the same time.
        with GradCAM(scores, module) as cam:
            return cam(0, scores(x.clone().requires_grad_()), normalized=False)

    return cells


def prompts(bench: Bench) -> None:
    """(b) More prompts."""
    import ecgcam
    from ecgcam.records import read_record

    record = read_record(bench.folder / "in/r000.hea")
    for name in MODELS:
        model = model_named(name, bench.folder)

        def run(count: int, gradient: str | None, model: Any = model) -> Any:
            return ecgcam.explain(record, PROMPTS[:count], model, gradient=gradient, check=False)

        resnet = name == "merl-resnet18"
        goals = {3: "", 10: "<= 1.5" if resnet else "<= 1.1", 30: "<= 2.5" if resnet else "<= 1.3"}
        times = bench.in_turns({str(n): lambda n=n, run=run: run(n, None) for n in (1, *goals)})
        for count, goal in goals.items():
            bench.ratio("b", f"{name}: {count} prompts / 1, maps", times, str(count), "1", goal)
        times = bench.in_turns({str(n): lambda n=n, run=run: run(n, "record") for n in (1, 10)})
        bench.ratio("b", f"{name}: 10 prompts / 1, with gradients", times, "10", "1", "<= 2.2")


def precision(bench: Bench) -> None:
    """(p) bfloat16: what it saves, and what it costs."""
    import numpy as np

    import ecgcam
    from ecgcam.errors import EcgcamError
    from ecgcam.models.load import check_precision
    from ecgcam.records import read_record

    try:
        check_precision("bf16", "cpu")
    except EcgcamError as error:
        print(f"p  {error}")
        return
    record = read_record(bench.folder / "in/r000.hea")
    for name in MODELS:
        model = model_named(name, bench.folder)
        made: dict[str, Any] = {}

        def run(kind: str, model: Any = model, made: dict[str, Any] = made) -> None:
            model.precision = kind
            made[kind] = ecgcam.explain(record, PROMPTS[:1], model)[0]

        times = bench.in_turns({kind: lambda kind=kind, run=run: run(kind) for kind in ("fp32", "bf16")})
        bench.ratio("p", f"{name}: time in bf16 / fp32, maps and gradient", times, "bf16", "fp32", "")
        exact, near = made["fp32"], made["bf16"]
        moved = float(np.abs(near.lead_scores - exact.lead_scores).max())
        bench.put("p", f"{name}: largest difference of a score, 1e-3", moved * 1e3, moved * 1e3, moved * 1e3, "", None)
        for what in ("map", "gradient_smoothed"):
            like = float(np.corrcoef(getattr(near, what).ravel(), getattr(exact, what).ravel())[0, 1])
            bench.put("p", f"{name}: correlation with fp32, {what}", like, like, like, "", None)


def shell(bench: Bench) -> None:
    """(c, f) One recording from the shell, with all pictures; --help."""
    import numpy as np
    import torch
    from PIL import Image

    record = bench.folder / "in/r000.hea"
    for name in ("mini", "merl-vit-tiny"):
        model = model_named(name, bench.folder)
        x = torch.zeros(14, 12, model.input.samples)
        network, signal = bench.folder / f"{name}.pt", bench.folder / f"{name}.f32"
        with torch.no_grad():
            torch.jit.trace(model.network, x).save(str(network))
        np.zeros((12, model.input.samples), np.float32).tofile(signal)
        own = [*ECGCAM, "explain", str(record), *flags(name, bench.folder), "--quiet", "--force", "--text"]
        out = bench.folder / f"shell-{name}"
        _call([*own, PROMPTS[0], "--out", str(out)])
        drawn = sorted(next(out.rglob("page.png")).parent.glob("*.png"))
        for picture in drawn:
            np.save(bench.folder / f"{picture.name}.npy", np.asarray(Image.open(picture)))
        names = bench.folder / "pictures.json"
        names.write_text(json.dumps([picture.name for picture in drawn]))
        many = [word for prompt in PROMPTS[1:10] for word in ("--text", prompt)]
        floor = ["-m", "benchmarks.floor", network, signal, model.input.samples, bench.folder / "floor", names]
        times = bench.in_turns({
            "ours": lambda own=own, out=out: _call([*own, PROMPTS[0], "--out", str(out)]),
            "floor": lambda floor=floor: _call([PYTHON, *map(str, floor)]),
            "usual": lambda name=name: _call(_usual(bench, name, [record])),
            "import torch": lambda: _call([PYTHON, "-c", "import torch"]),
            "one": lambda own=own, out=out: _call([*own, PROMPTS[0], "--no-png", "--out", str(out)]),
            "ten": lambda own=own, out=out, many=many: _call([*own, PROMPTS[0], *many, "--no-png", "--out", str(out)]),
            "help": lambda: _call([*ECGCAM, "--help"]),
        }, rounds=bench.rounds - 1)  # fmt: skip
        bench.ratio("c", f"{name}: one recording with pictures / floor", times, "ours", "floor", "<= 1.4")
        bench.ratio("c", f"{name}: the usual script / ours", times, "usual", "ours", ">= 2.2")
        bench.ratio("c", f"{name}: one recording / import torch", times, "ours", "import torch", "<= 2.0")
        times["more"] = [ten - one for ten, one in zip(times["ten"], times["one"], strict=True)]
        bench.ratio("c", f"{name}: nine more prompts, --no-png / import torch", times, "more", "import torch", "<= 1.0")
    bench.ratio("f", "ecgcam --help / import torch", times, "help", "import torch", "<= 0.2")


def many(bench: Bench) -> None:
    """(d, e) Many recordings, and the memory that they take."""
    import torch

    paths = sorted((bench.folder / "in").glob("*.hea"))
    for name in ("mini", "merl-vit-tiny"):
        model = model_named(name, bench.folder)
        x = torch.zeros(14, 12, model.input.samples)
        count = bench.recordings

        def forwards(model: Any = model, x: Any = x, count: int = count) -> None:
            with torch.no_grad():
                for _ in range(count):
                    model.encode_signal(x)

        own = [*ECGCAM, "explain", *map(str, paths[:count]), *flags(name, bench.folder), "--quiet", "--force"]
        own += ["--text", PROMPTS[0], "--out", str(bench.folder / f"many-{name}")]
        few = [*ECGCAM, "explain", *map(str, paths[:1]), *own[len(ECGCAM) + 1 + count :]]
        usual = _usual(bench, name, paths[:count])
        memory: dict[str, float] = {}

        def call(key: str, command: list[str], memory: dict[str, float] = memory) -> None:
            memory[key] = _peak(command)

        times = bench.in_turns({
            "forward": forwards,
            "one": lambda few=few, call=call: call("one", [*few, "--no-png"]),
            "no-png": lambda own=own, call=call: call("no-png", [*own, "--no-png"]),
            "maps": lambda own=own, call=call: call("maps", [*own, "--no-png", "--no-gradient"]),
            "pictures": lambda own=own, call=call: call("pictures", own),
            "usual": lambda usual=usual, call=call: call("usual", usual),
        }, rounds=1)  # fmt: skip
        # What one recording costs is the start of the process, which many recordings share.
        for key in ("no-png", "maps"):
            times[key] = [whole - one for whole, one in zip(times[key], times["one"], strict=True)]
        bench.ratio("d", f"{name}: {count} recordings, --no-png / forward passes", times, "no-png", "forward", "<= 1.4")
        bench.ratio("d", f"{name}: the same, --no-gradient / forward passes", times, "maps", "forward", "<= 1.25")
        bench.ratio("d", f"{name}: the usual script in a loop / ours, pictures", times, "usual", "pictures", ">= 3")
        for key, value in memory.items():
            bench.put("e", f"{name}: peak memory of {key}, MB (largest process)", value, value, value, "", None)


def memory(bench: Bench) -> None:
    """(e) Peak memory after 500 recordings relative to that after 50."""
    sources = sorted((bench.folder / "in").glob("*.hea"))
    peaks = []
    for count in (50, 500):
        given = []
        folder = bench.folder / f"long{count}"
        folder.mkdir()
        for i in range(count):
            source, name = sources[i % len(sources)], f"s{i:03d}"
            (folder / f"{name}.hea").write_text(source.read_text().replace(source.stem, name))
            (folder / f"{name}.dat").symlink_to(source.with_suffix(".dat"))
            given.append(str(folder / name))
        out = bench.folder / f"memory{count}"
        command = [
            *ECGCAM,
            "explain",
            "-",
            "--text",
            PROMPTS[0],
            "--no-png",
            "--quiet",
            "--pack",
            "100",
            "--out",
            str(out),
        ]
        peaks.append(_peak(command, "\n".join(given)))
    value = peaks[1] / peaks[0]
    bench.put("e", "peak memory, 500 recordings / 50", value, value, value, "<= 1.1", {"50": peaks[0], "500": peaks[1]})


def _usual(bench: Bench, name: str, paths: list[Path]) -> list[str]:
    return [PYTHON, "-m", "benchmarks.usual", name, str(bench.folder), str(bench.folder / "usual"), *map(str, paths)]


# A process counts the memory of the one that started it as its own until then, so a small one stands between. It runs what it is
# given and prints, after everything else on stderr, the peak memory of that process and its children, in kB.
_SMALL = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
sys.stderr.write(f"\\n{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}")
sys.exit(code)
"""


def _peak(command: list[str], given: str | None = None) -> float:
    """Run a command to its end; return its peak memory, MB, that of its largest process."""
    return float(_call([PYTHON, "-S", "-c", _SMALL, *command], given).rpartition("\n")[2]) / 1024


def _call(command: list[str], given: str | None = None) -> str:
    """Run a command to its end; return its output on stderr."""
    done = subprocess.run(  # noqa: S603  (what this file made)
        command, cwd=ROOT, input=given or "", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)[:200]}: exit code {done.returncode}: {done.stderr[-2000:]}")
    return done.stderr


def drawing(bench: Bench) -> None:
    """(g) Twelve strips and a page, in CPU seconds, best of the rounds: `benchmarks.pictures`."""
    from benchmarks.pictures import measure

    for layout in ("12x1", "3x4"):
        took, same, least = measure(bench.rounds, layout, waves=False)
        over = took / same
        bench.put("g", f"{layout}: pictures / Agg and PNG alone, same figures", over, over, over, "<= 2", [took, same])
        over = took / least
        bench.put("g", f"{layout}: pictures / bare traces, same sizes", over, over, over, "", [took, least])


PARTS: dict[str, Callable[[Bench], None]] = {
    "a": attribution,
    "b": prompts,
    "c": shell,
    "d": many,
    "e": memory,
    "g": drawing,
    "p": precision,
}


def main() -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--recordings", type=int, default=40)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/bench.json")
    chosen = parser.parse_args()
    import torch

    torch.set_flush_denormal(True)
    from ecgcam.records.simulator import simulate, write

    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(chosen.rounds, chosen.recordings, Path(name))
        write_stand_ins(bench.folder)
        for i in range(chosen.recordings):
            paths = write(simulate("normal", i), bench.folder / "in")
            _renamed(bench.folder / "in", f"normal-{i}", f"r{i:03d}")
        del paths
        for part in chosen.only.split(","):
            PARTS[part](bench)
    machine = {
        "processor": _processor(), "cores": len(os.sched_getaffinity(0)), "threads": torch.get_num_threads(),
        "python": platform.python_version(), "torch": torch.__version__, "load": os.getloadavg(),
        "minutes": round((time.monotonic() - begun) / 60, 1), "rounds": chosen.rounds, "recordings": chosen.recordings,
    }  # fmt: skip
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps({"machine": machine, "figures": bench.figures}, indent=1) + "\n")
    print(f"{machine['minutes']} minutes on {machine['processor']}, {machine['cores']} cores; {chosen.out}")


def _renamed(folder: Path, old: str, new: str) -> None:
    for path in folder.glob(f"{old}*"):
        if path.stem != old or path.suffix not in {".hea", ".dat"}:
            path.unlink()
        elif path.suffix == ".hea":
            path.with_name(f"{new}.hea").write_text(path.read_text().replace(old, new))
            path.unlink()
        else:
            path.rename(path.with_name(f"{new}.dat"))


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


if __name__ == "__main__":
    main()
