"""What all tests share."""

from collections.abc import Iterator

import pytest

from tests.nursery import Nursery


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    with Nursery.start() as running:
        yield running
