"""A primary that goes down and comes back, over real sockets: every request is answered, few probes are made, and the
primary answers again soon after it is well."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import pytest
from dependency_injector import providers as di

from config.container import Container
from domain.circuits import Rules
from domain.completions.health import Health
from domain.providers import ProviderRegistry, ProviderSpec
from tests.http.member import Member
from tests.http.replica import Replica, running
from tests.http.surfaces import TENANT
from tests.provider.process import ProviderProcess

#: A thirtieth of the pauses that there are in service.
BRISK = Rules(pause=0.2, longest_pause=0.7, probe=1.0)
OUTAGE = 2.0
#: The longest pause, and a look at what the other replicas know.
BACK_WITHIN = 3.0


@asynccontextmanager
async def replica_before(primary: ProviderProcess, fallback: ProviderProcess) -> AsyncIterator[Replica]:
    specs = {
        name: ProviderSpec(name, name, process.base_url, key="optional", models="any")
        for name, process in (("primary", primary), ("fallback", fallback))
    }

    def prepare(container: Container) -> None:
        container.registry.override(di.Object(ProviderRegistry(specs)))
        health = di.Singleton(
            Health, container.monotonic, container.journal, container.draw, rules=BRISK, berths=container.berths
        )
        container.health.override(health)

    async with running(fallback, prepare=prepare) as replica:
        yield replica


@pytest.mark.slow
async def test_a_primary_that_goes_down_and_comes_back_is_missed_by_nobody(provider: ProviderProcess) -> None:
    with ProviderProcess.start() as primary:
        async with replica_before(primary, provider) as replica:
            routes = [{"fallbacks": [{"provider": "fallback"}]}]
            member = Member(replica, await replica.add_tenant(default="primary", routes=routes))
            assert await answering(member) == "primary"

            primary.kill()
            down = await answers_for(member, OUTAGE)
            with ProviderProcess.start(port=primary.port) as again:
                began = time.monotonic()
                while await answering(member) != "primary":
                    assert time.monotonic() - began < BACK_WITHIN
                    await asyncio.sleep(0.01)
                back = await answers_for(member, 0.3)
                assert len(again.requests()) > len(back)

    attempts = [int(attempts) for _, attempts in down]
    assert {name for name, _ in down} == {"fallback"}
    assert {name for name, _ in back} == {"primary"}
    # Five find it down, then the pauses double: 0.2, 0.4, 0.7, 0.7 s.
    assert 5 <= sum(made - 1 for made in attempts) <= 5 + 6


async def answering(member: Member) -> str:
    """Who answers now; whoever asks is answered."""
    answer = await member.post(TENANT)
    assert answer.status_code == 200
    name: str = answer.headers["x-sluice-provider"]
    return name


async def answers_for(member: Member, seconds: float) -> list[tuple[str, str]]:
    """Who answered, after how many attempts, of requests one after the other."""
    until, answers = time.monotonic() + seconds, []
    for _ in count():
        if time.monotonic() > until:
            break
        answer = await member.post(TENANT)
        assert answer.status_code == 200
        answers.append((answer.headers["x-sluice-provider"], answer.headers["x-sluice-attempts"]))
        await asyncio.sleep(0.01)
    return answers
