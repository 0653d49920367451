"""What the contract suites run on: memory, a Redis server, a Redis Cluster."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from adapters.redis.connection import RedisConnection
from tests.redis_server import RedisServer


@dataclass(frozen=True, slots=True)
class Backend:
    """A kind of store, and the servers behind it: none for memory."""

    name: str
    url: str | None = None
    servers: Sequence[RedisServer] = ()

    def flush(self) -> None:
        for server in self.servers:
            server.command("FLUSHALL")
            server.command("CONFIG", "RESETSTAT")

    def lifetimes(self) -> dict[str, int]:
        """The milliseconds that each key has to live, -1 for those that are kept for good."""
        return {
            key.decode(): server.command("PTTL", key) for server in self.servers for key in server.command("KEYS", "*")
        }

    def calls(self, command: str) -> int:
        """How often the command has been executed since the beginning of the test."""
        stats = [server.command("INFO", "commandstats") for server in self.servers]
        return sum(stat.get(f"cmdstat_{command}", {"calls": 0})["calls"] for stat in stats)

    @contextmanager
    def configured(self, name: str, value: str) -> Iterator[None]:
        """Every server has this setting meanwhile."""
        before = [server.command("CONFIG", "GET", name) for server in self.servers]
        for server in self.servers:
            server.command("CONFIG", "SET", name, value)
        try:
            yield
        finally:
            for server, setting in zip(self.servers, before, strict=True):
                given = setting if isinstance(setting, dict) else dict(zip(setting[::2], setting[1::2], strict=True))
                server.command("CONFIG", "SET", *next(iter(given.items())))

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Nothing answers meanwhile, though connections stay open and can still be made."""
        for server in self.servers:
            server.freeze()
        try:
            yield
        finally:
            for server in self.servers:
                server.thaw()
            for server in self.servers:
                # What was sent meanwhile is executed before this, so that nothing leaks into the next test.
                server.command("PING")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[RedisConnection]:
    """A connection with more patience than in service, so that a busy machine is not taken for an outage."""
    connection = RedisConnection(url, timeout=5.0, deadline=10.0)
    try:
        yield connection
    finally:
        await connection.aclose()


async def eventually(met: Callable[[], Awaitable[bool]], seconds: float = 15.0) -> None:
    """Return as soon as the condition is met; fail after so many seconds without."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while not await met():
        if loop.time() > until:
            raise TimeoutError(f"not after {seconds} s")
        await asyncio.sleep(0.005)
