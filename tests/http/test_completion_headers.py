"""The headers of a completion: who answered, where it can be had again, what is left of the limits."""

import re

import pytest

from tests.http.member import Member
from tests.http.replica import Replica
from tests.http.surfaces import GROUP, PROVIDER, SURFACES, TENANT, Surface

DURATION = re.compile(r"\d+ms|\d+(\.\d+)?s|\d+m\d+(\.\d+)?s|\d+h\d+m\d+(\.\d+)?s")
LIMITS = {"requests_per_minute": 60, "tokens_per_minute": 60_000}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_completion_says_where_it_can_be_had_again(member: Member, surface: Surface, stream: bool) -> None:
    answer = await member.post(surface, headers={"Prefer": "wait=10"}, stream=stream)

    location = answer.headers["content-location"]
    again = await member.replica.client.get(location, headers=member.headers(surface))
    assert location == f"{surface.path(member.tenant)}/{answer.headers['x-completion-id']}"
    assert again.json()["status"] == "completed"
    assert again.json()["choices"][0]["message"]["content"] == "Hello, who are you?"


async def test_a_job_says_where_it_will_be(member: Member) -> None:
    job = await member.post(GROUP)

    answer = await member.replica.client.get(
        job.headers["content-location"], headers={**member.headers(GROUP), "Prefer": "wait=10"}
    )

    assert answer.json()["status"] == "completed"
    assert answer.headers["content-location"] == job.headers["content-location"]


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_path_that_ends_in_a_slash_has_the_same_location(member: Member, surface: Surface) -> None:
    answer = await member.replica.client.post(
        f"{surface.path(member.tenant)}/", json=member.body(surface), headers=member.headers(surface)
    )

    run_id = answer.headers["x-completion-id"]
    assert answer.headers["content-location"] == f"{surface.path(member.tenant)}/{run_id}"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_completion_shows_both_of_the_tenants_meters(replica: Replica, surface: Surface, stream: bool) -> None:
    member = Member(replica, await replica.add_tenant(limits=LIMITS))

    headers = (await member.post(surface, stream=stream, max_tokens=100)).headers

    assert headers["x-ratelimit-limit-requests"] == "60"
    assert headers["x-ratelimit-remaining-requests"] == "59"
    assert headers["x-ratelimit-reset-requests"] == "1m0s"
    assert headers["x-ratelimit-limit-tokens"] == "60000"
    taken = 60_000 - int(headers["x-ratelimit-remaining-tokens"])
    assert 100 < taken < 130
    assert headers["x-ratelimit-reset-tokens"] == "1m0s"


async def test_what_is_left_of_a_limit_goes_down(replica: Replica) -> None:
    member = Member(replica, await replica.add_tenant(limits=LIMITS))

    left = [int((await member.post(TENANT)).headers["x-ratelimit-remaining-requests"]) for _ in range(3)]

    assert left == [59, 58, 57]


async def test_a_meter_that_the_tenant_does_not_have_is_not_shown(replica: Replica) -> None:
    member = Member(replica, await replica.add_tenant(limits={"requests_per_minute": 60, "tokens_per_minute": None}))

    headers = (await member.post(TENANT)).headers

    assert "x-ratelimit-limit-requests" in headers
    assert not any(name.startswith("x-ratelimit") and name.endswith("-tokens") for name in headers)


async def test_each_duration_is_in_openais_notation(replica: Replica) -> None:
    for limit in (1, 7, 100_000):
        member = Member(replica, await replica.add_tenant(limits={"requests_per_minute": limit}))

        headers = (await member.post(PROVIDER)).headers

        assert DURATION.fullmatch(headers["x-ratelimit-reset-requests"])
        assert DURATION.fullmatch(headers["x-ratelimit-reset-tokens"])


async def test_a_whole_minute_is_told_in_minutes(replica: Replica) -> None:
    member = Member(replica, await replica.add_tenant(limits={"requests_per_minute": 1_000}))

    answer = await member.post(TENANT)

    assert answer.headers["x-ratelimit-reset-requests"] == "1m0s"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("surface", [GROUP, TENANT], ids=str)
async def test_a_cache_key_is_answered_with_whether_the_cache_had_it(
    member: Member, surface: Surface, stream: bool
) -> None:
    answer = await member.post(surface, cache_key="intro-conversation-v1", stream=stream)

    assert answer.headers["x-cache"].lower() == "miss"


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_without_a_cache_key_nothing_is_said_of_a_cache(member: Member, surface: Surface) -> None:
    answer = await member.post(surface)

    assert "x-cache" not in answer.headers


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_completion_says_which_provider_answered(member: Member, surface: Surface, stream: bool) -> None:
    answer = await member.post(surface, stream=stream)

    assert answer.headers["x-sluice-provider"] == "scripted"


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_whole_answer_says_what_it_was_charged(member: Member, surface: Surface) -> None:
    answer = await member.whole(surface)

    assert int(answer.headers["x-sluice-charged-tokens"]) == answer.json()["usage"]["total_tokens"]


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_failed_completion_has_its_headers_too(member: Member, surface: Surface) -> None:
    answer = await member.whole(surface, model="status-500")

    assert answer.status_code == 502
    assert answer.headers["content-location"].endswith(answer.headers["x-completion-id"])
    assert answer.headers["x-sluice-provider"] == "scripted"
    assert answer.headers["x-ratelimit-limit-requests"] == "10000"
