"""An answer from whoever gives one: who is asked in which order, how often, after which pauses, and what it costs."""

import asyncio

import pytest

from domain.chat import Chunk
from domain.completions.bulkheads import Berths
from domain.errors import (
    ProviderBusy,
    ProviderError,
    ProviderHungUp,
    ProviderRateLimited,
    ProviderRefusedKey,
    ProviderRejected,
    ProviderTimeout,
    ProviderTruncated,
    ProviderUnreachable,
)
from domain.facts import ProviderAsked, TargetChanged
from domain.ports import Call
from tests.builders import a_chunk, a_completion, a_model, a_stream, a_target
from tests.domain.completions.stage import ONE, THREE, TWO, Cast, Stage
from tests.fakes import ScriptedProvider

pytestmark = pytest.mark.anyio

#: Failures with which every target is tried again.
ILL = ProviderError(status=503)

HELLO = a_stream("Hello", " world")


# --- another one ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [ILL, ProviderUnreachable(), ProviderTruncated(), ProviderRateLimited(retry_after=60.0),
     ProviderRefusedKey(status=401), ProviderTimeout()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
@pytest.mark.parametrize("live", [True, False])
async def test_where_there_is_another_it_is_asked_at_once(error: ProviderError, live: bool) -> None:
    stage = Stage(Cast(one=[[error]], two=[HELLO if live else [a_completion()]]))
    asking = stage.asking(ONE, TWO)

    await (stage.stream(asking) if live else stage.whole(asking))

    (first, then), (second, later) = stage.cast.asked
    assert (first, second) == ("one", "two")
    assert later == then
    assert (asking.answered.model, asking.answered.asked) == ("two", 2)


async def test_a_reader_hears_nothing_of_an_attempt_that_said_nothing() -> None:
    stage = Stage(Cast(one=[[HELLO[0], ILL]], two=[HELLO]))

    assert await stage.stream(stage.asking(ONE, TWO)) == [*HELLO]


async def test_an_answer_that_was_opened_is_not_opened_again() -> None:
    hi = a_chunk(delta={"role": "assistant", "content": "Hi"})
    stage = Stage(Cast(one=[[HELLO[0], ILL], [hi]]))

    first, then = await stage.stream(stage.asking(ONE))

    assert first == HELLO[0]
    assert then.body["choices"][0]["delta"] == {"content": "Hi"}
    assert b"role" not in then.data


async def test_each_choice_is_opened_once_whoever_opens_it() -> None:
    opening = [a_chunk(index=index, delta={"role": "assistant", "content": ""}) for index in range(2)]
    said = [a_chunk(index=index, delta={"content": "Hi"}) for index in range(2)]
    alone, mended = Stage(Cast(one=[[*opening, *said]])), Stage(Cast(one=[[opening[0], ILL], [*opening, *said]]))

    assert await alone.stream(alone.asking(ONE)) == [*opening, *said]
    assert await mended.stream(mended.asking(ONE)) == [*opening, *said]


@pytest.mark.parametrize("code", ["invalid_request", "content_filter"])
async def test_what_the_caller_can_mend_is_told_and_sent_nowhere_else(code: str) -> None:
    refusal = ProviderRejected("no", code=code, param=None, status=400)
    stage = Stage(Cast(one=[[refusal]], two=[HELLO]))

    with pytest.raises(ProviderRejected) as told:
        await stage.stream(stage.asking(ONE, TWO))

    assert told.value is refusal
    assert stage.cast.names == ["one"]


async def test_what_a_filter_refuses_goes_on_where_the_tenant_says_so() -> None:
    refusal = ProviderRejected("no", code="content_filter", param=None, status=400)
    stage = Stage(Cast(one=[[refusal]], two=[HELLO]))

    await stage.stream(stage.asking(ONE, TWO, reroute_filtered=True))

    assert stage.cast.names == ["one", "two"]


async def test_a_prompt_that_is_too_long_goes_to_larger_ones_only() -> None:
    refusal = ProviderRejected("long", code="context_length_exceeded", param="messages", status=400)
    small = a_target(sent_model="three", model=a_model(name="three", context_window=500))
    large = a_target(sent_model="four", model=a_model(name="four", context_window=5_000))
    stage = Stage(Cast(one=[[refusal]], two=[HELLO], three=[HELLO], four=[HELLO]))

    await stage.stream(stage.asking(ONE, TWO, larger=(small, large)))

    assert stage.cast.names == ["one", "four"]


async def test_the_caller_is_told_what_the_last_one_said() -> None:
    last = ProviderRefusedKey(status=403)
    stage = Stage(Cast(one=[[ProviderTimeout()]], two=[[last]]))

    with pytest.raises(ProviderRefusedKey):
        await stage.stream(stage.asking(ONE, TWO))


# --- the same again ---------------------------------------------------------------------------------------------------


async def test_the_only_one_is_asked_twice_more_after_pauses_that_double() -> None:
    stage = Stage(Cast(one=[[ILL]]))

    with pytest.raises(ProviderError):
        await stage.stream(stage.asking(ONE))

    (_, first), (_, second), (_, third) = stage.cast.asked
    assert (second - first, third - second) == pytest.approx((0.2, 0.4))


@pytest.mark.parametrize(
    ("error", "times"),
    [(ProviderTruncated(), 2), (ProviderTimeout(), 1), (ProviderRefusedKey(status=401), 1), (ProviderUnreachable(), 3),
     (ProviderRateLimited(retry_after=None), 3), (ProviderRateLimited(retry_after=2.5), 1)],
    ids=["cut", "silent", "refused key", "refused", "too fast", "long wait"],
)  # fmt: skip
async def test_how_often_the_only_one_is_asked_depends_on_what_it_said(error: ProviderError, times: int) -> None:
    stage = Stage(Cast(one=[[error]]))

    with pytest.raises(type(error)):
        await stage.whole(stage.asking(ONE))

    assert len(stage.cast.asked) == times


async def test_what_the_provider_asks_for_is_waited() -> None:
    stage = Stage(Cast(one=[[ProviderRateLimited(retry_after=1.5)], HELLO]))

    await stage.stream(stage.asking(ONE))

    (_, first), (_, second) = stage.cast.asked
    assert second - first == pytest.approx(1.5 + 0.2)


async def test_all_are_asked_before_any_is_asked_again() -> None:
    stage = Stage(Cast(one=[[ILL]], two=[[ILL]], three=[[ILL]]))

    with pytest.raises(ProviderError):
        await stage.stream(stage.asking(ONE, TWO, THREE))

    assert stage.cast.names == ["one", "two", "three"] * 2 + ["one", "two"]


@pytest.mark.parametrize("live", [True, False])
async def test_who_hung_up_on_a_kept_connection_is_asked_again_at_once_and_over_a_new_one(live: bool) -> None:
    stage = Stage(Cast(one=[[ProviderHungUp()], HELLO if live else [a_completion()]], two=[HELLO]))
    asking = stage.asking(ONE, TWO)

    await (stage.stream(asking) if live else stage.whole(asking))

    (first, then), (second, later) = stage.cast.asked
    assert (first, second, later) == ("one", "one", then)
    assert [call.fresh for call in stage.cast.calls] == [False, True]


async def test_who_hangs_up_again_is_left_for_another() -> None:
    stage = Stage(Cast(one=[[ProviderHungUp()]], two=[HELLO]))

    await stage.stream(stage.asking(ONE, TWO))

    assert stage.cast.names == ["one", "one", "two"]


async def test_to_be_hung_up_on_makes_nobody_ill_and_is_not_one_of_the_retries_that_are_bounded() -> None:
    stage = Stage(Cast(one=[[ProviderHungUp()], HELLO] * 10))
    stage.attempts.load.retrying = 3

    answers = [await stage.stream(stage.asking(ONE)) for _ in range(10)]

    assert answers == [[*HELLO]] * 10
    assert stage.journal.of(TargetChanged) == []


async def test_no_pause_outlasts_the_whole_time() -> None:
    stage = Stage(Cast(one=[[ILL]]))

    with pytest.raises(ProviderError):
        await stage.stream(stage.asking(ONE, seconds=0.3))

    assert len(stage.cast.asked) == 2
    assert stage.cast.calls[1].deadline == pytest.approx(0.1)


async def test_retries_are_a_fifth_of_what_is_under_way() -> None:
    stage = Stage(Cast(one=[[ILL]]))

    outcomes = await asyncio.gather(*(stage.stream(stage.asking(ONE)) for _ in range(100)), return_exceptions=True)

    assert all(isinstance(outcome, ProviderError) for outcome in outcomes)
    # Who is refused a retry makes room for nobody else's: at most a fifth of a hundred go on, twice each.
    assert 100 < len(stage.cast.asked) <= 100 + 2 * 20
    assert (stage.attempts.load.active, stage.attempts.load.retrying) == (0, 0)


# --- the first token --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "begins", [(), (a_chunk(delta={"role": "assistant", "content": ""}),)], ids=["nothing", "role"]
)
async def test_who_is_late_with_the_first_token_is_left_for_another_and_not_asked_again(
    begins: tuple[Chunk, ...],
) -> None:
    stage = Stage(Cast(one=[[*begins, asyncio.Event()]], two=[[ILL]]))

    with pytest.raises(ProviderError):
        await stage.stream(stage.asking(ONE, TWO))

    (_, first), (_, second), *_ = stage.cast.asked
    assert second - first == pytest.approx(10.0)
    assert stage.cast.names == ["one", "two", "two", "two"]


async def test_the_only_one_has_all_the_time_of_the_call() -> None:
    release = asyncio.Event()
    stage = Stage(Cast(one=[[release, *HELLO]]))
    asyncio.get_running_loop().call_later(100, release.set)

    assert await stage.stream(stage.asking(ONE)) == [*HELLO]


# --- who is ill -------------------------------------------------------------------------------------------------------


async def test_who_failed_five_times_in_a_row_is_let_alone_and_then_probed_by_one() -> None:
    release = asyncio.Event()
    stage = Stage(Cast(one=[*[[ProviderTimeout()]] * 5, [release, *HELLO]], two=[HELLO]))
    for _ in range(8):
        await stage.stream(stage.asking(ONE, TWO))
    assert stage.cast.names.count("one") == 5

    await asyncio.sleep(5)
    probe = asyncio.ensure_future(stage.stream(stage.asking(ONE, TWO)))
    await asyncio.sleep(0.1)
    await stage.stream(stage.asking(ONE, TWO))
    assert stage.cast.names[-2:] == ["one", "two"]

    release.set()
    await probe
    await stage.stream(stage.asking(ONE, TWO))
    assert stage.cast.names[-1] == "one"


async def test_the_last_one_is_asked_however_ill_it_is() -> None:
    stage = Stage(Cast(one=[[ProviderTimeout()]]))

    for _ in range(20):
        with pytest.raises(ProviderTimeout):
            await stage.stream(stage.asking(ONE))

    assert len(stage.cast.asked) == 20


async def test_clients_that_leave_make_nobody_ill() -> None:
    stage = Stage(Cast(one=[[asyncio.Event()]], two=[HELLO]))

    for _ in range(20):
        task = asyncio.ensure_future(stage.stream(stage.asking(ONE)))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    (condition,) = stage.health.conditions
    assert (condition.circuit.in_a_row, condition.bulkhead.running) == (0, 0)
    assert stage.health.choose([ONE]) == ONE


async def test_a_key_that_is_refused_is_let_alone_for_every_model() -> None:
    same_key, other_key = a_target(sent_model="two"), a_target(sent_model="three", key="sk-2")
    stage = Stage(Cast(one=[[ProviderRefusedKey(status=401)]], two=[HELLO], three=[HELLO]))

    await stage.stream(stage.asking(ONE, other_key))
    await stage.stream(stage.asking(same_key, other_key))

    assert stage.cast.names == ["one", "three", "three"]


async def test_a_key_cools_for_as_long_as_its_provider_says_and_for_that_model_alone() -> None:
    stage = Stage(Cast(one=[[ProviderRateLimited(retry_after=30.0)], HELLO], two=[HELLO], three=[HELLO]))
    await stage.stream(stage.asking(ONE, TWO))

    await asyncio.sleep(29)
    await stage.stream(stage.asking(ONE, TWO))
    await stage.stream(stage.asking(THREE, TWO))
    await asyncio.sleep(2)
    await stage.stream(stage.asking(ONE, TWO))

    assert stage.cast.names == ["one", "two", "two", "three", "one"]


# --- room -------------------------------------------------------------------------------------------------------------


async def test_who_is_full_is_passed_over_and_where_all_are_full_one_waits() -> None:
    release = asyncio.Event()
    stage = Stage(Cast(one=[[release, *HELLO]], two=[[release, *HELLO]]), berths=Berths(runs=1, queue=1, seconds=5))

    tasks = [asyncio.ensure_future(stage.stream(stage.asking(ONE, TWO))) for _ in range(4)]
    await asyncio.sleep(1)
    refused = [task for task in tasks if task.done()]
    release.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(task.exception()) for task in refused] == [ProviderBusy]
    assert stage.cast.names == ["one", "two", "one"]
    assert sum(outcome == [*HELLO] for outcome in outcomes) == 3


async def test_who_waits_too_long_for_room_is_told_so_and_takes_none() -> None:
    release = asyncio.Event()
    stage = Stage(Cast(one=[[release, *HELLO]]), berths=Berths(runs=1, queue=1, seconds=5))
    first = asyncio.ensure_future(stage.stream(stage.asking(ONE)))
    await asyncio.sleep(0)

    with pytest.raises(ProviderBusy):
        await stage.stream(stage.asking(ONE))

    release.set()
    await first
    (condition,) = stage.health.conditions
    assert (condition.bulkhead.running, condition.bulkhead.waiting) == (0, 0)


# --- what is told -----------------------------------------------------------------------------------------------------


async def test_each_attempt_is_a_fact() -> None:
    stage = Stage(Cast(one=[[ILL]], two=[HELLO]))

    await stage.stream(stage.asking(ONE, TWO))

    failed, answered = stage.journal.of(ProviderAsked)
    assert (failed.model, failed.asked, failed.error_code) == ("one", 1, "provider_error")
    assert (answered.model, answered.asked, answered.error_code) == ("two", 2, None)
    assert answered.first_token_seconds is not None


# --- a minute of it ---------------------------------------------------------------------------------------------------


async def test_a_minute_of_outage_is_noticed_by_nobody_and_over_within_half_a_minute() -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + 60

    class Flapping(Cast):
        def play(self, call: Call) -> ScriptedProvider:
            self.asked.append((call.target.sent_model, loop.time()))
            is_down = call.target.sent_model == "one" and loop.time() < until
            return ScriptedProvider(*([ProviderUnreachable()] if is_down else HELLO))

    stage = Stage(Flapping(), draw=0.5)
    answers: list[tuple[float, str]] = []
    while loop.time() < until + 60:
        asking = stage.asking(ONE, TWO)
        assert await stage.stream(asking) == [*HELLO]
        answers.append((loop.time(), asking.answered.model))
        await asyncio.sleep(0.25)

    probes = [at for name, at in stage.cast.asked if name == "one" and at < until]
    back = next(at for at, model in answers if model == "one")
    assert len(answers) > 450
    # Five that found it down, and then one probe for each pause: 5, 10, 20, 20 seconds.
    assert 5 < len(probes) <= 10
    assert back - until < 30
    assert {model for at, model in answers if at > back} == {"one"}
