"""The first part of the third stage: the signal tower's head, and a direction of the joint space for every finding.

The text tower is trained afterwards, towards these directions: with both at once the AUROC on fold 8 is 0.01 lower. Criteria
(`training.observed`) have directions of their own, by the first loss.

Three losses: the sigmoid loss of the first stage; the share of Grad-CAM's map that lies outside the truth, each lead alone
(right for the right reasons: Ross, Hughes, Doshi-Velez, IJCAI 2017, section 3); and the leads that show the finding before the
others, by their gain. The truth is the simulator's, and on real recordings the waves and leads in which the finding's criteria
hold.
Without the second the head finds the findings as well, but the maps of T wave inversion on real recordings leave the T wave.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ecgcam.models.families.mini import MiniSignalTower
from ecgcam.records.criteria import all_criteria
from ecgcam.records.simulator import FINDINGS as MADE
from ecgcam.records.simulator import TRAINING_SEEDS, simulate
from training.data import Finding, PtbXl
from training.observed import NOWHERE, Observed
from training.train import FS, pair_loss

STEPS, RATE, RECORDS, DROPOUT, DECAY = 3000, 5e-3, 1024, 0.2, 0.02
# The weight of the maps' loss, taken every second step, and the recordings of a step and of each finding, simulated and real.
WEIGHT, EVERY, DRAWN, EACH, REAL = 0.2, 2, 16, 16, 32
# The weight of the order of leads, and the difference of two cosines that is one unit of it.
ORDER, APART = 0.1, 0.1
# The weight of the criteria's sigmoid loss relative to the findings'.
MEASURED = 1.0
# Copies of the recording without any signal in a batch. What most records have, such as sinus rhythm, is as likely as not there:
# otherwise its score for sinus rhythm is higher than that of most recordings.
EMPTY = 16
# Seeds that no other stage simulates.
FIRST_SEED = TRAINING_SEEDS + 500_000
# Rhythms, which nothing in the recording shows at one place.
EVERYWHERE = frozenset({"normal", "af", "flutter", "tachycardia", "bradycardia"})
# Findings whose simulated wall has a finding of its own.
BY_WALL = frozenset({"ischaemia", "st-depression", "t-inversion"})
# Between two cells of the last stage, in samples.
_STEP = 8


@dataclass(frozen=True)
class Placed:
    """Cells of recordings, each lead alone: (R, leads, C, K), their truth (R, leads, K), and findings of each.

    `shows` (R, leads) are the leads that show the finding; none where all do, or it is not known.
    """

    cells: Tensor
    truth: Tensor
    shows: Tensor
    columns: list[list[int]]

    def __add__(self, other: Placed) -> Placed:
        return Placed(
            torch.cat([self.cells, other.cells]), torch.cat([self.truth, other.truth]), torch.cat([self.shows, other.shows]),
            self.columns + other.columns,
        )  # fmt: skip


@torch.no_grad()
def simulate_cells(tower: MiniSignalTower, findings: list[Finding], each: int = EACH) -> Placed:
    """Simulate recordings of findings that show somewhere, and take the last cells of each lead alone."""
    names = [finding.name for finding in findings]
    cells, truth, columns = [], [], []
    for name in (name for name in MADE if name in names and name not in EVERYWHERE):
        for k in range(each):
            made = simulate(name, FIRST_SEED + k, fs=FS)
            found = _alone(tower, made.signal - np.median(made.signal, axis=1, keepdims=True))
            # A cell is in the truth if a sample within half its step is.
            marked = nn.functional.max_pool1d(
                torch.from_numpy(made.mask).float()[:, None], _STEP + 1, _STEP, _STEP // 2
            )
            cells.append(found)
            truth.append(marked[:, 0, : found.shape[-1]] > 0)
            wall = f"{made.wall}-ischaemia"
            columns.append([names.index(name), *([names.index(wall)] if name in BY_WALL and wall in names else [])])
    known = torch.stack(truth)
    return Placed(torch.stack(cells), known, _some(known.any(-1)), columns)


@torch.no_grad()
def real_cells(
    tower: MiniSignalTower, data: PtbXl, folds: set[int], findings: list[Finding], observed: Observed, seed: int, each: int = REAL
) -> Placed:  # fmt: skip
    """Take the last cells of each lead alone of real recordings with a finding, and where its criteria hold as their truth."""
    rng = np.random.default_rng([seed, 7])
    here = np.isin(data.folds, list(folds))
    criteria, rows = all_criteria(), observed.rows_of(data.ids)
    cells, truth, shows, columns = [], [], [], []
    for column, finding in enumerate(findings):
        mine = [i for i, one in enumerate(criteria) if one.finding == finding.name]
        if not mine or finding.name in NOWHERE:
            continue
        taken = 0
        for row in rng.permutation(np.flatnonzero(here & (data.labels[:, column] == 1))):
            where, leads = observed.places(int(rows[row]), mine)
            if where.any():
                found = _alone(tower, data.windows[row])
                cells.append(found)
                truth.append(torch.from_numpy(where[:, : found.shape[-1]]))
                shows.append(torch.from_numpy(leads))
                columns.append([column])
                taken += 1
                if taken == each:
                    break
    return Placed(torch.stack(cells), torch.stack(truth), _some(torch.stack(shows)), columns)


def _alone(tower: MiniSignalTower, window: np.ndarray) -> Tensor:
    """Return the last cells (leads, C, K) of each lead of a window (leads, T) alone, in half precision."""
    x = torch.from_numpy(window.astype("f4"))
    tower.eval()
    cells: Tensor = tower.stages(tower.stem(torch.diag_embed(x.T).permute(1, 2, 0))).half()
    return cells


def _some(leads: Tensor) -> Tensor:
    """Leads (R, leads) that show the finding, none where all do."""
    return leads & ~leads.all(dim=1, keepdim=True)


class Fitting:
    """The training of a signal tower's head, in place, and of the findings' directions; one `step` at a time.

    Parameters
    ----------
    tower : MiniSignalTower
        Only its head is trained.
    means, labels : Tensor (N, C), Tensor (N, F)
        Means over time of the last cells; 1, 0, or NaN where unknown.
    empty : Tensor (C,)
        The same of a recording without any signal.
    spread : Tensor (C,)
        Of each channel's cells within a recording. A channel counts by it: its spread between recordings is fifty times smaller
        for some channels, whose weights would then be large, and maps rough.
    directions : Tensor (F, D)
        Where each begins, of length 1.
    findings : int
        How many of the F columns are findings; the others are criteria, as measured.
    placed : Placed
        What the maps are trained on.
    steps, seed : int
        Length of the schedule; of every draw.
    """

    def __init__(
        self, tower: MiniSignalTower, means: Tensor, labels: Tensor, empty: Tensor, spread: Tensor, directions: Tensor,
        findings: int, placed: Placed, steps: int = STEPS, seed: int = 0,
    ) -> None:  # fmt: skip
        torch.manual_seed(seed)
        self.rng = np.random.default_rng([seed, 6])
        self.means, self.labels, self.placed = means, labels, placed
        self.findings = findings
        self.empty = empty.expand(EMPTY, -1)
        usual = (labels == 1).float().mean(0) > 0.5
        self.unknown = torch.where(usual, 0.5, torch.nan).expand(EMPTY, -1)
        self.centre, self.spread = means.mean(0), spread * (means.std(0).mean() / spread.mean())
        first, last = cast("nn.Linear", tower.head[0]), cast("nn.Linear", tower.head[2])
        self.first, self.last, self.drop = first, last, nn.Dropout(DROPOUT)
        with torch.no_grad():
            first.bias += first.weight @ self.centre
            first.weight *= self.spread
        self.found = nn.Parameter(directions.clone())
        self.log_scale, self.bias = nn.Parameter(torch.tensor(10.0).log()), nn.Parameter(torch.tensor(-2.0))
        parameters = [*tower.head.requires_grad_(True).parameters(), self.found, self.log_scale, self.bias]
        self.optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=DECAY)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, RATE, total_steps=steps)
        self.taken = 0

    @property
    def directions(self) -> Tensor:
        """Return the findings' directions, of length 1."""
        return nn.functional.normalize(self.found, dim=1)

    def step(self) -> tuple[float, float]:
        """Take one batch; return both losses, the second NaN where it was not taken."""
        rows = torch.from_numpy(self.rng.integers(len(self.means), size=RECORDS))
        cosine = self._embed(torch.cat([self.means[rows], self.empty]), self.drop) @ self.directions.T
        labels = torch.cat([self.labels[rows], self.unknown])
        logits = self.log_scale.exp() * cosine + self.bias
        loss = pair_loss(logits[:, : self.findings], labels[:, : self.findings])
        if labels.shape[1] > self.findings:
            loss = loss + MEASURED * pair_loss(logits[:, self.findings :], labels[:, self.findings :])
        outside = torch.tensor(float("nan"))
        if self.taken % EVERY == 0:
            outside, order = self.misplaced(self.rng.integers(len(self.placed.columns), size=DRAWN).tolist())
            loss = loss + WEIGHT * outside + ORDER * order
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        self.taken += 1
        return loss.item(), outside.item()

    def misplaced(self, chosen: list[int]) -> tuple[Tensor, Tensor]:
        """Return two losses of recordings: the maps outside the truth, and the leads out of order.

        The first is the share of Grad-CAM's maps outside, over leads that show the finding, by their gain. The second is the
        logistic loss of pairs of leads of which one shows it (RankNet: Burges et al., ICML 2005).
        """
        leads = self.placed.cells.shape[1]
        columns = [self.placed.columns[i] for i in chosen]
        asked = torch.tensor([one[int(self.rng.integers(len(one)))] for one in columns]).repeat_interleave(leads)
        cells = self.placed.cells[chosen].float().flatten(0, 1)
        truth = self.placed.truth[chosen].float().flatten(0, 1)
        means = cells.mean(-1).requires_grad_(True)
        cosine = (self._embed(means) * self.directions[asked]).sum(1)
        (gradient,) = torch.autograd.grad(cosine.sum(), means, create_graph=True)
        values = torch.relu((gradient[:, :, None] * cells).sum(1))
        share = (values * (1 - truth)).sum(1) / (values.sum(1) + 1e-3)
        # The gain over the weakest lead: a lead that adds nothing has no map to speak of.
        least = cosine.detach().view(-1, leads).amin(1).repeat_interleave(leads)
        weight = (cosine.detach() - least) * (truth.sum(1) > 0)
        outside = (share * weight).sum() / (weight.sum() + 1e-6)
        shows, gain = self.placed.shows[chosen], cosine.view(-1, leads)
        pairs = shows[:, :, None] & ~shows[:, None, :]
        behind = nn.functional.softplus((gain[:, None, :] - gain[:, :, None]) / APART)
        return outside, (behind * pairs).sum() / pairs.sum().clamp(min=1)

    def finish(self) -> None:
        """Put the head's weights back into the units of the cells."""
        with torch.no_grad():
            self.first.weight /= self.spread
            self.first.bias -= self.first.weight @ self.centre

    def _embed(self, means: Tensor, between: nn.Module | None = None) -> Tensor:
        hidden = torch.relu(self.first((means - self.centre) / self.spread))
        return nn.functional.normalize(self.last(hidden if between is None else between(hidden)), dim=1)
