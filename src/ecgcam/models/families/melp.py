"""MELP: signals and reports in one space of 256 dimensions (Wang et al., ICML 2025, arXiv:2506.21803).

A wav2vec2-style encoder, read by learned queries that attend to every token; the embedding is their mean. What serves only the
captioning and the pretraining is in some files, and not on that path.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ecgcam.errors import EcgcamError
from ecgcam.models.families.blocks import WEIGHT_NORM, State, renamed, without
from ecgcam.models.families.wav2vec2 import PRETRAINING, Wav2Vec2Encoder

_TOWER = "ecg_encoder."
_INNER = "ecg_encoder.ecg_encoder."
_UNUSED = (
    "lm_model.", "text_decoder.", "sent_proj.", "logit_scale", "uot_loss.",
    *(f"{_TOWER}{name}" for name in ("attn_pool_caption.", "ln_caption.", "logit_scale", "head.", "bn.")),
    *(f"{_INNER}{name}" for name in PRETRAINING),
)  # fmt: skip


class QueryPooling(nn.Module):
    """Learned queries gather from tokens, (B, N, context) -> (B, queries, width)."""

    def __init__(self, width: int, context: int, queries: int, heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(queries, width))
        self.attn = nn.MultiheadAttention(width, heads, kdim=context, vdim=context, batch_first=True)
        self.ln_q, self.ln_k = nn.LayerNorm(width), nn.LayerNorm(context)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return what each query gathers."""
        tokens = self.ln_k(tokens)
        query = self.ln_q(self.query).expand(len(tokens), -1, -1)
        gathered: Tensor = self.attn(query, tokens, tokens, need_weights=False)[0]
        return gathered


class MelpTower(nn.Module):
    """Signal (B, 12, 5000) -> (B, joint), before L2."""

    def __init__(self, joint: int, queries: int, pool_heads: int, encoder: Wav2Vec2Encoder) -> None:
        super().__init__()
        self.ecg_encoder = encoder
        self.attn_pool_contrast = QueryPooling(joint, encoder.width, queries, pool_heads)
        self.ln_contrast = nn.LayerNorm(joint)
        self.proj_contrast = nn.Parameter(torch.zeros(joint, joint))

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean of the queries' projections."""
        gathered = self.ln_contrast(self.attn_pool_contrast(self.ecg_encoder(x)))
        embedded: Tensor = (gathered @ self.proj_contrast).mean(dim=1)
        return embedded


class MelpNetwork(nn.Module):
    """The signal tower, and the projection of the text tower's features."""

    def __init__(self, text_width: int, joint: int, queries: int, pool_heads: int, encoder: Wav2Vec2Encoder) -> None:
        super().__init__()
        self.ecg_encoder = MelpTower(joint, queries, pool_heads, encoder)
        self.proj_t: nn.Module = nn.Sequential(nn.Linear(text_width, joint), nn.GELU(), nn.Linear(joint, joint))
        self.text_width = text_width

    def forward(self, x: Tensor) -> Tensor:
        """Return the joint embedding, before L2."""
        embedded: Tensor = self.ecg_encoder(x)
        return embedded

    def project_text(self, features: Tensor) -> Tensor:
        """Return joint embeddings (P, joint), before L2, of the text tower's features (P, text_width).

        Raises
        ------
        EcgcamError
            If the checkpoint is the signal tower alone, as the published encoder is.
        """
        if isinstance(self.proj_t, nn.Identity):
            raise EcgcamError(
                "melp: this checkpoint holds only the ECG tower, without the projection of text (proj_t.*); give embeddings "
                "in the joint space with `embeddings`, or a whole MELP checkpoint"
            )
        projected: Tensor = self.proj_t(features)
        return projected

    def adapt_state(self, state: State, _source: Path) -> State:
        """Return the part of a checkpoint that is this network, whose number of queries is the file's.

        The published encoder is the tower without its outer prefix, and without the projection of text.
        """
        state = renamed(state, WEIGHT_NORM)
        if not any(key.startswith(_INNER) for key in state) and "attn_pool_contrast.query" in state:
            state = {_TOWER + key: value for key, value in state.items()}
        query = state.get(f"{_TOWER}attn_pool_contrast.query")
        if query is not None:
            pooling = self.ecg_encoder.attn_pool_contrast
            pooling.query = nn.Parameter(torch.empty(len(query), pooling.query.shape[1], device="meta"))
        if not any(key.startswith("proj_t.") for key in state):
            self.proj_t = nn.Identity()
        return without(state, _UNUSED)


def build(
    width: int = 768,
    depth: int = 8,
    heads: int = 12,
    hidden: int = 3072,
    stem: int = 256,
    joint: int = 256,
    queries: int = 13,
    pool_heads: int = 8,
    text_width: int = 768,
) -> MelpNetwork:
    """Return a network with untrained weights; sizes of the encoder, of the joint space and of the pooling."""
    encoder = Wav2Vec2Encoder(stem=stem, width=width, depth=depth, heads=heads, hidden=hidden)
    return MelpNetwork(text_width, joint, queries, pool_heads, encoder)
