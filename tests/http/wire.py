"""HTTP byte by byte, for what a well-behaved client does not show: comments, unfinished bodies, leaving early."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from tests.http.member import JSON, Member
from tests.http.surfaces import Surface

#: Seconds after which something that a test waits for is not going to come.
DEADLINE = 5.0


@dataclass(slots=True)
class Wire:
    """A connection on which a completion was asked for. ``body`` is what has come of the answer, unchunked."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: bytes = b""
    body: bytes = b""
    complete: bool = False

    async def read_head(self) -> bytes:
        async with asyncio.timeout(DEADLINE):
            self.head = await self.reader.readuntil(b"\r\n\r\n")
        return self.head

    @property
    def run_id(self) -> str:
        """The run that the head names, once it was read."""
        return self.head.split(b"X-Completion-Id: ")[1].split(b"\r\n")[0].decode()

    async def read_until(self, mark: bytes, times: int = 1) -> bytes:
        """The body up to the moment in which it has ``mark`` so many times, or has ended."""
        async with asyncio.timeout(DEADLINE):
            while self.body.count(mark) < times and not self.complete:
                await self._read_chunk()
        return self.body

    async def read_all(self) -> bytes:
        """The whole body; IncompleteReadError where the connection ends before it does."""
        async with asyncio.timeout(DEADLINE):
            while not self.complete:
                await self._read_chunk()
        return self.body

    async def read_response(self) -> bytes:
        """Head and body."""
        await self.read_head()
        return await self.read_all()

    def leave(self) -> None:
        """Be gone at once, as a client is that was killed."""
        self.writer.transport.abort()

    async def _read_chunk(self) -> None:
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        self.body += (await self.reader.readexactly(size + 2))[:-2]
        self.complete = size == 0


@asynccontextmanager
async def asking(
    member: Member, surface: Surface, *, more: Mapping[str, str] | None = None, **fields: Any
) -> AsyncIterator[Wire]:
    """A connection on which this was asked, with these further headers, and nothing was read yet."""
    content = orjson.dumps(member.body(surface, **fields))
    given = {"Host": "test", **JSON, **member.headers(surface), **(more or {})}
    headers = {**given, "Content-Length": str(len(content))}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    reader, writer = await asyncio.open_connection("127.0.0.1", member.replica.port)
    writer.write(f"POST {surface.path(member.tenant)} HTTP/1.1\r\n{head}\r\n".encode() + content)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
