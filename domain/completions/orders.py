"""Orders: what a request becomes, a run of its own or a view of another's."""

from dataclasses import dataclass, replace

from domain.chat import ChatRequest
from domain.completions.admission import Admission, Admitted, Prepared
from domain.completions.execution import Job
from domain.completions.executions import Executions
from domain.completions.joining import Claimed, Joining
from domain.completions.naming import cache_name, fingerprint
from domain.completions.patience import insist
from domain.completions.production import Production, RunLimits
from domain.completions.queue import JobQueue
from domain.completions.tail import Tail
from domain.errors import GenerationInterrupted, QueueFull, SluiceError, StoreUnavailable
from domain.ports import Clock, RunStore
from domain.rate import Verdict
from domain.routing import Router, names_provider
from domain.runs import Run, Status, Work, as_view, is_terminal
from domain.spans import Span
from domain.tenants import Caller

#: Seconds for which the beginning of a run is repeated while the store does not answer.
_BEGIN_PATIENCE = 1.0


@dataclass(frozen=True, slots=True)
class Order:
    """How a surface wants a completion dressed and run.

    ``live`` asks the provider for a stream; ``extras`` keeps what providers send beyond OpenAI's fields. ``silence`` is
    how many seconds the client waits for anything to come, None for as long as it takes.
    ``answer_id`` is the id to answer with, where it is not the run's; ``conversation`` the one that the client gave.
    ``idempotency_key`` makes it the same order as any other with this key. ``span`` is the request's part of a trace,
    where traces are told.
    """

    run_id: str
    request_id: str
    live: bool
    extras: bool = True
    silence: float | None = None
    answer_id: str | None = None
    conversation: str | None = None
    idempotency_key: str | None = None
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """A run that answers an order: begun, queued or joined. ``eta`` is in seconds, for a queued one.

    ``tail`` is there for a run that was begun here just now. ``replayed`` says that an earlier order with the same
    Idempotency-Key began it; ``cache`` is where the answer for a cache key comes from: hit, shared or miss.
    """

    run: Run
    verdict: Verdict
    tail: Tail | None = None
    eta: int = 0
    replayed: bool = False
    cache: str | None = None


class Orders:
    """Carries out orders: admits them, and gives each the run that answers it."""

    def __init__(
        self,
        admission: Admission,
        production: Production,
        store: RunStore,
        joining: Joining,
        executions: Executions,
        queue: JobQueue,
        router: Router,
        clock: Clock,
        limits: RunLimits,
    ) -> None:
        self._admission = admission
        self._production = production
        self._store = store
        self._joining = joining
        self._executions = executions
        self._queue = queue
        self._router = router
        self._clock = clock
        self._limits = limits

    async def answer(self, caller: Caller, request: ChatRequest, order: Order, status: Status) -> Started:
        """Begin a run, queue one, as ``status`` says, or join the one that answers the order already.

        Raises:
            SluiceError: what admission refuses, IdempotencyKeyReused or QueueFull.
        """
        if order.idempotency_key is None:
            return await self._join_or_begin(caller, request, order, status)
        found = await self._joining.by_key(caller, request, order.idempotency_key, order.run_id)
        if isinstance(found, Run):
            return Started(found, await self._admission.reading(caller), replayed=True)
        try:
            return await self._join_or_begin(caller, request, order, status, found)
        except SluiceError:
            await self._joining.give_back(found)
            raise

    async def _join_or_begin(
        self, caller: Caller, request: ChatRequest, order: Order, status: Status, key: Claimed | None = None
    ) -> Started:
        queued, names = status is Status.QUEUED, [key] if key else []
        is_cached = request.cache_key is not None and bool(caller.tenant.cache_seconds)
        if not queued and not is_cached:
            return await self._begin(await self._admission.admit(caller, request, order.run_id), order, status, names)
        prepared = await self._admission.prepare(caller, request, order.run_id, queued=queued)
        verdict = await self._admission.take(prepared)
        if not is_cached:
            return await self._begin(await self._reserve(prepared, verdict, status), order, status, names)
        return await self._join_or_cache(prepared, verdict, order, status, names)

    async def _join_or_cache(
        self, prepared: Prepared, verdict: Verdict, order: Order, status: Status, names: list[Claimed]
    ) -> Started:
        """Join the run that has the cache key, or begin one that others can join."""
        tenant = prepared.caller.tenant
        name = cache_name(
            prepared.account,
            prepared.target,
            prepared.request,
            extras=order.extras,
            generation=tenant.cache_generation(prepared.account.group),
        )
        under_way = self._limits.queue_seconds + self._limits.total_seconds + tenant.cache_seconds
        found = await self._joining.by_cache(name, order.run_id, under_way)
        if isinstance(found, Run) and not tenant.cache_charged:
            await self._admission.waive(prepared, verdict)
            return await self._view(prepared, verdict, order, found)
        if isinstance(found, Run) and is_terminal(found.status):
            charged = await self._charge(prepared, verdict, order, found)
            return await self._view(prepared, verdict, order, found, charged=charged)
        if isinstance(found, Run):
            # Whoever pays all the same need not share the fate of a run that goes on.
            return await self._begin(await self._reserve(prepared, verdict, status), order, status, names)
        try:
            admitted = await self._reserve(prepared, verdict, status)
            return await self._begin(admitted, order, status, [found, *names], cache=found)
        except SluiceError:
            await self._joining.give_back(found)
            raise

    async def _reserve(self, prepared: Prepared, verdict: Verdict, status: Status) -> Admitted:
        if status is not Status.QUEUED:
            return await self._admission.reserve(prepared, verdict)
        if self._queue.waiting >= self._limits.queue_length:
            await self._admission.waive(prepared, verdict)
            raise QueueFull
        return await self._admission.reserve(prepared, verdict, waiting=self._limits.queue_seconds)

    async def _begin(
        self, admitted: Admitted, order: Order, status: Status, names: list[Claimed], cache: Claimed | None = None
    ) -> Started:
        prepared = admitted.prepared
        eta = self._queue.eta(self._executions.typical_seconds(prepared.target.sent_model))
        job = self._job(admitted, order, status, cache, restartable=order.live or bool(names))
        started = Started(job.run, admitted.verdict, eta=eta, cache="miss" if prepared.request.cache_key else None)
        if status is Status.QUEUED:
            await self._keep_record(job, names)
            self._queue.joined(job.run.id)
            return started
        if names:
            await self._keep_record(job, names)
            return replace(started, tail=self._executions.begin(job).tail)
        return replace(started, tail=await self._begin_at_once(job))

    async def _begin_at_once(self, job: Job) -> Tail:
        """Execute a run while its record is being kept: a store answers before a provider does.

        Nobody is told of the run before the record stands, and it costs nothing if that never does.
        """
        execution = self._executions.begin(job, is_kept=False)
        try:
            await insist(lambda: self._store.begin(job.run, execution.writer.work), _BEGIN_PATIENCE)
        except SluiceError as error:
            execution.keep(error)
            raise
        except BaseException:
            execution.keep(GenerationInterrupted())
            raise
        execution.keep(None)
        return execution.tail

    async def _keep_record(self, job: Job, names: list[Claimed]) -> None:
        """Keep the record of a new run, or leave nothing of it."""
        try:
            await insist(lambda: self._store.begin(job.run, job.kept), _BEGIN_PATIENCE)
            for claimed in names:
                if not await self._joining.confirm(claimed):
                    # Another request lost its patience with this one, and has begun a run of its own.
                    raise StoreUnavailable
        except SluiceError as error:
            # It may stand there all the same; nobody must execute it.
            self._executions.hold_on(self._abandon(job, error))
            raise

    async def _abandon(self, job: Job, error: SluiceError) -> None:
        await self._production.abandon(job, Tail(job.run), error)

    def _job(
        self, admitted: Admitted, order: Order, status: Status, cache: Claimed | None, *, restartable: bool
    ) -> Job:
        prepared = admitted.prepared
        caller, request, target = prepared.caller, prepared.request, prepared.target
        asked = prepared.route.asked
        queued = status is Status.QUEUED
        run = Run(
            id=order.run_id,
            tenant=caller.tenant.id,
            group=prepared.account.group,
            user=caller.user,
            answer_id=order.answer_id or order.run_id,
            provider=target.provider.id,
            model=target.sent_model,
            created=int(self._clock()),
            extras=order.extras,
            include_usage=request.include_usage,
            conversation=order.conversation,
            status=status,
            attempt=0 if queued else 1,
            live=order.live,
            queued=queued,
            restartable=restartable,
            detach_grace=caller.tenant.detach_grace,
            fingerprint=fingerprint(request) if request.stream else "",
            # As it will be, unless something goes wrong.
            asked=0 if queued else 1,
        )
        work = Work(
            # Wherever it is executed, and whatever the tenant's defaults are by then, it is the same request.
            request=replace(request, provider=asked.provider.id, model=self._router.planner.asked(caller, request)),
            request_id=order.request_id,
            traceparent=order.span.traceparent if order.span is not None else None,
            prompt_tokens=prepared.prompt_tokens,
            held=admitted.hold.amount,
            estimate=prepared.estimate,
            completion_bound=admitted.completion_bound,
            policy=caller.tenant.policy,
            vocabulary=target.model.tokenizer,
            weight=target.model.weight,
            admitted_at=admitted.verdict.at,
            cache_name=cache.name if cache is not None else None,
            cache_seconds=caller.tenant.cache_seconds if cache is not None else 0.0,
            named=names_provider(caller, request),
        )
        return Job(run, work, caller.tenant, prepared.route, None if queued else order.silence)

    async def _charge(self, prepared: Prepared, verdict: Verdict, order: Order, source: Run) -> int:
        """Charge a caller what the answer that is kept has cost before; how much it was."""
        admitted = await self._admission.reserve(prepared, verdict)
        job = self._job(admitted, order, Status.IN_PROGRESS, None, restartable=False)
        return await self._production.settling.charge(job, source.usage)

    async def _view(
        self, prepared: Prepared, verdict: Verdict, order: Order, source: Run, *, charged: int = 0
    ) -> Started:
        """A run of its own for a caller who gets another run's answer."""
        hit = is_terminal(source.status)
        view = Run(
            id=order.run_id,
            tenant=prepared.account.tenant,
            group=prepared.account.group,
            user=prepared.account.user,
            answer_id=order.answer_id or order.run_id,
            provider=source.provider,
            model=source.model,
            created=int(self._clock()),
            extras=order.extras,
            include_usage=prepared.request.include_usage,
            conversation=order.conversation,
            status=source.status if hit else Status.IN_PROGRESS,
            usage=source.usage if hit else None,
            charged=charged if hit else None,
            fingerprint=fingerprint(prepared.request) if prepared.request.stream else "",
            source=source.id,
            replayed=hit,
        )
        await insist(lambda: self._store.begin(view), _BEGIN_PATIENCE)
        return Started(view if hit else as_view(view, source), verdict, cache="hit" if hit else "shared")
