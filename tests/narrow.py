"""Narrow networks of MERL's own classes, for methods that run a model hundreds of times."""

from __future__ import annotations

import torch
from torch import nn

from ecgcam.models.families.merl import MerlResNet, MerlViT, ResidualBlock, ViTEncoder
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import LayerSpec
from ecgcam.records import CANONICAL_LEADS
from tests.toys import toy_model


def narrow_resnet() -> EcgTextModel:
    """One block of eight channels a stage; strides, cells and pooling as published."""
    network = MerlResNet((1, 1, 1, 1), False)
    encoder = network.ecg_encoder
    encoder.conv1, encoder.bn1 = nn.Conv1d(12, 8, 7, 2, 3, bias=False), nn.BatchNorm1d(8)
    for i in range(4):
        encoder.add_module(f"layer{i + 1}", nn.Sequential(ResidualBlock(8, 8, 2 if i else 1, False)))
    network.downconv = nn.Conv1d(8, 256, 1)
    return _merl(network, {"ecg_encoder.layer4": LayerSpec("BCT", 16, 0)})


def narrow_vit() -> EcgTextModel:
    """One head of 64, two blocks."""
    network = MerlViT(64)
    network.ecg_encoder = ViTEncoder(64, depth=2)
    return _merl(network, {"ecg_encoder.block1": LayerSpec("BTC", 50, 24.5)})


def _merl(network: nn.Module, layers: dict[str, LayerSpec]) -> EcgTextModel:
    """A model with weights drawn large enough to keep signals alive."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(1.5 * values / parameter[0].numel() ** 0.5)
            else:  # the gain of a normalisation, or a bias
                parameter.copy_(0.1 * values + (not name.endswith("bias")))
    return toy_model(
        network, layers, leads=CANONICAL_LEADS, samples=5000, fs=500.0, width=256, similarity="cosine",
        normalisation="minmax", fill="baseline",
    )  # fmt: skip
