"""The fast path through a stream's events gives what the full one gives, to the byte, whatever the events are."""

import json
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.openai import plain, wire
from adapters.openai.wire import ChunkReader
from domain.chat import Chunk
from domain.errors import ProviderError
from tests.adapters.openai.calls import a_call, choice_of, event_of

TEXTS = [
    "hello",
    " wide",
    "",
    "é",
    "\u2028",
    "\U0001f30d",
    'say "no"',
    "back\\slash",
    "a\nb",
    "{[{[" * 40,
    "\u0000",
    "content",
]


def said(text: str, index: int = 0, **more: Any) -> bytes:
    return event_of(choice_of({"content": text}, index=index), **more)


def read(events: Sequence[bytes], *, extras: bool = True, fast: bool = True) -> list[Chunk | str | None]:
    """What comes of each event; of one that is refused, the kind of its refusal."""
    reader, results = ChunkReader(a_call(extras=extras)), list[Chunk | str | None]()
    if not fast:
        reader._lessons = wire._MAX_LESSONS
    for event in events:
        try:
            results.append(reader.read(event))
        except ProviderError as error:
            results.append(type(error).__name__)
    return results


def spelled(payload: Any, spelling: int) -> bytes:
    """A payload as JSON, as different libraries write it."""
    if spelling == 0:
        return orjson.dumps(payload)
    return json.dumps(payload, ensure_ascii=spelling == 1, separators=None if spelling == 2 else (",", ":")).encode()


texts = st.sampled_from(TEXTS) | st.text(st.characters(codec="utf-8"), max_size=8)
choices = st.builds(
    lambda content, index, more: choice_of({"content": content}, index=index, **more),
    texts | st.none() | st.just(7),
    st.integers(0, 1),
    st.sampled_from(
        [{}, {"logprobs": None}, {"finish_reason": "stop"}, {"x_more": {"content": "x"}}, {"x_more": "content"}]
    ),
)
payloads = st.builds(
    lambda choices, more: {"id": "chatcmpl-9", "created": 1, "model": "gpt-4o", "choices": choices, **more},
    st.lists(choices, min_size=1, max_size=2) | st.just([]),
    st.fixed_dictionaries(
        {},
        optional={
            "obfuscation": texts | st.just(1),
            "content": texts,
            "created": st.integers(1, 2),
            "usage": st.sampled_from([None, {"prompt_tokens": 1, "completion_tokens": 2}]),
            "error": st.none() | st.just({"message": "No."}),
            "x_extra": st.sampled_from(["a", "content", {"content": "b"}, ["c"]]),
        },
    ),
)
events = st.builds(spelled, payloads, st.integers(0, 2))
broken = st.builds(
    lambda event, at, byte: event[: at % len(event)] + bytes([byte]) + event[at % len(event) + 1 :],
    events,
    st.integers(0, 500),
    st.integers(0, 255),
)


@given(st.lists(events | broken, max_size=12), st.booleans())
def test_any_events_give_the_same_either_way(stream: list[bytes], extras: bool) -> None:
    assert read(stream, extras=extras) == read(stream, extras=extras, fast=False)


@given(st.lists(st.tuples(texts, texts), min_size=3, max_size=12), st.booleans(), st.integers(0, 2))
def test_alike_events_give_the_same_either_way(stream: list[tuple[str, str]], padded: bool, spelling: int) -> None:
    payload = orjson.loads(said("x"))
    events = []
    for text, padding in [("first", "x"), ("second", "y"), *stream]:
        payload["choices"][0]["delta"]["content"] = text
        events.append(spelled({**payload, "obfuscation": padding} if padded else payload, spelling))

    assert read(events) == read(events, fast=False)


@given(st.lists(st.tuples(texts, st.integers(0, 300), st.binary(max_size=3)), max_size=12))
def test_alike_events_with_something_put_into_them_give_the_same_either_way(
    stream: list[tuple[str, int, bytes]],
) -> None:
    events = [said("first"), said("second")]
    for text, at, inserted in stream:
        event = said(text)
        events.append(event[: at % len(event)] + inserted + event[at % len(event) :])

    assert read(events) == read(events, fast=False)


@pytest.mark.parametrize("padded", [False, True])
def test_events_that_are_alike_are_read_in_full_twice(monkeypatch: pytest.MonkeyPatch, padded: bool) -> None:
    in_full = 0
    original = wire._payload

    def counting(*args: Any) -> Any:
        nonlocal in_full
        in_full += 1
        return original(*args)

    monkeypatch.setattr(wire, "_payload", counting)
    paddings: list[dict[str, Any]] = [{"obfuscation": "x" * number} if padded else {} for number in range(52)]

    words = ["first", "second", *(f'word "{number}"' for number in range(50))]
    chunks = read([said(word, **more) for word, more in zip(words, paddings, strict=True)])

    assert [chunk.body["choices"][0]["delta"]["content"] for chunk in chunks if isinstance(chunk, Chunk)] == words
    # The role is in what becomes of the first; the others are like the second.
    assert in_full == 2


def test_a_stream_of_unlike_events_stops_learning(monkeypatch: pytest.MonkeyPatch) -> None:
    learned = 0
    original = plain.PlainText.like

    def counting(*args: Any) -> Any:
        nonlocal learned
        learned += 1
        return original(*args)

    monkeypatch.setattr(plain.PlainText, "like", counting)

    read([said("word", created=number) for number in range(200)])

    assert learned <= wire._MAX_LESSONS + 2
