"""Whose a run is: another's is as unknown as one that never was, down to the last byte."""

import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

import httpx
import pytest

from tests.http.member import Member
from tests.http.replica import Replica
from tests.http.surfaces import GROUP, PROVIDER, SURFACES, TENANT, Surface
from tests.http.told import told
from tests.http.wire import asking
from tests.provider.process import ProviderProcess

Ask: TypeAlias = Callable[[Member, Surface, str], Awaitable[httpx.Response]]
NEVER_WAS = "chatcmpl-01JXW3DR0000000000000000G0"
#: What can be asked of a run.
QUESTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"stream": "true"},
    {"stream": "true", "starting_after": "1"},
    {"stream": "true", "starting_after": "abc"},
    {"stream": "true", "starting_after": "999"},
)


def masked(answer: httpx.Response) -> tuple[int, list[tuple[str, str]], bytes]:
    """All that there is to see of an answer, without its request id."""
    headers = [(name, value) for name, value in answer.headers.multi_items() if name != "x-request-id"]
    return answer.status_code, sorted(headers), answer.content


async def fetch(member: Member, surface: Surface, run_id: str, **query: str) -> httpx.Response:
    return await member.fetch(surface, run_id, headers=None, **query)


async def cancel(member: Member, surface: Surface, run_id: str) -> httpx.Response:
    return await member.cancel(surface, run_id)


async def go_on(member: Member, surface: Surface, run_id: str, place: str = "1-1") -> httpx.Response:
    return await member.post(surface, headers={"Last-Event-ID": f"{run_id}:{place}"}, stream=True)


#: All that can be asked of a run.
WAYS: dict[str, Ask] = {
    **{f"GET {query}": partial(fetch, **query) for query in QUESTIONS},
    "cancel": cancel,
    "POST": go_on,
    "POST ahead": partial(go_on, place="1-999"),
    "POST of another attempt": partial(go_on, place="9-1"),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_anothers_run_is_as_unknown_as_one_that_never_was(
    replica: Replica, member: Member, surface: Surface, way: Ask
) -> None:
    bob = Member(replica, member.tenant, user="bob")
    elsewhere = Member(replica, await replica.add_tenant(), user="ann")
    run_id = (await member.stream(surface)).run_id

    unknown = await way(bob, surface, NEVER_WAS)
    of_another_user = await way(bob, surface, run_id)
    of_another_tenant = await way(elsewhere, surface, run_id)

    assert masked(of_another_user) == masked(unknown)
    assert masked(of_another_tenant) == masked(unknown)
    assert (told(unknown, surface).status, told(unknown, surface).code) == (404, "completion_not_found")
    assert told(unknown, surface).message == "No such completion"


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_nobody_cancels_anothers_run(
    replica: Replica, member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    async with asking(member, surface, model="stall-n2", stream=True) as wire:
        await wire.read_head()
        await wire.read_until(b"w1")

        await Member(replica, member.tenant, user="bob").cancel(surface, wire.run_id)

        assert (await member.fetch(surface, wire.run_id)).json()["status"] == "in_progress"
        assert not provider.requests()[0].disconnected


@pytest.mark.parametrize(
    "name", ["", "job-1", "x" * 200, "chatcmpl-", "%00", "..%2f..", "{run}", "💥", NEVER_WAS.lower()]
)
async def test_what_is_no_id_of_a_run_is_an_unknown_completion(member: Member, name: str) -> None:
    answer = await member.fetch(TENANT, name)

    assert told(answer, TENANT).status in (404, 405)
    assert told(answer, TENANT).code in ("completion_not_found", "method_not_supported")


@pytest.mark.parametrize("name", ["job-1", "x" * 200, "%00", "..%2f..", "💥", "conv-1", NEVER_WAS.lower()])
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_what_is_no_id_of_a_run_cannot_be_cancelled(member: Member, surface: Surface, name: str) -> None:
    answer = await member.cancel(surface, name)

    assert (told(answer, surface).status, told(answer, surface).code) == (404, "completion_not_found")


@pytest.mark.parametrize("prefer", [None, "wait=60"])
async def test_nobody_waits_for_anothers_run(replica: Replica, member: Member, prefer: str | None) -> None:
    job = await member.post(GROUP, model="hang")
    bob = Member(replica, member.tenant, user="bob")

    answer = await bob.fetch(GROUP, job.json()["id"], headers={} if prefer is None else {"Prefer": prefer})

    assert told(answer, GROUP).status == 404


@pytest.mark.parametrize("surface", [TENANT, PROVIDER], ids=str)
async def test_a_run_is_not_shown_without_a_token(member: Member, surface: Surface) -> None:
    done = await member.whole(surface)

    answer = await member.replica.client.get(done.headers["content-location"])

    assert told(answer, surface).status == 401


async def test_a_members_job_is_not_shown_to_nobody_in_particular(member: Member) -> None:
    job = await member.whole(GROUP)

    answer = await member.replica.client.get(job.headers["content-location"], headers={"X-Tenant-Id": member.tenant})

    assert told(answer, GROUP).code == "completion_not_found"


async def test_a_job_of_nobodys_is_shown_to_whoever_knows_its_id_in_the_tenant(
    replica: Replica, member: Member
) -> None:
    body = member.body(GROUP, group_id="anonymous")
    nobody = {"X-Tenant-Id": member.tenant, "Prefer": "wait=10"}
    job = await replica.client.post("/v1/chat/completions", json=body, headers=nobody)
    other_tenant = {"X-Tenant-Id": await replica.add_tenant()}

    shown = await replica.client.get(job.headers["content-location"], headers=nobody)
    elsewhere = await replica.client.get(job.headers["content-location"], headers=other_tenant)

    assert shown.json()["status"] == "completed"
    assert told(elsewhere, GROUP).code == "completion_not_found"


async def test_a_bad_token_does_not_keep_nobody_from_their_job(replica: Replica, member: Member) -> None:
    nobody = {"X-Tenant-Id": member.tenant, "Authorization": "Bearer sk-whatever", "Prefer": "wait=10"}
    body = member.body(GROUP, group_id="anonymous")
    job = await replica.client.post("/v1/chat/completions", json=body, headers=nobody)

    shown = await replica.client.get(job.headers["content-location"], headers=nobody)

    assert shown.status_code == 200


async def test_anothers_run_takes_no_longer_to_be_unknown_than_one_that_never_was(replica: Replica) -> None:
    tenant = await replica.add_tenant()
    owner, stranger = Member(replica, tenant), Member(replica, tenant, user="bob")
    theirs = (await owner.post(TENANT)).headers["x-completion-id"]
    never = theirs[:-1] + ("A" if theirs[-1] != "A" else "B")
    taken: dict[str, list[float]] = {theirs: [], never: []}

    for _ in range(150):
        # In turns, so that whatever else the machine does is the same for both.
        for run_id, seconds in taken.items():
            begun = time.perf_counter()
            assert (await stranger.fetch(TENANT, run_id)).status_code == 404
            seconds.append(time.perf_counter() - begun)

    fastest, other = (statistics.quantiles(seconds, n=10)[2] for seconds in taken.values())
    assert abs(fastest - other) < 0.001
