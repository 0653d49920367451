"""How connections to servers are made: TLS, who we are, which database, and that somebody is there."""

import asyncio
import ssl
from collections.abc import Callable
from functools import cached_property
from socket import IPPROTO_TCP, SO_KEEPALIVE, SOL_SOCKET, TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL, socket

from hiredis import ReplyError
from redis.asyncio.sentinel import Sentinel

from adapters.redis.address import Address, Kind
from adapters.redis.line import heeding_cancellation, sentinel_of
from adapters.redis.pipe import Command, Pipe, Word, packed

#: Finds a peer that is gone in half a minute, where nobody asks anything.
_KEEPALIVE = (
    (SOL_SOCKET, SO_KEEPALIVE, 1),
    (IPPROTO_TCP, TCP_KEEPIDLE, 15),
    (IPPROTO_TCP, TCP_KEEPINTVL, 5),
    (IPPROTO_TCP, TCP_KEEPCNT, 3),
)


class Dialler:
    """Makes connections to the servers of an address, each in ``timeout`` seconds; ``size`` is the Pipe's."""

    def __init__(self, address: Address, timeout: float, size: int) -> None:
        self._address = address
        self._timeout = timeout
        self._size = size
        self._sentinel: Sentinel | None = sentinel_of(address, timeout) if address.kind is Kind.SENTINEL else None

    async def dial(self, changed: Callable[[], None]) -> Pipe:
        """A connection to the only server, or to the one that the sentinels name now.

        Raises:
            OSError, RedisError, StoreUnavailable: there is none.
        """
        host, port = self._address.nodes[0]
        if self._sentinel is not None:
            # Each sentinel that is asked in vain takes its time; the one that answers is the first to be asked next.
            with heeding_cancellation():
                host, port = await self._sentinel.discover_master(self._address.service)
        return await self.dial_node(host, port, changed)

    async def dial_node(self, host: str, port: int, changed: Callable[[], None]) -> Pipe:
        """A connection to this server, on which it has answered.

        Raises:
            OSError, StoreUnavailable: there is none.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._timeout):
            transport, pipe = await loop.create_connection(lambda: Pipe(changed, self._size), host, port, ssl=self._tls)
            try:
                _keep_alive(transport.get_extra_info("socket"))
                await self._greet(pipe)
            except BaseException as error:
                pipe.give_up(error if isinstance(error, Exception) else ConnectionError("broken off"))
                raise
        return pipe

    async def aclose(self) -> None:
        if self._sentinel is not None:
            await self._sentinel.aclose()

    @cached_property
    def _tls(self) -> ssl.SSLContext | None:
        # Reading the authorities takes some milliseconds.
        return ssl.create_default_context() if self._address.tls else None

    async def _greet(self, pipe: Pipe) -> None:
        """Say who we are. Any answer to PING will do: whoever may not use it may use what we need.

        A frozen server accepts connections; what was sent to it would be executed once nobody waits for it any more.
        """
        address = self._address
        words: list[tuple[Word, ...]] = []
        if address.password is not None:
            words.append(("AUTH", *filter(None, (address.username,)), address.password))
        if address.db:
            words.append(("SELECT", address.db))
        *replies, _ = await asyncio.gather(*(_ask(pipe, command) for command in (*words, ("PING",))))
        for reply in replies:
            if isinstance(reply, ReplyError):
                raise ConnectionRefusedError("refused by the server") from reply


def _ask(pipe: Pipe, words: tuple[Word, ...]) -> "asyncio.Future[object]":
    loop = asyncio.get_running_loop()
    command = Command(packed(*words), loop.create_future(), loop.time())
    pipe.send(command)
    return command.reply


def _keep_alive(sock: socket) -> None:
    for level, option, value in _KEEPALIVE:
        sock.setsockopt(level, option, value)
