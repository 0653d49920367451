"""What was read last, believed for a short time. Nobody tells of a change, so that is all that can be done."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from domain.errors import StoreUnavailable

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class _Seen(Generic[V]):
    """A value as it was when it was asked for, at ``at``: None where there was none."""

    value: V | None
    at: float


class Recent(Generic[V]):
    """A small memory before a store, in which however many ask at once, one reads.

    Times are in seconds by ``monotonic``: a value is believed for ``fresh``, and read again sooner if somebody asks in
    the second half of that; its absence is believed for ``absent``, and a value for ``stale`` while the store does not
    answer. The ``size`` values that were read last are remembered. ``read`` is given the name, and what was read last
    if anything was.
    """

    def __init__(
        self,
        read: Callable[[str, V | None], Awaitable[V | None]],
        monotonic: Callable[[], float],
        *,
        fresh: float = 2.0,
        absent: float = 0.5,
        stale: float = 5.0,
        size: int = 10_000,
    ) -> None:
        self._read = read
        self._monotonic = monotonic
        self._fresh = fresh
        self._absent = absent
        self._stale = stale
        self._size = size
        self._seen: OrderedDict[str, _Seen[V]] = OrderedDict()
        self._flights: dict[str, asyncio.Task[_Seen[V] | StoreUnavailable]] = {}

    async def get(self, name: str) -> V | None:
        """The value as it is or was a moment ago.

        Raises:
            StoreUnavailable: the store did not answer, and what was read last is too old.
        """
        seen = self._seen.get(name)
        if seen is None or self._age(seen) >= (self._absent if seen.value is None else self._fresh):
            seen = await self._refreshed(name)
        elif seen.value is not None and self._age(seen) >= self._fresh / 2 and name not in self._flights:
            # What is asked for all the time is read again before anybody has to wait for it.
            self._take_off(name)
        return seen.value

    def put(self, name: str, value: V | None) -> None:
        """Take note of what was just written."""
        # A read that is under way may bring what was there before; later callers must not join it.
        self._flights.pop(name, None)
        self._remember(name, _Seen(value, self._monotonic()))

    async def aclose(self) -> None:
        """Wait for the reads under way."""
        await asyncio.gather(*self._flights.values())

    async def _refreshed(self, name: str) -> _Seen[V]:
        """What is there now; what was read last, if that is not long ago and the store is away."""
        # However many ask, one task reads, and who stops waiting for it takes nothing from the others.
        outcome = await asyncio.shield(self._flights.get(name) or self._take_off(name))
        if isinstance(outcome, _Seen):
            return outcome
        last = self._seen.get(name)
        if last is None or self._age(last) >= self._stale:
            raise StoreUnavailable from outcome
        return last

    def _take_off(self, name: str) -> "asyncio.Task[_Seen[V] | StoreUnavailable]":
        flight = self._flights[name] = asyncio.ensure_future(self._fly(name))
        return flight

    async def _fly(self, name: str) -> _Seen[V] | StoreUnavailable:
        outcome = await self._asked(name)
        # Where put() was faster, this is what was there before.
        if self._flights.get(name) is asyncio.current_task():
            del self._flights[name]
            if isinstance(outcome, _Seen):
                self._remember(name, outcome)
        return outcome

    async def _asked(self, name: str) -> _Seen[V] | StoreUnavailable:
        at, last = self._monotonic(), self._seen.get(name)
        try:
            return _Seen(await self._read(name, last.value if last is not None else None), at)
        except StoreUnavailable as error:
            return error

    def _remember(self, name: str, seen: _Seen[V]) -> None:
        self._seen[name] = seen
        self._seen.move_to_end(name)
        if len(self._seen) > self._size:
            self._seen.popitem(last=False)

    def _age(self, seen: _Seen[V]) -> float:
        return self._monotonic() - seen.at
