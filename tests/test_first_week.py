"""The scripts of a first week, docs/tutorials/*.py: short, they run, type checkers read them. Notebooks show their picture."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from ecgcam.records.simulator import simulate, write
from tests.conftest import ROOT

SCRIPTS = sorted((ROOT / "docs" / "tutorials").glob("*.py"))
# Without torch and others, whose own types take mypy minutes.
MYPY = """[mypy]
[mypy-torch.*,numpy.*,scipy.*,matplotlib.*,pandas.*,wfdb.*,typer.*]
follow_imports = skip
ignore_missing_imports = True
"""
CHECKERS = {
    "mypy": [sys.executable, "-m", "mypy", "--config-file=mypy.ini", "--follow-imports=silent", "--no-error-summary"],
    "pyright": [sys.executable, "-m", "pyright", "--pythonpath", sys.executable],
}


def test_there_are_five_and_each_is_short() -> None:
    assert len(SCRIPTS) == 5
    for script in SCRIPTS:
        lines = [line for line in script.read_text(encoding="utf-8").splitlines() if line.strip()]
        assert len(lines) - 1 < 15, script  # the docstring is not counted


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_they_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write(simulate("af", 7), tmp_path / "demo")
    monkeypatch.chdir(tmp_path)
    for script in SCRIPTS:
        runpy.run_path(str(script))
        assert capsys.readouterr().out.strip(), script
    assert {path.name for path in tmp_path.glob("*.png")} == {"page.png", "V1.png", "two-methods.png"}


MISTAKES = {
    "a misspelt option": ("method=method", "metod=method", "metod"),
    "a wrong type": ("method=method", 'method=method, smooth_ms="wide"', "smooth_ms"),
    "a misspelt function": ("ecgcam.compare(", "ecgcam.compere(", "attribute"),
}


# With `criteria` the scores of a recording are two tables, not one.
SCORES = """import ecgcam
plain: list[dict[str, float]] = ecgcam.score("a.dat", "lbbb", start=2.0)
by_criteria: float | None = ecgcam.score("a.dat", "lbbb", criteria=True, fs=500)[0]["criteria"]["lbbb"]
"""


@pytest.mark.slow
@pytest.mark.peers
@pytest.mark.parametrize("checker", CHECKERS)
def test_type_checkers_find_nothing_in_them_and_every_mistake(checker: str, tmp_path: Path) -> None:
    (tmp_path / "mypy.ini").write_text(MYPY)
    (tmp_path / "scores.py").write_text(SCORES, encoding="utf-8")
    clean = subprocess.run(
        [*CHECKERS[checker], *map(str, SCRIPTS), "scores.py"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert clean.returncode == 0, clean.stdout
    source = (ROOT / "docs/tutorials/two_methods.py").read_text(encoding="utf-8")
    for number, (right, wrong, _) in enumerate(MISTAKES.values()):
        assert source.count(right) == 1
        (tmp_path / f"wrong{number}.py").write_text(source.replace(right, wrong), encoding="utf-8")
    found = subprocess.run(
        [*CHECKERS[checker], *(f"wrong{number}.py" for number in range(len(MISTAKES)))],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    for number, (what, (_, _, says)) in enumerate(MISTAKES.items()):
        assert re.search(rf"wrong{number}\.py:\d+.* error: .*{says}", found.stdout), (what, found.stdout)


@pytest.mark.slow
@pytest.mark.peers
def test_a_notebook_shows_the_picture_without_any_magic(tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    write(simulate("af", 7), tmp_path / "demo")
    cells = [
        'import ecgcam\nexplanation = ecgcam.explain("demo/af-7.dat", "atrial fibrillation")[0]\nexplanation',
        "ecgcam.compare(explanation, explanation)",
        "explanation.to_dataframe().head()",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for cell, words in zip(
        notebook.cells, ("<strong>yes: atrial fibrillation, rank 1", "rank correlation", "signal_mv"), strict=True
    ):
        shown = [output.data["text/html"] for output in cell.outputs if "text/html" in output.get("data", {})]
        assert words in shown[-1]
    assert "data:image/png;base64,iVBOR" in notebook.cells[0].outputs[-1].data["text/html"]
