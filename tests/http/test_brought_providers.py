"""S1, S4, S8 through a whole gateway: a tenant's own provider is asked where it may be, and its key stays with it.

Nothing leaves the machine: a lookup says what the test wants, and a connection to a public address is led to the
scripted provider on loopback. What is between the two, the rule about addresses among it, is what ships.
"""

import itertools
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest
from dependency_injector import providers as di

from adapters.openai.dialing import Address, Dialer, connect_to
from adapters.openai.transport import PooledTransport
from config.container import Container
from tests.http.admins import Admin
from tests.http.member import Member
from tests.http.replica import Replica, running
from tests.http.surfaces import TENANT
from tests.http.told import as_openai
from tests.provider.process import ProviderProcess

pytestmark = pytest.mark.anyio

PUBLIC, INSIDE = "8.8.8.8", "127.0.0.1"
_numbers = itertools.count(1)


@dataclass
class Network:
    """Names and where they lead: to a public address, unless they are ``inside``, and from each to one server."""

    server: int
    inside: set[str] = field(default_factory=set)
    connected: list[str] = field(default_factory=list)

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        return [Address(socket.AF_INET, (INSIDE if host in self.inside else PUBLIC, port))]

    async def connect(self, address: Address) -> socket.socket:
        self.connected.append(str(address.sockaddr[0]))
        return await connect_to(Address(socket.AF_INET, ("127.0.0.1", self.server)))

    def install(self, container: Container) -> None:
        container.transport.override(di.Object(PooledTransport(dialer=Dialer(self.resolve, self.connect))))


@pytest.fixture
def network(provider: ProviderProcess) -> Network:
    return Network(int(provider.base_url.split(":")[2].partition("/")[0]))


@pytest.fixture
async def gateway(provider: ProviderProcess, network: Network) -> AsyncIterator[Replica]:
    async with running(provider, prepare=network.install, tenant_providers=True) as started:
        yield started


@dataclass(frozen=True, slots=True)
class House:
    """A tenant with a provider of its own at this host, made by the admin API, and a member of it."""

    admin: Admin
    member: Member

    @property
    def path(self) -> str:
        return f"/tenants/{self.member.tenant}"


async def house(gateway: Replica, host: str = "llm.example.com") -> House:
    tenant, admin = f"house-{next(_numbers)}", Admin(gateway)
    await admin.create(
        tenant,
        providers={"house": {"base_url": f"http://{host}/v1"}},
        api_keys={"house": "sk-of-the-house-1"},
        groups={"staff": {"initial_tokens": 1_000_000}},
        default="house",
        default_model="echo",
    )
    return House(admin, Member(gateway, tenant))


async def test_a_tenants_own_provider_answers_with_its_key_under_its_name(
    gateway: Replica, network: Network, provider: ProviderProcess
) -> None:
    own = await house(gateway)

    answer = await own.member.post(TENANT)

    (seen,) = provider.requests()
    assert (answer.status_code, answer.headers["x-sluice-provider"]) == (200, "house")
    assert (seen.headers["host"], seen.headers["authorization"]) == ("llm.example.com", "Bearer sk-of-the-house-1")
    assert network.connected == [PUBLIC]


async def test_a_name_that_leads_inside_is_not_connected_to_and_the_caller_is_not_told_why(
    gateway: Replica, network: Network, provider: ProviderProcess
) -> None:
    network.inside.add("rebound.example.com")
    own = await house(gateway, "rebound.example.com")

    told = as_openai(await own.member.post(TENANT))

    assert (told.status, told.code) == (502, "upstream_unreachable")
    assert "127.0.0.1" not in told.message
    assert (network.connected, provider.requests()) == ([], [])


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8000", "localhost", "169.254.169.254", "[::1]", "metadata.google.internal"]
)
async def test_an_address_inside_is_refused_where_it_is_written(gateway: Replica, host: str) -> None:
    own = await house(gateway)
    inside = {"providers": {"house": {"base_url": f"http://{host}/v1"}}}

    refused = await own.admin.ask("PATCH", own.path, inside, If_Match="*")

    assert refused.status_code == 400
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/providers/house/base_url"]


async def test_where_tenants_may_not_bring_any_there_is_none(replica: Replica, provider: ProviderProcess) -> None:
    tenant = await replica.add_tenant(providers={"house": {"base_url": "http://llm.example.com/v1"}}, default="house")

    told = as_openai(await Member(replica, tenant).post(TENANT))

    assert (told.status, told.code) == (400, "provider_not_found")
    assert provider.requests() == []


async def test_a_key_does_not_follow_its_provider_to_another_host_unless_it_is_entered_anew(
    gateway: Replica, provider: ProviderProcess
) -> None:
    own = await house(gateway)
    moved = {"providers": {"house": {"base_url": "http://llm.example.net/v1"}}}

    refused = await own.admin.ask("PATCH", own.path, moved, If_Match="*")
    await own.member.post(TENANT)
    entered = await own.admin.ask(
        "PATCH", own.path, {**moved, "api_keys": {"house": "sk-of-the-house-2"}}, If_Match="*"
    )
    await own.member.post(TENANT)

    asked = [(seen.headers["host"], seen.headers["authorization"]) for seen in provider.requests()]
    assert (refused.status_code, entered.status_code) == (400, 200)
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/api_keys/house"]
    assert asked == [
        ("llm.example.com", "Bearer sk-of-the-house-1"),
        ("llm.example.net", "Bearer sk-of-the-house-2"),
    ]
