"""The way to Redis, whatever its URL names: a server, the one that Sentinel elects, or a cluster.

Nothing is repeated here. A command without a reply may have been executed, so repeating it is for those who know
what that does.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.typing import EncodableT

from adapters.redis.address import Address, Kind, parse_url
from adapters.redis.errors import redis_errors
from adapters.redis.scripts import Script

Word: TypeAlias = str | bytes | int

#: How many keys a server looks at in one step of a scan; a few hundred microseconds of its time.
_SCANNED = 1_000


@contextmanager
def heeding_cancellation() -> Iterator[None]:
    """Let a cancellation inside the block leave it, even if redis-py has swallowed it.

    It sends with ``asyncio.wait_for``, which before Python 3.12 returns as if nothing had happened where it is
    cancelled at the moment in which what it waits for is done: https://github.com/python/cpython/issues/86296
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        yield
    finally:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError


class RedisConnection:
    """Commands to Redis: each is answered within ``deadline`` seconds, or StoreUnavailable says that it was not.

    ``size`` bounds the sockets to each server; who finds all of them busy waits, within its deadline. ``timeout`` is
    for one step: a connection from the pool, a connect, a write, a read. Belongs to one event loop.
    """

    def __init__(self, url: str, *, size: int = 64, timeout: float = 0.25, deadline: float = 0.5) -> None:
        self._client, self._sentinel = _client(parse_url(url), size, timeout)
        self._deadline = deadline

    async def command(self, *words: Word) -> Any:
        """The reply to one command, which must name a key.

        Raises:
            StoreUnavailable: there was none, or it was an error.
        """
        with redis_errors():
            async with asyncio.timeout(self._deadline):
                with heeding_cancellation():
                    return await self._client.execute_command(*words)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Word]) -> Any:
        """The reply of a script, which must have at least one key; all of them in one slot.

        Raises:
            StoreUnavailable: there was none, or it was an error.
        """
        with redis_errors():
            async with asyncio.timeout(self._deadline):
                with heeding_cancellation():
                    return await self._evaluate(script, len(keys), *keys, *arguments)

    async def _evaluate(self, script: Script, *words: Word) -> Any:
        try:
            return await self._client.execute_command("EVALSHA", script.digest, *words)
        except NoScriptError:
            # It did not run: the server is new, or somebody emptied its cache. EVAL makes it known again.
            return await self._client.execute_command("EVAL", script.source, *words)

    async def scan(self, pattern: str) -> AsyncGenerator[str, None]:
        """The keys of all strings whose names match, of all servers, in no order; some may come more than once.

        A key that moves from one server to another meanwhile may be missed.

        Raises:
            StoreUnavailable: a server did not answer.
        """
        for server in await self._servers():
            cursor, found = await self._scan(server, 0, pattern)
            while found or cursor:
                for key in found:
                    yield key.decode(errors="replace")
                cursor, found = await self._scan(server, cursor, pattern) if cursor else (0, [])

    async def _servers(self) -> Sequence[ClusterNode | None]:
        """Every server that has keys of its own; None stands for the only one."""
        if not isinstance(self._client, RedisCluster):
            return (None,)
        with redis_errors():
            async with asyncio.timeout(self._deadline):
                await self._client.initialize()
        return self._client.get_primaries()

    async def _scan(self, server: ClusterNode | None, cursor: int, pattern: str) -> tuple[int, list[bytes]]:
        """One step through the keys of a server: where to go on, 0 at the end, and what was found."""
        where = {} if server is None else {"target_nodes": server}
        with redis_errors():
            async with asyncio.timeout(self._deadline):
                following, found = await self._client.execute_command(
                    "SCAN", cursor, "MATCH", pattern, "COUNT", _SCANNED, "TYPE", "string", **where
                )
        # A cluster's client tells the cursor of each server that it has asked.
        (following,) = following.values() if isinstance(following, dict) else (following,)
        return int(following), found

    async def aclose(self) -> None:
        await self._client.aclose()
        if self._sentinel is not None:
            await self._sentinel.aclose()


class Line:
    """The way to one server that hears of everything: the only one, the elected one, or any of a cluster.

    For a connection that is listened to, which none of a pool is. ``timeout`` is for one step; a read that waits for
    ``silence`` seconds fails.
    """

    def __init__(self, url: str, *, timeout: float, silence: float) -> None:
        self._address = parse_url(url)
        self._options = _options(timeout) | _credentials(self._address) | {"socket_timeout": silence}
        self._sentinel = _sentinel(self._address, timeout) if self._address.kind is Kind.SENTINEL else None

    async def connect(self) -> Connection:
        """A new connection, which is the caller's to close."""
        host, port = await self._place()
        connection = _class(self._address)(host=host, port=port, **self._options)
        await connection.connect()  # type: ignore[no-untyped-call] # redis-py has no types here
        return connection

    async def aclose(self) -> None:
        if self._sentinel is not None:
            await self._sentinel.aclose()

    async def _place(self) -> tuple[str, int]:
        if self._sentinel is not None:
            host, port = await self._sentinel.discover_master(self._address.service)
            return str(host), int(port)
        # Not always the same of a cluster: it may be the one that is gone.
        return random.choice(self._address.nodes)  # noqa: S311 - nobody gains from guessing it


class _Client(Protocol):
    async def execute_command(self, *words: Word, **options: Any) -> Any: ...

    async def aclose(self) -> None: ...


class _SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """Sentinel's pool knows where to connect; the other one lets callers wait where it would refuse them."""


class _Cluster(RedisCluster):
    """A cluster client whose callers wait for their turn, as BlockingConnectionPool makes them elsewhere."""

    def __init__(self, *, size: int, **options: Any) -> None:
        # A socket that is being closed still counts for a moment: twice as many are allowed as are ever used. A MOVED
        # reply updates its slot only; by default every fifth closes all sockets, under the commands of others.
        super().__init__(max_connections=2 * size, reinitialize_steps=0, **options)
        self._turns = asyncio.Semaphore(size)

    async def execute_command(self, *args: EncodableT, **kwargs: Any) -> Any:
        async with self._turns:
            return await super().execute_command(*args, **kwargs)


def _client(address: Address, size: int, timeout: float) -> tuple[_Client, Sentinel | None]:
    """A client that opens nothing yet, and the sentinels that it asks, if any."""
    servers = _options(timeout) | _credentials(address)
    if address.kind is Kind.CLUSTER:
        nodes = [ClusterNode(host, port) for host, port in address.nodes]
        return _Cluster(size=size, startup_nodes=nodes, ssl=address.tls, **servers), None
    pool = servers | {"max_connections": size, "timeout": timeout, "db": address.db}
    if address.kind is Kind.SENTINEL:
        sentinel = _sentinel(address, timeout)
        return Redis.from_pool(_SentinelPool(address.service, sentinel, ssl=address.tls, **pool)), sentinel  # type: ignore[no-untyped-call] # redis-py has no types here
    host, port = address.nodes[0]
    return Redis.from_pool(BlockingConnectionPool(connection_class=_class(address), host=host, port=port, **pool)), None


def _options(timeout: float) -> dict[str, Any]:
    """What every connection is made with."""
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        # Finds a peer that is gone within a minute. A health check would not help: where nothing is repeated, its
        # failure is the command's.
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        # RESP3 has nothing for us, and costs each new connection a round trip or two more.
        "protocol": 2,
        "driver_info": None,
    }


def _credentials(address: Address) -> dict[str, Any]:
    return {"username": address.username, "password": address.password}


def _class(address: Address) -> type[Connection]:
    return SSLConnection if address.tls else Connection


def _sentinel(address: Address, timeout: float) -> Sentinel:
    return Sentinel(address.nodes, sentinel_kwargs=_options(timeout) | {"ssl": address.tls})  # type: ignore[no-untyped-call] # redis-py has no types here
