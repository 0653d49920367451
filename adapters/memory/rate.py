"""Rate meters in this process: the domain's arithmetic over values in dictionaries."""

from collections.abc import Sequence

from adapters.memory.lapsing import Lapsing
from domain import rate
from domain.ports import Clock
from domain.rate import Charge, Holders, Meter, Slot, State, Verdict, micros
from domain.tenants import TenantId


class MemoryRateLimiter:
    """A limiter by this process's clock. A meter that is wholly free is forgotten, and so is a place nobody holds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._meters: Lapsing[tuple[TenantId, str], Meter] = Lapsing(clock)
        self._holders: Lapsing[tuple[TenantId, str], Holders] = Lapsing(clock)

    async def take(self, tenant: TenantId, charges: Sequence[Charge], slots: Sequence[Slot] = ()) -> Verdict:
        if not charges and not slots:
            return Verdict(True)
        now = micros(self._clock())
        changed, verdict = rate.take(self._state(tenant, charges, slots), charges, slots, now)
        for charge in charges:
            if charge.meter in changed.meters:
                self._set_meter(tenant, charge, changed.meters[charge.meter], now)
        for name, holders in changed.holders.items():
            self._set_holders(tenant, name, holders, now)
        return verdict

    async def correct(self, tenant: TenantId, charges: Sequence[Charge], at: float, slots: Sequence[Slot] = ()) -> None:
        now = micros(self._clock())
        for charge in charges:
            meter = rate.correct(self._meters.get((tenant, charge.meter)) or (), charge, micros(at), now)
            self._set_meter(tenant, charge, meter, now)
        for slot in slots:
            others = {holder: lapse for holder, lapse in self._held(tenant, slot).items() if holder != slot.holder}
            self._set_holders(tenant, slot.meter, others, now)

    async def keep(self, tenant: TenantId, slots: Sequence[Slot]) -> None:
        now = micros(self._clock())
        for slot in slots:
            self._set_holders(tenant, slot.meter, rate.keep(self._held(tenant, slot), slot, now), now)

    def _state(self, tenant: TenantId, charges: Sequence[Charge], slots: Sequence[Slot]) -> State:
        return State(
            {charge.meter: self._meters.get((tenant, charge.meter)) or () for charge in charges},
            {slot.meter: self._held(tenant, slot) for slot in slots},
        )

    def _held(self, tenant: TenantId, slot: Slot) -> Holders:
        return self._holders.get((tenant, slot.meter)) or {}

    def _set_meter(self, tenant: TenantId, charge: Charge, meter: Meter, now: int) -> None:
        if meter:
            # The second more keeps rounding from forgetting what has not quite left yet.
            lasts = (rate.leaves(meter[-1].latest, charge) - now) / 1e6 + 1.0
            self._meters.put((tenant, charge.meter), meter, lasts)
        else:
            self._meters.pop((tenant, charge.meter))

    def _set_holders(self, tenant: TenantId, name: str, holders: Holders, now: int) -> None:
        if holders:
            self._holders.put((tenant, name), holders, (max(holders.values()) - now) / 1e6 + 1.0)
        else:
            self._holders.pop((tenant, name))
