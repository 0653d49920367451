"""A Redis that dies, forgets, freezes or loses what was said to it: the exact rest, or one explicit error."""

import asyncio
import re
import time

import pytest

from tests.e2e.client import Answer, complete, enqueue, fetch, follow, normal
from tests.e2e.conftest import Figure
from tests.e2e.meddler import Fate, meddling
from tests.e2e.stage import Stage
from tests.gateway import GatewayProcess
from tests.redis_server import RedisServer, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.usefixtures("partings")]

MODEL = "words-n150-i20"


def server_of(stage: Stage) -> RedisServer:
    return stage.store.nodes[0]


async def reference(gateway: GatewayProcess) -> bytes:
    return normal(await (await complete(gateway, "words-n150", stream=True)).rest())


async def audience(here: GatewayProcess, there: GatewayProcess, model: str = MODEL) -> list[Answer]:
    """The first reader of a stream on one replica, and five on another, in the middle of it."""
    first = await complete(here, model, stream=True)
    others = await asyncio.gather(*(follow(there, first.run_id) for _ in range(5)))
    await asyncio.gather(*(reader.until_events(20) for reader in (first, *others)))
    return [first, *others]


async def transcripts(readers: list[Answer]) -> set[bytes]:
    return {normal(await reader.rest()) for reader in readers}


# --- Redis dies -------------------------------------------------------------------------------------------------------


async def test_a_redis_killed_and_restarted_with_its_log_costs_readers_only_time(
    lasting: Stage, figure: Figure
) -> None:
    here, there = lasting.serve_two()
    readers = await audience(here, there)

    server_of(lasting).kill()
    killed = time.monotonic()
    server_of(lasting).start()
    heard = await transcripts(readers)

    figure(f"Redis killed and restarted: 6 readers exact, all of it {time.monotonic() - killed:.2f} s after the kill")
    spent = lasting.store.spent()
    assert heard == {await reference(there)}
    assert (spent, lasting.store.settlements()) == (151, [151, 151])
    assert (await fetch(there, readers[0].run_id)).json["status"] == "completed"


async def test_a_redis_restarted_from_an_older_snapshot_gets_its_tail_again(saving: Stage, figure: Figure) -> None:
    here, there = saving.serve_two()
    readers = await audience(here, there)
    server = server_of(saving)
    server.command("SAVE")
    saved = int(saving.store.record(readers[0].run_id)["tail"])
    await asyncio.gather(*(reader.until_events(60) for reader in readers))

    server.kill()
    server.start()
    restored = int(saving.store.record(readers[0].run_id)["tail"])
    heard = await transcripts(readers)

    figure(f"Redis restarted from a snapshot at entry {saved} after readers had 60: 6 readers exact")
    assert saved <= restored
    assert heard == {await reference(there)}
    late = await follow(there, readers[0].run_id)
    assert normal(await late.rest()) == await reference(there)
    assert saving.store.settlements()[0] == 151


async def test_a_snapshot_older_than_the_run_is_as_good_as_an_empty_store(saving: Stage) -> None:
    here, there = saving.serve_two()
    server_of(saving).command("SAVE")
    readers = await audience(here, there)

    server_of(saving).kill()
    server_of(saving).start()
    await require_exact_or_one_error(there, *readers)


async def test_a_store_that_was_emptied_in_mid_run_ends_it_exactly_or_with_one_error(
    stage: Stage, figure: Figure
) -> None:
    here, there = stage.serve_two()
    readers = await audience(here, there)

    stage.store.empty()

    exact, failed = await require_exact_or_one_error(there, *readers)
    figure(f"FLUSHALL in mid-run: {exact} readers exact, {failed} with one error")


async def require_exact_or_one_error(there: GatewayProcess, *readers: Answer) -> tuple[int, int]:
    """How many readers got all of it, the producer's own among them, and how many a prefix and an error."""
    heard = [normal(await reader.rest()) for reader in readers]
    whole = await reference(there)
    failed = [body for body in heard if body != whole]
    for body in failed:
        assert whole.startswith(body[: body.rindex(b"id: ")])
        assert body.count(b'"error"') == 1
        assert b"[DONE]" not in body
    assert heard[0] == whole
    return len(heard) - len(failed), len(failed)


# --- Redis is slow ----------------------------------------------------------------------------------------------------


async def test_a_redis_frozen_for_three_seconds_costs_readers_only_time(stage: Stage, figure: Figure) -> None:
    here, there = stage.serve_two()
    readers = await audience(here, there)
    server = server_of(stage)

    server.freeze()
    # Nothing can be asked of what is frozen: the time itself is the condition.
    await asyncio.sleep(3.0)
    server.thaw()
    thawed = time.monotonic()
    heard = await transcripts(readers)

    figure(f"Redis frozen for 3 s: 6 readers exact, {time.monotonic() - thawed:.2f} s after it woke")
    assert heard == {await reference(there)}
    assert stage.store.settlements() == [151, 151]


async def test_a_redis_that_stays_away_ends_a_run_with_one_error_for_everybody(stage: Stage, figure: Figure) -> None:
    here, there = stage.serve_two(SLUICE_REDIS_GRACE_SECONDS="1")
    readers = await audience(here, there)
    server = server_of(stage)

    server.freeze()
    frozen = time.monotonic()
    try:
        heard = await asyncio.gather(*(reader.rest() for reader in readers))
    finally:
        server.thaw()

    figure(f"Redis gone for good: every reader was told after {time.monotonic() - frozen:.2f} s at the latest")
    assert all(body.count(b'"error"') == 1 and b"[DONE]" not in body for body in heard)
    assert all(reader.whole for reader in readers)
    # What became of it is one thing, whoever asks then.
    wait_until(lambda: stage.store.record(readers[0].run_id)["status"] == "failed", "the end of the run")
    again = {normal(await (await follow(gateway, readers[0].run_id)).rest()) for gateway in (here, there)}
    assert len(again) == 1
    assert len(stage.store.settlements()) == 1


# --- what is said to Redis is lost ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fate", [Fate.LOSE_REPLY, Fate.SWALLOW_REPLY, Fate.WITHHOLD])
async def test_appends_whose_replies_are_lost_are_neither_lost_nor_doubled(
    stage: Stage, redis: RedisServer, figure: Figure, fate: Fate
) -> None:
    there = stage.serve()
    with meddling(redis) as meddler:
        here = stage.serve(SLUICE_REDIS_URL=meddler.url, SLUICE_REDIS_SECONDS="0.3")
        count = 0

        def judge(command: bytes) -> Fate:
            nonlocal count
            if b'"content":"w' not in command or b"EVALSHA" not in command:
                return Fate.PASS
            count += 1
            return fate if count % 10 == 0 or (b"completed" in command and count % 2 == 0) else Fate.PASS

        meddler.meddle(judge)
        readers = await audience(here, there)
        heard = await transcripts(readers)
        meddler.relent()

        figure(f"{fate.name}: {meddler.meetings} of {count} appends met it, 6 readers exact")
        assert meddler.meetings > 3
        assert heard == {await reference(there)}
        assert stage.store.settlements() == [151, 151]
        assert len(stage.store.log(readers[0].run_id)) == 152
        here.stop()


async def test_every_single_append_whose_reply_is_lost_is_made_good(stage: Stage, redis: RedisServer) -> None:
    """Each append once: the command is executed, the connection cut; its repetition passes."""
    # Nothing is lost on this one's way, so it is given the time that a busy machine takes.
    there = stage.serve(SLUICE_REDIS_SECONDS="2")
    with meddling(redis) as meddler:
        here = stage.serve(SLUICE_REDIS_URL=meddler.url, SLUICE_REDIS_SECONDS="0.3")
        odd = False

        def judge(command: bytes) -> Fate:
            nonlocal odd
            # Only the record that a run begins with tells whom to answer as.
            if b"in_progress" not in command or b"EVALSHA" not in command or b"answer_id" in command:
                return Fate.PASS
            odd = not odd
            return Fate.LOSE_REPLY if odd else Fate.PASS

        meddler.meddle(judge)
        readers = await audience(here, there, "words-n150-i5")
        heard = await transcripts(readers)
        meddler.relent()
        here.stop()

    assert heard == {await reference(there)}
    assert stage.store.settlements() == [151, 151]


async def test_readers_whose_every_doorbell_is_lost_are_exact_and_a_second_late(
    stage: Stage, redis: RedisServer, figure: Figure
) -> None:
    here = stage.serve()
    with meddling(redis) as meddler:
        there = stage.serve(SLUICE_REDIS_URL=meddler.url, SLUICE_REDIS_SECONDS="0.3")
        # A subscription that is never heard of: the connection lives, and stays silent.
        meddler.meddle(lambda command: Fate.WITHHOLD if b"SUBSCRIBE" in command else Fate.PASS)
        first, *others = await audience(here, there)
        await first.rest()
        heard = await transcripts(others)

        late = max(other.ended_at for other in others) - first.ended_at
        figure(f"without any doorbell, readers had the end {late:.2f} s after the producer's own reader")
        assert heard == {normal(first.body)}
        assert first.body.endswith(b"data: [DONE]\n\n")
        there.stop()


async def test_readers_whose_doorbells_are_torn_off_again_and_again_are_exact(stage: Stage, figure: Figure) -> None:
    here, there = stage.serve_two()
    readers = await audience(here, there)
    server, torn = server_of(stage), 0

    while not all(reader.ended for reader in readers):
        torn += server.command("CLIENT", "KILL", "TYPE", "pubsub")
        await asyncio.gather(*(reader.until_events(reader.events + 5) for reader in readers))

    late = max(reader.ended_at for reader in readers) - readers[0].ended_at
    figure(f"doorbells torn off {torn} times: 6 readers exact, at most {late:.2f} s late")
    assert torn > 3
    assert await transcripts(readers) == {await reference(there)}


# --- Redis forgets who owns a run -------------------------------------------------------------------------------------

ADDRESS = {"type": "object", "properties": {"city": {"type": "string"}, "street": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": ADDRESS}}


async def test_a_claim_that_redis_forgot_does_not_splice_two_generations(saving: Stage, figure: Figure) -> None:
    front = saving.serve(SLUICE_JOB_SLOTS="0")
    job = await enqueue(front, "tools-i150", tools=[TOOL])
    server_of(saving).command("SAVE")
    saving.work()
    watcher = await follow(front, job.json["id"])
    await watcher.until_events(3)

    server_of(saving).kill()
    server_of(saving).start()
    heard = await watcher.rest()
    state = await fetch(front, job.json["id"], wait=20)

    # The provider numbers its answers, in the ids of what it calls for.
    spliced = set(re.findall(rb'"id":"call_(\d+)_\d+"', heard))
    figure(f"a forgotten claim: {len(saving.provider.requests())} provider calls, {len(spliced)} in one transcript")
    calls = state.json["choices"][0]["message"]["tool_calls"]
    assert heard.count(b'"code":"generation_restarted"') == heard.count(b'"error"') == 1
    assert len(spliced) == 1
    assert len({call["id"].split("_")[1] for call in calls}) == 1
