"""Balances, keys, tokens, providers: what an operator asks for from day to day."""

import json

import pytest

from adapters.auth.compact import decode
from tests.cli.shell import Shell
from tests.redis_server import RedisServer


@pytest.fixture
def acme(redis: RedisServer) -> str:
    redis.command("SET", "tenant:acme", '{"user_groups": ["staff", "guests"]}')
    return "acme"


def test_balances_are_shown_for_a_tenant_a_group_and_a_user(shell: Shell, acme: str) -> None:
    for tenant, group, user, amount in (
        ("acme", "staff", "ann", "5"),
        ("acme", "guests", "bob", "7"),
        ("x", "a", "b", "1"),
    ):
        shell.run("ledger", "grant", tenant, group, user, amount)

    everybody = shell.run("balance", acme)
    staff = shell.run("balance", acme, "staff")
    nobody = shell.run("balance", acme, "staff", "eve", "--json")

    assert everybody.rows == [["acme", "guests", "bob", "7"], ["acme", "staff", "ann", "5"]]
    assert staff.rows == [["acme", "staff", "ann", "5"]]
    assert nobody.json == [{"tenant": "acme", "group": "staff", "user": "eve", "available": 0}]


def test_a_grant_is_told_to_the_log(shell: Shell) -> None:
    granted = shell.run("ledger", "grant", "acme", "staff", "ann", "5", "--operation", "op-1", "--json")

    assert granted.json == {"tenant": "acme", "group": "staff", "user": "ann", "available": 5}
    assert "action=balance.grant tenant=acme subject=staff:ann" in granted.problems
    assert "operation:op-1" in granted.problems


def test_a_key_is_shown_once_listed_by_its_beginning_and_revoked(shell: Shell, acme: str) -> None:
    made = shell.run("key", "create", acme, "staff", "ann", "--name", "ci", "--days", "30", "--scope", "sluice:chat")
    key = made.out.strip()
    (listed,) = shell.run("key", "list", acme, "--json").json
    revoked = shell.run("key", "revoke", acme, listed["id"])

    assert (made.status, revoked.status) == (0, 0)
    assert key.startswith(listed["start"])
    assert (listed["user"], listed["name"], listed["scopes"]) == ("ann", "ci", ["sluice:chat"])
    assert key not in json.dumps(listed) + made.problems
    assert f"action=key.create tenant=acme subject={listed['id']}" in made.problems
    assert shell.run("key", "list", acme, "--json").json == []
    assert shell.run("key", "revoke", acme, listed["id"]).status == 65


def test_a_key_for_what_is_not_there_is_refused(shell: Shell, acme: str) -> None:
    for words in ("nowhere staff ann", f"{acme} nobody ann", f"{acme} staff ann --scope everything"):
        assert shell.run("key", "create", *words.split()).status == 65


def test_a_token_says_what_was_asked_for(shell: Shell) -> None:
    minted = shell.run(
        "token", "mint", "ann", "--tenant", "acme", "--tenant", "globex", "--group", "staff", "--scope", "a:b"
    )

    claims = json.loads(decode(minted.out.split(".")[1]))
    assert (claims["sub"], claims["tenants"], claims["scope"]) == ("ann", ["acme", "globex"], "a:b")
    assert claims["groups"] == {"acme": "staff", "globex": "staff"}
    assert claims["exp"] - claims["iat"] == 3600


def test_without_a_secret_no_token_can_be_made(shell: Shell) -> None:
    refused = shell.run("token", "mint", "ann", SLUICE_JWT_SECRET="")

    assert refused.status == 78


def test_providers_are_listed_with_those_of_a_file(shell: Shell) -> None:
    file = shell.file("p.toml", '[house]\nname = "House"\nbase_url = "http://127.0.0.1:1/v1"\nmodels = "any"\n')

    listed = shell.run("providers", "--json", SLUICE_PROVIDERS=file).json

    rows = {row["id"]: row for row in listed}
    assert rows["house"] == {
        "id": "house",
        "name": "House",
        "base_url": "http://127.0.0.1:1/v1",
        "key": "required",
        "models": "0, any other",
    }
    assert int(rows["openai"]["models"]) > 5


def test_nobody_answers_a_ping_where_nobody_listens(shell: Shell) -> None:
    assert shell.run("ping", "--url", "http://127.0.0.1:1").status == 75
    assert shell.run("ping", "--url", "nonsense").status == 75


@pytest.mark.parametrize("words", [(), ("runs",), ("nonsense",), ("tenant", "apply"), ("token", "mint", "a b")])
def test_a_wrong_command_line_is_told_with_status_2(shell: Shell, words: tuple[str, ...]) -> None:
    told = shell.run(*words)

    assert told.status == 2
    assert "Usage" in told.out + told.problems
