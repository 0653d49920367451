"""What this process executes now: its runs, their tails, and the tasks that carry them to their ends."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from domain.completions.execution import Execution, Handover, Job
from domain.completions.production import Production
from domain.completions.reading import Reading
from domain.completions.tail import Tail
from domain.errors import CompletionCancelled, GenerationInterrupted
from domain.ports import CANCELS, Clock, Doorbell

T = TypeVar("T")

#: Seconds that a completion is reckoned to take before one has been seen.
_TYPICAL_SECONDS = 2.0


class Executions:
    """Executes runs and holds on to them until they have ended, whoever leaves meanwhile."""

    def __init__(self, production: Production, reading: Reading, doorbell: Doorbell, clock: Clock) -> None:
        self._production = production
        self._reading = reading
        self._doorbell = doorbell
        self._clock = clock
        self._running: dict[str, Execution] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._recent: dict[str, deque[float]] = {}

    def __iter__(self) -> Iterator[Execution]:
        return iter(tuple(self._running.values()))

    def __len__(self) -> int:
        return len(self._running)

    def get(self, run_id: str) -> Execution | None:
        return self._running.get(run_id)

    def begin(self, job: Job, *, is_kept: bool = True) -> Execution:
        """Execute a run from now on. Unless its record is kept already, somebody has to say what becomes of that."""
        execution = self._register(job)
        if not is_kept:
            execution.refusal = asyncio.get_running_loop().create_future()
        self.hold_on(self._carry(execution))
        return execution

    async def execute(self, job: Job) -> None:
        """Execute a run to its end, or to where another process goes on with it."""
        await self._carry(self._register(job))

    def _register(self, job: Job) -> Execution:
        execution = self._production.execution(job, Tail(job.run))
        self._running[job.run.id] = execution
        return execution

    async def _carry(self, execution: Execution) -> None:
        run, began = execution.job.run, self._clock()
        try:
            handover = await self._production.produce(execution)
            if handover is None:
                self._note_duration(run.model, self._clock() - began)
            else:
                self._reading.take_over(run.id, execution.tail)
        finally:
            # It may have been lost, and have come back here as another attempt.
            if self._running.get(run.id) is execution:
                del self._running[run.id]

    def typical_seconds(self, model: str) -> float:
        """How long a completion of this model took of late."""
        recent = self._recent.get(model)
        return sum(recent) / len(recent) if recent else _TYPICAL_SECONDS

    async def uninterrupted(self, work: Coroutine[Any, Any, T]) -> T:
        """The outcome of ``work``, which goes on when whoever waits for it leaves."""
        task = self.hold_on(work)
        # When the caller has left, nobody asks for the outcome any more.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)

    def hold_on(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Carry ``work`` to its end: the event loop alone might forget it."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def heed_cancels(self) -> Callable[[], None]:
        """Stop runs for whose cancellation a bell rings; what is returned undoes it."""

        def ring(run_id: str) -> None:
            execution = self._running.get(run_id)
            if execution is not None:
                execution.stop(CompletionCancelled())

        self._doorbell.subscribe(CANCELS, ring)
        return lambda: self._doorbell.unsubscribe(CANCELS, ring)

    async def finish(self, seconds: float, grace: float) -> None:
        """Let what is under way finish for so many seconds, then stop the rest, which has ``grace`` for its ends.

        What came through the queue waits for another worker; a stream ends with an error of its own.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self._tasks and loop.time() < until:
            # A request that is being admitted now becomes a run of its own, which has the same time to finish.
            await asyncio.wait(self._tasks, timeout=max(until - loop.time(), 0.0))
        until = loop.time() + grace
        while self._tasks and loop.time() < until:
            for execution in self:
                execution.stop(Handover.REQUEUE if execution.job.run.queued else GenerationInterrupted())
            await asyncio.wait(self._tasks, timeout=min(0.1, until - loop.time()))

    def _note_duration(self, model: str, seconds: float) -> None:
        self._recent.setdefault(model, deque(maxlen=50)).append(seconds)
