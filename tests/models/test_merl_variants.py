"""MERL as other repositories save it: MELP's copy, and ECG-Bench's at 250 Hz."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.models.conftest import keys_of
from torch import Tensor

from ecgcam.errors import EcgcamError
from ecgcam.models.checkpoint import read_state
from ecgcam.models.families.merl import MerlNetwork
from ecgcam.models.families.xresnet import without_twins
from ecgcam.models.load import load_model
from ecgcam.models.model_file import load_spec
from ecgcam.models.recognition import fit_to, recognise
from ecgcam.resources import configs

State = dict[str, Tensor]


def ecg_bench(state: State) -> State:
    """Its names, with a text tower's key and without the layers that only training uses."""
    renamed = {key.replace("ecg_encoder.", "resnet."): value for key, value in state.items()}
    return renamed | {"lm.embeddings.word_embeddings.weight": torch.zeros(4, 3)}


@pytest.fixture(scope="module")
def bench(standin_state: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "best_model.pt"
    torch.save({"model_state_dict": ecg_bench(standin_state(keys_of("merl-ecg-bench"))), "epoch": 3}, path)
    return path


def test_ecg_bench_s_file_is_known_by_its_positions(bench: Path) -> None:
    assert recognise(bench).name == "merl-ecg-bench"
    spec = load_spec("merl-ecg-bench")
    assert (spec.input.fs, spec.input.samples, spec.input.leads[3:6]) == (250, 2500, ("aVL", "aVR", "aVF"))
    model = load_model("merl-ecg-bench", bench, device="cpu")
    assert isinstance(model.network, MerlNetwork)
    assert model.network.cells == 157
    with torch.no_grad():
        assert model.encode_signal(torch.rand(1, 12, 2500)).shape == (1, 256)


def test_a_window_that_the_positions_are_not_for_is_refused_on_loading(bench: Path) -> None:
    said = (
        "its 157 learned positions are those of windows of 2497 to 2512 samples, and the model file's window has 5000"
    )
    with pytest.raises(EcgcamError, match=f"does not fit merl-resnet101: {said}"):
        load_model("merl-resnet101", bench, device="cpu")
    assert said in fit_to(load_spec("merl-resnet101"), read_state(bench), bench).problem


def test_the_number_of_positions_is_the_file_s(bench: Path, tmp_path: Path) -> None:
    """1250 samples, 79 cells, in a copy of the model file of 5 s."""
    state = read_state(bench)
    state["att_pool_head.positional_embedding"] = state["att_pool_head.positional_embedding"][:, :80].clone()
    torch.save(state, tmp_path / "short.pt")
    text = (configs() / "models/merl-ecg-bench.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text.replace("seconds = 10", "seconds = 5"), encoding="utf-8")
    model = load_model(tmp_path / "mine.toml", tmp_path / "short.pt", device="cpu")
    with torch.no_grad():
        assert model.encode_signal(torch.rand(1, 12, 1250)).shape == (1, 256)
    with pytest.raises(EcgcamError, match="its 79 learned positions"):
        recognise(tmp_path / "short.pt")


@pytest.mark.parametrize("name", ["merl-resnet18", "merl-vit-tiny"])
def test_melp_s_copy_of_merl_loads(name: str, standin: Callable[[str], Path], tmp_path: Path) -> None:
    state = read_state(standin(name))
    lightning = {f"model.{key}": value for key, value in state.items()} | {"model.logit_scale": torch.tensor(2.6)}
    torch.save({"state_dict": lightning, "pytorch-lightning_version": "2.5"}, tmp_path / "c.ckpt")
    assert recognise(tmp_path / "c.ckpt").name == name
    own, other = (load_model(name, path, device="cpu") for path in (standin(name), tmp_path / "c.ckpt"))
    x = torch.rand(1, 12, 5000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(own.encode_signal(x), other.encode_signal(x))


def test_convolutions_may_be_under_either_of_their_names() -> None:
    both = {
        "4.0.convs.0.0.weight": torch.ones(1),
        "4.0.convpath.0.0.0.weight": torch.ones(1),
        "0.0.weight": torch.zeros(1),
    }
    for state in (
        both,
        {key: both[key] for key in list(both)[1:]},
        {key: both[key] for key in ("4.0.convs.0.0.weight", "0.0.weight")},
    ):
        assert without_twins(state) == {"4.0.convs.0.0.weight": torch.ones(1), "0.0.weight": torch.zeros(1)}
