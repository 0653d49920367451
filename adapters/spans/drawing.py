"""What is told of each fact as a span, with the names of OpenTelemetry's conventions. Pure; content is in none.

https://opentelemetry.io/docs/specs/semconv/gen-ai/ and .../http/; the names of the former are copied, since the module
that has them is private.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from domain.facts import AdmissionEnded, Fact, ProviderAsked, RequestServed, RunEnded
from domain.spans import Span

Value: TypeAlias = str | int | float


@dataclass(frozen=True, slots=True)
class Drawn:
    """A span that is over. ``error`` is a code, where it ended with one."""

    span: Span
    name: str
    kind: Literal["server", "client", "internal"]
    seconds: float
    attributes: Mapping[str, Value]
    error: str | None = None


def drawn(fact: Fact) -> Drawn | None:
    """The span of a fact that is part of a sampled trace; None for any other."""
    span = getattr(fact, "span", None)
    if span is None or not span.sampled:
        return None
    match fact:
        case RequestServed():
            return _served(fact, span)
        case AdmissionEnded(seconds=seconds, error_code=code):
            return Drawn(span, "admission", "internal", seconds, _present(_of_run(fact)), code)
        case ProviderAsked():
            return _asked(fact, span)
        case RunEnded():
            return _ended(fact, span)
        case _:
            return None


def _served(fact: RequestServed, span: Span) -> Drawn:
    attributes: dict[str, Value | None] = {
        "http.request.method": fact.method,
        "http.route": fact.route,
        "http.response.status_code": fact.status_code,
        "sluice.request_id": fact.request_id,
        "sluice.tenant": fact.tenant,
        "sluice.run_id": fact.run_id,
        "error.type": fact.error_code,
    }
    # A refusal is the caller's error, not the server's.
    failed = fact.error_code if fact.status_code >= 500 or fact.status_code == 200 else None
    name = f"{fact.method} {fact.route}"
    return Drawn(span, name, "server", fact.duration_ms / 1000, _present(attributes), failed)


def _asked(fact: ProviderAsked, span: Span) -> Drawn:
    attributes = {
        **_of_run(fact),
        **_of_model(fact),
        "sluice.asked": fact.asked,
        "sluice.first_token_seconds": fact.first_token_seconds,
        "error.type": fact.error_code,
    }
    return Drawn(span, f"chat {fact.model}", "client", fact.seconds, _present(attributes), fact.error_code)


def _ended(fact: RunEnded, span: Span) -> Drawn:
    usage = fact.usage
    attributes = {
        **_of_run(fact),
        **_of_model(fact),
        "gen_ai.usage.input_tokens": usage.prompt_tokens if usage is not None else None,
        "gen_ai.usage.output_tokens": usage.completion_tokens if usage is not None else None,
        "sluice.charged_tokens": fact.charged_tokens,
        "sluice.status": fact.status,
        "sluice.waited_seconds": fact.waited_seconds,
        "sluice.first_token_seconds": fact.first_token_seconds,
        "error.type": fact.error_code,
    }
    failed = fact.error_code if fact.status == "failed" else None
    return Drawn(span, "run", "internal", fact.seconds, _present(attributes), failed)


def _of_run(fact: AdmissionEnded | ProviderAsked | RunEnded) -> dict[str, Value | None]:
    return {"sluice.run_id": fact.run_id, "sluice.tenant": fact.tenant}


def _of_model(fact: ProviderAsked | RunEnded) -> dict[str, Value | None]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": fact.provider,
        "gen_ai.request.model": fact.model,
    }


def _present(attributes: Mapping[str, Value | None]) -> dict[str, Value]:
    return {name: value for name, value in attributes.items() if value is not None}
