"""Prompt and completion must fit into the model's context window; the numbers are told in OpenAI's words."""

import re
from typing import Any

import pytest

from tests.http.member import HELLO, Member
from tests.http.replica import Replica
from tests.http.surfaces import SURFACES, Surface
from tests.http.told import told

WINDOW = 100
WITH_COMPLETION = re.compile(
    r"This model's maximum context length is 100 tokens\. However, you requested (?P<sum>\d+) tokens "
    r"\((?P<prompt>\d+) in the messages, (?P<completion>\d+) in the completion\)\. "
    r"Please reduce the length of the messages or completion\."
)
WITHOUT_COMPLETION = re.compile(
    r"This model's maximum context length is 100 tokens\. However, your messages resulted in (?P<prompt>\d+) tokens\. "
    r"Please reduce the length of the messages or completion\."
)


@pytest.fixture
async def narrow(replica: Replica) -> Member:
    """A member whose only model has a context window of a hundred tokens."""
    model = {"provider": "scripted", "name": "echo", "context_window": WINDOW}
    return Member(replica, await replica.add_tenant(models={"narrow": model}, default_model="narrow"))


async def too_long(member: Member, surface: Surface, **fields: Any) -> str:
    """The message of the refusal."""
    refusal = told(await member.post(surface, model="narrow", **fields), surface)
    assert (refusal.status, refusal.code) == (400, "context_length_exceeded")
    assert refusal.param == (None if surface.dialect == "plain" else "messages")
    return refusal.message


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_messages_that_are_too_long_are_counted_in_the_refusal(narrow: Member, surface: Surface) -> None:
    message = await too_long(narrow, surface, messages=[{"role": "user", "content": "word " * 200}])

    match = WITHOUT_COMPLETION.fullmatch(message)
    assert match is not None
    assert 200 < int(match["prompt"]) < 220


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_completion_that_is_asked_for_counts_too(narrow: Member, surface: Surface, field: str) -> None:
    message = await too_long(narrow, surface, **{field: 500})

    match = WITH_COMPLETION.fullmatch(message)
    assert match is not None
    assert match["completion"] == "500"
    assert int(match["sum"]) == int(match["prompt"]) + 500


async def test_what_fits_to_the_token_is_taken_and_one_more_is_not(narrow: Member) -> None:
    surface = SURFACES[1]
    match = WITH_COMPLETION.fullmatch(await too_long(narrow, surface, max_tokens=500))
    assert match is not None
    room = WINDOW - int(match["prompt"])

    fits = await narrow.post(surface, max_tokens=room)
    spills = await too_long(narrow, surface, max_tokens=room + 1)

    assert fits.status_code == 200
    assert "you requested 101 tokens" in spills


async def test_tools_are_part_of_the_prompt(narrow: Member) -> None:
    properties = {f"field_{number}": {"type": "string", "description": "a field"} for number in range(50)}
    function = {"name": "fill_in", "parameters": {"type": "object", "properties": properties}}

    message = await too_long(narrow, SURFACES[1], tools=[{"type": "function", "function": function}])

    assert WITHOUT_COMPLETION.fullmatch(message)


async def test_a_window_that_nobody_knows_is_the_providers_to_check(member: Member) -> None:
    answer = await member.post(SURFACES[1], messages=[{"role": "user", "content": "word " * 20_000}])

    assert answer.status_code == 200


async def test_a_window_of_the_catalogue_holds_where_the_tenant_says_nothing(member: Member) -> None:
    answer = await member.post(SURFACES[1], provider="openai", model="gpt-4", messages=HELLO, max_tokens=8_192)

    assert told(answer, SURFACES[1]).message.startswith("This model's maximum context length is 8192 tokens.")
