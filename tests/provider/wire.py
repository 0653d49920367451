"""HTTP/1.1 as bytes: reading requests, writing heads and chunks. Nothing here knows what a completion is."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

Headers = Iterable[tuple[str, str]]


class ClientGone(Exception):
    """The client closed its side; nobody is left to answer."""


class BadRequest(Exception):
    """What came is not HTTP/1.1."""


class Inbox:
    """The bytes of one connection. Reading ahead while an answer is under way is how a client's leaving is noticed.

    A half-closed connection counts as left: gateways do not half-close.
    """

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._held = bytearray()

    async def until(self, mark: bytes) -> bytes:
        """Everything up to ``mark``, which is taken as well but not returned."""
        while (at := self._held.find(mark)) < 0:
            await self._more()
        found = bytes(self._held[:at])
        del self._held[: at + len(mark)]
        return found

    async def exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            await self._more()
        found = bytes(self._held[:size])
        del self._held[:size]
        return found

    async def until_gone(self) -> None:
        """Return when the client has left; what it sends before is kept for the next request."""
        try:
            while True:
                await self._more()
        except (ClientGone, ConnectionError):
            return

    async def _more(self) -> None:
        data = await self._reader.read(65536)
        if not data:
            raise ClientGone
        self._held += data


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names are in lower case, repeated ones joined by a comma."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def wants_close(self) -> bool:
        return "close" in self.headers.get("connection", "").lower()


async def read_request(inbox: Inbox) -> Request:
    """Read one whole request.

    Raises:
        ClientGone: the connection ended before or inside the request.
        BadRequest: what came is not HTTP.
    """
    head = (await inbox.until(b"\r\n\r\n")).decode("latin-1")
    start, *lines = head.split("\r\n")
    try:
        method, path, _ = start.split(" ")
        headers = _headers(lines)
        body = await _body(inbox, headers)
    except ValueError as error:
        raise BadRequest(start) from error
    return Request(method, path, headers, body)


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


async def _body(inbox: Inbox, headers: dict[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", ""):
        return await _chunked(inbox)
    return await inbox.exactly(int(headers.get("content-length", "0")))


async def _chunked(inbox: Inbox) -> bytes:
    body = bytearray()
    while size := int(await inbox.until(b"\r\n"), 16):
        body += await inbox.exactly(size)
        await inbox.until(b"\r\n")
    await inbox.until(b"\r\n")
    return bytes(body)


def head(status: int, headers: Headers) -> bytes:
    """The start line and the headers, the blank line included."""
    lines = [f"HTTP/1.1 {status} {_reason(status)}", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """``data`` as one chunk of a chunked body; an empty one ends the body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def _reason(status: int) -> str:
    # Providers send codes that no list knows, such as 529.
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
