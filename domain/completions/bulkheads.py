"""A bulkhead for each target: so many requests are there, so many wait, so long. One slow target fills only its own."""

import asyncio
from collections import deque
from dataclasses import dataclass

from domain.errors import ProviderBusy


@dataclass(frozen=True, slots=True)
class Berths:
    """How many requests may be at a target, how many may wait to get there, and for how many seconds."""

    runs: int = 1024
    queue: int = 256
    seconds: float = 5.0


class Bulkhead:
    """The requests at one target, and those that wait for one of them to leave."""

    __slots__ = ("_berths", "_waiting", "running")

    def __init__(self, berths: Berths) -> None:
        self._berths = berths
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.running = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        return self.running >= self._berths.runs

    def enter(self) -> None:
        self.running += 1

    def leave(self) -> None:
        self.running -= 1
        self._wake()

    async def room(self) -> None:
        """Wait until there is room; whoever enters has to do so before anybody else goes on.

        Raises:
            ProviderBusy: too many wait already, or it took too long.
        """
        if self.is_full and self.waiting >= self._berths.queue:
            raise ProviderBusy
        try:
            async with asyncio.timeout(self._berths.seconds):
                while self.is_full:
                    await self._turn()
        except TimeoutError:
            raise ProviderBusy from None

    async def _turn(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn in self._waiting:
                self._waiting.remove(turn)
            else:
                # It was woken while it gave up: the next one must not sleep through that.
                self._wake()
            raise

    def _wake(self) -> None:
        while self._waiting and not self.is_full:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
