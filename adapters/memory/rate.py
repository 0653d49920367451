"""Rate meters in this process: the domain's arithmetic over numbers in a dictionary."""

from collections.abc import Sequence

from adapters.memory.lapsing import Lapsing
from domain import rate
from domain.ports import Clock
from domain.rate import Charge, Verdict
from domain.tenants import TenantId


class MemoryRateLimiter:
    """A limiter by this process's clock. A meter that is wholly free is forgotten."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tats: Lapsing[tuple[TenantId, str], float] = Lapsing(clock)

    async def take(self, tenant: TenantId, charges: Sequence[Charge]) -> Verdict:
        now = self._clock()
        before = [self._tats.get((tenant, charge.meter)) for charge in charges]
        after, verdict = rate.take(before, charges, now)
        if verdict.allowed:
            for charge, tat in zip(charges, after, strict=True):
                self._set(tenant, charge, tat, now)
        return verdict

    async def correct(self, tenant: TenantId, charge: Charge) -> None:
        now = self._clock()
        self._set(tenant, charge, rate.arrival(self._tats.get((tenant, charge.meter)), charge, now), now)

    def _set(self, tenant: TenantId, charge: Charge, tat: float | None, now: float) -> None:
        if tat is not None and tat > now:
            # The second more keeps rounding from forgetting a meter that is not quite free yet.
            self._tats.put((tenant, charge.meter), tat, tat - now + 1.0)
        else:
            self._tats.pop((tenant, charge.meter))
