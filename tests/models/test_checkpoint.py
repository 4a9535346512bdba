"""Checkpoints: the wrappers come off, the wrong file is explained, and nothing in one ever runs."""

from __future__ import annotations

import copy
import os
import re
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ecgcam.errors import EcgcamError
from ecgcam.models.checkpoint import _number, read_state
from ecgcam.models.load import load_model

NAME = "merl-resnet18"
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state(standin: Callable[[str], Path]) -> State:
    return read_state(standin(NAME))


def saved(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module.", "model.", "model._orig_mod.net."])
def test_wrappers_and_prefixes_come_off(tmp_path: Path, wrapper: str | None, prefix: str) -> None:
    inner = {f"{prefix}layer.weight": torch.arange(3.0), f"{prefix}layer.bias": torch.zeros(1)}
    optimizer = {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]}
    content = inner if wrapper is None else {"epoch": 3, wrapper: inner, "optimizer_state_dict": optimizer}
    state = read_state(saved(content, tmp_path / "c.pth"))
    assert sorted(state) == ["layer.bias", "layer.weight"]
    assert state["layer.weight"].tolist() == [0, 1, 2]


def test_a_language_model_in_the_checkpoint_is_left_aside(state: State, tmp_path: Path) -> None:
    language = {"lm_model.embeddings.word_embeddings.weight": torch.zeros(2, 2)}
    model = load_model(NAME, saved(state | language, tmp_path / "whole.pth"), device="cpu")
    assert not any(key.startswith("lm_model") for key in model.network.state_dict())
    assert torch.equal(model.network.state_dict()["downconv.weight"], state["downconv.weight"])


@pytest.mark.parametrize("name", [NAME, "merl-vit-tiny"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_encoder_alone_is_explained(name: str, prefix: str, standin: Callable[[str], Path], tmp_path: Path) -> None:
    whole = read_state(standin(name))
    encoder = {
        prefix + key.removeprefix("ecg_encoder."): value
        for key, value in whole.items()
        if key.startswith("ecg_encoder.")
    }
    with pytest.raises(EcgcamError, match=r"res_encoder.pth: .*encoder alone.*joint space.*use the whole checkpoint"):
        load_model(name, saved(encoder, tmp_path / "res_encoder.pth"))


def test_another_architecture_is_refused_with_the_keys_that_differ(standin: Callable[[str], Path]) -> None:
    with pytest.raises(
        EcgcamError, match=r"does not fit merl-resnet34 \(missing: ecg_encoder\.layer1\.2\.conv1\.weight"
    ):
        load_model("merl-resnet34", standin(NAME))
    with pytest.raises(
        EcgcamError,
        match=r"missing: ecg_encoder\.conv1.*unexpected: ecg_encoder\.pos_emb.*linear1\.weight \(256, 192\) for \(256, 256\)",
    ):
        load_model(NAME, standin("merl-vit-tiny"))


def test_one_missing_one_strange_and_one_misshapen_key_are_named(state: State, tmp_path: Path) -> None:
    broken = {key: value for key, value in state.items() if key != "proj_t.2.bias"} | {"extra.weight": torch.zeros(1)}
    broken["downconv.bias"] = torch.zeros(255)
    said = "missing: proj_t.2.bias; unexpected: extra.weight; of another shape: downconv.bias (255,) for (256,)"
    with pytest.raises(EcgcamError, match=re.escape(said)):
        load_model(NAME, saved(broken, tmp_path / "broken.pth"))


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return os.mkdir, ("ran", 0o700)


def test_code_in_a_checkpoint_is_refused_and_does_not_run(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EcgcamError, match=r"needs more than tensors \(it holds (posix|nt)\.mkdir\)"):
        read_state(saved({"state_dict": state, "extra": _Runs()}, tmp_path / "bad.pth"))
    assert not (tmp_path / "ran").exists()
    with pytest.raises(EcgcamError, match=r"it holds numpy\.\S*scalar"):
        read_state(saved({"state_dict": state, "best": np.float64(0.9)}, tmp_path / "scalar.pth"))


def test_files_that_are_no_checkpoint_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EcgcamError, match="no such checkpoint"):
        read_state(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(EcgcamError, match=r"text\.pth: "):
        read_state(tmp_path / "text.pth")
    for content in ([1, 2], {"epoch": 3}, {"state_dict": {}}):
        with pytest.raises(EcgcamError, match="holds no state dict"):
            read_state(saved(content, tmp_path / "empty.pth"))


def test_loading_leaves_the_random_state_alone(standin: Callable[[str], Path]) -> None:
    path = standin(NAME)
    before = torch.random.get_rng_state()
    load_model(NAME, path, device="cpu")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_npz_weights_are_the_same(state: State, tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", **{key: value.numpy() for key, value in state.items()})
    loaded = read_state(tmp_path / "w.npz")
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_a_text_longer_than_the_file_takes_no_memory(tmp_path: Path) -> None:
    """A pickle that promises a text of 4 GB; the memory would be asked for before it is seen that there is none."""
    (tmp_path / "c.pt").write_bytes(b"\x80\x02X\xff\xff\xff\xffabc")
    tracemalloc.start()
    with pytest.raises(EcgcamError, match=r"c\.pt: not a "):
        read_state(tmp_path / "c.pt")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 16 << 20


def test_an_archive_of_a_later_zip_is_one_line(tmp_path: Path) -> None:
    path = saved({"w": torch.zeros(3)}, tmp_path / "c.pt")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 6] = 84  # the version needed, of the first entry of the directory
    path.write_bytes(content)
    with pytest.raises(EcgcamError, match=r"c\.pt: cut off or damaged \(zip file version 8\.4\)"):
        read_state(path)


def test_parts_that_lie_on_one_another_are_refused_unread(tmp_path: Path) -> None:
    """A directory of many names for one stretch of a small file would become as many times its size."""
    path = saved({"w": torch.zeros(1000)}, tmp_path / "c.pt")
    with zipfile.ZipFile(path, "a") as archive:
        data = next(part for part in archive.infolist() if part.file_size == 4000)
        for i in range(50):
            again = copy.copy(data)
            again.filename = f"{data.filename}{i}"
            archive.filelist.append(again)
        archive._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(EcgcamError, match="its parts are larger than the file"):
        read_state(path)


def test_a_broken_reference_in_an_older_file_is_one_line(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(3)}, tmp_path / "c.pt", _use_new_zipfile_serialization=False)
    content = (tmp_path / "c.pt").read_bytes()
    keys = re.findall(rb"\d{6,}", content)  # the address of the values, however high it is
    assert keys
    (tmp_path / "c.pt").write_bytes(content[::-1].replace(keys[-1][::-1], b"7" * len(keys[-1]), 1)[::-1])
    with pytest.raises(EcgcamError, match="not a readable torch checkpoint"):
        read_state(tmp_path / "c.pt")


@pytest.mark.parametrize("end", [b"X\x10\x00", b"M\x01"])
def test_a_pickle_that_ends_in_a_number_is_one_line(tmp_path: Path, end: bytes) -> None:
    (tmp_path / "c.pt").write_bytes(b"\x80\x02" + end)
    with pytest.raises(EcgcamError, match=r"c\.pt: not a "):
        read_state(tmp_path / "c.pt")


def test_a_npz_that_is_one_array_is_no_state_dict(tmp_path: Path) -> None:
    with (tmp_path / "weights.npz").open("wb") as file:
        np.save(file, np.zeros((2, 3)))
    with pytest.raises(EcgcamError, match=r"weights\.npz: (holds no state dict|not a readable)"):
        read_state(tmp_path / "weights.npz")


@pytest.mark.parametrize(
    ("kind", "content"), [("d", bytes(8)), (np.dtype("d"), bytes(7)), (np.dtype("d"), None), (np.dtype("d"), [1.0])]
)
def test_a_scalar_that_is_no_number_and_its_bytes_is_refused(kind: object, content: object) -> None:
    assert _number(np.dtype("<i4"), b"\x05\0\0\0") == 5
    with pytest.raises(ValueError, match="no number and its bytes"):
        _number(kind, content)


def test_weights_that_are_not_here_and_towers_that_a_model_lacks_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        EcgcamError, match=r"its weights are not part of ecgcam; give them with --checkpoint FILE \(published at"
    ):
        load_model("merl-resnet18")
