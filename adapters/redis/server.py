"""The way to one server: a connection that is made when somebody asks, and made anew when it was lost.

Each command is sent once at most. One timer looks after the deadlines of all.
"""

import asyncio
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from redis.exceptions import RedisError

from adapters.redis.errors import fail
from adapters.redis.pipe import Command, Pipe, Reply
from domain.errors import StoreUnavailable

#: Makes a connection that tells the function when it has changed.
Dial: TypeAlias = Callable[[Callable[[], None]], Awaitable[Pipe]]

#: Seconds between two attempts at a connection: the first pause, doubled each time, and the longest. Each is drawn from
#: nothing up to that, since all replicas lose a server at the same moment.
_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.25
#: Seconds that a late reply is given to be read. Where this process was held up, it may have come long ago.
_LAST_LOOK: Final = 0.005


class Server:
    """Commands to one server, each answered within ``deadline`` seconds, or StoreUnavailable.

    Who finds no connection, or no room on it, waits for its turn. Belongs to the event loop that asks first.
    """

    def __init__(self, dial: Dial, deadline: float) -> None:
        self._dial = dial
        self._deadline = deadline
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pipe: Pipe | None = None
        self._waiting: deque[Command] = deque()
        self._connecting: asyncio.Task[None] | None = None
        self._failures = 0
        self._timer: asyncio.TimerHandle | None = None
        self._suspect: Command | None = None
        self._is_closed = False

    @property
    def is_idle(self) -> bool:
        return not self._waiting and (self._pipe is None or self._pipe.oldest is None)

    def send(self, packed: bytes) -> "asyncio.Future[Reply]":
        """Send a command, in the order of calls; its reply, which whoever leaves may cancel."""
        loop = self._loop = self._loop or asyncio.get_running_loop()
        command = Command(packed, loop.create_future(), loop.time() + self._deadline)
        if self._pipe is not None and not self._waiting and self._pipe.has_room:
            self._pipe.send(command)
        else:
            self._waiting.append(command)
            self._advance()
        if self._timer is None:
            self._timer = loop.call_at(command.due, self._look)
        return command.reply

    async def aclose(self) -> None:
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait((self._connecting,))
        if self._pipe is not None:
            self._pipe.give_up(ConnectionError("closed"))
        self._drop(math.inf, "closed")

    def _advance(self) -> None:
        """Send what waits, as far as there is room; without a connection, have one made."""
        pipe = self._pipe
        if pipe is not None and pipe.lost is not None:
            pipe = self._pipe = None
        if pipe is None:
            if self._is_closed:
                self._drop(math.inf, "closed")
            elif self._waiting and self._connecting is None:
                self._connecting = asyncio.ensure_future(self._connect())
            return
        while self._waiting and pipe.has_room:
            command = self._waiting.popleft()
            # Nobody needs what nobody waits for, as long as it was not sent.
            if not command.reply.done():
                pipe.send(command)

    async def _connect(self) -> None:
        """Try for a connection as long as anybody waits for one."""
        try:
            while self._waiting and self._pipe is None:
                try:
                    self._pipe = await self._dial(self._advance)
                    self._failures = 0
                except (OSError, StoreUnavailable, RedisError):
                    self._failures += 1
                    longest = min(_PAUSE * 2 ** min(self._failures, 10), _LONGEST_PAUSE)
                    await asyncio.sleep(random.uniform(0, longest))  # noqa: S311 - nobody gains from guessing it
        finally:
            self._connecting = None
        self._advance()

    def _look(self) -> None:
        """Fail those whose time is over, and give up a connection that left one of them without a reply."""
        self._timer = None
        if self._loop is None:
            return
        now = self._loop.time()
        self._drop(now, "no connection, or no room on it, in time")
        oldest = self._pipe.oldest if self._pipe is not None else None
        if self._pipe is not None and oldest is not None and oldest.due <= now:
            if oldest is not self._suspect:
                self._suspect = oldest
                self._timer = self._loop.call_later(_LAST_LOOK, self._look)
                return
            self._pipe.give_up(TimeoutError("no reply in time"))
            oldest = None
        self._suspect = None
        heads = [command for command in (oldest, *list(self._waiting)[:1]) if command is not None]
        if heads:
            self._timer = self._loop.call_at(min(command.due for command in heads), self._look)

    def _drop(self, now: float, why: str) -> None:
        """Fail those that wait and were due by now; they were not sent."""
        while self._waiting and (self._waiting[0].due <= now or self._waiting[0].reply.done()):
            fail(self._waiting.popleft().reply, TimeoutError(why))
