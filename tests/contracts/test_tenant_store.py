"""TenantStore: documents are seen soon after they change, and read seldom."""

import asyncio
from collections.abc import Awaitable, Callable

import orjson
import pytest

from adapters.documents import parse_tenant
from adapters.memory.tenants import MemoryTenantStore
from adapters.redis.connection import RedisConnection
from adapters.redis.pipe import Word
from adapters.redis.tenants import RedisTenantStore
from domain.chat import JsonObject
from domain.errors import StoreUnavailable, TenantMisconfigured
from domain.ports import TenantStore
from domain.tenants import Limits, Tenant
from tests.contracts.backends import Backend
from tests.fakes import FrozenClock

pytestmark = pytest.mark.anyio

DEFAULTS = Limits(requests_per_minute=60)
DOCUMENT: JsonObject = {"user_groups": ["anonymous", "staff"], "api_keys": {"openai": "sk-1"}, "default": "openai"}
OTHER: JsonObject = {**DOCUMENT, "policy": "strict"}

Write = Callable[[JsonObject | bytes], Awaitable[None]]

redis_only = pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)


def tenant(document: JsonObject, tenant_id: str = "acme") -> Tenant:
    return parse_tenant(tenant_id, document, DEFAULTS)


@pytest.fixture
def store(connection: RedisConnection | None, clock: FrozenClock) -> TenantStore:
    if connection is None:
        return MemoryTenantStore(defaults=DEFAULTS)
    return RedisTenantStore(connection, defaults=DEFAULTS, monotonic=clock)


@pytest.fixture
def write(connection: RedisConnection) -> Write:
    """What an operator does, by hand."""

    async def write(document: JsonObject | bytes) -> None:
        text = document if isinstance(document, bytes) else orjson.dumps(document)
        await connection.command("SET", "tenant:acme", text)

    return write


async def test_a_tenant_without_a_document_is_none(store: TenantStore) -> None:
    assert await store.get("acme") is None


@pytest.mark.parametrize("tenant_id", ["", "*", "a:b", "{x}", "..\n", "é", "x" * 129])
async def test_what_is_no_id_is_no_tenant(store: TenantStore, tenant_id: str) -> None:
    assert await store.get(tenant_id) is None


async def test_a_document_that_was_put_is_seen_at_once(store: TenantStore) -> None:
    before = await store.get("acme")

    await store.put("acme", DOCUMENT)
    first = await store.get("acme")
    await store.put("acme", OTHER)
    second = await store.get("acme")

    assert (before, first, second) == (None, tenant(DOCUMENT), tenant(OTHER))


@pytest.mark.parametrize("document", [{"limits": {"requests_per_minute": -1}}, {"user_groups": 5}, {"a": object()}])
async def test_a_document_that_could_not_be_read_is_not_written(store: TenantStore, document: JsonObject) -> None:
    await store.put("acme", DOCUMENT)

    with pytest.raises(TenantMisconfigured):
        await store.put("acme", document)

    assert await store.get("acme") == tenant(DOCUMENT)


async def test_tenants_are_kept_apart(store: TenantStore) -> None:
    await store.put("acme", DOCUMENT)
    await store.put("globex", OTHER)

    found = [await store.get(tenant_id) for tenant_id in ("acme", "globex")]

    assert found == [tenant(DOCUMENT), tenant(OTHER, "globex")]


async def test_memory_can_begin_with_documents() -> None:
    store = MemoryTenantStore({"acme": DOCUMENT, "globex": {"user_groups": 5}}, defaults=DEFAULTS)

    found = await store.get("acme")

    assert found == tenant(DOCUMENT)
    with pytest.raises(TenantMisconfigured):
        await store.get("globex")


# --- Redis: what is remembered, and for how long ---------------------------------------------------------------------


@redis_only
async def test_what_an_operator_writes_is_seen_within_the_time_a_document_is_believed(
    store: TenantStore, write: Write, clock: FrozenClock
) -> None:
    await write(DOCUMENT)
    first = await store.get("acme")
    await write(OTHER)

    clock.advance(1.9)
    early = await store.get("acme")
    clock.advance(0.1)
    in_time = await store.get("acme")

    assert (first, early, in_time) == (tenant(DOCUMENT), tenant(DOCUMENT), tenant(OTHER))


@redis_only
async def test_a_new_tenant_is_seen_sooner(store: TenantStore, write: Write, clock: FrozenClock) -> None:
    before = await store.get("acme")
    await write(DOCUMENT)

    clock.advance(0.5)
    after = await store.get("acme")

    assert (before, after) == (None, tenant(DOCUMENT))


@redis_only
async def test_a_document_that_is_deleted_is_gone(
    store: TenantStore, connection: RedisConnection, clock: FrozenClock
) -> None:
    await store.put("acme", DOCUMENT)
    await connection.command("DEL", "tenant:acme")

    clock.advance(2.0)

    assert await store.get("acme") is None


@redis_only
async def test_a_burst_reads_a_document_once(
    store: TenantStore, write: Write, backend: Backend, clock: FrozenClock
) -> None:
    await write(DOCUMENT)

    for _ in range(2):
        await asyncio.gather(*(store.get("acme") for _ in range(200)))
        clock.advance(2.0)

    assert backend.calls("get") == 2


@redis_only
async def test_who_gives_up_waiting_takes_nothing_from_the_others(store: TenantStore, write: Write) -> None:
    await write(DOCUMENT)
    waiting = [asyncio.ensure_future(store.get("acme")) for _ in range(5)]
    await asyncio.sleep(0)

    waiting[0].cancel()
    answers = await asyncio.gather(*waiting, return_exceptions=True)

    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [tenant(DOCUMENT)] * 4


@redis_only
async def test_an_unchanged_document_is_parsed_once(store: TenantStore, write: Write, clock: FrozenClock) -> None:
    await write(DOCUMENT)
    first = await store.get("acme")

    clock.advance(2.0)
    second = await store.get("acme")

    assert first is second


@redis_only
async def test_a_spoilt_document_is_told_until_it_is_mended(
    store: TenantStore, write: Write, backend: Backend, clock: FrozenClock
) -> None:
    await write(b"{")
    for _ in range(3):
        with pytest.raises(TenantMisconfigured):
            await store.get("acme")

    await write(DOCUMENT)
    clock.advance(2.0)

    assert await store.get("acme") == tenant(DOCUMENT)
    assert backend.calls("get") == 2


class SlowReads:
    """A connection whose replies to GET are a long time on their way."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection
        self.read = asyncio.Event()
        self.go_on = asyncio.Event()

    async def command(self, *words: Word) -> object:
        reply = await self._connection.command(*words)
        if words[0] == "GET":
            self.read.set()
            await self.go_on.wait()
        return reply


@redis_only
async def test_a_read_that_put_overtook_is_not_believed(
    connection: RedisConnection, write: Write, clock: FrozenClock
) -> None:
    await write(DOCUMENT)
    slow = SlowReads(connection)
    store = RedisTenantStore(slow, defaults=DEFAULTS, monotonic=clock)  # type: ignore[arg-type] # has its command

    overtaken = asyncio.ensure_future(store.get("acme"))
    await slow.read.wait()
    await store.put("acme", OTHER)
    slow.go_on.set()
    await overtaken

    assert await store.get("acme") == tenant(OTHER)


@redis_only
async def test_a_document_that_is_asked_for_all_the_time_is_waited_for_once(
    connection: RedisConnection, write: Write, clock: FrozenClock
) -> None:
    await write(DOCUMENT)
    slow = SlowReads(connection)
    store = RedisTenantStore(slow, defaults=DEFAULTS, monotonic=clock)  # type: ignore[arg-type] # has its command
    slow.go_on.set()
    await store.get("acme")
    slow.go_on.clear()
    slow.read.clear()
    await write(OTHER)

    clock.advance(1.0)
    while_it_is_read = [await store.get("acme") for _ in range(3)]
    await slow.read.wait()
    slow.go_on.set()
    await store.aclose()

    assert while_it_is_read == [tenant(DOCUMENT)] * 3
    clock.advance(1.9)
    assert await store.get("acme") == tenant(OTHER)


@redis_only
async def test_closing_waits_for_the_reads_under_way(
    connection: RedisConnection, write: Write, backend: Backend, clock: FrozenClock
) -> None:
    await write(DOCUMENT)
    slow = SlowReads(connection)
    store = RedisTenantStore(slow, defaults=DEFAULTS, monotonic=clock)  # type: ignore[arg-type] # has its command
    impatient = asyncio.ensure_future(store.get("acme"))
    await slow.read.wait()
    impatient.cancel()

    closing = asyncio.ensure_future(store.aclose())
    slow.go_on.set()
    await closing

    assert await store.get("acme") == tenant(DOCUMENT)
    assert backend.calls("get") == 1


@redis_only
async def test_only_so_many_tenants_are_remembered(
    connection: RedisConnection, backend: Backend, clock: FrozenClock
) -> None:
    store = RedisTenantStore(connection, defaults=DEFAULTS, monotonic=clock, size=10)
    for number in range(11):
        await store.get(f"t{number}")

    await store.get("t10")
    remembered = backend.calls("get")
    await store.get("t0")

    assert (remembered, backend.calls("get")) == (11, 12)


@redis_only
async def test_a_document_is_believed_longer_while_redis_is_away(
    brisk: RedisConnection, backend: Backend, clock: FrozenClock
) -> None:
    store = RedisTenantStore(brisk, defaults=DEFAULTS, monotonic=clock)
    await store.put("acme", DOCUMENT)
    clock.advance(4.9)

    with backend.frozen():
        stale = await store.get("acme")
        clock.advance(0.1)
        with pytest.raises(StoreUnavailable):
            await store.get("acme")

    assert stale == tenant(DOCUMENT)
