"""A cohort on disk: three tables, the average beats, a picture a prompt and method; each file whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecgcam.cohort import tables
from ecgcam.cohort.bootstrap import DRAWS, bootstrap_means
from ecgcam.cohort.gather import TIME, Group
from ecgcam.explanation import slug_of
from ecgcam.files import atomic, writing


def write_cohort(
    groups: Sequence[Group], out: Path, *, draws: int = DRAWS, seed: int = 0, png: bool = True
) -> Iterator[dict[str, Any]]:
    """Write ``leads.csv``, ``waves.csv``, ``comparison.csv`` (several methods), ``beats.npz`` and the pictures into `out`.

    Yields, for each group when its picture is there, {text, method, n, gain, leads, waves, out}; the tables are written
    before the first.

    Raises
    ------
    EcgcamError
        If `out` cannot be written.
    """
    leads = [tables.lead_rows(group, draws, seed) for group in groups]
    waves = [tables.wave_rows(group, draws, seed) for group in groups]
    compared = list(tables.comparison_rows(groups, draws, seed))
    texts = {
        "leads.csv": tables.csv_text(tables.LEADS, (row for rows in leads for row in rows)),
        "waves.csv": tables.csv_text(tables.WAVES, (row for rows in waves for row in rows)),
    }
    if compared:
        texts["comparison.csv"] = tables.csv_text(tables.COMPARISONS, compared)
    with writing(out, out):
        for name, text in texts.items():
            with atomic(out / name) as path:
                path.write_text(text, encoding="utf-8")
        if not compared:
            (out / "comparison.csv").unlink(missing_ok=True)  # of an earlier call with several methods
        _write_beats(groups, out, draws, seed)
        names = _names(groups)
        for group, name, lead, wave in zip(groups, names, leads, waves, strict=True):
            if png:
                from ecgcam import render
                from ecgcam.cohort.finding import draw_finding

                render.save(draw_finding(group, draws, seed), out / name)
            yield _said(group, lead, wave, out)


def _said(group: Group, leads: list[tables.Row], waves: list[tables.Row], out: Path) -> dict[str, Any]:
    whole, *each = leads
    ranked = sorted(each, key=lambda row: -(row["gain"] if row["gain"] is not None else -np.inf))
    of_waves = {
        row["segment"]: {key: row[key] for key in tables.WAVES[5:]} for row in waves if row["lead"] == tables.ALL
    }
    return {
        "text": group.text,
        "method": group.method,
        "n": len(group.records),
        "gain": {"mean": whole["gain"], "low": whole["low"], "high": whole["high"]},
        "leads": [{"name": row["lead"]} | {key: row[key] for key in ("n", "gain", "low", "high")} for row in ranked],
        "waves": of_waves,
        "out": str(out),
    }


def _write_beats(groups: Sequence[Group], out: Path, draws: int, seed: int) -> None:
    found = [bootstrap_means(group.beats, draws, seed) for group in groups]
    arrays = {
        "texts": np.array([group.text for group in groups]),
        "methods": np.array([group.method for group in groups]),
        "leads": np.array(groups[0].leads),
        "time": TIME,
        "n": np.stack([estimate.n for estimate in found]),
        "mean": np.stack([estimate.mean for estimate in found]),
        "low": np.stack([estimate.low for estimate in found]),
        "high": np.stack([estimate.high for estimate in found]),
        "signal": np.stack([group.signal for group in groups]),
    }
    with atomic(out / "beats.npz") as path:
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]  # NumPy 1.26 would write `allow_pickle` as an array


def _names(groups: Sequence[Group]) -> list[str]:
    """Return a picture's name for each group: the prompt's slug, and the method's where there are several."""
    several = len({group.method for group in groups}) > 1
    plain = [slug_of(group.text) + (f"--{slug_of(group.method)}" if several else "") for group in groups]
    return [
        f"{slug_of(group.text, distinct=True)}--{slug_of(group.method, distinct=True)}.png"
        if plain.count(name) > 1
        else f"{name}.png"
        for group, name in zip(groups, plain, strict=True)
    ]
