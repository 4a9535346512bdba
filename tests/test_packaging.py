"""What comes with the package: SKILL.md and llms.txt, citation, container, conda recipe, project URLs."""

from __future__ import annotations

import datetime
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from ecgcam import __version__
from ecgcam.cli.examples import EXAMPLES
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def _made(name: str) -> str:
    code = f"from docs.make_agents import {name}; import sys; sys.stdout.write({name}())"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    got = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    return got.stdout


@pytest.mark.parametrize(("file", "function"), [("SKILL.md", "skill"), ("llms.txt", "index")])
def test_the_pages_for_agents_are_those_of_the_tables(file: str, function: str) -> None:
    assert (ROOT / file).read_text(encoding="utf-8") == _made(function), "run python docs/make_agents.py"


@pytest.mark.slow
def test_every_example_runs_in_order_in_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order of SKILL.md, which lacks only what prints the same; in one process, where > keeps stdout in a file."""
    from ecgcam.cli.app import run

    monkeypatch.chdir(tmp_path)
    page = (ROOT / "SKILL.md").read_text(encoding="utf-8")
    calls = re.findall(r"^(ecgcam .*?) +# ", page.partition("```sh\n")[2].partition("```")[0], re.MULTILINE)
    wanted = {example.call for some in EXAMPLES.values() for example in some if not example.given}
    assert set(calls) <= wanted
    assert all(call.startswith("ecgcam models ") for call in wanted - set(calls))
    for call in [*calls, *sorted(wanted - set(calls))]:
        command, _, file = call.partition(" > ")
        code = run(shlex.split(command)[1:])
        got = capsys.readouterr()
        assert (code, bool(got.out)) == (0, True), (call, got.err)
        if file:
            Path(file).write_text(got.out, encoding="utf-8")


def test_the_citation_is_valid() -> None:
    """The required keys of CFF 1.2.0, no others than it has, and the facts of the package; checked once with cffconvert 2.0."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert set(citation) <= {
        "abstract", "authors", "cff-version", "commit", "contact", "date-released", "doi", "identifiers", "keywords", "license",
        "license-url", "message", "preferred-citation", "references", "repository", "repository-artifact", "repository-code",
        "title", "type", "url", "version",
    }  # fmt: skip
    assert citation["cff-version"] == "1.2.0"
    assert str(citation["version"]) == __version__
    datetime.date.fromisoformat(citation["date-released"])
    assert citation["license"] == PROJECT["license"]
    assert citation["repository-code"] == PROJECT["urls"]["Source"]
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= set(reference)
        assert re.fullmatch(r"10\.\d{4,}/\S+", reference["doi"])


def test_the_extra_all_has_what_users_may_need() -> None:
    extras = PROJECT["optional-dependencies"]
    (everything,) = extras["all"]
    named = set(re.fullmatch(r"ecgcam\[(.+)\]", everything)[1].split(","))  # type: ignore[index]
    assert named == {name for name, needs in extras.items() if needs and name not in {"all", "dev", "docs"}}


def test_the_container_copies_what_a_build_needs_and_installs_the_tested_torch() -> None:
    steps = re.findall(r"^(\w+) (.+)$", DOCKERFILE, re.MULTILINE)
    copied = [words.split()[:-1] for name, words in steps if name == "COPY"]
    assert all((ROOT / source).exists() for sources in copied for source in sources)
    tested = re.search(r"^torch==.+$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert tested is not None
    assert f"pip install --no-cache-dir {tested[0]} " in DOCKERFILE
    assert ("ENTRYPOINT", '["ecgcam"]') in steps
    for extra in re.findall(r"\.\[(.+?)\]", DOCKERFILE)[0].split(","):
        assert extra in PROJECT["optional-dependencies"]


@pytest.mark.slow
def test_what_the_container_copies_builds_the_wheel(tmp_path: Path) -> None:
    """The steps of the Dockerfile without docker: its files alone in a folder, then a wheel of them."""
    for words in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE):
        *sources, target = words.split()
        for source in sources:
            place = tmp_path / "src" / (target if target != "./" else source)
            place.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-r", str(ROOT / source), str(place)], check=True)
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path / "wheel"), str(tmp_path / "src")]
    subprocess.run(build, check=True, capture_output=True)
    assert len(list((tmp_path / "wheel").glob("ecgcam-*.whl"))) == 1


def test_the_conda_recipe_needs_what_the_package_needs() -> None:
    recipe = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["context"]["version"] == __version__
    names = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
    wanted = {
        re.sub(r"^([\w-]+)>=", lambda found: f"{names.get(found[1], found[1])} >=", one)
        for one in PROJECT["dependencies"]
    }
    assert set(recipe["requirements"]["run"]) == wanted | {f"python {PROJECT['requires-python']}"}
    assert recipe["about"]["homepage"] == PROJECT["urls"]["Homepage"]
