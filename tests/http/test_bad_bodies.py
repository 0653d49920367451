"""Whatever the body is, the answer says what is wrong with it, in the surface's dialect, and never that we failed."""

import json
from typing import Any

import pytest

from entrypoints.http.schema import ChatCompletionRequest, GatewayRequest
from tests.http import bad_bodies
from tests.http.bad_bodies import EVERYTHING, UNREADABLE, VALUES, VARIANTS, Place, places, replaced, shown
from tests.http.member import HELLO, Member
from tests.http.surfaces import GROUP, PROVIDER, SURFACES, TENANT, Surface
from tests.http.told import Told, as_openai, told
from tests.provider.process import ProviderProcess

#: Codes that a body can be refused with.
CODES = {
    "array_above_max_length",
    "decimal_above_max_value",
    "decimal_below_min_value",
    "empty_array",
    "empty_string",
    "integer_above_max_value",
    "integer_below_min_value",
    "invalid_request",
    "invalid_type",
    "invalid_value",
    "missing_required_parameter",
    "object_above_max_properties",
    "string_above_max_length",
    "unknown_parameter",
}
MESSAGES = {
    "invalid_json": {
        "We could not parse the JSON body of your request.",
        "The body of your request must be a JSON object.",
    },
    "json_too_deep": {"The JSON body nests deeper than 64 levels."},
    "json_too_large": {"The JSON body has more than 50000 values."},
}


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_what_cannot_be_read_is_an_invalid_body(member: Member, surface: Surface, name: str) -> None:
    body, code = UNREADABLE[name]

    answer = await member.send(surface, body)

    error = told(answer, surface)
    assert (error.status, error.code) == (surface.invalid_status, code)
    assert error.message in MESSAGES[code]


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_an_empty_object_misses_what_is_required_first(member: Member, surface: Surface) -> None:
    answer = await member.send(surface, b"{}")

    missing = "model" if surface is PROVIDER else "messages"
    error = told(answer, surface)
    assert (error.status, error.code) == (surface.invalid_status, "missing_required_parameter")
    assert error.message == f"Missing required parameter: '{missing}'."


async def test_a_depth_within_reason_is_taken(member: Member) -> None:
    content = bad_bodies.nested(63)[:-1] + b',"messages":' + json.dumps(HELLO).encode() + b"}"

    answer = await member.send(TENANT, content)

    assert answer.status_code == 200


async def test_of_a_key_that_comes_twice_the_last_counts_and_is_what_is_sent(
    member: Member, provider: ProviderProcess
) -> None:
    content = b'{"messages": 5, "model": "gone", "messages": %s, "model": "echo"}' % json.dumps(HELLO).encode()

    answer = await member.send(PROVIDER, content)

    assert answer.status_code == 200
    assert provider.requests()[0].body == {"messages": HELLO, "model": "echo", "stream": False}


@pytest.mark.parametrize("text", ["\x00", "\u2028\u2029\u0085", "👩\u200d🚀", "<|endoftext|>", "\ufffe", "e\u0301"])
async def test_any_text_of_unicode_reaches_the_provider_and_comes_back(member: Member, text: str) -> None:
    answer = await member.post(PROVIDER, messages=[{"role": "user", "content": text}])

    assert answer.json()["choices"][0]["message"]["content"] == text


# --- the schema -------------------------------------------------------------------------------------------------------


def test_the_good_request_has_every_field_of_the_schema() -> None:
    assert EVERYTHING.keys() == ChatCompletionRequest.model_fields.keys()


@pytest.mark.parametrize("variant", [{}, *VARIANTS], ids=lambda variant: json.dumps(variant)[:60])
async def test_everything_that_the_schema_has_is_taken_and_reaches_the_provider(
    member: Member, provider: ProviderProcess, variant: dict[str, Any]
) -> None:
    body = {**EVERYTHING, **variant}

    answer = await member.send(PROVIDER, json.dumps(body).encode())

    assert answer.status_code == 200, answer.text
    assert provider.requests()[0].body == body


@pytest.mark.parametrize("place", list(places(EVERYTHING)), ids=shown)
async def test_a_value_of_a_wrong_type_is_refused_and_its_place_named(member: Member, place: Place) -> None:
    refusals = 0

    for value in VALUES:
        answer = await member.send(PROVIDER, json.dumps(replaced(EVERYTHING, place, value)).encode())
        if answer.status_code == 200:
            continue
        error = as_openai(answer)
        if error.code != "model_not_found" or place != ("model",):
            assert (error.status, error.code in CODES) == (422, True), error
        assert error.param is not None
        assert _belongs(error.param, place, EVERYTHING), error
        refusals += 1

    assert refusals


def _belongs(param: str, place: Place, body: dict[str, Any]) -> bool:
    """Whether the parameter is the place, something in it or around it, or another that depends on it."""
    here = shown(place)
    around = [shown(place[:length]) for length in range(1, len(place))]
    # Tool calls are answered by the messages behind them; top_logprobs and stream_options depend on other fields.
    depends = {
        "top_logprobs",
        "stream_options",
        "model",
        *(f"messages[{n}].role" for n in range(len(body["messages"]))),
    }
    return param.startswith(here) or param in around or param in depends or param.rpartition(".")[0] in around


@pytest.mark.parametrize("field", GatewayRequest.model_fields)
@pytest.mark.parametrize("surface", [GROUP, TENANT], ids=str)
async def test_on_the_other_surfaces_too_each_field_has_its_type(member: Member, surface: Surface, field: str) -> None:
    wrong: dict[str, Any] = {field: [[]]}

    answer = await member.post(surface, **wrong)

    error = told(answer, surface)
    assert (error.status, error.code in ("invalid_type", "invalid_value")) == (400, True)
    assert f"'{field}" in error.message


def test_the_surfaces_own_fields_are_four() -> None:
    own = GatewayRequest.model_fields.keys() - ChatCompletionRequest.model_fields.keys()

    assert own == {"group_id", "provider", "cache_key", "conversation_id"}


EMPTY = "Invalid '{}': empty array. Expected an array with minimum length 1, but got an empty array instead."
#: A field with a wrong value: the code, the parameter and the sentence, in OpenAI's words.
WRONG: tuple[tuple[dict[str, Any], str, str, str], ...] = (
    ({"messages": []}, "empty_array", "messages", EMPTY.format("messages")),
    (
        {"messages": "Hello"},
        "invalid_type",
        "messages",
        "Invalid type for 'messages': expected an array, but got a string instead.",
    ),
    (
        {"messages": [5]},
        "invalid_type",
        "messages[0]",
        "Invalid type for 'messages[0]': expected an object, but got an integer instead.",
    ),
    (
        {"messages": [{"content": "Hello"}]},
        "missing_required_parameter",
        "messages[0].role",
        "Missing required parameter: 'messages[0].role'.",
    ),
    (
        {"messages": [{"role": "robot", "content": "Hello"}]},
        "invalid_value",
        "messages[0].role",
        "Invalid value for 'messages[0].role'. Supported values are: 'system', 'developer', 'user', 'assistant', "
        "'tool', 'function'.",
    ),
    (
        {"messages": [{"role": "user"}]},
        "missing_required_parameter",
        "messages[0].content",
        "Missing required parameter: 'messages[0].content'.",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        "missing_required_parameter",
        "messages[0].content[0].text",
        "Missing required parameter: 'messages[0].content[0].text'.",
    ),
    (
        {"messages": [{"role": "user", "content": []}]},
        "empty_array",
        "messages[0].content",
        EMPTY.format("messages[0].content"),
    ),
    (
        {"messages": [{"role": "tool", "content": "x", "tool_call_id": "call_1"}]},
        "invalid_request",
        "messages[0].role",
        "Invalid parameter: messages with role 'tool' must be a response to a preceding message with 'tool_calls'.",
    ),
    (
        {"temperature": 2.5},
        "decimal_above_max_value",
        "temperature",
        "Invalid 'temperature': decimal above maximum value. Expected a value <= 2.0, but got 2.5 instead.",
    ),
    (
        {"top_p": -1},
        "integer_below_min_value",
        "top_p",
        "Invalid 'top_p': integer below minimum value. Expected a value >= 0.0, but got -1 instead.",
    ),
    (
        {"n": 0},
        "integer_below_min_value",
        "n",
        "Invalid 'n': integer below minimum value. Expected a value >= 1, but got 0 instead.",
    ),
    (
        {"n": 129},
        "integer_above_max_value",
        "n",
        "Invalid 'n': integer above maximum value. Expected a value <= 128, but got 129 instead.",
    ),
    (
        {"n": 1.5},
        "invalid_type",
        "n",
        "Invalid type for 'n': expected an integer, but got a decimal instead.",
    ),
    (
        {"stream": 1},
        "invalid_type",
        "stream",
        "Invalid type for 'stream': expected a boolean, but got an integer instead.",
    ),
    (
        {"top_logprobs": 21, "logprobs": True},
        "integer_above_max_value",
        "top_logprobs",
        "Invalid 'top_logprobs': integer above maximum value. Expected a value <= 20, but got 21 instead.",
    ),
    ({"top_logprobs": 2}, "invalid_request", "top_logprobs", "'logprobs' must be true to use 'top_logprobs'."),
    (
        {"stream_options": {"include_usage": True}},
        "invalid_request",
        "stream_options",
        "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
    ),
    (
        {"stop": ["a", "b", "c", "d", "e"]},
        "array_above_max_length",
        "stop",
        "Invalid 'stop': array too long. Expected an array with maximum length 4, "
        "but got an array with length 5 instead.",
    ),
    (
        {"user": ["ann"]},
        "invalid_type",
        "user",
        "Invalid type for 'user': expected a string, but got an array instead.",
    ),
    (
        {"model": ""},
        "empty_string",
        "model",
        "Invalid 'model': empty string. Expected a string with minimum length 1, but got an empty string instead.",
    ),
    (
        {"metadata": {str(key): "x" for key in range(17)}},
        "object_above_max_properties",
        "metadata",
        "Invalid 'metadata': too many properties. Expected an object with at most 16 properties, "
        "but got an object with 17 properties instead.",
    ),
    (
        {"safety_identifier": "x" * 65},
        "string_above_max_length",
        "safety_identifier",
        "Invalid 'safety_identifier': string too long. Expected a string with maximum length 64, "
        "but got a string with length 65 instead.",
    ),
    (
        {"tool_choice": "always"},
        "invalid_value",
        "tool_choice",
        "Invalid value for 'tool_choice'. Supported values are: 'none', 'auto' or 'required'.",
    ),
    (
        {"response_format": {"type": "xml"}},
        "invalid_value",
        "response_format.type",
        "Invalid value for 'response_format.type'. Supported values are: 'text', 'json_object', 'json_schema'.",
    ),
    (
        {"tools": [{"type": "function", "function": {"name": "a b"}}]},
        "invalid_value",
        "tools[0].function.name",
        "Invalid 'tools[0].function.name': string does not match pattern. "
        "Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
    ),
    (
        {"logit_bias": {"50256": 101}},
        "integer_above_max_value",
        "logit_bias.50256",
        "Invalid 'logit_bias.50256': integer above maximum value. Expected a value <= 100.0, but got 101 instead.",
    ),
    (
        {"seed": 2**63},
        "integer_above_max_value",
        "seed",
        "Invalid 'seed': integer above maximum value. Expected a value < 9223372036854775808, "
        "but got 9223372036854775808 instead.",
    ),
)


@pytest.mark.parametrize(("fields", "code", "param", "message"), WRONG, ids=lambda value: repr(value)[:40])
async def test_a_wrong_value_is_told_in_openais_words(
    member: Member, fields: dict[str, Any], code: str, param: str, message: str
) -> None:
    answer = await member.post(PROVIDER, **fields)

    assert as_openai(answer) == Told(422, code, message, "invalid_request_error", param)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("cache_key", "", "Invalid 'cache_key': 1 to 256 characters."),
        ("cache_key", "x" * 257, "Invalid 'cache_key': 1 to 256 characters."),
        ("conversation_id", "a b", "Invalid 'conversation_id': 1 to 128 letters, digits, '.', '_', '@' or '-'."),
        ("conversation_id", "", "Invalid 'conversation_id': 1 to 128 letters, digits, '.', '_', '@' or '-'."),
    ],
)
@pytest.mark.parametrize("surface", [GROUP, TENANT], ids=str)
async def test_a_field_of_the_gateway_has_its_rules(
    member: Member, surface: Surface, field: str, value: str, message: str
) -> None:
    wrong: dict[str, Any] = {field: value}

    answer = await member.post(surface, **wrong)

    error = told(answer, surface)
    assert (error.status, error.code, error.message) == (400, "invalid_value", message)


@pytest.mark.parametrize("key", ["x" * 1_000, "line\nbreak", "\u2028", "\x01"])
async def test_a_key_of_the_clients_is_shown_printably_and_in_part(member: Member, key: str) -> None:
    unknown: dict[str, Any] = {key: 1}

    answer = await member.post(PROVIDER, **unknown)

    param = as_openai(answer).param
    assert param is not None
    assert param.isprintable()
    assert len(param) <= 200
