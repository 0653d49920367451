"""Names of runs in Redis, each in the slot that its own digits choose."""

from adapters.redis import keys
from adapters.redis.connection import RedisConnection
from adapters.redis.pipe import Word
from adapters.redis.scripts import milliseconds, script
from domain.ports import Named


class RedisRunNames:
    """Names that lapse by the server's clock."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection

    async def adopt(self, name: str, named: Named, seconds: float, *, instead_of: str | None = None) -> Named:
        text = f"{named.run_id}:{named.fingerprint}"
        words: list[Word] = [text, instead_of or "", max(milliseconds(seconds), 1)]
        answer: bytes = await self._connection.run(script("names/adopt"), [keys.name(name)], words)
        run_id, _, fingerprint = answer.decode().partition(":")
        return Named(run_id, fingerprint)

    async def keep(self, name: str, run_id: str, seconds: float) -> None:
        await self._connection.run(script("names/keep"), [keys.name(name)], [run_id, milliseconds(seconds)])
