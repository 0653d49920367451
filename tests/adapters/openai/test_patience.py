"""Many short waits on one timer."""

import asyncio
import gc
from collections.abc import AsyncIterator
from weakref import ref

import pytest

from adapters.openai.patience import Patience

pytestmark = pytest.mark.anyio


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
async def patience() -> AsyncIterator[Patience]:
    made = Patience()
    yield made
    made.close()


async def test_a_wait_beyond_its_end_is_a_timeout(patience: Patience) -> None:
    began = now()

    with pytest.raises(TimeoutError), patience.until(began + 0.05):
        await asyncio.Event().wait()

    assert 0.05 <= now() - began < 1


async def test_a_wait_that_is_over_in_time_is_none_of_its_business(patience: Patience) -> None:
    for _ in range(40):
        with patience.until(now() + 0.3):
            await asyncio.sleep(0.01)


async def test_each_wait_has_an_end_of_its_own(patience: Patience) -> None:
    with patience.until(now() + 60):
        await asyncio.sleep(0)

    with pytest.raises(TimeoutError), patience.until(now() + 0.02):
        await asyncio.Event().wait()
    with pytest.raises(TimeoutError), patience.until(now() + 0.04):
        await asyncio.Event().wait()


async def test_nobody_is_cancelled_between_two_waits(patience: Patience) -> None:
    with patience.until(now() + 0.01):
        await asyncio.sleep(0)

    await asyncio.sleep(0.05)

    with patience.until(now() + 60):
        await asyncio.sleep(0)


async def test_an_end_that_has_passed_is_a_timeout_at_once(patience: Patience) -> None:
    with pytest.raises(TimeoutError), patience.until(now() - 1):
        await asyncio.Event().wait()


async def test_nothing_is_left_in_the_loop() -> None:
    patience = Patience()
    with patience.until(now() + 60):
        await asyncio.sleep(0)

    patience.close()

    left = ref(patience)
    del patience
    gc.collect()
    assert left() is None


async def test_a_cancellation_from_outside_goes_on_upward(patience: Patience) -> None:
    waiting = asyncio.Event()

    async def wait() -> None:
        with patience.until(now() + 60):
            waiting.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await waiting.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_at_the_same_time_wins(patience: Patience) -> None:
    async def wait() -> None:
        with patience.until(now() + 0.01):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    # The timer goes off in the very turn of the loop in which the task is cancelled, just behind it.
    asyncio.get_running_loop().call_at(now() + 0.01 - 1e-6, task.cancel)

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_it_works_within_other_timeouts(patience: Patience) -> None:
    async def wait_for_long() -> None:
        with patience.until(now() + 60):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wait_for_long(), 0.02)
    with pytest.raises(TimeoutError), patience.until(now() + 0.02):
        async with asyncio.timeout(60):
            await asyncio.Event().wait()
