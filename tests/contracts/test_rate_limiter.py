"""RateLimiter: meters that agree with the domain's arithmetic, whoever keeps them."""

import asyncio
import random
from dataclasses import replace

import pytest

from adapters.memory.rate import MemoryRateLimiter
from adapters.redis.connection import RedisConnection
from adapters.redis.rate import RedisRateLimiter
from domain import rate
from domain.ports import RateLimiter
from domain.rate import Allowance, Charge, Verdict
from tests.fakes import FrozenClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def limiter(connection: RedisConnection | None, clock: FrozenClock) -> RateLimiter:
    return MemoryRateLimiter(clock) if connection is None else RedisRateLimiter(connection, clock=clock)


def requests(limit: int, cost: int = 1) -> Charge:
    return Charge("rpm", "requests", Allowance(limit), cost)


def tokens(limit: int, cost: int) -> Charge:
    return Charge("tpm", "tokens", Allowance(limit), cost)


async def test_what_is_not_metered_is_always_allowed(limiter: RateLimiter) -> None:
    verdict = await limiter.take("acme", ())

    assert verdict == Verdict(True)


async def test_concurrent_callers_never_take_the_same_unit(limiter: RateLimiter) -> None:
    charge = requests(limit=10)

    verdicts = await asyncio.gather(*(limiter.take("acme", [charge]) for _ in range(200)))

    assert sum(verdict.allowed for verdict in verdicts) == 10
    assert sorted(verdict.readings[0].remaining for verdict in verdicts if verdict.allowed) == [*range(10)]


async def test_all_meters_are_charged_or_none(limiter: RateLimiter) -> None:
    await limiter.take("acme", [requests(100), tokens(1000, 900)])

    refused = await limiter.take("acme", [requests(100), tokens(1000, 200)])
    after = await limiter.take("acme", [requests(100), tokens(1000, 100)])

    assert (refused.allowed, refused.refused_by) == (False, "tokens")
    assert [(reading.what, reading.remaining) for reading in after.readings] == [("requests", 98), ("tokens", 0)]


async def test_a_refused_request_is_admitted_when_it_was_told_to_come_back(
    limiter: RateLimiter, clock: FrozenClock
) -> None:
    await limiter.take("acme", [tokens(600, 600)])
    refused = await limiter.take("acme", [tokens(600, 100)])

    clock.advance(refused.retry_after - 0.001)
    early = await limiter.take("acme", [tokens(600, 100)])
    clock.advance(0.001)
    in_time = await limiter.take("acme", [tokens(600, 100)])

    assert refused.retry_after == pytest.approx(10.0)
    assert (early.allowed, in_time.allowed) == (False, True)


async def test_nobody_is_refused_for_less_than_a_microsecond(limiter: RateLimiter, clock: FrozenClock) -> None:
    await limiter.take("acme", [requests(60, cost=60)])

    clock.advance(1.0 - 5e-7)
    verdicts = [await limiter.take("acme", [requests(60)]) for _ in range(2)]

    assert [verdict.allowed for verdict in verdicts] == [True, False]


async def test_tenants_do_not_share_meters(limiter: RateLimiter) -> None:
    await limiter.take("acme", [requests(1)])

    verdict = await limiter.take("globex", [requests(1)])

    assert verdict.allowed


async def test_a_correction_counts_whatever_the_meter_holds(limiter: RateLimiter) -> None:
    await limiter.take("acme", [tokens(1000, 1000)])

    await limiter.correct("acme", tokens(1000, 500))
    verdict = await limiter.take("acme", [tokens(1000, 1)])

    assert verdict.readings[0].reset == pytest.approx(90.0)


async def test_what_is_given_back_never_makes_a_meter_more_than_empty(limiter: RateLimiter) -> None:
    await limiter.take("acme", [tokens(1000, 10)])

    await limiter.correct("acme", tokens(1000, -5000))
    verdict = await limiter.take("acme", [tokens(1000, 1000)])

    assert verdict.allowed
    assert verdict.readings[0].remaining == 0


@pytest.mark.parametrize("seed", range(20))
async def test_a_random_walk_takes_the_steps_of_the_reference(
    limiter: RateLimiter, clock: FrozenClock, seed: int
) -> None:
    dice = random.Random(seed)
    shapes = [
        Charge("rpm", "requests", Allowance(dice.choice([1, 7, 60, 333])), 1),
        Charge("tpm", "tokens", Allowance(dice.choice([3, 1000, 99_999]), dice.choice([1.0, 60.0, 0.1])), 1),
    ]
    tats: dict[str, float | None] = {"rpm": None, "tpm": None}

    for _ in range(60):
        clock.advance(dice.choice([0.0, 1e-7, dice.random(), dice.expovariate(0.2)]))
        charges = [replace(shape, cost=_cost(dice, shape)) for shape in dice.sample(shapes, dice.randint(1, 2))]
        if dice.random() < 0.2:
            charge = replace(charges[0], cost=dice.choice([-1, 1]) * charges[0].cost)
            await limiter.correct("acme", charge)
            tats[charge.meter] = rate.arrival(tats[charge.meter], charge, clock())
            continue
        after, expected = rate.take([tats[charge.meter] for charge in charges], charges, clock())
        tats.update(zip((charge.meter for charge in charges), after, strict=True))

        assert await limiter.take("acme", charges) == expected


def _cost(dice: random.Random, shape: Charge) -> int:
    limit = shape.allowance.limit
    return dice.choice([0, 1, max(1, limit // 3), limit, limit * 2, dice.randint(0, limit)])


@pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)
async def test_without_another_clock_the_servers_own_counts(connection: RedisConnection) -> None:
    limiter = RedisRateLimiter(connection)

    first = await limiter.take("acme", [Charge("rpm", "requests", Allowance(1, window=0.05), 1)])
    verdict = await limiter.take("acme", [Charge("rpm", "requests", Allowance(1, window=0.05), 1)])
    while not verdict.allowed:
        await asyncio.sleep(verdict.retry_after)
        verdict = await limiter.take("acme", [Charge("rpm", "requests", Allowance(1, window=0.05), 1)])

    assert first.allowed
