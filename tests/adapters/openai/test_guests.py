"""S2, S4, S5, S7, S8: where the gateway connects to for a provider that a tenant brought. Nothing leaves the machine:
what is looked at is whether a connection would have been opened, and to which address."""

import asyncio
import socket
from collections.abc import Sequence

import httpx
import pytest

from adapters.openai.dialing import Address, Dialer, connect_to, look_up
from adapters.openai.provider import OpenAIProvider
from adapters.openai.transport import GUEST, PooledTransport
from domain.errors import ProviderUnreachable
from tests.adapters.openai.asking import failure_of
from tests.adapters.openai.calls import a_call, a_target
from tests.adapters.openai.servers import Reader, Writer, response, serving, take_request

pytestmark = pytest.mark.anyio

PUBLIC = Address(socket.AF_INET, ("8.8.8.8", 443))
INSIDE = Address(socket.AF_INET, ("169.254.169.254", 443))


class Spy:
    """A resolver that says what it is told, one list after the other; attempts to connect are noted and led to a server
    on loopback, or nowhere."""

    def __init__(self, *answers: Sequence[Address], origin: str = "http://127.0.0.1:9") -> None:
        self.answers = list(answers)
        self.tried: list[Address] = []
        self.lookups = 0
        self._server = Address(socket.AF_INET, ("127.0.0.1", int(origin.rpartition(":")[2])))

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        self.lookups += 1
        return self.answers.pop(0) if self.answers else look_up(host, port, socket.AI_NUMERICHOST)

    async def connect(self, address: Address) -> socket.socket:
        self.tried.append(address)
        return await connect_to(self._server)

    def transport(self) -> PooledTransport:
        return PooledTransport(dialer=Dialer(self.resolve, self.connect))


async def ask(transport: PooledTransport, url: str, guest: str | None = "acme") -> bytes:
    request = httpx.Request("POST", url, content=b"{}", extensions={GUEST: guest})
    async with asyncio.timeout(5):
        return await (await transport.handle_async_request(request)).aread()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "0x7f000001", "2130706433", "0", "[::1]", "[::]", "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "169.254.169.254", "[fd00:ec2::254]", "10.1.2.3", "100.64.0.1",
        "198.18.0.1", "192.0.0.192", "168.63.129.16", "224.0.0.1", "255.255.255.255", "[fe80::1]",
    ],
)  # fmt: skip
async def test_no_connection_is_opened_to_an_address_inside(host: str) -> None:
    spy = Spy()
    transport = spy.transport()

    with pytest.raises(httpx.ConnectError):
        await ask(transport, f"http://{host}/v1")

    assert (spy.lookups, spy.tried) == (1, [])
    assert transport.connections == 0


@pytest.mark.parametrize("answers", [[INSIDE], [PUBLIC, INSIDE], [INSIDE, PUBLIC]], ids=["inside", "last", "first"])
async def test_a_name_of_which_one_address_is_inside_is_refused(answers: list[Address]) -> None:
    spy = Spy(answers)

    with pytest.raises(httpx.ConnectError):
        await ask(spy.transport(), "http://provider.example/v1")

    assert spy.tried == []


async def answer_and_close(reader: Reader, writer: Writer) -> None:
    await take_request(reader)
    writer.write(response(b"{}", b"connection: close"))


async def test_a_name_that_moves_inside_is_looked_up_and_refused_again() -> None:
    async with serving(answer_and_close) as origin:
        spy = Spy([PUBLIC], [INSIDE], origin=origin)
        transport = spy.transport()

        first = await ask(transport, "http://provider.example/v1")
        with pytest.raises(httpx.ConnectError):
            await ask(transport, "http://provider.example/v1")

    # One lookup each, and what was looked up is what is connected to.
    assert first == b"{}"
    assert (spy.lookups, spy.tried) == (2, [PUBLIC])


async def test_no_two_tenants_and_no_operator_share_a_connection() -> None:
    heads: list[bytes] = []

    async def keep(reader: Reader, writer: Writer) -> None:
        while True:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            await reader.readexactly(2)
            writer.write(response(b"{}"))

    async with serving(keep) as origin:
        spy = Spy(*[[PUBLIC]] * 9, origin=origin)
        transport = spy.transport()
        for guest in ("acme", "acme", "umbrella", None, "acme", None):
            await ask(transport, "http://provider.example/v1", guest)
        await transport.aclose()

    assert len(heads) == 6
    assert len(spy.tried) == 3
    assert all(b"host: provider.example\r\n" in head.lower() for head in heads)


async def test_the_operators_providers_may_be_anywhere() -> None:
    async with serving(answer_and_close) as origin:
        assert await ask(PooledTransport(), origin, guest=None) == b"{}"


async def test_whose_provider_it_is_goes_with_its_requests() -> None:
    spy = Spy()
    own = a_target(base_url="http://127.0.0.1/v1", owner="acme")

    error = await failure_of(OpenAIProvider(spy.transport()), a_call(own), "whole")

    assert type(error) is ProviderUnreachable
    assert spy.tried == []


async def test_forbidden_refused_and_unknown_read_the_same() -> None:
    async def unknown(host: str, port: int) -> Sequence[Address]:
        raise socket.gaierror

    spies = [Spy([INSIDE]).transport(), Spy([PUBLIC]).transport(), PooledTransport(dialer=Dialer(unknown))]
    own = a_target(base_url="http://provider.example/v1", owner="acme")

    errors = [await failure_of(OpenAIProvider(transport), a_call(own), "whole") for transport in spies]

    assert len({(error.code, error.message, error.detail) for error in errors}) == 1


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving(answer_and_close) as origin:
        spy = Spy([PUBLIC], origin=origin)

        await ask(spy.transport(), "http://provider.example/v1")

    assert spy.tried == [PUBLIC]
