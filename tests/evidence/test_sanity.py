"""What a map is held against: other weights, other prompts, other orders of time."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tests.toys import toy_model
from torch import nn

from ecgcam.evidence.dependence import agreement, noisy, shifted, shuffled
from ecgcam.evidence.sanity import copy_network, randomised, signal_layers
from ecgcam.models.load import load_model
from ecgcam.models.own import own_model
from ecgcam.protocol.spec import LayerSpec


def three_layers() -> nn.Sequential:
    torch.manual_seed(0)
    look = (nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv1d(4, 4, 3, padding=1))
    return nn.Sequential(*look, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2))


def test_agreement_is_spearman_s_over_all_leads() -> None:
    one = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert agreement(one, np.exp(one)) == pytest.approx(1.0)
    assert agreement(one, -one) == pytest.approx(-1.0)
    # Ranks 1 2 3 4 against 2 1 3 4: 1 - 6 * 2 / (4 * 15).
    assert agreement(one, np.array([[2.0, 1.0], [3.0, 4.0]])) == pytest.approx(0.8)
    assert agreement(one, np.zeros((2, 2))) == 0.0


def test_weights_are_drawn_from_the_top_down_and_the_model_stays() -> None:
    model = toy_model(three_layers(), {"0": LayerSpec("BCT", 1.0, 0.0)})
    before = copy.deepcopy(model.network.state_dict())
    x = torch.randn(3, 2, 8, generator=torch.Generator().manual_seed(1))
    changed = []
    for depth in (1 / 3, 2 / 3, 1.0):
        twin = randomised(model, depth, seed=5)
        other = twin.network.state_dict()
        changed.append([key for key in before if not torch.equal(before[key], other[key])])
        assert not torch.allclose(twin.encode_signal(x), model.encode_signal(x), atol=1e-3)
    assert changed[0] == ["5.weight", "5.bias"]
    assert changed[1] == ["2.weight", "2.bias", "5.weight", "5.bias"]
    assert changed[2] == list(before)
    assert all(torch.equal(before[key], value) for key, value in model.network.state_dict().items())


class TwoSides(nn.Module):
    """A signal side, a text side declared after it, and a head that only training used."""

    def __init__(self) -> None:
        super().__init__()
        self.signal, self.text, self.training_head = three_layers(), nn.Linear(5, 2), nn.Linear(2, 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.signal(x)


def test_only_layers_that_a_signal_goes_through_are_drawn() -> None:
    model = toy_model(TwoSides(), {"signal.0": LayerSpec("BCT", 1.0, 0.0)})
    assert signal_layers(model) == ["signal.0", "signal.2", "signal.5"]
    before = copy.deepcopy(model.network.state_dict())
    other = randomised(model, 1 / 3, seed=5).network.state_dict()
    changed = [key for key in before if not torch.equal(before[key], other[key])]
    assert changed == ["signal.5.weight", "signal.5.bias"]
    assert all(torch.equal(before[key], value) for key, value in model.network.state_dict().items())


def test_the_first_quarter_of_mini_is_not_its_text_tower() -> None:
    model = load_model("mini", device="cpu")
    x = torch.randn(2, 12, 2500, generator=torch.Generator().manual_seed(1))
    assert all(name.startswith("signal.") for name in signal_layers(model))
    with torch.no_grad():
        assert (randomised(model, 0.25, 0).encode_signal(x) * model.encode_signal(x)).sum(dim=1).max() < 0.7


def test_random_weights_have_the_size_of_the_trained_and_repeat_by_seed() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2000))
    nn.init.normal_(network[1].weight, 0.5, 0.1)
    model = toy_model(network, {"0": LayerSpec("BCT", 1.0, 0.0)}, width=2000)
    drawn = randomised(model, 1.0, seed=1).network[1].weight.detach()
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(drawn.std()) == pytest.approx(0.1, rel=0.05)
    assert torch.equal(drawn, randomised(model, 1.0, seed=1).network[1].weight)
    assert not torch.equal(drawn, randomised(model, 1.0, seed=2).network[1].weight)


def test_the_copy_remembers_nothing_of_the_model() -> None:
    model = toy_model(three_layers(), {"0": LayerSpec("BCT", 1.0, 0.0)})
    model.cached("fact", lambda: 1)
    assert randomised(model, 1.0, 0).cached("fact", lambda: 2) == 2
    assert model.cached("fact", lambda: 3) == 1


class KeepsFeatures(nn.Module):
    """Keeps tensors of its last forward pass, as many networks do; torch refuses to copy them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = three_layers()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.features = self.layers[0](x)
        self.kept = {"all": [self.features, (self.features * 2,)]}
        return self.layers(x)


def test_a_network_that_keeps_tensors_of_its_forward_pass_is_copied() -> None:
    network = KeepsFeatures()
    network(torch.randn(1, 2, 8))
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(network)
    twin = copy_network(network)
    assert torch.equal(twin.features, network.features)
    assert twin.features.grad_fn is None
    assert network.features.grad_fn is not None
    model = toy_model(network, {"layers.0": LayerSpec("BCT", 1.0, 0.0)})
    assert randomised(model, 1.0, 0).network.layers[5].weight.ne(network.layers[5].weight).all()


def test_layers_of_a_network_with_paths_of_its_own_are_drawn() -> None:
    class User(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv1d(12, 2, 5, 5)

        def encode_signal(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x).mean(dim=2)

        def encode_text(self, texts: list[str]) -> torch.Tensor:
            return torch.ones(len(texts), 2)

    model = own_model(User(), layer="body")
    before = model.network.state_dict()
    after = randomised(model, 1.0, 0).network.state_dict()
    assert all(torch.ne(before[key], after[key]).any() for key in before if key.endswith("weight"))


def test_shuffling_moves_whole_pieces_of_all_leads_together() -> None:
    signal = np.stack([np.arange(100.0), 1000 + np.arange(100.0)]).astype(np.float32)
    valid = np.ones((2, 100), bool)
    valid[:, 80:] = False
    mixed = shuffled(signal, valid, fs=100.0, seed=0)
    assert np.array_equal(mixed[:, 80:], signal[:, 80:])
    assert sorted(mixed[0, :80]) == sorted(signal[0, :80])
    assert np.array_equal(mixed[1] - mixed[0], np.full(100, 1000.0))
    pieces = mixed[0, :80].reshape(8, 10)
    assert (np.diff(pieces, axis=1) == 1).all()
    assert not np.array_equal(mixed, signal)


def test_noise_and_shift() -> None:
    signal = np.zeros((2, 5000), np.float32)
    valid = np.ones(signal.shape, bool)
    valid[1] = False
    drawn = noisy(signal, valid, seed=0)
    assert drawn[0].std() == pytest.approx(0.02, rel=0.05)
    assert not drawn[1].any()
    assert shifted(np.arange(6, dtype=np.float32)[None], 2).tolist() == [[4, 5, 0, 1, 2, 3]]
