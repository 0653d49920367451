"""Calls that are safe to repeat, repeated until the store answers; and work that nobody's leaving breaks off."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from domain.errors import StoreUnavailable

T = TypeVar("T")


async def insist(call: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Repeat a call that is safe to repeat until the store answers.

    Raises:
        StoreUnavailable: it has been away for so many seconds.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    pause = 0.05
    while True:
        try:
            return await call()
        except StoreUnavailable:
            if loop.time() + pause > until:
                raise
        await asyncio.sleep(pause)
        pause = min(pause * 2, 1.0)


async def undisturbed(work: Coroutine[Any, Any, T]) -> T:
    """Bring ``work`` to its end, cancelled meanwhile or not: whoever waits for the caller waits for it, too."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise
