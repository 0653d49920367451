"""Spans as the domain knows them: which trace something belongs to, and under what. Pure; who draws them is an adapter.

https://www.w3.org/TR/trace-context/
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

#: Version 00, or a later one, which begins with the same fields.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
#: Of a header of version 00, which has nothing more.
_LENGTH = 55
_SAMPLED = 0x01


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a trace. ``parent_id`` is None for one that nobody asked for; only ``sampled`` ones are told."""

    trace_id: str
    id: str
    sampled: bool
    parent_id: str | None = None

    @property
    def traceparent(self) -> str:
        """The header that says that something was asked for by this span."""
        return f"00-{self.trace_id}-{self.id}-{_SAMPLED if self.sampled else 0:02x}"

    def child(self, *names: str) -> "Span":
        """The part of this one that these names stand for, whoever in whatever process asks for it."""
        digest = blake2b("\n".join((self.id, *names)).encode(), digest_size=8).hexdigest()
        return Span(self.trace_id, digest, self.sampled, self.id)


def span_of(traceparent: str | None) -> Span | None:
    """The caller's span; None where there is none, or none that can be read."""
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if found is None or (found[0].startswith("00") and len(found[0]) != _LENGTH):
        return None
    trace_id, span_id, flags = found.groups()
    return Span(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


@dataclass(frozen=True, slots=True)
class Tracing:
    """Begins traces, or goes on with a caller's. ``share`` of those that are begun here are sampled, from 0 to 1."""

    entropy: Callable[[int], bytes]
    share: float = 1.0

    def begin(self, traceparent: str | None) -> Span:
        """The span of a request with this header. A caller who has decided about sampling is followed."""
        caller, own = span_of(traceparent), self.entropy(8).hex()
        if caller is not None:
            return Span(caller.trace_id, own, caller.sampled, caller.id)
        trace_id = self.entropy(16)
        return Span(trace_id.hex(), own, int.from_bytes(trace_id[-7:], "big") < self.share * (1 << 56))


class Untraced:
    """Begins none: there is nobody to tell."""
