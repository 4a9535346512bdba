"""How many of ecgcam's functions one call passes, and in how many modules: what a reader has to follow.

    python -m benchmarks.calls

A call of `explain` on one simulated recording, in this process, counted by `sys.setprofile`.
"""

from __future__ import annotations

import inspect
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

from ecgcam.cli.app import run
from ecgcam.records.simulator import simulate, write


def counted(arguments: list[str]) -> dict[str, set[str]]:
    """Run a command; return the functions that it passes, by module."""
    found: dict[str, set[str]] = {}

    def profile(frame: FrameType, event: str, _: Any) -> None:
        module = str(frame.f_globals.get("__name__"))
        name = frame.f_code.co_qualname
        # Class bodies run at import, and what dataclasses generate, are not functions of ours; nor are parts of a function.
        own = frame.f_code.co_flags & inspect.CO_OPTIMIZED and not frame.f_code.co_filename.startswith("<")
        if event == "call" and module.startswith("ecgcam.") and own and not name.endswith(">"):
            found.setdefault(module, set()).add(name)

    sys.setprofile(profile)
    try:
        code = run(arguments)
    finally:
        sys.setprofile(None)
    if code:
        raise SystemExit(code)
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(simulate("af", 7), Path(folder))
        base = ["explain", str(Path(folder) / "af-7.dat"), "--text", "af", "--jobs", "1", "--quiet", "--out"]
        import torch  # noqa: F401  (so that nothing is drawn in another process, where it is not counted)

        for name, more in (
            ("with pictures", []),
            ("--no-png", ["--no-png"]),
            ("--no-png --no-gradient", ["--no-png", "--no-gradient"]),
        ):
            found = counted([*base, str(Path(folder) / name), *more])
            packages: dict[str, int] = {}
            for module, functions in found.items():
                package = module.split(".")[1]
                packages[package] = packages.get(package, 0) + len(functions)
            listed = ", ".join(
                f"{package} {count}" for package, count in sorted(packages.items(), key=lambda one: -one[1])
            )
            print(f"{name}: {sum(packages.values())} functions in {len(found)} modules ({listed})", file=sys.stderr)


if __name__ == "__main__":
    main()
