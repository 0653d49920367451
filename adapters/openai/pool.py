"""Connections to providers: kept for each origin, bounded for each and for all, and given to whoever waits longest."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

from adapters.openai.connection import Connection
from adapters.openai.dialing import Dialer, Origin


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of the connections to all providers; one that nobody uses is kept for ``keepalive`` seconds."""

    connections: int = 2048
    connections_per_host: int = 1024
    keepalive: float = 30.0


@dataclass(slots=True, eq=False)
class _Lane:
    """What there is of one origin. Of those ``free`` the latest is last; ``places`` are taken from the dialling on.

    Those who wait stand in their order, under a number that tells who came first. What they are given is a connection,
    or None for a place to dial one in.
    """

    origin: Origin
    places: int = 0
    free: list[Connection] = field(default_factory=list)
    waiting: OrderedDict[int, asyncio.Future[Connection | None]] = field(default_factory=OrderedDict)

    def give(self, connection: Connection | None) -> bool:
        """Give it to whoever waits longest; False where nobody does."""
        while self.waiting:
            _, given = self.waiting.popitem(last=False)
            if not given.done():
                given.set_result(connection)
                return True
        return False

    @property
    def waits_since(self) -> int:
        return next(iter(self.waiting))


class Pool:
    """Belongs to the loop that it is used in."""

    def __init__(self, limits: PoolLimits, dialer: Dialer) -> None:
        self._limits = limits
        self._dialer = dialer
        self._lanes: dict[Origin, _Lane] = {}
        self._lane_of: dict[Connection, _Lane] = {}
        self._crowded: set[_Lane] = set()
        self._places = 0
        self._numbers = 0
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def places(self) -> int:
        """How many connections there are, with those that are being opened."""
        return self._places

    def take(self, origin: Origin) -> Connection | None:
        """A connection that is free; None where one has to be waited for, with ``open``."""
        lane = self._lanes.get(origin)
        while lane is not None and lane.free:
            connection = lane.free.pop()
            # The provider may have closed it, or written into it; and the sweeper may be late.
            if connection.is_quiet() and not self._is_stale(connection):
                return connection
            connection.close()
        return None

    async def open(self, origin: Origin) -> Connection:
        """A new connection, or one that becomes free meanwhile. Whoever calls bounds the time.

        Raises:
            OSError: it cannot be had.
            UnicodeError: there can be no host of this name.
        """
        lane = self._lanes.setdefault(origin, _Lane(origin))
        if not self._find_place(lane):
            connection = await self._wait(lane)
            if connection is not None:
                return connection
        return await self._dial(lane)

    def close(self) -> None:
        """End all connections."""
        for connection in list(self._lane_of):
            connection.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    # --- places -----------------------------------------------------------------------------------------------------

    def _find_place(self, lane: _Lane) -> bool:
        """Take a place, where there is one that nobody has waited for, or one that a free connection can leave."""
        if lane.waiting or not self._has_room(lane):
            return False
        if self._places >= self._limits.connections:
            for idle in [connection for other in self._lanes.values() for connection in other.free[:1]][:1]:
                idle.close()
        if self._places >= self._limits.connections:
            return False
        self._occupy(lane)
        return True

    def _has_room(self, lane: _Lane) -> bool:
        return lane.places < self._limits.connections_per_host

    def _occupy(self, lane: _Lane) -> None:
        lane.places += 1
        self._places += 1

    def _vacate(self, lane: _Lane) -> None:
        """Leave a place, to whoever waits longest of all who may use it."""
        lane.places -= 1
        self._places -= 1
        while self._places < self._limits.connections and (longest := self._longest_waiting()) is not None:
            if longest.give(None):
                self._occupy(longest)
        self._forget(lane)

    def _longest_waiting(self) -> _Lane | None:
        crowded = (lane for lane in self._crowded if lane.waiting and self._has_room(lane))
        return min(crowded, key=lambda lane: lane.waits_since, default=None)

    def _forget(self, lane: _Lane) -> None:
        if not lane.waiting:
            self._crowded.discard(lane)
            if not lane.places:
                self._lanes.pop(lane.origin, None)

    # --- waiting and dialling ---------------------------------------------------------------------------------------

    async def _wait(self, lane: _Lane) -> Connection | None:
        self._numbers = number = self._numbers + 1
        given: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        lane.waiting[number] = given
        self._crowded.add(lane)
        try:
            return await given
        except BaseException:
            # It may have been given something in the very moment in which it was cancelled.
            if given.done() and not given.cancelled():
                self._give_back(lane, given.result())
            raise
        finally:
            lane.waiting.pop(number, None)
            self._forget(lane)

    def _give_back(self, lane: _Lane, connection: Connection | None) -> None:
        if connection is None:
            self._vacate(lane)
        elif connection.is_open:
            self._is_free(connection)

    async def _dial(self, lane: _Lane) -> Connection:
        try:
            connection = await self._dialer.dial(lane.origin)
            if not connection.is_open:
                raise ConnectionResetError
        except BaseException:
            self._vacate(lane)
            raise
        self._lane_of[connection] = lane
        connection.belongs(self._is_free, self._is_gone)
        return connection

    # --- what connections tell --------------------------------------------------------------------------------------

    def _is_free(self, connection: Connection) -> None:
        lane = self._lane_of.get(connection)
        if lane is None:
            return
        # Where all places are taken, others may have waited longer: they need the place and not the connection.
        rival = self._longest_waiting() if self._crowded and self._places >= self._limits.connections else None
        if rival is not None and (not lane.waiting or rival.waits_since < lane.waits_since):
            connection.close()
        elif not lane.give(connection):
            self._keep(lane, connection)

    def _keep(self, lane: _Lane, connection: Connection) -> None:
        lane.free.append(connection)
        loop = asyncio.get_running_loop()
        connection.free_since = loop.time()
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._limits.keepalive, self._sweep)

    def _is_gone(self, connection: Connection) -> None:
        lane = self._lane_of.pop(connection)
        if connection in lane.free:
            lane.free.remove(connection)
        self._vacate(lane)

    # --- keeping ----------------------------------------------------------------------------------------------------

    def _is_stale(self, connection: Connection) -> bool:
        return asyncio.get_running_loop().time() - connection.free_since >= self._limits.keepalive

    def _sweep(self) -> None:
        self._sweeper = None
        for connection in [connection for lane in self._lanes.values() for connection in lane.free]:
            if self._is_stale(connection):
                connection.close()
        if any(lane.free for lane in self._lanes.values()):
            self._sweeper = asyncio.get_running_loop().call_later(self._limits.keepalive, self._sweep)
