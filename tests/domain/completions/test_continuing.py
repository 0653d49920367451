"""An answer that broke off in the middle: who goes on with it, what the reader gets of that, and what it is charged."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from domain.chat import Chunk, JsonObject, Usage
from domain.errors import ProviderTimeout, ProviderTruncated
from domain.facts import ProviderAsked
from domain.providers import Prefill, Quirks
from domain.runs import Answered
from tests.builders import a_chunk, a_model, a_provider, a_stream, a_target
from tests.domain.completions.stage import ONE, THREE, TWO, Cast, Script, Stage

pytestmark = pytest.mark.anyio

HELLO = a_stream("Hello", " world")
GOES_ON = a_provider(quirks=Quirks(prefill=Prefill(message={"prefix": True}, body={"continue": True})))
FOUR = a_target(sent_model="four", model=a_model(name="four"), provider=GOES_ON)
CUT = ProviderTruncated()


def text_of(chunks: Sequence[Chunk]) -> str:
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk.body["choices"])


def roles(chunks: Sequence[Chunk]) -> int:
    return sum("role" in choice["delta"] for chunk in chunks for choice in chunk.body["choices"])


async def test_a_target_that_takes_the_beginning_says_the_rest() -> None:
    rest = a_stream(" wide", " world", usage=Usage(12, 2))
    stage = Stage(Cast(one=[[*a_stream("Hello", " my")[:3], CUT]], two=[HELLO], four=[rest]))
    asking = stage.asking(ONE, TWO, FOUR)

    given = await stage.stream(asking)

    assert (text_of(given), roles(given)) == ("Hello my wide world", 1)
    assert stage.cast.names == ["one", "four"]
    body = stage.cast.calls[1].body
    assert body["messages"][-1] == {"role": "assistant", "content": "Hello my", "prefix": True}
    assert body["continue"] is True
    # Two of the twelve tokens that went in were the answer's.
    assert given[-1].usage == Usage(10, 4)
    assert asking.answered == Answered("openai", "four", 2)
    assert [fact.continued for fact in stage.journal.of(ProviderAsked)] == [None, "prefill"]


@pytest.mark.parametrize(
    "pieces", [("Hello", " my", " wide"), ("Hell", "o my wide"), ("Hello my", " wide"), ("Hello my wide",)]
)
async def test_any_other_says_everything_again_and_is_believed_where_it_says_the_same(pieces: tuple[str, ...]) -> None:
    again = a_stream(*pieces, " world", usage=Usage(8, 4))
    stage = Stage(Cast(one=[[*a_stream("Hello", " my")[:3], CUT]], two=[again]))

    given = await stage.stream(stage.asking(ONE, TWO))

    assert (text_of(given), roles(given)) == ("Hello my wide world", 1)
    assert [chunk.body["choices"][0]["finish_reason"] for chunk in given if chunk.body["choices"]][-1] == "stop"
    assert given[-1].usage == Usage(8, 4)
    assert all(json.loads(chunk.data)["choices"] == chunk.body["choices"] for chunk in given)
    assert [fact.continued for fact in stage.journal.of(ProviderAsked)] == [None, "repeat"]


async def test_an_answer_that_had_only_its_end_left_gets_it() -> None:
    stage = Stage(Cast(one=[[*HELLO[:3], CUT]], two=[HELLO]))

    given = await stage.stream(stage.asking(ONE, TWO))

    assert text_of(given) == "Hello world"
    assert given[-1].body["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("other", [a_stream("Hallo", " Welt"), a_stream("Hell"), a_stream("Hello", " your")])
async def test_who_says_something_else_is_not_believed_and_the_caller_gets_one_error(other: Sequence[Chunk]) -> None:
    stage = Stage(Cast(one=[[*a_stream("Hello", " my")[:3], CUT]], two=[other], three=[other]))
    asking = stage.asking(ONE, TWO, THREE)

    with pytest.raises(ProviderTruncated) as told:
        await stage.stream(asking)

    assert told.value is CUT
    assert asking.heard.completion().choices[0]["message"]["content"] == "Hello my"
    assert len(stage.cast.names) == 3


async def test_the_only_one_is_asked_again_unless_it_fell_silent() -> None:
    begun = a_stream("Hello", " my")[:3]
    stage = Stage(Cast(one=[[*begun, CUT], a_stream("Hello", " my", " wide")], two=[[*begun, ProviderTimeout()]]))

    assert text_of(await stage.stream(stage.asking(ONE))) == "Hello my wide"
    with pytest.raises(ProviderTimeout):
        await stage.stream(stage.asking(TWO))
    assert stage.cast.names == ["one", "one", "two"]


async def test_an_answer_that_breaks_off_again_is_gone_on_with_again_but_not_for_ever() -> None:
    parts: list[Script] = [[*a_stream(word)[1:2], CUT] for word in ("a", "b", "c", "d")]
    stage = Stage(Cast(four=[*parts]))

    asking = stage.asking(FOUR, replace(FOUR, key="sk-2"), replace(FOUR, key="sk-3"), replace(FOUR, key="sk-4"))
    with pytest.raises(ProviderTruncated):
        await stage.stream(asking)

    assert asking.heard.completion().choices[0]["message"]["content"] == "abc"


A_CALL = {"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{"}}]}


@pytest.mark.parametrize(
    ("body", "delta"),
    [
        ({}, A_CALL),
        ({}, {"refusal": "I can"}),
        ({}, {"reasoning_content": "Hm"}),
        ({"n": 2}, {"content": "Hello"}),
        ({"logprobs": True}, {"content": "Hello"}),
    ],
    ids=["a call", "a refusal", "reasoning", "several choices", "probabilities"],
)
async def test_what_cannot_be_gone_on_with_honestly_is_not(body: JsonObject, delta: JsonObject) -> None:
    stage = Stage(Cast(one=[[a_chunk(delta=delta), CUT]], two=[HELLO], four=[HELLO]))
    asking = stage.asking(ONE, TWO, FOUR)
    asking.call = replace(asking.call, body={**asking.call.body, **body})

    with pytest.raises(ProviderTruncated):
        await stage.stream(asking)

    assert stage.cast.names == ["one"]


@pytest.mark.parametrize(
    "body",
    [{"tools": [{}]}, {"functions": [{}]}, {"response_format": {"type": "json_object"}}, {"max_tokens": 2}],
    ids=lambda body: next(iter(body)),
)
async def test_what_is_decided_at_the_beginning_is_asked_for_again_and_not_prefilled(body: JsonObject) -> None:
    again = a_stream("Hello", " my", " wide")
    stage = Stage(Cast(one=[[*a_stream("Hello", " my")[:3], CUT]], four=[again]))
    asking = stage.asking(ONE, FOUR)
    asking.call = replace(asking.call, body={**asking.call.body, **body})

    assert text_of(await stage.stream(asking)) == "Hello my wide"
    assert stage.cast.calls[1].body == asking.call.body


async def test_the_rest_is_bounded_by_what_is_left_of_the_bound() -> None:
    stage = Stage(Cast(one=[[*a_stream("Hello", " my")[:3], CUT]], four=[a_stream(" wide")]))
    asking = stage.asking(ONE, FOUR)
    asking.call = replace(asking.call, body={**asking.call.body, "max_completion_tokens": 10})

    await stage.stream(asking)

    assert stage.cast.calls[1].body["max_completion_tokens"] == 8
