"""Prompts from a table: embeddings that were computed once elsewhere, so a run needs no text tower.

An ``.npz`` file with the keys `texts` (P,) strings, `features` (P, W) floats and `tower`, one string naming the text tower
that made them. What W means is the model's: the width of its text tower's output, which its own projection takes to the
joint space, or the width of the joint space itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ecgcam.errors import EcgcamError
from ecgcam.files import load_arrays

KEYS = ("texts", "features", "tower")


@dataclass(frozen=True, eq=False)
class TextTable:
    """A table of prompts.

    Attributes
    ----------
    path : Path
        The file, for errors.
    texts : tuple of str
        Distinct prompts.
    features : float32, (P, W)
        One row each, finite and not all zero.
    tower : str
        The text tower that made them.
    """

    path: Path
    texts: tuple[str, ...]
    features: npt.NDArray[np.float32]
    tower: str


def read_table(path: Path) -> TextTable:
    """Read a table of prompts.

    Raises
    ------
    EcgcamError
        Naming the file and, where one is at fault, the key.
    """
    arrays = _read_arrays(path)
    texts, features, tower = (arrays[key] for key in KEYS)
    if texts.ndim != 1 or texts.dtype.kind != "U" or not texts.size:
        raise _error(path, "texts", f"must be a list of strings (P,), not {_kind(texts)}")
    if tower.size != 1 or tower.dtype.kind != "U":
        raise _error(path, "tower", f"must be one string that names the text tower, not {_kind(tower)}")
    if features.ndim != 2 or features.dtype.kind != "f" or len(features) != len(texts) or not features.size:
        raise _error(path, "features", f"must be floats ({len(texts)}, width), a row per text, not {_kind(features)}")
    names = tuple(str(text) for text in texts)
    for name, row in zip(names, features, strict=True):
        if not np.isfinite(row).all() or not row.any():
            raise _error(path, "features", f"the row of {name!r} is not finite, or all zero")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise _error(path, "texts", f"{twice!r} occurs twice; keep one of them")
    return TextTable(path, names, features.astype(np.float32), str(tower.item()))


class TableEncoder:
    """A text side that looks prompts up.

    Parameters
    ----------
    table : TextTable
        The prompts.
    joint_width : int
        Of the model's joint space: a table as wide holds joint embeddings; 0 where it has none to be written down.
    text_width : int, optional
        Of the model's text tower: a table as wide is taken through `project`.
    project : callable, optional
        (P, text_width) -> (P, joint_width), on tensors of the network's device.
    model : str
        The model's name, for errors.
    tower : str
        The text tower that the model was trained with; a table made by another draws a warning.

    Raises
    ------
    EcgcamError
        If the table's width is neither.
    """

    def __init__(
        self,
        table: TextTable,
        joint_width: int,
        text_width: int | None = None,
        project: Callable[[Tensor], Tensor] | None = None,
        *,
        model: str = "the model",
        tower: str = "",
    ) -> None:
        width = table.features.shape[1]
        if width not in {joint_width, text_width}:
            widths = [(text_width, "the text tower's features"), (joint_width, "joint embeddings")]
            takes = " or ".join(f"{number} ({what})" for number, what in widths if number)
            raise _error(table.path, "features", f"rows of {width} numbers do not fit {model}, which takes {takes}")
        self.table, self.project = table, project if width == text_width else None
        self.expected = tower
        self._exact = {text: row for row, text in enumerate(table.texts)}
        self._folded: dict[str, int] = {}
        for row, text in enumerate(table.texts):
            self._folded.setdefault(_fold(text), row)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return (P, D), before L2.

        Raises
        ------
        EcgcamError
            If a prompt is not in the table.
        """
        rows = [self._exact.get(text, self._folded.get(_fold(text))) for text in texts]
        missing = [text for text, row in zip(texts, rows, strict=True) if row is None]
        if missing:
            held = self.table.texts
            more = f" and {len(held) - 5} more" if len(held) > 5 else ""
            raise EcgcamError(
                f"`texts` {missing[0]!r}: not in {self.table.path}, which holds {', '.join(map(repr, held[:5]))}{more}; "
                "choose one of them, or add its embedding to the table"
            )
        features = torch.from_numpy(self.table.features[[row for row in rows if row is not None]])
        return features if self.project is None else self.project(features)

    def has(self, text: str) -> bool:
        """Return whether the prompt is in the table."""
        return text in self._exact or _fold(text) in self._folded

    def has_exact(self, text: str) -> bool:
        """Return the same."""
        return self.has(text)

    def warnings(self, text: str) -> list[str]:  # noqa: ARG002  (the same for every prompt)
        """Note where the table's text features come from another tower than the model was trained with."""
        made, trained = (name.rstrip("/").rsplit("/", 1)[-1].casefold() for name in (self.table.tower, self.expected))
        if self.project is None or not trained or made == trained:
            return []
        return [
            f"the prompt's features come from the text tower {self.table.tower!r}, the model was trained with "
            f"{self.expected!r}; with another tower the score means nothing"
        ]


class NoText:
    """The text side of a model whose prompts must come from a table, when none was given. Signals work without."""

    def __init__(self, model: str) -> None:
        self.model = model

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Raise `EcgcamError`: what is needed."""
        said = f"`texts` {texts[0]!r}: " if texts else ""
        raise EcgcamError(
            f"{said}prompts for {self.model} need `embeddings` FILE.npz: a table with the keys {', '.join(KEYS)}"
        )

    def has(self, text: str) -> bool:  # noqa: ARG002
        """Return false."""
        return False

    def warnings(self, text: str) -> list[str]:  # noqa: ARG002
        """Return nothing: there is no prompt to speak of."""
        return []


def _fold(text: str) -> str:
    """Return what two spellings of one prompt share: case and runs of white space do not count."""
    return " ".join(text.casefold().split())


def _read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    if not path.is_file():
        raise EcgcamError(f"{path}: no such table of embeddings; check the path given with `embeddings`")
    arrays = load_arrays(path, "a readable .npz table of embeddings")
    if not isinstance(arrays, dict):
        raise EcgcamError(f"{path}: one array, not an .npz table; save {', '.join(KEYS)} with numpy.savez")
    if missing := [key for key in KEYS if key not in arrays]:
        held = ", ".join(arrays) or "nothing"
        raise _error(path, missing[0], f"is missing (the file holds {held}); a table needs {', '.join(KEYS)}")
    return arrays


def _kind(array: npt.NDArray[Any]) -> str:
    return f"{array.dtype} {array.shape}"


def _error(path: Path, key: str, message: str) -> EcgcamError:
    return EcgcamError(f"{path}: {key}: {message}")
