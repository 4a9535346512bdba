"""The command line: parses, prints, sets the exit code, and calls the library. Nothing here imports torch by itself."""

from ecgcam.cli.app import main

__all__ = ["main"]
