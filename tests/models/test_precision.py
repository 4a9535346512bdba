"""`--precision bf16`: near to fp32, refused where the processor would imitate it, and nothing where it is not asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ecgcam
from ecgcam.cli.app import run
from ecgcam.errors import EcgcamError
from ecgcam.models.load import check_precision, load_model
from ecgcam.records import Record
from ecgcam.records.simulator import simulate

TEXT = ["atrial fibrillation"]


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch computes in bfloat16 on every processor, if need be slowly: what comes out is the same."""
    monkeypatch.setattr("ecgcam.models.load._has_bf16", lambda _: True)


@pytest.fixture
def unable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)


@pytest.mark.parametrize("method", ["grad-cam", "saliency"])
def test_it_is_near_to_fp32_and_not_the_same(able: None, method: str) -> None:
    made = simulate("af", 7)
    record = Record.from_channels("af", made.signal, made.fs, made.leads, source="af")
    exact, near = (
        ecgcam.explain(record, TEXT, load_model("mini", device="cpu", precision=precision), method=method)[0]
        for precision in ("fp32", "bf16")
    )
    assert (exact.meta["precision"], near.meta["precision"]) == ("fp32", "bf16")
    assert near.score == pytest.approx(exact.score, abs=0.01)
    assert near.lead_scores == pytest.approx(exact.lead_scores, abs=0.01)
    assert np.corrcoef(near.map.ravel(), exact.map.ravel())[0, 1] > 0.98
    assert np.corrcoef(near.gradient_smoothed.ravel(), exact.gradient_smoothed.ravel())[0, 1] > 0.98
    assert near.score != exact.score
    assert near.map.dtype == near.gradient.dtype == np.float32


def test_it_leaves_the_weights_and_the_default_alone(able: None) -> None:
    model = load_model("mini", device="cpu", precision="bf16")
    x = torch.randn(2, 12, model.input.samples, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        near = model.encode_signal(x)
        assert all(parameter.dtype == torch.float32 for parameter in model.network.parameters())
        assert near.dtype == torch.float32
        model.precision = "fp32"
        assert torch.equal(model.encode_signal(x), load_model("mini", device="cpu").encode_signal(x))
        assert not torch.equal(model.encode_signal(x), near)
    assert not torch.is_autocast_enabled("cpu")


def test_where_the_processor_lacks_it_it_is_refused(
    unable: None, capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    with pytest.raises(EcgcamError, match="this processor does not compute in bfloat16"):
        check_precision("bf16", "cpu")
    check_precision("fp32", "cpu")
    np.save(f"{tmp_path}/v1.npy", simulate("af", 11).signal[6])
    call = [
        "explain",
        f"{tmp_path}/v1.npy",
        "--fs",
        "500",
        "--lead-names",
        "V1",
        "--text",
        "af",
        "--out",
        f"{tmp_path}/out",
    ]
    assert run([*call, "--device", "cpu", "--precision", "bf16"]) == 2
    assert capsys.readouterr().err == (
        "ecgcam: --precision bf16: this processor does not compute in bfloat16, it would be slower; use --precision fp32\n"
    )
    assert run([*call, "--precision", "fp8"]) == 2
    assert "--precision fp8: no such choice" in capsys.readouterr().err
    assert run([*call, "--model", "some.module:model", "--precision", "bf16"]) == 2
    assert "is your own code; choose the precision there" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["_is_amx_tile_supported", "_is_avx512_bf16_supported"])
def test_either_kind_of_x86_instruction_is_enough(unable: None, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(torch.cpu, name, lambda: True, raising=False)
    check_precision("bf16", "cpu")
