"""The way to Redis: which URLs name one, and that each kind of them leads there."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from redis.exceptions import ResponseError

from adapters.redis.address import Address, Kind, parse_url
from adapters.redis.connection import RedisConnection
from adapters.redis.doorbell import RedisDoorbell
from adapters.redis.scripts import script
from domain.errors import StoreUnavailable
from tests.contracts.backends import Backend, connected, eventually
from tests.ports import free_port
from tests.redis_server import RedisServer, redis_cluster, redis_sentinel, redis_server, wait_until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://localhost", Address(Kind.SERVER, (("localhost", 6379),))),
        ("redis://10.0.0.7:6380/", Address(Kind.SERVER, (("10.0.0.7", 6380),))),
        ("redis://[::1]:6380/3", Address(Kind.SERVER, (("::1", 6380),), db=3)),
        ("redis://:s3%2Fcret@r", Address(Kind.SERVER, (("r", 6379),), password="s3/cret")),
        ("rediss://app:p@ss@r/15", Address(Kind.SERVER, (("r", 6379),), True, 15, "", "app", "p@ss")),
        ("redis+sentinel://a,b:1/main", Address(Kind.SENTINEL, (("a", 26379), ("b", 1)), service="main")),
        ("redis+sentinel://:x@a/main/2", Address(Kind.SENTINEL, (("a", 26379),), False, 2, "main", None, "x")),
        ("redis+cluster://a:7000,b", Address(Kind.CLUSTER, (("a", 7000), ("b", 6379)))),
        ("rediss+cluster://a/", Address(Kind.CLUSTER, (("a", 6379),), tls=True)),
    ],
)
def test_a_url_names_an_address(url: str, address: Address) -> None:
    assert parse_url(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "localhost:6379",
        "http://localhost",
        "unix:///run/redis.sock",
        "redisss://localhost",
        "REDIS://localhost",
        "redis+replica://localhost",
        "redis:/localhost",
        "redis://",
        "redis:///0",
        "redis://a,b",
        "redis://a:0",
        "redis://a:65536",
        "redis://a:port",
        "redis://a:",
        "redis://::1",
        "redis://a b",
        "redis://a/x",
        "redis://a/-1",
        "redis://a/0/1",
        "redis://a?db=1",
        "redis://a/0#b",
        "redis://user@a",
        "redis://user:@a",
        "redis+sentinel://a",
        "redis+sentinel://a/",
        "redis+sentinel://a/main/x",
        "redis+sentinel://a,/main",
        "redis+cluster://a/1",
        "redis+cluster://a,,b",
    ],
)
def test_nonsense_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        RedisConnection(url)


@pytest.mark.parametrize("url", ["http://:s3cret@a", "redis://:s3cret@a:port", "redis://a/s3cret", "redis://s3cret@a"])
def test_a_password_is_in_no_message(url: str) -> None:
    with pytest.raises(ValueError) as refusal:
        parse_url(url)

    assert "s3cret" not in str(refusal.value)
    assert "s3cret" not in repr(parse_url("redis://:s3cret@a"))


@pytest.mark.parametrize("url", ["redis://{}", "rediss://{}", "redis+sentinel://{}/main", "redis+cluster://{}"])
async def test_nothing_is_opened_before_the_first_command(url: str) -> None:
    connection = RedisConnection(url.format(f"127.0.0.1:{free_port()}"))

    with pytest.raises(StoreUnavailable):
        await connection.command("GET", "a")

    await connection.aclose()


@pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)
async def test_more_callers_than_sockets_wait_for_their_turn(backend: Backend) -> None:
    connection = RedisConnection(backend.url or "", size=2, timeout=5.0, deadline=10.0)

    replies = await asyncio.gather(*(connection.command("INCR", "tenant:a") for _ in range(300)))
    await connection.aclose()

    assert sorted(replies) == [*range(1, 301)]


@pytest.mark.parametrize("backend", ["redis"], indirect=True)
async def test_a_url_chooses_the_database(backend: Backend, connection: RedisConnection, server: RedisServer) -> None:
    async with connected(f"{backend.url}/3") as other:
        await other.command("SET", "tenant:a", "there")

        assert await connection.command("GET", "tenant:a") is None
        assert await other.command("GET", "tenant:a") == b"there"


@pytest.mark.parametrize("backend", ["redis"], indirect=True)
async def test_a_url_brings_the_password(server: RedisServer, backend: Backend) -> None:
    server.command("CONFIG", "SET", "requirepass", "s3/cret")

    async with (
        connected(f"redis://127.0.0.1:{server.port}") as stranger,
        connected(f"redis://default:s3%2Fcret@127.0.0.1:{server.port}") as friend,
    ):
        with pytest.raises(StoreUnavailable):
            await stranger.command("GET", "tenant:a")
        await friend.command("CONFIG", "SET", "requirepass", "")

    assert server.answers()


# --- what moves -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_sentinel_leads_to_the_master_even_when_another_becomes_it(tmp_path: Path) -> None:
    homes = [tmp_path / name for name in ("master", "replica", "sentinel")]
    for home in homes:
        home.mkdir()
    with redis_server(homes[0], "--repl-diskless-sync-delay", "0") as first, redis_server(homes[1]) as second:
        second.command("REPLICAOF", "127.0.0.1", first.port)
        # Sentinel asks for replicas at its start, and then every ten seconds.
        wait_until(lambda: bool(first.command("ROLE")[2]), "a replica")
        with redis_sentinel(homes[2], first) as sentinel:
            async with connected(f"redis+sentinel://127.0.0.1:{sentinel.port}/main") as connection:
                await connection.command("SET", "tenant:a", "before")
                wait_until(lambda: _fails_over(sentinel), "a replica that sentinel trusts", 30)
                await eventually(lambda: _arrives(connection, second), seconds=30)

            assert second.command("ROLE")[0] == b"master"


def _fails_over(sentinel: RedisServer) -> bool:
    try:
        return sentinel.command("SENTINEL", "FAILOVER", "main") is not None
    except ResponseError:
        return False


async def _arrives(connection: RedisConnection, server: RedisServer) -> bool:
    """Whether a master, and this server, has what is written through the connection."""
    if server.command("ROLE")[0] != b"master":
        return False
    with suppress(StoreUnavailable):
        await connection.command("SET", "tenant:a", "after")
    return bool(server.command("GET", "tenant:a") == b"after")


@pytest.mark.slow
async def test_a_dead_node_of_a_cluster_takes_its_own_slots_along_and_no_others(tmp_path: Path) -> None:
    names = [f"tenant:t{number}" for number in range(60)]
    with redis_cluster(tmp_path) as cluster:
        async with connected(cluster.url) as connection:
            await asyncio.gather(*(connection.command("SET", name, "1") for name in names))
            lost = {key.decode() for key in cluster.nodes[0].command("KEYS", "*")}

            cluster.nodes[0].kill()
            replies = await asyncio.gather(*(_get(connection, name) for name in names))
            cluster.nodes[0].start()
            await eventually(lambda: _found(connection, names), seconds=20)

    assert {name for name, reply in zip(names, replies, strict=True) if reply is None} == lost


async def _get(connection: RedisConnection, name: str) -> str | None:
    try:
        return str(await connection.command("GET", name))
    except StoreUnavailable:
        return None


async def _found(connection: RedisConnection, names: list[str]) -> bool:
    return None not in [await _get(connection, name) for name in names]


# --- leaving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["server", "cluster"])
async def test_at_whatever_moment_a_caller_is_cancelled_it_leaves(request: pytest.FixtureRequest, kind: str) -> None:
    async with connected(request.getfixturevalue(kind).url) as connection:

        async def go_on_asking() -> None:
            while True:
                await connection.command("GET", "k")

        for number in range(100):
            asking = asyncio.ensure_future(go_on_asking())
            await asyncio.sleep(number / 50_000)
            asking.cancel()
            await asyncio.wait((asking,), timeout=1)
            assert asking.cancelled()


async def test_at_whatever_moment_a_doorbell_is_taken_down_it_is_gone(server: RedisServer) -> None:
    for number in range(50):
        doorbell = RedisDoorbell(server.url, quiet=0.001)
        doorbell.subscribe("topic", lambda _: None)
        await asyncio.sleep(number / 5_000)

        async with asyncio.timeout(2):
            await doorbell.aclose()


@pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)
async def test_who_watches_is_told_of_each_answer(backend: Backend) -> None:
    told: list[tuple[str, float, bool]] = []
    connection = RedisConnection(backend.url or "", timeout=5.0, deadline=10.0, watch=lambda *each: told.append(each))

    await connection.command("SET", "tenant:a", "x")
    await connection.run(script("runs/enlist"), ["workers"], ["", "worker", 1, 1000])
    await connection.aclose()

    # A server that has not seen a script is asked for it twice.
    assert [(name, answered) for name, _, answered in told][:2] == [("SET", True), ("runs/enlist", True)]
    assert all(0 < seconds < 10 for _, seconds, _ in told)


async def test_who_watches_is_told_that_there_was_no_answer() -> None:
    told: list[tuple[str, float, bool]] = []
    connection = RedisConnection(f"redis://127.0.0.1:{free_port()}", watch=lambda *each: told.append(each))

    with pytest.raises(StoreUnavailable):
        await connection.command("GET", "a")
    await connection.aclose()

    assert [(name, answered) for name, _, answered in told] == [("GET", False)]
