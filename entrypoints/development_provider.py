"""The development provider: an OpenAI-compatible server that says what it is and repeats what it heard.

It lets the demo answer where no provider is configured, in a process of its own and over real HTTP: the gateway reaches
it through the same adapter as any other. Run as ``python -m entrypoints.development_provider FD``, where FD is a
listening socket; it ends when its standard input does, so it never outlives the gateway that started it.
"""

import asyncio
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

MODEL = "development-echo"
_GREETING = "This is Sluice's development provider; there is no model behind it. You said: "
#: Seconds between two words of a stream: slow enough to be seen as one.
_PACE = 0.03


@contextmanager
def development_provider() -> Iterator[str]:
    """Start the provider on a free loopback port; gives its base URL, and ends the process on leaving.

    The socket listens before the process runs, so a request that comes early waits for it instead of failing.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = [sys.executable, "-m", "entrypoints.development_provider", str(listener.fileno())]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listener.fileno()])  # noqa: S603 - ourselves
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=5)


def main() -> None:
    """Serve until standard input ends."""
    from sanic import Sanic

    app: Any = Sanic("sluice-development-provider", configure_logging=False)
    app.config.update(ACCESS_LOG=False, MOTD=False, AUTO_EXTEND=False)
    app.add_route(_complete, "/v1/chat/completions", methods=["POST"])
    app.add_route(_models, "/v1/models", methods=["GET"])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    app.run(sock=socket.socket(fileno=int(sys.argv[1])), single_process=True, access_log=False, motd=False)


def _end_with_parent() -> None:
    # Not sys.stdin, whose lock this thread would hold when the interpreter ends.
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


async def _models(_: Any) -> Any:
    from sanic import json

    return json({"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "sluice"}]})


async def _complete(request: Any) -> Any:
    from sanic import json

    body = request.json
    identity = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": MODEL}
    prompt = " ".join(_text(message) for message in body["messages"])
    words, reason = _words(body)
    usage = {
        "prompt_tokens": len(prompt.split()),
        "completion_tokens": len(words),
        "total_tokens": len(prompt.split()) + len(words),
    }
    if body.get("stream"):
        await _stream(request, identity, words, reason, usage)
        return None
    message = {"role": "assistant", "content": "".join(words), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    return json({**identity, "object": "chat.completion", "choices": [choice], "usage": usage})


async def _stream(request: Any, identity: dict[str, Any], words: list[str], reason: str, usage: dict[str, int]) -> None:
    response = await request.respond(content_type="text/event-stream")

    async def send(delta: dict[str, Any], finish_reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        chunk = {**identity, "object": "chat.completion.chunk", "choices": [choice]}
        await response.send(b"data: " + orjson.dumps(chunk) + b"\n\n")

    await send({"role": "assistant", "content": ""})
    for word in words:
        await send({"content": word})
        await asyncio.sleep(_PACE)
    await send({}, reason)
    if (request.json.get("stream_options") or {}).get("include_usage"):
        last = {**identity, "object": "chat.completion.chunk", "choices": [], "usage": usage}
        await response.send(b"data: " + orjson.dumps(last) + b"\n\n")
    await response.send(b"data: [DONE]\n\n")
    await response.eof()


def _words(body: dict[str, Any]) -> tuple[list[str], str]:
    """The answer's words, each with the space behind it, and why it ends."""
    heard = next((_text(message) for message in reversed(body["messages"]) if message["role"] == "user"), "")
    words = re.findall(r"\S+\s*", _GREETING + heard)
    bound = body.get("max_completion_tokens") or body.get("max_tokens") or len(words)
    return words[:bound], "length" if bound < len(words) else "stop"


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content)


if __name__ == "__main__":
    main()
