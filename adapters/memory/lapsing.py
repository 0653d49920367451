"""A mapping whose entries lapse, as keys do in Redis."""

import math
from collections.abc import Iterator
from typing import Generic, TypeVar

from domain.ports import Clock

K = TypeVar("K")
V = TypeVar("V")

#: So few entries are never worth a sweep.
_FEW = 64


class Lapsing(Generic[K, V]):
    """Entries that are gone when their time has come.

    Whenever it has doubled since the last sweep, it is swept: it stays within twice of what is alive, and a write
    costs the same on average however much there is.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[K, tuple[V, float]] = {}
        self._sweep_at = _FEW

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        entry = self._entries.get(key)
        return entry[0] if entry is not None and entry[1] > self._clock() else None

    def items(self) -> Iterator[tuple[K, V]]:
        now = self._clock()
        return ((key, value) for key, (value, until) in self._entries.items() if until > now)

    def values(self) -> Iterator[V]:
        now = self._clock()
        return (value for value, until in self._entries.values() if until > now)

    def put(self, key: K, value: V, seconds: float = math.inf) -> None:
        """Keep the value for so many seconds from now; by default for good."""
        self._entries[key] = (value, self._clock() + seconds)
        if len(self._entries) > self._sweep_at:
            self._sweep()

    def pop(self, key: K) -> V | None:
        value = self.get(key)
        self._entries.pop(key, None)
        return value

    def _sweep(self) -> None:
        now = self._clock()
        self._entries = {key: entry for key, entry in self._entries.items() if entry[1] > now}
        self._sweep_at = max(2 * len(self._entries), _FEW)
