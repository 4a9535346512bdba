"""A model file of the user's own: what is wrong in it is named by file and key, and `models check` states what is missing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.models.published import PUBLISHED, narrow_file, write_checkpoint

from ecgcam.cli.app import run
from ecgcam.errors import EcgcamError
from ecgcam.models.load import build_network, check_precision, choose_device, load_model
from ecgcam.models.model_file import load_spec
from ecgcam.resources import configs


def changed(folder: Path, name: str, before: str, after: str) -> Path:
    """A copy of a shipped model file with one thing changed."""
    text = (configs() / "models" / f"{name}.toml").read_text(encoding="utf-8")
    assert before in text
    (folder / "mine.toml").write_text(text.replace(before, after, 1), encoding="utf-8")
    return folder / "mine.toml"


@pytest.mark.parametrize(
    ("name", "before", "after", "said"),
    [
        (
            "ked",
            "heads = 4",
            "haeds = 4",
            r"options\.haeds: is unknown; the family ked allows widths, depths, layers, heads",
        ),
        ("ked", "heads = 4", "heads = 5", r"options: do not fit together \(embed_dim must be divisible by num_heads\)"),
        ("ked", "heads = 4", 'heads = "4"', r"options\.heads: must be a positive whole number, not '4'"),
        ("ked", "heads = 4", "heads = 0", r"options\.heads: must be a positive whole number, not 0"),
        ("ked", "heads = 4", "heads = true", r"options\.heads: must be a positive whole number, not True"),
        ("ked", "heads = 4", "heads = [4]", r"options\.heads: must be a positive whole number, not \[4\]"),
        (
            "ked",
            "depths = [3, 4, 23, 3]",
            "depths = 3",
            r"options\.depths: must be a list of positive whole numbers, not 3",
        ),
        (
            "ked",
            "depths = [3, 4, 23, 3]",
            "depths = []",
            r"options\.depths: must be a list of positive whole numbers, not \[\]",
        ),
        ("ked", "depths = [3, 4, 23, 3]", "depths = [3, 4]", r"options: do not fit together"),
        ("ecgfounder", "normed = false", "normed = 1", r"options\.normed: must be true or false, not 1"),
        ("merl-resnet18", 'arch = "resnet18"', "", r"options\.arch: is missing; the family merl needs it"),
        ("merl-resnet18", 'arch = "resnet18"', 'arch = "resnet19"', r"MERL has no 'resnet19'; choose from resnet18"),
    ],
)
def test_options_that_do_not_fit_are_named(name: str, before: str, after: str, said: str, tmp_path: Path) -> None:
    file = changed(tmp_path, name, before, after)
    with pytest.raises(EcgcamError, match=said) as error:
        build_network(load_spec(file))
    assert str(error.value).startswith(f"{file}: options")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            "seconds = 9",
            "seconds = 10",
            r"mine\.toml: input: 12 leads of 2500 samples \(fs x seconds\) do not fit this network",
        ),
        ('"block3" =', '"blok3" =', r"mine\.toml: layers\.'blok3': the network has no such module; near it are block"),
    ],
)
def test_what_its_network_contradicts_is_said_when_it_is_loaded(
    before: str, after: str, said: str, tmp_path: Path
) -> None:
    narrow = narrow_file("st-mem", tmp_path)
    checkpoint = write_checkpoint("st-mem", load_spec(narrow), tmp_path / "c.pt")
    text = narrow.read_text(encoding="utf-8")
    assert before in text
    (tmp_path / "mine.toml").write_text(text.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(EcgcamError, match=said):
        load_model(tmp_path / "mine.toml", checkpoint, device="cpu")


def checked(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str], keep_numbers: bool = True
) -> dict[str, object]:
    """What `models check --json` says of a narrow network in its published form."""
    file = narrow_file(name, folder)
    if not keep_numbers:
        text = file.read_text(encoding="utf-8")
        for before, after in PUBLISHED[name].filled_in.items():
            text = text.replace(after, before)
        file.write_text(text, encoding="utf-8")
    checkpoint = write_checkpoint(name, load_spec(file), folder / "c.pt")
    assert run(["models", "check", str(checkpoint), "--model", str(file), "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    assert found["model"] == name
    return found


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "d-beta",
            "--text, through google/flan-t5-base: its weights are in this file, configuration and tokenizer come from",
        ),
        ("melp", "melp: this checkpoint holds only the ECG tower, without the projection of text"),
        ("ecg-fm", "no text tower here: --like RECORD, --target 0 to 4 where its outputs are labels"),
    ],
)
def test_check_says_how_a_model_is_asked(
    name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = checked(name, tmp_path, capsys)
    assert str(found["prompts"]).startswith(said)
    assert "Hz" in str(found["input"])


@pytest.mark.parametrize("name", ["echoing-ecg", "xresnet1d101"])
def test_check_says_what_a_file_that_fits_still_waits_for(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = checked(name, tmp_path, capsys, keep_numbers=False)
    assert "input.offset, input.scale" in str(waiting["missing"])
    assert "mistakes" not in waiting
    (tmp_path / "full").mkdir()
    assert "missing" not in checked(name, tmp_path / "full", capsys)


def test_a_single_output_is_compared_by_its_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The cosine of two single numbers is 1 or -1, whatever they are."""
    found = checked("ribeiro", tmp_path, capsys)
    assert found["measure"] == "change / length"
    mistakes = found["mistakes"]
    assert isinstance(mistakes, dict)
    assert all(moved > 1e-4 for moved in mistakes.values())
    assert len({round(moved, 3) for moved in mistakes.values()}) == len(mistakes)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('layer = "ecg_model.7"', 'layer = "nowhere"', r"layer: 'nowhere' is not under \[layers\]"),
        ('"aVF", "aVL"', '"aVF", "aVF"', r"input\.leads: lead names must be distinct"),
        ('"aVF", "aVL"', '"aVF", "Z"', r"input\.leads: lead names must be distinct"),
        ("fs = 100", "fs = 0", r"input\.fs: rate and seconds must be positive"),
        ("seconds = 10", "seconds = -1", r"input\.fs: rate and seconds must be positive"),
        ("fs = 100", "fs = inf", r"input\.fs: rate and seconds must be positive, at most"),
        ("seconds = 10", "seconds = 1e300", r"input\.fs: rate and seconds must be positive, at most"),
        ("[options]\n", "[options]\ndepth = 9223372036854775807\n", r"options\.depth: no network is that large; at most 200"),
        ("[options]\n", "[options]\nwide = [1, nan]\n", r"options\.wide: no network is that large"),
        ("fs = 100", 'fs = "100"', r"input\.fs: must be a number, not '100'"),
        ("fs = 100", "fs = true", r"input\.fs: must be a number, not True"),
        ("fs = 100", "fs = 100\nmean = [1.0, 2.0]", r"input\.mean: one number for each of the 12 leads"),
        ("length = 256", "length = 3", r"text\.length: must be at least 4 tokens"),
        ("length = 256", 'length = 256\ntemplate = "an ECG"', r"text\.template: must hold \{\} once"),
        ("open = [", "open = [\n    3,", r"open: must be a list of sentences"),
        ('[layers]\n', '[layers]\n"x" = 3\n', r"layers\.'x': must be a table with layout"),
        ("offset = 7 }", "offset = 7, part = -1 }", r"layers\.'ecg_model\.7'\.part: counts from 0"),
        ("offset = 7 }", "offset = 7, run = [1] }", r"layers\.'ecg_model\.7'\.concat_grid: three numbers"),
        ("offset = 7 }", "offset = 7, steps = 1 }", r"steps: is unknown"),
    ],
)  # fmt: skip
def test_values_that_cannot_be_are_named_by_their_key(before: str, after: str, said: str, tmp_path: Path) -> None:
    file = changed(tmp_path, "ked", before, after)
    with pytest.raises(EcgcamError, match=said) as error:
        load_spec(str(file))
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device": "tpu"}, "`device` tpu: no such device; choose from auto, cpu, cuda"),
        ({"device": "cuda"}, "`device` cuda: torch sees no CUDA device here"),
        ({"device": "cpu", "precision": "fp8"}, "`precision` fp8: no such choice; choose from"),
    ],
)
def test_a_device_or_precision_that_is_not_there(
    options: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(EcgcamError, match=said):
        check_precision(options.get("precision", "fp32"), choose_device(options["device"]))


def test_a_processor_that_would_imitate_bfloat16_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for can, machine in ((False, "aarch64"), (True, "arm64")):
        monkeypatch.setattr("platform.machine", lambda machine=machine: machine)
        monkeypatch.setattr("torch.ops.mkldnn._is_mkldnn_bf16_supported", lambda can=can: can, raising=False)
        if can:
            check_precision("bf16", "cpu")
        else:
            with pytest.raises(EcgcamError, match="this processor does not compute in bfloat16"):
                check_precision("bf16", "cpu")
    for can in (False, True):
        monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda can=can, **_: can)
        if can:
            check_precision("bf16", "cuda")
        else:
            with pytest.raises(EcgcamError, match="this GPU does not compute in bfloat16"):
                check_precision("bf16", "cuda")


def test_a_family_that_does_not_exist_is_refused() -> None:
    with pytest.raises(EcgcamError, match="no such family 'nothing'"):
        build_network(replace(load_spec("mini"), family="nothing"))
