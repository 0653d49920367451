"""Doorbell: whoever subscribed is rung when there is something new, on any replica, and again after an outage."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from adapters.memory.doorbell import MemoryDoorbell
from adapters.redis import keys
from adapters.redis.connection import RedisConnection
from adapters.redis.doorbell import RedisDoorbell
from domain.ports import CANCELS, JOBS, Doorbell, RunStore
from tests.contracts.backends import Backend, eventually
from tests.contracts.proxy import proxied
from tests.contracts.runs import COMPLETED, WORK, entries, new_run, queued_run, store_on
from tests.fakes import FrozenClock
from tests.redis_server import RedisServer

pytestmark = pytest.mark.anyio

on_redis = pytest.mark.parametrize("backend", ["redis"], indirect=True)
on_both = pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)

#: Seconds after which a connection that says nothing is asked, and after thrice as many given up.
QUIET = 0.3


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RedisDoorbell]:
    bell = RedisDoorbell(url, quiet=QUIET, longest_pause=0.2)
    try:
        yield bell
    finally:
        await bell.aclose()


@pytest.fixture
async def bell(backend: Backend) -> AsyncIterator[Doorbell]:
    if backend.url is None:
        yield MemoryDoorbell()
        return
    async with opened(backend.url) as bell:
        yield bell


@pytest.fixture
def store(connection: RedisConnection | None, clock: FrozenClock, bell: Doorbell) -> RunStore:
    return store_on(connection, clock, bell if isinstance(bell, MemoryDoorbell) else None)


class Rings:
    """A ring that keeps the messages."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def __call__(self, message: str) -> None:
        self.messages.append(message)

    async def reach(self, *messages: str) -> None:
        await eventually(lambda: self._are([*messages]))

    async def _are(self, messages: list[str]) -> bool:
        return self.messages == messages


async def subscribed(backend: Backend, bell: Doorbell, *topics: str) -> list[Rings]:
    """The rings of each topic, once every one is heard of."""
    rings = [Rings() for _ in topics]
    for topic, ring in zip(topics, rings, strict=True):
        bell.subscribe(topic, ring)
    await eventually(lambda: _known(backend, {*topics}))
    return rings


async def _known(backend: Backend, topics: set[str]) -> bool:
    return not backend.servers or topics == {
        name.decode().removeprefix("doorbell:")
        for server in backend.servers
        for name in server.command("PUBSUB", "CHANNELS")
    }


# --- what rings ---------------------------------------------------------------------------------------------------


async def test_a_run_rings_when_its_log_grows_and_when_it_ends(
    backend: Backend, bell: Doorbell, store: RunStore
) -> None:
    run, other = new_run(), new_run()
    await asyncio.gather(store.begin(run, WORK), store.begin(other, WORK))
    rings, others = await subscribed(backend, bell, run.id, other.id)

    await store.append(run.id, 1, 0, entries(1, 3))
    await store.append(run.id, 1, 3, entries(4, 4))
    await store.append(run.id, 1, 4, (), COMPLETED)

    await rings.reach("", "", "")
    assert others.messages == []


async def test_a_call_that_changes_nothing_rings_nobody(backend: Backend, bell: Doorbell, store: RunStore) -> None:
    run, last = new_run(), new_run()
    await asyncio.gather(store.begin(run, WORK), store.begin(last, WORK))
    await store.append(run.id, 1, 0, entries(1, 1))
    jobs, rings, lasts = await subscribed(backend, bell, JOBS, run.id, last.id)

    await store.append(run.id, 1, 0, entries(1, 1))
    await store.append(run.id, 1, 1, ())
    await store.append(run.id, 7, 1, entries(2, 2), COMPLETED)
    await store.requeue(run.id, 7)
    await store.begin(run, WORK)
    await store.append(last.id, 1, 0, entries(1, 1))

    await lasts.reach("")
    assert (jobs.messages, rings.messages) == ([], [])


async def test_a_run_that_joins_the_queue_rings_with_its_shard(
    backend: Backend, bell: Doorbell, store: RunStore
) -> None:
    running = new_run(shard=12)
    await store.begin(running, WORK)
    jobs, rings = await subscribed(backend, bell, JOBS, running.id)

    await store.begin(queued_run(7), WORK)
    await store.requeue(running.id, 1)

    await jobs.reach("7", "12")
    await rings.reach("")


async def test_a_cancel_rings_with_the_run(backend: Backend, bell: Doorbell, store: RunStore) -> None:
    running, waiting = new_run(), queued_run()
    await asyncio.gather(store.begin(running, WORK), store.begin(waiting, WORK))
    (cancels,) = await subscribed(backend, bell, CANCELS)

    await store.cancel(running.id)
    await store.cancel(waiting.id)

    await cancels.reach(running.id, waiting.id)


# --- subscribing --------------------------------------------------------------------------------------------------


async def test_everybody_who_subscribed_is_rung_and_nobody_who_left(
    backend: Backend, bell: Doorbell, store: RunStore
) -> None:
    run = new_run()
    await store.begin(run, WORK)
    rings = await subscribed(backend, bell, run.id)
    rings += [Rings(), Rings()]
    bell.subscribe(run.id, rings[1])
    bell.subscribe(run.id, rings[2])
    bell.unsubscribe(run.id, rings[1])
    bell.unsubscribe(run.id, rings[1])
    bell.unsubscribe("another", rings[0])

    await store.append(run.id, 1, 0, entries(1, 1))

    await rings[0].reach("")
    await rings[2].reach("")
    assert rings[1].messages == []


@on_both
async def test_a_channel_is_left_with_its_last_subscriber(backend: Backend, bell: Doorbell) -> None:
    jobs, cancels = await subscribed(backend, bell, JOBS, CANCELS)

    bell.unsubscribe(CANCELS, cancels)
    await eventually(lambda: _known(backend, {JOBS}))
    bell.unsubscribe(JOBS, jobs)
    await eventually(lambda: _known(backend, set()))
    again = await subscribed(backend, bell, JOBS)
    await _rung(backend, again[0])


@on_both
async def test_thousands_of_topics_are_one_connection(backend: Backend, bell: Doorbell) -> None:
    topics = [new_run().id for _ in range(3000)]

    await subscribed(backend, bell, *topics)

    assert _connections(backend) == 1


def _connections(backend: Backend) -> int:
    listed = [server.command("CLIENT", "LIST", "TYPE", "pubsub") for server in backend.servers]
    return sum(len(lines.splitlines()) for lines in listed)


@on_redis
async def test_a_ring_that_fails_keeps_nobody_else_from_being_rung(backend: Backend, bell: Doorbell) -> None:
    reported = list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context.get("exception")))

    def fails(message: str) -> None:
        raise RuntimeError(message)

    bell.subscribe(JOBS, fails)
    (rings,) = await subscribed(backend, bell, JOBS)
    backend.servers[0].command("PUBLISH", keys.channel(JOBS), "3")

    await rings.reach("3")
    assert [type(error) for error in reported] == [RuntimeError]


@on_redis
async def test_no_connection_outlives_the_bell(backend: Backend) -> None:
    async with opened(backend.url or "") as bell:
        await subscribed(backend, bell, JOBS)

    await eventually(lambda: _is(lambda: _connections(backend), 0))


async def _is(ask: Callable[[], int], answer: int) -> bool:
    return ask() == answer


async def test_a_bell_that_nobody_ever_used_can_be_closed() -> None:
    await RedisDoorbell("redis://127.0.0.1:1").aclose()


# --- outages ------------------------------------------------------------------------------------------------------


async def _rung(backend: Backend, rings: Rings, seconds: float = 15.0) -> None:
    """Ring until it is heard: a ring may be lost, not for ever."""
    rings.messages.clear()

    async def heard() -> bool:
        backend.servers[0].command("PUBLISH", keys.channel(JOBS), "3")
        await asyncio.sleep(0.01)
        return bool(rings.messages)

    await eventually(heard, seconds)


def _cut(server: RedisServer) -> Awaitable[None]:
    server.command("CLIENT", "KILL", "TYPE", "pubsub")
    return asyncio.sleep(0)


async def _restart(server: RedisServer) -> None:
    server.kill()
    await asyncio.sleep(3 * QUIET)
    server.start()


async def _freeze(server: RedisServer) -> None:
    """For so long that the connection is given up, and the next one is not answered either."""
    server.freeze()
    await asyncio.sleep(5 * QUIET)
    server.thaw()


@on_redis
@pytest.mark.parametrize("outage", [_cut, _restart, _freeze], ids=["cut", "restarted", "frozen"])
async def test_the_bell_rings_again_after_an_outage(
    backend: Backend, bell: Doorbell, outage: Callable[[RedisServer], Awaitable[None]]
) -> None:
    rings, _ = await subscribed(backend, bell, JOBS, CANCELS)

    for _ in range(2):
        await outage(backend.servers[0])
        await _rung(backend, rings)

    await eventually(lambda: _known(backend, {JOBS, CANCELS}))
    await eventually(lambda: _is(lambda: _connections(backend), 1))


@on_redis
async def test_a_connection_that_went_silent_is_given_up(backend: Backend) -> None:
    async with proxied(backend.servers[0].port) as proxy, opened(proxy.url) as bell:
        (rings,) = await subscribed(backend, bell, JOBS)

        proxy.muted += 1

        await _rung(backend, rings)


@on_redis
async def test_a_connection_on_which_nothing_happens_is_kept(backend: Backend, bell: Doorbell) -> None:
    await subscribed(backend, bell, JOBS)
    before = _connected(backend)

    await eventually(lambda: _asked(backend, 5))

    assert _connected(backend) == before


def _connected(backend: Backend) -> list[str]:
    """The ids of the connections that listen."""
    lines = backend.servers[0].command("CLIENT", "LIST", "TYPE", "pubsub").decode().splitlines()
    return [line.split()[0] for line in lines]


async def _asked(backend: Backend, times: int) -> bool:
    return backend.calls("ping") >= times


@on_redis
async def test_what_is_subscribed_to_during_an_outage_rings_after_it(backend: Backend, bell: Doorbell) -> None:
    (cancels,) = await subscribed(backend, bell, CANCELS)
    rings = Rings()

    backend.servers[0].kill()
    bell.subscribe(JOBS, rings)
    bell.unsubscribe(CANCELS, cancels)
    await asyncio.sleep(QUIET)
    backend.servers[0].start()

    await _rung(backend, rings)
    await eventually(lambda: _known(backend, {JOBS}))


@on_redis
async def test_a_bell_whose_redis_is_not_there_yet_waits_for_it(backend: Backend, bell: Doorbell) -> None:
    rings = Rings()
    backend.servers[0].kill()

    bell.subscribe(JOBS, rings)
    await asyncio.sleep(QUIET)
    backend.servers[0].start()

    await _rung(backend, rings)


@pytest.mark.parametrize("backend", ["cluster"], indirect=True)
async def test_any_living_node_of_a_cluster_will_do(backend: Backend, bell: Doorbell) -> None:
    (rings,) = await subscribed(backend, bell, JOBS)
    (listened,) = (server for server in backend.servers if server.command("PUBSUB", "CHANNELS"))

    listened.kill()
    try:
        living = Backend("cluster", servers=[server for server in backend.servers if server is not listened])
        await _rung(living, rings, 30)
    finally:
        listened.start()
        await eventually(lambda: _whole(backend), 30)


async def _whole(backend: Backend) -> bool:
    infos = [server.command("CLUSTER", "INFO").decode() for server in backend.servers]
    return all("cluster_state:ok" in info for info in infos)
