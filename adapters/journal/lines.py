"""What is logged of each fact. Pure; no line has room for message content, keys or tokens."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

from adapters.journal.traces import trace
from domain.facts import (
    CompletionRequested,
    Fact,
    ProviderAsked,
    RecordFailed,
    RequestServed,
    RunEnded,
    RunRequeued,
    SettlementFailed,
    TargetChanged,
    Unexpected,
)

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
_ENDED = ("run_id", "tenant", "provider", "model", "seconds", "charged_tokens", "error_code", "detail")
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
            return Line("INFO", "Request served", access | {"duration_ms": round(fact.duration_ms, 3)})
        case RunEnded(status=status):
            level = "WARNING" if status == "failed" else "INFO"
            ended = {name: getattr(fact, name) for name in _ENDED}
            return Line(level, f"Run {status}", ended | {"seconds": round(fact.seconds, 3)})
        case ProviderAsked(error_code=code):
            asked = {name: getattr(fact, name) for name in _ASKED}
            return (
                Line("DEBUG", "Provider answered", asked) if code is None else Line("WARNING", "Provider failed", asked)
            )
        case TargetChanged(provider=provider, model=model, key_id=key_id, state=state, seconds=seconds):
            level = "INFO" if state in ("closed", "probing") else "WARNING"
            fields = {"provider": provider, "model": model, "key_id": key_id, "seconds": round(seconds, 3)}
            return Line(level, f"Target {state}", fields)
        case RunRequeued(run_id=run_id, tenant=tenant, attempt=attempt, why=why):
            return Line(
                "WARNING",
                "Run requeued",
                {"run_id": run_id, "tenant": tenant, "attempt": attempt, "why": why},
            )
        case SettlementFailed(run_id=run_id, tenant=tenant, cost_tokens=cost):
            return Line(
                "ERROR",
                "Settlement failed, the hold will lapse",
                {"run_id": run_id, "tenant": tenant, "cost_tokens": cost},
            )
        case RecordFailed(run_id=run_id, tenant=tenant):
            return Line("ERROR", "The end of a run was not recorded", {"run_id": run_id, "tenant": tenant})
        case Unexpected(where=where, error=error, request_id=request_id):
            return Line("ERROR", "Unexpected error", {"where": where, "request_id": request_id, **trace(error)})
        case _:
            assert_never(fact)
