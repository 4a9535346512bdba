"""Valid WFDB records by construction: written byte by byte from header(5) and signal(5), with the millivolts that they hold."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from ecgcam.records import CANONICAL_LEADS

Whole = npt.NDArray[np.int64]

# Bits of a sample, by format.
BITS = {"8": 8, "80": 8, "310": 10, "311": 10, "212": 12, "16": 16, "61": 16, "160": 16, "24": 24, "32": 32}
# Millivolts of a unit as a header may write it.
UNITS = {"mV": 1.0, "": 1.0, "uV": 1e-3, "µV": 1e-3, "μV": 1e-3, "V": 1e3, "nV": 1e-6, "mv": 1.0}
GAINS = ("200", "1000", "1", "0.5", "204.8", "4.88e1", "1e3", "-100", "409.6", "2.5e-1", "+50")
SYNONYMS = {
    "V1": ("v1", "ECG V1", "lead C1"),
    "aVR": ("AVR", "avr", "lead aVR"),
    "II": ("ii", "ECG lead II", "DII"),
    "V6": ("MDC_ECG_LEAD_V6",),
}


@dataclass
class Signal:
    """A signal line of a header, and the digital samples as the file has them, (frames x `per_frame`,)."""

    lead: str
    name: str
    gain: str
    baseline: int | None
    adc_zero: int
    unit: str
    per_frame: int
    skew: int
    samples: Whole

    def millivolts(self, invalid: int) -> npt.NDArray[np.float64]:
        """What the record holds by header(5): a sample comes `skew` frames later in the file."""
        late = self.skew * self.per_frame
        digital = np.full(len(self.samples), invalid, np.int64)
        digital[: len(digital) - late] = self.samples[late:]
        zero = self.adc_zero if self.baseline is None else self.baseline
        values = (digital - zero) / float(self.gain) * UNITS[self.unit]
        values[digital == invalid] = np.nan
        return values


@dataclass
class Group:
    """The signals of one data file."""

    file: str
    fmt: str
    offset: int
    signals: list[Signal]


@dataclass
class Written:
    """A record: its rate (frames a second), its groups, and the text around its signal lines."""

    fs: float
    frames: int
    groups: list[Group]
    extra: str
    comments: list[str]
    newline: str

    def write(self, folder: Path) -> Path:
        """Write header and data files, and return the header's path."""
        signals = [(group, one) for group in self.groups for one in group.signals]
        lines = [*self.comments[:1], f"rec {len(signals)} {self.fs:.10g}{self.extra.partition('|')[0]} {self.frames}"]
        lines[-1] += self.extra.partition("|")[2]
        for group, one in signals:
            fmt = group.fmt + (f"x{one.per_frame}" if one.per_frame > 1 else "") + (f":{one.skew}" if one.skew else "")
            fmt += f"+{group.offset}" if group.offset else ""
            gain = (
                one.gain + ("" if one.baseline is None else f"({one.baseline})") + (f"/{one.unit}" if one.unit else "")
            )
            total = int(one.samples.sum())
            first, sum16 = int(one.samples[0]), (total + 32768) % 65536 - 32768
            fields = f"{BITS[group.fmt]} {one.adc_zero} {first} {0 if one.skew else sum16} 0"
            lines.append(f"{group.file} {fmt} {gain} {fields} {one.name}")
        lines += self.comments[1:]
        (folder / "rec.hea").write_bytes((self.newline.join(lines) + self.newline).encode())
        for group in self.groups:
            laid = [
                np.diff(one.samples, prepend=one.samples[:1]) if group.fmt == "8" else one.samples
                for one in group.signals
            ]
            frames = np.concatenate([row.reshape(self.frames, -1) for row in laid], axis=1)
            (folder / group.file).write_bytes(b"\x55" * group.offset + encoded(group.fmt, frames.ravel()))
        return folder / "rec.hea"

    def leads(self) -> dict[str, tuple[int, npt.NDArray[np.float64]]]:
        """Each lead's samples a frame, and its millivolts."""
        return {
            one.lead: (one.per_frame, one.millivolts(invalid(group.fmt)))
            for group in self.groups
            for one in group.signals
        }


def invalid(fmt: str) -> int:
    """The value that stands for a missing sample: the lowest; differences have none."""
    return -(1 << 40) if fmt == "8" else -(1 << (BITS[fmt] - 1))


def encoded(fmt: str, samples: Whole) -> bytes:
    """Samples as signal(5) lays them out."""
    if fmt in {"16", "32"}:
        return samples.astype(f"<i{BITS[fmt] // 8}").tobytes()
    if fmt == "61":
        return samples.astype(">i2").tobytes()
    if fmt == "8":
        return samples.astype("i1").tobytes()
    if fmt == "160":
        return (samples + 32768).astype("<u2").tobytes()
    if fmt == "80":
        return (samples + 128).astype("u1").tobytes()
    if fmt == "24":
        return samples.astype("<i4").view("u1").reshape(-1, 4)[:, :3].tobytes()
    words = [int(value) & ((1 << BITS[fmt]) - 1) for value in samples]
    per = 2 if fmt == "212" else 3
    words += [0] * (-len(words) % per)
    packed = bytearray()
    for at in range(0, len(words), per):
        one, two, *more = words[at : at + per]
        if fmt == "212":
            packed += bytes([one & 255, one >> 8 | two >> 8 << 4, two & 255])
        elif fmt == "310":
            three = more[0]
            packed += (one << 1 | (three & 31) << 11).to_bytes(2, "little")
            packed += (two << 1 | three >> 5 << 11).to_bytes(2, "little")
        else:
            packed += (one | two << 10 | more[0] << 20).to_bytes(4, "little")
    return bytes(packed)


@st.composite
def signals(draw: st.DrawFn, lead: str, fmt: str, frames: int, per_frame: int, skew: int) -> Signal:
    """Draw a signal line and its samples."""
    high = (1 << (BITS[fmt] - 1)) - 1
    low = -high
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    reach = draw(st.sampled_from((high, max(1, high // 3), 3)))
    samples = random.integers(max(low, -reach), reach, frames * per_frame, endpoint=True)
    if fmt == "8":
        samples = samples.cumsum()
    elif draw(st.booleans()):
        missing = random.random(len(samples)) < draw(st.sampled_from((0.02, 0.3)))
        missing[skew * per_frame] = False
        samples[missing] = invalid(fmt)
    steps = st.integers(max(low, -2000), min(high, 2000))
    return Signal(
        lead=lead, name=draw(st.sampled_from((lead, *SYNONYMS.get(lead, ())))), gain=draw(st.sampled_from(GAINS)),
        baseline=draw(st.none() | steps), adc_zero=draw(st.just(0) | steps), unit=draw(st.sampled_from(tuple(UNITS))),
        per_frame=per_frame, skew=skew, samples=samples,
    )  # fmt: skip


def lines_of_comments() -> st.SearchStrategy[list[str]]:
    """Comment lines of any text, and blank ones."""
    text = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=20)
    return st.lists(text.map("#{}".format) | st.just(""), min_size=1, max_size=3)


@st.composite
def records(draw: st.DrawFn, several_rates: bool = False, skewed: bool = False) -> Written:
    """Draw a record of one to three data files."""
    leads = draw(st.lists(st.sampled_from(CANONICAL_LEADS), min_size=1, max_size=6, unique=True))
    cuts = sorted([*draw(st.lists(st.integers(1, len(leads)), max_size=2, unique=True)), 0, len(leads)])
    frames = draw(st.integers(1, 40) | st.integers(40, 400))
    groups = []
    for number, (begin, end) in enumerate(itertools.pairwise(cuts)):
        if begin == end:
            continue
        fmt = draw(st.sampled_from(tuple(BITS)))
        lines = []
        for lead in leads[begin:end]:
            per_frame = draw(st.integers(1, 4)) if several_rates else 1
            skew = draw(st.integers(0, min(5, frames - 1))) if skewed else 0
            lines.append(draw(signals(lead, fmt, frames, per_frame, skew)))
        file = f"{draw(st.sampled_from(('rec', 'data', 'x-1')))}{number}.{draw(st.sampled_from(('dat', 'bin', 'd')))}"
        groups.append(Group(file, fmt, draw(st.just(0) | st.integers(1, 9)), lines))
    fs = draw(
        st.sampled_from((100.0, 128.0, 250.0, 257.0, 360.0, 500.0, 1000.0, 62.5, 333.33))
        | st.integers(50, 2000).map(float)
    )
    extra = draw(
        st.sampled_from(("", "/1000", "/250(10)", "| 12:30:00", "| 12:30:00 01/02/2020", "/360(0)| 1:02:03.5"))
    )
    return Written(fs, frames, groups, extra, draw(lines_of_comments()), draw(st.sampled_from(("\n", "\r\n"))))


def common_points(per_frame: int, most: int, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Which of `count` samples of a lead, `per_frame` a frame, lie at the moments of which samples of one of `most`."""
    common = math.gcd(per_frame, most)
    slow = np.arange(0, count, per_frame // common)
    return slow, slow * most // per_frame
