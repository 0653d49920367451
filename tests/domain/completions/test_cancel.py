"""Cancelling: whatever was produced is paid for, a run that has ended stays as it is, and nobody loses another's."""

import asyncio
import random

import pytest

from domain.completions.runs import CompletionRuns
from domain.runs import Run, Status
from tests.builders import a_completion, a_stream
from tests.domain.completions.world import (
    INITIAL,
    PROMPT,
    World,
    begin,
    ended,
    enqueue,
    follow,
    outcome,
    settled,
    start,
    until,
)

pytestmark = pytest.mark.anyio

CHUNKS = a_stream("Hello", " world")
LOG = [chunk.data for chunk in CHUNKS]


async def test_a_queued_job_is_cancelled_at_once_and_costs_nothing(world: World) -> None:
    front = world.replica()
    job = await enqueue(front)

    cancelled = await world.replica().cancel(job.run, 10.0)
    await world.worker()
    await asyncio.sleep(30.0)

    assert (cancelled.status, cancelled.charged) == (Status.CANCELLED, 0)
    assert (world.provider.calls, await world.balance()) == ([], INITIAL)


@pytest.mark.parametrize("bells", [True, False])
@pytest.mark.parametrize("here", [True, False])
async def test_a_stream_is_cancelled_wherever_it_is_executed_and_pays_for_what_it_said(
    world: World, here: bool, bells: bool
) -> None:
    world.provider.script = (CHUNKS[:2], asyncio.Event())
    world.bell.broken = not bells
    replica, elsewhere = await world.worker(), await world.worker()
    run, tail = await begin(replica)
    await until(lambda: len(tail.entries) == 2)
    reader = asyncio.ensure_future(follow(elsewhere, run.id))
    await settled()

    cancelled = await (replica if here else elsewhere).cancel(run, 10.0)

    assert (cancelled.status, cancelled.charged) == (Status.CANCELLED, PROMPT + 1)
    assert await world.balance() == INITIAL - PROMPT - 1
    entries, ending = await reader
    assert (entries, ending.status) == (LOG[:2], Status.CANCELLED)
    assert world.provider.open == 0


@pytest.mark.parametrize("here", [True, False])
async def test_a_whole_answer_that_is_cancelled_costs_nothing(world: World, here: bool) -> None:
    world.provider.script = (asyncio.Event(), a_completion())
    replica, elsewhere = await world.worker(), await world.worker()
    run, _ = await begin(replica, live=False)
    await until(lambda: world.provider.open == 1)

    cancelled = await (replica if here else elsewhere).cancel(run, 10.0)

    assert (cancelled.status, cancelled.charged) == (Status.CANCELLED, 0)
    assert await world.balance() == INITIAL
    assert world.provider.open == 0


async def test_a_run_that_has_ended_stays_as_it_is(world: World) -> None:
    replica = world.replica()
    begun, tail = await begin(replica)
    await ended(tail)
    record = await world.over(begun)

    answers = [await replica.cancel(begun, 1.0), await world.replica().cancel(record, 1.0)]

    assert answers == [record, record]
    assert record.status is Status.COMPLETED


async def test_cancelling_again_and_again_is_the_same(world: World) -> None:
    world.provider.script = (CHUNKS[:2], asyncio.Event())
    replica = await world.worker()
    run, tail = await begin(replica)
    await until(lambda: len(tail.entries) == 2)

    answers = await asyncio.gather(*(replica.cancel(run, 10.0) for _ in range(5)))

    assert {answer.status for answer in answers} == {Status.CANCELLED}
    assert world.ledger.calls["settle"] == 1


async def test_a_cancellation_that_a_library_swallows_is_told_again(world: World) -> None:
    world.provider.script = (CHUNKS[:2], asyncio.Event())
    world.provider.swallows = 2
    replica = await world.worker()
    run, tail = await begin(replica)
    await until(lambda: len(tail.entries) == 2)

    assert (await replica.cancel(run, 10.0)).status is Status.CANCELLED


async def test_who_cancels_waits_only_as_long_as_was_said(world: World) -> None:
    world.provider.script = (CHUNKS[:2], asyncio.Event())
    replica = await world.worker()
    run, tail = await begin(replica)
    await until(lambda: len(tail.entries) == 2)
    replica.process.stop()
    asked_at = world.clock()

    told = await world.replica().cancel(run, 3.0)

    assert told.status is Status.IN_PROGRESS
    assert world.clock() - asked_at == pytest.approx(3.0)


@pytest.mark.parametrize("seeds", [range(start, start + 100) for start in range(0, 1_000, 100)], ids=str)
async def test_a_cancellation_that_races_with_completion_leaves_one_ending_and_one_settlement(seeds: range) -> None:
    outcomes = set()
    for seed in seeds:
        dice = random.Random(seed)
        world = World()
        gate = asyncio.Event()
        world.provider.script = (CHUNKS[:2], gate, CHUNKS[2:])
        replica, elsewhere = await world.worker(), await world.worker()
        run = (await (enqueue if dice.random() < 0.3 else start)(replica)).run
        await settled(dice.randint(0, 30))
        reader = asyncio.ensure_future(follow(elsewhere, run.id))

        async def finish(gate: asyncio.Event = gate, dice: random.Random = dice) -> None:
            await settled(dice.randint(0, 12))
            gate.set()

        async def cancel(where: CompletionRuns, dice: random.Random = dice, run: Run = run) -> None:
            await settled(dice.randint(0, 12))
            await outcome(where.cancel(run, 10.0))

        cancelling = [cancel(dice.choice([replica, elsewhere])) for _ in range(dice.randint(1, 3))]
        await asyncio.gather(finish(), *cancelling)
        record = await world.over(run)
        await asyncio.gather(replica.drain(10.0), elsewhere.drain(10.0))
        entries, ending = await reader

        assert record == await world.record(run), seed
        assert ending.status is record.status, seed
        assert entries == LOG[: len(entries)], seed
        assert len(entries) == record.tail, seed
        assert world.ledger.calls["settle"] + world.ledger.calls["release"] == 1, seed
        assert await world.balance() == INITIAL - (record.charged or 0), seed
        assert (record.status is Status.COMPLETED) is (record.tail == len(LOG) and record.error is None), seed
        outcomes.add(record.status)

    assert outcomes == {Status.COMPLETED, Status.CANCELLED}
