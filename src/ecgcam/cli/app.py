"""The commands in one application, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from ecgcam._version import __version__
from ecgcam.cli import cmd_explain, cmd_methods, cmd_models, cmd_score, cmd_simulate
from ecgcam.cli.console import complain
from ecgcam.errors import EcgcamError

app = typer.Typer(
    name="ecgcam",
    help="Which leads, and which moments, made an ECG-text model say so? Research use: a map is evidence about a model, "
    "not about a patient.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("explain")(cmd_explain.run)
app.command("score")(cmd_score.run)
app.command("simulate")(cmd_simulate.run)
app.command("methods")(cmd_methods.run)
app.add_typer(cmd_models.app, name="models")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"ecgcam {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 all done, 1 some failed, 2 nothing was done, 130 interrupted."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    debug = "--debug" in arguments
    command = typer.main.get_command(app)
    try:
        code = command.main(args=list(arguments), prog_name="ecgcam", standalone_mode=False)
        sys.stdout.flush()
    except EcgcamError as error:
        if debug:
            raise
        complain(str(error))
        return 2
    except KeyboardInterrupt:
        complain("interrupted; what was written is whole")
        return 130
    except BrokenPipeError:
        # The reader of stdout went away (`| head`). Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except typer.Abort:
        return 130
    except TyperException as error:
        complain(f"{error.format_message()} (see ecgcam --help)")
        return 2
    return code if isinstance(code, int) else 0
