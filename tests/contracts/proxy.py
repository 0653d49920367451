"""A way to Redis on which replies can get lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest

from domain.errors import StoreUnavailable


@dataclass(slots=True)
class Proxy:
    """Passes bytes on both ways. While it is ``losing``, a connection is cut where the reply should have come; where it
    ``loses_one``, that happens once.

    The connections that were made before ``muted`` was last changed stay open, and bring nothing any more.
    """

    url: str
    losing: bool = False
    loses_one: bool = False
    muted: int = 0

    def loses(self, reply: bytes) -> bool:
        """Whether this reply gets lost. Who has just come and asks whether anybody is there is answered."""
        if reply == b"+PONG\r\n" or not (self.losing or self.loses_one):
            return False
        self.loses_one = False
        return True


@asynccontextmanager
async def proxied(port: int) -> AsyncIterator[Proxy]:
    """A proxy in front of the server on a loopback port."""
    proxy = Proxy("")
    pumps: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(_relay(proxy, port, reader, writer))
        pumps.add(task)
        task.add_done_callback(pumps.discard)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await server.wait_closed()
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def lost(proxy: Proxy, call: Awaitable[object]) -> None:
    """Make a call whose reply does not come."""
    proxy.losing = True
    with pytest.raises(StoreUnavailable):
        await call
    proxy.losing = False


async def _relay(proxy: Proxy, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
    commands = asyncio.ensure_future(_copy(reader, up_writer))
    born = proxy.muted
    try:
        while (reply := await up_reader.read(65_536)) and not proxy.loses(reply):
            if proxy.muted != born:
                continue
            writer.write(reply)
            await writer.drain()
    finally:
        commands.cancel()
        for end in (writer, up_writer):
            end.close()
            with suppress(OSError):
                await end.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while command := await reader.read(65_536):
        writer.write(command)
        await writer.drain()
    writer.close()
