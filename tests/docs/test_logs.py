"""Every line of the log and every field is documented, and no other."""

import re
from dataclasses import fields
from typing import get_args

import pytest

from adapters.journal import repeats
from adapters.journal.lines import line_of
from adapters.journal.sinks import LOST
from domain import facts
from domain.circuits import State
from domain.facts import Fact
from domain.spans import Span
from tests.docs.pages import CHECKOUT, Row, codes, page

LOGS = page("docs/logs.md")
LINES = LOGS.section("Lines").rows("message", "level", "fields")
FIELDS = {name for row in LOGS.section("Fields").rows("field", "meaning") for name in codes(row["field"])}

#: One of each fact.
FACTS: tuple[Fact, ...] = (
    facts.CompletionRequested("acme", "job-1"),
    facts.RequestServed("req-1", "GET", "/healthz", 200, 1.0),
    facts.RunEnded("job-1", "acme", "openai", "gpt-4o", "completed", 1.0, 10),
    facts.RunEnded("job-1", "acme", "openai", "gpt-4o", "cancelled", 1.0, 10, "completion_cancelled"),
    facts.RunEnded("job-1", "acme", "openai", "gpt-4o", "failed", 1.0, 0, "provider_error", "status 500"),
    facts.ProviderAsked("job-1", "acme", "openai", "gpt-4o", "0123456789ab", 1, 1.0, 0.5),
    facts.ProviderAsked("job-1", "acme", "openai", "gpt-4o", "0123456789ab", 2, 1.0, error_code="provider_error"),
    *(
        facts.TargetChanged("openai", "gpt-4o", "0123456789ab", state, 5.0)
        for state in (*(state.value for state in State), "cooling", "quarantined", "drained")
    ),
    facts.AdmissionEnded("job-1", "acme", 0.1, Span("1" * 32, "2" * 16, sampled=True)),
    facts.EventsSkipped("req-1", "openai", "gpt-4o", 1),
    facts.RunRequeued("job-1", "acme", 1, "worker_lost"),
    facts.RunJoined("job-1", "acme", "openai", "gpt-4o", "hit"),
    facts.StreamResumed("job-1", "acme", 3),
    facts.LeaseLost("job-1", "acme", 1),
    facts.LimitsLocal("acme"),
    facts.LimitsShared("acme"),
    facts.SettlementFailed("job-1", "acme", 10),
    facts.RecordFailed("job-1", "acme"),
    facts.SecretsUnreadable("acme", "damaged"),
    facts.Unexpected("run", ValueError(), "req-1"),
    facts.Administered("olga", "tenant.change", "acme", "staff:ann", ("/policy",), "req-1"),
)


def test_this_test_knows_every_fact() -> None:
    assert {type(fact) for fact in FACTS} == set(get_args(Fact))


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: type(fact).__name__)
def test_every_line_is_documented_with_its_level_and_its_fields(fact: Fact) -> None:
    line = line_of(fact)
    message = line.message.replace("acme:job-1", "<tenantId>:<jobId>")

    row = documented(message)

    assert row["level"] == line.level
    assert fields_of(row) == {*line.fields, *line.told}


def test_no_line_is_documented_that_there_is_not() -> None:
    told = {line_of(fact).message.replace("acme:job-1", "<tenantId>:<jobId>") for fact in FACTS}

    assert {code for row in LINES for code in codes(row["message"])} == told | {LOST}


def test_nobody_but_the_journal_writes_to_the_log() -> None:
    others = {
        str(path.relative_to(CHECKOUT))
        for package in ("domain", "adapters", "config", "entrypoints")
        for path in (CHECKOUT / package).rglob("*.py")
        if re.search(r"^\s*(import|from) (loguru|logging)\b", path.read_text(), re.MULTILINE)
    }

    assert others == {"adapters/journal/sinks.py"}


def test_the_interval_of_repeated_errors_is_the_codes() -> None:
    assert f"once in {repeats.INTERVAL:g} seconds for each cause" in LOGS.text


def test_every_field_is_explained() -> None:
    told = {name for row in LINES for name in fields_of(row)}

    assert told | {"left_out"} == FIELDS


def test_no_fact_has_a_field_that_no_line_tells() -> None:
    told = {name for row in LINES for name in fields_of(row)} | {"state", "status", "error", "usage", "span"}

    assert {field.name for kind in get_args(Fact) for field in fields(kind)} - told == set()


def documented(message: str) -> Row:
    (row,) = [row for row in LINES if codes(row["message"]) == [message]]
    return row


def fields_of(row: Row) -> set[str]:
    named = codes(row["fields"])
    return set(named) if row["fields"] != "the same" else fields_of(LINES[LINES.index(row) - 1])
