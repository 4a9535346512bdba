"""Does a map depend on the weights, the prompt and the recording? A map compared with other maps. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcam.evidence.faithfulness import ShownMap
from ecgcam.models.text.vocabulary import phrases_of, vocabulary_prompts
from ecgcam.records import Window

Cells = npt.NDArray[np.floating]
# Window, prompts, model and the name of the change to the cells of a map (L, C) before relu, by prompt.
Explain = Callable[[Window, Sequence[str], Any, str], Mapping[str, Cells]]

# Prompts of each kind that a map is compared with.
N_RELATIVES = 3
# Sentences that mean the finding in them. The bundled model was not trained on any of them.
PARAPHRASES = ("ECG showing {}", "findings consistent with {}", "impression: {}")
# Shares of the layers, from the top, whose weights are random.
DEPTHS = (0.25, 0.5, 0.75, 1.0)


@dataclass(eq=False)
class MapRuns:
    """A way to make maps that can be run again on other windows, prompts and weights. Each run is made once, for all prompts.

    Attributes
    ----------
    explain : callable
        Makes the maps.
    as_is : dict
        The cells for the window, prompts and model under test, and for the relatives of the prompts.
    window : Window
        The window under test.
    texts : sequence of str
        The prompts under test.
    model : EcgTextModel
        The model under test.
    relatives : dict
        By prompt and kind: the prompts that its map is compared with, see `relatives_of`.
    randomise : callable
        Depth and number of a draw to a model with random weights.
    score : callable
        Prompt and signals (B, L, T) in mV to the model's scores (B,).
    step : int
        Samples between two columns of the cells.
    n_draws : int
        Models with random weights; correlations are averaged over them.
    seed : int
        Of the noise, and of the order in which the window is shuffled.
    """

    explain: Explain
    as_is: Mapping[str, Cells]
    window: Window
    texts: Sequence[str]
    model: Any
    relatives: Mapping[str, Mapping[str, Sequence[str]]]
    randomise: Callable[[float, int], Any]
    score: Callable[[str, npt.NDArray[np.float32]], npt.NDArray[np.float64]]
    step: int = 1
    n_draws: int = 1
    seed: int = 0
    _known: dict[str, Mapping[str, Cells]] = field(default_factory=dict, init=False)

    def cells_of_signal(
        self, text: str, change: str, signal: Callable[[], npt.NDArray[np.float32]], texts: Sequence[str] | None = None
    ) -> Cells:
        """Return the cells for a changed signal (L, T); `texts`: the prompts that share the change, default all."""
        prompts = self.texts if texts is None else texts
        return self._run(change, lambda: (replace(self.window, signal=signal()), prompts, self.model))[text]

    def cells_of_random_weights(self, text: str, depth: float, draw: int) -> Cells:
        """Return the cells for a model whose top layers are random."""
        change = f"weights {depth} {draw}"
        return self._run(change, lambda: (self.window, self.texts, self.randomise(depth, draw)))[text]

    def _run(self, change: str, arguments: Callable[[], tuple[Window, Sequence[str], Any]]) -> Mapping[str, Cells]:
        if change not in self._known:
            self._known[change] = self.explain(*arguments(), change)
        return self._known[change]


@dataclass(frozen=True, eq=False)
class Reruns:
    """The map of one prompt, and the runs that it is compared with; `shown` is the map as pictures show it."""

    text: str
    runs: MapRuns
    shown: ShownMap

    @cached_property
    def cells(self) -> Cells:
        """The cells of the map under test."""
        return self.runs.as_is[self.text]

    def agreement_with(self, kind: str) -> float:
        """Return the mean rank correlation with the cells of relatives of one kind; NaN where there is none."""
        others = self.runs.relatives[self.text][kind]
        return mean([agreement(self.cells, self.runs.as_is[other]) for other in others])


@dataclass(frozen=True, eq=False)
class RandomWeights:
    """A map, and the maps of models whose top layers, a share `depth` of all, have random weights."""

    reruns: Reruns
    depth: float


def weights_randomised(subject: RandomWeights) -> float:
    """Rank correlation with the cells of models with random weights, mean over draws.

    Adebayo et al.: Sanity checks for saliency maps, NeurIPS 2018, section 3. A good map depends on the weights.
    """
    reruns, runs = subject.reruns, subject.reruns.runs
    draws = range(runs.n_draws)
    others = [runs.cells_of_random_weights(reruns.text, subject.depth, draw) for draw in draws]
    return mean([agreement(reruns.cells, other) for other in others])


def other_prompts(subject: Reruns) -> float:
    """Rank correlation with the cells of three other findings' prompts."""
    return subject.agreement_with("other prompts")


def negation(subject: Reruns) -> float:
    """Rank correlation with the cells of 'no' and the prompt."""
    return subject.agreement_with("negation")


def synonyms(subject: Reruns) -> float:
    """Rank correlation with the cells of three other phrases of the finding."""
    return subject.agreement_with("synonyms")


def paraphrase(subject: Reruns) -> float:
    """Rank correlation with the cells of three sentences around the prompt, such as "ECG showing ..."."""
    return subject.agreement_with("paraphrase")


def noise_agreement(subject: Reruns) -> float:
    """Rank correlation with the cells of the window with 20 µV of white noise."""
    runs = subject.runs
    window = runs.window
    other = runs.cells_of_signal(subject.text, "noise", lambda: noisy(window.signal, window.valid, runs.seed))
    return agreement(subject.cells, other)


def shift(subject: Reruns) -> float:
    """Rank correlation with the cells of the window one cell later, moved back."""
    runs = subject.runs
    later = runs.cells_of_signal(subject.text, "shift", lambda: shifted(runs.window.signal, runs.step))
    return agreement(subject.cells[:, :-1], later[:, 1:])


def coherence(subject: Reruns) -> float:
    """Rank correlation with the cells of the window multiplied by the map.

    Poppi et al.: Revisiting the evaluation of class activation mapping, CVPR workshops 2021, section 3.2 (coherency), by ranks.
    """
    text = subject.text
    other = subject.runs.cells_of_signal(text, f"seen through the map of {text}", subject.shown.seen_through, [text])
    return agreement(subject.cells, other)


def time_shuffled(subject: Reruns) -> float:
    """Score lost when the tenths of a second of the window are in random order."""
    runs, window = subject.runs, subject.runs.window
    mixed = shuffled(window.signal, window.valid, window.fs, runs.seed)
    whole, other = runs.score(subject.text, np.stack([window.signal, mixed]))
    return float(whole - other)


def agreement(one: Cells, other: Cells) -> float:
    """Return Spearman's rank correlation of two maps' cells before relu, (L, C) each, pooled over the leads.

    0 where one of them is constant.
    """
    from scipy.stats import rankdata

    first, second = rankdata(one.ravel()), rankdata(other.ravel())
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def mean(values: Sequence[float]) -> float:
    """Return the mean, NaN of nothing."""
    return float(np.mean(values)) if len(values) else float("nan")


def relatives_of(text: str, known: Callable[[str], bool], seed: int, count: int = N_RELATIVES) -> dict[str, list[str]]:
    """Return the prompts that a prompt's map is compared with, at most `count` of a kind.

    `known` returns whether the model can embed a prompt.
    """
    own = phrases_of(text)
    others = [prompt for prompt in vocabulary_prompts() if prompt not in own and prompt.casefold() != text.casefold()]
    order = np.random.default_rng([seed, 7]).permutation(len(others))
    kinds = {
        "other prompts": [others[i] for i in order],
        "synonyms": [phrase for phrase in own if phrase.casefold() != text.casefold()],
        "negation": [f"no {text}"],
        "paraphrase": [sentence.format(text) for sentence in PARAPHRASES],
    }
    return {kind: [one for one in candidates if known(one)][:count] for kind, candidates in kinds.items()}


def shuffled(
    signal: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_], fs: float, seed: int, seconds: float = 0.1
) -> npt.NDArray[np.float32]:
    """Return the window (L, T) with its tenths of a second in random order, the same in every lead; padding stays in place."""
    real = np.flatnonzero(valid.any(axis=0))
    pieces = np.array_split(real, max(1, round(len(real) / (seconds * fs))))
    order = np.random.default_rng([seed, 5]).permutation(len(pieces))
    moved = signal.copy()
    moved[:, real] = signal[:, np.concatenate([pieces[i] for i in order])]
    return moved


def noisy(
    signal: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_], seed: int, microvolts: float = 20.0
) -> npt.NDArray[np.float32]:
    """Return the window (L, T) with white noise at the level of a quiet recorder; padding stays."""
    noise = np.random.default_rng([seed, 6]).standard_normal(signal.shape) * microvolts / 1000
    return np.where(valid, signal + noise, signal).astype(np.float32)


def shifted(signal: npt.NDArray[np.float32], samples: int) -> npt.NDArray[np.float32]:
    """Return the window (L, T) some samples later; the end moves to the start."""
    return np.roll(signal, samples, axis=1)
