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
        words = [now(self._clock), *limit_words(charges, slots)]
        told = await self._connection.run(script("rate/take"), meters(tenant, charges, slots), words)
        return verdict_of(charges, slots, told)

    async def correct(self, tenant: TenantId, charges: Sequence[Charge], at: float, slots: Sequence[Slot] = ()) -> None:
        charges = [charge for charge in charges if charge.cost]
        if not charges and not slots:
            return
        words: list[Word] = [now(self._clock), micros(at), len(charges)]
        words += [word for charge in charges for word in _charge(charge)]
        words += [slot.holder for slot in slots]
        await self._connection.run(script("rate/correct"), meters(tenant, charges, slots), words)

    async def keep(self, tenant: TenantId, slots: Sequence[Slot]) -> None:
        if slots:
            words = [now(self._clock), *(word for slot in slots for word in _slot(slot))]
            await self._connection.run(script("rate/keep"), meters(tenant, (), slots), words)


def meters(tenant: TenantId, charges: Sequence[Charge], slots: Sequence[Slot]) -> list[str]:
    """The keys of a request's meters and places."""
    return [keys.meter(tenant, name) for name in (*(each.meter for each in charges), *(each.meter for each in slots))]


def limit_words(charges: Sequence[Charge], slots: Sequence[Slot]) -> list[Word]:
    """What a request asks of the limits, as scripts take it."""
    words: list[Word] = [len(charges)]
    words += [word for charge in charges for word in _charge(charge)]
    return words + [word for slot in slots for word in _slot(slot)]


def verdict_of(charges: Sequence[Charge], slots: Sequence[Slot], told: Sequence[int]) -> Verdict:
    """What scripts tell of their decision."""
    at, wait, refused, *levels = told
    pairs = list(zip(levels[::2], levels[1::2], strict=True))
    return rate.verdict(charges, slots, Decision(at, pairs, wait, refused - 1 if refused else None))


def _charge(charge: Charge) -> tuple[Word, ...]:
    return charge.cost, charge.allowance.limit, 0 if charge.daily else micros(charge.allowance.window)


def _slot(slot: Slot) -> tuple[Word, ...]:
    return slot.limit, slot.holder, micros(slot.seconds)
