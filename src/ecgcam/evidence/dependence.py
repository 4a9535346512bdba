"""A map held against the maps of other weights, other words and other recordings: what should change it, and what should not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ecgcam.evidence import sanity
from ecgcam.explanation import Explanation
from ecgcam.models.base import EcgTextModel
from ecgcam.pipeline import explain_windows
from ecgcam.prompts import phrases_of, vocabulary_prompts
from ecgcam.records import Window
from ecgcam.settings import Settings

# Prompts of other findings, and phrases of the same one, that a map is held against.
OTHERS = 3
# Sentences that mean the finding they name; none of them is one that the bundled model was trained on.
PARAPHRASES = ("ECG showing {}", "findings consistent with {}", "impression: {}")

Maps = dict[str, Explanation]
Score = Callable[[str, npt.NDArray[np.float32]], float]


def maps_of(window: Window, texts: Sequence[str], model: EcgTextModel, settings: Settings) -> Maps:
    """Return a window's explanations by prompt."""
    return {
        explanation.meta["text"]: explanation
        for _, explanation in explain_windows([(None, window)], texts, model, settings)
    }


def cells_of(explanation: Explanation) -> npt.NDArray[np.float32]:
    """Return the cells before relu, or the map itself for methods without cells, (L, C)."""
    return explanation.map_cells if explanation.map_cells.shape[1] else explanation.map


def check_dependence(
    window: Window, found: Maps, model: EcgTextModel, settings: Settings, score: Score, draws: int = 1
) -> dict[str, dict[str, float]]:
    """Return the sanity metrics of each prompt's map: what it is held against changed the weights, the words or the recording.

    Rank correlations of cells, pooled over leads, with the maps of: the same network with random weights (all of them; with
    several draws, the top quarters too); other findings, the negated prompt, other phrases of the finding, sentences around it;
    the recording with noise, and a cell later. And ``time shuffled``: the score lost when tenths of a second change places.

    Parameters
    ----------
    found : dict
        The maps to judge, by prompt.
    score : callable
        Prompt and signal (L, T) in mV to the model's score.
    draws : int
        Of random weights; the mean of their correlations counts.
    """
    texts, seed = list(found), settings.seed
    relatives = {text: relatives_of(text, model, seed) for text in texts}
    asked = list(dict.fromkeys(other for kinds in relatives.values() for others in kinds.values() for other in others))
    maps = maps_of(window, asked, model, settings) if asked else {}
    moved = against_recordings(window, found, model, settings)
    drawn = against_weights(window, found, model, settings, draws)
    mixed = sanity.shuffled(window.signal, window.valid, window.fs, seed)
    result = {}
    for text in texts:
        cells = cells_of(found[text])
        values = {name: float(np.mean(several)) for name, several in drawn[text].items()} | moved[text]
        values["time shuffled"] = found[text].score - score(text, mixed)
        for kind, others in relatives[text].items():
            if others:
                values[kind] = float(np.mean([sanity.agreement(cells, cells_of(maps[other])) for other in others]))
        result[text] = values
    return result


def against_weights(
    window: Window, found: Maps, model: EcgTextModel, settings: Settings, draws: int
) -> dict[str, dict[str, list[float]]]:
    """Return each prompt's agreement with networks whose weights were drawn anew, a value a draw.

    ``weights randomised``: all of them. With several draws also ``weights randomised, top 25 %`` and so on: the cascade.
    """
    depths = sanity.DEPTHS if draws > 1 else sanity.DEPTHS[-1:]
    values: dict[str, dict[str, list[float]]] = {text: {} for text in found}
    for depth in depths:
        name = "weights randomised" + ("" if depth == 1.0 else f", top {depth:.0%}".replace("%", " %"))
        for draw in range(draws):
            twin = sanity.randomised(model, depth, settings.seed + draw)
            maps = maps_of(window, list(found), twin, settings)
            for text, explanation in found.items():
                agreed = sanity.agreement(cells_of(explanation), cells_of(maps[text]))
                values[text].setdefault(name, []).append(agreed)
    return values


def against_recordings(
    window: Window, found: Maps, model: EcgTextModel, settings: Settings
) -> dict[str, dict[str, float]]:
    """Return each prompt's agreement with the maps of the recording with noise, and of it one cell later, moved back."""
    texts = list(found)
    step = max(1, round((found[texts[0]].meta["cell_step_ms"] or 1000 / window.fs) * window.fs / 1000))
    noisy, later = (
        maps_of(replace(window, signal=signal), texts, model, settings)
        for signal in (sanity.noisy(window.signal, window.valid, settings.seed), sanity.shifted(window.signal, step))
    )
    values = {}
    for text, explanation in found.items():
        cells = cells_of(explanation)
        back = 1 if explanation.map_cells.shape[1] else step
        values[text] = {
            "noise": sanity.agreement(cells, cells_of(noisy[text])),
            "shift": sanity.agreement(cells[:, :-back], cells_of(later[text])[:, back:]),
        }
    return values


def relatives_of(text: str, model: EcgTextModel, seed: int, most: int = OTHERS) -> dict[str, list[str]]:
    """Return prompts that a prompt's map is held against, as far as the model can embed them, at most so many a kind."""
    own = phrases_of(text)
    others = [prompt for prompt in vocabulary_prompts() if prompt not in own and prompt.casefold() != text.casefold()]
    drawn = np.random.default_rng([seed, 7]).permutation(len(others))
    kinds = {
        "other prompts": [others[i] for i in drawn],
        "synonyms": [phrase for phrase in own if phrase.casefold() != text.casefold()],
        "negation": [f"no {text}"],
        "paraphrase": [sentence.format(text) for sentence in PARAPHRASES],
    }
    return {kind: [one for one in known if model.text.has(one)][:most] for kind, known in kinds.items()}
