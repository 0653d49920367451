"""The connection to a server, under callers that leave and servers that misbehave: every reply is its caller's."""

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from adapters.redis import pipe
from adapters.redis.connection import RedisConnection
from domain.errors import StoreUnavailable
from tests.contracts.backends import Backend, connected, eventually
from tests.contracts.scripted_redis import ScriptedRedis, scripted_redis
from tests.redis_server import RedisServer

pytestmark = pytest.mark.anyio

CALLS = 10_000
KEYS = 500


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedRedis]:
    async with scripted_redis() as running:
        yield running


@asynccontextmanager
async def opened(url: str, *, size: int = 1_024, deadline: float = 0.2) -> AsyncIterator[RedisConnection]:
    connection = RedisConnection(url, size=size, timeout=deadline, deadline=deadline)
    try:
        yield connection
    finally:
        await connection.aclose()


async def refused(connection: RedisConnection, key: str = "k") -> bool:
    try:
        await connection.command("GET", key)
    except StoreUnavailable:
        return True
    return False


# --- whose reply it is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)
@pytest.mark.parametrize("size", [7, 1_024])
async def test_of_callers_half_of_whom_leave_each_gets_its_own_reply_or_none(backend: Backend, size: int) -> None:
    dice = random.Random(size)
    connection = RedisConnection(backend.url or "", size=size, timeout=10.0, deadline=20.0)
    await asyncio.gather(*(connection.command("SET", f"tenant:t{key}", f"v{key}") for key in range(KEYS)))

    async def ask(key: int) -> tuple[int, bytes]:
        return key, await connection.command("GET", f"tenant:t{key}")

    asked = []
    for _ in range(CALLS):
        asked.append(asyncio.ensure_future(ask(dice.randrange(KEYS))))
        if dice.random() < 0.5:
            # One that has just begun, is on its way, or has its reply.
            asked[-1 - dice.randrange(min(len(asked), 40))].cancel()
        if dice.random() < 0.05:
            await asyncio.sleep(0)
    answers = [each for each in await asyncio.gather(*asked, return_exceptions=True) if isinstance(each, tuple)]
    await connection.aclose()

    assert CALLS / 4 < len(answers) < CALLS
    assert all(reply == b"v%d" % key for key, reply in answers)


async def test_what_is_asked_in_one_turn_of_the_loop_leaves_in_one_write(scripted: ScriptedRedis) -> None:
    reads: list[int] = []

    def answer(_: object) -> bytes:
        reads.append(scripted.reads)
        return b"+OK\r\n"

    scripted.answer = answer
    async with opened(scripted.url) as connection:
        await connection.command("GET", "k")
        await asyncio.gather(*(connection.command("GET", "k") for _ in range(100)))

    assert len({*reads[1:]}) == 1


async def test_what_nobody_waits_for_any_more_is_not_sent(scripted: ScriptedRedis) -> None:
    scripted.answer = lambda _: b""
    async with opened(scripted.url, size=1, deadline=5.0) as connection:
        under_way = asyncio.ensure_future(connection.command("GET", "first"))
        await eventually(lambda: _heard(scripted, b"first"))
        left = asyncio.ensure_future(connection.command("GET", "second"))
        await asyncio.sleep(0)
        left.cancel()
        under_way.cancel()
        scripted.answer = lambda _: b"+OK\r\n+OK\r\n"
        late = asyncio.ensure_future(connection.command("GET", "third"))
        await asyncio.sleep(0)

        with suppress(asyncio.CancelledError):
            await left
        late.cancel()

    assert not await _heard(scripted, b"second")


async def _heard(scripted: ScriptedRedis, key: bytes) -> bool:
    return any(key in command for command in scripted.heard)


# --- servers that misbehave -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\xff\xfe",
        b"$-7\r\n",
        b":not a number\r\n",
        b"*1000000000000\r\n",
        b"+OK\r\n+another's\r\n",
    ],
)
async def test_a_server_that_speaks_nonsense_is_left_and_asked_anew(scripted: ScriptedRedis, garbage: bytes) -> None:
    scripted.answer = lambda _: garbage
    async with opened(scripted.url) as connection:
        first = await refused(connection)
        scripted.answer = lambda _: b"$4\r\nsane\r\n"
        with suppress(StoreUnavailable):
            # Where the nonsense came behind a reply, nobody may have seen it yet.
            await connection.command("GET", "k")
        reply = await connection.command("GET", "k")

    assert (first, reply) == (not garbage.startswith(b"+OK"), b"sane")
    assert scripted.connections == 2


@pytest.mark.parametrize("half", [b"$10\r\nhalf", b"*2\r\n:1\r\n", b"$", b""])
async def test_half_a_reply_is_none(scripted: ScriptedRedis, half: bytes) -> None:
    cut = iter([half, None])
    scripted.answer = lambda _: next(cut)
    async with opened(scripted.url, deadline=5.0) as connection:
        outcomes = [*await asyncio.gather(refused(connection), refused(connection))]
        scripted.answer = lambda _: b"+whole\r\n"
        reply = await connection.command("GET", "k")

    assert (outcomes, reply) == ([True, True], b"whole")


async def test_a_reply_may_come_byte_by_byte(server: RedisServer) -> None:
    reader, writers = await _trickling(server)
    async with connected(f"redis://127.0.0.1:{reader.sockets[0].getsockname()[1]}") as connection:
        await connection.command("SET", "tenant:a", "x" * 300)
        reply = await connection.command("GET", "tenant:a")
    reader.close()
    for writer in writers:
        writer.close()

    assert reply == b"x" * 300


async def test_a_reply_larger_than_any_of_ours_is_not_waited_for(
    scripted: ScriptedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipe, "_REPLY_BYTES", 1_000_000)
    async with opened(scripted.url, deadline=5.0) as connection:
        scripted.answer = lambda _: b"$900000\r\n" + b"x" * 900_000 + b"\r\n"
        large = await connection.command("GET", "k")
        scripted.answer = lambda _: b"$2000000000\r\n" + b"x" * 2_000_000
        too_large = await refused(connection)
        scripted.answer = lambda _: b"+small\r\n"
        reply = await connection.command("GET", "k")

    assert (len(large), too_large, reply) == (900_000, True, b"small")


async def test_an_error_is_its_callers_and_nobody_elses(scripted: ScriptedRedis) -> None:
    scripted.answer = lambda command: b"-WRONGTYPE\r\n" if command[1] == b"bad" else b"+fine\r\n"
    async with opened(scripted.url) as connection:
        outcomes = await asyncio.gather(*(refused(connection, key) for key in ("good", "bad", "good")))

    assert outcomes == [False, True, False]
    assert scripted.connections == 1


async def test_a_server_that_was_demoted_is_left(scripted: ScriptedRedis) -> None:
    scripted.answer = lambda _: b"-READONLY You can't write against a read only replica.\r\n"
    async with opened(scripted.url) as connection:
        demoted = await refused(connection)
        scripted.answer = lambda _: b"+OK\r\n"
        again = await refused(connection)

    assert (demoted, again, scripted.connections) == (True, False, 2)


# --- time -------------------------------------------------------------------------------------------------------------


async def test_when_the_oldest_has_waited_too_long_nobody_waits_on_that_connection_any_more(
    scripted: ScriptedRedis,
) -> None:
    scripted.answer = lambda _: b""
    async with opened(scripted.url, deadline=0.3) as connection:
        oldest = asyncio.ensure_future(refused(connection))
        await eventually(lambda: _heard(scripted, b"k"))
        younger = [asyncio.ensure_future(refused(connection, "young")) for _ in range(10)]
        await oldest
        await asyncio.sleep(0)
        outcomes = [each.done() and each.result() for each in younger]
        scripted.answer = lambda _: b"+OK\r\n"
        reply = await connection.command("GET", "k")

    assert outcomes == [True] * 10
    assert (reply, scripted.connections) == (b"OK", 2)


# Where timers come before what has arrived, unlike in asyncio's own loop.
@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})], ids=["uvloop"])
async def test_a_process_that_was_held_up_does_not_take_what_came_meanwhile_for_missing(server: RedisServer) -> None:
    async with opened(server.url, deadline=0.1) as connection:
        await connection.command("GET", "k")
        asking = asyncio.ensure_future(connection.command("GET", "k"))
        for _ in range(3):
            await asyncio.sleep(0)
        time.sleep(0.3)  # noqa: ASYNC251 - this is what is tested

        assert await asking is None


async def test_nothing_that_waited_for_a_frozen_server_is_executed_when_it_thaws(server: RedisServer) -> None:
    server.command("DEL", "tenant:n")
    async with opened(server.url) as connection:
        await connection.command("GET", "k")
        server.freeze()
        on_its_way = await refused(connection)
        waiting = await asyncio.gather(
            *(connection.command("INCR", "tenant:n") for _ in range(50)), return_exceptions=True
        )
        server.thaw()
        server.command("PING")
        await connection.command("GET", "k")

    assert on_its_way
    assert {type(each) for each in waiting} == {StoreUnavailable}
    assert server.command("GET", "tenant:n") is None


async def test_a_crowd_makes_one_connection_at_a_time_and_not_in_a_hurry(scripted: ScriptedRedis) -> None:
    scripted.greets = False
    async with opened(scripted.url, deadline=0.5) as connection:
        outcomes = await asyncio.gather(*(refused(connection) for _ in range(500)))
        attempts = scripted.connections
        scripted.greets = True
        replies = await asyncio.gather(*(connection.command("GET", "k") for _ in range(500)))

    assert outcomes == [True] * 500
    assert (replies, scripted.most_open) == ([b"OK"] * 500, 1)
    # Pauses are drawn from nothing up to a bound that doubles: this many in half a second would be none at all.
    assert attempts < 60


async def test_a_caller_is_served_when_the_server_is_back_within_its_deadline(server: RedisServer) -> None:
    async with opened(server.url, deadline=10.0) as connection:
        await connection.command("SET", "k", "v")
        server.kill()
        asking = asyncio.ensure_future(connection.command("PTTL", "k"))
        await asyncio.sleep(0.05)
        server.start()

        with suppress(StoreUnavailable):
            # It was on the connection that broke.
            await asking
        assert await connection.command("PTTL", "k") == -2


async def test_who_asks_a_closed_connection_is_refused(scripted: ScriptedRedis) -> None:
    async with opened(scripted.url) as connection:
        await connection.command("GET", "k")
        scripted.answer = lambda _: b""
        under_way = asyncio.ensure_future(refused(connection))
        await eventually(lambda: _is(scripted.heard[-1][0] == b"GET" and len(scripted.heard) == 3))
        await connection.aclose()

        assert await under_way
        assert await refused(connection)


async def _is(condition: bool) -> bool:
    return condition


# --- who we are -------------------------------------------------------------------------------------------------------


async def test_a_connection_begins_with_who_we_are_and_where(scripted: ScriptedRedis) -> None:
    async with opened(f"redis://app:s3cret@127.0.0.1:{scripted.port}/5") as connection:
        await connection.command("GET", "k")

    assert [tuple(command) for command in scripted.heard] == [
        (b"AUTH", b"app", b"s3cret"), (b"SELECT", b"5"), (b"PING",), (b"GET", b"k"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key, which is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return path


@pytest.mark.parametrize(("host", "is_trusted"), [("localhost", True), ("127.0.0.1", False)])
async def test_with_tls_the_server_has_to_be_who_it_says(
    authority: Path, monkeypatch: pytest.MonkeyPatch, host: str, is_trusted: bool
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(authority)
    async with (
        scripted_redis(tls) as scripted,
        opened(f"rediss://:s3cret@{host}:{scripted.port}", deadline=2.0 if is_trusted else 0.3) as connection,
    ):
        assert await refused(connection) is not is_trusted

    assert bool(scripted.heard) is is_trusted


async def test_a_user_of_the_servers_gets_what_its_rights_allow(server: RedisServer) -> None:
    server.command("ACL", "SETUSER", "app", "on", ">s3cret", "~tenant:*", "-@all", "+get")
    try:
        async with opened(f"redis://app:s3cret@127.0.0.1:{server.port}", deadline=2.0) as connection:
            allowed, other = await refused(connection, "tenant:a"), await refused(connection, "tokens:a")
        async with opened(f"redis://app:wrong@127.0.0.1:{server.port}") as connection:
            stranger = await refused(connection, "tenant:a")
    finally:
        server.command("ACL", "DELUSER", "app")

    assert (allowed, other, stranger) == (False, True, True)


async def _trickling(server: RedisServer) -> tuple[asyncio.Server, list[asyncio.StreamWriter]]:
    """A way to the server on which each byte of a reply comes by itself."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", server.port)
        writers.extend((writer, up_writer))
        while data := await reader.read(65_536):
            up_writer.write(data)
            for byte in await up_reader.read(65_536):
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)

    return await asyncio.start_server(serve, "127.0.0.1", 0), writers
