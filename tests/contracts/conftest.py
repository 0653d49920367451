"""The backends that every store is tested on, empty at the beginning of each test."""

from collections.abc import AsyncIterator, Iterator

import pytest

from adapters.memory.ledger import MemoryLedger
from adapters.redis.connection import RedisConnection
from adapters.redis.keys import AccountKeys
from adapters.redis.ledger import RedisLedger
from domain.ledger import Account
from domain.ports import Ledger
from tests.contracts.backends import Backend, connected
from tests.contracts.ledgers import SetBalance
from tests.fakes import FrozenClock
from tests.redis_server import RedisCluster, RedisServer, redis_cluster, redis_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(params=["memory", "redis", "cluster"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn. A test that is about Redis alone narrows this with ``redis_only``."""
    backend = _backend(request)
    backend.flush()
    return backend


@pytest.fixture
async def connection(backend: Backend) -> AsyncIterator[RedisConnection | None]:
    """The way to the backend; None for memory."""
    if backend.url is None:
        yield None
        return
    async with connected(backend.url) as opened:
        yield opened


@pytest.fixture
async def brisk(backend: Backend) -> AsyncIterator[RedisConnection]:
    """The way to Redis with the patience that it has in service, for outages."""
    connection = RedisConnection(backend.url or "")
    yield connection
    await connection.aclose()


@pytest.fixture
def clock() -> FrozenClock:
    # With a fraction, as real clocks have it.
    return FrozenClock(1_800_000_000.123456)


@pytest.fixture
def ledger(connection: RedisConnection | None, clock: FrozenClock) -> Ledger:
    return MemoryLedger(clock) if connection is None else RedisLedger(connection, clock=clock)


@pytest.fixture
def set_balance(ledger: Ledger, connection: RedisConnection | None) -> SetBalance:
    """What an operator does, by hand."""

    async def set_balance(account: Account, balance: int | None) -> None:
        if isinstance(ledger, MemoryLedger):
            ledger.overwrite(account, balance)
        if connection is not None and balance is None:
            await connection.command("DEL", AccountKeys.of(account).balance)
        if connection is not None and balance is not None:
            await connection.command("SET", AccountKeys.of(account).balance, balance)

    return set_balance


def _backend(request: pytest.FixtureRequest) -> Backend:
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("server")
        return Backend("redis", server.url, (server,))
    if request.param == "cluster":
        cluster: RedisCluster = request.getfixturevalue("cluster")
        return Backend("cluster", cluster.url, cluster.nodes)
    return Backend("memory")
