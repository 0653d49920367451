"""What is sent to a provider: the caller's body in the provider's dialect."""

from typing import Any

import orjson

from adapters.openai.wire import request_body
from domain.ports import Call
from domain.providers import Quirks
from tests.adapters.openai.calls import HELLO, a_call, a_target


def sent(call: Call, *, stream: bool = True) -> Any:
    return orjson.loads(request_body(call, stream=stream))


def to_a_provider_with(quirks: Quirks, **body: Any) -> Call:
    return a_call(a_target(quirks=quirks), **body)


def test_the_models_name_is_the_providers() -> None:
    body = sent(a_call(a_target("openai/gpt-4o"), temperature=0.5, unknown={"x": [1]}))

    assert body["model"] == "openai/gpt-4o"
    assert (body["temperature"], body["unknown"], body["messages"]) == (0.5, {"x": [1]}, HELLO)


def test_usage_is_asked_of_every_stream_among_the_callers_own_options() -> None:
    body = sent(a_call(stream_options={"include_usage": False, "include_obfuscation": False}))

    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True, "include_obfuscation": False}


def test_a_null_for_options_is_as_good_as_none() -> None:
    assert sent(a_call(stream_options=None))["stream_options"] == {"include_usage": True}


def test_a_whole_answer_has_no_stream_options() -> None:
    body = sent(a_call(stream_options={"include_usage": True}), stream=False)

    assert body["stream"] is False
    assert "stream_options" not in body


def test_a_provider_that_gives_usage_by_itself_is_not_asked() -> None:
    call = to_a_provider_with(Quirks(stream_usage="given"), stream_options={"include_usage": True})

    assert "stream_options" not in sent(call)


def test_fields_are_renamed_and_dropped() -> None:
    quirks = Quirks(rename={"max_completion_tokens": "max_tokens", "seed": "random_seed"}, drop=("store", "absent"))

    body = sent(to_a_provider_with(quirks, max_completion_tokens=7, max_tokens=9, seed=1, store=True))

    assert (body["max_tokens"], body["random_seed"]) == (7, 1)
    assert body.keys().isdisjoint({"max_completion_tokens", "seed", "store"})


def test_developer_messages_get_the_role_that_the_provider_knows() -> None:
    messages = [{"role": "developer", "content": "be brief"}, {"role": "user", "content": "developer"}]

    body = sent(to_a_provider_with(Quirks(developer_role="system"), messages=messages))

    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert sent(a_call(messages=messages))["messages"] == messages


def test_the_callers_body_is_left_as_it_was() -> None:
    messages = [{"role": "developer", "content": "be brief"}]
    quirks = Quirks(rename={"seed": "random_seed"}, drop=("store",), developer_role="system")
    call = to_a_provider_with(quirks, messages=messages, seed=1, store=True, stream_options={})
    before = orjson.dumps(call.body)

    sent(call)

    assert orjson.dumps(call.body) == before
