"""Rate meters in Redis: the script decides and writes, and tells what it saw; the domain words the verdict."""

from collections.abc import Sequence

from adapters.redis import keys
from adapters.redis.connection import RedisConnection, Word
from adapters.redis.scripts import now, script
from domain import rate
from domain.ports import Clock
from domain.rate import Charge, Verdict
from domain.tenants import TenantId


class RedisRateLimiter:
    """A limiter by the server's clock; a test may give another."""

    def __init__(self, connection: RedisConnection, *, clock: Clock | None = None) -> None:
        self._connection = connection
        self._clock = clock

    async def take(self, tenant: TenantId, charges: Sequence[Charge]) -> Verdict:
        if not charges:
            return Verdict(True)
        meters = [keys.meter(tenant, charge.meter) for charge in charges]
        words = [word for charge in charges for word in _words(charge)]
        at, *before = await self._connection.run(script("rate/take"), meters, [now(self._clock), *words])
        # Both sides reckon with the same doubles in the same order, so this is the decision that the script took.
        _, verdict = rate.take([float(tat) if tat else None for tat in before], charges, float(at))
        return verdict

    async def correct(self, tenant: TenantId, charge: Charge) -> None:
        words = [now(self._clock), *_words(charge)]
        await self._connection.run(script("rate/correct"), [keys.meter(tenant, charge.meter)], words)


def _words(charge: Charge) -> tuple[Word, ...]:
    return charge.cost, charge.allowance.limit, f"{charge.allowance.window:.17g}"
