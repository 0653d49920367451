"""RunStore: a run has one log without gaps and one ending, however often it is told."""

import asyncio
import random
from dataclasses import replace

import pytest

from adapters.memory.runs import MemoryRunStore
from adapters.redis.connection import RedisConnection
from adapters.redis.keys import RunKeys
from domain.chat import Completion, Usage
from domain.ports import RunStore
from domain.runs import (
    NEXT,
    Answered,
    Appended,
    Ending,
    LogSlice,
    Run,
    Standing,
    Status,
    Work,
    conversation_shard,
    ended,
    is_terminal,
    with_shard,
)
from tests.contracts.backends import eventually
from tests.contracts.runs import (
    CANCELLED,
    COMPLETED,
    COMPLETION,
    ENDINGS,
    FAILED,
    WORK,
    entries,
    new_run,
    queued_run,
    store_on,
)
from tests.fakes import FrozenClock

pytestmark = pytest.mark.anyio

on_both = pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)
each_ending = pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.status.value)


@pytest.fixture
def store(connection: RedisConnection | None, clock: FrozenClock) -> RunStore:
    return store_on(connection, clock)


# --- the record ---------------------------------------------------------------------------------------------------


async def test_an_unknown_run_is_none(store: RunStore) -> None:
    run = new_run()

    appended = await store.append(run.id, 1, 0, [b"x"])

    assert appended == Appended(Standing.UNKNOWN)
    assert await store.get(run.id) is None
    assert await store.join(run.id) is None
    assert await store.read(run.id, 0) is None
    assert await store.result(run.id) is None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"status": Status.QUEUED, "extras": True, "include_usage": True, "queued": True, "fingerprint": "f" * 64},
        {"attempt": 3, "fence": 5, "tail": 12, "usage": COMPLETION.usage, "charged": 0, "error": FAILED.error},
        {"conversation": "conv-1", "status": Status.FAILED, "charged": 12, "followers": 3},
        {"live": False, "restartable": True, "detach_grace": 1.5, "cancelling": True},
        {"detach_grace": 0.0, "model": "7", "provider": "true", "fingerprint": ""},
        {"source": "chatcmpl-01JXT21Q0000000000000000G0", "replayed": True},
    ],
)
@pytest.mark.parametrize("work", [WORK, None], ids=["run", "view"])
async def test_a_run_comes_back_as_it_was_begun(store: RunStore, changes: dict[str, object], work: Work | None) -> None:
    run = replace(new_run(conversation="conv-1"), **{"conversation": None, **changes})  # type: ignore[arg-type] # checked by Run's users

    await store.begin(run, work)

    assert await store.get(run.id) == run
    assert await store.read(run.id, 0) == LogSlice(run)


async def test_a_run_that_is_begun_again_goes_on(store: RunStore) -> None:
    run = new_run()
    await store.begin(run, WORK)
    await store.append(run.id, 1, 0, entries(1, 2))

    await store.begin(run, WORK)

    assert await store.get(run.id) == replace(run, tail=2)


async def test_who_answers_is_known_with_what_they_say_and_again_at_the_end(store: RunStore) -> None:
    run = new_run()
    await store.begin(run, WORK)

    await store.append(run.id, 1, 0, entries(1, 1), by=Answered("azure", "gpt4o-prod", 2))
    then = await store.get(run.id)
    await store.append(run.id, 1, 1, entries(2, 2))
    await store.append(run.id, 1, 2, (), COMPLETED, Answered("openrouter", "openai/gpt-4o", 3))

    assert then == replace(run, tail=1, provider="azure", model="gpt4o-prod", asked=2)
    last = replace(run, tail=2, provider="openrouter", model="openai/gpt-4o", asked=3)
    assert await store.get(run.id) == ended(last, COMPLETED)


async def test_who_is_not_the_owner_does_not_say_who_answers(store: RunStore) -> None:
    run = new_run()
    await store.begin(run, WORK)

    await store.append(run.id, 0, 0, entries(1, 1), by=Answered("azure", "gpt4o-prod", 2))

    assert await store.get(run.id) == run


async def test_each_follower_counts(store: RunStore) -> None:
    run = new_run()
    await store.begin(run, WORK)

    joined = await asyncio.gather(*(store.join(run.id) for _ in range(10)))
    await store.append(run.id, 1, 0, entries(1, 1), COMPLETED)
    after = await store.join(run.id)

    assert sorted(each.followers for each in joined if each is not None) == [*range(1, 11)]
    assert after == ended(replace(run, tail=1, followers=11), COMPLETED)


async def test_a_run_that_is_read_is_attended_until_the_time_is_over(store: RunStore, clock: FrozenClock) -> None:
    run, other = new_run(), new_run()
    await asyncio.gather(store.begin(run, WORK), store.begin(other, WORK))

    await store.attend(run.id, 0.3)
    at_once = (await store.attended(run.id), await store.attended(other.id))
    # Redis lets it lapse by its own clock.
    clock.advance(0.3)
    await eventually(lambda: _unattended(store, run.id))

    assert at_once == (True, False)


async def _unattended(store: RunStore, run_id: str) -> bool:
    return not await store.attended(run_id)


async def test_a_conversation_leads_to_its_latest_run(store: RunStore) -> None:
    first, second = new_run(conversation="conv-1"), new_run(conversation="conv-1")
    other = new_run(conversation="conv-1", user="bob")
    for run in (first, second, other):
        await store.begin(run, WORK)

    latest = await store.latest("acme", "alice", "conv-1")

    assert latest == second.id
    assert await store.latest("acme", "alice", "conv-2") is None
    assert await store.latest("globex", "alice", "conv-1") is None


@pytest.mark.parametrize("conversation", ["", "a:b", "{x}", "*", "é", "x" * 129, "a\nb"])
async def test_what_is_no_id_is_no_conversation(store: RunStore, conversation: str) -> None:
    assert await store.latest("acme", "alice", conversation) is None


# --- the log ------------------------------------------------------------------------------------------------------


async def test_a_reader_gets_exactly_what_it_has_not_seen(store: RunStore) -> None:
    run = new_run()
    await store.begin(run, WORK)
    await store.append(run.id, 1, 0, entries(1, 3))
    await store.append(run.id, 1, 3, entries(4, 12))

    slices = [await store.read(run.id, after) for after in range(14)]

    now = replace(run, tail=12)
    assert slices == [LogSlice(now, tuple(entries(after + 1, 12))) for after in range(14)]


async def test_a_reader_gets_no_more_than_it_asked_for(store: RunStore) -> None:
    run = new_run()
    await store.begin(run, WORK)
    await store.append(run.id, 1, 0, entries(1, 1500))

    short = await store.read(run.id, 3, limit=4)
    default = await store.read(run.id, 0)

    assert short is not None
    assert short.entries == tuple(entries(4, 7))
    assert default is not None
    assert len(default.entries) == 1000


async def test_entries_are_kept_byte_by_byte(store: RunStore) -> None:
    run = new_run()
    strange = [b"", b"\x00", bytes(range(256)), "\u2028é".encode(), b"x" * 100_000, b"data: [DONE]\n\n"]
    await store.begin(run, WORK)

    await store.append(run.id, 1, 0, strange)

    assert await store.read(run.id, 0) == LogSlice(replace(run, tail=len(strange)), tuple(strange))


async def test_an_append_can_be_repeated(store: RunStore) -> None:
    run = new_run()
    await store.begin(run, WORK)

    answers = await asyncio.gather(*(store.append(run.id, 1, 0, entries(1, 5)) for _ in range(20)))

    assert answers == [Appended(Standing.OWNED, 5)] * 20
    assert await store.read(run.id, 0) == LogSlice(replace(run, tail=5), tuple(entries(1, 5)))


async def test_of_an_append_the_log_takes_what_it_has_not(store: RunStore) -> None:
    run = new_run()
    await store.begin(run, WORK)
    await store.append(run.id, 1, 0, entries(1, 5))

    answers = [
        await store.append(run.id, 1, 3, entries(4, 7)),
        await store.append(run.id, 1, 0, entries(1, 2)),
        await store.append(run.id, 1, 7, entries(8, 8)),
    ]

    assert [answer.tail for answer in answers] == [7, 7, 8]
    assert await store.read(run.id, 0) == LogSlice(replace(run, tail=8), tuple(entries(1, 8)))


@pytest.mark.parametrize(
    ("fence", "base", "standing"),
    [(1, 3, "behind"), (1, 100, "behind"), (0, 2, "lost"), (2, 2, "lost"), (2, 9, "lost")],
    ids=["a gap", "a wide gap", "an older owner", "an owner that has not been", "a gap of another's"],
)
async def test_an_append_that_does_not_fit_changes_nothing(
    store: RunStore, fence: int, base: int, standing: str
) -> None:
    run = new_run()
    await store.begin(run, WORK)
    await store.append(run.id, 1, 0, entries(1, 2))

    plain = await store.append(run.id, fence, base, entries(base + 1, base + 2))
    final = await store.append(run.id, fence, base, entries(base + 1, base + 2), COMPLETED)

    assert (plain, final) == (Appended(Standing(standing), 2), Appended(Standing(standing), 2))
    assert await store.read(run.id, 0) == LogSlice(replace(run, tail=2), tuple(entries(1, 2)))
    assert await store.result(run.id) is None


async def test_nothing_is_said_in_a_run_that_waits(store: RunStore) -> None:
    run = new_run(Status.QUEUED)
    await store.begin(run, WORK)

    appended = await store.append(run.id, 0, 0, entries(1, 1))

    assert appended == Appended(Standing.LOST)
    assert await store.get(run.id) == run


# --- the ending ---------------------------------------------------------------------------------------------------


@each_ending
async def test_an_ending_comes_with_the_last_entries(store: RunStore, ending: Ending) -> None:
    run = new_run()
    await store.begin(run, WORK)
    await store.append(run.id, 1, 0, entries(1, 2))

    appended = await store.append(run.id, 1, 2, entries(3, 4), ending)

    assert appended == Appended(Standing.OWNED, 4)
    assert await store.read(run.id, 2) == LogSlice(ended(replace(run, tail=4), ending), tuple(entries(3, 4)))
    assert await store.get(run.id) == ended(replace(run, tail=4), ending)
    assert await store.result(run.id) == ending.completion


async def test_an_ending_can_be_repeated(store: RunStore) -> None:
    run = new_run()
    await store.begin(run, WORK)

    answers = await asyncio.gather(*(store.append(run.id, 1, 0, entries(1, 2), COMPLETED) for _ in range(20)))

    assert answers == [Appended(Standing.OWNED, 2)] * 20
    assert await store.get(run.id) == ended(replace(run, tail=2), COMPLETED)


async def test_an_ending_that_was_cancelling_can_be_repeated(store: RunStore) -> None:
    run = new_run()
    await store.begin(run, WORK)
    await store.cancel(run.id)

    answers = [await store.append(run.id, 1, 0, (), CANCELLED) for _ in range(2)]

    assert answers == [Appended(Standing.CANCELLING)] * 2


@on_both
async def test_the_work_is_gone_when_the_run_has_ended(store: RunStore, connection: RedisConnection) -> None:
    run = new_run()
    await store.begin(run, WORK)

    there = await connection.command("EXISTS", RunKeys.of(run.id).request)
    await store.append(run.id, 1, 0, (), COMPLETED)

    assert there == 1
    assert await connection.command("EXISTS", RunKeys.of(run.id).request) == 0


@pytest.mark.parametrize("seed", range(5))
async def test_of_different_endings_one_counts(store: RunStore, seed: int) -> None:
    run = new_run()
    await store.begin(run, WORK)
    endings = random.Random(seed).sample([COMPLETED, FAILED, CANCELLED, replace(CANCELLED, charged=4)], 4)

    answers = await asyncio.gather(*(store.append(run.id, 1, 0, (), ending) for ending in endings))

    standings = [answer.standing for answer in answers]
    winner = endings[standings.index(Standing.OWNED)]
    assert standings.count(Standing.LOST) == 3
    assert await store.get(run.id) == ended(run, winner)
    assert await store.result(run.id) == winner.completion


async def test_nothing_is_said_after_the_ending(store: RunStore) -> None:
    run = new_run()
    await store.begin(run, WORK)
    await store.append(run.id, 1, 0, entries(1, 2), COMPLETED)

    more = await store.append(run.id, 1, 2, entries(3, 3))
    more_and_the_end = await store.append(run.id, 1, 2, entries(3, 3), COMPLETED)
    again = await store.append(run.id, 1, 0, entries(1, 2))

    assert [more, more_and_the_end, again] == [Appended(Standing.LOST, 2)] * 3
    assert await store.read(run.id, 0) == LogSlice(ended(replace(run, tail=2), COMPLETED), tuple(entries(1, 2)))


@pytest.mark.parametrize("status", Status)
@each_ending
async def test_a_run_ends_only_as_its_state_allows(store: RunStore, status: Status, ending: Ending) -> None:
    run = new_run(status)
    await store.begin(run, WORK)

    appended = await store.append(run.id, run.fence, 0, (), ending)

    accepted = ending.status in NEXT[status]
    assert appended == Appended(Standing.OWNED if accepted else Standing.LOST)
    assert await store.get(run.id) == (ended(run, ending) if accepted else run)


async def test_what_the_caller_keeps_is_not_what_the_store_keeps(store: RunStore) -> None:
    run = new_run()
    completion = Completion({"choices": [{"index": 0, "message": {"content": "said"}}]}, Usage(1, 1, {"a": {"b": 1}}))
    await store.begin(run, WORK)
    await store.append(run.id, 1, 0, (), Ending(Status.COMPLETED, completion, completion.usage))

    for held in (completion, await store.result(run.id)):
        assert held is not None
        held.choices[0]["message"]["content"] = "changed"
    result = await store.result(run.id)

    assert result is not None
    assert result.choices[0]["message"]["content"] == "said"


async def test_the_log_lapses_sooner_than_its_record(clock: FrozenClock) -> None:
    store, run = MemoryRunStore(clock), new_run(conversation="conv-1")
    await store.begin(run, WORK)
    await store.append(run.id, 1, 0, entries(1, 2), COMPLETED)

    clock.advance(900.0)
    without_log = await store.read(run.id, 0)
    clock.advance(86_400.0 - 900.0)

    assert without_log == LogSlice(ended(replace(run, tail=2), COMPLETED))
    assert await store.read(run.id, 0) is None
    assert await store.result(run.id) is None


@on_both
async def test_a_log_that_lost_its_beginning_has_no_entries(store: RunStore, connection: RedisConnection) -> None:
    run = new_run()
    await store.begin(run, WORK)
    await store.append(run.id, 1, 0, entries(1, 9))

    await connection.command("XTRIM", RunKeys.of(run.id).log, "MAXLEN", 3)
    slices = [await store.read(run.id, after) for after in (0, 5, 6)]

    assert [len(part.entries) for part in slices if part is not None] == [0, 0, 3]


@on_both
async def test_a_run_outside_the_shard_of_its_conversation_is_refused(store: RunStore) -> None:
    run = new_run(conversation="conv-1")
    shard = conversation_shard("acme", "alice", "conv-1")

    with pytest.raises(ValueError, match="shard"):
        await store.begin(replace(run, id=with_shard(run.id, shard + 1)))

    assert await store.latest("acme", "alice", "conv-1") is None


# --- against a model ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
async def test_a_random_walk_keeps_one_log_and_one_ending(store: RunStore, seed: int) -> None:
    dice = random.Random(seed)
    run, log = dice.choice([queued_run(), new_run(shard=3)]), list[bytes]()
    await store.begin(run, WORK)

    for _ in range(60):
        if dice.random() < 0.1:
            claim = await store.take(3)
            assert (claim is not None) == (run.status is Status.QUEUED)
            run = claim.run if claim is not None else run
            continue
        fence = run.fence + dice.choice([0, 0, 0, 0, -1, 1])
        base = max(0, len(log) + dice.choice([0, 0, 0, -1, -3, 1, 2]))
        said = entries(base + 1, base + dice.randint(0, 4))
        ending = dice.choice(ENDINGS) if dice.random() < 0.08 else None
        expected, run, new = told(run, log, fence, base, said, ending)

        appended = await store.append(run.id, fence, base, said, ending)

        log += new
        run = replace(run, tail=len(log))
        assert appended == Appended(expected, len(log))
        after = dice.randint(0, len(log) + 1)
        assert await store.read(run.id, after) == LogSlice(run, tuple(log[after:]))


def told(
    run: Run, log: list[bytes], fence: int, base: int, said: list[bytes], ending: Ending | None
) -> tuple[Standing, Run, list[bytes]]:
    """What becomes of an append: how it is answered, the run, and what is new in the log."""
    if fence != run.fence:
        return Standing.LOST, run, []
    if base > len(log):
        return Standing.BEHIND, run, []
    new = said[len(log) - base :]
    if ending is None:
        return (Standing.OWNED, run, new) if run.status is Status.IN_PROGRESS else (Standing.LOST, run, [])
    if ending.status in NEXT[run.status]:
        return Standing.OWNED, ended(run, ending), new
    repeated = is_terminal(run.status) and run == ended(run, ending) and not new
    return Standing.OWNED if repeated else Standing.LOST, run, []
