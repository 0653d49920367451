"""Overload: what cannot be served in time is refused at once, while there is still time to say so."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from entrypoints.http.errors import HttpRefusal

#: Seconds between two looks at the load.
_INTERVAL = 0.1
#: How much of the lateness that was seen so far counts beside the latest: a single hiccup is no overload.
_MEMORY_OF_LAG = 0.7
#: The part of a threshold below which an overload is over.
_RELIEF = 0.5
_PAGE_BYTES = 4096
_STATM = Path("/proc/self/statm")
#: What is answered whatever happens, for whoever restarts replicas and routes to them.
_ALWAYS_ANSWERED = (b"/healthz", b"/readyz", b"/metrics")


def overloaded() -> HttpRefusal:
    return HttpRefusal(
        "The server is overloaded. Please try again in a moment.",
        status=503,
        code="overloaded",
        headers={"Retry-After": "1"},
    )


def is_always_answered(target: bytes) -> bool:
    return target.partition(b"?")[0] in _ALWAYS_ANSWERED


@dataclass(slots=True)
class Load:
    """How busy this process is: how late its event loop runs, in seconds, and how much memory it has, in bytes.

    ``is_too_much`` from one look to the next. A threshold that is None is none.
    """

    most_lag: float | None = None
    most_memory: int | None = None
    is_too_much: bool = field(default=False, init=False)
    lag: float = field(default=0.0, init=False)
    _watching: "asyncio.Task[None] | None" = field(default=None, init=False)

    async def start(self) -> None:
        if self.most_lag is not None or self.most_memory is not None:
            self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait((self._watching,))

    def see(self, late: float, memory: int) -> None:
        """Take note that the loop was so late and the memory so large."""
        self.lag = self.lag * _MEMORY_OF_LAG + late * (1 - _MEMORY_OF_LAG)
        relief = _RELIEF if self.is_too_much else 1.0
        self.is_too_much = (self.most_lag is not None and self.lag > self.most_lag * relief) or (
            # Memory comes back slowly, if at all: no hysteresis.
            self.most_memory is not None and memory > self.most_memory
        )

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _INTERVAL
            await asyncio.sleep(_INTERVAL)
            self.see(max(0.0, loop.time() - due), _memory() if self.most_memory is not None else 0)


def _memory() -> int:
    """The process's resident memory, in bytes; 0 where the system does not tell."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0
