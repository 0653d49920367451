"""Which connection for whom: bounds, order, and places that nobody loses."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import httpx
import pytest

from adapters.openai.pool import PoolLimits
from adapters.openai.transport import PooledTransport
from tests.adapters.openai.servers import Reader, Writer, response, serving, take_request, until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


@dataclass
class Provider:
    """Answers each request once it is let; remembers who came, and on which connection."""

    name: str
    came: list[str]
    origin: str = ""
    opened: int = 0
    ended: int = 0
    let: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def __call__(self, reader: Reader, writer: Writer) -> None:
        self.opened += 1
        try:
            while True:
                await take_request(reader)
                self.came.append(self.name)
                await self.let.acquire()
                writer.write(response(self.name.encode()))
        finally:
            self.ended += 1

    def answer(self, times: int = 1) -> None:
        for _ in range(times):
            self.let.release()


@pytest.fixture
async def came() -> list[str]:
    """The providers that requests have come to, in their order."""
    return []


@pytest.fixture
async def providers(came: list[str]) -> AsyncIterator[list[Provider]]:
    async with AsyncExitStack() as stack:
        made = [Provider(name, came) for name in "abc"]
        for provider in made:
            provider.origin = await stack.enter_async_context(serving(provider))
        yield made


async def ask(transport: PooledTransport, origin: str) -> bytes:
    async with asyncio.timeout(10):
        answer = await transport.handle_async_request(httpx.Request("POST", f"{origin}/x", content=b"{}"))
        try:
            return await answer.aread()
        finally:
            await answer.aclose()


def asking(transport: PooledTransport, *providers: Provider) -> list[asyncio.Task[bytes]]:
    return [asyncio.create_task(ask(transport, provider.origin)) for provider in providers]


async def test_a_host_has_no_more_connections_than_its_bound(providers: list[Provider]) -> None:
    transport, (a, b, _) = PooledTransport(PoolLimits(connections_per_host=2)), providers
    tasks = asking(transport, *[a] * 10)
    b.answer()
    assert await ask(transport, b.origin) == b"b"

    a.answer(10)

    assert await asyncio.gather(*tasks) == [b"a"] * 10
    assert (a.opened, transport.connections) == (2, 3)
    await transport.aclose()


async def test_all_hosts_together_have_no_more_than_theirs(providers: list[Provider], came: list[str]) -> None:
    transport, (a, b, _) = PooledTransport(PoolLimits(connections=2)), providers
    first = asking(transport, a, a)
    await until(lambda: len(came) == 2)
    second = asking(transport, b)
    await asyncio.sleep(0.02)
    waited = came == ["a", "a"]

    a.answer()
    await until(lambda: "b" in came)
    a.answer()
    b.answer()

    assert waited
    assert await asyncio.gather(*first, *second) == [b"a", b"a", b"b"]
    assert (transport.connections, a.ended) == (2, 1)
    await transport.aclose()


async def test_a_free_connection_makes_room_for_another_host(providers: list[Provider]) -> None:
    transport, (a, b, _) = PooledTransport(PoolLimits(connections=1)), providers
    a.answer()
    b.answer()

    answers = [await ask(transport, a.origin), await ask(transport, b.origin)]

    assert answers == [b"a", b"b"]
    await until(lambda: a.ended == 1)
    assert transport.connections == 1
    await transport.aclose()


async def test_who_waits_longest_is_next(providers: list[Provider], came: list[str]) -> None:
    transport, (a, b, c) = PooledTransport(PoolLimits(connections=1)), providers
    tasks = []
    for provider in (a, b, c, b):
        tasks += asking(transport, provider)
        await asyncio.sleep(0)
    await until(lambda: came == ["a"])

    for provider in providers:
        provider.answer(2)
    await asyncio.gather(*tasks)

    assert came == ["a", "b", "c", "b"]
    await transport.aclose()


async def test_who_gave_up_waiting_leaves_no_gap(providers: list[Provider], came: list[str]) -> None:
    transport, (a, b, _) = PooledTransport(PoolLimits(connections=1)), providers
    [first, *others, last] = asking(transport, a, b, a, b, a, b)
    await until(lambda: came == ["a"])

    for task in others:
        task.cancel()
    a.answer()
    b.answer()

    assert [await first, await last] == [b"a", b"b"]
    assert transport.connections == 1
    await transport.aclose()


async def test_who_cannot_connect_leaves_its_place(providers: list[Provider], free_port: int) -> None:
    transport, (a, _, _) = PooledTransport(PoolLimits(connections=1)), providers
    a.answer(5)

    nowhere = [asyncio.create_task(ask(transport, f"http://127.0.0.1:{free_port}")) for _ in range(5)]
    answers = await asyncio.gather(*asking(transport, *[a] * 5), *nowhere, return_exceptions=True)

    assert answers[:5] == [b"a"] * 5
    assert [type(answer) for answer in answers[5:]] == [httpx.ConnectError] * 5
    await transport.aclose()
    assert transport.connections == 0


async def test_a_connection_that_nobody_uses_is_closed(providers: list[Provider]) -> None:
    transport, (a, _, _) = PooledTransport(PoolLimits(keepalive=0.05)), providers
    a.answer(2)
    await asyncio.gather(*asking(transport, a, a))

    await until(lambda: a.ended == 2)

    assert transport.connections == 0
    await transport.aclose()


async def test_places_are_neither_lost_nor_doubled_whatever_is_cancelled(providers: list[Provider]) -> None:
    transport, moments = PooledTransport(PoolLimits(connections=3, connections_per_host=2)), random.Random(3)
    for provider in providers:
        provider.answer(10_000)
    most = answered = 0

    async def worker() -> None:
        nonlocal most, answered
        for _ in range(40):
            provider = moments.choice(providers)
            [task] = asking(transport, provider)
            if moments.random() < 0.5:
                asyncio.get_running_loop().call_later(moments.uniform(0, 0.01), task.cancel)
            [said] = await asyncio.gather(task, return_exceptions=True)
            most = max(most, transport.connections)
            if not isinstance(said, BaseException):
                assert said == provider.name.encode()
                answered += 1

    await asyncio.gather(*(worker() for _ in range(10)))

    assert answered > 100
    assert most == 3
    assert await asyncio.gather(*asking(transport, *providers)) == [b"a", b"b", b"c"]
    await transport.aclose()
    assert transport.connections == 0
