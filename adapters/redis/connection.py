"""The way to Redis, whatever its URL names: a server, the one that Sentinel elects, or a cluster.

Nothing is repeated here. A command without a reply may have been executed, so repeating it is for those who know
what that does.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any, Protocol, TypeAlias

from hiredis import ReplyError

from adapters.redis.address import Address, Kind, parse_url
from adapters.redis.cluster import Cluster
from adapters.redis.dialling import Dialler
from adapters.redis.errors import code_of
from adapters.redis.pipe import Reply, Word, packed
from adapters.redis.scripts import Script
from adapters.redis.server import Server
from domain.errors import StoreUnavailable

#: What was asked, a command or a script; for how many seconds; whether it was answered.
Watch: TypeAlias = Callable[[str, float, bool], None]

#: How many keys a server looks at in one step of a scan; a few hundred microseconds of its time.
_SCANNED = 1_000


class RedisConnection:
    """Commands to Redis: each is answered within ``deadline`` seconds, or StoreUnavailable says that it was not.

    There is one connection to each server. ``size`` bounds the commands that it has without a reply; who finds all of
    that taken waits, within its deadline. ``timeout`` is for making a connection. ``watch`` is told of every answer
    and of every one that did not come. Belongs to one event loop.
    """

    def __init__(
        self, url: str, *, size: int = 1_024, timeout: float = 0.25, deadline: float = 0.5, watch: Watch | None = None
    ) -> None:
        address = parse_url(url)
        #: Whether one script may touch any keys, not those of one slot only.
        self.is_one_server = address.kind is not Kind.CLUSTER
        self._way = _way(address, size, timeout, deadline)
        self._watch = watch

    async def command(self, *words: Word) -> Any:
        """The reply to one command, whose first word after its name is a key.

        Raises:
            StoreUnavailable: there was none, or it was an error.
        """
        return _checked(await self._ask(str(words[0]), str(words[1]), packed(*words)))

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Word]) -> Any:
        """The reply of a script, which must have at least one key; all of them in one slot.

        Raises:
            StoreUnavailable: there was none, or it was an error.
        """
        name = script.name
        reply = await self._ask(name, keys[0], packed("EVALSHA", script.digest, len(keys), *keys, *arguments))
        if isinstance(reply, ReplyError) and code_of(reply) == "NOSCRIPT":
            # It did not run: the server is new, or somebody emptied its cache. EVAL makes it known again.
            reply = await self._ask(name, keys[0], packed("EVAL", script.source, len(keys), *keys, *arguments))
        return _checked(reply)

    async def scan(self, pattern: str) -> AsyncGenerator[str, None]:
        """The keys of all strings whose names match, of all servers, in no order; some may come more than once.

        A key that moves from one server to another meanwhile may be missed.

        Raises:
            StoreUnavailable: a server did not answer.
        """
        for server in await self._way.servers():
            cursor, found = await _scan(server, 0, pattern)
            while found or cursor:
                for key in found:
                    yield key.decode(errors="replace")
                cursor, found = await _scan(server, cursor, pattern) if cursor else (0, [])

    async def aclose(self) -> None:
        await self._way.aclose()

    async def _ask(self, name: str, key: str, command: bytes) -> Reply:
        if self._watch is None:
            return await self._way.ask(key, command)
        began, answered = perf_counter(), False
        try:
            reply = await self._way.ask(key, command)
            answered = True
            return reply
        finally:
            self._watch(name, perf_counter() - began, answered)


class _Way(Protocol):
    def ask(self, key: str, command: bytes) -> Awaitable[Reply]: ...

    async def servers(self) -> Sequence[Server]: ...

    async def aclose(self) -> None: ...


class _Single:
    """The way to the only server, or to the elected one."""

    def __init__(self, dialler: Dialler, deadline: float) -> None:
        self._dialler = dialler
        self._server = Server(dialler.dial, deadline)

    def ask(self, key: str, command: bytes) -> Awaitable[Reply]:
        return self._server.send(command)

    async def servers(self) -> Sequence[Server]:
        return (self._server,)

    async def aclose(self) -> None:
        await self._server.aclose()
        await self._dialler.aclose()


def _way(address: Address, size: int, timeout: float, deadline: float) -> _Way:
    """The way to an address, which opens nothing yet."""
    dialler = Dialler(address, timeout, size)
    if address.kind is Kind.CLUSTER:
        return Cluster(dialler, address.nodes, deadline)
    return _Single(dialler, deadline)


async def _scan(server: Server, cursor: int, pattern: str) -> tuple[int, list[bytes]]:
    """One step through the keys of a server: where to go on, 0 at the end, and what was found."""
    command = packed("SCAN", cursor, "MATCH", pattern, "COUNT", _SCANNED, "TYPE", "string")
    following, found = _checked(await server.send(command))
    return int(following), found


def _checked(reply: Reply) -> Reply:
    if isinstance(reply, ReplyError):
        raise StoreUnavailable from reply
    return reply
