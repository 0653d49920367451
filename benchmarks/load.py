"""A load generator for chat completions: so many in flight, or so many a second.

Prints one JSON object; times are in milliseconds. Every answer is compared with the text that the stub must have sent:
all chunks, in order, nothing twice, the end marker. The first one is also checked field by field.
"""

import argparse
import asyncio
import json
import re
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import uvloop

from benchmarks.stub import content_of

_CONTENT = re.compile(rb'"content":\s*"([^"]*)"')
_FIRST_CHUNK = b"w0000"
_CHUNKED_END = b"0\r\n\r\n"
_SYSTEM = "You are a helpful assistant. Answer in one short paragraph, in plain words."
_QUESTION = "What is the difference between a process and a thread? " * 4

now = time.perf_counter


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send: ``concurrency`` requests in flight or, where it is not 0, ``rate`` a second, for ``seconds``.

    ``drain`` is how many seconds the last answers get. ``lenient`` compares the content only.
    """

    url: str
    model: str
    headers: dict[str, str]
    stream: bool = False
    concurrency: int = 64
    rate: float = 0.0
    seconds: float = 5.0
    drain: float = 10.0
    lenient: bool = False


def chat_request(plan: Plan) -> bytes:
    """The bytes of one request."""
    messages = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _QUESTION}]
    body: dict[str, Any] = {"model": plan.model, "messages": messages}
    if plan.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    data, parts = json.dumps(body).encode(), urlsplit(plan.url)
    lines = {"Host": parts.netloc, "Content-Type": "application/json", "Accept": "*/*"}
    lines |= plan.headers | {"Content-Length": str(len(data))}
    head = f"POST {parts.path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return head.encode() + b"\r\n" + data


class Connection(asyncio.Protocol):
    """A connection that carries one request at a time."""

    _transport: asyncio.Transport

    def __init__(self, run: "Run") -> None:
        self._run = run
        self.busy = False
        self.closed = False
        self.began = self.first = self._last = 0.0
        self.head = b""
        self.buffer = bytearray()
        self._length: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)

    def send(self) -> None:
        self.busy, self.first, self._length, self.head = True, 0.0, None, b""
        self.buffer = bytearray()
        self.began = self._last = now()
        self._transport.write(self._run.request)

    def data_received(self, data: bytes) -> None:
        at = now()
        self.buffer += data
        if self._run.plan.stream:
            self._clock(at)
        if not self.head and not self._take_head():
            return
        if self._is_whole():
            self._finish(at)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self.busy and self.head and self._length is None:
            # An answer that ends with its connection.
            self._finish(now())
        elif self.busy:
            self.busy = False
            self._run.failed("connection lost")

    def _clock(self, at: float) -> None:
        if self.first:
            self._run.gaps.append(at - self._last)
        elif _FIRST_CHUNK in self.buffer:
            self.first = at
        self._last = at

    def _take_head(self) -> bool:
        end = self.buffer.find(b"\r\n\r\n") + 4
        if end < 4:
            return False
        self.head = bytes(self.buffer[:end]).lower()
        del self.buffer[:end]
        length = re.search(rb"\r\ncontent-length: *(\d+)", self.head)
        self._length = int(length[1]) if length is not None else None
        return True

    def _is_chunked(self) -> bool:
        return self._length is None and b"\r\ntransfer-encoding:" in self.head

    def _is_whole(self) -> bool:
        if self._length is None:
            return self._is_chunked() and self.buffer.endswith(_CHUNKED_END)
        return len(self.buffer) >= self._length

    def _finish(self, at: float) -> None:
        self.busy = False
        body = _unchunked(bytes(self.buffer)) if self._is_chunked() else bytes(self.buffer)
        self.buffer = bytearray()
        if b"\r\nconnection: close" in self.head:
            self.closed = True
            self._transport.close()
        self._run.finished(self, at, body)


class Run:
    """One measurement."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.request = chat_request(plan)
        self.gaps: list[float] = []
        self._expected = content_of(plan.model, stream=plan.stream).encode()
        self._latencies: list[float] = []
        self._first_chunks: list[float] = []
        self._errors: Counter[str] = Counter()
        self._idle: list[Connection] = []
        self._connections: set[Connection] = set()
        self._firing: set[asyncio.Task[None]] = set()
        self._active = self._peak = self._sent = self._in_time = self._partial = 0
        self._checked = plan.lenient
        self._end = 0.0

    async def go(self) -> dict[str, Any]:
        """Send, wait for the last answers, report."""
        start = now()
        self._end = start + self.plan.seconds
        if self.plan.rate:
            await self._at_rate(start)
        else:
            for _ in range(self.plan.concurrency):
                await self._fire()
        await asyncio.sleep(max(self._end - now(), 0.0))
        if self.plan.stream:
            open_ones = (connection for connection in self._connections if connection.busy)
            self._partial = sum(sum(map(bool, _CONTENT.findall(bytes(one.buffer)))) for one in open_ones)
        deadline = now() + self.plan.drain
        while self._active and now() < deadline:  # noqa: ASYNC110 - an event for each answer would be measured, too
            await asyncio.sleep(0.01)
        if self._active:
            self._errors["not finished in time"] += self._active
        return self._report()

    def finished(self, connection: Connection, at: float, body: bytes) -> None:
        """Take an answer, and let the connection carry the next request."""
        status = connection.head[9:12].decode()
        problem = f"status {status}" if status != "200" else self._fault(body)
        if problem is not None:
            self.failed(problem, connection)
            return
        self._active -= 1
        self._latencies.append(at - connection.began)
        if self.plan.stream:
            self._first_chunks.append(connection.first - connection.began)
        self._in_time += at <= self._end
        self._go_on(connection)

    def failed(self, problem: str, connection: Connection | None = None) -> None:
        """Count a request that has no good answer."""
        self._active -= 1
        self._errors[problem] += 1
        self._go_on(connection)

    async def _at_rate(self, start: float) -> None:
        for number in range(round(self.plan.rate * self.plan.seconds)):
            wait = start + number / self.plan.rate - now()
            if wait > 0:
                await asyncio.sleep(wait)
            self._fire_soon()

    def _fire_soon(self) -> None:
        task = asyncio.ensure_future(self._fire())
        self._firing.add(task)
        task.add_done_callback(self._firing.discard)

    async def _fire(self) -> None:
        """Send one request, on an idle connection where there is one."""
        self._active += 1
        self._sent += 1
        self._peak = max(self._peak, self._active)
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                connection.send()
                return
        parts = urlsplit(self.plan.url)
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(self), parts.hostname or "", parts.port or 80
            )
        except OSError as error:
            self.failed(f"connect: {type(error).__name__}")
            return
        self._connections.add(connection)
        connection.send()

    def _go_on(self, connection: Connection | None) -> None:
        if self.plan.rate or now() >= self._end:
            if connection is not None:
                self._idle.append(connection)
        elif connection is not None and not connection.closed:
            self._active += 1
            self._sent += 1
            connection.send()
        else:
            asyncio.get_running_loop().call_later(0.01, self._fire_soon)

    def _fault(self, body: bytes) -> str | None:
        """What is wrong with an answer's body, if anything."""
        if b"".join(_CONTENT.findall(body)) != self._expected:
            return "wrong content"
        if self.plan.lenient:
            return None
        if self.plan.stream and not body.rstrip().endswith(b"data: [DONE]"):
            return "no [DONE]"
        checked, self._checked = self._checked, True
        return None if checked else strict_fault(body, stream=self.plan.stream)

    def _report(self) -> dict[str, Any]:
        result: dict[str, Any] = {
            "requests": self._sent,
            "ok": len(self._latencies),
            "errors": dict(self._errors),
            "per_second": round(self._in_time / self.plan.seconds, 2),
            "latency": _spread(self._latencies),
            "peak_active": self._peak,
        }
        if self.plan.stream:
            chunks = len(re.findall(rb"w\d{4}", self._expected))
            in_window = self._in_time * chunks + self._partial
            result |= {
                "chunks": len(self._latencies) * chunks,
                "chunks_per_second": round(in_window / self.plan.seconds, 1),
                "first_chunk": _spread(self._first_chunks),
                "gap": _spread(self.gaps),
            }
        return result


def strict_fault(body: bytes, *, stream: bool) -> str | None:
    """What is missing of the fields that a client relies on, if anything."""
    try:
        return _stream_fault(body) if stream else _whole_fault(json.loads(body))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        return f"malformed: {type(error).__name__}"


def _whole_fault(reply: dict[str, Any]) -> str | None:
    missing = [key for key in ("id", "object", "created", "model", "usage") if not reply.get(key)]
    if reply["choices"][0]["finish_reason"] != "stop":
        missing.append("finish_reason")
    return f"no {', '.join(missing)}" if missing else None


def _stream_fault(body: bytes) -> str | None:
    lines = [line for line in body.decode().splitlines() if line.startswith("data: ")]
    events = [json.loads(line[6:]) for line in lines if line != "data: [DONE]"]
    if any(event["object"] != "chat.completion.chunk" for event in events):
        return "wrong object in the stream"
    reasons = [choice.get("finish_reason") for event in events for choice in event["choices"]]
    if [reason for reason in reasons if reason] != ["stop"]:
        return "wrong finish_reason in the stream"
    return None if any(event.get("usage") for event in events) else "no usage in the stream"


def _unchunked(data: bytes) -> bytes:
    """A whole body without its transfer coding."""
    parts: list[bytes] = []
    at = 0
    while True:
        line = data.index(b"\r\n", at)
        size = int(data[at:line].partition(b";")[0], 16)
        if not size:
            return b"".join(parts)
        parts.append(data[line + 2 : line + 2 + size])
        at = line + 4 + size


def _spread(seconds: list[float]) -> dict[str, float | None]:
    """The median and the 99th percentile, by nearest rank, in milliseconds."""
    ranked = sorted(seconds)

    def at(share: float) -> float | None:
        return round(ranked[min(len(ranked) - 1, int(len(ranked) * share))] * 1000, 4) if ranked else None

    return {"p50": at(0.5), "p99": at(0.99)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a chat completions endpoint in front of the stub.")
    parser.add_argument("plan", help="a Plan as a JSON object")
    print(json.dumps(uvloop.run(Run(Plan(**json.loads(parser.parse_args().plan))).go())))


if __name__ == "__main__":
    main()
