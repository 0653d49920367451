"""A producer that is killed or frozen: one outcome for all readers, one settlement, nothing spliced."""

import asyncio
import time

import pytest

from adapters.tokenizer.tokenizer import TiktokenTokenizer
from tests.e2e.client import Answer, complete, enqueue, fetch, follow, last_id, normal, text_of
from tests.e2e.conftest import Figure
from tests.e2e.meddler import Fate, meddling
from tests.e2e.stage import Stage
from tests.gateway import GatewayProcess
from tests.provider.process import ProviderProcess
from tests.redis_server import RedisServer, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.usefixtures("partings")]

#: Seconds of the leases here, and what the readers of a run whose owner is gone may wait beyond that.
LEASE = 2.0
ALLOWANCE = 3.0
INTERRUPTED = b'"code":"generation_interrupted"'
DONE = b"data: [DONE]\n\n"


async def reference(gateway: GatewayProcess, model: str, prompt: str = "hello") -> bytes:
    """The transcript of an answer that nothing happens to."""
    answer = await complete(gateway, model, prompt, stream=True)
    return normal(await answer.rest())


async def here_and_there(stage: Stage) -> tuple[GatewayProcess, GatewayProcess]:
    """A replica that takes jobs, and one that does not."""
    settings = {"SLUICE_STREAM_GRACE_SECONDS": "0.1"}
    here = asyncio.to_thread(stage.serve, **settings)
    there = asyncio.to_thread(stage.serve, **settings, SLUICE_JOB_SLOTS="0")
    first, second = await asyncio.gather(here, there)
    return first, second


async def readers_of(gateway: GatewayProcess, run_id: str, count: int) -> list[Answer]:
    return list(await asyncio.gather(*(follow(gateway, run_id) for _ in range(count))))


async def all_read(readers: list[Answer]) -> set[bytes]:
    return set(await asyncio.gather(*(reader.rest() for reader in readers)))


def log_is_longer(stage: Stage, run_id: str, count: int) -> None:
    wait_until(lambda: int(stage.store.record(run_id)["tail"]) > count, f"{count} entries")


# --- killed in mid-answer ---------------------------------------------------------------------------------------------


async def test_all_readers_of_a_killed_producer_get_the_same_prefix_and_one_error(
    either_stage: Stage, figure: Figure
) -> None:
    stage = either_stage
    here, there = stage.serve_two()
    first = await complete(here, "words-n2000-i20", stream=True)
    await first.until_events(10)
    readers = await readers_of(there, first.run_id, 100)
    await asyncio.gather(*(reader.until_events(10) for reader in readers))

    here.kill()
    killed = time.monotonic()
    bodies = await all_read(readers)

    seconds = sorted(reader.ended_at - killed for reader in readers)
    figure(f"a stream's 100 readers were told of its producer's death after {seconds[0]:.2f} to {seconds[-1]:.2f} s")
    (body,) = bodies
    assert all(reader.whole for reader in readers)
    assert body.count(INTERRUPTED) == body.count(b'"error"') == 1
    assert b"[DONE]" not in body
    assert normal(body).startswith(normal((await first.rest()).rpartition(b"\n\n")[0]))
    assert seconds[-1] < LEASE + ALLOWANCE

    state = await fetch(there, first.run_id)
    charged = int(state.headers["x-sluice-charged-tokens"])
    assert state.json["status"] == "failed"
    assert charged == await prompt_and_completion(stage, first.run_id, text_of(body))
    assert stage.store.settlements() == [charged]
    assert stage.store.spent() == charged


async def prompt_and_completion(stage: Stage, run_id: str, said: str) -> int:
    """What an interrupted answer costs: the prompt as it was counted at admission, and what was said."""
    usage = stage.store.record(run_id)["usage"]
    vocabulary = "o200k_base"
    counted = await TiktokenTokenizer().count(vocabulary, [said])
    assert f'"completion_tokens":{counted}' in usage
    prompt = int(usage.partition('"prompt_tokens":')[2].partition(",")[0])
    return prompt + counted


async def test_a_killed_workers_job_is_completed_elsewhere_and_its_watchers_are_told(
    stage: Stage, provider: ProviderProcess, figure: Figure
) -> None:
    model = "words-n40-i50"
    here, there = await here_and_there(stage)
    job = await enqueue(here, model)
    run_id = job.json["id"]
    watchers = await readers_of(there, run_id, 5)
    await asyncio.gather(*(watcher.until_events(5) for watcher in watchers))

    here.kill()
    killed = time.monotonic()
    stage.work()
    heard = await all_read(watchers)
    state = await fetch(there, run_id, wait=30)

    figure(f"a killed worker's job was completed elsewhere after {time.monotonic() - killed:.2f} s, 2 of them its own")
    assert len(provider.requests()) == 2
    assert all(b'"code":"generation_restarted"' in body and b"[DONE]" not in body for body in heard)
    assert {watcher.body.count(b'"error"') for watcher in watchers} == {1}
    assert state.json["choices"][0]["message"]["content"] == " ".join(f"w{number}" for number in range(40))
    assert int(state.headers["x-sluice-charged-tokens"]) == stage.store.spent() == 41
    assert stage.store.settlements() == [41]

    again = await (await follow(there, run_id)).rest()
    old = await follow(there, run_id, last_id(watchers[0].body))
    assert normal(again) == (await reference(there, "words-n40")).replace(b"id: RUN:1-", b"id: RUN:2-")
    assert (old.status, (await old.rest()).count(b"generation_restarted")) == (409, 1)


@pytest.mark.parametrize("kind", ["stream", "job"])
async def test_readers_that_have_seen_nothing_of_a_killed_producer_wait_and_get_all(
    stage: Stage, provider: ProviderProcess, figure: Figure, kind: str
) -> None:
    model, prompt = "slow-2000", "these are the words that come in the end"
    here, there = await here_and_there(stage)
    if kind == "job":
        run_id = (await enqueue(here, model, prompt)).json["id"]
    else:
        run_id = (await complete(here, model, prompt, stream=True)).run_id
    provider.wait_until(lambda seen: len(seen) == 1)
    readers = await readers_of(there, run_id, 20)

    here.kill()
    killed = time.monotonic()
    stage.work()
    bodies = await all_read(readers)

    figure(f"{kind}: readers that had seen nothing had all {max(r.ended_at for r in readers) - killed:.2f} s later")
    assert {normal(body) for body in bodies} == {
        (await reference(there, "echo", prompt)).replace(b"id: RUN:1-", b"id: RUN:2-")
    }
    state = await fetch(there, run_id)
    assert state.json["status"] == "completed"
    assert int(state.headers["x-sluice-charged-tokens"]) == 18
    # The reference was paid for, too.
    assert stage.store.settlements() == [18, 18]
    assert stage.store.spent() == 36


# --- killed at the end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("executed", [False, True])
async def test_a_producer_killed_during_its_last_write_leaves_one_outcome(
    stage: Stage, redis: RedisServer, *, executed: bool
) -> None:
    there = stage.serve()
    with meddling(redis) as meddler:
        here = stage.serve(SLUICE_REDIS_URL=meddler.url)
        fate = Fate.SWALLOW_REPLY if executed else Fate.WITHHOLD
        meddler.meddle(lambda command: fate if b"completed" in command and b"EVALSHA" in command else Fate.PASS)
        first = await complete(here, "words-n20-i20", stream=True)
        readers = await readers_of(there, first.run_id, 20)
        assert await asyncio.to_thread(meddler.met.wait, 10)

        here.kill()
        bodies = await all_read(readers)

    whole = await reference(there, "words-n20")
    (body,) = (normal(body) for body in bodies)
    state = await fetch(there, first.run_id)
    assert first.run_id
    if executed:
        assert body == whole
        assert state.json["status"] == "completed"
    else:
        assert body.count(INTERRUPTED) == 1
        assert DONE not in body
        assert whole.startswith(body[: body.rindex(b"id: ")])
        assert state.json["status"] == "failed"
    # Its end and its settlement are one write. Without it, whoever buried the run has counted what it said; what the
    # provider had counted died with its producer.
    cost = 21 if executed else 48
    assert int(state.headers["x-sluice-charged-tokens"]) == cost
    assert stage.store.settlements() == [cost, 21]
    assert stage.store.spent() == cost + 21


# --- frozen -----------------------------------------------------------------------------------------------------------


async def test_a_producer_that_wakes_after_its_lease_changes_nothing(
    stage: Stage, provider: ProviderProcess, figure: Figure
) -> None:
    here, there = stage.serve_two()
    first = await complete(here, "words-n300-i20", stream=True)
    await first.until_events(10)
    readers = await readers_of(there, first.run_id, 10)
    await asyncio.gather(*(reader.until_events(10) for reader in readers))

    here.freeze()
    frozen = time.monotonic()
    (body,) = await all_read(readers)
    figure(f"readers of a frozen producer were told after {time.monotonic() - frozen:.2f} s")
    log, record, spent = stage.store.log(first.run_id), stage.store.record(first.run_id), stage.store.spent()
    here.thaw()
    own = await first.rest()
    provider.wait_until(lambda seen: seen[0].ended_at is not None, deadline=20)
    late = await asyncio.gather(follow(here, first.run_id), follow(there, first.run_id))

    assert body.count(INTERRUPTED) == 1
    assert normal(own) == normal(body)
    assert {normal(await reader.rest()) for reader in late} == {normal(body)}
    assert (await fetch(here, first.run_id)).json == (await fetch(there, first.run_id)).json
    # Nothing that the one that woke wrote, then or later, was taken.
    here.stop()
    assert stage.store.log(first.run_id) == log
    assert stage.store.record(first.run_id) == record
    assert stage.store.settlements() == [spent]
    assert stage.store.spent() == spent
    assert 0 < spent < 301


async def test_with_default_settings_a_dead_producer_is_noticed_within_its_lease_and_three_seconds(
    stage: Stage, figure: Figure
) -> None:
    here, there = stage.serve_two(SLUICE_LEASE_SECONDS="10")
    first = await complete(here, "words-n2000-i20", stream=True)
    await first.until_events(5)
    (reader,) = await readers_of(there, first.run_id, 1)
    await reader.until_events(5)

    here.kill()
    killed = time.monotonic()
    body = await reader.rest()

    figure(f"with a lease of 10 s, the death of a producer was told after {reader.ended_at - killed:.2f} s")
    assert body.count(INTERRUPTED) == 1
    assert reader.ended_at - killed < 10 + ALLOWANCE
