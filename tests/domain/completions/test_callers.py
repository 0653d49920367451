"""Who is calling: tenant, group and user on each surface."""

import uuid
from collections.abc import Awaitable, Sequence

import pytest

from adapters.memory.tenants import MemoryTenantStore
from domain.completions.callers import Callers
from domain.errors import (
    GroupForbidden,
    InvalidRequest,
    NotAuthenticated,
    SluiceError,
    TenantForbidden,
    UnknownNamespace,
    UnknownTenant,
)
from domain.tenants import Caller, Limits, Principal
from tests.builders import a_principal, a_tenant, a_tenant_document
from tests.fakes import FlakyStore, SeededEntropy

pytestmark = pytest.mark.anyio


class Token:
    """A bearer token, good or not, that knows how often it was looked at."""

    def __init__(self, principal: Principal | None) -> None:
        self.principal = principal
        self.looks = 0

    async def __call__(self) -> Principal:
        self.looks += 1
        if self.principal is None:
            raise NotAuthenticated("Missing bearer token.")
        return self.principal


def token(*tenants: str, **groups: str) -> Token:
    return Token(a_principal(tenants=frozenset(tenants), groups=groups))


NO_TOKEN = Token(None)


@pytest.fixture
def tenants() -> FlakyStore[MemoryTenantStore]:
    documents = {"acme": a_tenant_document(), "globex": a_tenant_document(default_group="anonymous")}
    return FlakyStore(MemoryTenantStore(documents, defaults=Limits()))


@pytest.fixture
def callers(tenants: FlakyStore[MemoryTenantStore]) -> Callers:
    return Callers(tenants.port, SeededEntropy())


async def refusal_of(work: Awaitable[object]) -> SluiceError:
    with pytest.raises(SluiceError) as refusal:
        await work
    return refusal.value


def seen(caller: Caller) -> tuple[str, str | None, str, str | None]:
    return caller.tenant.id, caller.group, caller.user, caller.provider


# --- the group surface: the tenant ------------------------------------------------------------------------------------


async def test_the_header_names_the_tenant(callers: Callers) -> None:
    assert await callers.tenant("acme") == a_tenant()


@pytest.mark.parametrize("header", [None, ""])
async def test_the_header_is_required(callers: Callers, header: str | None) -> None:
    refusal = await refusal_of(callers.tenant(header))

    assert isinstance(refusal, InvalidRequest)
    assert refusal.code == "missing_tenant_id"


async def test_a_tenant_that_does_not_exist_is_unknown(callers: Callers) -> None:
    assert isinstance(await refusal_of(callers.tenant("initech")), UnknownTenant)


@pytest.mark.parametrize("header", ["a:b", "*", "{acme}", "../acme", "acme\n", "x" * 129])
async def test_what_is_no_id_is_unknown_without_asking_the_store(
    callers: Callers, tenants: FlakyStore[MemoryTenantStore], header: str
) -> None:
    refusal = await refusal_of(callers.tenant(header))

    assert isinstance(refusal, UnknownTenant)
    assert not tenants.calls


# --- the group surface: group and user --------------------------------------------------------------------------------


async def test_the_anonymous_group_needs_no_token_and_each_request_is_somebody_new(callers: Callers) -> None:
    one, other = [await callers.in_group(a_tenant(), "anonymous", NO_TOKEN) for _ in range(2)]

    assert (one.group, other.group) == ("anonymous", "anonymous")
    assert one.user != other.user
    for caller in (one, other):
        prefix, _, rest = caller.user.partition("-")
        assert (prefix, uuid.UUID(rest).version) == ("anonymous", 4)


async def test_a_token_makes_nobody_of_the_anonymous_group_somebody(callers: Callers) -> None:
    ann = token("acme")

    caller = await callers.in_group(a_tenant(), "anonymous", ann)

    assert caller.user.startswith("anonymous-")
    assert ann.looks == 0


async def test_any_other_group_needs_a_token(callers: Callers) -> None:
    assert isinstance(await refusal_of(callers.in_group(a_tenant(), "staff", NO_TOKEN)), NotAuthenticated)


@pytest.mark.parametrize("ann", [token("acme", acme="staff"), token("acme"), token("globex", "acme", globex="ops")])
async def test_a_member_of_the_group_is_the_tokens_user(callers: Callers, ann: Token) -> None:
    caller = await callers.in_group(a_tenant(), "staff", ann)

    assert seen(caller) == ("acme", "staff", "ann", None)


async def test_a_token_of_another_tenant_opens_no_group(callers: Callers) -> None:
    refusal = await refusal_of(callers.in_group(a_tenant(), "staff", token("globex", acme="staff")))

    assert isinstance(refusal, TenantForbidden)


async def test_a_token_of_another_group_does_not_open_this_one(callers: Callers) -> None:
    refusal = await refusal_of(callers.in_group(a_tenant(), "staff", token("acme", acme="interns")))

    assert isinstance(refusal, GroupForbidden)


@pytest.mark.parametrize(
    ("group", "told"), [("interns", "interns"), ("", ""), (None, None), (7, None), (["staff"], None)]
)
async def test_that_a_group_does_not_exist_is_not_said_here_and_asks_for_no_token(
    callers: Callers, group: object, told: str | None
) -> None:
    caller = await callers.in_group(a_tenant(), group, NO_TOKEN)

    assert caller.group == told
    assert caller.user.startswith("anonymous-")


@pytest.mark.parametrize(
    ("principal", "group", "user"),
    [
        (None, "anonymous", "anonymous-"),
        (a_principal(tenants=frozenset({"globex"})), "anonymous", "anonymous-"),
        (a_principal(), "staff", "ann"),
        (a_principal(groups={"acme": "vip"}), "vip", "ann"),
    ],
)
def test_where_no_group_is_named_a_member_is_known_by_their_token(
    callers: Callers, principal: Principal | None, group: str, user: str
) -> None:
    caller = callers.by_token(a_tenant(), principal)

    assert caller.group == group
    assert caller.user.startswith(user)


# --- the tenant surface -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tenant", "ann", "group"),
    [
        ("acme", token("acme"), "staff"),
        ("acme", token("acme", acme="vip"), "vip"),
        ("globex", token("acme", "globex", acme="vip"), "anonymous"),
    ],
)
async def test_the_path_names_the_tenant_and_the_token_the_user_and_the_group(
    callers: Callers, tenant: str, ann: Token, group: str
) -> None:
    caller = await callers.in_tenant(tenant, ann)

    assert seen(caller) == (tenant, group, "ann", None)


async def test_a_tenant_without_a_default_group_leaves_the_group_open(
    callers: Callers, tenants: FlakyStore[MemoryTenantStore]
) -> None:
    await tenants.wrapped.put("bare", {})

    assert (await callers.in_tenant("bare", token("bare"))).group is None


@pytest.mark.parametrize(
    ("tenant", "ann", "refusal"),
    [
        ("acme", NO_TOKEN, NotAuthenticated),
        ("initech", NO_TOKEN, NotAuthenticated),
        ("acme", token("globex"), TenantForbidden),
        ("acme", token(), TenantForbidden),
        ("initech", token("globex"), UnknownNamespace),
        ("initech", token("initech"), UnknownNamespace),
        ("a:b", token("a:b"), UnknownNamespace),
    ],
)
async def test_first_comes_who_it_is_then_whether_there_is_such_a_tenant_then_whether_they_may(
    callers: Callers, tenant: str, ann: Token, refusal: type[SluiceError]
) -> None:
    assert type(await refusal_of(callers.in_tenant(tenant, ann))) is refusal


async def test_a_path_that_is_no_id_is_nobodys_without_asking_the_store(
    callers: Callers, tenants: FlakyStore[MemoryTenantStore]
) -> None:
    refusal = await refusal_of(callers.in_tenant("{acme}", token("{acme}")))

    assert isinstance(refusal, UnknownNamespace)
    assert not tenants.calls


# --- the provider surface ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ann", "named", "tenant", "group"),
    [
        (token("acme"), None, "acme", "staff"),
        (token("acme"), "acme", "acme", "staff"),
        (token("acme", acme="vip"), None, "acme", "vip"),
        (token("acme", "globex"), "globex", "globex", "anonymous"),
    ],
)
async def test_the_tokens_only_tenant_pays_or_the_one_of_several_that_is_named(
    callers: Callers, ann: Token, named: str | None, tenant: str, group: str
) -> None:
    caller = await callers.at_provider("openai", named, ann)

    assert seen(caller) == (tenant, group, "ann", "openai")


@pytest.mark.parametrize(
    ("ann", "named", "refusal"),
    [
        (NO_TOKEN, None, NotAuthenticated),
        (NO_TOKEN, "acme", NotAuthenticated),
        (token(), None, TenantForbidden),
        (token("acme", "globex"), None, TenantForbidden),
        (token("acme"), "globex", TenantForbidden),
        (token("initech"), None, TenantForbidden),
        (token("acme", "initech"), "initech", TenantForbidden),
    ],
)
async def test_a_token_that_speaks_for_no_tenant_here_is_forbidden(
    callers: Callers, ann: Token, named: str | None, refusal: type[SluiceError]
) -> None:
    assert type(await refusal_of(callers.at_provider("openai", named, ann))) is refusal


@pytest.mark.parametrize("tenants_of", [("acme",), ("initech",)])
async def test_the_store_being_away_is_not_a_refusal(
    callers: Callers, tenants: FlakyStore[MemoryTenantStore], tenants_of: Sequence[str]
) -> None:
    tenants.fail("get")

    refusal = await refusal_of(callers.at_provider("openai", None, token(*tenants_of)))

    assert refusal.code == "service_unavailable"
