"""RateLimiter: meters and places that agree with the domain's arithmetic, whoever keeps them."""

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from adapters.memory.rate import MemoryRateLimiter
from adapters.redis.connection import RedisConnection
from adapters.redis.rate import RedisRateLimiter
from domain import rate
from domain.ports import RateLimiter
from domain.rate import Allowance, Charge, Holders, Meter, Slot, State, Verdict, micros
from tests.contracts.backends import Backend, connected
from tests.fakes import FrozenClock

pytestmark = pytest.mark.anyio

#: 2027-01-15T00:00:00Z, in Unix seconds.
MIDNIGHT = 1_799_971_200.0


@pytest.fixture
def limiter(connection: RedisConnection | None, clock: FrozenClock) -> RateLimiter:
    return MemoryRateLimiter(clock) if connection is None else RedisRateLimiter(connection, clock=clock)


def requests(limit: int, cost: int = 1) -> Charge:
    return Charge("rpm", "requests", Allowance(limit), cost)


def tokens(limit: int, cost: int) -> Charge:
    return Charge("tpm", "tokens", Allowance(limit), cost)


def daily(limit: int, cost: int) -> Charge:
    return Charge("day:tokens", "tokens", Allowance(limit), cost, daily=True)


def a_slot(holder: str = "run-1", *, limit: int = 2, seconds: float = 30.0, meter: str = "runs") -> Slot:
    return Slot(meter, limit, holder, seconds)


async def remaining(limiter: RateLimiter, *charges: Charge) -> list[int]:
    """What is left, for a request that takes nothing."""
    verdict = await limiter.take("acme", [replace(charge, cost=0) for charge in charges])
    return [reading.remaining for reading in verdict.readings]


# --- meters -----------------------------------------------------------------------------------------------------------


async def test_what_is_not_metered_is_always_allowed(limiter: RateLimiter) -> None:
    verdict = await limiter.take("acme", ())

    assert verdict == Verdict(True)


async def test_concurrent_callers_never_take_the_same_unit(limiter: RateLimiter) -> None:
    charge = requests(limit=10)

    verdicts = await asyncio.gather(*(limiter.take("acme", [charge]) for _ in range(200)))

    assert sum(verdict.allowed for verdict in verdicts) == 10
    assert sorted(verdict.readings[0].remaining for verdict in verdicts if verdict.allowed) == [*range(10)]


async def test_all_meters_are_charged_and_all_places_taken_or_none(limiter: RateLimiter) -> None:
    await limiter.take("acme", [requests(100), tokens(1000, 900)], [a_slot("run-1")])

    refused = await limiter.take("acme", [requests(100), tokens(1000, 200)], [a_slot("run-2")])
    after = await limiter.take("acme", [requests(100), tokens(1000, 100)], [a_slot("run-3")])

    assert (refused.allowed, refused.refused_by, refused.meter) == (False, "tokens", "tpm")
    assert after.allowed
    assert [(reading.what, reading.remaining) for reading in after.readings] == [("requests", 98), ("tokens", 0)]


async def test_a_refused_request_is_admitted_when_it_was_told_to_come_back(
    limiter: RateLimiter, clock: FrozenClock
) -> None:
    await limiter.take("acme", [tokens(600, 550)])
    clock.advance(10.0)
    await limiter.take("acme", [tokens(600, 50)])
    refused = await limiter.take("acme", [tokens(600, 100)])

    clock.advance(refused.retry_after - 0.000_002)
    early = await limiter.take("acme", [tokens(600, 100)])
    clock.advance(0.000_002)
    in_time = await limiter.take("acme", [tokens(600, 100)])

    assert refused.retry_after == pytest.approx(50.0)
    assert (early.allowed, in_time.allowed) == (False, True)


async def test_tenants_do_not_share_meters_or_places(limiter: RateLimiter) -> None:
    await limiter.take("acme", [requests(1)], [a_slot(limit=1)])

    verdict = await limiter.take("globex", [requests(1)], [a_slot("run-2", limit=1)])

    assert verdict.allowed


async def test_scopes_of_a_tenant_have_meters_of_their_own(limiter: RateLimiter) -> None:
    scopes = [replace(requests(limit), meter=name) for limit, name in ((3, "rpm"), (2, "group:staff:rpm"))]
    ann, bob = (replace(requests(1), meter=f"user:staff:{user}:rpm") for user in ("ann", "bob"))

    answers = [await limiter.take("acme", [*scopes, user]) for user in (ann, ann, bob, replace(bob, meter="rpm2"))]

    assert [answer.meter for answer in answers] == [None, "user:staff:ann:rpm", None, "group:staff:rpm"]


async def test_a_verdict_tells_the_time_of_the_store(limiter: RateLimiter, clock: FrozenClock) -> None:
    verdict = await limiter.take("acme", [requests(1)])

    assert verdict.at == pytest.approx(clock(), abs=1e-6)


async def test_reading_takes_nothing_even_from_a_spent_meter(limiter: RateLimiter) -> None:
    await limiter.take("acme", [requests(1)])

    verdict = await limiter.take("acme", [requests(1, cost=0)])

    assert (verdict.allowed, verdict.readings[0].remaining) == (True, 0)


# --- corrections ------------------------------------------------------------------------------------------------------


async def test_what_was_too_little_is_counted_now(limiter: RateLimiter, clock: FrozenClock) -> None:
    taken = await limiter.take("acme", [tokens(1000, 400)])
    clock.advance(20.0)

    await limiter.correct("acme", [tokens(1000, 700)], taken.at)

    verdict = await limiter.take("acme", [tokens(1000, 1)])
    assert (verdict.allowed, verdict.readings[0].remaining) == (False, 0)
    assert verdict.retry_after == pytest.approx(40.0)
    assert verdict.readings[0].reset == pytest.approx(60.0)


async def test_what_was_too_much_comes_back_while_it_is_in_the_window(limiter: RateLimiter, clock: FrozenClock) -> None:
    taken = await limiter.take("acme", [tokens(1000, 600)])
    clock.advance(59.0)
    await limiter.take("acme", [tokens(1000, 300)])

    await limiter.correct("acme", [tokens(1000, -200)], taken.at)
    before = await remaining(limiter, tokens(1000, 0))
    clock.advance(2.0)
    await limiter.correct("acme", [tokens(1000, -100)], taken.at)

    assert before == [300]
    assert await remaining(limiter, tokens(1000, 0)) == [700]


async def test_no_more_is_given_back_than_was_taken_then(limiter: RateLimiter, clock: FrozenClock) -> None:
    taken = await limiter.take("acme", [tokens(1000, 10)])
    clock.advance(5.0)
    await limiter.take("acme", [tokens(1000, 20)])

    await limiter.correct("acme", [tokens(1000, -5000)], taken.at)

    assert await remaining(limiter, tokens(1000, 0)) == [980]


# --- days -------------------------------------------------------------------------------------------------------------


async def test_a_days_budget_is_overrun_by_one_request_only(limiter: RateLimiter) -> None:
    answers = [await limiter.take("acme", [daily(100, cost)]) for cost in (99, 500, 1)]

    assert [answer.allowed for answer in answers] == [True, True, False]
    assert [answer.readings[0].remaining for answer in answers] == [1, 0, 0]
    assert (answers[-1].refused_by, answers[-1].meter) == ("tokens", "day:tokens")


async def test_concurrent_callers_overrun_a_days_budget_by_one_request_only(limiter: RateLimiter) -> None:
    verdicts = await asyncio.gather(*(limiter.take("acme", [daily(100, 30)]) for _ in range(200)))

    assert sum(verdict.allowed for verdict in verdicts) == 4


async def test_a_day_ends_at_midnight_utc(limiter: RateLimiter, clock: FrozenClock) -> None:
    clock.now = MIDNIGHT - 600.0
    await limiter.take("acme", [daily(100, 100)])
    refused = await limiter.take("acme", [daily(100, 1)])

    clock.now = MIDNIGHT - 0.000_002
    before = await limiter.take("acme", [daily(100, 1)])
    clock.now = MIDNIGHT
    after = await limiter.take("acme", [daily(100, 1)])

    assert (refused.retry_after, refused.readings[0].reset) == (600.0, 600.0)
    assert (before.allowed, after.allowed, after.readings[0].remaining) == (False, True, 99)


@pytest.mark.parametrize("cost", [-30, 30])
async def test_a_day_is_corrected_until_it_is_over(limiter: RateLimiter, clock: FrozenClock, cost: int) -> None:
    clock.now = MIDNIGHT - 600.0
    taken = await limiter.take("acme", [daily(100, 40)])

    clock.now = MIDNIGHT - 1.0
    await limiter.correct("acme", [daily(100, cost)], taken.at)
    same_day = await remaining(limiter, daily(100, 0))
    clock.now = MIDNIGHT
    await limiter.take("acme", [daily(100, 50)])
    await limiter.correct("acme", [daily(100, cost)], taken.at)

    assert same_day == [60 - cost]
    assert await remaining(limiter, daily(100, 0)) == [50]


# --- places -----------------------------------------------------------------------------------------------------------


async def test_concurrent_runs_never_are_more_than_the_limit(limiter: RateLimiter) -> None:
    slots = [a_slot(f"run-{number}", limit=7) for number in range(200)]

    verdicts = await asyncio.gather(*(limiter.take("acme", [], [slot]) for slot in slots))

    refusals = [verdict for verdict in verdicts if not verdict.allowed]
    assert len(refusals) == 193
    assert {(refusal.refused_by, refusal.meter, refusal.retry_after) for refusal in refusals} == {
        ("concurrency", "runs", 1.0)
    }


async def test_a_run_that_finds_no_place_is_charged_nothing(limiter: RateLimiter) -> None:
    await limiter.take("acme", [], [a_slot("run-1", limit=1)])

    await limiter.take("acme", [requests(10)], [a_slot("other", meter="group:staff:runs"), a_slot("run-2", limit=1)])

    assert await remaining(limiter, requests(10)) == [10]
    free_for_two = [
        await limiter.take("acme", [], [a_slot(name, meter="group:staff:runs")]) for name in ("run-3", "run-4")
    ]
    assert all(verdict.allowed for verdict in free_for_two)


async def test_a_holder_counts_once_however_often_it_comes(limiter: RateLimiter) -> None:
    answers = [await limiter.take("acme", [], [a_slot(name)]) for name in ("run-1", "run-1", "run-2", "run-1", "run-3")]

    assert [answer.allowed for answer in answers] == [True, True, True, True, False]


async def test_a_place_is_free_once_it_is_given_back_however_often(limiter: RateLimiter) -> None:
    first, second, third = (a_slot(name, limit=1) for name in ("run-1", "run-2", "run-3"))
    await limiter.take("acme", [], [first])

    await limiter.correct("acme", [], 0.0, [first])
    again = await limiter.take("acme", [], [second])
    await limiter.correct("acme", [], 0.0, [first])
    one_more = await limiter.take("acme", [], [third])

    assert (again.allowed, one_more.allowed) == (True, False)


async def test_a_place_lapses_unless_it_is_kept(limiter: RateLimiter, clock: FrozenClock) -> None:
    kept, left = a_slot("kept"), a_slot("left")
    await limiter.take("acme", [], [kept])
    await limiter.take("acme", [], [left])

    clock.advance(20.0)
    await limiter.keep("acme", [kept])
    clock.advance(9.999)
    before = await limiter.take("acme", [], [a_slot("new")])
    clock.advance(0.001)
    after = [await limiter.take("acme", [], [a_slot(name)]) for name in ("new", "newer")]

    assert not before.allowed
    assert [verdict.allowed for verdict in after] == [True, False]


async def test_a_place_that_lapsed_or_was_given_back_is_not_kept(limiter: RateLimiter, clock: FrozenClock) -> None:
    lapsed, freed = a_slot("lapsed", seconds=10.0), a_slot("freed")
    await limiter.take("acme", [], [lapsed])
    await limiter.take("acme", [], [freed])
    await limiter.correct("acme", [], 0.0, [freed])
    clock.advance(10.0)

    await limiter.keep("acme", [lapsed])
    await limiter.keep("acme", [freed])

    verdicts = [await limiter.take("acme", [], [a_slot(name)]) for name in ("run-1", "run-2", "run-3")]
    assert [verdict.allowed for verdict in verdicts] == [True, True, False]


async def test_nothing_to_keep_or_to_free_is_nothing_to_ask(limiter: RateLimiter, backend: Backend) -> None:
    await limiter.keep("acme", [])
    await limiter.correct("acme", [], 0.0, [])

    assert backend.calls("evalsha") == 0


async def test_a_request_is_one_round_trip_however_many_meters_it_has(limiter: RateLimiter, backend: Backend) -> None:
    names = ("rpm", "tpm", "group:a:rpm", "group:a:tpm", "user:a:b:rpm", "user:a:b:tpm")
    charges = [replace(requests(10), meter=name) for name in names]
    slots = [a_slot(meter=name) for name in ("runs", "group:a:runs", "user:a:b:runs")]
    await limiter.take("acme", charges, slots)
    before = backend.calls("evalsha")

    verdict = await limiter.take("acme", charges, slots)

    assert verdict.allowed
    assert backend.calls("evalsha") - before == (0 if backend.name == "memory" else 1)


# --- the reference ----------------------------------------------------------------------------------------------------

SHAPES = {
    "rpm": [Charge("rpm", "requests", Allowance(limit), 1) for limit in (1, 7, 60, 333)],
    "tpm": [
        Charge("tpm", "tokens", Allowance(limit, window), 1)
        for limit in (3, 1000, 99_999)
        for window in (0.1, 1.0, 60.0)
    ],
    "day": [Charge("day:tpm", "tokens", Allowance(limit), 1, daily=True) for limit in (0, 1, 5000)],
}
PAUSES = (0.0, 1e-6, 0.01, 0.3, 1.0, 7.0, 61.0, 20_000.0)


@pytest.mark.parametrize("seed", range(40))
async def test_a_random_walk_takes_the_steps_of_the_reference(
    limiter: RateLimiter, clock: FrozenClock, seed: int
) -> None:
    dice = random.Random(seed)
    shapes = [dice.choice(choices) for choices in SHAPES.values()]
    places = [a_slot(limit=dice.randint(1, 3), meter=name) for name in ("runs", "group:a:runs")]
    meters: dict[str, Meter] = {}
    holders: dict[str, Holders] = {}
    times = [clock()]

    for _ in range(120):
        clock.advance(dice.choice(PAUSES) * dice.random())
        charges = [replace(shape, cost=_cost(dice, shape)) for shape in dice.sample(shapes, dice.randint(0, 3))]
        slots = [_slot(dice, place) for place in dice.sample(places, dice.randint(0, 2))]
        now = micros(clock())
        match dice.choices(["take", "correct", "keep", "free"], [70, 20, 5, 5])[0]:
            case "correct":
                dice.shuffle(shapes)
                charge = replace(shapes[0], cost=dice.choice([-1, 1]) * _cost(dice, shapes[0]))
                at = dice.choice(times[-5:])
                await limiter.correct("acme", [charge], at)
                meters[charge.meter] = rate.correct(meters.get(charge.meter, ()), charge, micros(at), now)
            case "keep":
                await limiter.keep("acme", slots)
                holders |= {slot.meter: rate.keep(holders.get(slot.meter, {}), slot, now) for slot in slots}
            case "free":
                await limiter.correct("acme", [], 0.0, slots)
                holders |= {slot.meter: _without(holders.get(slot.meter, {}), slot) for slot in slots}
            case _ if charges or slots:
                changed, expected = rate.take(State(meters, holders), charges, slots, now)
                meters.update(changed.meters)
                holders.update(changed.holders)
                times.append(expected.at)

                assert await limiter.take("acme", charges, slots) == expected


@pytest.mark.parametrize("back", [1e-6, 0.5, 30.0, 59.0, 61.0, 3_600.0, 90_000.0])
async def test_a_clock_that_is_set_back_does_to_a_meter_what_it_does_to_the_reference(
    limiter: RateLimiter, clock: FrozenClock, back: float
) -> None:
    charges = [tokens(1000, 130), daily(100_000, 50)]
    state = State()
    verdicts: list[tuple[Verdict, Verdict]] = []

    for pause in (0.3, 0.3, 20.0, -back, 0.3, 5.0, 30.0, 30.0, 61.0):
        clock.advance(pause)
        for _ in range(2):
            changed, expected = rate.take(state, charges, (), micros(clock()))
            state = State({**state.meters, **changed.meters})
            verdicts.append((await limiter.take("acme", charges), expected))

    assert [told for told, _ in verdicts] == [expected for _, expected in verdicts]


@pytest.mark.parametrize("back", [30.0, 3_600.0, 90_000.0])
async def test_a_clock_that_is_set_back_shuts_nobody_out_for_longer_than_two_windows(
    limiter: RateLimiter, clock: FrozenClock, back: float
) -> None:
    await limiter.take("acme", [requests(10, cost=10)])

    clock.advance(-back)
    refusal = await limiter.take("acme", [requests(10)])
    clock.advance(refusal.retry_after)

    assert refusal.retry_after <= 120.0
    assert (await limiter.take("acme", [requests(10)])).allowed


def _cost(dice: random.Random, shape: Charge) -> int:
    limit = shape.allowance.limit
    return dice.choice([0, 1, 1, max(1, limit // 10), max(1, limit // 3), limit, limit * 2, dice.randint(0, limit)])


def _slot(dice: random.Random, place: Slot) -> Slot:
    return replace(place, holder=f"run-{dice.randint(1, 5)}", seconds=dice.choice([0.5, 10.0, 30.0]))


def _without(holders: Holders, slot: Slot) -> Holders:
    return {holder: lapse for holder, lapse in holders.items() if holder != slot.holder}


# --- several replicas -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)
@pytest.mark.parametrize("warm", [False, True], ids=["from the beginning", "after a busy minute"])
async def test_three_replicas_under_overload_admit_what_the_limit_says(
    backend: Backend, clock: FrozenClock, warm: bool
) -> None:
    """600 a minute and 3 replicas, each asked 20 times a second: within 1 % of the limit in any minute."""
    charge = requests(600)
    admitted: list[float] = []
    async with AsyncExitStack() as stack:
        replicas = [
            RedisRateLimiter(await stack.enter_async_context(connected(backend.url or "")), clock=clock)
            for _ in range(3)
        ]
        for _ in range(900 if warm else 300):
            # A tenth of a second; the replicas are asked at the same time.
            clock.advance(0.1)
            asked = (replica.take("acme", [charge]) for replica in replicas for _ in range(2))
            verdicts = await asyncio.gather(*asked)
            admitted += [verdict.at for verdict in verdicts if verdict.allowed]

    end = admitted[-1]
    in_a_minute = [sum(first <= at < first + 60.0 for at in admitted) for first in admitted]
    assert max(in_a_minute) <= 600
    if warm:
        assert sum(end - 60.0 < at <= end for at in admitted) == pytest.approx(600, rel=0.01)
    else:
        assert len(admitted) == pytest.approx(600, rel=0.01)


@pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)
async def test_without_another_clock_the_servers_own_counts(connection: RedisConnection) -> None:
    limiter, charge = RedisRateLimiter(connection), Charge("rpm", "requests", Allowance(1, window=0.05), 1)

    first = await limiter.take("acme", [charge], [a_slot()])
    verdict = await limiter.take("acme", [charge])
    while not verdict.allowed:
        await asyncio.sleep(verdict.retry_after)
        verdict = await limiter.take("acme", [charge])

    assert first.allowed
    assert verdict.at >= first.at + 0.05
