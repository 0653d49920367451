"""What a request must mean: tool calls and their answers, fields that need each other, the gateway's own."""

from collections.abc import Sequence
from typing import Any

import pytest

from domain import validation
from domain.chat import JsonObject
from domain.errors import InvalidRequest
from domain.validation import MAX_CACHE_KEY
from tests.builders import a_call, a_request, a_tool_answer, assistant, user

ASKS = assistant(tool_calls=[a_call("call_1")])
ASKS_TWICE = assistant(tool_calls=[a_call("call_1"), a_call("call_2")])


def refusal_of(*messages: JsonObject, **changes: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refusal:
        validation.check(a_request(*messages, **changes))
    return refusal.value


# --- tool calls -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "messages",
    [
        [user("Hi")],
        [user("Hi"), ASKS, a_tool_answer("call_1")],
        [user("Hi"), ASKS_TWICE, a_tool_answer("call_1"), a_tool_answer("call_2"), user("And?")],
        [user("Hi"), ASKS_TWICE, a_tool_answer("call_2"), a_tool_answer("call_1")],
        [user("Hi"), ASKS, a_tool_answer("call_1"), ASKS, a_tool_answer("call_1"), assistant("Done.")],
        [ASKS, a_tool_answer("call_1"), ASKS_TWICE, a_tool_answer("call_2"), a_tool_answer("call_1")],
        [assistant("Hi", tool_calls=[])],
        [assistant("Hi", tool_calls=None), user("Yes?")],
        [{"role": "function", "name": "f", "content": None}, user("And?")],
    ],
)
def test_calls_are_answered_by_the_messages_right_behind_them_in_any_order(messages: Sequence[JsonObject]) -> None:
    validation.check(a_request(*messages))


@pytest.mark.parametrize(
    ("messages", "index"),
    [
        ([a_tool_answer("call_1")], 0),
        ([user("Hi"), a_tool_answer("call_1")], 1),
        ([ASKS, a_tool_answer("call_2")], 1),
        ([ASKS, a_tool_answer("call_1"), a_tool_answer("call_1")], 2),
        ([ASKS, a_tool_answer("call_1"), user("Hi"), a_tool_answer("call_1")], 3),
        ([ASKS, a_tool_answer("call_1"), assistant("Hm."), a_tool_answer("call_1")], 3),
    ],
)
def test_an_answer_to_no_call_is_refused_where_it_stands(messages: Sequence[JsonObject], index: int) -> None:
    refusal = refusal_of(*messages)

    assert "must be a response to a preceding message with 'tool_calls'" in refusal.message
    assert (refusal.param, refusal.code) == (f"messages[{index}].role", "invalid_request")


@pytest.mark.parametrize(
    ("messages", "index", "missing"),
    [
        ([ASKS], 1, "call_1"),
        ([ASKS, user("Hi")], 1, "call_1"),
        ([ASKS, assistant("Hm.")], 1, "call_1"),
        ([ASKS, ASKS], 1, "call_1"),
        ([ASKS, {"role": "function", "name": "f", "content": ""}], 1, "call_1"),
        ([ASKS_TWICE, a_tool_answer("call_2"), user("Hi")], 2, "call_1"),
        ([ASKS_TWICE, user("Hi"), a_tool_answer("call_1")], 1, "call_1, call_2"),
        ([user("Hi"), ASKS_TWICE, a_tool_answer("call_1")], 3, "call_2"),
    ],
)
def test_a_call_without_an_answer_is_named(messages: Sequence[JsonObject], index: int, missing: str) -> None:
    refusal = refusal_of(*messages)

    assert refusal.message.endswith(f"did not have response messages: {missing}")
    assert refusal.param == f"messages[{index}].role"


# --- what an assistant says -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        assistant("Hi"),
        assistant(""),
        assistant([{"type": "text", "text": "Hi"}]),
        assistant(refusal="No."),
        assistant(audio={"id": "audio_1"}),
        assistant(function_call={"name": "f", "arguments": "{}"}),
    ],
)
def test_an_assistant_says_something_of_one_kind_or_another(message: JsonObject) -> None:
    validation.check(a_request(message))


@pytest.mark.parametrize(
    "message", [{"role": "assistant"}, assistant(), assistant(tool_calls=[]), assistant(refusal=None)]
)
def test_an_assistant_that_says_nothing_is_refused(message: JsonObject) -> None:
    refusal = refusal_of(user("Hi"), message)

    assert (refusal.param, refusal.code) == ("messages[1].content", "invalid_value")


# --- fields that need each other --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [{"logprobs": True, "top_logprobs": 3}, {"logprobs": True}, {"top_logprobs": None}, {"logprobs": False}]
)
def test_top_logprobs_may_be_asked_for_with_logprobs(body: JsonObject) -> None:
    validation.check(a_request(more=body))


@pytest.mark.parametrize("body", [{"top_logprobs": 3}, {"top_logprobs": 0}, {"logprobs": False, "top_logprobs": 3}])
def test_top_logprobs_alone_are_refused(body: JsonObject) -> None:
    refusal = refusal_of(more=body)

    assert (refusal.message, refusal.param) == ("'logprobs' must be true to use 'top_logprobs'.", "top_logprobs")


def test_stream_options_are_for_streams() -> None:
    asked = {"stream_options": {"include_usage": True}}

    validation.check(a_request(more=asked, stream=True))
    validation.check(a_request(more={"stream_options": None}))
    refusal = refusal_of(more=asked)

    assert refusal.message == "The 'stream_options' parameter is only allowed when 'stream' is enabled."
    assert refusal.param == "stream_options"


# --- the gateway's own ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("conversation", [None, "c", "conv-01ARYZ6S410000000000000000", "x" * 128])
def test_a_conversation_has_an_id_or_none(conversation: str | None) -> None:
    validation.check(a_request(conversation=conversation))


@pytest.mark.parametrize("conversation", ["", "a b", "a:b", "{a}", "x" * 129])
def test_a_conversation_id_is_of_the_alphabet_of_ids(conversation: str) -> None:
    refusal = refusal_of(conversation=conversation)

    assert (refusal.param, refusal.code) == ("conversation_id", "invalid_value")


@pytest.mark.parametrize("key", [None, "k", "any text: {really}", "x" * MAX_CACHE_KEY])
def test_a_cache_key_is_any_short_text(key: str | None) -> None:
    validation.check(a_request(cache_key=key))


@pytest.mark.parametrize("key", ["", "x" * (MAX_CACHE_KEY + 1)])
def test_a_cache_key_is_neither_empty_nor_content(key: str) -> None:
    refusal = refusal_of(cache_key=key)

    assert (refusal.param, refusal.code) == ("cache_key", "invalid_value")


# --- the first that is wrong ------------------------------------------------------------------------------------------


def test_of_several_flaws_the_first_in_this_order_is_told() -> None:
    wrong = {"more": {"top_logprobs": 3, "stream_options": {}}, "conversation": "a b", "cache_key": ""}
    order = [refusal_of(ASKS, **wrong).param]

    order.append(refusal_of(**wrong).param)
    order.append(refusal_of(**{**wrong, "more": {"stream_options": {}}}).param)
    order.append(refusal_of(**{**wrong, "more": {}}).param)
    order.append(refusal_of(**{**wrong, "more": {}, "conversation": None}).param)

    assert order == ["messages[1].role", "top_logprobs", "stream_options", "conversation_id", "cache_key"]
