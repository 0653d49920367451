"""The way to a cluster whose slots move, while they are asked for."""

import asyncio
from hashlib import sha1

import pytest
from redis.crc import key_slot
from redis.exceptions import MovedError

from adapters.redis.connection import RedisConnection
from adapters.redis.scripts import Script
from domain.errors import StoreUnavailable
from tests.contracts.backends import Backend, connected
from tests.redis_server import RedisCluster, RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("backend", ["cluster"], indirect=True)]

#: Two keys of one slot, and which that is.
FIRST, SECOND = "{moving}:1", "{moving}:2"
SLOT = key_slot(b"moving")
_BOTH = "return redis.call('GET', KEYS[1]) .. redis.call('GET', KEYS[2])"
BOTH = Script("probe", _BOTH, sha1(_BOTH.encode(), usedforsecurity=False).hexdigest())


class Move:
    """A slot on its way from the server that has it to another."""

    def __init__(self, cluster: RedisCluster) -> None:
        self._nodes = cluster.nodes
        self._source = next(node for node in cluster.nodes if _has(node))
        self._target = next(node for node in cluster.nodes if not _has(node))

    def begin(self) -> None:
        self._target.command("CLUSTER", "SETSLOT", SLOT, "IMPORTING", _id(self._source))
        self._source.command("CLUSTER", "SETSLOT", SLOT, "MIGRATING", _id(self._target))

    def carry(self, key: str) -> None:
        self._source.command("MIGRATE", "127.0.0.1", self._target.port, key, 0, 5_000)

    def finish(self) -> None:
        for node in (self._target, self._source, *self._nodes):
            node.command("CLUSTER", "SETSLOT", SLOT, "NODE", _id(self._target))

    def all_at_once(self) -> None:
        self.begin()
        self.carry(FIRST)
        self.carry(SECOND)
        self.finish()


def _has(node: RedisServer) -> bool:
    try:
        node.command("GET", FIRST)
    except MovedError:
        return False
    return True


def _id(node: RedisServer) -> str:
    return str(node.command("CLUSTER", "MYID").decode())


@pytest.fixture
async def way(connection: RedisConnection) -> RedisConnection:
    """A connection that knows where everything is."""
    await connection.command("SET", FIRST, "one")
    await connection.command("SET", SECOND, "two")
    return connection


@pytest.fixture
def move(way: RedisConnection, cluster: RedisCluster) -> Move:
    return Move(cluster)


async def test_a_slot_that_has_moved_is_followed(way: RedisConnection, move: Move) -> None:
    move.all_at_once()

    assert await way.command("GET", FIRST) == b"one"
    assert await way.run(BOTH, [FIRST, SECOND], []) == b"onetwo"


async def test_what_is_on_its_way_is_found_on_either_side(way: RedisConnection, move: Move) -> None:
    move.begin()
    move.carry(FIRST)

    answers = [await way.command("GET", key) for key in (FIRST, SECOND)]
    written = await way.command("SET", FIRST, "1")
    move.carry(SECOND)
    move.finish()

    assert (answers, written) == ([b"one", b"two"], b"OK")
    assert await way.run(BOTH, [FIRST, SECOND], []) == b"1two"


async def test_keys_that_are_on_both_sides_are_waited_for(way: RedisConnection, move: Move) -> None:
    move.begin()
    move.carry(FIRST)
    asking = asyncio.ensure_future(way.run(BOTH, [FIRST, SECOND], []))
    await asyncio.wait((asking,), timeout=0.1)
    early = asking.done()

    move.carry(SECOND)
    move.finish()

    assert (early, await asking) == (False, b"onetwo")


async def test_keys_that_stay_on_both_sides_are_not_waited_for_longer_than_the_deadline(
    brisk: RedisConnection, way: RedisConnection, move: Move
) -> None:
    await brisk.command("GET", FIRST)
    move.begin()
    move.carry(FIRST)

    with pytest.raises(StoreUnavailable):
        await brisk.run(BOTH, [FIRST, SECOND], [])

    move.carry(SECOND)
    move.finish()


async def test_however_many_find_a_slot_moved_one_asks_where_the_slots_are(
    way: RedisConnection, move: Move, backend: Backend
) -> None:
    await asyncio.gather(*(way.command("GET", FIRST) for _ in range(10)))

    move.all_at_once()
    since = backend.calls("cluster|slots")
    answers = await asyncio.gather(*(way.command("GET", FIRST) for _ in range(1_000)))

    assert answers == [b"one"] * 1_000
    assert backend.calls("cluster|slots") - since <= 1


async def test_the_first_callers_ask_once_where_the_slots_are(backend: Backend) -> None:
    backend.flush()
    async with connected(backend.url or "") as connection:
        await asyncio.gather(*(connection.command("GET", f"tenant:t{number}") for number in range(500)))

    assert backend.calls("cluster|slots") == 1
