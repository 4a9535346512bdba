"""ECG-CoCa, ST-MEM and anyECG: keys and shapes as published, and what torch's own attention makes of the same weights."""

from __future__ import annotations

from pathlib import Path

import torch
from tests.models.test_convolutional import agree, filled, linear
from torch import Tensor, nn
from torch.nn import functional

from ecgcam.models.families import coca, leadpatches
from ecgcam.models.families.blocks import PackedAttention, ProjectedAttention
from ecgcam.models.load import build_network
from ecgcam.models.model_file import load_spec

Shapes = dict[str, tuple[int, ...]]
SOURCE = Path("checkpoint.pt")


def gain(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def shapes_of(network: nn.Module) -> Shapes:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def test_ecg_coca_has_the_published_keys_and_shapes() -> None:
    shapes: Shapes = {
        "ecg.conv1.weight": (768, 12, 50), "ecg.class_embedding": (768,), "ecg.positional_embedding": (101, 768),
        "ecg.proj": (768, 512), "text.proj.weight": (512, 768),
    }  # fmt: skip
    shapes |= gain("ecg.ln_pre", 768) | gain("ecg.ln_post", 768)
    for i in range(12):
        block = f"ecg.transformer.resblocks.{i}"
        shapes |= gain(f"{block}.ln_1", 768) | gain(f"{block}.ln_2", 768)
        shapes |= {f"{block}.attn.in_proj_weight": (2304, 768), f"{block}.attn.in_proj_bias": (2304,)}
        shapes |= linear(f"{block}.attn.out_proj", 768, 768)
        shapes |= linear(f"{block}.mlp.c_fc", 768, 3072) | linear(f"{block}.mlp.c_proj", 3072, 768)
    assert shapes_of(build_network(load_spec("ecg-coca"))) == shapes


def test_packed_and_projected_attention_are_torch_s_own() -> None:
    theirs = nn.MultiheadAttention(24, 4, batch_first=True).eval()
    filled(theirs)
    packed, projected = PackedAttention(24, 4), ProjectedAttention(24, 4)
    packed.load_state_dict(theirs.state_dict())
    state = theirs.state_dict()
    q, k, v = state["in_proj_weight"].chunk(3)
    bq, bk, bv = state["in_proj_bias"].chunk(3)
    projected.load_state_dict(
        {
            "q_proj.weight": q,
            "k_proj.weight": k,
            "v_proj.weight": v,
            "q_proj.bias": bq,
            "k_proj.bias": bk,
            "v_proj.bias": bv,
        }
        | {f"out_proj.{part}": state[f"out_proj.{part}"] for part in ("weight", "bias")}
    )
    x = torch.randn(2, 7, 24)
    with torch.no_grad():
        wanted = theirs(x, x, x, need_weights=False)[0]
        agree(packed(x), wanted)
        agree(projected(x), wanted)
        # Not by accident of near-uniform weights.
        assert (packed(x) - packed(x).mean(dim=1, keepdim=True)).abs().max() > 0.05


def test_ecg_coca_against_torch_s_encoder_layer() -> None:
    """open_clip's block is torch's pre-norm encoder layer under other names."""
    network = filled(coca.build(width=24, depth=2, heads=4, joint=10, patch=50, patches=6, text_width=8))
    state = network.state_dict()
    x = torch.randn(2, 12, 300)
    with torch.no_grad():
        tokens = functional.conv1d(x, state["ecg.conv1.weight"], stride=50).mT
        tokens = torch.cat([state["ecg.class_embedding"].repeat(2, 1, 1), tokens], dim=1)
        tokens = tokens + state["ecg.positional_embedding"]
        tokens = functional.layer_norm(tokens, (24,), state["ecg.ln_pre.weight"], state["ecg.ln_pre.bias"])
        for i in range(2):
            prefix = f"ecg.transformer.resblocks.{i}."
            layer = nn.TransformerEncoderLayer(24, 4, 96, 0.0, "gelu", batch_first=True, norm_first=True).eval()
            names = {
                "ln_1": "norm1",
                "ln_2": "norm2",
                "mlp.c_fc": "linear1",
                "mlp.c_proj": "linear2",
                "attn": "self_attn",
            }
            mapped = {}
            for key, value in state.items():
                for ours, theirs in names.items():
                    if key.startswith(f"{prefix}{ours}."):
                        mapped[theirs + key.removeprefix(prefix + ours)] = value
            layer.load_state_dict(mapped)
            tokens = layer(tokens)
        first = functional.layer_norm(tokens[:, 0], (24,), state["ecg.ln_post.weight"], state["ecg.ln_post.bias"])
        agree(network(x), first @ state["ecg.proj"])
        text = torch.randn(3, 8)
        agree(network.project_text(text), text @ state["text.proj.weight"].T)  # type: ignore[operator]


def grid_shapes(patch: int, positions: int) -> Shapes:
    shapes = gain("to_patch_embedding.1", patch) | linear("to_patch_embedding.2", patch, 768)
    return shapes | gain("to_patch_embedding.3", 768) | {"pos_embedding": (1, positions, 768)} | gain("norm", 768)


def test_st_mem_has_the_published_keys_and_shapes() -> None:
    shapes = grid_shapes(75, 32) | {"sep_embedding": (768,)} | linear("head", 768, 1)
    shapes |= {f"lead_embeddings.{i}": (768,) for i in range(12)}
    for i in range(12):
        shapes |= gain(f"block{i}.attn.norm", 768) | gain(f"block{i}.ff.norm", 768)
        shapes |= linear(f"block{i}.attn.fn.to_qkv", 768, 2304) | linear(f"block{i}.attn.fn.to_out.0", 768, 768)
        shapes |= linear(f"block{i}.ff.fn.net.0", 768, 3072) | linear(f"block{i}.ff.fn.net.3", 3072, 768)
    with torch.device("meta"):
        assert shapes_of(leadpatches.build_st_mem()) == shapes


def test_anyecg_has_the_published_keys_and_shapes() -> None:
    shapes = grid_shapes(200, 6) | {"lead_embedding": (1, 12, 768), "cls_token": (768,), "fc.weight": (512, 768)}
    for i in range(12):
        layer = f"transformer.layers.{i}"
        shapes |= gain(f"{layer}.0.norm", 768) | {f"{layer}.0.to_qkv.weight": (2304, 768)}
        shapes |= linear(f"{layer}.0.to_out.0", 768, 768) | gain(f"{layer}.1.net.0", 768)
        shapes |= linear(f"{layer}.1.net.1", 768, 3072) | linear(f"{layer}.1.net.4", 3072, 768)
    with torch.device("meta"):
        assert shapes_of(leadpatches.build_anyecg()) == shapes


def patched(x: Tensor, patch: int, state: dict[str, Tensor]) -> list[list[Tensor]]:
    """Each lead's patches as tokens, (lead, patch) -> (B, W)."""
    out = []
    for lead in range(12):
        row = []
        for begin in range(0, x.shape[-1], patch):
            token = x[:, lead, begin : begin + patch]
            first, last = (
                (state[f"to_patch_embedding.{i}.weight"], state[f"to_patch_embedding.{i}.bias"]) for i in (1, 3)
            )
            token = functional.layer_norm(token, (patch,), *first)
            token = token @ state["to_patch_embedding.2.weight"].T + state["to_patch_embedding.2.bias"]
            row.append(functional.layer_norm(token, (token.shape[-1],), *last))
        out.append(row)
    return out


def test_st_mem_puts_each_lead_between_separators_and_reads_the_mean_patch() -> None:
    network = filled(leadpatches.build_st_mem(width=64, depth=1, patch=10, patches=3, labels=4))
    state = network.state_dict()
    x = torch.randn(2, 12, 30)
    with torch.no_grad():
        tokens, keep = [], []
        for lead, row in enumerate(patched(x, 10, state)):
            separator = state["sep_embedding"].repeat(2, 1)
            for place, token in enumerate([separator, *row, separator]):
                tokens.append(token + state["pos_embedding"][0, place] + state[f"lead_embeddings.{lead}"])
                keep.append(0 < place < 4)
        stacked = network.get_submodule("block0")(torch.stack(tokens, dim=1))
        mean = stacked[:, torch.tensor(keep)].mean(dim=1)
        normed = functional.layer_norm(mean, (64,), state["norm.weight"], state["norm.bias"])
        agree(network(x), normed @ state["head.weight"].T + state["head.bias"])
        # The published encoder brings no head: the embedding is the normalised mean. The whole autoencoder gives its encoder.
        encoder = {f"encoder.{key}": value for key, value in state.items() if not key.startswith("head.")}
        bare = leadpatches.build_st_mem(width=64, depth=1, patch=10, patches=3)
        bare.load_state_dict(bare.adapt_state(encoder | {"mask_embedding": torch.ones(1)}, SOURCE))
        agree(bare.eval()(x), normed)


def test_anyecg_reads_its_class_token() -> None:
    network = filled(leadpatches.build_anyecg(width=64, depth=1, patch=10, patches=3, joint=5))
    state = network.state_dict()
    x = torch.randn(2, 12, 30)
    with torch.no_grad():
        tokens = [state["cls_token"].repeat(2, 1) + state["pos_embedding"][0, 0]]
        for lead, row in enumerate(patched(x, 10, state)):
            tokens += [
                token + state["lead_embedding"][0, lead] + state["pos_embedding"][0, i + 1]
                for i, token in enumerate(row)
            ]
        h = torch.stack(tokens, dim=1)
        layer = "transformer.layers.0"
        normed = functional.layer_norm(h, (64,), state[f"{layer}.0.norm.weight"], state[f"{layer}.0.norm.bias"])
        attention = nn.MultiheadAttention(64, 1, bias=True, batch_first=True).eval()
        attention.load_state_dict(
            {"in_proj_weight": state[f"{layer}.0.to_qkv.weight"], "in_proj_bias": torch.zeros(192)}
            | {f"out_proj.{part}": state[f"{layer}.0.to_out.0.{part}"] for part in ("weight", "bias")}
        )
        h = h + attention(normed, normed, normed, need_weights=False)[0]
        inner = functional.layer_norm(h, (64,), state[f"{layer}.1.net.0.weight"], state[f"{layer}.1.net.0.bias"])
        inner = functional.gelu(inner @ state[f"{layer}.1.net.1.weight"].T + state[f"{layer}.1.net.1.bias"])
        h = h + inner @ state[f"{layer}.1.net.4.weight"].T + state[f"{layer}.1.net.4.bias"]
        first = functional.layer_norm(h[:, 0], (64,), state["norm.weight"], state["norm.bias"])
        agree(network(x), first @ state["fc.weight"].T)
        published = {f"ecg_model.model.{key}": value for key, value in state.items()} | {"text_model.x": torch.ones(1)}
        network.load_state_dict(network.adapt_state(published, SOURCE))  # type: ignore[operator]
