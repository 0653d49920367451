"""Ledger: the history of an account tells each change once, with what was there after it."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from adapters.memory.ledger import MemoryLedger
from adapters.redis.connection import RedisConnection
from adapters.redis.keys import AccountKeys
from adapters.redis.ledger import RedisLedger
from domain.errors import BalanceTooLarge, InsufficientTokens, OperationConflict, SluiceError
from domain.ledger import Account, Hold
from domain.ports import Ledger
from domain.tokens import MAX_TOKENS
from tests.contracts.backends import Backend
from tests.contracts.ledger_model import ALICE
from tests.contracts.ledgers import BOB, SetBalance, hold, lines
from tests.fakes import FrozenClock

pytestmark = pytest.mark.anyio

on_redis = pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)


async def test_a_history_tells_what_was_there_after_each_change(ledger: Ledger, clock: FrozenClock) -> None:
    await ledger.grant(ALICE, "g1", 100)
    await hold(ledger, "h1", 60)
    await hold(ledger, "h2", 30)
    await ledger.settle(ALICE, "h1", 25)
    await ledger.release(ALICE, "h2")
    await ledger.adjust(ALICE, "a1", 50)

    assert await lines(ledger) == [
        ("grant", "g1", 100, 100, 0),
        ("hold", "h1", 60, 100, 60),
        ("hold", "h2", 30, 100, 90),
        ("settle", "h1", 25, 75, 30),
        ("release", "h2", 0, 75, 0),
        ("adjust", "a1", -25, 50, 0),
    ]
    assert {entry.at for entry in await ledger.history(ALICE)} == {math.floor(clock() * 1000) / 1000}


async def test_what_changes_nothing_is_no_entry(ledger: Ledger) -> None:
    await ledger.grant(ALICE, "g1", 100)
    await hold(ledger, "h1", 60)
    await ledger.settle(ALICE, "h1", 25)
    before = await lines(ledger)

    await ledger.grant(ALICE, "g1", 100)
    await hold(ledger, "h1", 60)
    await ledger.settle(ALICE, "h1", 25)
    await ledger.release(ALICE, "h1")
    await ledger.release(ALICE, "never")
    await ledger.touch(ALICE, "h1", 5, 60.0)
    with pytest.raises(InsufficientTokens):
        await hold(ledger, "h2", 200, least=200)

    assert await lines(ledger) == before


async def test_the_tokens_of_a_new_user_are_a_grant(ledger: Ledger) -> None:
    await hold(ledger, "h1", 30, initial=100)

    assert await lines(ledger) == [("grant", "initial:h1", 100, 100, 0), ("hold", "h1", 30, 100, 30)]


async def test_a_history_is_read_in_pages_from_its_end(ledger: Ledger) -> None:
    for number in range(1, 8):
        await ledger.grant(ALICE, f"g{number}", number)

    pages = [await ledger.history(ALICE, limit=3)]
    while pages[-1]:
        pages.append(await ledger.history(ALICE, before=pages[-1][-1].id, limit=3))

    assert [[entry.amount for entry in page] for page in pages] == [[7, 6, 5], [4, 3, 2], [1], []]


async def test_an_unknown_account_has_no_history_and_none_comes_of_asking(ledger: Ledger, backend: Backend) -> None:
    asked = [await ledger.history(ALICE), await ledger.audit(ALICE), await ledger.available(ALICE)]

    assert asked == [(), (), 0]
    assert backend.lifetimes() == {}


@pytest.mark.parametrize(
    "before", ["", "-", "+", "0", "1-", "(1-1", "1-1 ", "1-1\n", "\u0663-\u0661", "9" * 16 + "-0", "$"]
)
async def test_what_is_no_entry_is_refused(ledger: Ledger, before: str) -> None:
    with pytest.raises(ValueError):
        await ledger.history(ALICE, before=before)


async def test_a_history_is_capped_and_what_is_left_still_explains_the_balance(
    connection: RedisConnection | None, clock: FrozenClock
) -> None:
    ledger: Ledger = (
        MemoryLedger(clock, kept=20) if connection is None else RedisLedger(connection, clock=clock, kept=20)
    )
    await ledger.grant(ALICE, "g1", 10_000)
    await hold(ledger, "open", 7, seconds=600.0)
    for number in range(200):
        await hold(ledger, f"h{number}", 10)
        await ledger.settle(ALICE, f"h{number}", 3)

    kept = await ledger.history(ALICE, limit=1000)

    # Redis drops entries by the hundred.
    assert 20 <= len(kept) <= 220
    assert kept[0].balance == 10_000 - 200 * 3
    assert await ledger.audit(ALICE) == ()


# --- grants and adjustments ---------------------------------------------------------------------------------------


async def test_a_grant_is_added_once(ledger: Ledger) -> None:
    available = await asyncio.gather(*(ledger.grant(ALICE, "g1", 40) for _ in range(20)))

    assert available == [40] * 20
    assert await lines(ledger) == [("grant", "g1", 40, 40, 0)]


async def test_a_grant_pays_a_debt_first_and_tells_what_is_available(ledger: Ledger) -> None:
    await ledger.adjust(ALICE, "a1", 50)
    await hold(ledger, "h1", 50)
    await ledger.settle(ALICE, "h1", 80)

    available = await ledger.grant(ALICE, "g1", 100)
    await hold(ledger, "h2", 10)

    assert available == 70
    assert await ledger.grant(ALICE, "g1", 100) == 60


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda it: it.grant(ALICE, "o1", 40), lambda it: it.grant(ALICE, "o1", 41)),
        (lambda it: it.adjust(ALICE, "o1", 40), lambda it: it.adjust(ALICE, "o1", 41)),
        (lambda it: it.grant(ALICE, "o1", 40), lambda it: it.adjust(ALICE, "o1", 40)),
    ],
)
async def test_an_operation_with_another_amount_is_a_conflict_and_changes_nothing(
    ledger: Ledger, first: Callable[[Ledger], Awaitable[int]], second: Callable[[Ledger], Awaitable[int]]
) -> None:
    await first(ledger)

    with pytest.raises(OperationConflict):
        await second(ledger)

    assert await ledger.available(ALICE) == 40
    assert len(await lines(ledger)) == 1


async def test_operations_of_two_users_and_of_holds_do_not_meet(ledger: Ledger) -> None:
    await ledger.grant(ALICE, "x", 40)
    await ledger.grant(BOB, "x", 50)
    await hold(ledger, "x", 10)
    await ledger.settle(ALICE, "x", 10)

    assert (await ledger.available(ALICE), await ledger.available(BOB)) == (30, 50)
    assert await ledger.audit(ALICE) == ()


async def test_an_adjustment_sets_the_balance_whatever_is_held(ledger: Ledger) -> None:
    await ledger.grant(ALICE, "g1", 100)
    await hold(ledger, "h1", 60)

    available = await ledger.adjust(ALICE, "a1", -20)

    assert available == -80
    assert (await lines(ledger))[-1] == ("adjust", "a1", -120, -20, 60)


async def test_an_adjustment_to_the_same_balance_is_told_all_the_same(ledger: Ledger) -> None:
    await ledger.grant(ALICE, "g1", 100)

    await ledger.adjust(ALICE, "a1", 100)

    assert (await lines(ledger))[-1] == ("adjust", "a1", 0, 100, 0)


async def test_a_balance_goes_up_to_the_widest_integer_and_no_further(ledger: Ledger) -> None:
    await ledger.grant(ALICE, "g1", MAX_TOKENS - 1)

    with pytest.raises(BalanceTooLarge):
        await ledger.grant(ALICE, "g2", 2)
    exactly = await ledger.grant(ALICE, "g3", 1)
    await ledger.adjust(ALICE, "a1", -MAX_TOKENS)

    assert exactly == MAX_TOKENS
    # The difference itself would be wider than what is kept exactly.
    assert (await lines(ledger))[-1] == ("adjust", "a1", -MAX_TOKENS, -MAX_TOKENS, 0)
    assert await ledger.audit(ALICE) == ()


BAD: Sequence[Callable[[Ledger], Awaitable[object]]] = [
    *(lambda it, amount=amount: it.grant(ALICE, "g", amount) for amount in (0, -1, 2**53)),
    *(lambda it, balance=balance: it.adjust(ALICE, "a", balance) for balance in (2**53, -(2**53))),
    *(lambda it, wanted=wanted: hold(it, "h", wanted) for wanted in (0, -1, 2**53)),
    *(lambda it, least=least: hold(it, "h", 5, least=least) for least in (0, -1, 2**53)),
    *(lambda it, initial=initial: hold(it, "h", 5, initial=initial) for initial in (-1, 2**53)),
    *(lambda it, seconds=seconds: hold(it, "h", 5, seconds=seconds) for seconds in (0, -1, float("nan"), 1e12)),
    *(lambda it, used=used: it.touch(ALICE, "h1", used, 60.0) for used in (-1, 2**53)),
    *(lambda it, seconds=seconds: it.touch(ALICE, "h1", 5, seconds) for seconds in (0, -1, float("inf"))),
    *(lambda it, cost=cost: it.settle(ALICE, "h1", cost) for cost in (-1, 2**53)),
    *(lambda it, limit=limit: it.history(ALICE, limit=limit) for limit in (0, -1)),
]


@pytest.mark.parametrize("bad", BAD)
async def test_a_bad_number_is_refused_before_anything_is_written(
    ledger: Ledger, clock: FrozenClock, bad: Callable[[Ledger], Awaitable[object]]
) -> None:
    await ledger.grant(ALICE, "g1", 100)
    await hold(ledger, "h1", 60)
    before = await lines(ledger)
    # A look would charge what has lapsed by now.
    clock.advance(61.0)

    with pytest.raises(ValueError):
        await bad(ledger)
    clock.advance(-61.0)

    assert await lines(ledger) == before


@on_redis
@pytest.mark.parametrize("text", ["-1", "2.5", "1e3", "nan", "", "9007199254740992"])
@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("grant", ["x", "{}"]),
        ("settle", ["h1", "{}"]),
        ("touch", ["h1", "{}", "5"]),
        ("hold", ["x", "{}", "1", "0", "5", "1"]),
    ],
)
async def test_a_script_itself_writes_nothing_for_a_bad_number(
    ledger: RedisLedger, backend: Backend, clock: FrozenClock, verb: str, words: Sequence[str], text: str
) -> None:
    await ledger.grant(ALICE, "g1", 100)
    await hold(ledger, "h1", 60)
    before = await lines(ledger)
    clock.advance(61.0)

    with pytest.raises(SluiceError):
        await ledger._run(verb, AccountKeys.of(ALICE), *(word.format(text) for word in words))
    clock.advance(-61.0)

    assert await lines(ledger) == before


# --- holds that lapse ---------------------------------------------------------------------------------------------


async def test_a_hold_that_nobody_touched_lapses_at_no_cost(ledger: Ledger, clock: FrozenClock) -> None:
    await ledger.grant(ALICE, "g1", 100)
    await hold(ledger, "h1", 60, seconds=10.0)

    clock.advance(11.0)

    assert await ledger.available(ALICE) == 100
    assert (await lines(ledger))[-1] == ("lapse", "h1", 0, 100, 0)


@pytest.mark.parametrize(("used", "charged"), [(25, 25), (60, 60), (61, 60), (MAX_TOKENS, 60)])
async def test_a_hold_that_lapsed_is_charged_what_it_used_but_never_more_than_it_held(
    ledger: Ledger, clock: FrozenClock, used: int, charged: int
) -> None:
    await ledger.grant(ALICE, "g1", 100)
    await hold(ledger, "h1", 60, seconds=10.0)
    await ledger.touch(ALICE, "h1", used, 10.0)
    clock.advance(11.0)

    assert await ledger.available(ALICE) == 100 - charged
    assert (await lines(ledger))[-1] == ("lapse", "h1", charged, 100 - charged, 0)


LOOKS: dict[str, Callable[[Ledger], Awaitable[object]]] = {
    "available": lambda it: it.available(ALICE),
    "grant": lambda it: it.grant(ALICE, "g2", 1),
    "adjust": lambda it: it.adjust(ALICE, "a2", 1),
    "hold": lambda it: hold(it, "h2", 1),
    "touch": lambda it: it.touch(ALICE, "h1", 40, 10.0),
    "settle": lambda it: it.settle(ALICE, "other", 1),
    "release": lambda it: it.release(ALICE, "other"),
    "history": lambda it: it.history(ALICE),
    "audit": lambda it: it.audit(ALICE),
}


@pytest.mark.parametrize("verb", LOOKS)
async def test_every_verb_charges_what_has_lapsed_first(ledger: Ledger, clock: FrozenClock, verb: str) -> None:
    await ledger.grant(ALICE, "g1", 100)
    await hold(ledger, "h1", 60, seconds=10.0)
    await ledger.touch(ALICE, "h1", 25, 10.0)
    clock.advance(11.0)

    await LOOKS[verb](ledger)

    assert (await lines(ledger))[2] == ("lapse", "h1", 25, 75, 0)


@pytest.mark.parametrize(("cost", "rest"), [(40, 15), (25, 0), (10, 0), (0, 0), (90, 65)])
async def test_a_late_settlement_charges_what_the_lapse_has_not(
    ledger: Ledger, clock: FrozenClock, cost: int, rest: int
) -> None:
    await ledger.grant(ALICE, "g1", 100)
    await hold(ledger, "h1", 60, seconds=10.0)
    await ledger.touch(ALICE, "h1", 25, 10.0)
    clock.advance(11.0)

    charged = [await ledger.settle(ALICE, "h1", cost) for _ in range(3)]

    assert charged == [25 + rest] * 3
    assert (await lines(ledger))[2:] == [("lapse", "h1", 25, 75, 0), ("settle", "h1", rest, 75 - rest, 0)]


async def test_a_release_after_a_lapse_keeps_its_charge_and_is_the_end(ledger: Ledger, clock: FrozenClock) -> None:
    await ledger.grant(ALICE, "g1", 100)
    await hold(ledger, "h1", 60, seconds=10.0)
    await ledger.touch(ALICE, "h1", 25, 10.0)
    clock.advance(11.0)

    charged = [await ledger.release(ALICE, "h1"), await ledger.settle(ALICE, "h1", 90)]

    assert charged == [25, 25]
    assert await ledger.available(ALICE) == 75


async def test_a_hold_that_lapsed_is_not_opened_again(ledger: Ledger, clock: FrozenClock) -> None:
    await ledger.grant(ALICE, "g1", 100)
    await hold(ledger, "h1", 60, seconds=10.0)
    clock.advance(11.0)

    again = await hold(ledger, "h1", 30, seconds=10.0)

    assert again == Hold("h1", 60)
    assert await ledger.available(ALICE) == 100


async def test_holds_lapse_each_at_its_own_millisecond(ledger: Ledger, clock: FrozenClock) -> None:
    clock.now = 1_800_000_000.0005
    await ledger.grant(ALICE, "g1", 100)
    for hold_id, seconds in (("later", 0.003), ("first", 0.001), ("last", 0.005), ("alike", 0.003)):
        await hold(ledger, hold_id, 10, seconds=seconds)

    open_after = []
    for _ in range(6):
        open_after.append((100 - await ledger.available(ALICE)) // 10)
        clock.advance(0.001)

    assert open_after == [4, 3, 3, 1, 1, 0]
    assert [line.operation for line in await lines(ledger) if line.kind == "lapse"] == [
        "first", "alike", "later", "last",
    ]  # fmt: skip


# --- touching -----------------------------------------------------------------------------------------------------


async def test_a_touched_hold_lives_on_and_is_never_cut_short(ledger: Ledger, clock: FrozenClock) -> None:
    await ledger.grant(ALICE, "g1", 100)
    await hold(ledger, "h1", 60, seconds=10.0)

    clock.advance(9.0)
    touched = [await ledger.touch(ALICE, "h1", 5, 10.0), await ledger.touch(ALICE, "h1", 5, 1.0)]
    clock.advance(9.9)
    open_still = await ledger.available(ALICE)
    clock.advance(0.2)

    assert touched == [True, True]
    assert (open_still, await ledger.available(ALICE)) == (40, 95)


async def test_what_a_hold_used_never_shrinks(ledger: Ledger, clock: FrozenClock) -> None:
    await ledger.grant(ALICE, "g1", 100)
    await hold(ledger, "h1", 60, seconds=10.0)

    await asyncio.gather(*(ledger.touch(ALICE, "h1", used, 10.0) for used in (3, 30, 20)))
    clock.advance(11.0)

    assert await ledger.available(ALICE) == 70


@pytest.mark.parametrize("end", ["settled", "released", "lapsed", "unknown"])
async def test_a_hold_that_is_not_open_cannot_be_touched(ledger: Ledger, clock: FrozenClock, end: str) -> None:
    await ledger.grant(ALICE, "g1", 100)
    if end != "unknown":
        await hold(ledger, "h1", 60, seconds=10.0)
    if end == "settled":
        await ledger.settle(ALICE, "h1", 10)
    if end == "released":
        await ledger.release(ALICE, "h1")
    if end == "lapsed":
        clock.advance(10.0)
    before = await lines(ledger)

    touched = await ledger.touch(ALICE, "h1", 5, 60.0)

    assert not touched
    assert await lines(ledger) == before


# --- accounts -----------------------------------------------------------------------------------------------------


async def test_all_accounts_are_listed_or_a_tenants(ledger: Ledger) -> None:
    accounts = {Account(f"t{number % 3}", "staff", f"user-{number}") for number in range(60)}
    await asyncio.gather(*(ledger.grant(account, "g1", 5) for account in accounts))
    # One that was asked for, but has no balance.
    await ledger.available(replace(ALICE, user="nobody"))
    # What begins like another's name.
    await ledger.grant(Account("t1.5", "staff", "x"), "g1", 5)

    everybody = {account async for account in ledger.accounts()}
    of_one = {account async for account in ledger.accounts("t1")}

    assert everybody == accounts | {Account("t1.5", "staff", "x")}
    assert of_one == {account for account in accounts if account.tenant == "t1"}


@on_redis
@pytest.mark.parametrize("tenant", ["*", "t?", "[a-z]", "t1:*", "", "a\\", "{t1}"])
async def test_what_is_no_tenant_matches_nothing(ledger: Ledger, tenant: str) -> None:
    await ledger.grant(Account("t1", "staff", "x"), "g1", 5)

    with pytest.raises(ValueError):
        assert [account async for account in ledger.accounts(tenant)] == []


@on_redis
async def test_keys_that_are_no_accounts_are_passed_over(ledger: Ledger, connection: RedisConnection) -> None:
    for key in ("tokens:", "tokens:a:b", "tokens:a:b:c:d", "tokens:a b:c:d", "tokens:a::d", b"tokens:\xff:b:c"):
        await connection.command("SET", key, 1)
    await connection.command("RPUSH", "tokens:a:b:list", 1)
    await ledger.grant(ALICE, "g1", 5)

    assert [account async for account in ledger.accounts()] == [ALICE]


# --- accounts that were made up for one request -----------------------------------------------------------------------


async def stranger(ledger: Ledger, hold_id: str, wanted: int = 10, seconds: float = 60.0) -> Hold:
    return await hold(ledger, hold_id, wanted, initial=1000, lasting=False, seconds=seconds)


@pytest.mark.parametrize("runs", [1, 3, 4, 5, 30])
async def test_a_passing_account_has_the_history_that_a_lasting_one_has(ledger: Ledger, runs: int) -> None:
    for number in range(runs):
        await stranger(ledger, f"h{number}")
        await hold(ledger, f"h{number}", 10, account=BOB, initial=1000)
        for account in (ALICE, BOB):
            await ledger.settle(account, f"h{number}", 3)

    pages = [await ledger.history(ALICE, limit=2)]
    while pages[-1]:
        pages.append(await ledger.history(ALICE, before=pages[-1][-1].id, limit=2))

    assert await lines(ledger) == await lines(ledger, BOB)
    assert [entry for page in pages for entry in page] == [*await ledger.history(ALICE, limit=1000)]
    assert len({entry.id for page in pages for entry in page}) == 1 + 2 * runs
    assert await ledger.audit(ALICE) == ()


async def test_an_account_that_becomes_lasting_takes_its_history_along(
    ledger: Ledger, set_balance: SetBalance, backend: Backend
) -> None:
    await stranger(ledger, "h1")
    await set_balance(ALICE, 500)
    before = await lines(ledger)

    await ledger.grant(ALICE, "g1", 40)
    await ledger.settle(ALICE, "h1", 3)

    assert [kind for kind, *_ in before] == ["grant", "hold", "adjust"]
    assert await lines(ledger) == [*before, ("grant", "g1", 40, 540, 10), ("settle", "h1", 3, 537, 0)]
    assert await ledger.audit(ALICE) == ()
    if backend.url is not None:
        assert backend.lifetimes()[AccountKeys.of(ALICE).history] == -1


async def test_entries_of_a_passing_account_follow_each_other_while_the_clock_is_set_back(
    ledger: Ledger, clock: FrozenClock
) -> None:
    for number in range(6):
        await stranger(ledger, f"h{number}", seconds=3600.0)
        clock.advance(-5.0)

    entries = await ledger.history(ALICE)

    assert [entry.operation for entry in entries] == ["h5", "h4", "h3", "h2", "h1", "h0", "initial:h0"]
    assert [tuple(map(int, e.id.split("-"))) for e in entries] == sorted(
        (tuple(map(int, e.id.split("-"))) for e in entries), reverse=True
    )


@pytest.mark.parametrize("backend", ["redis"], indirect=True)
async def test_a_request_of_nobody_leaves_few_bytes(ledger: Ledger, backend: Backend) -> None:
    await stranger(ledger, "chatcmpl-01M8GSCRVVERQJQKHZPTHSMCFC")
    await ledger.settle(ALICE, "chatcmpl-01M8GSCRVVERQJQKHZPTHSMCFC", 3)

    (server,) = backend.servers
    sizes = {key: server.command("MEMORY", "USAGE", key) for key in backend.lifetimes()}

    assert sum(sizes.values()) < 1_000
