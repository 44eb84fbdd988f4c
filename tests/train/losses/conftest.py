"""Fixtures for losses."""

from collections.abc import Iterator

import pytest

from tests.threads import threads


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """The networks of these tests are small: more threads gain little, and lose much where the processor is shared."""
    with threads(1):
        yield
