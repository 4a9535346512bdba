"""captum's Kernel SHAP and LIME as rows of the table. captum is imported only when one of them is used.

captum draws from torch's global generator, which is put back afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ecgcam.attribution.problem import Problem
from ecgcam.attribution.shapley import exact_values
from ecgcam.errors import EcgcamError


def kernel_shap(problem: Problem, tile_ms: float = 500.0, samples: int = 2048) -> Tensor:
    """Shapley values of lead x time tiles by regression on random sets of tiles: Lundberg and Lee 2017, theorem 2; by captum.

    A tile outside of a set is filled. The sets are drawn with the Shapley kernel; the full and the empty set weigh a million.
    Where there are no more sets than `samples`, all are run, and the values are exact.

    Returns
    -------
    Tensor, (L, T)
        Score per second: a tile's value spread evenly over its valid samples, so that their sum / fs is the value.
    """
    captum = _captum("kernel-shap")
    tile, tiles = _tiles(problem, tile_ms)
    if tiles >= 2 and 2**tiles <= samples:
        return _complete(problem, _laid(problem, _all_sets(problem, tile, tiles), tile, tiles), problem.fs)
    return _complete(problem, _over_tiles(problem, "kernel-shap", captum.KernelShap, tile_ms, samples), problem.fs)


def lime(problem: Problem, tile_ms: float = 500.0, samples: int = 2048, alpha: float = 1.0) -> Tensor:
    """Coefficients of a ridge regression of the score on which tiles are there: Ribeiro et al. 2016, section 3; by captum.

    Every tile is there with probability 1/2, or else filled; samples weigh exp(-d^2 / (2 0.25^2)), d the cosine distance of
    their presence vector to all ones. Laid on samples as `kernel_shap`.
    """
    captum = _captum("lime")
    ridge = import_module("captum._utils.models.linear_model").SkLearnRidge

    def near(_x: Tensor, _changed: Tensor, there: Tensor, **_more: object) -> Tensor:
        return torch.exp(-((1 - there.float().mean().sqrt()) ** 2) / (2 * 0.25**2))

    def surrogate(score: Callable[[Tensor], Tensor]) -> Any:
        return captum.Lime(score, interpretable_model=ridge(alpha=alpha), similarity_func=near)

    return _over_tiles(problem, "lime", surrogate, tile_ms, samples)


def _over_tiles(
    problem: Problem, method: str, explainer: Callable[[Callable[[Tensor], Tensor]], Any], tile_ms: float, samples: int
) -> Tensor:
    """Run an explainer of captum's over tiles and lay their values on samples (L, T), per second."""
    tile, tiles = _tiles(problem, tile_ms)
    if not 2 <= tiles < samples - 1:
        raise EcgcamError(
            f"`method` {method}: {tiles} tiles of {tile_ms:g} ms and {samples} samples; there must be two tiles at least, and "
            "fewer than samples: change `options` tile_ms=... or samples=..."
        )
    number = count()

    def score(signals: Tensor) -> Tensor:
        # The sets are the same for every prompt, in the same order.
        begun = next(number)
        problem.on_progress(min(begun * problem.batch, samples), samples)
        return problem.cached(f"{method} {begun}", lambda: problem.model.encode_signal(signals)) @ problem.text

    player = tile >= 0
    fixed = torch.where(player, problem.fill, problem.x)
    with (
        problem.model.asking(problem.text if problem.texts is None else problem.texts),
        torch.no_grad(),
        torch.random.fork_rng(devices=[]),
    ):
        torch.default_generator.manual_seed(problem.seed)
        values: Tensor = explainer(score).attribute(
            problem.x[None],
            baselines=fixed[None],
            feature_mask=tile.clamp(min=0)[None],
            n_samples=samples,
            perturbations_per_eval=problem.batch,
            return_input_shape=False,
        )[0]
    return _laid(problem, values, tile, tiles)


def _laid(problem: Problem, values: Tensor, tile: Tensor, tiles: int) -> Tensor:
    """Spread the values of tiles evenly over their samples (L, T), per second."""
    problem.report["tiles"] = tiles
    player = tile >= 0
    length = torch.bincount(tile[player], minlength=tiles)
    laid: Tensor = (values.to(problem.x) * problem.fs / length)[tile.clamp(min=0)] * player
    return laid


def _all_sets(problem: Problem, tile: Tensor, tiles: int) -> Tensor:
    """Return the Shapley values (tiles,) from the scores of all sets of tiles."""
    bits = torch.from_numpy(np.arange(2**tiles)[:, None] >> np.arange(tiles) & 1).bool().to(tile.device)

    def signals(numbers: Tensor) -> Tensor:
        kept = bits[numbers.to(tile.device)][:, tile.clamp(min=0)] | (tile < 0)
        return torch.where(kept, problem.x, problem.fill)

    score = problem.scores_of("sets of tiles", 2**tiles, signals).cpu().double().numpy()
    return torch.from_numpy(exact_values(score, tiles))


def _tiles(problem: Problem, tile_ms: float) -> tuple[Tensor, int]:
    """Return each sample's tile (L, T), -1 where nothing may change (padding, leads that the record lacks); and their number."""
    leads, length = problem.x.shape
    width = max(1, round(tile_ms * problem.fs / 1000))
    places = torch.arange(length) // width + torch.arange(leads)[:, None] * -(-length // width)
    may = torch.zeros(leads, length, dtype=torch.bool)
    may[problem.rows] = problem.valid[problem.rows].cpu()
    used, numbers = np.unique(places[may].numpy(), return_inverse=True)
    tile = torch.full_like(places, -1)
    tile[may] = torch.from_numpy(numbers)
    return tile.to(problem.x.device), len(used)


def _complete(problem: Problem, values: Tensor, per: float) -> Tensor:
    """Report how far the sum of values / `per` is from score(x) - score(fill)."""
    whole, empty = problem.scores(torch.stack([problem.x, problem.fill]))
    problem.report["completeness_error"] = float(values.sum() / per - (whole - empty))
    return values


def _captum(method: str) -> Any:
    try:
        import_module("sklearn.linear_model")
        return import_module("captum.attr")
    except ImportError as error:
        raise EcgcamError(
            f"`method` {method}: needs captum, which is not installed ({error}); pip install 'ecgcam[captum]'"
        ) from error
