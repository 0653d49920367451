"""Ledger: a balance that somebody sets by hand is the truth from then on, and its history tells of it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from adapters.redis.connection import RedisConnection
from adapters.redis.keys import AccountKeys
from adapters.redis.ledger import RedisLedger
from domain.errors import StoreUnavailable
from domain.ledger import EntryKind, Finding
from domain.ports import Ledger
from domain.tokens import MAX_TOKENS
from tests.contracts.ledger_model import ALICE
from tests.contracts.ledgers import SetBalance, hold, lines
from tests.fakes import FrozenClock

pytestmark = pytest.mark.anyio

on_redis = pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)

#: How far a hold has come when the operator arrives.
MOMENTS = ["before", "held", "touched", "settled", "released", "lapsed"]


async def reach(ledger: Ledger, clock: FrozenClock, moment: str) -> None:
    if moment == "before":
        return
    await ledger.grant(ALICE, "g1", 100)
    await hold(ledger, "h1", 60, seconds=10.0)
    if moment in {"touched", "lapsed"}:
        await ledger.touch(ALICE, "h1", 25, 10.0)
    if moment == "settled":
        await ledger.settle(ALICE, "h1", 20)
    if moment == "released":
        await ledger.release(ALICE, "h1")
    if moment == "lapsed":
        clock.advance(11.0)


#: What is held, and what the lapse charges, at each of the moments.
HELD = {"held": 60, "touched": 60}
CHARGED = {"lapsed": 25}


@pytest.mark.parametrize("balance", [0, 1, 500, -7, MAX_TOKENS, -MAX_TOKENS + 100])
@pytest.mark.parametrize("moment", MOMENTS)
async def test_what_an_operator_sets_is_the_truth_at_any_moment(
    ledger: Ledger, set_balance: SetBalance, clock: FrozenClock, moment: str, balance: int
) -> None:
    await reach(ledger, clock, moment)

    await set_balance(ALICE, balance)

    assert await ledger.available(ALICE) == balance - HELD.get(moment, 0) - CHARGED.get(moment, 0)
    assert await ledger.audit(ALICE) == ()


@pytest.mark.parametrize("moment", MOMENTS)
async def test_what_is_settled_afterwards_is_taken_from_it(
    ledger: Ledger, set_balance: SetBalance, clock: FrozenClock, moment: str
) -> None:
    await reach(ledger, clock, moment)
    await set_balance(ALICE, 500)

    charged = await ledger.settle(ALICE, "h1", 40)

    already = {"settled": 20, "released": 0}.get(moment)
    assert charged == (40 if already is None else already)
    assert await ledger.available(ALICE) == (460 if already is None else 500)
    assert await ledger.audit(ALICE) == ()


async def test_the_history_tells_the_difference_once(ledger: Ledger, set_balance: SetBalance) -> None:
    await ledger.grant(ALICE, "g1", 100)
    await hold(ledger, "h1", 60)

    await set_balance(ALICE, 50)
    await asyncio.gather(*(ledger.available(ALICE) for _ in range(20)))
    await ledger.settle(ALICE, "h1", 20)

    assert (await lines(ledger))[2:] == [("adjust", "set", -50, 50, 60), ("settle", "h1", 20, 30, 0)]


async def test_what_is_set_again_and_again_is_told_with_ids_of_its_own(ledger: Ledger, set_balance: SetBalance) -> None:
    for balance in (5, 6, 5, 6):
        await set_balance(ALICE, balance)
        await ledger.available(ALICE)

    told = [entry for entry in await ledger.history(ALICE) if entry.kind is EntryKind.ADJUST]

    assert [entry.balance for entry in told] == [6, 5, 6, 5]
    assert len({entry.operation for entry in told}) == 4


async def test_what_is_set_to_what_it_was_is_no_change(ledger: Ledger, set_balance: SetBalance) -> None:
    await ledger.grant(ALICE, "g1", 100)

    await set_balance(ALICE, 100)

    assert await lines(ledger) == [("grant", "g1", 100, 100, 0)]


async def test_a_user_that_an_operator_has_set_is_granted_nothing_more(ledger: Ledger, set_balance: SetBalance) -> None:
    await set_balance(ALICE, 5)

    first = await hold(ledger, "h1", 30, initial=100)

    assert first.amount == 5


async def test_an_account_that_was_deleted_is_a_new_one_with_a_history(ledger: Ledger, set_balance: SetBalance) -> None:
    await ledger.grant(ALICE, "g1", 70)

    await set_balance(ALICE, None)
    gone = await ledger.available(ALICE)
    first = await hold(ledger, "h1", 30, initial=100)

    assert (gone, first.amount) == (0, 30)
    assert (await lines(ledger))[1:] == [
        ("adjust", "set", -70, 0, 0),
        ("grant", "initial:h1", 100, 100, 0),
        ("hold", "h1", 30, 100, 30),
    ]
    assert await ledger.audit(ALICE) == ()


async def test_holds_of_an_account_that_was_deleted_are_settled_all_the_same(
    ledger: Ledger, set_balance: SetBalance
) -> None:
    await ledger.grant(ALICE, "g1", 70)
    await hold(ledger, "h1", 30)

    await set_balance(ALICE, None)
    held = await ledger.available(ALICE)
    charged = await ledger.settle(ALICE, "h1", 20)

    assert (held, charged, await ledger.available(ALICE)) == (-30, 20, -20)
    assert await ledger.audit(ALICE) == ()


@pytest.mark.parametrize("balance", [MAX_TOKENS, -MAX_TOKENS])
async def test_from_one_end_of_the_range_to_the_other(ledger: Ledger, set_balance: SetBalance, balance: int) -> None:
    await set_balance(ALICE, -balance)
    await ledger.available(ALICE)

    await set_balance(ALICE, balance)

    assert await ledger.available(ALICE) == balance
    assert (await lines(ledger))[-1] == ("adjust", "set", balance, balance, 0)
    assert await ledger.audit(ALICE) == ()


async def test_a_debt_ends_at_the_end_of_the_range(ledger: Ledger, set_balance: SetBalance) -> None:
    await set_balance(ALICE, -MAX_TOKENS + 1)

    await ledger.settle(ALICE, "h1", 5)

    assert await ledger.available(ALICE) == -MAX_TOKENS
    assert await ledger.audit(ALICE) == ()


# --- what is no balance -------------------------------------------------------------------------------------------

SPENDING: dict[str, Callable[[Ledger], Awaitable[object]]] = {
    "available": lambda it: it.available(ALICE),
    "grant": lambda it: it.grant(ALICE, "g2", 5),
    "adjust": lambda it: it.adjust(ALICE, "a2", 5),
    "hold": lambda it: hold(it, "h2", 5),
    "touch": lambda it: it.touch(ALICE, "h1", 50, 60.0),
    "settle": lambda it: it.settle(ALICE, "h1", 5),
    "release": lambda it: it.release(ALICE, "h1"),
}


@on_redis
@pytest.mark.parametrize("text", ["", "many", "12.5", "9007199254740992"])
@pytest.mark.parametrize("verb", SPENDING)
async def test_while_a_balance_is_no_integer_nothing_is_done_and_nothing_is_lost(
    ledger: RedisLedger, connection: RedisConnection, verb: str, text: str
) -> None:
    at = AccountKeys.of(ALICE)
    await ledger.grant(ALICE, "g1", 100)
    await hold(ledger, "h1", 60)
    await ledger.touch(ALICE, "h1", 25, 60.0)
    before = [await connection.command("HGETALL", at.holds), await lines(ledger)]

    await connection.command("SET", at.balance, text)
    with pytest.raises(StoreUnavailable):
        await SPENDING[verb](ledger)
    after = [await connection.command("HGETALL", at.holds), await lines(ledger)]
    await connection.command("SET", at.balance, 90)

    assert after == before
    assert await ledger.settle(ALICE, "h1", 40) == 40
    assert await ledger.available(ALICE) == 50
    assert await ledger.audit(ALICE) == ()


@on_redis
async def test_an_audit_finds_a_balance_that_is_no_integer(ledger: RedisLedger, connection: RedisConnection) -> None:
    await connection.command("SET", AccountKeys.of(ALICE).balance, "many")

    assert await ledger.audit(ALICE) == (Finding(ALICE, "The balance cannot be read: it is no integer."),)


# --- what an audit finds ------------------------------------------------------------------------------------------

TAMPERED: dict[str, tuple[list[str], str]] = {
    "a hold that was never recorded": (["HSET", "holds", "h9", "5:9999999999999:0"], "the open holds are of 65"),
    "a hold that was taken away": (["HDEL", "holds", "h1"], "the open holds are of 0"),
    "a hold of another amount": (["HSET", "holds", "h1", "61:9999999999999:0"], "Hold h1 is of 61"),
    "another sum": (["HSET", "holds", ":held", "1"], "1 are held"),
    "a forged balance": (["HSET", "holds", ":balance", "500"], "leaves a balance of 100, not of -300"),
    "an entry too many": (
        ["XADD", "history", "*", "kind", "grant", "operation", "g9", "amount", "5", "balance", "105", "held", "60"],
        "The balance is 100, but 105 after the last entry",
    ),
}


@on_redis
@pytest.mark.parametrize("how", TAMPERED)
async def test_an_audit_finds_what_was_tampered_with(
    ledger: RedisLedger, connection: RedisConnection, how: str
) -> None:
    at = AccountKeys.of(ALICE)
    await ledger.grant(ALICE, "g1", 100)
    await hold(ledger, "h1", 60)
    (command, place, *words), finding = TAMPERED[how]
    key = {"holds": at.holds, "history": at.history}[place]
    words = ["1900000000000-0" if word == "*" else word for word in words]

    await connection.command(command, key, *words)

    assert any(finding in found.what for found in await ledger.audit(ALICE)), await ledger.audit(ALICE)
