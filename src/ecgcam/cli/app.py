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
from ecgcam.cli.console import (
    StdoutError,
    drop_stdout,
    flush_stdout,
    notes_on_stderr,
    prepare_streams,
    print_error,
    show_tracebacks,
)
from ecgcam.cli.defaults import read_defaults
from ecgcam.cli.examples import SUMMARIES
from ecgcam.cli.help import Command, Group
from ecgcam.errors import EcgcamError, is_interruption

# A path is printed whole, unless it is longer than systems allow.
_LONG = 4096
INTERRUPTED = 130  # what Typer makes of Ctrl-C

# Each is a module `cmd_<name>` with a function `run`, or with an application of its own, `app`.
COMMANDS = (
    "explain", "score", "embed", "evaluate", "inspect", "measure", "draw", "report", "overlay", "summarize", "simulate",
    "methods", "models", "docs",
)  # fmt: skip
# These are groups of commands: alone, they print their help.
_GROUPS = ("models",)

# Commands whose arguments are files and folders, and options that take one.
_OF_PATHS_ALONE = ("draw", "report", "summarize", "overlay")
_OF_A_PATH = (
    "--out", "-o", "--text-file", "--checkpoint", "--embeddings", "--text-model", "--truth", "--evidence", "--boxes", "--like",
)  # fmt: skip
_OF_A_MODEL = ("explain", "score", "evaluate")


def application(commands: Sequence[str] = COMMANDS) -> typer.Typer:
    """Return the command line with some of its commands: to build the options of all takes longer than many calls."""
    app = typer.Typer(
        name="ecgcam",
        cls=Group,
        help="Which leads, and which moments, made a model match this ECG with this text? Research use: a map is evidence about "
        "a model, not about a patient.",
        add_completion=len(commands) > 1,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(_root)
    for name in commands:
        module = import_module(f"ecgcam.cli.cmd_{name}")
        if hasattr(module, "app"):
            for command in module.app.registered_commands:
                command.cls = Command
            app.add_typer(module.app, name=name, cls=Group, short_help=SUMMARIES[name])
        else:
            app.command(name, cls=Command, short_help=SUMMARIES[name])(module.run)
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
    # Unloading torch's modules takes a fifth of a second, and nothing is left to do.
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
    """Refuse a blank where a file or a folder belongs: it would mean the current folder."""
    before = ""
    for word in arguments:
        option, equals, value = word.partition("=")
        if equals and not value and option in _OF_A_PATH:
            before, word = option, value
        if not word and (before in _OF_A_PATH or command in _OF_PATHS_ALONE):
            where = before if before in _OF_A_PATH else command
            raise EcgcamError(f"{where}: the name of a file or folder is blank; is a variable of the shell empty?")
        before = word


def run(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    with notes_on_stderr():
        show_tracebacks("--debug" in arguments)
        return _run(_with_help(arguments))


def _with_help(arguments: Sequence[str]) -> list[str]:
    """Return the arguments; `ecgcam`, `ecgcam models` and `ecgcam help COMMAND` print help."""
    words = list(arguments)
    if "_ECGCAM_COMPLETE" in os.environ:  # the shell completes a line
        return words
    if words[:1] == ["help"]:
        return [*words[1:], "--help"]
    return [*words, "--help"] if not words or words in [[group] for group in _GROUPS] else words


def _run(arguments: Sequence[str]) -> int:
    named = next((word for word in arguments if not word.startswith("-")), "")
    helps = bool({"-h", "--help"} & set(arguments))
    if named in _OF_A_MODEL and not helps:
        try:
            Path.cwd()
        except OSError:  # torch's libraries would end the process with a line of their own
            print_error("the current folder no longer exists; change to another with cd")
            return 2
        from ecgcam.runs.helpers import load_torch_ahead

        load_torch_ahead()
    command = typer.main.get_command(application((named,) if named in COMMANDS else COMMANDS))
    try:
        _refuse_blank(named, arguments)
        defaults = {} if helps else read_defaults(arguments)
        code = command.main(args=list(arguments), prog_name="ecgcam", standalone_mode=False, default_map=defaults)
        flush_stdout()
    except EcgcamError as error:
        if not is_interruption(error):
            print_error(error)
            return 2
        code = INTERRUPTED
    except StdoutError as error:
        drop_stdout()
        if error.gone:
            return 0
        print_error(error)
        return 1
    except OSError as error:
        if error.filename is not None:  # such as a path too long even to ask whether it is there
            where = os.fsdecode(error.filename)
            where = where if len(where) < _LONG else f"{where[:100]} ... {where[-100:]}"
            shown = EcgcamError(f"{where}: cannot be used ({error.strerror}); check the path")
            print_error(shown.with_traceback(error.__traceback__))
            return 2
        # Typer's own output, such as --help, to a full disk. Other errors without a file name must not look like that.
        if not _of_typer(error):
            raise
        drop_stdout()
        print_error(str(StdoutError(error)))
        return 1
    except SystemExit:
        # Typer exits like this when the reader of its output has gone.
        drop_stdout()
        return 0
    except TyperException as error:
        context = getattr(error, "ctx", None)  # set for errors of a command
        print_error(
            f"{error.format_message().rstrip('.')} (see {context.command_path if context else 'ecgcam'} --help)"
        )
        return 2
    except Exception as error:
        if not is_interruption(error):
            raise
        code = INTERRUPTED
    if code == INTERRUPTED:
        print_error(signals.words())
        return signals.exit_code()
    return code if isinstance(code, int) else 0
