"""A run that another process produces, or that has ended: readers here get exactly what readers there got."""

import asyncio
import json
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack

import anyio
import pytest

from domain.chat import Chunk, Usage
from domain.completions import reading
from domain.completions.production import RunLimits
from domain.completions.runs import CompletionRuns
from domain.errors import (
    CursorAhead,
    GenerationRestarted,
    ProviderTruncated,
    SluiceError,
    StoreUnavailable,
    StreamExpired,
    UnknownCompletion,
)
from domain.runs import END_PLACE, Cursor, Run, RunError, Status
from tests.builders import a_caller, a_choice, a_chunk, a_completion, a_run, a_stream
from tests.domain.completions.world import World, begin, ended, enqueue, follow, settled, until
from tests.fakes import Step

pytestmark = pytest.mark.anyio

CHUNKS = a_stream("Hello", " wide", " world")
LOG = [chunk.data for chunk in CHUNKS]


def script(world: World, *steps: Step) -> None:
    world.provider.script = steps


def gated(world: World, chunks: Sequence[Chunk] = CHUNKS) -> list[asyncio.Event]:
    """Let the provider wait for an event before each chunk, and for one more before the end."""
    gates = [asyncio.Event() for _ in (*chunks, None)]
    steps: list[Step] = [step for pair in zip(gates, chunks, strict=False) for step in pair]
    script(world, *steps, gates[-1])
    return gates


async def place_of(replica: CompletionRuns, run: Run, cursor: Cursor) -> None:
    async with replica.following(await replica.find(run.id, "acme", "ann"), cursor):
        pass


async def a_run_that_ended(world: World, *steps: Step, live: bool = True) -> Run:
    """A run that a replica, of which nothing is left, has brought to its end."""
    script(world, *steps)
    _run, tail = await begin(world.replica(), live=live)
    await ended(tail)
    return tail.run


# --- a run that goes on elsewhere -------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", range(len(CHUNKS) + 1))
async def test_wherever_a_reader_was_cut_off_it_gets_exactly_the_rest_on_another_replica(
    world: World, said: int
) -> None:
    gates = gated(world)
    run, tail = await begin(world.replica())
    elsewhere = world.replica()
    for gate in gates[:said]:
        gate.set()
    await until(lambda: len(tail.entries) == said)

    readers = [asyncio.ensure_future(follow(elsewhere, run.id, seen)) for seen in range(said + 1)]
    await settled()
    for gate in gates[said:]:
        gate.set()
        await settled()
    views = await asyncio.gather(*readers)

    assert [entries for entries, _ in views] == [LOG[seen:] for seen in range(said + 1)]
    assert {ending.status for _, ending in views} == {Status.COMPLETED}


@pytest.mark.parametrize("seed", range(20))
async def test_readers_who_come_and_go_at_random_on_three_replicas_all_get_every_entry_once(
    world: World, seed: int
) -> None:
    dice = random.Random(seed)
    chunks = a_stream(*(f"w{number}" for number in range(20)))
    gates = gated(world, chunks)
    replicas = [world.replica() for _ in range(3)]
    run, _tail = await begin(replicas[0])

    async def produce() -> None:
        for gate in gates:
            gate.set()
            await settled(dice.randint(0, 6))

    async def read() -> list[bytes]:
        got: list[bytes] = []
        while True:
            replica = dice.choice(replicas)
            found = await replica.find(run.id, "acme", "ann")
            async with replica.following(found, Cursor(len(got))) as tail:
                for _ in range(dice.randint(1, 4)):
                    await tail.grown(len(got))
                    got += tail.entries[len(got) :]
                    if tail.ending is not None:
                        return got

    with anyio.fail_after(20):
        _, *views = await asyncio.gather(produce(), *(read() for _ in range(20)))

    assert views == [[chunk.data for chunk in chunks]] * 20


async def test_a_queued_job_can_be_followed_elsewhere_before_it_has_begun(world: World) -> None:
    (gate, *_) = gates = gated(world)
    replica = await world.worker(RunLimits(job_slots=1))
    await enqueue(replica)
    job = await enqueue(replica)

    reader = asyncio.ensure_future(follow(world.replica(), job.run.id))
    await settled()
    for gate in gates:
        gate.set()
    entries, ending = await reader

    assert entries == LOG
    assert ending.status is Status.COMPLETED


async def test_a_reader_learns_what_the_run_used_and_cost(world: World) -> None:
    gates = gated(world, a_stream("Hello", usage=Usage(9, 1)))
    run, _ = await begin(world.replica())

    reader = asyncio.ensure_future(follow(world.replica(), run.id))
    await settled()
    for gate in gates:
        gate.set()
    _, ending = await reader

    assert (ending.usage, ending.charged) == (Usage(9, 1), 10)


async def test_a_store_that_is_away_for_a_while_is_silence_and_then_the_exact_rest(world: World) -> None:
    gates = gated(world)
    run, tail = await begin(world.replica())
    gates[0].set()
    await tail.grown(0)
    reader = asyncio.ensure_future(follow(world.replica(), run.id))
    await until(lambda: world.store.calls["read"] > 2)

    world.store.fail("read", times=5)
    for gate in gates[1:]:
        gate.set()
    entries, ending = await reader

    assert entries == LOG
    assert ending.status is Status.COMPLETED


async def test_a_store_that_is_away_when_a_reader_comes_is_told_so(world: World) -> None:
    gated(world)
    run, _ = await begin(world.replica())
    elsewhere = world.replica()
    world.store.fail("read")

    with pytest.raises(StoreUnavailable):
        await place_of(elsewhere, run, Cursor())


# --- many readers -----------------------------------------------------------------------------------------------------


async def test_however_many_read_a_run_one_task_asks_the_store_for_it(world: World) -> None:
    gates = gated(world)
    run, _tail = await begin(world.replica())
    elsewhere = world.replica()
    before = len(asyncio.all_tasks())

    async with AsyncExitStack() as readers:
        tails = [await readers.enter_async_context(elsewhere.following(run, Cursor())) for _ in range(200)]
        while_reading = len(asyncio.all_tasks())
        for gate in gates:
            gate.set()
        await ended(tails[0])
        all_got = {tuple(tail.entries) for tail in tails}

    assert while_reading == before + 1
    assert all_got == {tuple(LOG)}


async def test_a_reader_who_joins_others_asks_the_store_for_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_POLL", 3_600.0)
    gated(world)
    run, _ = await begin(world.replica())
    elsewhere = world.replica()

    async with AsyncExitStack() as readers:
        await readers.enter_async_context(elsewhere.following(run, Cursor()))
        asked_by_the_first = world.store.calls["read"]
        for _ in range(50):
            await readers.enter_async_context(elsewhere.following(run, Cursor()))

        assert world.store.calls["read"] == asked_by_the_first


async def test_readers_who_come_at_the_same_moment_share_one_tail(world: World) -> None:
    gated(world)
    run, _tail = await begin(world.replica())
    elsewhere = world.replica()
    _, released = world.store.hold_up("read")
    ready = asyncio.Event()
    tails = []

    async def read() -> None:
        async with elsewhere.following(run, Cursor()) as tail:
            tails.append(tail)
            await ready.wait()

    readers = [asyncio.ensure_future(read()) for _ in range(10)]
    await settled()
    released.set()
    await until(lambda: len(tails) == 10)
    ready.set()
    await asyncio.gather(*readers)

    assert len({id(tail) for tail in tails}) == 1


async def test_when_the_last_reader_has_left_the_store_is_left_alone(world: World) -> None:
    gated(world)
    run, _ = await begin(world.replica())
    elsewhere = world.replica()
    before = len(asyncio.all_tasks())

    async with elsewhere.following(run, Cursor()):
        async with elsewhere.following(run, Cursor()):
            await settled()
        with_one_left = len(asyncio.all_tasks())
    await settled()

    assert with_one_left == before + 1
    assert len(asyncio.all_tasks()) == before


async def test_a_reader_who_was_cancelled_has_left_too(world: World) -> None:
    gated(world)
    run, _ = await begin(world.replica())
    before = len(asyncio.all_tasks())
    reader = asyncio.ensure_future(follow(world.replica(), run.id))
    await settled()

    reader.cancel()
    await settled()

    assert len(asyncio.all_tasks()) == before


async def test_a_reader_who_comes_back_after_all_had_left_gets_the_exact_rest(world: World) -> None:
    gates = gated(world)
    run, tail = await begin(world.replica())
    elsewhere = world.replica()
    gates[0].set()
    await tail.grown(0)
    await place_of(elsewhere, run, Cursor(1))

    for gate in gates:
        gate.set()
    entries, _ = await follow(elsewhere, run.id, seen=1)

    assert entries == LOG[1:]


# --- cursors ----------------------------------------------------------------------------------------------------------


async def test_a_place_that_the_run_has_not_reached_is_ahead_and_leaves_nothing_running(world: World) -> None:
    gates = gated(world)
    run, tail = await begin(world.replica())
    gates[0].set()
    await tail.grown(0)
    elsewhere = world.replica()
    before = len(asyncio.all_tasks())

    with pytest.raises(CursorAhead):
        await place_of(elsewhere, run, Cursor(2))
    await settled()

    assert len(asyncio.all_tasks()) == before


async def test_a_place_that_others_here_have_not_reached_yet_is_not_ahead(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_POLL", 3_600.0)
    gates = gated(world)
    run, tail = await begin(world.replica())
    gates[0].set()
    await tail.grown(0)
    elsewhere = world.replica()

    async with elsewhere.following(run, Cursor(1)) as behind:
        await settled()
        world.bell.broken = True
        gates[1].set()
        await until(lambda: len(tail.entries) == 2)
        await place_of(elsewhere, run, Cursor(2))
        with pytest.raises(CursorAhead):
            await place_of(elsewhere, run, Cursor(3))

        assert len(behind.entries) == 1


async def test_a_place_that_the_owner_does_not_know_to_be_in_the_log_is_not_ahead(world: World) -> None:
    gates = gated(world)
    owner, elsewhere = world.replica(), world.replica()
    run, tail = await begin(owner)
    arrived, released = world.store.hold_up("append", reply=True)
    gates[0].set()
    await arrived.wait()

    await place_of(elsewhere, run, Cursor(1))
    acknowledged = len(tail.entries)
    await place_of(owner, run, Cursor(1))
    with pytest.raises(CursorAhead):
        await place_of(owner, run, Cursor(2))
    released.set()

    assert acknowledged == 0


async def test_a_place_in_an_attempt_that_waits_to_be_begun_again_is_no_place_any_more(world: World) -> None:
    script(world, CHUNKS[:2], asyncio.Event())
    leaving = await world.worker()
    job = await enqueue(leaving)
    await until(lambda: bool(world.provider.calls))
    await settled()
    await leaving.drain(0.0)

    for cursor in (Cursor(2), Cursor(2, 1)):
        with pytest.raises(GenerationRestarted):
            await place_of(world.replica(), job.run, cursor)
    await place_of(world.replica(), job.run, Cursor())


async def test_a_place_in_an_older_attempt_is_no_place_any_more(world: World) -> None:
    await world.store.wrapped.begin(a_run(attempt=2))

    with pytest.raises(GenerationRestarted):
        await place_of(world.replica(), a_run(), Cursor(0, 1))


async def test_an_ended_run_can_be_asked_for_at_its_very_end(world: World) -> None:
    run = await a_run_that_ended(world, CHUNKS)
    elsewhere = world.replica()

    for seen in range(len(LOG) + END_PLACE + 1):
        entries, ending = await follow(elsewhere, run.id, seen)
        assert (entries, ending.status) == (LOG[seen:], Status.COMPLETED)
    with pytest.raises(CursorAhead):
        await place_of(elsewhere, run, Cursor(len(LOG) + END_PLACE + 1))


# --- runs that have ended ---------------------------------------------------------------------------------------------


async def test_an_ended_run_is_read_to_the_end_as_often_as_anybody_likes(world: World) -> None:
    run = await a_run_that_ended(world, CHUNKS)
    elsewhere = world.replica()

    views = [await follow(elsewhere, run.id) for _ in range(3)]

    assert [entries for entries, _ in views] == [LOG] * 3


async def test_a_reader_who_lingers_after_the_end_asks_the_store_for_nothing(world: World) -> None:
    run = await a_run_that_ended(world, CHUNKS)

    async with world.replica().following(run, Cursor()) as tail:
        await ended(tail)
        asked = world.store.calls["read"]
        await settled(100)

    assert world.store.calls["read"] == asked


async def test_a_failed_run_has_the_same_prefix_and_the_same_error_for_everybody(world: World) -> None:
    run = await a_run_that_ended(world, a_chunk("Hello"), ProviderTruncated())

    views = [await follow(world.replica(), run.id, seen) for seen in (0, 1)]

    assert [entries for entries, _ in views] == [[a_chunk("Hello").data], []]
    assert [ending.error for _, ending in views] == [RunError.of(ProviderTruncated())] * 2


async def test_a_long_log_is_read_without_a_gap(world: World) -> None:
    chunks = a_stream(*(f"w{number}" for number in range(2_500)))
    run = await a_run_that_ended(world, chunks)

    entries, _ = await follow(world.replica(), run.id, seen=7)

    assert entries == [chunk.data for chunk in chunks[7:]]


async def test_an_answer_that_came_whole_is_replayed_as_chunks(world: World) -> None:
    whole = a_completion(a_choice("One"), a_choice("Two", index=1, finish="length"), model="gpt-4o-1")
    run = await a_run_that_ended(world, whole, live=False)

    entries, ending = await follow(world.replica(), run.id)

    said = [json.loads(entry)["choices"][0] for entry in entries]
    assert [choice["delta"].get("content") for choice in said] == ["One", None, "Two", None]
    assert [choice["finish_reason"] for choice in said] == [None, "stop", None, "length"]
    assert ending.status is Status.COMPLETED


async def test_the_places_of_a_replayed_answer_are_places_like_any_others(world: World) -> None:
    run = await a_run_that_ended(world, a_completion(), live=False)
    elsewhere = world.replica()
    everything, _ = await follow(elsewhere, run.id)

    for seen in range(len(everything) + END_PLACE + 1):
        assert (await follow(elsewhere, run.id, seen))[0] == everything[seen:]
    with pytest.raises(CursorAhead):
        await place_of(elsewhere, run, Cursor(len(everything) + END_PLACE + 1))


async def test_a_whole_answer_that_failed_is_an_error_and_nothing_else(world: World) -> None:
    run = await a_run_that_ended(world, ProviderTruncated(), live=False)

    entries, ending = await follow(world.replica(), run.id)

    assert entries == []
    assert ending.error == RunError.of(ProviderTruncated())


async def test_the_completion_of_a_run_is_to_be_had_elsewhere(world: World) -> None:
    run = await a_run_that_ended(world, CHUNKS)

    completion = await world.replica().completion(run)

    assert completion is not None
    assert completion.choices == [a_choice("Hello wide world")]


# --- what lapses ------------------------------------------------------------------------------------------------------


async def test_a_log_that_has_lapsed_is_expired_and_the_result_is_still_to_be_had(world: World) -> None:
    run = await a_run_that_ended(world, CHUNKS)
    elsewhere = world.replica()
    await settled()
    before = len(asyncio.all_tasks())

    world.clock.advance(900.0)

    with pytest.raises(StreamExpired):
        await place_of(elsewhere, run, Cursor())
    assert await elsewhere.completion(await elsewhere.find(run.id, "acme", "ann")) is not None
    assert len(asyncio.all_tasks()) == before


async def test_a_run_that_has_lapsed_is_as_if_it_had_never_been(world: World) -> None:
    run = await a_run_that_ended(world, CHUNKS)

    world.clock.advance(86_400.0)

    with pytest.raises(UnknownCompletion):
        await place_of(world.replica(), run, Cursor())


async def test_a_run_that_lapses_under_its_readers_ends_in_one_error(world: World) -> None:
    await world.store.wrapped.begin(a_run())
    await world.store.wrapped.append(a_run().id, 1, 0, LOG[:2])
    reader = asyncio.ensure_future(follow(world.replica(), a_run().id))
    await settled()

    world.clock.advance(86_400.0)
    entries, ending = await reader

    assert entries == LOG[:2]
    assert (ending.status, ending.error) == (Status.FAILED, RunError.of(UnknownCompletion()))


async def test_a_store_that_never_comes_back_is_one_error_in_the_end(world: World) -> None:
    gated(world)
    run, _ = await begin(world.replica())
    reader = asyncio.ensure_future(follow(world.replica(), run.id))
    await until(lambda: world.store.calls["read"] > 2)

    world.store.away = True
    entries, ending = await reader

    assert entries == []
    assert ending.error == RunError.of(StoreUnavailable())


async def test_another_users_run_cannot_be_followed_elsewhere_either(world: World) -> None:
    gated(world)
    run, _ = await begin(world.replica(), a_caller(user="bob"))

    with pytest.raises(SluiceError) as refusal:
        await follow(world.replica(), run.id)

    assert type(refusal.value) is UnknownCompletion
