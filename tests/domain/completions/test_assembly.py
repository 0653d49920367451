"""Chunks into a completion and back: whatever a model said arrives whole, however it was cut."""

import copy
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.chat import Chunk, Completion, JsonObject, Usage
from domain.completions.assembly import Assembly, as_chunks
from tests.builders import a_call, a_choice, a_chunk, a_completion, a_stream, a_usage_chunk, as_chunk


def assembled(chunks: Sequence[Chunk]) -> Completion:
    assembly = Assembly()
    for chunk in chunks:
        assembly.add(chunk)
    return assembly.completion()


def a_tool_delta(index: int, arguments: str, **opening: Any) -> JsonObject:
    function = {key: opening.pop(key) for key in ("name",) if key in opening}
    return {"tool_calls": [{"index": index, **opening, "function": {**function, "arguments": arguments}}]}


# --- any completion, cut anyhow ---------------------------------------------------------------------------------------

words = st.text(min_size=1, max_size=12)
token_logprobs = st.lists(st.fixed_dictionaries({"token": words, "logprob": st.floats(-9, 0)}), min_size=1, max_size=4)


@st.composite
def messages(draw: st.DrawFn) -> JsonObject:
    message: JsonObject = {"role": "assistant", "content": draw(st.none() | words), "refusal": draw(st.none() | words)}
    if draw(st.booleans()):
        message["reasoning_content"] = draw(words)
    if draw(st.booleans()):
        message["tool_calls"] = [
            a_call(f"call_{number}", draw(words), draw(words)) for number in range(draw(st.integers(1, 3)))
        ]
    if draw(st.booleans()):
        message["annotations"] = [{"type": "url_citation", "url_citation": {"title": draw(words)}}]
    return message


@st.composite
def completions(draw: st.DrawFn) -> Completion:
    choices = []
    for index in range(draw(st.integers(1, 3))):
        choice = {
            "index": index,
            "message": draw(messages()),
            "logprobs": draw(st.none() | st.fixed_dictionaries({"content": token_logprobs, "refusal": st.none()})),
            "finish_reason": draw(st.sampled_from(("stop", "length", "tool_calls"))),
        }
        if draw(st.booleans()):
            choice["content_filter_results"] = {"hate": {"filtered": False}}
        choices.append(choice)
    extras: JsonObject = {"system_fingerprint": draw(words)} if draw(st.booleans()) else {"x_groq": {"id": "req_1"}}
    return a_completion(*choices, model=draw(st.none() | words), **extras)


def pieces(draw: st.DrawFn, text: str) -> list[str]:
    """The text, cut at places of its own."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def deltas(draw: st.DrawFn, choice: JsonObject) -> list[JsonObject]:
    """The parts of a choice in the order of a stream: role, texts, calls, annotations, finish."""
    message = choice["message"]
    said: list[JsonObject] = [{"role": "assistant", "content": draw(st.sampled_from((None, "")))}]
    if message["content"] is None:
        said[0]["content"] = None
    for key in ("reasoning_content", "content", "refusal"):
        if isinstance(message.get(key), str):
            said += [{key: piece} for piece in pieces(draw, message[key])]
    for number, call in enumerate(message.get("tool_calls", ())):
        first, *more = pieces(draw, call["function"]["arguments"])
        said.append(a_tool_delta(number, first, id=call["id"], type="function", name=call["function"]["name"]))
        said += [a_tool_delta(number, piece) for piece in more]
    if "annotations" in message:
        said.append({"annotations": message["annotations"]})
    parts = [{"index": choice["index"], "delta": it, "logprobs": None, "finish_reason": None} for it in said]
    if choice["logprobs"] is not None:
        for number, logprob in enumerate(choice["logprobs"]["content"]):
            at = min(number, len(parts) - 1)
            parts[at] = _with_logprob(parts[at], logprob)
    rest = {key: value for key, value in choice.items() if key not in ("message", "logprobs")}
    return [*parts, {**rest, "delta": {}, "logprobs": None}]


def _with_logprob(part: JsonObject, logprob: JsonObject) -> JsonObject:
    before = part["logprobs"]["content"] if part["logprobs"] is not None else []
    return {**part, "logprobs": {"content": [*before, logprob], "refusal": None}}


@st.composite
def streams(draw: st.DrawFn) -> tuple[Completion, list[Chunk]]:
    """A completion, and chunks of it: its choices interleaved, several parts in one chunk at times."""
    completion = draw(completions())
    queues = [deltas(draw, choice) for choice in completion.choices]
    extras = {key: value for key, value in completion.body.items() if key != "choices"}
    chunks = []
    while any(queues):
        speaking = draw(st.sets(st.sampled_from([at for at, queue in enumerate(queues) if queue]), min_size=1))
        choices = [queues[at].pop(0) for at in sorted(speaking)]
        chunks.append(as_chunk({"choices": choices, **extras}, model=completion.model))
    return completion, chunks


@given(streams())
def test_the_chunks_of_a_completion_assemble_to_it_however_they_were_cut_and_mixed(
    stream: tuple[Completion, list[Chunk]],
) -> None:
    completion, chunks = stream

    assert assembled(chunks) == completion


@given(streams())
def test_assembling_leaves_the_chunks_as_they_were(stream: tuple[Completion, list[Chunk]]) -> None:
    _, chunks = stream
    before = copy.deepcopy(chunks)

    assembled(chunks)

    assert chunks == before


@given(completions())
def test_a_whole_completion_taken_apart_assembles_to_itself(completion: Completion) -> None:
    bodies = [json.loads(entry) for entry in as_chunks(completion)]

    again = assembled([as_chunk({k: v for k, v in it.items() if k != "model"}, model=it.get("model")) for it in bodies])

    assert again == completion


# --- examples ---------------------------------------------------------------------------------------------------------


def test_a_plain_stream_becomes_openais_message() -> None:
    completion = assembled(a_stream("Hello", " world"))

    assert completion.choices == [a_choice("Hello world")]
    assert completion.model == "gpt-4o-2024-08-06"


def test_three_choices_that_speak_at_once_are_kept_apart_and_come_in_order() -> None:
    chunks = [a_chunk(f"{index}{word} ", index=index) for word in "ab" for index in (2, 0, 1)]

    completion = assembled(chunks)

    assert [(choice["index"], choice["message"]["content"]) for choice in completion.choices] == [
        (0, "0a 0b "),
        (1, "1a 1b "),
        (2, "2a 2b "),
    ]


def test_the_pieces_of_two_tool_calls_go_to_the_call_they_belong_to() -> None:
    completion = assembled(
        [
            a_chunk(delta={"role": "assistant", "content": None}),
            a_chunk(delta=a_tool_delta(0, "", id="call_a", type="function", name="weather")),
            a_chunk(delta=a_tool_delta(0, '{"city":')),
            a_chunk(delta=a_tool_delta(1, "", id="call_b", type="function", name="time")),
            a_chunk(delta=a_tool_delta(1, "{}")),
            a_chunk(delta=a_tool_delta(0, '"Rome"}')),
            a_chunk(finish="tool_calls"),
        ]
    )

    calls = [a_call("call_a", "weather", '{"city":"Rome"}'), a_call("call_b", "time", "{}")]
    assert completion.choices == [a_choice(None, finish="tool_calls", tool_calls=calls)]


def test_a_provider_that_repeats_a_calls_name_with_each_piece_does_not_double_it() -> None:
    repeated = {"id": "call_a", "type": "function", "name": "weather"}

    completion = assembled([a_chunk(delta=a_tool_delta(0, piece, **repeated)) for piece in ("{", "}")])

    assert completion.choices[0]["message"]["tool_calls"] == [a_call("call_a", "weather", "{}")]


def test_the_deprecated_function_call_is_joined_too() -> None:
    completion = assembled(
        [
            a_chunk(delta={"function_call": {"name": "weather", "arguments": ""}}),
            a_chunk(delta={"function_call": {"arguments": "{"}}),
            a_chunk(delta={"function_call": {"arguments": "}"}}),
        ]
    )

    assert completion.choices[0]["message"]["function_call"] == {"name": "weather", "arguments": "{}"}


def test_logprobs_are_joined() -> None:
    hello, world = {"token": "Hello", "logprob": -0.1}, {"token": " world", "logprob": -0.2}

    completion = assembled(
        [
            a_chunk("Hello", logprobs={"content": [hello], "refusal": None}),
            a_chunk(" world", logprobs={"content": [world], "refusal": None}),
            a_chunk(finish="stop"),
        ]
    )

    assert completion.choices[0]["logprobs"] == {"content": [hello, world], "refusal": None}


def test_a_refusal_is_joined_and_leaves_the_content_null() -> None:
    completion = assembled([a_chunk(delta={"refusal": "I'm"}), a_chunk(delta={"refusal": " sorry."})])

    assert completion.choices[0]["message"] == {"role": "assistant", "content": None, "refusal": "I'm sorry."}


def test_what_a_provider_adds_is_kept_where_it_stood() -> None:
    completion = assembled(
        [
            a_chunk(delta={"reasoning_content": "Hm"}, system_fingerprint="fp_1", service_tier=None),
            a_chunk(delta={"reasoning_content": "..."}, system_fingerprint="fp_2", service_tier="default"),
            as_chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "</s>"}]}),
            as_chunk({"choices": [], "moderation": {"flagged": False}}),
        ]
    )

    assert completion.choices[0]["message"]["reasoning_content"] == "Hm..."
    assert completion.choices[0]["stop_reason"] == "</s>"
    assert {key: value for key, value in completion.body.items() if key != "choices"} == {
        "system_fingerprint": "fp_2",
        "service_tier": "default",
        "moderation": {"flagged": False},
    }


def test_a_null_takes_nothing_back() -> None:
    completion = assembled(
        [
            a_chunk("Hel", service_tier="default"),
            a_chunk(delta={"content": None, "refusal": None}, service_tier=None),
            a_chunk("lo", finish="stop"),
            a_chunk(finish=None),
        ]
    )

    assert completion.choices == [a_choice("Hello")]
    assert completion.body["service_tier"] == "default"


@pytest.mark.parametrize(
    ("first", "second"), [("a", 5), (5, "a"), ("a", ["b"]), (["b"], "a"), ({"a": 1}, ["b"]), (["b"], {"a": 1})]
)
def test_an_extra_that_changes_its_type_is_what_it_was_last(first: object, second: object) -> None:
    completion = assembled([a_chunk(delta={"x_score": first}), a_chunk(delta={"x_score": second})])

    assert completion.choices[0]["message"]["x_score"] == second


def test_a_role_that_comes_with_every_chunk_is_said_once() -> None:
    completion = assembled([a_chunk(delta={"role": "assistant", "content": word}) for word in ("Hel", "lo")])

    assert completion.choices == [a_choice("Hello", finish=None)]


def test_a_choice_that_was_cut_off_has_no_finish_reason() -> None:
    completion = assembled([a_chunk("Hel")])

    assert completion.choices == [a_choice("Hel", finish=None)]


def test_usage_and_model_are_those_that_were_told_last() -> None:
    first, last = Usage(1, 1), Usage(9, 2)
    assembly = Assembly()

    for chunk in (a_chunk("a", usage=first, model="alias"), a_chunk("b"), a_usage_chunk(last), a_chunk(model=None)):
        assembly.add(chunk)

    assert (assembly.usage, assembly.model) == (last, "gpt-4o-2024-08-06")
    assert assembly.completion().usage == last


def test_the_bytes_of_all_chunks_are_counted() -> None:
    chunks = a_stream("Hello", " world", usage=Usage(9, 2))
    assembly = Assembly()

    for chunk in chunks:
        assembly.add(chunk)

    assert assembly.bytes == sum(len(chunk.data) for chunk in chunks)


@pytest.mark.parametrize(
    ("chunks", "empty"),
    [
        ([], True),
        ([a_chunk(delta={"role": "assistant"})], True),
        ([a_chunk(delta={"role": "assistant", "content": "", "refusal": None, "tool_calls": []})], True),
        ([a_usage_chunk(Usage(9, 0))], True),
        ([a_chunk(finish="stop")], True),
        ([a_chunk(" ")], False),
        ([a_chunk(), a_chunk("Hi", index=1)], False),
        ([a_chunk(delta={"refusal": "No."})], False),
        ([a_chunk(delta={"reasoning_content": "Hm"})], False),
        ([a_chunk(delta=a_tool_delta(0, "", id="call_a"))], False),
    ],
)
def test_an_answer_is_empty_until_something_of_use_has_come(chunks: Sequence[Chunk], empty: bool) -> None:
    assembly = Assembly()

    for chunk in chunks:
        assembly.add(chunk)

    assert assembly.is_empty is empty


# --- whole answers as entries of a log --------------------------------------------------------------------------------


def test_each_choice_of_a_whole_answer_is_said_and_then_finished() -> None:
    completion = a_completion(a_choice("One"), a_choice("Two", index=1, finish="length"), model="gpt-4o-1", seed=7)

    entries = [json.loads(entry) for entry in as_chunks(completion)]

    assert [entry["choices"] for entry in entries] == [
        [{"index": 0, "delta": {"role": "assistant", "content": "One"}, "logprobs": None, "finish_reason": None}],
        [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}],
        [{"index": 1, "delta": {"role": "assistant", "content": "Two"}, "logprobs": None, "finish_reason": None}],
        [{"index": 1, "delta": {}, "logprobs": None, "finish_reason": "length"}],
    ]
    assert all((entry["model"], entry["seed"]) == ("gpt-4o-1", 7) for entry in entries)


def test_an_entry_has_the_models_name_in_front_or_none() -> None:
    named, nameless = a_completion(model="gpt-4o-1"), a_completion()

    assert as_chunks(named)[0].startswith(b'{"model":"gpt-4o-1","choices":')
    assert as_chunks(nameless)[0].startswith(b'{"choices":')


def test_an_entry_is_utf8() -> None:
    assert "Grüße \N{SNOWMAN}".encode() in as_chunks(a_completion(a_choice("Grüße \N{SNOWMAN}")))[0]


def test_the_calls_of_a_whole_answer_are_numbered_whatever_the_provider_says() -> None:
    calls = [{"index": 0, **a_call("call_a")}, {"index": 0, **a_call("call_b")}]

    said = json.loads(as_chunks(a_completion(a_choice(None, tool_calls=calls)))[0])

    assert [call["index"] for call in said["choices"][0]["delta"]["tool_calls"]] == [0, 1]
