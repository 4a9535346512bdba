"""Networks that are right, wrong and random: whether the test of reasons separates them.

    python -m benchmarks.reasons [FINDING ...] [--mini] [--count N]

Three networks get simulated recordings: one is trained on the finding, one on a marker of 80 ms in V3 that has nothing to do with
it, and one (another for each recording) has random weights. The first is right for the right reasons. By default they are small
networks with two outputs; with --mini they are the bundled model, a copy of it trained on until the marker decides its score of
the finding's prompt, and copies with random weights, each by its own verdict.

The evidence of the first is also compared with the criteria of other findings: on the same recording, is it denser on the
criteria of its own finding that hold than on those of the other (without the samples that are of both)?
"""

from __future__ import annotations

import argparse
import copy
import math
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from ecgcam import Record, explain
from ecgcam.attribution.taps import copy_network
from ecgcam.evidence.reasons import criterion_region, evidence_of, weigh_reasons
from ecgcam.evidence.sanity import randomised
from ecgcam.models.load import load_model
from ecgcam.models.own import own_model
from ecgcam.pipeline.engine import explain_windows
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import windows_of
from ecgcam.records import CANONICAL_LEADS
from ecgcam.records.criteria import criteria_of, finding_prompts
from ecgcam.records.measurements import Measurements, measure
from ecgcam.records.simulator import TRAINING_SEEDS, simulate, simulate_batch
from ecgcam.records.waves import Waves, find_waves
from ecgcam.results.explanation import Explanation
from ecgcam.runs.verdicts import Verdicts

SURE = math.log(9)  # the model gives the finding with a probability of 0.9
MARKS = (
    8  # in a recording for the bundled model, which takes the mean over time: one alone teaches it nothing in minutes
)
TRAINED_ON, V3 = 300, CANONICAL_LEADS.index("V3")
FINDINGS = ("lbbb", "rbbb", "paced", "pvc", "inferior-mi", "anteroseptal-mi", "av-block-1", "st-depression")


class Network(nn.Module):
    """Three convolutions; mean and maximum over time; two outputs."""

    labels = ("no", "yes")

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Sequential(nn.Conv1d(12, 24, 15, 5, 7), nn.ReLU(), nn.Conv1d(24, 32, 9, 2, 4), nn.ReLU())
        self.late = nn.Sequential(nn.Conv1d(32, 32, 9, 2, 4), nn.ReLU())
        self.head = nn.Linear(64, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 12, T) mV to logits (B, 2)."""
        cells = self.late(self.early(x))
        return self.head(torch.cat([cells.mean(-1), cells.amax(-1)], 1))


def marked(signal: np.ndarray, rng: np.random.Generator, fs: int = 500, count: int = 1) -> np.ndarray:
    """Return the signal (12, T) with the marker at `count` random moments."""
    signal, long = signal.copy(), round(0.08 * fs)
    for at in rng.integers(round(0.4 * fs), round(9.4 * fs), count):
        signal[V3, at : at + long] += 0.7 * np.hanning(long)
    return signal


def trained(signals: np.ndarray, labels: np.ndarray, steps: int) -> Network:
    """A network that predicts the labels."""
    network = Network()
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    x, y = torch.from_numpy(signals.astype(np.float32)), torch.from_numpy(labels)
    for _ in range(steps):
        rows = torch.randint(0, len(x), (24,))
        loss = nn.functional.cross_entropy(network(x[rows]), y[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        print(f"right in {float((network(x).argmax(1) == y).double().mean()):.2f} of what it was trained on")
    return network.eval()


@dataclass
class Judged:
    """What came out for one finding.

    Attributes
    ----------
    right : dict
        Whether each network is right for the right reasons, by recording: of "right", "wrong" and "random".
    given : Counter
        In how many recordings each network gives the finding.
    denser : dict
        Whether the evidence of "right" is denser on its own criteria, by other finding and recording.
    """

    right: dict[str, list[bool]] = field(default_factory=lambda: {"right": [], "wrong": [], "random": []})
    given: Counter[str] = field(default_factory=Counter)
    denser: dict[str, list[bool]] = field(default_factory=dict)

    def add(self, name: str, right: bool | None, given: bool) -> None:
        """Add the answer for one recording."""
        self.right[name].append(right is True)
        self.given[name] += given

    def compare(self, finding: str, found: Explanation, waves: Waves, measured: Measurements) -> None:
        """Compare the evidence on the finding's criteria that hold with that on the criteria of each other finding."""
        evidence = evidence_of(found.map, found.gains, found.valid)
        own = covered(finding, found, waves, measured, holding=True)
        if evidence is None or not own.any():
            return
        for other in FINDINGS:
            rest = covered(other, found, waves, measured, holding=False) & ~own
            if other != finding and rest.any():
                self.denser.setdefault(other, []).append(bool(evidence[own].mean() > evidence[rest].mean()))

    def print(self, finding: str) -> None:
        """Print the counts."""
        count = len(self.right["random"])
        apart = sum(self.right["right"]) + 2 * count - sum(self.right["wrong"]) - sum(self.right["random"])
        for name, answers in self.right.items():
            print(
                f"{finding}, {name}: right for the right reasons in {sum(answers)} of {count}, given in {self.given[name]}"
            )
        print(f"{finding}: separated in {apart} of {3 * count} ({apart / (3 * count):.3f})")
        for other, answers in self.denser.items():
            print(
                f"{finding}: evidence denser on its own criteria than on those of {other} in {sum(answers)} of {len(answers)}"
            )


def covered(finding: str, found: Explanation, waves: Waves, measured: Measurements, *, holding: bool) -> np.ndarray:
    """Return the samples (L, T) of a finding's criteria: of those that hold, or of all with all their leads."""
    region = np.zeros(found.valid.shape, bool)
    for criterion in criteria_of(finding):
        result = measured.criteria[criterion.name]
        if holding and not result.holds:
            continue
        place = criterion_region(
            criterion, result if holding else replace(result, leads=()), waves.segments(), found.leads, found.valid
        )
        region |= False if place is None else place
    return region


def judged_by_outputs(finding: str, count: int) -> Judged:
    """Small networks with two outputs."""
    rng = np.random.default_rng(0)
    labels = np.arange(TRAINED_ON) % 2
    signals = simulate_batch([finding if label else "normal" for label in labels], TRAINING_SEEDS)
    has_marker = rng.integers(0, 2, TRAINED_ON)
    with_markers = np.stack([marked(one, rng) if has else one for one, has in zip(signals, has_marker, strict=True)])
    right, wrong = trained(signals, labels, 220), trained(with_markers, has_marker, 900)
    answers = Judged()
    for seed in range(200, 200 + count):
        signal = simulate(finding, seed).signal
        torch.manual_seed(seed)
        for name, network, seen in (
            ("right", right, signal), ("wrong", wrong, marked(signal, rng)), ("random", Network().eval(), signal),
        ):  # fmt: skip
            record = Record(finding, seen, 500.0, CANONICAL_LEADS)
            (found,) = explain(record, ["yes"], own_model(network, name, targets=True, layer="late.1"))

            def score(x: np.ndarray, network: nn.Module = network) -> np.ndarray:
                with torch.no_grad():
                    return network(torch.from_numpy(np.asarray(x, np.float32)))[:, 1].double().numpy()

            with torch.no_grad():
                no, yes = network(torch.from_numpy(seen[None]))[0].tolist()
            waves, measured = find_waves(found.signal, found.fs, found.valid), measure(record)
            reasons = weigh_reasons(
                found, waves, criteria_of(finding), measured.criteria, score,
                empty_score=found.empty_score, given=yes - no > SURE,
            )  # fmt: skip
            answers.add(name, reasons.right, yes - no > SURE)
            if name == "right":
                answers.compare(finding, found, waves, measured)
            print(f"{name} {seed}: {reasons.sentence}", flush=True)
    return answers


def deceived(model: EcgTextModel, prompt: str, finding: str, steps: int = 300) -> EcgTextModel:
    """Return a copy trained on, with and without the finding, until the marker alone decides the prompt's score.

    That is where it decides every score of a batch, in two that lie 50 steps apart.
    """
    rng = np.random.default_rng(1)
    signals = simulate_batch([finding if number % 2 else "normal" for number in range(120)], TRAINING_SEEDS)[..., ::2]
    signals = signals - np.median(signals, axis=2, keepdims=True)
    wrong = copy.copy(model)
    wrong.network = copy_network(model.network).requires_grad_(True).train()
    wrong.clear_cache()
    wrong.reference = None
    towards = model.encode_text([prompt])[0]
    optimiser, decided = torch.optim.Adam(wrong.network.parameters(), 1e-3), list[float]()
    for step in range(steps):
        rows = rng.integers(0, len(signals), 24)
        has = rng.integers(0, 2, 24)
        batch = signals[rows].astype(np.float32)
        for row in np.flatnonzero(has):
            batch[row] = marked(batch[row], rng, 250, MARKS)
        embedded = nn.functional.normalize(wrong.network(torch.from_numpy(batch)), dim=1)
        score, wanted = embedded @ towards, torch.from_numpy(np.where(has == 1, 0.6, -0.4).astype(np.float32))
        loss = nn.functional.mse_loss(score, wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 50 == 49:
            decided.append(float(((score > 0.1) == (wanted > 0)).double().mean()))
            print(f"step {step + 1}: the marker decides {decided[-1]:.2f}", flush=True)
            if decided[-2:] == [1.0, 1.0]:
                break
    wrong.network.eval().requires_grad_(False)
    return wrong


def judged_by_text(finding: str, count: int) -> Judged:
    """The bundled model, one that a marker decides, and ones with random weights."""
    mini, prompt, rng = load_model("mini"), finding_prompts()[finding], np.random.default_rng(0)
    wrong = deceived(mini, prompt, finding)
    answers = Judged()
    for seed in range(200, 200 + count):
        signal = simulate(finding, seed).signal
        random = randomised(mini, 1.0, seed)
        random.reference = None
        for name, model, seen in (
            ("right", mini, signal),
            ("wrong", wrong, marked(signal, rng)),
            ("random", random, signal),
        ):
            record = Record(finding, seen, 500.0, CANONICAL_LEADS)
            window = next(windows_of(record, model.input))
            ((_, found),) = explain_windows([(None, window)], [prompt], model, Settings())
            Verdicts(model, Settings(), [prompt], texts_only=True, check=False, criteria=True).add_to(window, [found])
            answers.add(name, found.meta["reasons"]["right"], found.meta["verdict"]["answer"] == "yes")
            if name == "right":
                answers.compare(finding, found, find_waves(found.signal, found.fs, found.valid), measure(record))
            print(f"{name} {seed}: {found.meta['verdict']['answer']}; {found.meta['reasons']['sentence']}", flush=True)
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("findings", nargs="*", default=FINDINGS, metavar="FINDING")
    parser.add_argument("--mini", action="store_true")
    parser.add_argument("--count", type=int, default=20)
    options = parser.parse_args()
    judge = judged_by_text if options.mini else judged_by_outputs
    for finding in options.findings:
        torch.manual_seed(0)
        judge(finding, options.count).print(finding)


if __name__ == "__main__":
    main()
