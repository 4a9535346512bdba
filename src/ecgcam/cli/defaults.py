"""Defaults of a project: `ecgcam.toml` in the current folder may set `model`, `out` and `device`. It never names code to run.

    model = "merl-resnet18"     # a name of `ecgcam models list`, or a model file, relative to the folder
    out = "results"
    device = "cuda:1"

An option on the command line takes precedence. What is used is reported on stderr.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from ecgcam.cli.console import print_note
from ecgcam.errors import EcgcamError, nearest

FILE = "ecgcam.toml"
# By key, the commands whose option of that name it sets.
KEYS = {
    "model": ("explain", "score", "evaluate", "embed", "models calibrate"),
    "device": ("explain", "score", "evaluate", "models calibrate"),
    "out": ("explain",),
}


def read_defaults(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the defaults by command, as Click's `default_map`; none where the folder has no such file.

    Raises
    ------
    EcgcamError
        If the file cannot be read, or has another key, or a value that is not text, or names code.
    """
    # `--again` takes the model of the earlier result.
    if any(word.partition("=")[0] == "--again" for word in arguments):
        return {}
    path = Path(FILE)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise EcgcamError(f"{FILE}: cannot be read ({error.strerror}); it holds defaults of `ecgcam`") from error
    except ValueError as error:
        raise EcgcamError(f"{FILE}: not a readable TOML file ({error}); correct it") from error
    defaults: dict[str, Any] = {}
    for key, value in table.items():
        _check(key, value)
        for command in KEYS[key]:
            *group, name = command.split()
            place = defaults
            for part in group:
                place = place.setdefault(part, {})
            place.setdefault(name, {})[key] = value
    return defaults


def _check(key: str, value: object) -> None:
    if key not in KEYS:
        near = nearest(key, KEYS)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise EcgcamError(f"{FILE}: {key}: only {', '.join(KEYS)} can be set here{hint}")
    if not isinstance(value, str) or not value.strip():
        raise EcgcamError(f'{FILE}: {key}: must be text, for example {key} = "{_EXAMPLES[key]}"')
    if key == "model" and not value.endswith(".toml") and not value.replace("-", "").isalnum():
        raise EcgcamError(
            f"{FILE}: model {value}: only a name or a model file can be set here; to run code, give `model` on the command line"
        )


_EXAMPLES = {"model": "mini", "device": "cpu", "out": "results"}


def note_defaults(ctx: typer.Context) -> None:
    """Write a note that names the defaults of `ecgcam.toml` that a command uses, unless it is quiet."""
    used = []
    for parameter in ctx.command.params:
        name = str(parameter.name)
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "DEFAULT_MAP":
            used.append(f"{name} {ctx.params[name]}")
    if used and not ctx.params.get("quiet"):
        print_note(f"from {FILE}: {', '.join(used)}")
