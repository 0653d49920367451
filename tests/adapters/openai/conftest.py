"""One scripted provider for all tests of this folder, and the adapter that talks to it."""

import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from adapters.openai.provider import Deadlines, OpenAIProvider
from adapters.openai.transport import PooledTransport
from tests.provider.process import ProviderProcess


@pytest.fixture(scope="package")
def process() -> Iterator[ProviderProcess]:
    with ProviderProcess.start() as started:
        yield started


@pytest.fixture
def scripted(process: ProviderProcess) -> ProviderProcess:
    process.reset()
    return process


@pytest.fixture
async def transport() -> AsyncIterator[PooledTransport]:
    made = PooledTransport()
    yield made
    await made.aclose()


@pytest.fixture
def provider(transport: PooledTransport) -> OpenAIProvider:
    """The adapter with deadlines that a test can wait for."""
    return OpenAIProvider(transport, deadlines=Deadlines(connect=1.0, first_byte=0.6, idle=0.4, leftover=0.2))


@pytest.fixture
def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
