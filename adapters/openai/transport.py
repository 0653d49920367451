"""HTTP to providers under httpx's interface, over connections of our own.

httpx's own transport takes a hundred times the CPU with some dozens of requests in flight, and loses connections for
good when a request is cancelled while it is being cancelled. See docs/adr/0039-a-transport-of-our-own.md.
"""

import asyncio

import httpx

from adapters.openai.connection import Connection
from adapters.openai.dialing import Dialer, Origin
from adapters.openai.pool import Pool, PoolLimits

#: The extension of a request that says which tenant brought the provider that it is for.
GUEST = "guest"
#: The extension of a request that may not go over a connection that was kept.
FRESH = "fresh"


class PooledTransport(httpx.AsyncBaseTransport):
    """Connections that are kept and shared. Nothing is opened before the first request.

    Raises httpx's errors. ``ConnectError`` and ``ConnectTimeout`` mean that nothing was sent; ``StaleConnection`` that
    a kept connection ended at once, before a byte of the answer. The ``connect`` timeout of a request covers the wait
    for a free connection, DNS, TCP and TLS; all other time is the caller's to bound, by cancelling, which closes the
    connection.

    A request with the extension ``GUEST`` goes to the public internet or nowhere, over connections of that guest's own;
    one with ``FRESH`` over a new connection, or one that has only just become free.

    An answer is given out with its head, and its stream raises only httpx's errors; closed before its end, it closes
    the connection. There are no redirects, no cookies, no proxies or credentials from the environment, and no
    decompression. ``SSL_CERT_FILE`` is honoured.
    """

    def __init__(self, limits: PoolLimits | None = None, dialer: Dialer | None = None) -> None:
        self._dialer = dialer or Dialer()
        self._pool = Pool(limits or PoolLimits(), self._dialer)

    @property
    def connections(self) -> int:
        """How many there are, free ones and those that are being opened among them."""
        return self._pool.places

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        origin, (head, body) = Origin.of(request.url, request.extensions.get(GUEST)), _written(request)
        kept = None if FRESH in request.extensions else self._pool.take(origin)
        connection = kept or await self._opened(origin, request)
        answer = await connection.ask(head, body)
        return httpx.Response(answer.status, headers=answer.headers, stream=answer)

    async def aclose(self) -> None:
        self._pool.close()
        self._dialer.close()

    async def _opened(self, origin: Origin, request: httpx.Request) -> Connection:
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("connect")):
                return await self._pool.open(origin)
        except TimeoutError as error:
            raise httpx.ConnectTimeout(type(error).__name__) from error
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(type(error).__name__) from error


def _written(request: httpx.Request) -> tuple[bytes, bytes]:
    """A request as it is sent: its head and its body.

    Raises:
        httpx.LocalProtocolError: a header would end its line, or say another length than the body has.
    """
    # Every request of ours has its body in memory.
    body = b"".join(request.stream) if isinstance(request.stream, httpx.ByteStream) else request.content
    headers = request.headers.raw
    head = b"%b %b HTTP/1.1\r\n" % (request.method.encode("ascii"), request.url.raw_path)
    head += b"\r\n".join(map(b": ".join, headers)) + b"\r\n"
    lines, told = len(headers) + 1, head.lower()
    if b"\nhost:" not in told:
        head, lines = b"%bhost: %b\r\n" % (head, request.url.netloc), lines + 1
    if b"\ncontent-length:" not in told and body:
        head, lines = b"%bcontent-length: %d\r\n" % (head, len(body)), lines + 1
    elif b"\ncontent-length: %d\r" % len(body) not in told and (body or request.method != "GET"):
        raise httpx.LocalProtocolError("IllegalHeader")
    if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head or b"\ntransfer-encoding:" in told:
        raise httpx.LocalProtocolError("IllegalHeader")
    return head + b"\r\n", body
