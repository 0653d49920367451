"""What a run costs reaches the ledger once, whenever the ledger is there; and it costs what the model weighs."""

import asyncio
from collections.abc import Sequence

import anyio
import pytest

from adapters.memory.ledger import MemoryLedger
from domain.chat import Usage
from domain.completions.execution import Execution
from domain.errors import DailyTokensSpent, OutboxFailed, ProviderTimeout, RateLimited, StoreUnavailable
from domain.facts import SettlementFailed
from domain.ledger import Account, EntryKind, Settlement
from domain.runs import Ending, Status
from domain.tenants import Group, Limits
from domain.tokens import TokenPolicy
from tests.builders import RUN_ID, a_caller, a_model, a_planner, a_request, a_stream, a_tenant, an_account
from tests.domain.completions.world import INITIAL, PROMPT, World, ended, start
from tests.fakes import Step

pytestmark = pytest.mark.anyio

USED = Usage(PROMPT, 2)
SAID = a_stream("Hello", " world", usage=USED)


async def produce(world: World, execution: Execution) -> Ending:
    with anyio.fail_after(60):
        await world.production().produce(execution)
    return await ended(execution.tail)


# --- a ledger that is away ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "verb", "cost"), [(SAID, "settle", USED.total_tokens), ((ProviderTimeout(),), "release", None)]
)
async def test_what_the_ledger_cannot_be_told_waits_and_the_run_ends_all_the_same(
    world: World, steps: Sequence[Step], verb: str, cost: int | None
) -> None:
    world.ledger.fail(verb, times=99)
    world.provider.script = tuple(steps)
    execution = await world.execution()

    ending = await produce(world, execution)

    assert ending.charged == (cost or 0)
    assert (await world.record(execution.job.run)).status is ending.status
    assert world.outbox.waiting() == (Settlement(an_account(), RUN_ID, cost),)
    assert world.journal.of(SettlementFailed) == []


async def test_what_waits_is_told_once_when_the_ledger_is_back(world: World) -> None:
    world.ledger.fail("settle", times=99)
    world.provider.script = SAID
    await produce(world, await world.execution())
    world.ledger.fail("settle", times=0)

    for _ in range(3):
        await world.housekeeping().round()

    assert world.outbox.waiting() == ()
    assert await world.balance() == INITIAL - USED.total_tokens
    history = await world.ledger.wrapped.history(an_account())
    assert [entry.kind for entry in history].count(EntryKind.SETTLE) == 1


async def test_one_settlement_that_cannot_be_told_holds_up_no_other_and_no_housekeeping(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where an operator has set a balance that is no integer."""
    broken = Settlement(Account("acme", "staff", "broken"), "run-0", 5)
    others = [Settlement(an_account(), f"run-{number}", 5) for number in range(1, 4)]
    for settlement in (broken, *others):
        await world.outbox.put(settlement)
    settle = MemoryLedger.settle

    async def fail_one(ledger: MemoryLedger, account: Account, hold_id: str, cost: int) -> int:
        if account == broken.account:
            raise StoreUnavailable
        return await settle(ledger, account, hold_id, cost)

    monkeypatch.setattr(MemoryLedger, "settle", fail_one)
    await world.housekeeping().round()

    assert world.outbox.waiting() == (broken,)


async def test_a_settlement_that_cannot_even_be_written_down_is_told_to_the_journal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: Settlement) -> None:
        raise OutboxFailed

    monkeypatch.setattr(world.outbox, "put", fail)
    world.ledger.fail("settle", times=99)
    world.provider.script = SAID

    ending = await produce(world, await world.execution())

    assert ending.status is Status.COMPLETED
    assert world.journal.of(SettlementFailed) == [SettlementFailed(RUN_ID, "acme", USED.total_tokens)]


async def test_nothing_is_admitted_while_no_settlement_could_be_kept(world: World) -> None:
    world.outbox._size = 0

    with pytest.raises(OutboxFailed):
        await start(world.replica())


# --- what a token costs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("weight", "cost"), [(3.0, 30), (0.25, 3), (0.0, 0), (1.0, 10)])
async def test_a_run_costs_its_tokens_times_the_weight_of_its_model_rounded_up(weight: float, cost: int) -> None:
    world = World(planner=a_planner(models=[a_model(weight=weight)]))
    world.provider.script = SAID

    started = await start(world.replica())
    assert started.tail is not None
    ending = await ended(started.tail)

    assert (ending.usage, ending.charged) == (USED, cost)
    assert await world.balance() == INITIAL - cost


async def test_a_hold_is_of_what_the_model_weighs() -> None:
    world = World(planner=a_planner(models=[a_model(weight=2.5)]))

    admitted = await world.admission().admit(a_caller(), a_request(completion_bound=12), RUN_ID)

    assert admitted.hold.amount == 50


async def test_under_the_strict_policy_a_heavy_model_may_say_less() -> None:
    world = World(planner=a_planner(models=[a_model(weight=4.0)]))
    world.ledger.wrapped.overwrite(an_account(), 4 * PROMPT + 11)

    admitted = await world.admission().admit(a_caller(a_tenant(policy=TokenPolicy.STRICT)), a_request(), RUN_ID)

    assert admitted.completion_bound == 2


# --- limits on runs at once, and on days ----------------------------------------------------------------------------


async def test_of_more_runs_than_are_allowed_at_once_one_is_refused_until_another_ends(world: World) -> None:
    caller = a_caller(a_tenant(groups={"staff": Group("staff", 1_000, user_limits=Limits(concurrent_runs=1))}))
    world.provider.script = SAID
    execution = await world.execution(caller=caller)

    with pytest.raises(RateLimited) as refusal:
        await world.admission().admit(caller, a_request(), "run-2")
    await produce(world, execution)
    admitted = await world.admission().admit(caller, a_request(), "run-2")

    assert refusal.value.verdict.refused_by == "concurrency"
    assert admitted.verdict.allowed


async def test_a_queued_run_takes_no_slot_of_those_that_go_on(world: World) -> None:
    caller = a_caller(a_tenant(limits=Limits(concurrent_runs=1)))
    admission = world.admission()
    await admission.take(await admission.prepare(caller, a_request(), "run-1", queued=True))

    verdict = await admission.take(await admission.prepare(caller, a_request(), "run-2"))

    assert verdict.allowed


async def test_a_request_that_is_refused_for_its_balance_gives_its_slot_back(world: World) -> None:
    caller = a_caller(a_tenant(limits=Limits(concurrent_runs=1)))
    world.ledger.wrapped.overwrite(an_account(), 0)
    with pytest.raises(Exception, match="Insufficient tokens"):
        await world.admission().admit(caller, a_request(), "run-1")
    world.ledger.wrapped.overwrite(an_account(), 100)

    assert (await world.admission().admit(caller, a_request(), "run-2")).verdict.allowed


async def test_a_spent_day_is_told_as_insufficient_tokens_until_midnight(world: World) -> None:
    caller = a_caller(a_tenant(groups={"staff": Group("staff", 1_000, daily_tokens=USED.total_tokens)}))
    world.provider.script = SAID
    await produce(world, await world.execution(caller=caller))

    with pytest.raises(DailyTokensSpent, match="Insufficient tokens") as refusal:
        await world.admission().admit(caller, a_request(), "run-2")
    world.clock.advance(refusal.value.retry_after)

    assert (await world.admission().admit(caller, a_request(), "run-3")).verdict.allowed


async def test_what_an_estimate_took_of_the_day_too_much_comes_back(world: World) -> None:
    caller = a_caller(a_tenant(groups={"staff": Group("staff", 1_000, daily_tokens=USED.total_tokens + 1)}))
    world.provider.script = SAID
    await produce(world, await world.execution(caller=caller))

    assert (await world.admission().admit(caller, a_request(), "run-2")).verdict.allowed


# --- cached answers that cost ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("charged", "cost"), [(False, 0), (True, USED.total_tokens)])
async def test_a_cached_answer_costs_what_the_tenant_says(world: World, charged: bool, cost: int) -> None:
    caller = a_caller(a_tenant(cache_charged=charged))
    world.provider.script = SAID
    replica, request = world.replica(), a_request(cache_key="greeting")
    first = await start(replica, caller, request)
    assert first.tail is not None
    await ended(first.tail)
    await anyio.sleep(1)

    second = await start(replica, caller, request)

    assert (second.cache, second.run.charged) == ("hit", cost)
    assert len(world.provider.calls) == 1
    assert await world.balance() == INITIAL - USED.total_tokens - cost


async def test_who_pays_all_the_same_has_a_run_of_their_own_while_another_goes_on(world: World) -> None:
    caller = a_caller(a_tenant(cache_charged=True))
    world.provider.script = (asyncio.Event(), *SAID)
    replica, request = world.replica(), a_request(cache_key="greeting")

    started = [await start(replica, caller, request) for _ in range(2)]

    assert [each.cache for each in started] == ["miss", "miss"]
    assert [each.run.source for each in started] == [None, None]
