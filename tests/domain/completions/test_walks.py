"""Random walks: whatever happens in whatever order, a run ends once, is paid for once, and readers see one story."""

import asyncio
import random
from collections.abc import AsyncGenerator

import anyio
import pytest

from domain.chat import Chunk, Completion
from domain.errors import GenerationRestarted, StoreUnavailable
from domain.facts import RunEnded
from domain.ports import Call
from domain.runs import Cursor, Ending, Run, RunError, Status, is_terminal
from tests.builders import a_chunk
from tests.domain.completions.world import INITIAL, LEASE, Replica, World, enqueue, outcome, settled, start
from tests.fakes import ScriptedProvider

pytestmark = pytest.mark.anyio

STEPS = 40
RESTARTED = RunError.of(GenerationRestarted())
#: Shorter than a store may be away, for owners as for readers.
OUTAGE = 4.0


class Chatterbox(ScriptedProvider):
    """Says one word more whenever it may, other words in each call, and ends when it may not go on for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.granted = 0
        self.final = False
        self.more = asyncio.Condition()

    async def create_chat_completion(self, call: Call) -> Completion:
        raise AssertionError("only streams are asked for")

    async def stream_chat_completion(self, call: Call) -> AsyncGenerator[tuple[Chunk, ...], None]:
        self._arrive(call)
        number, said, before = len(self.calls), 0, self.granted
        try:
            while True:
                async with self.more:
                    while not self.final and self.granted <= before + said:
                        await self.more.wait()
                if self.final:
                    yield (a_chunk(finish="stop"),)
                    return
                said += 1
                yield (a_chunk(f"{number}-{said} "),)
        finally:
            self.open -= 1

    async def say(self, words: int) -> None:
        async with self.more:
            self.granted += words
            self.more.notify_all()

    async def finish(self) -> None:
        async with self.more:
            self.final = True
            self.more.notify_all()


class Reader:
    """A client that comes back wherever it can until it has been told how the run ended."""

    def __init__(self, run: Run, ids: dict[tuple[int, int], bytes]) -> None:
        self.run = run
        self.ids = ids
        self.seen: list[bytes] = []
        self.attempt: int | None = None
        self.end: Ending | GenerationRestarted | None = None
        self.where: Replica | None = None
        self.task: asyncio.Task[None] | None = None

    def attach(self, replica: Replica) -> None:
        self.drop()
        self.where = replica
        self.task = asyncio.ensure_future(self._read(replica))

    def drop(self) -> None:
        if self.task is not None:
            if self.task.done():
                self.task.result()
            self.task.cancel()
        self.task = self.where = None

    async def _read(self, replica: Replica) -> None:
        try:
            run = await replica.find(self.run.id, "acme", "ann")
            async with replica.following(run, Cursor(len(self.seen), self.attempt)) as tail:
                while self.end is None:
                    await tail.grown(len(self.seen))
                    for entry in tail.entries[len(self.seen) :]:
                        self.seen.append(entry)
                        self.attempt = tail.run.attempt
                        known = self.ids.setdefault((tail.run.attempt, len(self.seen)), entry)
                        assert known == entry, "two events under one id"
                    self.end = tail.ending
        except GenerationRestarted as error:
            self.end = error
        except StoreUnavailable:
            # It comes back later.
            return


class Walk:
    """One run, some replicas and some readers, to whom things happen."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.world = World()
        self.world.store.turns = self.dice.randint(0, 2)
        self.provider = Chatterbox()
        self.world.provider = self.provider
        self.ids: dict[tuple[int, int], bytes] = {}
        self.replicas: list[Replica] = []
        self.readers: list[Reader] = []
        self.ended: Run | None = None
        self.history: list[str] = []

    async def begin(self) -> None:
        for _ in range(3):
            self.replicas.append(await self.world.worker())
        self.queued = self.dice.random() < 0.5
        self.run = (await (enqueue if self.queued else start)(self.replicas[0])).run

    async def step(self) -> None:
        steps = {
            self.speak: 8, self.attach: 6, self.drop: 4, self.kill: 1, self.stop: 1, self.go_on: 2, self.wait: 3,
            self.lapse: 1, self.lose_replies: 2, self.outage: 1, self.lose_bells: 1, self.cancel: 0.3,
            self.finish: 0.3, self.breathe: 6,
        }  # fmt: skip
        (step,) = self.dice.choices(list(steps), list(steps.values()))
        self.history.append(step.__name__)
        await step()
        await self.check()

    # --- what happens ---------------------------------------------------------------------------------------------

    async def speak(self) -> None:
        await self.provider.say(self.dice.randint(1, 3))

    async def finish(self) -> None:
        await self.provider.finish()

    async def attach(self) -> None:
        if len(self.readers) < 8 and self.dice.random() < 0.5:
            self.readers.append(Reader(self.run, self.ids))
        if self.readers:
            reader = self.dice.choice(self.readers)
            if reader.end is None:
                reader.attach(self.dice.choice(self.replicas))

    async def drop(self) -> None:
        if self.readers:
            self.dice.choice(self.readers).drop()

    async def kill(self) -> None:
        dying = self.dice.choice(self.replicas)
        dying.process.kill()
        self.replicas.remove(dying)
        self.replicas.append(await self.world.worker())
        for reader in self.readers:
            if reader.where is dying:
                reader.drop()

    async def stop(self) -> None:
        self.dice.choice(self.replicas).process.stop()

    async def go_on(self) -> None:
        for replica in self.replicas:
            replica.process.go_on()

    async def breathe(self) -> None:
        await settled(self.dice.randint(1, 20))

    async def wait(self) -> None:
        await asyncio.sleep(self.dice.random() * 3)

    async def lapse(self) -> None:
        await asyncio.sleep(LEASE + 3.0)

    async def lose_replies(self) -> None:
        method = self.dice.choice(["append", "take", "seize", "requeue", "read", "cancel", "get"])
        self.world.store.lose_replies(method, self.dice.randint(1, 2))
        if self.dice.random() < 0.3:
            self.world.ledger.lose_replies(self.dice.choice(["settle", "release"]), 2)

    async def outage(self) -> None:
        self.world.store.away = True
        await asyncio.sleep(self.dice.random() * OUTAGE)
        self.world.store.away = False

    async def lose_bells(self) -> None:
        self.world.bell.broken = not self.world.bell.broken

    async def cancel(self) -> None:
        replica = self.dice.choice([it for it in self.replicas if it.process.is_alive] or [await self.world.worker()])
        cancelling = asyncio.ensure_future(outcome(replica.cancel(self.run, 1.0)))
        await asyncio.sleep(0.0 if self.dice.random() < 0.5 else 1.0)
        del cancelling

    # --- what holds -----------------------------------------------------------------------------------------------

    async def check(self) -> None:
        record = await self.world.record(self.run)
        if self.ended is not None:
            assert record == self.ended, "an ending is for good"
        elif is_terminal(record.status):
            self.ended = record

    async def settle(self) -> None:
        """Nothing happens any more but time."""
        await self.go_on()
        await self.provider.finish()
        record = await self.world.over(self.run)
        for _ in range(20):
            for reader in self.readers:
                if reader.end is None:
                    reader.attach(self.dice.choice(self.replicas))
            await asyncio.sleep(2.0)
        await asyncio.gather(*(replica.drain(60.0) for replica in self.replicas))
        await self.check()
        await self.judge(record, await self.world.log(self.run))

    async def judge(self, record: Run, log: list[bytes]) -> None:
        attempts = {attempt for attempt, _ in self.ids}
        stories = {a: [self.ids[it] for it in sorted(self.ids) if it[0] == a] for a in attempts}
        for reader in self.readers:
            assert reader.end is not None, "a reader was never told how it ended"
            if isinstance(reader.end, Ending) and reader.end.error != RESTARTED:
                assert reader.seen == log
                assert (reader.end.status, reader.end.error) == (record.status, record.error)
            else:
                assert self.queued, "only who read a queued run may be told that it began again"
                assert reader.seen
                assert reader.attempt is not None
                assert reader.attempt < record.attempt or record.status is not Status.COMPLETED
                assert reader.seen == stories[reader.attempt][: len(reader.seen)]
        assert await self.world.balance() == INITIAL - (record.charged or 0)
        assert len(self.world.journal.of(RunEnded)) <= 1
        assert len(set(log)) == len(log)


@pytest.mark.parametrize("seed", range(200))
async def test_whatever_happens_a_run_has_one_story_one_ending_and_one_settlement(seed: int) -> None:
    walk = Walk(seed)
    await walk.begin()

    try:
        with anyio.fail_after(100_000):
            for _ in range(STEPS):
                await walk.step()
            await walk.settle()
    except BaseException as error:
        error.add_note(f"seed {seed}: {', '.join(walk.history)}")
        raise
