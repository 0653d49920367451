"""Readers as raw connections: cheap enough for a thousand, and able to leave inside an event."""

import asyncio
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.conftest import TENANT, token
from tests.gateway import GatewayProcess

#: Seconds after which something that a test waits for is not going to come.
DEADLINE = 60.0
_ID = re.compile(rb"^id: (\S+)\n", re.MULTILINE)


@dataclass(slots=True)
class Answer:
    """An HTTP exchange on a connection of its own.

    ``body`` is what has come so far, unchunked; ``ended`` says that nothing more will come, ``whole`` that the body was
    terminated as HTTP wants it. ``ended_at`` is by the monotonic clock.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False
    whole: bool = False
    ended_at: float = 0.0

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def run_id(self) -> str:
        return self.headers["x-completion-id"]

    @property
    def events(self) -> int:
        return self.body.count(b"\n\n")

    async def read_head(self) -> None:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.rstrip().split("\r\n")
        self.status = int(status.split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    async def until(self, mark: bytes, times: int = 1) -> bytes:
        """The body as soon as it holds ``mark`` so many times, or has ended."""
        async with asyncio.timeout(DEADLINE):
            while not self.ended and self.body.count(mark) < times:
                await self._read_more()
        return self.body

    async def until_events(self, count: int) -> bytes:
        return await self.until(b"\n\n", count)

    async def until_bytes(self, count: int) -> bytes:
        """The first ``count`` bytes of the body, or all of it."""
        async with asyncio.timeout(DEADLINE):
            while not self.ended and len(self.body) < count:
                await self._read_more()
        return self.body[:count]

    async def rest(self) -> bytes:
        """The body when it has ended; the connection is closed then."""
        try:
            async with asyncio.timeout(DEADLINE):
                while not self.ended:
                    await self._read_more()
        finally:
            self.leave()
        return self.body

    def leave(self) -> None:
        """Be gone at once, as a client is that was killed. Twice is harmless."""
        if self.writer not in _connected:
            return
        self.writer.transport.abort()
        _connected.remove(self.writer)

    async def _read_more(self) -> None:
        try:
            if "content-length" in self.headers or self.status == 204:
                self.body = await self.reader.readexactly(int(self.headers.get("content-length", 0)))
                self._end()
                return
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            self.body += (await self.reader.readexactly(size + 2))[:-2]
            if size == 0:
                self._end()
        except (OSError, asyncio.IncompleteReadError):
            self.ended = True
            self.ended_at = time.monotonic()

    def _end(self) -> None:
        self.ended = self.whole = True
        self.ended_at = time.monotonic()


async def ask(
    gateway: GatewayProcess,
    method: str,
    path: str,
    body: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """A request whose head has been answered."""
    content = json.dumps(body).encode() if body is not None else b""
    described = {
        "Host": "test",
        "Authorization": f"Bearer {_bearer()}",
        "X-Tenant-Id": TENANT,
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        **(headers or {}),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in described.items())
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        _connected.append(writer)
        writer.write(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + content)
        answer = Answer(reader, writer)
        try:
            await answer.read_head()
        except BaseException:
            answer.leave()
            raise
    return answer


async def complete(gateway: GatewayProcess, model: str, prompt: str = "hello", **options: Any) -> Answer:
    """Ask for a completion on the tenant surface; ``headers`` go along, the other options are fields of the body."""
    headers = options.pop("headers", None)
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], **options}
    return await ask(gateway, "POST", f"/{TENANT}/v1/chat/completions", body, headers)


async def enqueue(gateway: GatewayProcess, model: str, prompt: str = "hello", **options: Any) -> Answer:
    """Ask for a job on the group surface, which is answered when it is in the queue."""
    headers = options.pop("headers", None)
    body = {"model": model, "group_id": "staff", "messages": [{"role": "user", "content": prompt}], **options}
    answer = await ask(gateway, "POST", "/v1/chat/completions", body, headers)
    await answer.rest()
    return answer


async def follow(gateway: GatewayProcess, run_id: str, after: str | None = None) -> Answer:
    """Read a run's stream, from behind the event of this id."""
    headers = {"Last-Event-ID": after} if after is not None else {}
    return await ask(gateway, "GET", f"/{TENANT}/v1/chat/completions/{run_id}?stream=true", headers=headers)


async def fetch(gateway: GatewayProcess, run_id: str, wait: int | None = None) -> Answer:
    """A run's state, at its end or after ``wait`` seconds."""
    headers = {"Prefer": f"wait={wait}"} if wait is not None else {}
    answer = await ask(gateway, "GET", f"/{TENANT}/v1/chat/completions/{run_id}", headers=headers)
    await answer.rest()
    return answer


# --- transcripts ------------------------------------------------------------------------------------------------------


def whole_events(body: bytes) -> bytes:
    """What a client can use of a body that was cut anywhere."""
    end = body.rfind(b"\n\n")
    return body[: end + 2] if end >= 0 else b""


def last_id(body: bytes) -> str | None:
    """The id of the last event that came whole."""
    ids = _ID.findall(whole_events(body))
    return ids[-1].decode() if ids else None


def joined(*parts: bytes) -> bytes:
    """A transcript of several readings, each from where the one before was cut."""
    first, *others = [re.sub(rb"(?m)^: ka\n", b"", whole_events(part)) for part in parts]
    return first + b"".join(part.removeprefix(b"retry: 2000\n") if first else part for part in others)


def text_of(body: bytes) -> str:
    """What a transcript says."""
    data = [line.removeprefix("data: ") for line in body.decode().splitlines() if line.startswith('data: {"id"')]
    return "".join(json.loads(event)["choices"][0]["delta"].get("content") or "" for event in data)


def normal(body: bytes) -> bytes:
    """A transcript without what differs from run to run: ids, times, the model's name, comments."""
    body = re.sub(rb"(?m)^: ka\n", b"", body)
    body = re.sub(rb"\b(?:job|chatcmpl|conv)-[0-7][0-9A-Z]{25}\b", b"RUN", body)
    body = re.sub(rb'"created":\d+', b'"created":0', body)
    return re.sub(rb'"model":"[^"]*"', b'"model":"M"', body)


async def leave_all() -> None:
    """Let all readers be gone that have not left."""
    for writer in _connected:
        writer.transport.abort()
    _connected.clear()
    # Transports are closed by callbacks of their own.
    await asyncio.sleep(0.01)


#: The open connections.
_connected: list[asyncio.StreamWriter] = []
_bearers: dict[None, tuple[str, float]] = {}


def _bearer() -> str:
    known = _bearers.get(None)
    if known is None or time.monotonic() - known[1] > 60:
        known = _bearers[None] = (token(), time.monotonic())
    return known[0]
