"""CAM methods: activations A and gradients G of the target layer, both (N, C, K), to cells (N, K) before relu.

N signals (leads x records), C channels, K cells; a signal's cells never depend on the others. Everything is summed over c
unless its docstring states another.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

# For larger matrices only the needed pair is computed: all pairs of a layer with thousands of cells would take minutes.
_MANY = 512
# Methods whose cells are zero where the gradients of every channel cancel over the cells.
MEAN_GRADIENTS = ("grad-cam", "dot-grad-cam", "finer-cam", "grad-cam-eigen")


def grad_cam(A: Tensor, G: Tensor) -> Tensor:
    """sum_c (mean_k G_ck) A_ck: Selvaraju et al. 2017, equations 1 and 2 (before relu).

    A mean that is rounding error counts as 0: the gradients of a layer before a softmax over the cells, or before a
    normalisation of each channel over them, cancel.
    """
    return (_means(G)[:, None] @ A)[:, 0]


def hires_cam(A: Tensor, G: Tensor) -> Tensor:
    """sum_c G_ck A_ck: Draelos and Carin 2020, equation 5 (before relu)."""
    return (G * A).sum(dim=1)


def grad_cam_elementwise(A: Tensor, G: Tensor) -> Tensor:
    """sum_c relu(G_ck A_ck): HiResCAM without the terms that lower the score; defined by pytorch-grad-cam, no paper."""
    return (G * A).relu().sum(dim=1)


def grad_cam_plus_plus(A: Tensor, G: Tensor) -> Tensor:
    """sum_c w_c A_ck, w_c = sum_k a_ck relu(G_ck), a_ck = G_ck^2 / (2 G_ck^2 + G_ck^3 sum_j A_cj).

    Chattopadhay et al. 2018, equation 19. There the output is exp(score), whose positive factor scales the whole map; it is
    left out. G_ck^2 cancels, and a_ck = 0 where G_ck = 0. The denominator 2 + G_ck sum_j A_cj is at least 2 where relu(G) and
    A are positive; signed activations can bring it to zero, and there a_ck = 0 too.
    """
    below = 2 + G * A.sum(dim=-1, keepdim=True)
    usable = below.abs() > 1e-6
    alpha = torch.where(usable, 1 / torch.where(usable, below, 1.0), 0.0)
    return ((alpha * G.relu()).sum(dim=-1, keepdim=True) * A).sum(dim=1)


def xgrad_cam(A: Tensor, G: Tensor) -> Tensor:
    """sum_c w_c A_ck, w_c = sum_k G_ck A_ck / sum_k A_ck: Fu et al. 2020.

    With signed activations the divisor can vanish while the numerator does not. A channel whose sum is below a thousandth of
    the sum of its magnitudes gets weight 0: its weight would be rounding error.
    """
    total = A.sum(dim=-1, keepdim=True)
    usable = total.abs() > 1e-3 * A.abs().sum(dim=-1, keepdim=True)
    weights = (G * A).sum(dim=-1, keepdim=True) / torch.where(usable, total, 1.0)
    return (torch.where(usable, weights, 0.0) * A).sum(dim=1)


def layer_cam(A: Tensor, G: Tensor) -> Tensor:
    """sum_c relu(G_ck) A_ck: Jiang et al. 2021."""
    return (G.relu() * A).sum(dim=1)


def eigen_cam(A: Tensor, G: Tensor, centre: bool = False) -> Tensor:
    """A' v, v the first left singular vector of A (C x K): Muhammad and Yeasin 2020. Sign: see `_signed`.

    `centre` first subtracts each channel's mean over the cells, as pytorch-grad-cam does; the paper does not.
    """
    return _signed(_principal(_centred(A) if centre else A), A, G)


def eigen_grad_cam(A: Tensor, G: Tensor, centre: bool = True) -> Tensor:
    """X' v, v the first left singular vector of X = G x A less each channel's mean; defined by pytorch-grad-cam, no paper.

    Sign: see `_signed`.
    """
    return _signed(_principal(_centred(G * A) if centre else G * A), A, G)


def seg_eigen_cam(A: Tensor, G: Tensor, centre: bool = True) -> Tensor:
    """X' v, v the first left singular vector of X = |G| x A less each channel's mean: Chung and Ying 2025.

    Sign: see `_signed`; the paper uses the sign for which the largest magnitude is positive.
    """
    return _signed(_principal(_centred(G.abs() * A) if centre else G.abs() * A), A, G)


def grad_cam_eigen(A: Tensor, G: Tensor) -> Tensor:
    """X' v, v the first left singular vector of X_ck = (mean_k G_ck) A_ck less each channel's mean: eigen smoothing of Grad-CAM.

    Defined by pytorch-grad-cam (eigen_smooth), no paper. Sign: see `_signed`.
    """
    return _signed(_principal(_centred(_means(G)[..., None] * A)), A, G)


def kpca_cam(A: Tensor, G: Tensor, kernel: str = "sigmoid", gamma: float | None = None) -> Tensor:
    """sqrt(l) u, (l, u) the largest eigenpair of the centred kernel matrix of the cells: Karmani et al. 2024.

    Cells are vectors of channels x_j = A_.j - mean_j A_.j; kernels: ``sigmoid`` tanh(gamma x_i . x_j + 1), ``rbf``
    exp(-gamma |x_i - x_j|^2), ``linear`` x_i . x_j (PCA); gamma = 1 / C unless given. Sign: see `_signed`.
    """
    width = 1 / A.shape[1] if gamma is None else gamma
    # Kernel matrices of a layer with thousands of cells are large: some signals at a time.
    few = max(1, 2**24 // A.shape[2] ** 2)
    cells = [_kernel_principal(_centred(part.double()), kernel, width) for part in torch.split(A, few)]
    return _signed(torch.cat(cells), A, G)


def fem(A: Tensor, _G: Tensor, k: float = 2.0) -> Tensor:
    """sum_c m_c [A_ck > m_c + k s_c], m and s mean and standard deviation of a channel over the cells: Fuad et al. 2020."""
    X = A.double()  # so that a constant channel is exactly its mean
    mean = X.mean(dim=-1, keepdim=True)
    rare = mean + k * X.std(dim=-1, keepdim=True, correction=0) < X
    return (mean * rare).sum(dim=1).to(A.dtype)


def random_cam(A: Tensor, _G: Tensor, seed: int = 0) -> Tensor:
    """sum_c w_c A_ck, w_c uniform in [-1, 1]: a control. The weights are drawn once from `seed`, the same for every signal."""
    drawn = torch.rand(A.shape[1], generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return (drawn.to(A)[:, None] * A).sum(dim=1)


def cancels(G: Tensor) -> Tensor:
    """Whether each channel's gradients (N, C, K) cancel over the cells, to rounding: (N, C)."""
    rounding = min(128 * torch.finfo(G.dtype).eps, 1e-3)  # half precision has three digits
    return G.mean(dim=-1).abs() <= rounding * G.abs().mean(dim=-1)


def _means(G: Tensor) -> Tensor:
    """mean_k G_ck (N, C), 0 where it is rounding error."""
    return torch.where(cancels(G), 0.0, G.mean(dim=-1))


def _centred(X: Tensor) -> Tensor:
    return X - X.mean(dim=-1, keepdim=True)


def _principal(X: Tensor) -> Tensor:
    """X' v (N, K), v the first left singular vector of each X (C x K), by the smaller of its two Gram matrices, in float64."""
    X = X.double()
    if X.shape[1] <= X.shape[2]:
        _, v = _largest(X @ X.mT)
        return (v[:, None] @ X)[:, 0]
    value, u = _largest(X.mT @ X)
    return value.sqrt() * u


def _kernel_principal(X: Tensor, kernel: str, width: float) -> Tensor:
    """sqrt(l) u (N, K), (l, u) the largest eigenpair of the centred matrix of kernels between the cells of X (N, C, K)."""
    M = X.mT @ X
    if kernel == "sigmoid":
        M = torch.tanh(width * M + 1)
    elif kernel == "rbf":
        squares = M.diagonal(dim1=-2, dim2=-1)
        M = torch.exp(-width * (squares[:, :, None] + squares[:, None, :] - 2 * M))
    value, u = _largest(_centred(_centred(M).mT))
    return value.sqrt() * u


def _largest(M: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest eigenvalue (N, 1), at least 0, of symmetric matrices (N, S, S), and its vector (N, S)."""
    if M.shape[-1] > _MANY:
        pairs = [_lanczos(m) for m in M.cpu().numpy()]
        values, vectors = (torch.from_numpy(np.stack(part)).to(M) for part in zip(*pairs, strict=True))
    else:
        values, vectors = torch.linalg.eigh(M)
        values, vectors = values[..., -1:], vectors[..., -1]
    return values.clamp(min=0), vectors


def _lanczos(m: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    if not m.any():
        return np.zeros(1), np.zeros(len(m))
    from scipy.sparse.linalg import eigsh  # whose import takes longer than most explanations

    value, vector = eigsh(m, k=1, which="LA", v0=np.random.default_rng(0).standard_normal(len(m)))
    return value, vector[:, 0]


def _signed(cells: Tensor, A: Tensor, G: Tensor) -> Tensor:
    """Give cells (N, K) of unknown sign the sign for which they rise with h = sum_c G_ck A_ck.

    That is the sign of their correlation with h; without one (a single cell, or a constant), that of their product with
    h. If neither is above rounding (for example without a gradient), the sign is undetermined and the cells are 0.
    """
    h = (G * A).sum(dim=1).double()
    least = 1e-6 * torch.linalg.vector_norm(cells, dim=-1) * torch.linalg.vector_norm(h, dim=-1)
    sign = torch.zeros_like(least)
    for agreement in ((cells * _centred(h)).sum(dim=-1), (cells * h).sum(dim=-1)):
        sign = torch.where((sign == 0) & (agreement.abs() > least), agreement.sign(), sign)
    return (sign[:, None] * cells).to(A.dtype)
