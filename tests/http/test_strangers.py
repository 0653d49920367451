"""Whose a run is: another's is as unknown as one that never was, down to the last byte."""

from typing import Any

import httpx
import pytest

from tests.http.member import Member
from tests.http.replica import Replica
from tests.http.surfaces import GROUP, PROVIDER, SURFACES, TENANT, Surface
from tests.http.told import told

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


@pytest.mark.parametrize("query", QUESTIONS, ids=str)
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_anothers_run_is_as_unknown_as_one_that_never_was(
    replica: Replica, member: Member, surface: Surface, query: dict[str, Any]
) -> None:
    bob = Member(replica, member.tenant, user="bob")
    elsewhere = Member(replica, await replica.add_tenant(), user="ann")
    run_id = (await member.whole(surface)).headers["x-completion-id"]

    unknown = await bob.fetch(surface, NEVER_WAS, **query)
    of_another_user = await bob.fetch(surface, run_id, **query)
    of_another_tenant = await elsewhere.fetch(surface, run_id, **query)

    assert masked(of_another_user) == masked(unknown)
    assert masked(of_another_tenant) == masked(unknown)
    assert (told(unknown, surface).status, told(unknown, surface).code) == (404, "completion_not_found")
    assert told(unknown, surface).message == "No such completion"


@pytest.mark.parametrize(
    "name", ["", "job-1", "x" * 200, "chatcmpl-", "%00", "..%2f..", "{run}", "💥", NEVER_WAS.lower()]
)
async def test_what_is_no_id_of_a_run_is_an_unknown_completion(member: Member, name: str) -> None:
    answer = await member.fetch(TENANT, name)

    assert told(answer, TENANT).status in (404, 405)
    assert told(answer, TENANT).code in ("completion_not_found", "method_not_supported")


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
