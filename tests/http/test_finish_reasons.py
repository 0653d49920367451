"""Why a choice ended, in OpenAI's words, whatever the provider calls it."""

import pytest

from tests.http.member import Member
from tests.http.surfaces import PROVIDER, TENANT
from tests.http.told import as_openai

REASONS = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "function_call": "function_call",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "COMPLETE": "stop",
    "STOP": "stop",
    "max_tokens": "length",
    "MAX_TOKENS": "length",
    "model_length": "length",
    "tool_use": "tool_calls",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "something-new": "stop",
}


@pytest.mark.parametrize("theirs", REASONS)
async def test_a_whole_answer_ends_for_one_of_openais_reasons(member: Member, theirs: str) -> None:
    answer = await member.post(PROVIDER, model=f"finish-{theirs}")

    assert answer.json()["choices"][0]["finish_reason"] == REASONS[theirs]


@pytest.mark.parametrize("theirs", REASONS)
async def test_a_stream_ends_for_the_same_reason(member: Member, theirs: str) -> None:
    stream = await member.stream(TENANT, model=f"finish-{theirs}")

    assert stream.chunks[-1]["choices"][0]["finish_reason"] == REASONS[theirs]


@pytest.mark.parametrize("theirs", ["error", "abort"])
async def test_a_reason_that_says_the_answer_broke_off_is_a_failure(member: Member, theirs: str) -> None:
    whole = await member.post(PROVIDER, model=f"finish-{theirs}")
    stream = await member.stream(PROVIDER, model=f"finish-{theirs}")

    assert (as_openai(whole).status, as_openai(whole).code) == (502, "upstream_truncated")
    assert stream.error["code"] == "upstream_truncated"
    assert not stream.is_done
