"""The one error that users are meant to see."""

from __future__ import annotations


class EcgcamError(Exception):
    """Something a user can mend: one line that names the file, what is wrong and the mend."""
