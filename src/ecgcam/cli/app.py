"""The commands in one application, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from ecgcam._version import __version__
from ecgcam.cli import signals
from ecgcam.cli.console import StdoutError, complain, drop_stdout, flush_stdout, prepare_streams
from ecgcam.errors import EcgcamError, is_interruption

# A path is told whole, unless it is longer than systems take.
_LONG = 4096
INTERRUPTED = 130  # what Typer makes of Ctrl-C

# Each a module `cmd_<name>` with a function `run`, or an application of its own, `app`.
COMMANDS = (
    "explain", "score", "embed", "evaluate", "draw", "report", "overlay", "summarize", "simulate", "methods", "models",
)  # fmt: skip

# Whose arguments are files and folders, and options that take one.
_OF_PATHS_ALONE = ("draw", "report", "summarize", "overlay")
_OF_A_PATH = (
    "--out", "-o", "--text-file", "--checkpoint", "--embeddings", "--text-model", "--truth", "--evidence", "--boxes", "--like",
)  # fmt: skip
_OF_A_MODEL = ("explain", "score", "evaluate")


def application(commands: Sequence[str] = COMMANDS) -> typer.Typer:
    """Return the command line with some of its commands: to look through the options of all takes longer than many a call."""
    app = typer.Typer(
        name="ecgcam",
        help="Which leads, and which moments, made an ECG-text model say so? Research use: a map is evidence about a model, "
        "not about a patient.",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name in commands:
        module = import_module(f"ecgcam.cli.cmd_{name}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(module.run)
    return app


def _version(value: bool) -> None:
    if value:
        typer.echo(f"ecgcam {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 all done, 1 some failed, 2 nothing was done, 130, 143 or 129 ended by a signal."""
    prepare_streams()
    code = run(sys.argv[1:] if arguments is None else arguments)
    # To take torch's modules apart before the end takes a fifth of a second, and nothing is left to be done.
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _of_typer(error: BaseException) -> bool:
    """Whether an exception was raised in Typer's own code."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).partition(".")[0] in {"typer", "click"}


def _refuse_blank(command: str, arguments: Sequence[str]) -> None:
    """Refuse a blank where a file or a folder belongs, which would be taken for the folder that one stands in."""
    before = ""
    for word in arguments:
        option, equals, value = word.partition("=")
        if equals and not value and option in _OF_A_PATH:
            before, word = option, value
        if not word and (before in _OF_A_PATH or command in _OF_PATHS_ALONE):
            where = before if before in _OF_A_PATH else command
            raise EcgcamError(f"{where}: a blank name of a file or folder; is a variable of the shell empty?")
        before = word


def run(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    named = next((word for word in arguments if not word.startswith("-")), "")
    if named in _OF_A_MODEL and not {"-h", "--help"} & set(arguments):
        try:
            Path.cwd()
        except OSError:  # torch's libraries would end the process with a line of their own
            complain("the folder that this runs in is gone; cd to another")
            return 2
        from ecgcam.batch.helpers import load_torch_ahead

        load_torch_ahead()
    command = typer.main.get_command(application((named,) if named in COMMANDS else COMMANDS))
    try:
        _refuse_blank(named, arguments)
        code = command.main(args=list(arguments), prog_name="ecgcam", standalone_mode=False)
        flush_stdout()
    except EcgcamError as error:
        if not is_interruption(error):
            if "--debug" in arguments:
                traceback.print_exc()
            complain(str(error))
            return 2
        code = INTERRUPTED
    except StdoutError as error:
        drop_stdout()
        if error.gone:
            return 0
        complain(str(error))
        return 1
    except OSError as error:
        if error.filename is not None:  # such as a path too long even to ask whether it is there
            if "--debug" in arguments:
                traceback.print_exc()
            where = os.fsdecode(error.filename)
            where = where if len(where) < _LONG else f"{where[:100]} ... {where[-100:]}"
            complain(f"{where}: cannot be used ({error.strerror}); check the path")
            return 2
        # Typer's own words, such as --help, to a full disk. What else has no name must not pass for that.
        if not _of_typer(error):
            raise
        drop_stdout()
        complain(str(StdoutError(error)))
        return 1
    except SystemExit:
        # Typer's answer when the reader of its own words went away.
        drop_stdout()
        return 0
    except TyperException as error:
        context = getattr(error, "ctx", None)  # those of a command know which
        complain(f"{error.format_message().rstrip('.')} (see {context.command_path if context else 'ecgcam'} --help)")
        return 2
    except Exception as error:
        if not is_interruption(error):
            raise
        code = INTERRUPTED
    if code == INTERRUPTED:
        complain(signals.words())
        return signals.exit_code()
    return code if isinstance(code, int) else 0
