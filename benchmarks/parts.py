"""What a long benchmark has worked out so far, a line of JSON a part, so that an interrupted run continues."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Parts:
    """Parts by name. The file begins with what was asked; one of another question is started again.

    Parameters
    ----------
    path : Path, optional
        The file; without one nothing is kept beyond the run.
    asked : dict
        Everything that a part hangs on, as JSON.
    """

    def __init__(self, path: Path | None = None, asked: dict[str, Any] | None = None) -> None:
        self.path, self.known = path, dict[str, Any]()
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        head = json.dumps(asked)
        lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
        if not lines or lines[0] != head:
            lines = [head, ""]
        for line in lines[1:-1]:  # what follows the last end of line was cut off
            self.known.update(json.loads(line))
        path.write_text("".join(f"{line}\n" for line in lines[:-1]), encoding="utf-8")

    def of(self, name: str, compute: Callable[[], Any]) -> Any:
        """Return a part, worked out unless it is known."""
        if name not in self.known:
            self.known[name] = compute()
            if self.path is not None:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({name: self.known[name]}) + "\n")
                print(name, flush=True)
        return self.known[name]
