"""Finds the layout of a layer's output, and where its cells lie in time, from what moves them.

The axis of the batch is the one whose size follows the number of signals. The axis of time is the one along which the samples
that move an entry travel through the window. A cell lies in the middle of the samples that move it. Where a normalisation or
attention lets every sample move every cell a little, it lies at the peak of what is left when that common share is subtracted;
or at the place of the earlier layer's cell from which it came, if that cell depends on only a stretch of the window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ecgcam.attribution.held_statistics import StatisticsHeld
from ecgcam.attribution.lines import MOST_PREFIX, Line, fitted_line, without_ends
from ecgcam.attribution.taps import outputs_of, parts_of, tap
from ecgcam.errors import EcgcamError
from ecgcam.files import one_line
from ecgcam.protocol.model import frozen
from ecgcam.protocol.spec import LayerSpec, Layout

Floats = npt.NDArray[np.float64]
Encode = Callable[[Tensor], object]

_SIGNALS = 2
_PROBES, _MORE, _FEWEST = 7, 40, 4
_MOST_ORIGINS = 4
_LAYOUTS: tuple[Layout, ...] = ("BCT", "BTC", "TBC", "BCLT", "BLTC", "BLCT", "BCTL")


@dataclass(frozen=True)
class Placement:
    """What was found of a layer.

    Attributes
    ----------
    where : LayerSpec
        Its layout, step and offset.
    width : float
        Samples that a cell looks at (of a cell that all samples move: those of its peak).
    deviation : float
        How far a probed cell lies from the straight line of step and offset at most, in samples.
    local : bool
        Whether a cell looks at a stretch of the window alone, so that step and offset are exact.
    inherited : bool
        Whether that is true of the earlier cell from which it came, whose place it takes; every sample may move this one.
    """

    where: LayerSpec
    width: float
    deviation: float
    local: bool
    inherited: bool = False


def place_cells(
    encode: Encode,
    module: nn.Module,
    path: str,
    leads: int,
    samples: int,
    network: nn.Module | None = None,
    device: torch.device | str = "cpu",
) -> Placement:
    """Find the layout of a layer and where its cells lie; without one clear answer, the error names what to declare.

    Parameters
    ----------
    encode : callable
        Runs signals (N, leads, samples) through the network.
    module, path : nn.Module, str
        The layer, and its name.
    leads, samples : int
        Size of the model's window.
    network : nn.Module, optional
        Around the layer: its earlier layers show where cells came from.
    device : str
        Where the network is.
    """
    with frozen(network if network is not None else module):
        part, batch_axis, fold = _batch_of(encode, module, path, leads, samples, device)
        best: Placement | None = None
        for held in (StatisticsHeld(samples), StatisticsHeld(samples, attention=True), None):
            with torch.enable_grad(), ExitStack() as stack:
                outputs = stack.enter_context(tap(module, path, part))
                earlier = [
                    stack.enter_context(outputs_of(other))
                    for other in (network.modules() if network is not None else ())
                    if other is not module
                    and not any(True for _ in other.children())
                    and not isinstance(other, torch.jit.ScriptModule)
                ]
                if held is not None:
                    stack.enter_context(held)
                x = _noise(_SIGNALS, leads, samples, device).requires_grad_()
                encode(x)
                if not outputs:
                    _refuse(path, "runs in some passes and not in others")
                tensors = [kept[0] for kept in earlier if len(kept) == 1 and isinstance(kept[0], Tensor)]
                probe = _Probe(x, outputs[0], path, batch_axis, fold, part, tensors)
            try:
                placement = probe.placement(final=held is None and best is None)
            except (EcgcamError, torch.OutOfMemoryError):
                if best is not None:
                    break
                raise
            except RuntimeError as error:  # reentrant checkpointing, quantised modules
                _refuse(path, f"torch takes no gradient on the way to it ({one_line(error)})")
            if placement is not None and (best is None or placement.deviation < best.deviation):
                best, count = placement, probe.count
            # Cells of one window of attention look at the same samples: held attention distinguishes them.
            tried = held is None or held.attention
            if best is not None and (tried or best.deviation <= max(1.0, best.where.step / 4)):
                break
        assert best is not None  # noqa: S101 - for mypy; the last try answers or raises
    _need_tiling(best, count, path, samples)
    return best


def contradiction(declared: LayerSpec, found: Placement, cells: int) -> str | None:
    """Return how a declared layout contradicts what was found, in words; None if both agree as far as can be observed."""
    where = found.where
    if declared.layout != where.layout or (declared.leads or declared.rows) != (where.leads or where.rows):
        return f"its output is {described(where)}"
    fewer = declared.n_prefix_tokens < where.n_prefix_tokens or declared.n_suffix_tokens < where.n_suffix_tokens
    if fewer and (found.local or where.leads):
        return f"some of its cells do not follow time: {described(where)}"
    number = np.array([0, cells - 1 - declared.n_prefix_tokens - declared.n_suffix_tokens])
    shift = where.n_prefix_tokens - declared.n_prefix_tokens
    apart = np.abs((declared.offset + declared.step * number) - (where.offset + where.step * (number - shift)))
    if apart.max() > max(2 * where.step, found.width):
        return f"its cells lie up to {apart.max():.0f} samples from there: {described(where)}"
    return None


def described(where: LayerSpec) -> str:
    """Return a layout as its declaration."""
    more = [f"n_prefix_tokens={where.n_prefix_tokens}"] if where.n_prefix_tokens else []
    more += [f"n_suffix_tokens={where.n_suffix_tokens}"] if where.n_suffix_tokens else []
    more += [f"leads={where.leads}"] if where.leads else []
    more += [f"rows={where.rows}"] if where.rows > 1 else []
    more += [f"part={where.part}"] if where.part is not None else []
    return f'LayerSpec("{where.layout}", {", ".join([f"step={where.step:g}", f"offset={where.offset:g}", *more])})'


def _batch_of(
    encode: Encode, module: nn.Module, path: str, leads: int, samples: int, device: torch.device | str
) -> tuple[int | None, int, int]:
    """Return which part of a layer's output has cells, its batch axis, and how many entries of that axis a signal has."""
    shapes = []
    for count in (_SIGNALS, _SIGNALS + 1):
        with torch.no_grad(), outputs_of(module) as given:
            encode(_noise(count, leads, samples, device))
        if len(given) != 1:
            if given:
                raise EcgcamError(
                    f"`layer` {path}: ran {len(given)} times in one pass; choose one that runs once, such as the module that "
                    "gets what these runs gave together"
                )
            _refuse(path, "ran 0 times in one pass (modules inside TorchScript never report it)")
        parts = {None: given[0]} if isinstance(given[0], Tensor) else dict(enumerate(parts_of(given[0])))
        shapes.append({key: tuple(part.shape) for key, part in parts.items() if isinstance(part, Tensor)})
    for part, more in shapes[1].items():
        few = shapes[0].get(part, ())
        axes = [axis for axis in range(len(more)) if len(few) == len(more) and few[axis] != more[axis]]
        if len(more) not in {3, 4} or len(axes) != 1:
            continue
        axis = axes[0]
        each, rest = divmod(more[axis], _SIGNALS + 1)
        if rest or few[axis] != each * _SIGNALS:
            continue
        if each != 1 and (each != leads or axis != 0 or len(more) != 3):
            raise EcgcamError(
                f"`layer` {path}: {_SIGNALS + 1} signals gave an output of shape {more}, so its batch axis does not "
                "hold the signals (something other than the leads was folded into it); choose another layer"
            )
        return part, axis, each
    listed = " and ".join(str(shape) for shape in shapes[1].values()) or "no tensor"
    return _refuse(path, f"gives {listed} for {_SIGNALS + 1} signals, not cells along time of each")


class _Probe:
    """Looks at one output (with its graph) of a layer, entry by entry."""

    def __init__(
        self, x: Tensor, output: Tensor, path: str, batch_axis: int, fold: int, part: int | None, earlier: list[Tensor]
    ) -> None:
        self.x, self.path, self.part, self.fold, self.batch_axis = x, path, part, fold, batch_axis
        self.shape = tuple(output.shape)
        moved = output.movedim(batch_axis, 0)
        # (N, axes ...), of a folded batch (N, L, axes ...)
        self.output = moved.unflatten(0, (-1, fold)) if fold > 1 else moved  # type: ignore[no-untyped-call]
        generator = torch.Generator().manual_seed(1)
        scale = 2.0**10 if output.dtype == torch.float16 else 1.0
        self.direction = (torch.randn(self.output.shape, generator=generator) * scale).to(output)
        self.earlier = [other for other in earlier if other.requires_grad and other.ndim in {3, 4}]
        self.count = 0

    def placement(self, final: bool) -> Placement | None:
        """Return the one clear answer; without one, raise `EcgcamError` if this try is final, else return None."""
        first = 2 if self.fold > 1 else 1
        axes = [axis for axis in range(first, self.output.ndim) if self.output.shape[axis] >= _FEWEST]
        if not self.output.requires_grad:
            if final:
                _refuse(self.path, "no gradient passes on the way to it")
            return None
        found = {axis: self._line(axis) for axis in axes}
        lines = {axis: line for axis, line in found.items() if line is not None}
        if not lines and final and self.output.ndim == 3:
            joined = {axis: self._joined(axis) for axis in axes}
            lines = {axis: line for axis, line in joined.items() if line is not None}
        exact = {axis: line for axis, line in lines.items() if line.local}
        lines = exact if len(exact) == 1 else lines
        if len(lines) != 1 or not (final or next(iter(lines.values())).local):
            if not final:
                return None
            why = "its cells do not follow time" if not lines else "more than one of its axes follows time"
            _refuse(self.path, f"{why} (output {self.shape}), so they cannot be placed")
        ((time, line),) = lines.items()
        self.count = self.output.shape[time]
        where = replace(
            self._layout(time), step=line.step, offset=line.offset + line.step * line.prefix, part=self.part,
            n_prefix_tokens=line.prefix, n_suffix_tokens=line.suffix,
        )  # fmt: skip
        if line.leads:
            self.count, where = line.each + line.prefix, replace(where, leads=line.leads)
        return Placement(where, line.width, line.deviation, line.local, line.inherited)

    def _slopes(self, index: dict[int, int], others: Sequence[Tensor] = ()) -> tuple[Tensor, list[Tensor | None]]:
        """Return |d entry / d x| (N, L, T), and the same of earlier outputs; the entry is fixed by its number on some axes."""
        chosen, direction = self.output, self.direction
        for axis, number in index.items():
            chosen, direction = chosen.narrow(axis, number, 1), direction.narrow(axis, number, 1)
        slopes = torch.autograd.grad(
            (chosen * direction).sum(), [self.x, *others], retain_graph=True, allow_unused=True
        )
        own = slopes[0] if slopes[0] is not None else torch.zeros_like(self.x)
        return own.abs().double(), [None if slope is None else slope.abs().double() for slope in slopes[1:]]

    def _line(self, axis: int) -> Line | None:
        """Return where the entries along an axis lie; None if it is not time."""
        count = self.output.shape[axis]
        numbers = np.unique(np.linspace(0.15 * (count - 1), 0.85 * (count - 1), _PROBES).round().astype(int))
        kin = [other for other in self.earlier if self._same_count(other, count)]
        responses: dict[int, Floats] = {}
        seen: dict[int, list[Tensor | None]] = {}
        few = numbers[:: len(numbers) // 2] if len(numbers) == _PROBES else numbers
        for some in (few, numbers):
            for number in (int(number) for number in some if int(number) not in responses):
                slope, seen[number] = self._slopes({axis: number}, kin)
                responses[number] = slope.sum(dim=(0, 1)).cpu().numpy()
            line = fitted_line(some, np.stack([responses[int(number)] for number in some]), count)
            origin = None
            if line is None or not line.local:
                origin = self._origin(kin, some, [seen[int(number)] for number in some], count)
            if line is None and origin is None:
                return None
        if line is None or (not line.local and origin is not None):
            return origin

        def response(number: int) -> Floats:
            found: Floats = self._slopes({axis: number})[0].sum(dim=(0, 1)).cpu().numpy()
            return found

        if line.local and line.deviation > 0.25 and count > 2 * _MORE:
            # Cells that were sampled up lie on stairs, of which few probes at equal distances give a wrong slope.
            numbers = np.sort(
                np.random.default_rng(0).choice(np.arange(count * 3 // 20, count * 17 // 20), _MORE, False)
            )
            finer = fitted_line(numbers, np.stack([response(int(number)) for number in numbers]), count)
            line = finer if finer is not None and finer.local else line
        return without_ends(line, response, count)

    def _joined(self, axis: int) -> Line | None:
        """Return where entries lie of an axis that holds those of every lead, one lead after the other; None if it does not."""
        count, leads, samples = self.output.shape[axis], self.x.shape[1], self.x.shape[2]
        for prefix in range(MOST_PREFIX + 1):
            each, rest = divmod(count - prefix, leads)
            if rest or each < 2 * _FEWEST or leads == 1:
                continue
            numbers = np.linspace(0.15 * (each - 1), 0.85 * (each - 1), _PROBES).round().astype(int)
            line: Line | None = None
            for lead in (0, leads // 2, leads - 1):
                moved = [self._slopes({axis: prefix + lead * each + int(number)})[0] for number in numbers]
                if not all(_most(slope.sum(dim=(0, 2)).cpu().numpy(), lead) for slope in moved):
                    break
                line = fitted_line(numbers, np.stack([slope.sum(dim=(0, 1)).cpu().numpy() for slope in moved]), each)
                if line is None or not -line.step < line.offset < min(line.step, samples / 4):
                    break
            else:
                if line is not None:
                    return replace(line, offset=line.offset - line.step * prefix, prefix=prefix, leads=leads, each=each)
        return None

    @staticmethod
    def _same_count(other: Tensor, count: int) -> bool:
        return any(0 <= count - size <= MOST_PREFIX and size >= _FEWEST for size in other.shape)

    def _origin(
        self, kin: list[Tensor], numbers: npt.NDArray[np.int_], slopes: list[list[Tensor | None]], count: int
    ) -> Line | None:
        """Return the places of an earlier layer's local cells if each probed cell comes from the cell of its number there."""
        tries = 0
        for i, other in enumerate(kin):
            for axis in range(other.ndim):
                more = count - other.shape[axis]
                rest = tuple(number for number in range(other.ndim) if number != axis)
                given = [some[i] for some in slopes if some[i] is not None]
                if not 0 <= more <= MOST_PREFIX or len(given) < len(slopes):
                    continue
                shares = np.stack([slope.sum(dim=rest).cpu().numpy() for slope in given if slope is not None])
                before = next((first for first in range(more, -1, -1) if _comes_from(shares, numbers - first)), None)
                if before is None:
                    continue
                line = self._line_of(other, axis, numbers - before)
                if line is not None and line.local:
                    return replace(
                        line, inherited=True, offset=line.offset - line.step * before, prefix=line.prefix + before,
                        suffix=line.suffix + more - before,
                    )  # fmt: skip
                tries += 1
                if tries == _MOST_ORIGINS:
                    return None
        return None

    def _line_of(self, other: Tensor, axis: int, numbers: npt.NDArray[np.int_]) -> Line | None:
        def response(number: int) -> Floats:
            (slope,) = torch.autograd.grad(
                other.narrow(axis, number, 1).abs().sum(), self.x, retain_graph=True, allow_unused=True,
                materialize_grads=True,
            )  # fmt: skip
            found: Floats = slope.abs().double().sum(dim=(0, 1)).cpu().numpy()
            return found

        line = fitted_line(numbers, np.stack([response(int(number)) for number in numbers]), other.shape[axis])
        return None if line is None else without_ends(line, response, other.shape[axis])

    def _layout(self, time: int) -> LayerSpec:
        """Return the layout, once the axis of time is known."""
        if self.fold > 1:
            self._need_lead_order(time)
            return LayerSpec("(BL)TC" if time == 2 else "(BL)CT", 0.0, 0.0, leads=self.fold)
        original = [axis for axis in range(self.output.ndim) if axis != 0]
        letters = {time: "T"}
        rows, leads = 1, 0
        others = [axis for axis in original if axis != time]
        if len(others) == 1:
            letters[others[0]] = "C"
        else:
            follows = [axis for axis in others if self._follows_leads(axis, time)]
            single = [axis for axis in others if self.output.shape[axis] == 1]
            usual = 2 if time == 3 else 1 if time == 2 else 3
            row_axis = (follows or single or [usual])[0]
            if len(follows) > 1 or row_axis not in others:
                _refuse(self.path, f"which axis of its output {self.shape} holds the leads is not clear")
            leads = self.output.shape[row_axis] if follows else 0
            rows = 1 if follows else self.output.shape[row_axis]
            letters |= {row_axis: "L", next(axis for axis in others if axis != row_axis): "C"}
        ordered = [letters[axis] for axis in original]
        ordered.insert(self.batch_axis, "B")
        layout = "".join(ordered)
        if layout not in _LAYOUTS:
            _refuse(self.path, f"its output {self.shape} has its axes in the order {layout}, which is not supported")
        return LayerSpec(layout, 0.0, 0.0, leads=leads, rows=rows)

    def _follows_leads(self, axis: int, time: int) -> bool:
        """Whether the entries of an axis are the leads: each is moved by the leads around its own number, or by its own most."""
        count, leads = self.output.shape[axis], self.x.shape[1]
        if count != leads:
            return False
        middle = self.output.shape[time] // 2
        inner = {leads // 3, leads // 2, 2 * leads // 3}
        moved = {
            number: self._slopes({axis: number, time: middle})[0].sum(dim=(0, 2)).cpu().numpy()
            for number in {0, *inner, leads - 1}
        }
        moving = {number: np.flatnonzero(moved[number] > 1e-6 * max(moved[number].max(), 1e-30)) for number in inner}
        around = all(0 < len(some) < leads and abs(some.mean() - number) <= 0.5 for number, some in moving.items())
        return around or (leads > 1 and all(_most(weights, number) for number, weights in moved.items()))

    def _need_lead_order(self, time: int) -> None:
        """Raise `EcgcamError` unless a folded batch holds all leads of a signal one after the other."""
        for signal, lead in ((0, 1 % self.fold), (_SIGNALS - 1, self.fold // 2)):
            slope, _ = self._slopes({0: signal, 1: lead, time: self.output.shape[time] // 2})
            moved = slope.sum(dim=2)
            if not moved.any() or int(moved.argmax()) != signal * self.fold + lead:
                raise EcgcamError(
                    f"`layer` {self.path}: its batch axis does not hold the signals ({_SIGNALS} signals gave "
                    f"{self.shape}), nor every lead "
                    "of one signal after the other; choose another layer"
                )


def _most(weights: Floats, number: int) -> bool:
    """Whether one entry of weights stands out, half as much again as any other."""
    return bool(weights[number] > 1.5 * np.delete(weights, number).max(initial=0.0))


def _comes_from(shares: Floats, numbers: npt.NDArray[np.int_]) -> bool:
    """Whether each probed cell comes from the cell of its number, by how much each of the others moves it, (P, K).

    It is the one that moves it most; or, of a network that runs along time, the last or the first that moves it at all.
    """
    if not (shares.max(axis=1) > 0).all():
        return False
    spans = [np.flatnonzero(share) for share in shares]
    return any(
        bool((np.array(found) == numbers).all())
        for found in (shares.argmax(axis=1), [span[-1] for span in spans], [span[0] for span in spans])
    )


def _need_tiling(placement: Placement, count: int, path: str, samples: int) -> None:
    """Raise `EcgcamError` unless the cells, each as wide as it looks, cover the window and nothing else."""
    where, reach = placement.where, placement.width / 2 + placement.where.step
    last = where.offset + where.step * (count - where.n_prefix_tokens - where.n_suffix_tokens - 1)
    inside = -reach <= where.offset and last <= samples - 1 + reach
    if not (inside and where.offset <= reach and last >= samples - 1 - reach):
        _refuse(
            path,
            f"its cells seem to lie every {where.step:g} samples from {where.offset:g} to {last:g}, which does not tile the "
            f"window of {samples}",
        )


def _noise(count: int, leads: int, samples: int, device: torch.device | str) -> Tensor:
    return torch.randn(count, leads, samples, generator=torch.Generator().manual_seed(0)).to(device)


def _refuse(path: str, why: str) -> NoReturn:
    raise EcgcamError(
        f'`layer` {path}: {why}; declare its layout, such as layers = {{{path!r}: LayerSpec("BTC", step=50, offset=24.5)}} '
        "(`ecgcam docs own-model`), or choose another layer"
    )
