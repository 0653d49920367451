"""One path for two kinds of id: ``/{provider}/v1/...`` and ``/{tenant_id}/v1/...``."""

import pytest
from dependency_injector import providers as di

from adapters.memory.tenants import MemoryTenantStore
from config.container import Container
from domain.errors import Unfit
from domain.tenants import Limits
from tests.http.member import Member
from tests.http.replica import TENANT_DOCUMENT, Replica, running
from tests.http.surfaces import PROVIDER, TENANT
from tests.http.told import told
from tests.provider.process import ProviderProcess


async def test_a_registered_provider_wins_over_a_tenant_of_the_same_id(replica: Replica) -> None:
    member = Member(replica, await replica.add_tenant("keyed"))

    answer = await replica.client.post(
        "/keyed/v1/chat/completions", json=member.body(PROVIDER), headers=member.headers(PROVIDER)
    )

    assert answer.json()["id"].startswith("chatcmpl-")
    assert answer.headers["x-sluice-provider"] == "keyed"


async def test_the_provider_in_the_path_answers_whatever_the_tenants_default_is(replica: Replica) -> None:
    member = Member(replica, await replica.add_tenant(default="openai"))

    answer = await member.post(PROVIDER)

    assert answer.headers["x-sluice-provider"] == "scripted"


async def test_whatever_is_no_provider_is_a_tenant(member: Member) -> None:
    answer = await member.post(TENANT)

    assert answer.json()["id"].startswith("conv-")


async def test_an_id_in_the_path_may_be_percent_encoded(replica: Replica) -> None:
    member = Member(replica, await replica.add_tenant("ann@acme.example"))

    answer = await replica.client.post(
        "/ann%40acme.example/v1/chat/completions", json=member.body(TENANT), headers=member.headers(TENANT)
    )

    assert answer.status_code == 200


async def test_case_matters_in_ids(replica: Replica) -> None:
    member = Member(replica, await replica.add_tenant("Globex"))

    answer = await replica.client.post("/globex/v1/chat/completions", json={}, headers=member.headers(TENANT))

    assert told(answer, TENANT).code == "unknown_namespace"


async def test_no_replica_starts_with_a_provider_in_the_place_of_a_tenant(process: ProviderProcess) -> None:
    def settle_tenants(container: Container) -> None:
        store = MemoryTenantStore({"keyed": TENANT_DOCUMENT, "acme": TENANT_DOCUMENT}, defaults=Limits())
        container.tenants.override(di.Object(store))

    with pytest.raises(Unfit, match="keyed"):
        async with running(process, prepare=settle_tenants):
            pass
