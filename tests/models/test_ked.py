"""KED: keys and shapes as published, a slow copy of its decoder, and prompts that are asked one by one of one network."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.models.published import PROMPTS, narrow_file, write_checkpoint, write_table
from tests.models.test_convolutional import Shapes, agree, filled, linear, shapes_of, xresnet_shapes
from torch import Tensor

from ecgcam import explain
from ecgcam.cli.app import run
from ecgcam.errors import EcgcamError
from ecgcam.evidence.sanity import randomised
from ecgcam.models.families import ked
from ecgcam.models.load import load_model
from ecgcam.models.model_file import load_spec
from ecgcam.protocol.model import EcgTextModel
from ecgcam.records import Record
from ecgcam.records.simulator import simulate, write

WIDTH = 32  # of the narrow network's tokens


def gain(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def test_ked_has_the_published_keys_and_shapes() -> None:
    shapes = {f"ecg_model.{key}": shape for key, shape in xresnet_shapes((64, 128, 128, 192)).items()}
    shapes |= gain("model.decoder_norm", 768)
    shapes |= linear("model.mlp_head.0", 768, 2048) | linear("model.mlp_head.2", 2048, 2)
    for i in range(7):
        layer = f"model.decoder.layers.{i}"
        for attention in ("self_attn", "multihead_attn"):
            shapes |= {f"{layer}.{attention}.in_proj_weight": (2304, 768), f"{layer}.{attention}.in_proj_bias": (2304,)}
            shapes |= linear(f"{layer}.{attention}.out_proj", 768, 768)
        shapes |= linear(f"{layer}.linear1", 768, 1024) | linear(f"{layer}.linear2", 1024, 768)
        shapes |= gain(f"{layer}.norm1", 768) | gain(f"{layer}.norm2", 768) | gain(f"{layer}.norm3", 768)
    for place in (0, 2, 4):
        shapes |= linear(f"text_encoder_head.mlp_embed.{place}", 768, 768)
    assert shapes_of("ked") == shapes


def test_the_query_decoder_against_a_slow_copy() -> None:
    """DETR's decoder, normalising before each part (KED's models/transformer_decoder.py, normalize_before), and the head."""
    network = filled(ked.QueryNetwork(8, depth=2, heads=2, hidden=6, head=5))
    state = network.state_dict()
    queries, tokens = torch.randn(3, 8), torch.randn(2, 5, 8)

    def normed(x: Tensor, name: str) -> Tensor:
        mean, var = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
        return (x - mean) / (var + 1e-5).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]

    def attention(query: Tensor, memory: Tensor, name: str) -> Tensor:
        """One query (8,) over a memory (N, 8), head by head."""
        rows, bias = state[f"{name}.in_proj_weight"].chunk(3), state[f"{name}.in_proj_bias"].chunk(3)
        q = rows[0] @ query + bias[0]
        k, v = (memory @ rows[i].T + bias[i] for i in (1, 2))
        heads = []
        for h in (slice(0, 4), slice(4, 8)):
            weights = torch.softmax(k[:, h] @ q[h] / 2.0, dim=0)
            heads.append(weights @ v[:, h])
        return state[f"{name}.out_proj.weight"] @ torch.cat(heads) + state[f"{name}.out_proj.bias"]

    wanted = torch.zeros(2, 3)
    with torch.no_grad():
        for b in range(2):
            memory = normed(tokens[b], "decoder_norm")
            for p in range(3):
                asked = normed(queries[p], "decoder_norm")
                for i in range(2):
                    layer = f"decoder.layers.{i}"
                    own = normed(asked, f"{layer}.norm1")
                    asked = asked + attention(own, own[None], f"{layer}.self_attn")
                    asked = asked + attention(normed(asked, f"{layer}.norm2"), memory, f"{layer}.multihead_attn")
                    inner = state[f"{layer}.linear1.weight"] @ normed(asked, f"{layer}.norm3")
                    inner = (inner + state[f"{layer}.linear1.bias"]).clamp(min=0)
                    asked = asked + state[f"{layer}.linear2.weight"] @ inner + state[f"{layer}.linear2.bias"]
                inner = state["mlp_head.0.weight"] @ normed(asked, "decoder_norm") + state["mlp_head.0.bias"]
                inner = 0.5 * inner * (1 + torch.erf(inner / 2**0.5))
                logits = state["mlp_head.2.weight"] @ inner + state["mlp_head.2.bias"]
                wanted[b, p] = logits[1] - logits[0]
        agree(network(queries, tokens), wanted)


def test_the_text_side_is_three_linear_layers_with_gelu_between() -> None:
    side = filled(ked.TextSide(6, 4))
    state, features = side.state_dict(), torch.randn(3, 6)
    with torch.no_grad():
        x = features
        for place in (0, 2, 4):
            x = x if place == 0 else 0.5 * x * (1 + torch.erf(x / 2**0.5))
            x = x @ state[f"mlp_embed.{place}.weight"].T + state[f"mlp_embed.{place}.bias"]
        agree(side(features), x)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A narrow KED: model file, checkpoint in its published form, table of the text tower's features."""
    file = narrow_file("ked", tmp_path)
    spec = load_spec(file)
    return file, write_checkpoint("ked", spec, tmp_path / "c.pt"), write_table(spec, 24, tmp_path / "t.npz")


@pytest.fixture
def model(files: tuple[Path, Path, Path]) -> EcgTextModel:
    file, checkpoint, table = files
    return load_model(file, checkpoint, embeddings=table, device="cpu")


def record() -> Record:
    known = simulate("lbbb", 3)
    return Record("r", known.signal, known.fs, known.leads)


def test_what_is_asked_beside_a_prompt_changes_nothing(model: EcgTextModel, files: tuple[Path, Path, Path]) -> None:
    first, second = explain(record(), PROMPTS, model)
    assert abs(first.score - second.score) > 1e-3
    file, checkpoint, table = files
    alone = load_model(file, checkpoint, embeddings=table, device="cpu")
    (other,) = explain(record(), PROMPTS[1:], alone)
    # The second slot there is the first here; scores agree but for rounding, the place of a signal has no scores in it.
    assert other.score == pytest.approx(second.score, rel=1e-5)
    np.testing.assert_allclose(other.mask_shift, second.mask_shift, atol=1e-6)
    np.testing.assert_allclose(other.map_cells, second.map_cells, atol=1e-5 * np.abs(second.map_cells).max())
    assert second.mask_shift.max() > 1e-3


def test_scores_are_the_network_s_and_phrasings_their_mean(model: EcgTextModel) -> None:
    texts = model.encode_text([*PROMPTS, " | ".join(PROMPTS)])
    x = torch.randn(2, 12, 1000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        scores = model.encode_signal(x) @ texts.T
        network = model.network
        features = model.text.table.features  # type: ignore[attr-defined]
        queries = network.text_encoder_head(torch.from_numpy(features))  # type: ignore[operator]
        tokens = network.ecg_model(x).transpose(1, 2)  # type: ignore[operator]
        wanted = network.model(queries, tokens)  # type: ignore[operator]
    agree(scores[:, :2], wanted)
    agree(scores[:, 2], wanted.mean(dim=1))


def test_a_copy_of_the_network_answers_what_the_first_is_asked(model: EcgTextModel) -> None:
    """Sanity checks draw the weights of a copy anew; prompts go on through the first."""
    twin = randomised(model, 1.0, 0)
    text = model.encode_text(PROMPTS[:1])
    x = torch.randn(1, 12, 1000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        own, other = (each.encode_signal(x) @ text.T for each in (model, twin))
    assert abs(float(own)) > 1e-3
    assert abs(float(other)) > 1e-3
    assert abs(float(own - other)) > 1e-3
    assert len(copy.deepcopy(model.network)._asked) == 1  # type: ignore[arg-type]


def test_two_prompts_are_as_far_apart_as_their_queries(model: EcgTextModel) -> None:
    one, other = model.encode_text(PROMPTS)
    queries = [q / q.norm() for q in model.network._asked]  # type: ignore[union-attr]
    cosine = float(torch.nn.functional.cosine_similarity(one, other, dim=0))
    assert cosine == pytest.approx(float(queries[0] @ queries[1]) / 2, abs=1e-6)


def test_more_prompts_than_slots_are_refused(model: EcgTextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ked, "SLOTS", 1)
    model.encode_text(PROMPTS[:1])
    model.encode_text(PROMPTS[:1])  # the same again takes no other slot
    with pytest.raises(EcgcamError, match="at most 1 different prompts"):
        model.encode_text(PROMPTS[1:])


def test_the_command_line_asks_it_by_text_and_by_likeness_and_embeds_features(
    files: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, checkpoint, table = (str(path) for path in files)
    for finding, seed in (("lbbb", 3), ("normal", 4)):
        write(simulate(finding, seed), tmp_path)
    one, other = str(tmp_path / "lbbb-3.dat"), str(tmp_path / "normal-4.dat")
    call = ["explain", one, "--model", file, "--checkpoint", checkpoint, "--no-png", "--json"]
    assert (
        run([*call, "--embeddings", table, "--text", PROMPTS[0], "--against", PROMPTS[1], "--out", str(tmp_path / "a")])
        == 0
    )
    (row,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert row["score"] != 0
    assert run([*call, "--like", one, "--like", other, "--out", str(tmp_path / "b")]) == 0
    same, unlike = (json.loads(line)["score"] for line in capsys.readouterr().out.splitlines())
    assert same == pytest.approx(1, abs=1e-5)
    assert unlike < same - 1e-3
    assert run([*call, "--target", "3"]) == 2
    assert "--target: ked scores texts" in capsys.readouterr().err
    assert run(["models", "check", checkpoint, "--model", file, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["finite"]
    assert found["gradients reach the target layer"] == "yes"
    assert found["mistakes"]["aVL and aVF exchanged"] > 1e-5
    # A table of joint width would hold slots, which mean nothing elsewhere.
    write_table(load_spec(file), ked.SLOTS + 2 * WIDTH, tmp_path / "wide.npz")
    assert run([*call, "--embeddings", str(tmp_path / "wide.npz"), "--text", PROMPTS[0]]) == 2
    assert "which takes 24 (the text tower's features)" in capsys.readouterr().err
