"""ApiKeyStore: keys by their digests, each tenant's for itself, gone soon after they are removed."""

import asyncio
import time
from dataclasses import replace

import pytest

from adapters.memory.apikeys import MemoryApiKeyStore
from adapters.redis.apikeys import KEPT_EXPIRED, NOTED, RedisApiKeyStore
from adapters.redis.connection import RedisConnection
from domain import keys
from domain.errors import StoreUnavailable
from domain.keys import ApiKey
from domain.ports import ApiKeyStore
from tests.contracts.backends import Backend
from tests.fakes import FrozenClock, SeededEntropy

pytestmark = pytest.mark.anyio

redis_only = pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)
entropy = SeededEntropy()


def new_key(clock: FrozenClock, tenant: str = "acme", **changes: object) -> ApiKey:
    secret = keys.make(entropy(32))
    known = ApiKey(
        f"key-{entropy(8).hex()}",
        keys.digest(secret),
        keys.start(secret),
        tenant,
        "staff",
        "ada",
        "Adas Schlüssel",
        int(clock()),
    )
    return replace(known, **changes)  # type: ignore[arg-type]


def store_of(connection: RedisConnection | None, clock: FrozenClock, monotonic: FrozenClock) -> ApiKeyStore:
    if connection is None:
        return MemoryApiKeyStore(clock)
    return RedisApiKeyStore(connection, monotonic=monotonic, clock=clock)


@pytest.fixture
def monotonic() -> FrozenClock:
    return FrozenClock(1_000.0)


@pytest.fixture
def store(connection: RedisConnection | None, clock: FrozenClock, monotonic: FrozenClock) -> ApiKeyStore:
    return store_of(connection, clock, monotonic)


async def test_a_key_that_was_never_added_is_none(store: ApiKeyStore) -> None:
    assert await store.find("a" * 64) is None


async def test_a_key_is_found_as_it_was_added(store: ApiKeyStore, clock: FrozenClock, monotonic: FrozenClock) -> None:
    plain = new_key(clock)
    full = new_key(clock, expires=int(clock()) + 60, scopes=frozenset({"sluice:chat", "sluice:read"}))

    for key in (plain, full):
        await store.add(key)
    monotonic.advance(2.0)

    assert await store.find(plain.digest) == replace(plain, used=int(clock()))
    assert await store.find(full.digest) == replace(full, used=int(clock()))


async def test_a_key_is_found_as_soon_as_it_was_added(store: ApiKeyStore, clock: FrozenClock) -> None:
    key = new_key(clock)
    before = await store.find(key.digest)

    await store.add(key)

    found = await store.find(key.digest)
    assert before is None
    assert found is not None
    assert found.id == key.id


async def test_each_tenant_has_its_own_keys(store: ApiKeyStore, clock: FrozenClock) -> None:
    mine, other = [new_key(clock) for _ in range(3)], new_key(clock, "globex")
    for key in (*mine, other):
        await store.add(key)

    assert {key.id for key in await store.of_tenant("acme")} == {key.id for key in mine}
    assert [key.id for key in await store.of_tenant("globex")] == [other.id]
    assert await store.of_tenant("nobody") == []


async def test_a_key_that_is_removed_is_gone_here_at_once(store: ApiKeyStore, clock: FrozenClock) -> None:
    key, other = new_key(clock), new_key(clock)
    for each in (key, other):
        await store.add(each)
        await store.find(each.digest)

    removed = await store.remove("acme", key.id)

    assert removed is not None
    assert removed.digest == key.digest
    assert await store.find(key.digest) is None
    assert await store.remove("acme", key.id) is None
    assert [each.id for each in await store.of_tenant("acme")] == [other.id]
    assert await store.find(other.digest) is not None


async def test_nobody_removes_anothers_key(store: ApiKeyStore, clock: FrozenClock) -> None:
    key = new_key(clock)
    await store.add(key)

    assert await store.remove("globex", key.id) is None
    assert await store.remove("acme", "key-unknown") is None

    assert await store.find(key.digest) is not None


async def test_of_many_that_remove_a_key_at_once_none_fails(store: ApiKeyStore, clock: FrozenClock) -> None:
    key = new_key(clock)
    await store.add(key)

    answers = await asyncio.gather(*(store.remove("acme", key.id) for _ in range(20)))

    assert any(answer is not None for answer in answers)
    assert await store.of_tenant("acme") == []


async def test_use_is_noted_once_a_minute(store: ApiKeyStore, clock: FrozenClock, monotonic: FrozenClock) -> None:
    key, unused = new_key(clock), new_key(clock)
    begun = int(clock())
    for each in (key, unused):
        await store.add(each)

    noted = []
    for _ in range(4):
        monotonic.advance(2.0)
        await store.find(key.digest)
        noted.append(await used(store, key))
        clock.advance(NOTED / 2)

    assert noted == [begun, begun, begun + NOTED, begun + NOTED]
    assert await used(store, unused) is None


async def used(store: ApiKeyStore, key: ApiKey) -> int | None:
    (found,) = (each for each in await store.of_tenant("acme") if each.id == key.id)
    return found.used


async def test_a_key_that_has_expired_can_be_seen_for_a_month(
    store: ApiKeyStore, clock: FrozenClock, backend: Backend
) -> None:
    # Redis lets keys go by its own clock: one that expired so long ago never was there.
    if backend.url is not None:
        clock.now = time.time()
    lately = new_key(clock, expires=int(clock()) - KEPT_EXPIRED + 60)
    long_ago = new_key(clock, expires=int(clock()) - KEPT_EXPIRED - 1)

    for key in (lately, long_ago):
        await store.add(key)

    assert [key.id for key in await store.of_tenant("acme")] == [lately.id]


# --- Redis: what is remembered, and for how long ---------------------------------------------------------------------


@redis_only
async def test_a_key_that_another_replica_removes_is_gone_within_five_seconds(
    connection: RedisConnection, store: ApiKeyStore, clock: FrozenClock, monotonic: FrozenClock
) -> None:
    elsewhere = store_of(connection, clock, FrozenClock())
    key = new_key(clock)
    await elsewhere.add(key)
    assert await store.find(key.digest) is not None

    await elsewhere.remove("acme", key.id)
    monotonic.advance(5.0)

    assert await store.find(key.digest) is None


@redis_only
async def test_a_key_that_another_replica_adds_is_found_within_a_second(
    connection: RedisConnection, store: ApiKeyStore, clock: FrozenClock, monotonic: FrozenClock
) -> None:
    key = new_key(clock)
    assert await store.find(key.digest) is None

    await store_of(connection, clock, FrozenClock()).add(key)
    monotonic.advance(1.0)

    assert await store.find(key.digest) is not None


@redis_only
async def test_a_burst_asks_for_a_key_once(
    connection: RedisConnection, clock: FrozenClock, monotonic: FrozenClock, backend: Backend
) -> None:
    key = new_key(clock)
    await store_of(connection, clock, FrozenClock()).add(key)
    store = store_of(connection, clock, monotonic)
    asked = backend.calls("hmget")

    await asyncio.gather(*(store.find(key.digest) for _ in range(200)))

    assert backend.calls("hmget") == asked + 1


@redis_only
async def test_a_key_that_was_known_a_moment_ago_is_good_while_redis_is_away(
    brisk: RedisConnection, clock: FrozenClock, monotonic: FrozenClock, backend: Backend
) -> None:
    store = store_of(brisk, clock, monotonic)
    key = new_key(clock)
    await store.add(key)
    monotonic.advance(4.9)

    with backend.frozen():
        known = await store.find(key.digest)
        monotonic.advance(0.1)
        with pytest.raises(StoreUnavailable):
            await store.find(key.digest)
        with pytest.raises(StoreUnavailable):
            await store.find("a" * 64)

    assert known == key


@redis_only
async def test_what_is_listed_and_nowhere_is_forgotten_unless_it_is_just_being_added(
    connection: RedisConnection, store: ApiKeyStore, clock: FrozenClock
) -> None:
    key = new_key(clock)
    await store.add(key)
    await connection.command("DEL", f"apikey:{key.digest}")

    await store.of_tenant("acme")
    soon = await connection.command("HLEN", "apikeys:acme")
    clock.advance(62)
    await store.of_tenant("acme")

    assert soon == 1
    assert await connection.command("HLEN", "apikeys:acme") == 0


@redis_only
async def test_nothing_in_redis_tells_a_key(connection: RedisConnection, clock: FrozenClock, backend: Backend) -> None:
    secret = keys.make(entropy(32))
    store = store_of(connection, clock, FrozenClock())
    await store.add(replace(new_key(clock), digest=keys.digest(secret), start=keys.start(secret)))
    await store.find(keys.digest(secret))

    everything = [
        str(value)
        for server in backend.servers
        for key in server.command("KEYS", "*")
        for value in (key, server.command("HGETALL", key))
    ]

    assert len(everything) == 4
    assert not any(secret[len(keys.start(secret)) :] in text for text in everything)


@redis_only
@pytest.mark.parametrize("digest", ["", "a" * 63, "A" * 64, "a" * 64 + "\n", "*", "{" + "a" * 63])
async def test_what_is_no_digest_enters_no_key(store: ApiKeyStore, digest: str) -> None:
    with pytest.raises(ValueError):
        await store.find(digest)
