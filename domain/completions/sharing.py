"""Replicas tell each other how the targets are, in the background: no request waits for it, and none needs it."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import random

from domain.circuits import State
from domain.completions.health import Health
from domain.errors import StoreUnavailable
from domain.facts import Unexpected
from domain.ports import Journal
from domain.ports.health import HealthBoard, Note, Noted

#: Seconds between two looks at the board; a random part keeps the replicas from looking at the same moment.
_ROUND = 0.75
_JITTER = 0.5
#: How long ago a request must have wanted a target at most for a probe to be asked for it, and how much sooner than its
#: pause is over, in seconds.
_WANTED = 10.0
#: What is found to be let alone for so much longer than is noted is told anew, in seconds.
_NEWS = 1.0
#: What a note is about: a circuit, a target that cools or was taken out, a key that was refused.
_CIRCUIT, _REST, _DRAIN, _KEY = "circuit:", "rest:", "drain:", "key:"


#: For how many seconds a target that an operator took out is noted as such; it is told anew before.
_DRAINED = 86_400.0


@dataclass(slots=True)
class Sharing:
    """What one replica tells and learns. ``replica`` is its name among them."""

    replica: str
    health: Health
    board: HealthBoard
    journal: Journal
    #: Until when each subject is let alone, by the monotonic clock, as it stands on the board.
    _noted: dict[str, float] = field(default_factory=dict, init=False)
    #: What was let alone here after the last look: what no longer is, is well.
    _held: set[str] = field(default_factory=set, init=False)

    async def keep(self) -> None:
        """Look at the board until cancelled."""
        while True:
            try:
                await self.round()
            except StoreUnavailable:
                self._decide(None)
            except Exception as defect:  # noqa: BLE001 - without rounds, this replica would hear of nothing
                self.journal.record(Unexpected("sharing", defect))
            await asyncio.sleep(_ROUND + _JITTER * random())  # noqa: S311 - a jitter is no secret

    async def round(self) -> None:
        """Tell what is new here, and learn what is new elsewhere.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        found = {note.subject: note for note in self._found()}
        told = [note for note in found.values() if self._is_news(note)]
        well = [subject for subject in self._held if subject not in found]
        noted = await self.board.exchange(self.replica, told, well, self._wanted())
        self._learn(noted)
        self._decide(noted.granted)
        self._held = {note.subject for note in self._found()}

    # --- telling --------------------------------------------------------------------------------------------------

    def _found(self) -> Iterator[Note]:
        """Whatever is let alone here."""
        now, conditions = self.health.now(), self.health.conditions
        for condition in conditions:
            if condition.circuit.state is not State.CLOSED:
                yield Note(_CIRCUIT + condition.target_id, max(condition.circuit.until - now, 0.0))
            if condition.rests_until > now:
                yield Note(_REST + condition.target_id, condition.rests_until - now)
            if condition.drained:
                yield Note(_DRAIN + condition.target_id, _DRAINED)
        yield from (Note(_KEY + key, until - now) for key, until in conditions.quarantined.items() if until > now)

    def _is_news(self, note: Note) -> bool:
        known = self._noted.get(note.subject)
        # Who takes a target out and who puts it back must not argue: it is told again only when it is about to lapse.
        news = _DRAINED / 2 if note.subject.startswith(_DRAIN) else _NEWS
        return known is None or self.health.now() + note.seconds > known + news

    def _wanted(self) -> list[str]:
        """The open circuits that a request here would like to probe, or will by the next round."""
        now = self.health.now()
        return [
            _CIRCUIT + condition.target_id
            for condition in self.health.conditions
            if condition.circuit.state is not State.CLOSED
            and condition.circuit.until <= now + _ROUND + _JITTER
            and condition.wanted_at > now - _WANTED
        ]

    # --- learning -------------------------------------------------------------------------------------------------

    def _learn(self, noted: Noted) -> None:
        now = self.health.now()
        notes = {note.subject: now + note.seconds for note in noted.notes}
        for subject, until in notes.items():
            self._hear(subject, until)
        for subject in self._noted.keys() - notes.keys():
            self._forget(subject)
        self._noted = notes

    def _hear(self, subject: str, until: float) -> None:
        kind, _, name = subject.partition(":")
        if kind == "key":
            quarantined = self.health.conditions.quarantined
            quarantined[name] = max(quarantined.get(name, 0.0), until)
            return
        condition = self.health.conditions.get(name)
        if condition is None:
            # Nobody has asked for it here; when somebody has, the next round tells.
            return
        match kind:
            case "circuit":
                self.health.open(condition, until)
            case "rest":
                condition.rests_until = max(condition.rests_until, until)
            case "drain":
                self.health.drain(condition, drained=True)

    def _forget(self, subject: str) -> None:
        """What is no longer noted: who probed it found it well, an operator wants it back, or its time is over."""
        kind, _, name = subject.partition(":")
        if kind == "key":
            self.health.conditions.quarantined.pop(name, None)
        condition = self.health.conditions.get(name)
        if condition is None:
            return
        match kind:
            case "circuit":
                self.health.close(condition)
            case "rest":
                condition.rests_until = 0.0
            case "drain":
                self.health.drain(condition, drained=False)

    def _decide(self, granted: frozenset[str] | None) -> None:
        """Who may probe: those that were granted it; without a board, everybody."""
        for condition in self.health.conditions:
            condition.may_probe = None if granted is None else _CIRCUIT + condition.target_id in granted
