"""ecgcam: which leads, and which moments, made an ECG-text model say so."""

from ecgcam._version import __version__

__all__ = ["__version__"]
