"""Grad-CAM by plain torch, one signal at a time, and what a call must leave as it was: shared by the tables of networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecgcam.attribution.cells import to_cells
from ecgcam.attribution.taps import outputs_of, part_of
from ecgcam.protocol.model import EcgTextModel


def plain_grad_cam(model: EcgTextModel, signal: Tensor, text: Tensor) -> Tensor:
    """sum_c mean_k(G_ck) A_ck of the target layer for one signal (1, L, T): cells (K,)."""
    module, where = model.layer()
    with model.asking(text), torch.enable_grad(), outputs_of(module) as outputs:
        score = (model.encode_signal(signal.clone().requires_grad_()) @ text[0]).sum()
        output = part_of(outputs[0], where.part)
        assert output is not None
        (slope,) = torch.autograd.grad(score, output)
    A, G = to_cells(output.detach(), where).float(), to_cells(slope, where).float()
    return (G.mean(dim=-1, keepdim=True) * A).sum(dim=1)[0]


def state(*roots: nn.Module) -> list[object]:
    """Modes, hooks, weights, buffers, what needs gradients, and the state of torch's generator."""
    found: list[object] = [torch.get_rng_state().tolist()]
    for root in roots:
        for module in root.modules():
            found += [module.training, len(module._forward_hooks), len(module._forward_pre_hooks)]
            found += [(w.requires_grad, w.grad is None, w.detach().clone().tolist()) for w in module.parameters(False)]
            found += [b.tolist() for b in module.buffers(False)]
    return found
