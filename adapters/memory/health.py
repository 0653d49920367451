"""Notes of how the targets are, in this process."""

from collections.abc import Sequence
from dataclasses import dataclass

from domain.ports import Clock
from domain.ports.health import GRANTED, KEPT_BEYOND, Note, Noted


@dataclass(slots=True)
class _Kept:
    until: float
    prober: str = ""
    granted_until: float = 0.0


class MemoryHealthBoard:
    """A board by this process's clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, _Kept] = {}

    async def exchange(self, replica: str, told: Sequence[Note], well: Sequence[str], wanted: Sequence[str]) -> Noted:
        now = self._clock()
        for note in told:
            self._kept[note.subject] = _Kept(now + note.seconds)
        for subject in well:
            self._kept.pop(subject, None)
        self._kept = {subject: kept for subject, kept in self._kept.items() if now < kept.until + KEPT_BEYOND}
        granted = frozenset(subject for subject in wanted if self._grants(subject, replica, now))
        notes = tuple(Note(subject, max(kept.until - now, 0.0)) for subject, kept in self._kept.items())
        return Noted(notes, granted)

    def _grants(self, subject: str, replica: str, now: float) -> bool:
        kept = self._kept.get(subject)
        if kept is None or now < kept.until or (kept.prober not in ("", replica) and now < kept.granted_until):
            return False
        kept.prober, kept.granted_until = replica, now + GRANTED
        return True
