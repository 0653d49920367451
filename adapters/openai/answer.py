"""One HTTP answer on its way from bytes to a head and a body: llhttp parses, this file says what is taken of it.

https://www.rfc-editor.org/rfc/rfc9112
"""

import asyncio
from typing import Protocol, Self

import httpx
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

#: The most that is taken of one head, in bytes and in fields; trailers count with it.
MAX_HEAD_BYTES = 16 * 1024
MAX_HEAD_FIELDS = 256
#: Interim answers (1xx) in front of one answer: rare and single, where they come at all. The caller bounds their time.
MAX_INTERIM = 200
#: Bytes of a body that wait for their reader, above which the provider has to wait, too.
ENOUGH_BYTES = 256 * 1024


class Line(Protocol):
    """The connection that an answer comes over."""

    def close(self) -> None:
        """End it at once."""
        ...

    def hold(self, held: bool) -> None:
        """Take nothing more from the provider, or go on."""
        ...


class _Refused(Exception):
    """Stops the parser: what comes is no part of this answer, or more than is taken of one."""


class Answer(httpx.AsyncByteStream):
    """The head, once ``opened`` is done, and the body as it comes: at each step all of it that is there.

    Closed before its end, it closes its connection. Behind its end it has none any more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, line: Line) -> None:
        self._loop = loop
        self._line: Line | None = line
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._interim = 0
        self._raw_bytes = 0
        self._head_bytes = 0
        self._until_close = False
        self._parts: list[bytes] = []
        self._waiting_bytes = 0
        self._is_held = False
        self._reader: asyncio.Future[None] | None = None
        self._failure: httpx.TransportError | None = None
        #: Done when there is a head, or never will be.
        self.opened: asyncio.Future[None] = loop.create_future()
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.has_begun = False
        self.is_complete = False
        #: Whether the connection may serve another request, as far as the provider is concerned.
        self.spares_connection = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come."""
        return self._parser is None

    # --- the connection's side ------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take what has come."""
        if self._parser is None:
            return
        self.has_begun = True
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            # Behind a whole answer it only means that the connection is not for anybody else.
            self.spares_connection = False
            self.fail(httpx.RemoteProtocolError(type(error).__name__))
        if self.is_complete:
            self._finish()
        elif not self.status:
            self._bound_head(len(data))
        self._wake()

    def end(self) -> None:
        """The provider sends nothing more, which is how some tell that a body is whole."""
        if self._until_close and self._failure is None:
            self.is_complete = True
            self._finish()

    def fail(self, error: httpx.TransportError) -> None:
        """Nothing more comes, and the answer is not whole, unless it was already. What came is still given out."""
        if not self.is_complete and self._failure is None:
            self._failure = error
            self._finish()

    def _bound_head(self, size: int) -> None:
        # llhttp keeps a field until it is whole, and tells nobody of it before.
        self._raw_bytes += size
        if self._raw_bytes > MAX_HEAD_BYTES:
            self.fail(httpx.RemoteProtocolError("HeadTooLarge"))

    def _finish(self) -> None:
        # The parser holds methods of this object: they would keep each other until somebody collects them.
        self._parser = self._line = None
        self._open()
        self._wake()

    def _open(self) -> None:
        # Whoever waited for it may be cancelled, and not yet know.
        if not self.opened.done():
            self.opened.set_result(None)

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # --- llhttp's side --------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.is_complete:
            raise _Refused

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES or len(self.headers) >= MAX_HEAD_FIELDS:
            raise _Refused
        # What stands behind the body is nobody's.
        if not self.status:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        status = parser.get_status_code() if parser is not None else 0
        if parser is None or status == 101:
            raise _Refused
        if status < 200:
            return
        self.spares_connection = parser.should_keep_alive()
        self._until_close = not self.spares_connection and _has_no_length(self.headers)
        self.status = status
        self._open()

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > ENOUGH_BYTES and not self._is_held and self._line is not None:
            self._is_held = True
            self._line.hold(True)

    def on_message_complete(self) -> None:
        if self.status:
            self.is_complete = True
            return
        self._interim += 1
        if self._interim > MAX_INTERIM:
            raise _Refused
        self.headers.clear()
        self._raw_bytes = self._head_bytes = 0

    # --- the reader's side ----------------------------------------------------------------------------------------

    def require_head(self) -> None:
        """Raise what came instead of a head, where that is so."""
        if not self.status and self._failure is not None:
            raise self._failure

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._parts:
            if self._failure is not None:
                raise self._failure
            if self.is_complete:
                raise StopAsyncIteration
            self._reader = self._loop.create_future()
            await self._reader
        return self._take()

    def _take(self) -> bytes:
        parts = self._parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._waiting_bytes = 0
        if self._is_held and self._line is not None:
            self._is_held = False
            self._line.hold(False)
        return data

    async def aclose(self) -> None:
        if self._line is not None:
            self._line.close()


def _has_no_length(headers: list[tuple[bytes, bytes]]) -> bool:
    return not any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in headers)
