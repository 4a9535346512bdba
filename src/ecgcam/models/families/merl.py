"""MERL: signals and reports in one space of 256 dimensions (Liu et al., ICML 2024, arXiv:2403.06659).

Two signal encoders, a 1-D ResNet (He et al. 2016) and a 1-D ViT (Dosovitskiy et al. 2021), with the state-dict keys of the
published checkpoints. The joint embedding of the ResNet is `downconv` and attention pooling, that of the ViT the mean of
the tokens, `norm` and `proj_e`. `linear1`, `linear2` and the ResNet's `ecg_encoder.linear` are in every checkpoint, but not
on that path (the first two serve a loss between two dropouts of one signal), so they are loaded and never run.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ecgcam.errors import EcgcamError
from ecgcam.models.families.blocks import TransformerBlock, renamed, without
from ecgcam.protocol.attention import AttentionPooling, SelfAttention

JOINT_WIDTH = 256
TEXT_WIDTH = 768
_SAMPLES = 5000

# Residual blocks per stage, and whether they are bottlenecks.
RESNETS = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
}
# Token width; a head has 64 of it.
VITS = {"vit-tiny": 192, "vit-small": 384, "vit-middle": 512, "vit-base": 768}


class ResidualBlock(nn.Module):
    """Convolutions and a shortcut, (B, C, T) -> (B, C', ceil(T / stride)); the stride is that of the first 3-tap convolution.

    Parameters
    ----------
    channels, width : int
        Input channels, and those inside the block; a bottleneck gives four times `width`.
    stride : int
        In samples.
    bottleneck : bool
        Taps 1, 3, 1 instead of 3, 3.
    """

    def __init__(self, channels: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        out = width * 4 if bottleneck else width
        plan = [(channels, width, 1, 1), (width, width, 3, stride), (width, out, 1, 1)]
        if not bottleneck:
            plan = [(channels, width, 3, stride), (width, width, 3, 1)]
        self.depth = len(plan)
        for i, (before, after, taps, step) in enumerate(plan, start=1):
            self.add_module(f"conv{i}", nn.Conv1d(before, after, taps, step, taps // 2, bias=False))
            self.add_module(f"bn{i}", nn.BatchNorm1d(after))
            self.add_module(f"relu{i}", nn.ReLU())
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(nn.Conv1d(channels, out, 1, stride, bias=False), nn.BatchNorm1d(out))

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(F(x) + shortcut(x))."""
        residual = x
        for i in range(1, self.depth + 1):
            residual = self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(residual))
            if i < self.depth:
                residual = self.get_submodule(f"relu{i}")(residual)
        out: Tensor = self.get_submodule(f"relu{self.depth}")(residual + self.shortcut(x))
        return out


class ResNetEncoder(nn.Module):
    """Signal (B, 12, T) -> (B, C, ceil(T / 16)), C = 512 or, of bottlenecks, 2048. No pooling after the stem."""

    def __init__(self, depths: tuple[int, ...], bottleneck: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(12, 64, 7, 2, 3, bias=False)
        self.bn1, self.relu1 = nn.BatchNorm1d(64), nn.ReLU()
        channels = 64
        for i, depth in enumerate(depths):
            width, blocks = 64 << i, []
            for block in range(depth):
                stride = 2 if i and not block else 1
                blocks.append(ResidualBlock(channels, width, stride, bottleneck))
                channels = width * 4 if bottleneck else width
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        self.channels, self.stages = channels, len(depths)
        self.linear = nn.Linear(channels, 10)  # in the checkpoints, never run

    def forward(self, x: Tensor) -> Tensor:
        """Return the last stage's output."""
        x = self.relu1(self.bn1(self.conv1(x)))
        for i in range(self.stages):
            x = self.get_submodule(f"layer{i + 1}")(x)
        return x


class SingleQueryAttention(nn.Module):
    """Multi-head attention of one query over tokens, with the keys of `nn.MultiheadAttention`.

    With a single query the key projection moves to it, (W_k x) . q = x . (W_k' q), and the value projection behind the mean,
    so no token is ever projected; the key's bias is the same for all tokens and falls out of the softmax. That is cheap
    enough for float64, which is needed: logits run into the thousands, where float32 leaves the gradient three digits.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.zeros(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        self.attend = nn.Softmax(dim=-1)
        self.heads = heads

    def forward(self, query: Tensor, tokens: Tensor) -> Tensor:
        """Return (B, W) for a query (B, W) and tokens (B, N, W)."""
        kind, tokens = query.dtype, tokens.double()
        to_q, to_k, to_v = self.in_proj_weight.double().chunk(3)
        q_bias, _, v_bias = self.in_proj_bias.double().chunk(3)
        split = (self.heads, -1, query.shape[-1])
        q = (query.double() @ to_q.T + q_bias).reshape(len(query), self.heads, -1)
        moved = torch.einsum("bhd,hdw->bhw", q, to_k.reshape(split))
        seen = self.attend(moved @ tokens.transpose(1, 2) * q.shape[-1] ** -0.5) @ tokens
        values = torch.einsum("bhw,hdw->bhd", seen, to_v.reshape(split))
        out: Tensor = self.out_proj((values.flatten(1) + v_bias).to(kind))
        return out


class PointwiseConv(nn.Conv1d):
    """A convolution over one cell as a matrix product: its backward pass, one for each prompt, takes half as long on a CPU."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        """Return (B, C', T) for (B, C, T)."""
        return nn.functional.linear(input.transpose(1, 2), self.weight[:, :, 0], self.bias).transpose(1, 2)


class AttentionPool(nn.Module):
    """Cells (B, 256, 313) -> (B, 256): one learned query attends to every cell and to itself.

    Parameters
    ----------
    cells : int
        The learned positions fix their number.
    heads : int
        Of the attention; no shape of a weight depends on it, so only the output shows a wrong number.
    """

    def __init__(self, cells: int, heads: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.zeros(1, cells + 1, JOINT_WIDTH))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, JOINT_WIDTH))
        self.mhsa = SingleQueryAttention(JOINT_WIDTH, heads)
        self.c_proj = nn.Linear(JOINT_WIDTH, JOINT_WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the query gathers.

        Raises
        ------
        EcgcamError
            If the cells are not as many as the positions.
        """
        position = self.positional_embedding
        _need_cells(x.shape[-1], position.shape[1] - 1)
        # The query's own position is added twice, here and with all others: so the checkpoints were trained.
        query = (self.cls_token + position[:, :1]).expand(len(x), -1, -1)
        tokens = torch.cat([query, x.transpose(1, 2)], dim=1) + position
        gathered: Tensor = self.c_proj(self.mhsa(tokens[:, 0], tokens))
        return gathered


class ViTEncoder(nn.Module):
    """Signal (B, 12, T) -> (B, W): patches of 50 samples, twelve blocks, mean of the tokens, normalisation. No class token."""

    patch = 50

    def __init__(self, width: int, depth: int = 12, samples: int = _SAMPLES) -> None:
        super().__init__()
        self.to_patch_embedding = nn.Conv1d(12, width, self.patch, self.patch, bias=False)
        self.pos_embedding = nn.Parameter(torch.zeros(1, samples // self.patch, width))
        for i in range(depth):
            self.add_module(f"block{i}", TransformerBlock(width))
        self.norm = nn.LayerNorm(width)
        self.depth = depth

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised mean token.

        Raises
        ------
        EcgcamError
            If the patches are not as many as the positions.
        """
        tokens = self.to_patch_embedding(x).transpose(1, 2)
        _need_cells(tokens.shape[1], self.pos_embedding.shape[1])
        tokens = tokens + self.pos_embedding
        for i in range(self.depth):
            tokens = self.get_submodule(f"block{i}")(tokens)
        return self.readout(tokens)

    def readout(self, tokens: Tensor) -> Tensor:
        """Return the normalised mean (B, W) of tokens (B, N, W)."""
        out: Tensor = self.norm(tokens.mean(dim=1))
        return out


class MerlNetwork(nn.Module):
    """What both kinds share: the text projection, and which checkpoints fit. Signals (B, 12, 5000) -> (B, 256) before L2."""

    text_width = TEXT_WIDTH
    # Samples of a cell.
    step: int

    @property
    def cells(self) -> int:
        """How many cells the learned positions are for."""
        raise NotImplementedError

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(features, JOINT_WIDTH, bias=False)  # in the checkpoints, never run
        self.linear2 = nn.Linear(features, JOINT_WIDTH, bias=False)
        self.proj_t = nn.Sequential(nn.Linear(TEXT_WIDTH, JOINT_WIDTH), nn.GELU(), nn.Linear(JOINT_WIDTH, JOINT_WIDTH))

    def project_text(self, features: Tensor) -> Tensor:
        """Return joint embeddings (P, 256), before L2, of the text tower's pooled output (P, 768)."""
        projected: Tensor = self.proj_t(features)
        return projected

    def adapt_state(self, state: dict[str, Tensor], source: Path) -> dict[str, Tensor]:
        """Return the part of a checkpoint that is this network, with as many positions as the file has.

        ECG-Bench (github.com/willxxy/ECG-Bench) calls the encoder `resnet.`; MELP's copy of MERL adds `logit_scale`.

        Raises
        ------
        EcgcamError
            If the file is the signal encoder alone: it has no joint space, and an untrained projection in its place would
            give plausible pictures of nothing.
        """
        state = renamed(state, [(r"^resnet\.", "ecg_encoder."), (r"^lm\.", "lm_model.")])
        if not any(key.startswith("ecg_encoder.") for key in state) and any(
            key.startswith(("conv1.", "to_patch_embedding.")) for key in state
        ):
            raise EcgcamError(
                f"{source}: holds only MERL's signal encoder (as *_encoder.pth does), without the projections of signal "
                "and text into the joint space, so it has no score with a text; use the whole checkpoint "
                "(*_bestZeroShotAll_ckpt.pth or *_final_total.pth)"
            )
        return without(state, ("lm_model.", "logit_scale"))

    def window_problem(self, samples: int) -> str:
        """Return why a window of so many samples does not fit the learned positions; empty if it does."""
        step, cells = self.step, self.cells
        if -(-samples // step) == cells:
            return ""
        return (
            f"its {cells} learned positions are those of windows of {(cells - 1) * step + 1} to {cells * step} samples, and "
            f"the model file's window has {samples}; write fs and seconds into a copy of the model file"
        )


class MerlResNet(MerlNetwork):
    """MERL with a ResNet: encoder -> `downconv` -> attention pooling."""

    step = 16

    def __init__(self, depths: tuple[int, ...], bottleneck: bool, pool_heads: int = 4, samples: int = _SAMPLES) -> None:
        super().__init__(JOINT_WIDTH)
        self.ecg_encoder = ResNetEncoder(depths, bottleneck)
        self.downconv = PointwiseConv(self.ecg_encoder.channels, JOINT_WIDTH, 1)
        self.att_pool_head = AttentionPool(-(-samples // self.step), pool_heads)

    @property
    def cells(self) -> int:
        """How many cells the learned positions are for; the first one is the query's."""
        return self.att_pool_head.positional_embedding.shape[1] - 1

    def adapt_state(self, state: dict[str, Tensor], source: Path) -> dict[str, Tensor]:
        """Return the part of a checkpoint that is this network, with as many positions as the file has."""
        state = super().adapt_state(state, source)
        self.att_pool_head.positional_embedding = _positions(
            state.get("att_pool_head.positional_embedding"), self.att_pool_head.positional_embedding
        )
        return state

    def forward(self, x: Tensor) -> Tensor:
        """Return the joint embedding, before L2."""
        embedded: Tensor = self.att_pool_head(self.downconv(self.ecg_encoder(x)))
        return embedded

    def attention_pooling(self) -> AttentionPooling:
        """Return where the head's attention is; the query's own token comes first."""
        return AttentionPooling(
            "att_pool_head.mhsa.attend", f"ecg_encoder.layer{self.ecg_encoder.stages}", n_prefix_tokens=1
        )


class MerlViT(MerlNetwork):
    """MERL with a ViT: encoder (mean token, normalised) -> `proj_e`."""

    step = ViTEncoder.patch

    @property
    def cells(self) -> int:
        """How many patches the learned positions are for."""
        return self.ecg_encoder.pos_embedding.shape[1]

    def adapt_state(self, state: dict[str, Tensor], source: Path) -> dict[str, Tensor]:
        """Return the part of a checkpoint that is this network, with as many positions as the file has."""
        state = super().adapt_state(state, source)
        self.ecg_encoder.pos_embedding = _positions(
            state.get("ecg_encoder.pos_embedding"), self.ecg_encoder.pos_embedding
        )
        return state

    def __init__(self, width: int, samples: int = _SAMPLES) -> None:
        super().__init__(width)
        self.ecg_encoder = ViTEncoder(width, samples=samples)
        self.proj_e = nn.Sequential(
            nn.Linear(width, JOINT_WIDTH),
            nn.BatchNorm1d(JOINT_WIDTH),
            nn.ReLU(),
            nn.Linear(JOINT_WIDTH, JOINT_WIDTH),
            nn.BatchNorm1d(JOINT_WIDTH),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the joint embedding, before L2."""
        embedded: Tensor = self.proj_e(self.ecg_encoder(x))
        return embedded

    def self_attention(self) -> SelfAttention:
        """Return where each block's attention is; the tokens are the patches, and their mean is the output."""
        blocks = tuple(f"ecg_encoder.block{i}" for i in range(self.ecg_encoder.depth))
        return SelfAttention(tuple(f"{block}.attn.fn.attend" for block in blocks), blocks, blocks[-1])

    def readout(self, tokens: Tensor) -> Tensor:
        """Return the joint embedding, before L2, of tokens (B, N, W)."""
        embedded: Tensor = self.proj_e(self.ecg_encoder.readout(tokens))
        return embedded


def build(arch: str, samples: int = _SAMPLES) -> MerlNetwork:
    """Return a network with untrained weights.

    Parameters
    ----------
    arch : str
        ``resnet18``, ``resnet34``, ``resnet50``, ``resnet101``, ``vit-tiny``, ``vit-small``, ``vit-middle``, ``vit-base``.
    samples : int
        Length of the window that the learned positions are for, unless a checkpoint has others.

    Raises
    ------
    EcgcamError
        If there is no such architecture.
    """
    if arch in RESNETS:
        return MerlResNet(*RESNETS[arch], samples=samples)
    if arch in VITS:
        return MerlViT(VITS[arch], samples)
    raise EcgcamError(f"options.arch: MERL has no {arch!r}; choose from {', '.join([*RESNETS, *VITS])}")


def _positions(saved: Tensor | None, own: nn.Parameter) -> nn.Parameter:
    """Return learned positions (1, N, W) as many as a file's, without numbers; our own where the file has none of the width."""
    if saved is None or saved.ndim != 3 or saved.shape[::2] != own.shape[::2] or saved.shape[1] < 2:
        return own
    return nn.Parameter(torch.empty(saved.shape, device=own.device))


def _need_cells(count: int, wanted: int) -> None:
    if count != wanted:
        raise EcgcamError(
            f"MERL: its positions are for {wanted} cells, and this window gives {count}; write fs and seconds of "
            "the training in the model file"
        )
