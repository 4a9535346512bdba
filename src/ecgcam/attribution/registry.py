"""What a row of the table of methods is: a function, its options and what a reader should know of it. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

from ecgcam.errors import EcgcamError

Value = bool | int | float | str | None


@dataclass(frozen=True)
class Option:
    """What a method lets the caller choose: a keyword of its function, and KEY of ``--set KEY=VALUE``.

    Attributes
    ----------
    name : str
        The keyword.
    kind : type
        ``float``, ``int``, ``bool`` or ``str``.
    default : Value
        Used unless given; None if the method computes it, as `help` states.
    help : str
        One line.
    choices : tuple of str
        The only values, of a ``str``; any text without.
    above, least : float, optional
        A number must be larger than the one, and no smaller than the other.
    """

    name: str
    kind: type[bool] | type[int] | type[float] | type[str]
    default: Value
    help: str
    choices: tuple[str, ...] = ()
    above: float | None = None
    least: float | None = None

    @property
    def expects(self) -> str:
        """What a value must be, in words."""
        words = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}[self.kind]
        if self.choices:
            words = " or ".join(filter(None, (", ".join(self.choices[:-1]), self.choices[-1])))
        above = "" if self.above is None else f" above {self.above:g}"
        return words + above + ("" if self.least is None else f", at least {self.least:g}")

    def read(self, value: object) -> Value:
        """Return a value of the option's kind, from that kind or from text.

        Raises
        ------
        ValueError, KeyError
            If it is not one, or not allowed.
        """
        if value is None and self.default is None:
            return None
        text = str(value)
        if self.kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if self.kind is str:
            if not isinstance(value, str) or (self.choices and value not in self.choices):
                raise ValueError(text)
            return value
        number = int(text) if self.kind is int else float(text)
        low = (self.above is not None and number <= self.above) or (self.least is not None and number < self.least)
        if low or not math.isfinite(number):
            raise ValueError(text)
        return number

    def row(self) -> dict[str, Any]:
        """Return the option's entry in ``ecgcam methods --json``."""
        return {"type": self.kind.__name__, "default": self.default, "expects": self.expects, "help": self.help}


@dataclass(frozen=True, kw_only=True)
class Method:
    """A row of the table.

    Attributes
    ----------
    name : str
        As in ``--method``.
    function : str
        ``module:function``, imported when used.
    family : str
        ``cam``: (A, G) -> cells; ``rerun``: cells of each lead-masked signal by running the model again; ``signal``: a map of
        the whole window, sample by sample.
    needs : tuple of str
        What the function works with: ``activations``, ``gradients``, ``seed`` (these it is handed), ``scores``, ``attention``,
        ``captum`` (the extra of that name).
    passes : str
        Cost in forward (F) and backward (B, from the target layer only) passes of the masked batch.
    paper : str
        Source of the formula.
    formula : str
        In plain text; for `docs/methods.md`.
    misleads : str
        When the map misleads; for `docs/methods.md`.
    shows : str
        What the map shows, in a few words; for ``ecgcam methods``.
    options : tuple of Option
        Keywords of the function that the caller may set.
    signed : bool
        Whether the map keeps its sign; otherwise relu is taken.
    contrast : bool
        Whether the score is compared with foils even if none are given: the vocabulary's nearest findings. Its options
        are the score's, not the function's.
    detach_norm : bool
        Whether G is that of the dot product: a cosine's embedding keeps its length.
    """

    name: str
    function: str
    family: str = "cam"
    needs: tuple[str, ...] = ("activations", "gradients")
    passes: str = "1 F + 1 B per prompt"
    paper: str
    formula: str
    misleads: str
    shows: str = ""
    options: tuple[Option, ...] = ()
    signed: bool = False
    contrast: bool = False
    detach_norm: bool = False

    def row(self) -> dict[str, Any]:
        """Return the method's line in ``ecgcam methods``."""
        return {
            "name": self.name, "shows": self.shows, "family": self.family, "needs": list(self.needs), "passes": self.passes,
            "options": {option.name: option.row() for option in self.options}, "formula": self.formula,
            "misleads": self.misleads, "signed": self.signed, "paper": self.paper,
        }  # fmt: skip

    def load(self) -> Callable[..., Any]:
        """Import the function."""
        module, name = self.function.split(":")
        function: Callable[..., Any] = getattr(import_module(module), name)
        return function

    def complete(self, options: Mapping[str, object]) -> dict[str, Value]:
        """Return all options, checked, with defaults for those not in `options`; values may be text, as after ``--set``.

        Raises
        ------
        EcgcamError
            If a key is none of the method's, or a value is not allowed.
        """
        known = {option.name: option for option in self.options}
        takes = f"{self.name} takes {', '.join(known) or 'no options'}"
        complete = {option.name: option.default for option in self.options}
        for key, value in options.items():
            if key not in known:
                raise EcgcamError(f"`options` {key}={value}: no such option; {takes}")
            try:
                complete[key] = known[key].read(value)
            except (ValueError, KeyError) as error:
                expects = known[key].expects
                raise EcgcamError(f"`options` {key}={value}: {key} must be {expects}; {takes}") from error
        return complete

    def bind(self, options: Mapping[str, object], seed: int = 0) -> Callable[..., Any]:
        """Import the function, with its options, and the seed where it needs one, filled in."""
        drawn = {"seed": seed} if "seed" in self.needs else {}
        own = {} if self.contrast else self.complete(options)
        return partial(self.load(), **own, **drawn)


def read_pairs(pairs: Sequence[str]) -> dict[str, str]:
    """Return the options of ``--set KEY=VALUE``, as text.

    Raises
    ------
    EcgcamError
        If one is not KEY=VALUE, or a key is given twice.
    """
    options: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not (key and equals and value):
            raise EcgcamError(f"`options` {pair}: write KEY=VALUE")
        if key in options:
            raise EcgcamError(f"`options` {pair}: {key} is given twice; give it once")
        options[key] = value
    return options
