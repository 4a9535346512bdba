"""Stand-ins for published checkpoints: narrow networks of each family, and the form in which its files come.

A narrow network is a user's own model file: the shipped one with other [options]. Its checkpoint goes through the whole way
that the real one goes, from the wrapper to the map.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.models.conftest import standin_array
from torch import Tensor, nn

from ecgcam.models.load import build_network, load_model
from ecgcam.models.model_file import load_spec
from ecgcam.protocol.model import AnswersPrompts, EcgTextModel
from ecgcam.protocol.spec import ModelSpec
from ecgcam.resources import configs

State = dict[str, Tensor]
PROMPTS = ("sinus rhythm", "atrial fibrillation")


def prefixed(state: State, prefix: str) -> State:
    return {prefix + key: value for key, value in state.items()}


def beside(*keys: str) -> State:
    """What a file holds beside the network that ecgcam runs."""
    return {key: torch.ones(2) for key in keys}


@dataclass(frozen=True)
class Published:
    """How a family's files look.

    Attributes
    ----------
    options : dict
        A narrow network's [options].
    wrap : callable
        The network's own state dict to what its authors saved, with keys beside it that no network here takes.
    filled_in : dict
        What a user has to write into the model file before the model runs.
    """

    options: dict[str, Any]
    wrap: Callable[[State], Any] = lambda state: state
    filled_in: dict[str, str] = field(default_factory=dict)


_WAV2VEC2 = {"width": 64, "heads": 2, "hidden": 64, "stem": 16}
_FAIRSEQ = ("mask_emb", "quantizer.vars", "quantizer.weight_proj.weight", "project_q.weight", "final_proj.bias")


def _melp(state: State) -> State:
    """The encoder alone, without its outer prefix, in half precision: as on the hub."""
    tower = {
        key.removeprefix("ecg_encoder."): value.bfloat16()
        for key, value in state.items()
        if not key.startswith("proj_t.")
    }
    extra = (*(f"ecg_encoder.{key}" for key in _FAIRSEQ), "attn_pool_caption.query", "ln_caption.weight", "logit_scale")
    return tower | beside(*extra, "bn.running_mean")


def _transformers_names(state: State) -> State:
    """HuBERT-ECG's encoder as transformers saves it, with the older names of its weight normalisation."""
    names = (
        (r"^encoder\.", ""),
        (r"conv_layers\.(\d+)\.0\.", r"conv_layers.\1.conv."),
        (r"conv_layers\.0\.2\.", "conv_layers.0.layer_norm."),
        (r"^layer_norm\.", "feature_projection.layer_norm."),
        (r"^post_extract_proj\.", "feature_projection.projection."),
        (r"^conv_pos\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
        (r"\.self_attn\.", ".attention."),
        (r"\.self_attn_layer_norm\.", ".layer_norm."),
        (r"\.fc1\.", ".feed_forward.intermediate_dense."),
        (r"\.fc2\.", ".feed_forward.output_dense."),
    )
    saved = {}
    for key, value in state.items():
        for pattern, to in names:
            key = re.sub(pattern, to, key)
        saved[key] = value
    extra = beside("masked_spec_embed", "final_proj.0.weight", "label_embedding.0.weight")
    return {key: value for key, value in saved.items() if not key.startswith("classifier.")} | extra


def _ked(state: State) -> dict[str, Any]:
    """Three networks beside each other, some of their weights under two names."""

    def part(name: str) -> State:
        return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}

    ecg, query, text = (part(name) for name in ("ecg_model", "model", "text_encoder_head"))
    ecg |= {key.replace(".convs.", ".convpath.0."): ecg[key] for key in ecg if ".convs." in key}
    query |= {f"decoder.norm.{key}": query[f"decoder_norm.{key}"] for key in ("weight", "bias")}
    query |= beside("logit_scale")
    text |= beside("bert_model.embeddings.position_ids", "bert_model.pooler.dense.bias", "logit_scale")
    rest = {"optimizer": {"state": {}}, "lr_scheduler": {}, "config": {"class_num": 5}, "epoch": 9}
    return {"model": query, "ecg_model": ecg, "text_encoder": text} | rest


PUBLISHED = {
    "melp": Published(_WAV2VEC2 | {"joint": 32, "queries": 12, "pool_heads": 2}, _melp),
    "d-beta": Published(
        _WAV2VEC2 | {"joint": 32, "text_width": 24},
        lambda state: {
            "model": state
            | beside(
                "ecg_encoder.mask_emb",
                "language_encoder.shared.weight",
                "modality_type_embeddings.weight",
                "multi_modal_ecg_layers.0.x",
                "multi_modal_language_pooler.dense.bias",
                "mlm_head.bias",
                "itm_head.fc.bias",
            ),
            "args": None,
        },
    ),
    "ecg-coca": Published(
        {"width": 32, "depth": 12, "heads": 2, "joint": 16, "text_width": 24},
        lambda state: {
            "epoch": 3,
            "name": "coca",
            "state_dict": prefixed(
                state
                | beside(
                    "text.transformer.embeddings.word_embeddings.weight", "text_decoder.ln_final.bias", "logit_scale"
                ),
                "module.",
            ),
        },
    ),
    "esi": Published(
        {"widths": (16, 16, 32, 32), "depths": (1, 1, 2, 1), "width": 24, "joint": 16},
        lambda state: (
            state
            | beside(
                "img_encoder.head.weight",
                "img_attn_pool.to_q.weight",
                "text_cls_norm.gamma",
                "temperature",
                "unimodal_layers.pooler.dense.bias",
                "multimodal_layers.0.0.fn.norm.gamma",
                "to_logits.1.weight",
            )
        ),
    ),
    "echoing-ecg": Published(
        {"width": 8, "depths": (1, 1, 2, 1), "joint": 16, "positions": 8, "text_width": 24},
        lambda state: (
            {key.replace("text_encoder_head.", "text_encoder."): value for key, value in state.items()}
            | beside(
                "text_encoder.backbone.pooler.dense.bias",
                "text_encoder.std_linear.bias",
                "ecg_encoder.std_gpool.linear.weight",
            )
        ),
        {'\nnormalisation = "fixed"': '\nnormalisation = "fixed"\noffset = [0]\nscale = [5]'},
    ),
    "ecgfounder": Published(
        {"filters": (16,) * 3 + (32,) * 4, "blocks": (1, 2, 1, 1, 1, 1, 1), "labels": 5},
        lambda state: {
            "epoch": 1,
            "step": 10000,
            "state_dict": state | beside("first_bn.weight", "stage_list.0.block_list.0.bn1.running_var"),
        },
    ),
    "ribeiro": Published(
        {"filters": (8, 8, 12, 12, 16)}, lambda state: {"epoch": 9, "model": state, "valid_loss": 1.0}
    ),
    "xresnet1d101": Published(
        {"widths": (8, 8, 8, 8), "depths": (1, 2, 2, 1), "hidden": 16, "labels": 5},
        lambda state: {
            "model": state | {key.replace(".convs.", ".convpath.0."): state[key] for key in state if ".convs." in key},
            "opt": {"state": {}, "param_groups": []},
        },
        {'\nnormalisation = "fixed"': '\nnormalisation = "fixed"\noffset = [0]\nscale = [4]'},
    ),
    "ked": Published(
        {"widths": (8, 8, 8, 8), "depths": (1, 2, 2, 1), "layers": 2, "heads": 2, "hidden": 16, "text_width": 24}, _ked
    ),
    "st-mem": Published(
        {"width": 64, "depth": 12, "patch": 75, "patches": 30, "labels": 5},
        lambda state: {"model": {key: value for key, value in state.items() if not key.startswith("head.")}},
    ),
    "anyecg": Published(
        {"width": 64, "depth": 12, "patch": 200, "patches": 5, "joint": 16},
        lambda state: prefixed(state, "ecg_model.model.") | beside("text_model.model.pooler.dense.bias", "logit_scale"),
    ),
    "hubert-ecg": Published(_WAV2VEC2 | {"labels": 5}, lambda state: {"model_state_dict": _transformers_names(state)}),
    "ecg-fm": Published(
        _WAV2VEC2 | {"labels": 5},
        lambda state: {"model": state | beside("encoder.mask_emb"), "cfg": {"model": {"num_labels": 17}}},
    ),
}


def narrow_file(name: str, folder: Path) -> Path:
    """Write the model file of a narrow network of a family."""
    text = (configs() / "models" / f"{name}.toml").read_text(encoding="utf-8")
    lines = "\n".join(f"{key} = {_toml(value)}" for key, value in PUBLISHED[name].options.items())
    text = re.sub(r"\[options\]\n.*?\n\n", lambda _: f"[options]\n{lines}\n\n", text, count=1, flags=re.DOTALL)
    for before, after in PUBLISHED[name].filled_in.items():
        assert before in text
        text = text.replace(before, after)
    path = folder / f"{name}-narrow.toml"
    path.write_text(text, encoding="utf-8")
    return path


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(list(value) if isinstance(value, tuple) else value)


def standin_state(network: nn.Module) -> State:
    return {
        key: torch.from_numpy(np.asarray(standin_array(key, tuple(value.shape))))
        for key, value in network.state_dict().items()
    }


def write_checkpoint(name: str, spec: ModelSpec, path: Path) -> Path:
    """Save stand-in weights of a model in the form in which its family publishes them."""
    torch.save(PUBLISHED[name].wrap(standin_state(build_network(spec))), path)
    return path


def write_table(spec: ModelSpec, width: int, path: Path) -> Path:
    """A table of prompts in the joint space."""
    features = np.random.default_rng(7).standard_normal((len(PROMPTS), width)).astype("f4")
    np.savez(path, texts=np.array(PROMPTS), features=features, tower=spec.text_model)
    return path


def published_model(name: str, folder: Path) -> EcgTextModel:
    """A narrow network of a family, loaded from the form in which its checkpoints come, with a table of prompts."""
    file = narrow_file(name, folder)
    spec = load_spec(file)
    checkpoint = write_checkpoint(name, spec, folder / "published.pt")
    bare = load_model(file, checkpoint, device="cpu")
    with torch.no_grad():
        width = bare.encode_signal(torch.zeros(1, 12, spec.input.samples)).shape[-1]
    if isinstance(bare.network, AnswersPrompts):  # its table holds the text tower's features
        width = bare.network.text_width
    return load_model(file, checkpoint, embeddings=write_table(spec, width, folder / "t.npz"), device="cpu")
