"""Layer-wise relevance propagation (LRP), for any network that torch runs: convolutions and transformers alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, autograd

from ecgcam.attribution.problem import Problem
from ecgcam.attribution.rules import (
    ELEMENTWISE,
    PRODUCTS,
    QUOTIENTS,
    RECURRENT,
    FunctionRule,
    depends,
    gradient_back,
    times,
)
from ecgcam.attribution.taps import grad
from ecgcam.attribution.written_out import ATTENTION, HOLDING_SCALES, OTHERS, has_statistics
from ecgcam.errors import EcgcamError

_INSTEAD = "choose another method, such as integrated-gradients"


def lrp(problem: Problem, epsilon: float = 1e-6) -> Tensor:
    """R_i = sum_j a_i w_ij R_j / (z_j + epsilon sign z_j) from R = score(x): Bach et al. 2015, equation 58.

    For transformers with the rules of Achtibat et al. 2024 (AttnLRP, arXiv:2402.05602), see `RelevanceRule`. The score is
    e . t / |e| with |e| held constant. Biases, epsilon and the softmax keep what they take; how much is in the report. A part
    that is not accounted for passed a function without a rule, and draws a warning.

    Returns
    -------
    Tensor, (L, T)
        Relevance of each sample, in units of the score.

    Raises
    ------
    EcgcamError
        If the network has a recurrent layer, is TorchScript, or lets no gradient through.
    """
    model, rule = problem.model, RelevanceRule(epsilon)
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.network.modules()):
        raise EcgcamError(f"`method` lrp: {model.name} has TorchScript, whose functions are not visible; {_INSTEAD}")
    leaf = problem.x[None].clone().requires_grad_()
    with model.asking(problem.text), torch.enable_grad():
        with rule:
            embedding = model.embed(leaf.clone())[0]
            length = embedding.detach().norm() if model.spec.similarity == "cosine" else 1.0
            score = embedding @ (problem.text / length)
        if not score.requires_grad:
            raise EcgcamError(
                f"{model.name}: turns gradients off (torch.no_grad) before the embedding; use `method` occlusion"
            )
        (slope,) = grad(score, leaf, model)
    values = problem.x * slope[0]
    _report(problem, values, float(score.detach()), rule)
    return values


def _report(problem: Problem, values: Tensor, score: float, rule: RelevanceRule) -> None:
    total, mass = float(values.double().sum()), float(values.double().abs().sum())
    missing = score - total - rule.kept_by_biases - rule.kept_by_softmax
    # Sums of terms that nearly cancel hold seven digits of the largest.
    if abs(missing) > 0.05 * max(abs(score), 0.01 * mass, 1e-4 * rule.largest):
        problem.warnings.append(
            f"{missing:.3g} of the score ({score:.3g}) passed functions that have no rule for relevance; the map leaves it out"
        )
    problem.report.update(
        sum=total, kept_by_biases=rule.kept_by_biases, kept_by_softmax=rule.kept_by_softmax, unaccounted=missing
    )


# Weighted sums: R is shared out in proportion to the terms, with epsilon.
_SUMS = frozenset({
    "add", "sub", "subtract", "rsub", "__add__", "__radd__", "__iadd__", "__sub__", "__rsub__", "__isub__", "mean", "sum",
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "linear",
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "batch_norm", "matmul", "__matmul__", "__rmatmul__",
    "bmm", "mm", "mv", "dot", "einsum",
})  # fmt: skip
# Linearised at the signal; what the offset of that line holds is kept.
_TAYLOR = frozenset({"softmax", "softmin", "log_softmax", "logsumexp", "logaddexp", "log", "log2", "log10"})
_WRITTEN_OUT: dict[str, Callable[..., Any]] = {**HOLDING_SCALES, **ATTENTION, **OTHERS}


class RelevanceRule(FunctionRule):
    """LRP as a gradient: what passes back is relevance per unit, R / value, so that x times what arrives is x's relevance.

    Sums (linear layers, convolutions, residual connections, means) follow the epsilon rule. A function of one number passes
    its relevance on, except for its value at 0, which counts as a bias: m_in = (f(x) - f(0)) / x m_out. In a product of two
    tensors that both depend on the signal each gets half, in a quotient the numerator all. Normalisations hold their scale
    constant; their mean is part of the sum. Softmax is linearised: R_i = x_i (R_i - s_i sum_j R_j). Maxima pass all to the
    largest. Achtibat et al. 2024, sections 3.2 and 3.3; Bach et al. 2015, equation 58.

    Attributes
    ----------
    kept_by_biases, kept_by_softmax : float
        Relevance that biases, class tokens, positions and epsilon hold; and the offsets of linearised functions.
    largest : float
        The largest part of relevance that passed a function, for how exact the others are.
    """

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.kept_by_biases = self.kept_by_softmax = self.largest = 0.0

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Write composite functions out, so that their parts have rules."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in {"cat", "concat", "concatenate", "stack", "hstack"}:
            return self._joined(func(*args, **kwargs), func, args, kwargs)
        some = any(depends(value) for value in (*args, *kwargs.values()))
        if name in _WRITTEN_OUT and some and not has_statistics(name, args, kwargs):
            with self:
                return _WRITTEN_OUT[name](*args, **kwargs)
        return super().__torch_function__(func, types, args, kwargs)

    def has_rule(self, name: str, changing: list[Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:  # noqa: ARG002
        """Return whether a call is anything but a rearrangement or a multiple of its input."""
        if name in RECURRENT or name.endswith("_cell"):
            raise EcgcamError(
                f"`method` lrp: has no rule for a recurrent layer, and this network runs {name}; {_INSTEAD}"
            )
        if name in QUOTIENTS:
            return len(changing) > 1 or not depends(args[0])
        if name in _SUMS:
            return True
        return len(changing) > 1 if name in PRODUCTS else name in ELEMENTWISE or name in _TAYLOR

    def apply_rule(self, name: str, function: Callable[..., Any], tensors: list[Tensor]) -> Any:
        """Return what the call gives, with the rule for relevance in its graph."""
        kind = "sum"
        if name in QUOTIENTS:
            if len(tensors) == 1:
                return function(tensors[0].detach())
            return function(tensors[0], tensors[1].detach())
        if name in PRODUCTS and len(tensors) > 1:
            kind = "product"
        elif name in _TAYLOR or (name in ELEMENTWISE and len(tensors) > 1):
            kind = "taylor"
        elif name in ELEMENTWISE:
            kind = "each"
            with torch.no_grad():
                if not function(torch.zeros_like(tensors[0])).isfinite().all():
                    return function(tensors[0].detach())  # a reciprocal: the scale of a normalisation
        return _Relevance.apply(self, kind, function, *tensors)  # type: ignore[no-untyped-call]

    def account(self, kind: str, kept: float, largest: float) -> None:
        """Add what a function kept of the relevance that came to it."""
        self.largest = max(self.largest, largest)
        if kind == "taylor":
            self.kept_by_softmax += kept
        else:
            self.kept_by_biases += kept

    def _joined(
        self, result: Tensor, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor:
        """Account for the relevance of what joins a tensor and does not depend on the signal: class tokens."""
        parts = args[0] if args else kwargs["tensors"]
        if result.requires_grad and not all(depends(part) for part in parts):
            constant = [torch.full_like(part.detach(), not depends(part), dtype=torch.bool) for part in parts]
            where = func(constant, *args[1:], **{key: value for key, value in kwargs.items() if key != "tensors"})
            values = result.detach()

            def account(G: Tensor) -> None:
                self.account("sum", float((G * values).double()[where].sum()), 0.0)

            result.register_hook(account)  # type: ignore[no-untyped-call]
        return result


class _Relevance(autograd.Function):
    """A function's values; backward, relevance per unit."""

    @staticmethod
    def forward(ctx: Any, rule: RelevanceRule, kind: str, function: Callable[..., Any], *tensors: Tensor) -> Tensor:
        ctx.rule, ctx.kind, ctx.function = rule, kind, function
        ctx.tensors = [tensor.detach().clone() for tensor in tensors]  # the network may change them in place
        result: Tensor = function(*tensors).clone()
        ctx.result = result.detach().clone()
        return result

    @staticmethod
    def backward(ctx: Any, G: Tensor) -> tuple[Any, ...]:
        x, y, kind = ctx.tensors, ctx.result, ctx.kind
        arrived = G
        if kind in {"sum", "product"}:
            G = G * torch.where(y.isfinite(), y.abs() / (y.abs() + ctx.rule.epsilon), 1.0)
        passed = gradient_back(ctx.function, x, [G])
        if kind == "product":
            passed = [part / 2 for part in passed]
        elif kind == "each":
            change = y - ctx.function(torch.zeros_like(x[0]))
            still = x[0].abs() < 1e-12
            passed = [torch.where(still, passed[0], times(G, change) / torch.where(still, 1.0, x[0].conj()))]
        came = _mass(arrived, y)
        ctx.rule.account(kind, came - sum(_mass(*pair) for pair in zip(passed, x, strict=True)), abs(came))
        return (None, None, None, *passed)


def _mass(G: Tensor, values: Tensor) -> float:
    """Return the sum of relevance, G times the values; where a value is infinite (a mask), there is none."""
    wide = torch.promote_types(values.dtype, torch.float64)
    return float(times(G.to(wide), torch.where(values.isfinite(), values, 0.0).to(wide)).sum())
