"""Rate arithmetic: pure, and the reference that every limiter must agree with.

A meter is a sliding window. What was taken is kept in slices of a sixtieth of it, a second of a minute; a slice leaves
as a whole, a window after the last unit that was taken in it. So any stretch of the window's length sees at most the
limit, and a unit may be missed for up to a slice longer than it had to be. A daily meter is one slice, which leaves at
midnight, UTC.

Inside, time is in whole microseconds of Unix time: a server's clock is no finer, and integers are exact everywhere.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

#: Slices in a window.
_SLICES = 60
_DAY = 86_400_000_000
#: Microseconds after which one who found all places taken may ask again: nobody knows when a run ends.
_BUSY = 1_000_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """At most ``limit`` units, which is 1 or more, in any stretch of ``window`` seconds."""

    limit: int
    window: float = 60.0


@dataclass(frozen=True, slots=True)
class Charge:
    """``cost`` units from the meter of this name. ``what`` is OpenAI's word for the unit: requests or tokens.

    A ``daily`` one is a budget by the UTC day of the store's clock, whatever its window: it fits while less than the
    limit is used, and is then counted whole, so the last request may overrun.
    """

    meter: str
    what: str
    allowance: Allowance
    cost: int
    daily: bool = False


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for ``holder``, a run that goes on now: one of ``limit`` at once; unless kept, for ``seconds``."""

    meter: str
    limit: int
    holder: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What a meter shows after a decision. ``reset`` is in seconds, until the meter is wholly free again."""

    what: str
    limit: int
    remaining: int
    reset: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision over all meters of a request: all of them admitted it, or none was charged.

    ``readings`` are those of the charges, in their order. ``retry_after`` is in seconds: when the same request would be
    admitted if nobody else came; 0 when it was. ``refused_by`` is the unit of the meter that refused, requests or
    tokens, or concurrency; ``meter`` is its name. ``at`` is the store's Unix time of the decision, in seconds. A
    ``local`` one was decided by this replica alone, over its own share of the limits.
    """

    allowed: bool
    readings: tuple[Reading, ...] = ()
    retry_after: float = 0.0
    refused_by: str | None = None
    meter: str | None = None
    at: float = 0.0
    local: bool = False


@dataclass(frozen=True, slots=True)
class Slice:
    """``units`` that were taken in the ``number``-th slice of time, the last of them at ``latest``."""

    number: int
    units: int
    latest: int


#: What was taken and has not left yet, the oldest first; no slice is empty.
Meter: TypeAlias = tuple[Slice, ...]
#: Who holds a place, and when it lapses.
Holders: TypeAlias = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class State:
    """The meters of a request's charges, and the holders of its slots' places, both by name."""

    meters: Mapping[str, Meter] = field(default_factory=dict)
    holders: Mapping[str, Holders] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a limiter decided at ``now``, in microseconds.

    ``levels`` are, for each charge, the units that its meter then holds and the time until it is wholly free;
    ``refused`` is the place of what refused among charges and slots, None where nothing did, and ``wait`` how long it
    does.
    """

    now: int
    levels: Sequence[tuple[int, int]]
    wait: int = 0
    refused: int | None = None


def micros(seconds: float) -> int:
    """Whole microseconds; no two moments that a clock tells apart become one."""
    return math.floor(seconds * 1e6 + 0.5)


# --- a request --------------------------------------------------------------------------------------------------------


def take(state: State, charges: Sequence[Charge], slots: Sequence[Slot], now: int) -> tuple[State, Verdict]:
    """Charge every meter and take every place, or nothing: what has changed then, and the verdict.

    A refused request costs nothing, so a client that keeps knocking gets in as soon as there is room. What waits
    longest is what refused it.
    """
    meters = [live(state.meters.get(charge.meter, ()), charge, now) for charge in charges]
    waits = [wait(meter, charge, now) for meter, charge in zip(meters, charges, strict=True)]
    waits += [0 if fits(state.holders.get(slot.meter, {}), slot, now) else _BUSY for slot in slots]
    longest = max(waits, default=0)
    if longest:
        refusal = Decision(now, _levels(meters, charges, now), longest, waits.index(longest))
        return State(), verdict(charges, slots, refusal)
    meters = [add(meter, charge, now) for meter, charge in zip(meters, charges, strict=True)]
    changed = State(
        {charge.meter: meter for meter, charge in zip(meters, charges, strict=True)},
        {slot.meter: hold(state.holders.get(slot.meter, {}), slot, now) for slot in slots},
    )
    return changed, verdict(charges, slots, Decision(now, _levels(meters, charges, now)))


def verdict(charges: Sequence[Charge], slots: Sequence[Slot], decision: Decision) -> Verdict:
    """The decision in words."""
    readings = tuple(
        Reading(charge.what, charge.allowance.limit, max(0, charge.allowance.limit - used), reset / 1e6)
        for charge, (used, reset) in zip(charges, decision.levels, strict=True)
    )
    at = decision.now / 1e6
    if decision.refused is None:
        return Verdict(True, readings, at=at)
    asked: list[Charge | Slot] = [*charges, *slots]
    refused = asked[decision.refused]
    what = refused.what if isinstance(refused, Charge) else "concurrency"
    return Verdict(False, readings, decision.wait / 1e6, what, refused.meter, at)


def tightest(readings: Sequence[Reading]) -> tuple[Reading, ...]:
    """One reading for each unit: the one with the least remaining, and of equal ones the longest reset."""
    chosen: dict[str, Reading] = {}
    for reading in sorted(readings, key=lambda reading: (reading.remaining, -reading.reset)):
        chosen.setdefault(reading.what, reading)
    return tuple(chosen[what] for what in dict.fromkeys(reading.what for reading in readings))


def _levels(meters: Sequence[Meter], charges: Sequence[Charge], now: int) -> list[tuple[int, int]]:
    return [
        (used(meter), leaves(meter[-1].latest, charge) - now if meter else 0)
        for meter, charge in zip(meters, charges, strict=True)
    ]


# --- a meter ----------------------------------------------------------------------------------------------------------


def used(meter: Meter) -> int:
    return sum(each.units for each in meter)


def leaves(latest: int, charge: Charge) -> int:
    """When a slice leaves whose last unit was taken at ``latest``."""
    if charge.daily:
        return (latest // _DAY + 1) * _DAY
    return latest + micros(charge.allowance.window)


def live(meter: Meter, charge: Charge, now: int) -> Meter:
    """What has not left by ``now``; nothing, if the clock has been set back by more than the window."""
    if meter and meter[-1].latest - now > _span(charge):
        return ()
    moment = _moment(meter, now)
    return tuple(each for each in meter if moment < leaves(each.latest, charge))


def wait(meter: Meter, charge: Charge, now: int) -> int:
    """Until ``charge`` fits; 0 when it fits now.

    A charge larger than the whole allowance fits when the meter is wholly free: refusing it for ever would tell the
    client to come back at a time at which it would be refused again.
    """
    total, limit = used(meter), charge.allowance.limit
    if charge.cost == 0:
        return 0
    if charge.daily:
        return 0 if total < limit else leaves(_moment(meter, now), charge) - now
    until = now
    for each in meter:
        if total + charge.cost <= limit:
            break
        total -= each.units
        until = leaves(each.latest, charge)
    return until - now


def add(meter: Meter, charge: Charge, now: int) -> Meter:
    """Count ``charge`` now, whatever the meter holds."""
    if charge.cost == 0:
        return meter
    moment = _moment(meter, now)
    number = moment // _width(charge)
    if meter and meter[-1].number == number:
        return (*meter[:-1], Slice(number, meter[-1].units + charge.cost, moment))
    return (*meter, Slice(number, charge.cost, moment))


def correct(meter: Meter, charge: Charge, at: int, now: int) -> Meter:
    """Add a cost that is known later than at ``at``, when it was estimated.

    What is given back (a negative cost) is given back to the slice of ``at``, as far as that has not left; what comes
    on top is counted now. A day that is over is not corrected.
    """
    meter = live(meter, charge, now)
    number = at // _width(charge)
    if charge.cost < 0:
        rests = (each.units + charge.cost * (each.number == number) for each in meter)
        return tuple(replace(each, units=rest) for each, rest in zip(meter, rests, strict=True) if rest > 0)
    if charge.daily and number != _moment(meter, now) // _width(charge):
        return meter
    return add(meter, charge, now)


def _moment(meter: Meter, now: int) -> int:
    """Now, or while a clock that was set back has not caught up, when the meter was last taken from."""
    return max(now, meter[-1].latest) if meter else now


def _span(charge: Charge) -> int:
    return _DAY if charge.daily else micros(charge.allowance.window)


def _width(charge: Charge) -> int:
    return _DAY if charge.daily else max(1, _span(charge) // _SLICES)


# --- places -----------------------------------------------------------------------------------------------------------


def fits(holders: Holders, slot: Slot, now: int) -> bool:
    """Whether there is a place for the holder, or it has one already."""
    others = sum(lapse > now for holder, lapse in holders.items() if holder != slot.holder)
    return holders.get(slot.holder, 0) > now or others < slot.limit


def hold(holders: Holders, slot: Slot, now: int) -> Holders:
    """Who has a place once the holder has one, from now on for the slot's seconds."""
    others = {holder: lapse for holder, lapse in holders.items() if lapse > now}
    return {**others, slot.holder: now + micros(slot.seconds)}


def keep(holders: Holders, slot: Slot, now: int) -> Holders:
    """Renew the holder's place, if it still has it."""
    return hold(holders, slot, now) if holders.get(slot.holder, 0) > now else holders
