"""Stores with a vault: keys are sealed at rest, those that operators write in the clear are taken, rotation goes on."""

import asyncio
from collections.abc import Awaitable, Callable

import orjson
import pytest

from adapters.documents import DATA_KEY, SEALED
from adapters.memory.tenants import MemoryTenantStore
from adapters.redis.connection import RedisConnection
from adapters.redis.tenants import RedisTenantStore
from adapters.secrets.envelope import Envelope
from adapters.secrets.keyring import Keyring
from adapters.vault import UNLOCKED, Vault
from domain.administration.documents import masked
from domain.administration.errors import VersionChanged
from domain.administration.secrets import SecretRotation
from domain.chat import JsonObject
from domain.errors import TenantMisconfigured
from domain.facts import SecretsUnreadable
from domain.ports import Resealed
from domain.tenants import Limits
from tests.contracts.backends import Backend
from tests.fakes import FrozenClock, ListJournal

pytestmark = pytest.mark.anyio

redis_only = pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)

OLD, NEW = bytes(range(32)), bytes(range(100, 132))
SECRET = "sk-canary-of-the-provider"
DOCUMENT: JsonObject = {
    "user_groups": ["staff"],
    "api_keys": {"openai": SECRET, "azure": [SECRET]},
    "default": "openai",
}

Store = MemoryTenantStore | RedisTenantStore
#: A store on what is there already, with this vault.
Opened = Callable[[Vault], Store]
Write = Callable[[str, JsonObject], Awaitable[None]]


@pytest.fixture
def journal() -> ListJournal:
    return ListJournal()


@pytest.fixture
def vaults(journal: ListJournal) -> dict[str, Vault]:
    return {
        "old": Envelope(Keyring("old", {"old": OLD}), journal),
        "both": Envelope(Keyring("new", {"new": NEW, "old": OLD}), journal),
        "new": Envelope(Keyring("new", {"new": NEW}), journal),
        "none": UNLOCKED,
    }


@pytest.fixture
def opened(connection: RedisConnection | None) -> Opened:
    documents: dict[str, bytes] = {}

    def opened(vault: Vault) -> Store:
        if connection is not None:
            return RedisTenantStore(connection, defaults=Limits(), monotonic=FrozenClock(), vault=vault, fresh=0)
        store = MemoryTenantStore(defaults=Limits(), vault=vault)
        store._documents = documents
        return store

    return opened


@pytest.fixture
def write(connection: RedisConnection | None, opened: Opened) -> Write:
    """What an operator does, by hand."""

    async def write(tenant_id: str, document: JsonObject) -> None:
        if connection is not None:
            await connection.command("SET", f"tenant:{tenant_id}", orjson.dumps(document))
        else:
            opened(UNLOCKED)._documents[tenant_id] = orjson.dumps(document)  # type: ignore[union-attr]

    return write


async def stored(opened: Opened, tenant_id: str = "acme") -> JsonObject:
    """The document as it stands there."""
    found = await opened(UNLOCKED).read(tenant_id)
    assert found is not None
    assert found.document is not None
    return found.document


async def keys_of(store: Store, tenant_id: str = "acme") -> object:
    tenant = await store.get(tenant_id)
    assert tenant is not None
    return tenant.api_keys


USED = {"openai": (SECRET,), "azure": (SECRET,)}


async def test_what_is_written_is_sealed_and_used_in_the_clear(opened: Opened, vaults: dict[str, Vault]) -> None:
    store = opened(vaults["old"])
    await store.put("acme", DOCUMENT)
    await store.replace("globex", DOCUMENT, None)

    for tenant_id in ("acme", "globex"):
        there = await stored(opened, tenant_id)
        assert SECRET.encode() not in orjson.dumps(there)
        assert there["api_keys"]["openai"].startswith(SEALED)
        assert await keys_of(opened(vaults["old"]), tenant_id) == USED


async def test_what_an_operator_writes_in_the_clear_is_used_and_sealed_with_the_next_writing(
    opened: Opened, vaults: dict[str, Vault], write: Write
) -> None:
    await write("acme", DOCUMENT)
    store = opened(vaults["old"])
    assert await keys_of(store) == USED
    seen = await store.read("acme")
    assert seen is not None

    await store.replace("acme", {**(seen.document or {}), "policy": "strict"}, seen.version)

    assert SECRET.encode() not in orjson.dumps(await stored(opened))
    assert await keys_of(opened(vaults["old"])) == USED


async def test_who_changes_a_document_sees_its_keys_as_they_are_and_masks_them(
    opened: Opened, vaults: dict[str, Vault]
) -> None:
    store = opened(vaults["old"])
    await store.put("acme", DOCUMENT)

    found = await store.read("acme")

    assert found is not None
    assert found.document == DOCUMENT
    assert masked(found.document)["api_keys"] == {"openai": "sk-…ider", "azure": ["sk-…ider"]}


async def test_a_key_that_is_copied_to_another_tenant_spoils_that_ones_document(
    opened: Opened, vaults: dict[str, Vault], write: Write, journal: ListJournal
) -> None:
    await opened(vaults["old"]).put("acme", DOCUMENT)
    await write("globex", await stored(opened))

    with pytest.raises(TenantMisconfigured):
        await opened(vaults["old"]).get("globex")

    assert SecretsUnreadable("globex", "damaged") in journal.facts
    assert await keys_of(opened(vaults["old"])) == USED


@pytest.mark.parametrize("other", ["new", "none"])
async def test_without_the_key_a_document_is_refused_and_not_overwritten_by_half(
    opened: Opened, vaults: dict[str, Vault], other: str
) -> None:
    await opened(vaults["old"]).put("acme", DOCUMENT)
    store = opened(vaults[other])
    there = await stored(opened)

    with pytest.raises(TenantMisconfigured):
        await store.get("acme")
    found = await store.read("acme")
    assert found is not None
    assert found.document == there
    assert store.flaws(there)
    with pytest.raises(TenantMisconfigured):
        await store.replace("acme", {**there, "policy": "strict"}, found.version)

    assert await stored(opened) == there


async def test_new_keys_mend_a_document_whose_old_ones_are_lost(opened: Opened, vaults: dict[str, Vault]) -> None:
    await opened(vaults["old"]).put("acme", DOCUMENT)
    store = opened(vaults["new"])
    found = await store.read("acme")
    assert found is not None
    mended = {name: value for name, value in (found.document or {}).items() if name != DATA_KEY}

    await store.replace("acme", {**mended, "api_keys": {"openai": "sk-new"}}, found.version)

    assert await keys_of(opened(vaults["new"])) == {"openai": ("sk-new",)}


# --- rotation ---------------------------------------------------------------------------------------------------------


async def test_rotation_seals_everything_with_the_active_key(
    opened: Opened, vaults: dict[str, Vault], write: Write
) -> None:
    await opened(vaults["old"]).put("sealed", DOCUMENT)
    await write("plain", DOCUMENT)
    await write("keyless", {"user_groups": ["staff"]})
    await write("spoilt", {"api_keys": {"openai": f"{SEALED}AAAA"}, DATA_KEY: "lost:AAAA"})

    first = await SecretRotation(opened(vaults["both"])).rotate()
    second = await SecretRotation(opened(vaults["both"])).rotate()

    assert first.counts == {Resealed.SEALED: 2, Resealed.CURRENT: 1, Resealed.UNREADABLE: 1}
    assert second.counts == {Resealed.CURRENT: 3, Resealed.UNREADABLE: 1}
    assert first.unreadable == second.unreadable == ("spoilt",)
    for tenant_id in ("sealed", "plain"):
        assert await keys_of(opened(vaults["new"]), tenant_id) == USED
        assert SECRET.encode() not in orjson.dumps(await stored(opened, tenant_id))


async def test_without_the_old_key_only_what_was_not_rotated_is_refused(
    opened: Opened, vaults: dict[str, Vault]
) -> None:
    for tenant_id in ("acme", "globex"):
        await opened(vaults["old"]).put(tenant_id, DOCUMENT)

    outcome = await opened(vaults["both"]).reseal("acme")

    assert outcome is Resealed.SEALED
    assert await keys_of(opened(vaults["new"])) == USED
    with pytest.raises(TenantMisconfigured):
        await opened(vaults["new"]).get("globex")


async def test_what_is_not_there_is_not_sealed(opened: Opened, vaults: dict[str, Vault], write: Write) -> None:
    await write("acme", DOCUMENT)

    assert await opened(vaults["old"]).reseal("nobody") is Resealed.GONE
    assert await opened(UNLOCKED).reseal("acme") is Resealed.CURRENT
    assert await stored(opened) == DOCUMENT


@redis_only
async def test_rotation_overwrites_nothing_that_others_write_meanwhile(
    opened: Opened, vaults: dict[str, Vault], backend: Backend
) -> None:
    writer, rotator = opened(vaults["both"]), opened(vaults["both"])
    await opened(vaults["old"]).put("acme", DOCUMENT)

    async def write_often() -> None:
        for number in range(50):
            await writer.put("acme", {**DOCUMENT, "cache_seconds": float(number)})

    async def rotate_often() -> None:
        for _ in range(50):
            try:
                await rotator.reseal("acme")
            except VersionChanged:
                continue

    await asyncio.gather(write_often(), rotate_often(), rotate_often())

    tenant = await opened(vaults["new"]).get("acme")
    assert tenant is not None
    assert (tenant.cache_seconds, tenant.api_keys) == (49.0, USED)


class Contended:
    """Documents that somebody else has always just written."""

    def __init__(self, times: int) -> None:
        self.left = times

    async def ids(self):  # type: ignore[no-untyped-def]
        for tenant_id in ("acme", "acme"):
            yield tenant_id

    async def reseal(self, tenant_id: str) -> Resealed:
        if self.left:
            self.left -= 1
            raise VersionChanged
        return Resealed.SEALED


@pytest.mark.parametrize("backend", ["memory"], indirect=True)
async def test_a_document_that_others_write_is_tried_again_but_not_for_ever(backend: Backend) -> None:
    rotated = await SecretRotation(Contended(9)).rotate()  # type: ignore[arg-type] # has what rotation asks

    assert rotated.counts == {Resealed.SEALED: 1}
    with pytest.raises(VersionChanged):
        await SecretRotation(Contended(10)).rotate()  # type: ignore[arg-type] # has what rotation asks
