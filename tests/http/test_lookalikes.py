"""Values that look like good ones, and crowds of good ones: refused by name, before anything is spent."""

from typing import Any

import pytest

from tests.http.member import HELLO, Member
from tests.http.surfaces import SURFACES, TENANT, Surface
from tests.http.told import told
from tests.provider.process import ProviderProcess

#: A value that looks like a good one, and what is said of it.
LOOKALIKES: dict[str, tuple[dict[str, Any], str, str]] = {
    "n true": ({"n": True}, "n", "invalid_type"),
    "n as text": ({"n": "1"}, "n", "invalid_type"),
    "n as a float": ({"n": 1.0}, "n", "invalid_type"),
    "n of 129": ({"n": 129}, "n", "integer_above_max_value"),
    "max_tokens of a billion": ({"max_tokens": 10**9}, "max_tokens", "integer_above_max_value"),
    "max_tokens as 1e9": ({"max_tokens": 1e9}, "max_tokens", "invalid_type"),
    "max_completion_tokens": ({"max_completion_tokens": 10**9}, "max_completion_tokens", "integer_above_max_value"),
    "max_completion_tokens of 2^63": (
        {"max_completion_tokens": 2**63},
        "max_completion_tokens",
        "integer_above_max_value",
    ),
    "seed of 2^63": ({"seed": 2**63}, "seed", "integer_above_max_value"),
    "stream as a number": ({"stream": 1}, "stream", "invalid_type"),
    "temperature as text": ({"temperature": "1"}, "temperature", "invalid_type"),
}


@pytest.mark.parametrize("row", LOOKALIKES)
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_lookalike_is_refused_by_name_before_anything_is_spent(
    member: Member, provider: ProviderProcess, surface: Surface, row: str
) -> None:
    fields, param, code = LOOKALIKES[row]
    member.replica.set_balance(member.tenant, 1_000)

    answer = await member.post(surface, **fields)

    error = told(answer, surface)
    assert (error.status, error.code) == (surface.invalid_status, code)
    assert error.param in (param, None)
    assert f"'{param}'" in error.message
    assert await member.replica.available(member.tenant) == 1_000
    assert provider.requests() == []


async def test_an_integer_of_64_bits_reaches_the_provider_exactly(member: Member, provider: ProviderProcess) -> None:
    await member.whole(TENANT, seed=2**53 + 1, extra=2**64 - 1)

    body = provider.requests()[0].body
    assert (body["seed"], body["extra"]) == (2**53 + 1, 2**64 - 1)


@pytest.mark.parametrize("count", [100_000])
async def test_a_crowd_of_messages_or_tools_is_refused(member: Member, count: int) -> None:
    tool = {"type": "function", "function": {"name": "a"}}

    of_messages = await member.post(TENANT, messages=HELLO * count)
    of_tools = await member.post(TENANT, tools=[tool] * count)

    assert [told(answer, TENANT).code for answer in (of_messages, of_tools)] == ["json_too_large"] * 2
