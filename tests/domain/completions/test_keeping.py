"""Housekeeping: whatever becomes of a producer, its run ends once, is paid for once, and its readers are told."""

import asyncio
from typing import Any

import pytest

from domain.completions.tail import Tail
from domain.errors import GenerationInterrupted, GenerationRestarted, WorkerLost
from domain.facts import RunEnded, RunRequeued, Unexpected
from domain.runs import MAX_ATTEMPTS, Cursor, Run, RunError, Status
from tests.builders import a_caller, a_chunk, a_completion, a_request, a_stream, a_tenant
from tests.domain.completions.world import (
    INITIAL,
    LEASE,
    PROMPT,
    Replica,
    World,
    begin,
    ended,
    enqueue,
    follow,
    read_all,
    settled,
    start,
    until,
)
from tests.fakes import Step

pytestmark = pytest.mark.anyio

CHUNKS = a_stream("Hello", " world")
LOG = [chunk.data for chunk in CHUNKS]


def script(world: World, *steps: Step) -> None:
    world.provider.script = steps


def interrupted() -> RunError:
    return RunError.of(GenerationInterrupted())


async def a_silent_run(world: World, *, queued: bool = False, **order: Any) -> Run:
    """A run whose replica was killed before the provider said anything."""
    script(world, asyncio.Event())
    replica = await world.worker()
    run = (await (enqueue if queued else start)(replica, **order)).run
    await until(lambda: bool(world.provider.calls))
    replica.process.kill()
    script(world, *CHUNKS)
    return run


async def a_talking_run(world: World, *, queued: bool = False) -> tuple[Run, Replica]:
    """A run whose provider has said the first two of its chunks, and its replica."""
    script(world, CHUNKS[:2], asyncio.Event())
    replica = await world.worker()
    run = (await (enqueue if queued else start)(replica)).run
    await until(lambda: bool(world.provider.calls))
    await settled()
    assert await world.log(run) == LOG[:2]
    return run, replica


# --- nothing logged yet -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("queued", [False, True])
async def test_a_run_that_said_nothing_is_executed_by_another_and_its_readers_see_a_delay(
    world: World, queued: bool
) -> None:
    run = await a_silent_run(world, queued=queued)
    reader = asyncio.ensure_future(follow(world.replica(), run.id))
    await settled()

    await world.worker()
    entries, ending = await reader

    record = await world.record(run)
    assert entries == LOG
    assert (ending.status, record.status) == (Status.COMPLETED, Status.COMPLETED)
    assert (record.attempt, record.charged) == (2, PROMPT + 2)
    assert world.journal.of(RunRequeued) == [RunRequeued(run.id, "acme", 1, "worker_lost")]
    assert world.ledger.calls["settle"] == 1


@pytest.mark.parametrize("queued", [False, True])
async def test_a_run_whose_every_owner_dies_is_given_up_after_three_attempts(world: World, queued: bool) -> None:
    run = await a_silent_run(world, queued=queued)
    for attempt in range(2, MAX_ATTEMPTS + 1):
        script(world, asyncio.Event())
        worker = await world.worker()
        await until(lambda attempt=attempt: len(world.provider.calls) == attempt)  # type: ignore[misc]
        worker.process.kill()

    await world.worker()
    record = await world.over(run)
    await asyncio.sleep(3 * LEASE)

    assert (record.status, record.error, record.charged) == (Status.FAILED, RunError.of(WorkerLost()), 0)
    assert len(world.provider.calls) == MAX_ATTEMPTS
    assert await world.balance() == INITIAL


async def test_a_whole_answer_that_nobody_can_come_back_for_is_not_begun_again(world: World) -> None:
    run = await a_silent_run(world, live=False)

    await world.worker()
    record = await world.over(run)

    assert (record.status, record.error, record.charged) == (Status.FAILED, interrupted(), 0)
    assert len(world.provider.calls) == 1
    assert await world.balance() == INITIAL


async def test_a_whole_answer_that_somebody_will_ask_for_again_is(world: World) -> None:
    run = await a_silent_run(world, live=False, idempotency_key="k")
    script(world, a_completion())

    await world.worker()

    assert (await world.over(run)).status is Status.COMPLETED


# --- a stream with text out -------------------------------------------------------------------------------------------


async def test_a_stream_that_was_cut_off_is_the_same_prefix_and_one_error_for_everybody_and_charged_once(
    world: World,
) -> None:
    run, replica = await a_talking_run(world)
    others = [world.replica(), world.replica()]
    readers = [asyncio.ensure_future(follow(others[n % 2], run.id, n % 3)) for n in range(6)]
    await settled()

    replica.process.kill()
    await asyncio.gather(*(world.worker() for _ in range(3)))
    views = await asyncio.gather(*readers)

    assert [entries for entries, _ in views] == [LOG[n % 3 : 2] for n in range(6)]
    assert [ending.error for _, ending in views] == [interrupted()] * 6
    record = await world.record(run)
    assert (record.status, record.charged, record.attempt) == (Status.FAILED, PROMPT + 1, 1)
    assert await world.balance() == INITIAL - PROMPT - 1
    assert (world.ledger.calls["settle"], world.ledger.calls["release"]) == (1, 0)
    assert [fact.error_code for fact in world.journal.of(RunEnded)] == ["generation_interrupted"]
    assert len(world.provider.calls) == 1


async def test_eight_replicas_bury_a_run_once(world: World) -> None:
    run, replica = await a_talking_run(world)
    replica.process.kill()
    keepers = [world.housekeeping(f"keeper-{number}") for number in range(8)]
    world.store.turns = 1
    world.clock.advance(LEASE)

    await asyncio.gather(*(keeper.round() for keeper in keepers))

    assert (await world.record(run)).error == interrupted()
    assert (world.ledger.calls["settle"], len(world.journal.of(RunEnded))) == (1, 1)


async def test_eight_replicas_requeue_a_run_once(world: World) -> None:
    run = await a_silent_run(world)
    keepers = [world.housekeeping(f"keeper-{number}") for number in range(8)]
    world.store.turns = 1
    world.clock.advance(LEASE)

    await asyncio.gather(*(keeper.round() for keeper in keepers))

    assert (await world.record(run)).status is Status.QUEUED
    assert len(world.journal.of(RunRequeued)) == 1


async def test_a_run_whose_gravedigger_dies_too_is_buried_by_the_next(world: World) -> None:
    run, replica = await a_talking_run(world)
    replica.process.kill()
    world.store.lose_replies("seize")
    await world.worker()

    record = await world.over(run)

    assert (record.error, record.charged) == (interrupted(), PROMPT + 1)
    assert world.ledger.calls["settle"] == 1


async def test_a_run_whose_log_cannot_be_read_now_is_buried_later(world: World) -> None:
    run, replica = await a_talking_run(world)
    replica.process.kill()
    world.store.fail("read", times=3)
    await world.worker()

    assert (await world.over(run)).charged == PROMPT + 1


# --- a queued run with text out ---------------------------------------------------------------------------------------


async def test_a_queued_run_begins_again_and_only_who_saw_text_is_told(world: World) -> None:
    run, replica = await a_talking_run(world, queued=True)
    saw_text = asyncio.ensure_future(follow(world.replica(), run.id))
    await settled()
    replica.process.kill()
    script(world, *a_stream("Once", " more"))

    await world.worker()
    entries, ending = await saw_text
    late, late_ending = await follow(world.replica(), run.id)

    assert (entries, ending.error) == (LOG[:2], RunError.of(GenerationRestarted()))
    assert late == [chunk.data for chunk in a_stream("Once", " more")]
    assert late_ending.status is Status.COMPLETED
    record = await world.over(run)
    assert (record.attempt, record.charged) == (2, PROMPT + 2)
    assert await world.balance() == INITIAL - PROMPT - 2


# --- zombies ----------------------------------------------------------------------------------------------------------


async def test_an_owner_that_wakes_up_after_its_run_was_buried_changes_nothing(world: World) -> None:
    gate = asyncio.Event()
    script(world, CHUNKS[:2], gate, CHUNKS[2:])
    replica = await world.worker()
    run, tail = await begin(replica)
    await until(lambda: len(tail.entries) == 2)
    here = asyncio.ensure_future(read_here(tail))
    await settled()

    replica.process.stop()
    await world.worker()
    buried = await world.over(run)
    gate.set()
    replica.process.go_on()
    entries, error = await here
    await replica.drain(60.0)

    assert (entries, error) == (LOG[:2], interrupted())
    assert await world.log(run) == LOG[:2]
    assert await world.record(run) == buried
    assert await world.balance() == INITIAL - PROMPT - 1
    assert world.ledger.calls["settle"] == 1
    assert world.provider.open == 0


async def read_here(tail: Tail) -> tuple[list[bytes], RunError | None]:
    """As a surface reads the run that it has just begun."""
    with tail.read() as shared:
        return await read_all(shared), (await ended(shared)).error


@pytest.mark.parametrize("queued", [False, True])
async def test_readers_of_an_owner_that_lost_its_run_get_what_the_new_owner_says(world: World, queued: bool) -> None:
    gate = asyncio.Event()
    script(world, gate, a_chunk("late"))
    zombie = await world.worker()
    run = (await (enqueue if queued else start)(zombie)).run
    await until(lambda: bool(world.provider.calls))
    readers = [asyncio.ensure_future(follow(zombie, run.id)) for _ in range(3)]
    await settled()

    zombie.process.stop()
    script(world, *CHUNKS)
    await world.worker()
    await world.over(run)
    gate.set()
    zombie.process.go_on()
    views = await asyncio.gather(*readers)

    assert [entries for entries, _ in views] == [LOG] * 3
    assert {ending.status for _, ending in views} == {Status.COMPLETED}
    assert (await world.record(run)).charged == PROMPT + 2
    assert world.ledger.calls["settle"] == 1


async def test_who_read_the_next_attempt_elsewhere_can_go_on_where_nobody_knows_of_it_yet(world: World) -> None:
    script(world, asyncio.Event())
    zombie = await world.worker()
    run = (await enqueue(zombie)).run
    await until(lambda: bool(world.provider.calls))
    zombie.process.stop()
    gate = asyncio.Event()
    script(world, CHUNKS[:2], gate, CHUNKS[2:])
    await world.worker()
    await until(lambda: len(world.provider.calls) == 2)
    await settled()
    zombie.process.go_on()

    async with zombie.following(run, Cursor(2, 2)) as tail:
        gate.set()
        rest = await read_all(tail, 2)

    assert rest == LOG[2:]


async def test_readers_who_came_before_and_after_a_job_was_claimed_here_all_learn_that_it_was_lost(
    world: World,
) -> None:
    gate = asyncio.Event()
    script(world, gate, a_chunk("late"))
    zombie = world.replica()
    run = (await enqueue(zombie)).run
    before = asyncio.ensure_future(follow(zombie, run.id))
    await settled()
    await zombie.work()
    await until(lambda: bool(world.provider.calls))
    after = asyncio.ensure_future(follow(zombie, run.id))
    await settled()

    zombie.process.stop()
    theirs = asyncio.Event()
    script(world, theirs, *CHUNKS)
    await world.worker()
    await until(lambda: len(world.provider.calls) == 2)
    gate.set()
    zombie.process.go_on()
    await asyncio.sleep(5.0)
    theirs.set()

    assert [entries for entries, _ in await asyncio.gather(before, after)] == [LOG] * 2


async def test_when_the_readers_of_a_lost_run_have_left_the_store_is_left_alone(world: World) -> None:
    gate = asyncio.Event()
    script(world, gate, a_chunk("late"))
    zombie = await world.worker()
    run = (await enqueue(zombie)).run
    await until(lambda: bool(world.provider.calls))
    reader = asyncio.ensure_future(follow(zombie, run.id))
    await settled()
    zombie.process.stop()
    script(world, asyncio.Event())
    await world.worker()
    await until(lambda: len(world.provider.calls) == 2)
    gate.set()
    zombie.process.go_on()
    await asyncio.sleep(3.0)

    reader.cancel()
    await asyncio.sleep(3.0)
    asked = world.store.calls["read"]
    await asyncio.sleep(30.0)

    assert world.store.calls["read"] == asked


async def test_a_replica_that_takes_the_run_that_it_lost_looks_after_it_as_after_any(world: World) -> None:
    first, second = asyncio.Event(), asyncio.Event()
    script(world, first)
    replica = await world.worker()
    run = (await enqueue(replica)).run
    await until(lambda: bool(world.provider.calls))
    # Somebody else takes it for dead, and it is the only one to take it up.
    replica.process.stop()
    await asyncio.sleep(LEASE + 1.0)
    script(world, second, *CHUNKS)
    await world.housekeeping().round()
    replica.process.go_on()
    await until(lambda: len(world.provider.calls) == 2)
    reader = asyncio.ensure_future(follow(replica, run.id))

    first.set()
    await asyncio.sleep(10 * LEASE)
    second.set()
    entries, _ = await reader

    record = await world.over(run)
    assert entries == LOG
    assert (record.status, record.attempt, record.fence) == (Status.COMPLETED, 2, 4)
    assert world.ledger.calls["settle"] == 1


# --- leases -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("live", [True, False])
async def test_a_run_whose_provider_is_silent_for_long_stays_its_owners(world: World, live: bool) -> None:
    gate = asyncio.Event()
    script(world, gate, *(CHUNKS if live else [a_completion()]))
    run = (await start(await world.worker(), live=live)).run
    await world.worker()

    await asyncio.sleep(50 * LEASE)
    gate.set()
    record = await world.over(run)

    assert (record.status, record.fence, record.attempt) == (Status.COMPLETED, 1, 1)


async def test_a_run_that_was_cancelled_while_its_owner_was_dead_is_a_cancelled_one(world: World) -> None:
    run, replica = await a_talking_run(world)
    replica.process.kill()
    await world.store.wrapped.cancel(run.id)

    await world.worker()
    record = await world.over(run)

    assert (record.status, record.charged) == (Status.CANCELLED, PROMPT + 1)


# --- nobody reads -----------------------------------------------------------------------------------------------------

GRACE = 5.0
IMPATIENT = a_caller(a_tenant(detach_grace=GRACE))


async def a_detached_run(world: World) -> tuple[Run, asyncio.Event]:
    gate = asyncio.Event()
    script(world, CHUNKS[:2], gate, CHUNKS[2:])
    run = (await start(await world.worker(), IMPATIENT)).run
    await settled()
    return run, gate


async def test_a_run_that_nobody_reads_is_cancelled_when_the_grace_is_over_and_not_before(world: World) -> None:
    run, _ = await a_detached_run(world)

    await asyncio.sleep(GRACE - 0.1)
    before = (await world.record(run)).status
    record = await world.over(run)

    assert before is Status.IN_PROGRESS
    assert (record.status, record.charged) == (Status.CANCELLED, PROMPT + 1)
    assert world.provider.open == 0


async def test_a_tenant_that_says_nothing_lets_its_runs_finish(world: World) -> None:
    run, _ = await a_talking_run(world)

    await asyncio.sleep(100.0)

    assert (await world.record(run)).status is Status.IN_PROGRESS


@pytest.mark.parametrize("where", ["here", "elsewhere", "a follower", "a follower who may come back"])
async def test_a_run_that_somebody_reads_anywhere_goes_on(world: World, where: str) -> None:
    gate = asyncio.Event()
    script(world, CHUNKS[:2], gate, CHUNKS[2:])
    here, elsewhere = await world.worker(), await world.worker()
    asked = a_request(cache_key="k")
    run = (await start(here, IMPATIENT, asked)).run
    await settled()
    reading = (await start(elsewhere, IMPATIENT, asked)).run if "follower" in where else run
    reader = asyncio.ensure_future(follow(here if where == "here" else elsewhere, reading.id))

    await settled()
    if where.endswith("come back"):
        reader.cancel()
        await asyncio.wait((reader,))
    await asyncio.sleep(10 * GRACE)
    gate.set()

    assert reader.cancelled() or (await reader)[0] == LOG
    assert (await world.over(run)).status is Status.COMPLETED


@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_the_grace_begins_when_the_last_reader_has_left(world: World, where: str) -> None:
    script(world, CHUNKS[:2], asyncio.Event())
    here, elsewhere = await world.worker(), await world.worker()
    run = (await start(here, IMPATIENT)).run
    reader = asyncio.ensure_future(follow(here if where == "here" else elsewhere, run.id))
    await asyncio.sleep(10 * GRACE)

    reader.cancel()
    await asyncio.sleep(GRACE - 0.1)
    before = (await world.record(run)).status

    assert before is Status.IN_PROGRESS
    assert (await world.over(run)).status is Status.CANCELLED


async def test_a_queued_job_needs_no_reader(world: World) -> None:
    gate = asyncio.Event()
    script(world, gate, *CHUNKS)
    run = (await enqueue(await world.worker(), IMPATIENT)).run

    await asyncio.sleep(10 * GRACE)
    gate.set()

    assert (await world.over(run)).status is Status.COMPLETED


# --- housekeeping itself ----------------------------------------------------------------------------------------------


async def test_a_store_that_is_away_does_not_end_the_rounds(world: World) -> None:
    await world.worker()
    world.store.away = True
    await asyncio.sleep(30.0)
    world.store.away = False

    run, replica = await a_talking_run(world)
    replica.process.kill()

    assert (await world.over(run)).error == interrupted()


async def test_a_defect_does_not_end_the_rounds(world: World) -> None:
    await world.worker()
    world.store.fail("enlist", error=GenerationInterrupted())
    await asyncio.sleep(5.0)
    world.bell.broken = True

    run = (await enqueue(world.replica())).run

    assert (await world.over(run)).status is Status.COMPLETED
    assert [fact.where for fact in world.journal.of(Unexpected)] == ["housekeeping"]
