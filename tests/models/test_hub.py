"""Weights by name: from a cache of huggingface_hub that the test makes, without a network."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import huggingface_hub.hf_api
import pytest
import torch
from safetensors.torch import save_file

from ecgcam.errors import EcgcamError
from ecgcam.models.checkpoint import read_state
from ecgcam.models.hub import hub_problem, local_checkpoint
from ecgcam.models.load import load_model
from ecgcam.models.model_file import load_spec
from ecgcam.models.recognition import recognise
from ecgcam.models.text.bert import BertTower

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "merl-vit-tiny"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A repository's name and its files -> the snapshot in the cache; every question to the network fails the test."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def add(repo: str, *files: str, revision: str = "main") -> Path:
        folder = tmp_path / "hub" / f"models--{repo.replace('/', '--')}"
        snapshot = folder / "snapshots" / COMMIT
        snapshot.mkdir(parents=True, exist_ok=True)
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / revision).write_text(COMMIT, encoding="utf-8")
        for file in files:
            (snapshot / file).parent.mkdir(parents=True, exist_ok=True)
            torch.save({"w": torch.full((1,), float(len(file)))}, snapshot / file)
        return snapshot

    return add


def test_a_file_of_a_repository_at_a_revision(hub: Callable[..., Path]) -> None:
    snapshot = hub("some/ecg", "weights/best.pt", "other.pt", revision="v2")
    for name in ("hf://some/ecg/weights/best.pt@v2", Path("hf://some/ecg/weights/best.pt@v2")):
        assert local_checkpoint(name, offline=True) == snapshot / "weights/best.pt"
    with pytest.raises(
        EcgcamError, match=r"hf://some/ecg/weights/best\.pt: is not in huggingface_hub's cache, and `offline`"
    ):
        local_checkpoint("hf://some/ecg/weights/best.pt", offline=True)  # the revision is another


def test_without_a_file_the_repository_s_weights(hub: Callable[..., Path]) -> None:
    snapshot = hub("some/ecg", "optimizer.pt", "model.safetensors", "README.md")
    assert local_checkpoint("hf://some/ecg", offline=True) == snapshot / "model.safetensors"
    only = hub("another/ecg", "12_lead.pth", "tasks.txt")
    assert local_checkpoint("hf://another/ecg", offline=True) == only / "12_lead.pth"
    hub("two/ecg", "a.pt", "b.pt")
    with pytest.raises(EcgcamError, match=r"hf://two/ecg: name a file; the repository holds a\.pt, b\.pt"):
        local_checkpoint("hf://two/ecg", offline=True)


def test_without_a_connection_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    client = next(sys.modules[name] for name in ("httpx", "httpx2") if name in sys.modules)  # huggingface_hub's

    def no_connection(*_: object, **__: object) -> None:
        raise client.ConnectError("[Errno -2] Name or service not known")

    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", no_connection)
    monkeypatch.setattr("ecgcam.models.hub.hub_problem", lambda: None)
    with pytest.raises(
        EcgcamError, match=r"hf://some/ecg: cannot be had \(.*Name or service not known\); check the name"
    ):
        local_checkpoint("hf://some/ecg")


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub at a port of this machine where nothing listens; huggingface_hub, which would try again and again, is not called."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda *_, **__: pytest.fail("the hub was called"))


@pytest.mark.usefixtures("unreachable")
def test_a_hub_that_cannot_be_reached_is_one_sentence_at_once(hub: Callable[..., Path]) -> None:
    says = r"`checkpoint` hf://some/other: 127\.0\.0\.1 cannot be reached \(Connection refused\), and huggingface_hub's cache "
    with pytest.raises(
        EcgcamError, match=says + "does not have it; download the file on another machine and give its path$"
    ):
        local_checkpoint("hf://some/other")
    snapshot = hub("some/ecg", "only.pt")
    assert local_checkpoint("hf://some/ecg") == snapshot / "only.pt"  # of the cache


@pytest.mark.usefixtures("unreachable")
def test_a_tower_that_cannot_be_had_is_one_sentence_at_once() -> None:
    spec = load_spec("merl-resnet18").tower
    says = r"^no/tower: the text tower is not on this machine, and 127\.0\.0\.1 cannot be reached .*; give its folder"
    with pytest.raises(EcgcamError, match=says):
        BertTower("no/tower", spec)


def test_the_hub_is_not_tried_ahead_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("connected"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert hub_problem() is None


@pytest.mark.parametrize("name", ["hf://", "hf://owner", "hf://owner/", "hf://@v1", "hf:/"])
def test_a_malformed_name_is_one_line(name: str) -> None:
    with pytest.raises(EcgcamError, match="write hf://OWNER/REPO"):
        local_checkpoint(name)


def test_what_is_a_path_stays_one(tmp_path: Path) -> None:
    assert local_checkpoint(tmp_path / "a.pt") == tmp_path / "a.pt"
    assert local_checkpoint("folder/hf.pt") == Path("folder/hf.pt")


def test_weights_in_several_files(hub: Callable[..., Path], standin: Callable[[str], Path]) -> None:
    snapshot = hub("some/ecg")
    state = read_state(standin(NAME))
    keys = sorted(state)
    parts = {"model-1.safetensors": keys[:40], "model-2.safetensors": keys[40:]}
    for file, some in parts.items():
        save_file({key: state[key].clone() for key in some}, snapshot / file)
    weight_map = {key: file for file, some in parts.items() for key in some}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")
    assert recognise("hf://some/ecg", offline=True).name == NAME
    model = load_model(NAME, "hf://some/ecg", device="cpu", offline=True)
    assert torch.equal(model.network.state_dict()["proj_t.0.weight"], state["proj_t.0.weight"])


def test_offline_leaves_the_process_as_it_was(
    hub: Callable[..., Path], standin: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the environment nor huggingface_hub stays offline; within, nothing is asked of the network."""
    asked: list[bool] = []
    own = huggingface_hub.hf_hub_download

    def watched(*given: object, **more: object) -> str:
        asked.append(bool(huggingface_hub.constants.HF_HUB_OFFLINE and more["local_files_only"]))
        return own(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", watched)
    snapshot = hub("some/ecg")
    torch.save(read_state(standin(NAME)), snapshot / "w.pt")
    before, offline = dict(os.environ), huggingface_hub.constants.HF_HUB_OFFLINE
    model = load_model(NAME, "hf://some/ecg/w.pt", device="cpu", offline=True)
    with pytest.raises(EcgcamError, match="holds no text tower"):
        model.encode_text(["atrial fibrillation"])
    with pytest.raises(EcgcamError, match="not in huggingface_hub's cache"):
        load_model(NAME, "hf://nobody/nothing/w.pt", device="cpu", offline=True)
    assert asked == [True, True]
    assert dict(os.environ) == before
    assert offline == huggingface_hub.constants.HF_HUB_OFFLINE
