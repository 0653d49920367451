"""RunStore: a run has one log without gaps and one ending, however often it is told."""

import asyncio
import random
from dataclasses import replace
from itertools import count

import pytest

from adapters.memory.runs import MemoryRunStore
from adapters.redis.connection import RedisConnection
from adapters.redis.keys import RunKeys
from adapters.redis.runs import RedisRunStore
from domain.chat import Completion, Usage
from domain.ports import RunStore
from domain.runs import (
    NEXT,
    ULID_ENTROPY,
    Ending,
    LogSlice,
    Run,
    RunError,
    Status,
    conversation_shard,
    is_terminal,
    ulid,
    with_shard,
)
from tests.fakes import FrozenClock

pytestmark = pytest.mark.anyio

_NUMBERS = count(1)


@pytest.fixture
def store(connection: RedisConnection | None, clock: FrozenClock) -> RunStore:
    return MemoryRunStore(clock) if connection is None else RedisRunStore(connection)


def new_run(status: Status = Status.IN_PROGRESS, *, conversation: str | None = None, user: str = "alice") -> Run:
    run_id = f"chatcmpl-{ulid(1_800_000_000.0, next(_NUMBERS).to_bytes(ULID_ENTROPY, 'big'))}"
    if conversation is not None:
        run_id = with_shard(run_id, conversation_shard("acme", user, conversation))
    return Run(
        id=run_id,
        tenant="acme",
        group="staff",
        user=user,
        answer_id=conversation or run_id,
        provider="openai",
        model="gpt-4o-é",
        created=1_800_000_000,
        extras=False,
        conversation=conversation,
        status=status,
    )


def entries(first: int, last: int) -> list[bytes]:
    """The entries of these numbers, both included."""
    return [f'{{"n":{number}}}'.encode() for number in range(first, last + 1)]


COMPLETION = Completion(
    {
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Grüß Gott \u2028"}, "finish_reason": "stop"}
        ]
    },
    Usage(7, 3, {"completion_tokens_details": {"reasoning_tokens": 1}}),
    "gpt-4o-2024-08-06",
)
COMPLETED = Ending(Status.COMPLETED, COMPLETION, COMPLETION.usage, charged=10)
FAILED = Ending(Status.FAILED, error=RunError("PROVIDER_FAILED", "upstream_truncated", "Cut off.", None, 1.5))
CANCELLED = Ending(Status.CANCELLED, charged=3)


def ended(run: Run, ending: Ending) -> Run:
    return replace(run, status=ending.status, usage=ending.usage, charged=ending.charged, error=ending.error)


# --- the record ---------------------------------------------------------------------------------------------------


async def test_an_unknown_run_is_none(store: RunStore) -> None:
    run = new_run()

    appended = await store.append(run.id, 1, 0, [b"x"])

    assert not appended
    assert await store.get(run.id) is None
    assert await store.claim(run.id) is None
    assert await store.read(run.id, 0) is None
    assert await store.result(run.id) is None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"status": Status.QUEUED, "extras": True, "include_usage": True},
        {"attempt": 3, "tail": 12, "usage": COMPLETION.usage, "charged": 0, "error": FAILED.error},
        {"conversation": "conv-1", "status": Status.FAILED, "charged": 12},
    ],
)
async def test_a_run_comes_back_as_it_was_begun(store: RunStore, changes: dict[str, object]) -> None:
    run = replace(new_run(conversation="conv-1"), **{"conversation": None, **changes})  # type: ignore[arg-type] # checked by Run's users

    await store.begin(run)

    assert await store.get(run.id) == run


async def test_a_run_that_is_begun_again_goes_on(store: RunStore) -> None:
    run = new_run()
    await store.begin(run)
    await store.append(run.id, 1, 0, entries(1, 2))

    await store.begin(run)

    assert await store.get(run.id) == replace(run, tail=2)


async def test_of_many_claims_one_gets_the_run(store: RunStore) -> None:
    run = new_run(Status.QUEUED)
    await store.begin(run)

    claims = await asyncio.gather(*(store.claim(run.id) for _ in range(20)))

    assert [claim for claim in claims if claim is not None] == [replace(run, status=Status.IN_PROGRESS)]


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.QUEUED])
async def test_only_a_queued_run_is_claimed(store: RunStore, status: Status) -> None:
    run = new_run(status)
    await store.begin(run)

    claim = await store.claim(run.id)

    assert claim is None
    assert await store.get(run.id) == run


async def test_a_conversation_leads_to_its_latest_run(store: RunStore) -> None:
    first, second = new_run(conversation="conv-1"), new_run(conversation="conv-1")
    other = new_run(conversation="conv-1", user="bob")
    for run in (first, second, other):
        await store.begin(run)

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
    await store.begin(run)
    await store.append(run.id, 1, 0, entries(1, 3))
    await store.append(run.id, 1, 3, entries(4, 12))

    slices = [await store.read(run.id, after) for after in range(14)]

    now = replace(run, tail=12)
    assert slices == [LogSlice(now, tuple(entries(after + 1, 12))) for after in range(14)]


async def test_a_reader_gets_no_more_than_it_asked_for(store: RunStore) -> None:
    run = new_run()
    await store.begin(run)
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
    await store.begin(run)

    await store.append(run.id, 1, 0, strange)

    assert await store.read(run.id, 0) == LogSlice(replace(run, tail=len(strange)), tuple(strange))


async def test_an_append_can_be_repeated(store: RunStore) -> None:
    run = new_run()
    await store.begin(run)

    answers = await asyncio.gather(*(store.append(run.id, 1, 0, entries(1, 5)) for _ in range(20)))

    assert all(answers)
    assert await store.read(run.id, 0) == LogSlice(replace(run, tail=5), tuple(entries(1, 5)))


@pytest.mark.parametrize(
    ("attempt", "base"),
    [(1, 3), (1, 100), (0, 2), (2, 2)],
    ids=["a gap", "a wide gap", "an older attempt", "an attempt that has not been"],
)
async def test_an_append_that_does_not_fit_changes_nothing(store: RunStore, attempt: int, base: int) -> None:
    run = new_run()
    await store.begin(run)
    await store.append(run.id, 1, 0, entries(1, 2))

    plain = await store.append(run.id, attempt, base, entries(base + 1, base + 2))
    final = await store.append(run.id, attempt, base, entries(base + 1, base + 2), COMPLETED)

    assert (plain, final) == (False, False)
    assert await store.read(run.id, 0) == LogSlice(replace(run, tail=2), tuple(entries(1, 2)))
    assert await store.result(run.id) is None


async def test_nothing_is_said_in_a_run_that_waits(store: RunStore) -> None:
    run = new_run(Status.QUEUED)
    await store.begin(run)

    appended = await store.append(run.id, 1, 0, entries(1, 1))

    assert not appended
    assert await store.get(run.id) == run


# --- the ending ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [COMPLETED, FAILED, CANCELLED], ids=lambda ending: ending.status.value)
async def test_an_ending_comes_with_the_last_entries(store: RunStore, ending: Ending) -> None:
    run = new_run()
    await store.begin(run)
    await store.append(run.id, 1, 0, entries(1, 2))

    accepted = await store.append(run.id, 1, 2, entries(3, 4), ending)

    assert accepted
    assert await store.read(run.id, 2) == LogSlice(ended(replace(run, tail=4), ending), tuple(entries(3, 4)))
    assert await store.get(run.id) == ended(replace(run, tail=4), ending)
    assert await store.result(run.id) == ending.completion


async def test_an_ending_can_be_repeated(store: RunStore) -> None:
    run = new_run()
    await store.begin(run)

    answers = await asyncio.gather(*(store.append(run.id, 1, 0, entries(1, 2), COMPLETED) for _ in range(20)))

    assert all(answers)
    assert await store.get(run.id) == ended(replace(run, tail=2), COMPLETED)


@pytest.mark.parametrize("seed", range(5))
async def test_of_different_endings_one_counts(store: RunStore, seed: int) -> None:
    run = new_run()
    await store.begin(run)
    endings = random.Random(seed).sample([COMPLETED, FAILED, CANCELLED, replace(CANCELLED, charged=4)], 4)

    answers = await asyncio.gather(*(store.append(run.id, 1, 0, (), ending) for ending in endings))

    assert sorted(answers) == [False, False, False, True]
    assert await store.get(run.id) == ended(run, endings[answers.index(True)])
    assert await store.result(run.id) == endings[answers.index(True)].completion


async def test_nothing_is_said_after_the_ending(store: RunStore) -> None:
    run = new_run()
    await store.begin(run)
    await store.append(run.id, 1, 0, entries(1, 2), COMPLETED)

    more = await store.append(run.id, 1, 2, entries(3, 3))
    more_and_the_end = await store.append(run.id, 1, 2, entries(3, 3), COMPLETED)
    again = await store.append(run.id, 1, 0, entries(1, 2))

    assert (more, more_and_the_end, again) == (False, False, False)
    assert await store.read(run.id, 0) == LogSlice(ended(replace(run, tail=2), COMPLETED), tuple(entries(1, 2)))


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("ending", [COMPLETED, FAILED, CANCELLED], ids=lambda ending: ending.status.value)
async def test_a_run_ends_only_as_its_state_allows(store: RunStore, status: Status, ending: Ending) -> None:
    run = new_run(status)
    await store.begin(run)

    accepted = await store.append(run.id, 1, 0, (), ending)

    assert accepted == (ending.status in NEXT[status])
    assert await store.get(run.id) == (ended(run, ending) if accepted else run)


async def test_what_the_caller_keeps_is_not_what_the_store_keeps(store: RunStore) -> None:
    run = new_run()
    completion = Completion({"choices": [{"index": 0, "message": {"content": "said"}}]}, Usage(1, 1, {"a": {"b": 1}}))
    await store.begin(run)
    await store.append(run.id, 1, 0, (), Ending(Status.COMPLETED, completion, completion.usage))

    for held in (completion, await store.result(run.id)):
        assert held is not None
        held.choices[0]["message"]["content"] = "changed"
    result = await store.result(run.id)

    assert result is not None
    assert result.choices[0]["message"]["content"] == "said"


async def test_the_log_lapses_sooner_than_its_record(clock: FrozenClock) -> None:
    store, run = MemoryRunStore(clock), new_run(conversation="conv-1")
    await store.begin(run)
    await store.append(run.id, 1, 0, entries(1, 2), COMPLETED)

    clock.advance(900.0)
    without_log = await store.read(run.id, 0)
    clock.advance(86_400.0 - 900.0)

    assert without_log == LogSlice(ended(replace(run, tail=2), COMPLETED))
    assert await store.read(run.id, 0) is None
    assert await store.result(run.id) is None


@pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)
async def test_a_log_that_lost_its_beginning_has_no_entries(store: RunStore, connection: RedisConnection) -> None:
    run = new_run()
    await store.begin(run)
    await store.append(run.id, 1, 0, entries(1, 9))

    await connection.command("XTRIM", RunKeys.of(run.id).log, "MAXLEN", 3)
    slices = [await store.read(run.id, after) for after in (0, 5, 6)]

    assert [len(part.entries) for part in slices if part is not None] == [0, 0, 3]


@pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)
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
    run, log = new_run(dice.choice([Status.QUEUED, Status.IN_PROGRESS])), list[bytes]()
    await store.begin(run)

    for _ in range(60):
        if dice.random() < 0.1:
            claimed = await store.claim(run.id)
            assert (claimed is not None) == (run.status is Status.QUEUED)
            run = claimed or run
            continue
        attempt = dice.choice([1, 1, 1, 1, 0, 2])
        base = max(0, len(log) + dice.choice([0, 0, 0, -1, -3, 1, 2]))
        said = entries(base + 1, base + dice.randint(0, 4))
        ending = dice.choice([COMPLETED, FAILED, CANCELLED]) if dice.random() < 0.08 else None
        fits = attempt == run.attempt and base <= len(log)
        new = said[len(log) - base :] if fits else []
        if ending is None:
            expected = fits and run.status is Status.IN_PROGRESS
        elif fits and ending.status in NEXT[run.status]:
            expected, run = True, ended(run, ending)
        else:
            expected = fits and is_terminal(run.status) and run == ended(run, ending) and not new
            new = []

        assert await store.append(run.id, attempt, base, said, ending) == expected
        if expected:
            log += new
            run = replace(run, tail=len(log))
        after = dice.randint(0, len(log) + 1)
        assert await store.read(run.id, after) == LogSlice(run, tuple(log[after:]))
