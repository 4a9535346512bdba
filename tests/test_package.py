"""The house rules that a tool does not check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import ecgcam
from tests.conftest import ROOT

SOURCES = sorted((ROOT / "src/ecgcam").rglob("*.py"))


def test_no_module_has_the_name_of_a_public_function() -> None:
    modules = {path.parent.name if path.name == "__init__.py" else path.stem for path in SOURCES}
    functions = {
        node.name: path
        for path in SOURCES
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    assert len(functions) > 100
    assert not modules & functions.keys()


def test_hooks_are_made_in_one_module_only() -> None:
    makers = {
        path.stem for path in SOURCES if "register_forward" in path.read_text() or "register_full" in path.read_text()
    }
    assert makers == {"taps"}


def test_test_modules_import_at_the_top_only_what_make_test_installs() -> None:
    # `make test` runs before the peers are there: one import of a peer at the top of a module fails the whole collection.
    installed, waiting = set[str](), ["ecgcam", "torch"]
    while waiting:
        name = waiting.pop()
        if name in installed:
            continue
        installed.add(name)
        for line in metadata.requires(name) or []:
            required = Requirement(line)
            if required.marker is None or required.marker.evaluate({"extra": "dev" if name == "ecgcam" else ""}):
                waiting.append(canonicalize_name(required.name))
    modules = {
        module
        for module, owners in metadata.packages_distributions().items()
        if installed & {canonicalize_name(owner) for owner in owners}
    }
    modules |= sys.stdlib_module_names | {"benchmarks", "docs", "ecgcam", "tests", "training"}
    foreign = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        for name in _imported(node)
        if name.partition(".")[0] not in modules
    }
    assert "hypothesis" in modules
    assert not foreign


def _imported(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module and node.level == 0 else []


def test_the_minimum_that_is_tested_is_what_is_promised() -> None:
    """`make minimum` installs constraints-min.txt: each version there is pyproject's lower bound; torch is the tested one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [
        *project["dependencies"],
        *(one for name in extras if name not in {"all", "dev", "docs"} for one in extras[name]),
    ]
    least = dict(re.fullmatch(r"([\w-]+)>=([\d.]+)", one).groups() for one in wanted)  # type: ignore[union-attr]
    lines = (ROOT / "constraints-min.txt").read_text(encoding="utf-8").splitlines()
    held = dict(line.split("==") for line in lines if not line.startswith("#"))
    tested = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert held.pop("torch") == tested["torch"]
    del least["torch"]
    assert held == least


@pytest.mark.parametrize("name", ecgcam.__all__)
def test_everything_that_is_offered_is_there(name: str) -> None:
    assert getattr(ecgcam, name) is not None
    assert name in dir(ecgcam)


def test_what_is_not_offered_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'explane'"):
        _ = ecgcam.explane  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "code",
    [
        "import ecgcam; ecgcam.Explanation; ecgcam.read_record",
        "import ecgcam.runs.writer, ecgcam.render, ecgcam.pipeline.settings, ecgcam.runs.worklist, ecgcam.runs.reading",
        "from ecgcam.attribution.methods import METHODS; [method.row() for method in METHODS.values()]",
        "from ecgcam.models.model_file import load_spec, model_names; [load_spec(name) for name in model_names()]",
    ],
)
def test_reading_drawing_storing_and_the_tables_do_not_import_torch(code: str) -> None:
    check = f"import sys; {code}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=Path(ROOT), check=False).returncode == 0


@pytest.mark.parametrize("model", ["mini", "merl-resnet18", "merl-vit-tiny"])
def test_to_build_a_network_does_not_import_torchs_compiler(model: str) -> None:
    """It costs more than torch itself, and filling weights on the meta device brings it in."""
    imports = "from ecgcam.models.load import build_network; from ecgcam.models.model_file import load_spec"
    code = f"{imports}; build_network(load_spec({model!r}))"
    check = f"import sys; {code}; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=Path(ROOT), check=False).returncode == 0


def test_to_read_and_resample_does_not_import_scipys_signal_processing(tmp_path: Path) -> None:
    code = (
        "import numpy as np; from ecgcam.records import Record, take_window\n"
        "record = Record.from_channels('r', np.random.rand(1, 5000), 500.0, ['I'], source='r')\n"
        "take_window(record, 250.0, 2500)"
    )
    check = f"import sys; {code}\nsys.exit('scipy.signal' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=Path(ROOT), check=False).returncode == 0
