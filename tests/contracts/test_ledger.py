"""Ledger: whatever happens at the same time or twice, a token is set aside once and charged once."""

import asyncio
import random
from collections.abc import Awaitable

import pytest

from adapters.memory.ledger import MemoryLedger
from adapters.redis.connection import RedisConnection
from adapters.redis.keys import AccountKeys
from adapters.redis.ledger import RedisLedger
from domain.errors import InsufficientTokens, StoreUnavailable
from domain.ledger import Hold
from domain.ports import Ledger
from domain.tokens import MAX_TOKENS
from tests.contracts.backends import Backend, eventually
from tests.contracts.ledger_model import ALICE
from tests.contracts.ledgers import BOB, SetBalance, attempt, hold
from tests.fakes import FrozenClock

pytestmark = pytest.mark.anyio

DAY = 86_400.0


# --- setting aside ------------------------------------------------------------------------------------------------


async def test_a_user_without_a_record_has_nothing(ledger: Ledger) -> None:
    available = await ledger.available(ALICE)

    with pytest.raises(InsufficientTokens) as refusal:
        await hold(ledger, "h1", 10)

    assert available == refusal.value.available == 0


async def test_a_new_user_is_granted_the_initial_tokens_once(ledger: Ledger) -> None:
    first = await hold(ledger, "h1", 30, initial=100)
    await ledger.settle(ALICE, "h1", 100)

    with pytest.raises(InsufficientTokens):
        await hold(ledger, "h2", 30, initial=100)

    assert first == Hold("h1", 30)
    assert await ledger.available(ALICE) == 0


async def test_a_passing_user_is_forgotten_after_a_day(clock: FrozenClock) -> None:
    ledger = MemoryLedger(clock)
    await hold(ledger, "h1", 10, initial=10, lasting=False)
    await hold(ledger, "h2", 10, initial=10, account=BOB)

    clock.advance(DAY)

    assert await ledger.available(ALICE) == 0
    assert await ledger.available(BOB) == 10


async def test_concurrent_holds_never_set_aside_more_than_the_balance(ledger: Ledger, set_balance: SetBalance) -> None:
    await set_balance(ALICE, 1000)

    amounts = await asyncio.gather(*(attempt(hold(ledger, f"h{number}", 30 + number)) for number in range(50)))

    assert sum(amounts) == 1000
    assert await ledger.available(ALICE) == 0


async def test_a_hold_is_of_what_is_left_where_that_is_enough(ledger: Ledger, set_balance: SetBalance) -> None:
    await set_balance(ALICE, 100)
    await hold(ledger, "h1", 60)

    rest = await hold(ledger, "h2", 60, least=40)

    assert rest == Hold("h2", 40)


async def test_a_refused_hold_sets_nothing_aside(ledger: Ledger, set_balance: SetBalance) -> None:
    await set_balance(ALICE, 100)

    with pytest.raises(InsufficientTokens) as refusal:
        await hold(ledger, "h1", 200, least=101)

    assert refusal.value.available == await ledger.available(ALICE) == 100


async def test_the_same_hold_again_is_the_first(ledger: Ledger, set_balance: SetBalance) -> None:
    await set_balance(ALICE, 100)

    holds = await asyncio.gather(*(hold(ledger, "h1", 40) for _ in range(20)))

    assert holds == [Hold("h1", 40)] * 20
    assert await ledger.available(ALICE) == 60


async def test_users_with_the_same_hold_id_do_not_meet(ledger: Ledger, set_balance: SetBalance) -> None:
    await set_balance(ALICE, 100)
    await set_balance(BOB, 100)

    await hold(ledger, "h1", 70)
    await hold(ledger, "h1", 20, account=BOB)

    assert (await ledger.available(ALICE), await ledger.available(BOB)) == (30, 80)


async def test_a_hold_lapses_when_nobody_ends_it(ledger: Ledger, set_balance: SetBalance, clock: FrozenClock) -> None:
    await set_balance(ALICE, 100)
    await hold(ledger, "h1", 60, seconds=10.0)
    await hold(ledger, "h2", 10, seconds=30.0)

    clock.advance(9.9)
    before = await ledger.available(ALICE)
    clock.advance(0.2)
    after = await ledger.available(ALICE)

    assert (before, after) == (30, 90)


async def test_holds_and_balances_are_exact_up_to_the_widest_integer(ledger: Ledger, set_balance: SetBalance) -> None:
    await set_balance(ALICE, MAX_TOKENS)

    widest = await hold(ledger, "h1", MAX_TOKENS)
    await ledger.settle(ALICE, "h1", MAX_TOKENS - 1)

    assert widest.amount == MAX_TOKENS
    assert await ledger.available(ALICE) == 1


# --- ending -------------------------------------------------------------------------------------------------------


async def test_a_settled_hold_is_charged_once(ledger: Ledger, set_balance: SetBalance) -> None:
    await set_balance(ALICE, 100)
    await hold(ledger, "h1", 60)

    charged = await asyncio.gather(*(ledger.settle(ALICE, "h1", 25) for _ in range(20)))

    assert charged == [25] * 20
    assert await ledger.available(ALICE) == 75


async def test_of_different_costs_one_is_charged_and_everybody_is_told_which(
    ledger: Ledger, set_balance: SetBalance
) -> None:
    await set_balance(ALICE, 100)
    await hold(ledger, "h1", 60)

    charged = await asyncio.gather(*(ledger.settle(ALICE, "h1", cost) for cost in range(1, 21)))

    assert {100 - await ledger.available(ALICE)} == set(charged)


async def test_a_released_hold_costs_nothing_even_if_it_is_settled_later(
    ledger: Ledger, set_balance: SetBalance
) -> None:
    await set_balance(ALICE, 100)
    await hold(ledger, "h1", 60)

    released = await ledger.release(ALICE, "h1")
    settled = await ledger.settle(ALICE, "h1", 25)

    assert (released, settled) == (0, 0)
    assert await ledger.available(ALICE) == 100


async def test_a_settled_hold_stays_settled_when_it_is_released_later(ledger: Ledger, set_balance: SetBalance) -> None:
    await set_balance(ALICE, 100)
    await hold(ledger, "h1", 60)

    settled = await ledger.settle(ALICE, "h1", 25)
    released = await ledger.release(ALICE, "h1")

    assert (settled, released) == (25, 25)
    assert await ledger.available(ALICE) == 75


@pytest.mark.parametrize("seed", range(5))
async def test_of_ends_at_the_same_time_one_counts(ledger: Ledger, set_balance: SetBalance, seed: int) -> None:
    dice = random.Random(seed)
    await set_balance(ALICE, 1000)
    ids = [f"h{number}" for number in range(20)]
    for hold_id in ids:
        await hold(ledger, hold_id, 10)

    ends = [ledger.settle(ALICE, hold_id, 7) for hold_id in ids * 2] + [
        ledger.release(ALICE, hold_id) for hold_id in ids
    ]
    await asyncio.gather(*dice.sample(ends, len(ends)))
    charged = 1000 - await ledger.available(ALICE)

    assert charged % 7 == 0
    assert 0 <= charged <= 140


async def test_an_overrun_is_a_debt(ledger: Ledger, set_balance: SetBalance) -> None:
    await set_balance(ALICE, 100)
    await hold(ledger, "h1", 60)

    await ledger.settle(ALICE, "h1", 130)

    assert await ledger.available(ALICE) == -30


async def test_what_a_hold_left_over_pays_for_no_second_overrun(ledger: Ledger, set_balance: SetBalance) -> None:
    await set_balance(ALICE, 100)
    await hold(ledger, "whole", 60)
    await hold(ledger, "partial", 60)
    await ledger.settle(ALICE, "whole", 50)

    with pytest.raises(InsufficientTokens):
        await hold(ledger, "another", 60)
    fits = await hold(ledger, "fits", 10)
    await ledger.settle(ALICE, "partial", 60)
    await ledger.settle(ALICE, "fits", 10)

    assert fits.amount == 10
    assert await ledger.available(ALICE) == -20


@pytest.mark.parametrize("end", ["settle", "release", "lapse"])
async def test_when_a_partial_hold_has_ended_there_may_be_another(
    ledger: Ledger, set_balance: SetBalance, clock: FrozenClock, end: str
) -> None:
    await set_balance(ALICE, 100)
    await hold(ledger, "partial", 160, seconds=10.0)
    if end == "settle":
        await ledger.settle(ALICE, "partial", 50)
    elif end == "release":
        await ledger.release(ALICE, "partial")
    else:
        clock.advance(11.0)

    another = await hold(ledger, "another", 160)
    again = await hold(ledger, "another", 160)

    assert again == another == Hold("another", 50 if end == "settle" else 100)
    assert await ledger.audit(ALICE) == ()


async def test_a_hold_that_lapsed_is_charged_all_the_same_and_once(
    ledger: Ledger, set_balance: SetBalance, clock: FrozenClock
) -> None:
    await set_balance(ALICE, 100)
    await hold(ledger, "h1", 60, seconds=10.0)
    clock.advance(11.0)

    await ledger.settle(ALICE, "h1", 25)
    await ledger.settle(ALICE, "h1", 25)

    assert await ledger.available(ALICE) == 75


async def test_a_hold_that_was_given_up_before_it_was_made_is_never_made(
    ledger: Ledger, set_balance: SetBalance
) -> None:
    # Its caller had no reply and gave up; the request was still on its way.
    await set_balance(ALICE, 100)
    await ledger.release(ALICE, "h1")

    with pytest.raises(InsufficientTokens):
        await hold(ledger, "h1", 60)

    assert await ledger.available(ALICE) == 100


async def test_a_hold_that_has_ended_is_not_opened_again(ledger: Ledger, set_balance: SetBalance) -> None:
    await set_balance(ALICE, 100)
    await hold(ledger, "h1", 60)
    await ledger.settle(ALICE, "h1", 25)

    again = await hold(ledger, "h1", 60)

    assert again == Hold("h1", 60)
    assert await ledger.available(ALICE) == 75


# --- the operator -------------------------------------------------------------------------------------------------


async def test_what_an_operator_sets_counts_at_once(ledger: Ledger, set_balance: SetBalance) -> None:
    await set_balance(ALICE, 100)
    await hold(ledger, "h1", 60)

    await set_balance(ALICE, 50)
    in_between = await ledger.available(ALICE)
    await ledger.settle(ALICE, "h1", 20)

    assert (in_between, await ledger.available(ALICE)) == (-10, 30)


@pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)
@pytest.mark.parametrize("text", ["", "many", "1e3", "12.5", " 7", "+5", "9007199254740992", "nan", "0x10"])
async def test_a_balance_that_is_no_integer_is_left_alone(
    ledger: RedisLedger, connection: RedisConnection, text: str
) -> None:
    await connection.command("SET", AccountKeys.of(ALICE).balance, text)
    calls: list[Awaitable[object]] = [hold(ledger, "h1", 10), ledger.settle(ALICE, "h1", 5), ledger.available(ALICE)]

    answers = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(answer) for answer in answers] == [StoreUnavailable] * 3
    assert await connection.command("GET", AccountKeys.of(ALICE).balance) == text.encode()


@pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)
async def test_a_key_of_another_type_is_left_alone(
    ledger: RedisLedger, connection: RedisConnection, backend: Backend
) -> None:
    await connection.command("RPUSH", AccountKeys.of(ALICE).balance, "100")

    with pytest.raises(StoreUnavailable):
        await ledger.settle(ALICE, "h1", 5)

    assert [*backend.lifetimes()] == [AccountKeys.of(ALICE).balance]


@pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)
async def test_without_another_clock_holds_lapse_by_the_servers_own(connection: RedisConnection) -> None:
    ledger = RedisLedger(connection)
    await hold(ledger, "h1", 10, initial=10, seconds=0.05)

    before = await ledger.available(ALICE)
    await eventually(lambda: _has(ledger, 10))

    assert before == 0


async def _has(ledger: Ledger, tokens: int) -> bool:
    return await ledger.available(ALICE) == tokens
