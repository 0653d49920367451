"""The run itself: what readers see the store has, what was produced is paid for once, and every run ends."""

import asyncio
from collections.abc import Sequence

import anyio
import pytest

from domain.chat import Chunk, JsonObject, Usage
from domain.completions.execution import Execution
from domain.completions.production import RunLimits
from domain.completions.tail import Tail
from domain.errors import (
    GenerationInterrupted,
    InternalError,
    OutputTooLarge,
    ProviderBadResponse,
    ProviderRejected,
    ProviderTimeout,
    ProviderTruncated,
    QueueTimeout,
    StoreUnavailable,
)
from domain.facts import RecordFailed, RunEnded, SettlementFailed, Unexpected
from domain.limits import charges
from domain.ports import Call
from domain.runs import Ending, RunError, Status
from domain.tokens import TokenPolicy
from tests.builders import (
    a_caller,
    a_choice,
    a_chunk,
    a_completion,
    a_model,
    a_planner,
    a_request,
    a_run,
    a_stream,
    a_target,
    a_tenant,
    a_usage_chunk,
    an_account,
    as_chunk,
    limits,
)
from tests.domain.completions.world import INITIAL, PROMPT, World, settled, until
from tests.fakes import Step

pytestmark = pytest.mark.anyio

STRICT = a_caller(a_tenant(policy=TokenPolicy.STRICT))
#: A store that is away for a moment is away for too long.
IMPATIENT = RunLimits(store_grace=0.0)


def script(world: World, *steps: Step) -> None:
    world.provider.script = steps


def said(*chunks: Chunk) -> list[bytes]:
    return [chunk.data for chunk in chunks]


def ending_of(tail: Tail) -> Ending:
    assert tail.ending is not None
    return tail.ending


async def grown_to(tail: Tail, count: int) -> None:
    await until(lambda: len(tail.entries) == count)


async def produce(world: World, execution: Execution, bounds: RunLimits | None = None) -> Ending:
    with anyio.fail_after(3_600):
        await world.production(bounds).produce(execution)
    return ending_of(execution.tail)


# --- a good run -------------------------------------------------------------------------------------------------------


async def test_a_stream_is_logged_delivered_recorded_and_paid_for(world: World) -> None:
    usage = Usage(9, 2, {"completion_tokens_details": {"reasoning_tokens": 0}})
    chunks = a_stream("Hello", " world")
    script(world, *chunks, a_usage_chunk(usage))
    execution = await world.execution()
    run, tail = execution.job.run, execution.tail

    ending = await produce(world, execution)

    assert tail.entries == await world.log(run) == said(*chunks)
    assert (ending.status, ending.usage, ending.charged, ending.error) == (Status.COMPLETED, usage, 11, None)
    assert ending.completion == a_completion(a_choice("Hello world"), usage=usage, model="gpt-4o-2024-08-06")
    assert await world.store.wrapped.result(run.id) == ending.completion
    assert tail.run == await world.record(run)
    assert (tail.run.status, tail.run.tail, tail.run.charged) == (Status.COMPLETED, len(chunks), 11)
    assert await world.balance() == INITIAL - 11


async def test_a_whole_answer_has_no_log_only_a_result(world: World) -> None:
    usage = Usage(9, 1)
    script(world, a_completion(usage=usage))
    execution = await world.execution(live=False)
    run, tail = execution.job.run, execution.tail

    ending = await produce(world, execution)

    assert tail.entries == await world.log(run) == []
    assert ending.completion == await world.store.wrapped.result(run.id) == a_completion(usage=usage)
    assert (await world.record(run)).status is Status.COMPLETED
    assert await world.balance() == INITIAL - 10


async def test_the_provider_gets_the_call_as_it_was_admitted(world: World) -> None:
    request = a_request(more={"temperature": 0.3})
    execution = await world.execution(request, extras=False)

    await produce(world, execution, RunLimits(total_seconds=42.0))

    assert world.provider.calls == [Call(a_target(), request.body, "req-1", deadline=42.0, extras=False)]


async def test_readers_see_an_entry_when_the_store_has_it_and_not_before(world: World) -> None:
    arrived, released = world.store.hold_up("append")
    execution = await world.execution()
    run, tail = execution.job.run, execution.tail
    producing = asyncio.ensure_future(world.production().produce(execution))
    await arrived.wait()

    before = list(tail.entries)
    released.set()
    await tail.grown(0)
    after = list(tail.entries)
    logged = await world.log(run)
    await producing

    assert before == []
    assert after
    assert after == logged[: len(after)]


async def test_chunks_that_came_together_are_logged_together(world: World) -> None:
    first, *rest = a_stream("Hello", " world")
    script(world, [first], rest)
    execution = await world.execution()
    tail = execution.tail

    await produce(world, execution)

    # One call for each of the two, and one for the ending.
    assert world.store.calls["append"] == 3
    assert tail.entries == said(first, *rest)


@pytest.mark.parametrize(
    "silent",
    [
        a_usage_chunk(Usage(9, 2)),
        as_chunk({"choices": [], "system_fingerprint": "fp_1"}),
        as_chunk({"choices": [], "prompt_filter_results": []}),
    ],
)
async def test_a_chunk_without_choices_is_no_event_but_counts(world: World, silent: Chunk) -> None:
    script(world, a_chunk("Hi"), silent, [silent, a_chunk(finish="stop")])
    execution = await world.execution()
    run, tail = execution.job.run, execution.tail

    ending = await produce(world, execution)

    assert tail.entries == await world.log(run) == said(a_chunk("Hi"), a_chunk(finish="stop"))
    assert world.store.calls["append"] == 3
    assert ending.completion is not None
    assert ending.usage == (silent.usage or Usage(PROMPT, 1))
    assert {**ending.completion.body, **silent.body, "choices": None} == {**ending.completion.body, "choices": None}


async def test_the_moderation_that_a_client_asked_for_is_an_event_of_its_own(world: World) -> None:
    moderation = as_chunk({"choices": [], "moderation": {"input": {"type": "moderation_results"}}})
    script(world, a_chunk("Hi"), moderation, a_chunk(finish="stop"))
    execution = await world.execution()
    tail = execution.tail

    await produce(world, execution)

    assert tail.entries == said(a_chunk("Hi"), moderation, a_chunk(finish="stop"))


# --- what it costs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("live", "steps"),
    [(True, a_stream("Hello", " wide", " world")), (False, (a_completion(a_choice("Hello wide world")),))],
)
async def test_a_provider_that_sends_no_usage_is_counted(world: World, live: bool, steps: Sequence[Step]) -> None:
    script(world, *steps)
    execution = await world.execution(live=live)

    ending = await produce(world, execution)

    assert ending.usage == Usage(PROMPT, 3)
    assert ending.charged == PROMPT + 3
    assert ending.completion is not None
    assert ending.completion.usage == ending.usage


async def test_an_answer_is_counted_with_the_models_vocabulary(world: World) -> None:
    world.planner = a_planner(models=[a_model(tokenizer="cl100k_base")])
    execution = await world.execution()

    await produce(world, execution)

    assert world.tokenizer.vocabularies[-1] == "cl100k_base"


async def test_under_the_prepaid_policy_an_overrun_is_a_debt(world: World) -> None:
    world.ledger.wrapped.overwrite(an_account(), 5)
    script(world, *a_stream("Hi", usage=Usage(8, 90)))
    execution = await world.execution()

    ending = await produce(world, execution)

    assert (ending.status, ending.charged) == (Status.COMPLETED, 98)
    assert await world.balance() == 5 - 98


async def test_under_the_strict_policy_an_overrun_is_not_the_users(world: World) -> None:
    world.ledger.wrapped.overwrite(an_account(), PROMPT + 4)
    script(world, *a_stream("Hi", usage=Usage(8, 90)))
    execution = await world.execution(caller=STRICT)

    ending = await produce(world, execution)

    assert (ending.charged, ending.usage) == (PROMPT + 4, Usage(8, 90))
    assert await world.balance() == 0


async def test_an_estimate_taken_from_the_meter_is_replaced_by_what_was_used(world: World) -> None:
    caller = a_caller(a_tenant(limits=limits(requests=10, tokens=600)))
    script(world, *a_stream("Hi", usage=Usage(8, 2)))
    execution = await world.execution(caller=caller)

    await produce(world, execution)

    verdict = await world.limiter.wrapped.take(
        "acme", charges(caller.tenant, an_account(), tokens=0, cost=0, requests=0)
    )
    assert [(reading.what, reading.remaining) for reading in verdict.readings] == [("requests", 9), ("tokens", 590)]


async def test_a_run_that_brought_nothing_gives_the_meter_its_tokens_back(world: World) -> None:
    caller = a_caller(a_tenant(limits=limits(tokens=600)))
    script(world, ProviderTimeout())
    execution = await world.execution(caller=caller)

    await produce(world, execution)

    verdict = await world.limiter.wrapped.take(
        "acme", charges(caller.tenant, an_account(), tokens=0, cost=0, requests=0)
    )
    assert [reading.remaining for reading in verdict.readings] == [600]


# --- the bound upstream -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "bound", "sent"),
    [
        ({}, None, {"max_completion_tokens": 4}),
        ({"max_completion_tokens": 50}, 50, {"max_completion_tokens": 4}),
        ({"max_tokens": 50}, 50, {"max_tokens": 4}),
        ({"max_tokens": None, "max_completion_tokens": 50}, 50, {"max_tokens": None, "max_completion_tokens": 4}),
        ({"max_tokens": 2, "max_completion_tokens": 50}, 50, {"max_tokens": 2, "max_completion_tokens": 4}),
        ({"max_tokens": 50, "max_completion_tokens": 3}, 3, {"max_tokens": 50, "max_completion_tokens": 3}),
        ({"max_completion_tokens": 4}, 4, {"max_completion_tokens": 4}),
    ],
)
async def test_under_the_strict_policy_no_bound_that_is_sent_is_beyond_the_balance(
    world: World, body: JsonObject, bound: int | None, sent: JsonObject
) -> None:
    world.ledger.wrapped.overwrite(an_account(), PROMPT + 4)
    execution = await world.execution(a_request(more=body, completion_bound=bound), STRICT)

    await produce(world, execution)

    assert {key: value for key, value in world.provider.calls[0].body.items() if key != "messages"} == sent


async def test_under_the_prepaid_policy_the_request_goes_out_as_it_came(world: World) -> None:
    world.ledger.wrapped.overwrite(an_account(), 1)
    request = a_request(more={"max_tokens": 50}, completion_bound=50)
    execution = await world.execution(request)

    await produce(world, execution)

    assert world.provider.calls[0].body == request.body


# --- runs that fail ---------------------------------------------------------------------------------------------------


async def test_a_failure_before_any_text_costs_nothing(world: World) -> None:
    script(world, a_chunk(delta={"role": "assistant"}), ProviderTimeout())
    execution = await world.execution()
    run = execution.job.run

    ending = await produce(world, execution)

    assert (ending.status, ending.usage, ending.charged, ending.completion) == (Status.FAILED, None, 0, None)
    assert ending.error == RunError.of(ProviderTimeout())
    assert (await world.record(run)).error == ending.error
    assert await world.balance() == INITIAL


async def test_a_failure_after_some_text_costs_what_came_and_keeps_it(world: World) -> None:
    chunk = a_chunk("Hello wide")
    script(world, chunk, ProviderTruncated())
    execution = await world.execution()
    run, tail = execution.job.run, execution.tail

    ending = await produce(world, execution)

    assert (ending.status, ending.usage, ending.charged) == (Status.FAILED, Usage(PROMPT, 2), PROMPT + 2)
    assert ending.completion is None
    assert tail.entries == await world.log(run) == said(chunk)
    assert await world.store.wrapped.result(run.id) is None
    assert await world.balance() == INITIAL - PROMPT - 2


async def test_a_refusal_by_the_provider_is_told_as_it_was(world: World) -> None:
    script(world, ProviderRejected("Bad temperature.", code="bad_temperature", param="temperature", status=400))
    execution = await world.execution(live=False)

    ending = await produce(world, execution)

    assert ending.error == RunError("PROVIDER_REJECTED", "bad_temperature", "Bad temperature.", "temperature")


@pytest.mark.parametrize("live", [True, False])
async def test_a_defect_of_ours_ends_the_run_too_and_is_noted(world: World, live: bool) -> None:
    defect = RuntimeError("a defect")
    script(world, defect)
    execution = await world.execution(live=live)

    ending = await produce(world, execution)

    assert (ending.status, ending.error) == (Status.FAILED, RunError.of(InternalError()))
    assert world.journal.of(Unexpected) == [Unexpected("run", defect, "req-1")]
    assert await world.balance() == INITIAL


async def test_a_defect_in_the_conclusion_leaves_nobody_waiting(world: World) -> None:
    defect = InternalError()
    world.ledger.fail("settle", error=defect)
    execution = await world.execution()
    tail = execution.tail

    ending = await produce(world, execution)

    assert (ending.status, ending.error) == (Status.FAILED, RunError.of(InternalError()))
    assert tail.run.error == ending.error
    assert world.journal.of(Unexpected) == [Unexpected("run", defect, "req-1")]


async def test_an_answer_larger_than_the_bound_is_cut(world: World) -> None:
    first, second = a_chunk("a" * 100), a_chunk("b" * 100)
    script(world, first, second, a_chunk(finish="stop"))
    execution = await world.execution()
    tail = execution.tail

    ending = await produce(world, execution, RunLimits(output_bytes=len(first.data) + len(second.data) - 1))

    assert (ending.status, ending.error) == (Status.FAILED, RunError.of(OutputTooLarge()))
    assert tail.entries == said(first)
    assert ending.charged > PROMPT


async def test_an_answer_as_large_as_the_bound_is_not(world: World) -> None:
    chunks = a_stream("Hello")
    script(world, *chunks)
    execution = await world.execution()

    ending = await produce(world, execution, RunLimits(output_bytes=sum(len(data) for data in said(*chunks))))

    assert ending.status is Status.COMPLETED


async def test_a_run_whose_record_is_gone_has_it_written_again(world: World) -> None:
    gate = asyncio.Event()
    chunks = [a_chunk("Hello"), a_chunk(" world"), a_chunk(" and"), a_chunk(" on")]
    script(world, chunks[0], gate, *chunks[1:])
    execution = await world.execution()
    run, tail = execution.job.run, execution.tail
    producing = asyncio.ensure_future(world.production().produce(execution))
    await tail.grown(0)

    world.clock.advance(86_401.0)
    gate.set()
    await producing

    assert ending_of(tail).status is (await world.record(run)).status is Status.COMPLETED
    assert tail.entries == await world.log(run) == said(*chunks)


@pytest.mark.parametrize(
    "steps",
    [
        a_stream("Hello"),
        (a_chunk("Hello"), ProviderTruncated()),
        (ProviderTimeout(),),
        (RuntimeError("a defect"),),
    ],
)
async def test_however_a_run_ends_the_provider_is_let_go(world: World, steps: Sequence[Step]) -> None:
    script(world, *steps)
    execution = await world.execution()

    await produce(world, execution)

    assert world.provider.open == 0


async def test_a_run_that_stops_reading_lets_the_provider_go(world: World) -> None:
    script(world, a_chunk("Hello"), a_chunk(" world"))
    execution = await world.execution()

    await produce(world, execution, RunLimits(output_bytes=1))

    assert world.provider.open == 0


# --- cancellation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "charged"), [((), 0), ((a_chunk(delta={"role": "assistant"}),), 0), ((a_chunk("Hello"),), PROMPT + 1)]
)
async def test_a_cancelled_run_is_paid_for_and_recorded_before_it_goes(
    world: World, before: Sequence[Chunk], charged: int
) -> None:
    script(world, *before, asyncio.Event())
    execution = await world.execution()
    run, tail = execution.job.run, execution.tail
    producing = asyncio.ensure_future(world.production().produce(execution))
    await until(lambda: bool(world.provider.calls) and len(tail.entries) == len(before))

    producing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await producing

    assert ending_of(tail).charged == charged
    record = await world.record(run)
    assert (record.status, record.charged) == (Status.FAILED, charged)
    assert record.error == RunError.of(GenerationInterrupted())
    assert await world.balance() == INITIAL - charged
    assert world.provider.open == 0


@pytest.mark.parametrize("method", ["settle", "append"])
async def test_a_run_that_is_cancelled_while_it_concludes_is_over_only_when_it_has(world: World, method: str) -> None:
    gate = asyncio.Event()
    script(world, *a_stream("Hello"), gate)
    execution = await world.execution()
    run, tail = execution.job.run, execution.tail
    producing = asyncio.ensure_future(world.production().produce(execution))
    await grown_to(tail, 3)
    arrived, released = (world.ledger if method == "settle" else world.store).hold_up(method)
    gate.set()
    await arrived.wait()

    producing.cancel()
    await settled()
    over = producing.done()
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await producing

    assert not over
    assert ending_of(tail).status is Status.COMPLETED
    assert (await world.record(run)).charged == PROMPT + 1
    assert await world.balance() == INITIAL - PROMPT - 1


async def test_a_run_that_never_began_is_ended_without_cost(world: World) -> None:
    execution = await world.execution()
    run, tail = execution.job.run, execution.tail

    await world.production().abandon(execution.job, tail, QueueTimeout())

    assert (ending_of(tail).status, ending_of(tail).charged) == (Status.FAILED, 0)
    assert (await world.record(run)).error == RunError.of(QueueTimeout())
    assert await world.balance() == INITIAL
    assert world.provider.calls == []


# --- exactly once -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "live", "verb"),
    [
        (a_stream("Hello", usage=Usage(9, 1)), True, "settle"),
        (a_stream("Hello"), True, "settle"),
        ((a_chunk(finish="stop"),), True, "settle"),
        ((a_completion(),), False, "settle"),
        ((a_chunk("Hello"), ProviderTruncated()), True, "settle"),
        ((a_chunk("Hello"), RuntimeError("a defect")), True, "settle"),
        ((ProviderTimeout(),), True, "release"),
        ((ProviderBadResponse(),), False, "release"),
        ((RuntimeError("a defect"),), True, "release"),
    ],
)
async def test_every_outcome_settles_or_releases_and_does_it_once(
    world: World, steps: Sequence[Step], live: bool, verb: str
) -> None:
    script(world, *steps)
    execution = await world.execution(live=live)

    await produce(world, execution)

    assert world.ledger.calls == {"hold": 1, verb: 1}


async def test_a_settlement_whose_reply_is_lost_is_charged_once(world: World) -> None:
    world.ledger.lose_replies("settle", times=2)
    execution = await world.execution()

    ending = await produce(world, execution)

    assert world.ledger.calls["settle"] == 3
    assert await world.balance() == INITIAL - ending.charged
    assert world.journal.of(SettlementFailed) == []


async def test_a_meter_that_cannot_be_corrected_is_no_failed_settlement(world: World) -> None:
    world.limiter.fail("correct")
    execution = await world.execution(caller=a_caller(a_tenant(limits=limits(tokens=600))))

    ending = await produce(world, execution)

    assert ending.status is Status.COMPLETED
    assert world.journal.of(SettlementFailed) == []
    assert await world.balance() == INITIAL - ending.charged


# --- a store that is away ---------------------------------------------------------------------------------------------


async def test_a_store_that_comes_back_in_time_has_the_exact_log(world: World) -> None:
    world.store.fail("append", times=3)
    chunks = a_stream("Hello", " world")
    script(world, *chunks)
    execution = await world.execution()
    run, tail = execution.job.run, execution.tail

    ending = await produce(world, execution)

    assert ending.status is Status.COMPLETED
    assert tail.entries == await world.log(run) == said(*chunks)


@pytest.mark.parametrize("lost_at", range(5))
async def test_a_reply_that_is_lost_doubles_nothing_and_loses_nothing(world: World, lost_at: int) -> None:
    gates = [asyncio.Event() for _ in range(5)]
    chunks = a_stream("Hello", " world")
    steps: list[Step] = [step for pair in zip(gates[:4], chunks, strict=True) for step in pair]
    script(world, *steps, gates[4])
    execution = await world.execution()
    run, tail = execution.job.run, execution.tail
    producing = asyncio.ensure_future(world.production().produce(execution))

    for number, gate in enumerate(gates):
        await grown_to(tail, number)
        if number == lost_at:
            world.store.lose_replies("append")
        gate.set()
    await producing

    assert tail.entries == await world.log(run) == said(*chunks)
    assert (await world.record(run)).status is Status.COMPLETED
    assert await world.settlements() == 1
    assert world.journal.of(RecordFailed) == []


async def test_a_store_that_stays_away_ends_the_run_for_those_who_read_it_here(world: World) -> None:
    world.store.fail("append", times=99)
    execution = await world.execution(limits=IMPATIENT)
    run, tail = execution.job.run, execution.tail

    ending = await produce(world, execution, IMPATIENT)

    assert (ending.status, ending.error) == (Status.FAILED, RunError.of(StoreUnavailable()))
    assert tail.entries == []
    assert world.journal.of(RecordFailed) == [RecordFailed(run.id, "acme")]
    assert await world.settlements() == 1


async def test_a_record_that_cannot_be_written_is_noted_and_known_here(world: World) -> None:
    gate = asyncio.Event()
    chunks = a_stream("Hello")
    script(world, *chunks, gate)
    execution = await world.execution(limits=IMPATIENT)
    run, tail = execution.job.run, execution.tail
    producing = asyncio.ensure_future(world.production(IMPATIENT).produce(execution))
    await grown_to(tail, len(chunks))

    world.store.fail("append", times=99)
    gate.set()
    await producing

    assert ending_of(tail).status is Status.COMPLETED
    assert tail.run.tail == len(chunks)
    assert (await world.record(run)).status is Status.IN_PROGRESS
    assert world.journal.of(RecordFailed) == [RecordFailed(run.id, "acme")]


# --- what the journal is told -----------------------------------------------------------------------------------------


async def test_the_journal_is_told_how_a_run_ended(world: World) -> None:
    gate = asyncio.Event()
    script(world, *a_stream("Hello"), gate)
    execution = await world.execution()
    tail = execution.tail
    producing = asyncio.ensure_future(world.production().produce(execution))
    await tail.grown(0)

    world.clock.advance(12.0)
    gate.set()
    await producing

    (fact,) = world.journal.of(RunEnded)
    assert (fact.run_id, fact.tenant, fact.provider, fact.model) == (a_run().id, "acme", "openai", "gpt-4o")
    assert (fact.status, fact.seconds, fact.charged_tokens, fact.request_id) == ("completed", 12.0, PROMPT + 1, "req-1")
    assert fact.usage == Usage(PROMPT, 1)


async def test_the_journal_is_told_when_the_tokens_of_a_stream_came(world: World) -> None:
    first, second, third = asyncio.Event(), asyncio.Event(), asyncio.Event()
    role = a_chunk(delta={"role": "assistant", "content": ""})
    script(world, role, first, a_chunk("Hello"), second, a_chunk(" there"), third, *a_stream(usage=Usage(PROMPT, 5)))
    execution = await world.execution()
    producing = asyncio.ensure_future(world.production().produce(execution))

    for seen, gate in enumerate((first, second, third)):
        await execution.tail.grown(seen)
        world.clock.advance(2.0)
        gate.set()
    await producing

    (fact,) = world.journal.of(RunEnded)
    # Who is speaking is not yet a token; four tokens followed the first one in four seconds.
    assert (fact.first_token_seconds, fact.seconds_per_token, fact.waited_seconds) == (2.0, 1.0, None)


@pytest.mark.parametrize(
    ("error", "code", "detail"),
    [
        (ProviderBadResponse(detail="malformed JSON"), "upstream_bad_response", "malformed JSON"),
        (GenerationInterrupted(), "generation_interrupted", ""),
    ],
)
async def test_the_journal_is_told_why_a_run_failed(world: World, error: Exception, code: str, detail: str) -> None:
    script(world, error)
    execution = await world.execution()

    await produce(world, execution)

    (fact,) = world.journal.of(RunEnded)
    assert (fact.status, fact.error_code, fact.detail, fact.charged_tokens) == ("failed", code, detail, 0)
