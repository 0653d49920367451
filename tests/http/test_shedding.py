"""Overload: when there is too much to do as a pure rule, and what a replica with too much to do answers."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from entrypoints.http.shedding import Load
from tests.http.member import Member
from tests.http.replica import Replica, running
from tests.http.surfaces import SURFACES, Surface
from tests.http.told import told
from tests.http.waiting import until
from tests.provider.process import ProviderProcess

#: Seconds by which the loop may run late, and bytes that it may have.
LAG, MEMORY = 1.0, 1_000
#: What the replica may be late, in seconds, and for how long it is held up to be late beyond that.
PATIENCE, STANDSTILL = 0.3, 2.0


# --- the rule -----------------------------------------------------------------------------------------------------


def seen(load: Load, *lateness: float, memory: int = 0) -> bool:
    for late in lateness:
        load.see(late, memory)
    return load.is_too_much


def test_a_single_hiccup_is_no_overload_and_a_lag_that_stays_is_one() -> None:
    load = Load(most_lag=LAG)

    assert not seen(load, 0.0, 3.0)
    assert seen(load, 3.0)


def test_a_standstill_is_an_overload_at_once() -> None:
    assert seen(Load(most_lag=LAG), 4.0)


def test_an_overload_is_over_at_half_the_lag_and_not_before() -> None:
    load = Load(most_lag=LAG)
    assert seen(load, 4.0)

    lags = []
    while seen(load, 0.0):
        lags.append(load.lag)

    assert any(LAG / 2 < lag < LAG for lag in lags)
    assert LAG / 2 * 0.7 < load.lag <= LAG / 2
    assert not seen(load, LAG)


def test_memory_is_too_much_from_one_look_to_the_next() -> None:
    load = Load(most_memory=MEMORY)

    assert [seen(load, 9.0, memory=size) for size in (MEMORY, MEMORY + 1, MEMORY)] == [False, True, False]


def test_either_is_enough_and_no_threshold_is_none() -> None:
    assert seen(Load(LAG, MEMORY), 0.0, memory=MEMORY + 1)
    assert seen(Load(LAG, MEMORY), 4.0, memory=0)
    assert not seen(Load(), 1_000.0, memory=10**12)


# --- a replica ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def busy(process: ProviderProcess) -> AsyncIterator[Replica]:
    async with running(process, shed_lag_seconds=PATIENCE) as started:
        yield started


def hold_up() -> None:
    """Have the loop stand still; it is the replica's, too."""
    time.sleep(STANDSTILL)


@pytest.mark.slow
async def test_a_late_loop_has_completions_refused_and_health_answered_until_it_is_not(busy: Replica) -> None:
    member = Member(busy, await busy.add_tenant())
    assert [await status(member, surface) for surface in SURFACES] == [200] * 3

    hold_up()
    await until(lambda: sheds(busy))
    refused, health = await asyncio.gather(
        asyncio.gather(*(member.whole(surface) for surface in SURFACES)), healths(busy)
    )
    await until(lambda: serves(busy))

    for surface, answer in zip(SURFACES, refused, strict=True):
        assert answer.status_code == 503
        assert told(answer, surface).code == "overloaded"
        assert answer.headers["retry-after"] == "1"
    assert health == [200, 200, 200]
    assert [await status(member, surface) for surface in SURFACES] == [200] * 3


async def test_too_much_memory_has_requests_refused_and_health_answered(process: ProviderProcess) -> None:
    # The least that can be set: this process, which is the replica's, has more in any case.
    async with running(process, shed_memory_bytes=64 * 1024 * 1024) as full:
        await until(lambda: sheds(full))

        assert await healths(full) == [200, 200, 200]


async def status(member: Member, surface: Surface) -> int:
    return (await member.whole(surface)).status_code


async def healths(replica: Replica) -> list[int]:
    return [(await replica.client.get(path)).status_code for path in ("/healthz", "/readyz", "/metrics")]


async def sheds(replica: Replica) -> bool:
    refused = await replica.client.get("/v1/models")
    return "overloaded" in refused.headers.get_list("x-error-code")


async def serves(replica: Replica) -> bool:
    return not await sheds(replica)
