"""Writing a log: what readers see the store has, and an absence of the store is silence and then the exact rest."""

import asyncio

import pytest

from domain.completions.execution import Execution, Handover
from domain.completions.production import RunLimits
from domain.errors import ProviderTimeout, StoreUnavailable
from domain.facts import LeaseLost, RecordFailed
from domain.runs import RunError, Status
from tests.builders import a_chunk, a_completion
from tests.domain.completions.world import (
    INITIAL,
    LEASE,
    PROMPT,
    World,
    begin,
    ended,
    enqueue,
    follow,
    read_all,
    settled,
    until,
)
from tests.fakes import Step

pytestmark = pytest.mark.anyio

WORDS = [a_chunk(f"w{number} ") for number in range(6)]
SAID = [chunk.data for chunk in WORDS]


class Talk:
    """A provider that says its next word when it is told to."""

    def __init__(self, world: World) -> None:
        self.gates = [asyncio.Event() for _ in range(len(WORDS) + 1)]
        steps: list[Step] = [step for pair in zip(self.gates, WORDS, strict=False) for step in pair]
        world.provider.script = (*steps, self.gates[-1])
        self._next = iter(self.gates)

    def go_on(self, words: int = 1) -> None:
        for _ in range(words):
            next(self._next).set()

    def finish(self) -> None:
        for gate in self.gates:
            gate.set()


@pytest.fixture
def talk(world: World) -> Talk:
    return Talk(world)


def produce(world: World, execution: Execution, limits: RunLimits | None = None) -> "asyncio.Task[Handover | None]":
    return asyncio.ensure_future(world.production(limits).produce(execution))


# --- a store that is away ---------------------------------------------------------------------------------------------


async def test_while_the_store_is_away_the_provider_is_read_and_then_readers_get_the_exact_rest(
    world: World, talk: Talk
) -> None:
    execution = await world.execution()
    run, tail = execution.job.run, execution.tail
    reader = asyncio.ensure_future(read_all(tail))
    producing = produce(world, execution)
    talk.go_on(2)
    await until(lambda: len(tail.entries) == 2)

    world.store.away = True
    talk.go_on(3)
    await asyncio.sleep(5.0)
    kept, seen = execution.progress.assembly.completion(), list(tail.entries)
    world.store.away = False
    await until(lambda: len(tail.entries) == 5)
    talk.finish()
    await producing

    assert kept.choices[0]["message"]["content"] == "w0 w1 w2 w3 w4 "
    assert seen == SAID[:2]
    assert await reader == await world.log(run) == SAID
    assert (await world.record(run)).status is Status.COMPLETED


async def test_what_is_said_while_the_store_recovers_is_written_without_waiting_for_more(
    world: World, talk: Talk
) -> None:
    execution = await world.execution()
    producing = produce(world, execution)
    world.store.fail("append", times=2)
    talk.go_on()
    await settled()
    arrived, released = world.store.hold_up("append")
    await arrived.wait()

    talk.go_on()
    await settled()
    released.set()
    await until(lambda: execution.tail.entries == SAID[:2])

    talk.finish()
    await producing


async def test_a_store_that_is_away_for_longer_than_the_grace_is_one_explicit_error(world: World, talk: Talk) -> None:
    limits = RunLimits(store_grace=3.0)
    execution = await world.execution(limits=limits)
    reader = asyncio.ensure_future(read_all(execution.tail))
    producing = produce(world, execution, limits)
    talk.go_on(2)
    await until(lambda: len(execution.tail.entries) == 2)

    world.store.away = True
    talk.go_on()
    await asyncio.sleep(4.0)
    talk.go_on()
    await producing

    assert await reader == SAID[:2]
    ending = await ended(execution.tail)
    assert (ending.status, ending.error) == (Status.FAILED, RunError.of(StoreUnavailable()))
    assert ending.charged == PROMPT + 4
    assert world.journal.of(RecordFailed) == [RecordFailed(execution.job.run.id, "acme")]
    assert await world.balance() == INITIAL - PROMPT - 4
    assert world.provider.open == 0


async def test_an_answer_that_is_over_before_the_store_is_back_is_no_complete_one(world: World, talk: Talk) -> None:
    limits = RunLimits(store_grace=3.0)
    execution = await world.execution(limits=limits)
    producing = produce(world, execution, limits)
    talk.go_on(2)
    await until(lambda: len(execution.tail.entries) == 2)

    world.store.away = True
    talk.finish()
    await producing

    ending = await ended(execution.tail)
    assert execution.tail.entries == SAID[:2]
    assert (ending.status, ending.error) == (Status.FAILED, RunError.of(StoreUnavailable()))


async def test_readers_elsewhere_get_the_same_after_the_store_was_away(world: World, talk: Talk) -> None:
    run, tail = await begin(await world.worker())
    readers = [asyncio.ensure_future(follow(world.replica(), run.id)) for _ in range(3)]
    talk.go_on(2)
    await until(lambda: len(tail.entries) == 2)

    world.store.away = True
    talk.go_on(2)
    await asyncio.sleep(6.0)
    world.store.away = False
    talk.finish()

    assert [entries for entries, _ in await asyncio.gather(*readers)] == [SAID] * 3


@pytest.mark.parametrize("times", [1, 3])
async def test_replies_that_are_lost_double_nothing(world: World, talk: Talk, times: int) -> None:
    execution = await world.execution()
    producing = produce(world, execution)

    for said in range(len(WORDS) + 1):
        await until(lambda said=said: len(execution.tail.entries) == said)  # type: ignore[misc]
        world.store.lose_replies("append", times)
        talk.go_on()
    await producing

    assert execution.tail.entries == await world.log(execution.job.run) == SAID
    assert (await world.record(execution.job.run)).status is Status.COMPLETED
    assert await world.settlements() == 1


@pytest.mark.parametrize("silent", [False, True])
async def test_a_run_keeps_its_lease_after_the_store_was_away_though_its_provider_is_silent(
    world: World, talk: Talk, silent: bool
) -> None:
    replica = await world.worker()
    await world.worker()
    run, tail = await begin(replica)
    talk.go_on()
    await until(lambda: len(tail.entries) == 1)
    if not silent:
        world.store.fail("append", times=2)
        talk.go_on()
        await until(lambda: len(tail.entries) == 2)

    await asyncio.sleep(10 * LEASE)
    talk.finish()

    assert (await ended(tail)).status is Status.COMPLETED
    assert (await world.record(run)).fence == 1


async def test_a_store_that_stays_away_from_a_silent_run_ends_it_when_the_grace_is_over(
    world: World, talk: Talk
) -> None:
    _, tail = await begin(await world.worker(RunLimits(store_grace=3.0)))
    talk.go_on()
    await until(lambda: len(tail.entries) == 1)

    world.store.fail("append", times=10_000)
    talk.go_on()
    ending = await ended(tail)

    assert ending.error == RunError.of(StoreUnavailable())
    assert world.provider.open == 0
    assert await world.settlements() == 1


async def test_a_cancellation_that_is_learnt_while_the_store_recovers_stops_a_silent_provider(
    world: World, talk: Talk
) -> None:
    run, tail = await begin(await world.worker())
    world.bell.broken = True
    world.store.fail("append", times=2)
    talk.go_on()
    await until(lambda: world.store.calls["append"] > 0)

    await world.store.wrapped.cancel(run.id)

    assert (await ended(tail)).status is Status.CANCELLED
    assert (await world.record(run)).charged == PROMPT + 1


# --- a store that lost something --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", range(4))
async def test_a_store_that_lost_its_tail_gets_the_same_entries_under_the_same_numbers(
    world: World, talk: Talk, kept: int
) -> None:
    execution = await world.execution()
    run, tail = execution.job.run, execution.tail
    producing = produce(world, execution)
    snapshots = []
    for said in range(5):
        await until(lambda said=said: len(tail.entries) == said)  # type: ignore[misc]
        snapshots.append(world.store.wrapped.snapshot())
        talk.go_on()
    await until(lambda: len(tail.entries) == 5)

    world.store.wrapped.restore(snapshots[kept])
    lost = len(await world.log(run))
    talk.finish()
    await producing

    assert lost == kept
    assert tail.entries == await world.log(run) == SAID
    assert (await world.record(run)).status is Status.COMPLETED
    assert await world.settlements() == 1


@pytest.mark.parametrize("again", ["at the next word", "at the end", "in silence"])
async def test_a_store_that_lost_everything_gets_the_run_again(world: World, talk: Talk, again: str) -> None:
    empty = world.store.wrapped.snapshot()
    run, tail = await begin(await world.worker())
    talk.go_on(3)
    await until(lambda: len(tail.entries) == 3)

    world.store.wrapped.restore(empty)
    if again == "at the next word":
        talk.go_on()
        await until(lambda: len(tail.entries) == 4)
        assert await world.log(run) == SAID[:4]
    if again == "in silence":
        await asyncio.sleep(LEASE)
        assert await world.log(run) == SAID[:3]
    talk.finish()

    assert (await ended(tail)).status is (await world.record(run)).status is Status.COMPLETED
    assert tail.entries == await world.log(run) == SAID
    assert (await follow(world.replica(), run.id, 2))[0] == SAID[2:]


async def test_a_job_that_the_store_has_lost_is_there_again_with_what_it_takes_to_begin_it_again(
    world: World, talk: Talk
) -> None:
    empty = world.store.wrapped.snapshot()
    first = await world.worker()
    job = await enqueue(first)
    talk.go_on(2)
    await until(lambda: bool(world.provider.calls))
    await asyncio.sleep(0.1)

    world.store.wrapped.restore(empty)
    await asyncio.sleep(LEASE)
    first.process.kill()
    await world.worker()
    await until(lambda: len(world.provider.calls) == 2)
    talk.finish()

    record = await world.over(job.run)
    assert (record.status, record.attempt) == (Status.COMPLETED, 2)
    assert await world.log(job.run) == SAID


async def test_what_a_caller_said_is_not_written_again_where_nobody_will_begin_it_again(
    world: World, talk: Talk
) -> None:
    empty = world.store.wrapped.snapshot()
    run, _ = await begin(await world.worker(), live=False)
    await until(lambda: bool(world.provider.calls))

    world.store.wrapped.restore(empty)
    await asyncio.sleep(LEASE)
    world.clock.advance(2 * LEASE)
    claim = await world.store.wrapped.seize(run.id)

    assert claim is not None
    assert claim.work is not None
    assert claim.work.request.body == {"messages": []}


# --- a writer that is not the owner any more --------------------------------------------------------------------------


async def test_a_writer_whose_run_was_taken_over_stops_and_neither_writes_nor_settles(world: World, talk: Talk) -> None:
    execution = await world.execution()
    run, tail = execution.job.run, execution.tail
    producing = produce(world, execution)
    talk.go_on(2)
    await until(lambda: len(tail.entries) == 2)
    world.clock.advance(LEASE)
    await world.store.wrapped.seize(run.id)

    talk.go_on()
    handover = await producing

    assert handover is Handover.LOST
    assert tail.ending is None, "what became of the run is for others to say"
    assert await world.log(run) == SAID[:2]
    assert world.ledger.calls == {"hold": 1}
    assert world.provider.open == 0
    assert world.journal.facts == [LeaseLost(run.id, run.tenant, run.attempt)]


@pytest.mark.parametrize("outcome", ["completed", "failed"])
async def test_an_owner_that_learns_only_at_the_end_that_its_run_was_taken_over_settles_nothing(
    world: World, talk: Talk, outcome: str
) -> None:
    world.provider.script = (talk.gates[0], a_completion() if outcome == "completed" else ProviderTimeout())
    execution = await world.execution(live=False)
    producing = produce(world, execution)
    await until(lambda: bool(world.provider.calls))
    await asyncio.sleep(2 * LEASE)
    await world.store.wrapped.seize(execution.job.run.id)

    talk.go_on()
    handover = await producing

    assert handover is Handover.LOST
    assert world.ledger.calls == {"hold": 1}
