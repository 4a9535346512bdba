"""Attention of own networks, found or declared: the same as a family's, as plain torch's weights, and as transformers' own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.models.own_networks import INPUT, Joint, Tokens
from tests.narrow import narrow_vit
from torch import Tensor, nn

from ecgcam.attribution.attention import attention_pool, attention_rollout, chefer, legrad
from ecgcam.attribution.attention_maps import _blocks as blocks_of
from ecgcam.attribution.cells import select_lead
from ecgcam.attribution.problem import Problem
from ecgcam.errors import EcgcamError
from ecgcam.models.own import own_model
from ecgcam.protocol.attention import AttentionSpec
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import InputSpec, LayerSpec
from ecgcam.records import Record
from ecgcam.records.simulator import simulate
from ecgcam.runs.api import explain

SELF = (attention_rollout, chefer, legrad)


def problem_of(model: EcgTextModel, text: Tensor, rows: tuple[int, ...] = (0, 1)) -> tuple[Problem, Tensor]:
    leads = len(model.input.leads)
    x = torch.randn(leads, model.input.samples, generator=torch.Generator().manual_seed(3))
    alone = torch.zeros(len(rows), *x.shape)
    alone[torch.arange(len(rows)), list(rows)] = x[list(rows)]
    valid, scale = torch.ones_like(x, dtype=torch.bool), torch.ones(leads, 1)
    return Problem(model, text, x, torch.zeros_like(x), valid, scale, list(rows), model.input.fs), alone


@pytest.mark.parametrize("function", SELF)
def test_a_family_brought_as_one_s_own_has_the_same_maps(function: Callable[[Problem, Tensor], Tensor]) -> None:
    family = narrow_vit()
    own = own_model(
        family.network, targets=True, input=InputSpec(500.0, 10.0, family.input.leads, "minmax"),
        layers={"ecg_encoder.block1": LayerSpec("BTC", 50, 24.5)},
    )  # fmt: skip
    # A cosine's text and a plain product's: the family is asked for the same score.
    object.__setattr__(own.spec, "similarity", "cosine")
    text = torch.randn(256, generator=torch.Generator().manual_seed(1))
    wanted, got = (function(*problem_of(model, text)) for model in (family, own))
    assert wanted.std() > 0
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-6 * float(wanted.abs().max()))


def weights_of(network: Tokens, signal: Tensor) -> list[Tensor]:
    """Each block's weights (heads, N, N), as torch's attention module returns them."""
    tokens = network.patch(signal[None]).transpose(1, 2)
    if network.token is not None:
        tokens = torch.cat([network.token, tokens], 1)
    tokens = tokens if network.batch_first else tokens.transpose(0, 1)
    kept = []
    for layer in network.encoder.layers:
        kept.append(layer.self_attn(tokens, tokens, tokens, average_attn_weights=False)[1][0])
        tokens = layer(tokens)
    return kept


@pytest.mark.parametrize(("batch_first", "class_token"), [(True, False), (False, False), (True, True)])
def test_torch_s_encoder_layers_are_found(batch_first: bool, class_token: bool) -> None:
    torch.manual_seed(0)
    network = Tokens(batch_first, class_token)
    model = own_model(network, layer="encoder.layers.0", targets=True, input=INPUT)
    problem, alone = problem_of(model, torch.tensor([1.0, 0.0, 0.0]))
    got = attention_rollout(problem, alone)
    network.eval()
    with torch.no_grad():
        for i, signal in enumerate(alone):
            R = torch.eye(50 + class_token)
            for A in weights_of(network, signal):
                R = (A.mean(0) + torch.eye(len(R))) / 2 @ R
            torch.testing.assert_close(got[i], R[0, 1:] if class_token else R.mean(0), rtol=1e-4, atol=1e-7)
    assert got.std() > 0
    for function in (chefer, legrad):
        assert (function(problem, alone) >= 0).all()
        assert function(problem, alone).std() > 0


class Pooled(nn.Module):
    """A learned query gathers from cells; another attention, among channels, is not part of it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.query = nn.Conv1d(3, 8, 9, 20, 4), nn.Parameter(torch.randn(1, 2, 8))
        self.pool = nn.MultiheadAttention(8, 2, batch_first=True)
        self.inner = nn.MultiheadAttention(50, 1, batch_first=True)
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        cells = self.first(x)
        cells = (cells + self.inner(cells, cells, cells, need_weights=False)[0]).transpose(1, 2)
        return self.fc(self.pool(self.query.expand(len(x), -1, -1), cells, cells, need_weights=False)[0].mean(1))


def test_a_pooling_query_is_found() -> None:
    torch.manual_seed(0)
    network = Pooled()
    model = own_model(network, layer="first", targets=True, input=INPUT)
    problem, alone = problem_of(model, torch.tensor([1.0, 0.0, 0.0]))
    got = attention_pool(problem, alone)
    network.eval()
    with torch.no_grad():
        cells = network.first(alone)
        cells = (cells + network.inner(cells, cells, cells)[0]).transpose(1, 2)
        wanted = network.pool(network.query.expand(2, -1, -1), cells, cells)[1]
    torch.testing.assert_close(got, wanted.mean(1))
    # Channels attend to channels: eight of them are not fifty cells.
    with pytest.raises(
        EcgcamError, match=r"attention of inner has 8 tokens, which are not the 50 cells of `layer` first"
    ):
        attention_rollout(problem, alone)


def test_as_many_tokens_as_cells_that_are_not_the_cells_are_refused() -> None:
    class Channels(nn.Module):
        """Fifty channels attend to each other, and there are fifty cells."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.fc = nn.Conv1d(3, 50, 20, 20), nn.Linear(50, 3)
            self.inner = nn.MultiheadAttention(50, 1, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            cells = self.first(x)
            return self.fc((cells + self.inner(cells, cells, cells)[0]).mean(-1))

    torch.manual_seed(0)
    model = own_model(Channels(), layer="first", targets=True, input=INPUT)
    with pytest.raises(EcgcamError, match="inner has 50 tokens, which are not the 50 cells of `layer` first"):
        attention_rollout(*problem_of(model, torch.eye(3)[0]))


def test_tokens_of_a_text_after_the_cells_are_no_cells() -> None:
    class Decoder(nn.Module):
        """Tokens of the ECG, then the bytes of a text; the last is read."""

        def __init__(self) -> None:
            super().__init__()
            self.patch, self.words, self.head = nn.Conv1d(3, 16, 20, 20), nn.Embedding(128, 16), nn.Linear(16, 1)
            self.tokens, self.attend = nn.Identity(), nn.MultiheadAttention(16, 2, batch_first=True)

        def score_texts(self, x: Tensor, texts: list[str]) -> Tensor:
            tokens, scores = self.tokens(self.patch(x).transpose(1, 2)), []
            for text in texts:
                words = self.words(torch.tensor([list(text.encode())])).expand(len(x), -1, -1)
                both = torch.cat([tokens, words], dim=1)
                scores.append(self.head((both + self.attend(both, both, both)[0])[:, -1])[:, 0])
            return torch.stack(scores, dim=1)

    torch.manual_seed(0)
    network = Decoder()
    found = own_model(network, layer="tokens", input=INPUT)
    with pytest.raises(EcgcamError, match="attend has 52 tokens, which are not the 50 cells of `layer` tokens"):
        attention_rollout(*problem_of(found, found.encode_text(["af"])[0]))
    declared = own_model(network, layer="tokens", input=INPUT, attention={"attend": AttentionSpec(n_prefix_tokens=0)})
    network.eval()
    for text in ("af", "sinus"):
        problem, alone = problem_of(declared, declared.encode_text([text])[0])
        with torch.no_grad():
            words = network.words(torch.tensor([list(text.encode())])).expand(2, -1, -1)
            both = torch.cat([network.patch(alone).transpose(1, 2), words], dim=1)
            A = network.attend(both, both, both)[1]
        # The last query alone is read, and the ECG's keys come first.
        torch.testing.assert_close(attention_rollout(problem, alone), A[:, -1, :50] / 2)


def test_a_declaration_chooses() -> None:
    torch.manual_seed(0)
    network = Tokens()
    where = {"encoder.layers.1": LayerSpec("BTC", 20, 9.5)}
    one = {"encoder.layers.1.self_attn": AttentionSpec(block="encoder.layers.1")}
    declared = own_model(network, targets=True, input=INPUT, layers=where, attention=one)
    problem, alone = problem_of(declared, torch.tensor([1.0, 0.0, 0.0]))
    network.eval()
    with torch.no_grad():
        A = weights_of(network, alone[0])[1].mean(0)
    torch.testing.assert_close(attention_rollout(problem, alone)[0], ((A + torch.eye(50)) / 2).mean(0))
    network.attention = {"encoder.layers.9": AttentionSpec()}
    with pytest.raises(EcgcamError, match=r"`attention` 'encoder.layers.9': must name a module"):
        own_model(network, targets=True, input=INPUT, layers=where)
    pool = {"encoder.layers.0": AttentionSpec("pool")}
    model = own_model(network, targets=True, input=INPUT, layers=where, attention=pool)
    with pytest.raises(EcgcamError, match="has no blocks of self-attention"):
        attention_rollout(*problem_of(model, torch.eye(3)[0]))


def test_cross_attention_of_a_joint_model_is_each_prompt_s_own() -> None:
    torch.manual_seed(0)
    network = Joint()
    model = own_model(network, layer="tokens", input=INPUT)
    rows = model.encode_text(["af", "st elevation"])
    got = [attention_pool(*problem_of(model, row)) for row in rows]
    network.eval()
    _, alone = problem_of(model, rows[0])
    with torch.no_grad():
        for text, found in zip(("af", "st elevation"), got, strict=True):
            layer, asked = network.cross.layers[0], network.words(torch.tensor([list(text.encode())])).expand(2, -1, -1)
            asked = layer.norm1(asked + layer.self_attn(asked, asked, asked)[0])
            tokens = network.encode_once(alone)
            torch.testing.assert_close(found, layer.multihead_attn(asked, tokens, tokens)[1].mean(1))
    assert not torch.allclose(got[0], got[1])


@pytest.mark.parametrize(
    ("paths", "blocks"),
    [
        (("encoder.layers.0.self_attn", "encoder.layers.1.self_attn"), ("encoder.layers.0", "encoder.layers.1")),
        (("0.layers.1.attn.2", "0.layers.2.attn.2"), ("0.layers.1", "0.layers.2")),
        (("blocks.3.attn",), ("blocks.3",)),
        (("block0.attn", "block1.attn"), ("block0", "block1")),
        (("attn",), ()),
        (("a.0.attn", "attn"), ()),
        (("a.0.one", "a.0.two"), ()),
    ],
)
def test_blocks_are_named_by_the_number_in_which_paths_differ(paths: tuple[str, ...], blocks: tuple[str, ...]) -> None:
    assert blocks_of(paths) == blocks


class Hugging(nn.Module):
    """A body of transformers over patches of 20 samples, read by the mean of its tokens, or by the first."""

    def __init__(self, kind: str, attention: str = "sdpa") -> None:
        super().__init__()
        transformers = pytest.importorskip("transformers")
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        self.kind = kind
        if kind == "bert":
            self.patch = nn.Conv1d(3, 16, 20, 20)
            self.body = transformers.BertModel(transformers.BertConfig(vocab_size=8, **sizes), add_pooling_layer=False)
        elif kind == "vit":
            config = transformers.ViTConfig(image_size=(3, 1000), patch_size=(3, 20), num_channels=1, **sizes)
            self.body = transformers.ViTModel(config, add_pooling_layer=False)
        else:
            config = transformers.Wav2Vec2Config(
                **sizes, conv_dim=(8, 8), conv_kernel=(10, 2), conv_stride=(5, 2), num_feat_extract_layers=2,
                num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
            )  # fmt: skip
            self.first, self.body = nn.Conv1d(3, 1, 1), transformers.Wav2Vec2Model(config)
        self.body.set_attn_implementation(attention)
        self.head = nn.Linear(16, 3)

    def given(self, x: Tensor, **how: Any) -> Any:
        if self.kind == "bert":
            return self.body(inputs_embeds=self.patch(x).transpose(1, 2), **how)
        return self.body(x[:, None] if self.kind == "vit" else self.first(x)[:, 0], **how)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.given(x).last_hidden_state
        return self.head(tokens[:, 0] if self.kind == "vit" else tokens.mean(1))


LAYERS = {"bert": "body.encoder.layer.1", "vit": "", "wav2vec2": "body.encoder.layers.1"}


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", LAYERS)
def test_transformers_attention_is_found(kind: str, attention: str) -> None:
    torch.manual_seed(0)
    network = Hugging(kind, attention)
    # Behind a class token's last block no gradient reaches the patches: the layer before it.
    layer = LAYERS[kind] or next(path for path, _ in network.named_modules() if path.endswith(("layer.0", "layers.0")))
    model = own_model(network, layer=layer, targets=True, input=INPUT)
    problem, alone = problem_of(model, torch.tensor([1.0, 0.0, 0.0]))
    network.body.set_attn_implementation("eager")
    with torch.no_grad():
        maps = network.eval().given(alone, output_attentions=True).attentions
    network.body.set_attn_implementation(attention)
    got = attention_rollout(problem, alone)
    for i in range(2):
        R = torch.eye(maps[0].shape[-1])
        for A in maps:
            R = (A[i].mean(0) + torch.eye(len(R))) / 2 @ R
        torch.testing.assert_close(got[i], R[0, 1:] if kind == "vit" else R.mean(0), rtol=1e-4, atol=1e-7)
    for function in (chefer, legrad):
        assert function(problem, alone).std() > 0


class LeadTokens(nn.Module):
    """One transformer for every lead, whose patches of 20 samples are a sequence of their own; or one sequence of all leads."""

    def __init__(self, class_token: bool = False, together: bool = False) -> None:
        super().__init__()
        self.patch, self.token = nn.Conv1d(1, 8, 20, 20), nn.Parameter(torch.randn(1, 1, 8)) if class_token else None
        self.together, self.fc = together, nn.Linear(24 if not together else 8, 3)
        self.layers = nn.ModuleList([nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(2)])
        for layer in self.layers:
            layer.self_attn.in_proj_weight.data *= 3  # attention that is far from even

    def tokens(self, x: Tensor) -> Tensor:
        tokens = self.patch(x.reshape(-1, 1, x.shape[-1])).transpose(1, 2)
        if self.together:
            tokens = tokens.reshape(len(x), -1, 8)
        return tokens if self.token is None else torch.cat([self.token.expand(len(tokens), -1, -1), tokens], 1)

    def read(self, tokens: Tensor) -> Tensor:
        read = tokens.mean(1) if self.token is None else tokens[:, 0]
        return self.fc(read if self.together else read.reshape(-1, 24))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.tokens(x)
        for layer in self.layers:
            tokens = layer(tokens)
        return self.read(tokens)


def written_out(layer: nn.TransformerEncoderLayer, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """A layer on one sequence (1, N, 8), operation by operation: its tokens, and its weights (2, N, N)."""
    query, key, value = (
        part.reshape(-1, 2, 4).transpose(0, 1)
        for part in nn.functional.linear(tokens[0], layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias).chunk(
            3, 1
        )
    )
    weights = (query @ key.transpose(1, 2) / 2).softmax(-1)
    tokens = layer.norm1(tokens + layer.self_attn.out_proj((weights @ value).transpose(0, 1).reshape(1, -1, 8)))
    return layer.norm2(tokens + layer.linear2(layer.linear1(tokens).relu())), weights


def slow_maps(network: LeadTokens, signal: Tensor, lead: int) -> dict[str, Tensor]:
    """The lead's map of one signal (3, 1000): every sequence is run by itself, and all are read together."""
    sequences = [part[None] for part in network.tokens(signal[None])]
    kept, weights = [], []
    for layer in network.layers:
        outputs = [written_out(layer, tokens) for tokens in sequences]
        sequences = [tokens for tokens, _ in outputs]
        kept.append(torch.cat(sequences))
        weights.append([given for _, given in outputs])
    own = 0 if network.together else lead
    R = S = torch.eye(weights[0][own].shape[-1])
    sensitivities = []
    score = network.read(kept[-1])[0, 0]
    for layer_weights, tokens in zip(weights, kept, strict=True):
        A = layer_weights[own]
        (G,) = torch.autograd.grad(score, A, retain_graph=True)
        R = R + (G * A).relu().mean(0) @ R
        S = (A.mean(0) + torch.eye(len(S))) / 2 @ S
        (slope,) = torch.autograd.grad(network.read(tokens)[0, 0], A, retain_graph=True)
        sensitivities.append(slope.relu().mean(dim=(0, 1)))
    R = R - torch.eye(len(R))
    prefix = int(network.token is not None)
    rows = [R[0], S[0]] if prefix else [R.mean(0), S.mean(0)]
    maps = dict(zip(SELF, [rows[1], rows[0], sum(sensitivities) / 2], strict=True))  # type: ignore[arg-type]
    cells = slice(prefix + 50 * lead, prefix + 50 * lead + 50) if network.together else slice(prefix, None)
    return {function.__name__: row[cells].detach() for function, row in maps.items()}


@pytest.mark.parametrize("class_token", [False, True])
@pytest.mark.parametrize("together", [False, True])
def test_each_lead_s_map_is_its_own_sequence_s(class_token: bool, together: bool) -> None:
    torch.manual_seed(0)
    network = LeadTokens(class_token, together)
    layer, prefix = f"layers.{0 if class_token else 1}", int(class_token)
    joined = LayerSpec("BTC", 20, 9.5, n_prefix_tokens=prefix, leads=3)
    model = own_model(network, layer=layer, targets=True, input=INPUT, layers={layer: joined} if together else None)
    where = model.spec.layers[layer]
    folded = LayerSpec("(BL)TC", 20, 9.5, n_prefix_tokens=prefix, leads=3)
    assert where == (joined if together else folded)
    problem, alone = problem_of(model, torch.eye(3)[0], (0, 1, 2))
    network.eval()
    wanted = [slow_maps(network, signal, lead) for lead, signal in enumerate(alone)]
    for function in SELF:
        got = select_lead(function(problem, alone), where, problem.rows)
        assert got.shape == (3, 50)
        for lead in range(3):
            expected = wanted[lead][function.__name__]
            assert expected.std() > 1e-3 * expected.mean()
            torch.testing.assert_close(got[lead], expected, rtol=1e-5, atol=1e-5 * float(expected.max()))


def test_a_layer_that_has_mixed_leads_is_not_the_place_of_each_lead_s_own_attention() -> None:
    class Mixed(LeadTokens):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.fc = nn.Conv1d(24, 8, 1), nn.Linear(8, 3)

        def read(self, tokens: Tensor) -> Tensor:
            return self.fc(self.mix(tokens.unflatten(0, (-1, 3)).transpose(-1, -2).flatten(1, 2)).mean(-1))

    torch.manual_seed(0)
    network = Mixed()
    model = own_model(network, layer="mix,layers.1", targets=True, input=INPUT)
    problem, alone = problem_of(model, torch.eye(3)[0])
    with pytest.raises(
        EcgcamError, match=r"in layers.0.self_attn each lead attends only to its own tokens, and `layer` mix"
    ):
        attention_rollout(replace(problem, layer="mix"), alone)
    assert attention_rollout(replace(problem, layer="layers.1"), alone).std() > 0


def test_a_query_of_each_lead_is_found() -> None:
    class LeadPooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.query = nn.Conv1d(1, 8, 9, 20, 4), nn.Parameter(torch.randn(1, 1, 8))
            self.pool, self.fc = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(24, 3)

        def forward(self, x: Tensor) -> Tensor:
            cells = self.first(x.reshape(-1, 1, x.shape[-1])).transpose(1, 2)
            return self.fc(self.pool(self.query.expand(len(cells), -1, -1), cells, cells)[0].reshape(len(x), -1))

    torch.manual_seed(0)
    network = LeadPooled()
    model = own_model(network, layer="first", targets=True, input=INPUT)
    problem, alone = problem_of(model, torch.eye(3)[0], (2, 0))
    got = select_lead(attention_pool(problem, alone), model.spec.layers["first"], problem.rows)
    with torch.no_grad():
        for row, lead in enumerate(problem.rows):
            cells = network.first(alone[row, lead][None, None]).transpose(1, 2)
            torch.testing.assert_close(got[row], network.pool(network.query, cells, cells)[1][0, 0])


@pytest.mark.slow
@pytest.mark.parametrize("class_token", [False, True])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_patch_tst_s_maps_are_each_lead_s_own(attention: str, class_token: bool) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)

    class PatchTst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            config = transformers.PatchTSTConfig(
                num_input_channels=3, context_length=1000, patch_length=20, patch_stride=20, d_model=16,
                num_attention_heads=2, num_hidden_layers=2, ffn_dim=32, use_cls_token=class_token, init_std=0.5,
            )  # fmt: skip
            self.body, self.head = transformers.PatchTSTModel(config), nn.Linear(48, 3)
            self.body.set_attn_implementation(attention)

        def read(self, tokens: Tensor) -> Tensor:
            return self.head((tokens[:, :, 0] if class_token else tokens.mean(2)).flatten(1))

        def forward(self, x: Tensor) -> Tensor:
            return self.read(self.body(past_values=x.transpose(1, 2)).last_hidden_state)

    network = PatchTst()
    layer = f"body.encoder.layers.{0 if class_token else 1}"
    model = own_model(network, layer=layer, targets=True, input=INPUT)
    where, prefix = model.spec.layers[layer], int(class_token)
    assert (where.layout, where.leads, where.n_prefix_tokens, where.step) == ("BLTC", 3, prefix, 20)
    problem, alone = problem_of(model, torch.eye(3)[0], (0, 1, 2))
    found = {function: select_lead(function(problem, alone), where, problem.rows) for function in SELF}
    network.body.set_attn_implementation("eager")
    network.eval()
    for lead, signal in enumerate(alone):
        given = network.body(past_values=signal.T[None], output_attentions=True, output_hidden_states=True)
        score = network.read(given.last_hidden_state)[0, 0]
        R = S = torch.eye(50 + prefix)
        for A, G in zip(given.attentions, torch.autograd.grad(score, given.attentions, retain_graph=True), strict=True):
            R = R + (G * A)[lead].relu().mean(0) @ R
            S = (A[lead].mean(0) + torch.eye(len(S))) / 2 @ S
        R = R - torch.eye(len(R))
        slopes = [
            torch.autograd.grad(network.read(tokens)[0, 0], A, retain_graph=True)[0][lead]
            for tokens, A in zip([given.hidden_states[1], given.last_hidden_state], given.attentions, strict=True)
        ]
        wanted = {
            attention_rollout: S[0] if class_token else S.mean(0),
            chefer: R[0] if class_token else R.mean(0),
            legrad: torch.stack([slope.relu().mean(dim=(0, 1)) for slope in slopes]).mean(0),
        }
        for function, row in wanted.items():
            expected = row[prefix:].detach()
            assert expected.std() > 1e-3 * expected.mean()
            torch.testing.assert_close(found[function][lead], expected, rtol=1e-5, atol=1e-5 * float(expected.max()))


def test_nothing_is_left_behind_and_the_map_is_laid_on_the_window() -> None:
    torch.manual_seed(0)
    network = Tokens(class_token=True)
    model = own_model(network, layer="encoder.layers.0", targets=True, input=INPUT)
    known = simulate("normal", 3)
    record = Record.from_channels("normal", known.signal[[0, 1, 6]], known.fs, INPUT.leads, source="normal")
    for method in ("attention-rollout", "chefer", "legrad"):
        (found,) = explain(record, ["0"], model, method=method, gradient=None)
        assert found.map_cells.shape == (3, 50)
        assert np.isfinite(found.map).all()
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in network.modules())
    assert all(weight.requires_grad for weight in network.parameters())
    assert network.training
