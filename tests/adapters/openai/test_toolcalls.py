"""Tool calls as OpenAI has them, from providers that number, name and type them in their own ways."""

from typing import Any

import pytest

from adapters.openai.toolcalls import CallNumbers, function_call, whole_calls
from domain.chat import JsonObject
from domain.errors import ProviderBadResponse


def a_delta(arguments: Any = None, name: str | None = None, **more: Any) -> JsonObject:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {**more, "function": function}


def deltas(*told: JsonObject, extras: bool = True) -> list[JsonObject]:
    numbers = CallNumbers("req-1:0")
    return [delta for one in told for delta in numbers.deltas([one], extras=extras)]


def folded(told: list[JsonObject]) -> dict[int, tuple[str, str, str]]:
    """What a client makes of deltas: id, name and arguments of each call, all of them joined."""
    calls: dict[int, tuple[str, str, str]] = {}
    for delta in told:
        had = calls.get(delta["index"], ("", "", ""))
        new = (delta.get("id", ""), delta["function"].get("name", ""), delta["function"].get("arguments", ""))
        calls[delta["index"]] = (had[0] + new[0], had[1] + new[1], had[2] + new[2])
    return calls


def test_openais_own_deltas_pass_as_they_are() -> None:
    told = [
        a_delta("", "weather", index=0, id="call_a", type="function"),
        a_delta('{"city"', index=0),
        a_delta("", "clock", index=1, id="call_b", type="function"),
        a_delta(':"Rome"}', index=0),
        a_delta("{}", index=1),
    ]

    assert deltas(*told) == told


WEATHER_AND_CLOCK = {0: ("call_a", "weather", '{"city":"Rome"}'), 1: ("call_b", "clock", "{}")}


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(
            [a_delta('{"city":"Rome"}', "weather", id="call_a"), a_delta("{}", "clock", id="call_b")],
            id="no index",
        ),
        pytest.param(
            [
                a_delta('{"city":', "weather", id="call_a"),
                a_delta('"Rome"}'),
                a_delta("", "clock", id="call_b"),
                a_delta("{}"),
            ],
            id="no index, arguments in pieces",
        ),
        pytest.param(
            [
                a_delta('{"city":', "weather", id="call_a"),
                a_delta("{", "clock", id="call_b"),
                a_delta('"Rome"}', id="call_a"),
                a_delta("}", id="call_b"),
            ],
            id="no index, the id in every delta",
        ),
        pytest.param(
            [
                a_delta('{"city":"Rome"}', "weather", index=0, id="call_a"),
                a_delta("{", "clock", index=0, id="call_b"),
                a_delta("}", index=0),
            ],
            id="index 0 for all",
        ),
        pytest.param(
            [
                a_delta('{"city":', "weather", index=0, id="call_a", type="function"),
                a_delta('"Rome"}', "weather", index=0, id="call_a", type="function"),
                a_delta("{}", "clock", index=1, id="call_b", type="function"),
            ],
            id="everything repeated",
        ),
        pytest.param(
            [a_delta({"city": "Rome"}, "weather", id="call_a"), a_delta({}, "clock", id="call_b")],
            id="arguments as objects",
        ),
    ],
)
def test_clients_get_the_same_calls_from_every_dialect(told: list[JsonObject]) -> None:
    assert folded(deltas(*told)) == WEATHER_AND_CLOCK


def test_calls_without_ids_get_some_that_are_the_same_for_the_same_answer() -> None:
    told = [a_delta("{}", "weather"), a_delta("{}", "clock")]

    first, again = deltas(*told), deltas(*told)
    other = CallNumbers("req-2:0").deltas(told, extras=True)

    ids = [delta["id"] for delta in first]
    assert [delta["index"] for delta in first] == [0, 1]
    assert ids == [delta["id"] for delta in again]
    assert len({*ids, *(delta["id"] for delta in other)}) == 4


def test_extras_of_a_call_are_kept_where_they_are_wanted() -> None:
    told = a_delta("{}", "weather", index=0, id="call_a", extra_content={"thought": "x"})

    assert deltas(told)[0]["extra_content"] == {"thought": "x"}
    assert "extra_content" not in deltas(told, extras=False)[0]


def test_a_custom_tool_keeps_its_input() -> None:
    told = {"index": 0, "id": "call_a", "type": "custom", "custom": {"name": "run", "input": "1 + 1"}}

    assert deltas(told) == [told]
    assert whole_calls([told], "seed", extras=True) == [
        {"id": "call_a", "type": "custom", "custom": {"name": "run", "input": "1 + 1"}}
    ]


def test_a_finished_call_has_an_id_a_type_and_arguments_as_text() -> None:
    told = [
        {"index": 3, "function": {"name": "weather", "arguments": {"city": "Rome"}}},
        {"function": {"name": "clock"}},
    ]

    first, second = whole_calls(told, "req-1:0", extras=False)

    assert first.keys() == {"id", "type", "function"}
    assert first["function"] == {"name": "weather", "arguments": '{"city":"Rome"}'}
    assert second["function"] == {"name": "clock", "arguments": "{}"}
    assert first["id"] != second["id"]


def test_arguments_that_are_text_are_left_alone() -> None:
    assert function_call({"name": "f", "arguments": "not even {JSON"})["arguments"] == "not even {JSON"


@pytest.mark.parametrize("told", ["text", {"id": "x"}, ["text"], [None], [{"function": "text"}], [{"id": "call_a"}]])
def test_what_is_no_call_is_no_answer(told: object) -> None:
    with pytest.raises(ProviderBadResponse):
        whole_calls(told, "seed", extras=True)


def test_a_delta_that_is_no_call_is_no_answer() -> None:
    with pytest.raises(ProviderBadResponse):
        CallNumbers("seed").deltas([{"index": 0, "function": "text"}], extras=True)
