"""Tools from the offer to the answer: calls come whole or in pieces, and their results go back."""

import json
from typing import Any

import pytest

from tests.http.member import HELLO, Member
from tests.http.surfaces import SURFACES, Surface
from tests.provider.process import ProviderProcess
from tests.provider.talk import CLOCK, WEATHER

TOOLS = {"model": "tools", "tools": [WEATHER, CLOCK]}


def results(calls: list[Any]) -> list[dict[str, Any]]:
    """The conversation after the tools were called."""
    answers = [
        {"role": "tool", "tool_call_id": call["id"], "content": f"result of {call['function']['name']}"}
        for call in calls
    ]
    return [*HELLO, {"role": "assistant", "content": None, "tool_calls": calls}, *answers]


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_parallel_calls_have_ids_names_and_arguments(member: Member, surface: Surface) -> None:
    answer = await member.whole(surface, **TOOLS)

    choice = answer.json()["choices"][0]
    calls = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert [call["function"]["name"] for call in calls] == ["get_weather", "get_time"]
    assert json.loads(calls[0]["function"]["arguments"]) == {"city": "city 0", "days": 0}
    assert len({call["id"] for call in calls}) == 2


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_streamed_arguments_come_in_pieces_under_the_index_of_their_call(
    member: Member, surface: Surface
) -> None:
    stream = await member.stream(surface, **TOOLS)

    parts = [part for delta in stream.deltas() for part in delta.get("tool_calls", ())]
    assert sorted({part["index"] for part in parts}) == [0, 1]
    for index in (0, 1):
        first, *others = [part for part in parts if part["index"] == index]
        assert (first["type"], first["function"]["arguments"]) == ("function", "")
        assert first["id"]
        assert first["function"]["name"]
        # Clients join what is repeated.
        assert all(part.keys() == {"index", "function"} for part in others)
        assert all(part["function"].keys() == {"arguments"} for part in others)
    pieces = [part["function"]["arguments"] for part in parts if part["index"] == 0]
    assert json.loads("".join(pieces)) == {"city": "city 0", "days": 0}


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_the_results_of_calls_go_back_and_are_answered(
    member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    calls = (await member.whole(surface, **TOOLS)).json()["choices"][0]["message"]["tool_calls"]

    answer = await member.whole(surface, messages=results(calls), **TOOLS)

    said = answer.json()["choices"][0]["message"]["content"]
    assert said == 'The tools said: "result of get_weather", "result of get_time"'
    assert provider.requests()[1].body["messages"] == results(calls)


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_custom_tools_input_is_text(member: Member, surface: Surface) -> None:
    tool = {"type": "custom", "custom": {"name": "run_code"}}

    answer = await member.whole(surface, model="custom-tool", tools=[tool])

    call = answer.json()["choices"][0]["message"]["tool_calls"][0]
    assert call["type"] == "custom"
    assert call["custom"] == {"name": "run_code", "input": "print('hello from the custom tool')"}


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_the_deprecated_function_call_still_works(member: Member, surface: Surface) -> None:
    answer = await member.whole(surface, model="tools", functions=[WEATHER["function"]])

    choice = answer.json()["choices"][0]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["function_call"]["name"] == "get_weather"


@pytest.mark.parametrize(
    ("calls", "answered"), [(["call_1"], []), (["call_1", "call_2"], ["call_1"]), ([], ["call_1"])]
)
async def test_each_call_must_be_answered_and_nothing_else(
    member: Member, provider: ProviderProcess, calls: list[str], answered: list[str]
) -> None:
    made = [{"id": name, "type": "function", "function": {"name": "look", "arguments": "{}"}} for name in calls]
    messages = [
        *HELLO,
        {"role": "assistant", "content": "Well", **({"tool_calls": made} if made else {})},
        *({"role": "tool", "tool_call_id": name, "content": "seen"} for name in answered),
        *HELLO,
    ]

    answer = await member.post(SURFACES[1], messages=messages)

    assert answer.status_code == 400
    assert provider.requests() == []
