"""``sluice tenant``: tenants become what a file says, and what differs is shown first."""

import json

import pytest

from tests.cli.shell import Shell
from tests.redis_server import RedisServer

FILE = """
[acme]
user_groups = ["anonymous"]
default = "openai"

[acme.groups.staff]
initial_tokens = 1000

[acme.api_keys]
openai = "env:ACME_KEY"

[globex.groups.staff]
"""
KEY = "sk-the-key-of-acme-at-openai-9876"


@pytest.fixture
def file(shell: Shell) -> str:
    return shell.file("tenants.toml", FILE)


def document(redis: RedisServer, tenant: str) -> object:
    return json.loads(redis.command("GET", f"tenant:{tenant}"))


def test_tenants_become_what_the_file_says_and_stay_it(shell: Shell, redis: RedisServer, file: str) -> None:
    first = shell.run("tenant", "apply", "-f", file, ACME_KEY=KEY)
    again = shell.run("tenant", "apply", "-f", file, ACME_KEY=KEY)

    assert (first.status, first.out.splitlines()[-1]) == (0, "2 created, 0 changed, 0 unchanged")
    assert (again.status, again.out.splitlines()[-1]) == (0, "0 created, 0 changed, 2 unchanged")
    assert document(redis, "acme") == {
        "user_groups": ["anonymous"],
        "default": "openai",
        "groups": {"staff": {"initial_tokens": 1000}},
        "api_keys": {"openai": KEY},
    }


def test_the_difference_is_shown_without_keys_and_a_dry_run_changes_nothing(
    shell: Shell, redis: RedisServer, file: str
) -> None:
    shell.run("tenant", "apply", "-f", file, ACME_KEY="sk-the-key-of-before-0000")
    changed = shell.file("changed.toml", FILE.replace("1000", "2000").replace('default = "openai"\n', ""))

    shown = shell.run("tenant", "apply", "-f", changed, "--dry-run", ACME_KEY=KEY)

    assert shown.status == 1
    assert shown.out.splitlines() == [
        "~ acme",
        '    /api_keys/openai: "sk-…0000" -> "sk-…9876"',
        '    /default: "openai" -> nothing',
        "    /groups/staff/initial_tokens: 1000 -> 2000",
        "= globex",
        "0 created, 1 changed, 1 unchanged",
    ]
    assert "default" in str(document(redis, "acme"))
    assert shell.run("tenant", "apply", "-f", changed, ACME_KEY=KEY).status == 0
    assert shell.run("tenant", "apply", "-f", changed, "--dry-run", ACME_KEY=KEY).status == 0


def test_what_was_forgotten_is_not_brought_back_by_a_file(shell: Shell, redis: RedisServer) -> None:
    redis.command("SET", "tenant:globex", '{"groups": {"staff": {}}, "cache_generations": {"*": 2}}')
    file = shell.file("t.toml", "[globex.groups.staff]\n[globex.groups.guests]\n")

    applied = shell.run("tenant", "apply", "-f", file)

    assert applied.out.splitlines() == [
        "~ globex",
        "    /groups/guests: nothing -> {}",
        "0 created, 1 changed, 0 unchanged",
    ]
    assert document(redis, "globex") == {"groups": {"staff": {}, "guests": {}}, "cache_generations": {"*": 2}}


def test_all_that_is_wrong_is_told_before_anything_is_written(shell: Shell, redis: RedisServer) -> None:
    wrong = (
        "[ok]\n[openai]\n['a b']\n[bad]\ncolour = 1\ndefault_group = 'x'\n[worse.limits]\nrequests_per_minute = -1\n"
    )

    refused = shell.run("tenant", "apply", "-f", shell.file("wrong.toml", wrong))

    assert refused.status == 65
    assert refused.problems.splitlines() == [
        "openai: a provider has this id",
        "'a b': is no id",
        "bad: /colour is not known",
        "worse: /limits/requests_per_minute should be greater than or equal to 1",
    ]
    assert redis.command("KEYS", "tenant:*") == []


@pytest.mark.parametrize(
    ("text", "said"), [("[", "tenants.toml: "), ("a = 1", "one table for each tenant"), (FILE, "ACME_KEY is not set")]
)
def test_a_file_that_cannot_be_used_is_told(shell: Shell, text: str, said: str) -> None:
    refused = shell.run("tenant", "apply", "-f", shell.file("tenants.toml", text))

    assert refused.status == 65
    assert said in refused.problems


def test_a_change_is_told_to_the_log_by_whoever_has_the_shell(shell: Shell, file: str) -> None:
    applied = shell.run("tenant", "apply", "-f", file, ACME_KEY=KEY)

    assert "Administered operator=shell:" in applied.problems
    assert "action=tenant.create tenant=acme" in applied.problems
    assert KEY not in applied.problems + applied.out


def test_tenants_are_listed_shown_with_keys_hidden_and_deleted(shell: Shell, redis: RedisServer, file: str) -> None:
    shell.run("tenant", "apply", "-f", file, ACME_KEY=KEY)

    listed = shell.run("tenant", "list", "--json").json
    shown = shell.run("tenant", "show", "acme")
    asked = shell.run("tenant", "delete", "acme", typed="n\n")
    deleted = shell.run("tenant", "delete", "acme", "--yes")

    assert [row["id"] for row in listed] == ["acme", "globex"]
    assert shown.json["api_keys"] == {"openai": "sk-…9876"}
    assert asked.status == 1
    assert deleted.status == 0
    assert redis.command("EXISTS", "tenant:acme") == 0
    assert shell.run("tenant", "show", "acme").status == 65


def test_without_a_redis_there_is_nothing_to_look_at(shell: Shell) -> None:
    told = shell.run("tenant", "list", SLUICE_REDIS_URL="")

    assert (told.status, "SLUICE_REDIS_URL" in told.problems) == (78, True)


def test_a_redis_that_is_not_there_is_worth_another_try(shell: Shell) -> None:
    assert shell.run("tenant", "list", SLUICE_REDIS_URL="redis://127.0.0.1:1").status == 75


def test_applying_again_changes_nothing_where_keys_are_sealed(shell: Shell, redis: RedisServer, file: str) -> None:
    sealing = shell.run("secrets", "make-key", "first").out.strip()

    shell.run("tenant", "apply", "-f", file, ACME_KEY=KEY, SLUICE_SECRET_KEYS=sealing)
    again = shell.run("tenant", "apply", "-f", file, ACME_KEY=KEY, SLUICE_SECRET_KEYS=sealing)
    shown = shell.run("tenant", "show", "acme", SLUICE_SECRET_KEYS=sealing)

    assert again.out.splitlines()[-1] == "0 created, 0 changed, 2 unchanged"
    assert shown.json["api_keys"] == {"openai": "sk-…9876"}
    assert KEY.encode() not in redis.command("GET", "tenant:acme")
