"""Calls to a provider, and the payloads that one answers with."""

from typing import Any

import orjson

from domain.chat import Chunk, JsonObject
from domain.ports import Call
from domain.providers import Quirks, Target
from tests.builders import a_model, a_provider

HELLO: list[JsonObject] = [{"role": "user", "content": "hello wide world"}]


def a_target(model: str = "gpt-4o", base_url: str = "https://api.openai.com/v1", **spec: Any) -> Target:
    """A model at a provider; ``spec`` are fields of the provider's, its quirks among them."""
    return Target(a_provider(**spec), a_model(), model, base_url, key="key-of-acme")


def a_call(target: Target | None = None, *, deadline: float = 10.0, extras: bool = True, **body: Any) -> Call:
    """A call whose body says hello, and ``body`` besides."""
    return Call(target or a_target(), {"messages": HELLO, **body}, "req-1", deadline, extras=extras)


def quirky(*, extras: bool = True, **quirks: Any) -> Call:
    return a_call(a_target(quirks=Quirks(**quirks)), extras=extras)


def choice_of(delta: JsonObject | None = None, finish: str | None = None, **more: Any) -> JsonObject:
    """A choice of a chunk."""
    return {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish, **more}


def event_of(*choices: JsonObject, **more: Any) -> bytes:
    """The data of an event as providers send it, with an envelope."""
    envelope = {"id": "chatcmpl-9", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-2024"}
    return orjson.dumps({**envelope, "choices": list(choices), **more})


def answer_of(*choices: JsonObject, **more: Any) -> bytes:
    """A whole answer as providers send it, with an envelope."""
    envelope = {"id": "chatcmpl-9", "object": "chat.completion", "created": 1, "model": "gpt-4o-2024"}
    return orjson.dumps({**envelope, "choices": list(choices), **more})


def streamed(*data: bytes) -> bytes:
    """Events with this data, as OpenAI writes them."""
    return b"".join(b"data: %s\n\n" % payload for payload in data)


def text_of(chunks: list[Chunk], index: int = 0) -> str:
    """What the choice of this index says."""
    choices = [choice for chunk in chunks for choice in chunk.body["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get("content") or "" for choice in choices)
