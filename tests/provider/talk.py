"""Talking to the scripted provider in tests: a request in one call, a stream as JSON, a socket as bytes."""

import json
import re
import socket
from typing import Any

import httpx

from tests.provider.process import ProviderProcess

HELLO: list[Any] = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello  wide\nworld "}]
HELLO_TEXT = "hello  wide\nworld "
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
    },
}
CLOCK: Any = {"type": "function", "function": {"name": "get_time", "parameters": {}}}


def post(provider: ProviderProcess, model: str, **more: Any) -> httpx.Response:
    body = {"model": model, "messages": HELLO, **more}
    return httpx.post(f"{provider.base_url}/chat/completions", json=body, timeout=10, trust_env=False)


def data_of(stream: bytes) -> list[Any]:
    """What the events of a stream carry, as JSON; [DONE] stays text.

    By the letter of https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    """
    blocks = re.split("\n\n", re.sub("\r\n?", "\n", stream.decode("utf-8-sig")))
    payloads = ["\n".join(re.findall("^data: ?(.*)$", block, re.MULTILINE)) for block in blocks]
    return [payload if payload == "[DONE]" else json.loads(payload) for payload in payloads if payload]


def text_of(events: list[Any], index: int = 0) -> str:
    """The text that a stream's choice number ``index`` adds up to."""
    choices = [choice for event in events if event != "[DONE]" for choice in event["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices if choice["index"] == index)


def raw(provider: ProviderProcess, model: str, *, stream: bool = False) -> socket.socket:
    """A socket that has sent a request and read nothing."""
    body = json.dumps({"model": model, "messages": HELLO, "stream": stream}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n"
    peer = socket.create_connection(("127.0.0.1", provider.port), timeout=10)
    peer.sendall(head.encode() + body)
    return peer


def read_until(peer: socket.socket, mark: bytes) -> bytes:
    """What arrives up to ``mark``, or up to the end of the connection."""
    data = b""
    while not mark or mark not in data:
        more = peer.recv(65536)
        if not more:
            break
        data += more
    return data


def read_all(peer: socket.socket) -> bytes:
    """What arrives before the other side closes."""
    return read_until(peer, b"")


def read_to_reset(peer: socket.socket) -> bytes:
    """What arrives before a RST; a FIN instead fails the test."""
    data = b""
    try:
        while more := peer.recv(65536):
            data += more
    except ConnectionResetError:
        return data
    raise AssertionError("the connection was closed, not reset")
