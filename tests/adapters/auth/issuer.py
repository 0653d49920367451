"""An OpenID issuer on loopback: discovery and a key set over real HTTP, which misbehaves when told to."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from typing import Any


class FakeIssuer:
    """``keys`` is what it publishes now, ``mood`` how it answers, ``asked`` the paths it was asked for.

    ``called`` is set once it was asked at all; a slow one answers when ``release`` is set.
    """

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.mood = "good"
        self.asked: list[str] = []
        self.configuration: dict[str, Any] = {}
        self.headers = "Cache-Control: no-cache\r\n"
        self.called = asyncio.Event()
        self.release = asyncio.Event()

    @property
    def fetches(self) -> int:
        return self.asked.count("/keys")

    @property
    def address(self) -> str:
        return str(self.configuration["issuer"])

    @classmethod
    @asynccontextmanager
    async def started(cls) -> AsyncIterator["FakeIssuer"]:
        issuer = cls()
        server = await asyncio.start_server(issuer._serve, "127.0.0.1", 0)
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        issuer.configuration = {"issuer": address, "jwks_uri": f"{address}/keys"}
        async with server:
            yield issuer
            issuer.release.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A client that gives up early is part of the tests.
        with suppress(ConnectionError, asyncio.IncompleteReadError), closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            self.asked.append(path)
            self.called.set()
            await self._answer(path, writer)

    async def _answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        good = self.configuration if path.endswith("openid-configuration") else {"keys": self.keys}
        body, status, headers = json.dumps(good).encode(), "200 OK", self.headers
        if self.mood == "slow":
            await self.release.wait()
        elif self.mood == "down":
            return
        elif self.mood == "html":
            body = b"<html>Welcome to the hotel's network</html>"
        elif self.mood == "500":
            status = "500 Internal Server Error"
        elif self.mood == "moved":
            status, headers = "302 Found", f"Location: {self.address}/keys\r\n"
        elif self.mood == "huge":
            body = b" " * 10_000_000 + body
        elif self.mood == "deep":
            body = b"[" * 500_000
        elif self.mood == "packed":
            headers = "Content-Encoding: gzip\r\n"
        writer.write(f"HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode())
        writer.write(body)
        await writer.drain()
