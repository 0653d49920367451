"""The adapter against the scripted provider: good answers, in every habit that it has a name for."""

from contextlib import aclosing
from typing import Any

import pytest

from adapters.openai.provider import OpenAIProvider
from domain.chat import Completion, JsonObject
from tests.adapters.openai.asking import Form, answer, assembled, call_to, outcome, stream
from tests.adapters.openai.calls import HELLO, a_call, a_target, text_of
from tests.provider.process import ProviderProcess
from tests.provider.talk import CLOCK, WEATHER

pytestmark = pytest.mark.anyio

HELLO_TEXT = "hello wide world"


# --- the request --------------------------------------------------------------------------------------------------


async def test_the_request_goes_to_the_base_url_with_the_models_name_there(
    scripted: ProviderProcess, provider: OpenAIProvider
) -> None:
    await provider.create_chat_completion(a_call(a_target("echo", f"{scripted.base_url}/"), seed=7))

    [seen] = scripted.requests()
    assert (seen.method, seen.path) == ("POST", "/v1/chat/completions")
    assert seen.body == {"messages": HELLO, "seed": 7, "model": "echo", "stream": False}


async def test_the_key_goes_where_the_spec_says(scripted: ProviderProcess, provider: OpenAIProvider) -> None:
    own = a_target("echo", scripted.base_url, key_header="Api-Key", key_prefix="")

    await provider.create_chat_completion(call_to(scripted))
    await provider.create_chat_completion(a_call(own))

    bearer, plain = (seen.headers for seen in scripted.requests())
    assert (bearer["authorization"], bearer.get("api-key")) == ("Bearer key-of-acme", None)
    assert (plain["api-key"], plain.get("authorization")) == ("key-of-acme", None)


async def test_the_headers_say_who_asks_for_what(scripted: ProviderProcess, provider: OpenAIProvider) -> None:
    await stream(provider, call_to(scripted))
    await provider.create_chat_completion(call_to(scripted))

    events, json = (seen.headers for seen in scripted.requests())
    assert (events["accept"], json["accept"]) == ("text/event-stream", "application/json")
    for headers in (events, json):
        assert headers["content-type"] == "application/json"
        assert headers["accept-encoding"] == "identity"
        assert headers["x-request-id"] == "req-1"
        assert headers["user-agent"] == "sluice"


async def test_fixed_headers_are_sent_and_an_empty_one_takes_one_of_ours_back(
    scripted: ProviderProcess, provider: OpenAIProvider
) -> None:
    target = a_target("echo", scripted.base_url, headers={"X-Title": "Sluice", "X-Request-ID": ""})

    await provider.create_chat_completion(a_call(target))

    [seen] = scripted.requests()
    assert seen.headers["x-title"] == "Sluice"
    assert "x-request-id" not in seen.headers


async def test_a_prompt_of_megabytes_arrives_whole(scripted: ProviderProcess, provider: OpenAIProvider) -> None:
    messages = [{"role": "user", "content": "é" * 3_000_000}]

    completion = await provider.create_chat_completion(call_to(scripted, messages=messages))

    assert completion.choices[0]["message"]["content"] == "é" * 3_000_000


# --- answers ------------------------------------------------------------------------------------------------------


async def test_a_whole_answer_comes_in_openais_shape(scripted: ProviderProcess, provider: OpenAIProvider) -> None:
    completion = await provider.create_chat_completion(call_to(scripted))

    message = {"role": "assistant", "content": HELLO_TEXT, "refusal": None}
    assert completion.choices == [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]
    assert completion.body.keys() == {"choices", "service_tier", "system_fingerprint"}
    assert (completion.model, completion.usage and completion.usage.total_tokens) == ("echo", 6)


def without_ids(completion: Completion) -> list[JsonObject]:
    """The choices without what has the number of its request, or the time, in it."""
    for choice in completion.choices:
        choice["message"].pop("audio", None)
        for called in choice["message"].get("tool_calls", ()):
            assert called.pop("id")
    return completion.choices


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("echo", {}),
        ("words-n30", {"n": 3}),
        ("logprobs", {"logprobs": True, "top_logprobs": 2}),
        ("refusal", {"n": 2}),
        ("annotations", {}),
        ("audio", {}),
        ("reasoning", {"n": 2}),
        ("content-parts", {}),
        ("tools", {"tools": [WEATHER, CLOCK]}),
        ("tools", {"functions": [WEATHER["function"]]}),
        ("custom-tool", {}),
        ("usage-always", {}),
        ("usage-in-finish", {"n": 2}),
        ("finish-max_tokens", {}),
        ("no-done", {"n": 2}),
        ("close-delimited", {}),
        ("comments", {}),
        ("u2028", {}),
    ],
)
async def test_a_stream_adds_up_to_the_whole_answer(
    scripted: ProviderProcess, provider: OpenAIProvider, model: str, body: dict[str, Any]
) -> None:
    whole = await provider.create_chat_completion(call_to(scripted, model, **body))
    streamed = await assembled(provider, call_to(scripted, model, **body))

    assert without_ids(streamed) == without_ids(whole)
    assert streamed.usage == whole.usage


async def test_chunks_come_as_they_are_sent(scripted: ProviderProcess, provider: OpenAIProvider) -> None:
    said: list[str] = []

    async with aclosing(provider.stream_chat_completion(call_to(scripted, "words-n5-i60"))) as batches:
        async for batch in batches:
            said.append(text_of(list(batch)))
            if "".join(said):
                break

    assert "".join(said) == "w0 "


async def test_chunks_of_one_read_come_together(scripted: ProviderProcess, provider: OpenAIProvider) -> None:
    async with aclosing(provider.stream_chat_completion(call_to(scripted, "words-n2000"))) as batches:
        sizes = [len(batch) async for batch in batches]

    assert sum(sizes) == 2003
    # How many there are in one depends on which of the two is faster.
    assert max(sizes) > 10


async def test_the_strict_surface_gets_openais_fields_only(scripted: ProviderProcess, provider: OpenAIProvider) -> None:
    whole = await provider.create_chat_completion(call_to(scripted, "extras", extras=False))
    chunks = await stream(provider, call_to(scripted, "extras", extras=False))

    assert b"x_" not in b"".join(chunk.data for chunk in chunks)
    assert "x_" not in str(whole)


async def test_usage_comes_once_and_is_asked_for(scripted: ProviderProcess, provider: OpenAIProvider) -> None:
    chunks = await stream(provider, call_to(scripted))

    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == [6]
    assert scripted.requests()[0].body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("model", ["usage-none", *(f"usage-bad-{kind}" for kind in ("negative", "float", "huge"))])
@pytest.mark.parametrize("form", ["whole", "stream"])
async def test_usage_that_cannot_be_true_is_none(
    scripted: ProviderProcess, provider: OpenAIProvider, model: str, form: Form
) -> None:
    completion = await answer(provider, call_to(scripted, model), form)

    assert completion.usage is None
    assert completion.choices[0]["message"]["content"] == HELLO_TEXT


async def test_usage_that_is_only_large_is_believed(scripted: ProviderProcess, provider: OpenAIProvider) -> None:
    completion = await provider.create_chat_completion(call_to(scripted, "usage-bad-large"))

    assert completion.usage is not None
    assert completion.usage.total_tokens == 2 * 10**9


async def test_azures_first_chunk_is_an_extra(scripted: ProviderProcess, provider: OpenAIProvider) -> None:
    lax = await stream(provider, call_to(scripted, "empty-choices"))
    strict = await stream(provider, call_to(scripted, "empty-choices", extras=False))

    assert "prompt_filter_results" in lax[0].body
    assert len(strict) == len(lax) - 1
    assert text_of(strict) == HELLO_TEXT


# --- X1 to X5 -----------------------------------------------------------------------------------------------------


async def test_every_freedom_of_the_format_is_taken(scripted: ProviderProcess, provider: OpenAIProvider) -> None:
    chunks = await stream(provider, call_to(scripted, "comments"))

    assert text_of(chunks) == HELLO_TEXT


async def test_separators_that_are_none_stay_in_the_text(scripted: ProviderProcess, provider: OpenAIProvider) -> None:
    chunks = await stream(provider, call_to(scripted, "u2028"))

    assert "one\u2028two\u2029three\u0085four\x0bfive" in text_of(chunks)
    assert all(b"\n" not in chunk.data for chunk in chunks)


async def test_content_cannot_become_an_event(scripted: ProviderProcess, provider: OpenAIProvider) -> None:
    evil = 'x\n\ndata: {"choices": []}\n\ndata: [DONE]\n\n\r\r'

    chunks = await stream(provider, call_to(scripted, messages=[{"role": "user", "content": evil}]))

    assert text_of(chunks) == evil
    assert all(b"\n" not in chunk.data and b"\r" not in chunk.data for chunk in chunks)


# --- the other form than was asked --------------------------------------------------------------------------------


async def test_a_whole_answer_is_taken_for_a_stream(scripted: ProviderProcess, provider: OpenAIProvider) -> None:
    chunks = await stream(provider, call_to(scripted, "wrong-type", n=2))

    assert (text_of(chunks), text_of(chunks, 1)) == (HELLO_TEXT, HELLO_TEXT)
    assert [choice["finish_reason"] for chunk in chunks for choice in chunk.body["choices"]] == ["stop", "stop"]
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == [9]


async def test_a_stream_is_taken_for_a_whole_answer(scripted: ProviderProcess, provider: OpenAIProvider) -> None:
    asked = await provider.create_chat_completion(call_to(scripted, "echo"))
    unasked = await provider.create_chat_completion(call_to(scripted, "whole-stream"))

    assert unasked.choices == asked.choices


# --- connections --------------------------------------------------------------------------------------------------


async def test_answers_of_both_forms_leave_their_connection_usable(
    scripted: ProviderProcess, provider: OpenAIProvider
) -> None:
    for model in ("echo", "words-n100", "status-400", "tools", "usage-none"):
        await outcome(provider, call_to(scripted, model))
        await provider.create_chat_completion(call_to(scripted))

    assert {seen.connection for seen in scripted.requests()} == {scripted.requests()[0].connection}


async def test_a_cookie_does_not_come_back(scripted: ProviderProcess, provider: OpenAIProvider) -> None:
    named = scripted.base_url.replace("127.0.0.1", "localhost")

    answers = [await provider.create_chat_completion(a_call(a_target("cookie", named))) for _ in range(2)]

    assert [answer.choices[0]["message"]["content"] for answer in answers] == ["Cookie: none", "Cookie: none"]


@pytest.mark.parametrize("form", ["whole", "stream"])
async def test_a_poisoned_connection_poisons_nobody(
    scripted: ProviderProcess, provider: OpenAIProvider, form: Form
) -> None:
    for _ in range(5):
        await answer(provider, call_to(scripted, "two-responses"), form)

        completion = await provider.create_chat_completion(call_to(scripted))

        assert completion.choices[0]["message"]["content"] == HELLO_TEXT
