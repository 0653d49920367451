"""What becomes of each fact in numbers."""

from dataclasses import replace
from typing import Any

import pytest

from adapters.metrics.families import Families
from adapters.metrics.journal import CountingJournal
from adapters.metrics.names import ModelNames
from adapters.metrics.tables import Counts, Spread
from domain import facts
from domain.chat import Usage
from domain.models import Catalogue
from tests.builders import a_model

ENDED = facts.RunEnded("job-1", "acme", "openai", "gpt-4o", "completed", 1.5, 12)
RUN = ("openai", "gpt-4o")


def counted(*told: facts.Fact, tenants: bool = False) -> dict[str, Any]:
    """Every table in which something was counted."""
    families = Families(tenants=tenants)
    journal = CountingJournal(families, ModelNames(Catalogue([a_model(name="gpt-4o", aliases=("gpt-4o-*",))])))
    for fact in told:
        journal.record(fact)
    rows = {table.name: table.rows for table in families.tables}
    fresh = {table.name: table.rows for table in Families(tenants=tenants).tables}
    return {name.removeprefix("sluice_"): found for name, found in rows.items() if found != fresh[name]}


@pytest.mark.parametrize(
    ("fact", "name", "row"),
    [
        (facts.CompletionRequested("acme", "job-1"), "completions_requested_total", ()),
        (facts.StreamResumed("job-1", "acme", 3), "streams_resumed_total", ()),
        (facts.RunJoined("job-1", "acme", *RUN, "hit"), "runs_joined_total", ("hit",)),
        (facts.RunRequeued("job-1", "acme", 1, "shutdown"), "runs_requeued_total", ("shutdown",)),
        (facts.LeaseLost("job-1", "acme", 1), "leases_lost_total", ()),
        (facts.LimitsLocal("acme"), "limits_local_total", ()),
        (facts.TargetChanged("openai", "gpt-4o", "k1", "open", 5.0), "target_changes_total", ("openai", "open")),
        (facts.Administered("olga", "tenant.create", "acme"), "admin_changes_total", ("tenant.create",)),
        (facts.SettlementFailed("job-1", "acme", 10), "settlements_failed_total", ()),
        (facts.RecordFailed("job-1", "acme"), "records_failed_total", ()),
        (facts.SecretsUnreadable("acme", "damaged"), "secrets_unreadable_total", ("damaged",)),
        (facts.Unexpected("housekeeping", ValueError()), "defects_total", ("housekeeping",)),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str | tuple) else "",
)
def test_a_fact_is_counted_once(fact: facts.Fact, name: str, row: tuple[str, ...]) -> None:
    assert counted(fact) == {name: {row: 1}}


def test_a_request_is_counted_with_its_time_and_its_error() -> None:
    served = facts.RequestServed("req-1", "POST", "/v1/models", 404, 20.0, "acme", error_code="unknown_url")

    told = counted(served, replace(served, error_code=None, status_code=200))

    assert told.keys() == {"http_requests_total", "http_request_duration_seconds", "refusals_total"}
    assert told["http_requests_total"] == {("POST", "/v1/models", "404"): 1, ("POST", "/v1/models", "200"): 1}
    assert told["http_request_duration_seconds"][("/v1/models",)][-1] == 0.04
    assert told["refusals_total"] == {("unknown_url",): 1}


def test_a_method_that_is_none_is_not_a_label() -> None:
    told = counted(facts.RequestServed("req-1", "BREW", "(none)", 405, 1.0))

    assert list(told["http_requests_total"]) == [("other", "(none)", "405")]


def test_a_run_is_counted_with_what_it_used_and_cost() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 2}, "completion_tokens_details": {"reasoning_tokens": 3}}
    ended = replace(ENDED, usage=Usage(4, 8, details), first_token_seconds=0.5, seconds_per_token=0.1)

    told = counted(ended, replace(ended, waited_seconds=7.0))

    assert told["runs_total"] == {(*RUN, "completed"): 2}
    assert told["tokens_total"] == {(*RUN, "prompt"): 8, (*RUN, "completion"): 16}
    assert told["cached_prompt_tokens_total"] == {RUN: 4}
    assert told["reasoning_tokens_total"] == {RUN: 6}
    assert told["charged_tokens_total"] == {RUN: 24}
    sums = {name: cells[row][-1] for name, cells in told.items() for row in cells if isinstance(cells[row], list)}
    assert sums == {
        "run_duration_seconds": 3.0,
        "time_to_first_token_seconds": 1.0,
        "time_between_tokens_seconds": 0.2,
        "queue_wait_seconds": 7.0,
    }


@pytest.mark.parametrize("details", [{"prompt_tokens_details": 5}, {"prompt_tokens_details": {"cached_tokens": "x"}}])
def test_details_that_are_no_numbers_are_left_alone(details: dict[str, Any]) -> None:
    told = counted(replace(ENDED, usage=Usage(4, 8, details)))

    assert "cached_prompt_tokens_total" not in told


def test_a_request_to_a_provider_is_counted_by_its_outcome() -> None:
    asked = facts.ProviderAsked("job-1", "acme", *RUN, "k1", 1, 0.5)

    told = counted(asked, replace(asked, asked=2, error_code="provider_error", continued="prefill"))

    assert told["provider_requests_total"] == {(*RUN, "ok"): 1, (*RUN, "provider_error"): 1}
    assert told["provider_request_duration_seconds"][RUN][-1] == 1.0
    assert (told["provider_retries_total"], told["continuations_total"]) == ({RUN: 1}, {("prefill",): 1})


def test_only_a_failure_has_a_code() -> None:
    failed = replace(ENDED, status="failed", error_code="provider_error", charged_tokens=0)
    cancelled = replace(ENDED, status="cancelled", error_code="completion_cancelled")

    told = counted(failed, cancelled)

    assert told["run_failures_total"] == {("openai", "provider_error"): 1}
    assert told["charged_tokens_total"] == {RUN: 12}


def test_what_a_kept_answer_costs_is_charged_too() -> None:
    assert counted(facts.RunJoined("job-1", "acme", *RUN, "hit", 12))["charged_tokens_total"] == {RUN: 12}


def test_a_model_has_the_catalogues_name_or_none() -> None:
    told = counted(ENDED, replace(ENDED, model="gpt-4o-2024-08-06"), replace(ENDED, model="made-up"))

    assert told["charged_tokens_total"] == {RUN: 24, ("openai", "other"): 12}


def test_with_a_label_for_tenants_each_has_its_own_rows() -> None:
    told = counted(
        ENDED,
        replace(ENDED, tenant="globex", usage=Usage(1, 2)),
        facts.RequestServed("req-1", "GET", "/", 404, 1.0, error_code="unknown_url"),
        tenants=True,
    )

    assert told["charged_tokens_total"] == {(*RUN, "acme"): 12, (*RUN, "globex"): 12}
    assert told["tokens_total"] == {(*RUN, "prompt", "globex"): 1, (*RUN, "completion", "globex"): 2}
    assert told["refusals_total"] == {("unknown_url", ""): 1}


@pytest.mark.parametrize("tenants", [False, True])
def test_every_row_has_a_value_for_each_label(tenants: bool) -> None:
    families = Families(tenants=tenants)
    journal = CountingJournal(families, ModelNames(Catalogue([])))
    details = {"prompt_tokens_details": {"cached_tokens": 2}, "completion_tokens_details": {"reasoning_tokens": 3}}
    journal.record(facts.CompletionRequested("acme", "job-1"))
    journal.record(facts.RequestServed("req-1", "GET", "/", 404, 1.0, error_code="unknown_url"))
    journal.record(replace(ENDED, usage=Usage(1, 2, details), first_token_seconds=1.0, seconds_per_token=1.0))

    for table in families.tables:
        assert isinstance(table, Counts | Spread)
        assert all(len(row) == len(table.labels) for row in table.rows)
