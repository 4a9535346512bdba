"""ECG-FM: a wav2vec2-style encoder and one linear layer of labels on the mean token (McKeen et al. 2024, arXiv:2408.05178)."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from ecgcam.models.families.blocks import WEIGHT_NORM, State, renamed, sized_head, without
from ecgcam.models.families.wav2vec2 import PRETRAINING, Wav2Vec2Encoder
from ecgcam.protocol.attention import SelfAttention


class EcgFmNetwork(nn.Module):
    """Signal (B, 12, 2500) -> logits (B, labels); of a pretrained encoder without a head, the mean token (B, width)."""

    def __init__(self, encoder: Wav2Vec2Encoder, labels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.proj: nn.Linear | nn.Identity = nn.Linear(encoder.width, labels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.readout(self.encoder(x))

    def readout(self, tokens: Tensor) -> Tensor:
        """Return the logits of tokens (B, N, W): what is done with the last block's."""
        logits: Tensor = self.proj(tokens.mean(dim=1))
        return logits

    def self_attention(self) -> SelfAttention:
        """Return where each block's attention is; the mean of the tokens is read out."""
        return self.encoder.attention("encoder.")

    def adapt_state(self, state: State, _source: Path) -> State:
        """Return the part of a checkpoint that is this network, whose number of labels is the file's.

        A pretrained file is the encoder alone: its keys lack the outer prefix.
        """
        state = renamed(state, WEIGHT_NORM)
        if any(key.startswith("feature_extractor.") for key in state):
            state = {f"encoder.{key}": value for key, value in state.items()}
        if isinstance(self.proj, nn.Linear):
            self.proj = sized_head(self.proj, state, "proj")
        return without(state, [f"encoder.{name}" for name in PRETRAINING])


def build(
    labels: int = 17, width: int = 768, depth: int = 12, heads: int = 12, hidden: int = 3072, stem: int = 256
) -> EcgFmNetwork:
    """Return a network with untrained weights; sizes of the encoder, and how many labels."""
    return EcgFmNetwork(Wav2Vec2Encoder(stem=stem, width=width, depth=depth, heads=heads, hidden=hidden), labels)
