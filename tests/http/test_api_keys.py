"""API keys over HTTP: a bearer token like any other, on every surface."""

from dataclasses import replace

import httpx
import pytest

from domain.credentials import ApiKeys, KeyGrant
from domain.keys import ApiKey
from tests.http.member import Member
from tests.http.replica import Replica
from tests.http.surfaces import GROUP, SURFACES, TENANT, Surface
from tests.http.told import told


async def issue(member: Member, *, user: str = "carol", scopes: frozenset[str] = frozenset()) -> tuple[ApiKey, str]:
    """A key for a user of the member's tenant."""
    api_keys: ApiKeys = member.replica.container.api_keys()
    return await api_keys.issue(KeyGrant(member.tenant, "staff", user, "a test", scopes=scopes))


async def ask(member: Member, surface: Surface, secret: str) -> httpx.Response:
    headers = {"X-Tenant-Id": member.tenant, "Authorization": f"Bearer {secret}", "Prefer": "wait=10"}
    return await member.replica.client.post(surface.path(member.tenant), json=member.body(surface), headers=headers)


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_key_is_as_good_as_a_token_and_its_user_pays(
    replica: Replica, member: Member, surface: Surface
) -> None:
    replica.set_balance(member.tenant, 1_000, user="carol")
    _, secret = await issue(member)

    answer = await ask(member, surface, secret)

    assert answer.status_code == 200
    charged = int(answer.headers["x-sluice-charged-tokens"])
    assert charged > 0
    assert await replica.available(member.tenant, user="carol") == 1_000 - charged


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_key_that_was_revoked_is_refused(member: Member, surface: Surface) -> None:
    key, secret = await issue(member)
    assert (await ask(member, surface, secret)).status_code == 200

    await member.replica.container.api_keys().revoke(member.tenant, key.id)
    error = told(await ask(member, surface, secret), surface)

    assert (error.status, error.code) == (401, "invalid_api_key")


async def test_what_is_stored_and_shown_of_a_key_lets_nobody_in(member: Member) -> None:
    key, _ = await issue(member)

    answers = [await ask(member, TENANT, text) for text in (key.digest, key.start, f"sk-sluice-{key.digest}", key.id)]

    assert [answer.status_code for answer in answers] == [401] * 4


async def test_a_key_is_for_no_other_tenant(replica: Replica, member: Member) -> None:
    _, secret = await issue(member)
    elsewhere = replace(member, tenant=await replica.add_tenant())

    for surface in (GROUP, TENANT):
        error = told(await ask(elsewhere, surface, secret), surface)
        assert (error.status, error.code) == (403, "tenant_forbidden")


async def test_a_key_for_reading_asks_for_no_completion(member: Member) -> None:
    _, secret = await issue(member, scopes=frozenset({"sluice:read"}))

    answer = await ask(member, TENANT, secret)
    models = await member.replica.client.get(
        f"/{member.tenant}/v1/models", headers={"Authorization": f"Bearer {secret}"}
    )

    assert (answer.status_code, models.status_code) == (403, 200)
