"""One line for each cause of an error in an interval, however often it occurs, and how many were left out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from adapters.journal.lines import Fields

#: Seconds for which nothing more is said of a cause.
INTERVAL = 10.0
#: What tells one cause from another. Only lines of exceptions and of libraries have one: any other line is of a run or
#: a request of its own, and somebody may look for just that.
_OF_A_CAUSE = ("where", "error", "trace", "logger")
_MARKS = frozenset({"error", "logger"})
_MAX_CAUSES = 1_000
_NUMBER = re.compile(r"\d+")

Cause: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A line on its way to the log; ``at`` is in Unix seconds, ``told`` what the message tells already."""

    at: float
    level: str
    message: str
    fields: Fields
    told: Fields = field(default_factory=dict)

    @property
    def cause(self) -> Cause | None:
        """What the line is about, if it is about something that may occur again: numbers are no difference."""
        if _MARKS.isdisjoint(self.fields):
            return None
        return _NUMBER.sub("0", self.message), *(self.fields.get(name) for name in _OF_A_CAUSE)


@dataclass(slots=True)
class _Said:
    """The last line of a cause that was written, and how many were not since."""

    entry: Entry
    left_out: int = 0

    def report(self, at: float) -> Entry:
        """The line again, without what was of one occurrence only."""
        fields = {name: value for name, value in self.entry.fields.items() if name in _OF_A_CAUSE}
        return replace(self.entry, at=at, fields=fields | {"left_out": self.left_out})


class Repeats:
    """Decides what of a cause is written."""

    def __init__(self) -> None:
        self._said: dict[Cause, _Said] = {}

    def concern(self, fields: Fields) -> bool:
        """Whether a line with these fields has to be passed; any other may be written as it is."""
        return bool(self._said) or not _MARKS.isdisjoint(fields)

    def passed(self, entry: Entry) -> Sequence[Entry]:
        """The lines to write now: this one, unless it repeats another, and what was left out before it."""
        cause = entry.cause
        if cause is None:
            # The usual case. Whatever is written, somebody waits for the end of the others' silence.
            return (*self._over(entry.at), entry) if self._said else (entry,)
        said = self._said.get(cause)
        if said is not None and entry.at < said.entry.at + INTERVAL:
            said.left_out += 1
            return ()
        left_out = said.left_out if said is not None else 0
        self._said.pop(cause, None)
        over = self._over(entry.at)
        if len(self._said) < _MAX_CAUSES:
            self._said[cause] = _Said(entry)
        return (*over, replace(entry, fields={**entry.fields, "left_out": left_out}) if left_out else entry)

    def _over(self, at: float) -> list[Entry]:
        """Reports of causes whose interval is over; what has not occurred again is forgotten."""
        over = [cause for cause, said in self._said.items() if said.entry.at + INTERVAL <= at]
        ended = [self._said.pop(cause) for cause in over]
        return [said.report(at) for said in ended if said.left_out]
