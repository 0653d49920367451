"""The domain's journal, as numbers. What is counted is what a fact says; nothing is measured here."""

from collections.abc import Mapping
from typing import TypeAlias

from adapters.metrics.families import Families
from adapters.metrics.names import ModelNames
from adapters.metrics.tables import OTHER
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

#: A method is whatever a client sends.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: What happens seldom, if at all.
_Rare: TypeAlias = (
    EventsSkipped
    | TargetChanged
    | Administered
    | RunRequeued
    | LeaseLost
    | LimitsLocal
    | LimitsShared
    | SettlementFailed
    | RecordFailed
    | SecretsUnreadable
)


class CountingJournal:
    """Counts facts in ``families``."""

    def __init__(self, families: Families, names: ModelNames) -> None:
        self._families = families
        self._names = names

    def record(self, fact: Fact) -> None:
        match fact:
            case RequestServed():
                self._served(fact)
            case RunEnded():
                self._ended(fact)
            case CompletionRequested(tenant=tenant):
                self._families.asked.add(self._own(tenant))
            case RunJoined():
                self._joined(fact)
            case StreamResumed():
                self._families.resumed.add(())
            case Unexpected(where=where):
                self._families.defects.add((where,))
            case AdmissionEnded():
                pass  # it is told for its span alone; refusals are counted with their requests
            case ProviderAsked():
                self._asked(fact)
            case _:
                self._rare(fact)

    def _rare(self, fact: _Rare) -> None:
        # LimitsShared is the end of what LimitsLocal counts.
        match fact:
            case TargetChanged(provider=provider, state=state):
                self._families.target_changes.add((provider, state))
            case EventsSkipped(provider=provider, events=events):
                self._families.skipped.add((provider,), events)
            case Administered(action=action):
                self._families.administered.add((action,))
            case RunRequeued(why=why):
                self._families.requeued.add((why,))
            case LeaseLost():
                self._families.leases_lost.add(())
            case LimitsLocal():
                self._families.limits_local.add(())
            case SettlementFailed():
                self._families.settlements_failed.add(())
            case RecordFailed():
                self._families.records_failed.add(())
            case SecretsUnreadable(why=why):
                self._families.secrets_unreadable.add((why,))

    def _served(self, fact: RequestServed) -> None:
        families = self._families
        method = fact.method if fact.method in _METHODS else OTHER
        families.requests.add((method, fact.route, str(fact.status_code)))
        families.request_seconds.observe((fact.route,), fact.duration_ms / 1000)
        if fact.error_code is not None:
            families.refusals.add((fact.error_code, *self._own(fact.tenant or "")))

    def _ended(self, fact: RunEnded) -> None:
        families = self._families
        model, own = self._names.of(fact.provider, fact.model), self._own(fact.tenant)
        run = (fact.provider, model)
        families.runs.add((*run, fact.status, *own))
        families.run_seconds.observe(run, fact.seconds)
        if fact.error_code is not None and fact.status == "failed":
            families.failures.add((fact.provider, fact.error_code))
        if fact.first_token_seconds is not None:
            families.first_token.observe(run, fact.first_token_seconds)
        if fact.seconds_per_token is not None:
            families.per_token.observe(run, fact.seconds_per_token)
        if fact.waited_seconds is not None:
            families.queue_seconds.observe((), fact.waited_seconds)
        if fact.charged_tokens:
            families.charged.add((*run, *own), fact.charged_tokens)
        if fact.usage is not None:
            families.tokens.add((*run, "prompt", *own), fact.usage.prompt_tokens)
            families.tokens.add((*run, "completion", *own), fact.usage.completion_tokens)
            if fact.usage.details:
                self._detailed(fact.usage.details, (*run, *own))

    def _detailed(self, details: Mapping[str, object], row: tuple[str, ...]) -> None:
        cached = _part(details, "prompt_tokens_details", "cached_tokens")
        reasoning = _part(details, "completion_tokens_details", "reasoning_tokens")
        if cached:
            self._families.cached.add(row, cached)
        if reasoning:
            self._families.reasoning.add(row, reasoning)

    def _asked(self, fact: ProviderAsked) -> None:
        families = self._families
        target = fact.provider, self._names.of(fact.provider, fact.model)
        families.provider_requests.add((*target, fact.error_code or "ok"))
        families.provider_seconds.observe(target, fact.seconds)
        if fact.asked > 1:
            families.provider_retries.add(target)
        if fact.continued is not None:
            families.continuations.add((fact.continued,))

    def _joined(self, fact: RunJoined) -> None:
        self._families.joined.add((fact.how,))
        if fact.charged_tokens:
            row = (fact.provider, self._names.of(fact.provider, fact.model), *self._own(fact.tenant))
            self._families.charged.add(row, fact.charged_tokens)

    def _own(self, tenant: str) -> tuple[str, ...]:
        return (tenant,) if self._families.tenants else ()


def _part(details: Mapping[str, object], whole: str, part: str) -> int:
    """A number in OpenAI's ``*_tokens_details``; a provider may send anything there."""
    told = details.get(whole)
    count = told.get(part) if isinstance(told, dict) else None
    return count if type(count) is int and count > 0 else 0
