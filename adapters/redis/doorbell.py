"""A doorbell by Redis's publish and subscribe: one connection, whatever the number of topics."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from redis.asyncio.connection import Connection

from adapters.redis import keys
from adapters.redis.line import Line, heeding_cancellation
from domain.ports import Ring

#: The channels that one command names at most.
_BATCH = 500


class RedisDoorbell:
    """Rings with what anybody publishes, on whatever replica. A lost connection is made again; its rings are lost.

    It belongs to the event loop in which ``subscribe`` is first called. An idle connection is asked every ``quiet``
    seconds whether it lives, and given up when nothing came for three times that long.
    """

    def __init__(self, url: str, *, timeout: float = 1.0, quiet: float = 2.0, longest_pause: float = 2.0) -> None:
        self._line = Line(url, timeout=timeout, silence=3 * quiet)
        self._quiet = quiet
        self._longest_pause = longest_pause
        self._rings: defaultdict[str, list[Ring]] = defaultdict(list)
        self._changed = asyncio.Event()
        self._failures = 0
        self._closed = False
        self._listening: asyncio.Task[None] | None = None

    def subscribe(self, topic: str, ring: Ring) -> None:
        self._rings[keys.channel(topic)].append(ring)
        self._changed.set()
        if self._listening is None and not self._closed:
            self._listening = asyncio.get_running_loop().create_task(self._listen())

    def unsubscribe(self, topic: str, ring: Ring) -> None:
        channel = keys.channel(topic)
        rings = self._rings.get(channel, [])
        if ring in rings:
            rings.remove(ring)
        if not rings:
            self._rings.pop(channel, None)
            self._changed.set()

    async def aclose(self) -> None:
        self._closed = True
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
        await self._line.aclose()

    async def _listen(self) -> None:
        """Keep a connection until the end."""
        while not self._closed:
            # Whatever went wrong, replicas go on without rings; a loop that ended would never ring again.
            with suppress(Exception):
                await self._listen_once()
            self._failures += 1
            # Many replicas lose their connections at the same time; they are not to come back at the same time.
            most = min(self._longest_pause, 0.05 * 2 ** min(self._failures, 16))
            await asyncio.sleep(random.uniform(0, most))  # noqa: S311 - nobody gains from guessing it

    async def _listen_once(self) -> None:
        """Make a connection and ring with what comes, until it breaks."""
        async with self._connected() as connection, asyncio.TaskGroup() as group:
            group.create_task(self._hear(connection))
            group.create_task(self._tell(connection))

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        connection = await self._line.connect()
        try:
            yield connection
        finally:
            with suppress(Exception):
                await connection.disconnect(nowait=True)

    async def _hear(self, connection: Connection) -> None:
        while True:
            # Raises when nothing came for too long, not even an answer to a PING.
            match await connection.read_response():
                case [b"message", bytes() as channel, bytes() as message]:
                    self._ring(channel.decode(), message.decode(errors="replace"))
            self._failures = 0

    def _ring(self, channel: str, message: str) -> None:
        loop = asyncio.get_running_loop()
        for ring in self._rings.get(channel, ()):
            # The loop reports a ring that fails; the others are rung all the same.
            loop.call_soon(ring, message)

    async def _tell(self, connection: Connection) -> None:
        """Tell Redis what is subscribed to, whenever that changes, and else ask whether it is there."""
        told: set[str] = set()
        while True:
            self._changed.clear()
            wanted = set(self._rings)
            for word, channels in (("SUBSCRIBE", wanted - told), ("UNSUBSCRIBE", told - wanted)):
                names = sorted(channels)
                for place in range(0, len(names), _BATCH):
                    await _send(connection, word, *names[place : place + _BATCH])
            told = wanted
            try:
                async with asyncio.timeout(self._quiet):
                    await self._changed.wait()
            except TimeoutError:
                await _send(connection, "PING")


async def _send(connection: Connection, *words: str) -> None:
    with heeding_cancellation():
        await connection.send_command(*words)
