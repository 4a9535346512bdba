"""Lead algebra, resampling, windows and prompts: what must come out is known from how the input was made."""

from __future__ import annotations

import itertools
import unicodedata
from pathlib import Path

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from ecgcam.models.text.vocabulary import clean_texts
from ecgcam.records import CANONICAL_LEADS, Record, take_window, window_starts
from ecgcam.records.record import limb_leads
from ecgcam.results.explanation import slug_of
from ecgcam.runs.worklist import slugs
from tests.fuzz.structured import examples

LIMB, CHEST = CANONICAL_LEADS[:6], CANONICAL_LEADS[6:]


@examples
@given(
    st.lists(st.sampled_from(LIMB), max_size=6, unique=True), st.lists(st.sampled_from(CHEST), max_size=6, unique=True),
    st.integers(0, 2**32 - 1), st.randoms(use_true_random=False),
)  # fmt: skip
def test_leads_go_by_their_names_in_any_order(limb: list[str], chest: list[str], seed: int, shuffle: object) -> None:
    """Any two limb leads give the others (Einthoven, Goldberger); the order of the channels changes nothing."""
    assume(limb or chest)
    random = np.random.default_rng(seed)
    one, two = random.normal(0, 1, (2, 40))
    truth = {lead: a * one + b * two for lead, (a, b) in limb_leads().items()}
    truth |= {lead: random.normal(0, 1, 40) for lead in CHEST}
    given_ = [*limb, *chest]
    turned = list(given_)
    shuffle.shuffle(turned)  # type: ignore[attr-defined]
    record, other = (
        Record.from_channels("r", [truth[lead] for lead in names], 250.0, names, source="r")
        for names in (given_, turned)
    )
    assert record.leads == other.leads
    assert (record.derived, record.notes) == (other.derived, other.notes)
    np.testing.assert_array_equal(record.signal, other.signal)
    derived = tuple(lead for lead in LIMB if lead not in limb) if len(limb) >= 2 else ()
    assert record.derived == derived
    assert record.leads == tuple(lead for lead in CANONICAL_LEADS if lead in {*given_, *derived})
    for lead, row in zip(record.leads, record.signal, strict=True):
        np.testing.assert_allclose(row, truth[lead], atol=1e-5, err_msg=lead)


# Resampling

MODEL_RATES = st.sampled_from((100.0, 200.0, 250.0, 257.0, 400.0, 500.0))
RECORD_RATES = st.integers(50, 10_000).map(float) | st.sampled_from((360.0, 62.5, 333.33, 128.0, 1000.0, 4000.0))


@examples
@given(RECORD_RATES, MODEL_RATES, st.floats(0.02, 0.3), st.floats(0.05, 20), st.floats(0, 6.28), st.floats(0, 1.5))
def test_a_sine_keeps_its_height_and_its_place(
    fs: float, new: float, share: float, height: float, phase: float, start: float
) -> None:
    """Below 0.3 of the slower rate, from 50 to 10,000 Hz: at each new sample the sine's value there."""
    hertz = share * min(fs, new)
    time = np.arange(round(4 * fs)) / fs
    row = height * np.sin(2 * np.pi * hertz * time + phase)
    record = Record("r", row[None].astype(np.float32), fs, ("V1",))
    window = take_window(record, new, round(2 * new), start)
    assert window.signal.shape == window.valid.shape == (1, round(2 * new))
    assert abs(window.start - start) <= 0.5 / new + 1e-9
    assert window.valid.all()
    inside = window.time > 12 / min(fs, new)
    wanted = height * np.sin(2 * np.pi * hertz * window.time + phase)
    np.testing.assert_allclose(window.signal[0, inside], wanted[inside], atol=0.01 * height)


@examples
@given(MODEL_RATES, st.floats(0.72, 5), st.integers(4, 40))
def test_what_the_new_rate_cannot_hold_is_gone(new: float, share: float, times: int) -> None:
    fs, hertz = new * times, share * new
    assume(hertz < 0.45 * fs and fs <= 10_000)
    time = np.arange(round(4 * fs)) / fs
    row = np.sin(2 * np.pi * hertz * time) + 5 * np.sin(2 * np.pi * 0.05 * new * time)
    window = take_window(Record("r", row[None].astype(np.float32), fs, ("V1",)), new, round(2 * new), 1.0)
    wanted = 5 * np.sin(2 * np.pi * 0.05 * new * window.time)
    np.testing.assert_allclose(window.signal[0], wanted, atol=0.05)


# Windows


@examples
@given(
    st.integers(20, 400),
    st.integers(5, 300),
    st.floats(0, 0.99),
    st.integers(0, 2**32 - 1),
    st.sampled_from((0.0, 0.1, 0.6)),
)
def test_a_window_is_the_record_there(samples: int, wanted: int, share: float, seed: int, gone: float) -> None:
    """At the record's own rate: each sample as it is, missing ones between their neighbours, padding behind the end."""
    random, fs = np.random.default_rng(seed), 250.0
    signal = random.normal(0, 1, (2, samples)).astype(np.float32)
    signal[random.random(signal.shape) < gone] = np.nan
    first = int(share * samples)
    part = signal[:, first : first + wanted]
    assume(all(len(set(row[np.isfinite(row)])) > 1 for row in part))
    window = take_window(Record("r", signal, fs, ("I", "V1")), fs, wanted, first / fs)
    real = part.shape[1]
    assert window.signal.shape == (2, wanted)
    assert window.start == first / fs
    np.testing.assert_array_equal(window.valid[:, :real], np.isfinite(part))
    assert not window.valid[:, real:].any()
    assert not window.signal[:, real:].any()
    known = np.isfinite(part)
    np.testing.assert_array_equal(window.signal[:, :real][known], part[known])
    low, high = np.nanmin(part, axis=1)[:, None], np.nanmax(part, axis=1)[:, None]
    assert ((window.signal[:, :real] >= low) & (window.signal[:, :real] <= high)).all()


@examples
@given(st.integers(1, 5000), st.floats(0.5, 10), st.none() | st.floats(0.1, 12), st.floats(0, 3))
def test_windows_cover_the_record(samples: int, seconds: float, hop: float | None, start: float) -> None:
    record = Record("r", np.zeros((1, samples), np.float32), 100.0, ("I",))
    starts = window_starts(record, seconds, hop, start)
    step = seconds if hop is None else hop
    assert starts[0] == start
    assert all(0 < later - one <= step * (1 + 1e-9) for one, later in itertools.pairwise(starts))
    if record.seconds - seconds <= start:
        assert starts == [start]
    else:
        assert starts[-1] + seconds <= record.seconds + 1e-9
        assert starts[-1] + seconds >= record.seconds - 0.5 / record.fs - 1e-9


# Prompts

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=80).filter(str.strip)


def alike(texts: list[str]) -> list[str]:
    """Texts, and others whose folders might be theirs: another case or form, or the very name that one's hash gives it."""
    more = list(texts)
    for text in texts:
        more += [text.upper(), text.swapcase(), unicodedata.normalize("NFD", text), f"{text} "]
        more += [slug_of(text), slug_of(text, distinct=True)]
    return more


@examples
@given(st.lists(TEXTS, min_size=1, max_size=4).map(alike), st.randoms(use_true_random=False))
def test_every_prompt_has_a_folder_of_its_own_below_out(texts: list[str], shuffle: object) -> None:
    prompts = clean_texts([text for text in texts if text.strip()])
    made = slugs(prompts)
    assert list(made) == prompts
    assert len({slug.casefold() for slug in made.values()}) == len(prompts)
    for slug in made.values():
        assert 0 < len(slug) <= 80
        assert len(slug.encode()) <= 255
        assert all(character.isalnum() or character == "-" for character in slug)
    turned = list(prompts)
    shuffle.shuffle(turned)  # type: ignore[attr-defined]
    assert slugs(turned) == made
    for slug in made.values():
        assert (Path("/out/rec") / slug).resolve().parent == Path("/out/rec")
