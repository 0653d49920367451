"""Rate meters in Redis: the script decides and writes, and tells what it saw; the domain words the verdict."""

from collections.abc import Sequence

from adapters.redis import keys
from adapters.redis.connection import RedisConnection
from adapters.redis.pipe import Word
from adapters.redis.scripts import now, script
from domain import rate
from domain.ports import Clock
from domain.rate import Charge, Decision, Slot, Verdict, micros
from domain.tenants import TenantId


class RedisRateLimiter:
    """A limiter by the server's clock; a test may give another."""

    def __init__(self, connection: RedisConnection, *, clock: Clock | None = None) -> None:
        self._connection = connection
        self._clock = clock

    async def take(self, tenant: TenantId, charges: Sequence[Charge], slots: Sequence[Slot] = ()) -> Verdict:
        if not charges and not slots:
            return Verdict(True)
        asked: tuple[Charge | Slot, ...] = (*charges, *slots)
        names = [keys.meter(tenant, each.meter) for each in asked]
        words = [word for charge in charges for word in _charge(charge)]
        words += [word for slot in slots for word in _slot(slot)]
        at, wait, refused, *told = await self._connection.run(
            script("rate/take"), names, [now(self._clock), len(charges), *words]
        )
        levels = list(zip(told[::2], told[1::2], strict=True))
        return rate.verdict(charges, slots, Decision(at, levels, wait, refused - 1 if refused else None))

    async def correct(self, tenant: TenantId, charge: Charge, at: float) -> None:
        if charge.cost:
            words = [now(self._clock), *_charge(charge), micros(at)]
            await self._connection.run(script("rate/correct"), [keys.meter(tenant, charge.meter)], words)

    async def keep(self, tenant: TenantId, slots: Sequence[Slot]) -> None:
        if slots:
            words = [now(self._clock), *(word for slot in slots for word in _slot(slot))]
            await self._connection.run(script("rate/keep"), [keys.meter(tenant, slot.meter) for slot in slots], words)

    async def free(self, tenant: TenantId, slots: Sequence[Slot]) -> None:
        if slots:
            names = [keys.meter(tenant, slot.meter) for slot in slots]
            await self._connection.run(script("rate/free"), names, [slot.holder for slot in slots])


def _charge(charge: Charge) -> tuple[Word, ...]:
    return charge.cost, charge.allowance.limit, 0 if charge.daily else micros(charge.allowance.window)


def _slot(slot: Slot) -> tuple[Word, ...]:
    return slot.limit, slot.holder, micros(slot.seconds)
