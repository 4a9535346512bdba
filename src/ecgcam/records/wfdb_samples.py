"""Samples of WFDB's data files, signal(5): from bytes to whole numbers, frames by samples of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

Whole = npt.NDArray[np.int64]

# Samples and bytes of a block, for formats whose samples have a fixed place.
BITS = {
    "80": (1, 1), "16": (1, 2), "61": (1, 2), "160": (1, 2), "24": (1, 3), "32": (1, 4), "212": (2, 3), "310": (3, 4),
    "311": (3, 4),
}  # fmt: skip
# Format 8 holds differences to the sample before: it can be read from the beginning alone.
_DIFFERENCES = "8"
# Compressed by FLAC: the bits of a sample.
FLAC = {"508": 8, "516": 16, "524": 24}
# The value that stands for a missing sample; a difference has none.
LOWEST = {
    "8": -(1 << 62), "80": -128, "16": -32768, "61": -32768, "160": -32768, "24": -(1 << 23), "32": -(1 << 31),
    "212": -2048, "310": -512, "311": -512, "508": -128, "516": -32768, "524": -(1 << 23),
}  # fmt: skip
# Bytes that the first samples of a block need.
_PARTIAL = {"212": (0, 2), "310": (0, 2, 4), "311": (0, 2, 3)}
_FLAC_SUBTYPES = {"PCM_S8": ("int16", 8), "PCM_16": ("int16", 0), "PCM_24": ("int32", 8)}


def bytes_for(fmt: str, samples: int) -> int:
    """Return how many bytes hold so many samples."""
    if fmt == _DIFFERENCES:
        return samples
    per_block, size = BITS[fmt]
    whole, rest = divmod(samples, per_block)
    return whole * size + (_PARTIAL[fmt][rest] if rest else 0)


def samples_in(fmt: str, size: int) -> int:
    """Return how many samples lie in so many bytes."""
    if fmt == _DIFFERENCES:
        return size
    per_block, width = BITS[fmt]
    whole, rest = divmod(size, width)
    part = max((n for n, need in enumerate(_PARTIAL.get(fmt, (0,))) if need <= rest), default=0)
    return whole * per_block + part


def decode(
    data: Path, fmt: str, offset: int, counts: Sequence[int], first: int, last: int, initial: Sequence[int]
) -> Whole:
    """Return frames `first` to `last` of a data file, fewer where it ends before, (frames, samples of a frame).

    Parameters
    ----------
    data : path
        The data file, whose samples begin `offset` bytes into it.
    fmt : str
        A format of `BITS`, or ``8``, which must be read from frame 0.
    counts : sequence of int
        Samples of each signal in a frame.
    first, last : int
        Frames.
    initial : sequence of int
        Each signal's value before the first difference, for format 8.
    """
    per_frame = sum(counts)
    per_block, width = BITS.get(fmt, (1, 1))
    block, skipped = divmod(first * per_frame, per_block)
    with data.open("rb") as file:
        file.seek(offset + block * width)
        content = file.read(bytes_for(fmt, skipped + (last - first) * per_frame))
    # The bytes of two samples of format 310 hold a third place, which may be filler.
    samples = _unpacked(fmt, content)[skipped:][: (last - first) * per_frame]
    frames = samples[: len(samples) // per_frame * per_frame].reshape(-1, per_frame)
    if fmt != _DIFFERENCES:
        return frames
    summed = np.empty_like(frames)
    at = 0
    for count, start in zip(counts, initial, strict=True):
        part = frames[:, at : at + count]
        summed[:, at : at + count] = (part.reshape(-1).cumsum() + start).reshape(part.shape)
        at += count
    return summed


def _unpacked(fmt: str, content: bytes) -> Whole:
    count = samples_in(fmt, len(content))
    if fmt in {"16", "61", "32", "8"}:
        kind = {"16": "<i2", "61": ">i2", "32": "<i4", "8": "i1"}[fmt]
        return np.frombuffer(content, kind, count).astype(np.int64)
    if fmt in {"80", "160"}:
        kind, zero = {"80": ("u1", 128), "160": ("<u2", 32768)}[fmt]
        return np.frombuffer(content, kind, count).astype(np.int64) - zero
    width = BITS[fmt][1]
    padded = np.frombuffer(content + bytes(-len(content) % width), np.uint8).astype(np.int64).reshape(-1, width)
    if fmt == "24":
        low, middle, high = padded.T
        return _signed(low | middle << 8 | high << 16, 24)[:count]
    if fmt == "212":
        low, both, high = padded.T
        blocks = _signed(np.stack([low | (both & 15) << 8, high | (both >> 4) << 8], axis=1), 12)
    else:
        word = padded[:, 0] | padded[:, 1] << 8 | padded[:, 2] << 16 | padded[:, 3] << 24
        if fmt == "311":
            parts = [word & 1023, word >> 10 & 1023, word >> 20 & 1023]
        else:
            one, two = word & 0xFFFF, word >> 16
            parts = [one >> 1 & 1023, two >> 1 & 1023, one >> 11 | (two >> 11) << 5]
        blocks = _signed(np.stack(parts, axis=1), 10)
    return blocks.reshape(-1)[:count]


def _signed(values: Whole, bits: int) -> Whole:
    """Return two's complement of so many bits."""
    half = 1 << (bits - 1)
    return (values ^ half) - half


def flac_samples(data: Path) -> int:
    """Return how many samples a channel of a FLAC file has."""
    import soundfile

    try:
        return int(soundfile.info(str(data)).frames)
    except RuntimeError as error:  # soundfile's own error is one
        raise ValueError("not a FLAC file") from error


def read_flac(data: Path, fmt: str, offset: int, counts: Sequence[int], first: int, last: int) -> Whole:
    """Return frames of a FLAC file as `decode` does; all its signals have the same number of samples in a frame."""
    import soundfile

    per_signal = counts[0]
    if any(count != per_signal for count in counts):
        raise ValueError("a FLAC file with signals of several rates")
    with data.open("rb") as opened:
        if opened.read(4) != b"fLaC":
            raise ValueError("not a FLAC file")
        opened.seek(0)
        with soundfile.SoundFile(opened) as file:
            kind, shift = _FLAC_SUBTYPES.get(file.subtype, ("", 0))
            if not kind or file.channels != len(counts):
                raise ValueError(f"a FLAC file of {file.channels} channels in {file.subtype}")
            if {"PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}[file.subtype] > FLAC[fmt]:
                raise ValueError(f"a FLAC file in {file.subtype}, more bits than format {fmt} has")
            begin = offset + first * per_signal
            available = max(0, min(file.frames - begin, (last - first) * per_signal))
            file.seek(min(begin, file.frames))
            parts = []
            # libsndfile fails on blocks of more than 2**24 values.
            while available:
                part = file.read(min(available, 1 << 20), dtype=kind, always_2d=True)
                if not len(part):
                    break
                parts.append(part)
                available -= len(part)
    samples = np.concatenate(parts).astype(np.int64) >> shift if parts else np.zeros((0, len(counts)), np.int64)
    samples = samples[: len(samples) // per_signal * per_signal]
    return samples.reshape(-1, per_signal, len(counts)).transpose(0, 2, 1).reshape(-1, per_signal * len(counts))
