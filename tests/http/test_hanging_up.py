"""Providers that close a connection which was kept in the very moment in which the next request is sent over it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from dependency_injector import providers as di

from config.container import Container
from domain.providers import ProviderRegistry, ProviderSpec
from tests.adapters.openai.servers import Reader, Writer, response, serving, take_request
from tests.http.authority import ANSWER
from tests.http.member import Member
from tests.http.replica import Replica, running
from tests.http.surfaces import TENANT
from tests.http.told import as_openai
from tests.provider.process import ProviderProcess

BALANCE = 1_000_000
CHARGED = 4


@dataclass(slots=True)
class Closing:
    """A provider that answers once for each connection, and ends it when a second request comes.

    Whoever is asked for the second time has read the request: that cannot be told from not having read it.
    """

    answered: int = 0
    hung_up: int = 0
    #: Whether new connections are ended without an answer, too.
    is_ill: bool = False
    _together: asyncio.Barrier | None = field(default=None)

    def meet(self, count: int) -> None:
        """Answer so many only once all of them have come, so that each has a connection of its own."""
        self._together = asyncio.Barrier(count)

    async def treat(self, reader: Reader, writer: Writer) -> None:
        await take_request(reader)
        if self.is_ill:
            return
        if self._together is not None:
            await self._together.wait()
        self.answered += 1
        writer.write(response(ANSWER))
        await take_request(reader)
        self.hung_up += 1


@dataclass(frozen=True, slots=True)
class Place:
    replica: Replica
    closing: Closing

    async def member(self, *, alone: bool = False) -> Member:
        """A member of a new tenant, which has the scripted provider to fall back on unless it is ``alone``."""
        groups = {"staff": {"initial_tokens": BALANCE}}
        routes = [] if alone else [{"fallbacks": [{"provider": "scripted", "model": "echo"}]}]
        return Member(self.replica, await self.replica.add_tenant(default="closing", groups=groups, routes=routes))

    async def charged(self, member: Member) -> int:
        return BALANCE - await self.replica.available(member.tenant)


@pytest.fixture
async def place(provider: ProviderProcess) -> AsyncIterator[Place]:
    closing = Closing()
    async with serving(closing.treat) as origin:

        def add(container: Container) -> None:
            known = {spec.id: spec for spec in container.registry()}
            spec = ProviderSpec("closing", "Closing", f"{origin}/v1", key="optional", models="any")
            container.registry.override(di.Object(ProviderRegistry({**known, spec.id: spec})))

        async with running(provider, prepare=add) as replica:
            yield Place(replica, closing)


async def test_a_request_that_is_hung_up_on_is_sent_again_and_charged_once(place: Place) -> None:
    member = await place.member()
    await member.post(TENANT)

    answer = await member.post(TENANT)

    assert answer.json()["choices"][0]["message"]["content"] == "proven"
    assert (answer.headers["x-sluice-provider"], answer.headers["x-sluice-attempts"]) == ("closing", "2")
    assert (place.closing.answered, place.closing.hung_up) == (2, 1)
    assert await place.charged(member) == 2 * CHARGED


async def test_all_are_sent_again_when_all_kept_connections_end_at_once(place: Place) -> None:
    member, count = await place.member(), 20
    place.closing.meet(count)
    await asyncio.gather(*(member.post(TENANT) for _ in range(count)))

    answers = await asyncio.gather(*(member.post(TENANT) for _ in range(count)))

    assert {answer.headers["x-sluice-provider"] for answer in answers} == {"closing"}
    assert {answer.headers["x-sluice-attempts"] for answer in answers} == {"2"}
    assert await place.charged(member) == 2 * count * CHARGED


async def test_who_hangs_up_on_a_new_connection_too_is_left_for_another(place: Place) -> None:
    member = await place.member()
    await member.post(TENANT)
    place.closing.is_ill = True

    answer = await member.post(TENANT)

    assert (answer.headers["x-sluice-provider"], answer.headers["x-sluice-attempts"]) == ("scripted", "3")
    assert place.closing.hung_up == 1


async def test_where_there_is_no_other_the_caller_is_told_after_two_requests(place: Place) -> None:
    member = await place.member(alone=True)
    await member.post(TENANT)
    place.closing.is_ill = True

    answer = await member.post(TENANT)

    assert (answer.status_code, as_openai(answer).code) == (502, "upstream_truncated")
    assert answer.headers["x-sluice-attempts"] == "2"
    assert await place.charged(member) == CHARGED
