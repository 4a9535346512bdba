"""Help with panels and examples, completion, names that are nearly right, defaults of a project, tracebacks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from ecgcam.attribution.methods import METHODS
from ecgcam.cli.app import COMMANDS
from ecgcam.cli.examples import EXAMPLES, SUMMARIES
from ecgcam.errors import nearest, no_such

PANELS = ["What to ask", "Method", "Model", "Recording and window", "Output", "Many recordings"]
SECONDS = "import sys, time; a = time.process_time(); {}; sys.stdout.write(str(time.process_time() - a))"


def test_alone_it_prints_its_help(ecgcam: Run) -> None:
    alone, asked = ecgcam(), ecgcam("--help")
    assert (alone.code, alone.err, alone.out) == (0, "", asked.out)
    for name in COMMANDS:
        (line,) = [line for line in alone.out.splitlines() if line.startswith(f"  {name} ")]
        assert line.endswith(SUMMARIES[name])
    assert not re.search(r"\w\.\.\.$", ecgcam("models").out, re.MULTILINE), "a summary is cut off"
    assert ecgcam("models").out == ecgcam("models", "--help").out
    assert ecgcam("help", "explain").out == ecgcam("explain", "--help").out


def test_options_are_in_panels(ecgcam: Run) -> None:
    words = ecgcam("explain", "--help").out
    assert re.findall(r"^(\S.*):$", words, re.MULTILINE) == ["Arguments", *PANELS, "Examples"]
    parts = re.split("|".join(f"\n{panel}:\n" for panel in PANELS), words)[1:]
    of = dict(zip(PANELS, parts, strict=True))
    for panel, options in {
        "What to ask": "text text-file against top like target criteria",
        "Method": "method set layer mask gradient no-gradient signed-gradient smoother smooth check seed",
        "Model": "model checkpoint text-model embeddings allow-numpy-scalars device precision offline",
        "Recording and window": "start seconds all follow hop fs lead-names unit",
        "Output": "out scale layout waves report format dpi width-mm no-png no-npz json quiet debug help",
        "Many recordings": "jobs engine shard pack resume force",
    }.items():
        for option in options.split():
            assert re.search(rf"^  (-\w, )?--{option}\b", of[panel], re.MULTILINE), (panel, option)


@pytest.mark.parametrize("command", [name for name in EXAMPLES if name])
def test_every_command_has_two_examples_that_parse(ecgcam: Run, command: str) -> None:
    words = ecgcam(*command.split(), "--help").out
    assert len(EXAMPLES[command]) == 2
    for example in EXAMPLES[command]:
        assert f"  # {example.what}\n  {example.call}\n" in words
        assert example.call.startswith("ecgcam ")


def test_help_takes_less_than_a_fifth_of_torchs_import() -> None:
    """Processor time, which other processes do not change much; the best of three."""

    def seconds(code: str) -> float:
        call = [sys.executable, "-c", SECONDS.format(code)]
        return min(
            float(subprocess.run(call, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
            for _ in range(3)
        )

    assert seconds("from ecgcam.cli.app import run; run(['explain', '--help'])") < seconds("import torch") / 5


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("ecgcam expl", {"explain"}),
        ("ecgcam explain --method hires", {"hires-cam"}),
        ("ecgcam explain --mod", {"--model"}),
        ("ecgcam explain --model merl-resnet", {f"merl-resnet{n}" for n in (18, 34, 50, 101)}),
        ("ecgcam methods fe", {"fem"}),
        ("ecgcam docs own-", {"own-model"}),
        ("ecgcam simulate paced", {"paced"}),
    ],
)
def test_the_shell_completes(line: str, wanted: set[str]) -> None:
    environment = os.environ | {
        "_ECGCAM_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - 1),
    }
    code = "from ecgcam.cli import main; main([])"
    got = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert set(got.stdout.split()) == wanted, got.stderr


def test_completion_can_be_shown_for_installing(ecgcam: Run) -> None:
    assert "--install-completion" in ecgcam("--help").out


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("gradcam", METHODS, "grad-cam"),
        ("Grad_CAM", METHODS, "grad-cam"),
        ("lead-oclusion", METHODS, "lead-occlusion"),
        ("zeros", ("baseline", "zero-mv", "zero", "mean"), "zero"),
        ("resnet18", ("merl-resnet18", "mini"), "merl-resnet18"),
    ],
)
def test_the_nearest_name_comes_first(name: str, known: list[str], found: str) -> None:
    assert nearest(name, known)[0] == found


def test_a_name_like_no_other_gets_no_guess() -> None:
    assert nearest("magic", METHODS) == []
    assert nearest("--", METHODS) == []
    assert str(no_such("x", "mask", "magic", ["a", "b"])) == "x: no such mask; choose from a, b"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["explian"], "No such command 'explian'. Did you mean 'explain'? (see ecgcam --help)"),
        (["explain", "--metod", "x"], "No such option: --metod"),
        (["methods", "gradcam"], "no such method (did you mean grad-cam"),
        (["docs", "own-modl"], "no such page (did you mean own-model?); `ecgcam docs` lists all"),
        (["measure", "x.dat", "--criteria", "lbb"], "no such finding (did you mean lbbb"),
        (["simulate", "lbb"], "no such finding (did you mean lbbb"),
    ],
)
def test_misspelt_words(ecgcam: Run, arguments: list[str], says: str) -> None:
    got = ecgcam(*arguments)
    assert got.code == 2
    assert says in got.err


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_methods_fit_the_terminal_and_say_what_each_shows(
    ecgcam: Run, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = ecgcam("methods").out.splitlines()
    assert max(map(len, lines)) <= columns
    words = " ".join(" ".join(lines).split())
    for method in METHODS.values():
        assert f"{method.name} {method.shows}"[:40] in words
        assert method.shows
        assert len(method.shows) <= 90
    for name in METHODS:
        assert max(map(len, ecgcam("methods", name).out.splitlines())) <= columns, name


def test_one_method_is_described_with_its_options(ecgcam: Run) -> None:
    words = ecgcam("methods", "finer-cam").out
    assert "gamma" in words
    assert "0.6" in words
    assert " ".join(METHODS["finer-cam"].misleads.split()) in " ".join(words.split())


def test_docs_are_printed(ecgcam: Run) -> None:
    listed = ecgcam("docs").out
    assert "own-model" in listed
    page = ecgcam("docs", "own-model").out
    assert page == ecgcam("docs", "docs/own-model.md").out
    assert page.startswith("# ")


def test_defaults_of_a_project(ecgcam: Run, lead_v1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    array = ("--fs", 500, "--lead-names", "V1", "--text", "af", "--no-png", "--no-gradient")
    Path("ecgcam.toml").write_text('model = "mini"\nout = "results"\ndevice = "cpu"\n')
    got = ecgcam("explain", lead_v1, *array)
    assert (got.code, got.err.splitlines()[0]) == (0, "note: from ecgcam.toml: model mini, device cpu, out results")
    assert Path("results/v1/af/summary.json").is_file()
    got = ecgcam("explain", lead_v1, *array, "--out", "other", "--device", "auto")
    assert "note: from ecgcam.toml: model mini\n" in got.err
    assert Path("other/v1/af").is_dir()
    assert "ecgcam.toml" not in ecgcam("explain", lead_v1, *array, "--out", "third", "--quiet").err
    assert "ecgcam.toml" not in ecgcam("measure", lead_v1, "--fs", 500, "--lead-names", "V1").err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            'model = "package.module:function"',
            "ecgcam.toml: model package.module:function: only a name or a model file",
        ),
        ('model = "os:system"', "ecgcam.toml: model os:system: only a name"),
        ("model = 3", 'ecgcam.toml: model: must be text, for example model = "mini"'),
        ('checkpoint = "x.pt"', "ecgcam.toml: checkpoint: only model, device, out can be set here"),
        ('modl = "mini"', "did you mean model?"),
        ("model = ", "ecgcam.toml: not a readable TOML file"),
        ('model = "merl"', "--model merl: no such model (did you mean merl-"),
    ],
)
def test_defaults_that_are_refused(
    ecgcam: Run, lead_v1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ecgcam.toml").write_text(content)
    got = ecgcam("explain", lead_v1, "--fs", 500, "--lead-names", "V1", "--text", "af")
    assert got.code == 2
    assert says in got.err
    assert [path.name for path in tmp_path.iterdir()] == ["ecgcam.toml"]


def test_debug_shows_where_the_error_of_one_of_several_recordings_arose(recordings: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.dat").write_bytes(b"x")
    code = "from ecgcam.cli import main; main()"
    call = [
        sys.executable,
        "-c",
        code,
        "explain",
        str(tmp_path / "bad.dat"),
        str(recordings / "af-7.dat"),
        "--text",
        "af",
    ]
    call += ["--no-png", "--no-gradient", "--jobs", "1", "--out", str(tmp_path / "out")]
    plain = subprocess.run(call, capture_output=True, text=True, check=False)
    shown = subprocess.run([*call, "--force", "--debug"], capture_output=True, text=True, check=False)
    assert (plain.returncode, shown.returncode) == (1, 1)
    assert "Traceback" not in plain.stderr
    assert "Traceback (most recent call last):" in shown.stderr
    assert "bad.dat" in shown.stderr.splitlines()[-1]
