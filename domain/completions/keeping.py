"""Housekeeping of a replica: renews the leases of its silent runs, ends those whose owner is gone, anywhere."""

import asyncio
import random
from contextlib import suppress

from domain import limits
from domain.completions.admission import HOLD_SECONDS, SLOT_SECONDS
from domain.completions.execution import Execution, Handover
from domain.completions.executions import Executions
from domain.completions.production import Production, RunLimits
from domain.completions.queue import JobQueue
from domain.completions.writing import Superseded
from domain.errors import (
    CompletionCancelled,
    CompletionShared,
    GenerationInterrupted,
    QueueTimeout,
    SluiceError,
    StoreUnavailable,
    WorkerLost,
)
from domain.facts import RunRequeued, Unexpected
from domain.ports import Journal, RunStore
from domain.runs import MAX_ATTEMPTS, SHARDS, Claim, Run, Status

#: Seconds between two rounds; a random part keeps the replicas from making theirs at the same moment.
_ROUND = 0.75
_JITTER = 0.5
#: Seconds between two looks at what a run uses.
_CHECKPOINT = 15.0
#: How many settlements of the outbox the ledger is told in a round, and how many of them it may leave unanswered.
_TOLD = 1_000
_FAILURES = 2
#: Seconds that a reader has at least to come at all.
_LEAST_GRACE = 1.0


class Housekeeping:
    """Rounds that a replica makes for as long as it runs. ``worker`` is its name among the workers."""

    def __init__(
        self,
        worker: str,
        store: RunStore,
        production: Production,
        executions: Executions,
        queue: JobQueue,
        journal: Journal,
        limits: RunLimits,
    ) -> None:
        self._worker = worker
        self._store = store
        self._production = production
        self._executions = executions
        self._queue = queue
        self._journal = journal
        self._limits = limits

    async def keep(self) -> None:
        """Make rounds until cancelled."""
        while True:
            try:
                await self.round()
            except StoreUnavailable:
                # What is overdue stays so until the store is back.
                pass
            except Exception as defect:  # noqa: BLE001 - without rounds, this replica's runs would be taken from it
                self._journal.record(Unexpected("housekeeping", defect))
            await asyncio.sleep(_ROUND + _JITTER * random.random())  # noqa: S311 - a jitter is no secret

    async def round(self) -> None:
        """Look after everything once.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        for execution in self._executions:
            await self._renew(execution)
            await self._check(execution)
            await self._mind_readers(execution)
        await self._empty_outbox()
        slots, seconds = self._limits.job_slots, self._limits.lease_seconds
        self._queue.slots = await self._store.enlist(self._worker, slots, seconds)
        for shard in range(SHARDS):
            survey = await self._store.survey(shard)
            self._queue.learn(shard, survey)
            for run_id in survey.overdue:
                # What is executed here is alive, however late this replica's clock may be.
                if self._executions.get(run_id) is None:
                    await self._bury_or_requeue(run_id)

    async def _empty_outbox(self) -> None:
        """Tell the ledger what waits, not so much that leases lapse meanwhile."""
        outbox, failures = self._production.settling.outbox, 0
        waiting = outbox.waiting()
        # In no order: one whose balance cannot be read would be the first for ever.
        for settlement in random.sample(waiting, min(len(waiting), _TOLD)):
            try:
                await self._production.settling.tell_ledger(settlement)
                await outbox.done(settlement)
            except StoreUnavailable:
                failures += 1
                if failures == _FAILURES:
                    return

    # --- runs that are executed here --------------------------------------------------------------------------

    async def _renew(self, execution: Execution) -> None:
        now = asyncio.get_running_loop().time()
        if now - execution.writer.written < self._limits.lease_seconds / 3:
            return
        try:
            await execution.writer.touch()
        except Superseded:
            execution.stop(Handover.LOST)
        except (CompletionCancelled, StoreUnavailable) as error:
            execution.stop(error)

    async def _check(self, execution: Execution) -> None:
        """Keep what the run has taken of its balance and of the limits, and say what it used so far."""
        now = asyncio.get_running_loop().time()
        if now - execution.checked < _CHECKPOINT:
            return
        execution.checked = now
        job = execution.job
        await self._production.settling.ledger.touch(job.account, job.run.id, execution.used(), HOLD_SECONDS)
        if job.tenant is not None and not job.run.queued:
            slots = limits.slots(job.tenant, job.account, job.run.id, SLOT_SECONDS)
            if slots:
                await self._production.settling.limiter.keep(job.tenant.id, slots)

    async def _mind_readers(self, execution: Execution) -> None:
        """Cancel a run that nobody has read for longer than its tenant wants to pay for."""
        run, tail = execution.job.run, execution.tail
        if run.detach_grace is None or run.queued or tail.readers:
            return
        if asyncio.get_running_loop().time() - tail.left < max(run.detach_grace, _LEAST_GRACE):
            return
        if await self._store.attended(run.id) or tail.readers:
            return
        try:
            await self._store.cancel(run.id)
        except CompletionShared:
            return
        execution.stop(CompletionCancelled())

    # --- runs whose owner is gone -----------------------------------------------------------------------------

    async def _bury_or_requeue(self, run_id: str) -> None:
        claim = await self._store.seize(run_id)
        if claim is None:
            return
        run = claim.run
        if run.status is Status.IN_PROGRESS and claim.work is not None and run.may_begin_again():
            if await self._store.requeue(run.id, run.fence):
                self._journal.record(RunRequeued(run.id, run.tenant, run.attempt, "worker_lost"))
            return
        with suppress(StoreUnavailable):
            await self._production.bury(claim, _cause(claim))


def _cause(claim: Claim) -> SluiceError:
    run = claim.run
    if run.cancelling:
        return CompletionCancelled()
    if run.status is Status.QUEUED:
        return QueueTimeout()
    return WorkerLost() if _was_tried_enough(run) else GenerationInterrupted()


def _was_tried_enough(run: Run) -> bool:
    return run.attempt >= MAX_ATTEMPTS and (run.queued or not run.tail)
