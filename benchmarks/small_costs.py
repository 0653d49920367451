"""What single steps of a request take, without a server: those that are done for every request or every chunk.

    python -m benchmarks.small_costs

Of each figure the least of many short batches is told, in microseconds of CPU.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Final

import uvloop

from adapters.redis.rate import limit_words, meters
from domain import limits
from domain.completions.tail import Tail
from domain.ledger import Account
from domain.runs import Ending, Run, Status, ended
from domain.tenants import Group, Limits, Tenant

_BATCHES: Final = 100
_TIMES: Final = 200
#: In so many turns of the loop a reader has taken what came, and waits again.
_TURNS: Final = 3
_LIMITS = Limits(requests_per_minute=10**6, tokens_per_minute=10**8, concurrent_runs=100)
_STAFF = Group("staff", limits=_LIMITS, user_limits=_LIMITS, daily_tokens=10**9)
_TENANT = Tenant("bench", {"staff": _STAFF}, {}, limits=_LIMITS)
_RUN = Run("r", "bench", "staff", "ada", "r", "stub", "m", 1)


def charging() -> None:
    """What a request asks of the limits at its beginning, with every limit set."""
    account = Account("bench", "staff", "ada")
    charges = limits.charges(_TENANT, account, tokens=50, cost=50)
    slots = limits.slots(_TENANT, account, "run", 60.0)
    meters("bench", charges, slots)
    limit_words(charges, slots)


def ending() -> None:
    """The record of a run that has ended."""
    ended(_RUN, Ending(Status.COMPLETED), 3)


async def waking() -> float:
    """An entry that a reader waits for, and the turns of the loop until it waits for the next."""
    tail, least = Tail(_RUN), float("inf")
    for _ in range(_BATCHES):
        reader = asyncio.ensure_future(_read(tail, len(tail.entries) + _TIMES))
        await asyncio.sleep(0)
        began = time.process_time()
        while not reader.done():
            tail.extend([b"{}"])
            for _ in range(_TURNS):
                await asyncio.sleep(0)
        least = min(least, (time.process_time() - began) / _TIMES)
        await reader
    return least


async def _read(tail: Tail, until: int) -> None:
    while len(tail.entries) < until:
        await tail.grown(len(tail.entries), 15.0)


def least_of(step: Callable[[], None]) -> float:
    """Seconds of CPU that ``step`` takes."""
    least = float("inf")
    for _ in range(_BATCHES):
        began = time.process_time()
        for _ in range(_TIMES):
            step()
        least = min(least, (time.process_time() - began) / _TIMES)
    return least


def main() -> None:
    figures = {"charging": least_of(charging), "ending": least_of(ending), "waking": uvloop.run(waking())}
    for name, seconds in figures.items():
        sys.stdout.write(f"{name:10}{seconds * 1e6:8.2f}\n")


if __name__ == "__main__":
    main()
