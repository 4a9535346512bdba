"""Functions of torch that hold others inside, written out operation by operation: what a rule or a reader of attention sees."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

# torch's own text, run with its calls visible: at its entrance it would hand itself to the mode that runs it.
multi_head_attention = FunctionType(
    F.multi_head_attention_forward.__code__,
    {**F.multi_head_attention_forward.__globals__, "has_torch_function": lambda _tensors: False},
    "multi_head_attention",
    F.multi_head_attention_forward.__defaults__,
)


def dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,  # noqa: ARG001 - 0 in evaluation mode
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return softmax(q k' scale + mask) v, as `scaled_dot_product_attention` does."""
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    logits = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        later = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).triu(1)
        logits = logits.masked_fill(later, -math.inf)
    if attn_mask is not None:
        logits = logits.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else logits + attn_mask
    mixed: Tensor = torch.softmax(logits, dim=-1) @ value
    return mixed


def _layer_norm(
    input: Tensor,  # noqa: A002 - torch's name, here and below
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,  # noqa: ARG001
) -> Tensor:
    normed = _centred(input, tuple(range(-len(normalized_shape), 0)), eps)
    normed = normed if weight is None else normed * weight
    return normed if bias is None else normed + bias


def _rms_norm(
    input: Tensor,  # noqa: A002
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    dims = tuple(range(-len(normalized_shape), 0))
    normed = input * (input.detach().square().mean(dims, keepdim=True) + eps).rsqrt()
    return normed if weight is None else normed * weight


def _group_norm(
    input: Tensor,  # noqa: A002
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,  # noqa: ARG001
) -> Tensor:
    groups = input.reshape(len(input), num_groups, -1)
    return _scaled(_centred(groups, (-1,), eps).reshape(input.shape), weight, bias)


def _instance_norm(
    input: Tensor,  # noqa: A002
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,  # noqa: ARG001
    eps: float = 1e-5,
    cudnn_enabled: bool = True,  # noqa: ARG001
) -> Tensor:
    if not use_input_stats and running_mean is not None and running_var is not None:
        shape = (-1, *(1,) * (input.ndim - 2))
        normed = (input - running_mean.reshape(shape)) * (running_var.reshape(shape) + eps).rsqrt()
    else:
        normed = _centred(input, tuple(range(2, input.ndim)), eps)
    return _scaled(normed, weight, bias)


def _batch_norm(
    input: Tensor,  # noqa: A002
    running_mean: Tensor | None,  # noqa: ARG001
    running_var: Tensor | None,  # noqa: ARG001
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,  # noqa: ARG001 - this is the form with the batch's own statistics
    momentum: float = 0.1,  # noqa: ARG001
    eps: float = 1e-5,
    cudnn_enabled: bool = True,  # noqa: ARG001
) -> Tensor:
    return _scaled(_centred(input, (0, *range(2, input.ndim)), eps), weight, bias)


def has_statistics(function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether a call is a batch normalisation by kept statistics, which is linear."""
    training = kwargs.get("training", args[5] if len(args) > 5 else False)
    kept = kwargs.get("running_mean", args[1] if len(args) > 1 else None)
    return function == "batch_norm" and not training and kept is not None


def _normalize(
    input: Tensor,  # noqa: A002
    p: float = 2.0,
    dim: int = 1,
    eps: float = 1e-12,
    out: None = None,  # noqa: ARG001
) -> Tensor:
    scaled: Tensor = input / input.detach().norm(p, dim, keepdim=True).clamp_min(eps)
    return scaled


def _cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    lengths = x1.detach().norm(2, dim).clamp_min(eps) * x2.detach().norm(2, dim).clamp_min(eps)
    product: Tensor = (x1 * x2).sum(dim) / lengths
    return product


def _glu(input: Tensor, dim: int = -1) -> Tensor:  # noqa: A002
    value, gate = input.chunk(2, dim)
    gated: Tensor = value * gate.sigmoid()
    return gated


def _added_product(input: Tensor, first: Tensor, second: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:  # noqa: A002
    return input * beta + first @ second * alpha


def _centred(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    """Return (x - mean) / sqrt(variance + eps), the root held constant."""
    held = (x.detach().var(dims, unbiased=False, keepdim=True) + eps).rsqrt()
    return (x - x.mean(dims, keepdim=True)) * held


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Return x weight + bias, one of each for every channel (axis 1)."""
    shape = (-1, *(1,) * (x.ndim - 2))
    x = x if weight is None else x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


# Of a normalisation, its scale is a constant.
HOLDING_SCALES: dict[str, Callable[..., Tensor]] = {
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "batch_norm": _batch_norm,
    "normalize": _normalize,
    "cosine_similarity": _cosine_similarity,
}
ATTENTION: dict[str, Callable[..., Any]] = {
    "scaled_dot_product_attention": dot_product_attention,
    "multi_head_attention_forward": multi_head_attention,
}
OTHERS: dict[str, Callable[..., Tensor]] = {"glu": _glu, "addmm": _added_product, "baddbmm": _added_product}
