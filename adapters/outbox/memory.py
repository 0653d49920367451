"""An outbox that ends with its process: where nothing outlives it anyway, or nobody gave it a place."""

from collections.abc import Sequence

from domain.ledger import Settlement


class MemoryOutbox:
    """Keeps settlements in a dictionary, ``size`` at most."""

    def __init__(self, *, size: int = 100_000) -> None:
        self._size = size
        self._waiting: dict[Settlement, None] = {}

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= self._size

    async def put(self, settlement: Settlement) -> None:
        self._waiting[settlement] = None

    def waiting(self) -> Sequence[Settlement]:
        return tuple(self._waiting)

    async def done(self, settlement: Settlement) -> None:
        self._waiting.pop(settlement, None)
