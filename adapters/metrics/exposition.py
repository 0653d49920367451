"""The numbers in the formats that Prometheus reads. Gathered in the event loop, which alone changes them; told in a
thread, so that many series do not hold up the requests.

prometheus-client is loaded by the first who asks.
"""

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from adapters.metrics.tables import Counts, Level, Reading, Spread
from adapters.metrics.text import text_of

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_OPENMETRICS = "application/openmetrics-text"
#: Whoever takes a newer version of either form takes these, too.
_CONTENT_TYPES = {
    True: f"{_OPENMETRICS}; version=1.0.0; charset=utf-8",
    False: "text/plain; version=0.0.4; charset=utf-8",
}

Source: TypeAlias = Counts | Spread | Level


class Exposition:
    """Tells all numbers of this process, its own and those of Python and the process."""

    def __init__(self, tables: Sequence[Counts | Spread], *readings: Reading) -> None:
        self._tables = tables
        self._readings = readings

    async def tell(self, accept: str) -> tuple[bytes, str]:
        """The numbers as text, and its content type: OpenMetrics for whoever accepts that, else Prometheus's own."""
        openmetrics = _OPENMETRICS in accept
        return await asyncio.to_thread(_told, self._gathered(), openmetrics), _CONTENT_TYPES[openmetrics]

    def _gathered(self) -> list[Source]:
        levels = (level for reading in self._readings for level in reading())
        return [*(table.copy() for table in self._tables), *levels]


def _told(gathered: Sequence[Source], openmetrics: bool) -> bytes:
    own = "".join([text_of(source, openmetrics=openmetrics) for source in gathered])
    return own.encode() + _of_the_process(openmetrics)


def _of_the_process(openmetrics: bool) -> bytes:
    """What the library knows of the process and of Python by itself, and the end."""
    from prometheus_client import generate_latest
    from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

    if openmetrics:
        told: bytes = generate_openmetrics(_process())  # type: ignore[no-untyped-call] # it has no types
        return told
    return generate_latest(_process())


@cache
def _process() -> "CollectorRegistry":
    from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry
