"""SCP-ECG with Huffman tables of its own: the standard's written out, and two tables that go over into each other."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from tests.records.more_by_hand import default_code, scp, scp_section, scp_table

from ecgcam.errors import EcgcamError
from ecgcam.records import read_record


def test_the_standard_s_table_written_out(tmp_path: Path) -> None:
    codes = [(default_code(value), 0, 1, value) for value in range(-8, 9)]
    codes += [("1111111110", 8, 1, 0), ("1111111111", 16, 1, 0)]
    table = struct.pack("<H", 1) + scp_table(codes)
    row = np.cumsum(np.random.default_rng(0).integers(-9, 10, 300)) * np.where(np.arange(300) % 50 == 0, 40, 1)
    own = read_record(scp(tmp_path / "own.scp", ["V1"], [row], tables=table))
    np.testing.assert_allclose(own.signal[0], row * 2.5e-3, atol=1e-6)


@pytest.mark.parametrize("to", [2, 3])
def test_tables_that_go_over_into_each_other(tmp_path: Path, to: int) -> None:
    """0, 1, go on with table 2: 5, -5, go on with table 1: 0, in bits by hand: 0 10 11 0 10 11 0."""
    one = scp_table([("0", 0, 1, 0), ("10", 0, 1, 1), ("11", 0, 0, to)])
    two = scp_table([("0", 0, 1, 5), ("10", 0, 1, -5), ("11", 0, 0, 1)])
    path = scp(
        tmp_path / "rec.scp", ["V1"], [np.zeros(5, int)], step=1000, order=0, tables=struct.pack("<H", 2) + one + two
    )  # fmt: skip
    content = path.read_bytes()
    old = scp_section(6, struct.pack("<HHBBH", 1000, 2000, 0, 0, 2) + b"\0\0")
    new = scp_section(6, struct.pack("<HHBBH", 1000, 2000, 0, 0, 2) + bytes([0b01011010, 0b11000000]))
    assert old in content
    path.write_bytes(content.replace(old, new))
    if to == 3:
        with pytest.raises(EcgcamError, match="continues with Huffman table 3 of 2"):
            read_record(path)
        return
    np.testing.assert_allclose(read_record(path).signal[0] * 1000, [0, 1, 5, -5, 0], atol=1e-4)
