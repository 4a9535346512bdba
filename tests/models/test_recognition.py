"""What a checkpoint is, by its keys and shapes; and checkpoints that are refused, with nothing run and nothing written."""

from __future__ import annotations

import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ecgcam.cli.app import run
from ecgcam.errors import EcgcamError
from ecgcam.models.checkpoint import _read_torch, read_state
from ecgcam.models.load import load_model
from ecgcam.models.recognition import fits, recognise
from ecgcam.records.simulator import simulate, write


@pytest.mark.parametrize("name", ["merl-vit-tiny", "merl-resnet18"])
def test_a_checkpoint_names_its_model(name: str, standin: Callable[[str], Path], tmp_path: Path) -> None:
    assert recognise(standin(name)).name == name
    wrapped = tmp_path / "lightning.ckpt"
    state = {f"module.{key}": value for key, value in read_state(standin(name)).items()}
    torch.save({"epoch": 3, "model": {"state_dict": state}, "optimizer": {"lr": torch.zeros(1)}}, wrapped)
    assert recognise(wrapped).name == name


def test_the_nearest_is_named_with_what_is_wrong(standin: Callable[[str], Path], tmp_path: Path) -> None:
    state = read_state(standin("merl-vit-tiny"))
    state["ecg_encoder.norm.weight"] = torch.zeros(7)
    state.pop("ecg_encoder.norm.bias")
    path = tmp_path / "broken.pth"
    torch.save(state, path)
    best = fits(state, path)[0]
    assert best.spec.name == "merl-vit-tiny"
    assert best.share > 0.9
    with pytest.raises(EcgcamError, match=r"nearest is merl-vit-tiny.*missing: ecg_encoder.norm.bias.*another shape"):
        recognise(path)


def test_safetensors(standin: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(read_state(standin("merl-vit-tiny")), path)
    assert recognise(path).name == "merl-vit-tiny"
    # A header that claims two gigabytes is refused before anything is made for it.
    header = json.dumps({"w": {"dtype": "F32", "shape": [500_000_000], "data_offsets": [0, 2_000_000_000]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 16)
    with pytest.raises(EcgcamError, match="not a readable safetensors file"):
        read_state(path)


class Malicious:
    """Writes a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.write_text, (self.path, "run")


def test_what_is_no_checkpoint_is_refused_and_nothing_runs(tmp_path: Path, standin: Callable[[str], Path]) -> None:
    trace = tmp_path / "trace"
    good = standin("merl-vit-tiny").read_bytes()
    claim = tmp_path / "claim.pth"
    torch.save({"w": torch.zeros(4)}, claim)
    with zipfile.ZipFile(claim) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(claim, "w") as archive:
        for name, data in parts.items():
            # 500 million floats in a storage of sixteen bytes.
            archive.writestr(
                name, data.replace(b"K\x04", struct.pack("<ci", b"J", 500_000_000)) if name.endswith(".pkl") else data
            )
    files = {
        "malicious.pth": pickle.dumps({"w": Malicious(trace)}),
        "text.pth": b"these are not weights\n",
        "empty.pth": b"",
        "truncated.pth": good[: len(good) // 2],
        "claim.pth": claim.read_bytes(),
    }
    torch.save({"state_dict": {"w": torch.zeros(2)}, "hook": Malicious(trace)}, tmp_path / "zipped.pth")
    files["zipped.pth"] = (tmp_path / "zipped.pth").read_bytes()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(EcgcamError, match=name) as refused:
            read_state(tmp_path / name)
        assert "\n" not in str(refused.value)
    assert not trace.exists()


def test_the_reason_of_a_refusal_is_the_file_s(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1000)}, tmp_path / "whole.pth")
    trace = Malicious(tmp_path / "trace")
    said = {
        "malicious.pth": (pickle.dumps({"w": trace}), r"more than tensors \(it holds pathlib\.Path\.write_text"),
        "old.pth": (pickle.dumps({"w": trace}, protocol=2), r"more than tensors \(it holds \w+"),
        "text.pth": (b"these are not weights\n", "neither a zip archive nor a pickle"),
        "truncated.pth": ((tmp_path / "whole.pth").read_bytes()[:2000], "cut off or damaged"),
        "numbers.pth": (pickle.dumps(3), "not a readable torch checkpoint"),
    }  # fmt: skip
    for name, (content, reason) in said.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(EcgcamError, match=rf"{name}: .*({reason})"):
            read_state(tmp_path / name)
    assert not (tmp_path / "trace").exists()


@pytest.mark.shared
def test_numpy_scalars_alone_are_let_in_by_a_flag(shared: Path, tmp_path: Path) -> None:
    path = shared / "data/checkpoints/ecgresnet_ptbxl.pt"
    with pytest.raises(EcgcamError, match="`allow_numpy_scalars`"):
        read_state(path)
    assert len(read_state(path, allow_numpy_scalars=True)) > 10
    trace = tmp_path / "trace"
    torch.save({"best": np.float64(0.9), "w": torch.zeros(1), "hook": Malicious(trace)}, tmp_path / "m.pth")
    with pytest.raises(EcgcamError, match="more than tensors"):
        read_state(tmp_path / "m.pth", allow_numpy_scalars=True)
    assert not trace.exists()


def test_check_says_what_it_is_and_what_mistakes_would_do(
    standin: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "check", str(standin("merl-vit-tiny")), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == "merl-vit-tiny"
    assert found["gradients reach the target layer"] == "yes"
    assert found["finite"]
    assert all(moved > 1e-4 for name, moved in found["mistakes"].items() if "microvolts" not in name)
    assert found["mistakes"]["microvolts taken for millivolts"] < 1e-4  # a min-max does not know the unit
    (tmp_path / "other.pth").write_bytes(b"")
    torch.save({"layer.weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    assert run(["models", "check", str(tmp_path / "other.pth")]) == 2
    captured = capsys.readouterr()
    assert "no model file fits" in captured.err
    assert "% of its keys" in captured.out


def test_explain_by_the_checkpoint_alone_and_by_targets_and_likeness(
    standin: Callable[[str], Path], text_table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(simulate("af", 7), tmp_path)
    write(simulate("normal", 8), tmp_path)
    record, other = str(tmp_path / "af-7.dat"), str(tmp_path / "normal-8.dat")
    call = ["explain", record, "--checkpoint", str(standin("merl-vit-tiny")), "--no-png", "--json"]
    assert run([*call, "--embeddings", str(text_table), "--text", "sinus rhythm", "--out", str(tmp_path / "a")]) == 0
    captured = capsys.readouterr()
    assert "is a checkpoint of merl-vit-tiny" in captured.err
    assert json.loads(captured.out)["settings"]["model"] == "merl-vit-tiny"
    assert run([*call, "--target", "3", "--target", "0", "--out", str(tmp_path / "b")]) == 0
    captured = capsys.readouterr()
    assert [json.loads(line)["text"] for line in captured.out.splitlines()] == ["3", "0"]
    assert (
        "output 3 of merl-vit-tiny is a dimension of its embedding, not a finding; for a finding, use --text"
        in captured.err
    )
    assert run([*call, "--like", other, "--like", record, "--out", str(tmp_path / "c")]) == 0
    unlike, same = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert same["score"] == pytest.approx(1.0, abs=1e-5)
    assert unlike["score"] < same["score"]
    assert run([*call, "--target", "99999"]) == 2
    assert "--target 99999" in capsys.readouterr().err
    assert run([*call, "--target", "3", "--text", "x"]) == 2
    assert "--text and --target" in capsys.readouterr().err


def test_a_target_is_the_logit_itself(standin: Callable[[str], Path]) -> None:
    path = standin("merl-vit-tiny")
    plain, targets = (
        load_model("merl-vit-tiny", path, device="cpu"),
        load_model("merl-vit-tiny", path, device="cpu", targets=True),
    )
    x = torch.rand(1, 12, 5000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        score = targets.encode_signal(x) @ targets.encode_text(["5"]).T
        logits = plain.network(x)
    assert torch.allclose(score[0, 0], logits[0, 5], atol=1e-6)


def test_top_takes_the_best_prompts_of_one_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(simulate("af", 7), tmp_path)
    record = str(tmp_path / "af-7.dat")
    assert run(["score", record, "--json"]) == 0
    best = list(json.loads(capsys.readouterr().out)["scores"])[:2]
    assert run(["explain", record, "--top", "2", "--no-png", "--json", "--out", str(tmp_path / "o")]) == 0
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == best
    assert run(["explain", record, str(tmp_path / "af-7-twin.dat"), "--top", "2"]) == 2
    assert "name one" in capsys.readouterr().err


def test_embed_writes_a_table_that_embeddings_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.txt").write_text("atrial fibrillation\nnormal ECG\n", encoding="utf-8")
    table = tmp_path / "table.npz"
    assert run(["embed", "--text-file", str(tmp_path / "p.txt"), "--out", str(table)]) == 0
    direct = load_model("mini", device="cpu").encode_text(["normal ECG"])
    read = load_model("mini", device="cpu", embeddings=table).encode_text(["normal ECG"])
    assert torch.allclose(direct, read, atol=1e-6)
    assert run(["embed", "--text-file", str(tmp_path / "p.txt"), "--out", str(tmp_path / "table.txt")]) == 2
    assert ".npz" in capsys.readouterr().err


class Oversized:
    """A NumPy scalar of two gigabytes, in forty bytes of pickle."""

    def __reduce__(self) -> tuple:
        return np.float64(0).__reduce__()[0], (_Kind("V2000000000"),)


class _Kind:
    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> tuple:
        return np.dtype, (self.code,)


def test_numpy_scalars_are_numbers_and_cannot_claim_memory(tmp_path: Path) -> None:
    for value in (np.float64(0.9), np.int64(-3), np.bool_(True), np.float16(2)):
        torch.save({"best": value, "w": torch.zeros(1)}, tmp_path / "good.pth")
        assert list(read_state(tmp_path / "good.pth", allow_numpy_scalars=True)) == ["w"]
        content = _read_torch(tmp_path / "good.pth", True)["best"]
        assert content == value
        assert content.dtype == value.dtype
    torch.save({"best": Oversized(), "w": torch.zeros(1)}, tmp_path / "void.pth")
    with pytest.raises(EcgcamError, match=r"void\.pth: .*which is not a number"):
        read_state(tmp_path / "void.pth", allow_numpy_scalars=True)


def test_an_archive_that_unpacks_to_more_than_it_holds_is_refused_unread(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1 << 20)}, tmp_path / "w.pth")
    with zipfile.ZipFile(tmp_path / "w.pth") as plain, zipfile.ZipFile(tmp_path / "bomb.pth", "w", 8) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert (tmp_path / "bomb.pth").stat().st_size < 20_000
    with pytest.raises(EcgcamError, match=r"bomb\.pth: .*is compressed"):
        read_state(tmp_path / "bomb.pth")


def test_no_error_tells_how_to_switch_the_protection_off(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "tar.pth", "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    (tmp_path / "noise.pth").write_bytes(np.random.default_rng(0).bytes(4000))
    for name in ("tar.pth", "noise.pth"):
        with pytest.raises(EcgcamError, match=name) as refused:
            read_state(tmp_path / name)
        assert "weights_only" not in str(refused.value)


def test_networks_kept_side_by_side_are_read_as_parts_of_one(tmp_path: Path) -> None:
    parts = {"model": {"a": torch.zeros(1)}, "ecg_model": {"b": torch.ones(2)}, "text_encoder": {"c": torch.zeros(3)}}
    torch.save(parts | {"optimizer": {"state": {}}, "config": {}, "epoch": 3}, tmp_path / "ked.pth")
    assert list(read_state(tmp_path / "ked.pth")) == ["model.a", "ecg_model.b", "text_encoder.c"]
    torch.save({"ecg_model": parts["ecg_model"], "optimizer": {}}, tmp_path / "alone.pth")
    assert list(read_state(tmp_path / "alone.pth")) == ["b"]
