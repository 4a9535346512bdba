"""Writes SKILL.md and llms.txt, for coding agents, from the tables: `python docs/make_agents.py`."""

from __future__ import annotations

from pathlib import Path

from ecgcam.attribution.methods import METHODS
from ecgcam.cli.app import COMMANDS
from ecgcam.cli.examples import EXAMPLES, SUMMARIES
from ecgcam.models.model_file import load_spec, model_names
from ecgcam.resources import docs_pages

ROOT = Path(__file__).resolve().parents[1]

RULES = """- The exit code is 0 when all was done, 1 when some recordings failed, 2 when nothing was done. stderr has errors.
- `--json` prints one object per line; `summary.json` in each result folder holds the same.
- `--text` takes a finding in words. `verdict.answer` is yes, no or unclear; read it before the map.
- `check.passed` is false where random parts of the signal matter as much as the marked ones. Do not interpret such a map.
- Leads are ranked by `gain`, the score of a lead alone minus the empty score. A strong colour alone does not mean importance.
- NumPy and CSV files need `--fs` and `--lead-names`. A wrong order of leads gives a plausible, wrong map.
- The results are for research. They are evidence about a model, not about a patient.
"""

PYTHON = """import ecgcam

explanation = ecgcam.explain("demo/af-7.dat", "atrial fibrillation")[0]
verdict, check = explanation.meta["verdict"], explanation.meta["check"]
print(verdict["answer"], explanation.leads[explanation.ranking[0]], check["passed"])
explanation.plot().savefig("page.png")
"""


def skill() -> str:
    """Return SKILL.md."""
    commands = "\n".join(f"- `ecgcam {name}`: {SUMMARIES[name]}" for name in COMMANDS)
    calls = [example for name in ("", *COMMANDS) for example in EXAMPLES.get(name, ()) if not example.given]
    once = {example.call: example.what for example in calls}
    examples = "\n".join(f"{call:<110} # {what}" for call, what in once.items())
    return f"""---
name: ecgcam
description: Explain which leads and which moments of an ECG made a model match it with a text; test whether such maps are true.
---

# ecgcam

<!-- Made by `python docs/make_agents.py`. Change the tables it reads, not this file. -->

{RULES}
## Commands

{commands}

`ecgcam COMMAND --help` has every option, in panels. `ecgcam methods NAME` describes a method, `ecgcam docs PAGE` prints a page.

## Calls that work in an empty folder, in this order

```sh
{examples}
```

## Python

```python
{PYTHON}```
"""


def index() -> str:
    """Return llms.txt (https://llmstxt.org)."""
    pages = []
    for name, path in docs_pages().items():
        first = next((line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")), name)
        where = path.resolve().relative_to(ROOT).as_posix()
        pages.append(f"- [{first.lstrip('# ').strip()}]({where}): `ecgcam docs {name}`")
    methods = "\n".join(f"- {method.name}: {method.shows}" for method in METHODS.values())
    models = "\n".join(f"- {name}: {load_spec(name).summary}" for name in model_names())
    commands = "\n".join(f"- `ecgcam {name}`: {SUMMARIES[name]}" for name in COMMANDS)
    return (
        "# ecgcam\n\n> Which leads, and which moments, made a model match an ECG with a text? A command, a Python library and 48 "
        "attribution methods.\n\n"
        f"{RULES}\n## Pages\n\n{chr(10).join(pages)}\n\n## Commands\n\n"
        f"{commands}\n\n## Methods\n\n{methods}\n\n## Models\n\n{models}\n"
    ).replace("48 attribution", f"{len(METHODS)} attribution")


if __name__ == "__main__":
    (ROOT / "SKILL.md").write_text(skill(), encoding="utf-8")
    (ROOT / "llms.txt").write_text(index(), encoding="utf-8")
