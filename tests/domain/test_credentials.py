"""API keys: issued for what is possible, shown once, good until they are revoked or expire."""

from typing import Any

import pytest

from adapters.memory.apikeys import MemoryApiKeyStore
from adapters.memory.tenants import MemoryTenantStore
from domain import credentials, keys, scopes
from domain.credentials import ApiKeys, KeyGrant
from domain.errors import InvalidGroup, InvalidRequest, NotAuthenticated, TooManyApiKeys, UnknownApiKey, UnknownTenant
from domain.tenants import Limits, Principal
from tests.builders import NOW
from tests.fakes import FrozenClock, SeededEntropy

pytestmark = pytest.mark.anyio

DOCUMENT = {"user_groups": ["anonymous", "staff"]}


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def api_keys(clock: FrozenClock) -> ApiKeys:
    tenants = MemoryTenantStore({"acme": DOCUMENT, "globex": DOCUMENT}, defaults=Limits())
    return ApiKeys(MemoryApiKeyStore(clock), tenants, clock, SeededEntropy())


def grant(**changes: Any) -> KeyGrant:
    return KeyGrant(**{"tenant": "acme", "group": "staff", "user": "ada", "name": "CI", **changes})


async def test_a_key_speaks_for_whom_it_was_issued(api_keys: ApiKeys) -> None:
    _, secret = await api_keys.issue(grant(scopes=frozenset({"sluice:chat"})))

    assert await api_keys.verify(secret) == Principal(
        "ada", frozenset({"acme"}), {"acme": "staff"}, frozenset({"sluice:chat"})
    )


async def test_what_is_kept_of_a_key_does_not_tell_it(api_keys: ApiKeys) -> None:
    key, secret = await api_keys.issue(grant())

    assert secret[len(key.start) :] not in repr((key, await api_keys.list("acme")))
    assert key.start == secret[: len(key.start)]


async def test_what_is_kept_of_a_key_is_no_key(api_keys: ApiKeys) -> None:
    key, _ = await api_keys.issue(grant())

    for text in (key.digest, key.id, key.start, f"sk-sluice-{key.digest}", f"sk-sluice-{key.digest[:49]}"):
        with pytest.raises(NotAuthenticated):
            await api_keys.verify(text)


async def test_keys_are_listed_for_their_tenant_with_the_oldest_first(api_keys: ApiKeys, clock: FrozenClock) -> None:
    made = []
    for number in range(3):
        made.append((await api_keys.issue(grant(name=f"key {number}")))[0].id)
        clock.advance(1)
    await api_keys.issue(grant(tenant="globex"))

    assert [key.id for key in await api_keys.list("acme")] == made
    assert await api_keys.list("a:b") == []


async def test_a_key_that_is_revoked_is_no_good(api_keys: ApiKeys) -> None:
    key, secret = await api_keys.issue(grant())
    other, good = await api_keys.issue(grant())

    revoked = await api_keys.revoke("acme", key.id)

    assert revoked.id == key.id
    with pytest.raises(NotAuthenticated):
        await api_keys.verify(secret)
    assert (await api_keys.verify(good)).user == "ada"
    assert [each.id for each in await api_keys.list("acme")] == [other.id]


async def test_anothers_key_is_as_unknown_as_one_that_never_was(api_keys: ApiKeys) -> None:
    key, secret = await api_keys.issue(grant())

    told = []
    for tenant, key_id in (("globex", key.id), ("globex", "key-x"), ("acme", "a:b"), ("a:b", key.id)):
        with pytest.raises(UnknownApiKey) as unknown:
            await api_keys.revoke(tenant, key_id)
        told.append(unknown.value.message)

    assert len(set(told)) == 1
    assert (await api_keys.verify(secret)).user == "ada"


async def test_unknown_revoked_and_expired_keys_are_refused_in_the_same_words(
    api_keys: ApiKeys, clock: FrozenClock
) -> None:
    key, revoked = await api_keys.issue(grant())
    _, expired = await api_keys.issue(grant(expires=int(clock()) + 60))
    await api_keys.revoke("acme", key.id)
    assert (await api_keys.verify(expired)).user == "ada"
    clock.advance(60)

    told = set()
    for secret in (revoked, expired, keys.make(b"x" * 32), "sk-sluice-nonsense"):
        with pytest.raises(NotAuthenticated) as refusal:
            await api_keys.verify(secret)
        told.add((refusal.value.message, refusal.value.reason))

    assert len(told) == 1


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"user": "a:b"}, "user"),
        ({"user": ""}, "user"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"name": "two\u2028lines"}, "name"),
        ({"expires": 1}, "expires"),
        ({"expires": int(NOW)}, "expires"),
        ({"scopes": frozenset({"sluice:everything"})}, "scopes"),
    ],
)
async def test_nobody_is_granted_what_cannot_be(api_keys: ApiKeys, changes: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await api_keys.issue(grant(**changes))

    assert (refusal.value.param, refusal.value.code) == (param, "invalid_value")
    assert await api_keys.list("acme") == []


async def test_whoever_names_an_unknown_scope_is_told_which_there_are(api_keys: ApiKeys) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await api_keys.issue(grant(scopes=frozenset({"sluice:everything"})))

    assert all(scope in refusal.value.message for scope in scopes.KNOWN)


async def test_a_key_is_for_a_tenant_and_a_group_that_exist(api_keys: ApiKeys) -> None:
    for tenant in ("nobody", "a:b", ""):
        with pytest.raises(UnknownTenant):
            await api_keys.issue(grant(tenant=tenant))
    with pytest.raises(InvalidGroup):
        await api_keys.issue(grant(group="board"))


async def test_a_tenant_has_so_many_keys_at_most_that_are_good(
    api_keys: ApiKeys, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "MAX_KEYS", 2)
    for _ in range(2):
        await api_keys.issue(grant(expires=int(clock()) + 60))

    with pytest.raises(TooManyApiKeys):
        await api_keys.issue(grant())
    await api_keys.issue(grant(tenant="globex"))

    clock.advance(60)
    await api_keys.issue(grant())
