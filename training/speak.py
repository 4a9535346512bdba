"""The third stage of training: the signal tower's head, then the text tower: more findings and words, the cells as they are.

    python -m training.speak --data PTBXL --weights IN.npz --out OUT.npz [--refit] [--leave-out 0.15]

The cells' means over time are computed once, of every record as it is and in augmented views, so that thousands of steps take
minutes. First the head and a direction for every finding (`training.directions`). Then the text tower, with every finding's
prompt held to its direction and three losses: the sigmoid loss of the first stage, with sentences of the reports for whole
reports; every phrase nearest to its own finding's prompt, as it is judged; and "FINDING" against "no FINDING", with and without
the finding weighing the same, since a rare finding would otherwise be denied of every record. The criteria's phrases ("QRS
above 120 ms") are trained in the same way, by what was measured on each record (`training.observed`). With ``--leave-out`` a
share of the phrases is kept from training, and how many of them are placed with their finding is printed: the basis of the
choices of this stage, with fold 8.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ecgcam.models.families.mini import MiniSignalTower, build
from ecgcam.records import CANONICAL_LEADS
from training.data import ROOT, Finding, PtbXl, load_findings, load_ptbxl, load_simulated
from training.directions import STEPS as HEAD_STEPS
from training.directions import Fitting, real_cells, simulate_cells
from training.export import training_texts, write_weights
from training.figures import read_weights
from training.observed import Observation, Observed, load_observed, observations
from training.train import (
    EACH,
    FS,
    HALF,
    NEGATIONS,
    NOT_NORMAL,
    SAMPLES,
    TEMPLATES,
    TwoTowers,
    augment,
    misspell,
    pair_loss,
)
from training.words import STEMS, named, sentences_of

STEPS, RATE = 3000, 1e-2
# A sentence that fewer records have is not a text of its own; it may still name a finding.
LEAST = 3
VIEWS, RECORDS, SENTENCES = 4, 384, 48
# Criteria of a step, and how often one must hold, and not hold, to be trained.
OBSERVED, ENOUGH = 24, 30
# The weight of each loss relative to the first, and how sharply a phrase is placed.
PLACING, DENYING, STAYING, SHARPNESS = 1.0, 1.0, 10.0, 12.0


@dataclass(frozen=True)
class Heard:
    """What is trained on: means over time of the last cells (N, C), and the label of each (NaN: unknown), of all views.

    `spread` (C,) is the standard deviation of a channel's cells within a record, averaged. `sentences` begin with those that many
    records have, a column of `holds` (records, those) each; view i is of record i mod records.
    """

    means: Tensor
    spread: Tensor
    labels: Tensor
    observed: Tensor
    statements: Tensor
    statement_texts: list[str]
    sentences: list[str]
    holds: Tensor


@torch.no_grad()
def listen(
    tower: MiniSignalTower,
    data: PtbXl,
    folds: set[int],
    simulated: tuple[np.ndarray, np.ndarray],
    answers: np.ndarray,
    seed: int,
    augmented: int = VIEWS,
    least: int = LEAST,
) -> Heard:
    """Take in the records of the folds, and the simulated ones, once as they are and `augmented` times augmented.

    `answers` (records of `data`, O): whether each criterion holds.
    """
    rng = np.random.default_rng([seed, 2])
    rows = np.flatnonzero(np.isin(data.folds, list(folds)))
    windows = np.concatenate([data.windows[rows], simulated[0]])
    unlabelled = np.full((len(simulated[0]), data.statements.shape[1]), np.nan, np.float32)
    unmeasured = np.full((len(simulated[0]), answers.shape[1]), np.nan, np.float32)
    said = [frozenset(sentences_of(data.reports[i])) for i in rows]
    count = Counter(sentence for one in said for sentence in one)
    sentences = sorted(count, key=lambda sentence: (-count[sentence], sentence))
    column = {sentence: i for i, sentence in enumerate(sentences) if count[sentence] >= least}
    holds = np.full((len(windows), len(column)), np.nan, np.float16)
    holds[: len(rows)] = 0
    for row, one in enumerate(said):
        holds[row, [column[sentence] for sentence in one if sentence in column]] = 1
    tower.eval()
    views, spreads = [], []
    for view in range(augmented + 1):
        for i in range(0, len(windows), 64):
            x = torch.from_numpy(windows[i : i + 64].astype("f4"))
            with torch.autocast("cpu", torch.bfloat16, enabled=HALF):
                cells = tower.stages(tower.stem(augment(x, rng) if view else x))
            views.append(cells.float().mean(dim=-1))
            if view == 0:
                spreads.append(cells.float().std(dim=-1))
    repeat = augmented + 1
    return Heard(
        torch.cat(views), torch.cat(spreads).mean(0),
        torch.from_numpy(np.tile(np.concatenate([data.labels[rows], simulated[1]]), (repeat, 1))),
        torch.from_numpy(np.tile(np.concatenate([answers[rows].astype("f4"), unmeasured]), (repeat, 1))),
        torch.from_numpy(np.tile(np.concatenate([data.statements[rows], unlabelled]), (repeat, 1))),
        data.statement_texts, sentences, torch.from_numpy(holds),
    )  # fmt: skip


def shortened(text: str, rng: np.random.Generator) -> str:
    """Return a phrase of four words or more without one of them, at times."""
    words = text.split(" ")
    if len(words) < 4 or rng.random() > 0.2:
        return text
    del words[int(rng.integers(len(words)))]
    return " ".join(words)


class Speaking:
    """The text tower's training; one `step` at a time.

    The findings' prompts, and the first phrase for each criterion, are held to `directions` (F + O, D).
    """

    def __init__(
        self, towers: TwoTowers, heard: Heard, findings: list[Finding], criteria: list[Observation], directions: Tensor,
        steps: int, seed: int,
    ) -> None:  # fmt: skip
        torch.manual_seed(seed)
        self.rng = np.random.default_rng([seed, 3])
        self.towers, self.heard, self.findings, self.criteria = towers, heard, findings, criteria
        self.directions = directions
        with torch.no_grad():
            self.signals = towers.signal.head(heard.means)
        # Records with a rare finding are drawn more often, so that every batch has some of most findings.
        positives = torch.nansum(heard.labels == 1, dim=0).clamp(min=1)
        rarity = (len(heard.labels) / positives).sqrt().clamp(1, 8)
        weights = torch.where(heard.labels == 1, rarity, 1.0).amax(dim=1).double()
        self.drawn = (weights / weights.sum()).numpy()
        self.said, self.frames = spoken(heard.sentences)
        parameters = [*towers.text.parameters(), towers.log_scale, towers.bias]
        self.optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.02)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, RATE, total_steps=steps, pct_start=0.1)

    def step(self) -> float:
        """One batch; return its loss."""
        self.towers.text.train()
        rows = torch.from_numpy(self.rng.choice(len(self.signals), RECORDS, p=self.drawn))
        signals, labels = self.signals[rows], self.heard.labels[rows]
        count = len(self.findings)
        prompts = [finding.prompt for finding in self.findings]
        phrases = [self._phrase(finding) for _ in range(3) for finding in self.findings]
        phrases += [self._in_a_report(finding) for finding in self.findings]
        denied = [self._denied(finding) for finding in self.findings]
        statements = self.rng.permutation(len(self.heard.statement_texts))[:16]
        sentences = self.rng.permutation(self.heard.holds.shape[1])[:SENTENCES]
        some = self.rng.permutation(len(self.criteria))[:OBSERVED]
        sides = [self._sides(self.criteria[i]) for i in some]
        met = self.heard.observed[rows][:, some]
        firsts = [one.positive[0] for one in self.criteria]
        embedded = self.towers.text(
            [*prompts, *phrases, *(no for _, no in denied), *(yes for yes, _ in denied),
             *(self.heard.statement_texts[i] for i in statements), *(self.heard.sentences[i] for i in sentences),
             *(against for _, against in sides), *(for_ for for_, _ in sides), *firsts]
        )  # fmt: skip
        targets = torch.cat(
            [labels, labels, labels, labels, labels, 1 - labels, labels, self.heard.statements[rows][:, statements],
             self.heard.holds[(rows % len(self.heard.holds))[:, None], torch.from_numpy(sentences)].float(), 1 - met, met], dim=1,
        )  # fmt: skip
        logits = self.towers.logits(signals, embedded[: targets.shape[1]])
        texts = nn.functional.normalize(embedded, dim=1)
        near = SHARPNESS * texts[count : 5 * count] @ texts[:count].T
        placing = nn.functional.cross_entropy(near, torch.arange(count).repeat(4))
        gap = logits[:, 6 * count : 7 * count] - logits[:, 5 * count : 6 * count]
        criteria = texts[targets.shape[1] :]
        near = SHARPNESS * texts[targets.shape[1] - len(some) : targets.shape[1]] @ criteria.T
        placing = placing + nn.functional.cross_entropy(near, torch.from_numpy(some))
        against, held = logits[:, -2 * len(some) :].chunk(2, dim=1)
        denying = balanced_loss(gap, labels) + balanced_loss(held - against, met)
        staying = 1 - (torch.cat([texts[:count], criteria]) * self.directions).sum(1).mean()
        loss = pair_loss(logits, targets) + STAYING * staying + PLACING * placing + DENYING * denying
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.towers.text.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        return loss.item()

    def _phrase(self, finding: Finding) -> str:
        text = str(self.rng.choice(finding.phrases))
        return self._mistyped(str(self.rng.choice(TEMPLATES)).format(shortened(text, self.rng)))

    def _in_a_report(self, finding: Finding) -> str:
        """Return a report's sentence that names the finding, or the finding in the place of another in one."""
        if finding.name in self.said and self.rng.random() < 0.5:
            return self._mistyped(str(self.rng.choice(self.said[finding.name])))
        before, after = self.frames[int(self.rng.integers(len(self.frames)))] if self.frames else ("", "")
        return self._mistyped(f"{before} {self.rng.choice(finding.phrases)} {after}".strip())

    def _sides(self, criterion: Observation) -> tuple[str, str]:
        """Return a phrase for a criterion and one against it."""
        held = str(self.rng.choice(criterion.positive))
        if self.rng.random() < 0.3:
            against = str(self.rng.choice(NEGATIONS)).format(str(self.rng.choice(criterion.positive)))
        else:
            against = str(self.rng.choice(criterion.negative))
        template = str(self.rng.choice(TEMPLATES))
        return self._mistyped(template.format(held)), self._mistyped(template.format(against))

    def _mistyped(self, text: str) -> str:
        return misspell(text, self.rng) if self.rng.random() < 0.25 else text

    def _denied(self, finding: Finding) -> tuple[str, str]:
        text = finding.prompt if self.rng.random() < 0.5 else str(self.rng.choice(finding.phrases))
        templates = NOT_NORMAL if finding.name == "normal" else NEGATIONS
        return text, str(self.rng.choice(templates)).format(text)


def measured(observed: Observed, data: PtbXl, folds: set[int]) -> tuple[list[Observation], np.ndarray]:
    """Return the criteria that hold often enough in the folds, and do not, and their answers (records of `data`, O)."""
    answers = observed.answers[observed.rows_of(data.ids)]
    here = np.isin(data.folds, list(folds))
    kept, columns = [], []
    for one in observations():
        answer = answers[:, one.columns[0]]
        if min((answer[here] == 1).sum(), (answer[here] == 0).sum()) >= ENOUGH:
            kept.append(one)
            columns.append(answer)
    return kept, np.stack(columns, axis=1)


def spoken(sentences: list[str]) -> tuple[dict[str, list[str]], list[tuple[str, str]]]:
    """Return the sentences of reports that name one finding, by finding, and what stands before and after its name in them."""
    said: dict[str, list[str]] = {}
    frames = []
    for sentence in sentences:
        if name := named(sentence):
            said.setdefault(name, []).append(sentence)
            before, _, after = f" {sentence.lower()} ".partition(STEMS[name].lower())
            frames.append((before.strip(), after.strip()))
    return said, frames


def balanced_loss(gap: Tensor, labels: Tensor) -> Tensor:
    """Logistic loss of (B, F) gaps between a finding and its denial, records with and without it weighing the same."""
    targets = labels.nan_to_num(0)
    loss = nn.functional.binary_cross_entropy_with_logits(gap, targets, reduction="none")
    sides = []
    for side in (labels == 1, labels == 0):
        held = side.sum(0)
        sides.append((loss * side).sum(0)[held > 0] / held[held > 0])
    return torch.cat(sides).mean()


def kept_apart(findings: list[Finding], share: float, seed: int) -> tuple[list[Finding], list[tuple[str, str]]]:
    """Return the findings without a share of their phrases, and those (finding, phrase)."""
    rng = np.random.default_rng([seed, 4])
    kept, apart = [], []
    for finding in findings:
        out = rng.random(len(finding.phrases)) < share
        apart += [(finding.name, phrase) for phrase, gone in zip(finding.phrases, out, strict=True) if gone]
        kept.append(
            replace(finding, phrases=tuple(p for p, gone in zip(finding.phrases, out, strict=True) if not gone))
        )
    return kept, apart


@torch.no_grad()
def placed_share(towers: TwoTowers, findings: list[Finding], apart: list[tuple[str, str]]) -> float:
    """The share of phrases whose nearest prompt is their finding's."""
    towers.text.eval()
    texts = nn.functional.normalize(towers.text([f.prompt for f in findings] + [phrase for _, phrase in apart]), dim=1)
    nearest = (texts[len(findings) :] @ texts[: len(findings)].T).argmax(dim=1)
    return float(np.mean([findings[int(i)].name == name for i, (name, _) in zip(nearest, apart, strict=True)]))


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--weights", type=Path, required=True, help="what training.export wrote of the first stage")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--refit", action="store_true", help="folds 1-8, as the first stage's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--views", type=int, default=VIEWS, help="augmented views of each record")
    parser.add_argument("--leave-out", type=float, default=0.0, metavar="SHARE")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    findings = load_findings()
    data = load_ptbxl(args.data, FS, SAMPLES, findings, ROOT / ".cache", coarse=True)
    network = build()
    network.load_state_dict(read_weights(args.weights))
    towers = TwoTowers()
    towers.signal, towers.text = network.signal, network.text
    folds = set(range(1, 9)) if args.refit else set(range(1, 8))
    observed = load_observed(args.data, ROOT / ".cache")
    criteria, answers = measured(observed, data, folds)
    heard = listen(
        towers.signal, data, folds, load_simulated(findings, EACH, FS, SAMPLES), answers, args.seed, args.views
    )
    kept, apart = kept_apart(findings, args.leave_out, args.seed)
    with torch.no_grad():
        first = [finding.prompt for finding in findings] + [one.positive[0] for one in criteria]
        begin = nn.functional.normalize(towers.text.eval()(first), dim=1)
        empty = towers.signal.stages(towers.signal.stem(torch.zeros(1, len(CANONICAL_LEADS), SAMPLES))).mean(dim=-1)[0]
    placed = simulate_cells(towers.signal, findings)
    placed += real_cells(towers.signal, data, folds, findings, observed, args.seed)
    labels = torch.cat([heard.labels, heard.observed], dim=1)
    fitting = Fitting(
        towers.signal, heard.means, labels, empty, heard.spread, begin, len(findings), placed, HEAD_STEPS, args.seed
    )
    losses = []
    for step in range(1, HEAD_STEPS + 1):
        losses.append(fitting.step())
        if step % 200 == 0:
            loss, outside = np.nanmean(losses, axis=0)
            print(
                f"head, step {step}: loss {loss:.3f}, {100 * outside:.0f} % of the maps outside the truth", flush=True
            )
            losses = []
    fitting.finish()
    directions = fitting.directions.detach()
    with torch.no_grad():
        towers.log_scale.copy_(fitting.log_scale)
        towers.bias.copy_(fitting.bias)
    speaking = Speaking(towers, heard, kept, criteria, directions, args.steps, args.seed)
    for step in range(1, args.steps + 1):
        loss = speaking.step()
        if step % 200 == 0:
            share = f", placed {placed_share(towers, findings, apart):.3f}" if apart else ""
            print(f"step {step}: loss {loss:.3f}{share}", flush=True)
    phrases = [text for one in criteria for text in (*one.positive, *one.negative)]
    network.text.learn_words([*training_texts(data, kept), *phrases])
    network.eval()
    write_weights(network, args.out)


if __name__ == "__main__":
    main()
