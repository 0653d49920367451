"""How long what is known of a run lasts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """In seconds: how long an owner may be silent, how long a run may wait for its turn, how long its log is readable
    after its end, and the same for its record and result."""

    lease: float
    queue: float
    log_kept: float
    kept: float
