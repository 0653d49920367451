"""What an answer cost: as the provider says, counted where it says nothing usable, and taken from the balance."""

import pytest

from tests.http.member import HELLO, Member
from tests.http.replica import Replica
from tests.http.surfaces import GROUP, PROVIDER, SURFACES, TENANT, Surface
from tests.http.told import plainly
from tests.provider.process import ProviderProcess

TEXT = HELLO[0]["content"]


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_the_providers_usage_is_the_answers(member: Member, surface: Surface) -> None:
    answer = await member.whole(surface)

    # The scripted provider counts words.
    usage = answer.json()["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (4, 4, 8)
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 0


@pytest.mark.parametrize(
    "habit", ["usage-none", *(f"usage-bad-{kind}" for kind in ("negative", "float", "huge", "text"))]
)
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_usage_that_cannot_be_true_is_counted(member: Member, surface: Surface, habit: str) -> None:
    answer = await member.whole(surface, model=habit)

    counted = await member.replica.container.tokenizer().count("o200k_base", [TEXT])
    usage = answer.json()["usage"]
    assert usage["completion_tokens"] == counted
    assert usage["prompt_tokens"] > counted
    assert usage["total_tokens"] == usage["prompt_tokens"] + counted


@pytest.mark.parametrize("habit", ["usage-none", "usage-in-finish", "usage-always"])
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_stream_that_was_asked_for_usage_has_it_whatever_the_provider_does(
    member: Member, surface: Surface, habit: str
) -> None:
    stream = await member.stream(surface, model=habit, stream_options={"include_usage": True})

    assert [bool(chunk["usage"]) for chunk in stream.chunks] == [False] * (len(stream.chunks) - 1) + [True]
    assert stream.chunks[-1]["choices"] == []


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (None, {"include_usage": True}),
        ({}, {"include_usage": True}),
        ({"include_usage": False}, {"include_usage": True}),
        ({"include_obfuscation": False}, {"include_obfuscation": False, "include_usage": True}),
    ],
)
async def test_usage_is_always_asked_of_a_stream(
    member: Member, provider: ProviderProcess, options: object, sent: object
) -> None:
    await member.stream(TENANT, stream_options=options)

    assert provider.requests()[0].body["stream_options"] == sent


async def test_a_whole_answer_is_not_asked_for_what_only_streams_have(
    member: Member, provider: ProviderProcess
) -> None:
    await member.post(TENANT)

    assert "stream_options" not in provider.requests()[0].body


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_whole_answer_is_charged_what_it_used(member: Member, surface: Surface) -> None:
    member.replica.set_balance(member.tenant, 1_000)

    answer = await member.whole(surface)

    assert answer.headers["x-sluice-charged-tokens"] == "8"
    assert await member.replica.available(member.tenant) == 992


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_stream_is_charged_the_same_and_says_so_when_it_is_fetched(member: Member, surface: Surface) -> None:
    member.replica.set_balance(member.tenant, 1_000)

    stream = await member.stream(surface)
    state = await member.fetch(surface, stream.run_id)

    assert "x-sluice-charged-tokens" not in stream.headers
    assert state.headers["x-sluice-charged-tokens"] == "8"
    assert await member.replica.available(member.tenant) == 992


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_an_answer_that_never_came_costs_nothing(member: Member, surface: Surface) -> None:
    member.replica.set_balance(member.tenant, 1_000)

    await member.whole(surface, model="status-500")

    assert await member.replica.available(member.tenant) == 1_000


async def test_who_was_admitted_with_too_little_may_finish_and_owes_the_rest(member: Member) -> None:
    member.replica.set_balance(member.tenant, 1)

    first = await member.post(TENANT)
    second = await member.post(TENANT)

    assert first.status_code == 200
    assert await member.replica.available(member.tenant) == -7
    assert plainly(second).message == "Insufficient tokens"


async def test_a_strict_tenant_sends_no_more_than_can_be_paid_for(replica: Replica, provider: ProviderProcess) -> None:
    member = Member(replica, await replica.add_tenant(policy="strict"))
    replica.set_balance(member.tenant, 100)

    await member.post(TENANT, max_tokens=5_000)

    assert 0 < provider.requests()[0].body["max_tokens"] < 100


async def test_a_strict_tenant_refuses_a_prompt_that_cannot_be_paid_for(replica: Replica) -> None:
    member = Member(replica, await replica.add_tenant(policy="strict"))
    replica.set_balance(member.tenant, 5)

    answer = await member.post(TENANT)

    assert plainly(answer).message == "Insufficient tokens"


async def test_nobody_in_particular_starts_anew_with_each_request(replica: Replica) -> None:
    member = Member(replica, await replica.add_tenant(groups={"anonymous": {"initial_tokens": 1}}, default_group=None))

    answers = [await member.post(GROUP, group_id="anonymous") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 200]


async def test_a_member_is_granted_tokens_once(replica: Replica) -> None:
    member = Member(replica, await replica.add_tenant(groups={"staff": {"initial_tokens": 1}}))

    first = await member.post(PROVIDER)
    second = await member.post(PROVIDER)

    assert (first.status_code, second.status_code) == (200, 429)
