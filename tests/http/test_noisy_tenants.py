"""T8 and S1: what a tenant or a body asks for at the cost of others, or at an address of its own."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.adapters.openai.servers import Reader, Writer, serving
from tests.http.member import Member
from tests.http.replica import Replica, running
from tests.http.surfaces import GROUP, PROVIDER, SURFACES, TENANT, Surface
from tests.http.told import told
from tests.provider.process import ProviderProcess

LIMIT = 3
OTHERS = 5
#: Fields with which libraries say where a request is to go, and with which key.
ELSEWHERE = ("api_base", "base_url", "api_key", "custom_llm_provider")


def saying(text: str, **fields: Any) -> dict[str, Any]:
    # Long enough for all of the others to be there at the same time as the first of the noisy one.
    return {"model": "slow-300", "messages": [{"role": "user", "content": text}], **fields}


@pytest.fixture(scope="module")
async def narrow(process: ProviderProcess) -> AsyncIterator[Replica]:
    """A replica with room at the provider for what the limits allow, and with no queue for any more."""
    async with running(process, target_runs=LIMIT + OTHERS, target_queue=0) as started:
        yield started


# --- T8 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_tenant_at_ten_times_its_limit_takes_nothing_from_the_others(
    narrow: Replica, provider: ProviderProcess, stream: bool
) -> None:
    noisy = Member(narrow, await narrow.add_tenant(limits={"requests_per_minute": LIMIT}))
    others = [Member(narrow, await narrow.add_tenant()) for _ in range(OTHERS)]

    surplus = [asyncio.create_task(noisy.post(TENANT, **saying("noise", stream=stream))) for _ in range(10 * LIMIT)]
    answers = await asyncio.gather(*(other.post(TENANT, **saying("quiet", stream=stream)) for other in others))
    noise = [await answer for answer in surplus]

    assert [answer.status_code for answer in answers] == [200] * OTHERS
    assert Counter(answer.status_code for answer in noise) == {200: LIMIT, 429: 9 * LIMIT}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in noise if answer.status_code == 429)
    asked = Counter(seen.body["messages"][0]["content"] for seen in provider.requests())
    assert asked == {"noise": LIMIT, "quiet": OTHERS}


async def test_a_tenant_at_ten_times_its_runs_under_way_takes_no_place_of_the_others(
    narrow: Replica, provider: ProviderProcess
) -> None:
    noisy = Member(narrow, await narrow.add_tenant(limits={"concurrent_runs": LIMIT}))
    other = Member(narrow, await narrow.add_tenant())
    stuck = [asyncio.create_task(noisy.post(TENANT, model="slow-5000")) for _ in range(LIMIT)]
    await provider.seen_when(lambda seen: len(seen) == LIMIT)

    noise = await asyncio.gather(*(noisy.post(TENANT, model="slow-5000") for _ in range(9 * LIMIT)))
    answers = await asyncio.gather(*(other.post(TENANT, model="echo") for _ in range(OTHERS)))

    assert {answer.status_code for answer in noise} == {429}
    assert {answer.status_code for answer in answers} == {200}
    assert len(provider.requests()) == LIMIT + OTHERS
    for waiting in stuck:
        waiting.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)


# --- S1 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ELSEWHERE)
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_body_cannot_say_where_a_request_goes(
    member: Member, provider: ProviderProcess, surface: Surface, field: str
) -> None:
    knocks: list[object] = []

    async def knocked(reader: Reader, writer: Writer) -> None:
        knocks.append(writer)

    async with serving(knocked) as origin:
        answer = await member.whole(surface, **{field: f"{origin}/v1"})

        if surface is PROVIDER:
            assert (told(answer, surface).status, told(answer, surface).code) == (422, "unknown_parameter")
            assert provider.requests() == []
        else:
            (seen,) = provider.requests()
            assert (answer.status_code, seen.body[field]) == (200, f"{origin}/v1")
        assert knocks == []


@pytest.mark.parametrize("surface", [GROUP, TENANT], ids=str)
async def test_a_key_in_a_body_is_not_the_key_that_the_provider_is_asked_with(
    member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    await member.whole(surface, provider="keyed", api_key="sk-of-the-caller")

    (seen,) = provider.requests()
    assert "sk-of-the-caller" not in seen.headers["authorization"]
