"""One connection to a provider: one request at a time goes out, and its answer comes in."""

import asyncio
import select
from collections.abc import Callable
from typing import TypeAlias

import httpx

from adapters.openai.answer import Answer

#: Bodies above this size are sent in pieces of it, each when there is room.
PIECE_BYTES = 256 * 1024
#: Seconds after which whoever ends a connection has most likely seen the request, and may have worked on it.
SEEN_AFTER = 1.0

Told: TypeAlias = Callable[["Connection"], None]


class StaleConnection(httpx.ReadError):
    """A connection that had served before ended as soon as it was used again, before a byte of the answer came.

    Most likely the provider had closed it when the request was sent, and has not seen it.
    """


class Connection(asyncio.Protocol):
    """A TCP or TLS connection.

    It is free for another request only where the last one was sent and answered to the end, where the provider keeps
    it, and where nothing has come behind the answer: that would be read as the answer to the next request, which may
    be another tenant's.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._ready: Callable[[int], object] | None = None
        self._answer: Answer | None = None
        self._room: asyncio.Future[None] | None = None
        self._is_full = False
        self._is_sent = True
        self._has_served = False
        self._asked_at = 0.0
        self._on_free: Told | None = None
        self._on_gone: Told | None = None
        #: When it became free, in the loop's time.
        self.free_since = 0.0

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    def belongs(self, on_free: Told, on_gone: Told) -> None:
        """Tell these when it is free for another request, and, once, when it is gone."""
        self._on_free, self._on_gone = on_free, on_gone

    def is_quiet(self) -> bool:
        """Whether nothing has come since the last answer, not even an end, and not even as far as the kernel."""
        return self._transport is not None and self._ready is not None and not self._ready(0)

    async def ask(self, head: bytes, body: bytes) -> Answer:
        """Send a request; its answer as soon as the head is there. Cancelled, it closes the connection.

        Raises:
            httpx.ConnectError: it was not open any more, and nothing was sent.
            httpx.ReadError: it ended before; StaleConnection, where it was not a new one.
            httpx.RemoteProtocolError: what came is no answer, or its head is too large.
        """
        if self._transport is None:
            raise httpx.ConnectError("Closed")
        self._answer = answer = Answer(self._loop, self)
        self._asked_at = self._loop.time()
        try:
            if len(body) <= PIECE_BYTES:
                self._transport.write(head + body)
            else:
                await self._send(head, body, answer)
            await answer.opened
            answer.require_head()
        except BaseException:
            # Behind its answer the connection is free, and may be another's by now.
            if self._answer is answer:
                self.close()
            raise
        return answer

    async def _send(self, head: bytes, body: bytes, answer: Answer) -> None:
        """Send a large body, unless the answer comes first: whoever refuses it need not read it all."""
        self._is_sent = False
        view = memoryview(head + body)
        for at in range(0, len(view), PIECE_BYTES):
            if self._is_full:
                self._room = self._loop.create_future()
                await asyncio.wait((self._room, answer.opened), return_when=asyncio.FIRST_COMPLETED)
            if answer.opened.done() or self._transport is None:
                return
            self._transport.write(view[at : at + PIECE_BYTES])
        self._is_sent = True

    def close(self) -> None:
        """End it at once; what is not sent yet is not sent any more."""
        self._end("Closed")

    def hold(self, held: bool) -> None:
        if self._transport is not None:
            (self._transport.pause_reading if held else self._transport.resume_reading)()

    # --- the loop's side --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asked for its type: uvloop's transports are none of asyncio's.
        self._transport = transport  # type: ignore[assignment]
        poll = select.poll()
        poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._ready = poll.poll

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:
            self.close()
            return
        answer.feed(data)
        if answer.is_over:
            self._conclude(answer)

    def eof_received(self) -> None:
        if self._answer is not None:
            self._answer.end()
        self._end("EndOfStream")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(type(exc).__name__ if exc is not None else "ConnectionLost")

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    # --- plumbing ---------------------------------------------------------------------------------------------------

    def _conclude(self, answer: Answer) -> None:
        transport, self._answer = self._transport, None
        unsent = not self._is_sent or transport is None or transport.get_write_buffer_size()
        if unsent or not answer.spares_connection or self._on_free is None:
            self.close()
            return
        self._has_served = True
        self._on_free(self)

    def _end(self, why: str) -> None:
        transport, self._transport = self._transport, None
        if transport is None:
            return
        transport.abort()
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.fail(StaleConnection(why) if self._is_stale(answer) else httpx.ReadError(why))
        if self._on_gone is not None:
            self._on_gone(self)

    def _is_stale(self, answer: Answer) -> bool:
        """Whether the provider ended it most likely without having seen the request."""
        if not self._has_served or answer.has_begun:
            return False
        return not self._is_sent or self._loop.time() - self._asked_at < SEEN_AFTER
