"""A connection: how many there may be, how long each may take for what, how much it may leave with us.

Sanic's timers count from the last byte, so that a byte a second keeps a connection for ever. These do not.
"""

import asyncio
from typing import Any

from sanic.exceptions import RequestCancelled, ServiceUnavailable
from sanic.http import Stage
from sanic.models.server_types import ConnInfo
from sanic.server.protocols.http_protocol import HttpProtocol

from entrypoints.http.bounds import Bounds
from entrypoints.http.conversation import UNASKED_BYTES, Conversation
from entrypoints.http.errors import HttpRefusal
from entrypoints.http.refusals import Refusals
from entrypoints.http.shedding import Load, is_always_answered

#: Seconds for which a connection that we have ended is heard without listening. Closed at once, with bytes on their
#: way, it would be reset, and the client never see what it was told.
_LINGER_SECONDS = 1.0
#: The refusal of a head that was begun and did not end.
_TOO_SLOW = HttpRefusal("Your request did not arrive in time.", status=408, code="request_timeout")
#: Seconds that a connection beyond the cap may take in all.
_SPARE_SECONDS = 1.0


class FrontDoor(HttpProtocol):
    """Sanic's connection, with bounds. ``room`` is how many bytes may wait in its buffer."""

    __slots__ = (
        "_answered",
        "_awaited",
        "_deaf",
        "_due",
        "_leaving",
        "_paused",
        "_timer",
        "bounds",
        "load",
        "refusals",
        "room",
        "spare",
    )

    #: Not asked for its type: uvloop's transports are none of asyncio's.
    transport: Any
    _http: Conversation | None

    def __init__(self, *, bounds: Bounds, load: Load, refusals: Refusals, **rest: Any) -> None:
        super().__init__(**rest)
        self.load = load
        self.bounds = bounds
        self.refusals = refusals
        self.room = UNASKED_BYTES
        self.spare = self._answered = self._deaf = self._leaving = self._paused = False
        self._due = 0.0
        self._awaited = 0
        self._http = None
        self._timer: asyncio.TimerHandle | None = None

    # --- what the event loop calls ----------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        bounds, others = self.bounds, len(self.connections)
        self.transport = transport
        if others >= bounds.connections + bounds.spare:
            transport.abort()
            return
        self.spare = others >= bounds.connections
        self.connections.add(self)
        transport.set_write_buffer_limits(low=16 * 1024, high=64 * 1024)
        self.recv_buffer = bytearray()
        self.conn_info = ConnInfo(transport)
        self._end_in(_SPARE_SECONDS if self.spare else bounds.head_seconds + self.spread)
        self._task = self.loop.create_task(self.connection_task())

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self.recv_buffer += data
        if len(self.recv_buffer) > self.room:
            self._overflow()
        if len(self.recv_buffer) >= self._awaited:
            self._data_received.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.conn_info is not None:
            super().connection_lost(exc)  # type: ignore[no-untyped-call] # Sanic's has no types

    # --- the steps of the conversation ------------------------------------------------------------------------

    async def connection_task(self) -> None:
        """Hold the conversation, and close the connection when it is over."""
        self._http = Conversation(self)
        try:
            await self._http.http1()
        except asyncio.CancelledError:
            # The client has left, or the process ends.
            pass
        except Exception as error:  # noqa: BLE001 - a defect of ours ends this connection, and no other
            self.refusals.report(error)
        finally:
            self._http = self._task = None
            if not self._leaving:
                self.close()

    def begin_head(self) -> None:
        """The head of a request has begun, and not all of it is here. A connection's first is timed from its begin."""
        if self._answered:
            self._end_in(self.bounds.head_seconds + self.spread)

    def admits(self, target: bytes) -> bool:
        """Whether there is room for a request; there always is for one that asks how the service is."""
        return not (self.spare or self.load.is_too_much) or is_always_answered(target)

    def begin_answer(self) -> None:
        """A request is here, but for its body."""
        self._end_in(self.bounds.response_seconds)

    def end_body(self) -> None:
        """Nothing more is to come of this request. Its connection is listened to all the same: the client may leave."""
        self.room = UNASKED_BYTES
        if len(self.recv_buffer) > self.room:
            self._overflow()
        self._resume()

    def begin_waiting(self) -> None:
        """A request is answered, and there may be another."""
        self._answered = True
        self._end_in(_SPARE_SECONDS if self.spare else self.bounds.idle_seconds)

    def refuse(self, refusal: HttpRefusal, path: str = "") -> None:
        """Answer what does not become a request, and listen to nothing behind it."""
        self.transport.write(self.refusals.bare(refusal, path))
        self.linger()

    def linger(self) -> None:
        """End the connection without resetting it under the answer: what still comes in is thrown away for a while."""
        self._deaf = self._leaving = True
        self.recv_buffer.clear()
        if self.transport.is_closing():
            return
        self.transport.write_eof()
        self._resume()
        self._end_in(_LINGER_SECONDS)

    # --- bytes ------------------------------------------------------------------------------------------------

    async def receive_more(self, awaited: int = 0) -> None:
        """Come back when more bytes are here, and ``awaited`` of them in all: who drips wakes nobody with each drop."""
        self._awaited = awaited
        self._resume()
        self._data_received.clear()
        await self._data_received.wait()

    async def send(self, data: bytes) -> None:
        if not self._can_write.is_set():
            await self._make_room()
        if self.transport.is_closing():
            raise RequestCancelled
        self.transport.write(data)

    async def _make_room(self) -> None:
        """Wait for a slow reader, but not for one that stands still."""
        try:
            async with asyncio.timeout(self.bounds.send_seconds):
                await self._can_write.wait()
        except TimeoutError:
            self.transport.abort()

    def _overflow(self) -> None:
        conversation = self._http
        if conversation is not None and conversation and not conversation.unread:
            # Nobody sends so much ahead. It is dropped and not left unread: only who reads sees the client leave.
            self._deaf = True
            self.recv_buffer.clear()
            conversation.keep_alive = False
        elif not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self.transport.resume_reading()

    # --- time -------------------------------------------------------------------------------------------------

    @property
    def spread(self) -> float:
        """Some part of a quarter of a second: those who came together and are slow do not all end in one moment."""
        return (id(self) >> 4 & 0xFF) / 1024

    def _end_in(self, seconds: float) -> None:
        self._due = due = self.loop.time() + seconds
        # One timer for each connection, which finds out by itself that it came too early: most requests touch none.
        if self._timer is None or self._timer.when() > due:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._timer = None
        if self.loop.time() < self._due:
            self._set_timer()
        else:
            self._end()

    def _end(self) -> None:
        """Time is up for what the connection is doing."""
        conversation = self._http
        stage = conversation.stage if conversation is not None else Stage.IDLE
        if stage is Stage.REQUEST:
            self.transport.write(self.refusals.bare(_TOO_SLOW))
        elif conversation is not None and stage is Stage.HANDLER and self._task is not None:
            conversation.exception = ServiceUnavailable("Response Timeout")
            self._task.cancel()
            return
        elif stage is Stage.RESPONSE:
            # Ended in order, half an answer would look whole.
            self.transport.abort()
            return
        self.close()
