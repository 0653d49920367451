"""Waiting for something to become true, and no longer than that."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(met: Callable[[], Awaitable[bool]], *, deadline: float = 5.0) -> None:
    """Come back as soon as ``met`` is; TimeoutError where it is not within ``deadline`` seconds."""
    async with asyncio.timeout(deadline):
        while not await met():  # noqa: ASYNC110 - what is waited for is seen over HTTP, where there are no events
            await asyncio.sleep(0.005)
