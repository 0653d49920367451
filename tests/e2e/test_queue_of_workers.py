"""Jobs and the workers that take them: whoever dies on the way, every job is done, and paid for once."""

import asyncio
import signal
import statistics
import time
from collections import defaultdict
from itertools import pairwise

import pytest

from domain.runs import MAX_ATTEMPTS
from tests.e2e.client import enqueue, fetch
from tests.e2e.conftest import Figure
from tests.e2e.stage import Stage
from tests.gateway import GatewayProcess
from tests.provider.exchange import Seen
from tests.redis_server import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.usefixtures("partings")]

JOBS = 500
WORDS = 10
#: What one job costs: one word of prompt, and the answer.
COST = 1 + WORDS
MODEL = f"words-n{WORDS}-i20"


async def test_500_jobs_are_done_once_each_by_workers_that_are_killed_every_second(
    stage: Stage, figure: Figure
) -> None:
    front = stage.serve(SLUICE_JOB_SLOTS="0")
    workers = [stage.work(SLUICE_JOB_SLOTS="2") for _ in range(4)]
    began = time.monotonic()
    jobs = await queue_all(front)

    kills = await kill_one_each_second(stage, workers)

    seconds = time.monotonic() - began
    calls = by_prompt(stage.provider.requests())
    again = [b.at - a.ended_at for seen in calls.values() for a, b in pairwise(seen) if a.ended_at is not None]
    assert outcomes(stage, jobs) == {"completed": JOBS}
    assert len(calls) == JOBS
    assert stage.store.spent() == JOBS * COST
    assert stage.store.settlements() == [COST] * JOBS
    figure(f"{JOBS} jobs completed and settled once each in {seconds:.1f} s, {kills} kills, {len(again)} re-runs")
    assert again
    figure(
        "from a worker's death to its job's next run: "
        f"min {min(again):.2f} s, median {statistics.median(again):.2f} s, max {max(again):.2f} s (lease 2 s)"
    )
    answers = await asyncio.gather(*(fetch(front, job) for job in jobs[::50]))
    assert {answer.json["choices"][0]["message"]["content"] for answer in answers} == {
        " ".join(f"w{number}" for number in range(WORDS))
    }


async def test_jobs_of_a_replica_that_is_told_to_end_are_finished_by_another(stage: Stage, figure: Figure) -> None:
    here, there = stage.serve(SLUICE_JOB_SLOTS="2", SLUICE_DRAIN_SECONDS="0.5"), stage.serve(SLUICE_JOB_SLOTS="0")
    model = f"words-n{WORDS}-i200"
    jobs = [(await enqueue(here, model, f"job{number}", max_tokens=WORDS)).json["id"] for number in range(6)]
    stage.provider.wait_until(lambda seen: len(seen) == 2)

    here.process.send_signal(signal.SIGTERM)
    told = time.monotonic()
    stage.work(SLUICE_JOB_SLOTS="6")
    # Who has read a part of a job that is begun again is told so, and gets no more.
    assert await asyncio.to_thread(here.process.wait, 20) == 0
    states = await asyncio.gather(*(fetch(there, job, wait=30) for job in jobs))

    assert [state.json["status"] for state in states] == ["completed"] * 6
    assert stage.store.spent() == 6 * COST
    assert stage.store.settlements() == [COST] * 6
    figure(
        f"6 jobs of a replica told to end, 2 of them begun: completed elsewhere {time.monotonic() - told:.2f} s later, "
        f"{len(stage.provider.requests())} provider calls"
    )


async def queue_all(front: GatewayProcess) -> list[str]:
    room = asyncio.Semaphore(20)

    async def one(number: int) -> str:
        async with room:
            job = await enqueue(front, MODEL, f"job{number}", max_tokens=WORDS)
        assert job.status == 200, job.body
        found: str = job.json["id"]
        return found

    return list(await asyncio.gather(*(one(number) for number in range(JOBS))))


async def kill_one_each_second(stage: Stage, workers: list[GatewayProcess]) -> int:
    """Until all jobs have ended; how many were killed. Another worker takes the place of each at once."""
    kills, starts = 0, set()
    due = time.monotonic()
    while unfinished(stage):
        due += 1.0
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        # A job whose third worker dies is given up, as it should be; that is not what is counted here. And on a busy
        # machine, it takes more than a second to start one.
        await asyncio.to_thread(
            wait_until, lambda: len(workers) > 1 and not on_last_attempt(stage), "an expendable worker", 60
        )
        workers.pop(0).kill()
        kills += 1
        start = asyncio.create_task(asyncio.to_thread(stage.work, SLUICE_JOB_SLOTS="2"))
        start.add_done_callback(lambda done: workers.append(done.result()))
        starts.add(start)
    await asyncio.gather(*starts)
    return kills


def unfinished(stage: Stage) -> int:
    """How many requests are kept, which is only until their runs have ended."""
    return len(stage.store.all_keys("*:request:*"))


#: How many runs are in progress that will not be begun again, asked at one moment.
ON_LAST_ATTEMPT = """
local count = 0
for _, key in ipairs(redis.call('KEYS', '*:record:*')) do
  local run = redis.call('HMGET', key, 'status', 'attempt')
  count = count + ((run[1] == 'in_progress' and tonumber(run[2]) >= tonumber(ARGV[1])) and 1 or 0)
end
return count
"""


def on_last_attempt(stage: Stage) -> bool:
    return int(stage.store.nodes[0].command("EVAL", ON_LAST_ATTEMPT, 0, MAX_ATTEMPTS)) > 0


def outcomes(stage: Stage, jobs: list[str]) -> dict[str, int]:
    """How many jobs came to which end."""
    found: dict[str, int] = defaultdict(int)
    for job in jobs:
        record = stage.store.record(job)
        found[f"{record['status']} {record.get('error', '')}".strip()] += 1
    return dict(found)


def by_prompt(calls: list[Seen]) -> dict[str, list[Seen]]:
    """The calls of each job, which asks with words of its own."""
    found: dict[str, list[Seen]] = defaultdict(list)
    for call in calls:
        found[call.body["messages"][0]["content"]].append(call)
    return dict(found)
