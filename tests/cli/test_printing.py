"""Tables on stdout: columns by what a terminal shows, rows as they come once the first are known."""

from __future__ import annotations

import pytest

from ecgcam.cli.tables import Table, print_table


def test_columns_are_as_wide_as_a_terminal_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["text", "score"], [["房颤", "0.5"], ["af", "-0.25"]], right=("score",))
    assert capsys.readouterr().out == "text  score\n房颤    0.5\naf    -0.25\n"  # either sign takes two columns


def test_a_long_table_is_printed_from_its_two_hundredth_row_on(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(["row"], right=["row"])
    for number in range(199):
        table.add([str(number)])
    assert capsys.readouterr().out == ""
    table.add(["long row"])
    assert capsys.readouterr().out.splitlines()[:2] == ["     row", "       0"]
    table.add(["1"])
    assert capsys.readouterr().out == "       1\n"  # at once, by the widths that are settled
    table.add(["longer than any before"])
    table.flush()
    assert capsys.readouterr().out == "longer than any before\n"
    assert table.rows == 202
