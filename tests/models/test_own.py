"""A user's own model; what cannot work is one line. docs/own-model.md is tested in test_own_page.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ecgcam import explain
from ecgcam.attribution.placement import place_cells
from ecgcam.cli.app import run
from ecgcam.errors import EcgcamError
from ecgcam.models.own import own_model
from ecgcam.protocol.spec import InputSpec, LayerSpec
from ecgcam.records import Record
from ecgcam.records.simulator import simulate, write


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a new user stands: a recording, and a module that cannot be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    write(simulate("af", 7), tmp_path / "demo")
    (tmp_path / "broken_module.py").write_text("def load(:\n", encoding="utf-8")
    return tmp_path


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


class Normed(nn.Module):
    """As most networks: with batch normalisations, whose count of batches is a whole number without a dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Sequential(nn.Conv1d(12, 4, 5, 2, 2), nn.BatchNorm1d(4), nn.ReLU(inplace=True))
        self.brief = nn.Linear(4, 3).bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        return self.brief(self.look(x).mean(dim=-1).bfloat16()).float()

    def get_extra_state(self) -> dict[str, int]:
        return {"version": 3}

    def set_extra_state(self, state: dict[str, int]) -> None:
        assert state == {"version": 3}


def test_a_network_with_normalisations_half_precision_and_words_in_its_state() -> None:
    network = Normed()
    model = own_model(network, layer="look", targets=True)
    (found,) = explain(normal(), ["2"], model)
    assert found.map_cells.shape == (12, 2500)
    with torch.no_grad():
        network.look[1].running_mean[0] += 1e-3
    assert own_model(network, layer="look", targets=True).checkpoint_sha256 != model.checkpoint_sha256


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
    ],
)
def test_what_cannot_be_explained_is_said(own: object, said: str) -> None:
    with pytest.raises(EcgcamError, match=said):
        own_model(own)


class Gives(Tiny):
    """Returns what is not one tensor (B, D)."""

    def __init__(self, of: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.of = of

    def forward(self, x: Tensor) -> object:
        return self.of(self.encode_signal(x))


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (
            lambda e: (e, e),
            r"gave tuple of 2; it must be a tensor .*: .* returns one of its parts, such as network\(x\)\[0\]",
        ),
        (lambda e: {"rhythm": e, "form": e}, r"gave dict of rhythm, form; .* such as network\(x\)\['rhythm'\]"),
        (lambda e: e[:, 0], r"gave \(4,\); it must be a tensor .*: return it with unsqueeze\(-1\)"),
        (lambda _: None, "gave NoneType; it must be a tensor"),
    ],
)
def test_outputs_that_are_not_one_tensor_are_named(of: Callable[[Tensor], object], said: str) -> None:
    with pytest.raises(EcgcamError, match=said):
        own_model(Gives(of), targets=True)


def wrong_input() -> Tiny:
    model = Tiny()
    model.input = {"fs": 500}
    return model


def wrong_layers() -> Tiny:
    model = Tiny()
    model.layers = {"look": LayerSpec("BCT", 2, 0), "lok": LayerSpec("BCT", 2, 0)}
    return model


def wrong_leads() -> Tiny:
    model = Tiny()
    model.input = InputSpec(leads=("I", "II"))
    return model


class Talks(Tiny):
    """Its texts are as wrong as a first try may be."""

    def __init__(self, given: object) -> None:
        super().__init__()
        self.given = given

    def encode_text(self, texts: list[str]) -> Tensor:
        if isinstance(self.given, Exception):
            raise self.given
        return self.given


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (wrong_input, "`input` is dict; it must be an InputSpec"),
        (wrong_layers, "`layers` 'lok': must name a module"),
        (wrong_leads, r"encode_signal failed on signals \(\d, 2, 5000\) \(RuntimeError: .*`debug` shows where"),
        (lambda: Talks(np.zeros((1, 3))), "encode_text gave ndarray for 1 prompts; it must be a tensor"),
        (lambda: Talks(torch.zeros(1, 4)), r"encode_text gave \(1, 4\) for 1 prompts; .*: \(1, 3\)"),
        (lambda: Talks(KeyError("af")), r"encode_text failed \(KeyError: 'af'\); `debug` shows where"),
    ],
)
def test_what_a_first_try_gets_wrong_is_one_line(make: Callable[[], nn.Module], said: str) -> None:
    with pytest.raises(EcgcamError, match=said) as error:
        explain(normal(), ["x"], own_model(make(), layer="look"))
    assert "\n" not in str(error.value)


def test_labels_are_as_many_as_outputs() -> None:
    network = Segmenter()
    network.labels = ["QRS"]
    with pytest.raises(EcgcamError, match="own has 2 outputs and 1 `labels`"):
        own_model(network, layer="look", targets=True)


def test_a_layer_that_is_not_there_and_a_detached_encoder() -> None:
    with pytest.raises(EcgcamError, match="no such module; it has for example look, head"):
        own_model(Tiny(), layer="nowhere")
    with pytest.raises(EcgcamError, match=r"gives \(3, 3\) for 3 signals, not cells along time"):
        own_model(Tiny(), layer="head")
    with pytest.raises(EcgcamError, match="gradient"):
        explain(normal(), ["x"], own_model(Tiny("detached"), layer="look"))
    with pytest.raises(
        EcgcamError, match=r"encode_text gave \(3,\) for 1 prompts; it must be a tensor \(P, D\).*\(1, 3\)"
    ):
        explain(normal(), ["x"], own_model(Tiny("flat"), layer="look"))


WRONG = [
    ("no_such_package:load", "cannot be imported"),
    ("json:nothing", "cannot be imported"),
    ("json:loads", "failed"),
    ("broken_module:load", "broken_module fails when imported (SyntaxError: "),
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
    spec = place_cells(layer, layer, "layer", 12, 5000).where
    assert spec.step == stride
    assert spec.offset == offset


def test_cells_that_see_everything_are_placed_by_what_moves_them_most() -> None:
    class Blurred(nn.Module):
        """Each cell sees its own 10 samples, and faintly all of them."""

        def forward(self, x: Tensor) -> Tensor:
            own = x.unflatten(-1, (-1, 10)).mean(dim=-1)
            return own + 1e-4 * x.mean(dim=-1, keepdim=True)

    blurred = Blurred()
    spec = place_cells(blurred, blurred, "layer", 12, 1000).where
    assert spec.step == pytest.approx(10, rel=0.02)
    assert spec.offset == pytest.approx(4.5, abs=0.5)


class Segmenter(nn.Module):
    """A logit for each fifth of a second and each of two outputs: how high leads I and II stand there. No text, no names."""

    def __init__(self, finish: str = "logits") -> None:
        super().__init__()
        self.look, self.finish = nn.AvgPool1d(100), finish

    def forward(self, x: Tensor) -> Tensor:
        cells = self.look(x)  # (B, 12, 50)
        logits = 3.0 * cells[:, :2] ** 2
        return {"logits": logits, "whole": logits.sum(dim=-1), "sigmoid": logits.sigmoid()}.get(
            self.finish, cells[0, 0]
        )


def steps() -> Record:
    """Lead I is 1 mV from second 2 to 3 and 2 mV from 6 to 7, lead II 1 mV from 4 to 5; the rest is silent."""
    signal = np.zeros((12, 5000), np.float32)
    signal[0, 1000:1500], signal[0, 3000:3500], signal[1, 2000:2500] = 1, 2, 1
    return Record("steps", signal, 500.0, tuple(InputSpec().leads))


def test_outputs_along_time_are_summed_over_the_moments_that_are_named() -> None:
    model = own_model(Segmenter(), layer="look", targets=True)
    targets = ["0", "0@2-3", "0@2-2.4,6-7", "1@4-5", "1@0-4"]
    found = {one.meta["text"]: one for one in explain(steps(), targets, model, method="hires-cam", mask="zero")}
    # 3 mV^2 in each of the five cells of a second at 1 mV, 12 at 2 mV.
    wanted = {"0": 15 + 60, "0@2-3": 15, "0@2-2.4,6-7": 6 + 60, "1@4-5": 15, "1@0-4": 0}
    assert {text: one.score for text, one in found.items()} == pytest.approx(wanted)
    for text, seconds in {"0@2-3": [(2, 3)], "0@2-2.4,6-7": [(2, 2.4), (6, 7)]}.items():
        cells, time = found[text].map_cells[0], found[text].cell_time
        within = np.any([(time > begin) & (time < end) for begin, end in seconds], axis=0)
        assert (cells[within] > 1).all()
        assert not cells[~within].any()
    # The mask and the gradient know the moments too.
    assert found["0@2-3"].lead_scores.tolist() == pytest.approx([15] + 11 * [0])
    assert not found["0@2-3"].gradient[0, 3000:3500].any()
    assert found["0@2-3"].gradient[0, 1000:1500] == pytest.approx(6 / 100)
    assert "output 0 of own has no name in its `labels`" in " ".join(found["0"].meta["warnings"])


def test_labels_name_outputs_and_may_hold_an_at_sign() -> None:
    network = Segmenter()
    network.labels = ["QRS", "T@rest@1-2"]
    model = own_model(network, layer="look", targets=True)
    rows = model.encode_text(["qrs@2-3", "T@rest@1-2", "T@rest@1-2@4-5"])
    assert rows.sum(dim=1).tolist() == [5, 50, 5]
    assert rows[2].reshape(2, 50)[1, 20:25].tolist() == [1] * 5
    assert not any(model.text.warnings(text) for text in ("0", "qrs@2-3"))


@pytest.mark.parametrize(
    ("target", "finish", "said"),
    [
        ("2", "logits", "own has the outputs 0 to 1; choose one of them"),
        ("2@1-2", "logits", "own has the outputs 0 to 1; choose one of them"),
        ("0@", "logits", "'' is not an interval"),
        ("@1-2", "logits", "own has the outputs 0 to 1; choose one of them"),
        ("0@3-2", "logits", "'3-2' is not an interval; write START-END in seconds"),
        ("0@3", "logits", "'3' is not an interval"),
        ("0@1-2,", "logits", "'' is not an interval"),
        ("0@12-13", "logits", "no moment of own lies in 12-13; its 50 outputs stand 0.2 s apart .* from 0 to 10 s"),
        ("0@1-2", "whole", "an output of own covers the whole window; leave @1-2 out"),
        ("0", "one", r"gave \(50,\); it must be a tensor \(B, D\), or \(B, D, T\)"),
    ],
)
def test_a_target_that_is_not_there_is_said(target: str, finish: str, said: str) -> None:
    with pytest.raises(EcgcamError, match=said):
        own_model(Segmenter(finish), layer="look", targets=True).encode_text([target])


def test_probabilities_draw_a_note(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "ecgcam"):
        own_model(Segmenter("sigmoid"), layer="look", targets=True)
    assert "explain logits" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO", "ecgcam"):
        own_model(Segmenter(), layer="look", targets=True)
    assert "explain logits" not in caplog.text


class Constant(nn.Module):
    """Gives what does not follow time."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=-1, keepdim=True).expand(-1, -1, 8)


@pytest.mark.parametrize(
    ("module", "run_it", "says"),
    [
        (nn.Conv1d(12, 2, 4, 4), lambda _, x: x, r"`layer` trunk: ran 0 times in one pass"),
        (
            nn.Conv1d(12, 2, 4, 4),
            lambda layer, x: (layer(x), layer(-x)),
            "`layer` trunk: ran 2 times in one pass; choose one that runs once",
        ),
        (nn.Flatten(), lambda layer, x: layer(x), r"`layer` trunk: gives \(3, 4800\) for 3 signals, not"),
        (
            nn.AvgPool1d(200),
            lambda layer, x: layer(x),
            r"`layer` trunk: its cells do not follow time \(output \(2, 12, 2\)\)",
        ),
        (nn.Conv1d(12, 2, 4, 4), lambda layer, x: layer(x.detach()), "no gradient passes on the way to it"),
        (Constant(), lambda layer, x: layer(x), "its cells do not follow time"),
    ],
)
def test_a_layer_that_cannot_be_placed_is_one_line(
    module: nn.Module, run_it: Callable[[nn.Module, Tensor], Tensor], says: str
) -> None:
    with pytest.raises(EcgcamError, match=says):
        place_cells(lambda x: run_it(module, x), module, "trunk", 12, 400)


def test_four_cells_are_enough_to_be_placed() -> None:
    layer = nn.AvgPool1d(100)
    assert place_cells(layer, layer, "trunk", 12, 400).where == LayerSpec("BCT", 100.0, 49.5)
