"""A network with its statistics held constant: what is left of a gradient shows which samples reach a cell directly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

from ecgcam.attribution.written_out import ATTENTION


class StatisticsHeld(TorchFunctionMode):
    """Within it, means, deviations and normalisations are constants, so that no sample moves a far cell through them.

    So are sums over an axis as long as the window, what is pooled to one number, and, with `attention`, what attention gives:
    a token then comes from where the residual connections around it lead.

    Values are the same. The output of a normalisation or an activation gets the gradient of its input, a maximum's that of a
    mean: the gradient then shows which samples can move a cell, not which of them do in this signal.
    """

    _CONSTANT = frozenset({"mean", "std", "var", "std_mean", "var_mean", "norm", "vector_norm", "median", "quantile"})
    _NORMALISATIONS = frozenset({"group_norm", "instance_norm", "layer_norm", "rms_norm", "batch_norm"})
    _ACTIVATIONS = frozenset({
        "celu", "elu", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "logsigmoid", "mish", "prelu",
        "relu", "relu6", "rrelu", "selu", "sigmoid", "silu", "softplus", "softsign", "tanh", "threshold",
    })  # fmt: skip

    def __init__(self, samples: int, attention: bool = False) -> None:
        super().__init__()
        self.samples, self.constant = samples, self._CONSTANT | frozenset(ATTENTION if attention else ())
        self.attention, self.weights = attention, list[Tensor]()  # those of attention that is written out

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Detach statistics, and let gradients pass normalisations and activations; leave the rest alone."""
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in self._POOLS:
            return self._pooled(func, self._POOLS[name], args, kwargs)
        if self.attention and self._weighs(name, args):
            with torch.no_grad() if name in self._PRODUCTS else nullcontext():
                result = func(*args, **kwargs)
            if name not in self._PRODUCTS:
                self.weights.append(result)
            return result
        if name in self.constant or (name in {"sum", "nansum"} and self._over_window(args, kwargs)):
            with torch.no_grad():
                return func(*args, **kwargs)
        if name in self._TO_ONE:
            pooled = func(*args, **kwargs)
            return pooled.detach() if isinstance(pooled, Tensor) and pooled.shape[-1] == 1 else pooled
        activation = name.rstrip("_") in self._ACTIVATIONS
        if not activation and name not in self._NORMALISATIONS:
            return func(*args, **kwargs)
        x = args[0] if args else kwargs.pop("input")
        with torch.no_grad():
            held = func(x.detach().clone(), *args[1:], **kwargs)
        in_place = activation and (
            name.endswith("_") or kwargs.get("inplace", False) or any(value is True for value in args[1:])
        )
        passed = held + (x - x.detach())
        return x.copy_(passed) if in_place else passed

    def _over_window(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether a sum is over an axis as long as the window."""
        x, second = args[0] if args else kwargs["input"], args[1] if len(args) > 1 else None
        dim = kwargs.get("dim", kwargs.get("axis", second))
        axes = range(x.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
        return any(x.shape[axis] == self.samples for axis in axes)

    def _weighs(self, name: str, args: tuple[Any, ...]) -> bool:
        """Whether a call makes attention's weights, passes them on, or multiplies by them."""
        passes = name in self._PRODUCTS or name in self._PASSES
        return name == "softmax" or (passes and any(one is other for one in args for other in self.weights))

    _PRODUCTS = frozenset({"matmul", "__matmul__", "bmm", "einsum"})
    _PASSES = frozenset({"dropout", "to", "type_as", "view", "reshape", "flatten", "unflatten", "contiguous"})
    _TO_ONE = frozenset({"adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d"})
    _POOLS = {"max_pool1d": F.avg_pool1d, "max_pool2d": F.avg_pool2d}  # noqa: RUF012 - a constant

    @staticmethod
    def _pooled(
        func: Callable[..., Any], mean: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        names = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
        given = dict(zip(names, args, strict=False)) | kwargs
        result = func(*args, **kwargs)
        if given.get("dilation", 1) not in {1, (1,), (1, 1)} or given.get("return_indices"):
            return result
        how = {
            key: given[key] for key in ("kernel_size", "stride", "padding", "ceil_mode") if given.get(key) is not None
        }
        soft = mean(given["input"], **how)
        return result.detach() + (soft - soft.detach())
