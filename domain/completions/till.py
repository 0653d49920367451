"""The till where limits, balances and runs are apart: one verb after the other, in an order that no crash can abuse."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace

from domain import limits
from domain.completions.patience import insist
from domain.errors import InsufficientTokens, StoreUnavailable
from domain.ledger import Deposit, Hold, Settlement
from domain.ports import Ledger, RateLimiter, RunStore
from domain.rate import Charge, Slot, Verdict
from domain.runs import Answered, Appended, Ending
from domain.tenants import TenantId

#: Seconds for which a hold is asked for again that the store did not answer.
HOLD_PATIENCE = 0.3


@dataclass(frozen=True, slots=True)
class SeparateTill:
    """A till before stores that know nothing of each other."""

    limiter: RateLimiter
    ledger: Ledger
    store: RunStore

    async def admit(
        self, tenant: TenantId, charges: Sequence[Charge], slots: Sequence[Slot], deposit: Deposit
    ) -> tuple[Verdict, Hold]:
        verdict = await self.limiter.take(tenant, charges, slots)
        limits.require_room(verdict)
        try:
            return verdict, await take_hold(self.ledger, deposit)
        except (InsufficientTokens, StoreUnavailable) as refusal:
            if takes_nothing(refusal, verdict):
                await give_back(self.limiter, tenant, charges, slots, verdict)
            raise

    async def conclude(
        self,
        settlement: Settlement,
        fence: int,
        base: int,
        entries: Sequence[bytes],
        ending: Ending,
        by: Answered | None = None,
    ) -> tuple[Appended, int]:
        # Settled first: a run that has ended is nobody's to settle any more.
        charged = await self.ledger.settle(settlement.account, settlement.hold_id, settlement.cost or 0)
        ending = replace(ending, charged=charged)
        return await self.store.append(settlement.hold_id, fence, base, entries, ending, by), charged


async def take_hold(ledger: Ledger, deposit: Deposit) -> Hold:
    """The hold that is asked for.

    Raises:
        InsufficientTokens: there is too little.
        StoreUnavailable: the ledger has not answered for a while.
    """

    def hold() -> Awaitable[Hold]:
        return ledger.hold(
            deposit.account,
            deposit.hold_id,
            wanted=deposit.wanted,
            least=deposit.least,
            initial=deposit.initial,
            seconds=deposit.seconds,
            lasting=deposit.lasting,
        )

    # Asked again it is the same hold, where otherwise a lost reply would keep the tokens until it lapses.
    return await insist(hold, HOLD_PATIENCE)


def takes_nothing(refusal: InsufficientTokens | StoreUnavailable, verdict: Verdict) -> bool:
    """Whether a refusal gives back what the verdict took.

    A caller without a balance must not use up what the tenant's others may ask; nor must one whose balance cannot be
    told, of a share of this replica's own: he would hear that he comes too often, and not that he may come again.
    """
    return verdict.local or isinstance(refusal, InsufficientTokens)


async def give_back(
    limiter: RateLimiter, tenant: TenantId, charges: Sequence[Charge], slots: Sequence[Slot], verdict: Verdict
) -> None:
    """Give back what a verdict took; if the limiter is away, the meters have forgotten it within a minute or so."""
    back = [replace(charge, cost=-charge.cost) for charge in charges]
    try:
        await limiter.correct(tenant, back, verdict.at, slots)
    except StoreUnavailable:
        return
