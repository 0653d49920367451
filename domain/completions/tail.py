"""The end of a run's log as this process knows it: what all its readers share.

A reader is an index into one list. It costs no task and no connection beyond its own response.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from domain.runs import Ending, Run


class Tail:
    """A run's entries so far, and its ending once it has one. Written by one task, followed by any number.

    ``readers`` is how many follow it now; ``left`` the event loop's time since when there have been none.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.entries: list[bytes] = []
        self.ending: Ending | None = None
        self.readers = 0
        self.left = asyncio.get_running_loop().time()
        #: One for each reader that waits: it is the reader's own, to be cancelled with it.
        self._bells: set[asyncio.Future[None]] = set()

    @contextmanager
    def read(self) -> "Iterator[Tail]":
        """Count as one of its readers inside the block."""
        self.readers += 1
        try:
            yield self
        finally:
            self.readers -= 1
            self.left = asyncio.get_running_loop().time()

    def extend(self, entries: Sequence[bytes]) -> None:
        """Add entries that the store has acknowledged, and wake the readers."""
        self.entries.extend(entries)
        self._ring()

    def close(self, run: Run, ending: Ending) -> None:
        """Tell the readers that nothing more comes. Only the first ending counts."""
        if self.ending is None:
            self.run = run
            self.ending = ending
            self._ring()

    async def grown(self, seen: int, seconds: float | None = None) -> bool:
        """Wait until there are more than ``seen`` entries, or an ending; False after ``seconds`` without."""
        loop = asyncio.get_running_loop()
        until = None if seconds is None else loop.time() + seconds
        while len(self.entries) <= seen and self.ending is None:
            left = None if until is None else until - loop.time()
            if left is not None and left <= 0:
                return False
            await self._rung(left)
        return True

    async def ended(self, seconds: float | None = None) -> Ending | None:
        """Wait for the ending; None after ``seconds`` without one."""
        loop = asyncio.get_running_loop()
        until = None if seconds is None else loop.time() + seconds
        while self.ending is None:
            left = None if until is None else until - loop.time()
            if left is not None and left <= 0:
                return None
            await self.grown(len(self.entries), left)
        return self.ending

    async def _rung(self, seconds: float | None) -> None:
        """Wait for the bell, at most for so many seconds. ``asyncio.wait`` does that, too, in a third turn of the loop
        and twice the time: every chunk of every reader comes by here.
        """
        loop = asyncio.get_running_loop()
        bell: asyncio.Future[None] = loop.create_future()
        self._bells.add(bell)
        timer = loop.call_later(seconds, _ring, bell) if seconds is not None else None
        try:
            await bell
        finally:
            self._bells.discard(bell)
            if timer is not None:
                timer.cancel()

    def _ring(self) -> None:
        bells, self._bells = self._bells, set()
        for bell in bells:
            _ring(bell)


def _ring(bell: "asyncio.Future[None]") -> None:
    # It may have been cancelled a moment ago, with its reader.
    if not bell.done():
        bell.set_result(None)
