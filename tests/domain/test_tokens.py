"""What a prompt counts, whether it fits, and what a request may cost before and after it ran."""

import pytest

from domain import tokens
from domain.chat import ChatRequest, JsonObject
from domain.errors import ContextLengthExceeded
from domain.images import ImageRule
from domain.tokens import MAX_TOKENS, TYPICAL_COMPLETION, UNBOUNDED_COMPLETION, Reservation, TokenPolicy
from tests.builders import a_call, a_choice, a_request, a_tool_answer, assistant, user
from tests.domain.test_images import data_url, png

PREPAID, STRICT = TokenPolicy.PREPAID, TokenPolicy.STRICT

# --- the examples of OpenAI's cookbook, with the totals that its API counted for gpt-4o ---------------------------
# https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken

JARGON: tuple[JsonObject, ...] = (
    {
        "role": "system",
        "content": "You are a helpful, pattern-following assistant that translates corporate jargon "
        "into plain English.",
    },
    {"role": "system", "name": "example_user", "content": "New synergies will help drive top-line growth."},
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Things working well together will increase revenue.",
    },
    {
        "role": "system",
        "name": "example_user",
        "content": "Let's circle back when we have more bandwidth to touch base on opportunities "
        "for increased leverage.",
    },
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Let's talk later when we're less busy about how to do better.",
    },
    user("This late pivot means we don't have time to boil the ocean for the client deliverable."),
)
WEATHER: tuple[JsonObject, ...] = (
    {
        "role": "system",
        "content": "You are a helpful assistant that can answer to questions about the weather.",
    },
    user("What's the weather like in San Francisco?"),
)
WEATHER_TOOL: JsonObject = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "description": "Get the current weather in a given location",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
                "unit": {
                    "type": "string",
                    "description": "The unit of temperature to return",
                    "enum": ["celsius", "fahrenheit"],
                },
            },
            "required": ["location"],
        },
    },
}
#: What o200k_base makes of the texts above, in tokens.
O200K = {
    "system": 1,
    "user": 1,
    "example_user": 2,
    "example_assistant": 3,
    "You are a helpful, pattern-following assistant that translates corporate jargon into plain English.": 17,
    "New synergies will help drive top-line growth.": 10,
    "Things working well together will increase revenue.": 8,
    "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.": 17,
    "Let's talk later when we're less busy about how to do better.": 13,
    "This late pivot means we don't have time to boil the ocean for the client deliverable.": 18,
    "You are a helpful assistant that can answer to questions about the weather.": 14,
    "What's the weather like in San Francisco?": 8,
    "get_current_weather:Get the current weather in a given location": 11,
    "location:string:The city and state, e.g. San Francisco, CA": 14,
    "unit:string:The unit of temperature to return": 8,
    "celsius": 2,
    "fahrenheit": 2,
}


def test_messages_count_what_openai_counted() -> None:
    measure = tokens.measure(a_request(*JARGON), None)

    assert measure.overhead + sum(O200K[text] for text in measure.texts) == 124


def test_tools_count_what_openai_counted() -> None:
    measure = tokens.measure(a_request(*WEATHER, more={"tools": [WEATHER_TOOL]}), None)

    assert measure.overhead + sum(O200K[text] for text in measure.texts) == 101


# --- messages ---------------------------------------------------------------------------------------------------------


def texts_of(*messages: JsonObject) -> tuple[str, ...]:
    return tokens.measure(a_request(*messages), None).texts


def test_every_text_of_a_message_counts() -> None:
    spoken = assistant("Let me see.", name="bob", refusal="No.", tool_calls=[a_call(arguments='{"city":"Rome"}')])

    assert texts_of(spoken) == ("assistant", "Let me see.", "bob", "weather", '{"city":"Rome"}', "No.")


def test_content_in_parts_counts_each_part_that_is_text() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "refusal", "refusal": "no"}, {"type": "file", "file": {}}]

    assert texts_of(user(parts)) == ("user", "one", "no")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (a_tool_answer("call_7", "sunny"), ("tool", "sunny", "call_7")),
        ({"role": "function", "name": "weather", "content": None}, ("function", "weather")),
        (assistant(function_call={"name": "weather", "arguments": "{}"}), ("assistant", "weather", "{}")),
        (
            assistant(tool_calls=[{"id": "c", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}]),
            ("assistant", "sql", "select 1"),
        ),
        (assistant(None, refusal=None, tool_calls=None), ("assistant",)),
    ],
)
def test_messages_of_tools_and_functions_count_with_what_they_carry(
    message: JsonObject, expected: tuple[str, ...]
) -> None:
    assert texts_of(message) == expected


def test_each_message_and_each_name_costs_its_frame() -> None:
    plain = tokens.measure(a_request(user("Hi")), None)
    two = tokens.measure(a_request(user("Hi"), user("Hi")), None)
    named = tokens.measure(a_request({**user("Hi"), "name": "ann"}), None)

    assert (plain.overhead, two.overhead, named.overhead) == (6, 9, 7)


def test_an_image_costs_what_the_models_rule_says_and_nothing_where_there_is_no_rule() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png", "detail": "low"}}
    request = a_request(user([picture, picture]))

    with_rule = tokens.measure(request, ImageRule(base=85))
    without = tokens.measure(request, None)

    assert with_rule.overhead - without.overhead == 170


def test_an_image_in_the_request_itself_costs_what_its_size_says() -> None:
    small = {"type": "image_url", "image_url": {"url": data_url(png(512, 512))}}

    assert tokens.measure(a_request(user([small])), ImageRule()).overhead == 6 + 255


# --- tools ------------------------------------------------------------------------------------------------------------


def a_tool(parameters: object, **declared: object) -> JsonObject:
    return {"type": "function", "function": {"name": "f", "parameters": parameters, **declared}}


def tool_measure(tool: object) -> tokens.Measure:
    """Texts and overhead of a tool alone, without the message beside it."""
    request = a_request(more={"tools": [tool]})
    plain, whole = tokens.measure(a_request(), None), tokens.measure(request, None)
    return tokens.Measure(whole.texts[len(plain.texts) :], whole.overhead - plain.overhead)


@pytest.mark.parametrize("parameters", [None, {}, {"properties": {}}, {"properties": ["x"]}, [], "none", 7])
def test_a_tool_without_parameters_costs_its_frame_alone(parameters: object) -> None:
    measure = tool_measure(a_tool(parameters, description="Does it."))

    assert measure == tokens.Measure(("f:Does it",), 7 + 12)


def test_several_tools_share_one_end() -> None:
    two = tokens.measure(a_request(more={"tools": [a_tool(None), a_tool(None)]}), None)

    assert two.overhead == 6 + 2 * 7 + 12


def test_nested_properties_count_to_the_bottom() -> None:
    address = {"type": "object", "properties": {"city": {"type": "string", "description": "Where."}}}
    stops = {"type": "array", "items": {"type": "object", "properties": {"at": {"type": "integer"}}}}

    measure = tool_measure(a_tool({"properties": {"address": address, "stops": stops}}))

    assert measure.texts == ("f:", "address:object:", "city:string:Where", "stops:array:", "at:integer:")
    assert measure.overhead == 7 + 12 + 3 * 3 + 4 * 3


def test_the_options_of_an_enum_count_whatever_their_type() -> None:
    measure = tool_measure(a_tool({"properties": {"size": {"enum": ["s", 1, None]}}}))

    assert measure.texts == ("f:", "size::", "s", "1", "None")
    assert measure.overhead == 7 + 12 + 3 + 3 - 3 + 3 * 3


@pytest.mark.parametrize("schema", [True, None, "string", {"enum": "small"}, {"enum": []}, {"description": None}])
def test_a_property_with_an_odd_schema_is_counted_as_far_as_it_goes(schema: object) -> None:
    measure = tool_measure(a_tool({"properties": {"size": schema}}))

    assert measure.overhead == 7 + 12 + 3 + 3


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [{"type": "custom", "custom": {"name": "sql", "description": "Runs."}}]},
        {"functions": [{"name": "sql", "description": "Runs."}]},
    ],
)
def test_custom_tools_and_deprecated_functions_count_like_tools(body: JsonObject) -> None:
    measure = tokens.measure(a_request(more=body), None)

    assert (measure.texts[2:], measure.overhead) == (("sql:Runs",), 6 + 7 + 12)


@pytest.mark.parametrize(
    "body", [{"tools": None}, {"tools": []}, {"tools": [{"type": "mystery"}]}, {"tools": ["x"], "functions": ["y"]}]
)
def test_where_no_tool_is_declared_none_is_counted(body: JsonObject) -> None:
    assert tokens.measure(a_request(more=body), None) == tokens.measure(a_request(), None)


# --- answers ----------------------------------------------------------------------------------------------------------


def test_all_that_a_model_said_counts_as_completion() -> None:
    said = a_choice("Hello", reasoning_content="Hm.", tool_calls=[a_call(arguments='{"a":1}')])
    refused = a_choice(None, index=1, refusal="No.", reasoning="Why?", function_call={"name": "f", "arguments": "{}"})

    texts = tokens.answer_texts([said, refused])

    assert texts == ("Hello", "Hm.", "weather", '{"a":1}', "No.", "Why?", "f", "{}")


def test_a_choice_without_a_message_counts_nothing() -> None:
    assert tokens.answer_texts([{"index": 0}, {"index": 1, "message": None}, a_choice(None)]) == ()


# --- the window -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window", "prompt", "bound", "fits"),
    [
        (100, 99, None, True),
        (100, 100, None, False),
        (100, 101, None, False),
        (100, 90, 10, True),
        (100, 90, 11, False),
        (100, 0, 100, True),
        (100, 0, 101, False),
        (None, 10**9, 10**9, True),
    ],
)
def test_a_prompt_fits_if_the_completion_that_was_asked_for_fits_beside_it(
    window: int | None, prompt: int, bound: int | None, fits: bool
) -> None:
    request = a_request(completion_bound=bound)

    if fits:
        tokens.require_fit(window, prompt, request)
    else:
        with pytest.raises(ContextLengthExceeded):
            tokens.require_fit(window, prompt, request)


def test_a_prompt_that_is_too_long_is_told_so_in_openais_words() -> None:
    with pytest.raises(ContextLengthExceeded) as refusal:
        tokens.require_fit(100, 120, a_request())

    assert refusal.value.message == (
        "This model's maximum context length is 100 tokens. However, your messages resulted in 120 tokens. "
        "Please reduce the length of the messages or completion."
    )
    assert (refusal.value.code, refusal.value.param) == ("context_length_exceeded", "messages")


def test_prompt_and_completion_together_are_told_apart() -> None:
    with pytest.raises(ContextLengthExceeded) as refusal:
        tokens.require_fit(100, 90, a_request(completion_bound=20))

    assert "you requested 110 tokens (90 in the messages, 20 in the completion)" in refusal.value.message


# --- the cost beforehand ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "window", "most", "choices", "expected"),
    [
        (None, None, None, 1, UNBOUNDED_COMPLETION),
        (None, None, None, 3, UNBOUNDED_COMPLETION * 3),
        (None, None, 16, 1, 16),
        (None, None, 16_384, 1, 16_384),
        (None, 1_000, 16, 1, 16),
        (None, 110, 16, 1, 10),
        (None, 110, None, 2, 20),
        (8, None, None, 1, 8),
        (8, None, None, 3, 24),
        (8, 1_000, 16, 1, 8),
        (32, 1_000, 16, 1, 16),
        (9_999, None, None, 1, 9_999),
        (8, 100, 16, 1, 1),
        (8, 50, 16, 2, 2),
    ],
)
def test_the_completion_is_bounded_by_whoever_bounds_it_most(
    asked: int | None, window: int | None, most: int | None, choices: int, expected: int
) -> None:
    request = a_request(completion_bound=asked, choices=choices)

    bound = tokens.completion_bound(request, window=window, max_output_tokens=most, prompt_tokens=100)

    assert bound == expected


@pytest.mark.parametrize(
    ("asked", "choices", "bound", "expected"),
    [
        (None, 1, 50_000, 100 + TYPICAL_COMPLETION),
        (None, 2, 50_000, 100 + TYPICAL_COMPLETION * 2),
        (None, 1, 16, 116),
        (8, 1, 8, 108),
        (8, 3, 24, 124),
        (5_000, 1, 5_000, 5_100),
        (5_000, 1, 16, 116),
    ],
)
def test_a_rate_meter_is_charged_what_was_asked_for_or_a_typical_completion(
    asked: int | None, choices: int, bound: int, expected: int
) -> None:
    request = a_request(completion_bound=asked, choices=choices)

    assert tokens.rate_estimate(request, 100, bound) == expected


@pytest.mark.parametrize(
    ("policy", "prompt", "bound", "expected"),
    [
        (PREPAID, 100, 50, Reservation(wanted=150, least=1)),
        (PREPAID, 0, 0, Reservation(wanted=1, least=1)),
        (PREPAID, MAX_TOKENS, 50, Reservation(wanted=MAX_TOKENS, least=1)),
        (STRICT, 100, 50, Reservation(wanted=150, least=101)),
        (STRICT, 100, 1, Reservation(wanted=101, least=101)),
        (STRICT, 0, 0, Reservation(wanted=1, least=1)),
        (STRICT, MAX_TOKENS, 50, Reservation(wanted=MAX_TOKENS, least=MAX_TOKENS)),
    ],
)
def test_a_reservation_wants_the_whole_cost_and_insists_on_what_the_policy_says(
    policy: TokenPolicy, prompt: int, bound: int, expected: Reservation
) -> None:
    assert tokens.reservation(policy, prompt, bound) == expected


@pytest.mark.parametrize(
    ("policy", "held", "asked", "choices", "clamped"),
    [
        (PREPAID, 1, None, 1, None),
        (PREPAID, 1, 500, 1, None),
        (STRICT, 130, None, 1, 30),
        (STRICT, 130, 30, 1, None),
        (STRICT, 130, 29, 1, None),
        (STRICT, 130, 31, 1, 30),
        (STRICT, 130, None, 3, 10),
        (STRICT, 130, 10, 3, None),
        (STRICT, 130, 11, 3, 10),
        (STRICT, 131, None, 3, 10),
        (STRICT, 101, 500, 1, 1),
        (STRICT, 100, 500, 1, 1),
        (STRICT, 5, None, 1, 1),
    ],
)
def test_strict_lowers_the_completion_to_what_was_held_beyond_the_prompt(
    policy: TokenPolicy, held: int, asked: int | None, choices: int, clamped: int | None
) -> None:
    request: ChatRequest = a_request(completion_bound=asked, choices=choices)

    assert tokens.clamped_bound(policy, held=held, prompt_tokens=100, request=request) == clamped
