"""What is done about a provider that failed before it said anything: ask again, ask another, or tell the caller. Pure.

A pause is full jitter: anything from nothing up to a bound that doubles with each retry, so that requests which failed
together do not come back together. https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from dataclasses import dataclass
from enum import Enum, auto

from domain.errors import (
    ProviderBadResponse,
    ProviderError,
    ProviderHungUp,
    ProviderOutOfQuota,
    ProviderRateLimited,
    ProviderRefusedKey,
    ProviderRejected,
    ProviderTimeout,
    ProviderTruncated,
    ProviderUnreachable,
)


class Remedy(Enum):
    AT_ONCE = auto()
    """The same again, without a pause: it has most likely not seen the request."""
    AGAIN = auto()
    """Another target where there is one, else the same again."""
    ELSEWHERE = auto()
    """Another target; this one would fail again."""
    LARGER = auto()
    """A target with a larger context window; the prompt is too long for this one."""
    TELL = auto()
    """The request is at fault: the caller is told."""


class Blame(Enum):
    """What a failure says of its target."""

    TARGET = auto()
    """It is not well."""
    PACE = auto()
    """It is asked too often with this key."""
    KEY = auto()
    """It does not take this key."""
    NOTHING = auto()
    """The request was at fault."""
    UNKNOWN = auto()
    """It was not there to fail."""


@dataclass(frozen=True, slots=True)
class Pauses:
    """Bounds of pauses, in seconds: of the first retry, of any, and of what a provider may ask for."""

    first: float = 0.2
    longest: float = 2.0
    asked: float = 2.0


#: How often one target is asked again at most; a connection that broke may have been billed, so only once.
RETRIES = 2
RETRIES_AFTER_A_CUT = 1
#: How often targets are asked for one request, all together.
MOST_ASKED = 8

#: Statuses that may be others the next time.
_PASSING = frozenset({408, 500, 502, 503, 504, 529})
#: What a provider's refusal to speak of something is called.
_FILTERED = frozenset({"content_filter", "content_policy_violation"})


def remedy(error: ProviderError, *, reroute_filtered: bool = False) -> Remedy:
    """What to do about a failure; ``reroute_filtered``, whether a content filter's refusal is tried elsewhere.

    In this order: what only the caller can mend; what another target may do better; what may pass by itself.
    """
    match error:
        case ProviderRejected(code="context_length_exceeded"):
            return Remedy.LARGER
        case ProviderRejected(code="model_not_found"):
            return Remedy.ELSEWHERE
        case ProviderRejected(code=code):
            return Remedy.ELSEWHERE if reroute_filtered and code in _FILTERED else Remedy.TELL
        case ProviderHungUp():
            return Remedy.AT_ONCE
        case ProviderUnreachable() | ProviderTruncated() | ProviderRateLimited():
            return Remedy.AGAIN
        case ProviderTimeout(status=None) | ProviderBadResponse() | ProviderRefusedKey() | ProviderOutOfQuota():
            return Remedy.ELSEWHERE
    # An error in the place of an answer has no status.
    return Remedy.AGAIN if error.status is None or error.status in _PASSING else Remedy.ELSEWHERE


def blame(error: ProviderError) -> Blame:
    """What a failure says of its target."""
    match error:
        case ProviderRejected():
            return Blame.NOTHING
        case ProviderRateLimited() | ProviderOutOfQuota():
            return Blame.PACE
        case ProviderRefusedKey():
            return Blame.KEY
        case ProviderHungUp():
            return Blame.UNKNOWN
    return Blame.TARGET


def retries(error: ProviderError) -> int:
    """How often the same target may be asked again after this failure."""
    return RETRIES_AFTER_A_CUT if isinstance(error, ProviderTruncated) else RETRIES


def pause(error: ProviderError, again: int, pauses: Pauses, draw: float) -> float | None:
    """Seconds before retry number ``again``, from 1; None where the provider asks for more than is waited.

    ``draw`` is from 0 to 1. What the provider asks for is heeded, and jitter comes on top.
    """
    jitter = draw * min(pauses.first * 2.0 ** (again - 1), pauses.longest)
    if error.wait is None:
        return jitter
    return None if error.wait > pauses.asked else error.wait + jitter


def may_retry(retrying: int, active: int, *, share: float = 0.2, least: int = 3) -> bool:
    """Whether one more retry may be under way: a ``share`` of the active requests, but ``least`` at any time.

    Retries multiply the load of whoever fails because of load; a few do no harm.
    """
    return retrying < max(least, share * active)
