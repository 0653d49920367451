"""How late the event loop comes to what is due: what every request waits for when the process has too much to do."""

import asyncio

from adapters.metrics.tables import Spread


class LoopLag:
    """Measures from ``start`` to ``aclose``, once in so many seconds."""

    def __init__(self, spread: Spread, *, every: float = 0.25) -> None:
        self._spread = spread
        self._every = every
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.ensure_future(self._measure())

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _measure(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._every
            await asyncio.sleep(self._every)
            self._spread.observe((), max(loop.time() - due, 0.0))
