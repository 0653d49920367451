"""Queued runs: tenants take turns, slots bound what is executed at once, and any worker takes the next one."""

import asyncio
from itertools import count

import pytest

from domain.chat import ChatRequest, JsonObject
from domain.completions.production import RunLimits
from domain.errors import ModelNotSupported, NoApiKey, QueueFull, QueueTimeout, SluiceError
from domain.facts import RunRequeued
from domain.ports import JOBS
from domain.runs import SHARDS, RunError, Status, conversation_shard
from domain.tenants import Caller, Group
from tests.builders import (
    a_caller,
    a_model,
    a_planner,
    a_request,
    a_stream,
    a_tenant,
    a_tenant_document,
    an_account,
    user,
)
from tests.domain.completions.world import (
    INITIAL,
    LEASE,
    PROMPT,
    World,
    begin,
    ended,
    enqueue,
    follow,
    outcome,
    settled,
    until,
)
from tests.fakes import Step

pytestmark = pytest.mark.anyio

ONE_SLOT = RunLimits(job_slots=1)


def script(world: World, *steps: Step) -> None:
    world.provider.script = steps


def gated(world: World) -> asyncio.Event:
    """Let the provider say nothing before the event is set."""
    gate = asyncio.Event()
    script(world, gate, *a_stream("Hello"))
    return gate


def numbered(number: int) -> ChatRequest:
    return a_request(user(f"no. {number}"))


def asked(world: World) -> list[str]:
    return [call.body["messages"][0]["content"] for call in world.provider.calls]


async def a_tenant_of(world: World, name: str) -> Caller:
    """A caller of a tenant of this name, which is in the store too."""
    await world.tenants.wrapped.put(name, a_tenant_document())
    return a_caller(a_tenant(id=name, groups={"staff": Group("staff", initial_tokens=1_000_000)}))


# --- slots ------------------------------------------------------------------------------------------------------------


async def test_a_queued_job_waits_for_a_slot_and_then_runs(world: World) -> None:
    gate = gated(world)
    replica = await world.worker(ONE_SLOT)
    first = await enqueue(replica)
    await world.provider.asked.wait()
    second = await enqueue(replica)
    await settled()

    states = [(await world.record(job.run)).status for job in (first, second)]
    gate.set()
    endings = [await world.over(job.run) for job in (first, second)]

    assert first.run.status is Status.QUEUED
    assert first.tail is None
    assert states == [Status.IN_PROGRESS, Status.QUEUED]
    assert [ending.status for ending in endings] == [Status.COMPLETED, Status.COMPLETED]
    assert [ending.attempt for ending in endings] == [1, 1]


async def test_a_job_that_has_begun_is_known_to_have(world: World) -> None:
    gated(world)
    replica = await world.worker()
    job = await enqueue(replica)

    await world.provider.asked.wait()

    assert (await replica.find(job.run.id, "acme", "ann")).status is Status.IN_PROGRESS


async def test_no_more_jobs_run_at_once_than_a_worker_has_slots(world: World) -> None:
    gate = gated(world)
    replica = await world.worker(RunLimits(job_slots=3))

    jobs = [await enqueue(replica) for _ in range(10)]
    await until(lambda: world.provider.open == 3)
    await asyncio.sleep(5.0)
    gate.set()
    for job in jobs:
        await world.over(job.run)

    assert world.provider.most_open == 3


# --- turns ------------------------------------------------------------------------------------------------------------


async def test_a_replica_without_slots_takes_nothing_and_is_not_held_up_by_that(world: World) -> None:
    replica = await world.worker(RunLimits(job_slots=0))
    job = await enqueue(replica)
    await settled()

    async with asyncio.timeout(1):
        await replica.drain(30)

    assert (await replica.find(job.run.id, job.run.tenant, job.run.user)).status is Status.QUEUED
    assert not world.provider.calls


async def test_jobs_of_one_tenant_in_one_shard_begin_in_the_order_in_which_they_came(world: World) -> None:
    replica = world.replica(ONE_SLOT)
    for number in range(5):
        await enqueue(replica, request=numbered(number), conversation="my-chat")

    await replica.work()
    await until(lambda: len(world.provider.calls) == 5)

    assert asked(world) == [f"no. {number}" for number in range(5)]


async def test_a_tenant_with_one_job_does_not_wait_for_one_with_a_thousand(world: World) -> None:
    replica = world.replica(RunLimits(job_slots=1, queue_length=2_000))
    many, one = await a_tenant_of(world, "globex"), await a_tenant_of(world, "initech")
    for _ in range(1_000):
        await enqueue(replica, many)
    await replica.work()
    await until(lambda: len(world.provider.calls) >= 100)

    before = len(world.provider.calls)
    await enqueue(replica, one, numbered(1))
    await until(lambda: "no. 1" in asked(world))

    # In each shard, whoever waits has one run before it and one beside it at most.
    assert asked(world).index("no. 1") - before <= 2 * SHARDS


async def test_tenants_take_turns(world: World) -> None:
    replica = world.replica(RunLimits(job_slots=1, queue_length=200))
    many, few = await a_tenant_of(world, "globex"), await a_tenant_of(world, "initech")
    for _ in range(20):
        await enqueue(replica, many, numbered(0), conversation=same_shard(many))
    for _ in range(5):
        await enqueue(replica, few, numbered(1), conversation=same_shard(few))

    await replica.work()
    await until(lambda: len(world.provider.calls) == 25)

    first_ten = asked(world)[:10]
    assert [set(pair) for pair in zip(first_ten[::2], first_ten[1::2], strict=True)] == [{"no. 0", "no. 1"}] * 5


def same_shard(caller: Caller) -> str:
    """A conversation of the caller in shard 3."""
    return next(
        name
        for name in (f"chat-{number}" for number in count())
        if conversation_shard(caller.tenant.id, caller.user, name) == 3
    )


# --- several workers --------------------------------------------------------------------------------------------------


async def test_a_job_queued_on_one_replica_is_executed_on_another_and_followed_on_a_third(world: World) -> None:
    front, third = world.replica(), world.replica()
    job = await enqueue(front, request=a_request(stream=True))
    reader = asyncio.ensure_future(follow(third, job.run.id))
    await settled()

    await world.worker()
    entries, ending = await reader

    assert entries == [chunk.data for chunk in a_stream("Hello", " world")]
    assert ending.status is (await world.record(job.run)).status is Status.COMPLETED


async def test_many_jobs_and_several_workers_and_each_is_executed_once(world: World) -> None:
    world.ledger.wrapped.overwrite(an_account(), 1_000_000)
    limits = RunLimits(job_slots=3)
    front = world.replica(limits)
    workers = [await world.worker(limits) for _ in range(3)]

    jobs = [await enqueue(front, request=numbered(number)) for number in range(100)]
    records = [await world.over(job.run) for job in jobs]
    for worker in workers:
        await worker.drain(10.0)

    assert {(record.status, record.attempt) for record in records} == {(Status.COMPLETED, 1)}
    assert sorted(asked(world)) == sorted(f"no. {number}" for number in range(100))
    assert world.provider.most_open <= 9
    assert world.ledger.calls["settle"] == 100


async def test_a_job_of_which_no_bell_tells_is_found_all_the_same(world: World) -> None:
    world.bell.broken = True
    await world.worker()
    await asyncio.sleep(3.0)

    job = await enqueue(world.replica())
    queued_at = world.clock()
    await world.provider.asked.wait()

    # A round of housekeeping, and the jitter that keeps the replicas apart.
    assert world.clock() - queued_at <= 1.25
    assert (await world.over(job.run)).status is Status.COMPLETED


async def test_bells_that_ring_twice_change_nothing(world: World) -> None:
    world.bell.echoing = True
    worker = await world.worker()

    jobs = [await enqueue(world.replica()) for _ in range(5)]
    for job in jobs:
        await world.over(job.run)
    await worker.drain(1.0)

    assert len(world.provider.calls) == 5


@pytest.mark.parametrize("message", ["", "x", "16", "-1", "999", "\u0663"])
async def test_a_bell_that_says_nothing_sensible_is_ignored(world: World, message: str) -> None:
    worker = await world.worker()

    world.bell.ring(JOBS, message)
    job = await enqueue(worker)

    assert (await world.over(job.run)).status is Status.COMPLETED


async def test_a_store_that_is_away_delays_the_queue_and_nothing_else(world: World) -> None:
    front = world.replica()
    jobs = [await enqueue(front) for _ in range(3)]
    world.store.away = True
    await world.worker()
    await asyncio.sleep(5.0)
    asked_meanwhile = len(world.provider.calls)

    world.store.away = False
    records = [await world.over(job.run) for job in jobs]

    assert asked_meanwhile == 0
    assert [record.status for record in records] == [Status.COMPLETED] * 3


async def test_a_claim_whose_reply_is_lost_is_made_again_when_its_lease_has_lapsed(world: World) -> None:
    world.store.lose_replies("take")
    worker = await world.worker()

    job = await enqueue(worker)
    record = await world.over(job.run)

    assert (record.status, record.attempt) == (Status.COMPLETED, 2)
    assert world.journal.of(RunRequeued) == [RunRequeued(job.run.id, "acme", 1, "worker_lost")]
    assert len(world.provider.calls) == 1


# --- what waits -------------------------------------------------------------------------------------------------------


async def test_the_eta_is_the_rank_over_the_slots_of_all_workers_times_a_typical_duration(world: World) -> None:
    gated(world)
    front, _ = await world.worker(ONE_SLOT), await world.worker(ONE_SLOT)
    for _ in range(2):
        await enqueue(front)
    await until(lambda: world.provider.open == 2)
    await asyncio.sleep(3.0)

    etas = [(await enqueue(front)).eta for _ in range(6)]

    # Each pair waits for one round more than the pair before. A round is taken for two seconds.
    assert etas == [2, 2, 4, 4, 6, 6]


async def test_the_eta_learns_how_long_runs_of_the_model_take(world: World) -> None:
    world.planner = a_planner(models=[a_model(), a_model(name="o1", names={"openai": "o1"})])
    replica = world.replica()
    for seconds in (4.0, 7.0):
        gate = gated(world)
        _, tail = await begin(replica)
        await until(lambda: world.provider.open == 1)
        world.clock.advance(seconds)
        gate.set()
        await ended(tail)
        await settled()

    job, other = await enqueue(replica), await enqueue(replica, request=a_request(model="o1"))

    assert (job.eta, other.eta) == (6, 2)


async def test_an_eta_is_never_less_than_a_second(world: World) -> None:
    replica = world.replica()
    _, tail = await begin(replica)
    await ended(tail)
    await settled()

    assert (await enqueue(replica)).eta == 1


async def test_a_full_queue_takes_nobody_until_a_job_has_begun(world: World) -> None:
    gate = gated(world)
    replica = await world.worker(RunLimits(job_slots=1, queue_length=2))
    await enqueue(replica)
    await world.provider.asked.wait()
    for _ in range(2):
        await enqueue(replica)

    with pytest.raises(QueueFull):
        await enqueue(replica)
    held = world.ledger.calls["hold"]
    gate.set()
    await until(lambda: len(world.provider.calls) > 2)
    accepted = await enqueue(replica)

    assert held == 3
    assert (await world.over(accepted.run)).status is Status.COMPLETED


async def test_a_queue_that_others_filled_is_full_here_too(world: World) -> None:
    limits = RunLimits(job_slots=1, queue_length=2)
    gated(world)
    one, other = world.replica(limits), await world.worker(limits)
    await enqueue(world.replica())
    await world.provider.asked.wait()
    for _ in range(2):
        await enqueue(one)
    await asyncio.sleep(2.0)

    with pytest.raises(QueueFull):
        await enqueue(other)


async def test_a_job_that_is_refused_takes_no_place(world: World) -> None:
    replica = world.replica(RunLimits(queue_length=2))
    for _ in range(3):
        with pytest.raises(ModelNotSupported):
            await enqueue(replica, request=a_request(model="gpt-0"))

    answers = [await outcome(enqueue(replica)) for _ in range(9)]

    assert [type(answer) for answer in answers if isinstance(answer, SluiceError)] == [QueueFull] * 7


async def test_a_job_that_waited_too_long_ends_without_cost_and_leaves_its_place() -> None:
    world = World(queue_seconds=30.0)
    gate = gated(world)
    replica = await world.worker(RunLimits(job_slots=1, queue_length=1))
    first = await enqueue(replica)
    await world.provider.asked.wait()

    late = await enqueue(replica)
    record = await world.over(late.run)
    await asyncio.sleep(2.0)
    next_one = await enqueue(replica)
    gate.set()
    await world.over(first.run)

    assert (record.status, record.charged, record.error) == (Status.FAILED, 0, RunError.of(QueueTimeout()))
    assert (await world.over(next_one.run)).status is Status.COMPLETED
    assert len(world.provider.calls) == 2
    assert await world.balance() == INITIAL - 2 * (PROMPT + 1)


# --- jobs that cannot be executed -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (a_tenant_document(api_keys={}), NoApiKey.code),
        (a_tenant_document(allowed_models=["o1"]), ModelNotSupported.code),
    ],
)
async def test_a_job_whose_tenant_changed_meanwhile_is_judged_by_what_holds_now(
    world: World, document: JsonObject, code: str
) -> None:
    replica = world.replica(ONE_SLOT)
    job = await enqueue(replica)

    await world.tenants.wrapped.put("acme", document)
    await replica.work()
    record = await world.over(job.run)

    assert record.error is not None
    assert (record.status, record.error.code, record.charged) == (Status.FAILED, code, 0)
    assert (await world.balance(), world.provider.calls) == (INITIAL, [])


async def test_a_job_whose_tenant_cannot_be_had_for_a_moment_waits_for_it(world: World) -> None:
    world.tenants.fail("get", times=3)

    job = await enqueue(await world.worker())

    assert (await world.over(job.run)).status is Status.COMPLETED


async def test_a_job_that_cannot_be_executed_frees_its_slot(world: World) -> None:
    replica = await world.worker(ONE_SLOT)
    await world.tenants.wrapped.put("acme", a_tenant_document(api_keys={}))
    await world.over((await enqueue(replica)).run)

    await world.tenants.wrapped.put("acme", a_tenant_document())
    job = await enqueue(replica)

    assert (await world.over(job.run)).status is Status.COMPLETED


# --- stopping ---------------------------------------------------------------------------------------------------------


async def test_a_worker_that_was_stopped_takes_no_more(world: World) -> None:
    worker = await world.worker()
    await worker.drain(1.0)

    job = await enqueue(world.replica())
    await asyncio.sleep(60.0)

    assert (await world.record(job.run)).status is Status.QUEUED
    assert world.provider.calls == []


@pytest.mark.parametrize("reply", [False, True])
@pytest.mark.parametrize("method", ["survey", "take", "append"])
async def test_at_whatever_moment_the_worker_is_stopped_its_job_is_ended_or_goes_to_another(
    world: World, method: str, reply: bool
) -> None:
    worker = await world.worker()
    arrived, released = world.store.hold_up(method, reply=reply)
    job = await enqueue(world.replica())
    await arrived.wait()

    draining = asyncio.ensure_future(worker.drain(0.0))
    await settled()
    released.set()
    await draining
    left_at = world.clock()
    await world.worker()
    record = await world.over(job.run)

    assert record.status is Status.COMPLETED
    assert world.clock() - left_at < LEASE / 2, "nobody had to wait for a lease to lapse"
    assert world.ledger.calls["settle"] + world.ledger.calls["release"] == 1
