"""Good answers of the scripted provider: OpenAI's shape, the same text in both forms."""

import json
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.provider.answers import ANSWERS
from tests.provider.habits import HABITS
from tests.provider.process import ProviderProcess
from tests.provider.talk import CLOCK, HELLO, HELLO_TEXT, WEATHER, data_of, post, text_of

#: Answers that OpenAI's client has no types for, or only with a value in the name.
NOT_OPENAIS = {"custom-tool", "content-parts", "empty-choices", "usage-bad", "finish"}


def test_an_echo_is_the_last_user_message_and_counts_words(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="echo", messages=HELLO)

    assert answer.choices[0].message.content == HELLO_TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (5, 3, 8)


def test_a_stream_brings_the_same_text_word_by_word(client: openai.OpenAI) -> None:
    with client.chat.completions.create(model="echo", messages=HELLO, stream=True) as stream:
        chunks = list(stream)

    deltas = [chunk.choices[0].delta.content for chunk in chunks]
    assert deltas == ["", "hello  ", "wide\n", "world ", None]
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert len({(chunk.id, chunk.created) for chunk in chunks}) == 1
    assert {chunk.usage for chunk in chunks} == {None}


@pytest.mark.parametrize("model", sorted({*ANSWERS, *HABITS} - NOT_OPENAIS))
def test_every_good_answer_has_openais_shape_in_both_forms(provider: ProviderProcess, model: str) -> None:
    asked = {"tools": [WEATHER, CLOCK], "logprobs": True, "top_logprobs": 2, "moderation": {"model": "m"}}
    whole = post(provider, model, metadata={"a": "b"}, **asked)
    streamed = post(provider, model, stream=True, stream_options={"include_usage": True}, **asked)

    # Usage may be missing, but nothing that is there has the wrong type.
    ChatCompletion.model_validate_json(whole.content)
    assert whole.json()["metadata"] == {"a": "b"}
    assert streamed.headers["content-type"].startswith("text/event-stream")
    for chunk in data_of(streamed.content):
        if chunk != "[DONE]":
            ChatCompletionChunk.model_validate(chunk)


@pytest.mark.parametrize("model", ["echo", "reasoning", "annotations", "extras", "no-done", "u2028"])
def test_openais_client_reads_the_same_text_from_both_forms(client: openai.OpenAI, model: str) -> None:
    whole = client.chat.completions.create(model=model, messages=HELLO)
    with client.chat.completions.create(model=model, messages=HELLO, stream=True) as stream:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    assert text == whole.choices[0].message.content


def test_words_come_as_many_as_asked(provider: ProviderProcess) -> None:
    assert post(provider, "words-n3-i1").json()["choices"][0]["message"]["content"] == "w0 w1 w2"


def test_three_choices_take_turns(provider: ProviderProcess) -> None:
    chunks = data_of(post(provider, "words-n2", n=3, stream=True).content)

    order = [chunk["choices"][0]["index"] for chunk in chunks[:-1]]
    assert order == [0, 1, 2] * 4
    assert [text_of(chunks, index) for index in range(3)] == ["w0 w1"] * 3


def test_n_choices_are_paid_n_times_and_the_prompt_once(provider: ProviderProcess) -> None:
    usage = post(provider, "words-n2", n=3).json()["usage"]

    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (5, 6)


def test_usage_comes_last_and_is_null_before_when_it_was_asked(provider: ProviderProcess) -> None:
    *chunks, done = data_of(post(provider, "echo", stream=True, stream_options={"include_usage": True}).content)

    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 8
    assert done == "[DONE]"


def test_a_bound_cuts_the_answer_and_says_length(provider: ProviderProcess) -> None:
    choice = post(provider, "words-n9", max_tokens=5, max_completion_tokens=2).json()["choices"][0]

    assert (choice["message"]["content"], choice["finish_reason"]) == ("w0 w1 ", "length")


@pytest.mark.parametrize("stop", ["w2", ["nothing", "w2", "w4"]])
def test_a_stop_string_ends_the_answer_before_it(provider: ProviderProcess, stop: Any) -> None:
    choice = post(provider, "words-n9", stop=stop).json()["choices"][0]

    assert (choice["message"]["content"], choice["finish_reason"]) == ("w0 w1 ", "stop")


def test_a_schema_is_answered_with_fitting_json(provider: ProviderProcess) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}, "kind": {"enum": ["a", "b"]}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    content = post(provider, "echo", response_format=wanted).json()["choices"][0]["message"]["content"]

    assert json.loads(content) == {"ok": True, "kind": "a"}


def test_seed_and_tier_come_back(provider: ProviderProcess) -> None:
    answer = post(provider, "echo", seed=7, service_tier="flex").json()

    assert (answer["system_fingerprint"], answer["service_tier"]) == ("fp_seed_7", "flex")


def test_logprobs_tell_bytes_and_as_many_alternatives_as_asked(provider: ProviderProcess) -> None:
    content = post(provider, "logprobs", logprobs=True, top_logprobs=3).json()["choices"][0]["logprobs"]["content"]

    assert {len(item["top_logprobs"]) for item in content} == {3}
    assert bytes(content[0]["bytes"]).decode() == content[0]["token"] == "Grüße "
    assert None in [item["bytes"] for item in content]


def test_reasoning_is_an_extra_field_and_is_counted(provider: ProviderProcess) -> None:
    answer = post(provider, "reasoning").json()

    assert answer["choices"][0]["message"]["reasoning_content"] == "Let me think about it. "
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 5
    assert answer["usage"]["completion_tokens"] == 8


def test_two_calls_come_in_pieces_that_join_to_the_whole(client: openai.OpenAI) -> None:
    asked: Any = {"model": "tools", "messages": HELLO, "tools": [WEATHER, CLOCK]}
    whole = client.chat.completions.create(**asked)
    with client.chat.completions.stream(**asked) as stream:
        streamed = stream.get_final_completion()

    calls: list[Any] = [call.to_dict() for call in whole.choices[0].message.tool_calls or []]
    assert [call["function"] for call in calls] == [
        {"name": "get_weather", "arguments": '{"city":"city 0","days":0}'},
        {"name": "get_time", "arguments": "{}"},
    ]
    again: list[Any] = [call.to_dict() for call in streamed.choices[0].message.tool_calls or []]
    assert [call["function"]["arguments"] for call in again] == [call["function"]["arguments"] for call in calls]
    assert whole.choices[0].finish_reason == streamed.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"tool_choice": "required"}, ["get_weather", "get_time"]),
        ({"parallel_tool_calls": False}, ["get_weather"]),
        ({"tool_choice": {"type": "function", "function": {"name": "get_time"}}}, ["get_time"]),
        ({"tool_choice": "none"}, []),
    ],
)
def test_tool_choice_decides(provider: ProviderProcess, more: dict[str, Any], names: list[str]) -> None:
    message = post(provider, "tools", tools=[WEATHER, CLOCK], **more).json()["choices"][0]["message"]

    assert [call["function"]["name"] for call in message.get("tool_calls", [])] == names


def test_results_are_quoted(provider: ProviderProcess) -> None:
    results = [{"role": "tool", "tool_call_id": f"call_{n}", "content": f"{n} degrees"} for n in (1, 2)]
    message = post(provider, "tools", messages=[*HELLO, *results], tools=[WEATHER]).json()["choices"][0]["message"]

    assert message["content"] == 'The tools said: "1 degrees", "2 degrees"'


def test_a_custom_tool_is_called_with_free_text(provider: ProviderProcess) -> None:
    tools = [{"type": "custom", "custom": {"name": "python"}}]
    [call] = post(provider, "custom-tool", tools=tools).json()["choices"][0]["message"]["tool_calls"]

    assert (call["type"], call["custom"]["name"]) == ("custom", "python")
