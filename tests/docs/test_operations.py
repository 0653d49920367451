"""Every key in Redis, every check of readiness and every exit status is documented."""

from dataclasses import fields

from adapters.auth.jwks import AnyKeys
from adapters.redis import keys
from adapters.redis.dependency import RedisDependency
from adapters.redis.keys import AccountKeys, RunKeys, ShardKeys
from config.composition import build
from config.settings import Settings
from domain.ledger import Account
from entrypoints.cli.exits import Exit
from tests.docs.pages import codes, page

OPERATIONS = page("docs/operations.md")


def test_every_check_of_readiness_is_documented() -> None:
    documented_checks = {codes(row["check"])[0] for row in OPERATIONS.section("Health").rows("check", "ready when")}

    own = build(Settings()).namespaces().name

    assert documented_checks == {own, RedisDependency.name, AnyKeys.name, "drain"}


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
        keys.api_key("0" * 64),
        keys.api_keys("tenantId"),
        keys.WORKERS,
        keys.HEALTH,
    ]
    used += [keys.meter("tenantId", meter) for meter in ("rpm", "tpm")]

    assert {generic(key, run_id) for key in used} | {
        "{run:<shard>}:conversation:<tenantId>:<userId>:<conversation>"
    } == {key for row in table for key in codes(row["key"])}


def test_every_exit_status_is_documented() -> None:
    statuses = {row["exit status"] for row in OPERATIONS.section("Starting").rows("exit status", "why")}

    assert statuses == {str(int(status)) for status in (Exit.DONE, Exit.UNAVAILABLE, Exit.MISCONFIGURED)}


def generic(key: str, run_id: str) -> str:
    """A key as the table writes it."""
    if "run:" in key:
        return f"{{run:<shard>}}{key.partition('}')[2]}".replace(run_id, "<run id>").replace("0" * 64, "<digest>")
    if key.startswith("{tokens"):
        return f"{{tokens:...}}{key.partition('}')[2]}".replace(":run", ":<run id>").replace(":id", ":<id>")
    for name in ("tenantId", "group_id", "userId"):
        key = key.replace(name, f"<{name}>")
    return key.replace("0" * 64, "<digest>")
