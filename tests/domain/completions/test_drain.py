"""The end of the process: nothing more is taken, what can finish does, and the rest ends in a word to its readers."""

import asyncio

import pytest

from domain.completions.production import RunLimits
from domain.completions.runs import CompletionRuns
from domain.errors import GenerationInterrupted, ShuttingDown
from domain.facts import RunRequeued
from domain.runs import RunError, Status
from tests.builders import a_stream
from tests.domain.completions.world import (
    INITIAL,
    LEASE,
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


def gated(world: World) -> asyncio.Event:
    gate = asyncio.Event()
    world.provider.script = (gate, *CHUNKS)
    return gate


async def refused(replica: CompletionRuns) -> list[type[object]]:
    return [type(await outcome(start(replica))), type(await outcome(enqueue(replica)))]


async def test_a_draining_replica_takes_nothing_more_and_lets_its_runs_finish(world: World) -> None:
    gate = gated(world)
    replica = await world.worker(RunLimits(job_slots=1))
    runs = [(await start(replica)).run, (await enqueue(replica)).run]
    await until(lambda: world.provider.open == 2)
    waiting = (await enqueue(replica)).run

    draining = asyncio.ensure_future(replica.drain(3_600.0))
    await settled()
    told, drained = await refused(replica), draining.done()
    await asyncio.sleep(10 * LEASE)
    gate.set()
    await draining

    assert (told, drained) == ([ShuttingDown, ShuttingDown], False)
    assert [(await world.record(run)).status for run in runs] == [Status.COMPLETED] * 2
    assert [(await world.record(run)).attempt for run in runs] == [1, 1]
    assert (await world.record(waiting)).status is Status.QUEUED


async def test_a_replica_with_nothing_to_do_is_drained_at_once(world: World) -> None:
    replica = await world.worker()
    begun_at = world.clock()

    await replica.drain(3_600.0)

    assert world.clock() - begun_at < 2.0
    assert await refused(replica) == [ShuttingDown, ShuttingDown]


@pytest.mark.parametrize("swallows", [0, 1, 3])
async def test_a_stream_that_has_not_finished_in_time_is_interrupted_paid_for_and_told_why(
    world: World, swallows: int
) -> None:
    world.provider.script = (CHUNKS[:2], asyncio.Event())
    world.provider.swallows = swallows
    replica = await world.worker()
    run, tail = await begin(replica)
    await until(lambda: len(tail.entries) == 2)
    reader = asyncio.ensure_future(follow(world.replica(), run.id))
    await settled()

    await replica.drain(5.0)

    record = await world.record(run)
    assert (record.status, record.charged) == (Status.FAILED, PROMPT + 1)
    assert record.error == (await ended(tail)).error == RunError.of(GenerationInterrupted())
    entries, ending = await reader
    assert (entries, ending.error) == (LOG[:2], record.error)
    assert await world.balance() == INITIAL - PROMPT - 1
    assert world.ledger.calls == {"hold": 1, "settle": 1}
    assert world.provider.open == 0


@pytest.mark.parametrize("said", [0, 2])
async def test_a_job_that_has_not_finished_in_time_is_completed_by_another_replica(world: World, said: int) -> None:
    gate = asyncio.Event()
    world.provider.script = (CHUNKS[:said], gate)
    leaving = await world.worker()
    job = await enqueue(leaving)
    await until(lambda: bool(world.provider.calls))
    await settled()
    world.provider.script = CHUNKS

    await leaving.drain(0.0)
    handed_over_at = world.clock()
    requeued = await world.record(job.run)
    await world.worker()
    record = await world.over(job.run)

    assert requeued.status is Status.QUEUED
    assert (record.status, record.attempt, record.charged) == (Status.COMPLETED, 2, PROMPT + 2)
    assert world.clock() - handed_over_at < LEASE / 2, "nobody had to wait for a lease to lapse"
    assert world.journal.of(RunRequeued) == [RunRequeued(job.run.id, "acme", 1, "shutdown")]
    assert world.ledger.calls["settle"] == 1


async def test_a_handover_that_the_store_does_not_hear_of_is_made_by_housekeeping(world: World) -> None:
    world.provider.script = (asyncio.Event(),)
    leaving = await world.worker()
    job = await enqueue(leaving)
    await until(lambda: bool(world.provider.calls))
    world.provider.script = CHUNKS
    world.store.fail("requeue", times=20)

    await leaving.drain(0.0)
    await world.worker()

    assert (await world.over(job.run)).status is Status.COMPLETED


async def test_a_request_that_is_being_admitted_has_its_time_to_finish_too(world: World) -> None:
    gate = gated(world)
    replica = world.replica()
    world.tokenizer.gate.clear()
    asking = asyncio.ensure_future(begin(replica))
    await world.tokenizer.asked.wait()
    draining = asyncio.ensure_future(replica.drain(3_600.0))
    await settled()

    world.tokenizer.gate.set()
    _, tail = await asking
    await settled()
    gate.set()
    await draining

    assert tail.run.status is Status.COMPLETED


async def test_a_run_that_is_being_paid_for_is_not_left_behind(world: World) -> None:
    arrived, released = world.ledger.hold_up("settle")
    replica = world.replica()
    run, _ = await begin(replica)
    await arrived.wait()

    draining = asyncio.ensure_future(replica.drain(0.0))
    await settled()
    drained = draining.done()
    released.set()
    await draining

    assert not drained
    assert (await world.record(run)).status is Status.COMPLETED
    assert await world.balance() == INITIAL - PROMPT - 2
