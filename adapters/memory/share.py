"""A replica's share of the limits, for as long as the limiter that all replicas have together does not answer."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from adapters.memory.lapsing import Lapsing
from adapters.memory.rate import MemoryRateLimiter
from domain.errors import StoreUnavailable
from domain.facts import LimitsLocal, LimitsShared
from domain.ports import Clock, Journal, RateLimiter
from domain.rate import Allowance, Charge, Slot, Verdict
from domain.tenants import TenantId

#: Seconds between two questions to the shared limiter whether it is back; no request waits for the answer.
ASK_AGAIN = 1.0
#: Seconds that one may have waited in vain for the shared limiter and go on: the balance is asked next, and might not
#: answer either.
_BRIEFLY = 0.1
#: Seconds for which it is remembered that a verdict was this replica's own: longer than any run.
_REMEMBERED = 4_000.0


class LocalShare:
    """A limiter before another one: what that does not answer is decided here, over 1 / ``replicas`` of each limit.

    By tenant, whose meters live and are away together. The meters here begin empty, and are not carried over to the
    shared ones: a minute that sees a change between the two may see up to the limit and the share.
    """

    def __init__(self, shared: RateLimiter, clock: Clock, journal: Journal, *, replicas: int) -> None:
        self._shared = shared
        self._own = MemoryRateLimiter(clock)
        self._clock = clock
        self._journal = journal
        self._replicas = replicas
        # When each is asked again that did not answer.
        self._away: dict[TenantId, float] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._decided: Lapsing[tuple[TenantId, float], bool] = Lapsing(clock)

    async def take(self, tenant: TenantId, charges: Sequence[Charge], slots: Sequence[Slot] = ()) -> Verdict:
        if tenant in self._away:
            self._ask_again(tenant, charges)
            return await self._take(tenant, charges, slots)
        asked = self._clock()
        try:
            return await self._shared.take(tenant, charges, slots)
        except StoreUnavailable:
            self._gone(tenant)
            if self._clock() - asked > _BRIEFLY:
                raise
            return await self._take(tenant, charges, slots)

    async def correct(self, tenant: TenantId, charges: Sequence[Charge], at: float, slots: Sequence[Slot] = ()) -> None:
        if self._decided.get((tenant, at)):
            await self._own.correct(tenant, [self._part(charge) for charge in charges], at, slots)
        else:
            await self._shared.correct(tenant, charges, at, slots)

    async def keep(self, tenant: TenantId, slots: Sequence[Slot]) -> None:
        # A place is held with one of the two; the other one changes nothing.
        await self._own.keep(tenant, slots)
        await self._shared.keep(tenant, slots)

    async def aclose(self) -> None:
        """Ask no more."""
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    async def _take(self, tenant: TenantId, charges: Sequence[Charge], slots: Sequence[Slot]) -> Verdict:
        parts = [replace(slot, limit=self._share(slot.limit)) for slot in slots]
        verdict = await self._own.take(tenant, [self._part(charge) for charge in charges], parts)
        self._decided.put((tenant, verdict.at), True, _REMEMBERED)
        return replace(verdict, local=True)

    def _part(self, charge: Charge) -> Charge:
        limit = self._share(charge.allowance.limit)
        return replace(charge, allowance=Allowance(limit, charge.allowance.window))

    def _share(self, limit: int) -> int:
        return max(1, limit // self._replicas)

    def _gone(self, tenant: TenantId) -> None:
        if tenant not in self._away:
            self._journal.record(LimitsLocal(tenant))
        self._away[tenant] = self._clock() + ASK_AGAIN

    def _ask_again(self, tenant: TenantId, charges: Sequence[Charge]) -> None:
        """Have the shared limiter asked, if it is time to, for what costs nothing."""
        now = self._clock()
        # A clock that was set back does not put it off.
        if charges and not now < self._away[tenant] <= now + ASK_AGAIN:
            self._away[tenant] = now + ASK_AGAIN
            task = asyncio.create_task(self._ask(tenant, [replace(charge, cost=0) for charge in charges]))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _ask(self, tenant: TenantId, charges: Sequence[Charge]) -> None:
        with suppress(StoreUnavailable):
            await self._shared.take(tenant, charges)
            if self._away.pop(tenant, None) is not None:
                self._journal.record(LimitsShared(tenant))
