"""Every key in Redis goes by itself, apart from what operators write and the balances of lasting users."""

from dataclasses import replace

import pytest

from adapters.redis.connection import RedisConnection
from adapters.redis.keys import AccountKeys, RunKeys
from adapters.redis.ledger import RedisLedger
from adapters.redis.rate import RedisRateLimiter
from adapters.redis.runs import RedisRunStore
from adapters.redis.tenants import RedisTenantStore
from domain.ledger import Account
from domain.rate import Allowance, Charge
from domain.runs import Ending, Status
from domain.tenants import Limits
from tests.contracts.backends import Backend
from tests.contracts.test_run_store import COMPLETED, new_run
from tests.fakes import FrozenClock

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)]

SECOND, MINUTE, DAY = 1_000, 60_000, 86_400_000

ALICE = Account("acme", "staff", "alice")
NOBODY = Account("acme", "anonymous", "anonymous-1")


def about(milliseconds: int) -> object:
    return pytest.approx(milliseconds, abs=5 * SECOND)


async def test_only_documents_and_lasting_balances_are_for_good(
    connection: RedisConnection, backend: Backend, clock: FrozenClock
) -> None:
    await _use_everything(connection, clock)

    for_good = {key for key, milliseconds in backend.lifetimes().items() if milliseconds == -1}

    assert for_good == {"tenant:acme", "tokens:acme:staff:alice"}


async def _use_everything(connection: RedisConnection, clock: FrozenClock) -> None:
    await RedisTenantStore(connection, defaults=Limits(), monotonic=clock).put("acme", {})
    ledger, limiter, runs = RedisLedger(connection), RedisRateLimiter(connection), RedisRunStore(connection)
    for account in (ALICE, NOBODY):
        for hold_id in ("open", "settled", "released"):
            await ledger.hold(account, hold_id, wanted=1, least=1, initial=10, seconds=60, lasting=account is ALICE)
        await ledger.settle(account, "settled", 1)
        await ledger.release(account, "released")
        await ledger.release(account, "unknown")
    await ledger.settle(Account("acme", "staff", "unknown"), "unknown", 1)
    charge = Charge("rpm", "requests", Allowance(10), 1)
    await limiter.take("acme", [charge, replace(charge, meter="tpm")])
    await limiter.correct("acme", replace(charge, meter="other"))
    for status in (Status.QUEUED, Status.IN_PROGRESS):
        run = new_run(status, conversation="conv-1")
        await runs.begin(run)
        await runs.claim(run.id)
        await runs.append(run.id, 1, 0, [b"x"])
    for ending in (COMPLETED, Ending(Status.FAILED)):
        run = new_run()
        await runs.begin(run)
        await runs.append(run.id, 1, 0, [b"x"], ending)


async def test_a_run_lasts_a_day_from_its_last_word_and_its_log_a_quarter_of_an_hour_from_the_end(
    connection: RedisConnection, backend: Backend
) -> None:
    store, run = RedisRunStore(connection), new_run(conversation="conv-1")
    at = RunKeys.of(run.id)
    await store.begin(run)
    await connection.command("PEXPIRE", at.record, MINUTE)

    await store.append(run.id, 1, 0, [b"x"])
    running = backend.lifetimes()
    await store.append(run.id, 1, 1, [b"y"], COMPLETED)
    over = backend.lifetimes()

    assert (running[at.record], running[at.log]) == (about(DAY), about(DAY))
    assert (over[at.record], over[at.log], over[at.result]) == (about(DAY), about(15 * MINUTE), about(DAY))


async def test_holds_last_as_long_as_the_last_of_them(connection: RedisConnection, backend: Backend) -> None:
    ledger, at = RedisLedger(connection), AccountKeys.of(ALICE)
    for hold_id, seconds in (("short", 10), ("long", 600), ("middle", 60)):
        await ledger.hold(ALICE, hold_id, wanted=1, least=1, initial=10, seconds=seconds, lasting=True)

    lifetimes = backend.lifetimes()
    for hold_id in ("short", "middle", "long"):
        await ledger.release(ALICE, hold_id)

    assert lifetimes[at.holds] == about(10 * MINUTE)
    assert at.holds not in backend.lifetimes()


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

    await limiter.take("acme", [Charge("tpm", "tokens", Allowance(1000), 500)])

    assert backend.lifetimes() == {"ratelimit:{acme}:tpm": about(31 * SECOND)}
