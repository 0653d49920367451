"""However many callers are cancelled at whatever moment, nobody ever gets an answer that was meant for another."""

import asyncio
import random

import pytest

from adapters.redis.connection import RedisConnection

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)]

CALLERS, ROUNDS, KEYS = 20, 40, 50


@pytest.mark.parametrize("seed", range(3))
async def test_every_answer_is_the_one_that_was_asked_for(connection: RedisConnection, seed: int) -> None:
    walk = random.Random(seed)
    for number in range(KEYS):
        await connection.command("SET", f"key:{number}", f"value of {number}")
    finished = cancelled = 0

    async def ask(number: int) -> None:
        assert await connection.command("GET", f"key:{number}") == f"value of {number}".encode()

    for _ in range(ROUNDS):
        asking = [asyncio.create_task(ask(walk.randrange(KEYS))) for _ in range(CALLERS)]
        for task in walk.sample(asking, CALLERS // 2):
            if walk.random() < 0.2:
                await asyncio.sleep(0)
            task.cancel()
        for outcome in await asyncio.gather(*asking, return_exceptions=True):
            finished += outcome is None
            cancelled += isinstance(outcome, asyncio.CancelledError)

    assert finished + cancelled == ROUNDS * CALLERS
    assert min(finished, cancelled) > ROUNDS
