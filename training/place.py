"""The second stage of training: the signal tower alone learns to keep evidence in its place, with the same embedding.

    python -m training.place --data PTBXL --weights IN.npz --out OUT.npz [--refit] [--seed N]

A convolutional network may respond to a wave some tenths of a second away: its mean over time is the same wherever its cells
answer, so nothing in the training prevents it. Every map of its cells is then displaced by as much. So short stretches of a
recording are changed, in some of its leads, and the cells that answer are drawn to the stretch: the loss is the mean square
distance between cell and stretch, weighed by how much the cell's activation changed. The embedding is held where the
tower of before had it (1 - cosine), so that texts and scores stay. No label is used.
"""

from __future__ import annotations

import argparse
import copy
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ecgcam.models.families.mini import MiniSignalTower, build
from training.data import ROOT, load_findings, load_ptbxl, load_simulated
from training.export import write_weights
from training.figures import read_weights
from training.train import AVERAGE, EACH, FS, HALF, SAMPLES, augment

STEPS, RATE = 384, 1e-3
# Real and simulated records of a batch.
REAL, SIMULATED = 48, 16
# The weight of the distances relative to that of the embeddings, with distances in units of 50 ms.
DRAWING, UNIT = 0.1, 0.05
# One change every two seconds, of 32 to 200 ms: what answers to one lies nearer to it than to the next.
EVERY, SHORTEST, LONGEST = 2.0, 0.032, 0.2
# Between two cells of the last stage, in samples; cell i sits at sample 8 i.
STEP = 8
SHOWN = 48


def changed(x: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Change a short stretch of some leads every two seconds.

    A stretch is laid flat at the lead's median, or on a line between its ends, or gets a wave of 0.1 to 1 mV.

    Parameters
    ----------
    x : Tensor (B, leads, T)
        Signals in model space; not modified.
    rng : numpy Generator
        Where, how long, which leads and how.

    Returns
    -------
    (Tensor (B, leads, T), Tensor (B, changes, 2))
        The changed signals, and the first and last sample of each stretch.
    """
    x = x.clone()
    count, leads, samples = x.shape
    every = round(EVERY * FS)
    spans = torch.zeros(count, samples // every, 2)
    for i in range(count):
        first = rng.integers(every)
        for k in range(samples // every):
            length = int(rng.integers(round(SHORTEST * FS), round(LONGEST * FS)))
            begin = int(np.clip(first + k * every - length // 2, 0, samples - length))
            spans[i, k] = torch.tensor([begin, begin + length - 1])
            some = torch.from_numpy(rng.random(leads) < (1.0 if rng.random() < 0.3 else rng.uniform(0.1, 1.0)))
            stretch = x[i, some, begin : begin + length]
            kind = rng.random()
            if kind < 0.4:
                stretch = torch.zeros_like(stretch)
            elif kind < 0.6:
                along = torch.linspace(0, 1, length)
                stretch = stretch[:, :1] * (1 - along) + stretch[:, -1:] * along
            else:
                wave = np.sin(math.pi * (np.arange(length) + 0.5) / length) ** 2
                stretch = stretch + torch.from_numpy(wave).float() * float(rng.choice([-1, 1]) * rng.uniform(0.1, 1.0))
            x[i, some, begin : begin + length] = stretch
    return x, spans


def reach(before: Tensor, after: Tensor, spans: Tensor) -> Tensor:
    """Mean square distance, s^2, between a changed stretch and the cells that answer to it; cells inside have none.

    Cells (B, C, cells) of both signals, spans (B, changes, 2). Cells count by the square of their change, summed over channels,
    and each for the stretch whose middle lies within half of `EVERY`; each change has the same weight, except those that hardly
    change a cell.
    """
    answer = (before - after).pow(2).sum(1)[:, None]
    time = torch.arange(answer.shape[-1]) * STEP
    middle, half = spans.mean(-1, keepdim=True), (spans[..., 1:] - spans[..., :1]) / 2
    distance = (time - middle).abs()
    answer = answer * (distance < EVERY * FS / 2)
    away = ((distance - half).clamp(min=0) / FS).pow(2)
    least = 1e-3 * answer.sum(-1).mean()
    result: Tensor = ((answer * away).sum(-1) / (answer.sum(-1) + least).clamp(min=1e-12)).mean()
    return result


class Placing:
    """The signal tower's second stage; one `step` at a time.

    Parameters
    ----------
    tower : MiniSignalTower
        Trained in place; its copy of before is what embeddings are held to. Batch normalisations keep their averages.
    steps, seed : int
        Length of the schedule; of every draw.
    """

    def __init__(self, tower: MiniSignalTower, steps: int, seed: int) -> None:
        self.tower, self.before = tower.eval().requires_grad_(True), copy.deepcopy(tower).eval().requires_grad_(False)
        self.average = torch.optim.swa_utils.AveragedModel(
            tower, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGE)
        )
        self.rng = np.random.default_rng([seed, 5])
        self.optimizer = torch.optim.AdamW(tower.parameters(), lr=RATE, weight_decay=0.02)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, RATE, total_steps=steps, pct_start=0.1)

    def step(self, windows: np.ndarray) -> tuple[float, float]:
        """Take one batch (B, 12, T); return 1 - cosine, and the root of the mean square distance in ms."""
        x = augment(torch.from_numpy(windows.astype("f4")), self.rng)
        other, spans = changed(x, self.rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=HALF):
            cells = self.tower.stages(self.tower.stem(torch.cat([x, other])))
            with torch.no_grad():
                wanted = self.before(x).float()
        before, after = cells.float().chunk(2)
        apart = 1 - nn.functional.cosine_similarity(self.tower.head(before.mean(-1)), wanted, dim=1).mean()
        far = reach(before, after, spans)
        self.optimizer.zero_grad()
        (apart + DRAWING * far / UNIT**2).backward()
        nn.utils.clip_grad_norm_(self.tower.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.average.update_parameters(self.tower)
        return apart.item(), 1000 * math.sqrt(far.item())


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--weights", type=Path, required=True, help="what training.speak wrote")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--refit", action="store_true", help="folds 1-8, as the other stages'")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--like", type=Path, help="hold embeddings to those of this file; default: of --weights")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--real", type=int, default=REAL, help="real records of a batch")
    parser.add_argument("--simulated", type=int, default=SIMULATED, help="simulated records of a batch")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    findings = load_findings()
    data = load_ptbxl(args.data, FS, SAMPLES, findings, ROOT / ".cache", coarse=True)
    made, _ = load_simulated(findings, EACH, FS, SAMPLES)
    network = build()
    network.load_state_dict(read_weights(args.weights))
    real = np.flatnonzero(data.folds <= (8 if args.refit else 7))
    placing = Placing(network.signal, args.steps, args.seed)
    if args.like:
        held = build()
        held.load_state_dict(read_weights(args.like))
        placing.before.load_state_dict(held.signal.state_dict())
    found = []
    for step in range(1, args.steps + 1):
        rows, others = placing.rng.choice(real, args.real), placing.rng.integers(len(made), size=args.simulated)
        found.append(placing.step(np.concatenate([data.windows[rows], made[others]])))
        if step % SHOWN == 0 or step == args.steps:
            apart, far = np.mean(found, axis=0)
            print(f"step {step}: 1 - cosine {apart:.4f}, {far:.0f} ms away", flush=True)
            found = []
    network.signal.load_state_dict(placing.average.module.state_dict())
    write_weights(network, args.out)


if __name__ == "__main__":
    main()
