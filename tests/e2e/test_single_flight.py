"""Identical requests at the same moment, on two replicas: one provider call, and the whole answer for everybody."""

import asyncio

import pytest

from tests.e2e.client import Answer, complete, enqueue, fetch, normal, text_of
from tests.e2e.conftest import Figure
from tests.e2e.stage import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.usefixtures("partings")]

WORDS = " ".join(f"w{number}" for number in range(40))


def run_ids(answers: list[Answer]) -> set[str]:
    return {answer.run_id for answer in answers}


async def test_a_hundred_requests_with_one_cache_key_share_one_answer(either_stage: Stage, figure: Figure) -> None:
    stage = either_stage
    replicas = stage.serve_two()

    answers = list(
        await asyncio.gather(
            *(
                complete(replicas[number % 2], "words-n40-i20", cache_key="same", stream=number % 4 < 2)
                for number in range(100)
            )
        )
    )
    await asyncio.gather(*(answer.rest() for answer in answers))

    streams = [answer for answer in answers if answer.headers["content-type"].startswith("text/event-stream")]
    wholes = [answer for answer in answers if answer not in streams]
    owners = [answer for answer in answers if answer.headers["x-cache"] == "miss"]
    assert {answer.status for answer in answers} == {200}
    assert len(stage.provider.requests()) == 1
    assert (len(streams), len(wholes), len(owners), len(run_ids(answers))) == (50, 50, 1, 100)
    for whole in wholes:
        assert whole.json["choices"][0]["message"]["content"] == WORDS
    assert {text_of(stream.body) for stream in streams} == {WORDS}
    assert all(stream.body.endswith(b"data: [DONE]\n\n") for stream in streams)
    assert stage.store.spent() == 41
    assert stage.store.settlements() == [41]
    charged = [(await fetch(replicas[0], answer.run_id)).headers["x-sluice-charged-tokens"] for answer in answers[:20]]
    assert sorted(set(charged) - {"0"}) in ([], ["41"])
    told = {answer.headers["x-cache"] for answer in answers}
    figure(f"100 requests with one cache key: 1 provider call, {len(streams)} streams, {len(wholes)} wholes, {told}")


async def test_fifty_posts_with_one_idempotency_key_are_one_run(either_stage: Stage, figure: Figure) -> None:
    stage = either_stage
    replicas = stage.serve_two()
    once = {"Idempotency-Key": "once"}

    streams = list(
        await asyncio.gather(
            *(complete(replicas[number % 2], "words-n40-i20", stream=True, headers=once) for number in range(50))
        )
    )
    bodies = await asyncio.gather(*(stream.rest() for stream in streams))

    assert {stream.status for stream in streams} == {200}
    assert len(stage.provider.requests()) == 1
    assert len(run_ids(streams)) == len(set(bodies)) == 1
    assert bodies[0].endswith(b"data: [DONE]\n\n")
    assert sum(stream.headers.get("idempotent-replayed") == "true" for stream in streams) == 49
    assert stage.store.spent() == 41
    assert stage.store.settlements() == [41]
    figure("50 streams with one Idempotency-Key on two replicas: 1 provider call, 50 identical transcripts, 1 charged")


async def test_fifty_jobs_with_one_idempotency_key_are_one_job(stage: Stage) -> None:
    replicas = stage.serve_two()
    once = {"Idempotency-Key": "once"}

    jobs = list(
        await asyncio.gather(*(enqueue(replicas[number % 2], "words-n40-i5", headers=once) for number in range(50)))
    )
    state = await fetch(replicas[1], jobs[0].json["id"], wait=20)

    assert len({job.json["id"] for job in jobs}) == 1
    assert state.json["choices"][0]["message"]["content"] == WORDS
    assert len(stage.provider.requests()) == 1
    assert stage.store.spent() == 41


async def test_followers_of_a_killed_owner_get_the_answer_of_its_successor(stage: Stage, figure: Figure) -> None:
    here, there = stage.serve_two(SLUICE_STREAM_GRACE_SECONDS="0.1")
    owner = await complete(here, "slow-1500", WORDS, cache_key="same", stream=True)
    stage.provider.wait_until(lambda seen: len(seen) == 1)
    followers = list(
        await asyncio.gather(*(complete(there, "slow-1500", WORDS, cache_key="same", stream=True) for _ in range(10)))
    )

    here.kill()
    bodies = await asyncio.gather(*(follower.rest() for follower in followers))

    assert owner.headers["x-cache"] == "miss"
    assert {text_of(body) for body in bodies} == {WORDS}
    assert len({normal(body) for body in bodies}) == 1
    assert stage.store.settlements() == [80]
    figure(f"10 followers of a killed owner: all whole, {len(stage.provider.requests())} provider calls, 1 charged")
