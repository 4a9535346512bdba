"""Gradient methods: maps (L, T) from gradients of the score with respect to the whole, unmasked window.

G = d score / d x in model space. Gradients are given per millivolt; what is multiplied by the signal is in units of the
score, and its sum can be compared with it (`report`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from ecgcam.attribution.cam import grad_cam
from ecgcam.attribution.cells import select_lead, spread_on_samples, sum_leads, to_cells, upsample_to_samples
from ecgcam.attribution.hooks import capture, input_gradient, module_gradients
from ecgcam.attribution.methods import METHODS
from ecgcam.attribution.problem import Problem, no_progress
from ecgcam.attribution.rules import ReluRule
from ecgcam.attribution.taps import output_shapes
from ecgcam.errors import EcgcamError
from ecgcam.protocol.spec import LayerSpec

_CHANNELS_SECOND = (nn.Conv1d, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d)
_BIASED = (*_CHANNELS_SECOND, nn.LayerNorm, nn.Linear)


def saliency(problem: Problem) -> Tensor:
    """|G|, per mV: Simonyan et al. 2014, section 3."""
    return (_gradient(problem) * problem.scale).abs()


def input_x_gradient(problem: Problem) -> Tensor:
    """(x - fill) G: Shrikumar et al. 2016, where the fill is zero."""
    return (problem.x - problem.fill) * _gradient(problem)


def integrated_gradients(problem: Problem, steps: int = 100) -> Tensor:
    """(x - fill) int_0^1 G(fill + a (x - fill)) da: Sundararajan et al. 2017, equation 1, by Gauss-Legendre quadrature.

    The map's sum is score(x) - score(fill), up to the quadrature's error, which is in the report.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    values = _along(problem, lambda numbers: problem.fill.expand(len(numbers), -1, -1), (nodes + 1) / 2, weights / 2)
    ends = problem.scores(torch.stack([problem.x, problem.fill]))
    problem.report_sum(values, ends[0] - ends[1], "a larger `options` steps brings them closer")
    return values


def gradient_shap(problem: Problem, draws: int = 100, noise: float = 0.5) -> Tensor:
    """E[(x - b) G(b + a (x - b))], a uniform in [0, 1], b = fill + noise: expected gradients, Erion et al. 2021.

    Named as in Lundberg's shap. The papers draw b from the training set; here it is the fill with white noise of `noise`
    times each lead's robust spread. a is drawn from each of `draws` equal parts of [0, 1] once, which scatters less. The sum
    is score(x) - E[score(b)], up to the error of the draws, in the report.
    """
    within = [np.random.default_rng([problem.seed, len(problem.x), draw + 1]).random() for draw in range(draws)]

    def start(numbers: Tensor) -> Tensor:
        return torch.stack([problem.fill + _white(problem, noise, draw) for draw in numbers.tolist()])

    values = _along(problem, start, (np.arange(draws) + within) / draws, np.full(draws, 1 / draws))
    begin = problem.scores_of("starts", draws, start)
    problem.report_sum(
        values, problem.scores(problem.x[None])[0] - begin.mean(), "a larger `options` draws brings them closer"
    )
    return values


def smooth_grad(problem: Problem, around: str = "saliency", draws: int = 25, noise: float = 0.5) -> Tensor:
    """E[M(x + n)], n ~ N(0, s_l^2) on the valid samples of lead l, M another method: Smilkov et al. 2017.

    s_l is `noise` times the lead's robust spread; the paper's is a share of max - min, which in an ECG
    is the QRS or the baseline wander.
    """
    return _mean([*_noisy(problem, around, draws, noise)])


def smooth_grad_squared(problem: Problem, around: str = "saliency", draws: int = 25, noise: float = 0.5) -> Tensor:
    """E[M(x + n)^2], n and M as in `smooth_grad`: Hooker et al. 2019."""
    return _mean([M**2 for M in _noisy(problem, around, draws, noise)])


def var_grad(problem: Problem, around: str = "saliency", draws: int = 25, noise: float = 0.5) -> Tensor:
    """Var[M(x + n)], the mean squared deviation, n and M as in `smooth_grad`: Adebayo et al. 2018."""
    maps = [*_noisy(problem, around, draws, noise)]
    mean = _mean(maps)
    return _mean([(M - mean) ** 2 for M in maps])


def guided_backprop(problem: Problem) -> Tensor:
    """G, per mV, with R = relu(R') [z > 0] for the gradient R' that reaches relu(z): Springenberg et al. 2015, figure 1."""
    return _by_rule(problem, "guided-backprop", masked=True)


def deconvolution(problem: Problem) -> Tensor:
    """G, per mV, with R = relu(R') for the gradient R' that reaches relu(z): Zeiler and Fergus 2014, section 2.1."""
    return _by_rule(problem, "deconvolution", masked=False)


def guided_grad_cam(problem: Problem, cam: str = "lead") -> Tensor:
    """Guided backpropagation times relu of Grad-CAM, interpolated to the samples: Selvaraju et al. 2017.

    With ``cam=lead`` each lead is multiplied by the Grad-CAM of the signal that keeps that lead alone, with ``cam=whole`` all
    by that of the whole signal, as in the paper.
    """
    guided = _by_rule(problem, "guided-grad-cam", masked=True)
    _, where = problem.model.layer(problem.layer)
    signals, rows = problem.x[None], list(range(len(guided)))
    if cam == "lead":
        rows = problem.rows
        signals = problem.fill.repeat(len(rows), 1, 1)
        signals[torch.arange(len(rows)), rows] = problem.x[rows]
    parts = torch.split(signals, problem.batch)
    cells = torch.cat(
        [capture(problem.model, part, problem.text[None], problem.layer, grad_cam).reduced[0] for part in parts]
    )
    cells = select_lead(cells.relu().expand(len(rows), -1), where, rows)
    laid = upsample_to_samples(cells.cpu().numpy(), where, guided.shape[1])
    values = torch.zeros_like(guided)
    values[rows] = guided[rows] * torch.from_numpy(laid).to(guided)
    return values


def full_grad(problem: Problem, length: str = "held", post: str = "sum") -> Tensor:
    """Input part x G plus the part b d score / d b of every bias: Srinivas and Fleuret 2019; they sum to the score.

    That the sum is the score needs a network that is piecewise linear: of a cosine, the embedding's length is ``held`` for a
    constant; ``free``, the parts cancel to zero. ``post=abs`` takes magnitudes of x G and of each channel's cells first, as
    the paper's maps do; their rescaling of each layer to [0, 1] is left out. Where biases are laid: `_biases`.
    """
    slope, heard = module_gradients(problem.model, problem.x[None], problem.text, _BIASED, length == "held")
    absolute, products = post == "abs", [(module, _bias_product(module, G)) for module, G in heard]
    inputs = problem.x.double() * slope[0].double()
    placed, loose = _biases(problem, products, absolute)
    score = float(problem.scores(problem.x[None]))
    whole, bias = float(inputs.sum()), float(sum(product.sum() for _, product in products))
    problem.report.update(
        input=whole, bias=bias, score=score, completeness_error=abs(whole + bias - score), bias_without_place=loose
    )
    valid = torch.zeros_like(problem.valid)
    valid[problem.rows] = problem.valid[problem.rows]
    shared = placed / valid.sum(dim=0).clamp(min=1) + loose / valid.sum().clamp(min=1)
    return ((inputs.abs() if absolute else inputs) + shared * valid).to(problem.x)


def _gradient(problem: Problem) -> Tensor:
    return problem.gradients(problem.x[None])[1][0]


def _by_rule(problem: Problem, method: str, masked: bool) -> Tensor:
    with ReluRule(method, masked) as rule:
        G = _gradient(problem)
    rule.need_relu()
    return G * problem.scale


def _along(problem: Problem, start: Callable[[Tensor], Tensor], share: np.ndarray, weights: np.ndarray) -> Tensor:
    """sum_m w_m (x - b_m) G(b_m + a_m (x - b_m)), b = `start` of numbers (m,), a = `share` and w = `weights` (M,).

    The signals on the way are the same for every prompt of the window, and go through the model once for all prompts.
    """
    a, w = (torch.from_numpy(values).to(problem.x.device) for values in (share, weights))

    def of(texts: Tensor) -> Tensor:
        total = torch.zeros(len(texts), *problem.x.shape, dtype=torch.float64, device=problem.x.device)
        for numbers in problem.chunks(len(a), problem.backward_batch):
            begin = start(numbers)
            step = problem.x - begin
            weight = w[numbers, None, None] * step
            signals = begin + a[numbers, None, None].to(step) * step
            total += input_gradient(problem.model, signals, texts, partial(_weighed, weight))[2]
        return total

    return problem.per_prompt("along", of).to(problem.x)


def _weighed(weight: Tensor, G: Tensor) -> Tensor:
    return (weight * G).sum(dim=0)


def _noisy(problem: Problem, around: str, draws: int, noise: float) -> Iterator[Tensor]:
    """Run another method of the table, with its default options, on the window with noise, draw by draw."""
    method = METHODS[around].bind({})
    for part in problem.chunks(draws, most=1):
        x = problem.x + _white(problem, noise, int(part))
        yield method(replace(problem, x=x, report={}, warnings=[], shared={}, on_progress=no_progress, texts=None))


def _white(problem: Problem, noise: float, draw: int) -> Tensor:
    """White noise (L, T) of `noise` robust spreads on the valid samples of the record's leads.

    Every lead and draw has its own stream, so that neither chunks nor other leads change it.
    """
    spread, white = problem.spread(), torch.zeros_like(problem.x)
    if noise > 0 and not spread.any():
        raise EcgcamError(
            "`options` noise: it is measured in the leads' median absolute deviations, and all of them are 0; "
            "give noise=0, or choose another method, such as saliency"
        )
    for row in problem.rows:
        drawn = np.random.default_rng([problem.seed, row, draw + 1]).standard_normal(white.shape[1], np.float32)
        white[row] = noise * spread[row] * torch.from_numpy(drawn).to(white)
    return white * problem.valid


def _mean(maps: list[Tensor]) -> Tensor:
    return torch.stack(maps).double().mean(dim=0).to(maps[0])


def _biases(problem: Problem, products: list[tuple[nn.Module, Tensor]], absolute: bool) -> tuple[Tensor, float]:
    """Return the part of the biases at each moment, (T,), and the sum of those that have no moment.

    A module's output that has the layout and the count of cells of a declared layer is placed where that layer's cells are.
    The others (after the pooling, a class token) have no place in time. No bias belongs to a lead.
    """
    places, placed, loose = _places(problem), np.zeros(problem.x.shape[1]), 0.0
    for module, product in products:
        where = _place(module, product, places)
        part = product.abs() if absolute else product
        loose += float(part.sum())
        if where is not None:
            cells = sum_leads(to_cells(part, where).sum(dim=(0, 1)), where)
            placed += spread_on_samples(cells.cpu().numpy(), where, len(placed))
            loose -= float(cells.sum())
    return torch.from_numpy(placed).to(problem.x.device), loose


def _bias_product(module: nn.Module, G: Tensor) -> Tensor:
    """Return b d score / d b at every place where a module adds its bias b, in the shape of its output; float64.

    A batch normalisation adds b - w m / sqrt(v + eps).
    """
    constants = {name: value.detach() for name, value in (*module.named_parameters(), *module.named_buffers())}
    b = constants.get("bias", G.new_zeros(()))
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and "running_mean" in constants:
        b = (
            b
            - constants.get("weight", 1.0) * constants["running_mean"] / (constants["running_var"] + module.eps).sqrt()
        )
    if isinstance(module, _CHANNELS_SECOND) and b.ndim:
        b = b.reshape(-1, *(1,) * (G.ndim - 2))
    return b.double() * G.double()


def _places(problem: Problem) -> dict[tuple[str, int, int], LayerSpec]:
    """Return where cells are, by the layout and size of a layer's output, as far as declared layers agree."""
    layers = problem.model.spec.layers
    with problem.model.frozen():
        shapes = output_shapes(
            problem.model.network, list(layers), problem.x[None], [layer.part for layer in layers.values()]
        )
    places: dict[tuple[str, int, int], LayerSpec] = {}
    unsure = set()
    for path, where in layers.items():
        if len(shapes.get(path, ())) in {3, 4}:
            key = _size(where.layout, shapes[path])
            if places.setdefault(key, where) != where:
                unsure.add(key)
    return {key: where for key, where in places.items() if key not in unsure}


def _place(module: nn.Module, output: Tensor, places: dict[tuple[str, int, int], LayerSpec]) -> LayerSpec | None:
    """Return where the cells of a module's output, for one signal, are; None if no declared layer determines it."""
    one = len(output) == 1
    if output.ndim == 4:
        layouts = ["BCLT"] if isinstance(module, _CHANNELS_SECOND) else ["BLTC"]
    elif output.ndim == 3:
        layouts = (
            ["BCT" if one else "(BL)CT"]
            if isinstance(module, _CHANNELS_SECOND)
            else ["BTC"]
            if one
            else ["(BL)TC", "TBC"]
        )
    else:
        layouts = []
    keys = (_size(layout, tuple(output.shape)) for layout in layouts)
    return next((places[key] for key in keys if key in places), None)


def _size(layout: str, shape: tuple[int, ...]) -> tuple[str, int, int]:
    """Return a layout, the length of its axis of time, and of its axis of leads (of a folded batch: the batch)."""
    axes = layout.replace("(BL)", "L")
    return layout, shape[axes.index("T")], shape[axes.index("L")] if "L" in axes else 0
