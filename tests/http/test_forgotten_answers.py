"""Cached answers that an operator has forgotten: nobody gets them any more, and others' stay."""

import asyncio

import httpx
import pytest

from tests.http.admins import Admin
from tests.http.log import Log
from tests.http.member import Member
from tests.http.replica import Replica
from tests.http.surfaces import GROUP, TENANT, Surface

pytestmark = pytest.mark.anyio

#: The surfaces that take the field.
CACHED = pytest.mark.parametrize("surface", [GROUP, TENANT], ids=str)


async def ask(member: Member, surface: Surface) -> httpx.Response:
    return await member.whole(surface, cache_key="intro-conversation-v1")


@pytest.mark.parametrize(("query", "then"), [("", "miss"), ("?group=staff", "miss"), ("?group=anonymous", "hit")])
@CACHED
async def test_what_is_forgotten_is_asked_for_again_and_kept_anew(
    member: Member, surface: Surface, query: str, then: str
) -> None:
    await ask(member, surface)

    forgotten = await Admin(member.replica).ask("DELETE", f"/tenants/{member.tenant}/cache{query}")
    answers = [await ask(member, surface) for _ in range(2)]

    assert (forgotten.status_code, forgotten.content) == (204, b"")
    assert [answer.headers["x-cache"] for answer in answers] == [then, "hit"]


async def test_another_tenants_answers_are_not_forgotten(member: Member, replica: Replica) -> None:
    await ask(member, TENANT)

    await Admin(replica).ask("DELETE", f"/tenants/{await replica.add_tenant()}/cache")

    assert (await ask(member, TENANT)).headers["x-cache"] == "hit"


async def test_what_was_forgotten_again_and_again_does_not_come_back(member: Member) -> None:
    for _ in range(3):
        assert (await ask(member, TENANT)).headers["x-cache"] == "miss"
        for query in ("?group=staff", ""):
            await Admin(member.replica).ask("DELETE", f"/tenants/{member.tenant}/cache{query}")


async def test_all_that_forget_at_once_have_forgotten_and_each_is_told(member: Member, json_log: Log) -> None:
    admin, path = Admin(member.replica), f"/tenants/{member.tenant}/cache?group=staff"

    answers = await asyncio.gather(*(admin.ask("DELETE", path) for _ in range(3)))

    told = [(line["action"], line["changed"]) for line in json_log.of("Administered")]
    assert [answer.status_code for answer in answers] == [204] * 3
    assert told == [("cache.forget", "/cache_generations")] + [("cache.forget", "/cache_generations/staff")] * 2


@pytest.mark.parametrize(
    ("path", "code"), [("nowhere/cache", "tenant_not_found"), ("{}/cache?group=x", "group_not_found")]
)
async def test_what_is_not_there_is_not_forgotten(member: Member, path: str, code: str) -> None:
    answer = await Admin(member.replica).ask("DELETE", f"/tenants/{path.format(member.tenant)}")

    assert (answer.status_code, answer.json()["code"]) == (404, code)
