"""A user's own model: docs/own-model.md runs as written, and what cannot work is said in one line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ecgcam.attribution.hooks import place_cells
from ecgcam.cli.app import run
from ecgcam.errors import EcgcamError
from ecgcam.explanation import Explanation
from ecgcam.own import own_model
from ecgcam.pipeline import explain
from ecgcam.records import Record
from ecgcam.records.simulator import simulate, write
from tests.conftest import ROOT


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs/own-model.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a new user stands: a recording, and the document's code in a file, under a name that no other test imports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    write(simulate("af", 7), tmp_path / "demo")
    (tmp_path / f"mine_{tmp_path.name}.py").write_text("".join(blocks()), encoding="utf-8")
    return tmp_path


def test_the_document_s_code_is_short_and_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len([line for line in blocks()[0].splitlines() if line.strip()]) <= 20
    call = ["explain", "demo/af-7.dat", "--text", "atrial fibrillation", "--no-png"]
    assert run([*call, "--model", f"mine_{folder.name}:load", "--layer", "encoder", "--out", "a"]) == 0
    told = capsys.readouterr().err
    assert "500 Hz, 10 s, twelve leads" in told
    assert "taken as (B, C, T), a cell every 10 samples, the first at sample 0" in told
    assert run([*call, "--model", f"mine_{folder.name}:load_with_everything_said", "--out", "b"]) == 0
    found = Explanation.load(folder / "a/af-7/atrial-fibrillation")
    assert found.map_cells.shape == (12, 500)
    said = Explanation.load(folder / "b/af-7/atrial-fibrillation")
    assert said.meta["model"] == "mine"
    # Masked leads lie elsewhere (median, 0 mV), so that only what does not depend on the mask is the same.
    assert found.score == pytest.approx(said.score, abs=1e-6)
    assert np.allclose(found.cell_time, said.cell_time)


class Tiny(nn.Module):
    """Where there is no `network`, the model is looked in itself."""

    def __init__(self, encode: str = "plain") -> None:
        super().__init__()
        self.look, self.encode = nn.Conv1d(12, 4, 5, stride=2, padding=2), encode
        self.head = nn.Linear(4, 3)

    def encode_signal(self, x: Tensor) -> Tensor:
        seen = self.head(torch.relu(self.look(x)).mean(dim=-1))
        return seen.detach() if self.encode == "detached" else seen

    def encode_text(self, texts: list[str]) -> Tensor:
        return torch.eye(3)[: len(texts)] if self.encode != "flat" else torch.zeros(3)


def normal() -> Record:
    known = simulate("normal", 3)
    return Record("n", known.signal, known.fs, known.leads)


def test_from_python() -> None:
    (found,) = explain(normal(), ["x"], own_model(Tiny(), layer="look"))
    assert found.map_cells.shape == (12, 2500)
    assert found.meta["cell_step_ms"] == 4.0


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (object(), "no nn.Module"),
        (nn.Conv1d(12, 4, 5), "no encode_signal"),
        (Tiny(), "name the target layer"),
    ],
)
def test_what_cannot_be_explained_is_said(own: object, said: str) -> None:
    with pytest.raises(EcgcamError, match=said):
        own_model(own)


def test_a_layer_that_is_not_there_and_a_detached_encoder() -> None:
    with pytest.raises(EcgcamError, match="no such module; it has look, head"):
        own_model(Tiny(), layer="nowhere")
    with pytest.raises(EcgcamError, match="not \\(B, C, T\\)"):
        own_model(Tiny(), layer="head")
    with pytest.raises(EcgcamError, match="gradient"):
        explain(normal(), ["x"], own_model(Tiny("detached"), layer="look"))
    with pytest.raises(EcgcamError, match="it must be \\(P, D\\)"):
        explain(normal(), ["x"], own_model(Tiny("flat"), layer="look"))


WRONG = [
    ("no_such_package:load", "cannot be imported"),
    ("json:nothing", "cannot be imported"),
    ("json:loads", "failed"),
]


@pytest.mark.parametrize(("name", "said"), WRONG)
def test_a_wrong_name_is_one_line(name: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "demo/af-7.dat", "--text", "x", "--model", name]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert said in told[0]


@pytest.mark.parametrize(("kernel", "stride", "padding", "offset"), [(1, 4, 0, 0.0), (8, 4, 0, 3.5), (9, 3, 4, 0.0)])
def test_cells_are_placed_where_the_kernel_s_middle_is(kernel: int, stride: int, padding: int, offset: float) -> None:
    layer = nn.Conv1d(12, 2, kernel, stride, padding)
    nn.init.constant_(layer.weight, 1.0)
    spec = place_cells(layer, layer, "layer", 12, 5000)
    assert spec.step == stride
    assert spec.offset == offset


def test_cells_that_see_everything_are_placed_by_what_moves_them_most() -> None:
    class Blurred(nn.Module):
        """Each cell sees its own 10 samples, and faintly all of them."""

        def forward(self, x: Tensor) -> Tensor:
            own = x.unflatten(-1, (-1, 10)).mean(dim=-1)
            return own + 1e-4 * x.mean(dim=-1, keepdim=True)

    blurred = Blurred()
    spec = place_cells(blurred, blurred, "layer", 12, 1000)
    assert spec.step == pytest.approx(10, rel=0.02)
    assert spec.offset == pytest.approx(4.5, abs=5)
