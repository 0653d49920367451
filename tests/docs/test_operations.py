"""Every line of the log, every key in Redis and every check of readiness is documented."""

from dataclasses import fields
from typing import get_args

import pytest

from adapters.auth.jwks import JwksCache
from adapters.journal.lines import line_of
from adapters.redis import keys
from adapters.redis.dependency import RedisDependency
from adapters.redis.keys import AccountKeys, RunKeys, ShardKeys
from config.composition import build
from config.settings import Settings
from domain import facts
from domain.circuits import State
from domain.facts import Fact
from domain.ledger import Account
from entrypoints.cli import EX_CONFIG, EX_UNAVAILABLE
from tests.docs.pages import Row, codes, page

OPERATIONS = page("docs/operations.md")
LINES = OPERATIONS.section("The log").rows("message", "level", "fields")
FIELDS = {name for row in OPERATIONS.section("The log").rows("field", "meaning") for name in codes(row["field"])}

#: One of each fact.
FACTS: tuple[Fact, ...] = (
    facts.CompletionRequested("acme", "job-1"),
    facts.RequestServed("req-1", "GET", "/healthz", 200, 1.0),
    facts.RunEnded("job-1", "acme", "openai", "gpt-4o", "completed", 1.0, 10),
    facts.RunEnded("job-1", "acme", "openai", "gpt-4o", "cancelled", 1.0, 10, "completion_cancelled"),
    facts.RunEnded("job-1", "acme", "openai", "gpt-4o", "failed", 1.0, 0, "provider_error", "status 500"),
    facts.ProviderAsked("job-1", "acme", "openai", "gpt-4o", "0123456789ab", 1, 1.0, 0.5),
    facts.ProviderAsked(
        "job-1", "acme", "openai", "gpt-4o", "0123456789ab", 2, 1.0, None, "provider_error", "status 500"
    ),
    *(
        facts.TargetChanged("openai", "gpt-4o", "0123456789ab", state, 5.0)
        for state in (*(state.value for state in State), "cooling", "quarantined", "drained")
    ),
    facts.RunRequeued("job-1", "acme", 1, "worker_lost"),
    facts.SettlementFailed("job-1", "acme", 10),
    facts.RecordFailed("job-1", "acme"),
    facts.Unexpected("run", ValueError(), "req-1"),
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


def test_every_field_is_explained() -> None:
    told = {name for row in LINES for name in fields_of(row)}

    assert told - FIELDS == set()


def test_no_fact_has_a_field_that_no_line_tells() -> None:
    told = {name for row in LINES for name in fields_of(row)} | {"status", "state", "error"}

    assert {field.name for kind in get_args(Fact) for field in fields(kind)} - told == set()


def test_every_check_of_readiness_is_documented() -> None:
    documented_checks = {codes(row["check"])[0] for row in OPERATIONS.section("Health").rows("check", "ready when")}

    own = build(Settings()).namespaces().name

    assert documented_checks == {own, RedisDependency.name, JwksCache.name, "drain"}


def test_every_key_in_redis_is_documented() -> None:
    table = OPERATIONS.section("Redis").rows("key", "kept")
    account = AccountKeys.of(Account("tenantId", "group_id", "userId"))
    run_id = "chatcmpl-01KCZ6V8XWQ3T5R7Y9ABCDEFGH"
    run, shard = RunKeys.of(run_id), ShardKeys.of(0)

    used = [
        keys.tenant("tenantId"),
        account.balance,
        account.holds,
        account.history,
        account.closed("run"),
        account.operation("id"),
        *(getattr(run, field.name) for field in fields(run)),
        *(getattr(shard, field.name) for field in fields(shard)),
        keys.name("0" * 64),
        keys.WORKERS,
    ]
    used += [keys.meter("tenantId", meter) for meter in ("rpm", "tpm")]

    assert {generic(key, run_id) for key in used} | {
        "{run:<shard>}:conversation:<tenantId>:<userId>:<conversation>"
    } == {key for row in table for key in codes(row["key"])}


def test_every_exit_status_is_documented() -> None:
    statuses = {row["exit status"] for row in OPERATIONS.section("Starting").rows("exit status", "why")}

    assert statuses == {"0", str(EX_UNAVAILABLE), str(EX_CONFIG)}


def generic(key: str, run_id: str) -> str:
    """A key as the table writes it."""
    if "run:" in key:
        return f"{{run:<shard>}}{key.partition('}')[2]}".replace(run_id, "<run id>").replace("0" * 64, "<digest>")
    if key.startswith("{tokens"):
        return f"{{tokens:...}}{key.partition('}')[2]}".replace(":run", ":<run id>").replace(":id", ":<id>")
    for name in ("tenantId", "group_id", "userId"):
        key = key.replace(name, f"<{name}>")
    return key


def documented(message: str) -> Row:
    (row,) = [row for row in LINES if codes(row["message"]) == [message]]
    return row


def fields_of(row: Row) -> set[str]:
    named = codes(row["fields"])
    return set(named) if row["fields"] != "the same" else fields_of(LINES[LINES.index(row) - 1])
