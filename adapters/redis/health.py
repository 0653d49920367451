"""Notes of how the targets are, in Redis: one hash, which a replica reads and writes in one script each second."""

from collections.abc import Sequence

from adapters.redis import keys
from adapters.redis.connection import RedisConnection
from adapters.redis.pipe import Word
from adapters.redis.scripts import milliseconds, now, script
from domain.ports import Clock
from domain.ports.health import GRANTED, KEPT_BEYOND, Note, Noted


class RedisHealthBoard:
    """A board by the server's clock; a test may give it another."""

    def __init__(self, connection: RedisConnection, *, clock: Clock | None = None) -> None:
        self._connection = connection
        self._clock = clock

    async def exchange(self, replica: str, told: Sequence[Note], well: Sequence[str], wanted: Sequence[str]) -> Noted:
        words: list[Word] = [now(self._clock), replica, milliseconds(KEPT_BEYOND), milliseconds(GRANTED)]
        words += [len(told), len(well)]
        for note in told:
            words += [note.subject, milliseconds(note.seconds)]
        notes, granted = await self._connection.run(script("health/exchange"), [keys.HEALTH], [*words, *well, *wanted])
        pairs = zip(notes[::2], notes[1::2], strict=True)
        return Noted(
            tuple(Note(subject.decode(), left / 1000) for subject, left in pairs),
            frozenset(subject.decode() for subject in granted),
        )
