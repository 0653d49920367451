"""Settling: what a run costs its balance and its meters, once known. What the ledger does not hear now, waits."""

from dataclasses import dataclass

from domain import limits, tokens
from domain.chat import Usage
from domain.completions.execution import Job
from domain.completions.patience import insist
from domain.errors import OutboxFailed, StoreUnavailable
from domain.facts import SettlementFailed
from domain.ledger import Settlement
from domain.ports import Journal, Ledger, Outbox, RateLimiter
from domain.runs import Work
from domain.tokens import MAX_TOKENS, TokenPolicy

#: Seconds for which a settlement is tried again; then it waits in the outbox, and the answer does not wait for it.
_PATIENCE = 0.5


@dataclass(frozen=True, slots=True)
class Settling:
    """Charges what was used, and gives back what was only set aside."""

    ledger: Ledger
    outbox: Outbox
    limiter: RateLimiter
    journal: Journal

    async def charge(self, job: Job, usage: Usage | None) -> int:
        """Settle what was admitted without asking a provider; what was charged, in tokens."""
        charged = await self.settle(job, usage)
        await self.correct_rate(job, usage)
        return charged

    async def settle(self, job: Job, usage: Usage | None) -> int:
        """Charge what was used and return it, in tokens; a run that brought nothing gives its hold back."""
        charged = cost_of(job.work, usage)
        settlement = Settlement(job.account, job.run.id, charged if usage is not None else None)
        try:
            return await insist(lambda: self.tell_ledger(settlement), _PATIENCE)
        except StoreUnavailable:
            await self._keep(settlement)
        return charged

    async def tell_ledger(self, settlement: Settlement) -> int:
        """Carry out a settlement; what was charged.

        Raises:
            StoreUnavailable: the ledger did not answer; it is safe to call again.
        """
        account, hold_id, cost = settlement.account, settlement.hold_id, settlement.cost
        if cost is None:
            return await self.ledger.release(account, hold_id)
        return await self.ledger.settle(account, hold_id, cost)

    async def correct_rate(self, job: Job, usage: Usage | None) -> None:
        """Replace the estimates that admission took from the meters by what was used, and free the run's slots."""
        if job.tenant is None or job.work is None:
            # Within a minute or so the meters have forgotten it.
            return
        tenant, account, work = job.tenant, job.account, job.work
        used = usage.total_tokens if usage is not None else 0
        corrections = limits.charges(
            tenant,
            account,
            tokens=used - work.estimate,
            cost=cost_of(work, usage) - tokens.weighed(work.estimate, work.weight),
            requests=0,
        )
        slots = () if job.run.queued else limits.slots(tenant, account, job.run.id, 0)
        try:
            await self.limiter.correct(tenant.id, corrections, work.admitted_at, slots)
        except StoreUnavailable:
            return

    async def _keep(self, settlement: Settlement) -> None:
        try:
            await self.outbox.put(settlement)
        except OutboxFailed:
            owed, tenant = settlement.cost or 0, settlement.account.tenant
            self.journal.record(SettlementFailed(settlement.hold_id, tenant, owed))


def cost_of(work: Work | None, usage: Usage | None) -> int:
    """What a run costs its balance, in tokens of it."""
    if usage is None or work is None:
        return 0
    # Prompt and completion may each be as large as a balance, so that the sum may be larger.
    used = min(tokens.weighed(usage.total_tokens, work.weight), MAX_TOKENS)
    return min(used, work.held) if work.policy is TokenPolicy.STRICT else used
