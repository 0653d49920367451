"""What happened, for the journal: the domain states facts, an adapter makes log lines of them.

No fact has room for message content, keys or tokens.
"""

from dataclasses import dataclass
from typing import TypeAlias

from domain.chat import Usage
from domain.spans import Span
from domain.tenants import TenantId


@dataclass(frozen=True, slots=True)
class CompletionRequested:
    """A caller whose tenant is known asked for a completion; its run will have this id if it is admitted."""

    tenant: TenantId
    run_id: str


@dataclass(frozen=True, slots=True)
class RequestServed:
    """One HTTP request has its answer. ``route`` is the pattern, never the raw path; the tokens are those used."""

    request_id: str
    method: str
    route: str
    status_code: int
    duration_ms: float
    tenant: TenantId | None = None
    provider: str | None = None
    model: str | None = None
    run_id: str | None = None
    error_code: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    charged_tokens: int | None = None
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class AdmissionEnded:
    """A request whose trace is told was admitted, or refused with ``error_code``; ``seconds`` are those it took."""

    run_id: str
    tenant: TenantId
    seconds: float
    span: Span
    error_code: str | None = None


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A run reached a terminal state. ``detail`` is in our own words: a provider's body never comes here.

    ``seconds`` are those of its last attempt, ``first_token_seconds`` those until the first token of a stream;
    ``seconds_per_token`` lay between its tokens, on average. ``waited_seconds`` are those of a job until that attempt.
    """

    run_id: str
    tenant: TenantId
    provider: str
    model: str
    status: str
    seconds: float
    charged_tokens: int
    error_code: str | None = None
    detail: str = ""
    request_id: str | None = None
    usage: Usage | None = None
    first_token_seconds: float | None = None
    seconds_per_token: float | None = None
    waited_seconds: float | None = None
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class RunJoined:
    """A request got the answer of a run that was there. ``how`` is hit, shared or replayed; ``charged_tokens`` what it
    paid for that itself."""

    run_id: str
    tenant: TenantId
    provider: str
    model: str
    how: str
    charged_tokens: int = 0


@dataclass(frozen=True, slots=True)
class StreamResumed:
    """A reader came back to the stream of a run, and has seen everything up to event ``after``."""

    run_id: str
    tenant: TenantId
    after: int


@dataclass(frozen=True, slots=True)
class ProviderAsked:
    """A provider was asked for a run's answer for the ``asked``-th time, and that is over.

    ``error_code`` is None where it answered. ``first_token_seconds`` is until it said something that a caller can use,
    None where it never did or the answer came whole. ``continued`` is how it went on with another's answer that had
    broken off: ``prefill`` or ``repeat``.
    """

    run_id: str
    tenant: TenantId
    provider: str
    model: str
    key_id: str
    asked: int
    seconds: float
    first_token_seconds: float | None = None
    error_code: str | None = None
    detail: str = ""
    continued: str | None = None
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class TargetChanged:
    """A model at a provider, asked with one key, is let alone for some ``seconds``, or may be asked again.

    ``state`` is that of its circuit, or ``cooling``, ``quarantined`` or ``drained``.
    """

    provider: str
    model: str
    key_id: str
    state: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class EventsSkipped:
    """A stream had ``events`` in it that were malformed, and in which no text can have been."""

    request_id: str
    provider: str
    model: str
    events: int


@dataclass(frozen=True, slots=True)
class RunRequeued:
    """A run waits for its next attempt: whoever executed attempt ``attempt`` went away, or is shutting down."""

    run_id: str
    tenant: TenantId
    attempt: int
    why: str


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """A run that was executed here is another's: this process was silent for too long, or the store forgot."""

    run_id: str
    tenant: TenantId
    attempt: int


@dataclass(frozen=True, slots=True)
class LimitsLocal:
    """The store of a tenant's meters does not answer: each replica limits by itself, to its share."""

    tenant: TenantId


@dataclass(frozen=True, slots=True)
class LimitsShared:
    """The store of a tenant's meters answers again, and limits are those of all replicas together."""

    tenant: TenantId


@dataclass(frozen=True, slots=True)
class SettlementFailed:
    """The ledger could not be told what a run cost, and the outbox could not write it down."""

    run_id: str
    tenant: TenantId
    cost_tokens: int


@dataclass(frozen=True, slots=True)
class RecordFailed:
    """The end of a run could not be written to the run store; only readers in this process learned it."""

    run_id: str
    tenant: TenantId


@dataclass(frozen=True, slots=True)
class SecretsUnreadable:
    """A tenant's sealed secrets cannot be opened. ``why`` is ``unknown_key``, or ``damaged``: changed, or another's."""

    tenant: TenantId
    why: str


@dataclass(frozen=True, slots=True)
class Unexpected:
    """A defect of ours. ``where`` names the loop or route; the exception's values are never logged."""

    where: str
    error: BaseException
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Administered:
    """An operator changed something: the audit of the admin API and the command line.

    ``subject`` says what of the tenant it was about. ``changed`` are JSON pointers or the id of an operation, never
    values.
    """

    operator: str
    action: str
    tenant: TenantId | None = None
    subject: str | None = None
    changed: tuple[str, ...] = ()
    request_id: str | None = None


Fact: TypeAlias = (
    CompletionRequested
    | RequestServed
    | AdmissionEnded
    | RunEnded
    | ProviderAsked
    | TargetChanged
    | EventsSkipped
    | RunJoined
    | StreamResumed
    | RunRequeued
    | LeaseLost
    | LimitsLocal
    | LimitsShared
    | SettlementFailed
    | RecordFailed
    | SecretsUnreadable
    | Unexpected
    | Administered
)
