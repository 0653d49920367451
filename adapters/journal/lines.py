"""What is logged of each fact. Pure; no line has room for message content, keys or tokens."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

from adapters.journal.traces import trace
from domain.facts import (
    Administered,
    AdmissionEnded,
    CompletionRequested,
    EventsSkipped,
    Fact,
    LeaseLost,
    LimitsLocal,
    LimitsShared,
    ProviderAsked,
    RecordFailed,
    RequestServed,
    RunEnded,
    RunJoined,
    RunRequeued,
    SecretsUnreadable,
    SettlementFailed,
    StreamResumed,
    TargetChanged,
    Unexpected,
)
from domain.spans import Span

Fields: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Line:
    """A line to log. ``told`` are facts that the message tells already: only JSON repeats them."""

    level: str
    message: str
    fields: Fields = field(default_factory=dict)
    told: Fields = field(default_factory=dict)


_ACCESS = (
    "request_id",
    "tenant",
    "provider",
    "model",
    "route",
    "method",
    "status_code",
    "duration_ms",
    "prompt_tokens",
    "completion_tokens",
    "charged_tokens",
    "run_id",
    "error_code",
)
_RUN = ("request_id", "run_id", "tenant", "provider", "model")
_TIMES = ("seconds", "waited_seconds", "first_token_seconds", "seconds_per_token")
_OUTCOME = ("charged_tokens", "error_code", "detail")
_ASKED = (
    "run_id",
    "tenant",
    "provider",
    "model",
    "key_id",
    "asked",
    "seconds",
    "first_token_seconds",
    "error_code",
    "detail",
    "continued",
)
_JOINED = ("run_id", "tenant", "provider", "model", "how", "charged_tokens")
_AUDIT = ("operator", "action", "tenant", "subject", "request_id")


def line_of(fact: Fact) -> Line:
    match fact:
        case CompletionRequested(tenant=tenant, run_id=run_id):
            return Line(
                "INFO",
                f"Processing chat completion for {tenant}:{run_id}",
                told={"tenant": tenant, "run_id": run_id},
            )
        case RequestServed():
            access = {name: getattr(fact, name) for name in _ACCESS}
            access |= {"trace_id": _trace_id(fact.span), "duration_ms": round(fact.duration_ms, 3)}
            return Line("INFO", "Request served", access)
        case RunEnded(status=status):
            level = "WARNING" if status == "failed" else "INFO"
            return Line(level, f"Run {status}", _of_ended(fact))
        case RunJoined():
            return Line("INFO", "Run joined", {name: getattr(fact, name) for name in _JOINED})
        case AdmissionEnded(run_id=run_id, tenant=tenant, seconds=seconds, error_code=code, span=span):
            told = {"run_id": run_id, "tenant": tenant, "seconds": round(seconds, 3), "error_code": code}
            return Line("DEBUG", "Admission ended", told | {"trace_id": span.trace_id})
        case StreamResumed(run_id=run_id, tenant=tenant, after=after):
            return Line("INFO", "Stream resumed", {"run_id": run_id, "tenant": tenant, "after": after})
        case Administered(changed=changed):
            audit = {name: getattr(fact, name) for name in _AUDIT}
            return Line("INFO", "Administered", audit | {"changed": " ".join(changed)})
        case ProviderAsked() | TargetChanged() | EventsSkipped():
            return _of_target(fact)
        case _:
            return _of_trouble(fact)


def _of_target(fact: ProviderAsked | TargetChanged | EventsSkipped) -> Line:
    match fact:
        case ProviderAsked(error_code=code, seconds=seconds):
            level, message = ("DEBUG", "Provider answered") if code is None else ("WARNING", "Provider failed")
            asked = {name: getattr(fact, name) for name in _ASKED} | {"trace_id": _trace_id(fact.span)}
            return Line(level, message, asked | {"seconds": round(seconds, 3)})
        case TargetChanged(provider=provider, model=model, key_id=key_id, state=state, seconds=seconds):
            level = "INFO" if state in ("closed", "probing") else "WARNING"
            fields = {"provider": provider, "model": model, "key_id": key_id, "seconds": round(seconds, 3)}
            return Line(level, f"Target {state}", fields)
        case EventsSkipped(request_id=request_id, provider=provider, model=model, events=events):
            fields = {"request_id": request_id, "provider": provider, "model": model, "events": events}
            return Line("WARNING", "Malformed events skipped", fields)
        case _:
            assert_never(fact)


def _of_trouble(
    fact: RunRequeued
    | LeaseLost
    | LimitsLocal
    | LimitsShared
    | SettlementFailed
    | RecordFailed
    | SecretsUnreadable
    | Unexpected,
) -> Line:
    match fact:
        case LimitsLocal(tenant=tenant):
            return Line("WARNING", "Limits are each replica's own", {"tenant": tenant})
        case LimitsShared(tenant=tenant):
            return Line("INFO", "Limits are shared again", {"tenant": tenant})
        case RunRequeued(run_id=run_id, tenant=tenant, attempt=attempt, why=why):
            fields = {"run_id": run_id, "tenant": tenant, "attempt": attempt, "why": why}
            return Line("WARNING", "Run requeued", fields)
        case LeaseLost(run_id=run_id, tenant=tenant, attempt=attempt):
            fields = {"run_id": run_id, "tenant": tenant, "attempt": attempt}
            return Line("WARNING", "Run lost to another process", fields)
        case SettlementFailed(run_id=run_id, tenant=tenant, cost_tokens=cost):
            fields = {"run_id": run_id, "tenant": tenant, "cost_tokens": cost}
            return Line("ERROR", "Settlement failed, the hold will lapse", fields)
        case RecordFailed(run_id=run_id, tenant=tenant):
            return Line("ERROR", "The end of a run was not recorded", {"run_id": run_id, "tenant": tenant})
        case SecretsUnreadable(tenant=tenant, why=why):
            return Line("ERROR", "A tenant's secrets cannot be opened", {"tenant": tenant, "why": why})
        case Unexpected(where=where, error=error, request_id=request_id):
            return Line("ERROR", "Unexpected error", {"where": where, "request_id": request_id, **trace(error)})
        case _:
            assert_never(fact)


def _of_ended(fact: RunEnded) -> dict[str, object]:
    times = {name: getattr(fact, name) for name in _TIMES}
    usage = fact.usage
    return {
        **{name: getattr(fact, name) for name in _RUN},
        "trace_id": _trace_id(fact.span),
        **{name: None if seconds is None else round(seconds, 3) for name, seconds in times.items()},
        "prompt_tokens": usage.prompt_tokens if usage else None,
        "completion_tokens": usage.completion_tokens if usage else None,
        **{name: getattr(fact, name) for name in _OUTCOME},
    }


def _trace_id(span: Span | None) -> str | None:
    return span.trace_id if span is not None else None
