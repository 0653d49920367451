"""A fast stub of an OpenAI-compatible provider, for measuring gateways in front of it.

The request's model chooses what it does, for instance ``stub-c100-i20-l5``:

    c  content chunks of a stream                    (20)
    i  milliseconds between two chunks               (0: one for each turn of the loop)
    l  milliseconds before the first byte            (0)
    s  characters of each chunk                      (16)
    b  characters of an answer that is not streamed  (400)

Every chunk's text starts with ``w<number>``, so that a client can tell whether all came, once and in order. Each chunk
is written by itself, as a real provider does.
"""

import argparse
import asyncio
import functools
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import uvloop

_DEFAULTS = {"c": 20, "i": 0, "l": 0, "s": 16, "b": 400}
_STAMP = {"id": "chatcmpl-stub", "created": 1_700_000_000}
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}


@functools.lru_cache(256)
def content_of(model: str, *, stream: bool) -> str:
    """The whole text that this model answers with."""
    how = _habits(model)
    if stream:
        return "".join(f"w{number:04d}".ljust(how["s"], ".") for number in range(how["c"]))
    return "w0000".ljust(how["b"], ".")


def _habits(model: str) -> dict[str, int]:
    return _DEFAULTS | {key: int(number) for key, number in re.findall(r"-([cilsb])(\d+)", model)}


# --- answers ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes to send: the first piece after ``latency``, the others ``interval`` apart; in seconds."""

    pieces: tuple[bytes, ...]
    latency: float = 0.0
    interval: float = 0.0


@functools.lru_cache(1024)
def answer_to(body: bytes) -> Answer:
    """The answer to a request; the same body gets the same answer."""
    try:
        request = json.loads(body)
        model, messages = request["model"], request["messages"]
    except (ValueError, KeyError, TypeError):
        return _failure(400, "the body needs model and messages")
    if not isinstance(model, str) or not isinstance(messages, list) or not messages:
        return _failure(400, "model must be a string and messages a list")
    how, stream = _habits(model), bool(request.get("stream"))
    done = how["c"] if stream else how["b"] // 4
    usage = {"prompt_tokens": 12, "completion_tokens": done, "total_tokens": 12 + done}
    if stream:
        wanted = (request.get("stream_options") or {}).get("include_usage")
        return Answer(_events(model, how, usage if wanted else None), how["l"] / 1000, how["i"] / 1000)
    message = {"role": "assistant", "content": content_of(model, stream=False), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    reply = {**_STAMP, "object": "chat.completion", "model": model, "choices": [choice], "usage": usage}
    return Answer((_plain(200, reply),), how["l"] / 1000)


def _events(model: str, how: dict[str, int], usage: dict[str, int] | None) -> tuple[bytes, ...]:
    base: dict[str, Any] = {**_STAMP, "object": "chat.completion.chunk", "model": model}

    def chunk(delta: dict[str, str], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _event({**base, "choices": [choice], **({"usage": None} if usage else {})})

    text, size = content_of(model, stream=True), max(how["s"], 5)
    pieces = [chunk({"content": text[at : at + size]}) for at in range(0, len(text), size)]
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces[0] = head + chunk({"role": "assistant", "content": ""}) + pieces[0]
    pieces[-1] += chunk({}, "stop")
    if usage:
        pieces[-1] += _event({**base, "choices": [], "usage": usage})
    pieces[-1] += _event("[DONE]") + "0\r\n\r\n"
    return tuple(piece.encode() for piece in pieces)


def _event(data: dict[str, Any] | str) -> str:
    """One server-sent event in a chunk of the transfer coding."""
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    event = f"data: {text}\n\n"
    return f"{len(event):x}\r\n{event}\r\n"


def _failure(status: int, message: str) -> Answer:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return Answer((_plain(status, {"error": error}),))


def _plain(status: int, body: dict[str, Any]) -> bytes:
    data = json.dumps(body, separators=(",", ":"))
    head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n{data}".encode()


# --- the server ---------------------------------------------------------------------------------------------------


class Stub(asyncio.Protocol):
    """One connection: requests in, answers out, one at a time."""

    _transport: asyncio.Transport

    def __init__(self, key: str | None) -> None:
        self._loop = asyncio.get_running_loop()
        #: The header line that every request must carry, in lower case; nothing for none.
        self._credentials = f"authorization: bearer {key}".lower().encode() if key else b""
        self._buffer = b""
        self._answer: Answer | None = None
        self._sent = 0
        self._due = 0.0
        self._timer: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._answer is None and (request := self._next_request()) is not None:
            self._begin(*request)

    def _next_request(self) -> tuple[bytes, bytes] | None:
        """Cut one whole request, head and body, off the buffer."""
        end = self._buffer.find(b"\r\n\r\n") + 4
        if end < 4:
            return None
        head = self._buffer[:end].lower()
        if b"\r\ntransfer-encoding:" in head:
            return self._chunked(head, end)
        length = re.search(rb"\r\ncontent-length: *(\d+)", head)
        behind = end + (int(length[1]) if length is not None else 0)
        if len(self._buffer) < behind:
            return None
        body, self._buffer = self._buffer[end:behind], self._buffer[behind:]
        return head, body

    def _chunked(self, head: bytes, at: int) -> tuple[bytes, bytes] | None:
        parts, size = [], -1
        while size:
            line = self._buffer.find(b"\r\n", at)
            if line < 0:
                return None
            size = int(self._buffer[at:line], 16)
            parts.append(self._buffer[line + 2 : line + 2 + size])
            at = line + 4 + size
            if len(self._buffer) < at:
                return None
        self._buffer = self._buffer[at:]
        return head, b"".join(parts)

    def _begin(self, head: bytes, body: bytes) -> None:
        answer = self._choose(head, body)
        if len(answer.pieces) == 1 and not answer.latency:
            self._transport.write(answer.pieces[0])
            return
        self._answer, self._sent = answer, 0
        self._due = self._loop.time() + answer.latency
        if answer.latency:
            self._timer = self._loop.call_at(self._due, self._send)
        else:
            self._send()

    def _choose(self, head: bytes, body: bytes) -> Answer:
        method, target, _ = head.split(b" ", 2)
        if method != b"post" or not target.endswith(b"/chat/completions"):
            return _failure(404, "no such path")
        return answer_to(body) if self._credentials in head else _failure(401, "wrong key")

    def _send(self) -> None:
        assert self._answer is not None
        self._transport.write(self._answer.pieces[self._sent])
        self._sent += 1
        if self._sent == len(self._answer.pieces):
            self._answer = self._timer = None
            # Another request may be waiting.
            self.data_received(b"")
        elif self._answer.interval:
            self._due += self._answer.interval
            self._timer = self._loop.call_at(self._due, self._send)
        else:
            self._timer = self._loop.call_soon(self._send)


async def serve(port: int, key: str | None) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Stub(key), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description="A fast stub of an OpenAI-compatible provider.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", help="answer 401 to any request without this bearer token")
    options = parser.parse_args()
    with suppress(KeyboardInterrupt):
        uvloop.run(serve(options.port, options.key))


if __name__ == "__main__":
    main()
