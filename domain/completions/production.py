"""Production: what turns a run that this process owns into a finished one, whoever is still listening."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, replace

from domain import tokens
from domain.chat import ChatRequest, Completion, JsonObject, Usage
from domain.completions.asking import Asking
from domain.completions.assembly import chunk_of, is_cacheable
from domain.completions.attempts import Attempts
from domain.completions.execution import Execution, Handover, Job, Progress, Stop
from domain.completions.patience import insist, undisturbed
from domain.completions.settling import Settling, cost_of
from domain.completions.tail import Tail
from domain.completions.writing import LogWriter, Superseded
from domain.errors import (
    CompletionCancelled,
    GenerationInterrupted,
    InternalError,
    OutputTooLarge,
    ProviderError,
    SluiceError,
    StoreUnavailable,
)
from domain.facts import LeaseLost, RecordFailed, RunEnded, RunRequeued, Unexpected
from domain.ledger import Settlement
from domain.ports import Call, Clock, Journal, RunNames, RunStore, Till, Tokenizer
from domain.runs import Claim, Ending, RunError, Status, Work, ended, ulid_time


@dataclass(frozen=True, slots=True)
class RunLimits:
    """Bounds of a run. Seconds and bytes; ``store_grace`` is how long a store may be away before a run gives up.

    ``lease_seconds`` is how long an owner may be silent before its run is another's, ``kept_seconds`` how long a run is
    known after its end.
    """

    total_seconds: float = 600.0
    queue_seconds: float = 600.0
    store_grace: float = 10.0
    lease_seconds: float = 10.0
    kept_seconds: float = 86_400.0
    output_bytes: int = 16 * 1024 * 1024
    job_slots: int = 32
    queue_length: int = 1000


@dataclass(frozen=True, slots=True)
class Production:
    """Asks the provider, keeps the log, settles, records the end."""

    attempts: Attempts
    store: RunStore
    names: RunNames
    settling: Settling
    till: Till
    tokenizer: Tokenizer
    journal: Journal
    clock: Clock
    limits: RunLimits

    def execution(self, job: Job, tail: Tail) -> Execution:
        """An attempt at a run that begins now."""
        writer = LogWriter(self.store, job.run, job.kept, tail, self.limits.store_grace)
        return Execution(job, tail, writer, Progress(self.clock()))

    async def produce(self, execution: Execution) -> Handover | None:
        """Bring a run to its end, or to where another goes on with it.

        Raises nothing but CancelledError, and settles and records even then.
        """
        stop: Stop | None = GenerationInterrupted()
        try:
            stop = await self._attempt(execution)
        finally:
            # Cancelled or not, what was produced is paid for and written down: by a task that nobody cancels.
            handover = await undisturbed(self._conclude(execution, stop))
        if handover is Handover.LOST:
            run = execution.job.run
            self.journal.record(LeaseLost(run.id, run.tenant, run.attempt))
        return handover

    async def abandon(self, job: Job, tail: Tail, error: SluiceError) -> Handover | None:
        """End a run that is not executed here, with what its log holds."""
        execution = self.execution(job, tail)
        return await undisturbed(self._conclude(execution, error))

    async def bury(self, claim: Claim, error: SluiceError) -> None:
        """End a run whose owner is gone: its readers get what it said and one error; it pays for what it said.

        Raises:
            StoreUnavailable: its log cannot be read now; it will be overdue again.
        """
        tail = Tail(claim.run)
        execution = self.execution(Job(claim.run, claim.work), tail)
        while len(tail.entries) < claim.run.tail:
            part = await self.store.read(claim.run.id, len(tail.entries))
            if part is None or not part.entries:
                # Part of it is gone; what is left of the run is its ending.
                break
            tail.extend(part.entries)
            for entry in part.entries:
                execution.progress.assembly.add(chunk_of(entry))
        await undisturbed(self._conclude(execution, error))

    # --- asking -----------------------------------------------------------------------------------------------

    async def _attempt(self, execution: Execution) -> Stop | None:
        execution.ask()
        try:
            if execution.stopping is None:
                await self._answer(execution)
                return None
            return execution.stopping
        except asyncio.CancelledError:
            if execution.stopping is None:
                raise
            # It was stop() that cancelled, and nobody else has to know.
            task = asyncio.current_task()
            while task is not None and task.cancelling():
                task.uncancel()
            return execution.stopping
        except Superseded:
            return Handover.LOST
        except SluiceError as error:
            return execution.stopping or error
        except Exception as error:  # noqa: BLE001 - the pump must not die
            # A run must end in a record that its readers can see, whatever our defect was.
            self.journal.record(Unexpected("run", error, execution.job.request_id))
            return InternalError()
        finally:
            execution.asked()

    async def _answer(self, execution: Execution) -> None:
        asking = self._asking(execution)
        try:
            if execution.job.run.live:
                await self._relay(execution, asking)
            else:
                execution.progress.whole = await self.attempts.whole(asking)
        finally:
            execution.answered_by(asking.target, asking.answered)

    async def _relay(self, execution: Execution, asking: Asking) -> None:
        assembly, heard = execution.progress.assembly, 0
        async with aclosing(self.attempts.stream(asking)) as batches:
            async for chunks in batches:
                if asking.asked != heard:
                    # Readers are told who answers together with what it says.
                    heard = asking.asked
                    execution.answered_by(asking.target, asking.answered)
                for chunk in chunks:
                    assembly.add(chunk)
                execution.progress.heard(self.clock())
                if assembly.bytes > self.limits.output_bytes:
                    raise OutputTooLarge
                # Clients index into the choices of every chunk but those that they asked for: usage and moderation.
                entries = [chunk.data for chunk in chunks if chunk.body["choices"] or "moderation" in chunk.body]
                if entries:
                    await execution.writer.write(entries)

    def _asking(self, execution: Execution) -> Asking:
        job = execution.job
        if job.work is None or job.route is None:
            raise InternalError
        call = Call(
            job.route.first,
            _bounded(job.work.request, job.work.completion_bound),
            request_id=job.work.request_id,
            silence=job.silence,
            deadline=self._deadline(job),
            extras=job.run.extras,
            span=job.span,
        )
        return Asking(job.run, job.route, call, execution.progress.assembly)

    def _deadline(self, job: Job) -> float:
        """Seconds for the whole answer: a client who waits for one that comes at once waits in silence."""
        seconds = self.limits.total_seconds
        return seconds if job.run.live or job.silence is None else min(seconds, job.silence)

    # --- concluding -------------------------------------------------------------------------------------------

    async def _conclude(self, execution: Execution, stop: Stop | None) -> Handover | None:
        job, tail = execution.job, execution.tail
        try:
            if isinstance(stop, Handover):
                return await self._hand_over(execution, stop)
            return await self._end(execution, stop)
        except Exception as defect:  # noqa: BLE001 - the pump must not die
            # Readers here must not wait for ever; what was held comes back by itself.
            self.journal.record(Unexpected("run", defect, job.request_id))
            ending = Ending(Status.FAILED, error=RunError.of(InternalError()))
            tail.close(ended(job.run, ending), ending)
            return None

    async def _hand_over(self, execution: Execution, handover: Handover) -> Handover:
        await execution.writer.abort()
        if handover is Handover.REQUEUE:
            await self.requeue(execution.job, "shutdown")
        return handover

    async def requeue(self, job: Job, why: str) -> None:
        """Let another attempt be made at a run that is this process's."""
        try:
            requeued = await insist(lambda: self.store.requeue(job.run.id, job.run.fence), self.limits.store_grace)
        except StoreUnavailable:
            # Its lease lapses, and whoever finds it then does the same.
            return
        if requeued:
            self.journal.record(RunRequeued(job.run.id, job.run.tenant, job.run.attempt, why))

    async def _end(self, execution: Execution, error: SluiceError | None) -> Handover | None:
        refusal = await execution.refusal if execution.refusal is not None else None
        if refusal is not None:
            # Nobody knows of the run, so nobody pays for it.
            execution.progress, error = Progress(self.clock()), refusal
        job, progress = execution.job, execution.progress
        if not await self._is_ours(execution):
            return Handover.LOST
        completion = progress.completion()
        nothing_came = error is not None and progress.is_empty
        usage = None if nothing_came or job.work is None else await self._usage(job.work, completion)
        ending = Ending(
            status=_status_after(error),
            completion=replace(completion, usage=usage) if error is None else None,
            usage=usage,
            error=RunError.of(error) if error is not None else None,
        )
        if usage is None:
            # What was held is given back only once nobody can execute the run any more.
            if not await self._record(execution, ending):
                return Handover.LOST
            await self.settling.settle(job, usage)
        else:
            paid = await self._pay(execution, ending, usage)
            if paid is None:
                return Handover.LOST
            ending = paid
        self._tell(execution, ending, error)
        # Nobody waits for the rest.
        await self.settling.correct_rate(job, usage)
        await self._keep_answer(job, ending)
        return None

    async def _is_ours(self, execution: Execution) -> bool:
        """Whether the run has not been taken over unnoticed: what it costs is its owner's to settle."""
        silent = asyncio.get_running_loop().time() - execution.writer.written
        return silent < self.limits.lease_seconds / 2 or await execution.writer.is_owner()

    async def _usage(self, work: Work, completion: Completion) -> Usage:
        """The provider's usage; counted with the tokenizer where it sent none that can be true."""
        if completion.usage is not None:
            return completion.usage
        counted = await self.tokenizer.count(work.vocabulary, tokens.answer_texts(completion.choices))
        return Usage(work.prompt_tokens, counted)

    async def _pay(self, execution: Execution, ending: Ending, usage: Usage) -> Ending | None:
        """Settle what was used, and record the ending with what was charged; None where the run is another's."""
        job, tail = execution.job, execution.tail
        settlement = Settlement(job.account, job.run.id, cost_of(job.work, usage))
        try:
            charged = await execution.writer.conclude(self.till, settlement, ending)
        except Superseded:
            return None
        except StoreUnavailable:
            # One after the other, then: each has a patience of its own, and what is owed has a place to wait in.
            ending = replace(ending, charged=await self.settling.settle(job, usage))
            return ending if await self._record(execution, ending) else None
        ending = replace(ending, charged=charged)
        tail.close(ended(job.run, ending, len(tail.entries)), ending)
        return ending

    async def _record(self, execution: Execution, ending: Ending) -> bool:
        """Write the ending; False where the run is another's, whose ending counts."""
        run, tail = execution.job.run, execution.tail
        try:
            await execution.writer.close(ending)
        except Superseded:
            return False
        except StoreUnavailable:
            self.journal.record(RecordFailed(run.id, run.tenant))
            if ending.error is None and execution.writer.owes:
                # Readers here must not take what they have seen for the whole answer.
                ending = replace(ending, status=Status.FAILED, completion=None, error=RunError.of(StoreUnavailable()))
        tail.close(ended(run, ending, len(tail.entries)), ending)
        return True

    async def _keep_answer(self, job: Job, ending: Ending) -> None:
        """Let the cache have the answer for as long as the tenant says, or not at all."""
        if job.work is None or job.work.cache_name is None:
            return
        keep = ending.completion is not None and is_cacheable(ending.completion)
        try:
            await self.names.keep(job.work.cache_name, job.run.id, job.work.cache_seconds if keep else 0)
        except StoreUnavailable:
            # Whoever finds the name sees for themselves what became of the run.
            return

    def _tell(self, execution: Execution, ending: Ending, error: SluiceError | None) -> None:
        job, progress = execution.job, execution.progress
        self.journal.record(
            RunEnded(
                run_id=job.run.id,
                tenant=job.run.tenant,
                provider=job.run.provider,
                model=job.run.model,
                status=ending.status.value,
                seconds=round(self.clock() - progress.began, 6),
                charged_tokens=ending.charged,
                error_code=error.code if error is not None else None,
                detail=error.detail if isinstance(error, ProviderError) else "",
                request_id=job.request_id,
                usage=ending.usage,
                first_token_seconds=progress.first_token_seconds,
                seconds_per_token=progress.seconds_per_token(ending.usage),
                span=job.span,
                waited_seconds=max(progress.began - ulid_time(job.run.id), 0.0) if job.run.queued else None,
            )
        )


def _status_after(error: SluiceError | None) -> Status:
    if error is None:
        return Status.COMPLETED
    return Status.CANCELLED if isinstance(error, CompletionCancelled) else Status.FAILED


def _bounded(request: ChatRequest, bound: int | None) -> JsonObject:
    """The body to send, with its completion bound lowered where the token policy says so."""
    if bound is None:
        return request.body
    # Where a client sent both, a provider may go by either.
    given = {field: request.body.get(field) for field in ("max_completion_tokens", "max_tokens")}
    lowered = {field: min(value, bound) for field, value in given.items() if value is not None}
    return {**request.body, **(lowered or {"max_completion_tokens": bound})}
