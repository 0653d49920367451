"""One replica and one scripted provider for all tests of this folder; each test has a tenant of its own."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.http.log import Log, logged
from tests.http.member import Member
from tests.http.replica import Replica, running
from tests.provider.process import ProviderProcess


@pytest.fixture(scope="package")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    # As Sanic runs it: some of what asyncio's own loop promises, uvloop does not keep.
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="package")
def process() -> Iterator[ProviderProcess]:
    with ProviderProcess.start() as started:
        yield started


@pytest.fixture
def provider(process: ProviderProcess) -> ProviderProcess:
    """The scripted provider, which remembers nothing of earlier tests."""
    process.reset()
    return process


@pytest.fixture(scope="package")
async def replica(process: ProviderProcess) -> AsyncIterator[Replica]:
    async with running(process) as started:
        yield started


@pytest.fixture
async def member(replica: Replica) -> Member:
    """A member of a new tenant, with everything in order."""
    return Member(replica, await replica.add_tenant())


@pytest.fixture
def text_log() -> Iterator[Log]:
    with logged("text") as log:
        yield log


@pytest.fixture
def json_log() -> Iterator[Log]:
    with logged("json") as log:
        yield log
