"""ECGFounder's Net1D: grouped bottleneck blocks with squeeze and excitation (Li et al. 2024, arXiv:2410.04133)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ecgcam.attribution.taps import outputs_of, part_of
from ecgcam.models.families.blocks import State, sized_head
from ecgcam.protocol.spec import LayerSpec

# Where in the window cells are measured, as fractions of their number.
_AT = (0.45, 0.55)


class SameConv(nn.Module):
    """A convolution whose output has ceil(T / stride) samples: zeros to both sides, the odd one to the right."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(before, after, kernel, stride, groups=groups)
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of (B, C, T)."""
        missing = max(0, (-(-x.shape[-1] // self.stride) - 1) * self.stride + self.kernel - x.shape[-1])
        out: Tensor = self.conv(nn.functional.pad(x, (missing // 2, missing - missing // 2)))
        return out


class Block(nn.Module):
    """One, sixteen and one taps, the middle ones grouped; then each channel weighed by all channels' means over the window."""

    def __init__(
        self, before: int, after: int, kernel: int, stride: int, groups: int, first: bool, normed: bool
    ) -> None:
        super().__init__()
        self.activation1, self.activation2, self.activation3 = nn.SiLU(), nn.SiLU(), nn.SiLU()
        self.conv1 = SameConv(before, after, 1)
        self.conv2 = SameConv(after, after, kernel, stride, groups)
        self.conv3 = SameConv(after, after, 1)
        self.bn1 = nn.BatchNorm1d(before) if normed else nn.Identity()
        self.bn2 = nn.BatchNorm1d(after) if normed else nn.Identity()
        self.bn3 = nn.BatchNorm1d(after) if normed else nn.Identity()
        self.se_fc1, self.se_fc2 = nn.Linear(after, after // 2), nn.Linear(after // 2, after)
        self.se_activation = nn.SiLU()
        self.stride, self.first = stride, first
        # Whether gradients treat squeeze and excitation as constants, which keeps them near a cell.
        self.gates_held = False
        self.wider = (after - before) // 2, after - before - (after - before) // 2

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, (B, C, T) -> (B, C', ceil(T / stride))."""
        out = self.conv1(x if self.first else self.activation1(self.bn1(x)))
        out = self.conv2(self.activation2(self.bn2(out)))
        out = self.conv3(self.activation3(self.bn3(out)))
        weighed = torch.sigmoid(self.se_fc2(self.se_activation(self.se_fc1(out.mean(dim=-1)))))
        if self.gates_held:
            weighed = weighed.detach()
        shortcut = x
        if self.stride > 1:
            padded = nn.functional.pad(x, ((self.stride - 1) // 2, self.stride - 1 - (self.stride - 1) // 2))
            shortcut = nn.functional.max_pool1d(padded, self.stride)
        total: Tensor = out * weighed[..., None] + nn.functional.pad(shortcut, (0, 0, *self.wider))
        return total


class Stage(nn.Module):
    """Blocks, of which the first halves the length."""

    def __init__(
        self, before: int, after: int, blocks: int, kernel: int, groups: int, first: bool, normed: bool
    ) -> None:
        super().__init__()
        self.block_list = nn.ModuleList(
            Block(after if i else before, after, kernel, 1 if i else 2, groups, first and not i, normed)
            for i in range(blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the last block's output."""
        for block in self.block_list:
            x = block(x)
        return x


class Net1D(nn.Module):
    """Signal (B, 12, T) -> logits (B, labels)."""

    def __init__(
        self, filters: Sequence[int], blocks: Sequence[int], kernel: int, group: int, labels: int, normed: bool
    ) -> None:
        super().__init__()
        self.first_conv = SameConv(12, filters[0], kernel, 2)
        self.first_bn = nn.BatchNorm1d(filters[0]) if normed else nn.Identity()
        self.first_activation = nn.SiLU()
        before = [filters[0], *filters[:-1]]
        self.stage_list = nn.ModuleList(
            Stage(before[i], width, blocks[i], kernel, width // group, i == 0, normed)
            for i, width in enumerate(filters)
        )
        self.dense: nn.Linear | nn.Identity = nn.Linear(filters[-1], labels)
        self.normed = normed

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the mean over time."""
        x = self.first_activation(self.first_bn(self.first_conv(x)))
        for stage in self.stage_list:
            x = stage(x)
        logits: Tensor = self.dense(x.mean(dim=-1))
        return logits

    def cell_offset(self, path: str, layer: LayerSpec, samples: int) -> float:
        """Return where the first cell of a layer looks, in samples: measured, since it depends on the weights.

        Convolutions of an even number of taps pad one sample more on the right: in a block of stride 1 the convolved path looks
        half a cell later than the shortcut, and the weights decide how much each contributes. Measured is the centre of gravity
        of the squared gradient, for noise, of two cells placed symmetrically in the window, so that its edges cancel.
        """
        blocks = [module for module in self.modules() if isinstance(module, Block)]
        device = self.first_conv.conv.weight.device
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(1, self.first_conv.conv.in_channels, samples, generator=generator).repeat(len(_AT), 1, 1)
        x = x.to(device).requires_grad_()
        try:
            for block in blocks:
                block.gates_held = True
            with torch.enable_grad(), outputs_of(self.get_submodule(path)) as outputs:
                self(x)
                cells = part_of(outputs[0], None)
                assert cells is not None  # noqa: S101  (a stage gives a tensor)
                weights = torch.randn(cells.shape[1], generator=generator).to(device)
                chosen = [round(part * (cells.shape[2] - 1)) for part in _AT]
                read = torch.stack([weights @ cells[i, :, k] for i, k in enumerate(chosen)]).sum()
                (gradient,) = torch.autograd.grad(read, x)
        finally:
            for block in blocks:
                block.gates_held = False
        energy = gradient.cpu().double().square().sum(dim=1)
        centres = (energy @ torch.arange(samples, dtype=torch.float64)) / energy.sum(dim=1)
        return round(float((centres - layer.step * torch.tensor(chosen)).mean()), 1)

    def adapt_state(self, state: State, _source: Path) -> State:
        """Return the part of a checkpoint that is this network; the published run leaves its batch normalisations aside."""
        if isinstance(self.dense, nn.Linear):
            self.dense = sized_head(self.dense, state, "dense")
        if self.normed:
            return state
        norms = {"first_bn", "bn1", "bn2", "bn3"}
        return {key: value for key, value in state.items() if norms.isdisjoint(key.split("."))}


def build(
    filters: Sequence[int] = (64, 160, 160, 400, 400, 1024, 1024),
    blocks: Sequence[int] = (2, 2, 2, 3, 3, 4, 4),
    kernel: int = 16,
    group: int = 16,
    labels: int = 150,
    normed: bool = False,
) -> Net1D:
    """Return a network with untrained weights; channels and blocks of each stage, taps, channels of a group."""
    return Net1D(filters, blocks, kernel, group, labels, normed)
