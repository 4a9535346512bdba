"""What `--help` looks like: options in panels, examples at the end. Plain text: Rich's own panels take longer to import."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

from ecgcam.cli.examples import EXAMPLES

ASK, METHOD, MODEL = "What to ask", "Method", "Model"
WINDOW, OUTPUT, MANY = "Recording and window", "Output", "Many recordings"
PANELS = ("Arguments", ASK, METHOD, MODEL, WINDOW, "Options", OUTPUT, MANY)


class Command(TyperCommand):
    """A command with options in panels, two examples, and defaults from `ecgcam.toml`."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, one section per panel; those without a panel are in "Options"."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row is None:
                continue
            panel = getattr(parameter, "rich_help_panel", None) or "Options"
            if parameter.param_type_name == "argument":
                panel, row = "Arguments", (row[0].partition(" <")[0], row[1])  # without Typer's name of the type
            elif "--help" in parameter.opts and len(panels) > 1:
                panel = OUTPUT if OUTPUT in panels else panel
            panels.setdefault(panel, []).append(row)
        for panel in sorted(panels, key=PANELS.index):
            with formatter.section(panel):
                formatter.write_dl(panels[panel])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples, each on one line, so that it can be copied."""
        _write_examples(ctx.command_path, formatter)

    def invoke(self, ctx: Any) -> Any:
        """Run the command, after a note on what `ecgcam.toml` sets for it."""
        from ecgcam.cli.defaults import note_defaults

        note_defaults(ctx)
        return super().invoke(ctx)


class Group(TyperGroup):
    """Commands with examples."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples, each on one line."""
        _write_examples(ctx.command_path, formatter)


def _write_examples(command: str, formatter: Any) -> None:
    examples = EXAMPLES.get(command.removeprefix("ecgcam").strip(), ())
    if not examples:
        return
    with formatter.section("Examples"):
        for example in examples:
            formatter.write(f"  # {example.what}\n  {example.call}\n")
