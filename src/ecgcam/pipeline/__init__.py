"""From a file or array in millivolts to Explanations: settings, prompts, preparation, the engine, assembly."""

from typing import TYPE_CHECKING

from ecgcam.resources import lazy_submodules

if not TYPE_CHECKING:  # type checkers would take any name for one of the package
    __getattr__ = lazy_submodules(__name__)
