"""What comes from a provider: OpenAI's shape, whatever it was before."""

from typing import Any

import orjson
import pytest

from adapters.openai import wire
from adapters.openai.wire import ChunkReader
from domain.chat import Chunk, JsonObject
from domain.errors import ProviderBadResponse, ProviderRejected, ProviderTruncated
from domain.ports import Call
from tests.adapters.openai.calls import a_call, answer_of, choice_of, event_of, quirky

STRICT = a_call(extras=False)
LAX = a_call()


def a_choice(message: JsonObject | None = None, **more: Any) -> JsonObject:
    return {"index": 0, "message": {"content": "hello"} if message is None else message, **more}


def chunk(data: bytes, call: Call = LAX) -> Chunk:
    read = ChunkReader(call).read(data)
    assert read is not None
    return read


# --- whole answers ------------------------------------------------------------------------------------------------


def test_a_message_always_has_role_content_and_refusal() -> None:
    completion = wire.completion(answer_of(a_choice({"tool_calls": None, "function_call": None})), STRICT)

    assert completion.choices == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": None, "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]


def test_the_envelope_is_taken_off() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}

    completion = wire.completion(answer_of(a_choice(), usage=usage, service_tier="default", error=None), LAX)

    assert completion.body.keys() == {"choices", "service_tier"}
    assert completion.model == "gpt-4o-2024"
    assert completion.usage is not None
    assert completion.usage.total_tokens == 12


def test_an_answer_without_a_models_name_is_the_asked_models() -> None:
    assert wire.completion(answer_of(a_choice(), model=None), LAX).model == "gpt-4o"
    assert chunk(event_of(choice_of(), model="")).model == "gpt-4o"


def test_extras_are_kept_at_every_level_or_nowhere() -> None:
    message = {"content": "hello", "reasoning_content": "hm", "annotations": []}
    data = answer_of(a_choice(message, x_choice=1), x_top=2, system_fingerprint="fp")

    lax, strict = wire.completion(data, LAX), wire.completion(data, STRICT)

    assert lax.body["x_top"] == 2
    assert lax.choices[0]["x_choice"] == 1
    assert lax.choices[0]["message"]["reasoning_content"] == "hm"
    assert strict.body.keys() == {"choices", "system_fingerprint"}
    assert strict.choices[0].keys() == {"index", "message", "logprobs", "finish_reason"}
    assert strict.choices[0]["message"].keys() == {"role", "content", "refusal", "annotations"}


def test_choices_without_an_index_are_counted() -> None:
    choices = [{"message": {"content": str(number)}} for number in range(3)]

    assert [choice["index"] for choice in wire.completion(answer_of(*choices), LAX).choices] == [0, 1, 2]


def test_a_choice_that_does_not_say_why_it_ended_ended_for_what_it_holds() -> None:
    calls = [{"id": "call_a", "function": {"name": "weather", "arguments": "{}"}}]

    with_calls = wire.completion(answer_of(a_choice({"tool_calls": calls})), LAX)
    with_none = wire.completion(answer_of(a_choice({"tool_calls": []})), LAX)

    assert with_calls.choices[0]["finish_reason"] == "tool_calls"
    assert with_none.choices[0]["finish_reason"] == "stop"
    assert "tool_calls" not in with_none.choices[0]["message"]


def test_the_provider_s_own_reasons_are_mapped() -> None:
    call = quirky(finish_reasons={"weary": "length"})

    completion = wire.completion(answer_of(a_choice(finish_reason="weary")), call)

    assert completion.choices[0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b'{"choices": [',
        b"[1, 2]",
        b'"text"',
        b"null",
        b'{"choices": NaN}',
        b"\xff\xfe",
        answer_of(),
        b"{}",
        b'{"choices": null}',
        b'{"choices": "text"}',
        b'{"choices": ["text"]}',
        b'{"choices": [{"message": "text"}]}',
        b'{"choices": [{"text": "completions, not chat"}]}',
    ],
)
def test_what_is_no_completion_is_no_answer(data: bytes) -> None:
    with pytest.raises(ProviderBadResponse):
        wire.completion(data, LAX)


def test_an_error_in_the_place_of_an_answer_is_the_error() -> None:
    error = {"message": "Too long.", "type": "invalid_request_error", "code": "context_length_exceeded"}

    with pytest.raises(ProviderRejected) as rejected:
        wire.completion(orjson.dumps({"error": error}), LAX)

    assert rejected.value.code == "context_length_exceeded"


@pytest.mark.parametrize(("levels", "fits"), [(90, True), (110, False), (900, False)])
def test_an_answer_is_nested_no_deeper_than_it_can_be_written_again(levels: int, fits: bool) -> None:
    siblings = b"[]," * 100
    data = answer_of(a_choice())[:-1] + b',"x":[' + siblings + b"[" * levels + b"]" * levels + b"]}"

    if fits:
        orjson.dumps({"in": [{"a": [{"record": wire.completion(data, LAX).body}]}]})
    else:
        with pytest.raises(ProviderBadResponse):
            wire.completion(data, LAX)


# --- chunks -------------------------------------------------------------------------------------------------------


def test_a_chunk_of_openais_passes_as_it_is() -> None:
    choice = {"index": 0, "delta": {"role": "assistant", "content": "", "refusal": None}, "logprobs": None}
    event = event_of({**choice, "finish_reason": None}, service_tier="default", usage=None)

    read = chunk(event, STRICT)

    assert read.body == {"choices": [{**choice, "finish_reason": None}], "service_tier": "default"}
    assert read.usage is None


def test_a_chunks_data_is_its_body_with_the_model_in_front() -> None:
    read = chunk(event_of(choice_of({"content": "héllo \u2028 🌍"})))

    assert orjson.loads(read.data) == {"model": "gpt-4o-2024", **read.body}
    assert read.data.startswith(b'{"model":')
    assert b"\n" not in read.data


def test_only_the_first_delta_of_a_choice_has_the_role() -> None:
    reader = ChunkReader(LAX)
    told = [choice_of({"role": "assistant", "content": word}) for word in "ab"] + [choice_of({"content": "c"}, index=1)]

    read = [reader.read(event_of(choice)) for choice in told]

    assert [one.body["choices"][0]["delta"].get("role") for one in read if one] == ["assistant", None, "assistant"]


def test_a_chunk_s_choice_has_all_fields_and_extras_only_where_they_are_wanted() -> None:
    event = event_of({"delta": {"content": "a", "reasoning_content": "hm"}, "x_choice": 1}, x_top=2)

    lax, strict = chunk(event), chunk(event, STRICT)

    assert (lax.body["x_top"], lax.body["choices"][0]["x_choice"]) == (2, 1)
    assert strict.body == {
        "choices": [
            {"index": 0, "delta": {"role": "assistant", "content": "a"}, "logprobs": None, "finish_reason": None}
        ]
    }


def test_usage_comes_with_its_chunk_and_not_in_its_body() -> None:
    read = chunk(event_of(usage={"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}))

    assert read.usage is not None
    assert (read.usage.prompt_tokens, read.usage.completion_tokens) == (5, 7)
    assert read.body == {"choices": []}


def test_a_chunk_that_says_nothing_is_left_out() -> None:
    empty = event_of(system_fingerprint="fp", usage=None)
    filtered = event_of(prompt_filter_results=[{"prompt_index": 0}])

    assert ChunkReader(LAX).read(empty) is None
    assert ChunkReader(STRICT).read(filtered) is None
    assert chunk(filtered).body == {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"[]",
        b'{"choices": "text"}',
        b'{"choices": ["text"]}',
        b'{"choices": [{"delta": "text"}]}',
        b'{"choices": [{"delta": {"tool_calls": "text"}}]}',
        event_of(choice_of({"x": None}))[:-1] + b',"x":' + b"[" * 300 + b"]" * 300 + b"}",
    ],
)
def test_what_is_no_chunk_is_no_answer(data: bytes) -> None:
    with pytest.raises(ProviderBadResponse):
        ChunkReader(LAX).read(data)


def test_a_reader_knows_when_every_choice_has_finished() -> None:
    reader = ChunkReader(a_call(n=2))
    progress = [(reader.is_finished, reader.is_exhausted)]

    for event in (
        event_of(choice_of({"content": "a"})),
        event_of(choice_of({"content": "b"}, index=1)),
        event_of(choice_of(finish="stop", index=1)),
        event_of(choice_of(finish="length")),
        event_of(usage={"prompt_tokens": 5, "completion_tokens": 7}),
    ):
        reader.read(event)
        progress.append((reader.is_finished, reader.is_exhausted))

    assert progress == [(False, False)] * 4 + [(True, False), (True, True)]


def test_a_choice_that_was_asked_for_may_still_come() -> None:
    reader = ChunkReader(a_call(n=2))

    reader.read(event_of(choice_of({"content": "a"}, "stop"), usage={"prompt_tokens": 5, "completion_tokens": 7}))

    assert (reader.is_finished, reader.is_exhausted) == (True, False)


def test_a_stream_that_ends_in_an_error_is_not_whole() -> None:
    with pytest.raises(ProviderTruncated):
        ChunkReader(LAX).read(event_of(choice_of(finish="error")))


# --- a whole answer in the place of a stream ----------------------------------------------------------------------


def test_a_whole_answer_becomes_the_stream_that_was_asked_for() -> None:
    calls = [{"id": "call_a", "function": {"name": "weather", "arguments": "{}"}}]
    usage = {"prompt_tokens": 5, "completion_tokens": 7}
    whole = wire.completion(answer_of(a_choice(), {**a_choice({"tool_calls": calls}), "index": 1}, usage=usage), LAX)

    first, second = wire.as_chunks(whole)

    assert first.body["choices"] == [
        {
            "index": 0,
            "delta": {"role": "assistant", "content": "hello"},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert second.body["choices"][0]["delta"]["tool_calls"][0]["index"] == 0
    assert (first.usage, second.usage) == (None, whole.usage)
    assert orjson.loads(second.data) == {"model": whole.model, **second.body}
