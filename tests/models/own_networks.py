"""Small networks as researchers write them, with where their cells lie: 3 leads, 1000 samples at 100 Hz."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ecgcam.protocol.spec import InputSpec

INPUT = InputSpec(fs=100.0, seconds=10.0, leads=("I", "II", "V1"))


class Conv(nn.Module):
    """Two convolutions; a normalisation between."""

    def __init__(self, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(3, 8, 9, 2, 4), norm(8), nn.ReLU(), nn.Conv1d(8, 8, 9, 5, 4), norm(8), nn.ReLU()
        )
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean(-1))


class ZScored(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Conv(nn.BatchNorm1d)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-3))


class Tokens(nn.Module):
    """Patches of 20 samples and a transformer, with or without a class token, batch first or not."""

    def __init__(self, batch_first: bool = True, class_token: bool = False) -> None:
        super().__init__()
        self.batch_first, self.token = batch_first, nn.Parameter(torch.randn(1, 1, 16)) if class_token else None
        self.patch = nn.Conv1d(3, 16, 20, 20)
        block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=batch_first)
        self.encoder, self.fc = nn.TransformerEncoder(block, 2, enable_nested_tensor=False), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).transpose(1, 2)
        if self.token is not None:
            tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1)
        tokens = tokens if self.batch_first else tokens.transpose(0, 1)
        out = self.encoder(tokens)
        return self.fc(out[:, 0] if self.token is not None else out.mean(1 if self.batch_first else 0))


class Folded(nn.Module):
    """One encoder for every lead."""

    def __init__(self, by_tokens: bool = False) -> None:
        super().__init__()
        self.by_tokens = by_tokens
        self.encoder = nn.Sequential(nn.Conv1d(1, 6, 9, 5, 4), nn.ReLU(), nn.Conv1d(6, 6, 5, 1, 2), nn.ReLU())
        self.turned, self.fc = nn.Identity(), nn.Linear(18, 3)

    def forward(self, x: Tensor) -> Tensor:
        cells = self.encoder(x.reshape(-1, 1, x.shape[2]))
        return self.fc(self.turned(cells.transpose(1, 2)).mean(1).reshape(len(x), 18))


class Windows(nn.Module):
    """Two windows of each signal folded into the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.fc = nn.Conv1d(3, 6, 9, 5, 4), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        parts = x.unflatten(-1, (2, 500)).transpose(1, 2).flatten(0, 1)
        return self.fc(self.encoder(parts).relu().mean(-1).unflatten(0, (-1, 2)).mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(3, 8, 9, 10, 4), nn.ReLU())
        self.rnn, self.fc = kind(8, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.rnn(self.conv(x).transpose(1, 2))[0].mean(1))


class Planar(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Sequential(nn.Conv2d(1, 4, (1, 9), (1, 5), (0, 4)), nn.ReLU())
        self.mixed, self.fc = nn.Sequential(nn.Conv2d(4, 6, (3, 1)), nn.ReLU()), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.mixed(self.rows(x[:, None])).mean((2, 3)))


class Task(nn.Module):
    """The backbone under the name `network`, the head beside it, kept features, functions in place."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Conv1d(3, 8, 9, 5, 4), nn.ReLU(inplace=True))
        self.neck = nn.Sequential(nn.Conv1d(8, 8, 5, padding=2), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5))
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.kept = self.neck(self.network(x))
        return self.fc(F.relu(self.kept, inplace=False).mean(-1))


class MonteCarlo(Conv):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.dropout(self.features(x).mean(-1), 0.5, training=True))


class Names(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.input, self.layers = nn.Conv1d(3, 6, 9, 5, 4), nn.ModuleList([nn.Conv1d(6, 6, 5, padding=2)])
        self.fc, self.labels = nn.Linear(6, 3), {"SR": 1, "AF": 0, "LBBB": 2}

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.layers[0](F.relu(self.input(x)))).mean(-1))


class Cast(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.inner, self.dtype = Conv(nn.BatchNorm1d).to(dtype), dtype

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.to(self.dtype))


class Joint(nn.Module):
    """Signal and text are read together."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.tokens = nn.Sequential(nn.Conv1d(3, 16, 20, 20), nn.GELU()), nn.Linear(16, 16)
        self.words, self.head = nn.Embedding(128, 16), nn.Linear(16, 2)
        self.cross = nn.TransformerDecoder(nn.TransformerDecoderLayer(16, 2, 32, batch_first=True), 1)
        self.encoded = 0

    def encode_once(self, x: Tensor) -> Tensor:
        self.encoded += 1
        return self.tokens(self.stem(x).transpose(1, 2))

    def score_texts(self, tokens: Tensor, texts: list[str]) -> Tensor:
        scores = []
        for text in texts:
            asked = self.words(torch.tensor([list(text.encode("ascii"))])).expand(len(tokens), -1, -1)
            out = self.head(self.cross(asked, tokens).mean(1))
            scores.append(out[:, 1] - out[:, 0])
        return torch.stack(scores, 1)


class Squeezed(nn.Module):
    """Convolutions whose channels are weighed by what the whole window holds of them (squeeze and excitation)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(3, 8, 9, 2, 4), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(3, 2, 1))
        self.pool, self.gate = nn.AdaptiveAvgPool1d(1), nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 8))
        self.features, self.fc = nn.Conv1d(8, 8, 7, 2, 3), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        cells = self.conv(x)
        weighed = cells + cells * self.gate(self.pool(cells).squeeze(-1)).sigmoid()[..., None]
        return self.fc(self.features(weighed).relu().mean(-1))


class Segmenter(nn.Module):
    """A U-Net: outputs along time; the decoder's cells are sampled up from coarser ones."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(3, 6, 9, 1, 4), nn.Conv1d(6, 8, 9, 5, 4)
        self.middle, self.up = nn.Conv1d(8, 8, 9, 2, 4), nn.ConvTranspose1d(8, 8, 2, 2)
        self.decoder, self.out = nn.Sequential(nn.Conv1d(16, 8, 5, 1, 2), nn.ReLU()), nn.Conv1d(14, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x).relu()
        second = self.second(first).relu()
        cells = self.decoder(torch.cat([second, self.up(self.middle(second).relu())], 1))
        return self.out(torch.cat([first, F.interpolate(cells, scale_factor=5, mode="linear")], 1))


class Causal(nn.Module):
    """Dilated convolutions that look back, with residual connections and normalised weights."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.last, self.fc = nn.Conv1d(3, 12, 4, 4), nn.Identity(), nn.Linear(12, 3)
        self.convs = nn.ModuleList(
            [nn.utils.parametrizations.weight_norm(nn.Conv1d(12, 12, 3, dilation=2**i)) for i in range(4)]
        )

    def forward(self, x: Tensor) -> Tensor:
        cells = self.stem(x)
        for i, conv in enumerate(self.convs):
            cells = cells + F.relu(conv(F.pad(cells, (2 * 2**i, 0))))
        return self.fc(self.last(cells).mean(-1))


class PackedGru(Recurrent):
    """The recurrent layer gets packed sequences."""

    def __init__(self) -> None:
        super().__init__(nn.GRU)
        self.norm = nn.LayerNorm(6)

    def forward(self, x: Tensor) -> Tensor:
        cells = self.conv(x).transpose(1, 2)
        lengths = torch.full((len(cells),), cells.shape[1])
        packed = nn.utils.rnn.pack_padded_sequence(cells, lengths, batch_first=True, enforce_sorted=False)
        given, _ = nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        return self.fc(self.norm(given).mean(1))


class LastToken(nn.Module):
    """A class token behind the cells is read."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.token, self.put = (
            nn.Conv1d(3, 16, 20, 20),
            nn.Parameter(torch.randn(1, 1, 16)),
            nn.Dropout(0.1),
        )
        self.blocks = nn.ModuleList(
            [nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True) for _ in range(2)]
        )
        self.fc = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.put(torch.cat([self.patch(x).transpose(1, 2), self.token.expand(len(x), -1, -1)], 1))
        for block in self.blocks:
            tokens = block(tokens)
        return self.fc(tokens[:, -1])


class LeadPatches(nn.Module):
    """Tokens of all leads in one sequence, one lead after the other, behind a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.token = nn.Conv2d(1, 16, (1, 20), (1, 20)), nn.Parameter(torch.randn(1, 1, 16))
        self.block, self.fc = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x[:, None]).flatten(2).transpose(1, 2)
        return self.fc(self.block(torch.cat([self.token.expand(len(x), -1, -1), tokens], 1)).mean(1))


class Axial(nn.Module):
    """Attention along time within each lead, then across the leads at each time."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.out, self.fc = nn.Conv2d(1, 16, (1, 20), (1, 20)), nn.Identity(), nn.Linear(16, 3)
        self.time, self.lead = (nn.TransformerEncoderLayer(16, 2, 32, batch_first=True) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x[:, None]).permute(0, 2, 3, 1)
        tokens = self.time(tokens.flatten(0, 1)).unflatten(0, (-1, 3)).transpose(1, 2)
        tokens = self.lead(tokens.flatten(0, 1)).unflatten(0, (-1, 50)).transpose(1, 2)
        return self.fc(self.out(tokens).mean((1, 2)))


class Experts(nn.Module):
    """Each token goes to one of three experts; channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.gate, self.norm = nn.Conv1d(3, 16, 10, 10), nn.Linear(16, 3), nn.LayerNorm(16)
        self.experts, self.fc = nn.ModuleList([nn.Linear(16, 16) for _ in range(3)]), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).transpose(1, 2)
        weight, chosen = self.gate(tokens).softmax(-1).max(-1)
        given = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            mine = chosen == number
            given[mine] = F.gelu(expert(tokens[mine])) * weight[mine][:, None]
        return self.fc(self.norm(tokens + given).mean(1))


class LongConv(nn.Module):
    """A convolution as long as the window, by Fourier transforms, as of state space models."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.mix, self.out = nn.Conv1d(3, 12, 10, 10), nn.Conv1d(12, 12, 1), nn.Identity()
        self.decay, self.fc = nn.Parameter(torch.rand(12, 1) / 5 + 0.05), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        cells = self.patch(x)
        kernel = torch.exp(-self.decay * torch.arange(100)) * torch.cos(0.3 * torch.arange(100))
        given = torch.fft.irfft(torch.fft.rfft(cells, n=200) * torch.fft.rfft(kernel, n=200), n=200)[..., :100]
        return self.fc(self.out(cells + self.mix(F.gelu(given))).mean(-1))


class Spectrogram(nn.Module):
    """Two-dimensional convolutions over frequency x time of each lead's spectrogram."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU()), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.stft(x.flatten(0, 1), 40, 10, window=torch.hann_window(40), return_complex=True)
        return self.fc(self.conv((spectrum.abs() + 1e-3).log().unflatten(0, (-1, 3))).mean((2, 3)))


class WindowAttention(nn.Module):
    """Attention within windows of eight tokens, then within windows shifted by four; between, two tokens become one (Swin)."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.join, self.norm, self.fc = (
            nn.Conv1d(3, 8, 8, 8),
            nn.Linear(16, 8),
            nn.LayerNorm(8),
            nn.Linear(8, 3),
        )
        self.blocks = nn.ModuleList([nn.MultiheadAttention(8, 2, batch_first=True) for _ in range(4)])

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).transpose(1, 2)
        for number, block in enumerate(self.blocks):
            tokens = self.join(tokens.unflatten(1, (-1, 2)).flatten(2)) if number == 2 else tokens
            windows = tokens.roll(-4 * (number % 2), 1).reshape(-1, 8, 8)
            tokens = tokens + block(windows, windows, windows)[0].reshape_as(tokens).roll(4 * (number % 2), 1)
        return self.fc(self.norm(tokens).mean(1))


class SampledUp(nn.Module):
    """Cells of 20 samples, sampled up by four."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv1d(3, 8, 9, 5, 4), nn.Conv1d(8, 8, 9, 4, 4)
        self.last, self.fc = nn.Conv1d(8, 8, 1), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        cells = F.interpolate(self.coarse(self.fine(x).relu()).relu(), scale_factor=4, mode="linear")
        return self.fc(self.last(cells).mean(-1))


class Pooled(nn.Module):
    """The cells are averaged with weights of their own, a softmax over time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.weight = nn.Sequential(nn.Conv1d(3, 8, 9, 5, 4), nn.ReLU()), nn.Linear(8, 1)
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        cells = self.conv(x).transpose(1, 2)
        return self.fc((self.weight(cells).softmax(1) * cells).sum(1))


class TrainsItself(Conv):
    """Its normalisation is put into training mode by each forward pass."""

    def __init__(self) -> None:
        super().__init__(nn.BatchNorm1d)

    def forward(self, x: Tensor) -> Tensor:
        for module in self.modules():
            module.training = isinstance(module, nn.BatchNorm1d)
        return super().forward(x)


class SkippedAtRandom(Conv):
    """A layer that is left out one time in five, also in evaluation mode."""

    def __init__(self) -> None:
        super().__init__(nn.BatchNorm1d)
        self.further = nn.Conv1d(8, 8, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        cells = self.features(x)
        return self.fc((cells if torch.rand(1) < 0.2 else self.further(cells)).mean(-1))


def closures() -> Any:
    network = nn.Sequential(nn.Conv1d(3, 8, 9, 5, 4), nn.ReLU())
    head = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 4))
    return types.SimpleNamespace(
        network=network,
        encode_signal=lambda x: head(network(x).mean(-1)),
        encode_text=lambda texts: torch.stack([torch.sin(torch.arange(4.0) + len(text)) for text in texts]),
    )


@dataclass(frozen=True)
class Case:
    """A network, its layer, and where its cells lie."""

    build: Callable[[], Any]
    layer: str
    layout: str
    step: float
    offset: float
    leads: int = 0
    prefix: int = 0
    suffix: int = 0
    text: str = ""  # asked of encoders; empty: output 0
    tolerance: float = 0.0


CASES = {
    "batch norm": Case(lambda: Conv(nn.BatchNorm1d), "features", "BCT", 10, 0),
    "group norm": Case(lambda: Conv(lambda c: nn.GroupNorm(2, c)), "features", "BCT", 10, 0),
    "instance norm": Case(lambda: Conv(lambda c: nn.InstanceNorm1d(c, affine=True)), "features", "BCT", 10, 0),
    "z-score inside": Case(ZScored, "inner.features", "BCT", 10, 0),
    "batch dependent": Case(
        lambda: Conv(lambda c: nn.BatchNorm1d(c, track_running_stats=False)), "features", "BCT", 10, 0
    ),
    "tokens": Case(Tokens, "encoder", "BTC", 20, 9.5),
    "tokens, time first": Case(lambda: Tokens(False), "encoder", "TBC", 20, 9.5),
    "class token": Case(lambda: Tokens(True, True), "encoder.layers.0", "BTC", 20, 9.5, prefix=1),
    "folded leads": Case(Folded, "encoder", "(BL)CT", 5, 0, leads=3),
    "folded leads, channels last": Case(Folded, "turned", "(BL)TC", 5, 0, leads=3),
    "lstm": Case(lambda: Recurrent(nn.LSTM), "rnn", "BTC", 10, 0),
    "gru": Case(lambda: Recurrent(nn.GRU), "rnn", "BTC", 10, 0),
    "planar, rows": Case(Planar, "rows", "BCLT", 5, 0, leads=3),
    "planar, mixed": Case(Planar, "mixed", "BCLT", 5, 0),
    "task": Case(Task, "neck", "BCT", 5, 0),
    "random": Case(lambda: MonteCarlo(nn.BatchNorm1d), "features", "BCT", 10, 0),
    "names": Case(Names, "layers.0", "BCT", 5, 0),
    "half": Case(lambda: Cast(torch.float16), "inner.features", "BCT", 10, 0),
    "double": Case(lambda: Cast(torch.float64), "inner.features", "BCT", 10, 0),
    "compiled": Case(lambda: torch.compile(Conv(nn.BatchNorm1d), backend="eager"), "features", "BCT", 10, 0),
    "closures": Case(closures, "0", "BCT", 5, 0, text="af"),
    "squeeze and excitation": Case(Squeezed, "features", "BCT", 8, 0),
    "segmenter": Case(Segmenter, "decoder", "BCT", 5, -2.0, tolerance=0.5),
    "causal": Case(Causal, "last", "BCT", 4, 1.5, tolerance=1.0),
    "packed sequences": Case(PackedGru, "norm", "BTC", 10, 0),
    "class token last": Case(LastToken, "blocks.0", "BTC", 20, 9.5, suffix=1),
    "class token last, before blocks": Case(LastToken, "put", "BTC", 20, 9.5, suffix=1),
    "leads in one sequence": Case(LeadPatches, "block", "BTC", 20, 9.5, leads=3, prefix=1, tolerance=0.5),
    "axial attention": Case(Axial, "out", "BLTC", 20, 9.5, leads=3),
    "experts": Case(Experts, "norm", "BTC", 10, 4.5),
    "long convolution": Case(LongConv, "out", "BCT", 10, 4.5),
    "spectrogram": Case(Spectrogram, "conv", "BCLT", 20, 0),
    "joint": Case(Joint, "tokens", "BTC", 20, 9.5, text="af"),
}
