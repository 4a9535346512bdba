"""captum's methods as rows of the table: what captum does well is not written again. Imported only when one is used.

captum hangs hooks, rules and attributes on the modules that it explains, and draws from torch's global generator. It gets
a copy of the network here, and the generator is put back.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from importlib import import_module
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from ecgcam.attribution.hooks import frozen, output_shapes
from ecgcam.attribution.problem import Problem
from ecgcam.errors import EcgcamError

_LINEAR = (nn.Conv1d, nn.Linear, nn.BatchNorm1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d, nn.Flatten, nn.Identity)
_PASSES = (nn.Dropout, nn.Sequential)
_RESCALED = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.MaxPool1d)
_RELEVANT = (nn.ReLU, nn.Tanh, nn.MaxPool1d)
_INSTEAD = "choose another method, such as integrated-gradients"


def deep_lift(problem: Problem) -> Tensor:
    """(x - fill) m, m the multipliers of the rescale rule along the network: Shrikumar et al. 2017, section 3.5.1; by captum.

    A cosine is linear here too: m begins at `_multipliers`, so that the values sum to score(x) - score(fill) up to rounding
    and to what is not linear outside of modules, where captum takes the gradient. How far the sum is off is in the report.
    """
    captum = _captum("deep-lift")
    _need_modules(problem, "deep-lift", "DeepLIFT", (*_LINEAR, *_PASSES, *_RESCALED))
    network = _copied(problem.model.network)
    with torch.no_grad():
        x, fill = network(torch.stack([problem.x, problem.fill]))
    score = _scored(network, _multipliers(problem, x, fill))
    with _quiet("deep-lift"):
        values: Tensor = captum.DeepLift(score).attribute(_leaf(problem.x), problem.fill[None], target=0)
    return _complete(problem, values[0].detach(), 1.0)


def lrp(problem: Problem, epsilon: float = 1e-6) -> Tensor:
    """R_i = sum_j a_i w_ij R_j / (z_j + epsilon sign z_j) from R = score(x): Bach et al. 2015, equation 58; by captum.

    The score is e . t / |e| with |e| held constant. Biases and epsilon keep what they take, so the values do not sum to the
    score; how much is kept is in the report. captum knows modules only, so sums and means over time, which networks write as
    operations, become modules first.
    """
    captum = _captum("lrp")
    _need_modules(problem, "lrp", "LRP", (*_LINEAR, *_PASSES, *_RELEVANT))
    network = _in_modules(problem)
    with torch.no_grad():
        embedding = network(problem.x[None])[0]
    score = _scored(network, problem.text / (embedding.norm() if problem.model.spec.similarity == "cosine" else 1.0))
    rule = import_module("captum.attr._utils.lrp_rules").EpsilonRule
    for module in score.modules():
        if not any(module.children()) and not isinstance(module, (nn.ReLU, nn.Tanh, nn.Dropout)):
            module.rule = rule(epsilon)
    with _quiet("lrp"):
        values: Tensor = captum.LRP(score).attribute(_leaf(problem.x), target=0)[0].detach()
    problem.report["kept_by_biases"] = float(problem.scores(problem.x[None])[0] - values.sum())
    return values


def kernel_shap(problem: Problem, tile_ms: float = 500.0, samples: int = 2048) -> Tensor:
    """Shapley values of lead x time tiles by regression on random sets of tiles: Lundberg and Lee 2017, theorem 2; by captum.

    A tile outside of a set is filled. The sets are drawn with the Shapley kernel; the full and the empty set weigh a million.

    Returns
    -------
    Tensor, (L, T)
        Score per second: a tile's value spread evenly over its valid samples, so that their sum / fs is the value.
    """
    captum = _captum("kernel-shap")
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


class _TimeMean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=-1)


def _over_tiles(
    problem: Problem, method: str, explainer: Callable[[Callable[[Tensor], Tensor]], Any], tile_ms: float, samples: int
) -> Tensor:
    """Run an explainer of captum's over tiles and lay their values on samples (L, T), per second."""
    tile, tiles = _tiles(problem, tile_ms)
    if not 2 <= tiles < samples - 1:
        raise EcgcamError(
            f"--method {method}: {tiles} tiles of {tile_ms:g} ms and {samples} samples; there must be two tiles at least, and "
            "fewer than samples: change --set tile_ms=... or samples=..."
        )
    number = count()

    def score(signals: Tensor) -> Tensor:
        # The sets are the same for every prompt, in the same order.
        begun = next(number)
        problem.told(min(begun * problem.batch, samples), samples)
        return problem.remember(f"{method} {begun}", lambda: problem.model.encode_signal(signals)) @ problem.text

    player = tile >= 0
    fixed = torch.where(player, problem.fill, problem.x)
    with frozen(problem.model.network), torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(problem.seed)
        values: Tensor = explainer(score).attribute(
            problem.x[None],
            baselines=fixed[None],
            feature_mask=tile.clamp(min=0)[None],
            n_samples=samples,
            perturbations_per_eval=problem.batch,
            return_input_shape=False,
        )[0]
    problem.report["tiles"] = tiles
    length = torch.bincount(tile[player], minlength=tiles)
    laid: Tensor = (values.to(problem.x) * problem.fs / length)[tile.clamp(min=0)] * player
    return laid


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


def _need_modules(problem: Problem, method: str, title: str, known: tuple[type[nn.Module], ...]) -> None:
    """Refuse a network in which a module runs that captum has no rule for, rather than let captum pass it over."""
    network = problem.model.network
    ran = output_shapes(network, [path for path, _ in network.named_modules() if path], problem.x[None])
    strange: dict[str, str] = {}
    for path in ran:
        module = network.get_submodule(path)
        leaf = not any(module.children()) or any(True for _ in module.parameters(recurse=False))
        if leaf and type(module) not in known:
            strange.setdefault(type(module).__name__, path)
    if strange:
        listed = ", ".join(f"{kind} ({path})" for kind, path in strange.items())
        raise EcgcamError(
            f"--method {method}: captum's {title} has no rule for what {problem.model.name} holds: {listed}; {_INSTEAD}"
        )


def _in_modules(problem: Problem) -> fx.GraphModule:
    """Return a copy of the network whose sums, and means over time, are modules."""
    refused = f"--method lrp: {problem.model.name} cannot be written as modules, as captum's LRP needs it"
    adds = import_module("captum.attr._utils.custom_modules").Addition_Module
    try:
        network = fx.symbolic_trace(_copied(problem.model.network))
    except (fx.proxy.TraceError, RuntimeError, TypeError) as error:
        raise EcgcamError(f"{refused} ({_one_line(error)}); {_INSTEAD}") from error
    for node in list(network.graph.nodes):
        if node.op in {"placeholder", "call_module", "output"}:
            continue
        inputs = tuple(value for value in node.args if isinstance(value, fx.Node))
        if node.target in {operator.add, torch.add} and len(inputs) == 2 and not node.kwargs:
            module = adds()
        elif node.target in {"mean", torch.mean} and _along_time(node):
            module = _TimeMean()
        else:
            raise EcgcamError(f"{refused} (it computes {getattr(node.target, '__name__', node.target)}); {_INSTEAD}")
        network.add_submodule(f"operation_{node.name}", module)
        with network.graph.inserting_before(node):
            node.replace_all_uses_with(network.graph.call_module(f"operation_{node.name}", inputs))
        network.graph.erase_node(node)
    network.recompile()
    return network


def _along_time(node: fx.Node) -> bool:
    return (node.args[1:], node.kwargs) in [((), {"dim": -1}), ((-1,), {}), ((), {"dim": (-1,)})]


def _copied(network: nn.Module) -> nn.Module:
    return deepcopy(network).eval().requires_grad_(False)


def _scored(network: nn.Module, weight: Tensor) -> nn.Sequential:
    """Signals (B, L, T) to embeddings times `weight` (D,), (B, 1)."""
    score = nn.Linear(len(weight), 1, bias=False, device="meta")  # its own start would draw from torch's generator
    score.weight = nn.Parameter(weight[None], requires_grad=False)
    return nn.Sequential(network, score).eval()


def _multipliers(problem: Problem, e: Tensor, f: Tensor) -> Tensor:
    """Return m (D,) with (e - f) . m = t . e / |e| - t . f / |f|; t where the score is no cosine.

    The rescale rule for square, root and reciprocal; of a product's change each factor gets its own, at the other's mean.
    """
    if problem.model.spec.similarity != "cosine":
        return problem.text
    t, both = problem.text, e + f
    long, short = torch.linalg.vector_norm(e), torch.linalg.vector_norm(f)
    begin: Tensor = t * (1 / long + 1 / short) / 2 - both * (t @ both) / (2 * long * short * (long + short))
    return begin


def _complete(problem: Problem, values: Tensor, per: float) -> Tensor:
    """Report how far the sum of values / `per` is from score(x) - score(fill)."""
    whole, empty = problem.scores(torch.stack([problem.x, problem.fill]))
    problem.report["completeness_error"] = float(values.sum() / per - (whole - empty))
    return values


def _leaf(x: Tensor) -> Tensor:
    return x[None].clone().requires_grad_()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


@contextmanager
def _quiet(method: str) -> Iterator[None]:
    """Keep captum's remarks on its own hooks to itself, and its errors (of a module that runs twice, for one) to a line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            yield
        except RuntimeError as error:
            raise EcgcamError(f"--method {method}: captum says: {_one_line(error)}; {_INSTEAD}") from error


def _captum(method: str) -> Any:
    try:
        import_module("sklearn.linear_model")
        return import_module("captum.attr")
    except ImportError as error:
        raise EcgcamError(
            f"--method {method}: needs captum, which is not installed ({error}); pip install 'ecgcam[captum]'"
        ) from error
