"""Runs as the surfaces see them: begin one, queue one, join one, find one, follow one, cancel one."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

from domain.chat import ChatRequest, Completion
from domain.completions.admission import Admission
from domain.completions.execution import Job
from domain.completions.executions import Executions
from domain.completions.joining import Joining
from domain.completions.keeping import Housekeeping
from domain.completions.naming import fingerprint
from domain.completions.orders import Order, Orders, Started
from domain.completions.patience import insist
from domain.completions.production import Production, RunLimits
from domain.completions.queue import JobQueue
from domain.completions.reading import Reading
from domain.completions.sharing import Sharing
from domain.completions.tail import Tail
from domain.errors import (
    CompletionCancelled,
    GenerationInterrupted,
    OutboxFailed,
    ShuttingDown,
    SluiceError,
    StreamMismatch,
    TenantForbidden,
    UnknownCompletion,
)
from domain.facts import AdmissionEnded, CompletionRequested, RunJoined
from domain.ids import is_id
from domain.ports import Clock, Doorbell, Entropy, Journal, RunNames, RunStore, TenantStore
from domain.routing import Router
from domain.runs import (
    ULID_ENTROPY,
    Claim,
    Cursor,
    Ending,
    Run,
    Status,
    as_view,
    conversation_shard,
    first_run_of,
    is_run_id,
    is_terminal,
    require_place,
    ulid,
    with_shard,
)
from domain.tenants import Caller, TenantId, UserId

#: Seconds for which the beginning of a run is repeated while the store does not answer.
_BEGIN_PATIENCE = 1.0

#: Seconds for which a run is asked for again that the store did not tell of.
_FIND_PATIENCE = 0.4


@dataclass(frozen=True, slots=True)
class Occupation:
    """What is going on: runs that this process executes; of all processes, jobs that wait, for how many seconds the
    next one has, and slots for them; ``settlements`` that the ledger could not be told of here."""

    executing: int
    waiting: int
    waited_seconds: float
    slots: int
    settlements: int


class CompletionRuns:
    """Begins runs, lets them be followed from here or from elsewhere, and works off the queue."""

    def __init__(
        self,
        admission: Admission,
        production: Production,
        tenants: TenantStore,
        store: RunStore,
        names: RunNames,
        doorbell: Doorbell,
        sharing: Sharing,
        router: Router,
        journal: Journal,
        clock: Clock,
        entropy: Entropy,
        limits: RunLimits,
    ) -> None:
        self._production = production
        self._tenants = tenants
        self._store = store
        self._router = router
        self._sharing = sharing
        self._journal = journal
        self._clock = clock
        self._entropy = entropy
        self._limits = limits
        self._reading = Reading(store, doorbell, limits)
        self._executions = Executions(production, self._reading, doorbell, clock)
        self._queue = JobQueue(store, doorbell, limits)
        joining = Joining(store, names, self._known, self._present, limits.kept_seconds)
        self._orders = Orders(
            admission, production, store, joining, self._executions, self._queue, router, clock, limits
        )
        self._housekeeping = Housekeeping(
            entropy(8).hex(), store, production, self._executions, self._queue, journal, limits
        )
        self._background: list[asyncio.Task[None]] = []
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
        """Admit a request and begin its run, or join the one that answers it already.

        A caller who leaves meanwhile does not undo it: the run goes on, is paid for and can be fetched.

        Raises:
            SluiceError: what admission refuses, IdempotencyKeyReused or ShuttingDown.
        """
        return await self._answer(caller, request, order, Status.IN_PROGRESS)

    async def enqueue(self, caller: Caller, request: ChatRequest, order: Order) -> Started:
        """Admit a request and queue its run, or join the one that answers it already.

        Raises:
            SluiceError: what admission refuses, IdempotencyKeyReused, QueueFull or ShuttingDown.
        """
        return await self._answer(caller, request, order, Status.QUEUED)

    async def _answer(self, caller: Caller, request: ChatRequest, order: Order, status: Status) -> Started:
        if self._draining:
            raise ShuttingDown
        if self._production.settling.outbox.is_full:
            raise OutboxFailed
        started = await self._executions.uninterrupted(self._admitted(caller, request, order, status))
        if started.replayed or started.cache in ("hit", "shared"):
            self._journal.record(_joined(started))
        return started

    async def _admitted(self, caller: Caller, request: ChatRequest, order: Order, status: Status) -> Started:
        if order.span is None:
            return await self._orders.answer(caller, request, order, status)
        began, code = self._clock(), None
        try:
            return await self._orders.answer(caller, request, order, status)
        except SluiceError as error:
            code = error.code
            raise
        finally:
            seconds, span = self._clock() - began, order.span.child("admission")
            self._journal.record(AdmissionEnded(order.run_id, caller.tenant.id, seconds, span, code))

    def occupation(self) -> Occupation:
        """What is going on now."""
        return Occupation(
            executing=len(self._executions),
            waiting=self._queue.waiting,
            waited_seconds=self._queue.waited(self._clock()),
            slots=self._queue.slots,
            settlements=len(self._production.settling.outbox.waiting()),
        )

    # --- executing what was queued ----------------------------------------------------------------------------

    async def work(self) -> None:
        """Begin to look after this replica's runs, and to take queued ones."""
        undo = self._executions.heed_cancels()
        housekeeping = asyncio.ensure_future(self._housekeeping.keep())
        housekeeping.add_done_callback(lambda _: undo())
        # Held on to, so that a run which is being claimed when the process is to end is not left behind.
        worker = self._executions.hold_on(self._queue.work(self._execute, self._executions.hold_on))
        sharing = asyncio.ensure_future(self._sharing.keep())
        self._background = [housekeeping, worker, sharing]

    async def _execute(self, claim: Claim) -> None:
        try:
            job = await self._ready(claim)
        except SluiceError as error:
            await self._production.abandon(Job(claim.run, claim.work), Tail(claim.run), error)
            return
        await self._executions.execute(job)

    async def _ready(self, claim: Claim) -> Job:
        """The job of a claimed run, with the tenant and the provider key as they are now.

        Raises:
            SluiceError: it cannot be executed any more, or nobody wants it to be.
        """
        run, work = claim.run, claim.work
        if run.cancelling:
            raise CompletionCancelled
        if work is None:
            raise GenerationInterrupted
        tenant = await insist(lambda: self._tenants.get(run.tenant), self._limits.lease_seconds / 2)
        if tenant is None:
            raise TenantForbidden
        caller = Caller(tenant, run.group, run.user)
        # The fallbacks of the one that was planned: its provider is named in the work, whoever named it.
        route = self._router.route(caller, work.request, named=work.named)
        route = self._router.fitting(route, work.prompt_tokens, work.request)
        return Job(run, work, tenant, self._router.with_keys(route, tenant))

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
        # A crowd that comes back at the same moment waits its turn; a browser would take a refusal for the end.
        run = self._known(run_id) or await insist(lambda: self._store.get(run_id), _FIND_PATIENCE)
        if run is None or not run.readable_by(tenant_id, user):
            raise UnknownCompletion
        return await self._present(run)

    async def find_stream(self, run_id: str, caller: Caller, request: ChatRequest) -> Run:
        """The caller's run of this id, which answers the same request.

        Raises:
            UnknownCompletion: there is none, or it is another's.
            StreamMismatch: it answers another request.
        """
        run = await self.find(run_id, caller.tenant.id, caller.user)
        if run.fingerprint != fingerprint(request):
            raise StreamMismatch
        return run

    def _known(self, run_id: str) -> Run | None:
        execution = self._executions.get(run_id)
        if execution is None or execution.tail.ending is not None:
            return None
        return replace(execution.tail.run, tail=len(execution.tail.entries))

    async def _present(self, run: Run) -> Run:
        """The run as it stands; a view stands where its source does."""
        if run.source is None or is_terminal(run.status):
            return run
        source = self._known(run.source) or await self._store.get(run.source)
        if source is None:
            raise UnknownCompletion
        return as_view(run, source)

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
        execution = self._executions.get(run.log_id)
        if execution is None or run.replayed or not execution.job.run.live:
            # An answer that comes whole has no log: readers get chunks that are made of it, once it is there.
            async with self._reading.following(run, cursor) as tail:
                yield tail
            return
        known = replace(execution.tail.run, tail=len(execution.tail.entries))
        if cursor.seq > known.tail or (cursor.attempt or 0) > known.attempt:
            # A reader who was elsewhere may have seen more than is known here, where the store has not answered yet,
            # or where nobody knows yet that the run was taken over.
            async with self._reading.following(known, cursor) as tail:
                yield tail
            return
        require_place(known, cursor)
        with execution.tail.read() as tail:
            yield tail

    async def completion(self, run: Run) -> Completion | None:
        """The finished answer of a run that completed."""
        return await self._store.result(run.log_id)

    # --- cancelling -------------------------------------------------------------------------------------------

    async def cancel(self, run: Run, seconds: float) -> Run:
        """Stop a run, and wait up to so many seconds until it has ended; the run as it stands then.

        A run that has ended stays as it is.

        Raises:
            CompletionShared: others wait for its answer.
            StoreUnavailable: the store did not answer; it is safe to call again.
        """
        return await self._executions.uninterrupted(self._cancel(run, seconds))

    async def _cancel(self, run: Run, seconds: float) -> Run:
        if is_terminal(run.status):
            return run
        if run.source is not None:
            return await self._leave(run)
        claim = await self._store.cancel(run.id)
        if claim is not None:
            await self._production.abandon(Job(claim.run, claim.work), Tail(claim.run), CompletionCancelled())
        else:
            execution = self._executions.get(run.id)
            if execution is not None:
                execution.stop(CompletionCancelled())
            async with self.following(run, Cursor()) as tail:
                await tail.ended(seconds)
        ended = await self._store.get(run.id)
        if ended is None:
            raise UnknownCompletion
        return ended

    async def _leave(self, view: Run) -> Run:
        """A view that is cancelled costs nobody anything; what it showed goes on for the others."""
        await self._store.append(view.id, view.fence, 0, (), Ending(Status.CANCELLED))
        left = await self._store.get(view.id)
        if left is None:
            raise UnknownCompletion
        return left

    # --- the end of the process -------------------------------------------------------------------------------

    async def drain(self, seconds: float) -> None:
        """Admit and claim nothing more, let runs finish for so many seconds, then stop the rest."""
        self._draining = True
        self._queue.stop()
        await self._executions.finish(seconds, self._limits.store_grace)
        for task in self._background:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*self._background, return_exceptions=True)


def _joined(started: Started) -> RunJoined:
    run = started.run
    if started.replayed:
        # Whoever began it has paid for it.
        return RunJoined(run.id, run.tenant, run.provider, run.model, "replayed")
    return RunJoined(run.id, run.tenant, run.provider, run.model, started.cache or "", run.charged or 0)
