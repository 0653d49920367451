"""The way to a server by a connection of redis-py's own: for a doorbell that listens, and for asking sentinels."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from adapters.redis.address import Address, Kind, parse_url


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


class Line:
    """The way to one server that hears of everything: the only one, the elected one, or any of a cluster.

    For a connection that is listened to, which none of a pool is. ``timeout`` is for one step; a read that waits for
    ``silence`` seconds fails.
    """

    def __init__(self, url: str, *, timeout: float, silence: float) -> None:
        self._address = parse_url(url)
        self._options = _options(timeout) | _credentials(self._address) | {"socket_timeout": silence}
        self._sentinel = sentinel_of(self._address, timeout) if self._address.kind is Kind.SENTINEL else None

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


def sentinel_of(address: Address, timeout: float) -> Sentinel:
    """The sentinels of an address, each given ``timeout`` seconds for one step."""
    return Sentinel(address.nodes, sentinel_kwargs=_options(timeout) | {"ssl": address.tls})  # type: ignore[no-untyped-call] # redis-py has no types here
