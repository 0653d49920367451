"""Answers of every kind, whole and streamed, held against OpenAI's schema, its client and the provider's own words."""

import json
import re
from typing import Any

import pytest

from domain.chat import FINISH_REASONS
from tests.http.asks import ASKS, CLEAN
from tests.http.frames import Stream
from tests.http.member import Member
from tests.http.strict import require_chunk, require_completion
from tests.http.surfaces import PROVIDER, SURFACES, TENANT, Surface
from tests.provider.process import ProviderProcess
from tests.provider.talk import data_of


def alike(value: Any) -> Any:
    """An answer without what is different each time: the numbers in the scripted provider's ids, and its clock."""
    text = re.sub(r"(call|audio)_[0-9a-f]+", r"\1_N", json.dumps(value))
    return json.loads(re.sub(r'"expires_at": \d+', '"expires_at": 0', text))


def without(body: Any, *keys: str) -> Any:
    return {key: value for key, value in body.items() if key not in keys}


# --- whole ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ASKS)
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_whole_answer_is_openais_to_the_letter(member: Member, surface: Surface, name: str) -> None:
    answer = await member.whole(surface, **ASKS[name])

    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    require_completion(answer.json(), closed=not surface.keeps_extras)


@pytest.mark.parametrize("name", CLEAN)
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_what_the_provider_said_arrives_unchanged(
    member: Member, provider: ProviderProcess, surface: Surface, name: str
) -> None:
    answer = await member.whole(surface, **ASKS[name])

    body = {**provider.requests()[0].body, "stream": False}
    theirs = (await member.replica.client.post(f"{provider.base_url}/chat/completions", json=body)).json()
    own = ("id", "created", "object")
    # A stream has no place for metadata, and the group surface asks for streams.
    left_out = () if "metadata" in answer.json() else ("metadata",)
    assert alike(without(answer.json(), *own)) == alike(without(theirs, *own, *left_out))


@pytest.mark.parametrize("name", ASKS)
async def test_all_surfaces_give_the_same_answer(member: Member, name: str) -> None:
    group, tenant, at_provider = [(await member.whole(surface, **ASKS[name])).json() for surface in SURFACES]

    own = ("id", "created", "usage", "metadata")
    assert alike(without(group, *own)) == alike(without(tenant, *own)) or name in ("cookie", "extras")
    assert [c["message"]["content"] for c in at_provider["choices"]] == [
        c["message"]["content"] for c in tenant["choices"]
    ]


# --- streamed ---------------------------------------------------------------------------------------------------------


# OpenAI's schema knows custom tools in whole answers only.
@pytest.mark.parametrize("name", [name for name in ASKS if name != "a custom tool"])
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_stream_is_openais_to_the_letter(member: Member, surface: Surface, name: str) -> None:
    stream = await member.stream(surface, stream_options={"include_usage": True}, **ASKS[name])

    for chunk in stream.chunks:
        require_chunk(chunk, closed=not surface.keeps_extras)
    assert stream.is_done
    _require_one_answer(stream)
    _require_each_choice_to_end(stream)
    _require_usage_at_the_end(stream)


def _require_one_answer(stream: Stream) -> None:
    """The same id, object and created on every chunk, and one run's places, each higher than the one before."""
    assert len({(chunk["id"], chunk["object"], chunk["created"], chunk["model"]) for chunk in stream.chunks}) == 1
    assert {frame.id.rpartition("-")[0] for frame in stream.frames} == {f"{stream.run_id}:1"}
    numbers = [frame.number for frame in stream.frames]
    assert numbers[0] == 1
    assert numbers == sorted(set(numbers))


def _require_each_choice_to_end(stream: Stream) -> None:
    """The role in the first delta of a choice and in no other, a finish reason in its last and in no other."""
    parts: dict[int, list[Any]] = {}
    for chunk in stream.chunks:
        for choice in chunk["choices"]:
            parts.setdefault(choice["index"], []).append(choice)
    assert parts
    for choices in parts.values():
        assert ["role" in choice["delta"] for choice in choices] == [True] + [False] * (len(choices) - 1)
        reasons = [choice["finish_reason"] for choice in choices if choice["finish_reason"] is not None]
        assert len(reasons) == 1
        assert reasons[0] in FINISH_REASONS


def _require_usage_at_the_end(stream: Stream) -> None:
    """Null on every chunk but the last, whose choices are empty."""
    *others, last = stream.chunks
    assert all(chunk["usage"] is None for chunk in others)
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == last["usage"]["prompt_tokens"] + last["usage"]["completion_tokens"]


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_usage": None}], ids=str)
@pytest.mark.parametrize("model", ["echo", "usage-always", "usage-in-finish"])
async def test_usage_that_was_not_asked_for_is_nowhere_in_a_stream(member: Member, model: str, options: object) -> None:
    stream = await member.stream(TENANT, model=model, stream_options=options)

    assert stream.is_done
    assert not any("usage" in chunk for chunk in stream.chunks)
    assert all(chunk["choices"] for chunk in stream.chunks)


@pytest.mark.parametrize("name", CLEAN)
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_what_the_provider_streamed_arrives_unchanged(
    member: Member, provider: ProviderProcess, surface: Surface, name: str
) -> None:
    stream = await member.stream(surface, stream_options={"include_usage": True}, **ASKS[name])

    body = provider.requests()[0].body
    answer = await member.replica.client.post(f"{provider.base_url}/chat/completions", json=body)
    theirs = [chunk for chunk in data_of(answer.content) if chunk != "[DONE]"]
    # Without choices are the moderation that was asked for and the last one, which is ours, with the provider's usage.
    spoken = [without(chunk, "id", "created") for chunk in theirs if chunk["choices"] or "moderation" in chunk]
    assert alike([without(chunk, "id", "created") for chunk in stream.chunks[:-1]]) == alike(spoken)
    assert stream.chunks[-1]["usage"] == theirs[-1]["usage"]


@pytest.mark.parametrize("name", ASKS)
async def test_a_stream_adds_up_to_the_whole_answer(member: Member, name: str) -> None:
    whole = (await member.whole(TENANT, **ASKS[name])).json()

    stream = await member.stream(TENANT, stream_options={"include_usage": True}, **ASKS[name])

    for choice in whole["choices"]:
        index = choice["index"]
        assert stream.text(index) == (choice["message"]["content"] or "") or name == "cookie"
        assert _joined_calls(stream, index) == alike(choice["message"].get("tool_calls", []))
    # Who streams though nobody asked for it was not asked for usage either, so that it was counted.
    counted = name == "whole-stream"
    assert stream.chunks[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"] or counted


def _joined_calls(stream: Stream, index: int) -> Any:
    """The tool calls of a choice, as a client joins their deltas."""
    calls: dict[int, dict[str, Any]] = {}
    for delta in stream.deltas(index):
        for part in delta.get("tool_calls", ()):
            kind = "custom" if "custom" in part else "function"
            call = calls.setdefault(part["index"], {"id": part.get("id"), "type": part.get("type"), kind: {}})
            for key, piece in part[kind].items():
                call[kind][key] = call[kind].get(key, "") + piece
    return alike([calls[number] for number in sorted(calls)])


async def test_each_choice_has_a_text_of_its_own(member: Member) -> None:
    stream = await member.stream(PROVIDER, model="words-n3", n=3)

    assert [stream.text(index) for index in range(3)] == ["w0 w1 w2"] * 3


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_stream_has_its_headers(member: Member, surface: Surface) -> None:
    stream = await member.stream(surface)

    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.headers["cache-control"] == "no-cache"
    assert stream.headers["connection"] == "keep-alive"
    assert stream.headers["x-accel-buffering"] == "no"
    assert stream.headers["transfer-encoding"] == "chunked"
