"""RunStore: whatever happens in whatever order, memory and Redis give the same answers and keep the same runs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from adapters.redis.connection import RedisConnection
from domain.errors import CompletionShared
from domain.ports import RunStore
from domain.runs import Appended, Claim, Ending, Run, Status, Survey, is_terminal
from tests.contracts.runs import ENDINGS, FAILED, WORK, entries, new_run, store_on
from tests.fakes import FrozenClock
from tests.redis_server import RedisServer

Verb: TypeAlias = Callable[[RunStore], Awaitable[object]]

#: The two shards in which everything happens: a crowded one and another.
SHARDS = (3, 4)
#: In seconds. Only leases and waiting go by the clock of the test; what lapses in Redis lapses by Redis's own.
LEASE, QUEUE, KEPT = 8.0, 30.0, 1e6


class BothStores(RuleBasedStateMachine):
    """Does the same to both stores, and compares."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: RedisConnection, server: RedisServer) -> None:
        super().__init__()
        server.command("FLUSHALL")
        self.loop = loop
        # Steps of quarters of a second are exact in doubles and in whole milliseconds alike.
        self.clock = FrozenClock(1_800_000_000.25)
        self.memory, self.redis = (
            store_on(each, self.clock, lease=LEASE, queue=QUEUE, log_kept=KEPT, kept=KEPT)
            for each in (None, connection)
        )
        self.runs = list[Run]()
        self.endings = dict[str, Run]()
        self.last: Verb | None = None

    def both(self, verb: Verb) -> Any:
        """The answer of both stores to the same call."""
        self.last = verb
        expected, answer = self.loop.run_until_complete(self._both(verb))
        assert answer == expected
        return expected

    async def _both(self, verb: Verb) -> tuple[object, object]:
        return await verb(self.memory), await verb(self.redis)

    def now(self, number: int) -> Run:
        """A run as it stands, in memory."""
        run = self.loop.run_until_complete(self.memory.get(self.runs[number % len(self.runs)].id))
        assert run is not None
        return run

    # --- steps ----------------------------------------------------------------------------------------------------

    @initialize()
    def somebody_waits(self) -> None:
        self.begin(Status.QUEUED, SHARDS[0], "acme", work=True)

    @precondition(lambda self: len(self.runs) < 8)
    @rule(
        status=st.sampled_from([Status.QUEUED, Status.QUEUED, Status.IN_PROGRESS]),
        shard=st.sampled_from([SHARDS[0], *SHARDS]),
        tenant=st.sampled_from(["acme", "acme", "globex", "initech"]),
        work=st.sampled_from([True, True, True, False]),
    )
    def begin(self, status: Status, shard: int, tenant: str, *, work: bool) -> None:
        run = new_run(status if work else Status.IN_PROGRESS, shard=shard, tenant=tenant)
        self.runs.append(run)
        self.both(lambda store: store.begin(run, WORK if work else None))

    @rule(shard=st.sampled_from(SHARDS))
    def take(self, shard: int) -> None:
        self.both(lambda store: store.take(shard))

    @rule(
        number=st.integers(0, 7),
        fence=st.sampled_from([0, 0, 0, 0, 0, -1, 1]),
        base=st.sampled_from([0, 0, 0, 0, -1, -3, 1]),
        count=st.integers(0, 4),
        ending=st.sampled_from([None, None, None, None, *ENDINGS]),
    )
    def append(self, number: int, fence: int, base: int, count: int, ending: Ending | None) -> None:
        run = self.now(number)
        start = max(run.tail + base, 0)
        said = [b"%d " % run.attempt + entry for entry in entries(start + 1, start + count)]
        self.both(lambda store: self._append(store, run, fence, start, said, ending))

    @rule(number=st.integers(0, 7))
    def seize(self, number: int) -> None:
        run = self.now(number)
        self.both(lambda store: store.seize(run.id))

    @rule()
    def reap(self) -> None:
        """Seize all that is overdue, and let some of it wait again."""
        for shard in SHARDS:
            for number, run_id in enumerate(self._overdue(shard)):
                self._reap(run_id, again=number % 2 == 1)

    def _overdue(self, shard: int) -> tuple[str, ...]:
        survey: Survey = self.both(lambda store: store.survey(shard))
        return survey.overdue

    # Fences grow in both stores, but not alike: each is asked for its own.

    async def _append(
        self, store: RunStore, run: Run, off: int, base: int, said: Sequence[bytes], ending: Ending | None
    ) -> Appended:
        known = await store.get(run.id) or run
        return await store.append(run.id, known.fence + off, base, said, ending)

    async def _requeue(self, store: RunStore, run: Run, off: int = 0) -> bool:
        known = await store.get(run.id) or run
        return await store.requeue(run.id, known.fence + off)

    def _reap(self, run_id: str, *, again: bool) -> None:
        claim: Claim | None = self.both(lambda store: store.seize(run_id))
        assert claim is not None
        run = claim.run
        if again:
            assert self.both(lambda store: self._requeue(store, run))
        else:
            self.both(lambda store: self._append(store, run, 0, run.tail, (), FAILED))

    @rule(number=st.integers(0, 7), fence=st.sampled_from([0, 0, 0, -1, 1]))
    def requeue(self, number: int, fence: int) -> None:
        run = self.now(number)
        self.both(lambda store: self._requeue(store, run, fence))

    @rule(number=st.integers(0, 7))
    def cancel(self, number: int) -> None:
        run = self.now(number)
        self.both(lambda store: self._cancel(store, run))

    async def _cancel(self, store: RunStore, run: Run) -> Claim | None:
        try:
            return await store.cancel(run.id)
        except CompletionShared:
            return None

    @rule(number=st.integers(0, 7))
    def join(self, number: int) -> None:
        run = self.now(number)
        self.both(lambda store: store.join(run.id))

    @rule()
    def repeat(self) -> None:
        """The reply to the last call was lost."""
        if self.last is not None:
            self.both(self.last)

    @rule(number=st.integers(0, 7), after=st.integers(0, 12), limit=st.integers(1, 5))
    def read(self, number: int, after: int, limit: int) -> None:
        run = self.now(number)
        self.both(lambda store: store.read(run.id, after, limit))

    @rule(worker=st.sampled_from("abc"), slots=st.integers(0, 5), quarters=st.integers(0, 80))
    def enlist(self, worker: str, slots: int, quarters: int) -> None:
        self.both(lambda store: store.enlist(worker, slots, quarters / 4))

    @rule(quarters=st.sampled_from([1, 10, 11, 21, 22, 32, 121]))
    def time_passes(self, quarters: int) -> None:
        self.clock.advance(quarters / 4)

    # --- what is true after each ----------------------------------------------------------------------------------

    @invariant()
    def both_keep_the_same(self) -> None:
        self.loop.run_until_complete(self._compare())

    async def _compare(self) -> None:
        for run in self.runs:
            part = await self.memory.read(run.id, 0)
            assert await self.redis.read(run.id, 0) == part
            assert await self.redis.result(run.id) == await self.memory.result(run.id)
            assert part is not None
            assert len(part.entries) == part.run.tail
            assert {entry.split()[0] for entry in part.entries} <= {b"%d" % part.run.attempt}
            self._ended_once(part.run)
        for shard in SHARDS:
            assert await self.redis.survey(shard) == await self.memory.survey(shard)

    def _ended_once(self, run: Run) -> None:
        if run.id in self.endings:
            first = self.endings[run.id]
            assert (run.status, run.tail, run.usage, run.error) == (first.status, first.tail, first.usage, first.error)
        elif is_terminal(run.status):
            self.endings[run.id] = run


@pytest.mark.slow
def test_memory_and_redis_agree_after_every_step(server: RedisServer) -> None:
    with asyncio.Runner() as runner:
        connection = RedisConnection(server.url, timeout=5.0, deadline=10.0)
        try:
            run_state_machine_as_test(
                lambda: BothStores(runner.get_loop(), connection, server),  # type: ignore[arg-type] # anything that makes one will do
                settings=settings(
                    max_examples=80, stateful_step_count=40, deadline=None, suppress_health_check=[*HealthCheck]
                ),
            )
        finally:
            runner.run(connection.aclose())
