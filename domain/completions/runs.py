"""Runs as the surfaces see them: begin one, queue one, find one, follow one."""

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from domain.chat import ChatRequest, Completion
from domain.completions.admission import Admission, Admitted
from domain.completions.production import Job, Production, RunLimits
from domain.completions.reading import Reading
from domain.completions.tail import Tail
from domain.errors import GenerationInterrupted, QueueFull, QueueTimeout, ShuttingDown, SluiceError, UnknownCompletion
from domain.facts import CompletionRequested
from domain.ids import is_id
from domain.ports import Clock, Entropy, Journal, RunStore
from domain.rate import Verdict
from domain.runs import (
    ULID_ENTROPY,
    Cursor,
    Run,
    Status,
    conversation_shard,
    first_run_of,
    is_run_id,
    require_place,
    ulid,
    with_shard,
)
from domain.tenants import Caller, TenantId, UserId

T = TypeVar("T")

#: Seconds that a queued completion is reckoned to take before one has been seen.
_TYPICAL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Order:
    """How a surface wants a completion dressed and run.

    ``live`` asks the provider for a stream; ``extras`` keeps what providers send beyond OpenAI's fields.
    ``answer_id`` is the id to answer with, where it is not the run's; ``conversation`` the one that the client gave.
    """

    run_id: str
    request_id: str
    live: bool
    extras: bool = True
    answer_id: str | None = None
    conversation: str | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """A run that was begun or queued; ``eta`` is in seconds, for a queued one."""

    run: Run
    tail: Tail
    verdict: Verdict
    eta: int = 0


class CompletionRuns:
    """Begins runs, holds on to them until they have ended, and lets them be followed from here or from elsewhere."""

    def __init__(
        self,
        admission: Admission,
        production: Production,
        store: RunStore,
        journal: Journal,
        clock: Clock,
        entropy: Entropy,
        limits: RunLimits,
    ) -> None:
        self._admission = admission
        self._production = production
        self._store = store
        self._journal = journal
        self._clock = clock
        self._entropy = entropy
        self._limits = limits
        self._reading = Reading(store, clock, limits)
        self._tails: dict[str, Tail] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._slots = asyncio.Semaphore(limits.job_slots)
        self._queued = 0
        self._recent: deque[float] = deque(maxlen=50)
        self._draining = False

    # --- beginning --------------------------------------------------------------------------------------------

    def announce(self, caller: Caller, prefix: str, conversation: str | None = None) -> str:
        """The id that the caller's run will have, told to the journal before anything else can go wrong."""
        run_id = f"{prefix}-{ulid(self._clock(), self._entropy(ULID_ENTROPY))}"
        if conversation is not None:
            run_id = with_shard(run_id, conversation_shard(caller.tenant.id, caller.user, conversation))
        self._journal.record(CompletionRequested(caller.tenant.id, run_id))
        return run_id

    async def start(self, caller: Caller, request: ChatRequest, order: Order) -> Started:
        """Admit a request and begin its run.

        A caller who leaves meanwhile does not undo it: the run goes on, is paid for and can be fetched.

        Raises:
            SluiceError: what admission refuses, or ShuttingDown.
        """
        return await self._uninterrupted(self._start(caller, request, order))

    async def enqueue(self, caller: Caller, request: ChatRequest, order: Order) -> Started:
        """Admit a request and queue its run; it begins when a slot is free.

        Raises:
            SluiceError: what admission refuses, QueueFull or ShuttingDown.
        """
        return await self._uninterrupted(self._enqueue(caller, request, order))

    async def _start(self, caller: Caller, request: ChatRequest, order: Order) -> Started:
        job, tail = await self._admit(caller, request, order, Status.IN_PROGRESS)
        self._hold_on(self._execute(job, tail))
        return Started(job.run, tail, job.admitted.verdict)

    async def _enqueue(self, caller: Caller, request: ChatRequest, order: Order) -> Started:
        if self._queued >= self._limits.queue_length:
            raise QueueFull
        eta = self._eta()
        # The place is taken before admission, which takes its time: others would find it free meanwhile.
        self._queued += 1
        try:
            job, tail = await self._admit(caller, request, order, Status.QUEUED)
        except BaseException:
            self._queued -= 1
            raise
        self._hold_on(self._wait_for_turn(job, tail))
        return Started(job.run, tail, job.admitted.verdict, eta)

    async def _admit(self, caller: Caller, request: ChatRequest, order: Order, status: Status) -> tuple[Job, Tail]:
        if self._draining:
            raise ShuttingDown
        admitted = await self._admission.admit(caller, request, order.run_id)
        run = self._record(caller, request, order, admitted, status)
        try:
            await self._store.begin(run)
        except SluiceError:
            await self._give_back(admitted)
            raise
        tail = self._tails[run.id] = Tail(run, live=order.live)
        return Job(run, caller, request, admitted, order.request_id, order.live), tail

    def _record(self, caller: Caller, request: ChatRequest, order: Order, admitted: Admitted, status: Status) -> Run:
        return Run(
            id=order.run_id,
            tenant=caller.tenant.id,
            group=admitted.account.group,
            user=caller.user,
            answer_id=order.answer_id or order.run_id,
            provider=admitted.target.provider.id,
            model=admitted.target.sent_model,
            created=int(self._clock()),
            extras=order.extras,
            include_usage=request.include_usage,
            conversation=order.conversation,
            status=status,
        )

    async def _give_back(self, admitted: Admitted) -> None:
        try:
            await self._production.ledger.release(admitted.account, admitted.hold.id)
        except SluiceError:
            # The store is away; the hold lapses by itself.
            return

    # --- executing --------------------------------------------------------------------------------------------

    async def _execute(self, job: Job, tail: Tail) -> None:
        started = self._clock()
        try:
            await self._production.produce(job, tail)
        finally:
            self._recent.append(self._clock() - started)
            self._tails.pop(job.run.id, None)

    async def _wait_for_turn(self, job: Job, tail: Tail) -> None:
        try:
            async with asyncio.timeout(self._limits.queue_seconds):
                await self._slots.acquire()
        except TimeoutError:
            self._queued -= 1
            await self._abandon(job, tail, QueueTimeout())
            return
        except asyncio.CancelledError:
            self._queued -= 1
            await self._abandon(job, tail, GenerationInterrupted())
            raise
        self._queued -= 1
        try:
            await self._execute_claimed(job, tail)
        finally:
            self._slots.release()

    async def _execute_claimed(self, job: Job, tail: Tail) -> None:
        try:
            run = await self._store.claim(job.run.id)
        except SluiceError as error:
            await self._abandon(job, tail, error)
            return
        except asyncio.CancelledError:
            await self._abandon(job, tail, GenerationInterrupted())
            raise
        if run is None:
            await self._abandon(job, tail, GenerationInterrupted())
            return
        tail.run = run
        await self._execute(replace(job, run=run), tail)

    async def _abandon(self, job: Job, tail: Tail, error: SluiceError) -> None:
        await self._production.abandon(job, tail, error)
        self._tails.pop(job.run.id, None)

    def _eta(self) -> int:
        """Seconds until a job that joins the queue now is done: its rank over the slots, times a recent duration."""
        typical = sum(self._recent) / len(self._recent) if self._recent else _TYPICAL_SECONDS
        rounds = self._queued // self._limits.job_slots + 1
        return max(1, math.ceil(rounds * typical))

    # --- reading ----------------------------------------------------------------------------------------------

    async def find(self, run_id: str, tenant_id: TenantId, user: UserId | None) -> Run:
        """The caller's run of this id, or the latest of the caller's conversation of this id.

        Raises:
            UnknownCompletion: there is none, or it is another's.
        """
        if not is_run_id(run_id):
            run_id = await self._latest(run_id, tenant_id, user)
        if not is_run_id(run_id):
            raise UnknownCompletion
        run = self._tails[run_id].run if run_id in self._tails else await self._store.get(run_id)
        if run is None or not run.readable_by(tenant_id, user):
            raise UnknownCompletion
        return run

    async def _latest(self, conversation: str, tenant_id: TenantId, user: UserId | None) -> str:
        if user is None or not is_id(conversation):
            raise UnknownCompletion
        latest = await self._store.latest(tenant_id, user, conversation)
        return latest or first_run_of(conversation)

    @asynccontextmanager
    async def following(self, run: Run, cursor: Cursor) -> AsyncGenerator[Tail, None]:
        """The tail of a run, here or on another replica, for a reader who has seen everything up to the cursor.

        Raises:
            GenerationRestarted, CursorAhead, StreamExpired: the cursor's place is not to be had.
        """
        local = self._tails.get(run.id)
        if local is not None and local.live:
            require_place(replace(local.run, tail=len(local.entries)), cursor)
            yield local
            return
        async with self._reading.following(run, cursor) as tail:
            yield tail

    async def completion(self, run: Run) -> Completion | None:
        """The finished answer of a run that completed."""
        local = self._tails.get(run.id)
        if local is not None and local.ending is not None:
            return local.ending.completion
        return await self._store.result(run.id)

    # --- the end of the process -------------------------------------------------------------------------------

    async def drain(self, seconds: float) -> None:
        """Admit nothing more, let runs finish for so many seconds, then end the rest with an error of their own."""
        self._draining = True
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self._tasks:
            # A request that is being admitted now becomes a run of its own, which has the same time to finish.
            await asyncio.wait(self._tasks, timeout=max(until - loop.time(), 0.0))
            if loop.time() >= until:
                break
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._limits.store_grace)

    async def _uninterrupted(self, work: Coroutine[Any, Any, T]) -> T:
        task = self._hold_on(work)
        # When the caller has left, nobody asks for the outcome any more.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)

    def _hold_on(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
