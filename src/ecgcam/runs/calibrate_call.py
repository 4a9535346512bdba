"""One call of `calibrate`: recordings to windows, the search, and where the calibration is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from ecgcam.errors import EcgcamError
from ecgcam.files import check_writable
from ecgcam.protocol.spec import windows_of
from ecgcam.records import Record, Window
from ecgcam.runs.calibration import Calibration, calibration_beside, kept_calibration
from ecgcam.runs.calls import options_of_model
from ecgcam.runs.keywords import ModelKeywords, WindowOptions, check_keywords, reading_of, to_record
from ecgcam.runs.model_options import ModelOptions
from ecgcam.runs.reading import Reading
from ecgcam.runs.worklist import find_recordings

if TYPE_CHECKING:
    from ecgcam.protocol.model import EcgTextModel

Progress = Callable[[int, int], object]
OnFailure = Callable[[str, EcgcamError], object]


class CalibrateOptions(WindowOptions, ModelKeywords, total=False):
    """What `calibrate` takes by keyword: the flags of ``ecgcam models calibrate``."""

    targets: bool


def calibrate(
    model: EcgTextModel | str = "mini",
    records: Any = None,
    *,
    out: str | Path | None = None,
    texts: str | Sequence[str] = (),
    seed: int = 0,
    progress: Progress = lambda _done, _of: None,
    **options: Unpack[CalibrateOptions],
) -> Calibration:
    """Choose the method, layer and mask that explain a model best, and keep the choice: later calls with these weights use it.

    Measured on simulated recordings and on those given (docs/calibrate.md); minutes on two cores. A call that was interrupted
    continues where it stopped.

    Parameters
    ----------
    model : EcgTextModel or str
        A loaded model, or what ``--model`` takes.
    records : Record, path, array, or a sequence of them, optional
        Recordings like those that will be explained: the choice is also measured on them, and they are the reference of the
        verdict's percentile.
    out : path, optional
        Also write the calibration here. It is always kept in the cache, by the hash of the weights.
    texts : str or sequence of str
        Prompts in addition to the vocabulary. For a classifier: outputs, ``OUTPUT=FINDING`` where a label does not name
        the finding.
    seed : int
        The random seed.
    progress : callable
        Called with (done, total).
    **options
        See `CalibrateOptions`; `targets`: prompts are outputs, of a model that is given by name.

    Raises
    ------
    EcgcamError
        If a recording or the model cannot be read, the model has no prompt, or the calibration cannot be stored.
    """
    check_keywords("calibrate", options, CalibrateOptions)
    reading = reading_of(options)
    reading.check_values()
    chosen = options_of_model(model, dict(options), options.get("targets", False))
    chosen.check()
    target = None if out is None else Path(out)
    places = places_of(chosen, target)
    several = [] if records is None else records if isinstance(records, list | tuple) else [records]
    windows = [window for source in several for window in _windows(to_record(source, reading), chosen, reading)]
    return _search(chosen, windows, [texts] if isinstance(texts, str) else list(texts), places, target, seed, progress)


def calibrate_files(
    options: ModelOptions,
    records: Sequence[str],
    texts: Sequence[str],
    reading: Reading,
    out: Path | None,
    *,
    seed: int = 0,
    stdin: Iterable[str] | None = None,
    progress: Progress = lambda _done, _of: None,
    on_failure: OnFailure = lambda _name, _error: None,
) -> tuple[Calibration, list[Path]]:
    """Do what `calibrate` does with files and folders; return the calibration, and where it was written.

    A recording that cannot be read is passed to `on_failure`; the others are used.
    """
    options.check()
    reading.check_values()
    items = find_recordings(records, stdin) if records else []
    places = places_of(options, out)
    windows = []
    for item in items:
        try:
            windows += _windows(reading.record(item, options.spec.input), options, reading)
        except EcgcamError as error:
            if len(items) == 1:
                raise
            on_failure(item.name, error)
    if items and not windows:
        raise EcgcamError(
            "`records`: none of them can be read; leave them out to calibrate on simulated recordings only"
        )
    return _search(options, windows, texts, places, out, seed, progress), places


def places_of(options: ModelOptions, out: Path | None) -> list[Path]:
    """Return where a calibration is written: in the cache, or, where that is off, next to the checkpoint; and at `out`.

    Raises
    ------
    EcgcamError
        If there is no such place, or it cannot be written to.
    """
    kept = kept_calibration(options.identity.weights)
    beside = None if options.weights_path is None else calibration_beside(options.weights_path)
    places = [place for place in (kept or beside, out) if place is not None]
    if not places:
        raise EcgcamError("`out`: the cache is switched off (ECGCAM_CACHE); name a file")
    if out is not None:
        if out.is_dir():
            raise EcgcamError(f"{out}: is a folder; `out` takes the file of the calibration, such as calibration.toml")
        check_writable(out.parent)
    return places


def _windows(record: Record, options: ModelOptions, reading: Reading) -> list[Window]:
    spec = options.spec.input
    return list(windows_of(record, spec, reading.start, reading.seconds, reading.all_windows, reading.hop))


def _search(
    options: ModelOptions,
    windows: Sequence[Window],
    texts: Sequence[str],
    places: Sequence[Path],
    out: Path | None,
    seed: int,
    progress: Progress,
) -> Calibration:
    from ecgcam.runs.calibrate_search import calibrate_model, journal_of
    from ecgcam.runs.tasks import flush_denormals

    flush_denormals()
    journal = journal_of(options.identity.weights, out or places[0])
    found = calibrate_model(options.loaded, windows, texts, journal=journal, seed=seed, progress=progress)
    for place in places:
        found.write(place)
    return found
