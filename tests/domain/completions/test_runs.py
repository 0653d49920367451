"""Runs as the surfaces see them: begun, queued, found, followed, and ended with the process."""

import asyncio
import gc

import pytest

from domain.completions.production import RunLimits
from domain.errors import (
    CursorAhead,
    GenerationRestarted,
    InsufficientTokens,
    ModelNotSupported,
    ProviderTimeout,
    RateLimited,
    SluiceError,
    StoreUnavailable,
    UnknownCompletion,
)
from domain.facts import CompletionRequested
from domain.rate import Reading
from domain.runs import Cursor, Status, conversation_after, conversation_shard, is_run_id, shard_of
from tests.builders import (
    NOW,
    RUN_ID,
    a_caller,
    a_completion,
    a_request,
    a_run,
    a_stream,
    a_tenant,
    a_tenant_document,
    an_account,
    an_order,
    limits,
)
from tests.domain.completions.world import (
    INITIAL,
    World,
    begin,
    ended,
    enqueue,
    read_all,
    settled,
    start,
    until,
)
from tests.fakes import Step

pytestmark = pytest.mark.anyio

NOBODY = a_caller(group="anonymous", user="anonymous-1")


def script(world: World, *steps: Step) -> None:
    world.provider.script = steps


def gated(world: World) -> asyncio.Event:
    """Let the provider say nothing before the event is set."""
    gate = asyncio.Event()
    script(world, gate, *a_stream("Hello"))
    return gate


# --- ids --------------------------------------------------------------------------------------------------------------


def test_a_run_is_announced_under_the_id_that_it_will_have(world: World) -> None:
    replica = world.replica()

    one, other = replica.announce(a_caller(), "job"), replica.announce(a_caller(), "chatcmpl")

    assert is_run_id(one)
    assert is_run_id(other)
    assert (one[:14], other[:19]) == ("job-01JXT21Q00", "chatcmpl-01JXT21Q00")
    assert one[-16:] != other[-16:]
    assert world.journal.facts == [CompletionRequested("acme", one), CompletionRequested("acme", other)]


def test_the_runs_of_a_conversation_share_its_shard(world: World) -> None:
    replica = world.replica()

    shards = {shard_of(replica.announce(a_caller(), "chatcmpl", "my-chat")) for _ in range(50)}

    assert shards == {conversation_shard("acme", "ann", "my-chat")}


# --- beginning --------------------------------------------------------------------------------------------------------


async def test_a_started_run_is_recorded_as_it_was_ordered(world: World) -> None:
    gated(world)

    begun = await start(
        world.replica(),
        request=a_request(include_usage=True),
        extras=False,
        answer_id="my-chat",
        conversation="my-chat",
    )

    expected = a_run(
        id=begun.run.id,
        answer_id="my-chat",
        conversation="my-chat",
        extras=False,
        include_usage=True,
        created=int(NOW),
        restartable=True,
        asked=1,
    )
    assert begun.run == await world.record(begun.run) == expected
    assert begun.tail is not None
    assert begun.tail.run == expected


async def test_a_run_answers_with_its_own_id_where_no_other_is_ordered(world: World) -> None:
    begun = await start(world.replica())

    assert begun.run.answer_id == begun.run.id


async def test_a_started_run_tells_what_the_meters_show(world: World) -> None:
    begun = await start(world.replica(), a_caller(a_tenant(limits=limits(requests=10))))

    assert begun.verdict.readings == (Reading("requests", limit=10, remaining=9, reset=60.0),)


@pytest.mark.parametrize("live", [True, False])
async def test_a_started_run_is_asked_of_the_provider_as_ordered_and_goes_on_by_itself(
    world: World, live: bool
) -> None:
    script(world, *(a_stream("Hello") if live else [a_completion()]))

    _, tail = await begin(world.replica(), live=live)
    ending = await ended(tail)

    assert ending.completion is not None
    assert ending.completion.choices == a_completion().choices
    assert tail.entries == [chunk.data for chunk in a_stream("Hello") if live]
    assert world.provider.calls[0].request_id == "req-1"


async def test_two_runs_are_produced_side_by_side(world: World) -> None:
    gate = gated(world)
    replica = world.replica(RunLimits(job_slots=1))

    tails = [tail for _, tail in [await begin(replica) for _ in range(3)]]
    await until(lambda: world.provider.open == 3)
    gate.set()

    assert [(await ended(tail)).status for tail in tails] == [Status.COMPLETED] * 3


@pytest.mark.parametrize("queued", [False, True])
async def test_a_request_that_is_refused_leaves_nothing_behind(world: World, queued: bool) -> None:
    replica, request = world.replica(), a_request(model="gpt-0")

    with pytest.raises(ModelNotSupported):
        await (enqueue(replica, request=request) if queued else start(replica, request=request))
    await settled()

    assert (world.store.calls.total(), world.ledger.calls.total(), len(world.provider.calls)) == (0, 0, 0)


@pytest.mark.parametrize("replies", ["failed", "lost"])
@pytest.mark.parametrize("answers", ["at once", "late"])
async def test_a_run_that_cannot_be_recorded_comes_to_nothing_and_gives_its_hold_back(
    world: World, replies: str, answers: str
) -> None:
    if answers == "late":
        world.provider.script = (asyncio.Event(),)
    if replies == "failed":
        world.store.fail("begin", times=99)
    else:
        world.store.lose_replies("begin", times=99)
    replica = world.replica()

    with pytest.raises(StoreUnavailable):
        await start(replica)
    await replica.drain(10.0)

    assert await world.balance() == INITIAL
    assert (await world.settlements(), world.provider.open) == (0, 0)


async def test_the_provider_is_asked_while_the_record_is_written_but_nobody_is_told_of_it(world: World) -> None:
    arrived, release = world.store.hold_up("begin", reply=True)
    replica = world.replica()

    starting = asyncio.ensure_future(start(replica))
    await arrived.wait()
    await until(lambda: bool(world.provider.calls))
    await settled()
    told, charged = starting.done(), await world.settlements()
    release.set()

    assert (told, charged) == (False, 0)
    tail = (await starting).tail
    assert tail is not None
    assert (await ended(tail)).status is Status.COMPLETED


@pytest.mark.parametrize("replies", ["failed", "lost"])
async def test_a_run_whose_beginning_is_recorded_at_the_second_attempt_is_begun_once(
    world: World, replies: str
) -> None:
    if replies == "failed":
        world.store.fail("begin")
    else:
        world.store.lose_replies("begin")

    _, tail = await begin(world.replica())

    assert (await ended(tail)).status is Status.COMPLETED
    assert len(world.provider.calls) == 1


async def test_a_hold_that_cannot_be_given_back_does_not_hide_why_it_should(world: World) -> None:
    world.store.fail("begin", times=99)
    world.ledger.fail("release", times=99)
    replica = world.replica()

    with pytest.raises(StoreUnavailable):
        await start(replica)
    await replica.drain(60.0)

    assert world.ledger.calls["release"] > 1


# --- a caller who leaves ----------------------------------------------------------------------------------------------


async def test_a_caller_who_leaves_during_admission_does_not_undo_the_run(world: World) -> None:
    replica = world.replica()
    run_id = replica.announce(a_caller(), "chatcmpl")
    world.tokenizer.gate.clear()
    asking = asyncio.ensure_future(replica.start(a_caller(), a_request(), an_order(run_id)))
    await world.tokenizer.asked.wait()

    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    world.tokenizer.gate.set()
    await until(lambda: bool(world.provider.calls))
    run = await replica.find(run_id, "acme", "ann")
    async with replica.following(run, Cursor()) as tail:
        ending = await ended(tail)

    assert ending.status is Status.COMPLETED
    assert await world.balance() == INITIAL - ending.charged


async def test_a_refusal_that_nobody_waits_for_any_more_is_no_defect(world: World) -> None:
    replica = world.replica()
    world.tokenizer.gate.clear()
    asking = asyncio.ensure_future(start(replica, request=a_request(completion_bound=10_000)))
    await world.tokenizer.asked.wait()
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    asking.cancel()
    await settled()
    left = asking.cancelled()
    world.tokenizer.gate.set()
    await settled()
    # asyncio complains when the last reference to a task goes whose outcome nobody has seen.
    del asking
    gc.collect()

    assert left
    assert complaints == []


async def test_readers_may_come_and_go_without_ending_the_run(world: World) -> None:
    gate = gated(world)
    _, tail = await begin(world.replica())
    reader = asyncio.ensure_future(read_all(tail))
    await settled()

    reader.cancel()
    await settled()
    gate.set()

    assert (await ended(tail)).status is Status.COMPLETED


# --- finding ----------------------------------------------------------------------------------------------------------


async def test_a_run_is_found_while_it_goes_on_and_after_it_has_ended(world: World) -> None:
    gate = gated(world)
    replica = world.replica()
    run, tail = await begin(replica)

    meanwhile = await replica.find(run.id, "acme", "ann")
    asked = world.store.calls["get"]
    gate.set()
    await ended(tail)
    await settled()
    afterwards = await replica.find(run.id, "acme", "ann")

    assert asked == 0, "what goes on here is known here"
    assert (meanwhile.status, afterwards.status) == (Status.IN_PROGRESS, Status.COMPLETED)
    assert await replica.completion(afterwards) == await world.store.wrapped.result(run.id)


@pytest.mark.parametrize("outcome", ["completed", "failed", "abandoned"])
async def test_a_replica_keeps_nothing_of_a_run_that_has_ended(world: World, outcome: str) -> None:
    if outcome == "failed":
        script(world, ProviderTimeout())
    replica = await world.worker()
    if outcome == "abandoned":
        await world.tenants.wrapped.put("acme", a_tenant_document(api_keys={}))
    job = await enqueue(replica)
    await world.over(job.run)
    await replica.drain(10.0)

    world.clock.advance(86_400.0)

    with pytest.raises(UnknownCompletion):
        await replica.find(job.run.id, "acme", "ann")


async def test_a_completion_is_to_be_had_as_soon_as_it_is_there(world: World) -> None:
    gate = gated(world)
    replica = world.replica()
    run, tail = await begin(replica)

    before = await replica.completion(run)
    gate.set()
    ending = await ended(tail)

    assert before is None
    assert await replica.completion(tail.run) == ending.completion


@pytest.mark.parametrize("here", [True, False])
async def test_another_users_run_and_one_that_never_was_are_the_same_to_a_caller(world: World, here: bool) -> None:
    gate = gated(world)
    replica = world.replica()
    run, tail = await begin(replica)
    if not here:
        gate.set()
        await ended(tail)
        await settled()
    told = set()

    for run_id, tenant, asker in [
        (run.id, "acme", "bob"),
        (run.id, "acme", None),
        (run.id, "globex", "ann"),
        (RUN_ID, "acme", "ann"),
        ("conv-" + run.id.partition("-")[2], "acme", "bob"),
        ("conv-" + run.id.partition("-")[2], "acme", None),
        ("my-chat", "acme", "ann"),
    ]:
        with pytest.raises(SluiceError) as refusal:
            await replica.find(run_id, tenant, asker)
        told.add((type(refusal.value), refusal.value.message, refusal.value.code, refusal.value.param))

    assert told == {(UnknownCompletion, "No such completion", "completion_not_found", None)}


async def test_an_anonymous_run_is_found_by_whoever_knows_its_id(world: World) -> None:
    replica = world.replica()
    begun = await start(replica, NOBODY)

    found = [await replica.find(begun.run.id, "acme", asker) for asker in (None, "ann", "anonymous-2")]

    assert [run.id for run in found] == [begun.run.id] * 3
    with pytest.raises(UnknownCompletion):
        await replica.find(begun.run.id, "globex", None)


async def test_a_conversation_leads_to_its_users_latest_run(world: World) -> None:
    replica = world.replica()
    runs = [await start(replica, conversation="my-chat") for _ in range(3)]
    for run in runs:
        await world.over(run.run)

    found = await replica.find("my-chat", "acme", "ann")

    assert found.id == runs[-1].run.id
    for tenant, asker in (("acme", "bob"), ("acme", None), ("globex", "ann")):
        with pytest.raises(UnknownCompletion):
            await replica.find("my-chat", tenant, asker)


async def test_a_conversation_that_was_named_after_its_first_run_leads_there_until_it_goes_on(world: World) -> None:
    replica = world.replica()
    first = await start(replica)
    conversation = conversation_after(first.run.id)

    at_first = await replica.find(conversation, "acme", "ann")
    second = await start(replica, conversation=conversation)
    later = await replica.find(conversation, "acme", "ann")

    assert (at_first.id, later.id) == (first.run.id, second.run.id)


@pytest.mark.parametrize("text", ["x", "my-chat", "conv-", "conv-x", "chatcmpl-", "job-1", RUN_ID.lower()])
async def test_a_conversation_without_runs_is_not_taken_for_a_run(world: World, text: str) -> None:
    with pytest.raises(UnknownCompletion):
        await world.replica().find(text, "acme", "ann")

    assert world.store.calls == {"latest": 1}


@pytest.mark.parametrize(
    ("text", "asker"),
    [("", "ann"), ("../x", "ann"), ("a b", "ann"), ("{x}", "ann"), ("x" * 200, "ann"), ("my-chat", None)],
)
async def test_what_can_be_no_conversation_of_the_caller_is_not_asked_of_the_store(
    world: World, text: str, asker: str | None
) -> None:
    with pytest.raises(UnknownCompletion):
        await world.replica().find(text, "acme", asker)

    assert not world.store.calls


# --- following here ---------------------------------------------------------------------------------------------------


async def test_a_run_is_followed_from_any_place_that_it_has_reached(world: World) -> None:
    gate = asyncio.Event()
    chunks = a_stream("Hello", " world")
    script(world, chunks, gate)
    replica = world.replica()
    run, tail = await begin(replica)
    await tail.grown(0)

    for seen in range(len(chunks) + 1):
        async with replica.following(run, Cursor(seen, 1)) as tail:
            assert tail is tail
    with pytest.raises(CursorAhead):
        async with replica.following(run, Cursor(len(chunks) + 1)):
            pass
    with pytest.raises(GenerationRestarted):
        async with replica.following(run, Cursor(0, 0)):
            pass
    gate.set()

    assert await read_all(tail, 2) == [chunk.data for chunk in chunks[2:]]


async def test_a_run_whose_answer_comes_whole_is_followed_through_the_store(world: World) -> None:
    gate = asyncio.Event()
    script(world, gate, a_completion())
    replica = world.replica()
    run, tail = await begin(replica, live=False)

    async with replica.following(run, Cursor()) as read:
        gate.set()
        entries = await read_all(read)

    assert len(entries) == 2
    assert tail.entries == []


# --- many at once -----------------------------------------------------------------------------------------------------


async def test_however_many_run_at_once_a_balance_is_overrun_by_one_request_at_most(world: World) -> None:
    world.ledger.wrapped.overwrite(an_account(), 150)
    script(world, ProviderTimeout())
    replica = world.replica()

    answers = await asyncio.gather(*(start(replica) for _ in range(20)), return_exceptions=True)

    # The first wants 108 and gets it, the second takes the 42 that are left, and there is nothing for anybody else.
    refusals = [answer for answer in answers if isinstance(answer, BaseException)]
    assert [type(refusal) for refusal in refusals] == [InsufficientTokens] * 18


async def test_a_tenants_rate_holds_over_all_its_requests(world: World) -> None:
    caller = a_caller(a_tenant(limits=limits(requests=3)))
    replicas = [world.replica(), world.replica()]

    answers = await asyncio.gather(*(start(replicas[n % 2], caller) for n in range(8)), return_exceptions=True)

    assert [type(answer) for answer in answers if isinstance(answer, BaseException)] == [RateLimited] * 5
