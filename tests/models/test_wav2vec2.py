"""The wav2vec2-style encoder against transformers' Hubert with the same weights, and the keys of the families that have it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import HubertConfig, HubertModel

from ecgcam.models.families import dbeta, ecgfm, hubert, melp
from ecgcam.models.families.blocks import without
from ecgcam.models.load import build_network
from ecgcam.models.model_file import load_spec

Shapes = dict[str, tuple[int, ...]]
SOURCE = Path("checkpoint.pt")


def linear(name: str, before: int, after: int) -> Shapes:
    return {f"{name}.weight": (after, before), f"{name}.bias": (after,)}


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def encoder_shapes(prefix: str, depth: int) -> Shapes:
    """fairseq-signals' encoder at 768, written from its modules."""
    shapes = {f"feature_extractor.conv_layers.{i}.0.weight": (256, 256 if i else 12, 2) for i in range(4)}
    shapes |= norm("feature_extractor.conv_layers.0.2", 256) | norm("layer_norm", 256)
    shapes |= linear("post_extract_proj", 256, 768) | norm("encoder.layer_norm", 768)
    shapes |= {"conv_pos.pos_conv.0.weight_g": (1, 1, 128), "conv_pos.pos_conv.0.weight_v": (768, 48, 128)}
    shapes |= {"conv_pos.pos_conv.0.bias": (768,)}
    for i in range(depth):
        layer = f"encoder.layers.{i}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= linear(f"{layer}.self_attn.{part}", 768, 768)
        shapes |= norm(f"{layer}.self_attn_layer_norm", 768) | norm(f"{layer}.final_layer_norm", 768)
        shapes |= linear(f"{layer}.fc1", 768, 3072) | linear(f"{layer}.fc2", 3072, 768)
    return {prefix + key: shape for key, shape in shapes.items()}


def shapes_of(name: str) -> Shapes:
    return {key: tuple(value.shape) for key, value in build_network(load_spec(name)).state_dict().items()}


def test_melp_has_the_published_keys_and_shapes() -> None:
    pool = "ecg_encoder.attn_pool_contrast"
    shapes = encoder_shapes("ecg_encoder.ecg_encoder.", 8) | linear("proj_t.0", 768, 256) | linear("proj_t.2", 256, 256)
    shapes |= norm(f"{pool}.ln_q", 256) | norm(f"{pool}.ln_k", 768) | norm("ecg_encoder.ln_contrast", 256)
    shapes |= {f"{pool}.query": (13, 256), "ecg_encoder.proj_contrast": (256, 256)}
    # torch.nn.MultiheadAttention whose keys and values are wider than its queries.
    shapes |= {f"{pool}.attn.q_proj_weight": (256, 256), f"{pool}.attn.in_proj_bias": (768,)}
    shapes |= {f"{pool}.attn.k_proj_weight": (256, 768), f"{pool}.attn.v_proj_weight": (256, 768)}
    shapes |= linear(f"{pool}.attn.out_proj", 256, 256)
    assert shapes_of("melp") == shapes


def test_d_beta_has_the_published_keys_and_shapes() -> None:
    shapes = encoder_shapes("ecg_encoder.", 8) | {"class_embedding": (768,)}
    for name in (
        "multi_modal_ecg_proj", "multi_modal_language_proj", "unimodal_ecg_pooler.dense", "unimodal_language_pooler.dense",
    ):  # fmt: skip
        shapes |= linear(name, 768, 768)
    assert shapes_of("d-beta") == shapes


def test_ecg_fm_has_the_published_keys_and_shapes() -> None:
    assert shapes_of("ecg-fm") == encoder_shapes("encoder.", 12) | linear("proj", 768, 17)


@pytest.fixture(scope="module")
def reference() -> HubertModel:
    """A Hubert of transformers, small but with every part, and weights large enough to matter."""
    config = HubertConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48, conv_dim=(16,) * 5,
        conv_kernel=hubert.KERNELS, conv_stride=hubert.STRIDES, num_conv_pos_embeddings=128,
        num_conv_pos_embedding_groups=16, hidden_dropout=0.0, attention_dropout=0.0, feat_proj_dropout=0.0, layerdrop=0.0,
    )  # fmt: skip
    model = HubertModel(config).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            gain = 1.5 / parameter[0].numel() ** 0.5 if parameter.ndim > 1 and "original0" not in name else 0.2
            parameter.copy_(gain * values + (parameter.ndim == 1 and name.endswith("weight")) + ("original0" in name))
    return model


@pytest.mark.parametrize("old_names", [False, True])
def test_the_encoder_is_that_of_transformers(reference: HubertModel, old_names: bool) -> None:
    state = dict(reference.state_dict())
    if old_names:
        state = {
            key.replace("parametrizations.weight.original0", "weight_g").replace(
                "parametrizations.weight.original1", "weight_v"
            ): value
            for key, value in state.items()
        }
    assert any("weight_g" in key for key in state) == old_names
    network = hubert.build(labels=3, width=32, depth=3, heads=4, hidden=48, stem=16).eval()
    network.load_state_dict(network.adapt_state(state, SOURCE))
    x = torch.randn(2, 12, 500, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = reference(x.flatten(1)).last_hidden_state
        tokens = network.encoder(x.flatten(1)[:, None])
        assert tokens.shape == wanted.shape == (2, 93, 32)
        assert wanted.std() > 0.3
        assert (tokens - wanted).abs().max() < 1e-5
        # Nothing in the file says what to classify: the mean token is the embedding.
        assert (network(x) - wanted.mean(dim=1)).abs().max() < 1e-5


def test_a_finetuned_classifier_is_as_wide_as_the_file(reference: HubertModel) -> None:
    state = {f"hubert_ecg.{key}": value for key, value in reference.state_dict().items()}
    state |= {"classifier.weight": torch.randn(7, 32), "classifier.bias": torch.randn(7)}
    network = hubert.build(labels=1, width=32, depth=3, heads=4, hidden=48, stem=16).eval()
    network.load_state_dict(network.adapt_state(state, SOURCE), assign=True)
    x = torch.randn(2, 12, 500)
    with torch.no_grad():
        mean = reference(x.flatten(1)).last_hidden_state.mean(dim=1)
        wanted = mean @ state["classifier.weight"].T + state["classifier.bias"]
        assert (network(x) - wanted).abs().max() < 1e-5


def small(build: object, **options: int) -> nn.Module:
    sizes = {"width": 32, "depth": 2, "heads": 4, "hidden": 48, "stem": 16} | options
    network: nn.Module = build(**sizes).eval()  # type: ignore[operator]
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            size = parameter[0].numel() ** 0.5 if parameter.ndim > 1 else 1.0
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / size)
    return network


def signals() -> Tensor:
    return torch.randn(2, 12, 800, generator=torch.Generator().manual_seed(3))


def test_melp_reads_its_tokens_with_queries() -> None:
    network = small(melp.build, joint=16, queries=3, pool_heads=2)
    tower = network.ecg_encoder
    pool = tower.attn_pool_contrast
    with torch.no_grad():
        tokens = nn.functional.layer_norm(tower.ecg_encoder(signals()), (32,), pool.ln_k.weight, pool.ln_k.bias)
        query = nn.functional.layer_norm(pool.query, (16,), pool.ln_q.weight, pool.ln_q.bias)
        q_bias, k_bias, v_bias = pool.attn.in_proj_bias.chunk(3)
        q = query @ pool.attn.q_proj_weight.T + q_bias
        k, v = tokens @ pool.attn.k_proj_weight.T + k_bias, tokens @ pool.attn.v_proj_weight.T + v_bias
        gathered = []
        for head in (slice(0, 8), slice(8, 16)):
            weights = torch.softmax(torch.einsum("qd,bnd->bqn", q[:, head], k[..., head]) / 8**0.5, dim=-1)
            gathered.append(torch.einsum("bqn,bnd->bqd", weights, v[..., head]))
        out = torch.cat(gathered, dim=-1) @ pool.attn.out_proj.weight.T + pool.attn.out_proj.bias
        normed = nn.functional.layer_norm(out, (16,), tower.ln_contrast.weight, tower.ln_contrast.bias)
        wanted = (normed @ tower.proj_contrast).mean(dim=1)
        assert wanted.std() > 0.1
        assert (network(signals()) - wanted).abs().max() < 1e-5


def test_d_beta_puts_its_class_token_first_and_reads_it_alone() -> None:
    network = small(dbeta.build, joint=16, text_width=8)
    with torch.no_grad():
        embedded = network.ecg_encoder.embed(signals())
        tokens = torch.cat([network.class_embedding.repeat(2, 1, 1), embedded], dim=1)
        last = network.ecg_encoder.encoder(tokens)
        assert last.shape == (2, 51, 32)
        projected = last[:, 0] @ network.multi_modal_ecg_proj.weight.T + network.multi_modal_ecg_proj.bias
        dense = network.unimodal_ecg_pooler.dense
        wanted = torch.tanh(projected @ dense.weight.T + dense.bias)
        assert (network(signals()) - wanted).abs().max() < 1e-6
        text = torch.randn(3, 8)
        language, pooler = network.multi_modal_language_proj, network.unimodal_language_pooler.dense
        wanted = torch.tanh((text @ language.weight.T + language.bias) @ pooler.weight.T + pooler.bias)
        assert (network.project_text(text) - wanted).abs().max() < 1e-6


def test_ecg_fm_classifies_the_mean_token_and_does_without_a_classifier() -> None:
    network = small(ecgfm.build, labels=4)
    state = dict(network.state_dict())
    with torch.no_grad():
        mean = network.encoder(signals()).mean(dim=1)
        assert (network(signals()) - (mean @ network.proj.weight.T + network.proj.bias)).abs().max() < 1e-6
        pretrained = {key.removeprefix("encoder."): value for key, value in without(state, ["proj."]).items()}
        bare = ecgfm.build(labels=4, width=32, depth=2, heads=4, hidden=48, stem=16).eval()
        bare.load_state_dict(bare.adapt_state(pretrained | {"quantizer.vars": torch.ones(1)}, SOURCE))
        assert torch.equal(bare(signals()), mean)
