"""Networks of packages that researchers use, small: 3 leads, 1000 samples at 100 Hz, three outputs or scores of texts."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ecgcam.protocol.attention import AttentionSpec


def ecg_crnn() -> nn.Module:
    """torch_ecg's residual convolutions (stride 16), bidirectional LSTM and squeeze and excitation, with few channels."""
    from torch_ecg.model_configs import ECG_CRNN_CONFIG
    from torch_ecg.models import ECG_CRNN

    config = copy.deepcopy(ECG_CRNN_CONFIG)
    config.cnn.name, config.rnn.name, config.attn.name = "resnet_nature_comm", "lstm", "se"
    residual = config.cnn.resnet_nature_comm
    residual.subsample_lengths, residual.num_filters, residual.filter_lengths = [2, 2, 2, 2], [8, 8, 12, 12], 9
    residual.stem.num_filters = 8
    config.rnn.lstm.hidden_sizes, config.clf.out_channels = [8], [16]
    network: nn.Module = ECG_CRNN(["a", "b", "c"], 3, config=config)
    return network


def inception_time() -> nn.Module:
    """tsai's InceptionTime."""
    from tsai.models.InceptionTime import InceptionTime

    network: nn.Module = InceptionTime(3, 3, nf=4, depth=3)
    return network


def lstm_fcn() -> nn.Module:
    """tsai's LSTM-FCN: convolutions over time next to an LSTM that takes each sample of time as a feature."""
    from tsai.models.RNN_FCN import LSTM_FCN

    network: nn.Module = LSTM_FCN(3, 3, seq_len=1000, hidden_size=8, conv_layers=[8, 12, 8], se=4)
    return network


class Wav2Vec2(nn.Module):
    """Convolutions of strides 5 and 2 and widths 10 and 2, as published ones begin: a cell every 10 samples, the first at 7."""

    def __init__(self, norm: str) -> None:
        super().__init__()
        from transformers import Wav2Vec2Config, Wav2Vec2Model

        config = Wav2Vec2Config(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, conv_dim=(16, 16),
            conv_kernel=(10, 2), conv_stride=(5, 2), num_feat_extract_layers=2, feat_extract_norm=norm,
            num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
        )  # fmt: skip
        self.first, self.body, self.head = nn.Conv1d(3, 1, 1), Wav2Vec2Model(config), nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.first(x)[:, 0]).last_hidden_state.mean(1))


class PatchTst(nn.Module):
    """Each lead's patches are tokens of their own; leads are an axis."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import PatchTSTConfig, PatchTSTModel

        config = PatchTSTConfig(
            num_input_channels=3, context_length=1000, patch_length=20, patch_stride=20, d_model=16, num_attention_heads=2,
            num_hidden_layers=2, ffn_dim=32, use_cls_token=False,
        )  # fmt: skip
        self.body, self.head = PatchTSTModel(config), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(past_values=x.transpose(1, 2)).last_hidden_state.mean((1, 2)))


class Bert(nn.Module):
    """BERT over patches of 20 samples, read by the mean of its tokens."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        config = BertConfig(
            vocab_size=8, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
        )
        self.patch, self.body = nn.Conv1d(3, 16, 20, 20), BertModel(config, add_pooling_layer=False)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(inputs_embeds=self.patch(x).transpose(1, 2)).last_hidden_state.mean(1))


class Gpt2(nn.Module):
    """GPT-2 reads 50 tokens of ECG, then the text: the score is the mean log-likelihood of the text's bytes."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import GPT2Config, GPT2LMHeadModel

        config = GPT2Config(
            vocab_size=128, n_positions=128, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
        )
        self.patch, self.tokens = nn.Conv1d(3, 16, 20, 20), nn.Linear(16, 16)
        self.decoder = GPT2LMHeadModel(config)
        # The tokens of the ECG come first, then those of the text.
        self.attention = {f"decoder.transformer.h.{i}.attn": AttentionSpec(n_prefix_tokens=0) for i in range(2)}

    def encode_once(self, x: Tensor) -> Tensor:
        return self.tokens(self.patch(x).transpose(1, 2))

    def score_texts(self, tokens: Tensor, texts: list[str]) -> Tensor:
        scores = []
        for text in texts:
            words = torch.tensor([list(text.encode("ascii"))])
            given = torch.cat([tokens, self.decoder.transformer.wte(words).expand(len(tokens), -1, -1)], dim=1)
            logits = self.decoder(inputs_embeds=given).logits[:, tokens.shape[1] - 1 : -1].log_softmax(-1)
            scores.append(logits.gather(2, words.expand(len(tokens), -1)[..., None])[..., 0].mean(1))
        return torch.stack(scores, dim=1)


# Network, its layer, the layout and step of its cells.
NETWORKS: dict[str, tuple[Any, str, str, float]] = {
    "ECG_CRNN": (ecg_crnn, "cnn", "BCT", 16.0),
    "InceptionTime": (inception_time, "inceptionblock", "BCT", 1.0),
    "LSTM_FCN": (lstm_fcn, "convblock3", "BCT", 1.0),
    "Wav2Vec2, group norm": (lambda: Wav2Vec2("group"), "body.encoder.layers.1", "BTC", 10.0),
    "Wav2Vec2, layer norm": (lambda: Wav2Vec2("layer"), "body.encoder.layers.1", "BTC", 10.0),
    "PatchTST": (PatchTst, "body.encoder.layers.1", "BLTC", 20.0),
    "BERT": (Bert, "body.encoder.layer.1", "BTC", 20.0),
    "GPT-2": (Gpt2, "tokens", "BTC", 20.0),
}
