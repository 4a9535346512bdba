"""The one error that users are meant to see."""

from __future__ import annotations


class EcgcamError(Exception):
    """Something a user can mend: one line that names the file, what is wrong and the mend."""


def is_interruption(error: BaseException | None) -> bool:
    """Whether an exception came of Ctrl-C: what is left in the middle, such as a zip file, may raise another one over it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
