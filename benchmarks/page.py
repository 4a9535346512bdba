"""Tables of a page of the documentation, between two comments that name them."""

from __future__ import annotations

from pathlib import Path

from ecgcam.files import atomic


def put(page: Path, name: str, text: str, sha256: str = "") -> None:
    """Put a text between ``<!-- NAME -->`` and ``<!-- end -->``, and whose weights they are; all else stays."""
    before, found, rest = page.read_text(encoding="utf-8").partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition("<!-- end -->\n")
    if not found or not end:
        raise SystemExit(
            f"{page}: has no place for {name}: <!-- {name} --> and <!-- end -->, each on a line of its own"
        )
    whose = f"\nWeights `{sha256[:16]}`.\n" if sha256 else ""
    with atomic(page) as path:
        path.write_text(f"{before}{found}{text.rstrip()}\n{whose}{end}{after}", encoding="utf-8")
