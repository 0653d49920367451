"""What is measured beside the facts: Redis's answers, and how late the event loop is."""

import asyncio
import time

import pytest

from adapters.metrics.families import Families
from adapters.metrics.lag import LoopLag
from adapters.metrics.stores import RedisWatch

pytestmark = pytest.mark.anyio


def test_an_answer_that_did_not_come_has_taken_time_and_is_a_failure() -> None:
    families = Families()
    watch = RedisWatch(families)

    watch("ledger/settle", 0.002, True)
    watch("ledger/settle", 0.3, False)

    cells = families.redis_seconds.rows[("ledger/settle",)]
    assert sum(cells[:-1]) == 2
    assert cells[-1] == pytest.approx(0.302)
    assert families.redis_failures.rows == {("ledger/settle",): 1}


async def test_a_loop_that_is_held_up_is_seen_to_be_late() -> None:
    families = Families()
    lag = LoopLag(families.loop_lag, every=0.01)
    await lag.start()
    await asyncio.sleep(0.001)

    time.sleep(0.2)  # noqa: ASYNC251 - that is what it is about
    while not any(families.loop_lag.rows[()]):  # noqa: ASYNC110 - it is a matter of one turn of the loop
        await asyncio.sleep(0)
    await lag.aclose()

    assert families.loop_lag.rows[()][-1] >= 0.15
