"""Whether a map is true: faithfulness, localisation and sanity, from a score, a signal and a map.

`ecgcam.pipeline` does not import this package.
"""

from typing import TYPE_CHECKING

from ecgcam.resources import lazy_submodules

METRIC_GROUPS = ("faithfulness", "localisation", "sanity")

if not TYPE_CHECKING:  # type checkers would take any name for one of the package
    __getattr__ = lazy_submodules(__name__)
