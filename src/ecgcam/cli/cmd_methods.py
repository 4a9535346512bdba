"""`ecgcam methods`."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from ecgcam.cli import completion
from ecgcam.cli import options as shared
from ecgcam.cli.console import print_json, print_line
from ecgcam.cli.tables import print_table

if TYPE_CHECKING:
    from ecgcam.attribution.registry import Method

_FAMILIES = {
    "cam": "From one pass: activations and gradients",
    "rerun": "From attention, or from further passes",
    "signal": "On the samples themselves",
}

_MORE = "`ecgcam methods NAME` describes one; `ecgcam evaluate --methods A,B` compares some on your recordings."


def run(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="Formula, options, cost and limits of this method. [default: a list of all]",
            show_default=False,
            autocompletion=completion.complete_method,
        ),
    ] = None,
    as_json: shared.AsJson = False,
) -> None:
    """List the attribution methods with what each shows, or describe one."""
    from ecgcam.attribution.methods import METHODS, method_named

    if name is not None:
        method = method_named(name)
        if as_json:
            print_json(method.row())
        else:
            _describe(method)
    elif as_json:
        print_json([method.row() for method in METHODS.values()])
    else:
        for family, title in _FAMILIES.items():
            print_line(f"{title}:")
            _print_shows([method for method in METHODS.values() if method.family == family])
            print_line("")
        print_line(textwrap.fill(_MORE, _width()))


def _print_shows(methods: list[Method]) -> None:
    """Print a line per method, cut into several where the terminal is narrow."""
    first = max(len(method.name) for method in methods)
    for method in methods:
        signed = "  (signed)" if method.signed else ""
        lines = textwrap.wrap(method.shows + signed, max(20, _width() - first - 4))
        for number, line in enumerate(lines):
            print_line(f"  {method.name if number == 0 else '':<{first}}  {line}")


def _describe(method: Method) -> None:
    for title, text in {
        method.name: method.shows,
        "Formula": method.formula,
        "Misleads": method.misleads,
        "Cost": f"{method.passes} (F: forward pass, B: backward pass, of the lead-masked batch)",
        "Sign": "kept: negative values lower the score" if method.signed else "negative values are shown as 0",
        "Source": method.paper,
    }.items():
        indent = 2 + max(len("Misleads:"), len(method.name) + 1)
        print_line(
            textwrap.fill(
                text, _width(), initial_indent=f"{title + ':':<{indent}}", subsequent_indent=" " * indent,
                break_long_words=False,
            )
        )  # fmt: skip
    if "captum" in method.needs:
        print_line("Needs:      pip install 'ecgcam[captum]'")
    if not method.options:
        print_line("It has no options.")
        return
    print_line("")
    print_line("Options, with --set KEY=VALUE:")
    rows = [
        (option.name, option.expects, "" if option.default is None else str(option.default).lower(), option.help)
        for option in method.options
    ]
    headings = ("option", "values", "default", "")
    used = sum(max(len(row[column]) for row in (headings, *rows)) + 2 for column in range(3))
    if used + 20 <= _width():
        cells = []
        for row in rows:
            for number, line in enumerate(textwrap.wrap(row[3], _width() - used)):
                cells.append([*row[:3], line] if number == 0 else ["", "", "", line])
        print_table(headings, cells)
        return
    for option, values, default, text in rows:
        line = f"{option}: {values}; default {default or 'none'}"
        print_line(textwrap.fill(line, _width(), initial_indent="  ", subsequent_indent="    "))
        print_line(textwrap.fill(text, _width(), initial_indent="    ", subsequent_indent="    "))


def _width() -> int:
    return min(120, max(60, shutil.get_terminal_size().columns))
