"""The one error that users are meant to see, and the warning that carries notes in Python."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path


class EcgcamError(ValueError):
    """Something a user can fix: one line that names the file or parameter, what is wrong and how to fix it.

    Messages name parameters of the library in backquotes, as in "`smoother` x: no such choice"; the command line writes its
    flags in their place. Every function of ecgcam that reads a file or takes a choice may raise it, so docstrings mention it
    only where that needs an explanation.
    """


class EcgcamWarning(UserWarning):
    """A note that a reader of the result needs: an unusual recording, words that the model does not have, a doubtful unit.

    In Python, notes are warnings of this class, and the standard filters apply: ``warnings.simplefilter("ignore",
    ecgcam.EcgcamWarning)`` hides them. The command line prints them on stderr instead.
    """


class NotesAsWarnings(logging.Handler):
    """Turns what the library logs under ``ecgcam`` into warnings; `import ecgcam` installs it once."""

    @classmethod
    def install(cls) -> None:
        """Let notes of the library become warnings of Python."""
        logger = logging.getLogger("ecgcam")
        if not logger.handlers:
            logger.addHandler(cls(logging.INFO))
            logger.setLevel(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        """Warn; under ``python -W error`` that raises the note."""
        warn_user(record.getMessage())


def warn_user(note: str) -> None:
    """Issue a note as `EcgcamWarning`, at the line of the caller outside this package."""
    inside = (str(Path(__file__).parent), str(Path(logging.__file__).parent))
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(inside):
        level, frame = level + 1, frame.f_back
    warnings.warn(note, EcgcamWarning, stacklevel=level)


def is_interruption(error: BaseException | None) -> bool:
    """Whether an exception came of Ctrl-C: what is left in the middle, such as a zip file, may raise another one over it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def check_choice(parameter: str, value: str, allowed: Sequence[str]) -> None:
    """Raise `EcgcamError` if `value` is none of `allowed`."""
    if value not in allowed:
        raise no_such(f"`{parameter}` {value}", "choice", value, allowed)


# Longer lists are not printed in an error where the place that lists them can be named.
_SHORT_LIST = 12


def no_such(subject: str, kind: str, name: str, known: Iterable[str], listed_by: str = "") -> EcgcamError:
    """Return the error for a name that does not exist, with the nearest names and the choices.

    Parameters
    ----------
    subject : str
        What the message starts with: the parameter and its value, or a file.
    kind : str
        What the name names: ``"method"``, ``"mask"``.
    name : str
        The name as given.
    known : iterable of str
        The names that exist.
    listed_by : str
        A sentence part that states where a long list can be read, such as "`ecgcam methods` lists all".
    """
    choices = list(known)
    near = nearest(name, choices)
    hint = f" (did you mean {_either(near)}?)" if near else ""
    rest = listed_by if listed_by and len(choices) > _SHORT_LIST else f"choose from {', '.join(choices)}"
    return EcgcamError(f"{subject}: no such {kind}{hint}; {rest}")


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return the known names that a misspelt one may stand for, nearest first: equal except for case and hyphens, then similar.

    A name that starts with the given one is near, one that contains it less so: "merl" finds "merl-resnet18".
    """
    from difflib import SequenceMatcher  # its import is not free, and most calls have no error

    word = _letters(name)
    if not word:
        return []
    found = []
    for one in known:
        other = _letters(one)
        likeness = SequenceMatcher(None, word, other).ratio()
        if len(word) > 2 and word in other:
            likeness = max(likeness, 0.9 if other.startswith(word) else 0.75)
        found.append((-likeness, one))
    return [one for likeness, one in sorted(found) if -likeness >= 0.7][:count]


def _letters(name: str) -> str:
    """Return a name in lower case, without hyphens, blanks and underscores."""
    return "".join(character for character in name.casefold() if character not in "-_ ")


def _either(names: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
