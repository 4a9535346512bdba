"""CAM methods: activations A and gradients G of the target layer, both (N, C, K), to cells (N, K) before relu."""

from __future__ import annotations

from torch import Tensor


def grad_cam(A: Tensor, G: Tensor) -> Tensor:
    """sum_c (mean_k G_ck) A_ck: Selvaraju et al. 2017, equations 1 and 2 (before relu)."""
    return (G.mean(dim=-1, keepdim=True) * A).sum(dim=1)


def hires_cam(A: Tensor, G: Tensor) -> Tensor:
    """sum_c G_ck A_ck: Draelos and Carin 2020, equation 5 (before relu)."""
    return (G * A).sum(dim=1)
