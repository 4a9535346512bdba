"""What attribution requires of any model: input and layers, the model itself, its attention, reference statistics."""

from typing import TYPE_CHECKING

from ecgcam.resources import lazy_submodules

if not TYPE_CHECKING:  # type checkers would take any name for one of the package
    __getattr__ = lazy_submodules(__name__)
