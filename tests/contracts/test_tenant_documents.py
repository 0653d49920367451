"""TenantDocuments: versions of whatever is stored, and one winner of those who change the same."""

import asyncio

import pytest

from adapters.documents import parse_tenant
from adapters.memory.tenants import MemoryTenantStore
from adapters.redis.connection import RedisConnection
from adapters.redis.tenants import RedisTenantStore
from domain.administration.documents import forgetting
from domain.administration.errors import VersionChanged
from domain.chat import JsonObject
from domain.errors import TenantMisconfigured
from domain.ports import Stored
from domain.tenants import Limits
from tests.fakes import FrozenClock

pytestmark = pytest.mark.anyio

DEFAULTS = Limits()
DOCUMENT: JsonObject = {"user_groups": ["staff"], "policy": "strict", "others": {"keep": [1, "ü"]}}
OTHER: JsonObject = {"user_groups": ["guests"]}

redis_only = pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)
Store = MemoryTenantStore | RedisTenantStore


@pytest.fixture
def store(connection: RedisConnection | None, clock: FrozenClock) -> Store:
    if connection is None:
        return MemoryTenantStore(defaults=DEFAULTS)
    return RedisTenantStore(connection, defaults=DEFAULTS, monotonic=clock)


async def test_what_is_created_is_read_and_served(store: Store) -> None:
    before = await store.read("acme")

    created = await store.replace("acme", DOCUMENT, None)

    assert before is None
    assert created == await store.read("acme")
    assert created.document == DOCUMENT
    assert await store.get("acme") == parse_tenant("acme", DOCUMENT, DEFAULTS)


async def test_a_version_is_of_the_content_and_of_nothing_else(store: Store) -> None:
    first = await store.replace("acme", DOCUMENT, None)
    second = await store.replace("acme", OTHER, first.version)
    third = await store.replace("acme", DOCUMENT, second.version)

    assert first.version == third.version != second.version


async def test_a_generation_of_answers_is_served_as_soon_as_it_was_raised(store: Store) -> None:
    first = await store.replace("acme", DOCUMENT, None)
    before = await store.get("acme")

    await store.replace("acme", forgetting(first.document or {}, "staff"), first.version)

    after = await store.get("acme")
    assert before is not None
    assert after is not None
    assert (before.cache_generation("staff"), after.cache_generation("staff")) == ("", "0:1")


async def test_a_document_of_another_version_is_not_overwritten(store: Store) -> None:
    first = await store.replace("acme", DOCUMENT, None)
    await store.replace("acme", OTHER, first.version)

    for version in (first.version, None, "", "x"):
        for document in (DOCUMENT, None):
            with pytest.raises(VersionChanged):
                await store.replace("acme", document, version)

    found = await store.read("acme")
    assert found is not None
    assert found.document == OTHER


async def test_what_is_not_there_has_no_version(store: Store) -> None:
    with pytest.raises(VersionChanged):
        await store.replace("acme", DOCUMENT, "0" * 32)

    assert await store.read("acme") is None


async def test_of_many_who_change_the_same_version_one_does(store: Store) -> None:
    first = await store.replace("acme", {}, None)
    documents = [{"limits": {"requests_per_minute": number}} for number in range(1, 21)]

    outcomes = await asyncio.gather(
        *(store.replace("acme", document, first.version) for document in documents), return_exceptions=True
    )

    (winner,) = [outcome for outcome in outcomes if isinstance(outcome, Stored)]
    assert sum(isinstance(outcome, VersionChanged) for outcome in outcomes) == 19
    assert await store.read("acme") == winner


async def test_of_many_who_create_the_same_one_does(store: Store) -> None:
    outcomes = await asyncio.gather(*(store.replace("acme", {}, None) for _ in range(20)), return_exceptions=True)

    assert sum(isinstance(outcome, Stored) for outcome in outcomes) == 1


async def test_a_deleted_document_is_gone_for_readers_too(store: Store) -> None:
    created = await store.replace("acme", DOCUMENT, None)
    await store.get("acme")

    await store.replace("acme", None, created.version)

    assert await store.read("acme") is None
    assert await store.get("acme") is None
    assert [tenant_id async for tenant_id in store.ids()] == []


async def test_a_document_that_could_not_be_read_back_is_not_written(store: Store) -> None:
    created = await store.replace("acme", DOCUMENT, None)

    with pytest.raises(TenantMisconfigured):
        await store.replace("acme", {"user_groups": 5}, created.version)

    assert await store.read("acme") == created


async def test_all_tenants_are_listed(store: Store) -> None:
    names = {f"tenant-{number}" for number in range(50)}
    await asyncio.gather(*(store.replace(name, {}, None) for name in names))

    assert {tenant_id async for tenant_id in store.ids()} == names


async def test_flaws_say_where_and_never_what(store: Store) -> None:
    flaws = store.flaws({"api_keys": {"openai": "sk secret"}, "colour": "red", "groups": {"a": {"size": 1}}})

    assert {(flaw.pointer, flaw.unknown) for flaw in flaws} == {
        ("/api_keys/openai", False),
        ("/colour", True),
        ("/groups/a/size", True),
    }
    assert all("secret" not in flaw.what for flaw in flaws)


# --- Redis: documents that were written by hand -----------------------------------------------------------------------


@redis_only
async def test_a_document_that_was_written_by_hand_has_a_version_and_can_be_changed(
    store: Store, connection: RedisConnection
) -> None:
    await connection.command("SET", "tenant:acme", b'{ "user_groups" : ["staff"] }')
    by_hand = await store.read("acme")
    assert by_hand is not None

    await store.replace("acme", OTHER, by_hand.version)
    await connection.command("SET", "tenant:acme", b'{"user_groups":[]}')

    with pytest.raises(VersionChanged):
        await store.replace("acme", DOCUMENT, by_hand.version)


@redis_only
@pytest.mark.parametrize("text", [b"{", b"[]", b"\xff"])
async def test_what_is_no_document_can_be_listed_and_replaced(
    store: Store, connection: RedisConnection, text: bytes
) -> None:
    await connection.command("SET", "tenant:acme", text)
    await connection.command("SET", "tenant:a b", b"{}")

    spoilt = await store.read("acme")

    assert spoilt is not None
    assert spoilt.document is None
    assert [tenant_id async for tenant_id in store.ids()] == ["acme"]
    assert (await store.replace("acme", DOCUMENT, spoilt.version)).document == DOCUMENT
