"""D-BETA: signals and reports compared by a plain product (Pham et al., ICML 2025, arXiv:2410.02131).

A wav2vec2-style encoder with a class token; both sides end in tanh(dense(token 0)). The layers that mix both sides, and the
heads of the pretraining, are in the file and not on that path.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ecgcam.models.families.blocks import WEIGHT_NORM, State, renamed, without
from ecgcam.models.families.wav2vec2 import PRETRAINING, Wav2Vec2Encoder
from ecgcam.protocol.attention import SelfAttention

_UNUSED = (
    "language_encoder.", "modality_type_embeddings.", "multi_modal_ecg_layers.", "multi_modal_language_layers.",
    "multi_modal_ecg_pooler.", "multi_modal_language_pooler.", "mlm_head.", "mim_head.", "itm_head.",
    *(f"ecg_encoder.{name}" for name in PRETRAINING),
)  # fmt: skip


class Pooler(nn.Module):
    """tanh(dense(token)), (B, width) -> (B, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, token: Tensor) -> Tensor:
        """Return the pooled token."""
        return torch.tanh(self.dense(token))


class DBetaNetwork(nn.Module):
    """Signal (B, 12, 5000) -> (B, joint); the score is a plain product, so nothing is normalised."""

    def __init__(self, encoder: Wav2Vec2Encoder, joint: int, text_width: int) -> None:
        super().__init__()
        self.ecg_encoder = encoder
        self.class_embedding = nn.Parameter(torch.zeros(encoder.width))
        self.multi_modal_ecg_proj = nn.Linear(encoder.width, joint)
        self.unimodal_ecg_pooler = Pooler(joint)
        self.multi_modal_language_proj = nn.Linear(text_width, joint)
        self.unimodal_language_pooler = Pooler(joint)
        self.text_width = text_width

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled class token."""
        tokens = self.ecg_encoder.embed(x)
        first = self.class_embedding.expand(len(tokens), 1, -1)
        return self.readout(self.ecg_encoder.encoder(torch.cat([first, tokens], dim=1)))

    def readout(self, tokens: Tensor) -> Tensor:
        """Return the embedding of tokens (B, N, W): what is done with the last block's."""
        embedded: Tensor = self.unimodal_ecg_pooler(self.multi_modal_ecg_proj(tokens[:, 0]))
        return embedded

    def self_attention(self) -> SelfAttention:
        """Return where each block's attention is; only the class token, token 0, is read out."""
        return self.ecg_encoder.attention("ecg_encoder.", class_token=True)

    def project_text(self, features: Tensor) -> Tensor:
        """Return embeddings (P, joint) of the text encoder's first token (P, text_width)."""
        projected: Tensor = self.unimodal_language_pooler(self.multi_modal_language_proj(features))
        return projected

    def adapt_state(self, state: State, _source: Path) -> State:
        """Return the part of a checkpoint that is this network."""
        return without(renamed(state, WEIGHT_NORM), _UNUSED)


def build(
    width: int = 768,
    depth: int = 8,
    heads: int = 12,
    hidden: int = 3072,
    stem: int = 256,
    joint: int = 768,
    text_width: int = 768,
) -> DBetaNetwork:
    """Return a network with untrained weights; sizes of the encoder and of the joint space."""
    encoder = Wav2Vec2Encoder(stem=stem, width=width, depth=depth, heads=heads, hidden=hidden)
    return DBetaNetwork(encoder, joint, text_width)
