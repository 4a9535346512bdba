"""Drawing costs little more than what Agg and the PNG encoder take for the same pixels."""

from __future__ import annotations

import pytest
from benchmarks.pictures import measure


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["12x1", "3x4"])
def test_strips_and_page_cost_at_most_twice_the_bare_minimum(layout: str) -> None:
    took, same, _ = measure(2, layout, waves=False)
    assert took <= 2 * same
