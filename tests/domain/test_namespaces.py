"""No provider stands in a tenant's place, and a replica is not ready before that is known."""

import pytest

from adapters.memory.tenants import MemoryTenantStore
from domain.chat import JsonObject
from domain.errors import TenantMisconfigured
from domain.namespaces import Namespaces, NamespaceTaken
from domain.providers import ProviderRegistry
from domain.tenants import Limits
from tests.builders import a_provider, a_tenant_document
from tests.fakes import FlakyStore

pytestmark = pytest.mark.anyio

REGISTRY = ProviderRegistry({name: a_provider(id=name) for name in ("openai", "mistral", "ollama")})


def tenants(**documents: JsonObject) -> FlakyStore[MemoryTenantStore]:
    return FlakyStore(MemoryTenantStore(documents, defaults=Limits()))


async def test_where_no_tenant_has_a_providers_id_the_way_is_clear() -> None:
    namespaces = Namespaces(tenants(acme=a_tenant_document()).port, REGISTRY)

    assert await namespaces.require_clear()
    assert await namespaces.check() is None


async def test_providers_in_tenants_places_are_named() -> None:
    taken = tenants(acme=a_tenant_document(), openai=a_tenant_document(), ollama=a_tenant_document())
    namespaces = Namespaces(taken.port, REGISTRY)

    with pytest.raises(NamespaceTaken, match=r": openai, ollama$") as refusal:
        await namespaces.require_clear()

    assert refusal.value.ids == ["openai", "ollama"]
    assert await namespaces.check() == str(refusal.value)


async def test_a_tenant_whose_document_cannot_be_read_has_its_id_all_the_same() -> None:
    broken = tenants()
    broken.fail("get", error=TenantMisconfigured())

    with pytest.raises(NamespaceTaken):
        await Namespaces(broken.port, REGISTRY).require_clear()


async def test_a_store_that_is_away_keeps_nothing_from_starting_and_is_asked_again() -> None:
    away = tenants()
    away.fail("get", times=6)
    namespaces = Namespaces(away.port, REGISTRY)

    at_start = await namespaces.require_clear()
    still_away = await namespaces.check()
    back = await namespaces.check()

    assert (at_start, still_away, back) == (False, "not yet compared with the tenants", None)


async def test_what_is_known_once_is_not_asked_again() -> None:
    store = tenants()
    namespaces = Namespaces(store.port, REGISTRY)
    await namespaces.require_clear()

    for _ in range(3):
        await namespaces.check()

    assert store.calls["get"] == 3
