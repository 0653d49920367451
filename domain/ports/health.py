"""What replicas tell each other of how the targets are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

#: Seconds that a note is kept beyond its time, and for which one replica alone may probe.
KEPT_BEYOND = 60.0
GRANTED = 5.0


@dataclass(frozen=True, slots=True)
class Note:
    """That something is let alone, for so many seconds from now on; 0 where it may be probed."""

    subject: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Noted:
    """All notes, and the subjects that this replica may probe."""

    notes: tuple[Note, ...] = ()
    granted: frozenset[str] = frozenset()


class HealthBoard(Protocol):
    """Notes of all replicas. Nothing depends on it: a replica that cannot read it goes by what it found itself."""

    async def exchange(self, replica: str, told: Sequence[Note], well: Sequence[str], wanted: Sequence[str]) -> Noted:
        """Note what this replica found, and learn what all found; in one round trip.

        ``told`` replace what was noted of their subjects, and ``well`` are forgotten. Of all replicas that have
        ``wanted`` to probe a subject whose time is over, one may, for ``GRANTED`` seconds. A note is forgotten
        ``KEPT_BEYOND`` seconds after its time.

        Raises:
            StoreUnavailable: the store did not answer; it is safe to call again.
        """
        ...
