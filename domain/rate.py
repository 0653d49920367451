"""Rate arithmetic (GCRA): pure, and the reference that every limiter must agree with.

One number a meter: the theoretical arrival time, in Unix seconds, at which the meter is empty again.
https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: Seconds. Unix time in a double is no finer than 0.24 microseconds, and no client must lose a unit to rounding.
_RESOLUTION = 1e-6


@dataclass(frozen=True, slots=True)
class Allowance:
    """``limit`` units, all of which may be taken at once; they come back evenly, all of them in ``window`` seconds.

    So any stretch of ``t`` seconds sees at most ``limit * (1 + t / window)`` units.
    """

    limit: int
    window: float = 60.0

    @property
    def interval(self) -> float:
        """Seconds that one unit costs."""
        return self.window / self.limit


@dataclass(frozen=True, slots=True)
class Charge:
    """``cost`` units from the meter of this name. ``what`` is OpenAI's word for the unit: requests or tokens."""

    meter: str
    what: str
    allowance: Allowance
    cost: int
    daily: bool = False


@dataclass(frozen=True, slots=True)
class Slot:
    """A run that goes on now, of at most ``limit`` at once. It lapses after so many seconds unless it is kept."""

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

    ``retry_after`` is in seconds: when the same request would be admitted if nobody else came; 0 when it was.
    ``refused_by`` is the unit of the meter that refused.
    """

    allowed: bool
    readings: tuple[Reading, ...] = ()
    retry_after: float = 0.0
    refused_by: str | None = None
    meter: str | None = None
    at: float = 0.0


def arrival(tat: float | None, charge: Charge, now: float) -> float:
    """The meter's theoretical arrival time if ``charge`` were admitted at ``now``."""
    return max(tat if tat is not None else now, now) + charge.cost * charge.allowance.interval


def wait(tat: float | None, charge: Charge, now: float) -> float:
    """Seconds until ``charge`` fits; 0 when it fits now.

    A charge larger than the whole allowance fits when the meter is wholly free: refusing it for ever would tell the
    client to come back at a time at which it would be refused again.
    """
    fits_at = min(charge.cost * charge.allowance.interval, charge.allowance.window)
    level = max((tat or 0.0) - now, 0.0)
    return max(level + fits_at - charge.allowance.window, 0.0)


def read(tat: float | None, charge: Charge, now: float) -> Reading:
    """What the meter shows at ``now``, when its theoretical arrival time is ``tat``."""
    level = max((tat or 0.0) - now, 0.0)
    # What is left is what could be taken now.
    free = (charge.allowance.window - level + _RESOLUTION) / charge.allowance.interval
    remaining = min(max(0, math.floor(free)), charge.allowance.limit)
    return Reading(charge.what, charge.allowance.limit, remaining, level)


def take(tats: Sequence[float | None], charges: Sequence[Charge], now: float) -> tuple[list[float | None], Verdict]:
    """Charge every meter, or none: the new arrival times, in the order of ``charges``, and the verdict.

    A refused request costs nothing, so a client that keeps knocking gets in as soon as there is room.
    """
    waits = [wait(tat, charge, now) for tat, charge in zip(tats, charges, strict=True)]
    longest = max(waits, default=0.0)
    if longest > _RESOLUTION:
        readings = tuple(read(tat, charge, now) for tat, charge in zip(tats, charges, strict=True))
        refused_by = charges[waits.index(longest)].what
        return list(tats), Verdict(False, readings, retry_after=longest, refused_by=refused_by)
    moved: list[float | None] = [arrival(tat, charge, now) for tat, charge in zip(tats, charges, strict=True)]
    return moved, Verdict(True, tuple(read(tat, charge, now) for tat, charge in zip(moved, charges, strict=True)))
