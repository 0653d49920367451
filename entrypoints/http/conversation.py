"""The requests of one connection, in order: each is read strictly, answered once, and leaves nothing behind.

In place of Sanic's own reading, which forgives too much and waits too long.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from sanic.exceptions import ServerError
from sanic.http import Http, Stage
from sanic.http.http1 import HTTP_CONTINUE

from entrypoints.http.chunks import Chunks, too_large
from entrypoints.http.errors import HttpRefusal
from entrypoints.http.head import Framing, Head, path_of_refused, read_head, require_promising
from entrypoints.http.response_head import response_head
from entrypoints.http.shedding import overloaded

if TYPE_CHECKING:
    from entrypoints.http.protocol import FrontDoor

#: Bytes that may wait for somebody to ask for them: the beginning of a body, requests that were sent ahead.
UNASKED_BYTES = 64 * 1024
_WITHOUT_BODY = (204, 304)


class Conversation(Http):
    """Reads requests and hands them to the application, until one of both ends the connection.

    ``unread`` is what nobody has read yet of the current request's body: its length, or how it is framed.
    """

    __slots__ = ("_body_due", "_expects_continue", "unread")

    protocol: "FrontDoor"
    recv_buffer: bytearray
    response_func: Callable[[bytes, bool], Coroutine[Any, Any, None]] | None  # type: ignore[assignment] # None: ended

    def __init__(self, protocol: "FrontDoor") -> None:
        super().__init__(protocol)  # type: ignore[no-untyped-call] # Sanic's has no types
        self.unread: int | Framing = 0

    async def http1(self) -> None:
        """Answer requests until the connection is not to be used any longer."""
        while self.keep_alive and self.stage is Stage.IDLE:
            self.init_for_request()  # type: ignore[no-untyped-call] # Sanic's has no types
            if not self.recv_buffer:
                await self.protocol.receive_more()
            self.stage = Stage.REQUEST
            try:
                head = await self._read_head()
            except HttpRefusal as refusal:
                # Where this request ends is anybody's guess, so nothing behind it is read.
                self.protocol.refuse(refusal, path_of_refused(bytes(self.recv_buffer[:1024])))
                return
            if not self.protocol.admits(head.target):
                self.protocol.refuse(overloaded(), head.target.decode())
                return
            self._take(head)
            await self._answer()
            self._forget()
        if self.unread:
            self.protocol.linger()

    # --- the request ------------------------------------------------------------------------------------------

    async def _read_head(self) -> Head:
        buffer = self.recv_buffer
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            end = await self._rest_of_head()
        raw = bytes(memoryview(buffer)[:end])
        head = read_head(raw, self.protocol.bounds.head)
        del buffer[: end + 4]
        return head

    async def _rest_of_head(self) -> int:
        """Where the head ends, once it does. The connection's deadline sees to it that it does, or ends this."""
        buffer = self.recv_buffer
        self.protocol.begin_head()
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            require_promising(bytes(buffer), self.protocol.bounds.head)
            await self.protocol.receive_more()
        return end

    def _take(self, head: Head) -> None:
        protocol = self.protocol
        self.head_only = head.method == "HEAD"
        self.keep_alive = head.keep_alive
        self.unread = head.body
        self._expects_continue = head.expects_continue
        self._body_due = protocol.loop.time() + protocol.bounds.body_seconds + protocol.spread
        protocol.begin_answer()
        self.request = request = protocol.request_class(
            url_bytes=head.target,
            headers=head.headers,
            version="1.1",
            method=head.method,
            transport=protocol.transport,
            app=protocol.app,
        )
        request.conn_info = protocol.conn_info
        request.stream = self

    # --- its body ---------------------------------------------------------------------------------------------

    async def read_body(self, cap: int) -> bytes:
        """The whole body of the current request, which may have ``cap`` bytes.

        Raises:
            HttpRefusal: 413, it is larger; 408, it did not come in time; 400, it is not framed as it has to be.
        """
        unread = self.unread
        if isinstance(unread, int):
            if unread > cap:
                raise too_large(cap)
            # The fast path: most bodies come with their head.
            if unread <= len(self.recv_buffer):
                return self._taken(unread)
        try:
            async with asyncio.timeout_at(self._body_due):
                return await (self._read_sized(unread) if isinstance(unread, int) else self._read_chunks(cap))
        except TimeoutError:
            raise HttpRefusal(
                "The body of your request did not arrive in time.", status=408, code="request_timeout"
            ) from None

    async def _read_sized(self, length: int) -> bytes:
        while len(self.recv_buffer) < length:
            await self._more(length)
        return self._taken(length)

    def _taken(self, length: int) -> bytes:
        buffer = self.recv_buffer
        with memoryview(buffer) as view:
            body = bytes(view[:length])
        del buffer[:length]
        self._end_body()
        return body

    async def _read_chunks(self, cap: int) -> bytes:
        chunks = Chunks(cap)
        while not chunks.take(self.recv_buffer):
            await self._more(0)
        self._end_body()
        return bytes(chunks.body)

    async def _more(self, awaited: int) -> None:
        if self._expects_continue:
            self._expects_continue = False
            await self.protocol.send(HTTP_CONTINUE)
        self.protocol.room = awaited + UNASKED_BYTES
        await self.protocol.receive_more(awaited)

    def _end_body(self) -> None:
        self.unread = 0
        self.protocol.end_body()

    # --- the answer -------------------------------------------------------------------------------------------

    async def _answer(self) -> None:
        self.stage = Stage.HANDLER
        self.response_func = self.http1_response_header
        if not self.unread:
            self.protocol.end_body()
        try:
            await self.protocol.request_handler(self.request)
            if self.stage is Stage.HANDLER:
                raise ServerError("Handler produced no response")
            if self.stage is Stage.RESPONSE:
                await self.response.send(end_stream=True)
        except asyncio.CancelledError:
            reason, self.exception = self.exception, None
            if reason is None:
                raise
            # Its time is up, and the client is told so.
            self.keep_alive = False
            await self.error_response(reason)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this request's, and told
            await self.error_response(error)

    async def http1_response_header(self, data: bytes, end_stream: bool) -> None:
        """Send the head of the answer, and the body with it where that is whole."""
        response: Any = self.response
        if not data and response.body:
            data, end_stream = response.body, True
        self._give_up_unread()
        framing = ""
        if response.status in _WITHOUT_BODY:
            data, end_stream = b"", True
        elif end_stream:
            framing = f"content-length: {len(data)}\r\n"
        else:
            framing = "transfer-encoding: chunked\r\n"
            data = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        if self.head_only:
            data, end_stream = b"", True
        self.response_func = None if end_stream else self.http1_response_chunked
        await self.protocol.send(response_head(response, framing, keep_alive=self.keep_alive) + data)
        self.stage = Stage.IDLE if end_stream else Stage.RESPONSE

    def _give_up_unread(self) -> None:
        """A body that nobody asked for is skipped where all of it is here; else it ends the connection."""
        if isinstance(self.unread, int) and self.unread <= len(self.recv_buffer):
            del self.recv_buffer[: self.unread]
            self.unread = 0
        if self.unread:
            self.keep_alive = False

    def _forget(self) -> None:
        """Free what the request held: the next one may be long in coming."""
        if self.request is not None:
            self.request.stream = None
        if self.response is not None:
            self.response.stream = None
        self.protocol.begin_waiting()
