"""Outages: who asks a Redis that is away is told so in time, and is served again when it is back."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import pytest

from adapters.redis.apikeys import RedisApiKeyStore
from adapters.redis.connection import RedisConnection
from adapters.redis.ledger import RedisLedger
from adapters.redis.names import RedisRunNames
from adapters.redis.rate import RedisRateLimiter
from adapters.redis.runs import RedisRunStore
from adapters.redis.tenants import RedisTenantStore
from domain.keys import ApiKey
from domain.ledger import Account, Hold
from domain.ports import Clock, Named
from domain.rate import Allowance, Charge, Slot
from domain.runs import Appended, Claim, Standing, Status, claimed, ended
from domain.tenants import Limits
from tests.contracts.backends import Backend, connected, eventually
from tests.contracts.proxy import Proxy, lost, proxied
from tests.contracts.runs import COMPLETED, LEASE, WORK, entries, new_run, queued_run, taken
from tests.fakes import FrozenClock
from tests.redis_server import RedisServer

pytestmark = pytest.mark.anyio

on_redis = pytest.mark.parametrize("backend", ["redis"], indirect=True)
on_both = pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)

ALICE, BOB = Account("acme", "staff", "alice"), Account("acme", "staff", "bob")
REQUEST = Charge("rpm", "requests", Allowance(100), 1)
PLACE = Slot("runs", 1, "run-1", 30.0)
API_KEY = ApiKey("key-1", "d" * 64, "sk-sluice-abcdef", "acme", "staff", "alice", "CI", 1_800_000_000)
#: The deadline in service is half a second; the rest is for a busy machine.
IN_TIME = 3.0


@dataclass(frozen=True, slots=True)
class Stores:
    """All that is kept in Redis, by one connection; no tenant is remembered for longer than a moment."""

    tenants: RedisTenantStore
    ledger: RedisLedger
    limiter: RedisRateLimiter
    runs: RedisRunStore
    names: RedisRunNames
    api_keys: RedisApiKeyStore

    @classmethod
    def of(cls, connection: RedisConnection, clock: Clock | None = None) -> "Stores":
        tenants = RedisTenantStore(connection, defaults=Limits(), monotonic=FrozenClock(), fresh=0, absent=0, stale=0)
        ledger, limiter = RedisLedger(connection), RedisRateLimiter(connection)
        runs = RedisRunStore(connection, lease=LEASE, clock=clock)
        api_keys = RedisApiKeyStore(connection, monotonic=FrozenClock())
        return cls(tenants, ledger, limiter, runs, RedisRunNames(connection), api_keys)

    def hold(self, hold_id: str = "h1") -> Awaitable[Hold]:
        return self.ledger.hold(ALICE, hold_id, wanted=10, least=1, initial=100, seconds=60, lasting=True)

    async def all_accounts(self) -> list[Account]:
        return [account async for account in self.ledger.accounts()]

    def verbs(self) -> Mapping[str, Callable[[], Awaitable[object]]]:
        run = queued_run()
        return {
            "tenants.get": lambda: self.tenants.get("acme"),
            "tenants.put": lambda: self.tenants.put("acme", {}),
            "ledger.available": lambda: self.ledger.available(ALICE),
            "ledger.hold": self.hold,
            "ledger.settle": lambda: self.ledger.settle(BOB, "h1", 1),
            "ledger.release": lambda: self.ledger.release(BOB, "h2"),
            "limiter.take": lambda: self.limiter.take("acme", [REQUEST], [PLACE]),
            "limiter.correct": lambda: self.limiter.correct("acme", [REQUEST], 0.0),
            "limiter.keep": lambda: self.limiter.keep("acme", [PLACE]),
            "limiter.free": lambda: self.limiter.correct("acme", [], 0.0, [PLACE]),
            "ledger.touch": lambda: self.ledger.touch(BOB, "h1", 1, 60.0),
            "ledger.grant": lambda: self.ledger.grant(BOB, "g1", 5),
            "ledger.adjust": lambda: self.ledger.adjust(BOB, "a1", 5),
            "ledger.history": lambda: self.ledger.history(BOB),
            "ledger.audit": lambda: self.ledger.audit(BOB),
            "ledger.accounts": self.all_accounts,
            "runs.begin": lambda: self.runs.begin(run, WORK),
            "runs.take": lambda: self.runs.take(3),
            "runs.append": lambda: self.runs.append(run.id, 1, 0, [b"x"]),
            "runs.seize": lambda: self.runs.seize(run.id),
            "runs.requeue": lambda: self.runs.requeue(run.id, 1),
            "runs.cancel": lambda: self.runs.cancel(run.id),
            "runs.join": lambda: self.runs.join(new_run().id),
            "runs.get": lambda: self.runs.get(run.id),
            "runs.latest": lambda: self.runs.latest("acme", "alice", "conv-1"),
            "runs.read": lambda: self.runs.read(run.id, 0),
            "runs.result": lambda: self.runs.result(run.id),
            "runs.survey": lambda: self.runs.survey(3),
            "runs.attend": lambda: self.runs.attend(run.id, 5.0),
            "runs.attended": lambda: self.runs.attended(run.id),
            "runs.enlist": lambda: self.runs.enlist("w1", 2, 5.0),
            "names.adopt": lambda: self.names.adopt("a" * 64, Named(run.id, "f"), 60.0),
            "api_keys.add": lambda: self.api_keys.add(API_KEY),
            # One that was looked for a moment ago would be remembered.
            "api_keys.find": lambda: self.api_keys.find(secrets.token_hex(32)),
            "api_keys.of_tenant": lambda: self.api_keys.of_tenant("acme"),
            "api_keys.remove": lambda: self.api_keys.remove("acme", "key-2"),
            "names.keep": lambda: self.names.keep("a" * 64, run.id, 60.0),
        }


@pytest.fixture
def stores(connection: RedisConnection, clock: FrozenClock) -> Stores:
    return Stores.of(connection, clock)


async def outcome(verb: Callable[[], Awaitable[object]]) -> tuple[str, bool]:
    """What came of a call, "ok" or the name of an error, and whether it came in time."""
    begun = time.monotonic()
    try:
        await verb()
    except Exception as error:  # noqa: BLE001 - any error at all is what is asked for
        return type(error).__name__, time.monotonic() - begun < IN_TIME
    return "ok", time.monotonic() - begun < IN_TIME


@contextmanager
def killed(backend: Backend) -> Iterator[None]:
    for server in backend.servers:
        server.kill()
    try:
        yield
    finally:
        for server in backend.servers:
            server.start()


Outage = Callable[[Backend], AbstractContextManager[None]]


@on_both
@pytest.mark.parametrize("outage", [Backend.frozen, killed], ids=["frozen", "killed"])
@pytest.mark.parametrize("used_before", [True, False])
async def test_every_verb_says_in_time_that_redis_is_away_and_works_when_it_is_back(
    brisk: RedisConnection, backend: Backend, outage: Outage, used_before: bool
) -> None:
    stores = Stores.of(brisk)
    verbs = stores.verbs()
    if used_before:
        await eventually(lambda: _all_work(stores))

    with outage(backend):
        away = await asyncio.gather(*map(outcome, verbs.values()))
    await eventually(lambda: _all_work(stores))

    assert dict(zip(verbs, away, strict=True)) == dict.fromkeys(verbs, ("StoreUnavailable", True))


async def _all_work(stores: Stores) -> bool:
    outcomes = await asyncio.gather(*map(outcome, stores.verbs().values()))
    return all(name == "ok" for name, _ in outcomes)


@on_both
async def test_a_crowd_neither_piles_up_nor_opens_more_sockets_than_allowed(
    brisk: RedisConnection, backend: Backend
) -> None:
    limiter = RedisRateLimiter(brisk)

    async def crowd() -> set[tuple[str, bool]]:
        return {*await asyncio.gather(*(outcome(lambda: limiter.take("acme", [REQUEST])) for _ in range(500)))}

    with backend.frozen():
        away = await crowd()
    await eventually(lambda: _is(crowd, {("ok", True)}))

    clients = [server.command("INFO", "clients")["connected_clients"] for server in backend.servers]
    assert away == {("StoreUnavailable", True)}
    assert max(clients) <= 70


async def _is(ask: Callable[[], Awaitable[object]], answer: object) -> bool:
    return await ask() == answer


@on_both
async def test_a_server_that_forgot_the_scripts_is_taught_again(stores: Stores, backend: Backend) -> None:
    await _all_work(stores)

    for server in backend.servers:
        server.command("SCRIPT", "FLUSH")

    assert await _all_work(stores)


@on_redis
async def test_a_demoted_server_takes_no_writes(stores: Stores, server: RedisServer) -> None:
    server.command("REPLICAOF", "127.0.0.1", 1)
    try:
        demoted = await outcome(stores.hold)
    finally:
        server.command("REPLICAOF", "NO", "ONE")

    assert demoted == ("StoreUnavailable", True)
    assert await _all_work(stores)


@on_redis
async def test_what_was_admitted_can_be_finished_on_a_full_server(
    stores: Stores, server: RedisServer, clock: FrozenClock
) -> None:
    run, silent, restarting, waiting = new_run(), new_run(), new_run(), queued_run()
    await asyncio.gather(stores.hold("h1"), stores.hold("h2"), stores.runs.begin(silent, WORK))
    await stores.limiter.take("acme", [REQUEST], [PLACE])
    clock.advance(LEASE + 1)
    await asyncio.gather(*(stores.runs.begin(each, WORK) for each in (run, restarting, waiting)))
    ending = {
        "touch": lambda: stores.ledger.touch(ALICE, "h1", 1, 60.0),
        "settle": lambda: stores.ledger.settle(ALICE, "h1", 1),
        "release": lambda: stores.ledger.release(ALICE, "h2"),
        "correct": lambda: stores.limiter.correct("acme", [REQUEST], 0.0),
        "renew": lambda: stores.limiter.keep("acme", [PLACE]),
        "free": lambda: stores.limiter.correct("acme", [], 0.0, [PLACE]),
        "audit": lambda: stores.ledger.audit(ALICE),
        "history": lambda: stores.ledger.history(ALICE),
        "append": lambda: stores.runs.append(run.id, 1, 0, [b"x"]),
        "end": lambda: stores.runs.append(run.id, 1, 1, [b"y"], COMPLETED),
        "seize": lambda: stores.runs.seize(silent.id),
        "requeue": lambda: stores.runs.requeue(restarting.id, 1),
        "cancel": lambda: stores.runs.cancel(waiting.id),
        "keep": lambda: stores.names.keep("a" * 64, run.id, 60.0),
    }
    beginning: dict[str, Callable[[], Awaitable[object]]] = {
        "hold": lambda: stores.hold("h3"),
        "grant": lambda: stores.ledger.grant(ALICE, "g1", 5),
        "adjust": lambda: stores.ledger.adjust(ALICE, "a1", 5),
        "begin": lambda: stores.runs.begin(new_run(), WORK),
        "take": lambda: stores.limiter.take("acme", [REQUEST]),
    }

    server.command("CONFIG", "SET", "maxmemory", 1)
    try:
        outcomes = {name: await outcome(verb) for name, verb in (ending | beginning).items()}
    finally:
        server.command("CONFIG", "SET", "maxmemory", 0)

    statuses = [(await stores.runs.get(each.id)) for each in (run, silent, restarting, waiting)]
    assert outcomes == dict.fromkeys(ending, ("ok", True)) | dict.fromkeys(beginning, ("StoreUnavailable", True))
    assert await stores.ledger.available(ALICE) == 99
    assert [record and record.status.value for record in statuses] == [
        "completed", "in_progress", "queued", "in_progress",
    ]  # fmt: skip


@on_both
async def test_a_caller_who_leaves_never_leaves_his_answer_to_another(
    connection: RedisConnection, backend: Backend
) -> None:
    for number in range(300):
        await connection.command("SET", f"tenant:t{number}", number)

    asked = [asyncio.ensure_future(connection.command("GET", f"tenant:t{number}")) for number in range(300)]
    for turn in range(150):
        if turn % 10 == 0:
            await asyncio.sleep(0)
        asked[2 * turn].cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)

    assert all(
        answer == b"%d" % number or isinstance(answer, asyncio.CancelledError) for number, answer in enumerate(answers)
    )
    assert [answers[number] for number in range(1, 300, 2)] == [b"%d" % number for number in range(1, 300, 2)]


# --- lost replies ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def proxy(server: RedisServer) -> AsyncIterator[Proxy]:
    async with proxied(server.port) as running:
        yield running


@pytest.fixture
async def far(proxy: Proxy, clock: FrozenClock) -> AsyncIterator[Stores]:
    """The stores behind the proxy."""
    async with connected(proxy.url) as connection:
        yield Stores.of(connection, clock)


@on_redis
async def test_a_command_whose_reply_was_lost_is_not_repeated(far: Stores, proxy: Proxy, stores: Stores) -> None:
    await stores.limiter.take("acme", [REQUEST])

    await lost(proxy, far.limiter.take("acme", [REQUEST]))
    verdict = await stores.limiter.take("acme", [REQUEST])

    assert verdict.readings[0].remaining == 97


@on_redis
async def test_a_place_whose_reply_was_lost_is_the_same_place_when_it_is_asked_for_again(
    far: Stores, proxy: Proxy, stores: Stores
) -> None:
    other = replace(PLACE, holder="run-2")

    await lost(proxy, far.limiter.take("acme", [], [PLACE]))
    answers = [await far.limiter.take("acme", [], [place]) for place in (PLACE, other)]
    await lost(proxy, far.limiter.keep("acme", [PLACE]))
    await lost(proxy, far.limiter.correct("acme", [], 0.0, [PLACE]))
    await far.limiter.correct("acme", [], 0.0, [PLACE])
    answers.append(await stores.limiter.take("acme", [], [other]))

    assert [answer.allowed for answer in answers] == [True, False, True]


@on_redis
async def test_appends_whose_replies_were_lost_can_be_repeated(far: Stores, proxy: Proxy, stores: Stores) -> None:
    run = new_run()

    await lost(proxy, far.runs.begin(run, WORK))
    await far.runs.begin(run, WORK)
    await lost(proxy, far.runs.append(run.id, 1, 0, entries(1, 3)))
    answers = [await far.runs.append(run.id, 1, 0, entries(1, 3))]
    await lost(proxy, far.runs.append(run.id, 1, 3, entries(4, 5), COMPLETED))
    answers.append(await far.runs.append(run.id, 1, 3, entries(4, 5), COMPLETED))

    part = await stores.runs.read(run.id, 0)
    assert answers == [Appended(Standing.OWNED, 3), Appended(Standing.OWNED, 5)]
    assert part is not None
    assert (part.run, part.entries) == (ended(replace(run, tail=5), COMPLETED), tuple(entries(1, 5)))


@on_redis
async def test_a_run_whose_begin_or_requeue_was_repeated_waits_once(far: Stores, proxy: Proxy, stores: Stores) -> None:
    run = queued_run()

    await lost(proxy, far.runs.begin(run, WORK))
    await far.runs.begin(run, WORK)
    begun = (await stores.runs.survey(3)).waiting
    claim = await taken(stores.runs)
    await lost(proxy, far.runs.requeue(run.id, claim.run.fence))
    requeued = await far.runs.requeue(run.id, claim.run.fence)

    assert (begun, requeued) == (1, True)
    assert (await taken(stores.runs)).run == claimed(replace(claim.run, status=Status.QUEUED))
    assert await stores.runs.take(3) is None


@on_redis
@pytest.mark.parametrize("verb", ["take", "seize", "cancel"])
async def test_a_claim_whose_reply_was_lost_is_overdue_in_a_while(
    far: Stores, proxy: Proxy, stores: Stores, clock: FrozenClock, verb: str
) -> None:
    run = new_run(shard=3) if verb == "seize" else queued_run()
    await stores.runs.begin(run, WORK)
    if verb == "seize":
        clock.advance(LEASE + 1)
    claims: Mapping[str, Callable[[], Awaitable[object]]] = {
        "take": lambda: far.runs.take(3),
        "seize": lambda: far.runs.seize(run.id),
        "cancel": lambda: far.runs.cancel(run.id),
    }

    await lost(proxy, claims[verb]())
    again = await claims[verb]()
    claimed_by_nobody = await stores.runs.get(run.id)
    clock.advance(LEASE + 1)
    overdue = (await stores.runs.survey(3)).overdue

    assert again is None
    assert overdue == (run.id,)
    assert claimed_by_nobody is not None
    assert await stores.runs.seize(run.id) == Claim(claimed_by_nobody, WORK)


@on_redis
async def test_names_that_were_given_without_a_reply_can_be_given_again(
    far: Stores, proxy: Proxy, stores: Stores
) -> None:
    first, second, name = Named(new_run().id, "1"), Named(new_run().id, "2"), "a" * 64

    await lost(proxy, far.names.adopt(name, first, 60))
    adopted = await far.names.adopt(name, first, 60)
    await lost(proxy, far.names.adopt(name, second, 60, instead_of=first.run_id))
    replaced = await far.names.adopt(name, second, 60, instead_of=first.run_id)
    await lost(proxy, far.names.keep(name, second.run_id, 0))
    await far.names.keep(name, second.run_id, 0)

    assert (adopted, replaced) == (first, second)
    assert await stores.names.adopt(name, first, 60) == first
