"""Bodies that are no requests: bytes that are no JSON, JSON that is no object, and every field with wrong types."""

import json
from collections.abc import Iterator
from typing import Any, TypeAlias

#: A place in a body: the keys and indexes that lead there.
Place: TypeAlias = tuple[str | int, ...]

DEEP = 100_000


def nested(depth: int) -> bytes:
    """A request with a value at so many levels below the top."""
    return b'{"x":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


#: What cannot be read, and the code it gets.
UNREADABLE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "invalid_json"),
    "white space": (b" \n", "invalid_json"),
    "half an object": (b'{"messages": [', "invalid_json"),
    "two objects": (b"{}{}", "invalid_json"),
    "a trailing comma": (b'{"a": 1,}', "invalid_json"),
    "single quotes": (b"{'a': 1}", "invalid_json"),
    "a comment": (b'{"a": 1 /* one */}', "invalid_json"),
    "NaN": (b'{"temperature": NaN}', "invalid_json"),
    "Infinity": (b'{"temperature": Infinity}', "invalid_json"),
    "minus Infinity": (b'{"temperature": -Infinity}', "invalid_json"),
    "a leading zero": (b'{"n": 01}', "invalid_json"),
    "hexadecimal": (b'{"n": 0x1}', "invalid_json"),
    "a lone surrogate": (b'{"user": "\\ud800"}', "invalid_json"),
    "surrogates the wrong way round": (b'{"user": "\\udc00\\ud800"}', "invalid_json"),
    "a control character": (b'{"user": "a\x01b"}', "invalid_json"),
    "a newline in a text": (b'{"user": "a\nb"}', "invalid_json"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "invalid_json"),
    "UTF-16": ("{}".encode("utf-16"), "invalid_json"),
    "UTF-32": ("{}".encode("utf-32"), "invalid_json"),
    "Latin-1": ('{"user": "M\u00fcller"}'.encode("latin-1"), "invalid_json"),
    "overlong UTF-8": (b'{"user": "\xc0\x80"}', "invalid_json"),
    "a surrogate in UTF-8": (b'{"user": "\xed\xa0\x80"}', "invalid_json"),
    "beyond Unicode": (b'{"user": "\xf5\x80\x80\x80"}', "invalid_json"),
    "half a character": (b'{"user": "\xe2\x82"}', "invalid_json"),
    "gzip": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00C\xbf\xa6\xa3\x02\x00\x00\x00", "invalid_json"),
    "a form": (b"messages=Hello&model=echo", "invalid_json"),
    "null": (b"null", "invalid_json"),
    "true": (b"true", "invalid_json"),
    "a number": (b"5", "invalid_json"),
    "a text": (b'"messages"', "invalid_json"),
    "an array": (b"[]", "invalid_json"),
    "an array of requests": (b'[{"messages": []}]', "invalid_json"),
    "arrays without end": (b"[" * DEEP, "json_too_large"),
    "objects without end": (b'{"a":' * DEEP, "json_too_large"),
    "an array of great depth": (nested(DEEP), "json_too_large"),
    "a depth beyond reason": (nested(65), "json_too_deep"),
    "a hundred thousand numbers": (json.dumps({"x": [0] * 100_000}).encode(), "json_too_large"),
    "a hundred thousand keys": (json.dumps({"x": {str(key): 0 for key in range(100_000)}}).encode(), "json_too_large"),
}

_CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
_CUSTOM_CALL = {"id": "call_2", "type": "custom", "custom": {"name": "run", "input": "x"}}

#: A good request with everything in it that OpenAI's schema has; some of it needs a second variant.
EVERYTHING: dict[str, Any] = {
    "messages": [
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}], "name": "rules"},
        {"role": "system", "content": "Be kind."},
        {
            "role": "user",
            "name": "ann",
            "content": [
                {"type": "text", "text": "Look", "prompt_cache_breakpoint": {"mode": "explicit"}},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "AAAA", "file_id": "file-1"}},
            ],
        },
        {
            "role": "assistant",
            "name": "bot",
            "content": [{"type": "text", "text": "Well"}, {"type": "refusal", "refusal": "no"}],
            "refusal": "no",
            "audio": {"id": "audio_1"},
            "tool_calls": [_CALL, _CUSTOM_CALL],
            "function_call": {"name": "look", "arguments": "{}"},
        },
        {"role": "tool", "content": "seen", "tool_call_id": "call_1"},
        {"role": "tool", "content": [{"type": "text", "text": "done"}], "tool_call_id": "call_2"},
        {"role": "function", "name": "look", "content": "seen"},
    ],
    "model": "echo",
    "audio": {"voice": {"id": "voice_1"}, "format": "mp3"},
    "frequency_penalty": 0.5,
    "function_call": {"name": "look"},
    "functions": [{"name": "look", "description": "d", "parameters": {"type": "object"}}],
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "max_completion_tokens": 100,
    "max_tokens": 100,
    "metadata": {"key": "value"},
    "modalities": ["text", "audio"],
    "moderation": {"model": "m", "policy": {"input": {"mode": "score"}, "output": {"mode": "block"}}},
    "n": 2,
    "parallel_tool_calls": True,
    "prediction": {"type": "content", "content": [{"type": "text", "text": "Well"}]},
    "presence_penalty": 0.5,
    "prompt_cache_key": "key",
    "prompt_cache_options": {"mode": "implicit", "ttl": "30m"},
    "prompt_cache_retention": "24h",
    "reasoning_effort": "low",
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "answer", "description": "d", "schema": {"type": "object"}, "strict": True},
    },
    "safety_identifier": "safe",
    "seed": 42,
    "service_tier": "default",
    "stop": ["END"],
    "store": False,
    "stream": True,
    "stream_options": {"include_usage": True, "include_obfuscation": False},
    "temperature": 0.5,
    "tool_choice": {"type": "function", "function": {"name": "look"}},
    "tools": [
        {
            "type": "function",
            "function": {"name": "look", "description": "d", "parameters": {"type": "object"}, "strict": True},
        },
        {
            "type": "custom",
            "custom": {
                "name": "run",
                "description": "d",
                "format": {"type": "grammar", "grammar": {"definition": "start: A", "syntax": "lark"}},
            },
        },
    ],
    "top_logprobs": 2,
    "top_p": 0.5,
    "user": "ann",
    "verbosity": "low",
    "web_search_options": {
        "search_context_size": "low",
        "user_location": {
            "type": "approximate",
            "approximate": {"city": "c", "country": "DE", "region": "r", "timezone": "t"},
        },
    },
}

#: The other shapes of fields that have more than one.
VARIANTS: tuple[dict[str, Any], ...] = (
    {"audio": {"voice": "alloy", "format": "wav"}},
    {"stop": "END"},
    {"function_call": "auto"},
    {"tool_choice": "required"},
    {"tool_choice": {"type": "custom", "custom": {"name": "run"}}},
    {
        "tool_choice": {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "look"}}]},
        }
    },
    {"response_format": {"type": "text"}},
    {"response_format": {"type": "json_object"}},
    {"prediction": {"type": "content", "content": "Well"}},
    {"tools": [{"type": "custom", "custom": {"name": "run", "format": {"type": "text"}}}]},
)

#: One value of each type of JSON, and some numbers that no machine has a type for.
VALUES: tuple[Any, ...] = ("\x00 text", 7, 1.5, True, [], {"x": [7]}, 10**15, -(2**63))

#: Maps and lists of the client's own making: what is in them is nobody's business.
_FREE = ("parameters", "schema", "metadata", "logit_bias")


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Every place in a body, the top left out."""
    if place:
        yield place
    if place and place[-1] in _FREE:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*place, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*place, index))


def replaced(value: Any, place: Place, new: Any) -> Any:
    """The body with another value at this place."""
    if not place:
        return new
    inner = replaced(value[place[0]], place[1:], new)
    if isinstance(value, dict):
        return {**value, place[0]: inner}
    return [inner if index == place[0] else item for index, item in enumerate(value)]


def shown(place: Place) -> str:
    """The place in OpenAI's notation: ``messages[0].content``."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return path.removeprefix(".")
