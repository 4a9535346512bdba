"""Checkpoints: the wrappers come off, the wrong file is explained, and nothing in one ever runs."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
import re
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from ecgcam.errors import EcgcamError
from ecgcam.models.checkpoint import _number, read_state
from ecgcam.models.load import load_model
from ecgcam.models.recognition import recognise

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
    with pytest.raises(
        EcgcamError,
        match=r"res_encoder.pth: .*only MERL.s signal encoder.*joint space.*use the "
        "whole checkpoint",
    ):
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


INNER = {"layer.weight": torch.arange(3.0), "layer.bias": torch.zeros(1), "norm.running_mean": torch.ones(2)}


def under(prefix: str) -> State:
    return {f"{prefix}{key}": value for key, value in INNER.items()}


@pytest.mark.parametrize(
    "content",
    [
        under("module.") | {"n_averaged": torch.tensor(5)},  # torch.optim.swa_utils.AveragedModel
        {"state_dict": under("model.") | {"criterion.pos_weight": torch.ones(5)}},  # Lightning, with a loss's buffer
        {"state_dict": under("net.") | {"loss_fn.weight": torch.ones(5), "val_loss.total": torch.zeros(1)}},
        {"state_dict": under("model.") | {"train_metrics.count": torch.zeros(1)}, "pytorch-lightning_version": "2.5"},
        {"module": under(""), "optimizer": None, "global_steps": 7},  # DeepSpeed
        {"params": under("")},  # BasicSR
        {"ema": under(""), "epoch": 3},  # averages alone
        under("_orig_mod."),
        {"layer._orig_mod.weight": INNER["layer.weight"]} | {key: INNER[key] for key in list(INNER)[1:]},
        {"_fsdp_wrapped_module.layer._fsdp_wrapped_module.weight": INNER["layer.weight"],
         "_fsdp_wrapped_module.layer.bias": INNER["layer.bias"],
         "_fsdp_wrapped_module.norm._checkpoint_wrapped_module.running_mean": INNER["norm.running_mean"]},
        {"model": under("module._orig_mod."), "epoch": torch.tensor(3)},
        {"checkpoint": {"model": under("module.")}, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []}},
        {"best_model_state": under(""), "optimizer_state_dict": {"exp_avg": torch.ones(2)}, "epoch": 3},
        {"ecg_encoder_state_dict": under(""), "scheduler": {"last": torch.ones(1)}},
    ],
)  # fmt: skip
def test_what_training_puts_around_a_network_comes_off(content: object, tmp_path: Path) -> None:
    state = read_state(saved(content, tmp_path / "c.pth"))
    assert {key: value.tolist() for key, value in state.items()} == {
        key: value.tolist() for key, value in INNER.items()
    }


def test_two_networks_in_one_file_are_unclear(tmp_path: Path) -> None:
    path = saved({"student": INNER, "teacher": INNER}, tmp_path / "c.pth")
    with pytest.raises(
        EcgcamError, match=r"holds several state dicts \(student, teacher\); save the network's own alone"
    ):
        read_state(path)


@pytest.mark.parametrize("prefix", ["signal_encoder.", "ecg_encoder.", "clip.backbone."])
def test_a_name_around_all_keys_comes_off_where_the_rest_fits(prefix: str, state: State, tmp_path: Path) -> None:
    path = saved({"state_dict": {f"{prefix}{key}": value for key, value in state.items()}}, tmp_path / "c.ckpt")
    bare = saved(state, tmp_path / "bare.pth")
    assert recognise(path).name == NAME
    x = torch.rand(1, 12, 5000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        one, other = (load_model(NAME, file, device="cpu").encode_signal(x) for file in (path, bare))
    assert torch.equal(one, other)
    keys = list(state)
    less = {f"{prefix}{key}": state[key] for key in keys if key != keys[3]}
    with pytest.raises(EcgcamError, match=rf"missing: {re.escape(keys[3])}\)"):
        load_model(NAME, saved(less, tmp_path / "less.pth"), device="cpu")


def test_quantised_weights_are_refused(state: State, tmp_path: Path) -> None:
    """Without the scales of its program, a whole number is no weight."""
    key = next(key for key, value in state.items() if value.is_floating_point())
    path = saved(state | {key: state[key].mul(10).to(torch.int8)}, tmp_path / "c.pth")
    with pytest.raises(EcgcamError, match=rf"whole numbers: {re.escape(key)} torch.int8"):
        load_model(NAME, path, device="cpu")


def test_a_file_is_read_by_what_it_is(tmp_path: Path) -> None:
    save_file(INNER, tmp_path / "a.pt")
    saved({"model": INNER}, tmp_path / "b.safetensors")
    torch.save(INNER, tmp_path / "c.safetensors", _use_new_zipfile_serialization=False)
    (tmp_path / "several").mkdir()
    names = [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)]
    keys = list(INNER)
    for name, some in zip(names, (keys[:1], keys[1:]), strict=True):
        saved({key: INNER[key] for key in some}, tmp_path / "several" / name)
    index = {"weight_map": {key: names[int(row > 0)] for row, key in enumerate(keys)}}
    (tmp_path / "several/pytorch_model.bin.index.json").write_text(json.dumps(index))
    for name in ("a.pt", "b.safetensors", "c.safetensors", "several", "several/pytorch_model.bin.index.json"):
        assert {key: value.tolist() for key, value in read_state(tmp_path / name).items()} == {
            key: value.tolist() for key, value in INNER.items()
        }


def test_averages_next_to_raw_weights_are_noticed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("ecgcam"), "propagate", True)  # a command that ran before has turned it off
    caplog.set_level(logging.INFO, "ecgcam")
    averaged = {key: value + 1 for key, value in INNER.items()}
    path = saved({"model": INNER, "model_ema": averaged}, tmp_path / "c.pth")
    assert read_state(path)["layer.weight"].tolist() == [0, 1, 2]
    assert "holds averaged weights (model_ema) next to the raw ones (model), which are used" in caplog.text


def test_counters_of_batches_may_be_missing(state: State, tmp_path: Path) -> None:
    without = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    assert len(without) < len(state)
    whole, bare = (
        load_model(NAME, saved(content, tmp_path / f"{i}.pth"), device="cpu")
        for i, content in enumerate([state, without])
    )
    x = torch.rand(1, 12, 5000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(whole.encode_signal(x), bare.encode_signal(x))
    assert recognise(tmp_path / "1.pth").name == NAME


@pytest.mark.parametrize("given", ["folder", "index", "folder without an index"])
def test_weights_in_several_safetensors_files(given: str, state: State, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    keys = sorted(state)
    parts = {"model-00001-of-00002.safetensors": keys[:50], "model-00002-of-00002.safetensors": keys[50:]}
    for name, some in parts.items():
        save_file({key: state[key].clone() for key in some}, folder / name)
    index = folder / "model.safetensors.index.json"
    if given != "folder without an index":
        index.write_text(json.dumps({"weight_map": {key: name for name, some in parts.items() for key in some}}))
    path = index if given == "index" else folder
    loaded = read_state(path)
    assert set(loaded) == set(state)
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    model = load_model(NAME, path, device="cpu")
    first, second = (hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in parts)
    assert model.checkpoint_sha256 == hashlib.sha256((first + second).encode()).hexdigest()


def test_several_files_of_which_one_is_missing_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(EcgcamError, match=r"empty: a folder without \*\.safetensors"):
        read_state(tmp_path / "empty")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "one.safetensors"}}))
    with pytest.raises(EcgcamError, match=r"index\.json: names one\.safetensors, which is not there"):
        read_state(index)
    for content in ("{", "[]", '{"weight_map": 3}', '{"weight_map": {}}'):
        index.write_text(content)
        with pytest.raises(EcgcamError, match=r"index\.json: (not an index|names no file)"):
            read_state(index)


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
    with pytest.raises(ValueError, match="not a number and its bytes"):
        _number(kind, content)


def test_weights_that_are_not_here_and_towers_that_a_model_lacks_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        EcgcamError, match=r"its weights are not part of ecgcam; give them with `checkpoint` FILE \(published at"
    ):
        load_model("merl-resnet18")
