"""One connection to a server. What is asked in one turn of the event loop leaves in one write; replies come in order.

A reply belongs to the oldest command without one, whether anybody still waits for it or not. So a connection that has
lost count, or whose oldest command is not answered in time, is of no more use, and everything on it has failed.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from hiredis import HiredisError, Reader, ReplyError, pack_command

from adapters.redis.errors import code_of, fail

#: What a command is made of.
Word: TypeAlias = str | bytes | int
#: What Redis answers: bytes, integers, None, lists of these, or a ReplyError as a value.
Reply: TypeAlias = Any

#: Commands without a reply that a connection may have, and their bytes; one that is larger goes alone.
_COMMANDS: Final = 1_024
_BYTES: Final = 8 * 1024 * 1024
#: Bytes of one reply. A log or a result can be as large as an answer may be, as JSON.
_REPLY_BYTES: Final = 128 * 1024 * 1024
#: What the reader returns where a reply is not whole yet: none of the values that a reply can be.
_MORE: Final = object()


def packed(*words: Word) -> bytes:
    """A command as it is sent."""
    command: bytes = pack_command(words)  # type: ignore[arg-type] # hiredis means tuples of any length
    return command


@dataclass(slots=True)
class Command:
    """A command as it is sent, and its reply to come, which counts until ``due``, in the event loop's time."""

    packed: bytes
    reply: "asyncio.Future[Reply]"
    due: float


class Pipe(asyncio.Protocol):
    """A connection, once it is made. It tells ``changed`` when it has room again, and when it was lost.

    ``size`` bounds the commands that it has without a reply. ``lost`` is why it is of no more use.
    """

    def __init__(self, changed: Callable[[], None], size: int = _COMMANDS) -> None:
        self._changed = changed
        self._size = size
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = Reader(notEnoughData=_MORE)
        self._sent: deque[Command] = deque()
        self._leaving: list[bytes] = []
        #: Bytes of commands without a reply, and those that came since the last whole reply.
        self._asked = 0
        self._came = 0
        self._is_clogged = False
        self.lost: Exception | None = None

    @property
    def has_room(self) -> bool:
        """Whether one more command may be sent now."""
        return not (self._is_clogged or self.lost) and len(self._sent) < self._size and self._asked < _BYTES

    @property
    def oldest(self) -> Command | None:
        """The command that the next reply belongs to."""
        return self._sent[0] if self._sent else None

    def send(self, command: Command) -> None:
        if not self._leaving:
            self._loop.call_soon(self._flush)
        self._leaving.append(command.packed)
        self._sent.append(command)
        self._asked += len(command.packed)

    def give_up(self, reason: Exception) -> None:
        """Close the connection at once. Whether what was sent has been executed cannot be told."""
        if self.lost is not None:
            return
        self.lost = reason
        if self._transport is not None:
            self._transport.abort()
        while self._sent:
            fail(self._sent.popleft().reply, reason)
        self._changed()

    # --- what the event loop calls ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asked for its type: uvloop's transports are none of asyncio's.
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._came += len(data)
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _MORE:
                self._came = 0
                self._answer(reply)
        except HiredisError as error:
            self.give_up(error)
            return
        if self._came > _REPLY_BYTES:
            self.give_up(ConnectionError("a reply is larger than any of ours can be"))
            return
        self._changed()

    def pause_writing(self) -> None:
        self._is_clogged = True

    def resume_writing(self) -> None:
        self._is_clogged = False
        self._changed()

    def connection_lost(self, exc: Exception | None) -> None:
        self.give_up(exc or ConnectionError("closed by the server"))

    def _flush(self) -> None:
        if self._transport is not None and self.lost is None:
            self._transport.write(b"".join(self._leaving))
        self._leaving.clear()

    def _answer(self, reply: Reply) -> None:
        if not self._sent:
            raise HiredisError("a reply to nothing")
        command = self._sent.popleft()
        self._asked -= len(command.packed)
        if not command.reply.done():
            command.reply.set_result(reply)
        if isinstance(reply, ReplyError) and code_of(reply) == "READONLY":
            # It has been demoted: whoever asks next is to look for the one that takes writes now.
            self.give_up(reply)
