"""`ecgcam methods`."""

from __future__ import annotations

from ecgcam.cli import options as shared
from ecgcam.cli.console import print_json
from ecgcam.cli.tables import print_rows


def run(as_json: shared.AsJson = False) -> None:
    """List the attribution methods."""
    from ecgcam.attribution.methods import METHODS

    rows = [method.row() for method in METHODS.values()]
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, hide=("options", "needs"))
