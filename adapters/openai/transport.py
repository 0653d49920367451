"""Which HTTP client is under httpx's API: aiohttp, by way of httpx-aiohttp.

httpx's own transport spends ten times the CPU with some dozens of requests in flight, and loses connections for good
when a request is cancelled while it is being cancelled. What httpx-aiohttp gets wrong is put right in ``pool``.
"""

from dataclasses import dataclass

import httpx


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of the connections to all providers. ``keepalive`` is in seconds; head sizes are in bytes."""

    connections: int = 2048
    connections_per_host: int = 1024
    keepalive: float = 30.0
    header_bytes: int = 16 * 1024
    headers: int = 256


class PooledTransport(httpx.AsyncBaseTransport):
    """Connections that are kept and shared; nothing is loaded or opened before the first request.

    A response's stream raises only httpx's errors, and closing it before its end closes the connection. The ``connect``
    timeout of a request covers the wait for a free connection, DNS, TCP and TLS. There are no redirects, no cookies,
    no proxies or credentials from the environment, and no decompression. ``SSL_CERT_FILE`` is honoured.
    """

    def __init__(self, limits: PoolLimits = PoolLimits()) -> None:
        self._limits = limits
        self._pool: httpx.AsyncBaseTransport | None = None

    def open(self) -> httpx.AsyncBaseTransport:
        """The pool. Call it within the loop to spare the first request the tenth of a second that loading takes."""
        if self._pool is None:
            # aiohttp is half of what there would be to import at start-up, where it is of no use yet.
            from adapters.openai.pool import Pool

            self._pool = Pool(self._limits)
        return self._pool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.open().handle_async_request(request)

    async def aclose(self) -> None:
        if self._pool is not None:
            await self._pool.aclose()
