"""The table of methods. `--method`, `ecgcam methods`, the documentation and the tests read it. Imports no torch.

A CAM method is one function (A, G) -> cells in `cam.py` and one row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ecgcam.errors import EcgcamError


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes
    ----------
    name : str
        As in ``--method``.
    function : str
        ``module:function``, imported when used.
    family : str
        ``cam``: (A, G) -> cells.
    needs : tuple of str
        What the function is handed: ``activations``, ``gradients``.
    passes : str
        Cost in forward (F) and backward (B, from the target layer only) passes of the masked batch.
    paper : str
        Source of the formula.
    signed : bool
        Whether the map keeps its sign; otherwise relu is taken.
    """

    name: str
    function: str
    family: str
    needs: tuple[str, ...]
    passes: str
    paper: str
    signed: bool = False

    def row(self) -> dict[str, Any]:
        """Return the method's line in ``ecgcam methods``."""
        return {
            "name": self.name, "family": self.family, "needs": list(self.needs), "passes": self.passes,
            "options": {}, "paper": self.paper,
        }  # fmt: skip

    def load(self) -> Callable[..., Any]:
        """Import the function."""
        module, name = self.function.split(":")
        function: Callable[..., Any] = getattr(import_module(module), name)
        return function


METHODS = {
    method.name: method
    for method in (
        Method(
            "grad-cam",
            "ecgcam.attribution.cam:grad_cam",
            "cam",
            ("activations", "gradients"),
            "1 F + 1 B per prompt",
            "Selvaraju et al. 2017, equations 1 and 2",
        ),
        Method(
            "hires-cam",
            "ecgcam.attribution.cam:hires_cam",
            "cam",
            ("activations", "gradients"),
            "1 F + 1 B per prompt",
            "Draelos and Carin 2020, equation 5",
        ),
    )
}


def method_named(name: str) -> Method:
    """Return the row of a method.

    Raises
    ------
    EcgcamError
        If there is none of that name.
    """
    if name not in METHODS:
        raise EcgcamError(f"--method {name}: no such method; choose from {', '.join(METHODS)}")
    return METHODS[name]
