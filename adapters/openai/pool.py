"""httpx-aiohttp with what it gets wrong put right: its errors, cookies, late answers, large bodies."""

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import cast
from weakref import WeakSet

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.helpers import _EXC_SENTINEL as _SAME
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.tracing import Trace
from httpx_aiohttp import AiohttpTransport

from adapters.openai.transport import PoolLimits

#: Bodies above this size are sent in pieces of it: aiohttp writes, and warns of, one that comes as a whole.
_PIECE = 256 * 1024


class Pool(httpx.AsyncBaseTransport):
    """aiohttp's connections. The first request opens the session, in the loop that runs then."""

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._tls = httpx.create_ssl_context()
        self._inner = AiohttpTransport(verify=self._tls, client=self._session)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with httpx_errors():
            response = await self._inner.handle_async_request(_in_pieces(request))
        response.stream = _Body(cast(httpx.AsyncByteStream, response.stream))
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=_Connector(self._limits, self._tls),
            # A cookie would carry one tenant's session into another's request.
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            max_line_size=self._limits.header_bytes,
            max_field_size=self._limits.header_bytes,
            max_headers=self._limits.headers,
        )


class _Protocol(ResponseHandler):
    """Tells whoever reads a body, too, when what follows of it is no HTTP.

    aiohttp (3.14.5) tells only who waits for a head, and lets a reader of a malformed chunk wait for ever.
    """

    def set_exception(self, exc: BaseException, exc_cause: BaseException = _SAME) -> None:
        super().set_exception(exc, exc_cause)
        body = self._payload
        if isinstance(exc, HttpProcessingError) and body is not None and not body.is_eof():
            body.set_exception(exc)


class _Connector(aiohttp.TCPConnector):
    """Never reuses a connection on which something came after its last answer.

    That would be read as the answer to the next request, which may be another tenant's. aiohttp looks only when it
    takes a connection back, and not at what arrives later: https://github.com/aio-libs/aiohttp/issues/13656
    """

    def __init__(self, limits: PoolLimits, tls: ssl.SSLContext) -> None:
        super().__init__(
            limit=limits.connections,
            limit_per_host=limits.connections_per_host,
            keepalive_timeout=limits.keepalive,
            ssl=tls,
        )
        self._factory = partial(_Protocol, loop=self._loop)  # type: ignore[assignment]  # a partial is invariant
        self._used: WeakSet[ResponseHandler] = WeakSet()

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            if protocol is None or protocol not in self._used or not protocol.should_close:
                break
            connection.close()
        if protocol is not None:
            self._used.add(protocol)
        return connection


class _Body(httpx.AsyncByteStream):
    """The body of a response, with httpx's errors."""

    def __init__(self, inner: httpx.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with httpx_errors():
            async for data in self._inner:
                yield data

    async def aclose(self) -> None:
        with httpx_errors():
            await self._inner.aclose()


class _Pieces(httpx.AsyncByteStream):
    """The body of a large request."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._body), _PIECE):
            yield self._body[at : at + _PIECE]


def _in_pieces(request: httpx.Request) -> httpx.Request:
    if len(request.content) <= _PIECE:
        return request
    pieces = _Pieces(request.content)
    return httpx.Request(
        request.method, request.url, headers=request.headers, stream=pieces, extensions=request.extensions
    )


#: aiohttp's exceptions as httpx's, the first that fits; a class therefore stands in front of its bases.
_ERRORS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (TimeoutError, httpx.ReadTimeout),
    # Refused, no route, no such host, TLS that fails.
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (aiohttp.NonHttpUrlClientError, httpx.UnsupportedProtocol),
    # A head or a chunk that is not HTTP, or larger than the limits.
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
    (HttpProcessingError, httpx.RemoteProtocolError),
    # Cut short: before the head, within the body, while sending.
    (aiohttp.ClientError, httpx.ReadError),
    (OSError, httpx.ReadError),
)
_FOREIGN = (httpx.TransportError, aiohttp.ClientError, HttpProcessingError, OSError)


@contextmanager
def httpx_errors() -> Iterator[None]:
    """Raise what httpx's own transport would raise, whatever aiohttp or httpx-aiohttp make of it.

    The message is the class's name: aiohttp's own quotes what it received.
    """
    try:
        yield
    except _FOREIGN as error:
        cause = error.__cause__ if isinstance(error, httpx.TransportError) else error
        for foreign, own in _ERRORS:
            if isinstance(cause, foreign):
                raise own(type(cause).__name__) from cause
        raise
