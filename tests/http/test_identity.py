"""Who is calling: tenant, user and group, from header, path, body and token, as each surface has it."""

import time

import httpx
import pytest

from adapters.auth.mint import mint
from tests.http.member import Member
from tests.http.replica import SECRET, Replica
from tests.http.surfaces import GROUP, PROVIDER, SURFACES, TENANT, Surface
from tests.http.told import Told, told

NO_TOKEN = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
    "(i.e. Authorization: Bearer YOUR_KEY)."
)
NOT_BEARER = "The Authorization header must be 'Bearer' and one token."
INVALID = "invalid_request_error"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def ask(member: Member, surface: Surface, headers: dict[str, str], **fields: object) -> httpx.Response:
    """Ask with these headers and no others."""
    body = member.body(surface, **fields)
    return await member.replica.client.post(surface.path(member.tenant), json=body, headers=headers)


# --- the tenant -----------------------------------------------------------------------------------------------------


async def test_without_its_header_the_group_surface_knows_no_tenant(member: Member) -> None:
    answer = await ask(member, GROUP, bearer(member.token))

    assert told(answer, GROUP) == Told(400, "missing_tenant_id", "Missing required header: 'X-Tenant-Id'.")


@pytest.mark.parametrize("name", ["nobody", "no id", "a/b", "{tenant-1}", "x" * 129, "tenant:1"])
async def test_a_header_that_names_no_tenant_is_an_unknown_tenant(member: Member, name: str) -> None:
    answer = await ask(member, GROUP, {**bearer(member.token), "X-Tenant-Id": name})

    assert told(answer, GROUP) == Told(404, "tenant_not_found", "Unknown tenant")


@pytest.mark.parametrize("path", ["/nobody", "/no%20id", "/%00", "/%E2%82%AC", "/" + "x" * 129])
async def test_a_first_segment_that_is_nobodys_id_is_an_unknown_namespace(member: Member, path: str) -> None:
    answer = await member.replica.client.post(f"{path}/v1/chat/completions", headers=bearer(member.token))

    assert told(answer, TENANT) == Told(404, "unknown_namespace", "Unknown provider or tenant", INVALID)


async def test_a_tenant_that_the_token_does_not_name_is_forbidden(member: Member) -> None:
    stranger = bearer(member.replica.token("globex"))

    answer = await ask(member, TENANT, stranger)

    assert told(answer, TENANT) == Told(
        403, "tenant_forbidden", "Your token does not give access to this tenant.", INVALID
    )


async def test_the_group_surface_refuses_a_token_of_another_tenant(member: Member) -> None:
    stranger = bearer(member.replica.token("globex"))

    answer = await ask(member, GROUP, {"X-Tenant-Id": member.tenant, **stranger})

    assert told(answer, GROUP) == Told(403, "tenant_forbidden", "Your token does not give access to this tenant.")


async def test_at_a_provider_the_tokens_only_tenant_pays(member: Member) -> None:
    member.replica.set_balance(member.tenant, 1_000)

    answer = await ask(member, PROVIDER, bearer(member.token))

    assert await member.replica.available(member.tenant) == 1_000 - int(answer.headers["x-sluice-charged-tokens"])


@pytest.mark.parametrize("named", [None, "neither"])
async def test_at_a_provider_a_token_of_several_tenants_must_name_one_of_them(
    replica: Replica, member: Member, named: str | None
) -> None:
    token = bearer(replica.token(member.tenant, await replica.add_tenant()))

    answer = await ask(member, PROVIDER, {**token, **({} if named is None else {"X-Tenant-Id": named})})

    assert told(answer, PROVIDER).status == 403
    assert told(answer, PROVIDER).code == "tenant_forbidden"


async def test_at_a_provider_the_tenant_that_is_named_pays(replica: Replica, member: Member) -> None:
    other = await replica.add_tenant()
    replica.set_balance(other, 100)
    replica.set_balance(member.tenant, 100)

    answer = await ask(
        member, PROVIDER, {**bearer(replica.token(member.tenant, other)), "X-Tenant-Id": other}, max_tokens=5
    )

    assert await replica.available(member.tenant) == 100
    assert await replica.available(other) == 100 - int(answer.headers["x-sluice-charged-tokens"])


@pytest.mark.parametrize("tenants", [[], ["gone"]])
async def test_at_a_provider_a_token_without_a_tenant_that_exists_is_forbidden(
    member: Member, tenants: list[str]
) -> None:
    answer = await ask(member, PROVIDER, bearer(member.replica.token(*tenants)))

    assert told(answer, PROVIDER).status == 403
    assert told(answer, PROVIDER).code == "tenant_forbidden"


async def test_at_a_provider_the_tenants_limits_hold(replica: Replica) -> None:
    member = Member(replica, await replica.add_tenant(limits={"requests_per_minute": 1}))
    await member.post(TENANT)

    answer = await member.post(PROVIDER)

    assert told(answer, PROVIDER) == Told(429, "rate_limit_exceeded", "Rate limit exceeded", "requests")


# --- the token ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_without_a_token_there_is_a_challenge_and_no_error_in_it(member: Member, surface: Surface) -> None:
    answer = await ask(member, surface, {"X-Tenant-Id": member.tenant})

    error = told(answer, surface)
    assert (error.status, error.code, error.message) == (401, "invalid_api_key", NO_TOKEN)
    assert answer.headers["www-authenticate"] == 'Bearer realm="sluice"'


@pytest.mark.parametrize("given", ["Basic YW5uOnB3", "Bearer", "Bearer a b", "Token abc", "Bearer \u00fc"])
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_an_authorization_that_is_not_one_bearer_token_is_invalid(
    member: Member, surface: Surface, given: str
) -> None:
    headers = httpx.Headers({"X-Tenant-Id": member.tenant, "Authorization": given}, encoding="utf-8")

    answer = await member.replica.client.post(surface.path(member.tenant), json=member.body(surface), headers=headers)

    error = told(answer, surface)
    assert (error.status, error.code, error.message) == (401, "invalid_api_key", NOT_BEARER)
    assert answer.headers["www-authenticate"] == (
        f'Bearer realm="sluice", error="invalid_token", error_description="{NOT_BEARER}"'
    )


@pytest.mark.parametrize("surface", SURFACES, ids=str)
@pytest.mark.parametrize("joined", [False, True], ids=["two headers", "one that was joined"])
async def test_two_tokens_are_an_invalid_request(member: Member, surface: Surface, joined: bool) -> None:
    one = f"Bearer {member.token}"
    given = [("Authorization", f"{one}, {one}")] if joined else [("Authorization", one)] * 2
    headers = [("X-Tenant-Id", member.tenant), *given]

    answer = await member.replica.client.post(surface.path(member.tenant), json=member.body(surface), headers=headers)

    error = told(answer, surface)
    assert (error.status, error.code) == (400, "ambiguous_token")
    assert answer.headers["www-authenticate"] == (
        'Bearer realm="sluice", error="invalid_request", '
        'error_description="The request has more than one bearer token."'
    )


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_token_that_is_only_for_reading_asks_for_no_completion(member: Member, surface: Surface) -> None:
    reading = with_scopes(member, "openid", "sluice:read")
    headers = {"X-Tenant-Id": member.tenant, **reading}

    answer = await ask(member, surface, headers)
    models = await member.replica.client.get(f"{surface.root(member.tenant)}/v1/models", headers=headers)

    error = told(answer, surface)
    assert (error.status, error.code) == (403, "insufficient_scope")
    assert answer.headers["www-authenticate"].startswith('Bearer realm="sluice", error="insufficient_scope", ')
    assert answer.headers["www-authenticate"].endswith(', scope="sluice:chat"')
    assert models.status_code == 200


@pytest.mark.parametrize("scopes", [["sluice:chat"], ["sluice:admin"], ["openid", "profile"], []])
async def test_any_other_token_asks_and_reads(member: Member, scopes: list[str]) -> None:
    headers = with_scopes(member, *scopes)

    answer = await ask(member, TENANT, headers)
    models = await member.replica.client.get(f"/{member.tenant}/v1/models", headers=headers)

    assert (answer.status_code, models.status_code) == (200, 200)


def with_scopes(member: Member, *scopes: str) -> dict[str, str]:
    """A good token of the member with these scopes."""
    groups = {member.tenant: member.group}
    return bearer(
        mint(SECRET.encode(), "ann", tenants=groups, groups=groups, lifetime=600, now=time.time(), scopes=scopes)
    )


def tokens_that_are_no_good(tenant: str) -> dict[str, str]:
    def minted(secret: str, now: float, lifetime: int) -> str:
        groups = {tenant: "staff"}
        return mint(secret.encode(), "ann", tenants=[tenant], groups=groups, lifetime=lifetime, now=now)

    good = minted(SECRET, time.time(), 600)
    head, claims, signature = good.split(".")
    return {
        "expired": minted(SECRET, time.time() - 7200, 600),
        "of another secret": minted("x" * 32, time.time(), 600),
        "good for too long": minted(SECRET, time.time(), 10**8),
        "unsigned": f"{head}.{claims}.",
        "changed": f"{head}.{claims[:-2]}AA.{signature}",
        "no token": "sk-of-a-client-that-was-configured-for-openai",
    }


@pytest.mark.parametrize("kind", tokens_that_are_no_good("acme"))
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_token_that_is_no_good_is_refused_and_not_repeated(member: Member, surface: Surface, kind: str) -> None:
    token = tokens_that_are_no_good(member.tenant)[kind]

    answer = await ask(member, surface, {"X-Tenant-Id": member.tenant, **bearer(token)})

    error = told(answer, surface)
    assert (error.status, error.code) == (401, "invalid_api_key")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert token not in answer.text + str(answer.headers)


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
async def test_the_scheme_is_read_in_any_case(member: Member, scheme: str) -> None:
    answer = await ask(member, TENANT, {"Authorization": f"{scheme} {member.token}"})

    assert answer.status_code == 200


async def test_who_is_calling_is_asked_before_whether_the_tenant_exists(member: Member) -> None:
    answer = await member.replica.client.post("/nobody/v1/chat/completions")

    assert told(answer, TENANT).status == 401


# --- the group ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{}, bearer("sk-whatever-the-client-had")], ids=["no token", "a bad token"])
async def test_nobody_in_particular_needs_no_token(member: Member, given: dict[str, str]) -> None:
    answer = await ask(member, GROUP, {"X-Tenant-Id": member.tenant, **given}, group_id="anonymous")

    assert answer.status_code == 200


async def test_a_member_may_go_as_anonymous(member: Member) -> None:
    answer = await ask(member, GROUP, {"X-Tenant-Id": member.tenant, **bearer(member.token)}, group_id="anonymous")

    assert answer.status_code == 200


async def test_a_member_may_not_go_as_another_group(replica: Replica) -> None:
    member = Member(replica, await replica.add_tenant(groups={"staff": {}, "board": {}}))

    answer = await member.post(GROUP, group_id="board")

    assert told(answer, GROUP) == Told(403, "group_forbidden", "Your token does not give access to this group.")


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_the_tokens_group_pays(replica: Replica, surface: Surface) -> None:
    member = Member(replica, await replica.add_tenant(groups={"staff": {}, "board": {}}), group="board")
    replica.set_balance(member.tenant, 1_000, group="board")
    fields = {"group_id": "board"} if surface is GROUP else {}

    answer = await member.whole(surface, **fields)

    charged = int(answer.headers["x-sluice-charged-tokens"])
    assert await replica.available(member.tenant, group="board") == 1_000 - charged


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_without_a_group_in_the_token_the_tenants_default_pays(replica: Replica, surface: Surface) -> None:
    tenant = await replica.add_tenant(groups={"staff": {}, "board": {}}, default_group="board")
    replica.set_balance(tenant, 1_000, group="board")
    member = Member(replica, tenant)
    fields = {"group_id": "board"} if surface is GROUP else {}
    headers = {"X-Tenant-Id": tenant, "Prefer": "wait=10", **bearer(replica.token(tenant, group=None))}

    answer = await ask(member, surface, headers, **fields)

    charged = int(answer.headers["x-sluice-charged-tokens"])
    assert await replica.available(tenant, group="board") == 1_000 - charged


@pytest.mark.parametrize("surface", [TENANT, PROVIDER], ids=str)
async def test_a_token_of_a_group_that_the_tenant_does_not_have_is_of_an_invalid_group(
    replica: Replica, surface: Surface
) -> None:
    member = Member(replica, await replica.add_tenant(), group="strangers")

    answer = await member.post(surface)

    assert told(answer, surface) == Told(
        surface.invalid_status, "invalid_group_id", "Invalid group_id", INVALID, "group_id"
    )


async def test_each_user_has_a_balance_of_their_own(replica: Replica, member: Member) -> None:
    replica.set_balance(member.tenant, 0, user="bob")

    ann = await member.post(TENANT)
    bob = await Member(replica, member.tenant, user="bob").post(TENANT)

    assert (ann.status_code, bob.status_code) == (200, 429)
