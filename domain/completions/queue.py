"""Queued runs: each process that has free slots takes the run whose turn it is, whoever queued it."""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeAlias

from domain.completions.production import RunLimits
from domain.errors import SluiceError
from domain.ports import JOBS, Doorbell, RunStore
from domain.runs import SHARDS, Claim, Survey, shard_of, ulid_time

#: Seconds after which a worker looks for runs of which no bell told it.
_POLL = 1.0

#: Executes a claimed run to its end.
Execute: TypeAlias = Callable[[Claim], Awaitable[None]]
#: Carries work to its end in a task of its own.
HoldOn: TypeAlias = Callable[[Coroutine[Any, Any, None]], Any]


class JobQueue:
    """What waits, as this process knows it, and the worker that takes from it.

    ``slots`` is how many queued runs all workers together execute at once.
    """

    def __init__(self, store: RunStore, doorbell: Doorbell, limits: RunLimits) -> None:
        self._store = store
        self._doorbell = doorbell
        self._limits = limits
        self._surveys: dict[int, Survey] = {}
        self._stale: set[int] = set()
        self._joined: Counter[int] = Counter()
        self._wake = asyncio.Event()
        self._free = asyncio.Semaphore(limits.job_slots)
        self._stopping = False
        self.slots = limits.job_slots

    @property
    def waiting(self) -> int:
        return sum(survey.waiting for survey in self._surveys.values()) + self._joined.total()

    def waited(self, now: float) -> float:
        """For how many seconds the run has waited whose turn is next; of all shards, the longest."""
        firsts = [ulid_time(survey.first) for survey in self._surveys.values() if survey.first is not None]
        return max(now - min(firsts), 0.0) if firsts else 0.0

    def joined(self, run_id: str) -> None:
        """Take note of a run that joined from here, until somebody looks again."""
        self._joined[shard_of(run_id)] += 1

    def learn(self, shard: int, survey: Survey) -> None:
        """Take note of what somebody saw in a shard."""
        self._surveys[shard] = survey
        del self._joined[shard]
        self._stale.discard(shard)
        if survey.waiting:
            self._wake.set()

    def eta(self, typical_seconds: float) -> int:
        """Seconds until a run that joins now is done: its rank over the slots, times what one takes of late."""
        rounds = self.waiting // max(self.slots, 1) + 1
        return max(1, math.ceil(rounds * typical_seconds))

    async def work(self, execute: Execute, hold_on: HoldOn) -> None:
        """Take runs while there are free slots, until ``stop``."""
        if not self._limits.job_slots:
            # Waiting for one would outlast the process.
            return
        self._doorbell.subscribe(JOBS, self._ring)
        try:
            while not self._stopping:
                await self._free.acquire()
                claim = await self._next()
                if claim is None:
                    self._free.release()
                    return
                hold_on(self._execute(execute, claim))
        finally:
            self._doorbell.unsubscribe(JOBS, self._ring)

    def stop(self) -> None:
        """Take no more runs; one that is being claimed now is executed."""
        self._stopping = True
        self._wake.set()

    async def _execute(self, execute: Execute, claim: Claim) -> None:
        try:
            await execute(claim)
        finally:
            self._free.release()

    async def _next(self) -> Claim | None:
        """The next claimed run; None when the worker is to stop."""
        while not self._stopping:
            try:
                claim = await self._try()
            except SluiceError:
                # The store is away. Who was claimed without our knowing is found when its lease has lapsed.
                claim = None
            if claim is not None:
                return claim
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL):
                    await self._wake.wait()
            self._wake.clear()
        return None

    async def _try(self) -> Claim | None:
        while True:
            for shard in tuple(self._stale):
                self.learn(shard, await self._store.survey(shard))
            turns = {shard: survey.turn for shard, survey in self._surveys.items() if survey.turn is not None}
            if not turns or self._stopping:
                return None
            shard = min(turns, key=lambda it: (turns[it], it))
            claim = await self._store.take(shard)
            left = self._surveys[shard].waiting - 1
            self._surveys[shard] = Survey(left, turns[shard]) if left > 0 and claim is not None else Survey()
            # Who is first now, and whether anybody is, has to be asked again.
            self._stale.add(shard)
            if claim is not None:
                return claim

    def _ring(self, message: str) -> None:
        if message.isdecimal() and int(message) < SHARDS:
            self._stale.add(int(message))
            self._wake.set()
