"""Rules that change how a gradient passes non-linear functions. The network itself is never touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, autograd
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

from ecgcam.errors import EcgcamError

# Non-linear functions other than relu, by their names in torch: the rules for relu do not cover them.
_OTHER_NONLINEAR = frozenset({
    "celu", "elu", "erf", "gelu", "glu", "gru", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu",
    "logsigmoid", "lstm", "mish", "prelu", "relu6", "rnn_relu", "rnn_tanh", "rrelu", "selu", "sigmoid", "silu", "softplus",
    "softshrink", "softsign", "tanh", "tanhshrink", "threshold",
})  # fmt: skip


class ReluRule(TorchFunctionMode):
    """Within it, no relu lets a negative gradient through; it goes when the block ends, however that ends.

    It stands between the network and torch's functions, so that modules, functions and their in-place forms are one case,
    the network is never touched, and nothing that it does not run is looked at.

    Parameters
    ----------
    method : str
        For the error.
    masked : bool
        Whether the gradient is also stopped where the relu's input was negative, as relu's own is: guided backpropagation.
        Otherwise it is let through there: deconvolution.
    """

    def __init__(self, method: str, masked: bool) -> None:
        super().__init__()
        self.method, self.masked, self.met = method, masked, False

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Replace relu, refuse its relatives, leave the rest alone."""
        kwargs = kwargs or {}
        written = getattr(func, "__name__", "")
        name = written.rstrip("_")
        if name in _OTHER_NONLINEAR:
            raise EcgcamError(
                f"`method` {self.method}: changes how gradients pass relu, and this network also runs {name}, for which it has "
                "no rule; choose another method, such as integrated-gradients or smooth-grad"
            )
        if name != "relu":
            return func(*args, **kwargs)
        self.met = True
        x = args[0] if args else kwargs["input"]
        y = _Rectified.apply(x, self.masked)  # type: ignore[no-untyped-call]
        in_place = written == "relu_" or kwargs.get("inplace", len(args) > 1 and args[1])
        return x.copy_(y) if in_place else y

    def need_relu(self) -> None:
        """Raise `EcgcamError` if no relu has run."""
        if not self.met:
            raise EcgcamError(
                f"`method` {self.method}: changes how gradients pass relu, and this network runs none; choose another method, "
                "such as saliency or integrated-gradients"
            )


class _Rectified(autograd.Function):
    """relu(x); backward relu(G), where `masked` only at x > 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, masked: bool) -> Tensor:
        if masked:
            ctx.save_for_backward(x > 0)
        return x.relu()

    @staticmethod
    def backward(ctx: Any, G: Tensor) -> tuple[Tensor, None]:
        passed = G.relu()
        for positive in ctx.saved_tensors:
            passed = passed * positive
        return passed, None


# Functions of one tensor, number by number.
ELEMENTWISE = frozenset({
    "abs", "absolute", "atan", "celu", "clamp", "clamp_max", "clamp_min", "clip", "cos", "elu", "erf", "exp", "expm1", "gelu",
    "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log", "log1p", "logsigmoid", "mish", "pow", "prelu",
    "reciprocal", "relu", "relu6", "rsqrt", "selu", "sigmoid", "silu", "sin", "softplus", "softshrink", "softsign", "sqrt",
    "square", "tanh", "tanhshrink", "threshold", "rrelu", "__pow__", "__rpow__", "__rtruediv__", "__rdiv__", "float_power",
})  # fmt: skip
_MAXIMA = frozenset({
    "max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "amax", "max",
})  # fmt: skip
# Linear in each of two tensors; where one of them is constant, linear.
PRODUCTS = frozenset({
    "mul", "multiply", "__mul__", "__rmul__", "__imul__", "matmul", "__matmul__", "__rmatmul__", "bmm", "mm", "baddbmm",
    "einsum", "bilinear", "dot", "mv", "outer", "linear", "conv1d", "conv2d",
})  # fmt: skip
QUOTIENTS = frozenset({"div", "divide", "true_divide", "__truediv__", "__div__", "__itruediv__"})
# Everything else that bends: averaged along the way.
_OTHERS = frozenset({
    "softmax", "log_softmax", "layer_norm", "group_norm", "instance_norm", "rms_norm", "batch_norm", "normalize", "norm",
    "vector_norm", "std", "var", "scaled_dot_product_attention", "multi_head_attention_forward", "lstm", "gru", "rnn_tanh",
    "rnn_relu", "glu", "logsumexp", "cosine_similarity", "prod", "cumprod", "maximum", "minimum", "min", "amin", "median",
    "local_response_norm", "lp_pool1d", "lp_pool2d", "where",
})  # fmt: skip
RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})
# Points on the line from the reference to the signal: of a recurrent layer each costs as much as the layer's backward pass.
_POINTS, _POINTS_RECURRENT = 48, 12


class FunctionRule(TorchFunctionMode):
    """Within it, functions of what depends on the signal pass gradients by a rule. The network itself is never touched.

    The mode sees each call of torch, so modules, functions, their in-place forms and shared inputs are one case. A subclass gives
    which functions have a rule (`has_rule`) and what they return (`apply_rule`).
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Replace functions that have a rule, leave the rest alone."""
        kwargs = kwargs or {}
        written = getattr(func, "__name__", "")
        name = written if written.startswith("__") else written.rstrip("_").removeprefix("_")
        changing = [value for value in (*args, *kwargs.values()) if depends(value)]
        if not changing or not self.has_rule(name, changing, args, kwargs):
            return func(*args, **kwargs)
        in_place = written.startswith("__i") or (written.endswith("_") and not written.startswith("__"))
        in_place = in_place or kwargs.get("inplace", False)
        in_place = in_place or (name in ELEMENTWISE and any(value is True for value in args[1:]))
        plain, args, kwargs = _out_of_place(func, name, args, kwargs) if in_place else (func, args, kwargs)

        def function(*tensors: Tensor) -> Any:
            left = list(tensors)
            new = [left.pop(0) if depends(value) else value for value in args]
            return plain(*new, **{key: left.pop(0) if depends(value) else value for key, value in kwargs.items()})

        result = self.apply_rule(name, function, changing)
        if not (in_place and isinstance(result, Tensor)):
            return result
        first = args[0] if args and isinstance(args[0], Tensor) else changing[0]
        return first.copy_(result)

    def has_rule(self, name: str, changing: list[Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Return whether a call has a rule; `changing` are those of its tensors that depend on the signal."""
        raise NotImplementedError

    def apply_rule(self, name: str, function: Callable[..., Any], tensors: list[Tensor]) -> Any:
        """Return what the call gives, with the rule in its graph; `function` takes the changing tensors alone."""
        raise NotImplementedError


class RescaleRule(FunctionRule):
    """DeepLIFT's rescale rule: what passes back through a non-linear function is its multiplier, change over change.

    The reference goes through the network first, within `recording`; then the signal. Every non-linear function that the second
    pass runs looks up what the first had there.

    Elementwise functions pass (f(x) - f(r)) / (x - r); maxima the cross-maximum rule; products of two changing tensors each
    one's change times the mean of the other. What is left (softmax, normalisations, recurrent layers) passes its gradient
    averaged along the straight line from r to x: of one number that is the rescale rule. Sums of changes are kept by all of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.recording = True
        self._inputs: list[list[Tensor]] = []
        self._next = 0

    def has_rule(self, name: str, changing: list[Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Return whether a function bends: whether its change is not a linear one."""
        return self._bends(name, len(changing), args, kwargs)

    def apply_rule(self, name: str, function: Callable[..., Any], tensors: list[Tensor]) -> Any:
        """Record what the reference gives the function; of the signal, put its multiplier in the graph."""
        if self.recording:
            self._inputs.append([tensor.detach().clone() for tensor in tensors])
            return function(*tensors)
        return self._ruled(name, function, tensors)

    @staticmethod
    def _bends(name: str, count: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        if name in PRODUCTS:
            return count > 1
        if name in QUOTIENTS:
            return count > 1 or not depends(args[0])
        if name == "batch_norm":
            return (
                bool(kwargs.get("training", len(args) > 5 and args[5])) or (args[1] if len(args) > 1 else None) is None
            )
        if name == "where":
            return False
        return name in ELEMENTWISE or name in _MAXIMA or name in _OTHERS

    def _ruled(self, name: str, function: Callable[..., Any], tensors: list[Tensor]) -> Any:
        if self._next >= len(self._inputs):
            raise EcgcamError(_OTHER_WAY)
        reference = self._inputs[self._next]
        self._next += 1
        if [tensor.shape for tensor in reference] != [tensor.shape for tensor in tensors]:
            raise EcgcamError(_OTHER_WAY)
        kind = "each" if name in ELEMENTWISE and len(tensors) == 1 else "maximum" if name in _MAXIMA else "way"
        kind = "quotient" if name in QUOTIENTS and len(tensors) == 2 else kind
        points = 1 if name in PRODUCTS else _POINTS_RECURRENT if name in RECURRENT else _POINTS
        with torch.no_grad():
            form = function(*(tensor.detach() for tensor in tensors))
        if isinstance(form, Tensor):
            (only,) = _Multiplied.apply(function, kind, points, reference, *tensors)  # type: ignore[no-untyped-call]
            return only
        parts = _Multiplied.apply(function, kind, points, reference, *tensors)  # type: ignore[no-untyped-call]
        given = iter(parts)
        return type(form)([next(given) if is_float(part) else part for part in form])


_OTHER_WAY = (
    "`method` deep-lift: the network runs other functions for this signal than for its fill; choose another method, such as "
    "integrated-gradients"
)


class _Multiplied(autograd.Function):
    """A function's values; backward its multipliers between a reference and the tensors."""

    @staticmethod
    def forward(
        ctx: Any, function: Callable[..., Any], kind: str, points: int, reference: list[Tensor], *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.function, ctx.kind, ctx.points, ctx.reference = function, kind, points, reference
        ctx.tensors = [tensor.detach().clone() for tensor in tensors]  # the network may change them in place
        outputs = float_parts(function(*tensors))
        ctx.set_materialize_grads(True)
        return tuple(output.clone() for output in outputs)

    @staticmethod
    def backward(ctx: Any, *G: Tensor) -> tuple[Any, ...]:
        function, r, x = ctx.function, ctx.reference, ctx.tensors
        if ctx.kind == "quotient":  # a product with the reciprocal, whose multiplier is -1 / (d0 d1)
            (n0, d0), (n1, d1) = r, x
            above, below = G[0] * (1 / d0 + 1 / d1) / 2, -G[0] * (n0 + n1) / (2 * d0 * d1)
            return None, None, None, None, above.sum_to_size(n1.shape), below.sum_to_size(d1.shape)
        if ctx.kind == "way":
            nodes, weights = np.polynomial.legendre.leggauss(ctx.points)
            passed = [torch.zeros_like(tensor) for tensor in x]
            for node, weight in zip(nodes, weights, strict=True):
                at = [a + float(node + 1) / 2 * (b - a) for a, b in zip(r, x, strict=True)]
                for total, slope in zip(passed, gradient_back(function, at, list(G)), strict=True):
                    total += float(weight) / 2 * slope
            return None, None, None, None, *passed
        (x0,), (x1,) = r, x
        change = x1 - x0
        (slope,) = gradient_back(function, [x1], list(G))
        with torch.no_grad():
            y0, y1 = float_parts(function(x0))[0], float_parts(function(x1))[0]
        if ctx.kind == "each":
            share = times(G[0], y1 - y0)
        else:
            top = torch.maximum(y0, y1)
            share = (
                gradient_back(function, [x1], [G[0] * (top - y0)])[0]
                + gradient_back(function, [x0], [G[0] * (y1 - top)])[0]
            )
        still = change.abs() <= 1e-6 * (x0.abs() + x1.abs()) + 1e-12
        return None, None, None, None, torch.where(still, slope, share / torch.where(still, 1.0, change.conj()))


def gradient_back(function: Callable[..., Any], at: list[Tensor], G: list[Tensor]) -> list[Tensor]:
    """Return the gradient G of a function's outputs, taken back to its tensors."""
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in at]
        outputs = float_parts(function(*leaves))
        reached = [(output, g) for output, g in zip(outputs, G, strict=True) if output.requires_grad]
        given = torch.autograd.grad(
            [output for output, _ in reached],
            leaves,
            [g for _, g in reached],
            allow_unused=True,
            materialize_grads=True,
        )
    return list(given)


def float_parts(result: Any) -> list[Tensor]:
    """Return the tensors of real or complex numbers among what a function gives."""
    return [part for part in ([result] if isinstance(result, Tensor) else result) if is_float(part)]


def is_float(part: object) -> bool:
    """Return whether something is a tensor of real or complex numbers."""
    return isinstance(part, Tensor) and (part.is_floating_point() or part.is_complex())


def times(G: Tensor, values: Tensor) -> Tensor:
    """Return a gradient times values, number by number; of complex numbers, what a step by these values changes."""
    return (G.conj() * values).real if values.is_complex() else G * values


def depends(value: object) -> bool:
    """Return whether a value depends on the signal: the network's own weights require no gradient."""
    return isinstance(value, Tensor) and value.requires_grad


def _out_of_place(
    func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Return a call's form that leaves its input as it is."""
    if getattr(func, "__name__", "").startswith("__i"):
        func = getattr(Tensor, "__" + func.__name__[3:])
    elif func.__name__.endswith("_"):
        func = next(getattr(owner, name) for owner in (Tensor, F, torch) if hasattr(owner, name))
    kwargs = {key: value for key, value in kwargs.items() if key != "inplace"}
    return func, tuple(False if value is True else value for value in args), kwargs
