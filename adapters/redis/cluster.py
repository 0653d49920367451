"""The way to a cluster: which server has which slot, and where a command goes whose slot has moved.

What a server refuses because of the slot has not been executed, so it may be sent again, to another server.
https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
"""

import asyncio
import random
from collections.abc import Sequence
from functools import partial
from typing import Final, TypeAlias

from hiredis import ReplyError
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from adapters.redis.dialling import Dialler
from adapters.redis.errors import code_of
from adapters.redis.pipe import Reply, packed
from adapters.redis.server import Server
from domain.errors import StoreUnavailable

Place: TypeAlias = tuple[str, int]

#: What a server says that does not have the slot, or not all of the keys.
_REFUSALS: Final = frozenset({"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN"})
#: What is known of a slot before anybody has told.
_UNKNOWN: Final = ReplyError("CLUSTERDOWN")
#: Seconds from one look at the slots to the next, at least: however many commands find them changed, one looks.
_REFRESH_PAUSE: Final = 0.2
#: Seconds after which a slot is tried again that has no server, or whose keys are on their way.
_RETRY_PAUSE: Final = 0.03
_ASKING: Final = packed("ASKING")
_SLOTS: Final = packed("CLUSTER", "SLOTS")


class Cluster:
    """Commands to the servers of a cluster, each answered within ``deadline`` seconds, or StoreUnavailable."""

    def __init__(self, dialler: Dialler, seeds: Sequence[Place], deadline: float) -> None:
        self._dialler = dialler
        self._seeds = seeds
        self._deadline = deadline
        self._servers: dict[Place, Server] = {}
        self._places: list[Place | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._refreshing: asyncio.Task[None] | None = None
        #: The event loop's time before which nobody looks at the slots again.
        self._rested = 0.0

    async def ask(self, key: str, command: bytes) -> Reply:
        """The reply to a command whose keys are all in the slot of this one.

        Raises:
            StoreUnavailable: there was none.
        """
        slot = key_slot(key.encode())
        until = asyncio.get_running_loop().time() + self._deadline
        place = self._places[slot]
        reply = _UNKNOWN if place is None else await self._send(place, command)
        if isinstance(reply, ReplyError) and code_of(reply) in _REFUSALS:
            try:
                async with asyncio.timeout_at(until):
                    return await self._chase(slot, command, place, reply)
            except TimeoutError as error:
                raise StoreUnavailable from error
        return reply

    async def servers(self) -> Sequence[Server]:
        """Every server that has slots.

        Raises:
            StoreUnavailable: nobody tells.
        """
        try:
            async with asyncio.timeout(self._deadline):
                while not any(self._places):
                    await self._refreshed()
        except TimeoutError as error:
            raise StoreUnavailable from error
        return [self._server(place) for place in {place for place in self._places if place is not None}]

    async def aclose(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait((self._refreshing,))
        for server in self._servers.values():
            await server.aclose()

    # --- where a command goes ---------------------------------------------------------------------------------

    async def _chase(self, slot: int, command: bytes, place: Place | None, refusal: ReplyError) -> Reply:
        """Send a command that was refused because of its slot to whoever has that, until somebody executes it."""
        reply: Reply = refusal
        while isinstance(reply, ReplyError) and code_of(reply) in _REFUSALS:
            match str(reply).split(" "):
                case ["MOVED", _, address]:
                    place = self._places[slot] = _place(address, place)
                    self._refresh_soon()
                    reply = await self._send(place, command)
                case ["ASK", _, address]:
                    place = _place(address, place)
                    # The next command of the connection is taken although the slot is not all there yet.
                    _, reply = await asyncio.gather(self._server(place).send(_ASKING), self._send(place, command))
                case _:
                    place = await self._settled(slot, code_of(reply))
                    reply = await self._send(place, command)
        return reply

    async def _settled(self, slot: int, refusal: str) -> Place:
        """The place of a slot that had none, or whose keys were on their way, after a while."""
        if refusal == "TRYAGAIN":
            await asyncio.sleep(_RETRY_PAUSE)
        else:
            await self._refreshed()
        while (place := self._places[slot]) is None:
            await asyncio.sleep(_RETRY_PAUSE)
            await self._refreshed()
        return place

    async def _send(self, place: Place, command: bytes) -> Reply:
        try:
            return await self._server(place).send(command)
        except StoreUnavailable:
            # It may be that another server has its slots by now.
            self._refresh_soon()
            raise

    def _server(self, place: Place) -> Server:
        server = self._servers.get(place)
        if server is None:
            server = self._servers[place] = Server(partial(self._dialler.dial_node, *place), self._deadline)
        return server

    # --- which server has which slot --------------------------------------------------------------------------

    async def _refreshed(self) -> None:
        # Who stops waiting takes nothing from the others.
        await asyncio.shield(self._refresh_soon())

    def _refresh_soon(self) -> "asyncio.Task[None]":
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.ensure_future(self._refresh())
        return self._refreshing

    async def _refresh(self) -> None:
        """Learn the slots from the first server that tells them."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._rested - loop.time())
        known = [*{*self._servers, *self._seeds}]
        random.shuffle(known)
        for place in known:
            slots = await self._slots_by(place)
            if slots:
                await self._learn(place, slots)
                break
        self._rested = loop.time() + _REFRESH_PAUSE

    async def _slots_by(self, place: Place) -> Sequence[Sequence[Reply]]:
        """The slots as this server knows them; none where it does not tell in time for another to be asked."""
        try:
            async with asyncio.timeout(self._deadline / 2):
                reply = await self._server(place).send(_SLOTS)
        except (TimeoutError, StoreUnavailable):
            return ()
        return () if isinstance(reply, ReplyError) else reply

    async def _learn(self, teller: Place, slots: Sequence[Sequence[Reply]]) -> None:
        places: list[Place | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, (host, port, *_), *_ in slots:
            # A server that does not know its own name, or does not tell it, means the one that was asked.
            known = teller[0] if host in {None, b"", b"?"} else host.decode()
            places[first : last + 1] = [(known, port)] * (last - first + 1)
        self._places = places
        for place in {*self._servers}.difference(places):
            if self._servers[place].is_idle:
                await self._servers.pop(place).aclose()


def _place(address: str, asked: Place | None) -> Place:
    """The place that a redirection names; without a host, it is that of whoever was asked."""
    host, _, port = address.rpartition(":")
    return host or (asked[0] if asked is not None else ""), int(port)
