"""Fixtures for training."""

from collections.abc import Iterator

import pytest

from tests.threads import threads
from tests.train.toy import FAMILY
from vtok.tokenizers.registry import ALL


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """The fits of these tests are small: more threads gain little, and lose much where the processor is shared."""
    with threads(1):
        yield


@pytest.fixture(autouse=True, scope="module")
def toy_family() -> Iterator[None]:
    """The toy is a family for these tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ALL, "toy", FAMILY["toy"])
        yield
