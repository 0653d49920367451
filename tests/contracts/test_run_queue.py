"""RunStore, its queue: each run goes to one taker, tenants take turns, and nobody waits for ever."""

import asyncio
import random
from dataclasses import replace
from itertools import chain

import pytest

from adapters.redis.connection import RedisConnection
from domain.ports import RunStore
from domain.runs import Claim, Status, Survey, claimed
from tests.contracts.runs import CANCELLED, FAILED, LEASE, QUEUE, WORK, entries, new_run, queued_run, store_on, taken
from tests.fakes import FrozenClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(connection: RedisConnection | None, clock: FrozenClock) -> RunStore:
    return store_on(connection, clock)


# --- taking -------------------------------------------------------------------------------------------------------


async def test_nobody_gets_a_run_where_none_waits(store: RunStore) -> None:
    await store.begin(new_run(shard=3), WORK)
    await store.begin(queued_run(4), WORK)

    assert await store.take(3) is None


async def test_a_taker_gets_the_run_and_what_it_takes_to_execute_it(store: RunStore) -> None:
    run = queued_run()
    await store.begin(run, WORK)

    claim = await store.take(3)

    first = replace(run, status=Status.IN_PROGRESS, attempt=1)
    assert claim == Claim(first, WORK)
    assert await store.get(run.id) == first
    assert await store.take(3) is None


async def test_of_many_takers_each_run_goes_to_one(store: RunStore) -> None:
    runs = [queued_run(tenant=f"t{number % 7}") for number in range(100)]
    await asyncio.gather(*(store.begin(run, WORK) for run in runs))

    async def take_all() -> list[str]:
        claims = []
        while (claim := await store.take(3)) is not None:
            claims.append(claim.run.id)
        return claims

    taken_ids = await asyncio.gather(*(take_all() for _ in range(20)))

    assert sorted(chain(*taken_ids)) == sorted(run.id for run in runs)


async def test_a_run_that_is_begun_again_waits_once(store: RunStore) -> None:
    run = queued_run()

    await asyncio.gather(*(store.begin(run, WORK) for _ in range(10)))

    assert (await store.survey(3)).waiting == 1
    assert (await taken(store)).run == claimed(run)
    assert await store.take(3) is None


async def test_a_view_neither_waits_nor_lapses(store: RunStore, clock: FrozenClock) -> None:
    view = new_run(shard=3, source=new_run().id, replayed=True)
    await store.begin(view)

    clock.advance(QUEUE + 1)

    assert await store.take(3) is None
    assert await store.survey(3) == Survey()
    assert await store.get(view.id) == view


# --- turns --------------------------------------------------------------------------------------------------------


async def test_a_tenant_with_one_run_does_not_wait_for_the_thousand_of_another(store: RunStore) -> None:
    many = [queued_run(tenant="globex") for _ in range(1000)]
    for start in range(0, 1000, 50):
        await asyncio.gather(*(store.begin(run, WORK) for run in many[start : start + 50]))
    one = queued_run(tenant="acme")
    await store.begin(one, WORK)

    first_two = [(await taken(store)).run.id for _ in range(2)]

    assert one.id in first_two
    assert (await store.survey(3)).waiting == 999


async def test_tenants_take_turns_however_many_runs_each_has(store: RunStore) -> None:
    for tenant, runs in (("a", 5), ("b", 2), ("c", 3)):
        for _ in range(runs):
            await store.begin(queued_run(tenant=tenant), WORK)

    order = "".join([(await taken(store)).run.tenant for _ in range(10)])

    assert order == "abc" + "abc" + "ac" + "aa"


async def test_who_comes_later_begins_with_the_present_turn(store: RunStore) -> None:
    for _ in range(10):
        await store.begin(queued_run(tenant="a"), WORK)
    for _ in range(5):
        await taken(store)
    for _ in range(3):
        await store.begin(queued_run(tenant="b"), WORK)

    order = "".join([(await taken(store)).run.tenant for _ in range(8)])

    # The sixth turn is for both; "a" came to it first.
    assert order == "ab" * 3 + "aa"


async def test_runs_of_one_tenant_are_taken_in_their_order(store: RunStore) -> None:
    runs = [queued_run() for _ in range(30)]
    for run in runs:
        await store.begin(run, WORK)

    assert [(await taken(store)).run.id for _ in runs] == [run.id for run in runs]


async def test_turns_are_forgotten_when_nobody_waits_any_more(store: RunStore) -> None:
    left = [queued_run(tenant="a") for _ in range(5)]
    for run in left:
        await store.begin(run, WORK)
    for run in left:
        await store.cancel(run.id)
    await store.begin(queued_run(tenant="a"), WORK)
    await store.begin(queued_run(tenant="b"), WORK)

    assert [(await taken(store)).run.tenant for _ in range(2)] == ["a", "b"]


async def test_a_survey_tells_how_many_wait_and_the_turn_of_the_first(store: RunStore) -> None:
    empty = await store.survey(3)
    for _ in range(3):
        await store.begin(queued_run(), WORK)
    full = await store.survey(3)
    await taken(store)

    assert (empty, full) == (Survey(), Survey(3, 1))
    assert await store.survey(3) == Survey(2, 2)
    assert await store.survey(4) == Survey()


# --- waiting again ------------------------------------------------------------------------------------------------


async def test_a_run_that_is_requeued_begins_anew_before_all_who_have_waited_less(store: RunStore) -> None:
    run, others = queued_run(), [queued_run() for _ in range(3)]
    for each in (run, *others):
        await store.begin(each, WORK)
    first = (await taken(store)).run
    await store.append(run.id, first.fence, 0, entries(1, 5))

    requeued = await store.requeue(run.id, first.fence)
    waiting = await store.read(run.id, 0)
    second = await taken(store)
    await store.append(run.id, second.run.fence, 0, entries(7, 8))
    part = await store.read(run.id, 0)

    assert (first.id, requeued) == (run.id, True)
    assert waiting is not None
    assert waiting.run == replace(first, status=Status.QUEUED)
    assert waiting.entries == ()
    assert second == Claim(replace(first, attempt=2), WORK)
    assert part is not None
    assert part.entries == tuple(entries(7, 8))


async def test_a_run_can_be_requeued_twice_and_waits_once(store: RunStore) -> None:
    run = new_run(shard=3)
    await store.begin(run, WORK)

    answers = await asyncio.gather(*(store.requeue(run.id, 1) for _ in range(20)))

    assert answers == [True] * 20
    assert (await store.survey(3)).waiting == 1


@pytest.mark.parametrize("fence", [0, 2])
async def test_only_its_owner_requeues_a_run(store: RunStore, fence: int) -> None:
    run = new_run(shard=3)
    await store.begin(run, WORK)
    await store.append(run.id, 1, 0, entries(1, 2))

    assert not await store.requeue(run.id, fence)
    assert await store.survey(3) == Survey()
    assert await store.get(run.id) == replace(run, tail=2)


async def test_neither_an_unknown_run_nor_one_that_has_ended_is_requeued(store: RunStore) -> None:
    run = new_run(shard=3)
    await store.begin(run, WORK)
    await store.append(run.id, 1, 0, entries(1, 2), FAILED)

    assert not await store.requeue(run.id, 1)
    assert not await store.requeue(new_run(shard=3).id, 1)
    assert await store.survey(3) == Survey()


# --- waiting for too long -----------------------------------------------------------------------------------------


async def test_a_run_that_has_waited_for_too_long_is_overdue(store: RunStore, clock: FrozenClock) -> None:
    runs = [queued_run() for _ in range(3)]
    for run in runs:
        await store.begin(run, WORK)
        clock.advance(1)

    clock.advance(QUEUE - 3.5)
    before = await store.survey(3)
    clock.advance(2)
    after = await store.survey(3)

    assert before == Survey(3, 1)
    assert after == Survey(3, 1, (runs[0].id, runs[1].id))


async def test_who_seizes_a_waiting_run_has_it_out_of_the_queue_and_ends_it(
    store: RunStore, clock: FrozenClock
) -> None:
    run = queued_run()
    await store.begin(run, WORK)
    clock.advance(QUEUE + 1)

    claim = await store.seize(run.id)
    seized = (await store.survey(3), await store.take(3))
    assert claim is not None
    ended = await store.append(run.id, claim.run.fence, 0, (), FAILED)

    assert claim == Claim(run, WORK)
    assert seized == (Survey(), None)
    assert ended.standing.value == "owned"
    assert await store.survey(3) == Survey()


async def test_a_waiting_run_that_is_ended_waits_no_longer(store: RunStore, clock: FrozenClock) -> None:
    run = queued_run()
    await store.begin(run, WORK)

    await store.append(run.id, 0, 0, (), FAILED)
    clock.advance(QUEUE + 1)

    assert await store.survey(3) == Survey()


async def test_who_seized_a_waiting_run_can_let_it_wait_again(store: RunStore, clock: FrozenClock) -> None:
    run = queued_run()
    await store.begin(run, WORK)
    clock.advance(QUEUE + 1)
    claim = await store.seize(run.id)

    assert claim is not None
    requeued = await store.requeue(run.id, claim.run.fence)

    assert requeued
    assert (await taken(store)).run == replace(run, status=Status.IN_PROGRESS, attempt=1)


async def test_a_run_that_is_late_can_still_be_taken(store: RunStore, clock: FrozenClock) -> None:
    run = queued_run()
    await store.begin(run, WORK)
    clock.advance(QUEUE + 1)

    claim = await store.take(3)

    assert claim is not None
    assert (await store.survey(3)).overdue == ()
    assert await store.seize(run.id) is None


# --- cancelling what waits ----------------------------------------------------------------------------------------


async def test_a_waiting_run_that_is_cancelled_is_the_cancellers(store: RunStore) -> None:
    run = queued_run()
    await store.begin(run, WORK)

    claim = await store.cancel(run.id)
    again = await store.cancel(run.id)
    waiting = await store.survey(3)
    assert claim is not None
    ended = await store.append(run.id, claim.run.fence, 0, (), CANCELLED)

    assert claim == Claim(replace(run, status=Status.IN_PROGRESS, cancelling=True), WORK)
    assert again is None
    assert waiting == Survey()
    assert await store.take(3) is None
    assert ended.standing.value == "cancelling"


async def test_a_canceller_who_goes_away_leaves_a_run_that_is_overdue(store: RunStore, clock: FrozenClock) -> None:
    run = queued_run()
    await store.begin(run, WORK)
    await store.cancel(run.id)

    clock.advance(LEASE + 1)

    assert (await store.survey(3)).overdue == (run.id,)


@pytest.mark.parametrize("seed", range(4))
async def test_cancelling_and_taking_at_the_same_time_lead_to_one_owner_and_one_ending(
    store: RunStore, seed: int
) -> None:
    dice = random.Random(seed)
    runs = [queued_run(number % 16) for number in range(250)]

    async def work(shard: int) -> bool:
        await _falter(dice)
        claim = await store.take(shard)
        return claim is not None and bool(await _ends(store, claim, dice))

    async def cancel(run_id: str) -> bool:
        await _falter(dice)
        claim = await store.cancel(run_id)
        return claim is not None and bool(await _ends(store, claim, dice))

    endings = []
    for number, run in enumerate(runs):
        await store.begin(run, WORK)
        endings.append(await asyncio.gather(work(number % 16), cancel(run.id), cancel(run.id)))

    records = [await store.get(run.id) for run in runs]
    assert [sum(ended) for ended in endings] == [1] * 250
    assert {record.status for record in records if record is not None} == {Status.CANCELLED}


async def _falter(dice: random.Random) -> None:
    for _ in range(dice.randrange(4)):
        await asyncio.sleep(0)


async def _ends(store: RunStore, claim: Claim, dice: random.Random) -> bool:
    await _falter(dice)
    appended = await store.append(claim.run.id, claim.run.fence, 0, (), CANCELLED)
    return appended.standing.value in ("owned", "cancelling")


# --- workers ------------------------------------------------------------------------------------------------------


async def test_the_slots_of_all_workers_are_counted_for_as_long_as_they_say(
    store: RunStore, clock: FrozenClock
) -> None:
    counts = [await store.enlist("w1", 4, 10.0), await store.enlist("w2", 3, 30.0), await store.enlist("w1", 5, 10.0)]
    clock.advance(11)
    counts.append(await store.enlist("w3", 1, 10.0))
    counts.append(await store.enlist("w2", 3, 0.0))

    assert counts == [4, 7, 8, 4, 1]
