"""One request and the verbs a behaviour answers it with, from a whole body down to a reset."""

import asyncio
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.provider import wire
from tests.provider.names import Name

Json = dict[str, Any]
JSON = "application/json"
EVENTS = "text/event-stream; charset=utf-8"


@dataclass(slots=True)
class Seen:
    """What is remembered of a request. Times are CLOCK_MONOTONIC, which all processes of a machine share.

    ``events`` counts what was written of a stream, [DONE] included; ``disconnected`` says that the client left before
    the end; ``ended_at`` is None while the answer is under way. ``body`` is text where it was no JSON.
    """

    number: int
    connection: int
    at: float
    method: str
    path: str
    headers: dict[str, str]
    body: Any
    ended_at: float | None = None
    events: int = 0
    bytes_sent: int = 0
    disconnected: bool = False


@dataclass(slots=True)
class Exchange:
    """A request under way. Whatever does not set ``closing`` leaves the connection open for the next request.

    Every verb that sends waits until the kernel has taken most of it, so a slow reader slows the sender.
    """

    request: wire.Request
    seen: Seen
    writer: asyncio.StreamWriter
    name: Name = field(default_factory=lambda: Name(""))
    closing: bool = False
    extra_headers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def body(self) -> Json:
        return self.seen.body if isinstance(self.seen.body, dict) else {}

    @property
    def streamed(self) -> bool:
        return self.body.get("stream") is True

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        self.seen.bytes_sent += len(data)
        await self.writer.drain()

    async def head(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        await self.send(wire.head(status, [*self.common_headers(), *headers]))

    async def respond(
        self, status: int, body: bytes, *, content_type: str = JSON, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """A whole answer in one write."""
        described = [("content-type", content_type), ("content-length", str(len(body))), *headers]
        await self.send(wire.head(status, [*self.common_headers(), *described]) + body)

    async def json(self, status: int, value: object, headers: Iterable[tuple[str, str]] = ()) -> None:
        await self.respond(status, orjson.dumps(value), headers=headers)

    async def start(self, content_type: str = EVENTS, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Begin a chunked body; ``chunk`` and ``event`` go on, ``finish`` ends it."""
        described = [("content-type", content_type), ("cache-control", "no-cache"), ("transfer-encoding", "chunked")]
        await self.head(200, [*described, *headers])

    async def chunk(self, data: bytes) -> None:
        await self.send(wire.chunk(data))

    async def event(self, payload: object) -> None:
        """One server-sent event as OpenAI writes it; text goes as it is, anything else as JSON."""
        data = payload.encode() if isinstance(payload, str) else orjson.dumps(payload)
        await self.chunk(b"data: %s\n\n" % data)
        self.seen.events += 1

    async def done(self) -> None:
        """[DONE] and the end of the body in one write, so that no reader can leave between the two."""
        await self.send(wire.chunk(b"data: [DONE]\n\n") + wire.chunk(b""))
        self.seen.events += 1

    async def finish(self) -> None:
        await self.send(wire.chunk(b""))

    def hang_up(self) -> None:
        """Close the connection after what was sent: the client sees a FIN."""
        self.closing = True

    def reset(self) -> None:
        """Abort the connection: the client sees a RST after what the kernel has already delivered."""
        self.closing = True
        peer = self.writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def common_headers(self) -> list[tuple[str, str]]:
        """What OpenAI puts on every answer; a gateway has values of its own for each of them."""
        return [
            ("x-request-id", f"req_scripted_{self.seen.number}"),
            ("openai-organization", "scripted"),
            ("openai-processing-ms", "1"),
            ("openai-version", "2020-10-01"),
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-remaining-requests", "9999"),
            ("x-ratelimit-reset-requests", "6ms"),
            *self.extra_headers,
        ]


async def forever() -> None:
    """Wait until the client leaves or the server ends: both cancel whoever answers."""
    await asyncio.Event().wait()
