"""Till: what begins and what ends a paid run, in one step or in several, comes to the same."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from adapters.memory.ledger import MemoryLedger
from adapters.memory.rate import MemoryRateLimiter
from adapters.redis.connection import RedisConnection
from adapters.redis.keys import AccountKeys
from adapters.redis.ledger import RedisLedger
from adapters.redis.rate import RedisRateLimiter
from adapters.redis.runs import RedisRunStore
from adapters.redis.till import RedisTill
from domain.completions.till import SeparateTill
from domain.errors import InsufficientTokens, RateLimited, SluiceError, StoreUnavailable
from domain.ledger import Deposit, Settlement
from domain.ports import Ledger, RateLimiter, RunStore, Till
from domain.rate import Allowance, Charge, Slot
from domain.runs import Appended, Ending, Run, Standing, ended
from tests.contracts.backends import connected
from tests.contracts.ledger_model import ALICE
from tests.contracts.ledgers import lines
from tests.contracts.proxy import proxied
from tests.contracts.runs import CANCELLED, COMPLETED, WORK, entries, new_run, store_on
from tests.fakes import FrozenClock
from tests.redis_server import RedisServer

pytestmark = pytest.mark.anyio

REQUESTS, TOKENS = Charge("rpm", "requests", Allowance(100), 1), Charge("tpm", "tokens", Allowance(1_000), 40)
PLACE = Slot("runs", 3, "run-1", 30.0)
INITIAL = 100
on_one_server = pytest.mark.parametrize("backend", ["redis"], indirect=True)


@dataclass(frozen=True, slots=True)
class Stores:
    """A till, and the stores that it stands before."""

    till: Till
    limiter: RateLimiter
    ledger: Ledger
    runs: RunStore

    @classmethod
    def on(cls, connection: RedisConnection | None, clock: FrozenClock) -> "Stores":
        runs = store_on(connection, clock)
        if connection is None:
            limiter, ledger = MemoryRateLimiter(clock), MemoryLedger(clock)
            return cls(SeparateTill(limiter, ledger, runs), limiter, ledger, runs)
        assert isinstance(runs, RedisRunStore)
        shared = RedisRateLimiter(connection, clock=clock), RedisLedger(connection, clock=clock)
        return cls(RedisTill(connection, *shared, runs), *shared, runs)

    async def admit(self, hold_id: str = "run-1", wanted: int = 10, **more: Any) -> object:
        """What comes of deposit, an error too."""
        least = more.pop("least", 1)
        deposit = Deposit(ALICE, hold_id, wanted, least, INITIAL, 60.0, lasting=True)
        charges = more.get("charges", [REQUESTS, TOKENS])
        slots = more.get("slots", [replace(PLACE, holder=hold_id)])
        try:
            return await self.till.admit("acme", charges, slots, deposit)
        except SluiceError as error:
            return type(error)

    async def conclude(self, run: Run, cost: int, ending: Ending = COMPLETED, **more: Any) -> tuple[Appended, int]:
        fence, base, said = (
            more.get(name, usual) for name, usual in (("fence", 1), ("base", 0), ("said", entries(1, 2)))
        )
        return await self.till.conclude(Settlement(ALICE, run.id, cost), fence, base, said, ending)

    async def left(self) -> list[int]:
        """What the meters have left, and the balance."""
        verdict = await self.limiter.take("acme", [replace(each, cost=0) for each in (REQUESTS, TOKENS)])
        return [*(reading.remaining for reading in verdict.readings), await self.ledger.available(ALICE)]


@pytest.fixture
def stores(connection: RedisConnection | None, clock: FrozenClock) -> Stores:
    return Stores.on(connection, clock)


@pytest.fixture
async def run(stores: Stores) -> Run:
    """A run that was admitted and has begun."""
    run = new_run()
    await stores.admit(run.id)
    await stores.runs.begin(run, WORK)
    return run


# --- what begins a run ------------------------------------------------------------------------------------------------


async def test_who_is_admitted_has_taken_from_the_limits_and_set_tokens_aside(stores: Stores) -> None:
    verdict, hold = await stores.till.admit(
        "acme", [REQUESTS, TOKENS], [PLACE], Deposit(ALICE, "run-1", 10, 1, INITIAL, 60.0, lasting=True)
    )

    assert [(reading.what, reading.remaining) for reading in verdict.readings] == [("requests", 99), ("tokens", 960)]
    assert (verdict.allowed, hold.id, hold.amount) == (True, "run-1", 10)
    assert await stores.left() == [99, 960, 90]
    assert [line[:2] for line in await lines(stores.ledger)] == [("grant", "initial:run-1"), ("hold", "run-1")]


@pytest.mark.parametrize("fault", ["requests", "tokens", "places"])
async def test_who_finds_no_room_in_the_limits_has_set_nothing_aside(stores: Stores, fault: str) -> None:
    full = {"requests": replace(REQUESTS, cost=100), "tokens": replace(TOKENS, cost=990)}
    await stores.limiter.take("acme", [full[fault]] if fault in full else [], [])
    slots = [replace(PLACE, limit=1)] if fault == "places" else []
    await stores.limiter.take("acme", [], [replace(slot, holder="other") for slot in slots])
    before = await stores.left()

    outcome = await stores.admit(slots=slots)

    assert outcome is RateLimited
    assert [*(await stores.left())][:2] == before[:2]
    assert await lines(stores.ledger) == []


async def test_who_finds_too_little_on_the_balance_has_taken_nothing_from_the_limits(stores: Stores) -> None:
    await stores.admit("run-1", wanted=95)
    before = await stores.left()

    outcome = await stores.admit("run-2", wanted=10, least=10)
    places = [await stores.limiter.take("acme", [], [replace(PLACE, holder=name)]) for name in ("run-3", "run-4")]

    assert outcome is InsufficientTokens
    assert await stores.left() == before == [99, 960, 5]
    assert [verdict.allowed for verdict in places] == [True, True]


async def test_of_a_crowd_no_more_are_admitted_than_the_balance_pays_for(stores: Stores) -> None:
    asked: dict[str, Any] = {"least": 10, "charges": [REQUESTS], "slots": []}
    outcomes = await asyncio.gather(*(stores.admit(f"run-{number}", **asked) for number in range(60)))

    refused = [outcome for outcome in outcomes if isinstance(outcome, type)]
    assert len(outcomes) - len(refused) == 10
    assert {*refused} == {InsufficientTokens}
    assert await stores.left() == [90, 1_000, 0]


async def test_an_account_that_is_new_may_begin_with_nothing_taken(stores: Stores) -> None:
    outcome = await stores.admit(charges=[], slots=[])

    assert not isinstance(outcome, type)
    assert await stores.left() == [100, 1_000, 90]


@on_one_server
async def test_who_had_no_reply_is_admitted_once(server: RedisServer, stores: Stores, clock: FrozenClock) -> None:
    tight = replace(REQUESTS, allowance=Allowance(1))
    # The server knows the script now, so that it is executed when the reply is lost.
    await stores.admit("run-0", wanted=1, charges=[], slots=[])
    async with proxied(server.port) as proxy, connected(proxy.url) as connection:
        far = Stores.on(connection, clock)
        await far.left()
        proxy.loses_one = True
        outcome = await far.admit(charges=[tight], slots=[replace(PLACE, limit=1)])

    assert not isinstance(outcome, type)
    assert await stores.left() == [99, 1_000, 89]
    assert (await stores.admit("run-2", charges=[tight])) is RateLimited


@on_one_server
async def test_a_balance_that_cannot_be_read_admits_nobody_and_takes_nothing(
    stores: Stores, connection: RedisConnection
) -> None:
    await connection.command("SET", AccountKeys.of(ALICE).balance, "much")

    outcome = await stores.admit()
    await connection.command("SET", AccountKeys.of(ALICE).balance, 7)

    assert outcome is StoreUnavailable
    assert await stores.left() == [100, 1_000, 7]


# --- what ends it -----------------------------------------------------------------------------------------------------


async def test_a_run_that_ends_is_charged_and_its_record_tells_how_much(stores: Stores, run: Run) -> None:
    appended, charged = await stores.conclude(run, 7)

    assert (appended, charged) == (Appended(Standing.OWNED, 2), 7)
    part = await stores.runs.read(run.id, 0)
    assert part is not None
    assert (part.run, list(part.entries)) == (ended(replace(run, tail=2), replace(COMPLETED, charged=7)), entries(1, 2))
    assert await stores.runs.result(run.id) == COMPLETED.completion
    assert await stores.ledger.available(ALICE) == INITIAL - 7
    assert (await lines(stores.ledger))[-1] == ("settle", run.id, 7, INITIAL - 7, 0)


async def test_the_same_ending_again_changes_nothing(stores: Stores, run: Run) -> None:
    first = await stores.conclude(run, 7)
    before = await lines(stores.ledger)

    again = await stores.conclude(run, 7)
    lasting = await stores.conclude(run, 9)

    assert first == again
    assert lasting[1] == 7
    assert await lines(stores.ledger) == before


async def test_a_run_that_is_anothers_stays_as_it_is(stores: Stores, run: Run) -> None:
    appended, _ = await stores.conclude(run, 7, fence=9)

    record = await stores.runs.get(run.id)
    assert appended.standing is Standing.LOST
    assert record == run


@on_one_server
@pytest.mark.parametrize(
    ("more", "standing"), [({"fence": 9}, Standing.LOST), ({"base": 5}, Standing.BEHIND), ({}, Standing.UNKNOWN)]
)
async def test_what_cannot_be_ended_is_not_charged(
    stores: Stores, run: Run, more: Mapping[str, Any], standing: Standing
) -> None:
    before = await lines(stores.ledger)

    appended, charged = await stores.conclude(run if more else new_run(), 7, **more)

    assert (appended.standing, charged) == (standing, 0)
    assert await lines(stores.ledger) == before


@on_one_server
async def test_a_run_that_ended_otherwise_is_not_charged_again(stores: Stores, run: Run) -> None:
    await stores.runs.append(run.id, 1, 0, [], CANCELLED)
    before = await lines(stores.ledger)

    appended, charged = await stores.conclude(run, 7)

    assert (appended.standing, charged) == (Standing.LOST, 0)
    assert await lines(stores.ledger) == before


@on_one_server
async def test_while_a_balance_cannot_be_read_the_run_goes_on(
    stores: Stores, run: Run, connection: RedisConnection
) -> None:
    await connection.command("SET", AccountKeys.of(ALICE).balance, "much")

    with pytest.raises(StoreUnavailable):
        await stores.conclude(run, 7)

    assert await stores.runs.get(run.id) == run


@on_one_server
async def test_a_full_server_still_ends_runs_and_admits_none(stores: Stores, run: Run, server: RedisServer) -> None:
    server.command("CONFIG", "SET", "maxmemory", 1)
    try:
        refused = await stores.admit("run-2")
        appended, charged = await stores.conclude(run, 7)
    finally:
        server.command("CONFIG", "SET", "maxmemory", 0)

    assert (refused, appended.standing, charged) == (StoreUnavailable, Standing.OWNED, 7)


# --- a walk -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)
@pytest.mark.parametrize("seed", range(6))
async def test_whatever_is_asked_it_comes_to_the_same_as_one_verb_after_another(
    stores: Stores, clock: FrozenClock, seed: int
) -> None:
    dice, model = random.Random(seed), Stores.on(None, clock)
    runs: list[Run] = []
    for _ in range(120):
        clock.advance(dice.choice((0.0, 0.4, 3.0, 25.0)))
        outcomes: list[object] = []
        if not runs or dice.random() < 0.6:
            run = new_run()
            asked = _asked(dice, run.id)
            for each in (stores, model):
                outcomes.append(await each.admit(run.id, **asked))
                if not isinstance(outcomes[-1], type):
                    await each.runs.begin(run, WORK)
            runs += [run] if not isinstance(outcomes[0], type) else []
        else:
            run = dice.choice(runs)
            cost, said = dice.randrange(60), entries(1, dice.randrange(4))
            outcomes = [await each.conclude(run, cost, said=said) for each in (stores, model)]

        assert outcomes[0] == outcomes[1]
        assert await stores.left() == await model.left()
        assert await lines(stores.ledger) == await lines(model.ledger)


def _asked(dice: random.Random, run_id: str) -> dict[str, Any]:
    wanted, tokens = dice.randrange(1, 40), replace(TOKENS, cost=dice.randrange(400))
    return {
        "wanted": wanted,
        "least": dice.randrange(1, wanted + 1),
        "charges": [replace(REQUESTS, allowance=Allowance(8)), tokens][: dice.randrange(1, 3)],
        "slots": [replace(PLACE, holder=run_id)] if dice.random() < 0.5 else [],
    }
