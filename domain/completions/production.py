"""Production: what turns an admitted request into a finished run, whoever is still listening.

Persist, then deliver: readers see an entry when the store has acknowledged it, so what one reader saw, all can see.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from domain import tokens
from domain.chat import ChatRequest, Completion, JsonObject, Usage
from domain.completions.admission import Admitted
from domain.completions.assembly import Assembly
from domain.completions.tail import Tail
from domain.errors import (
    GenerationInterrupted,
    InternalError,
    OutputTooLarge,
    ProviderError,
    SluiceError,
    StoreUnavailable,
)
from domain.facts import RecordFailed, RunEnded, SettlementFailed, Unexpected
from domain.ports import Call, ChatProvider, Clock, Journal, Ledger, RateLimiter, RunStore, Tokenizer
from domain.runs import Ending, Run, RunError, Status, ended
from domain.tenants import Caller
from domain.tokens import TokenPolicy

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunLimits:
    """Bounds of a run. Seconds and bytes; ``store_grace`` is how long a store may be away before a run gives up."""

    total_seconds: float = 600.0
    queue_seconds: float = 600.0
    store_grace: float = 10.0
    output_bytes: int = 16 * 1024 * 1024
    job_slots: int = 32
    queue_length: int = 1000


@dataclass(frozen=True, slots=True)
class Job:
    """An admitted request on its way: ``live`` says whether its answer is asked of the provider as a stream."""

    run: Run
    caller: Caller
    request: ChatRequest
    admitted: Admitted
    request_id: str
    live: bool


class _Progress:
    """What came of a job so far: pieces of a stream, or a whole answer at once."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.assembly = Assembly()
        self.whole: Completion | None = None

    def completion(self) -> Completion:
        return self.whole if self.whole is not None else self.assembly.completion()

    @property
    def is_empty(self) -> bool:
        return self.whole is None and self.assembly.is_empty


@dataclass(frozen=True, slots=True)
class Production:
    """Asks the provider, keeps the log, settles, records the end."""

    provider: ChatProvider
    store: RunStore
    ledger: Ledger
    limiter: RateLimiter
    tokenizer: Tokenizer
    journal: Journal
    clock: Clock
    limits: RunLimits

    async def produce(self, job: Job, tail: Tail) -> None:
        """Bring a run to its end. Raises nothing but CancelledError, and settles and records even then."""
        progress = _Progress(self.clock())
        error: SluiceError | None = GenerationInterrupted()
        try:
            error = await self._attempt(job, tail, progress)
        finally:
            # Cancelled or not, what was produced is paid for and written down: by a task that nobody cancels.
            await _undisturbed(self._conclude(job, tail, progress, error))

    async def abandon(self, job: Job, tail: Tail, error: SluiceError) -> None:
        """End a run that never began."""
        await _undisturbed(self._conclude(job, tail, _Progress(self.clock()), error))

    # --- asking -----------------------------------------------------------------------------------------------

    async def _attempt(self, job: Job, tail: Tail, progress: _Progress) -> SluiceError | None:
        try:
            if job.live:
                await self._relay(job, tail, progress)
            else:
                progress.whole = await self.provider.create_chat_completion(self._call(job))
        except SluiceError as error:
            return error
        except Exception as error:  # noqa: BLE001 - the pump must not die
            # A run must end in a record that its readers can see, whatever our defect was.
            self.journal.record(Unexpected("run", error, job.request_id))
            return InternalError()
        return None

    async def _relay(self, job: Job, tail: Tail, progress: _Progress) -> None:
        async with aclosing(self.provider.stream_chat_completion(self._call(job))) as batches:
            async for chunks in batches:
                for chunk in chunks:
                    progress.assembly.add(chunk)
                if progress.assembly.bytes > self.limits.output_bytes:
                    raise OutputTooLarge
                # Clients index into the choices of every chunk but those that they asked for: usage and moderation.
                entries = [chunk.data for chunk in chunks if chunk.body["choices"] or "moderation" in chunk.body]
                if entries:
                    await self._append(job.run, tail, entries)

    async def _append(self, run: Run, tail: Tail, entries: list[bytes]) -> None:
        base = len(tail.entries)
        if not await self._insist(lambda: self.store.append(run.id, run.attempt, base, entries)):
            # Another attempt owns the run now, or its record is gone: what we say no longer counts.
            raise GenerationInterrupted
        tail.extend(entries)

    def _call(self, job: Job) -> Call:
        return Call(
            job.admitted.target,
            _bounded(job.request, job.admitted.completion_bound),
            request_id=job.request_id,
            deadline=self.limits.total_seconds,
            extras=job.run.extras,
        )

    # --- concluding -------------------------------------------------------------------------------------------

    async def _conclude(self, job: Job, tail: Tail, progress: _Progress, error: SluiceError | None) -> None:
        try:
            await self._end(job, tail, progress, error)
        except Exception as defect:  # noqa: BLE001 - the pump must not die
            # Readers here must not wait for ever; what was held comes back by itself.
            self.journal.record(Unexpected("run", defect, job.request_id))
            ending = Ending(Status.FAILED, error=RunError.of(InternalError()))
            tail.close(ended(job.run, ending), ending)

    async def _end(self, job: Job, tail: Tail, progress: _Progress, error: SluiceError | None) -> None:
        completion = progress.completion()
        nothing_came = error is not None and progress.is_empty
        usage = None if nothing_came else await self._usage(job, completion)
        charged = await self._settle(job, usage)
        ending = Ending(
            status=Status.COMPLETED if error is None else Status.FAILED,
            completion=replace(completion, usage=usage) if error is None else None,
            usage=usage,
            charged=charged,
            error=RunError.of(error) if error is not None else None,
        )
        await self._record(job, tail, ending)
        self._tell(job, ending, error, self.clock() - progress.began)

    async def _usage(self, job: Job, completion: Completion) -> Usage:
        """The provider's usage; counted with the tokenizer where it sent none that can be true."""
        if completion.usage is not None:
            return completion.usage
        texts = tokens.answer_texts(completion.choices)
        counted = await self.tokenizer.count(job.admitted.target.model.tokenizer, texts)
        return Usage(job.admitted.prompt_tokens, counted)

    async def _settle(self, job: Job, usage: Usage | None) -> int:
        """Charge what was used and return it, in tokens; a run that brought nothing gives its hold back."""
        account, hold = job.admitted.account, job.admitted.hold
        cost = usage.total_tokens if usage is not None else 0
        if job.caller.tenant.policy is TokenPolicy.STRICT:
            cost = min(cost, hold.amount)
        try:
            if usage is None:
                await self._insist(lambda: self.ledger.release(account, hold.id))
            else:
                await self._insist(lambda: self.ledger.settle(account, hold.id, cost))
        except StoreUnavailable:
            self.journal.record(SettlementFailed(job.run.id, job.run.tenant, cost))
        await self._correct_rate(job, cost)
        return cost

    async def _correct_rate(self, job: Job, cost: int) -> None:
        """Replace the estimate that admission took from the tokens-per-minute meter by what was used."""
        for charge in job.caller.tenant.charges(0):
            if charge.what == "tokens":
                correction = replace(charge, cost=cost - job.admitted.estimate)
                try:
                    await self.limiter.correct(job.run.tenant, correction)
                except StoreUnavailable:
                    # The estimate stands; within a minute or so the meter has forgotten it.
                    return

    async def _record(self, job: Job, tail: Tail, ending: Ending) -> None:
        run, base = job.run, len(tail.entries)
        try:
            if not await self._insist(lambda: self.store.append(run.id, run.attempt, base, (), ending)):
                self.journal.record(RecordFailed(run.id, run.tenant))
        except StoreUnavailable:
            self.journal.record(RecordFailed(run.id, run.tenant))
        tail.close(ended(replace(run, tail=base), ending), ending)

    def _tell(self, job: Job, ending: Ending, error: SluiceError | None, seconds: float) -> None:
        self.journal.record(
            RunEnded(
                run_id=job.run.id,
                tenant=job.run.tenant,
                provider=job.run.provider,
                model=job.run.model,
                status=ending.status.value,
                seconds=round(seconds, 6),
                charged_tokens=ending.charged,
                error_code=error.code if error is not None else None,
                detail=error.detail if isinstance(error, ProviderError) else "",
            )
        )

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a call that is safe to repeat until the store answers, or has been away for too long."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.limits.store_grace
        pause = 0.05
        while True:
            try:
                return await call()
            except StoreUnavailable:
                if loop.time() + pause > until:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)


async def _undisturbed(work: Coroutine[Any, Any, None]) -> None:
    """Bring ``work`` to its end, cancelled meanwhile or not: whoever waits for the caller waits for it, too."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise


def _bounded(request: ChatRequest, bound: int | None) -> JsonObject:
    """The body to send, with its completion bound lowered where the token policy says so."""
    if bound is None:
        return request.body
    # Where a client sent both, a provider may go by either.
    given = {field: request.body.get(field) for field in ("max_completion_tokens", "max_tokens")}
    lowered = {field: min(value, bound) for field, value in given.items() if value is not None}
    return {**request.body, **(lowered or {"max_completion_tokens": bound})}
