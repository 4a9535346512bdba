"""HuBERT-ECG: the leads one after the other through a HuBERT (Coppola et al. 2024, medRxiv 2024.11.14.24317328).

The same encoder as wav2vec 2.0's, under the keys of transformers' Hubert; its tokens run through lead I from its first sample
to its last, then through lead II, and a token at a seam sees the end of one lead and the beginning of the next.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from ecgcam.models.families.blocks import WEIGHT_NORM, State, renamed, sized_head, without
from ecgcam.models.families.wav2vec2 import Wav2Vec2Encoder
from ecgcam.protocol.attention import SelfAttention

KERNELS, STRIDES = (10, 3, 3, 2, 2), (4, 2, 2, 2, 2)

# transformers' names -> those of the shared encoder.
_NAMES = (
    (r"^(?:hubert_ecg|hubert)\.", ""),
    (r"^(?!classifier\.|label_embedding\.|final_proj\.)", "encoder."),
    (r"conv_layers\.(\d+)\.conv\.", r"conv_layers.\1.0."),
    (r"conv_layers\.0\.layer_norm\.", "conv_layers.0.2."),
    (r"feature_projection\.layer_norm\.", "layer_norm."),
    (r"feature_projection\.projection\.", "post_extract_proj."),
    (r"encoder\.encoder\.pos_conv_embed\.conv\.", "encoder.conv_pos.pos_conv.0."),
    (r"(layers\.\d+)\.attention\.", r"\1.self_attn."),
    (r"(layers\.\d+)\.layer_norm\.", r"\1.self_attn_layer_norm."),
    (r"(layers\.\d+)\.feed_forward\.intermediate_dense\.", r"\1.fc1."),
    (r"(layers\.\d+)\.feed_forward\.output_dense\.", r"\1.fc2."),
    *WEIGHT_NORM,
)


class HubertNetwork(nn.Module):
    """Signal (B, 12, 500) -> logits (B, labels); without a classifier in the file, the mean token (B, width)."""

    def __init__(self, encoder: Wav2Vec2Encoder, labels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier: nn.Linear | nn.Identity = nn.Linear(encoder.width, labels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, or the mean token."""
        return self.readout(self.encoder(x.flatten(1)[:, None]))

    def readout(self, tokens: Tensor) -> Tensor:
        """Return the logits of tokens (B, N, W): what is done with the last block's."""
        logits: Tensor = self.classifier(tokens.mean(dim=1))
        return logits

    def self_attention(self) -> SelfAttention:
        """Return where each block's attention is; the mean of the tokens is read out."""
        return self.encoder.attention("encoder.")

    def adapt_state(self, state: State, _source: Path) -> State:
        """Return the part of a checkpoint that is this network, under its keys; the classifier is as wide as the file's."""
        state = renamed(state, _NAMES)
        if isinstance(self.classifier, nn.Linear):
            self.classifier = sized_head(self.classifier, state, "classifier")
        return without(state, ["encoder.masked_spec_embed", "final_proj.", "label_embedding."])


def build(
    labels: int = 1, width: int = 768, depth: int = 12, heads: int = 12, hidden: int = 3072, stem: int = 512
) -> HubertNetwork:
    """Return a network with untrained weights; base, small is 512, 8, 8, 2048, large 960, 16, 12, 3840."""
    encoder = Wav2Vec2Encoder(
        leads=1, stem=stem, kernels=KERNELS, strides=STRIDES, width=width, depth=depth, heads=heads, hidden=hidden
    )
    return HubertNetwork(encoder, labels)
