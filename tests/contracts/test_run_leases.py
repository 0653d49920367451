"""RunStore, its leases: a silent owner loses its run to one other, and can do no harm when it comes back."""

import asyncio
import random
from dataclasses import replace

import pytest

from adapters.redis.connection import RedisConnection
from adapters.redis.keys import RunKeys, ShardKeys
from domain.errors import CompletionShared
from domain.ports import RunStore
from domain.runs import Appended, Claim, Run, Standing, Status, Survey
from tests.contracts.runs import (
    CANCELLED,
    COMPLETED,
    FAILED,
    LEASE,
    QUEUE,
    WORK,
    entries,
    granted,
    new_run,
    queued_run,
    store_on,
    taken,
)
from tests.fakes import FrozenClock

pytestmark = pytest.mark.anyio

on_both = pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)


@pytest.fixture
def store(connection: RedisConnection | None, clock: FrozenClock) -> RunStore:
    return store_on(connection, clock)


# --- keeping ------------------------------------------------------------------------------------------------------


async def test_a_run_whose_owner_speaks_is_never_overdue(store: RunStore, clock: FrozenClock) -> None:
    run = new_run(shard=3)
    await store.begin(run, WORK)

    for number in range(40):
        clock.advance(random.Random(number).uniform(0.1, LEASE / 2))
        await store.append(run.id, 1, number, entries(number + 1, number + 1))
        assert await store.survey(3) == Survey()
        assert await store.seize(run.id) is None


async def test_an_append_of_nothing_keeps_the_run(store: RunStore, clock: FrozenClock) -> None:
    run = new_run(shard=3)
    await store.begin(run, WORK)

    for _ in range(5):
        clock.advance(0.9 * LEASE)
        assert await store.append(run.id, 1, 0, ()) == Appended(Standing.OWNED, 0)

    assert await store.survey(3) == Survey()
    assert await store.get(run.id) == run


@pytest.mark.parametrize("spoke_after", [0.1, 3.0, 3.5, 9.9])
async def test_an_owner_may_be_silent_for_two_thirds_of_its_lease_at_least_and_for_the_whole_at_most(
    store: RunStore, clock: FrozenClock, spoke_after: float
) -> None:
    run = new_run(shard=3)
    await store.begin(run, WORK)
    clock.advance(spoke_after)
    await store.append(run.id, 1, 0, entries(1, 1))

    clock.advance(LEASE * 2 / 3 - 0.01)
    before = await store.survey(3)
    clock.advance(LEASE / 3 + 0.02)
    after = await store.survey(3)

    assert (before.overdue, after.overdue) == ((), (run.id,))


async def test_a_lease_ends_to_the_millisecond(store: RunStore, clock: FrozenClock) -> None:
    clock.now = 1_800_000_000.0
    run = new_run(shard=3)
    await store.begin(run, WORK)

    clock.advance(LEASE - 0.001)
    before = (await store.survey(3), await store.seize(run.id))
    clock.now = 1_800_000_000.0 + LEASE
    after = (await store.survey(3), await store.seize(run.id))

    assert before == (Survey(), None)
    assert after == (Survey(overdue=(run.id,)), Claim(run, WORK))


async def test_an_owner_who_is_late_keeps_the_run_if_nobody_has_seized_it(store: RunStore, clock: FrozenClock) -> None:
    run = new_run(shard=3)
    await store.begin(run, WORK)
    clock.advance(LEASE + 1)

    appended = await store.append(run.id, 1, 0, entries(1, 1))

    assert appended == Appended(Standing.OWNED, 1)
    assert await store.seize(run.id) is None


@pytest.mark.parametrize("ending", [COMPLETED, FAILED, CANCELLED], ids=lambda ending: ending.status.value)
async def test_a_run_that_has_ended_is_never_overdue(store: RunStore, clock: FrozenClock, ending: object) -> None:
    run = new_run(shard=3)
    await store.begin(run, WORK)
    await store.append(run.id, 1, 0, entries(1, 1), ending)  # type: ignore[arg-type] # the parameters are endings

    clock.advance(LEASE + 1)

    assert await store.survey(3) == Survey()
    assert await store.seize(run.id) is None


async def test_a_requeued_run_has_the_time_of_one_that_waits(store: RunStore, clock: FrozenClock) -> None:
    run = new_run(shard=3)
    await store.begin(run, WORK)
    await store.requeue(run.id, 1)

    clock.advance(QUEUE - 1)
    before = await store.survey(3)
    clock.advance(2)

    assert before.overdue == ()
    assert (await store.survey(3)).overdue == (run.id,)


# --- seizing ------------------------------------------------------------------------------------------------------


async def test_of_eight_who_seize_at_once_one_gets_the_run(store: RunStore, clock: FrozenClock) -> None:
    run = new_run(shard=3)
    await store.begin(run, WORK)
    await store.append(run.id, 1, 0, entries(1, 2))
    clock.advance(LEASE + 1)

    claims = await asyncio.gather(*(store.seize(run.id) for _ in range(8)))

    assert granted(claims) == Claim(replace(run, tail=2), WORK)


async def test_nobody_seizes_what_is_not_overdue(store: RunStore, clock: FrozenClock) -> None:
    run, waiting, view = new_run(shard=3), queued_run(), new_run(shard=3, source=new_run().id)
    await asyncio.gather(store.begin(run, WORK), store.begin(waiting, WORK), store.begin(view))
    clock.advance(LEASE - 0.1)

    claims = [await store.seize(each.id) for each in (run, waiting, view, new_run(shard=3))]

    assert claims == [None] * 4


async def test_who_seized_a_run_and_goes_away_loses_it_to_the_next(store: RunStore, clock: FrozenClock) -> None:
    run = new_run(shard=3)
    await store.begin(run, WORK)
    clock.advance(LEASE + 1)
    await store.seize(run.id)

    at_once = await store.seize(run.id)
    clock.advance(LEASE + 1)
    later = await store.seize(run.id)

    assert at_once is None
    assert later == Claim(run, WORK)


async def test_a_survey_names_the_runs_that_are_overdue_for_longest_first(store: RunStore, clock: FrozenClock) -> None:
    runs = [new_run(shard=3) for _ in range(120)]
    for run in runs:
        await store.begin(run, WORK)
        clock.advance(0.01)

    clock.advance(LEASE)

    assert (await store.survey(3)).overdue == tuple(run.id for run in runs[:100])


@on_both
async def test_what_has_no_record_any_more_is_neither_taken_nor_overdue_for_ever(
    store: RunStore, connection: RedisConnection, clock: FrozenClock
) -> None:
    gone, waiting, run = new_run(shard=3), queued_run(), queued_run()
    for each in (gone, waiting, run):
        await store.begin(each, WORK)
    for each in (gone, waiting):
        await connection.command("DEL", RunKeys.of(each.id).record)
    clock.advance(LEASE + 1)

    seized = await store.seize(gone.id)
    claim = await taken(store)

    assert (seized, claim.run.id) == (None, run.id)
    assert await connection.command("ZRANGE", ShardKeys.of(3).leases, 0, -1) == [run.id.encode()]


# --- the zombie ---------------------------------------------------------------------------------------------------


async def test_an_owner_that_was_stopped_changes_nothing_when_it_goes_on(store: RunStore, clock: FrozenClock) -> None:
    run = new_run(shard=3)
    await store.begin(run, WORK)
    await store.append(run.id, 1, 0, entries(1, 3))
    clock.advance(LEASE + 1)
    await store.seize(run.id)
    before = [await store.read(run.id, 0), await store.result(run.id), await store.survey(3)]

    answers = [
        await store.append(run.id, 1, 3, entries(4, 5)),
        await store.append(run.id, 1, 0, entries(1, 3)),
        await store.append(run.id, 1, 3, ()),
        await store.append(run.id, 1, 9, entries(10, 11)),
        await store.append(run.id, 1, 3, entries(4, 4), COMPLETED),
    ]
    requeued = await store.requeue(run.id, 1)

    assert answers == [Appended(Standing.LOST, 3)] * 5
    assert not requeued
    assert [await store.read(run.id, 0), await store.result(run.id), await store.survey(3)] == before


async def test_a_zombie_does_not_prolong_the_lease_of_its_successor(store: RunStore, clock: FrozenClock) -> None:
    run = new_run(shard=3)
    await store.begin(run, WORK)
    clock.advance(LEASE + 1)
    await store.seize(run.id)
    clock.advance(0.9 * LEASE)

    await store.append(run.id, 1, 0, entries(1, 1))
    clock.advance(0.2 * LEASE)

    assert (await store.survey(3)).overdue == (run.id,)


async def test_a_zombie_says_nothing_in_the_next_attempt(store: RunStore, clock: FrozenClock) -> None:
    run = queued_run()
    await store.begin(run, WORK)
    zombie = (await taken(store)).run
    await store.append(run.id, zombie.fence, 0, entries(1, 3))
    clock.advance(LEASE + 1)
    seizer = await store.seize(run.id)
    assert seizer is not None
    await store.requeue(run.id, seizer.run.fence)

    while_it_waits = await store.append(run.id, zombie.fence, 0, entries(1, 3), FAILED)
    successor = (await taken(store)).run
    afterwards = await store.append(run.id, zombie.fence, 0, entries(1, 3), FAILED)
    await store.append(run.id, successor.fence, 0, entries(7, 7))

    part = await store.read(run.id, 0)
    assert [while_it_waits.standing, afterwards.standing] == [Standing.LOST] * 2
    assert part is not None
    assert part.entries == tuple(entries(7, 7))
    assert part.run == replace(successor, tail=1)


async def test_of_an_owner_and_a_seizer_at_the_same_time_one_ends_the_run(store: RunStore, clock: FrozenClock) -> None:
    runs = [new_run(shard=number % 16) for number in range(200)]
    await asyncio.gather(*(store.begin(run, WORK) for run in runs))
    clock.advance(LEASE + 1)

    async def finish(run_id: str) -> bool:
        return (await store.append(run_id, 1, 0, entries(1, 1), COMPLETED)).standing is Standing.OWNED

    async def reap(run_id: str) -> bool:
        claim = await store.seize(run_id)
        if claim is None:
            return False
        return (await store.append(run_id, claim.run.fence, 0, (), FAILED)).standing is Standing.OWNED

    ends = await asyncio.gather(*(asyncio.gather(finish(run.id), reap(run.id), reap(run.id)) for run in runs))

    records = [await store.get(run.id) for run in runs]
    assert [sum(ended) for ended in ends] == [1] * 200
    assert [record.status is Status.COMPLETED for record in records if record] == [ended[0] for ended in ends]


# --- cancelling ---------------------------------------------------------------------------------------------------


async def test_an_owner_is_told_that_its_run_is_to_be_cancelled(store: RunStore) -> None:
    run = new_run()
    await store.begin(run, WORK)
    await store.append(run.id, 1, 0, entries(1, 1))

    claims = [await store.cancel(run.id), await store.cancel(run.id)]
    told = [await store.append(run.id, 1, 1, ()), await store.append(run.id, 1, 1, entries(2, 2))]

    assert claims == [None, None]
    assert told == [Appended(Standing.CANCELLING, 1), Appended(Standing.CANCELLING, 2)]
    assert await store.get(run.id) == replace(run, tail=2, cancelling=True)


async def test_what_is_unknown_or_has_ended_is_not_cancelled(store: RunStore) -> None:
    run = new_run()
    await store.begin(run, WORK)
    await store.append(run.id, 1, 0, (), COMPLETED)
    before = await store.get(run.id)

    claims = [await store.cancel(run.id), await store.cancel(new_run().id)]

    assert claims == [None, None]
    assert await store.get(run.id) == before


async def test_a_run_that_others_follow_is_not_cancelled(store: RunStore) -> None:
    runs = [new_run(), queued_run()]
    for run in runs:
        await store.begin(run, WORK)
        await store.join(run.id)

        with pytest.raises(CompletionShared):
            await store.cancel(run.id)

        assert await store.get(run.id) == replace(run, followers=1)


async def test_of_a_canceller_and_a_follower_at_the_same_time_one_learns_of_the_other(store: RunStore) -> None:
    async def once() -> None:
        run = new_run()
        await store.begin(run, WORK)

        cancelled, joined = await asyncio.gather(store.cancel(run.id), store.join(run.id), return_exceptions=True)

        assert isinstance(joined, Run)
        assert isinstance(cancelled, CompletionShared) != joined.cancelling

    for _ in range(20):
        await asyncio.gather(*(once() for _ in range(10)))


async def test_cancelling_and_ending_at_the_same_time_lead_to_one_ending_a_thousand_times(store: RunStore) -> None:
    dice = random.Random(1)

    async def once() -> tuple[Standing, Standing, Status]:
        run = new_run()
        await store.begin(run, WORK)
        calls = [
            store.append(run.id, 1, 0, entries(1, 2), COMPLETED),
            store.cancel(run.id),
            store.append(run.id, 1, 0, (), CANCELLED),
        ]
        places = dice.sample(range(3), 3)
        answers = await asyncio.gather(*(calls[place] for place in places))
        completed, cancelled = (answers[places.index(place)] for place in (0, 2))
        record = await store.get(run.id)
        assert isinstance(completed, Appended)
        assert isinstance(cancelled, Appended)
        assert record is not None
        return completed.standing, cancelled.standing, record.status

    for _ in range(50):
        for completed, cancelled, status in await asyncio.gather(*(once() for _ in range(20))):
            winner, loser = (completed, cancelled) if status is Status.COMPLETED else (cancelled, completed)
            assert status in (Status.COMPLETED, Status.CANCELLED)
            assert winner in (Standing.OWNED, Standing.CANCELLING)
            assert loser is Standing.LOST
