"""Every key in Redis goes by itself, apart from what operators write and the balances of lasting users."""

import time
from dataclasses import replace

import pytest

from adapters.redis import keys
from adapters.redis.apikeys import KEPT_EXPIRED, RedisApiKeyStore
from adapters.redis.connection import RedisConnection
from adapters.redis.keys import AccountKeys, RunKeys, ShardKeys
from adapters.redis.ledger import RedisLedger
from adapters.redis.names import RedisRunNames
from adapters.redis.rate import RedisRateLimiter
from adapters.redis.runs import RedisRunStore
from adapters.redis.tenants import RedisTenantStore
from domain.keys import ApiKey
from domain.ledger import Account
from domain.ports import Named
from domain.rate import Allowance, Charge, Slot
from domain.runs import Status, conversation_shard
from domain.tenants import Limits
from tests.contracts.backends import Backend, eventually
from tests.contracts.runs import COMPLETED, ENDINGS, WORK, new_run, queued_run, taken
from tests.fakes import FrozenClock

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)]

SECOND, MINUTE, DAY = 1_000, 60_000, 86_400_000

ALICE = Account("acme", "staff", "alice")
NOBODY = Account("acme", "anonymous", "anonymous-1")
LASTING = ApiKey("key-1", "a" * 64, "sk-sluice-abcdef", "acme", "staff", "alice", "CI", 1_800_000_000)
EXPIRING = replace(LASTING, id="key-2", digest="b" * 64, expires=int(time.time()) + 60)
PLACE = Slot("runs", 2, "run-1", 30.0)


def about(milliseconds: int) -> object:
    return pytest.approx(milliseconds, abs=5 * SECOND)


async def test_only_documents_lasting_accounts_and_keys_that_do_not_expire_are_for_good(
    connection: RedisConnection, backend: Backend, clock: FrozenClock
) -> None:
    await _use_everything(connection, clock)

    for_good = {key for key, milliseconds in backend.lifetimes().items() if milliseconds == -1}

    at = AccountKeys.of(ALICE)
    documents = {"tenant:acme", "apikeys:acme", keys.api_key(LASTING.digest)}
    assert for_good == documents | {at.balance, at.holds, at.history}


async def test_an_api_key_lasts_a_month_longer_than_it_is_good(
    connection: RedisConnection, backend: Backend, clock: FrozenClock
) -> None:
    key = replace(EXPIRING, expires=int(time.time()) + 60)

    await RedisApiKeyStore(connection, monotonic=clock).add(key)

    assert backend.lifetimes()[keys.api_key(key.digest)] == about(MINUTE + KEPT_EXPIRED * SECOND)


async def _use_everything(connection: RedisConnection, clock: FrozenClock) -> None:
    await RedisTenantStore(connection, defaults=Limits(), monotonic=clock).put("acme", {})
    ledger, limiter, runs = RedisLedger(connection), RedisRateLimiter(connection), RedisRunStore(connection)
    for account in (ALICE, NOBODY):
        for hold_id in ("open", "settled", "released"):
            await ledger.hold(account, hold_id, wanted=1, least=1, initial=10, seconds=60, lasting=account is ALICE)
        await ledger.settle(account, "settled", 1)
        await ledger.release(account, "released")
        await ledger.release(account, "unknown")
        await ledger.touch(account, "open", 1, 60)
    await ledger.grant(ALICE, "g1", 5)
    await ledger.adjust(ALICE, "a1", 5)
    await ledger.settle(Account("acme", "staff", "unknown"), "unknown", 1)
    charge = Charge("rpm", "requests", Allowance(10), 1)
    await limiter.take("acme", [charge, replace(charge, meter="day:rpm", daily=True)], [PLACE])
    await limiter.keep("acme", [PLACE])
    for cost in (1, -1):
        await limiter.correct("acme", [replace(charge, meter=f"other:{cost}", cost=2)], time.time())
        await limiter.correct("acme", [replace(charge, meter=f"other:{cost}", cost=cost)], time.time())
    await _use_runs(runs)
    api_keys = RedisApiKeyStore(connection, monotonic=clock)
    for key in (LASTING, EXPIRING):
        await api_keys.add(key)
        clock.advance(2.0)
        await api_keys.find(key.digest)
    names = RedisRunNames(connection)
    await names.adopt("a" * 64, Named(new_run().id, "f"), 60)
    await names.adopt("b" * 64, Named("r", "f"), 60)
    await names.keep("b" * 64, "r", 120)


async def _use_runs(runs: RedisRunStore) -> None:
    """Begin runs of each kind, and let each go through all that can happen to it."""
    for status in (Status.QUEUED, Status.IN_PROGRESS):
        run = new_run(status, conversation="conv-1")
        await runs.begin(run, WORK)
        await runs.attend(run.id, 5.0)
        await runs.cancel(run.id)
        await runs.join(run.id)
        await runs.append(run.id, 1, 0, [b"x"])
    for ending in ENDINGS:
        run = new_run(shard=1)
        await runs.begin(run, WORK)
        await runs.append(run.id, 1, 0, [b"x"], ending)
        await runs.join(run.id)
        view = new_run(source=run.id, replayed=True)
        await runs.begin(view)
    for number in range(3):
        run = queued_run(2, tenant=f"t{number}")
        await runs.begin(run, WORK)
        claim = await taken(runs, 2)
        await runs.append(run.id, claim.run.fence, 0, [b"x"])
        await runs.requeue(run.id, claim.run.fence)
    await taken(runs, 2)
    await runs.enlist("w1", 2, 30.0)


async def test_a_run_lasts_a_day_from_its_last_word_and_its_log_a_quarter_of_an_hour_from_the_end(
    connection: RedisConnection, backend: Backend
) -> None:
    # With a lease of nothing, each append renews it, and with it what a renewal does.
    store, run = RedisRunStore(connection, lease=0.001), new_run(conversation="conv-1")
    at, shard = RunKeys.of(run.id), ShardKeys.of(conversation_shard("acme", "alice", "conv-1"))
    await store.begin(run, WORK)
    begun = backend.lifetimes()
    await connection.command("PEXPIRE", at.record, MINUTE)

    await store.append(run.id, 1, 0, [b"x"])
    running = backend.lifetimes()
    await store.append(run.id, 1, 1, [b"y"], COMPLETED)
    over = backend.lifetimes()

    pointer = f"{shard.ready.removesuffix('ready')}conversation:acme:alice:conv-1"
    lasting = dict.fromkeys([at.record, at.request, shard.leases], about(DAY)) | {pointer: about(2 * DAY)}
    assert begun == lasting
    assert running == lasting | {at.log: about(DAY)}
    assert over == {
        at.record: about(DAY),
        at.log: about(15 * MINUTE),
        at.result: about(DAY),
        pointer: about(2 * DAY),
    }


async def test_each_key_of_a_queued_run_has_its_time(connection: RedisConnection, backend: Backend) -> None:
    store, run = RedisRunStore(connection), queued_run(2)
    at, shard = RunKeys.of(run.id), ShardKeys.of(2)
    record = dict.fromkeys([at.record, at.request, shard.leases, shard.turns], about(DAY))

    await store.begin(run, WORK)
    queued = backend.lifetimes()
    claim = await taken(store, 2)
    running = backend.lifetimes()
    await store.append(run.id, claim.run.fence, 0, [b"x"])
    await store.requeue(run.id, claim.run.fence)
    requeued = backend.lifetimes()
    await store.cancel(run.id)
    cancelled = backend.lifetimes()

    assert queued == record | {shard.ready: about(DAY)}
    assert running == record
    assert requeued == record | {shard.ready: about(DAY)}
    assert cancelled == record


async def test_a_joined_run_lasts_as_long_as_a_new_one(connection: RedisConnection, backend: Backend) -> None:
    store, run = RedisRunStore(connection), new_run()
    at = RunKeys.of(run.id)
    await store.begin(run, WORK)
    await store.append(run.id, 1, 0, [b"x"], COMPLETED)
    for key in (at.record, at.result):
        await connection.command("PEXPIRE", key, MINUTE)

    await store.join(run.id)

    lifetimes = backend.lifetimes()
    assert (lifetimes[at.record], lifetimes[at.result]) == (about(DAY), about(DAY))


async def test_marks_of_readers_workers_and_names_last_as_long_as_was_said(
    connection: RedisConnection, backend: Backend
) -> None:
    store, names, run = RedisRunStore(connection), RedisRunNames(connection), new_run()

    await store.attend(run.id, 30.0)
    await store.enlist("w1", 2, 60.0)
    await store.enlist("w2", 2, 30.0)
    await names.adopt("a" * 64, Named(run.id, "f"), 600.0)
    await names.adopt("b" * 64, Named(run.id, "f"), 600.0)
    await names.keep("b" * 64, run.id, 60.0)
    lifetimes = backend.lifetimes()
    await names.keep("b" * 64, run.id, 0.0)

    b = f"{{run:11}}:name:{'b' * 64}"
    assert lifetimes == {
        RunKeys.of(run.id).attended: about(30 * SECOND),
        "workers": about(MINUTE),
        f"{{run:10}}:name:{'a' * 64}": about(10 * MINUTE),
        b: about(MINUTE),
    }
    assert b not in backend.lifetimes()


async def test_runs_that_nobody_touches_any_more_leave_nothing_behind(
    connection: RedisConnection, backend: Backend
) -> None:
    await _use_runs(RedisRunStore(connection, lease=0.1, queue=0.2, log_kept=0.1, kept=0.5))
    used = backend.lifetimes()
    # These two have times that their callers said.
    for key in used:
        if key == "workers" or ":attended:" in key:
            await connection.command("PEXPIRE", key, 1)

    async def gone() -> bool:
        return not backend.lifetimes()

    assert len(used) > 20
    await eventually(gone)


async def test_all_of_an_account_lasts_as_long_as_its_balance(connection: RedisConnection, backend: Backend) -> None:
    ledger = RedisLedger(connection)
    for account in (ALICE, NOBODY):
        await ledger.hold(account, "h1", wanted=1, least=1, initial=10, seconds=60, lasting=account is ALICE)
    lasting, passing = AccountKeys.of(ALICE), AccountKeys.of(NOBODY)
    await connection.command("PEXPIRE", passing.balance, MINUTE)

    await ledger.settle(NOBODY, "h1", 1)
    settled = backend.lifetimes()
    await connection.command("SET", passing.balance, 100)
    await ledger.available(NOBODY)
    kept = backend.lifetimes()

    assert {kept[key] for key in (lasting.balance, lasting.holds, lasting.history)} == {-1}
    assert [settled[key] for key in (passing.balance, passing.holds, passing.history)] == [about(MINUTE)] * 3
    assert [kept[key] for key in (passing.balance, passing.holds, passing.history)] == [-1] * 3


async def test_what_is_granted_or_set_is_for_good(connection: RedisConnection, backend: Backend) -> None:
    ledger = RedisLedger(connection)
    accounts = {"granted": replace(NOBODY, user="granted"), "adjusted": replace(NOBODY, user="adjusted")}
    for account in accounts.values():
        await ledger.hold(account, "h1", wanted=1, least=1, initial=10, seconds=60, lasting=False)

    await ledger.grant(accounts["granted"], "g1", 5)
    await ledger.adjust(accounts["adjusted"], "a1", 10)

    lifetimes = backend.lifetimes()
    for account in accounts.values():
        at = AccountKeys.of(account)
        assert [lifetimes[key] for key in (at.balance, at.holds, at.history)] == [-1] * 3


async def test_what_an_account_leaves_that_was_deleted_lasts_a_day(
    connection: RedisConnection, backend: Backend
) -> None:
    ledger, at = RedisLedger(connection), AccountKeys.of(ALICE)
    await ledger.grant(ALICE, "g1", 10)
    await ledger.hold(ALICE, "h1", wanted=1, least=1, initial=0, seconds=60, lasting=True)

    await connection.command("DEL", at.balance)
    await ledger.available(ALICE)

    assert {key: backend.lifetimes()[key] for key in (at.holds, at.history)} == {
        at.holds: about(DAY),
        at.history: about(DAY),
    }


async def test_what_has_ended_and_what_was_carried_out_is_remembered_for_a_day(
    connection: RedisConnection, backend: Backend, clock: FrozenClock
) -> None:
    ledger, at = RedisLedger(connection, clock=clock), AccountKeys.of(ALICE)
    await ledger.grant(ALICE, "g1", 10)
    for hold_id in ("settled", "released", "lapsed"):
        await ledger.hold(ALICE, hold_id, wanted=1, least=1, initial=10, seconds=60, lasting=True)
    await ledger.settle(ALICE, "settled", 1)
    await ledger.release(ALICE, "released")
    clock.advance(61.0)
    await ledger.available(ALICE)

    lifetimes = backend.lifetimes()

    remembered = [at.operation("g1"), *(at.closed(hold_id) for hold_id in ("settled", "released", "lapsed"))]
    assert [lifetimes[key] for key in remembered] == [about(DAY)] * 4


async def test_a_balance_of_a_passing_user_lasts_a_day_and_settling_does_not_prolong_it(
    connection: RedisConnection, backend: Backend
) -> None:
    ledger, at = RedisLedger(connection), AccountKeys.of(NOBODY)
    await ledger.hold(NOBODY, "h1", wanted=1, least=1, initial=10, seconds=60, lasting=False)
    granted = backend.lifetimes()[at.balance]
    await connection.command("PEXPIRE", at.balance, MINUTE)

    await ledger.settle(NOBODY, "h1", 1)

    assert granted == about(DAY)
    assert backend.lifetimes()[at.balance] == about(MINUTE)


async def test_a_meter_lasts_until_it_is_free(connection: RedisConnection, backend: Backend) -> None:
    limiter = RedisRateLimiter(connection)

    await limiter.take("acme", [Charge("group:staff:tpm", "tokens", Allowance(1000), 500)])

    assert backend.lifetimes() == {"ratelimit:{acme}:group:staff:tpm": about(61 * SECOND)}


async def test_a_days_meter_lasts_until_midnight_utc(connection: RedisConnection, backend: Backend) -> None:
    limiter = RedisRateLimiter(connection)

    verdict = await limiter.take("acme", [Charge("day:tpm", "tokens", Allowance(1000), 500, daily=True)])

    left = round(verdict.readings[0].reset * 1000)
    assert 0 < left <= DAY
    assert backend.lifetimes() == {"ratelimit:{acme}:day:tpm": about(left)}


async def test_places_last_as_long_as_the_last_of_them(connection: RedisConnection, backend: Backend) -> None:
    limiter = RedisRateLimiter(connection)
    for holder, seconds in (("short", 10.0), ("long", 60.0), ("middle", 30.0)):
        await limiter.take("acme", [], [Slot("runs", 9, holder, seconds)])

    lifetimes = backend.lifetimes()
    for holder in ("short", "middle", "long"):
        await limiter.correct("acme", [], 0.0, [Slot("runs", 9, holder, 1.0)])

    assert lifetimes == {"ratelimit:{acme}:runs": about(MINUTE)}
    assert backend.lifetimes() == {}


async def test_a_meter_to_which_all_is_given_back_is_gone(connection: RedisConnection, backend: Backend) -> None:
    limiter, charge = RedisRateLimiter(connection), Charge("tpm", "tokens", Allowance(1000), 500)
    taken = await limiter.take("acme", [charge])

    await limiter.correct("acme", [replace(charge, cost=-500)], taken.at)

    assert backend.lifetimes() == {}


async def test_a_meter_has_no_more_fields_than_a_minute_has_seconds(
    connection: RedisConnection, clock: FrozenClock
) -> None:
    limiter = RedisRateLimiter(connection, clock=clock)
    for _ in range(400):
        clock.advance(0.5)
        await limiter.take("acme", [Charge("rpm", "requests", Allowance(1000), 1)])

    assert await connection.command("HLEN", "ratelimit:{acme}:rpm") <= 61 + 4
