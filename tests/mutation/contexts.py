"""A pytest plugin: coverage records which test ran each line, by the test's node id."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from coverage import Coverage


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Name what follows, fixtures too, after the test."""
    current = Coverage.current()
    if current is not None:
        current.switch_context(item.nodeid)
    result = yield
    if current is not None:
        current.switch_context("")
    return result
