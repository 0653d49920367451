"""A Redis that is loading, busy, incomplete, behind, full or killed: what the ledger answers, and what is there after.

These are rows F7 to F11 of the faults that the ledger has to bear; the others are in ``test_outage``.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from adapters.redis.connection import RedisConnection
from adapters.redis.keys import AccountKeys
from adapters.redis.ledger import RedisLedger
from domain.errors import StoreUnavailable
from domain.ledger import Account, EntryKind, Hold
from tests.contracts.backends import Backend, connected, eventually
from tests.contracts.scripted_redis import ScriptedRedis, scripted_redis
from tests.redis_server import RedisServer, redis_server, wait_until

pytestmark = pytest.mark.anyio

ALICE = Account("acme", "staff", "alice")


@asynccontextmanager
async def ledger_on(url: str) -> AsyncIterator[RedisLedger]:
    async with connected(url) as connection:
        yield RedisLedger(connection)


async def hold(ledger: RedisLedger, hold_id: str, seconds: float = 60.0) -> Hold:
    return await ledger.hold(ALICE, hold_id, wanted=40, least=1, initial=100, seconds=seconds, lasting=True)


async def is_refused(call: Awaitable[object]) -> bool:
    try:
        await call
    except StoreUnavailable:
        return True
    return False


# --- F8: it answers, but not now --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n",
        b"-CLUSTERDOWN The cluster is down\r\n",
        b"-READONLY You can't write against a read only replica.\r\n",
        b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
        b"-NOREPLICAS Not enough good replicas to write.\r\n",
        b"-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.\r\n",
        b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    ],
)
async def test_what_redis_cannot_do_now_is_an_outage_and_asked_once(reply: bytes) -> None:
    async with scripted_redis() as scripted, ledger_on(scripted.url) as ledger:
        scripted.answer = lambda _: reply

        assert await is_refused(hold(ledger, "h1"))

        assert asked(scripted) == 1


def asked(scripted: ScriptedRedis) -> int:
    return sum(command[0] == b"EVALSHA" for command in scripted.heard)


async def test_scripts_that_redis_does_not_know_are_taught_once() -> None:
    async with scripted_redis() as scripted, ledger_on(scripted.url) as ledger:
        scripted.answer = lambda _: b"-NOSCRIPT No matching script. Please use EVAL.\r\n"

        assert await is_refused(hold(ledger, "h1"))

        taught = [command for command in scripted.heard if command[0] in (b"EVAL", b"SCRIPT")]
        assert len(taught) == 1


@contextmanager
def busy(server: RedisServer) -> Iterator[None]:
    """A script goes round and round meanwhile."""
    server.command("CONFIG", "SET", "busy-reply-threshold", 10)

    def spin() -> None:
        with suppress(RedisError):
            server.command("EVAL", "while true do end", 0)

    spinning = threading.Thread(target=spin)
    spinning.start()
    try:
        wait_until(lambda: not server.answers(), "a busy server")
        yield
    finally:
        server.command("SCRIPT", "KILL")
        spinning.join()


async def test_a_server_that_is_busy_with_a_script_is_used_again_when_that_ends(server: RedisServer) -> None:
    server.command("FLUSHALL")
    async with ledger_on(server.url) as ledger:
        await ledger.grant(ALICE, "o1", 100)
        with busy(server):
            refused = await is_refused(hold(ledger, "h1"))

        held = await hold(ledger, "h1")

    assert refused
    assert held.amount == 40


@pytest.mark.parametrize("backend", ["cluster"], indirect=True)
async def test_a_cluster_that_is_not_whole_refuses_and_goes_on_when_it_is(
    backend: Backend, brisk: RedisConnection
) -> None:
    ledger = RedisLedger(brisk)
    await eventually(lambda: is_granted(ledger))
    slot = backend.servers[0].command("CLUSTER", "KEYSLOT", AccountKeys.of(ALICE).balance)
    node = next(node for number, node in enumerate(backend.servers) if slot < 16_384 * (number + 1) // 3)

    async def is_refused_without_a_slot() -> bool:
        # The node forgets who has it, until the one who has it says so, which it may do at any moment.
        with suppress(RedisError):
            node.command("CLUSTER", "DELSLOTS", (slot + 8_192) % 16_384)
        return await is_refused(ledger.available(ALICE))

    await eventually(is_refused_without_a_slot)
    await eventually(lambda: answers(ledger))

    assert await ledger.available(ALICE) == 100
    assert await ledger.audit(ALICE) == ()


async def is_granted(ledger: RedisLedger) -> bool:
    return not await is_refused(ledger.grant(ALICE, "o1", 100))


async def answers(ledger: RedisLedger) -> bool:
    return not await is_refused(ledger.available(ALICE))


# --- F7: a failover to a replica that is behind -----------------------------------------------------------------------


@contextmanager
def replicated(folder: Path, *options: str) -> Iterator[tuple[RedisServer, RedisServer]]:
    """A master and its replica, which has all that the master has so far."""
    homes = [folder / name for name in ("master", "replica")]
    for home in homes:
        home.mkdir()
    with redis_server(homes[0], "--repl-diskless-sync-delay", "0", *options) as master, redis_server(homes[1]) as other:
        other.command("REPLICAOF", "127.0.0.1", master.port)
        catch_up(master, other)
        yield master, other


def catch_up(master: RedisServer, replica: RedisServer) -> None:
    """Wait until the replica has all that the master has."""

    def offsets() -> set[object]:
        told = [server.command("INFO", "replication") for server in (master, replica)]
        return {told[0]["master_repl_offset"], told[1].get("slave_repl_offset")}

    wait_until(lambda: bool(master.command("ROLE")[2]) and len(offsets()) == 1, "a replica")


def cut(replica: RedisServer) -> None:
    """It hears nothing more of its master, and keeps what it has."""
    replica.command("REPLICAOF", "127.0.0.1", 1)


def fail_over(master: RedisServer, replica: RedisServer) -> None:
    """The master is gone, and its replica takes its place."""
    master.kill()
    replica.command("REPLICAOF", "NO", "ONE")


@pytest.mark.slow
async def test_a_failover_to_a_replica_behind_brings_back_what_was_spent_and_what_waits_is_charged_again(
    tmp_path: Path,
) -> None:
    """Without ``min-replicas-to-write`` an answer is no promise: what the replica had not heard of is as if it had not
    been. The books are whole all the same, of an earlier moment, and a settlement that is told again is charged."""
    with replicated(tmp_path) as (master, replica):
        async with ledger_on(master.url) as ledger:
            await ledger.grant(ALICE, "o1", 100)
            await hold(ledger, "h1")
            catch_up(master, replica)
            cut(replica)
            charged = await ledger.settle(ALICE, "h1", 30)
        fail_over(master, replica)
        async with ledger_on(replica.url) as ledger:
            forgotten = await ledger.history(ALICE)
            findings = await ledger.audit(ALICE)
            again = [await ledger.settle(ALICE, "h1", 30) for _ in range(2)]
            left = await ledger.available(ALICE)
            audited = await ledger.audit(ALICE)

    assert charged == 30
    assert [entry.kind for entry in forgotten] == [EntryKind.HOLD, EntryKind.GRANT]
    assert (findings, audited) == ((), ())
    assert (again, left) == ([30, 30], 70)


@pytest.mark.slow
async def test_a_master_that_has_to_have_a_replica_refuses_what_a_failover_would_forget(tmp_path: Path) -> None:
    demands = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "1")
    with replicated(tmp_path, *demands) as (master, replica):
        async with ledger_on(master.url) as ledger:
            await ledger.grant(ALICE, "o1", 100)
            await hold(ledger, "h1")
            catch_up(master, replica)
            cut(replica)
            # That has to be noticed first; to say again what is so changes nothing meanwhile.
            await eventually(lambda: is_refused(ledger.touch(ALICE, "h1", 0, 60.0)))

            refused = [
                await is_refused(hold(ledger, "h2")),
                await is_refused(ledger.settle(ALICE, "h1", 30)),
                await is_refused(ledger.grant(ALICE, "o2", 50)),
            ]
        fail_over(master, replica)
        async with ledger_on(replica.url) as ledger:
            kept = await ledger.available(ALICE)
            charged = await ledger.settle(ALICE, "h1", 30)
            left = await ledger.available(ALICE)
            findings = await ledger.audit(ALICE)

    assert refused == [True] * 3
    assert kept == 60
    assert (charged, left) == (30, 70)
    assert findings == ()


# --- F9: it is full ---------------------------------------------------------------------------------------------------


async def test_on_a_full_server_a_hold_lapses_and_can_be_settled_late(server: RedisServer) -> None:
    server.command("FLUSHALL")
    async with ledger_on(server.url) as ledger:
        await ledger.grant(ALICE, "o1", 100)
        await hold(ledger, "h1", seconds=0.2)
        await ledger.touch(ALICE, "h1", 10, 0.05)
        server.command("CONFIG", "SET", "maxmemory", 1)
        try:
            refused = await is_refused(hold(ledger, "h2"))
            await eventually(lambda: has_lapsed(ledger))
            charged = await ledger.settle(ALICE, "h1", 30)
            left = await ledger.available(ALICE)
        finally:
            server.command("CONFIG", "SET", "maxmemory", 0)

    assert refused
    assert (charged, left) == (30, 70)


async def has_lapsed(ledger: RedisLedger) -> bool:
    return any(entry.kind is EntryKind.LAPSE for entry in await ledger.history(ALICE))


# --- F11: it is killed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", ["always", "everysec"])
async def test_a_server_with_an_append_only_file_forgets_nothing_that_it_answered_when_it_is_killed(
    tmp_path: Path, every: str
) -> None:
    with redis_server(tmp_path, "--appendfsync", every, append_only=True) as server:
        async with ledger_on(server.url) as ledger:
            await ledger.grant(ALICE, "o1", 100_000)
            await asyncio.gather(*(hold(ledger, f"h{number}") for number in range(200)))
            charged = await asyncio.gather(*(ledger.settle(ALICE, f"h{number}", 7) for number in range(200)))
            server.kill()
            server.start()
            await eventually(lambda: answers(ledger))

            left = await ledger.available(ALICE)
            findings = await ledger.audit(ALICE)

    assert sum(charged) == 200 * 7
    assert left == 100_000 - 200 * 7
    assert findings == ()
