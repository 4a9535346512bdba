"""Transformers whose tokens are patches of one lead each: ST-MEM and anyECG. Their grid keeps leads, until attention mixes them.

ST-MEM (Na et al., ICLR 2024, arXiv:2402.09450): 12 leads x 30 patches of 75 samples, each lead between two separators; the
mean of the patches is read. anyECG (Li et al. 2025, arXiv:2506.00942): 12 leads x 5 patches of 200 samples and a class token,
which is read.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ecgcam.models.families.blocks import Attention, State, TransformerBlock, renamed, sized_head, without

LEADS = 12


def patch_embedding(patch: int, width: int) -> nn.Sequential:
    """Return what takes patches (..., patch) to tokens (..., width); the first place held a rearrangement."""
    return nn.Sequential(nn.Identity(), nn.LayerNorm(patch), nn.Linear(patch, width), nn.LayerNorm(width))


class StMemNetwork(nn.Module):
    """Signal (B, 12, patch x patches) -> the mean patch, normalised (B, width), or the logits of the file's head."""

    def __init__(self, width: int, depth: int, patch: int, patches: int, labels: int) -> None:
        super().__init__()
        self.to_patch_embedding = patch_embedding(patch, width)
        self.pos_embedding = nn.Parameter(torch.zeros(1, patches + 2, width))
        self.sep_embedding = nn.Parameter(torch.zeros(width))
        self.lead_embeddings = nn.ParameterList(nn.Parameter(torch.zeros(width)) for _ in range(LEADS))
        for i in range(depth):
            self.add_module(f"block{i}", TransformerBlock(width))
        self.norm = nn.LayerNorm(width)
        self.head: nn.Linear | nn.Identity = nn.Linear(width, labels)
        self.depth, self.patch = depth, patch

    def forward(self, x: Tensor) -> Tensor:
        """Return the embedding, or the logits."""
        tokens = self.to_patch_embedding(x.reshape(len(x), LEADS, -1, self.patch))
        separator = self.sep_embedding.expand(len(x), LEADS, 1, -1)
        tokens = torch.cat([separator, tokens, separator], dim=2) + self.pos_embedding[:, None]
        tokens = (tokens + torch.stack(list(self.lead_embeddings))[:, None]).flatten(1, 2)
        for i in range(self.depth):
            tokens = self.get_submodule(f"block{i}")(tokens)
        patches = tokens.reshape(len(x), LEADS, -1, tokens.shape[-1])[:, :, 1:-1]
        out: Tensor = self.head(self.norm(patches.mean(dim=(1, 2))))
        return out

    def adapt_state(self, state: State, _source: Path) -> State:
        """Return the part of a checkpoint that is this network: of the whole autoencoder, its encoder."""
        if any(key.startswith("encoder.block0.") for key in state):
            state = {key.removeprefix("encoder."): value for key, value in state.items() if key.startswith("encoder.")}
        if isinstance(self.head, nn.Linear):
            self.head = sized_head(self.head, state, "head")
        return state


class GatedPair(nn.Sequential):
    """Attention and feed-forward under the numbers 0 and 1, each with a residual connection, (B, N, W) -> (B, N, W)."""

    def __init__(self, width: int) -> None:
        super().__init__(NormedAttention(width), NormedFeedForward(width))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """Return the tokens after one block."""
        x = input + self[0](input)
        out: Tensor = x + self[1](x)
        return out


class NormedAttention(Attention):
    """Attention without bias, after a layer normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__(width, bias=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed tokens, projected."""
        return super().forward(self.norm(x))


class NormedFeedForward(nn.Module):
    """Two linear layers behind a normalisation; the fourth place held a dropout."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = [nn.Linear(width, 4 * width), nn.GELU(), nn.Identity(), nn.Linear(4 * width, width)]
        self.net = nn.Sequential(nn.LayerNorm(width), *inner)

    def forward(self, x: Tensor) -> Tensor:
        """Return the token-wise network's output."""
        out: Tensor = self.net(x)
        return out


class Layers(nn.Module):
    """Blocks, one after the other."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(GatedPair(width) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        """Return the last block's tokens."""
        for layer in self.layers:
            x = layer(x)
        return x


class AnyEcgNetwork(nn.Module):
    """Signal (B, 12, patch x patches) -> (B, joint), before L2."""

    def __init__(self, width: int, depth: int, patch: int, patches: int, joint: int) -> None:
        super().__init__()
        self.to_patch_embedding = patch_embedding(patch, width)
        self.lead_embedding = nn.Parameter(torch.zeros(1, LEADS, width))
        self.pos_embedding = nn.Parameter(torch.zeros(1, patches + 1, width))
        self.cls_token = nn.Parameter(torch.zeros(width))
        self.transformer = Layers(width, depth)
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, joint, bias=False)
        self.patch = patch

    def forward(self, x: Tensor) -> Tensor:
        """Return the class token's projection."""
        tokens = self.to_patch_embedding(x.reshape(len(x), LEADS, -1, self.patch))
        tokens = tokens + self.lead_embedding[:, :, None] + self.pos_embedding[:, None, 1:]
        first = (self.cls_token + self.pos_embedding[:, :1]).expand(len(x), -1, -1)
        tokens = self.transformer(torch.cat([first, tokens.flatten(1, 2)], dim=1))
        embedded: Tensor = self.fc(self.norm(tokens[:, 0]))
        return embedded

    def adapt_state(self, state: State, _source: Path) -> State:
        """Return the part of a checkpoint that is this network: the ECG side, without its prefix."""
        if any(key.startswith("ecg_model.") for key in state):
            state = {key: value for key, value in state.items() if key.startswith("ecg_model.")}
        return without(renamed(state, [(r"^ecg_model\.(?:model\.)?", "")]), ["logit_scale", "logit_bias"])


def build_st_mem(
    width: int = 768, depth: int = 12, patch: int = 75, patches: int = 30, labels: int = 1
) -> StMemNetwork:
    """Return ST-MEM with untrained weights; heads have 64 of the width."""
    return StMemNetwork(width, depth, patch, patches, labels)


def build_anyecg(
    width: int = 768, depth: int = 12, patch: int = 200, patches: int = 5, joint: int = 512
) -> AnyEcgNetwork:
    """Return anyECG with untrained weights; heads have 64 of the width."""
    return AnyEcgNetwork(width, depth, patch, patches, joint)
