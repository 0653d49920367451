"""A real server over a tiny model: what the gateway's end-to-end tests take for granted about it."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.llama.process import LlamaProcess

pytest.importorskip("xllamacpp", reason="llama.cpp's wheel is not installed")
pytestmark = [pytest.mark.e2e, pytest.mark.slow]

HELLO: list[Any] = [{"role": "user", "content": "hello gateway"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"]},
    },
}
#: Random weights may end an answer before its first word.
NEVER_STOPS = {"ignore_eos": True}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaProcess]:
    with LlamaProcess.start(tmp_path_factory.getbasetemp() / "llama") as started:
        yield started


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaProcess]:
    with LlamaProcess.start(tmp_path_factory.getbasetemp() / "llama", "tools") as started:
        yield started


def client_of(server: LlamaProcess) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0, timeout=30)


def test_it_answers_up_to_the_bound(tiny: LlamaProcess) -> None:
    with client_of(tiny) as client:
        answer = client.chat.completions.create(model=tiny.model, messages=HELLO, max_tokens=20, extra_body=NEVER_STOPS)

    [choice] = answer.choices
    assert choice.message.content
    assert choice.finish_reason == "length"
    assert answer.usage
    assert answer.usage.completion_tokens == 20
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_answers_end_by_themselves_and_by_the_bound(tiny: LlamaProcess) -> None:
    with client_of(tiny) as client:
        reasons = {
            client.chat.completions.create(model=tiny.model, messages=HELLO, max_tokens=20, seed=seed)
            .choices[0]
            .finish_reason
            for seed in range(20)
        }

    assert reasons == {"stop", "length"}


def test_a_stream_ends_with_its_usage(tiny: LlamaProcess) -> None:
    with (
        client_of(tiny) as client,
        client.chat.completions.create(
            model=tiny.model,
            messages=HELLO,
            max_tokens=20,
            stream=True,
            stream_options={"include_usage": True},
            extra_body=NEVER_STOPS,
        ) as stream,
    ):
        *chunks, last = stream

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason
    assert last.choices == []
    assert last.usage
    assert last.usage.completion_tokens == 20


def test_a_schema_is_kept(tiny: LlamaProcess) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    wanted: Any = {
        "type": "json_schema",
        "json_schema": {"name": "a", "strict": True, "schema": {**schema, "additionalProperties": False}},
    }
    with client_of(tiny) as client:
        answer = client.chat.completions.create(
            model=tiny.model, messages=HELLO, max_tokens=100, response_format=wanted
        )

    assert set(json.loads(answer.choices[0].message.content or "")) == {"ok"}


def test_a_required_tool_is_called_with_arguments_that_fit(tools: LlamaProcess) -> None:
    with client_of(tools) as client:
        answer = client.chat.completions.create(
            model=tools.model,
            messages=HELLO,
            tools=[WEATHER],
            tool_choice="required",
            parallel_tool_calls=False,  # otherwise it mostly calls until it is stopped
        )

    call = (answer.choices[0].message.tool_calls or [])[0]
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert isinstance(json.loads(call.function.arguments)["days"], int)
    assert answer.choices[0].finish_reason == "tool_calls"


def test_a_prompt_longer_than_the_context_is_a_bad_request(tiny: LlamaProcess) -> None:
    with client_of(tiny) as client, pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=tiny.model, messages=[{"role": "user", "content": "token " * 6000}])

    assert refused.value.type == "exceed_context_size_error"
